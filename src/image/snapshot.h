/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot - an image's root file system, ready to be mounted.
 *
 * The layers of an image are unpacked once, below snapshots/ in the store,
 * and shared.  An instance sees them through an overlay mount (linux/overlay.h)
 * whose upper and work directories are its own: made by the engine under
 * instances/ID/.  The mount comes back detached, so that the engine can put it
 * into the instance's mount namespace without it ever being seen in the host's.
 *
 * In a store that is rootless the caller must be root in a user namespace with
 * a mount namespace of its own.  In any, the store, the layers and the upper
 * directories must have been opened in the mount namespace in which
 * image_snapshot_mount() is called: the kernel refuses layers of another one.
 * Where its result is attached does not matter.
 */
#ifndef CAISSON_IMAGE_SNAPSHOT_H
#define CAISSON_IMAGE_SNAPSHOT_H

#include "image/image.h"
#include "linux/overlay.h"

struct image_layers {
	size_t count;
	int *fds; /* topmost first, and below the image's own one with the mount points of every instance; owned */
};

/* Unpacks what is not unpacked yet (after a crash, or a copied store) and opens the layers.  Hold a lease first. */
int image_layers_open(struct image_store *store, const struct image *image, struct image_layers *layers,
		      struct error *err);
void image_layers_close(struct image_layers *layers);

/* Gives a new upper directory the owner and mode of the image's own root: overlayfs shows the upper one's. */
int image_upper_prepare(const struct image_store *store, const struct image_layers *layers, int upper,
			struct error *err);

enum {
	IMAGE_SNAPSHOT_READ_ONLY = 1 << 0, /* no upper and work */
	IMAGE_SNAPSHOT_VOLATILE = 1 << 1,  /* the upper layer need not survive a power cut */
};

/*
 * The layers under upper and work (directories on one file system, both -1 with READ_ONLY) as a detached mount.
 * attributes: MOUNT_ATTR_* of <linux/mount.h>.  Returns its descriptor or -errno; closing it unmounts it unless it was
 * attached.  Where the kernel refuses, the error says what to move or enable.
 */
int image_snapshot_mount(struct image_store *store, const struct image_layers *layers, int upper, int work,
			 unsigned flags, unsigned attributes, struct error *err);

/* Attaches the same on target (a path), for callers that have no mount namespace to put it into. */
int image_snapshot_attach(int mount_fd, const char *target, struct error *err);

#endif
