/* SPDX-License-Identifier: Apache-2.0 */
/* Removing images, and content that nothing needs any more. */
#include <errno.h>
#include <fcntl.h>
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

enum { DEPTH_MAX = 4 };

/* Paths below the store ("blobs/sha256/...", "snapshots/...") that something stands on. */
struct marks {
	size_t count, room;
	char **paths;
};

static int mark(struct marks *marks, const char *path, struct error *err)
{
	if (marks->count == marks->room) {
		size_t room = marks->room ? marks->room * 2 : 64;
		char **grown = reallocarray(marks->paths, room, sizeof(*grown));

		if (!grown)
			return error_errno(err, ENOMEM, "cannot remove content");
		marks->paths = grown;
		marks->room = room;
	}
	marks->paths[marks->count] = strdup(path);
	if (!marks->paths[marks->count])
		return error_errno(err, ENOMEM, "cannot remove content");
	marks->count++;
	return 0;
}

static int mark_blob(struct marks *marks, const char *digest, struct error *err)
{
	char path[STORE_PATH_MAX];

	store_blob_path(digest, path);
	return mark(marks, path, err);
}

static int mark_snapshots(struct marks *marks, const struct oci_image_config *config, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < config->diff_ids.count; i++) {
		char chain_id[OCI_DIGEST_MAX], path[STORE_PATH_MAX];

		image_chain_id(&config->diff_ids, i, chain_id);
		store_snapshot_path(chain_id, path);
		ret = mark(marks, path, err);
		if (ret == 0 && i + 1 == config->diff_ids.count) {
			store_disk_path(chain_id, path);
			ret = mark(marks, path, err);
		}
	}
	return ret;
}

static int mark_config(const struct image_store *store, struct marks *marks, const char *digest, struct error *err)
{
	cleanup_free char *text = NULL;
	struct oci_image_config config;
	size_t size;
	int ret = store_blob_read(store, digest, &text, &size, err);

	/* Somebody else's artifact in our layout has no snapshots. */
	if (ret < 0 || oci_image_config_parse(text, size, &config, NULL) < 0)
		return ret;
	ret = mark_snapshots(marks, &config, err);
	oci_image_config_free(&config);
	return ret;
}

static int mark_document(const struct image_store *store, struct marks *marks, const char *digest, int depth,
			 struct error *err);

static int mark_index(const struct image_store *store, struct marks *marks, const char *text, size_t size, int depth,
		      struct error *err)
{
	struct oci_index index;
	int ret = oci_index_parse(text, size, &index, err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; ret == 0 && i < index.manifests_count; i++)
		ret = mark_document(store, marks, index.manifests[i].digest, depth + 1, err);
	oci_index_free(&index);
	return ret;
}

static int mark_manifest(const struct image_store *store, struct marks *marks, const char *text, size_t size,
			 struct error *err)
{
	struct oci_manifest manifest;
	int ret = oci_manifest_parse(text, size, &manifest, err);

	if (ret < 0)
		return ret;
	ret = mark_blob(marks, manifest.config.digest, err);
	for (size_t i = 0; ret == 0 && i < manifest.layers_count; i++)
		ret = mark_blob(marks, manifest.layers[i].digest, err);
	if (ret == 0)
		ret = mark_config(store, marks, manifest.config.digest, err);
	oci_manifest_free(&manifest);
	return ret;
}

static int mark_document(const struct image_store *store, struct marks *marks, const char *digest, int depth,
			 struct error *err)
{
	cleanup_free char *text = NULL;
	enum oci_document kind = OCI_DOCUMENT_MANIFEST;
	size_t size;
	int ret = store_blob_read(store, digest, &text, &size, err);

	/* Another tool's index may name platforms that it did not copy. */
	if (ret == -ENOENT)
		return 0;
	if (ret == 0)
		ret = mark_blob(marks, digest, err);
	if (ret == 0)
		ret = oci_document_kind(text, size, &kind, err);
	if (ret < 0)
		return ret;
	if (kind == OCI_DOCUMENT_MANIFEST)
		return mark_manifest(store, marks, text, size, err);
	if (depth > DEPTH_MAX)
		return error_set(err, EINVAL, "index %s: nested too deep", digest);
	return mark_index(store, marks, text, size, depth, err);
}

static int mark_roots(const struct image_store *store, struct marks *marks, struct error *err)
{
	struct oci_index index;
	char **ids = NULL, digest[OCI_DIGEST_MAX];
	size_t count = 0;
	int ret = store_index_read(store, &index, err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; ret == 0 && i < index.manifests_count; i++)
		ret = mark_document(store, marks, index.manifests[i].digest, 0, err);
	oci_index_free(&index);
	if (ret == 0)
		ret = store_names(store, "leases", &ids, &count, err);
	if (ret < 0)
		return ret;
	for (size_t i = 0; ret == 0 && i < count; i++) {
		store_lease_read(store, ids[i], digest);
		if (*digest)
			ret = mark_document(store, marks, digest, 0, err);
	}
	store_names_free(ids, count);
	return ret;
}

static int compare_paths(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static uint64_t content_size(const struct image_store *store, const char *path, const char *name)
{
	struct layer_result meta;
	char chain_id[OCI_DIGEST_MAX];
	struct stat st;

	/* Sparse; where an instance has a link to it, nothing is given back. */
	if (str_starts(path, "disks/"))
		return fstatat(store->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 1
			       ? (uint64_t)st.st_blocks * 512
			       : 0;
	if (!str_starts(path, "snapshots/"))
		return fstatat(store->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
	if (strlen(name) + 8 > sizeof(chain_id))
		return 0;
	memcpy(chain_id, "sha256:", 7);
	memcpy(chain_id + 7, name, strlen(name) + 1);
	return snapshot_meta_read(store, chain_id, &meta, NULL) == 0 ? meta.size : 0;
}

/* Removes what is in directory and not marked.  A snapshot leaves its name in one step: half a one must not be found.
 */
static int sweep(const struct image_store *store, const struct marks *marks, const char *directory, size_t number,
		 struct store_tmp *tmp, uint64_t *reclaimed, struct error *err)
{
	char **names;
	size_t count;
	int ret = store_names(store, directory, &names, &count, err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; ret == 0 && i < count; i++) {
		cleanup_free char *path = path_join(directory, names[i]);
		char grave[STORE_PATH_MAX];
		uint64_t size;

		if (!path) {
			ret = error_errno(err, ENOMEM, "cannot remove content");
			break;
		}
		if (marks->count > 0 &&
		    bsearch(&path, marks->paths, marks->count, sizeof(*marks->paths), compare_paths))
			continue;
		size = content_size(store, path, names[i]);
		/* A layer's blob and its snapshot may have the same name. */
		(void)snprintf(grave, sizeof(grave), "%zu-%s", number, names[i]);
		if (renameat(store->fd, path, tmp->fd, grave) < 0)
			ret = error_errno(err, errno, "cannot remove %s/%s", store->root, path);
		else
			*reclaimed += size;
	}
	store_names_free(names, count);
	return ret;
}

/* Everything that neither the index nor a lease leads to.  The caller holds the content lock exclusively. */
static int collect_garbage(const struct image_store *store, uint64_t *reclaimed, struct error *err)
{
	static const char *const directories[] = { "blobs/sha256", "blobs/sha512", "snapshots", "disks" };
	struct marks marks = { .count = 0 };
	struct store_tmp tmp = STORE_TMP_INIT;
	int ret = store_tmp_make(store, &tmp, err);

	if (ret == 0)
		ret = mark_roots(store, &marks, err);
	if (ret == 0 && marks.count > 0)
		qsort(marks.paths, marks.count, sizeof(*marks.paths), compare_paths);
	for (size_t i = 0; ret == 0 && i < sizeof(directories) / sizeof(*directories); i++)
		ret = sweep(store, &marks, directories[i], i, &tmp, reclaimed, err);
	store_tmp_remove(store, &tmp);
	store_names_free(marks.paths, marks.count);
	return ret < 0 ? error_wrap(err, "cannot remove unused content") : 0;
}

/* An instance that stands on the image, by whichever of its manifests; fresh memory, or NULL. */
static char *lease_holder(const struct image_store *store, const char *image_id)
{
	char **ids, digest[OCI_DIGEST_MAX], id[OCI_DIGEST_MAX], *holder = NULL;
	size_t count;

	if (store_names(store, "leases", &ids, &count, NULL) < 0)
		return NULL;
	for (size_t i = 0; !holder && i < count; i++) {
		store_lease_read(store, ids[i], digest);
		if (*digest && store_manifest_id(store, digest, id) == 0 && strcmp(id, image_id) == 0)
			holder = strdup(ids[i]);
	}
	store_names_free(ids, count);
	return holder;
}

/* What an edit takes out of the index. */
struct removal {
	const char *digest; /* of the manifest; NULL: any, for a name */
	const char *full;   /* only this name; NULL: all of them */
	struct str *lines;
};

static int edit_remove(struct oci_index *index, void *context, struct error *err)
{
	struct removal *removal = context;
	size_t kept = 0;
	int changed = 0;

	(void)err;
	for (size_t i = 0; i < index->manifests_count; i++) {
		const char *name = store_descriptor_name(&index->manifests[i]);

		if ((!removal->digest || strcmp(index->manifests[i].digest, removal->digest) == 0) &&
		    (!removal->full || (name && strcmp(name, removal->full) == 0))) {
			if (name)
				str_printf(removal->lines, "Untagged: %s\n", image_reference_familiar(name));
			changed = 1;
			continue;
		}
		index->manifests[kept++] = index->manifests[i];
	}
	index->manifests_count = kept;
	return changed;
}

/* How many names the image has, by whichever of its manifests. */
static size_t count_names(const struct image *images, size_t count, const char *id)
{
	size_t names = 0;

	for (size_t i = 0; i < count; i++)
		names += strcmp(images[i].id, id) == 0 ? images[i].names_count : 0;
	return names;
}

static int check_conflicts(const struct image_store *store, const struct image *image, const char *what, size_t names,
			   bool by_id, struct error *err)
{
	cleanup_free char *holder = NULL;

	if (!by_id && names > 1)
		return 0;
	if (names > 1)
		return error_set(err, EBUSY,
				 "conflict: unable to delete %.64s (must be forced) - image is referenced in multiple "
				 "repositories; remove their names, or say -f",
				 what);
	holder = lease_holder(store, image->id);
	if (holder)
		return error_set(err, EBUSY,
				 "conflict: unable to remove \"%.64s\" (must be forced) - instance %.12s is using it; "
				 "remove that first, or say -f",
				 what, holder);
	return 0;
}

/* An image that cannot be read can still lose its name: this way it is got rid of. */
static int remove_damaged(struct image_store *store, const char *what, struct image_report *report)
{
	struct removal removal = { .lines = &report->lines };
	struct image_reference reference;
	char full[REFERENCE_MAX + 130];
	size_t before = report->lines.length;

	if (image_reference_parse(what, &reference, NULL) < 0)
		return -ENOENT;
	image_reference_full(&reference, full);
	removal.full = full;
	if (store_index_update(store, edit_remove, &removal, NULL) < 0 || report->lines.length == before)
		return -ENOENT;
	return 0;
}

/* Takes the name, or all that there is of the image, out of the index; *last: nothing of it is left there. */
static int unname(struct image_store *store, const struct image *image, const char *what, unsigned flags,
		  struct image_report *report, bool *last, struct error *err)
{
	const char *full = image_name_meant(image, what);
	struct removal removal = { .full = full, .lines = &report->lines };
	struct image *images;
	size_t count, names;
	int ret = image_list(store, &images, &count, err);

	if (ret < 0)
		return ret;
	names = count_names(images, count, image->id);
	*last = !full || names <= 1;
	if (!(flags & IMAGE_REMOVE_FORCE))
		ret = check_conflicts(store, image, what, names, !full, err);
	if (*last)
		removal.full = NULL;
	for (size_t i = 0; ret == 0 && i < count; i++) {
		if (strcmp(images[i].id, image->id) != 0)
			continue;
		removal.digest = images[i].digest;
		ret = store_index_update(store, edit_remove, &removal, err);
	}
	image_list_free(images, count);
	return ret;
}

int image_remove(struct image_store *store, const char *what, unsigned flags, struct image_report *report,
		 struct error *err)
{
	/* While somebody adds, what is no longer needed is left to the next removal. */
	cleanup_close int content = store_lock(store, STORE_CONTENT, LOCK_EX | LOCK_NB, NULL);
	struct image image;
	bool last = false;
	int ret = image_open(store, what, &image, err);

	if (ret < 0)
		return remove_damaged(store, what, report) == 0 ? 0 : ret;
	ret = unname(store, &image, what, flags, report, &last, err);
	if (ret == 0 && last) {
		cleanup_free char *holder = lease_holder(store, image.id);

		if (!holder)
			str_printf(&report->lines, "Deleted: %s\n", image.id);
		if (content >= 0)
			ret = collect_garbage(store, &report->reclaimed, err);
	}
	image_close(&image);
	return ret;
}

static int prune_one(struct image_store *store, const struct image *image, unsigned flags, struct image_report *report,
		     struct error *err)
{
	struct removal removal = { .digest = image->digest, .lines = &report->lines };
	cleanup_free char *holder = NULL;
	int ret;

	if (image->names_count > 0 && !(flags & IMAGE_PRUNE_ALL))
		return 0;
	holder = lease_holder(store, image->id);
	if (holder)
		return 0;
	ret = store_index_update(store, edit_remove, &removal, err);
	if (ret == 0)
		str_printf(&report->lines, "Deleted: %s\n", image->id);
	return ret;
}

int image_prune(struct image_store *store, unsigned flags, struct image_report *report, struct error *err)
{
	cleanup_close int content = store_lock(store, STORE_CONTENT, LOCK_EX, err);
	struct image *images;
	size_t count;
	int ret;

	if (content < 0)
		return content;
	ret = image_list(store, &images, &count, err);
	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = prune_one(store, &images[i], flags, report, err);
	image_list_free(images, count);
	return ret == 0 ? collect_garbage(store, &report->reclaimed, err) : ret;
}
