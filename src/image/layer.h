/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer - a layer's tar archive, unpacked into a directory for overlayfs.
 *
 * Follows the OCI image specification's layer.md.  The archive is hostile:
 * libarchive(3) reads it, but every name is resolved beneath the directory by
 * openat2(2) and every attribute is set through a descriptor or without
 * following links, so that nothing outside can be read, made or changed
 * (CVE-2021-29136, CVE-2021-32760, and plain "../").  Whiteouts become 0:0
 * character devices and opaque attributes; attributes that would speak to
 * overlayfs itself are never taken from an archive.
 *
 * Works on any directory; knows no store but its limits.  What is left after
 * an error is the caller's to remove.
 */
#ifndef CAISSON_IMAGE_LAYER_H
#define CAISSON_IMAGE_LAYER_H

#include "image/inflate.h"
#include "image/store.h"

struct layer_source {
	int fd;		     /* the archive, compressed or not; not owned */
	const char *what;    /* for progress and errors: a short digest, a file's name */
	const char *diff_id; /* what it must unpack to; NULL: any */
	const int
		*lower; /* layers below, topmost first: give parents that the archive does not name their attributes */
	size_t lower_count;
};

struct layer_result {
	char diff_id[OCI_DIGEST_MAX];
	enum inflate_kind kind;
	uint64_t tar_size;   /* bytes of the archive, unpacked */
	uint64_t size;	     /* bytes of regular files */
	uint64_t entries;    /* in the archive */
	uint64_t devices;    /* device nodes that could not be made */
	uint64_t owners;     /* entries that could not be given to their owner */
	uint64_t attributes; /* extended attributes that were not taken over */
	bool opaque_root;    /* hides all layers below: overlayfs cannot be told by an attribute */
};

/* Unpacks into the empty directory root_fd.  -EINVAL for what is broken or malicious, -EFBIG for a limit, or what the
 * file system says. */
int layer_extract(const struct image_store *store, int root_fd, const struct layer_source *source,
		  struct layer_result *result, struct error *err);

#endif
