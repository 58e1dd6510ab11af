/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_disk - the root disk of an instance whose paradigm has its root file
 * system on one (struct paradigm, root_is_disk).
 *
 *     disk         qcow2: what the instance has written
 *     disk.base    the image's disk (image/disk.h) below it, by a link of the instance's own
 *
 * Both lie in the instance's directory, are made at its first start, and go
 * with it.
 */
#ifndef CAISSON_ENGINE_LAUNCH_DISK_H
#define CAISSON_ENGINE_LAUNCH_DISK_H

#include "engine/engine.h"
#include "image/snapshot.h"

#define INSTANCE_DISK	   "disk"
#define INSTANCE_DISK_BASE "disk.base"

/* Makes what is not there yet. */
int launch_disk(struct instance *instance, const struct image *image, const struct image_layers *layers,
		struct error *err);

#endif
