/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/shell/copyup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { DEPTH_MAX = 256 };

static int copy_directory(int from, int to, int depth);

static int copy_content(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	cleanup_close int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t count = 1;

	if (from < 0 || to < 0)
		return -errno;
	for (off_t left = st->st_size; left > 0 && count > 0; left -= count) {
		count = sendfile(to, from, NULL, (size_t)left);
		if (count < 0)
			return -errno;
	}
	return 0;
}

static int copy_subdirectory(int from_dir, int to_dir, const char *name, int depth)
{
	cleanup_close int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int to = -1;

	if (from < 0 || mkdirat(to_dir, name, 0700) < 0)
		return -errno;
	to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return to < 0 ? -errno : copy_directory(from, to, depth + 1);
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct timespec times[2];
	struct stat st;
	int ret;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (S_ISDIR(st.st_mode))
		ret = copy_subdirectory(from, to, name, depth);
	else if (S_ISREG(st.st_mode))
		ret = copy_content(from, to, name, &st);
	else if (S_ISLNK(st.st_mode))
		ret = file_copy_link(from, to, name);
	else
		ret = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
	if (ret < 0)
		return ret;
	/* The owner first: chown takes set-user-ID bits away. */
	if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL && errno != EPERM)
		return -errno;
	if (!S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, 0) < 0)
		return -errno;
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_directory(int from, int to, int depth)
{
	cleanup_closedir DIR *dir = NULL;
	cleanup_close int own = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;

	if (own < 0)
		return -errno;
	if (depth > DEPTH_MAX)
		return -ELOOP;
	dir = fdopendir(own);
	if (!dir)
		return -errno;
	own = -1; /* the stream's now */
	while ((errno = 0, entry = readdir(dir))) {
		int ret;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		ret = copy_entry(dirfd(dir), to, entry->d_name, depth);
		if (ret < 0)
			return ret;
	}
	return -errno;
}

int copyup(int from, int to, bool with_mode, bool with_owner, struct error *err)
{
	struct stat st;
	int ret = copy_directory(from, to, 0);

	if (ret == 0 && fstat(from, &st) < 0)
		ret = -errno;
	if (ret == 0 && with_owner && fchownat(to, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0 && errno != EINVAL)
		ret = -errno;
	if (ret == 0 && with_mode && fchmodat(to, ".", st.st_mode & 07777, 0) < 0)
		ret = -errno;
	return ret < 0 ? error_errno(err, -ret, "cannot copy up into the tmpfs") : 0;
}
