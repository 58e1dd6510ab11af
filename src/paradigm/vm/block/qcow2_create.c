/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/block/qcow2_create.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "paradigm/vm/block/qcow2_format.h"

enum {
	CLUSTER_BITS = 16,
	CLUSTER = 1 << CLUSTER_BITS,
	REFCOUNT_ORDER = 4, /* 16 bits */
	L2_REACH_BITS = CLUSTER_BITS + CLUSTER_BITS - 3,
	HEADER_MAX = 2048, /* header, extension and name; well within the first cluster */
};

/* The header, the extension that names the backing file's format, and the backing file's name; bytes written. */
static size_t make_header(uint8_t header[static HEADER_MAX], uint64_t size, uint64_t l1_entries, const char *backing,
			  const char *format)
{
	size_t at = QCOW2_HEADER_OURS;

	qcow2_put_u32(header, QCOW2_MAGIC);
	qcow2_put_u32(header + QCOW2_VERSION, 3);
	qcow2_put_u32(header + QCOW2_CLUSTER_BITS, CLUSTER_BITS);
	qcow2_put_u64(header + QCOW2_SIZE, size);
	qcow2_put_u32(header + QCOW2_L1_SIZE, (uint32_t)l1_entries);
	qcow2_put_u64(header + QCOW2_L1_OFFSET, UINT64_C(3) * CLUSTER);
	qcow2_put_u64(header + QCOW2_REFCOUNT_TABLE_OFFSET, CLUSTER);
	qcow2_put_u32(header + QCOW2_REFCOUNT_TABLE_CLUSTERS, 1);
	qcow2_put_u32(header + QCOW2_REFCOUNT_ORDER, REFCOUNT_ORDER);
	qcow2_put_u32(header + QCOW2_HEADER_LENGTH, QCOW2_HEADER_OURS);
	if (backing) {
		size_t length = strlen(format);

		qcow2_put_u32(header + at, QCOW2_EXTENSION_BACKING_FORMAT);
		qcow2_put_u32(header + at + 4, (uint32_t)length);
		memcpy(header + at + 8, format, length);
		at += 8 + (length + 7) / 8 * 8;
	}
	at += 8; /* end of the extensions: zeros */
	if (backing) {
		qcow2_put_u64(header + QCOW2_BACKING_OFFSET, at);
		qcow2_put_u32(header + QCOW2_BACKING_SIZE, (uint32_t)strlen(backing));
		memcpy(header + at, backing, strlen(backing));
		at += strlen(backing);
	}
	return at;
}

/* Cluster 0 is the header, 1 the refcount table, 2 its first block, 3... the L1 table. */
int qcow2_create(int fd, uint64_t size, const char *backing_name, const char *backing_format, struct error *err)
{
	uint64_t l1_entries = (size >> L2_REACH_BITS) + ((size & ((UINT64_C(1) << L2_REACH_BITS) - 1)) != 0);
	uint64_t l1_clusters = (l1_entries * 8 + CLUSTER - 1) / CLUSTER;
	uint16_t refcounts[3 + QCOW2_L1_BYTES_MAX / CLUSTER];
	uint8_t header[HEADER_MAX] = { 0 }, table[8];
	uint64_t clusters;
	size_t length;
	int ret;

	l1_entries = l1_entries ? l1_entries : 1;
	l1_clusters = l1_clusters ? l1_clusters : 1;
	clusters = 3 + l1_clusters;
	if (size % 512 != 0 || l1_entries * 8 > QCOW2_L1_BYTES_MAX)
		return error_set(err, EINVAL, "a disk cannot have %llu bytes: multiples of 512, at most 2 PiB",
				 (unsigned long long)size);
	if (backing_name && (!backing_format || strlen(backing_name) > QCOW2_BACKING_MAX || !*backing_name ||
			     strlen(backing_format) > QCOW2_FORMAT_MAX))
		return error_set(err, EINVAL,
				 "the name of the disk image's backing file is too long, or has no format");
	length = make_header(header, size, l1_entries, backing_name, backing_format);
	qcow2_put_u64(table, UINT64_C(2) * CLUSTER);
	for (uint64_t i = 0; i < clusters; i++)
		refcounts[i] = htobe16(1);
	/* The header comes last: before it, the file is no image. */
	ret = ftruncate(fd, (off_t)(clusters * CLUSTER)) < 0 ? -errno : 0;
	if (ret == 0)
		ret = file_write_at(fd, table, sizeof(table), CLUSTER);
	if (ret == 0)
		ret = file_write_at(fd, refcounts, clusters * sizeof(refcounts[0]), UINT64_C(2) * CLUSTER);
	if (ret == 0)
		ret = file_write_at(fd, header, length, 0);
	return ret < 0 ? error_errno(err, -ret, "cannot write a new disk image") : 0;
}

/* The text of the extension of that type, cut to the room. */
static void find_extension(const uint8_t *header, size_t count, uint64_t at, uint32_t type, char *text, size_t room)
{
	while (at + 8 <= count) {
		uint32_t found = qcow2_u32(header + at), length = qcow2_u32(header + at + 4);

		at += 8;
		if (found == QCOW2_EXTENSION_END || length > count - at)
			return;
		if (found == type && length < room) {
			memcpy(text, header + at, length);
			text[length] = '\0';
			return;
		}
		at += ((uint64_t)length + 7) / 8 * 8;
	}
}

int qcow2_describe(int fd, struct qcow2_description *description, struct error *err)
{
	uint8_t header[4096] = { 0 };
	ssize_t count = pread(fd, header, sizeof(header), 0);
	uint32_t version = qcow2_u32(header + QCOW2_VERSION);
	uint64_t offset;
	uint32_t length;

	*description = (struct qcow2_description){ .size = 0 };
	if (count < 0)
		return error_errno(err, errno, "cannot read a disk image");
	if (count < QCOW2_HEADER_V2 || qcow2_u32(header) != QCOW2_MAGIC || (version != 2 && version != 3))
		return 0;
	description->size = qcow2_u64(header + QCOW2_SIZE);
	offset = qcow2_u64(header + QCOW2_BACKING_OFFSET);
	length = qcow2_u32(header + QCOW2_BACKING_SIZE);
	if (offset == 0 || length == 0)
		return 1;
	if (length > QCOW2_BACKING_MAX || offset > (uint64_t)INT64_MAX - length)
		return error_set(err, EINVAL, "the disk image is damaged: its backing file's name is too long");
	if (pread(fd, description->backing, length, (off_t)offset) != (ssize_t)length)
		return error_set(err, EINVAL, "the disk image is damaged: its backing file's name lies outside of it");
	find_extension(header, (size_t)count, version == 2 ? QCOW2_HEADER_V2 : qcow2_u32(header + QCOW2_HEADER_LENGTH),
		       QCOW2_EXTENSION_BACKING_FORMAT, description->backing_format,
		       sizeof(description->backing_format));
	return 1;
}
