/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "paradigm/vm/block/io.h"
#include "paradigm/vm/block/pool.h"

enum { RING_ENTRIES = 128 };

struct block_io {
	struct loop *loop;
	struct block_pool pool;
	struct loop_source pool_source;
	bool uring;
	struct io_uring ring;
	struct loop_source ring_source;
	unsigned queued;  /* in the ring's submission queue, not told to the kernel */
	unsigned running; /* submitted, not done */
	bool reaping;
	void (*batch)(void *context);
	void *batch_context;
};

int block_read_at(int fd, void *bytes, uint64_t size, uint64_t offset)
{
	uint8_t *at = bytes;

	while (size > 0) {
		ssize_t done = pread(fd, at, size, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0) {
			memset(at, 0, size);
			return 0;
		}
		at += done;
		offset += (uint64_t)done;
		size -= (uint64_t)done;
	}
	return 0;
}

int block_iov_slice(const struct iovec *iov, int count, uint64_t offset, uint64_t size, struct iovec *to)
{
	int used = 0;

	for (int i = 0; i < count && size > 0; i++) {
		uint64_t length = iov[i].iov_len;

		if (offset >= length) {
			offset -= length;
			continue;
		}
		length = length - offset < size ? length - offset : size;
		to[used++] = (struct iovec){ .iov_base = (uint8_t *)iov[i].iov_base + offset, .iov_len = length };
		size -= length;
		offset = 0;
	}
	return used;
}

void block_iov_fill(const struct iovec *iov, int count, uint64_t offset, const void *from, uint64_t size)
{
	const uint8_t *bytes = from;

	for (int i = 0; i < count && size > 0; i++) {
		uint64_t length = iov[i].iov_len;

		if (offset >= length) {
			offset -= length;
			continue;
		}
		length = length - offset < size ? length - offset : size;
		if (bytes)
			memcpy((uint8_t *)iov[i].iov_base + offset, bytes, length);
		else
			memset((uint8_t *)iov[i].iov_base + offset, 0, length);
		bytes = bytes ? bytes + length : NULL;
		size -= length;
		offset = 0;
	}
}

void block_iov_zero(const struct iovec *iov, int count, uint64_t offset, uint64_t size)
{
	block_iov_fill(iov, count, offset, NULL, size);
}

static void begin(struct block_io *io)
{
	/* -EBUSY, -EAGAIN: completions first; the next kick, which those bring, tries again. */
	while (io->queued > 0) {
		int ret = io_uring_submit(&io->ring);

		if (ret < 0 && ret != -EINTR)
			return;
		if (ret > 0)
			io->queued -= (unsigned)ret < io->queued ? (unsigned)ret : io->queued;
	}
}

/* What is still to be transferred goes into the ring. */
static void enqueue(struct block_io *io, struct block_io_request *request)
{
	const struct iovec *iov = request->rest ? request->rest : request->iov;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
	uint64_t offset = request->offset + request->moved;

	if (!sqe) {
		begin(io);
		sqe = io_uring_get_sqe(&io->ring);
	}
	if (!sqe) { /* the kernel takes nothing for now */
		block_pool_submit(&io->pool, request);
		return;
	}
	if (request->operation == BLOCK_IO_SYNC)
		io_uring_prep_fsync(sqe, request->fd, IORING_FSYNC_DATASYNC);
	else if (request->operation == BLOCK_IO_READ)
		io_uring_prep_readv(sqe, request->fd, iov, (unsigned)request->iov_count, offset);
	else
		io_uring_prep_writev(sqe, request->fd, iov, (unsigned)request->iov_count, offset);
	io_uring_sqe_set_data(sqe, request);
	io->queued++;
}

/* After count bytes of what was asked for: true if the rest was put into the ring. */
static bool go_on(struct block_io *io, struct block_io_request *request, uint64_t count)
{
	const struct iovec *iov = request->rest ? request->rest : request->iov;
	struct iovec *rest = calloc((size_t)request->iov_count + 1, sizeof(*rest));
	uint64_t left = request->size - request->moved;

	if (!rest) {
		request->result = -ENOMEM;
		return false;
	}
	request->iov_count = block_iov_slice(iov, request->iov_count, count, left - count, rest);
	free(request->rest);
	request->rest = rest;
	request->moved += count;
	enqueue(io, request);
	return true;
}

/* The kernel's answer; false if there is more to come. */
static bool judge(struct block_io *io, struct block_io_request *request, int result)
{
	uint64_t left = request->size - request->moved;

	if (result == -EINTR || result == -EAGAIN) {
		enqueue(io, request);
		return false;
	}
	request->result = result < 0 ? result : 0;
	if (result < 0 || request->operation == BLOCK_IO_SYNC || (uint64_t)result >= left)
		return true;
	if (result > 0)
		return !go_on(io, request, (uint64_t)result);
	if (request->operation == BLOCK_IO_WRITE)
		request->result = -EIO;
	else
		block_iov_zero(request->rest ? request->rest : request->iov, request->iov_count, 0, left);
	return true;
}

static void complete(struct block_io *io, struct block_io_request *request)
{
	free(request->rest);
	request->rest = NULL;
	io->running--;
	request->done(request);
}

static unsigned reap_ring(struct block_io *io)
{
	struct io_uring_cqe *cqe;
	unsigned count = 0;

	while (io->uring && io_uring_peek_cqe(&io->ring, &cqe) == 0) {
		struct block_io_request *request = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&io->ring, cqe);
		count++;
		if (judge(io, request, result))
			complete(io, request);
	}
	return count;
}

static unsigned reap_pool(struct block_io *io)
{
	struct block_io_request *request = block_pool_take(&io->pool);
	unsigned count = 0;

	while (request) {
		struct block_io_request *next = request->next;

		count++;
		complete(io, request);
		request = next;
	}
	return count;
}

/* Until there is nothing finished and nothing new; done() may submit and kick. */
static unsigned reap(struct block_io *io, bool pool)
{
	unsigned count = 0, now;

	if (io->reaping)
		return 0;
	io->reaping = true;
	do {
		begin(io);
		now = reap_ring(io);
		if (pool)
			now += reap_pool(io);
		count += now;
	} while (now > 0);
	io->reaping = false;
	return count;
}

static void ready(struct loop_source *source, uint32_t events)
{
	struct block_io *io = source->context;

	(void)events;
	if (reap(io, true) > 0 && io->batch)
		io->batch(io->batch_context);
}

/* COOP_TASKRUN (Linux 5.19) spares interrupts of a thread that enters the kernel soon anyway. */
static bool open_ring(struct block_io *io)
{
	static const unsigned flags[] = { IORING_SETUP_COOP_TASKRUN | IORING_SETUP_CLAMP, IORING_SETUP_CLAMP };

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		struct io_uring_params params = { .flags = flags[i] };

		if (io_uring_queue_init_params(RING_ENTRIES, &io->ring, &params) == 0)
			return true;
	}
	return false;
}

int block_io_open(struct loop *loop, bool threads, struct block_io **made, struct error *err)
{
	struct block_io *io = calloc(1, sizeof(*io));
	int ret;

	if (!io)
		return error_errno(err, ENOMEM, "cannot open a disk");
	io->loop = loop;
	ret = block_pool_open(&io->pool, err);
	if (ret < 0) {
		free(io);
		return ret;
	}
	io->uring = !threads && open_ring(io);
	io->pool_source = (struct loop_source){ .fd = io->pool.event, .ready = ready, .context = io };
	ret = loop_add(loop, &io->pool_source, EPOLLIN, err);
	if (ret == 0 && io->uring) {
		io->ring_source = (struct loop_source){ .fd = io->ring.ring_fd, .ready = ready, .context = io };
		ret = loop_add(loop, &io->ring_source, EPOLLIN, err);
		if (ret < 0)
			loop_remove(loop, &io->pool_source);
	}
	if (ret < 0) {
		if (io->uring)
			io_uring_queue_exit(&io->ring);
		block_pool_close(&io->pool);
		free(io);
		return ret;
	}
	*made = io;
	return 0;
}

void block_io_close(struct block_io *io)
{
	loop_remove(io->loop, &io->pool_source);
	if (io->uring) {
		loop_remove(io->loop, &io->ring_source);
		io_uring_queue_exit(&io->ring);
	}
	block_pool_close(&io->pool);
	free(io);
}

void block_io_submit(struct block_io *io, struct block_io_request *request)
{
	request->moved = 0;
	request->rest = NULL;
	io->running++;
	if (!io->uring || request->operation == BLOCK_IO_JOB || request->iov_count > IOV_MAX)
		block_pool_submit(&io->pool, request);
	else
		enqueue(io, request);
}

void block_io_kick(struct block_io *io)
{
	if (io->queued > 0)
		(void)reap(io, false);
}

void block_io_wait(struct block_io *io)
{
	struct pollfd fds[] = { { .fd = io->pool.event, .events = POLLIN }, { .fd = -1, .events = POLLIN } };

	if (io->running == 0 || reap(io, true) > 0)
		return;
	if (io->uring)
		fds[1].fd = io->ring.ring_fd;
	(void)poll(fds, 2, -1);
	(void)reap(io, true);
}

void block_io_on_batch(struct block_io *io, void (*batch)(void *context), void *context)
{
	io->batch = batch;
	io->batch_context = context;
}

bool block_io_uses_uring(const struct block_io *io)
{
	return io->uring;
}
