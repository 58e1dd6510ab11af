/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/tty.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/fdpass.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

int tty_open(int pts_fd, struct error *err)
{
	struct open_how how = { .flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	cleanup_close int master = -1;
	struct statfs fs;
	int unlock = 0;

	if (fstatfs(pts_fd, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
		return error_set(err, ENODEV, "/dev/pts is not a devpts");
	master = (int)syscall(SYS_openat2, pts_fd, "ptmx", &how, sizeof(how));
	if (master < 0)
		return error_errno(err, errno, "cannot open a new terminal");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return error_errno(err, errno, "cannot unlock the new terminal");
	return take_fd(&master);
}

int tty_open_peer(int master, struct error *err)
{
	int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);

	return peer < 0 ? error_errno(err, errno, "cannot open the other end of a terminal") : peer;
}

int tty_number(int master)
{
	unsigned int number;

	return ioctl(master, TIOCGPTN, &number) < 0 ? -errno : (int)number;
}

int tty_set_size(int fd, unsigned int rows, unsigned int columns)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

	if (rows > USHRT_MAX || columns > USHRT_MAX)
		return -ERANGE;
	return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int tty_get_size(int fd, unsigned int *rows, unsigned int *columns)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		return -errno;
	*rows = size.ws_row;
	*columns = size.ws_col;
	return 0;
}

int tty_make_controlling(int terminal, struct error *err)
{
	/* EPERM: it leads a session already, or leads its process group. */
	if (setsid() < 0 && errno != EPERM)
		return error_errno(err, errno, "setsid");
	return ioctl(terminal, TIOCSCTTY, 0) < 0 ? error_errno(err, errno, "cannot take the terminal") : 0;
}

int tty_send_master(const char *socket_path, int master, const char *name, struct error *err)
{
	cleanup_close int socket = fdpass_connect(socket_path, err);

	if (socket < 0)
		return socket;
	return fdpass_send(socket, &master, 1, name, strlen(name), err);
}

static int change_output(int fd, tcflag_t cleared, tcflag_t set)
{
	struct termios termios;

	if (tcgetattr(fd, &termios) < 0)
		return -errno;
	termios.c_oflag = (termios.c_oflag & ~cleared) | set;
	return tcsetattr(fd, TCSANOW, &termios) < 0 ? -errno : 0;
}

int tty_end_lines_plainly(int fd)
{
	return change_output(fd, ONLCR, 0);
}

int tty_process_output(int fd)
{
	return change_output(fd, 0, OPOST);
}

int tty_make_raw(int fd, struct termios *saved, struct error *err)
{
	struct termios raw;

	if (tcgetattr(fd, saved) < 0)
		return error_errno(err, errno, "cannot read the terminal's mode");
	raw = *saved;
	cfmakeraw(&raw);
	return tcsetattr(fd, TCSANOW, &raw) < 0 ? error_errno(err, errno, "cannot set the terminal's mode") : 0;
}

int tty_restore(int fd, const struct termios *saved)
{
	return tcsetattr(fd, TCSANOW, saved) < 0 ? -errno : 0;
}
