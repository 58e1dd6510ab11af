/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot - instances that are machines, as they stood at a moment: others
 * begin there, in the middle of what they were doing, instead of booting.
 *
 *     ROOT/machines/NAME/
 *         instance.json       the record of the instance that it was taken of
 *         snapshot.json       {"Created", "Size"}
 *         state, memory       the machine (struct paradigm, snapshot); an instance maps memory, and copies what it
 * writes disk, disk.base     its root disk at that moment, as in an instance's directory (launch_disk.h)
 *     ROOT/leases/snapshot-NAME    keeps the image
 *
 * One is made in ROOT/pending and gets its name when it is whole.  It is never
 * changed, and needs the instance no more.
 */
#ifndef CAISSON_ENGINE_SNAPSHOT_H
#define CAISSON_ENGINE_SNAPSHOT_H

#include "engine/engine.h"

/*
 * Saves a running instance, which stands still meanwhile.  -EEXIST: the name is taken; -EINVAL: it is no name, or the
 * instance does not run; -ENOTSUP: it is no machine, or one that cannot be saved.
 */
int snapshot_create(struct instance *instance, const char *name, struct error *err);

/* -ENOENT "No such snapshot: NAME". */
int snapshot_remove(struct engine *engine, const char *name, struct error *err);

/* An array of {"Name", "Instance", "Image", "Isolation", "CreatedAt", "Bytes"}, sorted; NULL with err set. */
json_t *snapshot_list(struct engine *engine, struct error *err);

/*
 * The document of an instance that begins there: the saved one's, with what document says of things that are not the
 * machine's (its streams, its log, its end).  image gets the image, to be closed by the caller.
 */
int snapshot_document(struct engine *engine, const char *name, const json_t *document, json_t **merged,
		      struct image *image, struct error *err);

/* Links and copies its disk into an instance's directory, if there is none. */
int snapshot_disk(const struct instance *instance, const char *name, struct error *err);

/* ROOT/machines/NAME; fresh memory or NULL. */
char *snapshot_path(const struct engine *engine, const char *name);

#endif
