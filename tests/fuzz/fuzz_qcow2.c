/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for disk images: an input is the number of requests, four bytes for each (what, where, how much),
 * and the image.  An image that says so stands on a raw file of 64 KiB.
 *
 * Whatever the image says: no request hangs, and the header stays what it was, but for the fields that are ours to
 * change.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/block/block.h"
#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/block/qcow2_format.h"

enum { REQUESTS_MAX = 24, REQUEST_BYTES = 4, BUFFER = 128 << 10, BASE = 64 << 10, HEADER_KEPT = QCOW2_L1_OFFSET + 8 };

static uint8_t buffers[REQUESTS_MAX][BUFFER];

static int make_file(const uint8_t *bytes, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	check(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	return fd;
}

static void done(struct block_request *request, int result)
{
	check(result <= 0);
	--*(unsigned *)request->context;
}

/* Several at once; offsets all over the disk, most of them near its begin. */
static void play(struct loop *loop, struct block *block, const uint8_t *script, unsigned count)
{
	struct block_request requests[REQUESTS_MAX];
	struct iovec iov[REQUESTS_MAX];
	uint64_t size = block_size(block);
	unsigned left = count;

	for (unsigned i = 0; i < count; i++, script += REQUEST_BYTES) {
		uint64_t length = (1 + (uint64_t)(script[3] & 63)) * 512 * (script[3] & 64 ? 4 : 1);
		uint64_t offset = ((uint64_t)script[1] | (uint64_t)script[2] << 8) * 512;

		if (script[3] & 128 && size > BUFFER)
			offset = (size - BUFFER) / 65536 * (script[1] | (uint64_t)script[2] << 8) / 512 * 512;
		iov[i] = (struct iovec){ .iov_base = buffers[i], .iov_len = length };
		requests[i] = (struct block_request){ .operation = script[0] % 5,
						      .offset = offset,
						      .size = length,
						      .iov = &iov[i],
						      .iov_count = 1,
						      .unmap = script[0] & 128,
						      .done = done,
						      .context = &left };
		block_submit(block, &requests[i]);
		if (script[0] & 64)
			block_kick(block);
	}
	block_kick(block);
	while (left > 0)
		check(loop_wait(loop, -1, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned count = size > 0 ? data[0] % (REQUESTS_MAX + 1) : 0;
	size_t script = 1 + (size_t)count * REQUEST_BYTES;
	struct block_source base = { .format = BLOCK_RAW, .read_only = true };
	struct block_source source = { .format = BLOCK_QCOW2 };
	struct qcow2_description description;
	struct error err = ERROR_INIT;
	uint8_t header[HEADER_KEPT];
	struct loop loop;
	struct block *block;
	int watch;

	if (size < script + HEADER_KEPT)
		return 0;
	source.fd = make_file(data + script, size - script);
	watch = dup(source.fd);
	(void)qcow2_describe(source.fd, &description, &err);
	if (qcow2_u64(data + script + QCOW2_BACKING_OFFSET) != 0) {
		base.fd = make_file(buffers[0], BASE);
		source.backing = &base;
	}
	check(watch >= 0 && loop_open(&loop, &err) == 0);
	err = ERROR_INIT;
	if (block_open(&source, &loop, &block, &err) == 0) {
		play(&loop, block, data + 1, count);
		block_close(block);
		check(pread(watch, header, sizeof(header), 0) == sizeof(header));
		check(memcmp(header, data + script, sizeof(header)) == 0);
	} else {
		check(err.code > 0 && *err.text);
		close(source.fd);
		if (source.backing)
			close(base.fd);
	}
	loop_close(&loop);
	close(watch);
	return 0;
}
