/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/paradigms.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "paradigm/container/container.h"
#include "paradigm/vm/vm.h"
#include "runtime/internal.h"

/* No container can have this name: see container_id_is_valid(). */
#define CACHE "@paradigms"

const struct paradigm *const paradigms_all[] = { &paradigm_container, &paradigm_pv, &paradigm_vm, NULL };

static const struct paradigm *const alone[] = { &paradigm_container, NULL };

const struct paradigm *paradigm_find(const struct paradigm *const *table, const char *name)
{
	for (table = table ? table : alone; *table; table++) {
		if (strcmp((*table)->name, name) == 0)
			return *table;
	}
	return NULL;
}

void paradigm_names(const struct paradigm *const *table, struct str *out)
{
	table = table ? table : alone;
	for (size_t i = 0; table[i]; i++)
		str_printf(out, "%s%s", i == 0 ? "" : table[i + 1] ? ", " : " and ", table[i]->name);
}

int container_choose_paradigm(const struct runtime *runtime, struct container *container, struct error *err)
{
	const char *asked = oci_spec_annotation(&container->spec, PARADIGM_ANNOTATION);
	const char *name = asked ? asked : runtime->paradigm;
	cleanup_str struct str known = STR_INIT;

	if (container->paradigm)
		return 0;
	if (!name)
		name = (runtime->paradigms ? runtime->paradigms : alone)[0]->name;
	container->paradigm = paradigm_find(runtime->paradigms, name);
	if (container->paradigm)
		return 0;
	paradigm_names(runtime->paradigms, &known);
	return error_set(err, EINVAL, "unknown paradigm \"%s\"%s; known are %s", name,
			 asked ? " in the annotation " PARADIGM_ANNOTATION : "", str_text(&known));
}

/* A verdict that cannot be kept is found again. */
static int open_cache(const struct runtime *runtime)
{
	cleanup_free char *path = path_join(runtime->root, CACHE);

	if (!path || (mkdir(path, 0700) < 0 && errno != EEXIST))
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int container_prepare_paradigm(const struct runtime *runtime, struct container *container, const char *config,
			       size_t size, struct paradigm_setup *setup, struct error *err)
{
	int ret;

	if (!container->paradigm->prepare)
		return 0;
	setup->spec = &container->spec;
	setup->config = config;
	setup->config_size = size;
	setup->id = container->id;
	setup->bundle = container->bundle;
	setup->rootfs = container->rootfs;
	setup->dir = container->dir;
	setup->dir_fd = container->dir_fd;
	setup->self = runtime->self;
	setup->cache_fd = open_cache(runtime);
	ret = container->paradigm->prepare(setup, err);
	if (setup->cache_fd >= 0)
		close(setup->cache_fd);
	setup->cache_fd = -1;
	return ret;
}

void container_clean_paradigm(const struct runtime *runtime, const struct container *container)
{
	const struct paradigm *const *table = runtime->paradigms ? runtime->paradigms : alone;

	for (; *table; table++) {
		if ((*table)->clean && (!container->paradigm || container->paradigm == *table))
			(*table)->clean(&container->spec);
	}
}

void container_release_paradigm(const struct container *container, struct paradigm_setup *setup)
{
	if (container->paradigm->prepare && container->paradigm->release)
		container->paradigm->release(setup);
}
