/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsm - labels of Linux security modules: AppArmor profiles and SELinux
 * contexts that take effect at the next execve(2), and those of new keys and
 * sockets.  See apparmor(7), proc_pid_attr(5).
 *
 * Labels are written through linux/procfs.h only.  A label that is asked for
 * where its module is not active is an error: running without it would look
 * like confinement.
 */
#ifndef CAISSON_LINUX_LSM_H
#define CAISSON_LINUX_LSM_H

#include <stdbool.h>

#include "base/error.h"

/* Whether the module is active on this host. */
bool lsm_apparmor_enabled(void);
bool lsm_selinux_enabled(void);

/* procfs: see linux/procfs.h; it must show the calling thread.  All of them are for the calling thread. */
int lsm_apparmor_set_exec(int procfs, const char *profile, struct error *err);
int lsm_selinux_set_exec(int procfs, const char *label, struct error *err);
int lsm_selinux_set_key(int procfs, const char *label, struct error *err);

#endif
