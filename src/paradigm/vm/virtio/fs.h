/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs - virtio 1.2, 5.11: a directory of the host's in the guest.
 *
 * The device only carries requests between the guest and a file server, a
 * process of its own with what a file server needs (fs/serve.h): the VMM has no
 * capabilities.  The guest is hostile, the server is not believed either.
 *
 * What the guest knows of files is in the server, and dies with it: the device
 * cannot be restored from a snapshot.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_FS_H
#define CAISSON_PARADIGM_VM_VIRTIO_FS_H

#include "paradigm/vm/virtio/virtio.h"

enum { VIRTIO_FS_TAG_MAX = 36 };

/*
 * A struct virtio with own_thread; ends with ops->free().  server: the socket to the file server (fs_start(),
 * FS_MESSAGES), which becomes the device's.
 */
int virtio_fs_make(const char *tag, int server, struct guest_memory *memory, struct loop *loop, struct device **device,
		   struct error *err);

#endif
