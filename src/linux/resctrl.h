/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resctrl - shares of cache and of memory bandwidth: the kernel's
 * Documentation/arch/x86/resctrl.rst.
 *
 * A group is a directory below the mount point: a class of service
 * (ROOT/NAME, ROOT itself is the default one), or a group in it that only
 * counts (CLASS/mon_groups/NAME).  Which container gets which is decided
 * above.
 */
#ifndef CAISSON_LINUX_RESCTRL_H
#define CAISSON_LINUX_RESCTRL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Where it is mounted; fresh memory.  -ENODEV: nowhere. */
int resctrl_find(char **root, struct error *err);

/* Whether a class is there. */
bool resctrl_is_class(const char *group);

/* Makes a group's directory: 1, or 0 if it is there already.  -ENOSPC: the processor has no more classes. */
int resctrl_make(const char *group, struct error *err);

/* Writes schemata, lines like "L3:0=7f0;1=1f"; root is asked for the kernel's own words about what is wrong. */
int resctrl_set(const char *root, const char *group, const char *schemata, struct error *err);

/* Whether a group has these schemata, however they are written (white space, leading zeros).  -EINVAL: it has not. */
int resctrl_check(const char *group, const char *schemata, struct error *err);

/* Moves one task; its children are born where it is. */
int resctrl_add(const char *group, pid_t pid, struct error *err);

/* Whether no task is in a group. */
bool resctrl_is_empty(const char *group);

/* Removes a group; its tasks fall back to the one above.  One that is gone is fine. */
int resctrl_remove(const char *group, struct error *err);

#endif
