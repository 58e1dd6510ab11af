/* SPDX-License-Identifier: Apache-2.0 */
#include "image/source.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

/* An image archive has a few entries per layer; millions would only fill the directory. */
enum { ENTRIES_MAX = 100000, LINKS_FOLLOWED_MAX = 8 };

/* Relative and clean; NULL for what climbs out. */
static char *clean_path(const char *path)
{
	cleanup_free char *clean = NULL;

	while (*path == '/')
		path++;
	clean = path_clean(path);
	if (!clean || strcmp(clean, "..") == 0 || str_starts(clean, "../"))
		return NULL;
	return take_ptr(clean);
}

static int add_link(struct source *source, const char *path, const char *target, bool symbolic, struct error *err)
{
	cleanup_free char *from = clean_path(path), *joined = NULL, *to = NULL;
	struct source_link *grown;

	if (!from || !target)
		return 0;
	/* A symbolic link counts from its own directory. */
	joined = symbolic ? path_join(from, "..") : strdup("");
	if (joined) {
		cleanup_free char *whole = path_join(joined, target);

		to = whole ? clean_path(whole) : NULL;
	}
	if (!to)
		return 0;
	grown = reallocarray(source->links, source->links_count + 1, sizeof(*grown));
	if (!grown)
		return error_errno(err, ENOMEM, "cannot read archive");
	source->links = grown;
	grown[source->links_count++] = (struct source_link){ take_ptr(from), take_ptr(to) };
	return 0;
}

struct entry_source {
	struct source *source;
	struct inflate *inflate;
	struct archive *tar;
	uint64_t room; /* for all files of the archive */
};

static ssize_t entry_read(void *context, const void **bytes, struct error *err)
{
	struct entry_source *entry = context;
	la_int64_t offset;
	size_t count = 0;
	int ret;

	do
		ret = archive_read_data_block(entry->tar, bytes, &count, &offset);
	while (ret == ARCHIVE_OK && count == 0);
	if (ret == ARCHIVE_EOF)
		return 0;
	if (ret != ARCHIVE_OK)
		return inflate_tar_error(entry->inflate, entry->tar, err);
	if (count > entry->room)
		return error_set(err, EFBIG, "the archive is too large");
	entry->room -= count;
	return (ssize_t)count;
}

static int take_entry(struct entry_source *from, struct archive_entry *entry, struct error *err)
{
	const char *path = archive_entry_pathname(entry), *hardlink = archive_entry_hardlink(entry);
	cleanup_free char *clean = path ? clean_path(path) : NULL;
	int ret;

	if (!path || !clean)
		return error_set(err, EINVAL, "an entry's name leads out of the archive");
	if (hardlink)
		return add_link(from->source, path, hardlink, false, err);
	if (archive_entry_filetype(entry) == AE_IFLNK)
		return add_link(from->source, path, archive_entry_symlink(entry), true, err);
	if (archive_entry_filetype(entry) != AE_IFREG)
		return 0;
	if (archive_entry_sparse_count(entry) > 0)
		return error_set(err, EINVAL, "sparse file in an image archive");
	ret = intake_stream(from->source->intake, clean, NULL, entry_read, from, err);
	return ret < 0 ? ret : 0;
}

static int take_entries(struct entry_source *from, struct error *err)
{
	struct archive_entry *entry;
	size_t entries = 0;
	int status;

	while ((status = archive_read_next_header(from->tar, &entry)) == ARCHIVE_OK || status == ARCHIVE_WARN) {
		int ret = ++entries > ENTRIES_MAX ? error_set(err, EFBIG, "more than %d entries", ENTRIES_MAX)
						  : take_entry(from, entry, err);

		if (ret < 0)
			return ret;
	}
	if (status != ARCHIVE_EOF)
		return inflate_tar_error(from->inflate, from->tar, err);
	return inflate_drain(from->inflate, err);
}

static int take_stream(struct source *source, int fd, struct error *err)
{
	locale_t bytes = newlocale(LC_CTYPE_MASK, "C", (locale_t)0), before = uselocale(bytes);
	struct inflate inflate;
	struct entry_source from = { .source = source, .inflate = &inflate };
	int ret = inflate_open(&inflate, fd, source->intake->store, "Loading", "", err);

	from.room = inflate.limits.unpacked_bytes;
	if (ret == 0)
		ret = inflate_tar(&inflate, &from.tar, err);
	if (ret == 0)
		ret = take_entries(&from, err);
	archive_read_free(from.tar);
	inflate_close(&inflate);
	uselocale(before);
	if (bytes)
		freelocale(bytes);
	return ret;
}

int source_open(struct source *source, struct intake *intake, int fd, struct error *err)
{
	struct stat st;

	*source = (struct source){ .intake = intake, .dir = -1 };
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot read");
	if (S_ISDIR(st.st_mode)) {
		source->dir = fd;
		return 0;
	}
	return take_stream(source, fd, err);
}

void source_close(struct source *source)
{
	for (size_t i = 0; i < source->links_count; i++) {
		free(source->links[i].path);
		free(source->links[i].target);
	}
	free(source->links);
	*source = (struct source){ .dir = -1 };
}

static int open_below(const struct source *source, const char *path, struct error *err)
{
	int fd = file_open_type_in_root(source->dir, path, O_RDONLY, S_IFREG, 0);

	if (fd == -EINVAL)
		return error_set(err, EINVAL, "%s is not a regular file", path);
	return fd < 0 ? error_errno(err, -fd, "cannot open %s", path) : fd;
}

/* In a stream: by name, through links. */
static int find_in_stream(const struct source *source, const char *path)
{
	int file = intake_find_path(source->intake, path);

	for (int followed = 0; file < 0 && followed < LINKS_FOLLOWED_MAX; followed++) {
		const char *target = NULL;

		for (size_t i = 0; i < source->links_count; i++)
			if (strcmp(source->links[i].path, path) == 0)
				target = source->links[i].target;
		if (!target)
			break;
		path = target;
		file = intake_find_path(source->intake, path);
	}
	return file;
}

int source_file(struct source *source, const char *path, struct error *err)
{
	cleanup_free char *clean = clean_path(path);
	cleanup_close int fd = -1;
	int file;

	if (!clean)
		return error_set(err, EINVAL, "\"%.128s\" leads out of the archive", path);
	if (source->dir >= 0) {
		fd = open_below(source, clean, err);
		return fd < 0 ? fd : intake_fd(source->intake, fd, NULL, INT64_MAX, err);
	}
	file = find_in_stream(source, clean);
	return file < 0 ? error_set(err, ENOENT, "%.128s is missing from the archive", clean) : file;
}

int source_read(struct source *source, const char *path, char **content, size_t *size, struct error *err)
{
	cleanup_close int fd = -1;
	int file, ret;

	if (source->dir >= 0) {
		fd = open_below(source, path, err);
	} else {
		file = find_in_stream(source, path);
		fd = file < 0 ? error_set(err, ENOENT, "%s is missing from the archive", path)
			      : intake_open(source->intake, file, err);
	}
	if (fd < 0)
		return fd;
	ret = file_read_fd(fd, OCI_DOCUMENT_MAX, content, size, err);
	return ret < 0 ? error_wrap(err, "%s", path) : 0;
}

/* Takes the blob in under its own digest algorithm. */
static int take_blob(struct source *source, const struct oci_descriptor *blob, struct error *err)
{
	char path[STORE_PATH_MAX];
	cleanup_close int fd = -1;
	int file;

	store_blob_path(blob->digest, path);
	if (source->dir >= 0) {
		fd = open_below(source, path, err);
	} else {
		file = find_in_stream(source, path);
		if (file < 0)
			return error_set(err, ENOENT, "blob %s is missing from the archive", blob->digest);
		/* SHA-256 is what was computed on the way in: it would have been found. */
		if (str_starts(blob->digest, "sha256:"))
			return error_set(err, EINVAL, "blob %s is damaged: its digest is %s", blob->digest,
					 source->intake->files[file].digest);
		fd = intake_open(source->intake, file, err);
	}
	if (fd < 0)
		return fd;
	file = intake_fd(source->intake, fd, blob->digest, blob->size, err);
	if (file < 0)
		return error_wrap(err, "blob %s", blob->digest);
	if (strcmp(source->intake->files[file].digest, blob->digest) != 0)
		return error_set(err, EINVAL, "blob %s is damaged: its digest is %s", blob->digest,
				 source->intake->files[file].digest);
	return file;
}

int source_blob(struct source *source, const struct oci_descriptor *blob, struct error *err)
{
	int file = intake_find(source->intake, blob->digest);
	cleanup_close int stored = -1;
	uint64_t size;

	if (file < 0) {
		stored = store_blob_open(source->intake->store, blob->digest, &size, NULL);
		if (stored >= 0)
			return size == blob->size
				       ? 0
				       : error_set(err, EINVAL, "blob %s has %llu bytes, its descriptor says %llu",
						   blob->digest, (unsigned long long)size,
						   (unsigned long long)blob->size);
		file = take_blob(source, blob, err);
	}
	if (file < 0)
		return file;
	if (source->intake->files[file].size != blob->size)
		return error_set(err, EINVAL, "blob %s has %llu bytes, its descriptor says %llu", blob->digest,
				 (unsigned long long)source->intake->files[file].size, (unsigned long long)blob->size);
	source->intake->files[file].wanted = true;
	return 0;
}
