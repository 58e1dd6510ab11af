/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request through the image, and reading. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/block/qcow2.h"

void qcow2_wait(struct qcow2_waiters *waiters, struct qcow2_request *request)
{
	struct qcow2_request **last = &waiters->first;

	while (*last)
		last = &(*last)->next;
	request->next = NULL;
	*last = request;
	request->pending++;
}

void qcow2_resume(struct qcow2_waiters *waiters, int result)
{
	struct qcow2_request *request = waiters->first;

	waiters->first = NULL;
	while (request) {
		struct qcow2_request *next = request->next;

		request->pending--;
		if (result < 0 && request->result == 0)
			request->result = result;
		qcow2_advance(request);
		request = next;
	}
}

static struct qcow2_request *request_new(struct qcow2 *image, struct block_request *parent)
{
	struct qcow2_request *request = image->free_requests;

	if (request)
		image->free_requests = request->next;
	else if (!(request = malloc(sizeof(*request))))
		return NULL;
	*request = (struct qcow2_request){
		.image = image, .parent = parent, .sequence = ++image->sequence, .older = image->newest
	};
	if (image->newest)
		image->newest->newer = request;
	else
		image->oldest = request;
	image->newest = request;
	return request;
}

static void finish(struct qcow2_request *request)
{
	struct qcow2 *image = request->image;
	struct block_request *parent = request->parent;
	int result = request->result;

	if (request->older)
		request->older->newer = request->newer;
	else
		image->oldest = request->newer;
	if (request->newer)
		request->newer->older = request->older;
	else
		image->newest = request->older;
	request->next = image->free_requests;
	image->free_requests = request;
	block_done(&image->block, parent, result);
	qcow2_tidy(image);
}

void qcow2_part_done(struct qcow2_request *request, int result)
{
	if (result < 0 && request->result == 0)
		request->result = result;
	if (--request->pending == 0)
		finish(request);
}

struct qcow2_part *qcow2_part_new(struct qcow2_request *request)
{
	struct qcow2 *image = request->image;
	struct qcow2_part *part = image->free_parts;
	int room = request->parent->iov_count;

	if (part)
		image->free_parts = part->next;
	else if (!(part = calloc(1, sizeof(*part))))
		return NULL;
	if (part->iov_room < room) {
		free(part->iov);
		part->iov = calloc((size_t)room, sizeof(*part->iov));
		part->iov_room = part->iov ? room : 0;
		if (!part->iov) {
			qcow2_part_free(part);
			return NULL;
		}
	}
	part->owner = request;
	part->position = request->at;
	request->pending++;
	return part;
}

void qcow2_part_free(struct qcow2_part *part)
{
	struct qcow2 *image = part->owner->image;

	part->next = image->free_parts;
	image->free_parts = part;
}

static void part_done(struct qcow2_part *part, int result)
{
	struct qcow2_request *owner = part->owner;

	qcow2_part_free(part);
	qcow2_part_done(owner, result);
}

static void part_read(struct block_io_request *io)
{
	part_done((struct qcow2_part *)((char *)io - offsetof(struct qcow2_part, io)), io->result);
}

static void below_read(struct block_request *below, int result)
{
	part_done(below->context, result);
}

/* Reads from what is below, and zeros behind its end. */
static int read_below(struct qcow2 *image, struct qcow2_request *request, uint64_t guest, uint64_t size)
{
	const struct block *below = image->block.backing;
	uint64_t there = below && guest < below->size ? below->size - guest : 0;
	const struct block_request *parent = request->parent;
	struct qcow2_part *part;

	there = there < size ? there : size;
	if (there < size)
		block_iov_zero(parent->iov, parent->iov_count, request->at + there, size - there);
	if (there == 0)
		return 0;
	part = qcow2_part_new(request);
	if (!part)
		return -ENOMEM;
	part->below = (struct block_request){
		.operation = BLOCK_READ,
		.offset = guest,
		.size = there,
		.iov = part->iov,
		.iov_count = block_iov_slice(parent->iov, parent->iov_count, request->at, there, part->iov),
		.done = below_read,
		.context = part,
	};
	block_submit(image->block.backing, &part->below);
	return 0;
}

static int read_data(struct qcow2 *image, struct qcow2_request *request, uint64_t host, uint64_t size)
{
	const struct block_request *parent = request->parent;
	struct qcow2_part *part = qcow2_part_new(request);

	if (!part)
		return -ENOMEM;
	part->io = (struct block_io_request){
		.operation = BLOCK_IO_READ,
		.fd = image->block.fd,
		.offset = host,
		.size = size,
		.iov = part->iov,
		.iov_count = block_iov_slice(parent->iov, parent->iov_count, request->at, size, part->iov),
		.done = part_read,
	};
	block_io_submit(image->block.io, &part->io);
	return 0;
}

static int read_compressed(struct qcow2 *image, struct qcow2_request *request, uint64_t entry, uint64_t within,
			   uint64_t size)
{
	struct qcow2_part *part = qcow2_part_new(request);
	uint64_t offset;

	if (!part)
		return -ENOMEM;
	(void)qcow2_compressed_range(image, entry, &offset, &part->compressed_size);
	part->within = within;
	part->io = (struct block_io_request){ .operation = BLOCK_IO_JOB,
					      .fd = image->block.fd,
					      .offset = offset,
					      .size = size,
					      .work = qcow2_decompress,
					      .done = part_read };
	block_io_submit(image->block.io, &part->io);
	return 0;
}

/* How many clusters from index on are like the first one, and in a row. */
static uint64_t count_alike(const struct qcow2 *image, const struct qcow2_slice *slice, uint32_t index, uint64_t most)
{
	uint64_t first = qcow2_entry(slice, index), count = 1;
	enum qcow2_kind kind = qcow2_kind_of(image, first);

	if (kind == QCOW2_KIND_COMPRESSED || kind == QCOW2_KIND_DAMAGED)
		return 1;
	for (; count < most && index + count < UINT64_C(1) << image->slice_bits; count++) {
		uint64_t entry = qcow2_entry(slice, (uint32_t)(index + count));

		if (qcow2_kind_of(image, entry) != kind)
			break;
		if (kind == QCOW2_KIND_DATA &&
		    (entry & QCOW2_OFFSET) != (first & QCOW2_OFFSET) + (count << image->cluster_bits))
			break;
	}
	return count;
}

static int read_step(struct qcow2 *image, struct qcow2_request *request)
{
	const struct block_request *parent = request->parent;
	uint64_t guest = parent->offset + request->at, size = parent->size - request->at, reach;
	uint64_t within = guest & (image->cluster - 1), entry = 0;
	enum qcow2_kind kind = QCOW2_KIND_NONE;
	struct qcow2_slice *slice;
	int ret = qcow2_slice_get(image, guest, false, request, &slice);

	if (ret != 0)
		return ret;
	if (slice) {
		uint32_t index = qcow2_slice_index(image, guest);
		uint64_t most = (within + size + image->cluster - 1) >> image->cluster_bits;

		entry = qcow2_entry(slice, index);
		kind = qcow2_kind_of(image, entry);
		reach = (count_alike(image, slice, index, most) << image->cluster_bits) - within;
	} else { /* nothing as far as the table would go */
		uint64_t table = UINT64_C(1) << (image->cluster_bits + image->l2_bits);

		reach = table - (guest & (table - 1));
	}
	size = reach < size ? reach : size;
	switch (kind) {
	case QCOW2_KIND_NONE:
		ret = read_below(image, request, guest, size);
		break;
	case QCOW2_KIND_ZERO:
		block_iov_zero(parent->iov, parent->iov_count, request->at, size);
		break;
	case QCOW2_KIND_DATA:
		ret = read_data(image, request, (entry & QCOW2_OFFSET) + within, size);
		break;
	case QCOW2_KIND_COMPRESSED:
		ret = read_compressed(image, request, entry, within, size);
		break;
	case QCOW2_KIND_DAMAGED:
		ret = -EIO;
		break;
	}
	request->at += size;
	return ret;
}

void qcow2_advance(struct qcow2_request *request)
{
	struct qcow2 *image = request->image;
	enum block_operation operation = request->parent->operation;

	request->pending++; /* parts may be done before the last one is begun */
	while (request->result == 0 && request->at < request->parent->size) {
		int ret = operation == BLOCK_READ    ? read_step(image, request)
			  : operation == BLOCK_WRITE ? qcow2_write_step(image, request)
						     : qcow2_unmap_step(image, request);

		if (ret > 0)
			break;
		if (ret < 0)
			request->result = ret;
	}
	qcow2_part_done(request, 0);
}

void qcow2_submit(struct block *block, struct block_request *parent)
{
	struct qcow2 *image = (struct qcow2 *)block;
	struct qcow2_request *request;

	if (parent->operation == BLOCK_FLUSH) {
		qcow2_flush_submit(image, parent);
		return;
	}
	request = request_new(image, parent);
	if (request)
		qcow2_advance(request);
	else
		block_done(block, parent, -ENOMEM);
}

void qcow2_requests_free(struct qcow2 *image)
{
	while (image->free_requests) {
		struct qcow2_request *next = image->free_requests->next;

		free(image->free_requests);
		image->free_requests = next;
	}
	while (image->free_parts) {
		struct qcow2_part *next = image->free_parts->next;

		free(image->free_parts->iov);
		free(image->free_parts);
		image->free_parts = next;
	}
}
