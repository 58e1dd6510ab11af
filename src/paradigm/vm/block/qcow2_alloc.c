/* SPDX-License-Identifier: Apache-2.0 */
/* Where new clusters come from, and the refcounts that they need. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/block/qcow2.h"

bool qcow2_list_grow(void *items, size_t *room, size_t count, size_t size)
{
	void *old, *grown;
	size_t wanted = *room ? *room * 2 : 16;

	if (count < *room)
		return true;
	memcpy(&old, items, sizeof(old));
	grown = reallocarray(old, wanted, size);
	if (!grown)
		return false;
	memcpy(items, &grown, sizeof(grown));
	*room = wanted;
	return true;
}

/* Refcounts in a block: as a power of two. */
static uint32_t block_bits(const struct qcow2 *image)
{
	return image->cluster_bits + 3 - image->refcount_order;
}

static int set_refcounts(struct qcow2 *image, uint64_t first, uint64_t count)
{
	uint64_t in_block = UINT64_C(1) << block_bits(image);

	while (count > 0) {
		uint64_t index = first & (in_block - 1), now = in_block - index < count ? in_block - index : count;
		uint64_t block = image->refcount_table[first >> block_bits(image)] & QCOW2_OFFSET;
		struct qcow2_refcounts *last = image->refcounts.count
						       ? &image->refcounts.items[image->refcounts.count - 1]
						       : NULL;

		if (block == 0)
			return -EIO;
		if (last && last->block == block && last->index + last->count == index)
			last->count += now;
		else if (!QCOW2_LIST_ADD(image->refcounts,
					 (struct qcow2_refcounts){ .block = block, .index = index, .count = now }))
			return -ENOMEM;
		first += now;
		count -= now;
	}
	return 0;
}

/* The block for a cluster's refcount; its first refcount may be its own. */
static int need_block(struct qcow2 *image, uint64_t index)
{
	uint64_t entry, host;
	int ret;

	if (index >= image->refcount_count)
		return -EIO;
	entry = image->refcount_table[index];
	if (entry != 0)
		return entry & 511 || !qcow2_cluster_valid(image, entry) ? -EIO : 0;
	host = image->end++ << image->cluster_bits;
	if (!QCOW2_LIST_ADD(image->refcount_changes, (struct qcow2_entry){ .offset = index, .value = host }))
		return -ENOMEM;
	image->refcount_table[index] = host;
	/* Where its own refcount is, there may be no block yet. */
	ret = need_block(image, (host >> image->cluster_bits) >> block_bits(image));
	if (ret == 0)
		ret = set_refcounts(image, host >> image->cluster_bits, 1);
	if (ret < 0)
		image->failed = ret; /* half of it is said */
	return ret;
}

/* A larger refcount table, at the end of the file.  The flush writes it, and lets the header point to it. */
static int grow_table(struct qcow2 *image)
{
	uint64_t old_clusters = image->refcount_count * 8 >> image->cluster_bits, clusters = old_clusters;
	uint64_t first = image->end, count, reach;
	uint64_t old_offset = image->refcount_offset, *table;
	int ret = 0;

	do { /* twice as large, or what reaches behind itself and its own blocks */
		clusters *= 2;
		count = clusters << (image->cluster_bits - 3);
		reach = (first + 2 * clusters + 2) >> block_bits(image);
		if (count * 8 > QCOW2_REFCOUNT_TABLE_BYTES_MAX)
			return -EFBIG;
	} while (reach >= count);
	table = calloc(count, sizeof(*table));
	if (!table)
		return -ENOMEM;
	memcpy(table, image->refcount_table, image->refcount_count * sizeof(*table));
	free(image->refcount_table);
	image->refcount_table = table;
	image->refcount_count = count;
	image->refcount_offset = first << image->cluster_bits;
	image->refcount_moved = true;
	image->end += clusters;
	for (uint64_t i = first; ret == 0 && i < first + clusters; i++)
		ret = need_block(image, i >> block_bits(image));
	if (ret == 0)
		ret = set_refcounts(image, first, clusters);
	if (ret == 0)
		ret = qcow2_clusters_unlink(image, old_offset, old_clusters);
	if (ret < 0)
		image->failed = ret; /* half of it is said */
	return ret;
}

static int take_at_end(struct qcow2 *image, uint64_t count, uint64_t *host, uint64_t *got)
{
	uint64_t in_block = UINT64_C(1) << block_bits(image), first, left;
	int ret;

	for (;;) {
		first = image->end;
		if (first >> (56 - image->cluster_bits))
			return -EFBIG;
		if (first >> block_bits(image) >= image->refcount_count)
			ret = grow_table(image);
		else
			ret = need_block(image, first >> block_bits(image));
		if (ret < 0)
			return ret;
		if (first == image->end)
			break; /* nothing had to be put there */
	}
	left = in_block - (first & (in_block - 1));
	*got = left < count ? left : count;
	*host = first << image->cluster_bits;
	image->end += *got;
	return 0;
}

int qcow2_clusters_take(struct qcow2 *image, uint64_t count, bool at_end, uint64_t *host, uint64_t *got)
{
	struct qcow2_range *range;

	if (image->failed)
		return image->failed;
	if (at_end || image->free.count == 0)
		return take_at_end(image, count, host, got);
	range = &image->free.items[image->free.count - 1];
	*got = range->count < count ? range->count : count;
	*host = range->first << image->cluster_bits;
	range->first += *got;
	range->count -= *got;
	if (range->count == 0)
		image->free.count--;
	return 0;
}

void qcow2_clusters_give_back(struct qcow2 *image, uint64_t host, uint64_t count)
{
	uint64_t first = host >> image->cluster_bits;
	struct qcow2_range *last = image->free.count ? &image->free.items[image->free.count - 1] : NULL;

	if (last && last->first + last->count == first) {
		last->count += count;
	} else if (last && first + count == last->first) {
		last->first = first;
		last->count += count;
	} else {
		/* Without memory they are not used again. */
		(void)QCOW2_LIST_ADD(image->free, (struct qcow2_range){ .first = first, .count = count });
	}
}

int qcow2_clusters_link(struct qcow2 *image, uint64_t host, uint64_t count)
{
	return set_refcounts(image, host >> image->cluster_bits, count);
}

int qcow2_clusters_unlink(struct qcow2 *image, uint64_t host, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		if (!QCOW2_LIST_ADD(image->unlinked,
				    (struct qcow2_unlinked){ .cluster = (host >> image->cluster_bits) + i,
							     .sequence = image->sequence }))
			return -ENOMEM;
	return 0;
}
