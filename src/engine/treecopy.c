/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/treecopy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { DEPTH_MAX = 1024, XATTR_MAX = 65536 };

static int copy_xattrs(int from, int to)
{
	cleanup_free char *names = malloc(XATTR_MAX), *value = malloc(XATTR_MAX);
	ssize_t size = names ? flistxattr(from, names, XATTR_MAX) : -1;

	for (const char *name = names; value && size > 0 && name < names + size; name += strlen(name) + 1) {
		ssize_t length = fgetxattr(from, name, value, XATTR_MAX);

		/* A file system that keeps no such attribute is no reason to lose the file. */
		if (length >= 0 && fsetxattr(to, name, value, (size_t)length, 0) < 0 && errno != ENOTSUP &&
		    errno != EPERM)
			return -errno;
	}
	return 0;
}

/* Owner first: chown clears set-id bits and capabilities. */
static int copy_attributes(int from, int to, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int ret;

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return -errno;
	ret = copy_xattrs(from, to);
	if (ret == 0 && futimens(to, times) < 0)
		ret = -errno;
	return ret;
}

static int copy_bytes(int from, int to)
{
	ssize_t count;

	do
		count = copy_file_range(from, NULL, to, NULL, SSIZE_MAX & ~0xfff, 0);
	while (count > 0);
	if (count == 0)
		return 0;
	if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	do
		count = sendfile(to, from, NULL, 1 << 30);
	while (count > 0);
	return count < 0 ? -errno : 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	cleanup_close int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_close int to = -1;
	int ret;

	if (from < 0)
		return -errno;
	to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	ret = copy_bytes(from, to);
	return ret < 0 ? ret : copy_attributes(from, to, st);
}

static int copy_tree(int from, int to, int depth);

static int copy_directory(int from_dir, int to_dir, const char *name, int depth)
{
	cleanup_close int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int to = -1;

	if (from < 0)
		return -errno;
	if (mkdirat(to_dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return to < 0 ? -errno : copy_tree(from, to, depth + 1);
}

static int copy_node(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int ret = 0;

	if (S_ISLNK(st->st_mode))
		ret = file_copy_link(from_dir, to_dir, name);
	else if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0)
		ret = -errno;
	if (ret == 0 && fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		ret = -errno;
	if (ret == 0 && utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		ret = -errno;
	return ret;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_directory(from, to, name, depth);
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (unlinkat(to, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return S_ISREG(st.st_mode) ? copy_file(from, to, name, &st) : copy_node(from, to, name, &st);
}

static int copy_tree(int from, int to, int depth)
{
	int fd = fcntl(from, F_DUPFD_CLOEXEC, 0);
	cleanup_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;
	int ret = 0;

	if (!dir || fstat(from, &st) < 0)
		return -errno;
	if (depth > DEPTH_MAX)
		return -ELOOP;
	while (ret == 0 && (errno = 0, entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			ret = copy_entry(from, to, entry->d_name, depth);
	}
	if (ret == 0 && errno != 0 && !entry)
		ret = -errno;
	return ret < 0 ? ret : copy_attributes(from, to, &st);
}

int treecopy(int from, int to, struct error *err)
{
	int ret = copy_tree(from, to, 0);

	return ret < 0 ? error_errno(err, -ret, "cannot copy the tree") : 0;
}
