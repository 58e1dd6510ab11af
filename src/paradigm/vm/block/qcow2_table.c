/* SPDX-License-Identifier: Apache-2.0 */
/* L2 tables: the cache of their slices, and what their entries say. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "paradigm/vm/block/qcow2.h"

static uint64_t slice_bytes(const struct qcow2 *image)
{
	return UINT64_C(8) << image->slice_bits;
}

uint32_t qcow2_slice_index(const struct qcow2 *image, uint64_t guest)
{
	return (uint32_t)((guest >> image->cluster_bits) & ((UINT64_C(1) << image->slice_bits) - 1));
}

bool qcow2_compressed_range(const struct qcow2 *image, uint64_t entry, uint64_t *offset, uint64_t *size)
{
	uint32_t shift = 62 - (image->cluster_bits - 8);
	uint64_t sectors = ((entry & (QCOW2_COMPRESSED - 1)) >> shift) + 1;

	*offset = entry & ((UINT64_C(1) << shift) - 1);
	*size = sectors * 512 - (*offset & 511);
	return *offset >= image->cluster && *offset >> image->cluster_bits < image->end &&
	       !qcow2_overlaps(image, *offset, *size);
}

enum qcow2_kind qcow2_kind_of(const struct qcow2 *image, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET, size;

	if (entry & QCOW2_COMPRESSED)
		return qcow2_compressed_range(image, entry, &offset, &size) ? QCOW2_KIND_COMPRESSED
									    : QCOW2_KIND_DAMAGED;
	if (entry & QCOW2_RESERVED || (entry & QCOW2_ZERO && image->version < 3) ||
	    (offset != 0 && !qcow2_cluster_valid(image, offset)))
		return QCOW2_KIND_DAMAGED;
	if (entry & QCOW2_ZERO)
		return QCOW2_KIND_ZERO;
	return offset ? QCOW2_KIND_DATA : QCOW2_KIND_NONE;
}

int qcow2_entry_set(struct qcow2 *image, struct qcow2_slice *slice, uint32_t index, uint64_t value)
{
	uint64_t old = qcow2_entry(slice, index), offset = old & QCOW2_OFFSET, size;
	int ret = 0;

	slice->entries[index] = htobe64(value);
	if (!slice->dirty) {
		slice->dirty = true;
		image->dirty_count++;
	}
	if (old & QCOW2_COMPRESSED) {
		if (qcow2_compressed_range(image, old, &offset, &size)) {
			uint64_t first = offset >> image->cluster_bits;
			uint64_t last = (offset + size - 1) >> image->cluster_bits;

			ret = qcow2_clusters_unlink(image, first << image->cluster_bits, last - first + 1);
		}
	} else if (offset != 0 && offset != (value & QCOW2_OFFSET)) {
		ret = qcow2_clusters_unlink(image, offset, 1);
	}
	return ret;
}

static void loaded(struct block_io_request *io)
{
	struct qcow2_slice *slice = (struct qcow2_slice *)((char *)io - offsetof(struct qcow2_slice, io));
	struct qcow2 *image = slice->image;
	int result = io->result;

	slice->loading = false;
	image->block.running--;
	if (result < 0)
		slice->offset = 0; /* not there */
	qcow2_resume(&slice->waiters, result);
	qcow2_resume(&image->stalled, 0);
}

static struct qcow2_slice *slice_new(struct qcow2 *image)
{
	struct qcow2_slice *slice = calloc(1, sizeof(*slice));

	if (!slice)
		return NULL;
	slice->entries = malloc(slice_bytes(image));
	if (!slice->entries) {
		free(slice);
		return NULL;
	}
	slice->image = image;
	image->slices[image->slices_count++] = slice;
	return slice;
}

/* A place for a slice: the one that nobody has asked for longest, and that holds nothing that is not on the disk. */
static struct qcow2_slice *find_place(struct qcow2 *image)
{
	struct qcow2_slice *best = NULL;

	for (size_t i = 0; i < image->slices_count; i++) {
		struct qcow2_slice *slice = image->slices[i];

		if (slice->loading || slice->dirty || slice->flushing || slice->pins > 0)
			continue;
		if (slice->offset == 0)
			return slice;
		if (!best || slice->used < best->used)
			best = slice;
	}
	if (image->slices_count < QCOW2_SLICES_MAX) {
		struct qcow2_slice *made = slice_new(image);

		return made ? made : best;
	}
	return best;
}

static struct qcow2_slice *find(struct qcow2 *image, uint64_t offset)
{
	if (image->last && image->last->offset == offset)
		return image->last;
	for (size_t i = 0; i < image->slices_count; i++)
		if (image->slices[i]->offset == offset)
			return image->last = image->slices[i];
	return NULL;
}

/* 0: it is there; 1: the request waits. */
static int fetch(struct qcow2 *image, uint64_t offset, struct qcow2_request *request, struct qcow2_slice **found)
{
	struct qcow2_slice *slice = find(image, offset);

	if (!slice) {
		slice = find_place(image);
		if (!slice && image->failed)
			return image->failed; /* what fills the cache will never be written */
		if (!slice) {
			image->crowded = true;
			qcow2_wait(&image->stalled, request);
			qcow2_tidy(image);
			return 1;
		}
		image->last = slice;
		slice->offset = offset;
		slice->loading = true;
		slice->iov = (struct iovec){ .iov_base = slice->entries, .iov_len = slice_bytes(image) };
		slice->io = (struct block_io_request){
			.operation = BLOCK_IO_READ,
			.fd = image->block.fd,
			.offset = offset,
			.size = slice_bytes(image),
			.iov = &slice->iov,
			.iov_count = 1,
			.done = loaded,
		};
		image->block.running++;
		qcow2_wait(&slice->waiters, request);
		block_io_submit(image->block.io, &slice->io);
		return 1;
	}
	if (slice->loading) {
		qcow2_wait(&slice->waiters, request);
		return 1;
	}
	slice->used = ++image->lookups;
	*found = slice;
	return 0;
}

static int table_new(struct qcow2 *image, uint64_t index)
{
	uint64_t host, got;
	int ret = qcow2_clusters_take(image, 1, true, &host, &got);

	if (ret < 0)
		return ret;
	ret = qcow2_clusters_link(image, host, 1);
	if (ret == 0 &&
	    !QCOW2_LIST_ADD(image->l1_changes, (struct qcow2_entry){ .offset = index, .value = host | QCOW2_COPIED }))
		ret = -ENOMEM;
	if (ret == 0)
		image->l1[index] = host | QCOW2_COPIED;
	return ret;
}

/* A table that a snapshot uses too is copied by a job. */
struct table_copy {
	struct block_io_request io;
	struct qcow2 *image;
	uint64_t index, from, to;
};

static int copy_table(struct block_io_request *io)
{
	struct table_copy *copy = (struct table_copy *)io;
	uint8_t *bytes = malloc(io->size);
	int ret = bytes ? block_read_at(io->fd, bytes, io->size, copy->from) : -ENOMEM;

	if (ret == 0)
		ret = file_write_at(io->fd, bytes, io->size, copy->to);
	free(bytes);
	return ret;
}

static void copied(struct block_io_request *io)
{
	struct table_copy *copy = (struct table_copy *)io;
	struct qcow2 *image = copy->image;
	int ret = io->result;

	if (ret == 0)
		ret = qcow2_clusters_link(image, copy->to, 1);
	if (ret == 0 && !QCOW2_LIST_ADD(image->l1_changes, (struct qcow2_entry){ .offset = copy->index,
										 .value = copy->to | QCOW2_COPIED }))
		ret = -ENOMEM;
	if (ret == 0) {
		image->l1[copy->index] = copy->to | QCOW2_COPIED;
		ret = qcow2_clusters_unlink(image, copy->from,
					    1); /* last: a table that is in use keeps its references */
	}
	image->copying = false;
	image->block.running--;
	free(copy);
	qcow2_resume(&image->stalled, ret);
}

/* 1: the request waits for it. */
static int table_copy(struct qcow2 *image, uint64_t index, struct qcow2_request *request)
{
	struct table_copy *copy;
	uint64_t got;
	int ret;

	if (!image->copying) {
		copy = calloc(1, sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		copy->image = image;
		copy->index = index;
		copy->from = image->l1[index] & QCOW2_OFFSET;
		ret = qcow2_clusters_take(image, 1, true, &copy->to, &got);
		if (ret < 0) {
			free(copy);
			return ret;
		}
		copy->io = (struct block_io_request){ .operation = BLOCK_IO_JOB,
						      .fd = image->block.fd,
						      .size = image->cluster,
						      .work = copy_table,
						      .done = copied };
		image->copying = true;
		image->block.running++;
		qcow2_wait(&image->stalled, request);
		block_io_submit(image->block.io, &copy->io);
		return 1;
	}
	qcow2_wait(&image->stalled, request);
	return 1;
}

int qcow2_slice_get(struct qcow2 *image, uint64_t guest, bool to_change, struct qcow2_request *request,
		    struct qcow2_slice **slice)
{
	uint64_t cluster = guest >> image->cluster_bits, index = cluster >> image->l2_bits;
	uint64_t within = cluster & ((UINT64_C(1) << image->l2_bits) - 1);
	uint64_t entry, offset;
	int ret;

	*slice = NULL;
	if (index >= image->l1_count)
		return -EIO;
	entry = image->l1[index];
	offset = entry & QCOW2_OFFSET;
	if (entry & (QCOW2_RESERVED | QCOW2_COMPRESSED | QCOW2_ZERO) ||
	    (offset != 0 && !qcow2_cluster_valid(image, offset)))
		return -EIO;
	if (offset == 0) {
		ret = to_change ? table_new(image, index) : 0;
		if (ret < 0 || !to_change)
			return ret;
		offset = image->l1[index] & QCOW2_OFFSET;
	} else if (to_change && !(entry & QCOW2_COPIED)) {
		return table_copy(image, index, request);
	}
	return fetch(image, offset + (within >> image->slice_bits) * slice_bytes(image), request, slice);
}

void qcow2_slices_free(struct qcow2 *image)
{
	for (size_t i = 0; i < image->slices_count; i++) {
		free(image->slices[i]->entries);
		free(image->slices[i]);
	}
}
