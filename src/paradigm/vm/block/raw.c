/* SPDX-License-Identifier: Apache-2.0 */
/* Raw files and block devices: what the guest says is what the file gets. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "paradigm/vm/block/block_private.h"

enum { GRANULARITY = 4096 };

struct raw {
	struct block block; /* first */
	int failed;	    /* -errno of the first sync that failed */
};

/* Linux tells of data that it could not write once, see fsync(2): no later flush may say that they are safe. */
static void finished(struct block_io_request *io)
{
	struct block_request *request = (struct block_request *)((char *)io - offsetof(struct block_request, io));
	struct raw *raw = request->driver;
	int result = io->result;

	if (request->operation == BLOCK_FLUSH) {
		if (raw->failed == 0)
			raw->failed = result;
		result = raw->failed;
	}
	block_done(&raw->block, request, result);
}

/* A file system that cannot: the guest only hinted. */
static int discard(struct block_io_request *io)
{
	if (fallocate(io->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset, (off_t)io->size) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

static int zero(const struct block_io_request *io, int mode)
{
	static const uint8_t zeros[64 << 10];

	if (fallocate(io->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)io->offset, (off_t)io->size) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	for (uint64_t done = 0; done < io->size;) {
		uint64_t now = io->size - done < sizeof(zeros) ? io->size - done : sizeof(zeros);
		int ret = file_write_at(io->fd, zeros, now, io->offset + done);

		if (ret < 0)
			return ret;
		done += now;
	}
	return 0;
}

static int zero_and_unmap(struct block_io_request *io)
{
	return zero(io, FALLOC_FL_PUNCH_HOLE);
}

static int zero_and_keep(struct block_io_request *io)
{
	return zero(io, FALLOC_FL_ZERO_RANGE);
}

static void submit(struct block *block, struct block_request *request)
{
	static const enum block_io_operation operations[] = {
		[BLOCK_READ] = BLOCK_IO_READ,	[BLOCK_WRITE] = BLOCK_IO_WRITE,	     [BLOCK_FLUSH] = BLOCK_IO_SYNC,
		[BLOCK_DISCARD] = BLOCK_IO_JOB, [BLOCK_WRITE_ZEROES] = BLOCK_IO_JOB,
	};

	request->driver = block;
	request->io = (struct block_io_request){
		.operation = operations[request->operation],
		.fd = block->fd,
		.offset = request->offset,
		.size = request->size,
		.iov = request->iov,
		.iov_count = request->iov_count,
		.done = finished,
	};
	if (request->operation == BLOCK_DISCARD)
		request->io.work = discard;
	else if (request->operation == BLOCK_WRITE_ZEROES)
		request->io.work = request->unmap ? zero_and_unmap : zero_and_keep;
	block_io_submit(block->io, &request->io);
}

static void raw_close(struct block *block)
{
	if (block->fd >= 0)
		close(block->fd);
	free(block);
}

static const struct block_driver raw_driver = { .submit = submit, .close = raw_close };

int block_raw_open(const struct block_source *source, struct block_io *io, struct block **made, struct error *err)
{
	struct raw *raw;
	struct stat status;
	off_t size;

	if (fstat(source->fd, &status) < 0)
		return error_errno(err, errno, "cannot look at a disk image");
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return error_set(err, EINVAL, "a disk image is neither a file nor a block device");
	size = lseek(source->fd, 0, SEEK_END); /* of block devices too */
	if (size < 0)
		return error_errno(err, errno, "cannot find the size of a disk image");
	raw = calloc(1, sizeof(*raw));
	if (!raw)
		return error_errno(err, ENOMEM, "cannot open a disk");
	raw->block = (struct block){
		.driver = &raw_driver,
		.io = io,
		.size = ((uint64_t)size + 511) / 512 * 512, /* the rest of the last sector reads as zeros */
		.granularity = GRANULARITY,
		.read_only = source->read_only,
		.fd = source->fd,
	};
	*made = &raw->block;
	return 0;
}
