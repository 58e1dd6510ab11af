/* SPDX-License-Identifier: Apache-2.0 */
/*
 * choose - which engine runs a machine on this host, and why.
 *
 * KVM where the processor runs guests.  Where there is none, or one that
 * plays the guest instruction by instruction, QEMU translates.
 */
#ifndef CAISSON_PARADIGM_VM_CHOOSE_H
#define CAISSON_PARADIGM_VM_CHOOSE_H

#include "base/error.h"
#include "base/str.h"
#include "paradigm/vm/settings.h"

struct vm_choice {
	enum vm_engine engine;
	int kvm;       /* /dev/kvm, owned by the caller, or -1 */
	char *qemu;    /* path of the program, owned by the caller, or NULL */
	char why[256]; /* "kvm", "qemu: /dev/kvm only emulates" */
};

/* asked NULL: an absolute path to QEMU's program is not given.  cache: as in kvm_probe().  -ENOENT, -ENODEV, -EACCES,
 * -ENOTSUP, with what would help. */
int vm_choose(enum vm_engine_wish wish, const char *asked, int cache, struct vm_choice *choice, struct error *err);
void vm_choice_close(struct vm_choice *choice);

#endif
