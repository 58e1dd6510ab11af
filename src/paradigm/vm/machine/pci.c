/* SPDX-License-Identifier: Apache-2.0 */
/* The emulated devices on PCI, for guests that are told nothing of virtio. */
#include "paradigm/vm/device/pci.h"
#include "linux/tun.h"
#include "paradigm/vm/device/e1000.h"
#include "paradigm/vm/machine/private.h"

static int add_card(struct machine *machine, struct pci_host *pci, const struct vm_net *net, struct error *err)
{
	struct e1000_options options = {
		.tap = net->tap, .pci = pci, .memory = &machine->memory, .loop = &machine->io.loop
	};
	struct device *device;
	int result = machine_mac(net->mac, options.mac, err);

	if (result == 0)
		result = tap_adopt(net->tap, NULL, err);
	if (result == 0)
		result = e1000_make(&options, &device, err);
	return result < 0 ? result : machine_own(machine, device, err);
}

int machine_add_pci(struct machine *machine, const struct machine_options *options, struct error *err)
{
	const struct interrupt lines = { .fd = -1, .set = machine_set_level, .context = machine };
	struct pci_host *pci;
	int result = pci_host_make(&machine->bus, &lines, &pci, err);

	if (result == 0)
		result = machine_own(machine, pci_host_device(pci), err);
	for (size_t i = 0; result == 0 && i < options->config->nets_count; i++)
		result = add_card(machine, pci, &options->config->nets[i], err);
	return result;
}
