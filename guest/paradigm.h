/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paradigm - a container in a machine that is there for it alone: how
 * config.json, which was written for the host, is to be read in the guest.
 *
 * What the machine itself is for is left out: the host's namespaces and id
 * mappings, limits of CPU, memory and devices, cgroup paths, hooks of the host's,
 * LSM labels.  Sources of bind mounts are what the host handed in (BOOT_MOUNTS in
 * boot.h).  All else is the container paradigm's.
 */
#ifndef CAISSON_GUEST_PARADIGM_H
#define CAISSON_GUEST_PARADIGM_H

#include "base/error.h"
#include "paradigm/paradigm.h"
#include "spec/runtime.h"

extern const struct paradigm paradigm_guest;

/* Where the runtime keeps what it knows. */
#define GUEST_RUNTIME "/run/caisson"

/*
 * Edits the specification.  mounts: directory with what the host handed in, by the index of the mount: a file, or a
 * symbolic link to where it is.  -ENOENT: the source of a bind mount was not.
 */
int guest_edit_spec(struct oci_spec *spec, const char *mounts, struct error *err);

/* The same for a process of exec. */
void guest_edit_process(struct oci_process *process);

#endif
