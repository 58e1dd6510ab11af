/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/notify.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/clone.h"
#include "linux/notify.h"

enum { BARRIER_TIMEOUT = 30000 /* ms */ };

const char *oci_notify_host(void)
{
	const char *host = getenv("NOTIFY_SOCKET");

	return host && *host ? host : NULL;
}

/* Two messages, like runc: a manager may take the main process only from who is known to it. */
static int tell(pid_t main_process, struct error *err)
{
	const char *host = oci_notify_host();
	char text[48];
	int ret = host ? notify_send(host, "READY=1\n", err) : 0;

	(void)snprintf(text, sizeof(text), "MAINPID=%d\n", (int)main_process);
	return ret == 0 && host ? notify_send(host, text, err) : ret;
}

int oci_notify_wait(int fd, pid_t container, struct error *err)
{
	cleanup_close int notifications = fd, pidfd = pidfd_of(container);
	struct pollfd polls[] = { { .fd = notifications, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
	int ready = 0;

	while (ready == 0 && pidfd >= 0 && !polls[1].revents) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			return error_errno(err, errno, "cannot wait for the container to be ready");
		ready = notify_take_ready(notifications, err);
	}
	if (ready <= 0)
		return ready;
	ready = tell(container, err);
	return ready == 0 ? notify_barrier(oci_notify_host(), BARRIER_TIMEOUT, err) : ready;
}

void oci_notify_pass(int fd)
{
	if (notify_take_ready(fd, NULL) == 1)
		(void)tell(getpid(), NULL);
}
