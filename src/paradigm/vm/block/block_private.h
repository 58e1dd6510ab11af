/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block_private - what the drivers share.
 *
 * The nodes of one disk stand on one block_io, which the topmost owns.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_BLOCK_PRIVATE_H
#define CAISSON_PARADIGM_VM_BLOCK_BLOCK_PRIVATE_H

#include "paradigm/vm/block/block.h"

enum { BLOCK_CHAIN_MAX = 32 };

struct block_driver {
	/* Range and direction are checked. */
	void (*submit)(struct block *block, struct block_request *request);
	/* Frees the node and closes its descriptor; nothing is going on. */
	void (*close)(struct block *block);
};

struct block {
	const struct block_driver *driver;
	struct block_io *io;
	uint64_t size; /* bytes */
	uint32_t granularity;
	bool read_only;
	unsigned running;      /* requests, and the node's own business */
	struct block *backing; /* owned, or NULL */
	int fd;
	struct block_counters counters; /* of the topmost; each written by the disk's thread alone, read by others */
};

/* Each makes a node on source->fd, which stays the caller's when it fails. */
int block_raw_open(const struct block_source *source, struct block_io *io, struct block **block, struct error *err);
int block_qcow2_open(const struct block_source *source, struct block_io *io, struct block *backing,
		     struct block **block, struct error *err);

/* Ends a request that submit() got. */
static inline void block_done(struct block *block, struct block_request *request, int result)
{
	block->running--;
	request->done(request, result);
}

#endif
