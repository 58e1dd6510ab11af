/* SPDX-License-Identifier: Apache-2.0 */
/*
 * content - the files of a store: locks, temporary directories, blobs, index.
 *
 * Private to src/image.  See store.h for what lies where, and for the two
 * locks.  An operation that adds: store_lock("content", LOCK_SH), store_tmp_make(),
 * work in it, rename into place, name it in the index.  One that removes:
 * store_lock("content", LOCK_EX).  The order of locks is content, then lock.
 */
#ifndef CAISSON_IMAGE_CONTENT_H
#define CAISSON_IMAGE_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/store.h"
#include "spec/image.h"

#define STORE_LOCK    "lock"
#define STORE_CONTENT "content"

/* Takes one of the two locks; operation as for flock(2).  Returns a descriptor that holds it, or -errno. */
int store_lock(const struct image_store *store, const char *name, int operation, struct error *err);

/* A directory for unfinished work; whoever holds the descriptor owns it. */
struct store_tmp {
	char name[48]; /* "tmp/..." */
	int fd;
};
#define STORE_TMP_INIT ((struct store_tmp){ .fd = -1 })

/* Makes one, and removes those whose owners are gone. */
int store_tmp_make(const struct image_store *store, struct store_tmp *tmp, struct error *err);
/* Removes it with all that is in it. */
void store_tmp_remove(const struct image_store *store, struct store_tmp *tmp);

/* "blobs/sha256/HEX" of a valid digest. */
enum { STORE_PATH_MAX = 160 };
void store_blob_path(const char *digest, char path[static STORE_PATH_MAX]);
/* "snapshots/HEX" of a chain id. */
void store_snapshot_path(const char *chain_id, char path[static STORE_PATH_MAX]);
/* "disks/HEX" of the same: see disk.h. */
void store_disk_path(const char *chain_id, char path[static STORE_PATH_MAX]);

/* Opens a blob for reading; -ENOENT.  size may be NULL. */
int store_blob_open(const struct image_store *store, const char *digest, uint64_t *size, struct error *err);

/* Reads a small blob and checks its digest; NUL-terminated, owned by the caller. */
int store_blob_read(const struct image_store *store, const char *digest, char **content, size_t *size,
		    struct error *err);

/* Reads index.json; the caller frees it. */
int store_index_read(const struct image_store *store, struct oci_index *index, struct error *err);

/*
 * Reads the index, lets edit change it (memory from index->arena), and replaces it, all under the lock.  Nothing is
 * written when edit fails, or returns 0 for "no change"; it returns 1 for "changed".
 */
typedef int store_index_edit(struct oci_index *index, void *context, struct error *err);
int store_index_update(const struct image_store *store, store_index_edit *edit, void *context, struct error *err);

/* The full name in a descriptor of the index, or NULL. */
const char *store_descriptor_name(const struct oci_descriptor *descriptor);

/*
 * For an edit: full names manifest from now on; what had the name before loses it and stays, nameless if that was its
 * last.  full NULL: makes sure that the manifest is there at all.  Returns like an edit.
 */
int store_index_name(struct oci_index *index, const struct oci_descriptor *manifest, const char *full,
		     struct error *err);

/* The id of the image (its config's digest) that a manifest describes; -ENOENT, -EINVAL. */
int store_manifest_id(const struct image_store *store, const char *manifest, char id[static OCI_DIGEST_MAX]);

/*
 * For an edit, after one that has named manifest: an image is what its config says, so a nameless entry with another
 * manifest of the same image (its layers packed in another way) is one too many.  Returns like an edit.
 */
int store_index_merge(const struct image_store *store, struct oci_index *index, const char *manifest);

/* The manifest that a lease keeps; "" when it is gone or not one. */
void store_lease_read(const struct image_store *store, const char *id, char manifest[static OCI_DIGEST_MAX]);

/* All file names in a directory of the store, "." names left out; the caller frees with store_names_free(). */
int store_names(const struct image_store *store, const char *path, char ***names, size_t *count, struct error *err);
void store_names_free(char **names, size_t count);

/* fsync(2) when the store is durable. */
int store_sync(const struct image_store *store, int fd, struct error *err);

#endif
