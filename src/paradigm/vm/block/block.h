/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - disks: what virtio-blk and ATA write to.
 *
 * A disk is a stack of drivers: raw files and qcow2 images (version 3, see
 * docs/interop/qcow2.txt of QEMU), each on descriptors that were opened by
 * somebody else: nothing in here opens a path, whatever an image says.  Work is
 * asynchronous; a disk and its requests belong to one loop's thread.  Images are
 * hostile: tables that overlap, point outside the file or in circles are -EIO
 * for the request, never more.
 *
 * A flush that was answered with 0 makes every write that was answered before
 * it survive a kill -9 and a power cut.  One that fails fails all that come after it:
 * what it should have written may be lost.  Without flushes, qcow2 keeps its tables in
 * memory.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_BLOCK_H
#define CAISSON_PARADIGM_VM_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/loop.h"
#include "paradigm/vm/block/io.h"

enum block_operation { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_request {
	enum block_operation operation;
	uint64_t offset, size;	 /* bytes; multiples of 512 */
	const struct iovec *iov; /* of size bytes in all; the caller's until done() */
	int iov_count;
	/* From the disk's loop, perhaps before block_submit() returns.  result: 0 or -errno. */
	void (*done)(struct block_request *request, int result);
	void *context;
	bool unmap; /* BLOCK_WRITE_ZEROES: storage may be given back */
	/* the drivers' own */
	struct block_io_request io;
	struct block_request *next;
	void *driver;
};

enum block_format { BLOCK_RAW, BLOCK_QCOW2 };

/* What a disk is made of, topmost first; raw files have nothing below them. */
struct block_source {
	int fd; /* becomes the disk's */
	enum block_format format;
	bool read_only;
	bool threads;		      /* of the topmost: no io_uring */
	struct block_source *backing; /* or NULL; only below a qcow2 that names a backing file */
};

struct block;

/* What a disk was asked for, since it was opened; reads are those of copies on write, too. */
struct block_counters {
	uint64_t reads, writes, flushes; /* requests; writes are those of zeros, too */
	uint64_t read_bytes, write_bytes;
};

/* Descriptors of a source are closed by block_close(); on failure they stay the caller's.  -EINVAL: no such image, or
 * one with features that we do not know. */
int block_open(const struct block_source *source, struct loop *loop, struct block **block, struct error *err);
/* Waits for everything that is going on, and flushes. */
void block_close(struct block *block);
uint64_t block_size(const struct block *block); /* bytes, a multiple of 512 */
bool block_read_only(const struct block *block);
/* Bytes that are best written at once, and aligned: a cluster, or a page. */
uint32_t block_granularity(const struct block *block);

/* Any thread. */
void block_count(const struct block *block, struct block_counters *counters);

/* Begins at the next kick, or before it. */
void block_submit(struct block *block, struct block_request *request);
/* After one or more submits: all begin in one system call.  What is finished at once gets its done(). */
void block_kick(struct block *block);
/* Called whenever the loop has called one or more done(): the time for one interrupt.  Not from submit and kick. */
void block_on_batch(struct block *block, void (*batch)(void *context), void *context);
/*
 * Returns when nothing is going on, and what was written stands in the files (for snapshots): 0 or -errno.  In the
 * loop's thread, or while the loop does not run.
 */
int block_drain(struct block *block);

#endif
