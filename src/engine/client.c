/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/fdpass.h"
#include "runtime/runtime.h"

int client_connect(const struct instance *instance, unsigned wants, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const char hello[2] = { MONITOR_ATTACH, (char)wants };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/ctl", instance->dir_fd);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, hello, sizeof(hello), MSG_NOSIGNAL) < 0) {
		int code = errno == ECONNREFUSED || errno == EPIPE || errno == ECONNRESET ? ENOENT : errno;

		return error_errno(err, code, "cannot reach the monitor of instance %s", instance_name(instance));
	}
	return take_fd(&fd);
}

static long now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int client_wait(int client, int timeout, struct monitor_exit *ended)
{
	struct monitor_frame frame;
	long deadline = now_ms() + timeout;

	for (;;) {
		struct pollfd ready = { .fd = client, .events = POLLIN };
		long left = timeout < 0 ? -1 : deadline - now_ms();
		ssize_t count;
		int found = poll(&ready, 1, timeout < 0 ? -1 : left < 0 ? 0 : (int)left);

		if (found < 0 && errno == EINTR)
			continue;
		if (found <= 0)
			return found < 0 ? -errno : 0;
		count = recv(client, &frame, sizeof(frame), 0);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return -EPIPE;
		if (frame.type == MONITOR_EXIT && count >= (ssize_t)(1 + sizeof(*ended))) {
			memcpy(ended, frame.data, sizeof(*ended));
			return 1;
		}
	}
}

void client_leave(int client, struct file_held *held)
{
	static const char type = MONITOR_CLOSE;

	if (client >= 0 && held->count > 0)
		(void)fdpass_send(client, held->fds, held->count, &type, sizeof(type), NULL);
	file_held_close(held);
}

int instance_signal(struct instance *instance, int number, struct error *err)
{
	struct runtime *runtime = &instance->engine->runtime;
	struct container container;
	int ret = container_load(runtime, instance->id, 0, &container, err);

	if (ret == -ENOENT)
		return error_set(err, ESRCH, "container %s is not running", instance_name(instance));
	if (ret < 0)
		return ret;
	ret = runtime_kill(runtime, &container, number, false, err);
	container_close(&container);
	return ret;
}
