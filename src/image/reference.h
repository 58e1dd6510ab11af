/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference - names of images.
 *
 * Follows the grammar of https://github.com/distribution/reference: an
 * optional registry, a path, an optional :tag, an optional @digest.  Docker's
 * short forms mean what they mean there: "busybox" is
 * "docker.io/library/busybox:latest".  The store keeps the full form, people
 * see the familiar one.
 */
#ifndef CAISSON_IMAGE_REFERENCE_H
#define CAISSON_IMAGE_REFERENCE_H

#include "base/error.h"
#include "spec/image.h"

enum { REFERENCE_MAX = 512 };

struct image_reference {
	char name[REFERENCE_MAX];    /* "docker.io/library/busybox" */
	char tag[129];		     /* "latest"; "" if only a digest was given */
	char digest[OCI_DIGEST_MAX]; /* "" if none was given */
};

/* -EINVAL with docker's wording ("invalid reference format ...").  A missing tag becomes "latest" unless a digest is
 * there. */
int image_reference_parse(const char *text, struct image_reference *reference, struct error *err);

/* "docker.io/library/busybox:latest", as kept in the store; the digest is left out. */
void image_reference_full(const struct image_reference *reference, char text[static REFERENCE_MAX + 130]);

/* The familiar form of a full name: "docker.io/library/busybox:latest" -> "busybox:latest".  Points into full. */
const char *image_reference_familiar(const char *full);

#endif
