/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfio - a PCI device of the host as a function on the guest's bus:
 * linux/vfio.h; PCI Local Bus Specification 3.0, 6.8.2 (MSI-X).
 *
 * The header, the BARs and the MSI-X table are ours; the registers behind the BARs
 * are the device's own, mapped into the guest where the kernel allows that, and
 * read and written for it elsewhere.  Messages become eventfds, which KVM turns
 * into the guest's interrupts without a way through here.
 *
 * What the guest gets of the configuration space: identity, bus mastering, MSI-X (its first VFIO_MESSAGES_MAX
 * vectors), INTx, and capabilities of the vendor's as they were at the beginning.  Not: MSI, power management,
 * PCI Express's own registers, expansion ROMs.
 *
 * A machine with such a device cannot be saved: half of its state is the device's.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_VFIO_H
#define CAISSON_PARADIGM_VM_DEVICE_VFIO_H

#include "linux/vfio.h"
#include "paradigm/vm/device/pci.h"

enum { VFIO_MESSAGES_MAX = 128, VFIO_SLOTS_MAX = 16 };

/*
 * What the machine does for it, so that this room knows nothing of KVM.  Slots and messages are counted from 0 for each
 * device; lines are GSIs.
 */
struct vfio_wiring {
	/* size bytes at host are at guest physical address guest from now on; size 0: no more.  false: they are not. */
	bool (*map)(void *context, unsigned slot, uint64_t guest, void *host, uint64_t size);
	/* What a message is, from now on. */
	bool (*route)(void *context, unsigned message, uint64_t address, uint32_t data);
	/* Whether each event of eventfd sends it. */
	bool (*listen)(void *context, unsigned message, int eventfd, bool on);
	/* The line is high from an event of eventfd until the guest acknowledges it, which is an event of resample. */
	bool (*listen_line)(void *context, unsigned line, int eventfd, int resample, bool on);
	/* vfio_interrupts_set() and vfio_unmask_by(). */
	bool (*interrupts)(const struct vfio_device *host, unsigned kind, const int *eventfds, size_t count);
	bool (*unmask_by)(const struct vfio_device *host, int eventfd);
};

struct vfio_options {
	const struct vfio_device *host; /* as vfio_query() tells; its descriptor becomes the device's */
	struct pci_host *pci;
	unsigned slot; /* 0: any */
	const struct vfio_wiring *wiring;
	void *context;
};

/* Puts it into its slot.  On failure the descriptor is still the caller's.  -ENOTSUP: a bridge, or BARs that nobody can
 * map; -ENOSPC: no room for its BARs below 4 GiB. */
int vfio_make(const struct vfio_options *options, struct device **device, struct error *err);

#endif
