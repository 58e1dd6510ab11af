/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maskedPaths and readonlyPaths (config-linux.md).
 *
 * What covers a masked file is the null device that devices.c has made in a
 * /dev of our own, else the host's, opened before the container's root is
 * entered and checked to be that (CVE-2025-31133).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/mount.h"
#include "paradigm/shell/inside.h"

enum { SOURCE_MAX = FILE_FD_PATH_MAX + sizeof("/null") };

/* Writes the path that the null device is mounted from.  *opened, owned by the caller, is what keeps it valid, or -1.
 */
static int find_null(const struct inside *inside, char source[static SOURCE_MAX], int *opened, struct error *err)
{
	struct stat st;

	*opened = -1;
	if (inside->fresh[FRESH_DEV] >= 0 && !inside->dev_is_bound) {
		(void)snprintf(source, SOURCE_MAX, "/proc/self/fd/%d/null", inside->fresh[FRESH_DEV]);
		return 0;
	}
	*opened = open("/dev/null", O_PATH | O_CLOEXEC);
	if (*opened < 0 || fstat(*opened, &st) < 0)
		return error_errno(err, errno, "cannot open /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return error_set(err, ENODEV, "/dev/null is not the null device");
	(void)file_fd_path(*opened, source);
	return 0;
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

/* What is in /proc, which most of these paths are about: read once instead of asking for each. */
struct listing {
	long size; /* of bytes; 0: nothing is known */
	bool complete;
	alignas(struct dirent64) char bytes[16384];
};

static void read_listing(int dir, struct listing *listing)
{
	cleanup_close int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	listing->size = fd < 0 ? 0 : syscall(SYS_getdents64, fd, listing->bytes, sizeof(listing->bytes));
	if (listing->size < 0)
		listing->size = 0;
	/* What left room for one more entry was the last. */
	listing->complete = listing->size && listing->size + sizeof(struct dirent64) <= sizeof(listing->bytes);
}

/* S_IFDIR, S_IFREG for whatever else it is, 0 when there is no such name, or -errno. */
static int type_of(const struct listing *listing, const struct place *place, bool in_proc)
{
	const struct dirent64 *entry;
	bool absent = in_proc && listing->complete && !strchr(place->rest, '/');
	struct stat st;

	for (long at = 0; in_proc && at < listing->size; at += entry->d_reclen) {
		entry = (const struct dirent64 *)(listing->bytes + at);
		if (strcmp(entry->d_name, place->rest) != 0)
			continue;
		if (entry->d_type == DT_DIR || entry->d_type == DT_REG)
			return entry->d_type == DT_DIR ? S_IFDIR : S_IFREG;
		absent = false; /* a link: what it leads to counts */
	}
	if (absent)
		return 0;
	if (fstatat(place->dir, place->rest, &st, AT_EMPTY_PATH) < 0)
		return is_absent(-errno) ? 0 : -errno;
	return S_ISDIR(st.st_mode) ? S_IFDIR : S_IFREG;
}

/* A file takes the null device, a directory an empty tmpfs. */
static int mask(const struct inside *inside, const struct listing *listing, const char *path, const char *null,
		struct error *err)
{
	cleanup_place struct place place;
	int ret = find_place(inside, path, &place);

	/* Asked first: a mount that fails costs up to a hundred times as much. */
	if (ret == 0)
		ret = type_of(listing, &place, place.dir == inside->fresh[FRESH_PROC]);
	if (ret == 0 || is_absent(ret))
		return 0;
	if (ret < 0)
		return error_errno(err, -ret, "cannot open %s", path);
	if (ret == S_IFDIR)
		return mount_classic_at("tmpfs", place.dir, place.rest, "tmpfs",
					MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0k", err);
	return mount_classic_at(null, place.dir, place.rest, NULL, MS_BIND, NULL, err);
}

/* The path's own tree, read-only, over itself, where it may be walked twice.  Of a /proc that is read-only
 * (masks_apply()) every clone is, too. */
static int bind_readonly(const struct place *place, bool in_proc, struct error *err)
{
	char source[PATH_MAX];
	int ret;

	if (snprintf(source, sizeof(source), "/proc/self/fd/%d/%s", place->dir, place->rest) >= PATH_MAX)
		return error_errno(err, ENAMETOOLONG, "cannot bind %s", place->rest);
	ret = mount_classic_at(source, place->dir, place->rest, NULL, MS_BIND | MS_REC, NULL, err);
	if (ret == 0 && !in_proc)
		ret = mount_set_attributes(place->dir, place->rest, MOUNT_ATTR_RDONLY, 0, true, err);
	return is_absent(ret) ? 0 : ret;
}

static int make_readonly(const struct inside *inside, const struct listing *listing, const char *path,
			 struct error *err)
{
	cleanup_place struct place place;
	cleanup_close int tree = -1;
	int ret = find_place(inside, path, &place);
	bool in_proc = ret == 0 && place.dir == inside->fresh[FRESH_PROC];

	if (is_absent(ret) || (in_proc && listing->size && type_of(listing, &place, true) == 0))
		return 0;
	if (ret < 0)
		return error_errno(err, -ret, "cannot open %s", path);
	if (*place.rest)
		return bind_readonly(&place, in_proc, err);
	tree = mount_clone_readonly(place.dir, "", true, err);
	return tree < 0 ? tree : mount_attach(tree, place.dir, err);
}

static int cover(const struct inside *inside, const struct listing *listing, const char *null, struct error *err)
{
	const struct oci_strings *readonly = &inside->spec->linux_.readonly_paths;
	const struct oci_strings *masked = &inside->spec->linux_.masked_paths;
	int ret;

	for (size_t i = 0; i < readonly->count; i++) {
		ret = make_readonly(inside, listing, readonly->items[i], err);
		if (ret < 0)
			return error_wrap(err, "cannot make %s read-only", readonly->items[i]), ret;
	}
	for (size_t i = 0; i < masked->count; i++) {
		ret = mask(inside, listing, masked->items[i], null, err);
		if (ret < 0)
			return error_wrap(err, "can't mask path \"%s\"", masked->items[i]), ret;
	}
	return 0;
}

int masks_apply(const struct inside *inside, struct error *err)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	cleanup_close int opened = -1;
	char null[SOURCE_MAX] = "";
	struct listing listing = { .size = 0 };
	int proc = inside->fresh[FRESH_PROC], ret;

	if (!linux_->masked_paths.count && !linux_->readonly_paths.count)
		return 0;
	ret = linux_->masked_paths.count ? find_null(inside, null, &opened, err) : 0;
	if (ret < 0 || proc < 0)
		return ret < 0 ? ret : cover(inside, &listing, null, err);
	read_listing(proc, &listing);
	/* Read-only as a whole while parts of it are cloned over themselves.  What is no mount's root is refused: a
	 * directory that somebody has moved to the place of /proc, see fresh.c. */
	ret = mount_set_attributes(proc, "", MOUNT_ATTR_RDONLY, 0, true, err);
	if (ret == 0)
		ret = cover(inside, &listing, null, err);
	if (ret == 0 && !inside->proc_is_readonly)
		ret = mount_set_attributes(proc, "", 0, MOUNT_ATTR_RDONLY, false, err);
	return ret;
}
