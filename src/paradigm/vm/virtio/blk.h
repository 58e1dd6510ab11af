/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk - virtio's disk: virtio 1.2, 5.2.
 *
 * Its loop is run by a thread that waits for nothing else (virtio_ops.own_thread).
 * All requests that one notification finds begin in one system call, and all
 * that end together are told by one interrupt a queue.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_BLK_H
#define CAISSON_PARADIGM_VM_VIRTIO_BLK_H

#include "paradigm/vm/block/block.h"
#include "paradigm/vm/virtio/virtio.h"

enum { VIRTIO_BLK_SERIAL_MAX = 20, VIRTIO_BLK_QUEUES_MAX = 16 };

/*
 * queues: 1 to VIRTIO_BLK_QUEUES_MAX.  serial: what the guest is told as the disk's, NULL: nothing.  The block lives in
 * loop, and becomes the device's; on failure it stays the caller's.
 */
int virtio_blk_make(struct block *block, unsigned queues, const char *serial, struct guest_memory *memory,
		    struct loop *loop, struct device **device, struct error *err);

#endif
