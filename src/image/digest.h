/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest - content digests ("sha256:..."), computed while the content streams.
 *
 * FIPS 180-4 by libmd(7), and for SHA-256 by the processor's own instructions
 * where it has them (seven times as fast as libmd on x86).  See "Digests" in the
 * OCI image specification's descriptor.md.
 */
#ifndef CAISSON_IMAGE_DIGEST_H
#define CAISSON_IMAGE_DIGEST_H

#include <sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec/image.h"

struct digest {
	bool sha512, native; /* native: SHA-256 by processor instructions, in state and block */
	SHA2_CTX libmd;
	uint32_t state[8];
	uint64_t length;
	unsigned char block[64];
};

/* Starts a digest of the same algorithm as like (a valid digest), SHA-256 if like is NULL. */
void digest_begin(struct digest *digest, const char *like);
void digest_add(struct digest *digest, const void *bytes, size_t count);
/* The digest as text; the struct is used up. */
void digest_end(struct digest *digest, char text[static OCI_DIGEST_MAX]);

/* SHA-256 of bytes at once. */
void digest_of(const void *bytes, size_t count, char text[static OCI_DIGEST_MAX]);

#endif
