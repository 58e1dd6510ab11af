/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfio - PCI devices of the host in the hands of a process:
 * Documentation/driver-api/vfio.rst of the kernel, <linux/vfio.h>, type 1 IOMMU.
 *
 * A device is had through its IOMMU group, all of whose devices must be bound to
 * vfio-pci (or to nothing): what is in one group can reach each other's memory. A
 * container holds the groups, and one translation of addresses for all of their
 * devices: they reach what is mapped there and nothing else.  Without an IOMMU there
 * is no such bound, and nothing is opened ("noiommu" groups are refused).
 *
 * Opening needs /sys and /dev; all else works on the descriptors alone, and may be done by another
 * process.
 */
#ifndef CAISSON_LINUX_VFIO_H
#define CAISSON_LINUX_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
	VFIO_DEVICES_MAX = 8,
	VFIO_ADDRESS_SIZE = 13, /* "0000:01:00.0", and its end */
	VFIO_REGIONS = 9,	/* six BARs, expansion ROM, configuration space, VGA: VFIO_PCI_*_REGION_INDEX */
	VFIO_INTERRUPTS = 3,	/* INTx, MSI, MSI-X: VFIO_PCI_*_IRQ_INDEX */
	VFIO_AREAS = 4,		/* parts of a region that can be mapped */
};

/* "01:00.0", "0000:01:00.0" -> the latter.  -EINVAL. */
int vfio_address(const char *text, char address[static VFIO_ADDRESS_SIZE], struct error *err);

struct vfio_container {
	int fd;
	const char *sys, *dev; /* "/sys", "/dev"; tests have others */
	struct {
		unsigned number;
		int fd;
	} groups[VFIO_DEVICES_MAX];
	size_t groups_count;
};

#define VFIO_CONTAINER_INIT ((struct vfio_container){ .fd = -1, .sys = "/sys", .dev = "/dev" })

/*
 * Opens the device at address, its group if that is not open yet, and with the first one the container.  Returns the
 * device's descriptor, the caller's to close.  -ENOENT: there is no such device; -ENODEV: no IOMMU, or not bound to
 * vfio-pci; -EBUSY: somebody has the group; -EPERM; each with what to do.
 */
int vfio_open(struct vfio_container *container, const char *address, struct error *err);
/* Devices that are open keep their groups; the container's own descriptor goes with everything else. */
void vfio_container_close(struct vfio_container *container);

struct vfio_area {
	uint64_t offset, size; /* in the region, bytes */
};

struct vfio_region {
	uint64_t offset,
		size; /* of the region in the descriptor: pread(2), pwrite(2), mmap(2); size 0: there is none */
	bool readable, writable;
	struct vfio_area areas[VFIO_AREAS];
	size_t areas_count;
};

struct vfio_device {
	int fd; /* not owned */
	bool can_reset;
	struct vfio_region regions[VFIO_REGIONS];
	uint32_t interrupts[VFIO_INTERRUPTS]; /* how many of each kind */
};

/* What the device has.  -ENOTTY, -EINVAL: the descriptor is no PCI device's. */
int vfio_query(int fd, struct vfio_device *device, struct error *err);
/* To the state after power-on, as far as the device can.  No words. */
int vfio_reset(const struct vfio_device *device);

/* count interrupts of a kind write to eventfds (-1: not this one) from now on; count 0: none of that kind any more. */
int vfio_interrupts_set(const struct vfio_device *device, unsigned kind, const int *eventfds, size_t count,
			struct error *err);
/* INTx is masked when it comes; each event of the eventfd lets it come again. */
int vfio_unmask_by(const struct vfio_device *device, int eventfd, struct error *err);

/*
 * size bytes at host become what devices of the container reach at address; everything a multiple of 4 KiB.  The pages
 * are locked into memory, up to RLIMIT_MEMLOCK.  -ENOMEM: that is too little.
 */
int vfio_map(int container, uint64_t address, void *host, uint64_t size, struct error *err);
void vfio_unmap(int container, uint64_t address, uint64_t size);

#endif
