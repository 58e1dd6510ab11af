/* SPDX-License-Identifier: Apache-2.0 */
/* Images into docker and OCI archives. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/content.h"
#include "image/image.h"
#include "image/intake.h"

enum { CHUNK = 128 << 10, PATH_ROOM = 160 };

int image_format_parse(const char *text, enum image_format *format, struct error *err)
{
	if (strcmp(text, "docker-archive") == 0)
		*format = IMAGE_FORMAT_DOCKER_ARCHIVE;
	else if (strcmp(text, "oci-archive") == 0)
		*format = IMAGE_FORMAT_OCI_ARCHIVE;
	else
		return error_set(err, EINVAL, "unknown format \"%.64s\": expected docker-archive or oci-archive", text);
	return 0;
}

/* One image to save, with the names that were asked for. */
struct saved {
	struct image image;
	size_t names_count;
	const char **names; /* full; they belong to the image */
};

struct save {
	struct image_store *store;
	struct saved *images;
	size_t images_count;
	struct archive *tar;
	int fd;
	char **written; /* paths in the archive so far: what images share is saved once */
	size_t written_count;
	uint64_t done, total;
	unsigned char *buffer;
	struct error failure; /* of the writing side */
};

static int no_memory(struct error *err)
{
	return error_errno(err, ENOMEM, "cannot save image");
}

static la_ssize_t write_archive(struct archive *tar, void *context, const void *bytes, size_t size)
{
	struct save *save = context;
	int ret = file_write_all(save->fd, bytes, size);

	if (ret < 0) {
		(void)error_errno(&save->failure, -ret, "cannot write archive");
		archive_set_error(tar, -ret, "cannot write");
		return -1;
	}
	return (la_ssize_t)size;
}

static int tar_failed(const struct save *save, struct error *err)
{
	if (save->failure.code)
		return error_set(err, save->failure.code, "%s", save->failure.text);
	return error_set(err, EIO, "cannot write archive: %s", archive_error_string(save->tar));
}

/* 1 if path is in the archive already; else notes that it will be. */
static int note_path(struct save *save, const char *path, struct error *err)
{
	char **grown;

	for (size_t i = 0; i < save->written_count; i++)
		if (strcmp(save->written[i], path) == 0)
			return 1;
	grown = reallocarray(save->written, save->written_count + 1, sizeof(*grown));
	if (!grown)
		return no_memory(err);
	save->written = grown;
	grown[save->written_count] = strdup(path);
	if (!grown[save->written_count])
		return no_memory(err);
	save->written_count++;
	return 0;
}

/* Nothing of the moment goes into a header: the same images give the same bytes. */
static int write_header(struct save *save, const char *path, unsigned type, uint64_t size, struct error *err)
{
	struct archive_entry *entry = archive_entry_new();
	int ret;

	if (!entry)
		return no_memory(err);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, type == AE_IFDIR ? 0755 : 0644);
	archive_entry_set_mtime(entry, 0, 0);
	archive_entry_set_size(entry, (la_int64_t)size);
	ret = archive_write_header(save->tar, entry) == ARCHIVE_OK ? 0 : tar_failed(save, err);
	archive_entry_free(entry);
	return ret;
}

static int write_bytes(struct save *save, const void *bytes, size_t size, struct error *err)
{
	const struct image_progress *progress = &save->store->progress;
	const char *name = save->images[0].names_count ? image_reference_familiar(save->images[0].names[0]) : "";

	if (size && archive_write_data(save->tar, bytes, size) != (la_ssize_t)size)
		return tar_failed(save, err);
	save->done += size;
	if (progress->report && progress->report(progress->context, "Saving", name, save->done, save->total))
		return error_set(err, ECANCELED, "interrupted");
	return 0;
}

static int write_text(struct save *save, const char *path, const char *text, struct error *err)
{
	int ret = note_path(save, path, err);

	if (ret != 0)
		return ret < 0 ? ret : 0;
	ret = write_header(save, path, AE_IFREG, strlen(text), err);
	return ret < 0 ? ret : write_bytes(save, text, strlen(text), err);
}

/* A blob as it is.  Its digest is checked once more: a damaged store must not spread. */
static int write_blob(struct save *save, const char *path, const char *digest, struct error *err)
{
	char actual[OCI_DIGEST_MAX];
	struct digest sum;
	uint64_t size, left;
	int ret = note_path(save, path, err);
	cleanup_close int fd = ret == 0 ? store_blob_open(save->store, digest, &size, err) : -1;

	if (ret != 0)
		return ret < 0 ? ret : 0;
	if (fd < 0)
		return fd;
	ret = write_header(save, path, AE_IFREG, size, err);
	digest_begin(&sum, digest);
	for (left = size; ret == 0 && left > 0;) {
		ssize_t count = read(fd, save->buffer, left < CHUNK ? (size_t)left : CHUNK);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return error_errno(err, count ? errno : EIO, "cannot read blob %s", digest);
		digest_add(&sum, save->buffer, (size_t)count);
		left -= (uint64_t)count;
		ret = write_bytes(save, save->buffer, (size_t)count, err);
	}
	digest_end(&sum, actual);
	if (ret == 0 && strcmp(actual, digest) != 0)
		ret = error_set(err, EIO, "blob %s is damaged: its digest is %s", digest, actual);
	return ret;
}

/* How long a layer is unpacked; it is written down where it is unpacked, else it is counted. */
static int layer_size(struct save *save, const struct image *image, size_t layer, uint64_t *size, struct error *err)
{
	struct layer_result meta;
	struct inflate inflate;
	cleanup_close int fd = -1;
	int ret;

	if (snapshot_meta_read(save->store, image->chain_ids[layer], &meta, NULL) == 0 && meta.tar_size > 0) {
		*size = meta.tar_size;
		return 0;
	}
	fd = store_blob_open(save->store, image->manifest.layers[layer].digest, NULL, err);
	if (fd < 0)
		return fd;
	ret = inflate_open(&inflate, fd, save->store, "Saving", "", err);
	if (ret == 0)
		ret = inflate_drain(&inflate, err);
	*size = inflate.out;
	inflate_close(&inflate);
	return ret;
}

/* A layer as docker wants it: not compressed. */
static int write_layer(struct save *save, const struct image *image, size_t layer, const char *path, struct error *err)
{
	const char *digest = image->manifest.layers[layer].digest, *diff_id = image->config.diff_ids.items[layer];
	struct image_store quiet = *save->store;
	char actual[OCI_DIGEST_MAX];
	struct inflate inflate;
	cleanup_close int fd = -1;
	const void *bytes;
	uint64_t size;
	ssize_t count = 0;
	int ret = note_path(save, path, err);

	if (ret != 0)
		return ret < 0 ? ret : 0;
	ret = layer_size(save, image, layer, &size, err);
	fd = ret == 0 ? store_blob_open(save->store, digest, NULL, err) : ret;
	if (fd < 0)
		return fd;
	quiet.progress.report = NULL;
	ret = inflate_open(&inflate, fd, &quiet, "Saving", "", err);
	digest_begin(&inflate.digest, diff_id);
	if (ret == 0)
		ret = write_header(save, path, AE_IFREG, size, err);
	while (ret == 0 && (count = inflate_read(&inflate, &bytes, err)) > 0)
		ret = write_bytes(save, bytes, (size_t)count, err);
	if (ret == 0)
		ret = (int)count;
	digest_end(&inflate.digest, actual);
	if (ret == 0 && (inflate.out != size || strcmp(actual, diff_id) != 0))
		ret = error_set(err, EIO, "layer %s is damaged", digest);
	inflate_close(&inflate);
	return ret;
}

/* "DIGITS.json", "DIGITS.tar": skopeo's and podman's way, which docker reads too. */
static int docker_path(struct arena *arena, const char *digest, const char *suffix, const char **path,
		       struct error *err)
{
	*path = arena_printf(arena, "%s%s", digest + 7, suffix);
	return *path ? 0 : no_memory(err);
}

static int describe_docker_image(struct arena *arena, const struct saved *saved, struct docker_archive_image *image,
				 struct error *err)
{
	const struct oci_strings *diff_ids = &saved->image.config.diff_ids;
	int ret = docker_path(arena, saved->image.id, ".json", &image->config, err);

	image->layers.items = arena_alloc(arena, diff_ids->count + 1, sizeof(*image->layers.items));
	image->repo_tags.items = arena_alloc(arena, saved->names_count + 1, sizeof(*image->repo_tags.items));
	if (!image->layers.items || !image->repo_tags.items)
		return no_memory(err);
	for (size_t i = 0; ret == 0 && i < diff_ids->count; i++)
		ret = docker_path(arena, diff_ids->items[i], ".tar", &image->layers.items[image->layers.count++], err);
	for (size_t i = 0; i < saved->names_count; i++)
		image->repo_tags.items[image->repo_tags.count++] = image_reference_familiar(saved->names[i]);
	return ret;
}

static int write_docker(struct save *save, struct error *err)
{
	struct docker_archive archive = { .images_count = save->images_count };
	cleanup_free char *text = NULL;
	int ret = 0;

	archive.images = arena_alloc(&archive.arena, save->images_count, sizeof(*archive.images));
	if (!archive.images)
		return no_memory(err);
	for (size_t i = 0; ret == 0 && i < save->images_count; i++) {
		const struct image *image = &save->images[i].image;

		ret = describe_docker_image(&archive.arena, &save->images[i], &archive.images[i], err);
		for (size_t layer = 0; ret == 0 && layer < image->config.diff_ids.count; layer++)
			ret = write_layer(save, image, layer, archive.images[i].layers.items[layer], err);
		if (ret == 0)
			ret = write_blob(save, archive.images[i].config, image->id, err);
	}
	text = ret == 0 ? docker_archive_json(&archive) : NULL;
	if (ret == 0)
		ret = text ? write_text(save, "manifest.json", text, err) : no_memory(err);
	docker_archive_free(&archive);
	return ret;
}

static int write_oci_blob(struct save *save, const char *digest, struct error *err)
{
	char path[STORE_PATH_MAX];

	store_blob_path(digest, path);
	return write_blob(save, path, digest, err);
}

static int write_oci_image(struct save *save, const struct image *image, struct error *err)
{
	int ret = write_oci_blob(save, image->digest, err);

	if (ret == 0)
		ret = write_oci_blob(save, image->id, err);
	for (size_t i = 0; ret == 0 && i < image->manifest.layers_count; i++)
		ret = write_oci_blob(save, image->manifest.layers[i].digest, err);
	return ret;
}

/* One descriptor per name; one without for an image that was asked for by its id. */
static int describe_oci_image(struct save *save, struct oci_index *index, const struct saved *saved, struct error *err)
{
	struct oci_descriptor manifest = {
		.media_type = saved->image.manifest.media_type ? saved->image.manifest.media_type : OCI_MEDIA_MANIFEST,
		.digest = saved->image.digest,
		.platform = saved->image.config.platform,
	};
	cleanup_close int fd = store_blob_open(save->store, saved->image.digest, &manifest.size, err);
	int ret = fd < 0 ? fd : 0;

	for (size_t i = 0; ret >= 0 && i < saved->names_count; i++)
		ret = store_index_name(index, &manifest, saved->names[i], err);
	if (ret >= 0 && saved->names_count == 0)
		ret = store_index_name(index, &manifest, NULL, err);
	return ret < 0 ? ret : 0;
}

static int write_oci(struct save *save, struct error *err)
{
	struct oci_index index = { .manifests_count = 0 };
	cleanup_free char *text = NULL;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < save->images_count; i++)
		ret = describe_oci_image(save, &index, &save->images[i], err);
	text = ret == 0 ? oci_index_json(&index) : NULL;
	oci_index_free(&index);
	if (ret == 0 && !text)
		ret = no_memory(err);
	if (ret == 0)
		ret = write_text(save, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", err);
	if (ret == 0)
		ret = write_text(save, "index.json", text, err);
	if (ret == 0)
		ret = write_header(save, "blobs", AE_IFDIR, 0, err);
	if (ret == 0)
		ret = write_header(save, "blobs/sha256", AE_IFDIR, 0, err);
	for (size_t i = 0; ret == 0 && i < save->images_count; i++)
		ret = write_oci_image(save, &save->images[i].image, err);
	return ret;
}

static int choose_image(struct save *save, const char *what, struct error *err)
{
	struct image image;
	struct saved *saved = NULL;
	const char *name;
	int ret = image_open(save->store, what, &image, err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; !saved && i < save->images_count; i++)
		if (strcmp(save->images[i].image.digest, image.digest) == 0)
			saved = &save->images[i];
	if (saved) {
		image_close(&image);
	} else {
		saved = &save->images[save->images_count++];
		saved->image = image;
		saved->names = calloc(image.names_count + 1, sizeof(*saved->names));
		save->total += image.size;
		if (!saved->names)
			return no_memory(err);
	}
	name = image_name_meant(&saved->image, what);
	for (size_t i = 0; name && i < saved->names_count; i++)
		if (saved->names[i] == name)
			name = NULL;
	if (name)
		saved->names[saved->names_count++] = name;
	return 0;
}

static int run_save(struct save *save, const char *const *whats, size_t count, enum image_format format,
		    struct error *err)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = choose_image(save, whats[i], err);
	if (ret < 0)
		return ret;
	save->buffer = malloc(CHUNK);
	save->tar = archive_write_new();
	if (!save->buffer || !save->tar)
		return no_memory(err);
	if (archive_write_set_format_pax_restricted(save->tar) != ARCHIVE_OK ||
	    archive_write_open(save->tar, save, NULL, write_archive, NULL) != ARCHIVE_OK)
		return tar_failed(save, err);
	ret = format == IMAGE_FORMAT_OCI_ARCHIVE ? write_oci(save, err) : write_docker(save, err);
	if (ret == 0 && archive_write_close(save->tar) != ARCHIVE_OK)
		ret = tar_failed(save, err);
	return ret;
}

int image_save(struct image_store *store, const char *const *whats, size_t count, enum image_format format, int fd,
	       struct error *err)
{
	/* What is being read must not be removed meanwhile. */
	cleanup_close int content = store_lock(store, STORE_CONTENT, LOCK_SH, err);
	struct save save = { .store = store, .fd = fd };
	int ret;

	if (content < 0)
		return content;
	if (count == 0)
		return error_set(err, EINVAL, "no image to save");
	save.images = calloc(count, sizeof(*save.images));
	ret = save.images ? run_save(&save, whats, count, format, err) : no_memory(err);
	/* A failed archive is not ended properly: freeing it would write more to a descriptor that failed. */
	if (save.tar && ret < 0)
		archive_write_fail(save.tar);
	archive_write_free(save.tar);
	for (size_t i = 0; i < save.images_count; i++) {
		free(save.images[i].names);
		image_close(&save.images[i].image);
	}
	free(save.images);
	store_names_free(save.written, save.written_count);
	free(save.buffer);
	return ret < 0 ? error_wrap(err, "cannot save image") : 0;
}
