/* SPDX-License-Identifier: Apache-2.0 */
/*
 * companion - where the programs are that belong to the running one.
 *
 * Beside it, as in a build, or in ../libexec/caisson, as installed.  A program
 * that runs from a protected copy of itself (selfexec.h) has no path of its
 * own; then it is where its caller called it.
 */
#ifndef CAISSON_LINUX_COMPANION_H
#define CAISSON_LINUX_COMPANION_H

#include "base/error.h"

/* self: path of the running program where that is known, or NULL.  *path is owned by the caller.  -ENOENT. */
int companion_find(const char *self, const char *name, char **path, struct error *err);

#endif
