/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - the guest's physical memory, and the only way in which devices
 * reach it.
 *
 * Regions are mappings of one memfd (or, after a restore, private mappings of
 * a snapshot's file).  Every address and length comes from a hostile guest: the
 * functions below say no to whatever is not wholly inside one region.  The
 * guest changes its memory while we look at it: read a field once, into a
 * variable, and judge that copy.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_MEMORY_H
#define CAISSON_PARADIGM_VM_MACHINE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { GUEST_REGIONS_MAX = 4 };

struct guest_region {
	uint64_t base, size; /* guest physical, bytes */
	uint8_t *host;
	uint64_t offset; /* in the file */
};

struct guest_memory {
	struct guest_region regions[GUEST_REGIONS_MAX]; /* sorted by base */
	size_t count;
	int fd;		/* the memfd, owned; -1: anonymous */
	uint64_t page;	/* of the host, that backs it: 4 KiB, 2 MiB, 1 GiB */
	uint8_t *dirty; /* a bit per 4 KiB page that devices have written since it was last cleared, or NULL */
};

/*
 * Reserves size bytes in regions as the machine lays them out; nothing is touched.  hugepages: 0, or the size of
 * the pages to take from hugetlbfs (memfd_create(2), MFD_HUGETLB).  shared: others (vhost, a file server) map the
 * descriptor.
 */
int guest_memory_make(struct guest_memory *memory, const struct guest_region *layout, size_t count, uint64_t hugepages,
		      struct error *err);
void guest_memory_free(struct guest_memory *memory);

/* Where size bytes at address are, or NULL when they are not all in one region (or address + size overflows). */
void *guest_memory_at(const struct guest_memory *memory, uint64_t address, uint64_t size);

/* Copies; false, and nothing done, when the range is not all memory. */
bool guest_memory_read(const struct guest_memory *memory, uint64_t address, void *to, size_t size);
bool guest_memory_write(struct guest_memory *memory, uint64_t address, const void *from, size_t size);

/* Devices that write through guest_memory_at() say so: for snapshots of differences. */
void guest_memory_wrote(struct guest_memory *memory, uint64_t address, uint64_t size);

/* Gives whole host pages back to the host (fallocate(2) PUNCH_HOLE, or MADV_DONTNEED); they read as zeros then. */
int guest_memory_discard(struct guest_memory *memory, uint64_t address, uint64_t size);

#endif
