/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompresses kernels and modules, by libarchive(3)'s filters: what a kernel's own
 * unpacking code takes (Documentation/arch/x86/boot.rst, payload_offset), but LZO, for which Debian's
 * libarchive has no filter.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "image/kernel_private.h"

enum { CHUNK = 256 << 10, HOLE = 16 << 10 /* shortest */ };

struct packed {
	int fd;
	uint64_t offset, left;
	uint8_t buffer[CHUNK];
};

static la_ssize_t read_packed(struct archive *archive, void *context, const void **buffer)
{
	struct packed *packed = context;
	ssize_t count;

	(void)archive;
	do
		count = pread(packed->fd, packed->buffer, packed->left < CHUNK ? packed->left : CHUNK,
			      (off_t)packed->offset);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return -1;
	packed->offset += (uint64_t)count;
	packed->left -= (uint64_t)count;
	*buffer = packed->buffer;
	return count;
}

static int open_filters(struct archive *archive, struct packed *packed, struct error *err)
{
	struct archive_entry *entry;

	if (archive_read_support_filter_gzip(archive) != ARCHIVE_OK ||
	    archive_read_support_filter_xz(archive) != ARCHIVE_OK ||
	    archive_read_support_filter_lzma(archive) != ARCHIVE_OK ||
	    archive_read_support_filter_bzip2(archive) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(archive) != ARCHIVE_OK ||
	    archive_read_support_filter_lz4(archive) != ARCHIVE_OK ||
	    archive_read_support_format_raw(archive) != ARCHIVE_OK)
		return error_set(err, ENOSYS, "this libarchive lacks a compression");
	if (archive_read_open(archive, packed, NULL, read_packed, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(archive, &entry) != ARCHIVE_OK)
		return error_set(err, EINVAL, "cannot decompress: %s", archive_error_string(archive));
	if (archive_filter_count(archive) != 2)
		return error_set(err, ENOTSUP, "compressed in a way that is not known here");
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* How much of bytes, which belong at offset, begins with blocks that are all zeros, or with such that are not. */
static size_t run_of(uint64_t offset, const uint8_t *bytes, size_t size, bool zeros)
{
	size_t run = 0;

	while (run < size) {
		size_t part = HOLE - (offset + run) % HOLE;

		part = part < size - run ? part : size - run;
		if ((part == HOLE && is_zero(bytes + run, part)) != zeros)
			break;
		run += part;
	}
	return run;
}

/* Zeros become holes, which the loader passes over; what is between them is written at once. */
static int write_sparse(int to, uint64_t offset, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		size_t zeros = run_of(offset, bytes, size, true);
		size_t data = run_of(offset + zeros, bytes + zeros, size - zeros, false);
		int ret = 0;

		if (zeros > 0 && lseek(to, (off_t)zeros, SEEK_CUR) < 0)
			return -errno;
		if (data > 0)
			ret = file_write_all(to, bytes + zeros, data);
		if (ret < 0)
			return ret;
		bytes += zeros + data;
		size -= zeros + data;
		offset += zeros + data;
	}
	return 0;
}

static int inflate_all(struct archive *archive, int to, struct error *err)
{
	uint64_t out = 0;

	for (;;) {
		const void *bytes;
		la_int64_t offset;
		size_t size;
		int ret = archive_read_data_block(archive, &bytes, &size, &offset);

		if (ret == ARCHIVE_EOF)
			return ftruncate(to, (off_t)out) < 0 ? error_errno(err, errno, "cannot write what was unpacked")
							     : 0;
		/* Behind the stream a kernel's payload has its size: that is no error of the stream. */
		if (ret != ARCHIVE_OK)
			return error_set(err, EINVAL, "cannot decompress: %s", archive_error_string(archive));
		if (size > KERNEL_UNPACKED_MAX - out)
			return error_set(err, EFBIG, "unpacks to more than %d MiB", KERNEL_UNPACKED_MAX >> 20);
		ret = write_sparse(to, out, bytes, size);
		out += size;
		if (ret < 0)
			return error_errno(err, -ret, "cannot write what was unpacked");
	}
}

int kernel_unpack(int from, uint64_t offset, uint64_t size, int to, struct error *err)
{
	struct packed *packed = malloc(sizeof(*packed));
	struct archive *archive = archive_read_new();
	int ret = packed && archive ? 0 : error_errno(err, ENOMEM, "cannot decompress");

	if (ret == 0) {
		packed->fd = from;
		packed->offset = offset;
		packed->left = size;
		ret = open_filters(archive, packed, err);
	}
	if (ret == 0)
		ret = inflate_all(archive, to, err);
	archive_read_free(archive);
	free(packed);
	return ret;
}

static int read_unpacked(int packed, char **bytes, size_t *size, struct error *err)
{
	cleanup_close int fd = memfd_create("module", MFD_CLOEXEC);
	struct stat st;
	int ret;

	if (fd < 0 || fstat(packed, &st) < 0)
		return error_errno(err, errno, "cannot unpack a module");
	ret = kernel_unpack(packed, 0, (uint64_t)st.st_size, fd, err);
	if (ret == 0 && lseek(fd, 0, SEEK_SET) < 0)
		ret = error_errno(err, errno, "cannot unpack a module");
	return ret < 0 ? ret : file_read_fd(fd, MODULE_SIZE_MAX, bytes, size, err);
}

int kernel_read_module(void *context, int dir, const char *path, char **bytes, size_t *size, struct error *err)
{
	static const char *const endings[] = { "", ".xz", ".zst", ".gz" };

	(void)context;
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		cleanup_str struct str name = STR_INIT;
		cleanup_close int fd = -1;

		str_printf(&name, "%s%s", path, endings[i]);
		if (str_failed(&name))
			return error_errno(err, ENOMEM, "cannot read the kernel module %s", path);
		fd = file_open_in_root(dir, str_text(&name), O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return error_errno(err, -fd, "cannot open the kernel module %s", str_text(&name));
		return i == 0 ? file_read_fd(fd, MODULE_SIZE_MAX, bytes, size, err)
			      : read_unpacked(fd, bytes, size, err);
	}
	return error_set(err, ENOENT, "the kernel module %s is missing", path);
}
