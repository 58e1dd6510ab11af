/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shares - the processes that serve a machine's shared directories: see
 * fs/serve.h.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_SHARES_H
#define CAISSON_PARADIGM_VM_HOST_SHARES_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "paradigm/vm/config.h"

struct shares {
	pid_t pids[VM_SHARES_MAX]; /* 0: it has ended */
	size_t count;
};

/* One for each share, whose server is set; before there are threads, and while there are capabilities.  After a failure
 * shares_stop() is due, too. */
int shares_start(struct shares *shares, struct vm_config *config, struct error *err);
/* After SIGCHLD: an error when one was killed, or could not go on: without it the guest waits for its files for ever.
 */
int shares_check(struct shares *shares, struct error *err);
void shares_stop(struct shares *shares);

#endif
