/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source - what `image load` reads from: a directory, or a tar stream.
 *
 * A stream can be read only once and may name things before or after it uses
 * them, so all its files go into the intake first, under numbers; nothing of an
 * archive becomes a path here.  From a directory only what is asked for is taken.
 *
 * Private to src/image.
 */
#ifndef CAISSON_IMAGE_SOURCE_H
#define CAISSON_IMAGE_SOURCE_H

#include "image/intake.h"

/* A link inside an archive: `docker save` once used them for layers that are there twice. */
struct source_link {
	char *path, *target; /* cleaned, relative to the archive's root; owned */
};

struct source {
	struct intake *intake;
	int dir; /* the layout's directory, not owned; -1 for a stream */
	struct source_link *links;
	size_t links_count;
};

/* Takes in what fd is.  Free with source_close() even after failure. */
int source_open(struct source *source, struct intake *intake, int fd, struct error *err);
void source_close(struct source *source);

/* Reads a small file by its path; -ENOENT when there is none. */
int source_read(struct source *source, const char *path, char **content, size_t *size, struct error *err);

/* The file at path, taken into the intake; its index or -ENOENT. */
int source_file(struct source *source, const char *path, struct error *err);

/* Makes sure that the blob is in the intake (and wanted there) or in the store, with the right digest and size. */
int source_blob(struct source *source, const struct oci_descriptor *blob, struct error *err);

#endif
