/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake - content on its way into the store.
 *
 * Blobs and unpacked layers are gathered in one temporary directory, checked
 * there against each other, and moved into the store by intake_admit() only when
 * the whole image is right.  intake_end() removes what was not admitted.
 *
 * Private to src/image.
 */
#ifndef CAISSON_IMAGE_INTAKE_H
#define CAISSON_IMAGE_INTAKE_H

#include "image/content.h"
#include "image/layer.h"

/* A file in the temporary directory; its name there is its index. */
struct intake_file {
	char *path; /* where it was in the archive, "" if nowhere; owned */
	char digest[OCI_DIGEST_MAX];
	uint64_t size;
	bool wanted; /* part of an image: becomes a blob */
};

struct intake {
	struct image_store *store;
	struct store_tmp tmp;
	int lock; /* on the content, shared */
	size_t count, room;
	struct intake_file *files;
	char **snapshots; /* chain ids of layers that were unpacked; owned.  Directory sN holds snapshots[N] */
	size_t snapshots_count;
	uint64_t bytes; /* of all files */
};

int intake_begin(struct intake *intake, struct image_store *store, struct error *err);
void intake_end(struct intake *intake);

/* Where the bytes of a new file come from: like read(2), but *bytes points to them; 0 at the end. */
typedef ssize_t intake_source(void *context, const void **bytes, struct error *err);

/*
 * Stores what source gives as a file, and computes its digest (of the algorithm of like, SHA-256 if NULL).  path is
 * copied; NULL for none.  Returns its index or -errno.
 */
int intake_stream(struct intake *intake, const char *path, const char *like, intake_source *source, void *context,
		  struct error *err);
/* The same from memory, wanted at once. */
int intake_bytes(struct intake *intake, const void *bytes, size_t size, struct error *err);
/* The same from a descriptor that is read to its end; more than max bytes are -EINVAL. */
int intake_fd(struct intake *intake, int fd, const char *like, uint64_t max, struct error *err);

/* The file with this digest, or -1. */
int intake_find(const struct intake *intake, const char *digest);
/* The file that was at path, or -1. */
int intake_find_path(const struct intake *intake, const char *path);
int intake_open(const struct intake *intake, int file, struct error *err);

/* A small document, from the files or else the store, checked against the descriptor's digest and size. */
int intake_document(const struct intake *intake, const struct oci_descriptor *descriptor, char **content, size_t *size,
		    struct error *err);

/* The chain id of layer (0: bottom) of diff_ids: its identity together with all that is below it. */
void image_chain_id(const struct oci_strings *diff_ids, size_t layer, char chain_id[static OCI_DIGEST_MAX]);

/*
 * Unpacks the layers that the store does not have unpacked, bottom to top, checking each against its diff id.
 * kinds, if not NULL, gets how each layer that came with this intake is compressed (one per layer).
 */
int intake_unpack(struct intake *intake, const struct oci_manifest *manifest, const struct oci_image_config *config,
		  enum inflate_kind *kinds, struct error *err);

/* Unpacks a bottom layer whose diff id nobody has said: result tells it. */
int intake_unpack_base(struct intake *intake, const struct oci_descriptor *layer, struct layer_result *result,
		       struct error *err);

/* How the OCI specification calls a layer that is compressed so. */
const char *image_layer_media_type(enum inflate_kind kind);

/* Moves wanted files and unpacked layers into the store.  Their names come after this, by store_index_update(). */
int intake_admit(struct intake *intake, struct error *err);

/* Reads the meta file of an unpacked layer. */
int snapshot_meta_read(const struct image_store *store, const char *chain_id, struct layer_result *meta,
		       struct error *err);

#endif
