/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io - reads, writes and syncs of files that nobody waits for.
 *
 * io_uring(7) where the host lets us have it, else a few threads with
 * preadv(2) and pwritev(2).  Work that the kernel offers no asynchronous call
 * for (jobs: fallocate, decompression, sequences of writes in order) is done by
 * those threads in either case.  Belongs to one loop: all but work() is called
 * there.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_IO_H
#define CAISSON_PARADIGM_VM_BLOCK_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/loop.h"

enum block_io_operation { BLOCK_IO_READ, BLOCK_IO_WRITE, BLOCK_IO_SYNC, BLOCK_IO_JOB };

/* The caller's, from submit to done(). */
struct block_io_request {
	enum block_io_operation operation;
	int fd;
	uint64_t offset, size;	 /* bytes */
	const struct iovec *iov; /* of size bytes; the caller's until done() */
	int iov_count;
	int (*work)(struct block_io_request *request);	/* a job, in another thread: its result */
	void (*done)(struct block_io_request *request); /* in the loop's thread */
	int result; /* 0 or -errno.  A read past the end of the file gives zeros, a short write is an error. */
	/* ours */
	uint64_t moved;	    /* bytes */
	struct iovec *rest; /* what a short transfer left over */
	struct block_io_request *next;
};

struct block_io;

/* threads: no io_uring, even where there is one. */
int block_io_open(struct loop *loop, bool threads, struct block_io **io, struct error *err);
/* Nothing may be going on. */
void block_io_close(struct block_io *io);
/* Begins at the next kick, or before it. */
void block_io_submit(struct block_io *io, struct block_io_request *request);
/* Lets everything begin in one system call, and calls done() of what is already finished. */
void block_io_kick(struct block_io *io);
/* Begins, waits for one or more, and calls their done(); at once if nothing is going on. */
void block_io_wait(struct block_io *io);
/* Called whenever the loop has called one or more done(); not from kick and wait. */
void block_io_on_batch(struct block_io *io, void (*batch)(void *context), void *context);
bool block_io_uses_uring(const struct block_io *io);

/* Reads in the caller's own thread, as file_write_at() writes; past the end of the file there are zeros. */
int block_read_at(int fd, void *bytes, uint64_t size, uint64_t offset);

/* iov from byte offset on, size bytes of it, into to, which has count places; places used. */
int block_iov_slice(const struct iovec *iov, int count, uint64_t offset, uint64_t size, struct iovec *to);
void block_iov_zero(const struct iovec *iov, int count, uint64_t offset, uint64_t size);
void block_iov_fill(const struct iovec *iov, int count, uint64_t offset, const void *from, uint64_t size);

#endif
