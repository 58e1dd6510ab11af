/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost - two virtqueues of a device handed to the kernel: <linux/vhost.h>,
 * drivers/vhost of the kernel.
 *
 * The kernel then reads and writes the guest's buffers by itself; the driver's
 * kicks go to it directly (its eventfd is the queue's notifier).  Its interrupts come
 * through an eventfd of ours, because the MMIO transport has a status register that
 * must be set before the line is pulsed.  The negotiation, the control queue and
 * the state between start and stop stay with the device.
 *
 * Everything but vhost_make() happens in the loop's thread.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_VHOST_H
#define CAISSON_PARADIGM_VM_VIRTIO_VHOST_H

#include "paradigm/vm/virtio/virtio.h"

struct vhost;

/*
 * fd: /dev/vhost-net, which stays the caller's and open.  first: the number of the first of the two queues.  The
 * guest's memory must stay where it is.  *features loses what the kernel does not do.
 */
int vhost_net_make(int fd, struct virtio *virtio, unsigned first, uint64_t *features, struct vhost **vhost,
		   struct error *err);
/* From now on the kernel serves the queues, with packets of that tap. */
int vhost_net_start(struct vhost *vhost, int tap, struct error *err);
/* The queues are as the kernel left them; nothing is under way. */
void vhost_net_stop(struct vhost *vhost);
/* NULL is allowed. */
void vhost_free(struct vhost *vhost);

#endif
