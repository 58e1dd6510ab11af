/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor - process 1 of a virtual machine's shell: runs the machine, talks
 * to the agent in it, and lives exactly as long as the instance.
 *
 * To those outside it is the instance's process: its streams are the
 * workload's streams, its signals go to the workload, its exit status is the
 * workload's.  Its creator hears by the sync socket (paradigm/shell/sync.h)
 * when the workload runs, or why it does not.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_SUPERVISOR_H
#define CAISSON_PARADIGM_VM_HOST_SUPERVISOR_H

#include "base/error.h"
#include "paradigm/vm/config.h"

/*
 * Exit statuses of our own.  125: the machine could not be started, or ended by itself while the workload ran (the
 * kernel panicked, it powered off, QEMU died); standard error says how, with the last that the kernel said.  126 and
 * 127 are a shell's: the workload's program may not be executed, or is not there.
 */
enum { VMM_EXIT_FAILED = 125, VMM_EXIT_NO_EXEC = 126, VMM_EXIT_NO_FILE = 127 };

/* Runs the machine of a configuration with an agent, to its end.  All descriptors of the configuration become the
 * supervisor's.  Returns the exit status; what there is to be said has been said. */
int supervisor_run(const struct vm_config *config);

#endif
