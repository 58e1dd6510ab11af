/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procfs - files of /proc that are really files of a procfs: proc(5),
 * openat2(2).
 *
 * A container's image can put anything at /proc, and a mount that is shared
 * with another container can change while it is looked at (CVE-2019-16884,
 * CVE-2019-19921, CVE-2025-52881: security labels and sysctls were written
 * into files of the attacker).  So every file here is opened beneath a
 * descriptor of a procfs root, without leaving that one mount and without
 * magic links, and is verified to be on a procfs before it is handed out.
 */
#ifndef CAISSON_LINUX_PROCFS_H
#define CAISSON_LINUX_PROCFS_H

#include <fcntl.h>

#include "base/error.h"

/* The caller's /proc, verified: O_PATH | O_CLOEXEC, owned by the caller. */
int procfs_open(struct error *err);

/*
 * Opens path ("thread-self/attr/exec", "sys/net/...") beneath procfs, by the rules above.  O_CLOEXEC is added.
 * Returns a descriptor owned by the caller, or -errno without words; -EXDEV: something is mounted over it.
 */
int procfs_open_file(int procfs, const char *path, int flags);

/* Opens, writes text in one write(2), closes; -errno, no words. */
int procfs_write(int procfs, const char *path, const char *text);

#endif
