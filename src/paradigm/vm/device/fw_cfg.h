/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg - what a bare machine has, for test kernels that were written for
 * QEMU and ask there how many processors they have to wait for.
 *
 * Never in a machine that runs an image: Linux finds all that in ACPI.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_FW_CFG_H
#define CAISSON_PARADIGM_VM_DEVICE_FW_CFG_H

#include "paradigm/vm/device/device.h"

/* LAYOUT_FW_CFG_SIZE ports, range 0.  memory: bytes.  Owned by the caller (ops->free()); NULL without memory. */
struct device *fw_cfg_make(uint64_t memory, uint32_t vcpus);

#endif
