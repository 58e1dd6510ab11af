/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume - directories that outlive instances.
 *
 * A volume is ROOT/volumes/NAME/_data.  While ROOT/volumes/NAME/fresh exists
 * nothing has used it yet: the first instance that mounts it copies what its
 * image has at the mount point into it, as docker does.
 */
#ifndef CAISSON_ENGINE_VOLUME_H
#define CAISSON_ENGINE_VOLUME_H

#include "engine/engine.h"

/* -EINVAL in docker's words. */
int volume_name_check(const char *name, struct error *err);

/* Makes the volume if it is not there. */
int volume_ensure(struct engine *engine, const char *name, struct error *err);

bool volume_exists(struct engine *engine, const char *name);

/* ROOT/volumes/NAME/_data; fresh memory or NULL. */
char *volume_path(const struct engine *engine, const char *name);

/*
 * Fills a fresh volume with what is at destination beneath the root file system (owners, modes, times, links,
 * extended attributes); nothing there, or nothing fresh, is fine.  Done again from the start after a crash.
 */
int volume_populate(struct engine *engine, const char *name, int rootfs_fd, const char *destination, struct error *err);

/* A missing volume is fine. */
int volume_remove(struct engine *engine, const char *name, struct error *err);

/* Names of the volumes, in no order; freed with runtime_ids_free(). */
int volume_list(struct engine *engine, char ***names, size_t *count, struct error *err);

#endif
