/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.terminal: a terminal in the container's own devpts, its other end as
 * 0, 1, 2 and as /dev/console.  The master goes to the parent, which hands it
 * to the console socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/mount.h"
#include "linux/tty.h"
#include "paradigm/shell/inside.h"
#include "paradigm/shell/sync.h"

static int open_terminal(struct inside *inside, struct error *err)
{
	cleanup_close int pts = file_open_in_root(inside->root_fd, "/dev/pts", O_PATH | O_DIRECTORY, 0);
	cleanup_close int master = -1;
	int ret;

	if (pts < 0)
		return error_errno(err, -pts, "process.terminal needs a devpts at /dev/pts");
	master = tty_open(pts, err);
	if (master < 0)
		return master;
	inside->console = tty_open_peer(master, err);
	if (inside->console < 0)
		return inside->console;
	if (inside->process->console_size.set)
		(void)tty_set_size(master, inside->process->console_size.height, inside->process->console_size.width);
	ret = sync_send(inside->sync, SYNC_CONSOLE, 0, master);
	return ret < 0 ? error_errno(err, -ret, "cannot hand the terminal out") : 0;
}

/* /dev/console is the terminal itself, by its descriptor: no path that could have been swapped (CVE-2025-52565). */
static int mount_console(const struct inside *inside, struct error *err)
{
	cleanup_close int dev = file_open_in_root(inside->root_fd, "/dev", O_PATH | O_DIRECTORY, 0);
	cleanup_close int target = -1, source = -1;

	if (dev < 0)
		return error_errno(err, -dev, "cannot open /dev");
	target = file_touch_at(dev, "console", 0666);
	if (target < 0)
		return error_errno(err, -target, "cannot make /dev/console");
	source = mount_clone(inside->console, "", false, 0, err);
	return source < 0 ? source : mount_attach(source, target, err);
}

int terminal_make(struct inside *inside, struct error *err)
{
	int ret = open_terminal(inside, err);

	/* In a running container /dev/console is process 1's. */
	if (ret == 0 && inside->options && !inside->keeps_root)
		ret = mount_console(inside, err);
	return ret;
}

/* Descriptors of the caller's among 0..2 would be overwritten while they are still to be duplicated. */
static int lift_stdio(int stdio[3], struct error *err)
{
	for (int i = 0; i < 3; i++) {
		if (stdio[i] < 0 || stdio[i] > 2 || stdio[i] == i)
			continue;
		stdio[i] = fcntl(stdio[i], F_DUPFD_CLOEXEC, 3);
		if (stdio[i] < 0)
			return error_errno(err, errno, "cannot duplicate standard streams");
	}
	return 0;
}

/*
 * The workload's user must be able to reopen its own /dev/stdout.  Only pipes, sockets and terminals are given away:
 * chowning whatever comes in once gave the host's /dev/null to a container's user.
 */
static int own_stdio(uid_t uid, struct error *err)
{
	for (int i = 0; i < 3; i++) {
		struct stat st;

		if (fstat(i, &st) < 0 || st.st_uid == uid)
			continue;
		if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && !(S_ISCHR(st.st_mode) && isatty(i)))
			continue;
		if (fchown(i, uid, (gid_t)-1) < 0 && errno != EINVAL && errno != EPERM && errno != EROFS)
			return error_errno(err, errno, "cannot give the standard streams to user %u", uid);
	}
	return 0;
}

static bool is_null(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

/*
 * The null device that the caller opened is on a mount of the host's, which a checkpoint cannot name and a program
 * finds in its /proc/self/fd: the container has one of its own.
 */
static int own_null(struct error *err)
{
	cleanup_close int null = -1;

	for (int i = 0; i < 3; i++) {
		struct stat st;

		if (fstat(i, &st) < 0 || !is_null(&st))
			continue;
		if (null < 0)
			null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
		/* An image may bring a /dev that has none. */
		if (null < 0 || fstat(null, &st) < 0 || !is_null(&st))
			return 0;
		if (dup2(null, i) < 0)
			return error_errno(err, errno, "cannot duplicate standard streams");
	}
	return 0;
}

int terminal_use(struct inside *inside, struct error *err)
{
	int ret;

	if (inside->console >= 0) {
		for (int i = 0; i < 3; i++)
			inside->stdio[i] = inside->console;
		ret = tty_make_controlling(inside->console, err);
	} else {
		ret = lift_stdio(inside->stdio, err);
	}
	if (ret < 0)
		return ret;
	for (int i = 0; i < 3; i++) {
		if (inside->stdio[i] >= 0 && inside->stdio[i] != i && dup2(inside->stdio[i], i) < 0)
			return error_errno(err, errno, "cannot duplicate standard streams");
	}
	if (inside->options && inside->console < 0)
		ret = own_null(err);
	if (ret < 0)
		return ret;
	return inside->process->user.uid == 0 && !inside->in_userns ? 0 : own_stdio(inside->process->user.uid, err);
}
