/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copyup - a directory's content copied into a fresh file system, for the
 * "tmpcopyup" mount option (config-linux.md).
 */
#ifndef CAISSON_PARADIGM_SHELL_COPYUP_H
#define CAISSON_PARADIGM_SHELL_COPYUP_H

#include <stdbool.h>

#include "base/error.h"

/* Copies what is below from to to (both directory descriptors), with modes, owners, times, and links as links; sockets
 * are left out. Follows nothing. The directory itself gets from's mode and owner where that is wanted. */
int copyup(int from, int to, bool with_mode, bool with_owner, struct error *err);

#endif
