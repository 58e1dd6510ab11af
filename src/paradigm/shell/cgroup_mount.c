/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of type "cgroup": the container sees its own cgroup as the root of
 * each hierarchy, by its cgroup namespace or, without one, by a bind mount of
 * that directory.  See cgroup_namespaces(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/mount.h"
#include "paradigm/shell/inside.h"

static bool is_in(const struct cgroup *cgroup, size_t index)
{
	return cgroup->present & (UINT32_C(1) << index);
}

/* The container's own directory of a hierarchy, on the host; fresh memory. */
static char *own_directory(const struct inside *inside, size_t index)
{
	const struct cgroup *cgroup = inside->options->cgroup;

	return path_join(cgroup->host->hierarchies[index].mount, cgroup->path);
}

/* Where the mount goes: a path from an open directory, which may be walked as it is; "": that directory itself. */
struct point {
	int dir, opened; /* the same, or -1 if it is somebody else's */
	const char *path;
};

static void point_close(struct point *point)
{
	if (point->opened >= 0)
		close(point->opened);
}
#define cleanup_point __attribute__((cleanup(point_close)))

static int open_point(const struct inside *inside, const char *destination, struct point *point, struct error *err)
{
	point->opened = -1;
	point->dir = fresh_find(inside, FRESH_SYS, destination, &point->path);
	if (point->dir < 0) {
		point->path = "";
		point->dir = point->opened = mounts_open_target(inside, destination, true, err);
	}
	return point->dir < 0 ? point->dir : 0;
}

/* After something was mounted there. */
static int reopen_point(const struct inside *inside, const char *destination, struct point *point, struct error *err)
{
	if (point->opened < 0)
		return 0;
	close(point->opened);
	point->dir = point->opened = file_open_in_root(inside->root_fd, destination, O_PATH | O_DIRECTORY, 0);
	return point->dir < 0 ? error_errno(err, -point->dir, "cannot open the new mount") : 0;
}

/* "PATH/NAME" from the directory of the point. */
static int below(const struct point *point, const char *name, char path[static PATH_MAX])
{
	int length = snprintf(path, PATH_MAX, "%s%s%s", point->path, *point->path ? "/" : "", name);

	return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/*
 * One v1 hierarchy (or the v2 tree of a hybrid host) below the tmpfs.  By its path: nobody but us has ever seen that
 * tmpfs, so nobody can have put a link there.
 */
static int mount_hierarchy(const struct inside *inside, size_t index, const struct point *tmpfs, struct error *err)
{
	const struct cgroup_hierarchy *hierarchy = &inside->options->cgroup->host->hierarchies[index];
	const char *name = strrchr(hierarchy->mount, '/') + 1, *type = hierarchy->v2 ? "cgroup2" : "cgroup";
	cleanup_free char *own = own_directory(inside, index), *data = NULL;
	char target[PATH_MAX];
	int ret;

	if (!own || below(tmpfs, name, target) < 0 ||
	    asprintf(&data, "%s%s", str_starts(hierarchy->controllers, "name=") ? "none," : "",
		     hierarchy->controllers) < 0)
		return -ENOMEM;
	if (mkdirat(tmpfs->dir, target, 0755) < 0)
		return error_errno(err, errno, "cannot make the mount point %s", name);
	if (inside->spec->linux_.namespaces[OCI_NS_CGROUP].set)
		ret = mount_classic_at("cgroup", tmpfs->dir, target, type, MS_NOSUID | MS_NODEV | MS_NOEXEC,
				       hierarchy->v2 ? NULL : data, err);
	else
		ret = mount_classic_at(own, tmpfs->dir, target, NULL, MS_BIND, NULL, err);
	return ret < 0 ? (error_wrap(err, "cannot mount the cgroup hierarchy %s", name), ret) : 0;
}

/* Programs look for each controller by its own name: "cpu" -> "cpu,cpuacct". */
static int link_controllers(const char *mount, const struct point *tmpfs, struct error *err)
{
	const char *name = strrchr(mount, '/') + 1;
	cleanup_free char *list = strdup(name);
	char *rest = list, *controller, path[PATH_MAX];

	if (!strchr(name, ','))
		return 0;
	if (!list)
		return -ENOMEM;
	while ((controller = strsep(&rest, ","))) {
		if (below(tmpfs, controller, path) < 0)
			return -ENAMETOOLONG;
		if (symlinkat(name, tmpfs->dir, path) < 0 && errno != EEXIST)
			return error_errno(err, errno, "cannot link %s", controller);
	}
	return 0;
}

static int mount_v1(const struct inside *inside, struct point *point, const struct oci_mount *mount,
		    const struct mount_options *parsed, struct error *err)
{
	const struct cgroup_host *host = inside->options->cgroup->host;
	unsigned long flags = (parsed->flags | MS_NOSUID | MS_NODEV | MS_NOEXEC) & ~(unsigned long)MS_RDONLY;
	int ret = mount_classic_at("tmpfs", point->dir, point->path, "tmpfs", flags, "mode=755", err);

	if (ret == 0)
		ret = reopen_point(inside, mount->destination, point, err);
	/* A hierarchy that the container has no cgroup in would show the host's: it is left out. */
	for (size_t i = 0; i < host->count && ret == 0; i++) {
		if (!is_in(inside->options->cgroup, i))
			continue;
		ret = mount_hierarchy(inside, i, point, err);
		if (ret == 0)
			ret = link_controllers(host->hierarchies[i].mount, point, err);
	}
	if (ret == 0 && parsed->flags & MS_RDONLY)
		ret = mount_set_attributes(point->dir, point->path, MOUNT_ATTR_RDONLY, 0, true, err);
	return ret;
}

static int mount_v2(const struct inside *inside, const struct point *point, const struct oci_mount *mount,
		    const struct mount_options *parsed, struct error *err)
{
	cleanup_free char *own = own_directory(inside, (size_t)cgroup_host_find(inside->options->cgroup->host, ""));
	bool more = parsed->propagation_count || parsed->recursive_set || parsed->recursive_cleared;
	cleanup_close int top = -1;
	int ret = -EPERM;

	if (!own)
		return -ENOMEM;
	if (inside->spec->linux_.namespaces[OCI_NS_CGROUP].set)
		ret = mount_classic_at("cgroup", point->dir, point->path, "cgroup2", parsed->flags, parsed->data, err);
	if (ret == 0 && !more)
		return 0;
	/* Without the right to mount one (rootless), or with one root for all: the own directory by a bind mount. */
	if (ret == -EPERM || ret == -EBUSY)
		ret = mount_classic_at(own, point->dir, point->path, NULL, MS_BIND, NULL, err);
	if (ret < 0)
		return ret;
	top = file_open_in_root(inside->root_fd, mount->destination, O_PATH | O_DIRECTORY, 0);
	return top < 0 ? error_errno(err, -top, "cannot open the new mount") : mount_apply(top, parsed, err);
}

int cgroup_mount_make(struct inside *inside, const struct oci_mount *mount, struct error *err)
{
	const struct cgroup *cgroup = inside->options->cgroup;
	struct mount_options parsed;
	cleanup_point struct point point;
	int ret = open_point(inside, mount->destination, &point, err);

	if (ret < 0)
		return ret;
	ret = inside_join_cgroup(inside, err);
	if (ret < 0)
		return ret;
	/* Without a cgroup there is nothing to show; but a bind mount of the host's /sys would show the host's tree,
	 * and a rootless user may write in there (CVE-2023-25809). */
	if (!cgroup || !cgroup->present)
		return mount_classic_at("tmpfs", point.dir, point.path, "tmpfs",
					MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "mode=755", err);
	ret = mount_options_parse(mount->options.items, mount->options.count, &parsed, err);
	if (ret < 0)
		return ret;
	if (cgroup->host->layout == CGROUP_V2)
		ret = mount_v2(inside, &point, mount, &parsed, err);
	else
		ret = mount_v1(inside, &point, mount, &parsed, err);
	mount_options_free(&parsed);
	return ret;
}
