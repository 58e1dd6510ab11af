/* SPDX-License-Identifier: Apache-2.0 */
/* kvm - registers, CPUID, MSRs, and the state of controllers: what is x86's own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "linux/kvm.h"
#include "linux/kvm_private.h"

_Static_assert(offsetof(struct kvm_cpuid_table, entries) == offsetof(struct kvm_cpuid2, entries), "see linux/kvm.h");

int kvm_cpuid_supported(int kvm, struct kvm_cpuid_table *cpuid, struct error *err)
{
	*cpuid = (struct kvm_cpuid_table){ .count = KVM_CPUID_MAX };
	return kvm_failed(err, kvm_call(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
}

int kvm_cpuid_set(const struct kvm_vcpu *vcpu, const struct kvm_cpuid_table *cpuid, struct error *err)
{
	return kvm_failed(err, kvm_call(vcpu->fd, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
}

struct kvm_cpuid_entry2 *kvm_cpuid_find(struct kvm_cpuid_table *cpuid, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->count && i < KVM_CPUID_MAX; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == function &&
		    (!(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || entry->index == index))
			return entry;
	}
	return NULL;
}

/* int NAME(vcpu, pointer, err): one request each. */
#define VCPU_REQUEST(name, type, request)                                             \
	int name(const struct kvm_vcpu *vcpu, type value, struct error *err)          \
	{                                                                             \
		return kvm_failed(err, kvm_call(vcpu->fd, request, value), #request); \
	}

VCPU_REQUEST(kvm_regs_get, struct kvm_regs *, KVM_GET_REGS)
VCPU_REQUEST(kvm_regs_set, const struct kvm_regs *, KVM_SET_REGS)
VCPU_REQUEST(kvm_sregs_get, struct kvm_sregs *, KVM_GET_SREGS)
VCPU_REQUEST(kvm_sregs_set, const struct kvm_sregs *, KVM_SET_SREGS)
VCPU_REQUEST(kvm_lapic_get, struct kvm_lapic_state *, KVM_GET_LAPIC)
VCPU_REQUEST(kvm_lapic_set, const struct kvm_lapic_state *, KVM_SET_LAPIC)

int kvm_clock_stopped(const struct kvm_vcpu *vcpu)
{
	return kvm_call(vcpu->fd, KVM_KVMCLOCK_CTRL, NULL);
}

/* A struct kvm_msrs with one entry. */
struct one_msr {
	uint32_t count, padding;
	struct kvm_msr_entry entry;
};

_Static_assert(offsetof(struct one_msr, entry) == offsetof(struct kvm_msrs, entries), "see linux/kvm.h");

int kvm_msr_set(const struct kvm_vcpu *vcpu, uint32_t msr, uint64_t value, struct error *err)
{
	const struct one_msr one = { .count = 1, .entry = { .index = msr, .data = value } };
	int done = kvm_failed(err, kvm_call(vcpu->fd, KVM_SET_MSRS, &one), "KVM_SET_MSRS");

	/* It says how many it did, and that none is no error. */
	return done == 0  ? error_set(err, EINVAL, "KVM takes no 0x%llx in MSR 0x%x", (unsigned long long)value, msr)
	       : done < 0 ? done
			  : 0;
}

int kvm_msr_get(const struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *value, struct error *err)
{
	struct one_msr one = { .count = 1, .entry = { .index = msr } };
	int done = kvm_failed(err, kvm_call(vcpu->fd, KVM_GET_MSRS, &one), "KVM_GET_MSRS");

	*value = one.entry.data;
	return done == 0 ? error_set(err, EINVAL, "KVM has no MSR 0x%x", msr) : done < 0 ? done : 0;
}

/* A MSR that this vCPU has not cannot be read, and need not be kept. */
static void get_msr(const struct kvm_vcpu *vcpu, uint32_t index, struct kvm_vcpu_state *state)
{
	uint64_t value;

	if (state->msr_count < KVM_MSRS_MAX && kvm_msr_get(vcpu, index, &value, NULL) == 0)
		state->msrs[state->msr_count++] = (struct kvm_msr_entry){ .index = index, .data = value };
}

/* Those of KVM's list, and the MTRRs, which KVM keeps and does not list: variable, fixed, and the default. */
static int get_msrs(int kvm, const struct kvm_vcpu *vcpu, struct kvm_vcpu_state *state, struct error *err)
{
	static const struct {
		uint32_t first, last;
	} mtrrs[] = { { 0x200, 0x20f }, { 0x250, 0x250 }, { 0x258, 0x259 }, { 0x268, 0x26f }, { 0x2ff, 0x2ff } };
	cleanup_free struct kvm_msr_list *list = calloc(1, sizeof(*list) + KVM_MSRS_MAX * sizeof(list->indices[0]));
	int result;

	if (!list)
		return error_errno(err, ENOMEM, "read MSRs");
	list->nmsrs = KVM_MSRS_MAX;
	result = kvm_failed(err, kvm_call(kvm, KVM_GET_MSR_INDEX_LIST, list), "KVM_GET_MSR_INDEX_LIST");
	if (result < 0)
		return result;
	state->msr_count = 0;
	for (uint32_t i = 0; i < list->nmsrs; i++)
		get_msr(vcpu, list->indices[i], state);
	for (size_t i = 0; i < sizeof(mtrrs) / sizeof(mtrrs[0]); i++)
		for (uint32_t index = mtrrs[i].first; index <= mtrrs[i].last; index++)
			get_msr(vcpu, index, state);
	return 0;
}

static int set_msrs(const struct kvm_vcpu *vcpu, const struct kvm_vcpu_state *state, struct error *err)
{
	if (state->msr_count > KVM_MSRS_MAX)
		return error_set(err, EINVAL, "a vCPU with %u MSRs", state->msr_count);
	for (uint32_t i = 0; i < state->msr_count; i++) {
		const struct kvm_msr_entry *msr = &state->msrs[i];
		uint64_t there = 0;

		/* Some can be read and not be written: they are well if they say the same already. */
		if (kvm_msr_set(vcpu, msr->index, msr->data, NULL) < 0 &&
		    (kvm_msr_get(vcpu, msr->index, &there, NULL) < 0 || there != msr->data) && msr->data != 0)
			return error_set(err, EINVAL, "this host takes no 0x%llx in MSR 0x%x",
					 (unsigned long long)msr->data, msr->index);
	}
	return 0;
}

struct part {
	unsigned long get, set;
	size_t offset;
	const char *name;
};

#define PART(get_, set_, member)                                                                                 \
	{                                                                                                        \
		.get = (get_), .set = (set_), .offset = offsetof(struct kvm_vcpu_state, member), .name = #member \
	}

/*
 * In the order in which they can be set: the APIC's base (sregs) before the APIC, all of that before the MSRs (the
 * TSC's deadline needs the APIC's mode), and events last, for setting others can make some.
 */
static const struct part parts[] = {
	PART(KVM_GET_MP_STATE, KVM_SET_MP_STATE, mp), PART(KVM_GET_REGS, KVM_SET_REGS, regs),
	PART(KVM_GET_SREGS, KVM_SET_SREGS, sregs),    PART(KVM_GET_XCRS, KVM_SET_XCRS, xcrs),
	PART(KVM_GET_XSAVE, KVM_SET_XSAVE, xsave),    PART(KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, debug),
	PART(KVM_GET_LAPIC, KVM_SET_LAPIC, lapic),
};

int kvm_vcpu_state_get(int kvm, const struct kvm_vcpu *vcpu, struct kvm_vcpu_state *state, struct error *err)
{
	int result;

	memset(state, 0, sizeof(*state));
	/* The first one: it lets pending work of an INIT or SIPI happen, which changes the others. */
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		result = kvm_call(vcpu->fd, parts[i].get, (char *)state + parts[i].offset);
		if (result < 0)
			return error_errno(err, -result, "read the %s of a vCPU", parts[i].name);
	}
	result = kvm_call(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	state->tsc_khz = result > 0 ? (uint32_t)result : 0;
	result = get_msrs(kvm, vcpu, state, err);
	if (result < 0)
		return result;
	return kvm_failed(err, kvm_call(vcpu->fd, KVM_GET_VCPU_EVENTS, &state->events), "KVM_GET_VCPU_EVENTS");
}

int kvm_vcpu_state_set(const struct kvm_vcpu *vcpu, const struct kvm_vcpu_state *state, struct error *err)
{
	int result;

	/* A host whose TSC runs at another rate must scale; where it cannot, the same rate is no request at all. */
	if (state->tsc_khz && kvm_call(vcpu->fd, KVM_GET_TSC_KHZ, NULL) != (int)state->tsc_khz) {
		result = kvm_call_number(vcpu->fd, KVM_SET_TSC_KHZ, state->tsc_khz);
		if (result < 0)
			return error_errno(err, -result, "let the TSC run at %u kHz", state->tsc_khz);
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		result = kvm_call(vcpu->fd, parts[i].set, (const char *)state + parts[i].offset);
		if (result < 0)
			return error_errno(err, -result, "set the %s of a vCPU", parts[i].name);
	}
	result = set_msrs(vcpu, state, err);
	if (result < 0)
		return result;
	return kvm_failed(err, kvm_call(vcpu->fd, KVM_SET_VCPU_EVENTS, &state->events), "KVM_SET_VCPU_EVENTS");
}

int kvm_vm_state_get(int vm, bool pit, struct kvm_vm_state *state, struct error *err)
{
	struct kvm_clock_data clock = { .clock = 0 };
	int result = 0;

	memset(state, 0, sizeof(*state));
	for (unsigned i = 0; result == 0 && i < 3; i++) {
		state->chips[i].chip_id = i;
		result = kvm_failed(err, kvm_call(vm, KVM_GET_IRQCHIP, &state->chips[i]), "KVM_GET_IRQCHIP");
	}
	if (result == 0 && pit)
		result = kvm_failed(err, kvm_call(vm, KVM_GET_PIT2, &state->pit), "KVM_GET_PIT2");
	if (result == 0)
		result = kvm_failed(err, kvm_call(vm, KVM_GET_CLOCK, &clock), "KVM_GET_CLOCK");
	state->clock = clock.clock;
	return result;
}

int kvm_vm_state_set(int vm, bool pit, const struct kvm_vm_state *state, struct error *err)
{
	const struct kvm_clock_data clock = { .clock = state->clock };
	int result = 0;

	for (unsigned i = 0; result == 0 && i < 3; i++) {
		struct kvm_irqchip chip = state->chips[i];

		chip.chip_id = i;
		result = kvm_failed(err, kvm_call(vm, KVM_SET_IRQCHIP, &chip), "KVM_SET_IRQCHIP");
	}
	if (result == 0 && pit)
		result = kvm_failed(err, kvm_call(vm, KVM_SET_PIT2, &state->pit), "KVM_SET_PIT2");
	if (result == 0)
		result = kvm_failed(err, kvm_call(vm, KVM_SET_CLOCK, &clock), "KVM_SET_CLOCK");
	return result;
}
