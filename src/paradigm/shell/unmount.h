/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unmount - takes away the mounts of a container that has no mount namespace.
 *
 * Such a container's mounts are in its creator's namespace and do not end
 * with it (runtime.md, "Delete": resources that were created during create
 * must be deleted).  Each mount of the specification is one layer on its
 * destination, so one layer is taken off each, the last first; what was
 * mounted there before shows again.
 *
 * Does nothing for a container with a mount namespace, nor for one whose root
 * is "/": there a mistake would unmount the host's own /proc.
 */
#ifndef CAISSON_PARADIGM_SHELL_UNMOUNT_H
#define CAISSON_PARADIGM_SHELL_UNMOUNT_H

#include "spec/runtime.h"

/* What is mounted on the destinations before anything is made: an array for unmount_made(); the caller frees.  NULL:
 * nothing needs to be remembered, or there is no memory. */
int *unmount_note(const struct oci_spec *spec, const char *rootfs);

/* After a creation that failed: takes off what is not what was noted.  Nothing without a note. */
void unmount_made(const struct oci_spec *spec, const char *rootfs, const int *noted);

/* When a container is deleted. */
void unmount_all(const struct oci_spec *spec, const char *rootfs);

#endif
