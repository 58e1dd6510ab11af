/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - the guest's physical memory, and the only way in which devices
 * reach it.
 *
 * Regions are anonymous mappings, mappings of one memfd of huge pages, or, after
 * a restore, private mappings of a snapshot's file.  Every address and length comes from a hostile guest: the
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
	int fd;	       /* the memfd of huge pages, owned; -1: anonymous, or a snapshot's */
	bool copied;   /* from a snapshot's file, page by page as it is written */
	uint64_t page; /* of the host, that backs it: 4 KiB, 2 MiB, 1 GiB */
};

/*
 * Reserves memory in regions as the machine lays them out (their base, size, offset); nothing is touched.  hugepages:
 * 0, or the size of the pages to take from hugetlbfs (memfd_create(2), MFD_HUGETLB); without, transparent huge pages
 * are asked for.  -ENOMEM, -EINVAL.
 */
int guest_memory_make(struct guest_memory *memory, const struct guest_region *layout, size_t count, uint64_t hugepages,
		      struct error *err);
/* The same from a file that guest_memory_save() wrote, copied page by page as the guest writes.  The file stays the
 * caller's and may be closed; it must not be made shorter while the machine lives. */
int guest_memory_map(struct guest_memory *memory, const struct guest_region *layout, size_t count, int file,
		     struct error *err);
/* Writes everything into a file, with holes where there are zeros only.  The machine stands still. */
int guest_memory_save(const struct guest_memory *memory, int file, struct error *err);
void guest_memory_free(struct guest_memory *memory);

/* Where size bytes at address are, or NULL when they are not all in one region (or address + size overflows). */
void *guest_memory_at(const struct guest_memory *memory, uint64_t address, uint64_t size);

/* Copies; false, and nothing done, when the range is not all memory. */
bool guest_memory_read(const struct guest_memory *memory, uint64_t address, void *to, size_t size);
bool guest_memory_write(struct guest_memory *memory, uint64_t address, const void *from, size_t size);

/* Bytes of all regions. */
uint64_t guest_memory_size(const struct guest_memory *memory);

/* Gives the host's pages that lie wholly inside back to the host; they read as zeros then.  How many bytes they are;
 * -EINVAL: not all memory. */
int64_t guest_memory_discard(struct guest_memory *memory, uint64_t address, uint64_t size);

#endif
