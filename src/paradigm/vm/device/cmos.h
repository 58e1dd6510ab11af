/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmos - the clock and memory of a PC: MC146818A data sheet.
 *
 * Time is the host's, in UTC; a guest that sets it is heard and not obeyed,
 * and there are no alarms.  The other bytes are memory.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_CMOS_H
#define CAISSON_PARADIGM_VM_DEVICE_CMOS_H

#include <time.h>

#include "paradigm/vm/device/device.h"

/* LAYOUT_CMOS_SIZE ports, range 0.  now NULL: time(2).  Owned by the caller; NULL: out of memory. */
struct device *cmos_make(time_t (*now)(void));

#endif
