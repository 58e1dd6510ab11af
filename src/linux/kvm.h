/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm - virtual machines by /dev/kvm: Documentation/virt/kvm/api.rst of the
 * kernel.
 *
 * Thin and without opinions: what a machine looks like, and what is done with
 * its exits, is its user's.  Works the same on VMX and SVM; the interrupt
 * controllers are the kernel's own.  Descriptors that a function returns are
 * O_CLOEXEC and the caller's to close.  Functions return 0 (or what they say) or
 * -errno, and then fill err with the name of the request that failed.
 */
#ifndef CAISSON_LINUX_KVM_H
#define CAISSON_LINUX_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* /dev/kvm by its path.  -ENOENT, -EACCES, -ENODEV, each with what would help. */
int kvm_open(struct error *err);
/* Whether a descriptor is that of a KVM which has what the functions below need.  -ENOTTY, -ENOSYS. */
int kvm_check(int kvm, struct error *err);
/* The value of a KVM_CAP_*, of /dev/kvm or of a machine; 0: it does not have it. */
int kvm_capability(int fd, unsigned capability);

/* What /dev/kvm is worth. */
enum kvm_speed {
	KVM_NATIVE = 1,	  /* the processor runs the guest */
	KVM_EMULATED = 2, /* the kernel interprets each instruction: tiny guests work, and no operating system */
};

/*
 * Runs a guest of some thousand instructions against the clock.  cache: a directory where the verdict of this boot is
 * kept in a file "kvm-speed", or -1.  Needs one page of memory, and a millisecond where the answer is KVM_NATIVE.
 * Returns an enum kvm_speed.
 */
int kvm_probe(int kvm, int cache, struct error *err);

/* A machine's descriptor. */
int kvm_vm_create(int kvm, struct error *err);

/*
 * The PICs, the IOAPIC and (of each vCPU that is created later) the local APIC, in the kernel.  tss and identity: where
 * VMX may put three pages and one page of its own, outside of all memory.
 */
int kvm_irqchip_create(int vm, uint64_t tss, uint64_t identity, struct error *err);
/* The PIT, with port 0x61. */
int kvm_pit_create(int vm, struct error *err);

/* Memory slot: size bytes at host become guest physical address guest.  flags: KVM_MEM_LOG_DIRTY_PAGES,
 * KVM_MEM_READONLY.  size 0 removes the slot. */
int kvm_memory_set(int vm, unsigned slot, unsigned flags, uint64_t guest, void *host, uint64_t size, struct error *err);
/* A bit per page of the slot that was written since the last call; bitmap has room for them, in multiples of 8 bytes.
 */
int kvm_dirty_log(int vm, unsigned slot, void *bitmap, struct error *err);

/* Interrupts.  Level of a line (GSI): */
int kvm_irq_line(int vm, unsigned gsi, bool level);
/* An edge of gsi for each write to eventfd; resample (or -1): gets an event when the guest acknowledges a level. */
int kvm_irqfd_add(int vm, int eventfd, unsigned gsi, int resample, struct error *err);
int kvm_irqfd_remove(int vm, int eventfd, unsigned gsi);
/* Replaces all routes of GSIs (those of the controllers, too). */
int kvm_routes_set(int vm, const struct kvm_irq_routing_entry *routes, size_t count, struct error *err);
/* One message-signalled interrupt, now.  > 0: delivered, 0: the guest masks it. */
int kvm_signal_msi(int vm, uint64_t address, uint32_t data);

/* Writes of the guest that become writes to an eventfd instead of exits. */
struct kvm_doorbell {
	int eventfd;
	uint64_t address;
	unsigned size; /* bytes; 0: any */
	bool port;     /* address is an I/O port's */
	bool match;    /* only writes of value */
	uint64_t value;
};

int kvm_ioeventfd_add(int vm, const struct kvm_doorbell *doorbell, struct error *err);
int kvm_ioeventfd_remove(int vm, const struct kvm_doorbell *doorbell);

/* A virtual processor.  All but kvm_vcpu_kick() is for the one thread that runs it. */
struct kvm_vcpu {
	int fd;
	struct kvm_run *run; /* shared with the kernel */
	size_t size;	     /* of run, bytes */
};

int kvm_vcpu_create(int kvm, int vm, unsigned id, struct kvm_vcpu *vcpu, struct error *err);
void kvm_vcpu_close(struct kvm_vcpu *vcpu);
/* Runs until vcpu->run->exit_reason says why not.  -EINTR: a signal came, or kvm_vcpu_kick(). */
int kvm_vcpu_run(struct kvm_vcpu *vcpu);
/* The next (or current, if a signal comes too) kvm_vcpu_run() returns -EINTR; off again with false.  Any thread. */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu, bool kicked);

/* x86 */
enum { KVM_CPUID_MAX = 256, KVM_MSRS_MAX = 512 };

struct kvm_cpuid_table {
	uint32_t count;
	uint32_t padding;
	struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
};

/* What processor and KVM can give to guests together. */
int kvm_cpuid_supported(int kvm, struct kvm_cpuid_table *cpuid, struct error *err);
int kvm_cpuid_set(const struct kvm_vcpu *vcpu, const struct kvm_cpuid_table *cpuid, struct error *err);
/* The entry, or NULL; index counts only for leaves that have sub-leaves. */
struct kvm_cpuid_entry2 *kvm_cpuid_find(struct kvm_cpuid_table *cpuid, uint32_t function, uint32_t index);

int kvm_regs_get(const struct kvm_vcpu *vcpu, struct kvm_regs *regs, struct error *err);
int kvm_regs_set(const struct kvm_vcpu *vcpu, const struct kvm_regs *regs, struct error *err);
int kvm_sregs_get(const struct kvm_vcpu *vcpu, struct kvm_sregs *sregs, struct error *err);
int kvm_sregs_set(const struct kvm_vcpu *vcpu, const struct kvm_sregs *sregs, struct error *err);
int kvm_lapic_get(const struct kvm_vcpu *vcpu, struct kvm_lapic_state *lapic, struct error *err);
int kvm_lapic_set(const struct kvm_vcpu *vcpu, const struct kvm_lapic_state *lapic, struct error *err);
int kvm_msr_set(const struct kvm_vcpu *vcpu, uint32_t msr, uint64_t value, struct error *err);
int kvm_msr_get(const struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *value, struct error *err);
/* Tells the guest's clock that the machine stood still, so that it sees no lockup.  -EINVAL: it has no such clock. */
int kvm_clock_stopped(const struct kvm_vcpu *vcpu);

/* Everything of a vCPU that a snapshot needs, besides its CPUID. */
struct kvm_vcpu_state {
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	uint32_t tsc_khz; /* 0: unknown */
	uint32_t msr_count;
	struct kvm_msr_entry msrs[KVM_MSRS_MAX];
	/*
	 * x87, SSE, AVX, PKRU, ...  4096 bytes hold all but AMX's tiles, which guests of a process that has not asked
	 * for them (arch_prctl(2), ARCH_REQ_XCOMP_GUEST_PERM) do not get: kvm_cpuid_supported() leaves them out.  Last,
	 * because newer kernels say that it may be longer.
	 */
	struct kvm_xsave xsave;
};

int kvm_vcpu_state_get(int kvm, const struct kvm_vcpu *vcpu, struct kvm_vcpu_state *state, struct error *err);
/* The state may be hostile: KVM checks it, and says -EINVAL. */
int kvm_vcpu_state_set(const struct kvm_vcpu *vcpu, const struct kvm_vcpu_state *state, struct error *err);

/* The same for what belongs to the whole machine: PICs and IOAPIC, PIT (if it has one), clock. */
struct kvm_vm_state {
	struct kvm_irqchip chips[3];
	struct kvm_pit_state2 pit;
	uint64_t clock; /* ns */
};

int kvm_vm_state_get(int vm, bool pit, struct kvm_vm_state *state, struct error *err);
int kvm_vm_state_set(int vm, bool pit, const struct kvm_vm_state *state, struct error *err);

/*
 * The kernel's own counters of a machine or a vCPU ("exits", "halt_exits", "irq_exits", ...): each() is called with
 * every one that is a single number.  -ENOSYS: this kernel has none.  A descriptor of them is kept by the caller
 * between kvm_stats_open() and close(2).
 */
int kvm_stats_open(int fd, struct error *err);
int kvm_stats_read(int stats, void (*each)(void *context, const char *name, uint64_t value), void *context,
		   struct error *err);

#endif
