/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's processor says of itself: all that processor and KVM can
 * give together, but for what a guest here has no use for.
 *
 * pv: it is told that it runs on KVM, and uses KVM's clock, end-of-interrupt
 * without exits, steal time, remote TLB flushes.  vm: it is told nothing.
 * Intel's Software Developer's Manual, volume 2, CPUID; AMD's Architecture
 * Programmer's Manual, volume 3, appendix E; Documentation/virt/kvm/x86/cpuid.rst.
 */
#include <asm/kvm_para.h>
#include <errno.h>
#include <string.h>

#include "paradigm/vm/machine/arch.h"

enum {
	LEAF_FEATURES = 1,
	LEAF_CACHES = 4,
	LEAF_POWER = 6,
	LEAF_EXTENDED = 7,
	LEAF_COUNTERS = 0xa,
	LEAF_TOPOLOGY = 0xb,
	LEAF_XSAVE = 0xd,
	LEAF_TOPOLOGY2 = 0x1f,
};

#define LEAF_KVM	    0x40000000U
#define LEAF_KVM_FEATURES   0x40000001U
#define LEAF_HYPERVISOR_END 0x4fffffffU
#define LEAF_AMD_FEATURES   0x80000001U
#define LEAF_AMD_SIZES	    0x80000008U
#define LEAF_AMD_SVM	    0x8000000aU
#define LEAF_AMD_CACHES	    0x8000001dU
#define LEAF_AMD_TOPOLOGY   0x8000001eU

#define FEATURE_VMX	     (1U << 5)	/* 1, ECX */
#define FEATURE_TSC_DEADLINE (1U << 24) /* 1, ECX */
#define FEATURE_HYPERVISOR   (1U << 31) /* 1, ECX */
#define FEATURE_HTT	     (1U << 28) /* 1, EDX */
#define FEATURE_ARAT	     (1U << 2)	/* 6, EAX */
#define AMD_SVM		     (1U << 2)	/* 0x80000001, ECX */
#define AMD_PERFCTR	     (3U << 23) /* 0x80000001, ECX: core and northbridge */
#define AMD_TOPOLOGY	     (1U << 22) /* 0x80000001, ECX */

static void remove_leaves(struct kvm_cpuid_table *cpuid, uint32_t first, uint32_t last)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->count; i++)
		if (cpuid->entries[i].function < first || cpuid->entries[i].function > last)
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->count = kept;
}

/* Bits that hold the numbers 0 to count - 1. */
static unsigned bits_for(unsigned count)
{
	unsigned bits = 0;

	while (1U << bits < count)
		bits++;
	return bits;
}

/* One socket, no threads that share a core: each vCPU is a core. */
static void set_cores(struct kvm_cpuid_table *cpuid, unsigned vcpus)
{
	struct kvm_cpuid_entry2 *entry = kvm_cpuid_find(cpuid, LEAF_FEATURES, 0);
	unsigned level;

	if (entry) {
		entry->ebx = (entry->ebx & 0xff00ffffU) | vcpus << 16;
		entry->edx = vcpus > 1 ? entry->edx | FEATURE_HTT : entry->edx & ~FEATURE_HTT;
	}
	for (uint32_t i = 0; i < cpuid->count; i++) {
		entry = &cpuid->entries[i];
		if (entry->function == LEAF_CACHES) {
			/* EAX: cores of the package, who shares this cache, level.  The third one is shared by all. */
			level = entry->eax >> 5 & 7;
			entry->eax &= 0x3fffU;
			entry->eax |= (vcpus - 1) << 26 | (level >= 3 ? vcpus - 1 : 0) << 14;
		} else if (entry->function == LEAF_AMD_CACHES) {
			level = entry->eax >> 5 & 7;
			entry->eax = (entry->eax & 0x3fffU) | (level >= 3 ? vcpus - 1 : 0) << 14;
		} else if (entry->function == LEAF_AMD_SIZES) {
			entry->ecx = bits_for(vcpus) << 12 | (vcpus - 1);
		} else if (entry->function == LEAF_AMD_TOPOLOGY) {
			entry->eax = entry->ebx = entry->ecx = 0;
		}
	}
}

static struct kvm_cpuid_entry2 *append(struct kvm_cpuid_table *cpuid, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry;

	if (cpuid->count >= KVM_CPUID_MAX)
		return NULL;
	entry = &cpuid->entries[cpuid->count++];
	*entry = (struct kvm_cpuid_entry2){ .function = function,
					    .index = index,
					    .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
	return entry;
}

/* The extended topology: threads (one of each core), cores, end.  EDX of all is the vCPU's number. */
static void set_topology(struct kvm_cpuid_table *cpuid, unsigned vcpus)
{
	struct kvm_cpuid_entry2 *thread, *core, *end;
	bool there = kvm_cpuid_find(cpuid, LEAF_TOPOLOGY, 0) != NULL;

	remove_leaves(cpuid, LEAF_TOPOLOGY, LEAF_TOPOLOGY);
	remove_leaves(cpuid, LEAF_TOPOLOGY2, LEAF_TOPOLOGY2);
	if (!there)
		return;
	thread = append(cpuid, LEAF_TOPOLOGY, 0);
	core = append(cpuid, LEAF_TOPOLOGY, 1);
	end = append(cpuid, LEAF_TOPOLOGY, 2);
	if (!thread || !core || !end)
		return;
	thread->ebx = 1;
	thread->ecx = 1 << 8;
	core->eax = bits_for(vcpus);
	core->ebx = vcpus;
	core->ecx = 2 << 8 | 1;
	end->ecx = 2;
}

/* Performance counters and nested virtualization: nobody here counts or nests, and both have state to be saved. */
static void take_away(struct kvm_cpuid_table *cpuid)
{
	struct kvm_cpuid_entry2 *entry = kvm_cpuid_find(cpuid, LEAF_FEATURES, 0);

	if (entry)
		entry->ecx &= ~FEATURE_VMX;
	entry = kvm_cpuid_find(cpuid, LEAF_AMD_FEATURES, 0);
	if (entry)
		entry->ecx &= ~(AMD_SVM | AMD_PERFCTR | AMD_TOPOLOGY);
	entry = kvm_cpuid_find(cpuid, LEAF_COUNTERS, 0);
	if (entry)
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
	entry = kvm_cpuid_find(cpuid, LEAF_POWER, 0);
	if (entry) {
		entry->eax &= FEATURE_ARAT;
		entry->ebx = entry->ecx = entry->edx = 0;
	}
	entry = kvm_cpuid_find(cpuid, LEAF_AMD_SVM, 0);
	if (entry)
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
}

static void set_hypervisor(struct kvm_cpuid_table *cpuid, enum vm_kind kind)
{
	struct kvm_cpuid_entry2 *features = kvm_cpuid_find(cpuid, LEAF_FEATURES, 0);

	if (kind == VM_KIND_PV) {
		if (features)
			features->ecx |= FEATURE_HYPERVISOR;
		return; /* with KVM's own leaves, as KVM fills them */
	}
	if (features)
		features->ecx &= ~FEATURE_HYPERVISOR;
	remove_leaves(cpuid, LEAF_KVM, LEAF_HYPERVISOR_END);
}

int cpuid_make(struct machine *machine, struct error *err)
{
	struct kvm_cpuid_table *cpuid = &machine->cpuid;
	struct kvm_cpuid_entry2 *features;
	unsigned vcpus = machine->vcpus_wanted;
	int result = kvm_cpuid_supported(machine->kvm, cpuid, err);

	if (result < 0)
		return result;
	features = kvm_cpuid_find(cpuid, LEAF_FEATURES, 0);
	/* The kernel's local APIC has it, whatever the processor has; older kernels leave it to us to say so. */
	if (features && kvm_capability(machine->vm, KVM_CAP_TSC_DEADLINE_TIMER))
		features->ecx |= FEATURE_TSC_DEADLINE;
	take_away(cpuid);
	set_cores(cpuid, vcpus);
	set_topology(cpuid, vcpus);
	set_hypervisor(cpuid, machine->kind);
	return 0;
}

void cpuid_number(struct kvm_cpuid_table *cpuid, unsigned index)
{
	for (uint32_t i = 0; i < cpuid->count; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == LEAF_FEATURES)
			entry->ebx = (entry->ebx & 0xffffffU) | index << 24;
		else if (entry->function == LEAF_TOPOLOGY)
			entry->edx = index;
		else if (entry->function == LEAF_AMD_TOPOLOGY)
			entry->eax = entry->ebx = index;
	}
}

/* Words of features, a bit each. */
static const struct {
	uint32_t function, index;
	bool eax, ebx, ecx, edx;
} feature_words[] = {
	{ LEAF_FEATURES, 0, .ecx = true, .edx = true },
	{ LEAF_EXTENDED, 0, .ebx = true, .ecx = true, .edx = true },
	{ LEAF_EXTENDED, 1, .eax = true },
	{ LEAF_XSAVE, 0, .eax = true },
	{ LEAF_XSAVE, 1, .eax = true },
	{ LEAF_KVM_FEATURES, 0, .eax = true },
	{ LEAF_AMD_FEATURES, 0, .ecx = true, .edx = true },
};

int cpuid_check(const struct kvm_cpuid_table *saved, struct kvm_cpuid_table *supported, struct error *err)
{
	const struct kvm_cpuid_entry2 none = { .function = 0 }, *old, *new;
	struct kvm_cpuid_table copy = *saved;

	if (saved->count > KVM_CPUID_MAX)
		return error_set(err, EINVAL, "the snapshot's processor has %u leaves of CPUID", saved->count);
	for (size_t i = 0; i < sizeof(feature_words) / sizeof(feature_words[0]); i++) {
		old = kvm_cpuid_find(&copy, feature_words[i].function, feature_words[i].index);
		new = kvm_cpuid_find(supported, feature_words[i].function, feature_words[i].index);
		old = old ? old : &none;
		new = new ? new : &none;
		if ((feature_words[i].eax && old->eax & ~new->eax) || (feature_words[i].ebx && old->ebx & ~new->ebx) ||
		    (feature_words[i].ecx && old->ecx & ~new->ecx) || (feature_words[i].edx && old->edx & ~new->edx))
			return error_set(err, EINVAL,
					 "the snapshot was taken on a processor with features that this one lacks "
					 "(CPUID leaf 0x%x)",
					 feature_words[i].function);
	}
	return 0;
}
