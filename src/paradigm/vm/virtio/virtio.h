/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio - a paravirtual device behind the MMIO transport: virtio 1.2, 4.2
 * (version 2, no legacy interface).
 *
 * The transport holds feature negotiation, status, queues' addresses and the
 * configuration space's window; a device brings its identity and what is done
 * with requests.  Each device lives in one loop (a thread): the transport adds
 * its queues' notification descriptors there (KVM_IOEVENTFD in a machine), and
 * calls handle() from it with the device's lock held.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_VIRTIO_H
#define CAISSON_PARADIGM_VM_VIRTIO_VIRTIO_H

#include "base/loop.h"
#include "paradigm/vm/device/device.h"
#include "paradigm/vm/virtio/queue.h"

enum { VIRTIO_QUEUES_MAX = 34, VIRTIO_MMIO_SIZE = 0x1000 };

struct virtio;

struct virtio_ops {
	const char *name;
	uint32_t id;	   /* virtio 1.2, 5: 1 net, 2 block, 3 console, 4 rng, 5 balloon, 19 vsock, 26 fs */
	uint64_t features; /* besides VERSION_1, EVENT_IDX, INDIRECT_DESC, which the transport adds */
	/* Configuration space; offset + size lie within config_size.  write NULL: read-only. */
	uint32_t config_size;
	void (*config_read)(struct virtio *virtio, uint32_t offset, void *data, uint32_t size);
	void (*config_write)(struct virtio *virtio, uint32_t offset, const void *data, uint32_t size);
	/* DRIVER_OK was set with features_driver.  -errno: the device needs a reset. */
	int (*activate)(struct virtio *virtio);
	/* Queue has (or may have) requests. */
	void (*handle)(struct virtio *virtio, unsigned queue);
	/* Forgets everything that activate() made. */
	void (*reset)(struct virtio *virtio);
	void (*save)(struct virtio *virtio, struct state_writer *writer);
	int (*restore)(struct virtio *virtio, struct state_reader *reader, struct error *err);
	void (*quiesce)(struct virtio *virtio);
	void (*resume)(struct virtio *virtio);
	void (*free)(struct virtio *virtio);
};

struct virtio_notifier {
	struct loop_source source; /* its fd is owned */
	struct virtio *virtio;
	unsigned queue;
};

struct virtio {
	struct device device; /* first: what the bus knows */
	const struct virtio_ops *ops;
	struct loop *loop;
	struct guest_memory *memory;
	struct interrupt interrupt;
	uint64_t features_device, features_driver;
	uint32_t status, interrupt_status, config_generation;
	uint32_t select_device_features, select_driver_features, select_queue;
	unsigned queues_count;
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
	struct virtio_notifier notifiers[VIRTIO_QUEUES_MAX];
	bool active;
	uint64_t requests, interrupts; /* counters */
};

/*
 * Called by the devices' own constructors.  The interrupt's descriptor becomes the device's.
 */
int virtio_init(struct virtio *virtio, const struct virtio_ops *ops, uint64_t features, unsigned queues,
		uint16_t queue_size, struct guest_memory *memory, struct loop *loop, struct error *err);
void virtio_free(struct virtio *virtio);

/* Interrupts the driver if it wants to hear of what was pushed to queue. */
void virtio_notify(struct virtio *virtio, unsigned queue);
/* The configuration space has changed. */
void virtio_config_changed(struct virtio *virtio);
/* The driver did what no driver may: sets DEVICE_NEEDS_RESET; queues stand still until it resets the device. */
void virtio_fail(struct virtio *virtio);

#endif
