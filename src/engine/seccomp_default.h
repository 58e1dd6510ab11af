/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp_default - the system calls that an instance may make unless its
 * user says otherwise.
 *
 * An allow list in the manner of docker's: what needs no privilege, plus what
 * each granted capability stands for.  A call that is known and not allowed
 * fails with EPERM; one that nobody has heard of with ENOSYS, so that C
 * libraries fall back to the older one.  Namespaces cannot be made without
 * CAP_SYS_ADMIN: they open more of the kernel to an attacker than anything
 * else.  See seccomp(2); the profile's form is the OCI runtime specification's
 * linux.seccomp.
 */
#ifndef CAISSON_ENGINE_SECCOMP_DEFAULT_H
#define CAISSON_ENGINE_SECCOMP_DEFAULT_H

#include <stdint.h>

#include <jansson.h>

/* The profile for a process whose bounding set is capabilities (bit N: capability N).  A new value, or NULL. */
json_t *seccomp_default_profile(uint64_t capabilities);

#endif
