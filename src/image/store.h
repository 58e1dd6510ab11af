/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - images on this machine, as an OCI image layout.
 *
 *     oci-layout, index.json   the layout; the full name of an image is the
 *                              annotation org.opencontainers.image.ref.name
 *     blobs/sha256/HEX         manifests, configs, layers as they came
 *     snapshots/CHAIN/fs       layers unpacked, shared by all instances: never written again
 *     snapshots/CHAIN/meta     what unpacking found (sizes, what was skipped)
 *     snapshots/.base          below every image: empty mount points (/proc, /etc/hosts, ...)
 *     disks/CHAIN              layers as a disk, for machines (disk.h)
 *     instances/ID             the engine's; this room never looks inside
 *     leases/ID                which image the instance ID stands on
 *     tmp/                     unfinished work; each directory is flocked by its owner
 *     lock                     exclusive while index.json, leases or tmp/ change (short)
 *     content                  shared while content is being added, exclusive while it is removed
 *
 * Everything is made under tmp/ and renamed when it is whole: a process may
 * die at any instruction.  What it leaves in tmp/ has no owner any more, and
 * the next operation that writes removes it.  Names appear in index.json (also
 * replaced by rename) only after all that they stand on.
 *
 * This header is what commands need: open, limits, progress.
 */
#ifndef CAISSON_IMAGE_STORE_H
#define CAISSON_IMAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* What a hostile archive may cost.  Every field 0: its default. */
struct image_limits {
	uint64_t unpacked_bytes; /* of one layer or archive, sparse files at full length; 64 GiB */
	uint64_t ratio;		 /* unpacked : packed, counted beyond the first ratio_from bytes; 1000 */
	uint64_t ratio_from;	 /* 1 GiB */
	uint64_t entries;	 /* of one layer or archive; 4 million */
	uint64_t depth;		 /* components of a path; 512 */
};

/* Called now and then during long work, from the same thread. */
struct image_progress {
	/*
	 * action: "Loading", "Importing", "Extracting", "Saving"; what: a short digest or a name; done and total in
	 * bytes, total 0 when it is not known; done == total ends it.  Non-zero aborts the work with -ECANCELED.
	 */
	int (*report)(void *context, const char *action, const char *what, uint64_t done, uint64_t total);
	void *context;
};

struct image_store {
	char *root;    /* absolute; owned */
	int fd;	       /* the same, a directory; owned */
	bool rootless; /* not the host's root: user.overlay.* attributes, no device nodes, owners as far as possible */
	bool durable;  /* sync content before it is named; true */
	struct image_limits limits;
	struct image_progress progress;
};

/* In the environment of a user who has become root of a user namespace (engine/rootless.h): still not the host's root,
 * and the store is where it was. */
#define IMAGE_STORE_ROOTLESS "_CAISSON_ROOTLESS"

/*
 * Opens the store at root, and makes it if nothing is there.  NULL: /var/lib/caisson, or $XDG_DATA_HOME/caisson
 * (~/.local/share/caisson) for a user who is not root.  A directory that holds something else is refused.
 */
int image_store_open(struct image_store *store, const char *root, struct error *err);
void image_store_close(struct image_store *store);

#endif
