/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e1000 - Intel's 82540EM Gigabit Ethernet controller, for guests that are
 * told nothing of virtio: "PCI/PCI-X Family of Gigabit Ethernet Controllers
 * Software Developer's Manual" (8254x), the chapters that are named in the
 * code.
 *
 * There are: the register file, the EEPROM (EERD and the Microwire bits of EECD),
 * the PHY behind MDIC with a link that is up while the tap is there, legacy receive
 * descriptors, legacy and extended transmit descriptors with checksum and TCP
 * segmentation contexts, address filters, VLAN tags, INTA with interrupt throttling.
 * There are not: wake-up, flow control, delay timers (packets are reported at
 * once), the flash.
 *
 * Packets are sent in the vCPU's thread that writes the tail register, and
 * received in the loop's.  Segmentation and checksums are not done here but handed to the
 * tap, by the header of virtio-net.  DMA reaches guest memory and nothing else;
 * what points elsewhere is dropped.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_E1000_H
#define CAISSON_PARADIGM_VM_DEVICE_E1000_H

#include "base/loop.h"
#include "paradigm/vm/device/pci.h"
#include "paradigm/vm/machine/memory.h"

struct e1000_options {
	int tap; /* becomes the card's; reads and writes packets behind a virtio-net header of 12 bytes, non-blocking */
	uint8_t mac[6];
	struct pci_host *pci;
	unsigned slot; /* 0: any */
	struct guest_memory *memory;
	struct loop *loop; /* where packets are received */
};

/* Puts the card into its slot.  On failure the tap is still the caller's. */
int e1000_make(const struct e1000_options *options, struct device **device, struct error *err);

#endif
