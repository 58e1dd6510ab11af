/* SPDX-License-Identifier: Apache-2.0 */
#include "image/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/overlay.h"

enum { FILE_NAME_MAX = 24, SHORT_ID = 12, COPY_CHUNK = 128 << 10 };

int intake_begin(struct intake *intake, struct image_store *store, struct error *err)
{
	int ret;

	*intake = (struct intake){ .store = store, .lock = -1, .tmp = STORE_TMP_INIT };
	intake->lock = store_lock(store, STORE_CONTENT, LOCK_SH, err);
	ret = intake->lock < 0 ? intake->lock : store_tmp_make(store, &intake->tmp, err);
	if (ret < 0)
		intake_end(intake);
	return ret;
}

void intake_end(struct intake *intake)
{
	store_tmp_remove(intake->store, &intake->tmp);
	for (size_t i = 0; i < intake->count; i++)
		free(intake->files[i].path);
	free(intake->files);
	store_names_free(intake->snapshots, intake->snapshots_count);
	if (intake->lock >= 0)
		close(intake->lock);
	*intake = (struct intake){ .store = intake->store, .lock = -1, .tmp = STORE_TMP_INIT };
}

static void file_name(size_t file, char name[static FILE_NAME_MAX])
{
	(void)snprintf(name, FILE_NAME_MAX, "f%zu", file);
}

/* A place for one more file; count grows when the file is complete. */
static struct intake_file *next_file(struct intake *intake)
{
	if (intake->count == intake->room) {
		size_t room = intake->room ? intake->room * 2 : 16;
		struct intake_file *grown = reallocarray(intake->files, room, sizeof(*grown));

		if (!grown)
			return NULL;
		intake->files = grown;
		intake->room = room;
	}
	memset(&intake->files[intake->count], 0, sizeof(*intake->files));
	return &intake->files[intake->count];
}

static int pour(int fd, struct intake_file *file, const char *like, intake_source *source, void *context,
		struct error *err)
{
	struct digest digest;
	const void *bytes;
	ssize_t count;

	digest_begin(&digest, like);
	while ((count = source(context, &bytes, err)) > 0) {
		int ret = file_write_all(fd, bytes, (size_t)count);

		if (ret < 0)
			return error_errno(err, -ret, "cannot write to the image store");
		digest_add(&digest, bytes, (size_t)count);
		file->size += (uint64_t)count;
	}
	if (count < 0)
		return (int)count;
	digest_end(&digest, file->digest);
	return 0;
}

int intake_stream(struct intake *intake, const char *path, const char *like, intake_source *source, void *context,
		  struct error *err)
{
	struct intake_file *file = next_file(intake);
	char name[FILE_NAME_MAX];
	cleanup_close int fd = -1;
	int ret;

	if (!file || !(file->path = strdup(path ? path : "")))
		return error_errno(err, ENOMEM, "cannot store image");
	file_name(intake->count, name);
	fd = openat(intake->tmp.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ret = fd < 0 ? error_errno(err, errno, "cannot write to the image store")
		     : pour(fd, file, like, source, context, err);
	if (ret < 0) {
		free(take_ptr(file->path));
		(void)unlinkat(intake->tmp.fd, name, 0);
		return ret;
	}
	intake->bytes += file->size;
	return (int)intake->count++;
}

struct memory {
	const void *bytes;
	size_t size;
};

static ssize_t memory_source(void *context, const void **bytes, struct error *err)
{
	struct memory *memory = context;
	size_t size = memory->size;

	(void)err;
	*bytes = memory->bytes;
	memory->size = 0;
	return (ssize_t)size;
}

int intake_bytes(struct intake *intake, const void *bytes, size_t size, struct error *err)
{
	struct memory memory = { bytes, size };
	int file = intake_stream(intake, NULL, NULL, memory_source, &memory, err);

	if (file >= 0)
		intake->files[file].wanted = true;
	return file;
}

struct copy {
	int fd;
	uint64_t left;
	unsigned char *buffer;
};

static ssize_t fd_source(void *context, const void **bytes, struct error *err)
{
	struct copy *copy = context;
	ssize_t count;

	do
		count = read(copy->fd, copy->buffer, COPY_CHUNK);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return error_errno(err, errno, "cannot read");
	if ((uint64_t)count > copy->left)
		return error_set(err, EINVAL, "longer than it should be");
	copy->left -= (uint64_t)count;
	*bytes = copy->buffer;
	return count;
}

int intake_fd(struct intake *intake, int fd, const char *like, uint64_t max, struct error *err)
{
	cleanup_free unsigned char *buffer = malloc(COPY_CHUNK);
	struct copy copy = { fd, max, buffer };

	if (!buffer)
		return error_errno(err, ENOMEM, "cannot store image");
	return intake_stream(intake, NULL, like, fd_source, &copy, err);
}

int intake_find(const struct intake *intake, const char *digest)
{
	for (size_t i = 0; i < intake->count; i++)
		if (strcmp(intake->files[i].digest, digest) == 0)
			return (int)i;
	return -1;
}

int intake_find_path(const struct intake *intake, const char *path)
{
	/* The last one, as an unpacked archive would have it. */
	for (size_t i = intake->count; i > 0; i--)
		if (strcmp(intake->files[i - 1].path, path) == 0)
			return (int)(i - 1);
	return -1;
}

int intake_open(const struct intake *intake, int file, struct error *err)
{
	char name[FILE_NAME_MAX];
	int fd;

	file_name((size_t)file, name);
	fd = openat(intake->tmp.fd, name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "cannot read from the image store") : fd;
}

int intake_document(const struct intake *intake, const struct oci_descriptor *descriptor, char **content, size_t *size,
		    struct error *err)
{
	cleanup_close int fd = -1;
	int file, ret;

	if (descriptor->size > OCI_DOCUMENT_MAX)
		return error_set(err, EINVAL, "document %s of %llu bytes is too large", descriptor->digest,
				 (unsigned long long)descriptor->size);
	file = intake_find(intake, descriptor->digest);
	if (file >= 0) {
		fd = intake_open(intake, file, err);
		ret = fd < 0 ? fd : file_read_fd(fd, OCI_DOCUMENT_MAX, content, size, err);
	} else {
		ret = store_blob_read(intake->store, descriptor->digest, content, size, err);
	}
	if (ret < 0)
		return ret;
	if (*size != descriptor->size) {
		free(take_ptr(*content));
		return error_set(err, EINVAL, "%s has %zu bytes, its descriptor says %llu", descriptor->digest, *size,
				 (unsigned long long)descriptor->size);
	}
	return 0;
}

void image_chain_id(const struct oci_strings *diff_ids, size_t layer, char chain_id[static OCI_DIGEST_MAX])
{
	char pair[2 * OCI_DIGEST_MAX];

	memcpy(chain_id, diff_ids->items[0], strlen(diff_ids->items[0]) + 1);
	for (size_t i = 1; i <= layer; i++) {
		int length = snprintf(pair, sizeof(pair), "%s %s", chain_id, diff_ids->items[i]);

		digest_of(pair, (size_t)length, chain_id);
	}
}

static const struct {
	const char *key;
	size_t offset;
} meta_numbers[] = {
	{ "tarSize", offsetof(struct layer_result, tar_size) },
	{ "size", offsetof(struct layer_result, size) },
	{ "entries", offsetof(struct layer_result, entries) },
	{ "skippedDevices", offsetof(struct layer_result, devices) },
	{ "changedOwners", offsetof(struct layer_result, owners) },
	{ "skippedAttributes", offsetof(struct layer_result, attributes) },
};
enum { META_NUMBERS = sizeof(meta_numbers) / sizeof(*meta_numbers) };

static int meta_write(const struct image_store *store, int dir, const struct layer_result *result, struct error *err)
{
	json_t *meta = json_object();
	cleanup_free char *text = NULL;
	cleanup_close int fd = openat(dir, "meta", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	bool failed = json_object_set_new(meta, "diffID", json_string(result->diff_id)) < 0;
	int ret;

	for (size_t i = 0; i < META_NUMBERS; i++) {
		const char *field = (const char *)result + meta_numbers[i].offset;

		failed |= json_object_set_new(meta, meta_numbers[i].key,
					      json_integer(*(const json_int_t *)(const void *)field)) < 0;
	}
	failed |= json_object_set_new(meta, "opaqueRoot", json_boolean(result->opaque_root)) < 0;
	text = failed ? NULL : json_dumps(meta, JSON_COMPACT);
	json_decref(meta);
	if (!text)
		return error_errno(err, ENOMEM, "cannot store layer");
	ret = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
	return ret < 0 ? error_errno(err, -ret, "cannot write to the image store") : store_sync(store, fd, err);
}

int snapshot_meta_read(const struct image_store *store, const char *chain_id, struct layer_result *meta,
		       struct error *err)
{
	char path[STORE_PATH_MAX], file[STORE_PATH_MAX + 8];
	cleanup_free char *text = NULL;
	const char *diff_id;
	json_t *root;
	size_t size;
	int ret;

	memset(meta, 0, sizeof(*meta));
	store_snapshot_path(chain_id, path);
	(void)snprintf(file, sizeof(file), "%s/meta", path);
	ret = file_read(store->fd, file, 4096, &text, &size, err);
	if (ret < 0)
		return ret;
	root = json_loadb(text, size, 0, NULL);
	diff_id = json_string_value(json_object_get(root, "diffID"));
	if (diff_id && oci_digest_valid(diff_id))
		memcpy(meta->diff_id, diff_id, strlen(diff_id) + 1);
	else
		ret = error_set(err, EIO, "%s is damaged", file);
	for (size_t i = 0; i < META_NUMBERS; i++) {
		const json_int_t value = json_integer_value(json_object_get(root, meta_numbers[i].key));

		*(json_int_t *)(void *)((char *)meta + meta_numbers[i].offset) = value;
	}
	meta->opaque_root = json_is_true(json_object_get(root, "opaqueRoot"));
	json_decref(root);
	return ret;
}

/* Where layer of the image is unpacked, or will be: in the store, or among this intake's own. */
static int open_unpacked(const struct intake *intake, const char *chain_id)
{
	char path[STORE_PATH_MAX], full[STORE_PATH_MAX + 4];

	for (size_t i = 0; i < intake->snapshots_count; i++) {
		if (strcmp(intake->snapshots[i], chain_id) != 0)
			continue;
		(void)snprintf(full, sizeof(full), "s%zu/fs", i);
		return openat(intake->tmp.fd, full, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	store_snapshot_path(chain_id, path);
	(void)snprintf(full, sizeof(full), "%s/fs", path);
	return openat(intake->store->fd, full, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int note_snapshot(struct intake *intake, const char *chain_id, struct error *err)
{
	char **grown = reallocarray(intake->snapshots, intake->snapshots_count + 1, sizeof(*grown));

	if (grown)
		intake->snapshots = grown;
	if (!grown || !(grown[intake->snapshots_count] = strdup(chain_id)))
		return error_errno(err, ENOMEM, "cannot store layer");
	intake->snapshots_count++;
	return 0;
}

static int open_layer(const struct intake *intake, const struct oci_descriptor *layer, struct error *err)
{
	int file = intake_find(intake, layer->digest);
	struct stat st;
	int fd = file >= 0 ? intake_open(intake, file, err) : store_blob_open(intake->store, layer->digest, NULL, err);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != layer->size) {
		close(fd);
		return error_set(err, EINVAL, "layer %s has %lld bytes, its descriptor says %llu", layer->digest,
				 (long long)st.st_size, (unsigned long long)layer->size);
	}
	return fd;
}

/* One layer into sN/fs of the temporary directory.  lower: what is below it, topmost first.  diff_id and chain_id NULL:
 * a bottom layer that is not known yet. */
static int unpack_layer(struct intake *intake, const struct oci_descriptor *layer, const char *diff_id,
			const char *chain_id, const int *lower, size_t lower_count, struct layer_result *result,
			struct error *err)
{
	char dir_name[FILE_NAME_MAX], what[SHORT_ID + 1];
	cleanup_close int fd = open_layer(intake, layer, err), dir = -1, root = -1;
	struct layer_source source = { fd, what, diff_id, lower, lower_count };
	int ret;

	if (fd < 0)
		return fd;
	(void)snprintf(what, sizeof(what), "%s", layer->digest + 7);
	(void)snprintf(dir_name, sizeof(dir_name), "s%zu", intake->snapshots_count);
	if (mkdirat(intake->tmp.fd, dir_name, 0755) == 0)
		dir = openat(intake->tmp.fd, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && mkdirat(dir, "fs", 0755) == 0)
		root = openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Whatever the umask: an archive need not have an entry for its root. */
	if (root < 0 || fchmod(root, 0755) < 0)
		return error_errno(err, errno, "cannot write to the image store");
	ret = layer_extract(intake->store, root, &source, result, err);
	if (ret == 0)
		ret = meta_write(intake->store, dir, result, err);
	if (ret == 0 && intake->store->durable && syncfs(root) < 0)
		ret = error_errno(err, errno, "cannot sync to disk");
	return ret < 0 ? ret : note_snapshot(intake, chain_id ? chain_id : result->diff_id, err);
}

int intake_unpack_base(struct intake *intake, const struct oci_descriptor *layer, struct layer_result *result,
		       struct error *err)
{
	return unpack_layer(intake, layer, NULL, NULL, NULL, 0, result, err);
}

const char *image_layer_media_type(enum inflate_kind kind)
{
	switch (kind) {
	case INFLATE_GZIP:
		return OCI_MEDIA_LAYER_GZIP;
	case INFLATE_ZSTD:
		return OCI_MEDIA_LAYER_ZSTD;
	default:
		return OCI_MEDIA_LAYER;
	}
}

/*
 * A layer that is unpacked already, but whose archive is new here: it must be what was unpacked, or saving the image
 * later would give back something else.
 */
static int verify_layer(struct intake *intake, const struct oci_descriptor *layer, const char *diff_id,
			struct layer_result *result, struct error *err)
{
	char what[SHORT_ID + 1], actual[OCI_DIGEST_MAX];
	cleanup_close int fd = open_layer(intake, layer, err);
	struct inflate inflate;
	const void *bytes;
	ssize_t count = 0;
	int ret;

	if (fd < 0)
		return fd;
	(void)snprintf(what, sizeof(what), "%s", layer->digest + 7);
	ret = inflate_open(&inflate, fd, intake->store, "Verifying", what, err);
	result->kind = inflate.kind;
	digest_begin(&inflate.digest, diff_id);
	if (ret == 0 && strcmp(layer->digest, diff_id) != 0) {
		while ((count = inflate_read(&inflate, &bytes, err)) > 0)
			;
		ret = (int)count;
		digest_end(&inflate.digest, actual);
		if (ret == 0 && strcmp(actual, diff_id) != 0)
			ret = error_set(err, EINVAL, "unpacked digest is %s, the image says %s", actual, diff_id);
	}
	inflate_close(&inflate);
	return ret < 0 ? error_wrap(err, "cannot verify layer %s", what) : 0;
}

/* Layer i of an image; opened[] is filled from its end, so that what is below a layer stands in order behind it. */
static int unpack_one(struct intake *intake, const struct oci_manifest *manifest, const struct oci_image_config *config,
		      size_t i, int *opened, enum inflate_kind *kinds, struct error *err)
{
	const struct oci_descriptor *layer = &manifest->layers[i];
	const char *diff_id = config->diff_ids.items[i];
	int *slot = &opened[manifest->layers_count - 1 - i];
	struct layer_result result = { .kind = INFLATE_NONE };
	char chain_id[OCI_DIGEST_MAX];
	int ret = 0;

	image_chain_id(&config->diff_ids, i, chain_id);
	*slot = open_unpacked(intake, chain_id);
	if (*slot >= 0) {
		if (intake_find(intake, layer->digest) >= 0)
			ret = verify_layer(intake, layer, diff_id, &result, err);
	} else {
		ret = unpack_layer(intake, layer, diff_id, chain_id, slot + 1, i, &result, err);
		if (ret == 0 && (*slot = open_unpacked(intake, chain_id)) < 0)
			ret = error_errno(err, errno, "cannot open unpacked layer");
	}
	if (ret == 0 && kinds)
		kinds[i] = result.kind;
	return ret;
}

int intake_unpack(struct intake *intake, const struct oci_manifest *manifest, const struct oci_image_config *config,
		  enum inflate_kind *kinds, struct error *err)
{
	const size_t count = manifest->layers_count;
	cleanup_free int *opened = NULL;
	int ret = 0;

	if (count != config->diff_ids.count)
		return error_set(err, EINVAL, "the manifest has %zu layers, the config %zu diff ids", count,
				 config->diff_ids.count);
	if (count > OVERLAY_LAYERS_MAX)
		return error_set(err, EINVAL, "%zu layers are too many: overlayfs takes %d", count, OVERLAY_LAYERS_MAX);
	opened = malloc((count + 1) * sizeof(*opened));
	if (!opened)
		return error_errno(err, ENOMEM, "cannot store image");
	for (size_t i = 0; i < count; i++)
		opened[i] = -1;
	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = unpack_one(intake, manifest, config, i, opened, kinds, err);
	for (size_t i = 0; i < count; i++)
		if (opened[i] >= 0)
			close(opened[i]);
	return ret;
}

static int admit_file(struct intake *intake, size_t file, struct error *err)
{
	char name[FILE_NAME_MAX], path[STORE_PATH_MAX];
	cleanup_close int fd = intake_open(intake, (int)file, err);
	int ret;

	if (fd < 0)
		return fd;
	ret = store_sync(intake->store, fd, err);
	if (ret < 0)
		return ret;
	file_name(file, name);
	store_blob_path(intake->files[file].digest, path);
	if (renameat(intake->tmp.fd, name, intake->store->fd, path) < 0)
		return error_errno(err, errno, "cannot store blob %s", intake->files[file].digest);
	return 0;
}

static int admit_snapshot(struct intake *intake, size_t snapshot, struct error *err)
{
	char name[FILE_NAME_MAX], path[STORE_PATH_MAX];

	(void)snprintf(name, sizeof(name), "s%zu", snapshot);
	store_snapshot_path(intake->snapshots[snapshot], path);
	/* Whoever came first with the same layer has the same content. */
	if (renameat(intake->tmp.fd, name, intake->store->fd, path) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		return error_errno(err, errno, "cannot store layer");
	return 0;
}

static int sync_directory(const struct image_store *store, const char *path, struct error *err)
{
	cleanup_close int fd = openat(store->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? error_errno(err, errno, "cannot open %s/%s", store->root, path) : store_sync(store, fd, err);
}

int intake_admit(struct intake *intake, struct error *err)
{
	static const char *const directories[] = { "blobs/sha256", "blobs/sha512", "snapshots" };
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < intake->count; i++) {
		if (intake->files[i].wanted)
			ret = admit_file(intake, i, err);
	}
	for (size_t i = 0; ret == 0 && i < intake->snapshots_count; i++)
		ret = admit_snapshot(intake, i, err);
	for (size_t i = 0; ret == 0 && i < sizeof(directories) / sizeof(*directories); i++)
		ret = sync_directory(intake->store, directories[i], err);
	return ret;
}
