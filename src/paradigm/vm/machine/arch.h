/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arch - what of a machine is its architecture's: interrupt controllers, what
 * the processor says of itself, how the kernel is entered, what a snapshot holds.
 * x86-64 is in x86.c and cpuid.c.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_ARCH_H
#define CAISSON_PARADIGM_VM_MACHINE_ARCH_H

#include "paradigm/vm/boot/load.h"
#include "paradigm/vm/machine/private.h"
#include "paradigm/vm/machine/state.h"

/* Before the first vCPU is made. */
int arch_machine_init(struct machine *machine, struct error *err);
/* What the lines of the controllers lead to, and behind them (from GSI LAYOUT_IRQS on) messages. */
int arch_routes_set(const struct machine *machine, const struct machine_message *messages, size_t count,
		    struct error *err);
/* After it was made: identity, local interrupt controller. */
int arch_vcpu_init(struct machine_vcpu *vcpu, struct error *err);
/* The first vCPU is to enter a kernel. */
int arch_vcpu_enter(struct machine_vcpu *vcpu, const struct boot_state *boot, struct error *err);

/* What a kernel expects of firmware while it runs; into memory, after it was loaded. */
void arch_firmware(struct machine *machine);

/* What went wrong where, for the end's reason: "rip 0x...", in the caller's buffer. */
const char *arch_vcpu_place(struct machine_vcpu *vcpu, char *text, size_t size);

/* All vCPUs and controllers, of a machine that stands still; restore checks that this host can go on with it. */
int arch_save(struct machine *machine, struct state_writer *writer, struct error *err);
int arch_restore(struct machine *machine, struct state_reader *reader, struct error *err);

/* cpuid.c: the machine's processor, from what host and KVM can give. */
int cpuid_make(struct machine *machine, struct error *err);
/* The same table with the number of one vCPU in it. */
void cpuid_number(struct kvm_cpuid_table *cpuid, unsigned index);
/* Whether a guest that has seen saved can go on where supported is.  -EINVAL with words. */
int cpuid_check(const struct kvm_cpuid_table *saved, struct kvm_cpuid_table *supported, struct error *err);

#endif
