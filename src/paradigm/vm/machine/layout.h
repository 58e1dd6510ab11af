/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout - where things are in our x86-64 machine: memory map, ports,
 * interrupt lines.  The constants on which the machine, its ACPI tables, the
 * loaders and the devices must agree; nothing else is in here.
 *
 *     0x0000'0000   RAM, up to 3 GiB; the part from 0xa0000 to 0xfffff is RAM
 *                   too, but told to the guest as reserved: ACPI tables lie there
 *     0xc000'0000   nothing, then devices up to 4 GiB
 *     0xd000'0000   virtio-mmio windows (pv)
 *     0xe000'0000   hole for the memory BARs of PCI devices
 *     0xfec0'0000   IOAPIC, then local APICs, then what VMX needs: all in KVM
 *     0x1'0000'0000 the rest of RAM
 *
 * Addresses are guest physical, sizes bytes, lines GSIs of the one IOAPIC (24
 * pins).  Lines of the ISA bus are edge-triggered and active high, PCI's are
 * level-triggered and active low.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_LAYOUT_H
#define CAISSON_PARADIGM_VM_MACHINE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "paradigm/vm/machine/memory.h"

/* Memory */
#define LAYOUT_RAM_LOW_END     UINT64_C(0xc0000000)
#define LAYOUT_RAM_HIGH	       UINT64_C(0x100000000)
#define LAYOUT_EBDA	       UINT64_C(0x9fc00) /* end of what is usable below 1 MiB */
#define LAYOUT_VGA	       UINT64_C(0xa0000) /* first byte that is reserved for the firmware's world */
#define LAYOUT_ACPI	       UINT64_C(0xe0000) /* RSDP, and all tables behind it */
#define LAYOUT_ACPI_SIZE       UINT64_C(0x20000)
#define LAYOUT_RESET_VECTOR    UINT64_C(0xffff0)
#define LAYOUT_RAM_1M	       UINT64_C(0x100000)
#define LAYOUT_VIRTIO	       UINT64_C(0xd0000000)
#define LAYOUT_VIRTIO_SIZE     UINT64_C(0x1000) /* of each window */
#define LAYOUT_PCI_MEMORY      UINT64_C(0xe0000000)
#define LAYOUT_PCI_MEMORY_SIZE UINT64_C(0x1e000000)
#define LAYOUT_IOAPIC	       UINT64_C(0xfec00000)
#define LAYOUT_LAPIC	       UINT64_C(0xfee00000)
#define LAYOUT_VMX_IDENTITY    UINT64_C(0xfffbc000) /* KVM_SET_IDENTITY_MAP_ADDR: one page */
#define LAYOUT_VMX_TSS	       UINT64_C(0xfffbd000) /* KVM_SET_TSS_ADDR: three pages */

enum {
	LAYOUT_VIRTIO_MAX = 64, /* windows */

	/* Ports */
	LAYOUT_CMOS = 0x70, /* index, data */
	LAYOUT_CMOS_SIZE = 2,
	LAYOUT_I8042_DATA = 0x60, /* 0x61 between them is the in-kernel PIT's */
	LAYOUT_I8042_COMMAND = 0x64,
	LAYOUT_DEBUG_EXIT = 0xf4, /* QEMU's isa-debug-exit */
	LAYOUT_DEBUG_EXIT_SIZE = 4,
	LAYOUT_FW_CFG = 0x510, /* QEMU's: selector, data */
	LAYOUT_FW_CFG_SIZE = 2,
	LAYOUT_ATA0 = 0x1f0, /* 8 ports; device control at 0x3f6 */
	LAYOUT_ATA0_CONTROL = 0x3f6,
	LAYOUT_ATA1 = 0x170,
	LAYOUT_ATA1_CONTROL = 0x376,
	LAYOUT_ATA_SIZE = 8,
	LAYOUT_COM1 = 0x3f8,
	LAYOUT_COM2 = 0x2f8,
	LAYOUT_COM_SIZE = 8,
	LAYOUT_PCI_ADDRESS = 0xcf8, /* 4 ports, then 4 of data: configuration mechanism #1 */
	LAYOUT_PCI_DATA = 0xcfc,
	LAYOUT_PCI_PORTS = 0xc000, /* for BARs of ports */
	LAYOUT_PCI_PORTS_SIZE = 0x1000,

	/*
	 * Power management, one device.  Both ways are there; the FADT tells the guest of one of them: the fixed
	 * hardware (PM1a event and control blocks, PM timer, SCI), or the sleep registers of hardware-reduced ACPI
	 * (6.5, 4.8.3.7).
	 */
	LAYOUT_PM = 0x600,
	LAYOUT_PM1_EVENT = 0x600,     /* status, enable: 2 bytes each */
	LAYOUT_PM1_CONTROL = 0x604,   /* 2 bytes; SLP_EN with LAYOUT_SLEEP_OFF as SLP_TYP powers off */
	LAYOUT_PM_TIMER = 0x608,      /* 4 bytes, 3.579545 MHz, 32 bits wide */
	LAYOUT_SLEEP_CONTROL = 0x60c, /* 1 byte */
	LAYOUT_SLEEP_STATUS = 0x60d,  /* 1 byte */
	LAYOUT_RESET = 0x60e,	      /* 1 byte: the FADT's reset register */
	LAYOUT_PM_SIZE = 0x10,
	LAYOUT_RESET_VALUE = 0x06,
	LAYOUT_SLEEP_OFF = 5, /* SLP_TYP of \_S5 */

	/* Lines */
	LAYOUT_IRQ_TIMER = 2, /* the PIT: ISA 0 is GSI 2 (an override in the MADT) */
	LAYOUT_IRQ_COM2 = 3,
	LAYOUT_IRQ_COM1 = 4,
	LAYOUT_IRQ_RTC = 8,
	LAYOUT_IRQ_SCI = 9,
	LAYOUT_IRQ_ATA0 = 14,
	LAYOUT_IRQ_ATA1 = 15,
	LAYOUT_IRQ_PCI = 16, /* four lines; INTx of slot n is LAYOUT_IRQ_PCI + (n + x) % 4, x from 0 */
	LAYOUT_IRQ_PCI_COUNT = 4,
	LAYOUT_IRQS = 24,

	LAYOUT_IOAPIC_ID = 0, /* local APICs' are the vCPUs' numbers */
};

/* The line of virtio window number n: edge-triggered, active high; shared by several windows when there are many. */
static inline unsigned layout_virtio_irq(unsigned window)
{
	static const uint8_t lines[] = { 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 13, 14, 15 };

	return lines[window % sizeof(lines)];
}

static inline uint64_t layout_virtio_base(unsigned window)
{
	return LAYOUT_VIRTIO + window * LAYOUT_VIRTIO_SIZE;
}

/*
 * The regions (base, size, offset) of a machine with size bytes of RAM: one, or two around the devices.  Returns how
 * many.
 */
static inline size_t layout_regions(uint64_t size, struct guest_region regions[static 2])
{
	uint64_t low = size < LAYOUT_RAM_LOW_END ? size : LAYOUT_RAM_LOW_END;

	regions[0] = (struct guest_region){ .base = 0, .size = low, .offset = 0 };
	if (low == size)
		return 1;
	regions[1] = (struct guest_region){ .base = LAYOUT_RAM_HIGH, .size = size - low, .offset = low };
	return 2;
}

#endif
