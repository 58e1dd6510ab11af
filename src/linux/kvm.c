/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/kvm_private.h"

int kvm_call(int fd, unsigned long request, const void *argument)
{
	int result;

	/* Some requests can be interrupted while they wait for other vCPUs. */
	do
		result = ioctl(fd, request, argument);
	while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : result;
}

int kvm_call_number(int fd, unsigned long request, unsigned long argument)
{
	return kvm_call(fd, request, (const void *)argument); /* NOLINT(performance-no-int-to-ptr) */
}

int kvm_failed(struct error *err, int result, const char *request)
{
	return result < 0 ? error_errno(err, -result, "%s", request) : result;
}

int kvm_open(struct error *err)
{
	cleanup_close int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int result;

	if (kvm < 0) {
		int code = errno;

		(void)error_errno(err, code, "open /dev/kvm");
		if (code == ENOENT || code == ENODEV || code == ENXIO)
			return error_hint(err, "this machine has no hardware virtualization, or it is switched off in "
					       "its firmware, or the module kvm_intel or kvm_amd is missing");
		return code == EACCES ? error_hint(err, "join the group kvm") : -code;
	}
	result = kvm_check(kvm, err);
	return result < 0 ? result : take_fd(&kvm);
}

int kvm_capability(int fd, unsigned capability)
{
	int value = kvm_call_number(fd, KVM_CHECK_EXTENSION, capability);

	return value > 0 ? value : 0;
}

int kvm_check(int kvm, struct error *err)
{
	static const struct {
		unsigned number;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "irqchip" },
		{ KVM_CAP_USER_MEMORY, "user memory" },
		{ KVM_CAP_IRQFD, "irqfd" },
		{ KVM_CAP_IOEVENTFD, "ioeventfd" },
		{ KVM_CAP_SIGNAL_MSI, "MSI" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
		{ KVM_CAP_EXT_CPUID, "CPUID" },
		{ KVM_CAP_XSAVE, "XSAVE" },
		{ KVM_CAP_MP_STATE, "MP state" },
		{ KVM_CAP_VCPU_EVENTS, "vCPU events" },
		{ KVM_CAP_DEBUGREGS, "debug registers" },
	};
	int version = kvm_call(kvm, KVM_GET_API_VERSION, NULL);

	if (version < 0)
		return error_errno(err, -version, "ask KVM for its version");
	if (version != KVM_API_VERSION)
		return error_set(err, ENOSYS, "KVM of version %d, where %d is known", version, KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!kvm_capability(kvm, needed[i].number))
			return error_set(err, ENOSYS, "this kernel's KVM has no %s", needed[i].name);
	return 0;
}

int kvm_vm_create(int kvm, struct error *err)
{
	return kvm_failed(err, kvm_call(kvm, KVM_CREATE_VM, NULL), "make a virtual machine");
}

int kvm_irqchip_create(int vm, uint64_t tss, uint64_t identity, struct error *err)
{
	int result = 0;

	/* SVM ignores both. */
	if (kvm_capability(vm, KVM_CAP_SET_IDENTITY_MAP_ADDR))
		result = kvm_failed(err, kvm_call(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity),
				    "KVM_SET_IDENTITY_MAP_ADDR");
	if (result == 0 && kvm_capability(vm, KVM_CAP_SET_TSS_ADDR))
		result = kvm_failed(err, kvm_call_number(vm, KVM_SET_TSS_ADDR, tss), "KVM_SET_TSS_ADDR");
	if (result == 0)
		result = kvm_failed(err, kvm_call(vm, KVM_CREATE_IRQCHIP, NULL), "KVM_CREATE_IRQCHIP");
	return result;
}

int kvm_pit_create(int vm, struct error *err)
{
	/* The speaker's port tells of the second channel, by which Linux measures the TSC. */
	const struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };

	return kvm_failed(err, kvm_call(vm, KVM_CREATE_PIT2, &config), "KVM_CREATE_PIT2");
}

int kvm_memory_set(int vm, unsigned slot, unsigned flags, uint64_t guest, void *host, uint64_t size, struct error *err)
{
	const struct kvm_userspace_memory_region region = { .slot = slot,
							    .flags = flags,
							    .guest_phys_addr = guest,
							    .memory_size = size,
							    .userspace_addr = (uintptr_t)host };

	return kvm_failed(err, kvm_call(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

int kvm_dirty_log(int vm, unsigned slot, void *bitmap, struct error *err)
{
	const struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	return kvm_failed(err, kvm_call(vm, KVM_GET_DIRTY_LOG, &log), "KVM_GET_DIRTY_LOG");
}

int kvm_irq_line(int vm, unsigned gsi, bool level)
{
	const struct kvm_irq_level line = { .irq = gsi, .level = level };

	return kvm_call(vm, KVM_IRQ_LINE, &line);
}

int kvm_irqfd_add(int vm, int eventfd, unsigned gsi, int resample, struct error *err)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd, .gsi = gsi };

	if (resample >= 0) {
		irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
		irqfd.resamplefd = (uint32_t)resample;
	}
	return kvm_failed(err, kvm_call(vm, KVM_IRQFD, &irqfd), "KVM_IRQFD");
}

int kvm_irqfd_remove(int vm, int eventfd, unsigned gsi)
{
	const struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN };

	return kvm_call(vm, KVM_IRQFD, &irqfd);
}

int kvm_routes_set(int vm, const struct kvm_irq_routing_entry *routes, size_t count, struct error *err)
{
	cleanup_free struct kvm_irq_routing *table = calloc(1, sizeof(*table) + count * sizeof(*routes));

	if (!table)
		return error_errno(err, ENOMEM, "set routes of interrupts");
	table->nr = (uint32_t)count;
	memcpy(table->entries, routes, count * sizeof(*routes));
	return kvm_failed(err, kvm_call(vm, KVM_SET_GSI_ROUTING, table), "KVM_SET_GSI_ROUTING");
}

int kvm_signal_msi(int vm, uint64_t address, uint32_t data)
{
	const struct kvm_msi msi = { .address_lo = (uint32_t)address,
				     .address_hi = (uint32_t)(address >> 32),
				     .data = data };

	return kvm_call(vm, KVM_SIGNAL_MSI, &msi);
}

static struct kvm_ioeventfd ioeventfd(const struct kvm_doorbell *doorbell, unsigned flags)
{
	flags |= doorbell->port ? KVM_IOEVENTFD_FLAG_PIO : 0;
	flags |= doorbell->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0;
	return (struct kvm_ioeventfd){ .fd = doorbell->eventfd,
				       .addr = doorbell->address,
				       .len = doorbell->size,
				       .datamatch = doorbell->match ? doorbell->value : 0,
				       .flags = flags };
}

int kvm_ioeventfd_add(int vm, const struct kvm_doorbell *doorbell, struct error *err)
{
	const struct kvm_ioeventfd event = ioeventfd(doorbell, 0);

	return kvm_failed(err, kvm_call(vm, KVM_IOEVENTFD, &event), "KVM_IOEVENTFD");
}

int kvm_ioeventfd_remove(int vm, const struct kvm_doorbell *doorbell)
{
	const struct kvm_ioeventfd event = ioeventfd(doorbell, KVM_IOEVENTFD_FLAG_DEASSIGN);

	return kvm_call(vm, KVM_IOEVENTFD, &event);
}

int kvm_vcpu_create(int kvm, int vm, unsigned id, struct kvm_vcpu *vcpu, struct error *err)
{
	cleanup_close int fd = -1;
	void *run;
	int size = kvm_failed(err, kvm_call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL), "KVM_GET_VCPU_MMAP_SIZE");

	*vcpu = (struct kvm_vcpu){ .fd = -1 };
	if (size < 0)
		return size;
	if ((size_t)size < sizeof(struct kvm_run))
		return error_set(err, ENOSYS, "KVM shares %d bytes with a vCPU, which are too few", size);
	fd = kvm_failed(err, kvm_call_number(vm, KVM_CREATE_VCPU, id), "KVM_CREATE_VCPU");
	if (fd < 0)
		return fd;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		return error_errno(err, errno, "map the state of a vCPU");
	*vcpu = (struct kvm_vcpu){ .fd = take_fd(&fd), .run = run, .size = (size_t)size };
	return 0;
}

void kvm_vcpu_close(struct kvm_vcpu *vcpu)
{
	if (vcpu->run)
		(void)munmap(vcpu->run, vcpu->size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	*vcpu = (struct kvm_vcpu){ .fd = -1 };
}

int kvm_vcpu_run(struct kvm_vcpu *vcpu)
{
	return ioctl(vcpu->fd, KVM_RUN, NULL) < 0 ? -errno : 0;
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu, bool kicked)
{
	__atomic_store_n(&vcpu->run->immediate_exit, kicked, __ATOMIC_SEQ_CST);
}
