/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.intelRdt of config-linux.md: which class of service a container gets,
 * and what of it goes with the container.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "linux/resctrl.h"
#include "runtime/internal.h"

static char *class_path(const char *root, const struct container *container)
{
	const char *name = container->spec.linux_.intel_rdt.clos_id;
	char *path = NULL;

	if (name && strcmp(name, "/") == 0)
		return strdup(root);
	return asprintf(&path, "%s/%s", root, name ? name : container->id) < 0 ? NULL : path;
}

static char *monitor_path(const char *class, const struct container *container)
{
	char *path = NULL;

	return asprintf(&path, "%s/mon_groups/%s", class, container->id) < 0 ? NULL : path;
}

/* Adds the lines of text; without its MB: lines where another property has that one. */
static void add_lines(struct str *schemata, const char *text, bool without_bandwidth)
{
	for (const char *at = text ? text : ""; *at; at += *at == '\n') {
		size_t length = strcspn(at, "\n");

		if (length > 0 && !(without_bandwidth && str_starts(at, "MB:"))) {
			str_append(schemata, schemata->length ? "\n" : "");
			str_append_bytes(schemata, at, length);
		}
		at += length;
	}
}

/* What goes into the file "schemata", in the document's order; empty when nothing is asked for. */
static void combine(const struct oci_intel_rdt *rdt, struct str *schemata)
{
	add_lines(schemata, rdt->l3_cache_schema, rdt->mem_bw_schema != NULL);
	add_lines(schemata, rdt->mem_bw_schema, false);
	for (size_t i = 0; i < rdt->schemata.count; i++)
		add_lines(schemata, rdt->schemata.items[i], false);
}

/*
 * A class that is named and was there is shared: it must be as this container wants it.  Without a name the class is
 * the container's own.
 */
static int make_class(struct container *container, const char *root, const char *class, struct error *err)
{
	const struct oci_intel_rdt *rdt = &container->spec.linux_.intel_rdt;
	cleanup_str struct str schemata = STR_INIT;
	bool is_root = strcmp(root, class) == 0;
	int made = 0;

	combine(rdt, &schemata);
	if (str_failed(&schemata))
		return error_errno(err, ENOMEM, "cannot write the schemata");
	if (rdt->clos_id && !is_root && !schemata.length) {
		if (resctrl_is_class(class))
			return 0;
		return error_set(err, ENOENT,
				 "clos dir not accessible (must be pre-created when no schemata are set): %s", class);
	}
	if (!is_root)
		made = resctrl_make(class, err);
	if (made < 0)
		return made;
	container->intel_rdt_made = made || !rdt->clos_id;
	if (!schemata.length)
		return 0;
	return container->intel_rdt_made ? resctrl_set(root, class, schemata.text, err)
					 : resctrl_check(class, schemata.text, err);
}

int container_apply_rdt(const struct runtime *runtime, struct container *container, pid_t pid, struct error *err)
{
	cleanup_free char *root = runtime->resctrl ? strdup(runtime->resctrl) : NULL;
	int ret = 0;

	if (!container->spec.linux_.intel_rdt.set)
		return 0;
	if (!root)
		ret = resctrl_find(&root, err);
	if (ret < 0)
		return error_wrap(err, "intelRdt is specified in config"), ret;
	container->intel_rdt_path = class_path(root, container);
	if (!container->intel_rdt_path)
		return error_errno(err, ENOMEM, "intelRdt");
	ret = make_class(container, root, container->intel_rdt_path, err);
	if (ret == 0 && container->spec.linux_.intel_rdt.enable_monitoring) {
		container->intel_rdt_monitor = monitor_path(container->intel_rdt_path, container);
		ret = container->intel_rdt_monitor ? resctrl_make(container->intel_rdt_monitor, err) : -ENOMEM;
	}
	if (ret >= 0)
		ret = container_join_rdt(container, pid, err);
	return ret < 0 ? (error_wrap(err, "intelRdt"), ret) : 0;
}

int container_join_rdt(const struct container *container, pid_t pid, struct error *err)
{
	int ret = container->intel_rdt_path ? resctrl_add(container->intel_rdt_path, pid, err) : 0;

	/* Only who is in the class can be in its monitoring group. */
	return ret == 0 && container->intel_rdt_monitor ? resctrl_add(container->intel_rdt_monitor, pid, err) : ret;
}

static int get_class(const struct runtime *runtime, struct container *container, struct error *err)
{
	int ret;

	if (container->intel_rdt_path)
		return 0;
	container->spec.linux_.intel_rdt.set = true;
	ret = container_apply_rdt(runtime, container, container->pid, err);
	if (ret == 0)
		ret = container_prepare_state(container, err);
	if (ret == 0)
		ret = container_commit_state(container, err);
	if (ret < 0)
		(void)container_remove_rdt(runtime, container, NULL);
	return ret;
}

int runtime_update_rdt(struct runtime *runtime, struct container *container, const char *l3_cache_schema,
		       const char *mem_bw_schema, struct error *err)
{
	const struct oci_intel_rdt wanted = { .l3_cache_schema = l3_cache_schema, .mem_bw_schema = mem_bw_schema };
	cleanup_free char *root = runtime->resctrl ? strdup(runtime->resctrl) : NULL;
	cleanup_str struct str schemata = STR_INIT;
	int ret = root ? 0 : resctrl_find(&root, err);

	if (ret == 0 && mem_bw_schema && (!str_starts(mem_bw_schema, "MB:") || strchr(mem_bw_schema, '\n')))
		ret = error_set(err, EINVAL, "--mem-bw-schema must be one line that begins with \"MB:\"");
	combine(&wanted, &schemata);
	if (ret == 0 && str_failed(&schemata))
		ret = error_errno(err, ENOMEM, "intelRdt");
	if (ret == 0)
		ret = get_class(runtime, container, err);
	if (ret == 0 && schemata.length)
		ret = resctrl_set(root, container->intel_rdt_path, schemata.text, err);
	return ret;
}

/* A creation that was killed left no state: what is the container's by its name is found again. */
static void find_stale(const struct runtime *runtime, struct container *container)
{
	const struct oci_intel_rdt *rdt = &container->spec.linux_.intel_rdt;
	cleanup_free char *root = runtime->resctrl ? strdup(runtime->resctrl) : NULL;

	if (!rdt->set || container->intel_rdt_path || (!root && resctrl_find(&root, NULL) < 0))
		return;
	container->intel_rdt_path = class_path(root, container);
	container->intel_rdt_made = !rdt->clos_id;
	if (container->intel_rdt_path && rdt->enable_monitoring)
		container->intel_rdt_monitor = monitor_path(container->intel_rdt_path, container);
}

int container_remove_rdt(const struct runtime *runtime, struct container *container, struct error *err)
{
	int ret;

	find_stale(runtime, container);
	ret = container->intel_rdt_monitor ? resctrl_remove(container->intel_rdt_monitor, err) : 0;
	if (ret < 0 || !container->intel_rdt_path || !container->intel_rdt_made)
		return ret;
	/* Others may have joined a class with a name of its own. */
	if (container->spec.linux_.intel_rdt.clos_id && !resctrl_is_empty(container->intel_rdt_path))
		return 0;
	return resctrl_remove(container->intel_rdt_path, err);
}
