/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm - commands to a running machine: the other side of host/control.h.
 */
#ifndef CAISSON_PARADIGM_VM_VMM_H
#define CAISSON_PARADIGM_VM_VMM_H

#include "base/str.h"
#include "paradigm/paradigm.h"
#include "paradigm/vm/host/control.h"

/* Connects to the machine whose state directory dir_fd is.  The socket (O_CLOEXEC) is the caller's.  -ESRCH: no monitor
 * is there any more. */
int vmm_connect(int dir_fd, struct error *err);

/* Sends a request with its text (at most CONTROL_TEXT_MAX bytes) and descriptors (at most 3). */
int vmm_send(int socket, const struct control_message *request, const char *text, const int *fds, size_t count,
	     struct error *err);

/*
 * Waits for an answer; its text is appended to text, which may be NULL.  A FAILED is an error with its number and
 * words. -ECONNRESET: the machine is gone.
 */
int vmm_receive(int socket, struct control_message *answer, struct str *text, struct error *err);

/* What struct paradigm has under the same names. */
int vmm_exec(const struct paradigm_exec *exec, pid_t *pid, struct error *err);
int vmm_update(int dir_fd, struct oci_spec *spec, struct oci_resources *wanted, struct error *err);
int vmm_counters(const char *dir, int dir_fd, struct str *out, struct error *err);
int vmm_snapshot(const char *dir, int dir_fd, int state, int memory, int *hold, struct error *err);

#endif
