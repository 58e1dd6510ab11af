/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue - a split virtqueue, from the device's side: virtio 1.2, 2.7, with
 * indirect descriptors and the event index.
 *
 * Everything in it is the guest's to change at any time, in other threads.  A
 * chain is copied out once and judged there: loops, lengths that overflow,
 * buffers outside of memory, indirect tables in indirect tables, writable
 * buffers before readable ones, an available index that jumps, are a broken
 * queue: virtqueue_pop() says -EINVAL, once and from then on, and the device sets
 * DEVICE_NEEDS_RESET.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_QUEUE_H
#define CAISSON_PARADIGM_VM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "paradigm/vm/machine/memory.h"
#include "paradigm/vm/machine/state.h"

enum { VIRTQUEUE_SIZE_MAX = 1024, VIRTQUEUE_CHAIN_MAX = 1024 };

struct virtqueue {
	struct guest_memory *memory;
	uint16_t size_max;
	/* As the driver set them. */
	uint16_t size;
	bool ready, broken;
	bool event_index; /* VIRTIO_F_EVENT_IDX was negotiated */
	uint64_t descriptors, available, used;
	uint16_t next_available, next_used;
	uint16_t signalled; /* value of next_used when the driver's wish for an interrupt was last asked for */
	/* The three areas, where they are mapped; while it is ready. */
	const uint8_t *descriptor_area;
	uint8_t *available_area, *used_area;
};

/* One request: first count_out buffers that the device reads, then count_in that it writes; all inside guest memory. */
struct virtqueue_chain {
	uint16_t head;
	uint16_t count_out, count_in;
	uint64_t size_out, size_in; /* bytes */
	struct iovec *iov;	    /* count_out + count_in; virtqueue_pop()'s caller gives the room */
};

/* size_max: a power of two, at most VIRTQUEUE_SIZE_MAX. */
void virtqueue_init(struct virtqueue *queue, struct guest_memory *memory, uint16_t size_max);
/* To the state after power-on. */
void virtqueue_reset(struct virtqueue *queue);
/* The driver has set size and addresses: from now on the queue is ready.  false: they cannot be used. */
bool virtqueue_start(struct virtqueue *queue);

/*
 * Takes the next request.  1: there it is; 0: none, or the queue is not ready; -EINVAL: the queue is broken.  iov has
 * VIRTQUEUE_CHAIN_MAX places.  No buffer is empty; each direction has less than 4 GiB.
 */
int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct iovec *iov);
/* Puts the last popped request back, not done (a network card without a packet for it). */
void virtqueue_unpop(struct virtqueue *queue);
/* Hands a request back with the number of bytes that were written to it; not to a queue that is no longer ready. */
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
/* The same for several that the driver must see at once: each is filled in at its place, counted from 0, and then all
 * of them are published. */
void virtqueue_fill(struct virtqueue *queue, uint16_t ahead, uint16_t head, uint32_t written);
void virtqueue_publish(struct virtqueue *queue, uint16_t count);
/* Whether the driver wants an interrupt for what was pushed since the last one. */
bool virtqueue_wants_interrupt(struct virtqueue *queue);
/* Asks for (or not) notifications of new requests.  true: it was asked, and there is one already. */
bool virtqueue_listen(struct virtqueue *queue, bool wanted);

void virtqueue_save(const struct virtqueue *queue, struct state_writer *writer);
/* -EINVAL: no state that a queue of this size can be in. */
int virtqueue_restore(struct virtqueue *queue, struct state_reader *reader, struct error *err);

/* Copies between buffers and plain memory, from offset on; bytes copied (less than count at the end). */
size_t iov_read(const struct iovec *iov, size_t count, size_t offset, void *to, size_t size);
size_t iov_write(const struct iovec *iov, size_t count, size_t offset, const void *from, size_t size);

#endif
