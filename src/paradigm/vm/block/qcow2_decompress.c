/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed clusters: raw deflate (RFC 1951) or zstd (RFC 8878). */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "paradigm/vm/block/qcow2.h"

enum {
	WINDOW_BITS = -15,   /* raw, any window */
	ZSTD_WINDOW_LOG = 23 /* or a frame may ask for as much memory as it likes */
};

/* The bytes behind the end of the stream are of the next cluster: sizes are in sectors. */
static int inflate_cluster(uint8_t *from, uint64_t size, uint8_t *to, uint64_t cluster)
{
	z_stream stream = { .next_in = from, .avail_in = (uInt)size, .next_out = to, .avail_out = (uInt)cluster };
	int ret;

	if (inflateInit2(&stream, WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	ret = inflate(&stream, Z_FINISH);
	(void)inflateEnd(&stream);
	return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && stream.avail_out == 0 ? 0 : -EIO;
}

static int zstd_cluster(const uint8_t *from, uint64_t size, uint8_t *to, uint64_t cluster)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = { .src = from, .size = size };
	ZSTD_outBuffer out = { .dst = to, .size = cluster };
	size_t ret = 1;

	if (!context)
		return -ENOMEM;
	(void)ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	while (out.pos < out.size) {
		size_t before = in.pos + out.pos;

		ret = ZSTD_decompressStream(context, &out, &in);
		if (ZSTD_isError(ret) || in.pos + out.pos == before || ret == 0)
			break;
	}
	(void)ZSTD_freeDCtx(context);
	return !ZSTD_isError(ret) && out.pos == out.size ? 0 : -EIO;
}

int qcow2_decompress(struct block_io_request *io)
{
	struct qcow2_part *part = (struct qcow2_part *)((char *)io - offsetof(struct qcow2_part, io));
	const struct qcow2 *image = part->owner->image;
	const struct block_request *parent = part->owner->parent;
	uint64_t size = part->compressed_size;
	uint8_t *bytes;
	int ret;

	bytes = malloc(image->cluster + size);
	if (!bytes)
		return -ENOMEM;
	ret = block_read_at(io->fd, bytes + image->cluster, size, io->offset);
	if (ret == 0)
		ret = image->zstd ? zstd_cluster(bytes + image->cluster, size, bytes, image->cluster)
				  : inflate_cluster(bytes + image->cluster, size, bytes, image->cluster);
	if (ret == 0)
		block_iov_fill(parent->iov, parent->iov_count, part->position, bytes + part->within, io->size);
	free(bytes);
	return ret;
}
