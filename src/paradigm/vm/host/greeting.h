/* SPDX-License-Identifier: Apache-2.0 */
/*
 * greeting - what the guest is given before its configuration: files that
 * mounts of config.json refer to, the names of shared directories, and how its
 * network cards are to be set up.
 *
 * Piece by piece, so that only a little of it is in memory at a time.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_GREETING_H
#define CAISSON_PARADIGM_VM_HOST_GREETING_H

#include <stddef.h>

#include "base/error.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/host/session.h"

struct greeting {
	const struct vm_config *config;
	size_t files, shares; /* that were sent */
	bool network;	      /* it was told */
};

void greeting_open(struct greeting *greeting, const struct vm_config *config);

/* Sends on.  0: everything is sent; 1: the agent has enough for now.  -EFBIG for a file that is too large for a frame;
 * what read(2) says. */
int greeting_go_on(struct greeting *greeting, struct sessions *sessions, struct error *err);

#endif
