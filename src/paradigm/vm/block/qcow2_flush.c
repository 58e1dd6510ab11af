/* SPDX-License-Identifier: Apache-2.0 */
/* What a flush writes, in which order; and giving back clusters that nobody uses any more. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "paradigm/vm/block/qcow2.h"

uint64_t qcow2_refcount_get(const uint8_t *bytes, uint64_t index, uint32_t order)
{
	uint32_t bits = UINT32_C(1) << order;
	uint64_t value = 0;

	if (bits < 8) {
		uint32_t in_byte = 8 / bits;

		return (uint64_t)(bytes[index / in_byte] >> (index % in_byte * bits)) & ((1U << bits) - 1);
	}
	for (uint32_t i = 0; i < bits / 8; i++)
		value = value << 8 | bytes[index * (bits / 8) + i];
	return value;
}

void qcow2_refcount_put(uint8_t *bytes, uint64_t index, uint32_t order, uint64_t value)
{
	uint32_t bits = UINT32_C(1) << order;

	if (bits < 8) {
		uint32_t in_byte = 8 / bits, shift = (uint32_t)(index % in_byte * bits);
		uint8_t mask = (uint8_t)(((1U << bits) - 1) << shift);

		bytes[index / in_byte] = (uint8_t)((bytes[index / in_byte] & ~mask) | ((value << shift) & mask));
		return;
	}
	for (uint32_t i = bits / 8; i-- > 0; value >>= 8)
		bytes[index * (bits / 8) + i] = (uint8_t)value;
}

/* ---- the flush job: runs in a thread of the pool, on copies ---- */

/* Ones from index on, a piece at a time. */
static int write_refcounts(const struct qcow2_flush *flush, const struct qcow2_refcounts *refcounts)
{
	uint32_t order = flush->image->refcount_order;
	uint8_t bytes[4096];
	uint64_t in_bytes = sizeof(bytes) * 8 >> order; /* refcounts */
	uint64_t index = refcounts->index, left = refcounts->count;

	while (left > 0) {
		uint64_t piece = index / in_bytes * in_bytes, skip = index - piece;
		uint64_t now = in_bytes - skip < left ? in_bytes - skip : left;
		/* The bytes that hold them, of this piece. */
		uint64_t first = (skip << order) >> 3, last = (((skip + now) << order) + 7) >> 3;
		uint64_t place = refcounts->block + ((piece << order) >> 3) + first;
		int ret = 0;

		if (order < 3)
			ret = block_read_at(flush->io.fd, bytes + first, last - first, place);
		for (uint64_t i = 0; i < now; i++)
			qcow2_refcount_put(bytes, skip + i, order, 1);
		if (ret == 0)
			ret = file_write_at(flush->io.fd, bytes + first, last - first, place);
		if (ret < 0)
			return ret;
		index += now;
		left -= now;
	}
	return 0;
}

static int write_entries(int fd, uint64_t table, const struct qcow2_entry *entries, size_t count)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < count; i++) {
		uint64_t value = htobe64(entries[i].value);

		ret = file_write_at(fd, &value, sizeof(value), table + entries[i].offset * 8);
	}
	return ret;
}

static int sync_file(int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* Entries of new blocks, once those are there. */
static int write_refcount_table(const struct qcow2_flush *flush)
{
	int ret = flush->refcount_table.count > 0 ? sync_file(flush->io.fd) : 0;

	return ret < 0 ? ret
		       : write_entries(flush->io.fd, flush->moved_offset, flush->refcount_table.items,
				       flush->refcount_table.count);
}

/* The new refcount table, and then the header that points to it. */
static int move_table(const struct qcow2_flush *flush)
{
	uint8_t header[12];
	int ret = file_write_at(flush->io.fd, flush->moved_table,
				(uint64_t)flush->moved_clusters << flush->image->cluster_bits, flush->moved_offset);

	if (ret == 0)
		ret = sync_file(flush->io.fd);
	qcow2_put_u64(header, flush->moved_offset);
	qcow2_put_u32(header + 8, flush->moved_clusters);
	return ret < 0 ? ret : file_write_at(flush->io.fd, header, sizeof(header), QCOW2_REFCOUNT_TABLE_OFFSET);
}

static int write_tables(struct block_io_request *io)
{
	struct qcow2_flush *flush = (struct qcow2_flush *)io;
	uint64_t slice = UINT64_C(8) << flush->image->slice_bits;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < flush->refcounts.count; i++)
		ret = write_refcounts(flush, &flush->refcounts.items[i]);
	if (ret == 0)
		ret = flush->moved_table ? move_table(flush) : write_refcount_table(flush);
	if (ret == 0)
		ret = sync_file(io->fd);
	for (size_t i = 0; ret == 0 && i < flush->slices.count; i++)
		ret = file_write_at(io->fd, flush->slice_bytes + i * slice, slice, flush->slices.items[i]);
	if (ret == 0 && flush->l1.count > 0) {
		ret = flush->slices.count > 0 ? sync_file(io->fd) : 0;
		if (ret == 0)
			ret = write_entries(io->fd, flush->io.offset, flush->l1.items, flush->l1.count);
	}
	return ret < 0 ? ret : sync_file(io->fd);
}

/* ---- in the loop ---- */

static void flush_free(struct qcow2_flush *flush)
{
	free(flush->refcounts.items);
	free(flush->refcount_table.items);
	free(flush->l1.items);
	free(flush->slices.items);
	free(flush->slice_bytes);
	free(flush->moved_table);
	free(flush);
}

/* The requests of a list, oldest first. */
static void answer(struct qcow2 *image, struct block_request *request, int result)
{
	struct block_request *oldest = NULL;

	while (request) {
		struct block_request *next = request->next;

		request->next = oldest;
		oldest = request;
		request = next;
	}
	while (oldest) {
		struct block_request *next = oldest->next;

		block_done(&image->block, oldest, result);
		oldest = next;
	}
}

static void job_ended(struct qcow2 *image, int result)
{
	struct block_request *served = image->serving;

	image->serving = NULL;
	image->job = false;
	image->block.running--;
	answer(image, served, result);
	qcow2_resume(&image->stalled, 0);
	qcow2_tidy(image);
}

static void flushed(struct block_io_request *io)
{
	struct qcow2_flush *flush = (struct qcow2_flush *)io;
	struct qcow2 *image = flush->image;
	int result = io->result;

	for (size_t i = 0; i < image->slices_count; i++)
		image->slices[i]->flushing = false;
	if (result < 0)
		image->failed = result;
	else
		image->stable = flush->unlinked;
	flush_free(flush);
	job_ended(image, result);
}

static void synced(struct block_io_request *io)
{
	struct qcow2_flush *flush = (struct qcow2_flush *)io;
	struct qcow2 *image = flush->image;
	int result = io->result;

	if (result < 0)
		image->failed = result; /* what the page cache held may be lost: see fsync(2) */
	free(flush);
	job_ended(image, result);
}

/* Copies of the slices that have changed. */
static int copy_slices(struct qcow2 *image, struct qcow2_flush *flush)
{
	uint64_t bytes = UINT64_C(8) << image->slice_bits;

	flush->slice_bytes = malloc(image->dirty_count * bytes + 1);
	if (!flush->slice_bytes)
		return -ENOMEM;
	for (size_t i = 0; i < image->slices_count; i++) {
		struct qcow2_slice *slice = image->slices[i];

		if (!slice->dirty)
			continue;
		memcpy(flush->slice_bytes + flush->slices.count * bytes, slice->entries, bytes);
		if (!QCOW2_LIST_ADD(flush->slices, slice->offset))
			return -ENOMEM;
	}
	return 0;
}

static int copy_refcount_table(struct qcow2 *image, struct qcow2_flush *flush)
{
	flush->moved_offset = image->refcount_offset;
	flush->moved_clusters = (uint32_t)(image->refcount_count * 8 >> image->cluster_bits);
	if (!image->refcount_moved)
		return 0;
	flush->moved_table = malloc(image->refcount_count * 8);
	if (!flush->moved_table)
		return -ENOMEM;
	for (uint64_t i = 0; i < image->refcount_count; i++)
		qcow2_put_u64(flush->moved_table + i * 8, image->refcount_table[i]);
	return 0;
}

/* From here on what changes is for the next flush. */
static void take_changes(struct qcow2 *image, struct qcow2_flush *flush)
{
	memcpy(&flush->refcounts, &image->refcounts, sizeof(flush->refcounts));
	memset(&image->refcounts, 0, sizeof(image->refcounts));
	memcpy(&flush->refcount_table, &image->refcount_changes, sizeof(flush->refcount_table));
	memset(&image->refcount_changes, 0, sizeof(image->refcount_changes));
	memcpy(&flush->l1, &image->l1_changes, sizeof(flush->l1));
	memset(&image->l1_changes, 0, sizeof(image->l1_changes));
	image->refcount_moved = false;
	flush->unlinked = image->unlinked.count;
	for (size_t i = 0; i < image->slices_count; i++) {
		image->slices[i]->flushing = image->slices[i]->dirty;
		image->slices[i]->dirty = false;
	}
	image->dirty_count = 0;
}

static bool has_changes(const struct qcow2 *image)
{
	return image->dirty_count > 0 || image->l1_changes.count > 0 || image->refcounts.count > 0 ||
	       image->refcount_changes.count > 0 || image->refcount_moved;
}

/*
 * What a table is to point to lies in the file, even if nothing was written there: the first data of a new table may
 * have failed, or be on its way.  Takes no room on the host's disk.  In the loop's thread, where nothing that is under
 * way lies behind `end`; a job would cut off what was written since.
 */
static int reach_end(const struct qcow2 *image)
{
	if (image->l1_changes.count == 0 && image->refcount_changes.count == 0 && !image->refcount_moved)
		return 0;
	return ftruncate(image->block.fd, (off_t)(image->end << image->cluster_bits)) < 0 ? -errno : 0;
}

static void begin_flush(struct qcow2 *image)
{
	struct qcow2_flush *flush = calloc(1, sizeof(*flush));
	bool changes = has_changes(image);
	int ret = flush ? 0 : -ENOMEM;

	image->job = true;
	image->crowded = false;
	image->block.running++;
	image->serving = image->flushes;
	image->flushes = NULL;
	if (ret == 0)
		ret = reach_end(image);
	if (ret == 0 && changes)
		ret = copy_slices(image, flush);
	if (ret == 0 && changes)
		ret = copy_refcount_table(image, flush);
	if (ret < 0) {
		if (flush)
			flush_free(flush);
		image->failed = ret; /* or it would be tried for ever */
		job_ended(image, ret);
		return;
	}
	flush->image = image;
	flush->io = (struct block_io_request){ .operation = changes ? BLOCK_IO_JOB : BLOCK_IO_SYNC,
					       .fd = image->block.fd,
					       .offset = image->l1_offset,
					       .work = write_tables,
					       .done = changes ? flushed : synced };
	if (changes)
		take_changes(image, flush);
	block_io_submit(image->block.io, &flush->io);
}

void qcow2_flush_submit(struct qcow2 *image, struct block_request *request)
{
	if (image->block.read_only || image->failed) {
		block_done(&image->block, request, image->failed);
		return;
	}
	request->next = image->flushes;
	image->flushes = request;
	qcow2_tidy(image);
}

/* ---- clusters that lost a reference ---- */

struct freeing {
	struct block_io_request io;
	struct qcow2 *image;
	size_t count;
	struct {
		uint64_t cluster, block, index; /* block 0: its refcount is nowhere */
		bool free;			/* out */
	} items[];
};

/* Makes a cluster zeros, and gives its blocks back if that can be. */
static int empty_cluster(int fd, uint64_t offset, uint64_t size)
{
	static const uint8_t zeros[4096];
	int ret = 0;

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) == 0)
		return 0;
	for (uint64_t done = 0; ret == 0 && done < size; done += sizeof(zeros))
		ret = file_write_at(fd, zeros, size < sizeof(zeros) ? size : sizeof(zeros), offset + done);
	return ret;
}

/* One refcount less; whether it is 0 now.  One that was 0 before was wrong, and its cluster is left alone. */
static int drop_reference(struct freeing *freeing, uint64_t block, uint64_t index, bool *free_now)
{
	uint32_t order = freeing->image->refcount_order;
	uint32_t bytes = order < 3 ? 1 : 1U << (order - 3);
	uint64_t place = block + ((index << order) >> 3), within = order < 3 ? index & ((8U >> order) - 1) : 0, value;
	uint8_t field[8];
	int ret = block_read_at(freeing->io.fd, field, bytes, place);

	*free_now = false;
	if (ret < 0)
		return ret;
	value = qcow2_refcount_get(field, within, order);
	if (value == 0)
		return 0;
	qcow2_refcount_put(field, within, order, value - 1);
	*free_now = value == 1;
	return file_write_at(freeing->io.fd, field, bytes, place);
}

static int free_clusters(struct block_io_request *io)
{
	struct freeing *freeing = (struct freeing *)io;
	uint64_t cluster = freeing->image->cluster;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < freeing->count; i++) {
		bool free_now = false;

		if (freeing->items[i].block == 0)
			continue;
		ret = drop_reference(freeing, freeing->items[i].block, freeing->items[i].index, &free_now);
		if (ret == 0 && free_now)
			freeing->items[i].free = empty_cluster(io->fd, freeing->items[i].cluster * cluster, cluster) ==
						 0;
	}
	return ret;
}

static void freed(struct block_io_request *io)
{
	struct freeing *freeing = (struct freeing *)io;
	struct qcow2 *image = freeing->image;

	if (io->result < 0)
		image->failed = io->result;
	for (size_t i = 0; i < freeing->count; i++)
		if (freeing->items[i].free)
			qcow2_clusters_give_back(image, freeing->items[i].cluster << image->cluster_bits, 1);
	free(freeing);
	job_ended(image, 0);
}

/* How many of the stable ones no request can be reading or writing any more. */
static size_t count_unused(const struct qcow2 *image)
{
	size_t count = 0;

	while (count < image->stable &&
	       (!image->oldest || image->unlinked.items[count].sequence < image->oldest->sequence))
		count++;
	return count;
}

static void begin_freeing(struct qcow2 *image, size_t count)
{
	struct freeing *freeing = calloc(1, sizeof(*freeing) + count * sizeof(freeing->items[0]));
	uint32_t bits = image->cluster_bits + 3 - image->refcount_order;

	if (!freeing)
		return; /* later */
	freeing->image = image;
	freeing->count = count;
	for (size_t i = 0; i < count; i++) {
		uint64_t cluster = image->unlinked.items[i].cluster, index = cluster >> bits;
		uint64_t block = index < image->refcount_count ? image->refcount_table[index] : 0;

		freeing->items[i].cluster = cluster;
		freeing->items[i].index = cluster & ((UINT64_C(1) << bits) - 1);
		freeing->items[i].block = qcow2_cluster_valid(image, block) &&
							  !qcow2_overlaps(image, cluster << image->cluster_bits,
									  image->cluster)
						  ? block
						  : 0;
	}
	image->unlinked.count -= count;
	image->stable -= count;
	memmove(image->unlinked.items, image->unlinked.items + count,
		image->unlinked.count * sizeof(*image->unlinked.items));
	freeing->io = (struct block_io_request){
		.operation = BLOCK_IO_JOB, .fd = image->block.fd, .work = free_clusters, .done = freed
	};
	image->job = true;
	image->block.running++;
	block_io_submit(image->block.io, &freeing->io);
}

void qcow2_tidy(struct qcow2 *image)
{
	uint64_t unlinked = image->unlinked.count - image->stable;
	bool crowded = image->dirty_count > QCOW2_SLICES_MAX / 2 || image->refcounts.count > QCOW2_PENDING_MAX ||
		       unlinked > QCOW2_PENDING_MAX || unlinked * image->cluster > QCOW2_UNLINKED_BYTES_MAX ||
		       (image->crowded && image->dirty_count > 0);
	size_t unused;

	if (image->job || image->block.read_only)
		return;
	if (image->failed) { /* whoever waits for the disk to be tidied waits in vain */
		struct block_request *waiting = image->flushes;

		image->flushes = NULL;
		answer(image, waiting, image->failed);
		return;
	}
	if (image->flushes || crowded) {
		begin_flush(image);
		return;
	}
	unused = image->stable ? count_unused(image) : 0;
	if (unused > 0)
		begin_freeing(image, unused);
}
