/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - disks: what virtio-blk and ATA write to.
 *
 * A disk is a stack of drivers: raw files and qcow2 images (version 3, see
 * docs/interop/qcow2.txt of QEMU), each on descriptors that were opened by
 * somebody else: nothing in here opens a path, whatever an image says.  Work is
 * asynchronous; a disk and its requests belong to one loop.  Images are
 * hostile: tables that overlap, point outside the file or in circles are -EIO
 * for the request, never more.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_BLOCK_H
#define CAISSON_PARADIGM_VM_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/loop.h"

enum block_operation { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_request {
	enum block_operation operation;
	uint64_t offset, size;	 /* bytes; multiples of 512 */
	const struct iovec *iov; /* of size bytes in all; the caller's until done() */
	int iov_count;
	/* From the disk's loop, perhaps before block_submit() returns.  result: 0 or -errno. */
	void (*done)(struct block_request *request, int result);
	void *context;
	void *driver; /* the drivers' own */
};

enum block_format { BLOCK_RAW, BLOCK_QCOW2 };

/* What a disk is made of, topmost first; raw files have nothing below them. */
struct block_source {
	int fd; /* becomes the disk's */
	enum block_format format;
	bool read_only;
	struct block_source *backing; /* or NULL; only below a qcow2 that names a backing file */
};

struct block;

int block_open(const struct block_source *source, struct loop *loop, struct block **block, struct error *err);
/* Waits for everything that is going on, and flushes. */
void block_close(struct block *block);
uint64_t block_size(const struct block *block); /* bytes, a multiple of 512 */
bool block_read_only(const struct block *block);
void block_submit(struct block *block, struct block_request *request);
/* Returns when nothing is going on (for snapshots and resets). */
void block_drain(struct block *block);

#endif
