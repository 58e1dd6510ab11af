/* SPDX-License-Identifier: Apache-2.0 */
/* The header, and whether we can live with what it says. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "paradigm/vm/block/qcow2.h"

enum { CLUSTER_BITS_MIN = 9, CLUSTER_BITS_MAX = 21, REFCOUNT_ORDER_MAX = 6 };

static bool meets(uint64_t offset, uint64_t size, uint64_t other, uint64_t other_size)
{
	return size > 0 && other_size > 0 && offset < other + other_size && other < offset + size;
}

bool qcow2_overlaps(const struct qcow2 *image, uint64_t offset, uint64_t size)
{
	return meets(offset, size, 0, image->cluster) ||
	       meets(offset, size, image->l1_offset, (uint64_t)image->l1_count * 8) ||
	       meets(offset, size, image->refcount_offset, image->refcount_count * 8);
}

bool qcow2_cluster_valid(const struct qcow2 *image, uint64_t offset)
{
	return offset % image->cluster == 0 && offset >> image->cluster_bits < image->end &&
	       !qcow2_overlaps(image, offset, image->cluster);
}

static int damaged(struct error *err, const char *what)
{
	return error_set(err, EINVAL, "the qcow2 image is damaged: %s", what);
}

/* Whether a table that must lie in the file does. */
static bool table_fits(const struct qcow2 *image, uint64_t offset, uint64_t bytes, uint64_t file)
{
	return offset % image->cluster == 0 && offset >= image->cluster && offset <= file && bytes <= file - offset;
}

static int read_features(struct qcow2 *image, const uint8_t *header, bool read_only, struct error *err)
{
	uint64_t features = image->version == 2 ? 0 : qcow2_u64(header + QCOW2_INCOMPATIBLE);
	uint64_t known = QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_COMPRESSION_TYPE;
	uint32_t length = image->version == 2 ? QCOW2_HEADER_V2 : qcow2_u32(header + QCOW2_HEADER_LENGTH);
	uint8_t compression = length > QCOW2_COMPRESSION ? header[QCOW2_COMPRESSION] : 0;

	image->refcount_order = image->version == 2 ? 4 : qcow2_u32(header + QCOW2_REFCOUNT_ORDER);
	if (qcow2_u32(header + QCOW2_CRYPT_METHOD) != 0)
		return error_set(err, EINVAL, "the qcow2 image is encrypted, which is not supported");
	if (features & QCOW2_EXTERNAL_DATA)
		return error_set(err, EINVAL,
				 "the qcow2 image keeps its data in another file, which is not supported; "
				 "qemu-img convert makes one image of them");
	if (features & QCOW2_EXTENDED_L2)
		return error_set(err, EINVAL,
				 "the qcow2 image has extended L2 entries, which are not supported; "
				 "qemu-img convert makes an image without");
	if (features & ~known)
		return error_set(err, EINVAL, "the qcow2 image has features that are not known here (0x%llx)",
				 (unsigned long long)(features & ~known));
	if (!read_only && features & (QCOW2_DIRTY | QCOW2_CORRUPT))
		return error_set(err, EINVAL, "the qcow2 image %s; repair it with: qemu-img check -r all",
				 features & QCOW2_CORRUPT ? "is marked as damaged" : "was not closed by its last user");
	if (image->version == 3 && (length < QCOW2_HEADER_V3 || length % 8 || length > image->cluster))
		return damaged(err, "the header's length is wrong");
	if (image->refcount_order > REFCOUNT_ORDER_MAX)
		return damaged(err, "refcounts of more than 64 bits");
	if (features & QCOW2_COMPRESSION_TYPE ? compression != 1 : compression != 0)
		return error_set(err, EINVAL, "the qcow2 image is compressed in a way that is not known here (%d)",
				 compression);
	image->zstd = compression == 1;
	return 0;
}

static int read_layout(struct qcow2 *image, const uint8_t *header, uint64_t file, struct error *err)
{
	uint32_t clusters = qcow2_u32(header + QCOW2_REFCOUNT_TABLE_CLUSTERS), reach;
	uint64_t l1_bytes, refcount_bytes = (uint64_t)clusters << image->cluster_bits, needed;

	image->block.size = qcow2_u64(header + QCOW2_SIZE);
	image->l1_count = qcow2_u32(header + QCOW2_L1_SIZE);
	image->l1_offset = qcow2_u64(header + QCOW2_L1_OFFSET);
	image->refcount_offset = qcow2_u64(header + QCOW2_REFCOUNT_TABLE_OFFSET);
	l1_bytes = (uint64_t)image->l1_count * 8;
	reach = image->cluster_bits + image->l2_bits;
	if (image->block.size > INT64_MAX - 511)
		return damaged(err, "the disk is too large");
	image->block.size = (image->block.size + 511) / 512 * 512;
	needed = (image->block.size >> reach) + ((image->block.size & ((UINT64_C(1) << reach) - 1)) != 0);
	if (l1_bytes > QCOW2_L1_BYTES_MAX || needed > image->l1_count)
		return damaged(err, "the L1 table does not fit the size of the disk");
	if (refcount_bytes == 0 || refcount_bytes > QCOW2_REFCOUNT_TABLE_BYTES_MAX)
		return damaged(err, "the refcount table's size is wrong");
	if ((l1_bytes > 0 && !table_fits(image, image->l1_offset, l1_bytes, file)) ||
	    !table_fits(image, image->refcount_offset, refcount_bytes, file))
		return damaged(err, "a table is not in the file");
	if (meets(image->l1_offset, l1_bytes, image->refcount_offset, refcount_bytes))
		return damaged(err, "tables overlap");
	image->refcount_count = refcount_bytes / 8;
	return 0;
}

static int read_header(struct qcow2 *image, int fd, bool read_only, struct error *err)
{
	uint8_t header[QCOW2_HEADER_OURS];
	struct stat status;
	int ret = block_read_at(fd, header, sizeof(header), 0);

	if (ret < 0 || fstat(fd, &status) < 0)
		return error_errno(err, ret < 0 ? -ret : errno, "cannot read a disk image");
	if (!S_ISREG(status.st_mode))
		return error_set(err, EINVAL, "a qcow2 image must be a file");
	image->version = qcow2_u32(header + QCOW2_VERSION);
	if (qcow2_u32(header) != QCOW2_MAGIC)
		return error_set(err, EINVAL, "the disk image is not in the format qcow2");
	if (image->version != 2 && image->version != 3)
		return error_set(err, EINVAL, "the qcow2 image is of version %u, and only 2 and 3 are known here",
				 image->version);
	image->cluster_bits = qcow2_u32(header + QCOW2_CLUSTER_BITS);
	if (image->cluster_bits < CLUSTER_BITS_MIN || image->cluster_bits > CLUSTER_BITS_MAX)
		return damaged(err, "the size of clusters is wrong");
	image->cluster = UINT64_C(1) << image->cluster_bits;
	image->l2_bits = image->cluster_bits - 3;
	image->slice_bits = image->cluster < QCOW2_SLICE_BYTES ? image->l2_bits : 9;
	image->end = ((uint64_t)status.st_size + image->cluster - 1) >> image->cluster_bits;
	ret = read_features(image, header, read_only, err);
	if (ret == 0)
		ret = read_layout(image, header, (uint64_t)status.st_size, err);
	if (ret == 0 && (qcow2_u64(header + QCOW2_BACKING_OFFSET) != 0) != (image->block.backing != NULL))
		ret = error_set(err, EINVAL,
				image->block.backing ? "the qcow2 image has no backing file, and one was given"
						     : "the qcow2 image has a backing file, which is missing here");
	return ret;
}

/* A table of big-endian numbers, in the host's order. */
static int read_table(int fd, uint64_t offset, uint64_t count, uint64_t **table, struct error *err)
{
	int ret;

	*table = calloc(count ? count : 1, sizeof(**table));
	ret = *table ? block_read_at(fd, *table, count * 8, offset) : -ENOMEM;
	if (ret < 0)
		return error_errno(err, -ret, "cannot read the tables of a qcow2 image");
	for (uint64_t i = 0; i < count; i++)
		(*table)[i] = be64toh((*table)[i]);
	return 0;
}

/* What others keep up to date with the data (dirty bitmaps) is out of date from now on: the header says so first. */
static int clear_autoclear(const struct qcow2 *image, int fd, struct error *err)
{
	uint64_t features = 0;
	int ret = image->version == 2 ? 0 : block_read_at(fd, &features, sizeof(features), QCOW2_AUTOCLEAR);

	if (ret == 0 && features != 0) {
		features = 0;
		ret = file_write_at(fd, &features, sizeof(features), QCOW2_AUTOCLEAR);
		if (ret == 0 && fdatasync(fd) < 0)
			ret = -errno;
	}
	return ret < 0 ? error_errno(err, -ret, "cannot write the header of a qcow2 image") : 0;
}

static void qcow2_close(struct block *block)
{
	struct qcow2 *image = (struct qcow2 *)block;

	qcow2_slices_free(image);
	qcow2_requests_free(image);
	free(image->l1);
	free(image->refcount_table);
	free(image->free.items);
	free(image->unlinked.items);
	free(image->refcounts.items);
	free(image->refcount_changes.items);
	free(image->l1_changes.items);
	if (block->fd >= 0)
		close(block->fd);
	free(image);
}

static const struct block_driver qcow2_driver = { .submit = qcow2_submit, .close = qcow2_close };

int block_qcow2_open(const struct block_source *source, struct block_io *io, struct block *backing, struct block **made,
		     struct error *err)
{
	struct qcow2 *image = calloc(1, sizeof(*image));
	int ret;

	if (!image)
		return error_errno(err, ENOMEM, "cannot open a disk");
	image->block = (struct block){
		.driver = &qcow2_driver, .io = io, .read_only = source->read_only, .backing = backing, .fd = -1
	};
	ret = read_header(image, source->fd, source->read_only, err);
	if (ret == 0)
		ret = read_table(source->fd, image->l1_offset, image->l1_count, &image->l1, err);
	if (ret == 0 && !source->read_only)
		ret = read_table(source->fd, image->refcount_offset, image->refcount_count, &image->refcount_table,
				 err);
	if (ret == 0 && !source->read_only)
		ret = clear_autoclear(image, source->fd, err);
	if (ret < 0) {
		qcow2_close(&image->block);
		return ret;
	}
	image->block.granularity = (uint32_t)image->cluster;
	image->block.fd = source->fd;
	*made = &image->block;
	return 0;
}
