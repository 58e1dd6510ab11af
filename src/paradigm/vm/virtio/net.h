/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net - virtio's network card on a tap: virtio 1.2, 5.1.
 *
 * Packets pass between the guest's buffers and the tap behind the header that
 * both of them speak, with checksums and segments left undone as far as both
 * sides allow.  A packet of the tap waits there while the guest has no buffers.  A
 * pair of queues for each of the tap's; packets and the control queue are served
 * by the device's loop, or the packets by the kernel, where /dev/vhost-net was handed over.
 *
 * What the guest says of a packet is checked against the packet and against what
 * was negotiated before the kernel sees it.  Addresses are not filtered: the tap has
 * one guest behind it, and its driver drops what is not for it.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_NET_H
#define CAISSON_PARADIGM_VM_VIRTIO_NET_H

#include "paradigm/vm/virtio/virtio.h"

enum { VIRTIO_NET_PAIRS_MAX = 8, VIRTIO_NET_QUEUE_SIZE = 256 };

struct virtio_net_options {
	/* One for each pair of queues: a tap's descriptor, non-blocking, with headers of 12 bytes (tap_open(),
	 * tap_adopt()); and /dev/vhost-net, or -1. */
	int taps[VIRTIO_NET_PAIRS_MAX], vhosts[VIRTIO_NET_PAIRS_MAX];
	unsigned pairs;
	unsigned offload; /* TUN_F_*: what tap_set_offload() accepts for them: see virtio_net_offload() */
	uint8_t mac[6];
	uint16_t mtu; /* 0: the guest is told none */
};

/* What can be left undone in packets of this tap; it does nothing of that afterwards. */
unsigned virtio_net_offload(int tap);

/* The descriptors become the device's; on failure they are still the caller's. */
int virtio_net_make(const struct virtio_net_options *options, struct guest_memory *memory, struct loop *loop,
		    struct device **device, struct error *err);

#endif
