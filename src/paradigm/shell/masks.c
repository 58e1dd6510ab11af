/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maskedPaths and readonlyPaths (config-linux.md).
 *
 * What covers a masked file is the host's null device, opened before the
 * container's root is entered and checked to be that (CVE-2025-31133).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/mount.h"
#include "paradigm/shell/inside.h"

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

static int open_null(struct error *err)
{
	cleanup_close int fd = open("/dev/null", O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot open /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return error_set(err, ENODEV, "/dev/null is not the null device");
	return take_fd(&fd);
}

/* Where a path that is to be covered is: open below *dir when others may have a name in it, else walked from there. */
struct place {
	int dir, opened;
	const char *rest; /* "": dir itself */
};

static void place_close(struct place *place)
{
	if (place->opened >= 0)
		close(place->opened);
}
#define cleanup_place __attribute__((cleanup(place_close)))

static int find_place(const struct inside *inside, const char *path, struct place *place)
{
	place->opened = -1;
	place->dir = fresh_find(inside, FRESH_PROC, path, &place->rest);
	if (place->dir < 0)
		place->dir = fresh_find(inside, FRESH_SYS, path, &place->rest);
	if (place->dir >= 0)
		return 0;
	place->rest = "";
	place->dir = place->opened = file_open_in_root(inside->root_fd, path, O_PATH, 0);
	return place->dir < 0 ? place->dir : 0;
}

static bool is_absent(int ret)
{
	return ret == -ENOENT || ret == -ENOTDIR;
}

/* A file takes the null device, a directory an empty tmpfs. */
static int mask(const struct inside *inside, const char *path, int null, struct error *err)
{
	cleanup_place struct place place;
	char source[FILE_FD_PATH_MAX];
	struct stat st;
	int ret = find_place(inside, path, &place);

	/* Asked first: a mount that fails costs ten times as much. */
	if (ret == 0 && fstatat(place.dir, place.rest, &st, AT_EMPTY_PATH) < 0)
		ret = -errno;
	if (is_absent(ret))
		return 0;
	if (ret < 0)
		return error_errno(err, -ret, "cannot open %s", path);
	if (S_ISDIR(st.st_mode))
		return mount_classic_at("tmpfs", place.dir, place.rest, "tmpfs",
					MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0k", err);
	return mount_classic_at(file_fd_path(null, source), place.dir, place.rest, NULL, MS_BIND, NULL, err);
}

/* The path's own tree, read-only, over itself.  One system call since Linux 6.15, two before. */
static int clone_readonly(int target, struct error *err)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
	long fd = syscall(SYS_open_tree_attr, target, "",
			  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
			  sizeof(attributes));
	int ret;

	if (fd >= 0)
		return (int)fd;
	fd = mount_clone(target, "", true, 0, err);
	if (fd < 0)
		return (int)fd;
	ret = mount_set_attributes((int)fd, "", MOUNT_ATTR_RDONLY, 0, true, err);
	if (ret < 0) {
		close((int)fd);
		return ret;
	}
	return (int)fd;
}

/* The same where a path may be walked twice. */
static int bind_readonly(const struct place *place, struct error *err)
{
	char source[PATH_MAX];
	int ret;

	if (snprintf(source, sizeof(source), "/proc/self/fd/%d/%s", place->dir, place->rest) >= PATH_MAX)
		return error_errno(err, ENAMETOOLONG, "cannot bind %s", place->rest);
	ret = mount_classic_at(source, place->dir, place->rest, NULL, MS_BIND | MS_REC, NULL, err);
	if (ret == 0)
		ret = mount_set_attributes(place->dir, place->rest, MOUNT_ATTR_RDONLY, 0, true, err);
	return is_absent(ret) ? 0 : ret;
}

static int make_readonly(const struct inside *inside, const char *path, struct error *err)
{
	cleanup_place struct place place;
	cleanup_close int tree = -1;
	int ret = find_place(inside, path, &place);

	if (is_absent(ret))
		return 0;
	if (ret < 0)
		return error_errno(err, -ret, "cannot open %s", path);
	if (*place.rest)
		return bind_readonly(&place, err);
	tree = clone_readonly(place.dir, err);
	return tree < 0 ? tree : mount_attach(tree, place.dir, err);
}

int masks_apply(const struct inside *inside, struct error *err)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	cleanup_close int null = linux_->masked_paths.count ? open_null(err) : -1;
	int ret;

	if (linux_->masked_paths.count && null < 0)
		return null;

	for (size_t i = 0; i < linux_->readonly_paths.count; i++) {
		ret = make_readonly(inside, linux_->readonly_paths.items[i], err);
		if (ret < 0)
			return error_wrap(err, "cannot make %s read-only", linux_->readonly_paths.items[i]), ret;
	}
	for (size_t i = 0; i < linux_->masked_paths.count; i++) {
		ret = mask(inside, linux_->masked_paths.items[i], null, err);
		if (ret < 0)
			return error_wrap(err, "can't mask path \"%s\"", linux_->masked_paths.items[i]), ret;
	}
	return 0;
}
