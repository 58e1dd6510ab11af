/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image - what `caisson image ...` and `caisson run` do with images.
 *
 * Looks names up, brings images in (rootfs tarballs, OCI layouts, docker
 * archives) and out, and removes them.  Everything that comes from outside is
 * verified while it streams: digests, sizes, diff ids.  The root file system of
 * an image is snapshot.h's; its users are user.h's.
 *
 * An image's id is the digest of its config, as in docker.  Knows no instance
 * but by its lease.
 */
#ifndef CAISSON_IMAGE_IMAGE_H
#define CAISSON_IMAGE_IMAGE_H

#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "base/str.h"
#include "image/reference.h"
#include "image/store.h"
#include "spec/image.h"

struct image {
	char id[OCI_DIGEST_MAX];     /* digest of the config */
	char digest[OCI_DIGEST_MAX]; /* digest of the manifest */
	size_t names_count;
	char **names; /* full names, sorted; none for a dangling image */
	struct oci_manifest manifest;
	struct oci_image_config config;
	char **chain_ids; /* one per layer, bottom first (config.diff_ids.count of them) */
	uint64_t size;	  /* bytes of all layers, unpacked */
};

/*
 * Finds an image by what a user typed: a name (familiar or full), name@digest, or an id (whole, or a prefix of its hex
 * digits that is unique).  -ENOENT "No such image: X", -EEXIST when a prefix is ambiguous.  The caller closes it.
 */
int image_open(struct image_store *store, const char *what, struct image *image, struct error *err);
/* The image that the lease of instance id keeps, whatever has become of its names; without a lease like what. */
int image_open_leased(struct image_store *store, const char *id, const char *what, struct image *image,
		      struct error *err);
void image_close(struct image *image);

/* Which of the image's names the user meant by that; NULL: its id, or a digest. */
const char *image_name_meant(const struct image *image, const char *what);

/* All images, each once, newest first.  The caller frees with image_list_free(). */
int image_list(struct image_store *store, struct image **images, size_t *count, struct error *err);
void image_list_free(struct image *images, size_t count);

/* Created as seconds since the epoch; 0 if the config does not say or says nonsense. */
time_t image_created(const struct image *image);

/* What happened, line by line, as docker prints it: "Loaded image: X", "Untagged: X", "Deleted: sha256:...". */
struct image_report {
	struct str lines;
	uint64_t reclaimed; /* bytes given back by remove and prune */
};
#define IMAGE_REPORT_INIT ((struct image_report){ .lines = STR_INIT })
void image_report_free(struct image_report *report);

struct image_import_options {
	const char *name;	    /* NAME[:TAG], or NULL for a dangling image */
	const char *const *changes; /* Dockerfile instructions as in docker import --change; NULL-terminated, or NULL */
	const char *message;	    /* comment of the history entry, or NULL */
	const char *architecture;   /* NULL: the host's */
	int64_t created;	    /* seconds since the epoch; < 0: now */
};
#define IMAGE_IMPORT_OPTIONS_INIT ((struct image_import_options){ .created = -1 })

/* Makes an image of one layer from a root file system's tarball (plain, gzip, zstd, xz, bzip2) read from fd, which may
 * be a pipe.  id, if not NULL, gets its id. */
int image_import(struct image_store *store, int fd, const struct image_import_options *options, char id[OCI_DIGEST_MAX],
		 struct error *err);

struct image_load_options {
	const char *name;     /* for an archive of one image: name it so instead; or NULL */
	const char *platform; /* "os/arch[/variant]" to choose from an index; NULL: linux and the host's */
};

/*
 * Loads what fd is: a directory (OCI layout) or a stream (OCI layout or docker archive as tar, plain or compressed),
 * told apart by content.  Layers are unpacked at once.  Only when all is verified do names appear.
 */
int image_load(struct image_store *store, int fd, const struct image_load_options *options, struct image_report *report,
	       struct error *err);

enum image_format { IMAGE_FORMAT_DOCKER_ARCHIVE, IMAGE_FORMAT_OCI_ARCHIVE };

/* "docker-archive", "oci-archive"; -EINVAL names the known ones. */
int image_format_parse(const char *text, enum image_format *format, struct error *err);

/* Writes images as one tar to fd (a pipe is fine).  The same images give the same bytes. */
int image_save(struct image_store *store, const char *const *whats, size_t count, enum image_format format, int fd,
	       struct error *err);

/* Gives the image one more name (taken from another image if need be). */
int image_tag(struct image_store *store, const char *what, const char *name, struct error *err);

enum {
	IMAGE_REMOVE_FORCE = 1 << 0, /* several names, or instances standing on it: the names go all the same */
};

/*
 * Removes a name; with the last one, or by id, the image and what only it needs.  -EBUSY when an instance stands on it
 * or an id has several names, and no force was given.  Content that an instance stands on stays until its lease is
 * dropped.
 */
int image_remove(struct image_store *store, const char *what, unsigned flags, struct image_report *report,
		 struct error *err);

enum {
	IMAGE_PRUNE_ALL = 1 << 0, /* every image without an instance; else only those without a name */
};

/* Removes images that nothing uses, and content that no image has. */
int image_prune(struct image_store *store, unsigned flags, struct image_report *report, struct error *err);

/* docker's inspect object, indented by four, no newline at its end; fresh memory owned by the caller. */
int image_inspect(struct image_store *store, const struct image *image, char **json, struct error *err);

struct image_history_row {
	const char *id;				    /* the image's id in the newest row, else "<missing>" */
	const char *created, *created_by, *comment; /* "" if the config does not say */
	uint64_t size;				    /* of the layer, unpacked */
};
/* Newest first; strings belong to the image.  The caller frees *rows. */
int image_history(struct image_store *store, const struct image *image, struct image_history_row **rows, size_t *count,
		  struct error *err);

/* Keeps the image's content for the instance id (a plain file name), whatever happens to its names; replaces an older
 * lease of that instance.  Take it before the snapshot is mounted. */
int image_lease(struct image_store *store, const struct image *image, const char *id, struct error *err);
/* A missing lease is fine. */
int image_lease_drop(struct image_store *store, const char *id, struct error *err);

#endif
