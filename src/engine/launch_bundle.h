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
 * image_resolve_user(), and whether groups are denied: who maps no ids but its own gives up setgroups(2), see
 * user_namespaces(7).  (One that --group-add asks for is an error there.)
 */
int launch_resolve_user(const char *name, int rootfs, struct image_user *user, struct error *err);

#endif
