/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of the host in a machine: what device/vfio.h needs of KVM, and the memory that they reach.
 *
 * Slots of memory behind those of RAM, and GSIs behind those of the IOAPIC, in equal parts for each device.  A route of
 * an interrupt cannot be changed alone: all of them are set again.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "linux/vfio.h"
#include "paradigm/vm/device/vfio.h"
#include "paradigm/vm/machine/arch.h"
#include "paradigm/vm/machine/layout.h"

_Static_assert((int)VM_DEVICES_MAX <= (int)VFIO_DEVICES_MAX, "all of them in one container");

struct passed {
	struct machine *machine;
	unsigned slot, message; /* its first */
};

/* What the machine keeps of them. */
struct passthrough {
	pthread_mutex_t lock; /* of messages; taken by vCPUs with a device's */
	struct machine_message messages[VM_DEVICES_MAX * VFIO_MESSAGES_MAX];
	size_t messages_count;
	struct passed passed[VM_DEVICES_MAX];
};

static bool map(void *context, unsigned slot, uint64_t guest, void *host, uint64_t size)
{
	const struct passed *passed = context;

	return kvm_memory_set(passed->machine->vm, passed->slot + slot, 0, guest, host, size, NULL) == 0;
}

static bool route(void *context, unsigned message, uint64_t address, uint32_t data)
{
	const struct passed *passed = context;
	struct passthrough *all = passed->machine->passthrough;
	struct machine_message *place = &all->messages[passed->message + message];
	bool done = true;

	(void)pthread_mutex_lock(&all->lock);
	if (!place->used || place->address != address || place->data != data) {
		*place = (struct machine_message){ .used = true, .address = address, .data = data };
		done = arch_routes_set(passed->machine, all->messages, all->messages_count, NULL) == 0;
		place->used = done;
	}
	(void)pthread_mutex_unlock(&all->lock);
	return done;
}

static bool listen_to(void *context, unsigned message, int eventfd, bool on)
{
	const struct passed *passed = context;
	unsigned gsi = LAYOUT_IRQS + passed->message + message;

	return (on ? kvm_irqfd_add(passed->machine->vm, eventfd, gsi, -1, NULL)
		   : kvm_irqfd_remove(passed->machine->vm, eventfd, gsi)) == 0;
}

static bool listen_to_line(void *context, unsigned line, int eventfd, int resample, bool on)
{
	const struct passed *passed = context;

	return (on ? kvm_irqfd_add(passed->machine->vm, eventfd, line, resample, NULL)
		   : kvm_irqfd_remove(passed->machine->vm, eventfd, line)) == 0;
}

static bool set_interrupts(const struct vfio_device *host, unsigned kind, const int *eventfds, size_t count)
{
	return vfio_interrupts_set(host, kind, eventfds, count, NULL) == 0;
}

static bool unmask_by(const struct vfio_device *host, int eventfd)
{
	return vfio_unmask_by(host, eventfd, NULL) == 0;
}

static const struct vfio_wiring wiring = {
	.map = map,
	.route = route,
	.listen = listen_to,
	.listen_line = listen_to_line,
	.interrupts = set_interrupts,
	.unmask_by = unmask_by,
};

/* All of the guest's memory, at the addresses that the guest knows. */
static int map_memory(const struct machine *machine, int container, struct error *err)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < machine->memory.count; i++) {
		const struct guest_region *region = &machine->memory.regions[i];

		result = vfio_map(container, region->base, region->host, region->size, err);
	}
	return result;
}

static int add(struct machine *machine, struct pci_host *pci, int fd, struct passed *passed, struct error *err)
{
	struct vfio_device host;
	const struct vfio_options options = { .host = &host, .pci = pci, .wiring = &wiring, .context = passed };
	struct device *device;
	int result = vfio_query(fd, &host, err);

	if (result == 0)
		result = vfio_make(&options, &device, err);
	return result < 0 ? result : machine_own(machine, device, err);
}

int machine_add_passthrough(struct machine *machine, struct pci_host *pci, const struct vm_config *config,
			    struct error *err)
{
	struct passthrough *all;
	int result = 0;

	if (config->devices_count == 0)
		return 0;
	all = calloc(1, sizeof(*all));
	if (!all)
		return error_errno(err, ENOMEM, "make devices of the host the guest's");
	(void)pthread_mutex_init(&all->lock, NULL);
	machine->passthrough = all;
	result = map_memory(machine, config->container, err);
	for (size_t i = 0; result == 0 && i < config->devices_count; i++) {
		struct passed *passed = &all->passed[i];

		*passed = (struct passed){ .machine = machine,
					   .slot = GUEST_REGIONS_MAX + (unsigned)i * VFIO_SLOTS_MAX,
					   .message = (unsigned)i * VFIO_MESSAGES_MAX };
		all->messages_count = passed->message + VFIO_MESSAGES_MAX;
		result = add(machine, pci, config->devices[i].fd, passed, err);
		if (result < 0)
			return error_wrap(err, "PCI device %s",
					  config->devices[i].address ? config->devices[i].address : "of the host");
	}
	return result;
}

void machine_free_passthrough(struct machine *machine)
{
	if (!machine->passthrough)
		return;
	(void)pthread_mutex_destroy(&machine->passthrough->lock);
	free(machine->passthrough);
	machine->passthrough = NULL;
}
