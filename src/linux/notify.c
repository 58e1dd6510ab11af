/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

/*
 * An address holds 108 bytes, a path more: the directory is then named by its descriptor, which *dir keeps open.  The
 * names of abstract sockets are as long as the address says, without a NUL.
 */
static int make_address(const char *path, struct sockaddr_un *address, socklen_t *length, int *dir)
{
	cleanup_free char *copy = NULL;
	const char *slash;

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (path[0] == '@') {
		if (strlen(path) > sizeof(address->sun_path))
			return -ENAMETOOLONG;
		memcpy(address->sun_path + 1, path + 1, strlen(path) - 1);
		*length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
		return 0;
	}
	*length = sizeof(*address);
	if (path[0] != '/') /* sd_notify(3): anything else, also what newer versions add */
		return -EAFNOSUPPORT;
	if (strlen(path) < sizeof(address->sun_path)) {
		memcpy(address->sun_path, path, strlen(path));
		return 0;
	}
	slash = strrchr(path, '/');
	copy = strndup(path, (size_t)(slash - path) + 1);
	if (!copy)
		return -ENOMEM;
	*dir = open(copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return -errno;
	if (snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", *dir, slash + 1) >=
	    (int)sizeof(address->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

/* passed: a descriptor that goes with it, or -1. */
static int send_message(const char *socket_name, const char *text, int passed)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), dir = -1;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec part = { .iov_base = (void *)text, .iov_len = strlen(text) };
	struct sockaddr_un address;
	struct msghdr header = { .msg_name = &address, .msg_iov = &part, .msg_iovlen = 1 };
	socklen_t length;
	ssize_t sent;
	int ret;

	if (fd < 0)
		return -errno;
	ret = make_address(socket_name, &address, &length, &dir);
	if (ret < 0)
		return ret;
	header.msg_namelen = length;
	if (passed >= 0) {
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &passed, sizeof(int));
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
	}
	do
		sent = sendmsg(fd, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int notify_send(const char *socket_name, const char *state, struct error *err)
{
	int ret = send_message(socket_name, state, -1);

	return ret < 0 ? error_errno(err, -ret, "cannot notify %s", socket_name) : 0;
}

int notify_barrier(const char *socket_name, int timeout, struct error *err)
{
	int pair[2], ret;
	struct pollfd end = { .events = 0 };

	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot notify %s", socket_name);
	ret = send_message(socket_name, "BARRIER=1", pair[1]);
	close(pair[1]);
	/* The manager closes its end when it is there: POLLHUP.  One that knows no barriers does so at once. */
	end.fd = pair[0];
	if (ret == 0)
		while (poll(&end, 1, timeout) < 0 && errno == EINTR)
			;
	close(pair[0]);
	return ret < 0 ? error_errno(err, -ret, "cannot notify %s", socket_name) : 0;
}

/* Messages are lines; one that does not fit was not meant for us. */
static bool says_ready(char *text)
{
	char *line;

	while ((line = strsep(&text, "\n"))) {
		if (strcmp(line, "READY=1") == 0)
			return true;
	}
	return false;
}

int notify_take_ready(int fd, struct error *err)
{
	char text[4096];
	bool ready = false;

	for (;;) {
		ssize_t count = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return ready;
		if (count < 0)
			return error_errno(err, errno, "cannot read notifications");
		text[count] = '\0';
		ready |= says_ready(text);
	}
}

int notify_listen(const char *path, struct error *err)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), dir = -1;
	struct sockaddr_un address;
	socklen_t length;
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot listen at %s", path);
	ret = make_address(path, &address, &length, &dir);
	if (ret == 0 && bind(fd, (const struct sockaddr *)&address, length) < 0)
		ret = -errno;
	return ret < 0 ? error_errno(err, -ret, "cannot listen at %s", path) : take_fd(&fd);
}
