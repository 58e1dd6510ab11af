/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflate - a stream as it was before it was compressed, within bounds.
 *
 * gzip, zstd, xz, bzip2 or nothing, told by content; read by libarchive(3)
 * inside this process (its filters that start other programs are not enabled).
 * One compression only: a bomb packed several times does not open.
 */
#ifndef CAISSON_IMAGE_INFLATE_H
#define CAISSON_IMAGE_INFLATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "image/digest.h"
#include "image/store.h"

enum inflate_kind { INFLATE_NONE, INFLATE_GZIP, INFLATE_ZSTD, INFLATE_OTHER };

struct inflate {
	int fd; /* not owned; read from its current offset on */
	enum inflate_kind kind;
	bool ended;
	uint64_t in, out; /* bytes so far: read, given back */
	uint64_t total;	  /* bytes that there are to read; 0: not known */
	uint64_t reported;
	struct digest digest; /* of what was given back */
	struct image_limits limits;
	struct image_progress progress;
	const char *action, *what; /* for the progress report; not owned */
	struct archive *archive;
	struct error failure;	  /* of reading fd, which libarchive cannot carry */
	struct error tar_failure; /* of inflating, for the tar reader on top */
	unsigned char *buffer;
};

/* Fills in what is 0. */
void image_limits_default(struct image_limits *limits);

/* Starts at fd's current offset.  Free with inflate_close() even after failure. */
int inflate_open(struct inflate *inflate, int fd, const struct image_store *store, const char *action, const char *what,
		 struct error *err);

/* The next piece, valid until the next call: its length, 0 at the end, -errno (-EFBIG: a limit, -EINVAL: broken). */
ssize_t inflate_read(struct inflate *inflate, const void **bytes, struct error *err);

/*
 * A tar reader (to be freed by the caller, before inflate_close()) on what inflate gives.  Names are bytes only while
 * the thread's LC_CTYPE is "C".
 */
int inflate_tar(struct inflate *inflate, struct archive **tar, struct error *err);
/* Why an archive_read_ function failed on it; returns -errno. */
int inflate_tar_error(struct inflate *inflate, struct archive *tar, struct error *err);
/* Reads what is left after the end mark: it belongs to the digest too. */
int inflate_drain(struct inflate *inflate, struct error *err);

void inflate_close(struct inflate *inflate);

#endif
