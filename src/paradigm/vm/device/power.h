/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power - the ways in which a guest ends its own machine: ACPI's sleep and
 * reset registers, the keyboard controller's reset line, and the debug-exit port
 * of test kernels.  Ports are those of machine/layout.h.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_POWER_H
#define CAISSON_PARADIGM_VM_DEVICE_POWER_H

#include "paradigm/vm/device/device.h"

enum power_event { POWER_OFF, POWER_RESET, POWER_EXIT };

/* Called by vCPU threads with the device's lock held; the guest goes on until it is stopped. */
struct power {
	void (*event)(void *context, enum power_event event, uint32_t code); /* code: of POWER_EXIT */
	void *context;
};

/* Devices that are owned by the caller (ops->free()), or NULL without memory. */

/* PM1 event and control block, PM timer, sleep control and status, reset register: LAYOUT_PM_SIZE ports, range 0.
 * interrupt: the SCI; its descriptor becomes the device's. */
struct device *pm_make(const struct power *power, const struct interrupt *sci);
/* The power button is pressed: an SCI, if the guest asked for one.  Takes the lock. */
void pm_press_button(struct device *device);

/* Data port (range 0) and command port (range 1) of an i8042 without keyboard and mouse. */
struct device *i8042_make(const struct power *power);

/* LAYOUT_DEBUG_EXIT_SIZE ports, range 0: what is written ends the machine. */
struct device *debug_exit_make(const struct power *power);

#endif
