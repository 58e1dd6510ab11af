/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage - how much disk an instance takes.
 */
#ifndef CAISSON_CLI_USAGE_H
#define CAISSON_CLI_USAGE_H

#include "engine/engine.h"

/* Bytes that the instance has written beside its image: its upper layer, as far as it can be read. */
unsigned long long instance_written(const struct instance *instance);

/* Bytes below a directory, sparse files at what they take; links are not followed. */
unsigned long long tree_bytes(int dirfd, const char *path);

#endif
