/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/notify.h"

#include <errno.h>
#include <fcntl.h>
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

int notify_send(const char *socket_name, const char *state, struct error *err)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), dir = -1;
	struct sockaddr_un address;
	socklen_t length;
	ssize_t sent;
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot notify %s", socket_name);
	ret = make_address(socket_name, &address, &length, &dir);
	if (ret < 0)
		return error_errno(err, -ret, "cannot notify %s", socket_name);
	do
		sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, length);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? error_errno(err, errno, "cannot notify %s", socket_name) : 0;
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
