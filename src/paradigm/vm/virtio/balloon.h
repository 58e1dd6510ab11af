/* SPDX-License-Identifier: Apache-2.0 */
/*
 * balloon - virtio 1.2, 5.5: takes memory from the guest and gives it back;
 * learns which of its pages are free (free page reporting).
 *
 * The guest decides whether it does what it is asked: this saves the host's
 * memory, and limits nothing (that is the cgroup's part).
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_BALLOON_H
#define CAISSON_PARADIGM_VM_VIRTIO_BALLOON_H

#include "paradigm/vm/virtio/virtio.h"

struct virtio_balloon_state {
	uint64_t wanted, actual; /* bytes in the balloon: what we asked for, what the guest says */
	uint64_t inflated;	 /* bytes that were taken since it began */
	uint64_t reported;	 /* bytes of free pages that were given back to the host since it began */
};

/* A struct virtio; ends with ops->free().  deflate_on_oom: the guest may take memory back rather than kill. */
int virtio_balloon_make(bool deflate_on_oom, struct guest_memory *memory, struct loop *loop, struct device **device,
			struct error *err);

/* The following take the lock; any thread.  Bytes that the balloon is to hold: whole MiB are best. */
void virtio_balloon_set(struct device *device, uint64_t bytes);
void virtio_balloon_get(struct device *device, struct virtio_balloon_state *state);

#endif
