/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What isolates an instance, and the flags of instances that are machines.
 * Those that docker's document has no place for are annotations of the
 * configuration: paradigm/vm/settings.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "engine/document.h"
#include "runtime/paradigms.h"

static const char ISOLATION[] = "HostConfig.Isolation", VCPUS[] = "HostConfig.Vcpus", KERNEL[] = "HostConfig.Kernel";

static int set_isolation(json_t *document, const char *value, struct error *err)
{
	static const char *const later[] = { "sandbox", "wasm", NULL };
	cleanup_str struct str known = STR_INIT;

	if (strcmp(value, "auto") == 0 || strcmp(value, "default") == 0)
		return document_set_text(document, ISOLATION, "container");
	if (paradigm_find(paradigms_all, value))
		return document_set_text(document, ISOLATION, value);
	for (size_t i = 0; later[i]; i++) {
		if (strcmp(value, later[i]) == 0)
			return error_set(err, ENOTSUP, "the %s paradigm comes in a later release", value);
	}
	for (size_t i = 0; paradigms_all[i]; i++)
		str_printf(&known, "%s, ", paradigms_all[i]->name);
	return error_set(err, EINVAL, "unknown paradigm; known are %sauto", str_text(&known));
}

static int set_vcpus(json_t *document, const char *value, struct error *err)
{
	uint64_t count;

	if (str_to_u64(value, &count) < 0 || count < 1 || count > 1024)
		return error_set(err, EINVAL, "expected a number of virtual CPUs, 1 or more");
	return document_set(document, VCPUS, json_integer((json_int_t)count));
}

/* A path is made absolute: the instance may be started from anywhere. */
static int set_kernel(json_t *document, const char *value, struct error *err)
{
	cleanup_free char *path = strchr(value, '/') ? path_absolute(value) : strdup(value);

	if (!path || !*path)
		return error_set(err, EINVAL, "expected a file or the name of a kernel");
	return document_set_text(document, KERNEL, path);
}

static json_t *annotations(json_t *document)
{
	return document_at(document, "HostConfig.Annotations");
}

static int annotate(json_t *document, const char *name, const char *value)
{
	cleanup_free char *key = NULL;

	if (asprintf(&key, "org.caisson.vm.%s", name) < 0)
		return -ENOMEM;
	return json_object_set_new(annotations(document), key, json_string(value)) < 0 ? -ENOMEM : 0;
}

/* What may stand there is said by who reads it, when the instance starts; here what can be told at once. */
static int set_word(json_t *document, const char *flag, const char *value, const char *const *known, struct error *err)
{
	cleanup_str struct str list = STR_INIT;

	for (size_t i = 0; known[i]; i++) {
		if (strcmp(known[i], value) == 0)
			return annotate(document, flag, value);
		str_printf(&list, "%s%s", i == 0 ? "" : known[i + 1] ? ", " : " and ", known[i]);
	}
	return error_set(err, EINVAL, "invalid value: \"%s\"; known are %s", value, str_text(&list));
}

/* PATH[,format=F][,ro][,backing=PATH]...: one line of the annotation, with paths that hold wherever it is read. */
static int write_disk(const char *value, struct str *line)
{
	cleanup_free char *words = strdup(value);
	char *rest = words, *word;
	bool first = true;

	while ((word = strsep(&rest, ","))) {
		const char *name = first ? "" : ",backing=";
		bool path = first || str_starts(word, "backing=");
		cleanup_free char *absolute = NULL;

		if (path && !first)
			word += strlen("backing=");
		if (path && (!*word || !(absolute = path_absolute(word))))
			return -EINVAL;
		str_printf(line, "%s%s", path ? name : ",", path ? absolute : word);
		first = false;
	}
	str_printf(line, "\n");
	return !words || str_failed(line) ? -ENOMEM : 0;
}

static int add_disk(json_t *document, const char *value, struct error *err)
{
	static const char key[] = "org.caisson.vm.disk";
	const char *before = json_string_value(json_object_get(annotations(document), key));
	cleanup_str struct str lines = STR_INIT;
	int ret;

	str_printf(&lines, "%s", before ? before : "");
	ret = strchr(value, '\n') ? -EINVAL : write_disk(value, &lines);
	if (ret == -EINVAL)
		return error_set(err, EINVAL, "expected a disk, like /var/lib/data.qcow2,format=qcow2,ro");
	if (ret < 0 || json_object_set_new(annotations(document), key, json_string(str_text(&lines))) < 0)
		return error_errno(err, ENOMEM, "cannot keep it");
	return 0;
}

int machine_flag(void *target, const struct cli_option *option, const char *value, struct error *err)
{
	static const char *const engines[] = { "auto", "kvm", "qemu", NULL }, *const pages[] = { "2M", "1G", NULL };
	json_t *document = ((struct container_flags *)target)->document;
	const char *flag = option->name;

	if (strcmp(flag, "isolation") == 0)
		return set_isolation(document, value, err);
	if (strcmp(flag, "vcpus") == 0)
		return set_vcpus(document, value, err);
	if (strcmp(flag, "kernel") == 0)
		return set_kernel(document, value, err);
	if (strcmp(flag, "disk") == 0)
		return add_disk(document, value, err);
	if (strcmp(flag, "engine") == 0)
		return set_word(document, flag, value, engines, err);
	if (strcmp(flag, "hugepages") == 0)
		return set_word(document, flag, value, pages, err);
	return annotate(document, flag, value); /* machine, vcpu-pin */
}

static bool asks_for_machine(const json_t *document)
{
	const char *key;
	json_t *item;

	if (document_int(document, VCPUS) || *document_text(document, KERNEL))
		return true;
	json_object_foreach (annotations((json_t *)(uintptr_t)document), key, item) {
		if (str_starts(key, "org.caisson.vm."))
			return true;
	}
	return false;
}

/* What a kernel of one's own has no part in. */
static int check_shared(const json_t *document, const char *isolation, struct error *err)
{
	static const struct {
		const char *path, *what;
	} modes[] = { { "HostConfig.PidMode", "pid" },
		      { "HostConfig.IpcMode", "ipc" },
		      { "HostConfig.UTSMode", "uts" },
		      { "HostConfig.NetworkMode", "network" } };

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		const char *mode = document_text(document, modes[i].path);

		/* Another instance's network can be had: what it receives is handed on. */
		if (strcmp(mode, "host") == 0 ||
		    (str_starts(mode, "container:") && strcmp(modes[i].what, "network") != 0))
			return error_set(
				err, EINVAL,
				"--%s %s: an instance with --isolation %s has a kernel of its own and shares no "
				"namespace",
				modes[i].what, mode, isolation);
	}
	if (json_array_size(document_at(document, "HostConfig.Devices")))
		return error_set(
			err, ENOTSUP,
			"--device: an instance with --isolation %s has no device files of the host; it can be given a "
			"PCI device: vfio:0000:01:00.0",
			isolation);
	return 0;
}

int machine_flags_check(const json_t *document, struct error *err)
{
	const char *isolation = document_text(document, ISOLATION);
	const struct paradigm *paradigm = paradigm_find(paradigms_all, isolation);

	if (paradigm && paradigm->own_kernel)
		return check_shared(document, isolation, err);
	if (!asks_for_machine(document))
		return 0;
	return error_set(err, EINVAL,
			 "--kernel, --vcpus, --hugepages, --vcpu-pin, --disk, --device vfio:, --machine and --engine "
			 "are for machines: "
			 "say --isolation pv, or vm");
}
