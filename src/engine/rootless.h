/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootless - the engine of a user who is not root.
 *
 * Images have files of many owners, and instances have mounts: that takes root's capabilities.  A user's commands
 * have them in a user namespace in which the user is root and the user's subordinate ids (subuid(5), subgid(5)) are
 * the others: user_namespaces(7).  All commands must be in the same one, because nobody has rights over what was made
 * in another.
 *
 * So there is one namespace for each run directory, and a process that does nothing but hold it: RUN/namespace has
 * its pid and start time.  Every command in the namespace, and every monitor that one of them became, has a shared
 * lock (flock(2)) on that file; the holder waits for the exclusive one, and goes when it gets it.  Nothing is left
 * when the last instance has ended.  If the holder is killed, the next command finds the namespace by an instance's
 * monitor.
 */
#ifndef CAISSON_ENGINE_ROOTLESS_H
#define CAISSON_ENGINE_ROOTLESS_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Moves the calling process (with one thread, not root) into the namespace, made if need be, and into a mount
 * namespace of its own.  instances: the directory with the instances' directories (engine.h).  *lock: the descriptor
 * with the shared lock, to be kept open as long as something must be reachable; owned by the caller.  *notice: what the
 * user should know (no subordinate ids, so only one id can be used); owned by the caller, or NULL.
 */
int rootless_enter(const char *run_dir, const char *instances, int *lock, char **notice, struct error *err);

#endif
