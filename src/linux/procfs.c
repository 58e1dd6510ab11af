/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/procfs.h"

#include <errno.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { PROC_ROOT_INODE = 1 };

static bool is_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* A directory from inside a procfs, bound over /proc, would have files of the same names for another process. */
static bool is_procfs_root(int fd)
{
	struct stat st;

	return is_procfs(fd) && fstat(fd, &st) == 0 && st.st_ino == PROC_ROOT_INODE;
}

int procfs_open(struct error *err)
{
	cleanup_close int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, errno, "cannot open /proc");
	if (!is_procfs_root(fd))
		return error_set(err, ENODEV, "/proc is not a procfs");
	return take_fd(&fd);
}

int procfs_open_file(int procfs, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
	};
	cleanup_close int fd = (int)syscall(SYS_openat2, procfs, path, &how, sizeof(how));

	if (fd < 0)
		return -errno;
	return is_procfs(fd) ? take_fd(&fd) : -EXDEV;
}

int procfs_write(int procfs, const char *path, const char *text)
{
	cleanup_close int fd = procfs_open_file(procfs, path, O_WRONLY);
	ssize_t count;

	if (fd < 0)
		return fd;
	do
		count = write(fd, text, strlen(text));
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return -errno;
	return (size_t)count == strlen(text) ? 0 : -EIO;
}
