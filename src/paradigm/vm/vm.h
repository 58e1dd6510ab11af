/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm - the paradigms in which process 1 is a virtual machine monitor, and the
 * workload runs on a kernel of its own.
 *
 *     pv   the guest knows: virtio, KVM's clock and hypercalls
 *     vm   the guest is told nothing, and finds hardware that it has drivers for
 *
 * What runs the machine is chosen here (vm_choose()), everything that it needs
 * is opened here, and the monitor, caisson-vmm, gets descriptors only.
 */
#ifndef CAISSON_PARADIGM_VM_VM_H
#define CAISSON_PARADIGM_VM_VM_H

#include "paradigm/paradigm.h"

extern const struct paradigm paradigm_pv, paradigm_vm;

#endif
