/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device - what a guest's reads and writes of ports and addresses meet.
 *
 * A device embeds a struct device and registers it on a bus for one or more
 * ranges.  read() and write() are called by vCPU threads, one at a time, with the
 * device's lock held; the others with no vCPU in the guest, save() and restore()
 * with the lock, too.  None is reset as a whole: a guest's reset is its machine's end.
 * Whoever else touches the device (an I/O thread, the main loop) takes that lock
 * himself.  Nothing in here knows KVM, so every device is tested without it.
 *
 * The guest is hostile: any size from 1 to 8, any alignment, any order, any
 * value.  Unknown reads give all ones (or what the specification says), unknown writes
 * nothing; never an abort.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_DEVICE_H
#define CAISSON_PARADIGM_VM_DEVICE_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct device;
struct state_writer;
struct state_reader;

struct device_ops {
	const char *name; /* "serial", "virtio-blk", ...: in counters and snapshots */
	/* range: what bus_add() was told; data has size bytes, little-endian. */
	void (*read)(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size);
	void (*write)(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size);
	/*
	 * For snapshots, with the machine standing still: see state.h.  NULL: it has no state.
	 * An edge that was sent may still have been on its way when the interrupt controllers were saved: KVM does that
	 * work in a thread of the kernel's, which nobody can wait for.  So restore() sends one for whatever the driver
	 * may be waiting for.  The controllers are restored by then, and a driver looks for nothing once more.
	 */
	void (*save)(struct device *device, struct state_writer *writer);
	int (*restore)(struct device *device, struct state_reader *reader, struct error *err);
	/* Stops what is going on in other threads and waits for it; resume lets it go on.  NULL: nothing is. */
	void (*quiesce)(struct device *device);
	void (*resume)(struct device *device);
	void (*free)(struct device *device);
};

struct device {
	const struct device_ops *ops;
	pthread_mutex_t lock;
	uint64_t reads, writes; /* that left the guest; atomic, changed with the lock held */
};

/* The lock is made; everything else is zero. */
void device_init(struct device *device, const struct device_ops *ops);
/* The end of a device that begins with its struct device, and lies in memory of malloc(3). */
void device_free(struct device *device);

/*
 * An interrupt line.  Edges go by an eventfd (KVM_IRQFD in a machine, anything in a test); devices of level-triggered
 * lines (PCI INTx) call set.
 */
struct interrupt {
	int fd;						       /* of edges; -1: none */
	void (*set)(void *context, unsigned line, bool level); /* of levels; NULL: none */
	void *context;
	unsigned line;
};
void interrupt_pulse(const struct interrupt *interrupt);
void interrupt_set(const struct interrupt *interrupt, bool level);

enum bus_kind { BUS_PORTS, BUS_MEMORY, BUS_KINDS };
enum { BUS_RANGES_MAX = 64 };

struct bus_range {
	uint64_t base, size;
	struct device *device;
	unsigned range;
};

/* All ranges of a machine; filled before the first vCPU runs (PCI BARs move under the writer's lock). */
struct bus {
	pthread_rwlock_t lock;
	struct bus_range ranges[BUS_KINDS][BUS_RANGES_MAX]; /* sorted by base */
	size_t count[BUS_KINDS];
	uint64_t unknown[BUS_KINDS]; /* accesses that met no device */
};

int bus_init(struct bus *bus, struct error *err);
void bus_free(struct bus *bus);
/* -EEXIST when it overlaps another one, -ENOSPC. */
int bus_add(struct bus *bus, enum bus_kind kind, uint64_t base, uint64_t size, struct device *device, unsigned range,
	    struct error *err);
void bus_remove(struct bus *bus, enum bus_kind kind, const struct device *device, unsigned range);
/* An access that begins in a range and ends outside it is cut there; the rest reads as ones.  false: no device. */
bool bus_read(struct bus *bus, enum bus_kind kind, uint64_t address, void *data, unsigned size);
bool bus_write(struct bus *bus, enum bus_kind kind, uint64_t address, const void *data, unsigned size);
/* The same count times at one address, as string instructions do: the bus and the device are locked once. */
bool bus_read_string(struct bus *bus, enum bus_kind kind, uint64_t address, void *data, unsigned size, uint32_t count);
bool bus_write_string(struct bus *bus, enum bus_kind kind, uint64_t address, const void *data, unsigned size,
		      uint32_t count);

#endif
