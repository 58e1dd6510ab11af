/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_bundle - what an instance needs on disk before it can start: its
 * root file system, mounted and detached; hostname, hosts, resolv.conf; filled
 * volumes; and, in memory, its specification.
 */
#ifndef CAISSON_ENGINE_LAUNCH_BUNDLE_H
#define CAISSON_ENGINE_LAUNCH_BUNDLE_H

#include "engine/engine.h"
#include "engine/launch.h"
#include "image/user.h"

/* *rootfs gets a detached mount, *config what is to be in config.json; both owned by the caller. */
int launch_bundle(struct instance *instance, const struct launch_options *options, int *rootfs, char **config,
		  struct error *err);

/*
 * The root file system as a detached mount: the one that the instance will run in, or, where that is on a disk, the
 * image's, read-only, and the disk is there afterwards.  image NULL: the instance's own.  Returns its descriptor.
 */
int launch_rootfs(struct instance *instance, struct image *image, struct error *err);

/* What the instance is to be; NULL: this program does not know it. */
const struct paradigm *launch_paradigm(const struct instance *instance);

/*
 * image_resolve_user(), and whether groups are denied: who maps no ids but its own gives up setgroups(2), see
 * user_namespaces(7).  (One that --group-add asks for is an error there.)
 */
int launch_resolve_user(const char *name, int rootfs, struct image_user *user, struct error *err);

#endif
