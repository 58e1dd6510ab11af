/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial - a 16550A UART: PC16550D data sheet.
 *
 * The line behind it is as fast as the guest: what is written is out at once,
 * and the receiver takes more than the chip's 16 bytes, which no driver can
 * tell from a fast line.  Modem lines are those of a connected terminal.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_SERIAL_H
#define CAISSON_PARADIGM_VM_DEVICE_SERIAL_H

#include <sys/types.h>

#include "paradigm/vm/device/device.h"

enum { SERIAL_FIFO = 16, SERIAL_INPUT = 1024 };

struct serial_options {
	struct interrupt interrupt; /* its descriptor becomes the device's */
	/* Both from any thread, with the device's lock held; either may be NULL. */
	void (*output)(void *context, const void *bytes, size_t count);
	void *context;
	void (*room)(void *context); /* the guest has read what was too much before */
	void *room_context;
};

struct serial {
	struct device device; /* 8 ports, range 0 */
	struct serial_options options;
	uint8_t interrupt_enable, fifo_control, line_control, modem_control, line_status, scratch;
	uint8_t divisor[2];
	bool transmitted; /* the cause of an interrupt: the transmitter has become empty */
	bool raised;	  /* the chip's interrupt output */
	bool looked;	  /* the driver has read the line's status since it last wrote a byte */
	bool refused;	  /* input had to wait */
	uint8_t input[SERIAL_INPUT];
	size_t input_first, input_count;
};

/* Owned by the caller: ops->free().  NULL: out of memory (the descriptor is closed then, too). */
struct serial *serial_make(const struct serial_options *options);

/* Bytes from outside; returns how many were taken.  Takes the lock. */
size_t serial_input(struct serial *serial, const void *bytes, size_t count);
/* The same for who must not wait for a vCPU whose output waits: -EAGAIN. */
ssize_t serial_try_input(struct serial *serial, const void *bytes, size_t count);

#endif
