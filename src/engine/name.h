/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name - what instances are called.
 *
 * A name is a symbolic link in names/ to the instance's id: symlink(2) makes
 * it in one step or says that it is taken.  A link to an instance that exists
 * neither in instances/ nor in pending/ is left over, and is taken over.
 */
#ifndef CAISSON_ENGINE_NAME_H
#define CAISSON_ENGINE_NAME_H

#include "engine/engine.h"

/* docker's rule: a letter or digit, then at least one more of [a-zA-Z0-9_.-].  -EINVAL. */
int name_check(const char *name, struct error *err);

/* -EEXIST in docker's words when another instance has it. */
int name_reserve(struct engine *engine, const char *name, const char *id, struct error *err);

/* Reserves a made-up name ("quiet_harbour"). */
int name_invent(struct engine *engine, const char *id, char name[static INSTANCE_NAME_MAX], struct error *err);

/* Gives a name back if it is that instance's; held, if not NULL, gets the link. */
void name_release(struct engine *engine, const char *name, const char *id, struct file_held *held);

/* Gives back every name of an instance of which nothing else is known. */
void name_release_all(struct engine *engine, const char *id);

#endif
