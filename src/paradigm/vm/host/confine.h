/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine - what is left to the monitor once its machine runs: seccomp(2),
 * capabilities(7).
 *
 * No capabilities, no new ones, and for each kind of thread a list of system
 * calls; some of them with certain arguments only (no memory becomes
 * executable, no process is started).  A thread that makes another call has been
 * led astray by its guest: the process says which one and is killed by SIGSYS.
 *
 * The filters are made from tables in some microseconds, without libseccomp.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_CONFINE_H
#define CAISSON_PARADIGM_VM_HOST_CONFINE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "paradigm/vm/machine/machine.h"

enum confine_role {
	CONFINE_MAIN,  /* the supervisor's loop */
	CONFINE_VSOCK, /* the same, which connects to Unix sockets, too */
	CONFINE_VCPU,
	CONFINE_PASSTHROUGH, /* a vCPU of a machine with devices of the host's */
	CONFINE_IO,	     /* disks and network, and the workers that it starts */
	CONFINE_FILES,	     /* a process of its own, which serves a directory */
};

enum { CONFINE_CODE_MAX = 640 };

/* Drops capabilities for good.  In a process of one thread. */
int confine_process(struct error *err);
/* Filters the calling thread, and those that it will make. */
int confine_thread(enum confine_role role, struct error *err);
/* machine_options.thread: a thread that cannot be confined ends the process. */
void confine_machine_thread(enum machine_thread thread);

/* The filter of a role; returns how many instructions it has. */
size_t confine_filter(enum confine_role role, struct sock_filter code[static CONFINE_CODE_MAX]);

#endif
