/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp - system call filters, as the kernel takes them: seccomp(2).
 *
 * The room loads classic BPF programs and asks what the kernel can do.  How
 * an OCI profile becomes such a program is paradigm/shell/seccomp.h.
 */
#ifndef CAISSON_LINUX_SECCOMP_H
#define CAISSON_LINUX_SECCOMP_H

/* This folder hides the kernel's header of the same name. */
#include_next <linux/seccomp.h>

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Loads a filter into the calling thread.  flags are SECCOMP_FILTER_FLAG_*; with NEW_LISTENER the result is the
 * listener's descriptor (O_CLOEXEC, owned by the caller), else 0.  Needs no_new_privs or CAP_SYS_ADMIN in the user
 * namespace.  Nothing may be allocated, opened or printed between this call and execve(2) that the filter forbids.
 */
int seccomp_install(const struct sock_filter *code, size_t count, unsigned int flags, struct error *err);

/* Whether the kernel knows an action (SECCOMP_RET_*). */
bool seccomp_action_available(uint32_t action);

/* Whether the kernel knows all of flags (SECCOMP_FILTER_FLAG_*).  Loads nothing. */
bool seccomp_flags_available(unsigned int flags);

#endif
