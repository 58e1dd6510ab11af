/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage - how much disk an instance takes.
 */
#ifndef CAISSON_CLI_USAGE_H
#define CAISSON_CLI_USAGE_H

#include "engine/engine.h"

/* What a file takes on disk, however long it says it is. */
unsigned long long file_bytes(int dirfd, const char *path);

/* Bytes that the instance has written beside its image: its upper layer, as far as it can be read, and its disk. */
unsigned long long instance_written(const struct instance *instance);

/* Bytes below a directory, sparse files at what they take; links are not followed. */
unsigned long long tree_bytes(int dirfd, const char *path);

#endif
