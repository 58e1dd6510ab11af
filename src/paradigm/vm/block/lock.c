/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/block/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

enum {
	USED = 100,
	KEPT = 200,
	/* Rights. */
	READ = 1 << 0,
	WRITE = 1 << 1,
	RESIZE = 1 << 3,
	RIGHTS = 4,
};

/* The bytes of all rights of a set.  -EAGAIN: taken by somebody who wants them alone; nobody does that. */
static int take(int fd, unsigned base, unsigned rights)
{
	for (unsigned i = 0; i < RIGHTS; i++) {
		struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = base + i, .l_len = 1 };

		if (rights & 1U << i && fcntl(fd, F_OFD_SETLK, &lock) < 0)
			return -errno;
	}
	return 0;
}

/* Whether somebody else has one of those bytes. */
static bool is_taken(int fd, unsigned base, unsigned rights)
{
	for (unsigned i = 0; i < RIGHTS; i++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + i, .l_len = 1 };

		if (rights & 1U << i && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
			return true;
	}
	return false;
}

int block_lock(int fd, bool read_only, const char *path, struct error *err)
{
	unsigned used = read_only ? READ : READ | WRITE, kept = WRITE | RESIZE;
	int ret = take(fd, USED, used);

	/* First taken, then looked for: of two who come at once, at least one sees the other. */
	if (ret == 0)
		ret = take(fd, KEPT, kept);
	if (ret == -EINVAL || ret == -ENOLCK || ret == -EOPNOTSUPP)
		return 0;
	if (ret == 0 && (is_taken(fd, KEPT, used) || is_taken(fd, USED, kept)))
		ret = -EBUSY;
	if (ret == -EAGAIN || ret == -EACCES)
		ret = -EBUSY;
	if (ret == -EBUSY)
		return error_set(err, EBUSY, "the disk %s is in use%s", path,
				 read_only ? ": somebody writes into it" : "");
	return ret < 0 ? error_errno(err, -ret, "cannot lock the disk %s", path) : 0;
}
