/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk - an image's root file system as a disk, for instances with a kernel of
 * their own.
 *
 *     disks/CHAIN     ext4, named by the chain id of the topmost layer: images with the same layers share it
 *
 * Made once, when it is first asked for, and never written again: an instance
 * writes into an image of its own that stands on it.  Which bytes it has depends on
 * who made it when, so an instance holds on to the very file that it began with:
 * by a link of its own.  It goes with the layers (image_remove(), image_prune()).
 */
#ifndef CAISSON_IMAGE_DISK_H
#define CAISSON_IMAGE_DISK_H

#include "image/image.h"
#include "image/snapshot.h"

/* Bytes that the file system has room for.  The file is sparse: it takes what the layers have, and 20 MiB. */
#define IMAGE_DISK_SIZE (UINT64_C(10) << 30)

/*
 * Makes the disk if it is not there, and links it into directory dirfd as name, which must not exist.  Hold a lease
 * first.  -EEXIST; -ENOENT without mke2fs; -ENOSPC.
 */
int image_disk_link(struct image_store *store, const struct image *image, const struct image_layers *layers, int dirfd,
		    const char *name, struct error *err);

#endif
