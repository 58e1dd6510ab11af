/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI bus: emulated devices, for guests that are told nothing of virtio, and devices of the host's. */
#include "paradigm/vm/device/pci.h"
#include <errno.h>
#include <unistd.h>

#include "linux/tun.h"
#include "paradigm/vm/device/ata.h"
#include "paradigm/vm/device/e1000.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/private.h"

static int add_card(struct machine *machine, struct pci_host *pci, const struct vm_net *net, struct error *err)
{
	struct e1000_options options = {
		.tap = net->taps[0], .pci = pci, .memory = &machine->memory, .loop = &machine->io.loop
	};
	struct device *device;
	int result = machine_mac(net->mac, options.mac, err);

	if (result == 0)
		result = tap_adopt(net->taps[0], NULL, err);
	if (result == 0)
		result = e1000_make(&options, &device, err);
	return result < 0 ? result : machine_own(machine, device, err);
}

struct drives {
	struct block *blocks[ATA_CHANNELS * ATA_DRIVES];
	struct interrupt interrupts[ATA_CHANNELS];
};

static void close_drives(struct drives *drives)
{
	for (int i = 0; i < ATA_CHANNELS * ATA_DRIVES; i++)
		if (drives->blocks[i])
			block_close(drives->blocks[i]);
	for (int i = 0; i < ATA_CHANNELS; i++)
		if (drives->interrupts[i].fd >= 0)
			close(drives->interrupts[i].fd);
}

static int open_drives(struct machine *machine, const struct vm_config *config, struct drives *drives,
		       struct error *err)
{
	static const unsigned lines[ATA_CHANNELS] = { LAYOUT_IRQ_ATA0, LAYOUT_IRQ_ATA1 };
	int result = 0;

	if (config->disks_count > ATA_CHANNELS * ATA_DRIVES)
		return error_set(err, EINVAL, "%zu disks: where a guest is told nothing of virtio, there can be %d",
				 config->disks_count, ATA_CHANNELS * ATA_DRIVES);
	for (size_t i = 0; result == 0 && i < config->disks_count; i++)
		result = machine_open_disk(machine, &config->disks[i], &drives->blocks[i], err);
	for (int i = 0; result == 0 && i < ATA_CHANNELS; i++) {
		int edges = machine_edges(machine, lines[i], err);

		drives->interrupts[i].fd = edges;
		result = edges < 0 ? edges : 0;
	}
	return result;
}

static int add_disks(struct machine *machine, struct pci_host *pci, const struct vm_config *config, struct error *err)
{
	static const char *const serials[ATA_CHANNELS * ATA_DRIVES] = { "disk0", "disk1", "disk2", "disk3" };
	static const struct {
		uint64_t base, size;
	} ports[] = { [ATA_RANGE_COMMAND0] = { LAYOUT_ATA0, LAYOUT_ATA_SIZE },
		      [ATA_RANGE_CONTROL0] = { LAYOUT_ATA0_CONTROL, 1 },
		      [ATA_RANGE_COMMAND1] = { LAYOUT_ATA1, LAYOUT_ATA_SIZE },
		      [ATA_RANGE_CONTROL1] = { LAYOUT_ATA1_CONTROL, 1 } };
	struct drives drives = { .interrupts = { { .fd = -1 }, { .fd = -1 } } };
	struct device *device;
	int result = open_drives(machine, config, &drives, err);

	if (result == 0)
		result = ata_make(drives.blocks, serials, drives.interrupts, &machine->io.loop, &device, err);
	if (result < 0) {
		close_drives(&drives);
		return result;
	}
	result = machine_own(machine, device, err);
	for (unsigned i = 0; result == 0 && i < sizeof(ports) / sizeof(*ports); i++)
		result = bus_add(&machine->bus, BUS_PORTS, ports[i].base, ports[i].size, device, i, err);
	return result < 0 ? result : ata_add_pci(device, pci, err);
}

int machine_add_pci(struct machine *machine, const struct machine_options *options, struct error *err)
{
	const struct vm_config *config = options->config;
	bool emulated = machine->kind == VM_KIND_VM;
	const struct interrupt lines = { .fd = -1, .set = machine_set_level, .context = machine };
	struct pci_host *pci;
	int result = pci_host_make(&machine->bus, &lines, &pci, err);

	if (result == 0)
		result = machine_own(machine, pci_host_device(pci), err);
	if (result == 0 && emulated && config->disks_count > 0)
		result = add_disks(machine, pci, config, err);
	for (size_t i = 0; result == 0 && emulated && i < config->nets_count; i++)
		result = add_card(machine, pci, &config->nets[i], err);
	return result < 0 ? result : machine_add_passthrough(machine, pci, config, err);
}
