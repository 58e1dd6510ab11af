/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bare - a machine without an agent: any kernel, its serial port on stdio.
 *
 * For those who write kernels, and for the test kernels of others.  A terminal
 * on standard input is raw meanwhile, and Ctrl-A x ends the machine (Ctrl-A twice
 * sends one), as with QEMU's -nographic.
 *
 * The exit status is what tests of kernels expect of QEMU:
 *
 *     (value << 1) | 1   value was written to the debug-exit port (0xf4)
 *     0                  the guest powered off, or was ended from the terminal
 *     2                  it asked for a reset: a panic with panic=-1, or a reboot
 *     4                  it crashed: triple fault, an instruction that KVM cannot emulate
 *     124                it took longer than boot_seconds of the configuration
 *     125                the machine could not be started
 *     128 + N            ended by signal N
 *
 * Why is said on standard error, but for the first two and the last.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_BARE_H
#define CAISSON_PARADIGM_VM_HOST_BARE_H

#include "paradigm/vm/config.h"

enum { BARE_OFF = 0, BARE_RESET = 2, BARE_CRASHED = 4, BARE_TIMEOUT = 124, BARE_FAILED = 125 };

/* Runs a configuration without an agent, to its end; with QEMU as the engine it does not return. */
int bare_run(const struct vm_config *config);

/* The same with QEMU: the process becomes it.  Returns only on failure. */
int bare_become_qemu(const struct vm_config *config, struct error *err);

#endif
