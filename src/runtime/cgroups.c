/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a container's cgroup is: cgroupsPath of config-linux.md, in the two
 * forms that runc gave it (a path, or slice:prefix:name for systemd).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "runtime/internal.h"

/*
 * A relative path is ours to place.  Under version 2 the caller's own cgroup holds the caller, so it can have no
 * children with controllers: next to it, as in runc.  Elsewhere the root of each hierarchy.
 */
static char *place_relative(struct runtime *runtime, const char *path)
{
	int v2 = cgroup_host_find(&runtime->cgroups, "");
	cleanup_free char *parent = NULL;
	char *slash;

	if (runtime->cgroups.layout != CGROUP_V2 || v2 < 0 || cgroup_host_read_own(&runtime->cgroups, NULL) < 0 ||
	    !runtime->cgroups.hierarchies[v2].own)
		return strdup(path);
	parent = strdup(runtime->cgroups.hierarchies[v2].own);
	if (!parent)
		return NULL;
	slash = strrchr(parent, '/');
	if (slash)
		*slash = '\0';
	return path_join(parent, path);
}

/* "slice:prefix:name" -> scope "prefix-name.scope" in a slice ("a-b.slice" lies in "a.slice"). */
static int choose_scope(const struct runtime *runtime, struct container *container, struct error *err)
{
	cleanup_free char *copy = strdup(container->spec.linux_.cgroups_path ? container->spec.linux_.cgroups_path
									     : "");
	cleanup_str struct str path = STR_INIT;
	const char *slice, *prefix, *name;
	char *rest = copy;

	if (!copy)
		return -ENOMEM;
	if (!*copy) {
		slice = runtime->rootless ? "user.slice" : "system.slice";
		prefix = "caisson";
		name = container->id;
	} else {
		slice = strsep(&rest, ":");
		prefix = strsep(&rest, ":");
		name = rest;
		if (!prefix || !name || strchr(name, ':') || strchr(copy, '/'))
			return error_set(err, EINVAL,
					 "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd "
					 "cgroups, got \"%s\" instead",
					 container->spec.linux_.cgroups_path);
		if (!*slice)
			slice = runtime->rootless ? "user.slice" : "system.slice";
	}
	if (!str_ends(slice, ".slice") || strstr(slice, "--") || *slice == '-')
		return error_set(err, EINVAL, "invalid slice name: %s", slice);
	for (const char *dash = strchr(slice, '-'); dash; dash = strchr(dash + 1, '-'))
		str_printf(&path, "/%.*s.slice", (int)(dash - slice), slice);
	str_printf(&path, "/%s", slice);
	/* A name that is a unit already (podman's slices for pods) is taken as it is. */
	if (asprintf(&container->cgroup_unit, "%s%s%s%s", prefix, *prefix && !str_ends(name, ".slice") ? "-" : "", name,
		     str_ends(name, ".slice") ? "" : ".scope") < 0)
		return -ENOMEM;
	str_printf(&path, "/%s", container->cgroup_unit);
	container->cgroup_path = str_take(&path);
	return container->cgroup_path ? 0 : -ENOMEM;
}

int container_choose_cgroup(struct runtime *runtime, struct container *container, struct error *err)
{
	const char *wanted = container->spec.linux_.cgroups_path;
	cleanup_free char *own = NULL;
	int ret = runtime_read_cgroups(runtime, err);

	if (ret < 0)
		return ret;
	container->systemd_cgroup = runtime->systemd_cgroup;
	if (runtime->systemd_cgroup)
		return choose_scope(runtime, container, err);
	if (wanted && strstr(wanted, "..")) {
		cleanup_free char *clean = path_clean(wanted);

		if (!clean || str_starts(clean, ".."))
			return error_set(err, EINVAL, "linux.cgroupsPath \"%s\" leads out of the hierarchy", wanted);
		container->cgroup_path = take_ptr(clean);
		return 0;
	}
	if (wanted && *wanted == '/') {
		container->cgroup_path = strdup(wanted);
	} else {
		if (!wanted && asprintf(&own, "caisson-oci-%s", container->id) < 0)
			return -ENOMEM;
		container->cgroup_path = place_relative(runtime, wanted ? wanted : own);
	}
	return container->cgroup_path ? 0 : error_errno(err, ENOMEM, "cannot name the cgroup");
}

void container_controllers(const struct runtime *runtime, const struct oci_resources *resources,
			   const char *list[static RESOURCES_CONTROLLERS_MAX + 1])
{
	size_t count = 0;

	resources_controllers(resources, runtime->cgroups.layout, list);
	while (list[count])
		count++;
	if (runtime->unified && runtime->cgroups.layout == CGROUP_HYBRID && count < RESOURCES_CONTROLLERS_MAX) {
		list[count++] = "";
		list[count] = NULL;
	}
}

int container_cgroup(struct runtime *runtime, const struct container *container, struct cgroup *cgroup,
		     struct error *err)
{
	int ret = runtime_read_cgroups(runtime, err);

	if (ret < 0)
		return ret;
	if (!container->cgroup_path)
		return error_set(err, ENOENT, "container %s has no cgroup", container->id);
	return cgroup_open(&runtime->cgroups, container->cgroup_path, cgroup, err);
}

int container_remove_cgroup(struct runtime *runtime, struct container *container, struct error *err)
{
	struct cgroup cgroup;
	int ret = container->cgroup_path ? container_cgroup(runtime, container, &cgroup, err) : -ENOENT;

	if (container->cgroup_unit) {
		int stopped = container_stop_scope(container, err);

		if (stopped < 0 && ret != -ENOENT)
			container_warn(runtime, "cannot stop the scope %s", container->cgroup_unit);
	}
	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	ret = cgroup_remove(&cgroup, err);
	if (ret == -EBUSY) {
		/* Without a pid namespace of its own, what process 1 left behind lives on: the container's end is its,
		 * too. */
		(void)cgroup_freeze(&cgroup, false, NULL);
		ret = cgroup_kill(&cgroup, SIGKILL, err);
		if (ret == 0)
			ret = cgroup_remove(&cgroup, err);
	}
	cgroup_close(&cgroup);
	return ret;
}
