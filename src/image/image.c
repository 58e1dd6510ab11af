/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/content.h"
#include "image/intake.h"

enum { FULL_MAX = REFERENCE_MAX + 130 };

void image_report_free(struct image_report *report)
{
	str_free(&report->lines);
	report->reclaimed = 0;
}

static int no_memory(struct error *err)
{
	return error_errno(err, ENOMEM, "cannot read image");
}

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static int collect_names(const struct oci_index *index, struct image *image, struct error *err)
{
	image->names = calloc(index->manifests_count + 1, sizeof(*image->names));
	if (!image->names)
		return no_memory(err);
	for (size_t i = 0; i < index->manifests_count; i++) {
		const char *name = store_descriptor_name(&index->manifests[i]);

		if (!name || strcmp(index->manifests[i].digest, image->digest) != 0)
			continue;
		image->names[image->names_count] = strdup(name);
		if (!image->names[image->names_count])
			return no_memory(err);
		image->names_count++;
	}
	qsort(image->names, image->names_count, sizeof(*image->names), compare_names);
	return 0;
}

static int read_layers(struct image_store *store, struct image *image, struct error *err)
{
	const struct oci_strings *diff_ids = &image->config.diff_ids;

	if (diff_ids->count != image->manifest.layers_count)
		return error_set(err, EINVAL, "image %s: %zu layers, but %zu diff ids", image->id,
				 image->manifest.layers_count, diff_ids->count);
	image->chain_ids = calloc(diff_ids->count + 1, sizeof(*image->chain_ids));
	if (!image->chain_ids)
		return no_memory(err);
	for (size_t i = 0; i < diff_ids->count; i++) {
		struct layer_result meta;
		char chain_id[OCI_DIGEST_MAX];

		image_chain_id(diff_ids, i, chain_id);
		image->chain_ids[i] = strdup(chain_id);
		if (!image->chain_ids[i])
			return no_memory(err);
		if (snapshot_meta_read(store, chain_id, &meta, NULL) == 0)
			image->size += meta.size;
	}
	return 0;
}

/* Reads the image whose manifest has this digest. */
static int open_manifest(struct image_store *store, const struct oci_index *index, const char *digest,
			 struct image *image, struct error *err)
{
	cleanup_free char *manifest = NULL, *config = NULL;
	size_t size;
	int ret;

	memset(image, 0, sizeof(*image));
	memcpy(image->digest, digest, strlen(digest) + 1);
	ret = store_blob_read(store, digest, &manifest, &size, err);
	if (ret == 0)
		ret = oci_manifest_parse(manifest, size, &image->manifest, err);
	if (ret == 0)
		ret = store_blob_read(store, image->manifest.config.digest, &config, &size, err);
	if (ret == 0)
		ret = oci_image_config_parse(config, size, &image->config, err);
	if (ret == 0) {
		memcpy(image->id, image->manifest.config.digest, strlen(image->manifest.config.digest) + 1);
		ret = collect_names(index, image, err);
	}
	if (ret == 0)
		ret = read_layers(store, image, err);
	if (ret < 0)
		image_close(image);
	return ret;
}

const char *image_name_meant(const struct image *image, const char *what)
{
	struct image_reference reference;
	char full[REFERENCE_MAX + 130];

	if (image_reference_parse(what, &reference, NULL) < 0 || *reference.digest)
		return NULL;
	image_reference_full(&reference, full);
	for (size_t i = 0; i < image->names_count; i++)
		if (strcmp(image->names[i], full) == 0)
			return image->names[i];
	return NULL;
}

void image_close(struct image *image)
{
	for (size_t i = 0; i < image->names_count; i++)
		free(image->names[i]);
	for (size_t i = 0; image->chain_ids && image->chain_ids[i]; i++)
		free(image->chain_ids[i]);
	free(image->names);
	free(image->chain_ids);
	oci_manifest_free(&image->manifest);
	oci_image_config_free(&image->config);
	memset(image, 0, sizeof(*image));
}

static int no_such_image(const char *what, struct error *err)
{
	return error_set(err, ENOENT, "No such image: %.200s", what);
}

/* By name, and digest if one was given.  Its place in the index, or the index's length. */
static size_t find_name(const struct oci_index *index, const char *what)
{
	struct image_reference reference;
	char full[FULL_MAX];

	if (image_reference_parse(what, &reference, NULL) < 0)
		return index->manifests_count;
	image_reference_full(&reference, full);
	for (size_t i = 0; i < index->manifests_count; i++) {
		const char *name = store_descriptor_name(&index->manifests[i]), *digest = index->manifests[i].digest;

		if (!name || (*reference.digest && strcmp(digest, reference.digest) != 0))
			continue;
		if (strcmp(name, full) == 0)
			return i;
		/* name@digest: whatever the tag. */
		if (*reference.digest && !*reference.tag && str_starts(name, reference.name) &&
		    name[strlen(reference.name)] == ':')
			return i;
	}
	return index->manifests_count;
}

static bool seen_before(const struct oci_index *index, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcmp(index->manifests[i].digest, index->manifests[at].digest) == 0)
			return true;
	return false;
}

/* By id or the beginning of one: *place in the index, or its length when there is none. */
static int find_id(struct image_store *store, const struct oci_index *index, const char *what, size_t *place,
		   struct error *err)
{
	const char *hex = str_starts(what, "sha256:") ? what + 7 : what;
	size_t length = strlen(hex), found = index->manifests_count;
	char found_id[OCI_DIGEST_MAX], id[OCI_DIGEST_MAX];

	*place = found;
	if (length == 0 || length > 64 || strspn(hex, "0123456789abcdef") != length)
		return 0;
	for (size_t i = 0; i < index->manifests_count; i++) {
		if (seen_before(index, i) || store_manifest_id(store, index->manifests[i].digest, id) < 0 ||
		    strncmp(id + strlen("sha256:"), hex, length) != 0)
			continue;
		/* Two manifests of one image, with its layers packed in two ways: either will do. */
		if (found < index->manifests_count && strcmp(id, found_id) == 0)
			continue;
		if (found < index->manifests_count)
			return error_set(err, EEXIST, "image id \"%s\" is ambiguous; give more of it", what);
		memcpy(found_id, id, strlen(id) + 1);
		found = i;
	}
	*place = found;
	return 0;
}

int image_open(struct image_store *store, const char *what, struct image *image, struct error *err)
{
	struct oci_index index;
	size_t place;
	int ret = store_index_read(store, &index, err);

	if (ret < 0)
		return ret;
	place = find_name(&index, what);
	if (place == index.manifests_count)
		ret = find_id(store, &index, what, &place, err);
	if (ret == 0)
		ret = place < index.manifests_count
			      ? open_manifest(store, &index, index.manifests[place].digest, image, err)
			      : no_such_image(what, err);
	oci_index_free(&index);
	return ret;
}

int image_open_leased(struct image_store *store, const char *id, const char *what, struct image *image,
		      struct error *err)
{
	char manifest[OCI_DIGEST_MAX];
	struct oci_index index;
	int ret;

	store_lease_read(store, id, manifest);
	if (!*manifest)
		return image_open(store, what, image, err);
	ret = store_index_read(store, &index, err);
	if (ret < 0)
		return ret;
	ret = open_manifest(store, &index, manifest, image, err);
	oci_index_free(&index);
	return ret;
}

/* Seconds east of Greenwich at the end of an RFC 3339 time; -1 if it is not one. */
static long zone_offset(const char *zone)
{
	int hours, minutes;

	if (*zone == '.')
		zone += 1 + strspn(zone + 1, "0123456789");
	if (strcmp(zone, "Z") == 0)
		return 0;
	if ((*zone != '+' && *zone != '-') || sscanf(zone + 1, "%2d:%2d", &hours, &minutes) != 2)
		return -1;
	return (*zone == '-' ? -60L : 60L) * (hours * 60L + minutes);
}

time_t image_created(const struct image *image)
{
	struct tm time = { .tm_isdst = 0 };
	const char *zone;
	long offset;

	if (!image->config.created)
		return 0;
	zone = strptime(image->config.created, "%Y-%m-%dT%H:%M:%S", &time);
	if (!zone)
		return 0;
	offset = zone_offset(zone);
	return offset == -1 ? 0 : timegm(&time) - offset;
}

static int newest_first(const void *left, const void *right)
{
	const time_t a = image_created(left), b = image_created(right);

	if (a != b)
		return a < b ? 1 : -1;
	return strcmp(((const struct image *)left)->id, ((const struct image *)right)->id);
}

int image_list(struct image_store *store, struct image **images, size_t *count, struct error *err)
{
	struct oci_index index;
	int ret = store_index_read(store, &index, err);

	*images = NULL;
	*count = 0;
	if (ret < 0)
		return ret;
	*images = calloc(index.manifests_count + 1, sizeof(**images));
	if (!*images) {
		oci_index_free(&index);
		return no_memory(err);
	}
	/* One damaged image must not hide the others; using it by name tells what is wrong. */
	for (size_t i = 0; ret == 0 && i < index.manifests_count; i++)
		if (!seen_before(&index, i) &&
		    open_manifest(store, &index, index.manifests[i].digest, &(*images)[*count], NULL) == 0)
			(*count)++;
	oci_index_free(&index);
	if (ret == 0)
		qsort(*images, *count, sizeof(**images), newest_first);
	return ret;
}

void image_list_free(struct image *images, size_t count)
{
	while (count > 0)
		image_close(&images[--count]);
	free(images);
}

struct tag_edit {
	const struct image_store *store;
	struct oci_descriptor manifest;
	const char *full;
};

static int edit_tag(struct oci_index *index, void *context, struct error *err)
{
	const struct tag_edit *edit = context;

	int ret = store_index_name(index, &edit->manifest, edit->full, err);

	return ret < 0 ? ret : ret | store_index_merge(edit->store, index, edit->manifest.digest);
}

int image_tag(struct image_store *store, const char *what, const char *name, struct error *err)
{
	cleanup_close int content = store_lock(store, STORE_CONTENT, LOCK_SH, err), blob = -1;
	struct image_reference reference;
	struct tag_edit edit = { .store = store, .manifest = { .media_type = OCI_MEDIA_MANIFEST } };
	struct image image = { .names_count = 0 };
	char full[FULL_MAX];
	int ret;

	if (content < 0)
		return content;
	ret = image_reference_parse(name, &reference, err);
	if (ret < 0)
		return ret;
	if (*reference.digest)
		return error_set(err, EINVAL, "refusing to create a tag with a digest reference");
	image_reference_full(&reference, full);
	ret = image_open(store, what, &image, err);
	if (ret < 0)
		return ret;
	edit.full = full;
	edit.manifest.digest = image.digest;
	if (image.manifest.media_type)
		edit.manifest.media_type = image.manifest.media_type;
	edit.manifest.platform = image.config.platform;
	blob = store_blob_open(store, image.digest, &edit.manifest.size, err);
	ret = blob < 0 ? blob : store_index_update(store, edit_tag, &edit, err);
	image_close(&image);
	return ret;
}

static int check_lease_id(const char *id, struct error *err)
{
	if (!*id || *id == '.' || strchr(id, '/') || strlen(id) > 200)
		return error_set(err, EINVAL, "\"%.64s\" is not an instance id", id);
	return 0;
}

/* Appears in one step and has no name before that: a kill leaves no half of it behind. */
static int write_lease(int leases, const char *id, const char *digest, struct error *err)
{
	cleanup_close int fd = openat(leases, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0644);
	char path[32];
	int ret;

	if (fd < 0) /* a file system that has no files without a name */
		return file_replace(leases, id, digest, strlen(digest), 0644, err);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = file_write_all(fd, digest, strlen(digest));
	if (ret == 0 && linkat(AT_FDCWD, path, leases, id, AT_SYMLINK_FOLLOW) < 0)
		ret = -errno;
	return ret < 0 ? error_errno(err, -ret, "cannot write the lease of instance %s", id) : 0;
}

int image_lease(struct image_store *store, const struct image *image, const char *id, struct error *err)
{
	cleanup_close int content = -1, leases = -1, blob = -1;
	int ret = check_lease_id(id, err);

	if (ret < 0)
		return ret;
	/* With the lock, nothing of the image can go between the look and the lease. */
	content = store_lock(store, STORE_CONTENT, LOCK_SH, err);
	if (content < 0)
		return content;
	blob = store_blob_open(store, image->digest, NULL, NULL);
	if (blob < 0)
		return no_such_image(image->names_count ? image_reference_familiar(image->names[0]) : image->id, err);
	leases = openat(store->fd, "leases", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (leases < 0)
		return error_errno(err, errno, "cannot open %s/leases", store->root);
	return write_lease(leases, id, image->digest, err);
}

int image_lease_drop(struct image_store *store, const char *id, struct error *err)
{
	cleanup_close int leases = -1;
	int ret = check_lease_id(id, err);

	if (ret < 0)
		return ret;
	leases = openat(store->fd, "leases", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (leases < 0 || (unlinkat(leases, id, 0) < 0 && errno != ENOENT))
		return error_errno(err, errno, "cannot remove %s/leases/%s", store->root, id);
	return 0;
}
