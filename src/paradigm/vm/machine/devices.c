/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the devices of a configuration into a machine. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/device/cmos.h"
#include "paradigm/vm/device/fw_cfg.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/private.h"

int machine_edges(const struct machine *machine, unsigned line, struct error *err)
{
	cleanup_close int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int result;

	if (event < 0)
		return error_errno(err, errno, "make an eventfd");
	result = kvm_irqfd_add(machine->vm, event, line, -1, err);
	return result < 0 ? result : take_fd(&event);
}

void machine_set_level(void *context, unsigned line, bool level)
{
	const struct machine *machine = context;

	(void)kvm_irq_line(machine->vm, line, level);
}

int machine_own(struct machine *machine, struct device *device, struct error *err)
{
	if (!device)
		return error_errno(err, ENOMEM, "make a device");
	if (machine->devices_count == MACHINE_DEVICES_MAX) {
		device->ops->free(device);
		return error_set(err, ENOSPC, "a machine with more than %d devices", MACHINE_DEVICES_MAX);
	}
	machine->devices[machine->devices_count++] = device;
	return 0;
}

int machine_own_at(struct machine *machine, struct device *device, enum bus_kind kind, uint64_t base, uint64_t size,
		   struct error *err)
{
	int result = machine_own(machine, device, err);

	return result < 0 ? result : bus_add(&machine->bus, kind, base, size, device, 0, err);
}

void machine_room(void *context)
{
	const struct machine *machine = context;
	const uint64_t one = 1;

	if (write(machine->room.fd, &one, sizeof(one)) < 0)
		return;
}

static int add_serial(struct machine *machine, const struct machine_channel *channel, uint64_t ports, unsigned line,
		      struct serial **serial, struct error *err)
{
	struct serial_options options = { .output = channel->output, .context = channel->context };
	int edges = machine_edges(machine, line, err);

	if (edges < 0)
		return edges;
	options.interrupt = (struct interrupt){ .fd = edges };
	options.room = machine_room;
	options.room_context = machine;
	*serial = serial_make(&options);
	return machine_own_at(machine, *serial ? &(*serial)->device : NULL, BUS_PORTS, ports, LAYOUT_COM_SIZE, err);
}

static int add_power(struct machine *machine, struct error *err)
{
	const struct power power = { .event = machine_power, .context = machine };
	const struct interrupt sci = { .fd = -1, .set = machine_set_level, .context = machine, .line = LAYOUT_IRQ_SCI };
	struct device *i8042;
	int result;

	machine->pm = pm_make(&power, &sci);
	result = machine_own_at(machine, machine->pm, BUS_PORTS, LAYOUT_PM, LAYOUT_PM_SIZE, err);
	if (result < 0)
		return result;
	i8042 = i8042_make(&power);
	result = machine_own_at(machine, i8042, BUS_PORTS, LAYOUT_I8042_DATA, 1, err);
	if (result == 0)
		result = bus_add(&machine->bus, BUS_PORTS, LAYOUT_I8042_COMMAND, 1, i8042, 1, err);
	return result;
}

/* A guest with an agent has other ways to tell how it fared, and finds the rest in ACPI. */
static int add_test_devices(struct machine *machine, const struct vm_config *config, struct error *err)
{
	const struct power power = { .event = machine_power, .context = machine };
	int result = machine_own_at(machine, debug_exit_make(&power), BUS_PORTS, LAYOUT_DEBUG_EXIT,
				    LAYOUT_DEBUG_EXIT_SIZE, err);

	return result < 0 ? result
			  : machine_own_at(machine, fw_cfg_make(config->memory, config->vcpus), BUS_PORTS,
					   LAYOUT_FW_CFG, LAYOUT_FW_CFG_SIZE, err);
}

int machine_add_devices(struct machine *machine, const struct machine_options *options, struct error *err)
{
	int result = add_serial(machine, &options->console, LAYOUT_COM1, LAYOUT_IRQ_COM1, &machine->console, err);

	if (result == 0 && options->agent.output && machine->kind == VM_KIND_VM)
		result = add_serial(machine, &options->agent, LAYOUT_COM2, LAYOUT_IRQ_COM2, &machine->serial_agent,
				    err);
	if (result == 0)
		result = machine_own_at(machine, cmos_make(NULL), BUS_PORTS, LAYOUT_CMOS, LAYOUT_CMOS_SIZE, err);
	if (result == 0)
		result = add_power(machine, err);
	if (result == 0 && machine->bare)
		result = add_test_devices(machine, options->config, err);
	if (result < 0)
		return result;
	if (machine->kind == VM_KIND_PV)
		result = machine_add_virtio(machine, options, err);
	if (result == 0 && (machine->kind == VM_KIND_VM || options->config->devices_count > 0))
		result = machine_add_pci(machine, options, err);
	return result;
}
