/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounts - what an instance sees beside its image: binds, volumes, tmpfs.
 *
 * Turns what a user wrote (HostConfig.Binds, .Mounts, .Tmpfs, Config.Volumes
 * and the image's volumes) into the record's "Mounts": one object per mount
 * point, {"Type", "Name", "Source", "Destination", "Mode", "RW",
 * "Propagation", "Options", "Anonymous"}, with every decision made.
 */
#ifndef CAISSON_ENGINE_MOUNTS_H
#define CAISSON_ENGINE_MOUNTS_H

#include "engine/engine.h"

/* A "-v" value is well formed: [SOURCE:]DESTINATION[:OPTIONS].  -EINVAL in docker's words.  *destination_only tells
 * that it names an anonymous volume. */
int mounts_check_bind(const char *spec, bool *destination_only, struct error *err);

/* A "--mount" value ("type=bind,source=/a,target=/b,readonly") as an object of HostConfig.Mounts, new; NULL with err.
 */
json_t *mounts_parse(const char *spec, struct error *err);

/* Fills record["Mounts"].  Makes nothing yet, but tells when a bind's source is missing. */
int mounts_resolve(struct engine *engine, json_t *record, const struct image *image, struct error *err);

/* Makes the volumes and missing bind sources that the record names. */
int mounts_provide(struct engine *engine, const json_t *record, struct error *err);

#endif
