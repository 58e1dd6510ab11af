/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI devices of the host that the machine gets.  They are opened here, where
 * /sys and /dev are; the monitor has their descriptors and the container's, and lets
 * them reach the guest's memory, which is locked for that.
 */
#include <errno.h>

#include "base/arena.h"
#include "linux/vfio.h"
#include "paradigm/vm/prepare.h"

/* What the monitor may lock beside the guest's memory: io_uring's rings. */
static const uint64_t LOCKED = UINT64_C(64) << 20;

static int add(struct vm_plan *plan, struct vfio_container *container, const char *address, struct error *err)
{
	struct vm_device *device = &plan->config.devices[plan->config.devices_count];
	int fd = vfio_open(container, address, err);

	if (fd < 0)
		return fd;
	fd = vm_keep(plan, fd, err);
	if (fd < 0)
		return fd;
	*device = (struct vm_device){ .fd = fd, .address = address };
	plan->config.devices_count++;
	return 0;
}

/* Devices hold their groups. */
static int keep_container(struct vm_plan *plan, struct vfio_container *container, struct error *err)
{
	int fd = container->fd;

	container->fd = -1;
	plan->config.container = vm_keep(plan, fd, err);
	return plan->config.container < 0 ? plan->config.container : 0;
}

static int raise_limit(struct vm_plan *plan, struct error *err)
{
	struct oci_process *process = &plan->spec->process;
	struct oci_rlimit *limit = arena_alloc(&plan->spec->arena, 1, sizeof(*limit));

	if (!limit)
		return error_errno(err, ENOMEM, "cannot describe the monitor");
	*limit = (struct oci_rlimit){ .type = "RLIMIT_MEMLOCK" };
	limit->soft = limit->hard = plan->config.memory + LOCKED;
	process->rlimits = limit;
	process->rlimits_count = 1;
	return 0;
}

int vm_open_devices(struct vm_plan *plan, struct error *err)
{
	struct vfio_container container = VFIO_CONTAINER_INIT;
	int ret = 0;

	if (plan->settings.devices_count == 0)
		return 0;
	if (plan->config.engine != VM_ENGINE_KVM)
		return error_set(err, ENOTSUP,
				 "devices of the host need the engine kvm, and here is only QEMU's "
				 "translation");
	if (plan->settings.snapshot)
		return error_set(err, ENOTSUP, "a machine with devices of the host cannot begin from a snapshot");
	for (size_t i = 0; ret == 0 && i < plan->settings.devices_count; i++)
		ret = add(plan, &container, plan->settings.devices[i], err);
	if (ret == 0)
		ret = keep_container(plan, &container, err);
	vfio_container_close(&container);
	return ret;
}

int vm_allow_devices(struct vm_plan *plan, struct error *err)
{
	return plan->config.devices_count > 0 ? raise_limit(plan, err) : 0;
}
