/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ata - two channels of ATA disks, two drives each, by programmed input and
 * output alone: ATA/ATAPI-6 (T13/1410D), without packets, DMA and queues.
 *
 * The registers lie where they have been since the PC/AT (ranges below).  A
 * guest without PCI finds them there by itself (Linux: pata_legacy); with PCI,
 * ata_add_pci() shows it the IDE function of Intel's PIIX3 in compatibility
 * mode (ata_piix), whose driver reads four bytes at a time, and so leaves the guest
 * half as often.
 *
 * vCPUs read and write registers and the buffer; the drives' own work is done in
 * the loop's thread, which is told by an eventfd.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_ATA_H
#define CAISSON_PARADIGM_VM_DEVICE_ATA_H

#include "base/loop.h"
#include "paradigm/vm/block/block.h"
#include "paradigm/vm/device/device.h"

enum { ATA_CHANNELS = 2, ATA_DRIVES = 2 };

/* For bus_add(): of each channel, its eight registers, and the one for control. */
enum ata_range { ATA_RANGE_COMMAND0, ATA_RANGE_CONTROL0, ATA_RANGE_COMMAND1, ATA_RANGE_CONTROL1 };

/*
 * drives: of channel 0, then of channel 1; NULL: none.  They live in loop, and become the device's, as the interrupts'
 * descriptors do (edges); on failure all stay the caller's.  serials: what the guest is told, at most 20 characters, or
 * NULL.
 */
int ata_make(struct block *const drives[ATA_CHANNELS * ATA_DRIVES],
	     const char *const serials[ATA_CHANNELS * ATA_DRIVES], const struct interrupt interrupts[ATA_CHANNELS],
	     struct loop *loop, struct device **device, struct error *err);

struct pci_host;
/* The controller as a function of the PCI bus; the registers stay where they are. */
int ata_add_pci(struct device *device, struct pci_host *host, struct error *err);

#endif
