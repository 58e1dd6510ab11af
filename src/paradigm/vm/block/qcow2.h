/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 - a node on a qcow2 image, versions 2 and 3: what its files share.
 *
 * Everything but the jobs runs in the loop's thread.  The L1 table and the
 * refcount table are in memory, L2 tables in slices of a bounded cache; what
 * changes in them stays in memory until a flush, which a job writes out in this order:
 *
 *     (data of finished writes), refcounts
 *     fdatasync, if the refcount table changed; refcount table
 *     fdatasync
 *     L2 tables
 *     fdatasync, if the L1 table changed; L1 table
 *     fdatasync
 *     refcounts of clusters that are no longer used, once nobody reads them
 *
 * so that a table never points to what is not there, whenever we are killed or
 * power fails: only clusters may be left over (qemu-img check: leaks).  Before all of it, the
 * file is made as long as the clusters that are taken, if a table points to new ones.
 *
 * New clusters come from the end of the file and from those that we have freed
 * ourselves, never from what an image's refcounts say is free.  All of them read as
 * zeros.  Freed is what has lost its last reference by the refcounts: if they lie, an
 * image's own data and L2 tables may be written over, but never the header, the L1
 * table and the refcount table.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_QCOW2_H
#define CAISSON_PARADIGM_VM_BLOCK_QCOW2_H

#include <stddef.h>

#include "paradigm/vm/block/block_private.h"
#include "paradigm/vm/block/qcow2_format.h"

enum {
	QCOW2_SLICE_BYTES = 4096, /* or a cluster, if that is smaller */
	QCOW2_SLICES_MAX = 128,
	QCOW2_COPY_BYTES_MAX = 8 << 20,	    /* old data around writes, of all writes at once */
	QCOW2_RUN_BYTES_MAX = 2 << 20,	    /* one allocation, unless a cluster is larger */
	QCOW2_PENDING_MAX = 4096,	    /* changes of refcounts that wait for a flush before we make one */
	QCOW2_UNLINKED_BYTES_MAX = 8 << 20, /* the same, of clusters that the host is to get back */
};

struct qcow2;

/* A guest's request on its way, or an internal one. */
struct qcow2_request {
	struct qcow2 *image;
	struct block_request *parent;
	uint64_t at;	  /* bytes of it that are begun */
	unsigned pending; /* parts, and waiting */
	int result;
	uint64_t sequence;
	struct qcow2_request *older, *newer; /* in flight */
	struct qcow2_request *next;	     /* in a list of those who wait, or of free ones */
};

struct qcow2_waiters {
	struct qcow2_request *first;
};

/* A piece of an L2 table. */
struct qcow2_slice {
	struct qcow2 *image;
	uint64_t offset;   /* in the file; 0: free */
	uint64_t *entries; /* big-endian */
	uint64_t used;	   /* when, in lookups */
	unsigned pins;	   /* allocations that will change it */
	bool loading, dirty, flushing;
	struct qcow2_waiters waiters;
	struct block_io_request io;
	struct iovec iov;
};

/* A read or write of the image's own file or of what is below, for a part of a request. */
struct qcow2_part {
	struct qcow2_request *owner;
	struct block_io_request io;
	struct block_request below;
	uint64_t compressed_size; /* in the file, from io.offset on */
	uint64_t within;	  /* bytes to skip in it */
	uint64_t position;	  /* in the owner's buffers */
	struct iovec *iov;	  /* room for iov_room */
	int iov_room;
	struct qcow2_part *next;
};

/* Clusters that get their place in the file while their first data is written. */
struct qcow2_allocation {
	struct qcow2_request *owner;
	struct qcow2_slice *slice;
	uint64_t guest; /* offset of the first cluster */
	uint64_t host;
	uint32_t count;	       /* clusters */
	uint64_t offset, size; /* what is written, in the guest's disk */
	uint64_t position;     /* in the owner's buffers */
	uint8_t *old[2];       /* data before and behind it, or NULL */
	uint64_t old_size[2];
	struct iovec old_iov[2];
	struct block_request reads[2];
	unsigned pending;
	int result;
	struct block_io_request io;
	struct iovec *iov;
	struct qcow2_waiters waiters;
	struct qcow2_allocation *next;
};

/* count refcounts from index on, in the block at that offset, become 1. */
struct qcow2_refcounts {
	uint64_t block;
	uint64_t index;
	uint64_t count;
};

/* A reference less to a cluster. */
struct qcow2_unlinked {
	uint64_t cluster;  /* number */
	uint64_t sequence; /* of the newest request that may still use it */
	bool free;	   /* out: nobody refers to it */
};

struct qcow2_range {
	uint64_t first, count; /* clusters */
};

/* A table's entry that is to be written. */
struct qcow2_entry {
	uint64_t offset; /* in the file */
	uint64_t value;
};

#define QCOW2_LIST(type)            \
	struct {                    \
		type *items;        \
		size_t count, room; \
	}

/* What one flush writes. */
struct qcow2_flush {
	struct block_io_request io;
	struct qcow2 *image;
	QCOW2_LIST(struct qcow2_refcounts) refcounts;
	QCOW2_LIST(struct qcow2_entry) refcount_table, l1;
	QCOW2_LIST(uint64_t) slices; /* offsets */
	uint8_t *slice_bytes;	     /* their contents */
	uint8_t *moved_table;	     /* the whole refcount table for its new place, or NULL */
	uint64_t moved_offset;
	uint32_t moved_clusters;
	size_t unlinked; /* of the image's list, that this flush makes safe */
};

struct qcow2 {
	struct block block; /* first */
	uint32_t version;
	uint32_t cluster_bits, l2_bits, slice_bits; /* of bytes; of entries; of entries */
	uint32_t refcount_order;
	uint64_t cluster; /* bytes */
	bool zstd;
	/* Tables in memory, in the host's byte order. */
	uint64_t l1_offset, *l1;
	uint32_t l1_count;
	uint64_t refcount_offset, *refcount_table;
	uint64_t refcount_count; /* entries */

	struct qcow2_slice *slices[QCOW2_SLICES_MAX];
	size_t slices_count, dirty_count;
	struct qcow2_slice *last;
	uint64_t lookups;

	uint64_t end; /* number of the cluster behind the last one in use */
	QCOW2_LIST(struct qcow2_range) free;
	QCOW2_LIST(struct qcow2_unlinked)
	unlinked; /* oldest first; the first `stable` of them are so on the disk too */
	size_t stable;
	QCOW2_LIST(struct qcow2_refcounts) refcounts; /* for the next flush */
	QCOW2_LIST(struct qcow2_entry) refcount_changes, l1_changes;
	bool refcount_moved; /* the table itself has to be written to refcount_offset */

	struct qcow2_request *oldest, *newest; /* in flight */
	uint64_t sequence;
	struct qcow2_allocation *allocations;
	uint64_t copy_bytes;
	struct qcow2_waiters stalled; /* for room: of slices, of copies; for another's copy of a table */

	bool job;		       /* a flush, or freeing, is going on */
	bool crowded;		       /* a request waits for a slice's place */
	bool copying;		       /* of an L2 table that snapshots share */
	struct block_request *flushes; /* that wait for the next flush */
	struct block_request *serving; /* that the current one serves */
	int failed;		       /* -errno: tables could not be written; nothing is written since */

	struct qcow2_request *free_requests;
	struct qcow2_part *free_parts;
};

/* Room for one more in a QCOW2_LIST; false without memory. */
bool qcow2_list_grow(void *items, size_t *room, size_t count, size_t size);
#define QCOW2_LIST_ADD(list, ...)                                                                  \
	(qcow2_list_grow((void *)&(list).items, &(list).room, (list).count, sizeof(*(list).items)) \
		 ? ((list).items[(list).count++] = (__VA_ARGS__), true)                            \
		 : false)

/* qcow2_open.c: whether the range meets the header, the L1 table or the refcount table. */
bool qcow2_overlaps(const struct qcow2 *image, uint64_t offset, uint64_t size);
/* Whether a whole cluster, which is none of those, may be at that offset. */
bool qcow2_cluster_valid(const struct qcow2 *image, uint64_t offset);

/* qcow2_table.c */
enum qcow2_kind {
	QCOW2_KIND_NONE, /* what is below shows through */
	QCOW2_KIND_ZERO, /* reads as zeros, may have a place */
	QCOW2_KIND_DATA,
	QCOW2_KIND_COMPRESSED,
	QCOW2_KIND_DAMAGED,
};
enum qcow2_kind qcow2_kind_of(const struct qcow2 *image, uint64_t entry);
/* The file's range of a compressed cluster; false if it is not in the file. */
bool qcow2_compressed_range(const struct qcow2 *image, uint64_t entry, uint64_t *offset, uint64_t *size);

/*
 * The slice with the entry of a guest offset.  0: *slice, NULL if there is no table; 1: the request waits, and will be
 * resumed; -errno.  to_change: it is, or becomes, this image's own, and there is one.
 */
int qcow2_slice_get(struct qcow2 *image, uint64_t guest, bool to_change, struct qcow2_request *request,
		    struct qcow2_slice **slice);
uint32_t qcow2_slice_index(const struct qcow2 *image, uint64_t guest); /* of the entry in it */
static inline uint64_t qcow2_entry(const struct qcow2_slice *slice, uint32_t index)
{
	return be64toh(slice->entries[index]);
}
/* The old entry's clusters are unlinked. */
int qcow2_entry_set(struct qcow2 *image, struct qcow2_slice *slice, uint32_t index, uint64_t value);
void qcow2_slices_free(struct qcow2 *image);

/* qcow2_alloc.c: at most count clusters in a row, *got of them; their refcounts are yet to be set. */
int qcow2_clusters_take(struct qcow2 *image, uint64_t count, bool at_end, uint64_t *host, uint64_t *got);
/* Their refcounts are 1 from the next flush on. */
int qcow2_clusters_link(struct qcow2 *image, uint64_t host, uint64_t count);
/* They were never linked. */
void qcow2_clusters_give_back(struct qcow2 *image, uint64_t host, uint64_t count);
/* One reference less, after the next flush. */
int qcow2_clusters_unlink(struct qcow2 *image, uint64_t host, uint64_t count);

/* qcow2_flush.c */
void qcow2_flush_submit(struct qcow2 *image, struct block_request *request);
/* Begins a flush or frees clusters if it is time to. */
void qcow2_tidy(struct qcow2 *image);
/* Reads or sets one refcount in bytes that hold some. */
uint64_t qcow2_refcount_get(const uint8_t *bytes, uint64_t index, uint32_t order);
void qcow2_refcount_put(uint8_t *bytes, uint64_t index, uint32_t order, uint64_t value);

/* qcow2_request.c */
void qcow2_submit(struct block *block, struct block_request *request);
void qcow2_wait(struct qcow2_waiters *waiters, struct qcow2_request *request);
void qcow2_resume(struct qcow2_waiters *waiters, int result); /* result < 0: they fail */
void qcow2_requests_free(struct qcow2 *image);
void qcow2_advance(struct qcow2_request *request); /* internal */
/* One of its parts is done. */
void qcow2_part_done(struct qcow2_request *request, int result);

/* qcow2_write.c: the next step of a request; 0: at moved on; 1: it waits; -errno. */
int qcow2_write_step(struct qcow2 *image, struct qcow2_request *request);
int qcow2_unmap_step(struct qcow2 *image, struct qcow2_request *request); /* BLOCK_DISCARD, BLOCK_WRITE_ZEROES */
struct qcow2_part *qcow2_part_new(struct qcow2_request *request);
void qcow2_part_free(struct qcow2_part *part);

/* qcow2_decompress.c: a job's work on a struct qcow2_part. */
int qcow2_decompress(struct block_io_request *io);

#endif
