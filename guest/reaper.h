/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reaper - process 1 for programs that are not made to be one.
 *
 * Starts the program as its child, forwards every signal that can be
 * forwarded, reaps whatever is orphaned to it, and ends as the program ended:
 * with its exit status, or 128 + the number of the signal that killed it.  See
 * pid_namespaces(7): a process 1 has no default actions for signals, and is
 * the parent of all orphans.
 *
 * Without a heap: it is mounted into images that have nothing.
 */
#ifndef CAISSON_GUEST_REAPER_H
#define CAISSON_GUEST_REAPER_H

/* argv is the program's, NULL-terminated.  Returns the exit status. */
int reaper_run(char **argv);

#endif
