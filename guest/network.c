/* SPDX-License-Identifier: Apache-2.0 */
/* NETWORK: the machine's cards get the addresses and routes of the interfaces for which they stand. */
#include "linux/network.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "guest/agent.h"

enum { WAIT_MS = 20, WAITS_MAX = 250 }; /* a driver finds its card in a thread of its own */

static int configure(const struct network_interface *interface, struct error *err)
{
	int ret = -ENODEV;

	for (int i = 0; ret == -ENODEV && i < WAITS_MAX; i++) {
		if (i > 0)
			(void)nanosleep(&(struct timespec){ .tv_nsec = WAIT_MS * 1000000L }, NULL);
		ret = network_configure(interface, err);
	}
	if (ret != -ENODEV)
		return ret;
	return error_hint(err,
			  "the guest's kernel may lack the driver: virtio_net for pv, e1000 for vm, which Debian's "
			  "cloud kernel has not, but linux-image-amd64: caisson kernel fetch linux-image-amd64");
}

int network_take(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	cleanup_free struct network_interface *list = calloc(NETWORK_INTERFACES_MAX, sizeof(*list));
	size_t count = 0;
	int ret;

	(void)agent;
	ret = list ? network_read((const char *)frame->payload, frame->size, list, &count, err)
		   : error_errno(err, ENOMEM, "cannot set up the network");

	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = configure(&list[i], err);
	return ret;
}
