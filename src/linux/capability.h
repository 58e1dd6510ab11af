/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capability - names and sets of capabilities(7).
 *
 * Sets are 64-bit masks, bit N is capability N.  libcap is not used: its
 * start-up probes cost more system calls than everything here together.
 */
#ifndef CAISSON_LINUX_CAPABILITY_H
#define CAISSON_LINUX_CAPABILITY_H

#include <stdint.h>

#include "base/error.h"

struct capability_sets {
	uint64_t effective, permitted, inheritable, bounding, ambient;
};

/* "CAP_NET_ADMIN" or "NET_ADMIN", case does not matter -> 12; -EINVAL if there is none. */
int capability_from_name(const char *name);

/* "CAP_NET_ADMIN", or NULL for a number that this build does not know. */
const char *capability_name(int capability);

/* One past the highest capability that this build has a name for. */
int capability_count(void);

/* All capabilities that the running kernel knows (/proc/sys/kernel/cap_last_cap semantics, by prctl). */
uint64_t capability_known_mask(void);

/* The calling thread's own permitted set; 0 when it cannot be read. */
uint64_t capability_own_permitted(void);

/* Drops everything outside bounding from the bounding set.  Needs CAP_SETPCAP in the user namespace. */
int capability_drop_bounding(uint64_t bounding, struct error *err);

/* capset(2) of effective, permitted and inheritable, then the ambient set. What the kernel does not know is left out.
 */
int capability_apply(const struct capability_sets *sets, struct error *err);

#endif
