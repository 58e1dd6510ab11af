/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsc - how fast this machine's time stamp counter runs.
 *
 * A guest under QEMU's translator reads the host's counter, and finds out its
 * speed by counting while an emulated timer runs.  On a busy machine that
 * fails, and a kernel that cannot trust the counter and has no better clock
 * hangs before its first message.  So we tell it.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_TSC_H
#define CAISSON_PARADIGM_VM_HOST_TSC_H

#include <stdint.h>

/* In kHz, to some 20 millionths; takes a few milliseconds, asleep.  0: there is no such counter. */
uint32_t tsc_khz(void);

#endif
