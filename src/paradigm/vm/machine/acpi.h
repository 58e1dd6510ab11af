/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi - the tables by which a guest finds its processors and devices: ACPI 6.5.
 *
 * RSDP, XSDT, FADT (revision 6), MADT, DSDT, and a FACS where there is fixed
 * hardware, from LAYOUT_ACPI on.  What they say is layout.h's; the AML of the
 * DSDT only names devices and what they take, there is not one method in it.
 *
 * pv: hardware-reduced, virtio-mmio windows ("LNRO0005", as Linux calls them),
 * nothing that the kernel would have to probe for.  vm: fixed hardware, RTC and keyboard
 * controller, a PCI root.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_ACPI_H
#define CAISSON_PARADIGM_VM_MACHINE_ACPI_H

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/machine/memory.h"

struct acpi_facts {
	enum vm_kind kind;
	unsigned vcpus;	 /* 1 to VM_VCPUS_MAX */
	unsigned virtio; /* windows, up to LAYOUT_VIRTIO_MAX */
	bool com2;	 /* besides COM1 */
	bool pci;	 /* a bus */
	bool msi;	 /* on which devices send messages */
};

/* Writes them; the RSDP is at LAYOUT_ACPI.  -ENOSPC, -EINVAL. */
int acpi_write(struct guest_memory *memory, const struct acpi_facts *facts, struct error *err);

/* The DSDT alone, with its header: for iasl(1). */
void acpi_dsdt(const struct acpi_facts *facts, struct str *out);

#endif
