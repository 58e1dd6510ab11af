/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "paradigm/vm/machine/arch.h"
#include "paradigm/vm/machine/layout.h"

enum {
	MSR_MISC_ENABLE = 0x1a0,
	MISC_ENABLE_FAST_STRING = 1,
	MSR_MTRR_DEFAULT_TYPE = 0x2ff,
	MTRR_WRITE_BACK = 6,
	MTRR_ENABLED = 1 << 11,

	APIC_LVT0 = 0x350,
	APIC_LVT1 = 0x360,
	APIC_MODE_NMI = 4 << 8,
	APIC_MODE_EXTINT = 7 << 8,
};

/*
 * KVM's own routes, but for the timer: its line 0 goes to the IOAPIC's pin 2, as on every PC (and as the MADT tells);
 * the PICs' own cascade takes none.
 */
int arch_routes_set(const struct machine *machine, const struct machine_message *messages, size_t messages_count,
		    struct error *err)
{
	cleanup_free struct kvm_irq_routing_entry *routes = calloc(LAYOUT_IRQS + 16 + messages_count, sizeof(*routes));
	size_t count = 0;

	if (!routes)
		return error_errno(err, ENOMEM, "connect interrupts");

	for (unsigned line = 0; line < LAYOUT_IRQS; line++) {
		const struct kvm_irq_routing_entry route = { .gsi = line, .type = KVM_IRQ_ROUTING_IRQCHIP };

		if (line < 16) {
			routes[count] = route;
			routes[count].u.irqchip.irqchip = line < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
			routes[count++].u.irqchip.pin = line % 8;
		}
		if (line == LAYOUT_IRQ_TIMER)
			continue;
		routes[count] = route;
		routes[count].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		routes[count++].u.irqchip.pin = line == 0 ? LAYOUT_IRQ_TIMER : line;
	}
	for (size_t i = 0; i < messages_count; i++) {
		if (!messages[i].used)
			continue;
		routes[count++] = (struct kvm_irq_routing_entry){
			.gsi = LAYOUT_IRQS + (uint32_t)i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = (uint32_t)messages[i].address,
				   .address_hi = (uint32_t)(messages[i].address >> 32),
				   .data = messages[i].data },
		};
	}
	return kvm_routes_set(machine->vm, routes, count, err);
}

int arch_machine_init(struct machine *machine, struct error *err)
{
	int result = kvm_irqchip_create(machine->vm, LAYOUT_VMX_TSS, LAYOUT_VMX_IDENTITY, err);

	if (result == 0)
		result = arch_routes_set(machine, NULL, 0, err);
	/* Linux as our guest takes KVM's clock and the local APIC's timer; others measure their time by the PIT. */
	machine->has_pit = machine->bare || machine->kind == VM_KIND_VM;
	if (result == 0 && machine->has_pit)
		result = kvm_pit_create(machine->vm, err);
	return result < 0 ? result : cpuid_make(machine, err);
}

/* As firmware leaves them: the PICs and the NMI come through the local APIC's pins. */
static int connect_pins(struct machine_vcpu *vcpu, struct error *err)
{
	struct kvm_lapic_state lapic;
	const uint32_t pins[][2] = { { APIC_LVT0, APIC_MODE_EXTINT }, { APIC_LVT1, APIC_MODE_NMI } };
	int result = kvm_lapic_get(&vcpu->kvm, &lapic, err);

	if (result < 0)
		return result;
	for (size_t i = 0; i < 2; i++)
		memcpy(lapic.regs + pins[i][0], &pins[i][1], sizeof(pins[i][1]));
	return kvm_lapic_set(&vcpu->kvm, &lapic, err);
}

int arch_vcpu_init(struct machine_vcpu *vcpu, struct error *err)
{
	cleanup_free struct kvm_cpuid_table *cpuid = malloc(sizeof(*cpuid));
	int result;

	if (!cpuid)
		return error_errno(err, ENOMEM, "set CPUID");
	*cpuid = vcpu->machine->cpuid;
	cpuid_number(cpuid, vcpu->index);
	result = kvm_cpuid_set(&vcpu->kvm, cpuid, err);
	if (result == 0)
		result = connect_pins(vcpu, err);
	/* What a BIOS would do; a processor without MTRRs has no such MSR. */
	(void)kvm_msr_set(&vcpu->kvm, MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING, NULL);
	(void)kvm_msr_set(&vcpu->kvm, MSR_MTRR_DEFAULT_TYPE, MTRR_ENABLED | MTRR_WRITE_BACK, NULL);
	return result;
}

static struct kvm_segment segment(const struct boot_segment *from)
{
	return (struct kvm_segment){ .base = from->base,
				     .limit = from->limit,
				     .selector = from->selector,
				     .type = from->type,
				     .present = 1,
				     .s = from->s,
				     .db = from->db,
				     .l = from->l,
				     .g = from->g };
}

int arch_vcpu_enter(struct machine_vcpu *vcpu, const struct boot_state *boot, struct error *err)
{
	const struct kvm_regs regs = { .rip = boot->rip,
				       .rsp = boot->rsp,
				       .rax = boot->rax,
				       .rbx = boot->rbx,
				       .rsi = boot->rsi,
				       .rflags = boot->rflags | 2 };
	struct kvm_sregs sregs;
	int result = kvm_sregs_get(&vcpu->kvm, &sregs, err);

	if (result < 0)
		return result;
	sregs.cr0 = boot->cr0;
	sregs.cr3 = boot->cr3;
	sregs.cr4 = boot->cr4;
	sregs.efer = boot->efer;
	sregs.cs = segment(&boot->code);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(&boot->data);
	sregs.tr = segment(&boot->task);
	sregs.gdt = (struct kvm_dtable){ .base = boot->gdt_base, .limit = boot->gdt_limit };
	sregs.idt = (struct kvm_dtable){ .base = 0, .limit = 0 };
	result = kvm_sregs_set(&vcpu->kvm, &sregs, err);
	return result < 0 ? result : kvm_regs_set(&vcpu->kvm, &regs, err);
}

/*
 * The reset vector.  Kernels that know of no other way to reset jump there in real mode: Linux under hardware-reduced
 * ACPI takes that for a machine with EFI's runtime services, and finds none.
 */
void arch_firmware(struct machine *machine)
{
	static const uint8_t reset[] = {
		0xba,
		LAYOUT_RESET & 0xff,
		LAYOUT_RESET >> 8, /* mov $LAYOUT_RESET, %dx */
		0xb0,
		LAYOUT_RESET_VALUE, /* mov $LAYOUT_RESET_VALUE, %al */
		0xee,		    /* out %al, %dx */
		0xf4,
		0xeb,
		0xfd, /* hlt, again */
	};

	/* A machine that is too small for it has no kernel that looks for it. */
	(void)guest_memory_write(&machine->memory, LAYOUT_RESET_VECTOR, reset, sizeof(reset));
}

const char *arch_vcpu_place(struct machine_vcpu *vcpu, char *text, size_t size)
{
	struct kvm_regs regs = { .rip = 0 };

	if (kvm_regs_get(&vcpu->kvm, &regs, NULL) < 0)
		return "an unknown place";
	(void)snprintf(text, size, "rip 0x%llx", (unsigned long long)regs.rip);
	return text;
}

/* A vCPU of version 1 had no XSAVE area: what it was computing in those registers is lost. */
enum { STATE_VERSION = 1, VCPU_VERSION = 2 };

static int save_vcpu(struct machine_vcpu *vcpu, struct state_writer *writer, struct error *err)
{
	cleanup_free struct kvm_vcpu_state *state = malloc(sizeof(*state));
	int result;

	if (!state)
		return error_errno(err, ENOMEM, "save a vCPU");
	result = kvm_vcpu_state_get(vcpu->machine->kvm, &vcpu->kvm, state, err);
	if (result < 0)
		return result;
	state_begin(writer, "vcpu", VCPU_VERSION);
	state_put(writer, state, offsetof(struct kvm_vcpu_state, msrs));
	state_put(writer, state->msrs, state->msr_count * sizeof(state->msrs[0]));
	state_put(writer, &state->xsave, sizeof(state->xsave));
	state_end(writer);
	return 0;
}

int arch_save(struct machine *machine, struct state_writer *writer, struct error *err)
{
	struct kvm_vm_state chips;
	int result = 0;

	state_begin(writer, "cpuid", STATE_VERSION);
	state_put_u32(writer, machine->cpuid.count);
	state_put(writer, machine->cpuid.entries, machine->cpuid.count * sizeof(machine->cpuid.entries[0]));
	state_end(writer);
	for (unsigned i = 0; result == 0 && i < machine->vcpus_count; i++)
		result = save_vcpu(&machine->vcpus[i], writer, err);
	if (result == 0)
		result = kvm_vm_state_get(machine->vm, machine->has_pit, &chips, err);
	if (result < 0)
		return result;
	state_begin(writer, "chips", STATE_VERSION);
	state_put(writer, &chips, sizeof(chips));
	state_end(writer);
	return 0;
}

/* The processor that the guest has known so far, if this host can give it. */
static int restore_cpuid(struct machine *machine, struct state_reader *reader, struct error *err)
{
	cleanup_free struct kvm_cpuid_table *saved = calloc(1, sizeof(*saved));

	if (!saved)
		return error_errno(err, ENOMEM, "restore CPUID");
	if (state_enter(reader, "cpuid", STATE_VERSION, err) < 0)
		return -EINVAL;
	saved->count = state_get_u32(reader);
	if (saved->count > KVM_CPUID_MAX)
		return error_set(err, EINVAL, "the snapshot's processor has %u leaves of CPUID", saved->count);
	(void)state_get(reader, saved->entries, saved->count * sizeof(saved->entries[0]));
	if (state_leave(reader, err) < 0 || cpuid_check(saved, &machine->cpuid, err) < 0)
		return -EINVAL;
	machine->cpuid = *saved;
	return 0;
}

static int restore_vcpu(struct machine_vcpu *vcpu, struct state_reader *reader, struct error *err)
{
	cleanup_free struct kvm_vcpu_state *state = calloc(1, sizeof(*state));
	cleanup_free struct kvm_cpuid_table *cpuid = malloc(sizeof(*cpuid));
	int result;

	if (!state || !cpuid)
		return error_errno(err, ENOMEM, "restore a vCPU");
	result = state_enter(reader, "vcpu", VCPU_VERSION, err);
	if (result < 0)
		return result;
	if (result < VCPU_VERSION)
		return error_set(err, EINVAL, "the snapshot was taken by an older caisson, without all of a vCPU");
	(void)state_get(reader, state, offsetof(struct kvm_vcpu_state, msrs));
	if (state->msr_count > KVM_MSRS_MAX)
		return error_set(err, EINVAL, "the snapshot has a vCPU with %u MSRs", state->msr_count);
	(void)state_get(reader, state->msrs, state->msr_count * sizeof(state->msrs[0]));
	(void)state_get(reader, &state->xsave, sizeof(state->xsave));
	if (state_leave(reader, err) < 0)
		return -EINVAL;
	*cpuid = vcpu->machine->cpuid;
	cpuid_number(cpuid, vcpu->index);
	result = kvm_cpuid_set(&vcpu->kvm, cpuid, err);
	return result < 0 ? result : kvm_vcpu_state_set(&vcpu->kvm, state, err);
}

int arch_restore(struct machine *machine, struct state_reader *reader, struct error *err)
{
	struct kvm_vm_state chips;
	int result = restore_cpuid(machine, reader, err);

	for (unsigned i = 0; result == 0 && i < machine->vcpus_count; i++) {
		result = restore_vcpu(&machine->vcpus[i], reader, err);
		if (result < 0)
			return error_wrap(err, "vCPU %u", i);
	}
	if (result < 0 || state_enter(reader, "chips", STATE_VERSION, err) < 0)
		return result < 0 ? result : -EINVAL;
	(void)state_get(reader, &chips, sizeof(chips));
	if (state_leave(reader, err) < 0)
		return -EINVAL;
	return kvm_vm_state_set(machine->vm, machine->has_pit, &chips, err);
}
