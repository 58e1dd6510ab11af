/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/block/block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "paradigm/vm/block/block_private.h"

static void close_nodes(struct block *block)
{
	while (block) {
		struct block *backing = block->backing;

		block->driver->close(block);
		block = backing;
	}
}

/* Frees nodes, but leaves their descriptors open: the caller's, when opening fails. */
static void forget_nodes(struct block *block)
{
	for (struct block *node = block; node; node = node->backing)
		node->fd = -1;
	close_nodes(block);
}

/* From the lowest up. */
static int open_nodes(const struct block_source *source, struct block_io *io, struct block **block, struct error *err)
{
	const struct block_source *chain[BLOCK_CHAIN_MAX];
	struct block *below = NULL;
	size_t count = 0;
	int ret = 0;

	for (const struct block_source *at = source; at; at = at->backing) {
		if (count == BLOCK_CHAIN_MAX)
			return error_set(err, EINVAL, "a disk has more than %d images below each other",
					 BLOCK_CHAIN_MAX);
		chain[count++] = at;
	}
	while (count > 0 && ret == 0) {
		const struct block_source *at = chain[--count];
		struct block_source one = *at;
		struct block *node = NULL;
		int flags = fcntl(at->fd, F_GETFL);

		one.read_only |= at != source; /* what is below is never written */
		if (flags < 0)
			ret = error_errno(err, errno, "cannot use a disk image's descriptor");
		else if (flags & O_DIRECT)
			ret = error_set(err, EINVAL,
					"a disk image was opened with O_DIRECT, and a guest's buffers "
					"have any alignment");
		else if (!one.read_only && (flags & O_ACCMODE) == O_RDONLY)
			ret = error_set(err, EROFS, "a disk image is to be written, and was opened for reading only");
		else if (at->format == BLOCK_RAW && below)
			ret = error_set(err, EINVAL, "a raw disk image has nothing below it");
		else if (at->format == BLOCK_RAW)
			ret = block_raw_open(&one, io, &node, err);
		else
			ret = block_qcow2_open(&one, io, below, &node, err);
		below = ret == 0 ? node : below;
	}
	if (ret < 0)
		forget_nodes(below);
	else
		*block = below;
	return ret;
}

int block_open(const struct block_source *source, struct loop *loop, struct block **block, struct error *err)
{
	struct block_io *io;
	int ret = block_io_open(loop, source->threads, &io, err);

	if (ret < 0)
		return ret;
	ret = open_nodes(source, io, block, err);
	if (ret < 0)
		block_io_close(io);
	return ret;
}

static bool busy(const struct block *block)
{
	for (; block; block = block->backing)
		if (block->running > 0)
			return true;
	return false;
}

static void wait_for_all(struct block *block)
{
	block_kick(block);
	while (busy(block))
		block_io_wait(block->io);
}

static void drained(struct block_request *request, int result)
{
	*(int *)request->context = result;
}

int block_drain(struct block *block)
{
	int result = 0;
	struct block_request flush = { .operation = BLOCK_FLUSH, .done = drained, .context = &result };

	wait_for_all(block);
	if (!block->read_only) {
		block_submit(block, &flush);
		wait_for_all(block);
	}
	return result;
}

void block_close(struct block *block)
{
	struct block_io *io;

	if (!block)
		return;
	io = block->io;
	(void)block_drain(block);
	close_nodes(block);
	block_io_close(io);
}

uint64_t block_size(const struct block *block)
{
	return block->size;
}

bool block_read_only(const struct block *block)
{
	return block->read_only;
}

uint32_t block_granularity(const struct block *block)
{
	return block->granularity;
}

static void add(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, *counter + value, __ATOMIC_RELAXED);
}

static void count(struct block_counters *counters, const struct block_request *request)
{
	switch (request->operation) {
	case BLOCK_READ:
		add(&counters->reads, 1);
		add(&counters->read_bytes, request->size);
		break;
	case BLOCK_WRITE:
	case BLOCK_WRITE_ZEROES:
		add(&counters->writes, 1);
		add(&counters->write_bytes, request->size);
		break;
	case BLOCK_FLUSH:
		add(&counters->flushes, 1);
		break;
	case BLOCK_DISCARD:
		break;
	}
}

void block_count(const struct block *block, struct block_counters *counters)
{
	counters->reads = __atomic_load_n(&block->counters.reads, __ATOMIC_RELAXED);
	counters->writes = __atomic_load_n(&block->counters.writes, __ATOMIC_RELAXED);
	counters->flushes = __atomic_load_n(&block->counters.flushes, __ATOMIC_RELAXED);
	counters->read_bytes = __atomic_load_n(&block->counters.read_bytes, __ATOMIC_RELAXED);
	counters->write_bytes = __atomic_load_n(&block->counters.write_bytes, __ATOMIC_RELAXED);
}

void block_submit(struct block *block, struct block_request *request)
{
	int result = 0;

	if (request->operation != BLOCK_READ && request->operation != BLOCK_FLUSH && block->read_only)
		result = -EROFS;
	else if (request->operation != BLOCK_FLUSH &&
		 (request->offset % 512 || request->size % 512 || request->offset > block->size ||
		  request->size > block->size - request->offset))
		result = -EINVAL;
	block->running++;
	if (result == 0)
		count(&block->counters, request);
	if (result < 0 || (request->operation != BLOCK_FLUSH && request->size == 0))
		block_done(block, request, result);
	else
		block->driver->submit(block, request);
}

void block_kick(struct block *block)
{
	block_io_kick(block->io);
}

void block_on_batch(struct block *block, void (*batch)(void *context), void *context)
{
	block_io_on_batch(block->io, batch, context);
}
