/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a container's cgroup is: cgroupsPath of config-linux.md, in the two
 * forms that runc gave it (a path, or slice:prefix:name for systemd).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/idmap.h"
#include "runtime/internal.h"

enum { DELEGATE_MAX = 4096 };

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
		/* Named like the container, as by runc and crun. */
		container->cgroup_path = place_relative(runtime, wanted ? wanted : container->id);
	}
	return container->cgroup_path ? 0 : error_errno(err, ENOMEM, "cannot name the cgroup");
}

bool container_cgroup_is_named(const struct runtime *runtime, const struct container *container)
{
	return container->spec.linux_.cgroups_path && !container->systemd_cgroup && !runtime->own_names;
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

/* The directory itself, and of its files those that the kernel says may be given away. */
static int give(const struct cgroup *cgroup, uid_t owner)
{
	static const char list_path[] = "/sys/kernel/cgroup/delegate";
	int v2 = cgroup_host_find(cgroup->host, "");
	cleanup_free char *dir = path_join(cgroup->host->hierarchies[v2].mount, cgroup->path), *list = NULL;
	cleanup_close int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	char *rest, *name;

	if (fd < 0 || fchown(fd, owner, (gid_t)-1) < 0)
		return -errno;
	if (file_read(AT_FDCWD, list_path, DELEGATE_MAX, &list, NULL, NULL) < 0)
		list = strdup("cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n"); /* before 4.15 */
	rest = list;
	while (rest && (name = strsep(&rest, "\n"))) {
		/* A file of a controller that is not there: memory.oom.group. */
		if (*name && fchownat(fd, name, owner, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return -errno;
	}
	return list ? 0 : -ENOMEM;
}

static bool shows_cgroup_writable(const struct oci_spec *spec)
{
	bool shown = false;

	if (!spec->linux_.namespaces[OCI_NS_CGROUP].set || spec->linux_.namespaces[OCI_NS_CGROUP].path)
		return false;
	for (size_t i = 0; i < spec->mounts_count && !shown; i++) {
		const struct oci_mount *mount = &spec->mounts[i];

		shown = mount->type && str_starts(mount->type, "cgroup");
		for (size_t k = 0; k < mount->options.count; k++)
			shown &= strcmp(mount->options.items[k], "ro") != 0;
	}
	return shown;
}

int container_delegate_cgroup(const struct container *container, const struct cgroup *cgroup, struct error *err)
{
	const struct oci_linux *linux_ = &container->spec.linux_;
	const struct idmap_range *ranges = (const struct idmap_range *)linux_->uid_mappings.items;
	int64_t owner = container->spec.process.user.uid;
	int ret;

	if (cgroup->host->layout != CGROUP_V2 || !shows_cgroup_writable(&container->spec))
		return 0;
	if (linux_->namespaces[OCI_NS_USER].set)
		owner = idmap_outside(ranges, linux_->uid_mappings.count, (uint32_t)owner);
	/* The caller's already, or nobody's that we know. */
	if (owner < 0 || (uid_t)owner == geteuid())
		return 0;
	ret = give(cgroup, (uid_t)owner);
	/* Who is not root cannot give it away; the container then finds what it would with a read-only mount. */
	if (ret == -EPERM)
		return 0;
	return ret < 0 ? error_errno(err, -ret, "cannot change the owner of cgroup %s", cgroup->path) : 0;
}

void container_forget_cgroup(struct runtime *runtime, const struct container *container)
{
	struct cgroup cgroup;

	if (container->cgroup_path && container_cgroup(runtime, container, &cgroup, NULL) == 0) {
		(void)cgroup_remove(&cgroup, NULL);
		cgroup_close(&cgroup);
	}
}

int container_remove_cgroup(struct runtime *runtime, struct container *container, struct error *err)
{
	struct cgroup cgroup;
	int ret = container->cgroup_path ? runtime_read_cgroups(runtime, err) : -ENOENT;

	if (ret == 0)
		ret = cgroup_name(&runtime->cgroups, container->cgroup_path, &cgroup, err);
	if (container->cgroup_unit) {
		int stopped = container_stop_scope(container, err);

		if (stopped < 0 && ret != -ENOENT)
			container_warn(runtime, "cannot stop the scope %s", container->cgroup_unit);
	}
	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	/* Where it never was it need not be looked for. */
	if (container->cgroup_present && unlinkat(container->dir_fd, CGROUP_GREW, 0) < 0)
		cgroup.present = container->cgroup_present;
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
