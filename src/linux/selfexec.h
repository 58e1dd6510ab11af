/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selfexec - running from a copy of our binary that nobody can write to.
 *
 * Whoever can reach /proc/PID/exe of a runtime that stands in its container
 * could overwrite the host's binary (CVE-2019-5736).  So the runtime executes
 * itself again from a detached, read-only clone of the mount that its binary
 * is on (open_tree(2), mount_setattr(2)): no copy is made.  Where that is not
 * allowed, from a sealed copy in memory (memfd_create(2)).
 */
#ifndef CAISSON_LINUX_SELFEXEC_H
#define CAISSON_LINUX_SELFEXEC_H

#include <stdbool.h>

#include "base/error.h"

/* Whether the running binary cannot be opened for writing through /proc/self/exe: a read-only mount or a sealed memfd.
 */
bool selfexec_is_protected(void);

enum { SELFEXEC_ANY, SELFEXEC_MOUNT, SELFEXEC_MEMFD };

/* A descriptor (O_CLOEXEC) of such a copy, for execveat(fd, "", argv, envp, AT_EMPTY_PATH); owned by the caller. */
int selfexec_open(int how, struct error *err);

/* Returns 0 at once when protected already; else executes the same program again with argv and envp, and returns only
 * on failure. */
int selfexec_protect(char *const argv[], char *const envp[], struct error *err);

#endif
