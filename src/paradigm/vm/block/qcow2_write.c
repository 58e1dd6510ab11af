/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, discarding, and writing zeros. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/block/qcow2.h"

enum { ZEROS = 64 << 10 };

/* Whether a cluster of that kind shows anything but zeros where nothing is written. */
static bool has_old_data(const struct qcow2 *image, enum qcow2_kind kind, uint64_t guest)
{
	if (kind == QCOW2_KIND_NONE)
		return image->block.backing && (guest & ~(image->cluster - 1)) < image->block.backing->size;
	return kind == QCOW2_KIND_DATA || kind == QCOW2_KIND_COMPRESSED;
}

/* The allocation on its way that has the cluster of that guest offset. */
static struct qcow2_allocation *find_allocation(const struct qcow2 *image, uint64_t guest)
{
	struct qcow2_allocation *at = image->allocations;

	while (at && !(guest >= at->guest && guest < at->guest + ((uint64_t)at->count << image->cluster_bits)))
		at = at->next;
	return at;
}

/* 0: nobody is at that guest offset; 1: the request waits for who is; -errno: nothing is written any more. */
static int wait_for_allocation(struct qcow2 *image, uint64_t guest, struct qcow2_request *request)
{
	struct qcow2_allocation *other = find_allocation(image, guest);

	if (image->failed)
		return image->failed;
	if (!other)
		return 0;
	qcow2_wait(&other->waiters, request);
	return 1;
}

static bool may_write_in_place(const struct qcow2 *image, uint64_t entry)
{
	return qcow2_kind_of(image, entry) == QCOW2_KIND_DATA && entry & QCOW2_COPIED;
}

/* ---- into clusters that are there ---- */

static void part_written(struct block_io_request *io)
{
	struct qcow2_part *part = (struct qcow2_part *)((char *)io - offsetof(struct qcow2_part, io));
	struct qcow2_request *owner = part->owner;
	int result = io->result;

	qcow2_part_free(part);
	qcow2_part_done(owner, result);
}

static int write_in_place(struct qcow2 *image, struct qcow2_request *request, const struct qcow2_slice *slice,
			  uint64_t guest, uint64_t size)
{
	const struct block_request *parent = request->parent;
	uint64_t within = guest & (image->cluster - 1);
	uint32_t index = qcow2_slice_index(image, guest);
	uint64_t host = qcow2_entry(slice, index) & QCOW2_OFFSET, reach = image->cluster - within;
	struct qcow2_part *part = qcow2_part_new(request);

	if (!part)
		return -ENOMEM;
	for (uint64_t i = 1; reach < size && index + i < UINT64_C(1) << image->slice_bits; i++) {
		uint64_t entry = qcow2_entry(slice, (uint32_t)(index + i));

		if (!may_write_in_place(image, entry) || (entry & QCOW2_OFFSET) != host + (i << image->cluster_bits))
			break;
		reach += image->cluster;
	}
	size = reach < size ? reach : size;
	part->io = (struct block_io_request){
		.operation = BLOCK_IO_WRITE,
		.fd = image->block.fd,
		.offset = host + within,
		.size = size,
		.iov = part->iov,
		.iov_count = block_iov_slice(parent->iov, parent->iov_count, request->at, size, part->iov),
		.done = part_written,
	};
	block_io_submit(image->block.io, &part->io);
	request->at += size;
	return 0;
}

/* ---- into new clusters ---- */

static void allocation_end(struct qcow2_allocation *allocation, int result)
{
	struct qcow2 *image = allocation->owner->image;
	struct qcow2_request *owner = allocation->owner;
	struct qcow2_allocation **at = &image->allocations;
	struct qcow2_waiters waiters = allocation->waiters;

	while (*at != allocation)
		at = &(*at)->next;
	*at = allocation->next;
	allocation->slice->pins--;
	image->copy_bytes -= allocation->old_size[0] + allocation->old_size[1];
	free(allocation->old[0]);
	free(allocation->old[1]);
	free(allocation->iov);
	free(allocation);
	qcow2_part_done(owner, result);
	qcow2_resume(&waiters, 0); /* they find out for themselves */
	qcow2_resume(&image->stalled, 0);
	qcow2_tidy(image);
}

/* The data is where it belongs: now the tables say so. */
static int link_clusters(struct qcow2 *image, struct qcow2_allocation *allocation)
{
	uint32_t index = qcow2_slice_index(image, allocation->guest);
	int ret = qcow2_clusters_link(image, allocation->host, allocation->count);

	for (uint32_t i = 0; ret == 0 && i < allocation->count; i++)
		ret = qcow2_entry_set(image, allocation->slice, index + i,
				      (allocation->host + ((uint64_t)i << image->cluster_bits)) | QCOW2_COPIED);
	if (ret < 0)
		image->failed = ret; /* half of it is said */
	return ret;
}

/* Of a failed write the clusters are lost until the image is opened again: nobody knows what is in them. */
static void allocation_written(struct block_io_request *io)
{
	struct qcow2_allocation *allocation = (struct qcow2_allocation *)((char *)io -
									  offsetof(struct qcow2_allocation, io));
	int result = io->result;

	if (result == 0)
		result = link_clusters(allocation->owner->image, allocation);
	allocation_end(allocation, result);
}

/* Old data before and behind is there: all goes in one write. */
static void allocation_go_on(struct qcow2_allocation *allocation, int result)
{
	struct qcow2 *image = allocation->owner->image;
	const struct block_request *parent = allocation->owner->parent;
	uint64_t within = allocation->offset - allocation->guest;
	int count = 0;

	if (result < 0 && allocation->result == 0)
		allocation->result = result;
	if (--allocation->pending > 0)
		return;
	if (allocation->result < 0) {
		qcow2_clusters_give_back(image, allocation->host, allocation->count);
		allocation_end(allocation, allocation->result);
		return;
	}
	if (allocation->old[0])
		allocation->iov[count++] = allocation->old_iov[0];
	count += block_iov_slice(parent->iov, parent->iov_count, allocation->position, allocation->size,
				 allocation->iov + count);
	if (allocation->old[1])
		allocation->iov[count++] = allocation->old_iov[1];
	allocation->io = (struct block_io_request){
		.operation = BLOCK_IO_WRITE,
		.fd = image->block.fd,
		.offset = allocation->host + (allocation->old[0] ? 0 : within),
		.size = allocation->old_size[0] + allocation->size + allocation->old_size[1],
		.iov = allocation->iov,
		.iov_count = count,
		.done = allocation_written,
	};
	block_io_submit(image->block.io, &allocation->io);
}

static void old_data_read(struct block_request *read, int result)
{
	allocation_go_on(read->context, result);
}

static void read_old_data(struct qcow2 *image, struct qcow2_allocation *allocation, int which, uint64_t offset)
{
	struct block_request *read = &allocation->reads[which];

	allocation->old_iov[which] = (struct iovec){ .iov_base = allocation->old[which],
						     .iov_len = allocation->old_size[which] };
	*read = (struct block_request){
		.operation = BLOCK_READ,
		.offset = offset,
		.size = allocation->old_size[which],
		.iov = &allocation->old_iov[which],
		.iov_count = 1,
		.done = old_data_read,
		.context = allocation,
	};
	allocation->pending++;
	block_submit(&image->block, read);
}

/* How much old data stands before and behind what is written. */
static void measure_old_data(const struct qcow2 *image, const struct qcow2_slice *slice,
			     struct qcow2_allocation *allocation)
{
	uint64_t end = allocation->offset + allocation->size, last_cluster = (end - 1) & ~(image->cluster - 1);
	uint64_t limit = last_cluster + image->cluster;

	limit = limit < image->block.size ? limit : image->block.size;
	if (allocation->offset > allocation->guest &&
	    has_old_data(image, qcow2_kind_of(image, qcow2_entry(slice, qcow2_slice_index(image, allocation->guest))),
			 allocation->guest))
		allocation->old_size[0] = allocation->offset - allocation->guest;
	if (limit > end &&
	    has_old_data(image, qcow2_kind_of(image, qcow2_entry(slice, qcow2_slice_index(image, last_cluster))),
			 last_cluster))
		allocation->old_size[1] = limit - end;
}

static int allocation_make(struct qcow2_request *request, struct qcow2_slice *slice,
			   const struct qcow2_allocation *measured)
{
	struct qcow2 *image = request->image;
	struct qcow2_allocation *allocation = malloc(sizeof(*allocation));
	uint64_t end = measured->offset + measured->size;

	if (!allocation)
		return -ENOMEM;
	*allocation = *measured;
	allocation->iov = calloc((size_t)request->parent->iov_count + 2, sizeof(*allocation->iov));
	for (int i = 0; i < 2; i++)
		allocation->old[i] = allocation->old_size[i] ? malloc(allocation->old_size[i]) : NULL;
	if (!allocation->iov || (allocation->old_size[0] && !allocation->old[0]) ||
	    (allocation->old_size[1] && !allocation->old[1])) {
		free(allocation->iov);
		free(allocation->old[0]);
		free(allocation->old[1]);
		free(allocation);
		return -ENOMEM;
	}
	allocation->next = image->allocations;
	image->allocations = allocation;
	image->copy_bytes += allocation->old_size[0] + allocation->old_size[1];
	slice->pins++;
	request->pending++;
	request->at += allocation->size;
	allocation->pending = 1;
	if (allocation->old[0])
		read_old_data(image, allocation, 0, allocation->guest);
	if (allocation->old[1])
		read_old_data(image, allocation, 1, end);
	allocation_go_on(allocation, 0);
	return 0;
}

static int allocate(struct qcow2 *image, struct qcow2_request *request, struct qcow2_slice *slice, uint64_t guest,
		    uint64_t size)
{
	uint64_t within = guest & (image->cluster - 1), wanted, most, count = 1, got = 0;
	uint32_t index = qcow2_slice_index(image, guest);
	struct qcow2_allocation allocation = {
		.owner = request, .slice = slice, .guest = guest - within, .offset = guest, .position = request->at
	};
	int ret;

	if (image->copy_bytes > 0 && image->copy_bytes + 2 * image->cluster > QCOW2_COPY_BYTES_MAX) {
		qcow2_wait(&image->stalled, request);
		return 1;
	}
	wanted = (within + size + image->cluster - 1) >> image->cluster_bits;
	most = QCOW2_RUN_BYTES_MAX >> image->cluster_bits;
	for (; count < wanted && count < most && index + count < UINT64_C(1) << image->slice_bits; count++) {
		uint64_t entry = qcow2_entry(slice, (uint32_t)(index + count));

		if (may_write_in_place(image, entry) || qcow2_kind_of(image, entry) == QCOW2_KIND_DAMAGED ||
		    find_allocation(image, allocation.guest + (count << image->cluster_bits)))
			break;
	}
	ret = qcow2_clusters_take(image, count, false, &allocation.host, &got);
	if (ret < 0)
		return ret;
	allocation.count = (uint32_t)got;
	allocation.size = (got << image->cluster_bits) - within;
	allocation.size = allocation.size < size ? allocation.size : size;
	measure_old_data(image, slice, &allocation);
	ret = allocation_make(request, slice, &allocation);
	if (ret < 0)
		qcow2_clusters_give_back(image, allocation.host, got);
	return ret;
}

int qcow2_write_step(struct qcow2 *image, struct qcow2_request *request)
{
	uint64_t guest = request->parent->offset + request->at, size = request->parent->size - request->at;
	struct qcow2_slice *slice;
	uint64_t entry;
	int ret = wait_for_allocation(image, guest, request);

	if (ret != 0)
		return ret;
	ret = qcow2_slice_get(image, guest, true, request, &slice);
	if (ret != 0)
		return ret;
	entry = qcow2_entry(slice, qcow2_slice_index(image, guest));
	if (qcow2_kind_of(image, entry) == QCOW2_KIND_DAMAGED)
		return -EIO;
	if (may_write_in_place(image, entry))
		return write_in_place(image, request, slice, guest, size);
	return allocate(image, request, slice, guest, size);
}

/* ---- away with data ---- */

static void zeros_written(struct block_request *write, int result)
{
	struct qcow2_part *part = write->context;
	struct qcow2_request *owner = part->owner;

	free((void *)write->iov);
	qcow2_part_free(part);
	qcow2_part_done(owner, result);
}

/* Where tables cannot say it: part of a cluster, or version 2. */
static int write_zeros(struct qcow2 *image, struct qcow2_request *request, uint64_t guest, uint64_t size)
{
	static uint8_t zeros[ZEROS];
	int count = (int)((size + ZEROS - 1) / ZEROS);
	struct iovec *iov = calloc((size_t)count, sizeof(*iov));
	struct qcow2_part *part = iov ? qcow2_part_new(request) : NULL;

	if (!part) {
		free(iov);
		return -ENOMEM;
	}
	for (int i = 0; i < count; i++)
		iov[i] = (struct iovec){ .iov_base = zeros, .iov_len = ZEROS };
	iov[count - 1].iov_len = size - (uint64_t)(count - 1) * ZEROS;
	part->below = (struct block_request){
		.operation = BLOCK_WRITE,
		.offset = guest,
		.size = size,
		.iov = iov,
		.iov_count = count,
		.done = zeros_written,
		.context = part,
	};
	request->at += size;
	block_submit(&image->block, &part->below);
	return 0;
}

/* What the entry of a cluster becomes that is discarded, or filled with zeros. */
static uint64_t unmapped(const struct qcow2 *image, const struct block_request *request, uint64_t entry, uint64_t guest)
{
	enum qcow2_kind kind = qcow2_kind_of(image, entry);
	bool discard = request->operation == BLOCK_DISCARD;
	/* Without a table's word, what is below would show through again. */
	uint64_t gone = has_old_data(image, QCOW2_KIND_NONE, guest) ? QCOW2_ZERO : 0;

	if (kind == QCOW2_KIND_NONE)
		return discard ? entry : gone;
	if (discard || request->unmap)
		return gone;
	if (kind == QCOW2_KIND_ZERO)
		return entry;
	return may_write_in_place(image, entry) && image->version >= 3 ? entry | QCOW2_ZERO : gone;
}

/* The clusters of one slice that lie wholly in the request, from its position on. */
static void unmap_clusters(struct qcow2 *image, struct qcow2_request *request, struct qcow2_slice *slice)
{
	const struct block_request *parent = request->parent;
	uint64_t end = parent->offset + parent->size;

	for (;;) {
		uint64_t guest = parent->offset + request->at;
		uint32_t index = qcow2_slice_index(image, guest);
		uint64_t entry = qcow2_entry(slice, index), value = unmapped(image, parent, entry, guest);
		int ret = value != entry ? qcow2_entry_set(image, slice, index, value) : 0;

		if (ret < 0)
			image->failed = request->result = ret;
		request->at += end - guest < image->cluster ? end - guest : image->cluster;
		guest += image->cluster;
		if (ret < 0 || guest >= end || (end - guest < image->cluster && end < image->block.size) ||
		    index + 1 == UINT64_C(1) << image->slice_bits || find_allocation(image, guest) ||
		    qcow2_kind_of(image, qcow2_entry(slice, index + 1)) == QCOW2_KIND_DAMAGED)
			return;
	}
}

/* There is no table, or the cluster is as it should be: on to the next one. */
static int skip_clusters(const struct qcow2 *image, struct qcow2_request *request, uint64_t size)
{
	uint64_t left = request->parent->size - request->at;

	(void)image;
	request->at += size < left ? size : left;
	return 0;
}

int qcow2_unmap_step(struct qcow2 *image, struct qcow2_request *request)
{
	const struct block_request *parent = request->parent;
	uint64_t guest = parent->offset + request->at, left = parent->size - request->at, entry = 0, value;
	uint64_t within = guest & (image->cluster - 1), in_cluster = image->cluster - within;
	bool discard = parent->operation == BLOCK_DISCARD;
	bool whole = within == 0 && (left >= image->cluster || guest + left == image->block.size);
	struct qcow2_slice *slice;
	int ret = wait_for_allocation(image, guest, request);

	if (ret != 0)
		return ret;
	in_cluster = in_cluster < left ? in_cluster : left;
	if (discard && !whole)
		return skip_clusters(image, request, in_cluster);
	ret = qcow2_slice_get(image, guest, false, request, &slice);
	if (ret != 0)
		return ret;
	if (slice)
		entry = qcow2_entry(slice, qcow2_slice_index(image, guest));
	if (qcow2_kind_of(image, entry) == QCOW2_KIND_DAMAGED)
		return -EIO;
	value = unmapped(image, parent, entry, guest);
	if (value == entry)
		return skip_clusters(image, request, in_cluster);
	if (!whole || (value & QCOW2_ZERO && image->version < 3)) {
		if (discard)
			return skip_clusters(image, request, in_cluster);
		return write_zeros(image, request, guest, in_cluster);
	}
	ret = qcow2_slice_get(image, guest, true, request, &slice);
	if (ret == 0)
		unmap_clusters(image, request, slice);
	return ret;
}
