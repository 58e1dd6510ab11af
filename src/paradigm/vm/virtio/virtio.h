/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio - a paravirtual device behind the MMIO transport: virtio 1.2, 4.2
 * (version 2, no legacy interface).
 *
 * The transport holds feature negotiation, status, queues' addresses and the
 * configuration space's window; a device brings its identity and what is done
 * with requests.  Each device lives in one loop: the transport adds its queues'
 * notification descriptors there (KVM_IOEVENTFD in a machine), and calls
 * handle() from it.
 *
 * Who may touch what:
 * - Most devices do all of their work in handle() and in sources of their own on
 *   the same loop.  All of virtio_ops is called with the device's lock held, by
 *   vCPU threads and by the loop's (quiesce() and resume() by the loop's alone);
 *   sources of the device's own take the lock.  A vCPU must not touch the loop.
 * - A device whose requests are still under way when handle() returns (disks,
 *   file systems) sets own_thread: its loop is run by a thread that waits for
 *   nothing else.  activate(), handle(), reset(), quiesce() and resume() are then
 *   called in that thread only (a vCPU that resets the device waits for it), so that
 *   queues and requests belong to it, and it needs no lock for them: handle() is
 *   called without it.  reset() and quiesce() return when nothing is under way any more;
 *   they may make rounds of the loop to get there.
 *
 * save() and restore() are called with the device quiesced; resume() follows both.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_VIRTIO_H
#define CAISSON_PARADIGM_VM_VIRTIO_VIRTIO_H

#include <pthread.h>

#include "base/loop.h"
#include "paradigm/vm/device/device.h"
#include "paradigm/vm/virtio/queue.h"

enum { VIRTIO_QUEUES_MAX = 34, VIRTIO_MMIO_SIZE = 0x1000 };

struct virtio;

struct virtio_ops {
	const char *name;
	uint32_t id;	   /* virtio 1.2, 5: 1 net, 2 block, 3 console, 4 rng, 5 balloon, 19 vsock, 26 fs */
	uint64_t features; /* besides VERSION_1, EVENT_IDX, INDIRECT_DESC, which the transport adds */
	bool own_thread;   /* see above */
	/* Configuration space; offset + size lie within config_size, size is 1 to 8.  write NULL: read-only. */
	uint32_t config_size;
	void (*config_read)(struct virtio *virtio, uint32_t offset, void *data, uint32_t size);
	void (*config_write)(struct virtio *virtio, uint32_t offset, const void *data, uint32_t size);
	/* DRIVER_OK was set with features_driver.  -errno: the device needs a reset.  NULL: nothing to do. */
	int (*activate)(struct virtio *virtio);
	/* Queue has (or may have) requests; the device is active. */
	void (*handle)(struct virtio *virtio, unsigned queue);
	/* Forgets everything that activate() and handle() made; of an active device.  NULL: nothing. */
	void (*reset)(struct virtio *virtio);
	/* What is not in struct virtio, into the same section.  NULL: nothing. */
	void (*save)(struct virtio *virtio, struct state_writer *writer);
	/* Called instead of activate(), also when virtio->active is false. */
	int (*restore)(struct virtio *virtio, struct state_reader *reader, struct error *err);
	/* As in device.h; after resume() each queue is kicked.  NULL: nothing to do. */
	void (*quiesce)(struct virtio *virtio);
	void (*resume)(struct virtio *virtio);
	/* Ends with virtio_free(), and frees the device itself; in the loop's thread, or when no thread runs it. */
	void (*free)(struct virtio *virtio);
};

struct virtio_notifier {
	struct loop_source source; /* its fd (an eventfd) is owned */
	struct virtio *virtio;
	unsigned queue;
};

/* What a device with own_thread is to do in its thread. */
enum virtio_order {
	VIRTIO_ORDER_NONE,
	VIRTIO_ORDER_ACTIVATE,
	VIRTIO_ORDER_RESET,
	VIRTIO_ORDER_STOP_QUEUE, /* order_queue */
	VIRTIO_ORDER_QUIESCE,
	VIRTIO_ORDER_RESUME,
};

struct virtio {
	struct device device; /* first: what the bus knows */
	struct device_ops device_ops;
	const struct virtio_ops *ops;
	struct loop *loop;
	struct guest_memory *memory;
	struct interrupt interrupt;
	uint64_t features_device, features_driver;
	uint32_t status, interrupt_status, config_generation; /* atomic */
	uint32_t select_device_features, select_driver_features, select_queue;
	unsigned queues_count;
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
	struct virtio_notifier notifiers[VIRTIO_QUEUES_MAX];
	bool active; /* between activate() and reset() */
	bool quiet;  /* between quiesce() and resume() */
	enum virtio_order order;
	unsigned order_queue;
	struct virtio_notifier orders;	    /* tells the loop of it */
	pthread_cond_t carried_out;	    /* with device.lock: order is VIRTIO_ORDER_NONE again */
	uint64_t notifications, interrupts; /* counters: kicks that were handled, pulses sent; atomic */
};

/*
 * Called by the devices' own constructors, in the loop's thread or before it runs, with the whole struct zero.  The
 * interrupt has no descriptor yet: whoever makes the machine puts one into virtio->interrupt, and it is the device's
 * then.  queue_size: of all queues, see virtqueue_init().
 */
int virtio_init(struct virtio *virtio, const struct virtio_ops *ops, uint64_t features, unsigned queues,
		uint16_t queue_size, struct guest_memory *memory, struct loop *loop, struct error *err);
/* In the loop's thread, or when no thread runs it; the device was reset, or does not mind. */
void virtio_free(struct virtio *virtio);

/* Whether both sides have agreed on a feature (its bit's number). */
bool virtio_has(const struct virtio *virtio, unsigned feature);

/* The following need no lock.  Interrupts the driver if it wants to hear of what was pushed to queue. */
void virtio_notify(struct virtio *virtio, unsigned queue);
/* The same without looking: for a queue that is served elsewhere. */
void virtio_interrupt(struct virtio *virtio);
/* The configuration space has changed. */
void virtio_config_changed(struct virtio *virtio);
/* The driver did what no driver may: sets DEVICE_NEEDS_RESET; queues stand still until it resets the device. */
void virtio_fail(struct virtio *virtio);
/* Takes the next request, as virtqueue_pop() does; false: there is none, or the queue is broken (and the device has
 * failed). */
bool virtio_pop(struct virtio *virtio, unsigned queue, struct virtqueue_chain *chain, struct iovec *iov);
/* Lets handle() be called for a queue from the loop, as if the driver had kicked it: any thread. */
void virtio_kick(struct virtio *virtio, unsigned queue);

#endif
