/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

int fdpass_connect(const char *path, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), file = -1;

	if (fd < 0)
		return error_errno(err, errno, "socket");
	if (strlen(path) < sizeof(address.sun_path)) {
		memcpy(address.sun_path, path, strlen(path));
	} else {
		/* An address holds 108 bytes, a path 4096: by a descriptor it is always short. */
		file = open(path, O_PATH | O_CLOEXEC);
		if (file < 0)
			return error_errno(err, errno, "cannot open the socket %s", path);
		(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file);
	}
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err, errno, "cannot connect to the socket %s", path);
	return take_fd(&fd);
}

int fdpass_send(int socket, const int *fds, size_t count, const void *data, size_t size, struct error *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec part = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (count > FDPASS_MAX || size == 0)
		return error_set(err, EINVAL, "cannot send %zu descriptors", count);
	if (count > 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, count * sizeof(int));
	}
	do
		sent = sendmsg(socket, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	for (size_t done = sent > 0 ? (size_t)sent : 0; sent >= 0 && done < size; done += (size_t)sent) {
		sent = send(socket, (const char *)data + done, size - done, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			sent = 0;
	}
	return sent < 0 ? error_errno(err, errno, "cannot send descriptors") : 0;
}

/* Every descriptor that came is owned from here on: kept, or closed. */
static int keep(const struct msghdr *header, int *fds, size_t room)
{
	size_t count = 0;
	int excess = 0;

	for (struct cmsghdr *item = CMSG_FIRSTHDR((struct msghdr *)header); item;
	     item = CMSG_NXTHDR((struct msghdr *)header, item)) {
		size_t came = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < came; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
			if (count < room) {
				fds[count++] = fd;
			} else {
				close(fd);
				excess = 1;
			}
		}
	}
	if (excess || (header->msg_flags & MSG_CTRUNC)) {
		while (count > 0)
			close(fds[--count]);
		return -E2BIG;
	}
	return (int)count;
}

int fdpass_receive(int socket, int *fds, size_t *count, void *data, size_t size, struct error *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
	} control;
	struct iovec part = { .iov_base = data, .iov_len = size };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	ssize_t received;
	int kept;

	do
		received = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return error_errno(err, errno, "cannot receive descriptors");
	kept = keep(&header, fds, *count);
	if (kept < 0)
		return error_set(err, -kept, "more descriptors came than were expected");
	*count = (size_t)kept;
	return (int)received;
}
