/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's /proc, /sys and /dev, once they are mounted: what is in them was put there by the kernel or by us, so
 * that a path in them may be walked as it is, in one system call instead of the five that an image's paths need.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "paradigm/shell/inside.h"

static const struct {
	const char *path, *type;
	long magic;
} systems[FRESH_COUNT] = {
	[FRESH_PROC] = { "/proc", "proc", PROC_SUPER_MAGIC },
	[FRESH_SYS] = { "/sys", "sysfs", SYSFS_MAGIC },
	[FRESH_DEV] = { "/dev", "tmpfs", TMPFS_MAGIC },
};

/* What is found there again may be a directory that somebody else has moved in meanwhile: that is no mount's root. */
static bool is_mount_root(int fd)
{
	struct statx stx;

	return syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &stx) == 0 &&
	       (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

void fresh_note(struct inside *inside, const char *type, const char *destination, int *target)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS };

	for (int i = 0; i < FRESH_COUNT; i++) {
		cleanup_close int fd = -1;

		if (strcmp(systems[i].path, destination) != 0 || strcmp(systems[i].type, type) != 0)
			continue;
		if (inside->fresh[i] >= 0)
			close(inside->fresh[i]);
		(void)take_fd(target); /* one of three, for one system call less */
		fd = (int)syscall(SYS_openat2, inside->root_fd, destination, &how, sizeof(how));
		/* /proc is for masks.c alone, which does to it what can be done to a mount's root only. */
		inside->fresh[i] = fd >= 0 && (i == FRESH_PROC || is_mount_root(fd)) ? take_fd(&fd) : -1;
	}
}

void fresh_forget(struct inside *inside, const char *destination, long magic)
{
	for (int i = 0; i < FRESH_COUNT; i++) {
		if (inside->fresh[i] < 0 ||
		    (systems[i].magic != magic && strspn(destination, "/") < strlen(destination)))
			continue;
		close(inside->fresh[i]);
		inside->fresh[i] = -1;
	}
}

int fresh_find(const struct inside *inside, int which, const char *path, const char **rest)
{
	size_t length = strlen(systems[which].path);

	if (inside->fresh[which] < 0 || !str_starts(path, systems[which].path) || path[length] != '/')
		return -1;
	*rest = path + length + 1;
	if (!**rest || **rest == '/' || strstr(*rest, ".."))
		return -1;
	/* The only magic links are those of processes. */
	if (which == FRESH_PROC &&
	    (isdigit((unsigned char)**rest) || str_starts(*rest, "self") || str_starts(*rest, "thread-self")))
		return -1;
	return inside->fresh[which];
}
