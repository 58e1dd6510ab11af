/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci - one PCI bus: PCI Local Bus Specification 3.0, chapter 6; configuration
 * mechanism #1.
 *
 * The host bridge is a device on the ports 0xcf8 to 0xcff, with up to 31
 * single-function devices behind it.  A device embeds a struct pci_function, describes
 * its header and BARs, and is put into a slot by pci_add(), which gives every BAR an
 * address as firmware would and wires INTA.  When the guest moves a BAR, the
 * ranges on the machine's bus move with it; only addresses inside the windows that
 * layout.h and the ACPI tables name are passed on, and a BAR on top of something
 * else is not there.
 *
 * Nothing in here makes memory accesses: devices reach guest memory by
 * machine/memory.h alone, so that none of them can reach a BAR, its own or another's.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_PCI_H
#define CAISSON_PARADIGM_VM_DEVICE_PCI_H

#include "paradigm/vm/device/device.h"

enum { PCI_CONFIG_SIZE = 256, PCI_BARS = 6, PCI_SLOTS = 32 };

/* Offsets in the configuration space, and bits, that devices of ours use. */
enum {
	PCI_VENDOR = 0x00, /* then the device's, 16 bits each */
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08, /* then programming interface, subclass, class */
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR = 0x10,
	PCI_SUBSYSTEM = 0x2c, /* vendor, then device */
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,

	PCI_COMMAND_PORTS = 1,
	PCI_COMMAND_MEMORY = 2,
	PCI_COMMAND_MASTER = 4,
	PCI_COMMAND_NO_INTX = 1 << 10,
	PCI_STATUS_INTX = 1 << 3,
	PCI_STATUS_CAPABILITIES = 1 << 4,
};

struct pci_host;
struct pci_function;

struct pci_bar {
	enum bus_kind kind;
	uint64_t size;	/* a power of two, at least 16 bytes of memory or 4 ports; 0: no BAR */
	unsigned range; /* what the device's functions are called with */
	bool wide;	/* memory, 64 bits: takes the next BAR too */
	bool prefetchable;
	/* the bus's: */
	bool mapped;
	uint64_t base; /* while it is mapped */
};

struct pci_function {
	struct device *device; /* what the BARs lead to; NULL: it has none */
	struct pci_bar bars[PCI_BARS];
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may change; those of the header are set by pci_add()
					    */
	/* Something in the configuration space was written, with the host bridge's lock held.  NULL: nobody asks. */
	void (*written)(struct pci_function *function, unsigned offset, unsigned size);
	/* A BAR was mapped, moved or taken away, as its mapped and base say.  NULL: nobody asks. */
	void (*moved)(struct pci_function *function, unsigned bar);
	struct interrupt interrupt; /* INTA, made by pci_add() */
	/* the bus's: */
	struct pci_host *host;
	unsigned slot;
	bool level;				    /* of INTA, as the device wants it */
	unsigned capability_last, capabilities_end; /* offsets; 0: no capability yet */
};

/*
 * The host bridge with an empty bus, on the machine's bus.  lines: set and context drive the GSIs (its line and fd are
 * not looked at); several devices may share one, the bridge puts them together.
 */
int pci_host_make(struct bus *bus, const struct interrupt *lines, struct pci_host **host, struct error *err);
/* The bridge's own device: for snapshots and counters. */
struct device *pci_host_device(struct pci_host *host);

/*
 * Fills in the header: identity, class (24 bits: class, subclass, interface), and whether it has an interrupt.
 * Everything else in *function is the caller's to set before or after.
 */
void pci_function_init(struct pci_function *function, uint16_t vendor, uint16_t device, uint32_t class_code,
		       bool interrupt);
/*
 * Puts it into the lowest free slot, or into the one wanted (1 to 31; 0: any).  The function must stay where it is
 * until the machine is gone.  -EBUSY, -ENOSPC: no slot, or no room in the windows.
 */
int pci_add(struct pci_host *host, struct pci_function *function, unsigned wanted, struct error *err);

/* The GSI of the function's INTA, whatever the guest has written over it. */
unsigned pci_line(const struct pci_function *function);

/* Whether the guest lets it reach memory by itself. */
bool pci_is_master(const struct pci_function *function);

/*
 * Adds a capability of size bytes (its header included) and links it; its offset, or -ENOSPC.  The bytes behind the
 * two of the header are the caller's to set in config and writable.
 */
int pci_add_capability(struct pci_function *function, uint8_t id, unsigned size);

#endif
