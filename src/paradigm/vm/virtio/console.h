/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console - virtio 1.2, 5.3: one stream of bytes in each direction.
 *
 * Without a name it is a console (hvc0 in Linux).  With a name it is a port for
 * programs (/dev/vport0p0, and /sys/class/virtio-ports tells the name), whose
 * driver writes without spinning and reads whole pages; a driver that does
 * not know ports sees a console still.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_CONSOLE_H
#define CAISSON_PARADIGM_VM_VIRTIO_CONSOLE_H

#include "paradigm/vm/virtio/virtio.h"

enum { VIRTIO_CONSOLE_NAME_MAX = 63 };

struct virtio_console_options {
	const char *name; /* or NULL */
	/* Both on the loop, with the device's lock held; either may be NULL.  bytes are a copy. */
	void (*output)(void *context, const void *bytes, size_t count);
	void (*room)(void *context); /* the guest has room again, after virtio_console_input() took too little */
	void *context;
};

/* A struct virtio; ends with ops->free(). */
int virtio_console_make(const struct virtio_console_options *options, struct guest_memory *memory, struct loop *loop,
			struct device **device, struct error *err);

/*
 * Bytes for the guest; how many were taken: none while no driver listens.  On the loop's thread; takes the lock, so
 * not from output() and room().
 */
size_t virtio_console_input(struct device *device, const void *bytes, size_t count);

#endif
