/* SPDX-License-Identifier: Apache-2.0 */
#include "image/inflate.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { CHUNK = 128 << 10, REPORT_EVERY = 4 << 20 };

static const uint64_t gibibyte = UINT64_C(1) << 30;

void image_limits_default(struct image_limits *limits)
{
	if (limits->unpacked_bytes == 0)
		limits->unpacked_bytes = 64 * gibibyte;
	if (limits->ratio == 0)
		limits->ratio = 1000;
	if (limits->ratio_from == 0)
		limits->ratio_from = gibibyte;
	if (limits->entries == 0)
		limits->entries = 4000000;
	if (limits->depth == 0)
		limits->depth = 512;
}

static int report(struct inflate *inflate, bool finished)
{
	uint64_t total = finished ? inflate->in : inflate->total;

	if (!inflate->progress.report || (!finished && inflate->in - inflate->reported < REPORT_EVERY))
		return 0;
	inflate->reported = inflate->in;
	if (inflate->progress.report(inflate->progress.context, inflate->action, inflate->what, inflate->in, total))
		return error_set(&inflate->failure, ECANCELED, "interrupted");
	return 0;
}

static la_ssize_t read_packed(struct archive *archive, void *context, const void **buffer)
{
	struct inflate *inflate = context;
	ssize_t count;

	do
		count = read(inflate->fd, inflate->buffer, CHUNK);
	while (count < 0 && errno == EINTR);
	if (count < 0) {
		(void)error_errno(&inflate->failure, errno, "cannot read");
		archive_set_error(archive, errno, "cannot read");
		return -1;
	}
	inflate->in += (uint64_t)count;
	if (report(inflate, false) < 0) {
		archive_set_error(archive, ECANCELED, "interrupted");
		return -1;
	}
	*buffer = inflate->buffer;
	return count;
}

static const char *words(struct archive *archive)
{
	const char *text = archive_error_string(archive);

	return text ? text : "unknown error";
}

static int broken(struct inflate *inflate, struct error *err)
{
	if (inflate->failure.code)
		return error_set(err, inflate->failure.code, "%s", inflate->failure.text);
	if (archive_errno(inflate->archive) == ENOMEM)
		return error_errno(err, ENOMEM, "cannot decompress");
	return error_set(err, EINVAL, "cannot decompress: %s", words(inflate->archive));
}

static int choose(struct inflate *inflate, struct error *err)
{
	switch (archive_filter_count(inflate->archive)) {
	case 1:
		inflate->kind = INFLATE_NONE;
		return 0;
	case 2:
		break;
	default:
		return error_set(err, EINVAL, "compressed more than once");
	}
	switch (archive_filter_code(inflate->archive, 0)) {
	case ARCHIVE_FILTER_GZIP:
		inflate->kind = INFLATE_GZIP;
		return 0;
	case ARCHIVE_FILTER_ZSTD:
		inflate->kind = INFLATE_ZSTD;
		return 0;
	default:
		inflate->kind = INFLATE_OTHER;
		return 0;
	}
}

int inflate_open(struct inflate *inflate, int fd, const struct image_store *store, const char *action, const char *what,
		 struct error *err)
{
	struct archive_entry *entry;
	struct stat st;
	int ret;

	memset(inflate, 0, sizeof(*inflate));
	inflate->fd = fd;
	inflate->limits = store->limits;
	inflate->progress = store->progress;
	inflate->action = action;
	inflate->what = what;
	image_limits_default(&inflate->limits);
	digest_begin(&inflate->digest, NULL);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		inflate->total = (uint64_t)st.st_size;
	inflate->buffer = malloc(CHUNK);
	inflate->archive = archive_read_new();
	if (!inflate->buffer || !inflate->archive)
		return error_errno(err, ENOMEM, "cannot decompress");
	if (archive_read_support_filter_gzip(inflate->archive) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(inflate->archive) != ARCHIVE_OK ||
	    archive_read_support_filter_xz(inflate->archive) != ARCHIVE_OK ||
	    archive_read_support_filter_bzip2(inflate->archive) != ARCHIVE_OK ||
	    archive_read_support_format_raw(inflate->archive) != ARCHIVE_OK ||
	    archive_read_support_format_empty(inflate->archive) != ARCHIVE_OK)
		return error_set(err, ENOSYS, "this libarchive lacks gzip, zstd, xz or bzip2: %s",
				 archive_error_string(inflate->archive));
	if (archive_read_open(inflate->archive, inflate, NULL, read_packed, NULL) != ARCHIVE_OK)
		return broken(inflate, err);
	ret = archive_read_next_header(inflate->archive, &entry);
	if (ret != ARCHIVE_OK && ret != ARCHIVE_EOF)
		return broken(inflate, err);
	inflate->ended = ret == ARCHIVE_EOF;
	return choose(inflate, err);
}

static int check_limits(const struct inflate *inflate, struct error *err)
{
	if (inflate->out > inflate->limits.unpacked_bytes)
		return error_set(err, EFBIG, "unpacks to more than %llu bytes",
				 (unsigned long long)inflate->limits.unpacked_bytes);
	if (inflate->out > inflate->limits.ratio_from &&
	    (inflate->out - inflate->limits.ratio_from) / inflate->limits.ratio > inflate->in)
		return error_set(err, EFBIG, "unpacks to more than %llu times its size: a decompression bomb?",
				 (unsigned long long)inflate->limits.ratio);
	return 0;
}

ssize_t inflate_read(struct inflate *inflate, const void **bytes, struct error *err)
{
	la_int64_t offset;
	size_t size = 0;
	int ret;

	do
		ret = inflate->ended ? ARCHIVE_EOF : archive_read_data_block(inflate->archive, bytes, &size, &offset);
	while (ret == ARCHIVE_OK && size == 0);
	if (ret == ARCHIVE_EOF) {
		inflate->ended = true;
		if (report(inflate, true) < 0)
			return broken(inflate, err);
		return 0;
	}
	if (ret != ARCHIVE_OK)
		return broken(inflate, err);
	inflate->out += size;
	digest_add(&inflate->digest, *bytes, size);
	ret = check_limits(inflate, err);
	return ret < 0 ? ret : (ssize_t)size;
}

void inflate_close(struct inflate *inflate)
{
	archive_read_free(inflate->archive);
	free(inflate->buffer);
	inflate->archive = NULL;
	inflate->buffer = NULL;
}

static la_ssize_t read_inflated(struct archive *tar, void *context, const void **bytes)
{
	struct inflate *inflate = context;
	ssize_t count = inflate_read(inflate, bytes, &inflate->tar_failure);

	if (count < 0) {
		archive_set_error(tar, (int)-count, "cannot read");
		return -1;
	}
	return count;
}

int inflate_tar_error(struct inflate *inflate, struct archive *tar, struct error *err)
{
	if (inflate->tar_failure.code)
		return error_set(err, inflate->tar_failure.code, "%s", inflate->tar_failure.text);
	if (archive_errno(tar) == ENOMEM)
		return error_errno(err, ENOMEM, "cannot read archive");
	if (archive_format(tar) == 0 && archive_file_count(tar) == 0)
		return error_set(err, EINVAL, "not a tar archive, plain or compressed with gzip, zstd, xz or bzip2");
	return error_set(err, EINVAL, "broken tar archive: %s", words(tar));
}

int inflate_tar(struct inflate *inflate, struct archive **tar, struct error *err)
{
	*tar = archive_read_new();
	if (!*tar || archive_read_support_format_tar(*tar) != ARCHIVE_OK ||
	    archive_read_support_format_empty(*tar) != ARCHIVE_OK)
		return error_errno(err, ENOMEM, "cannot read archive");
	if (archive_read_open(*tar, inflate, NULL, read_inflated, NULL) != ARCHIVE_OK)
		return inflate_tar_error(inflate, *tar, err);
	return 0;
}

int inflate_drain(struct inflate *inflate, struct error *err)
{
	const void *bytes;
	ssize_t count;

	while ((count = inflate_read(inflate, &bytes, err)) > 0)
		;
	return (int)count;
}
