/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/device/serial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paradigm/vm/machine/state.h"

/* Registers, and what they are while DLAB is set. */
enum { DATA = 0, ENABLE = 1, IDENTIFY = 2, LINE = 3, MODEM = 4, LINE_STATUS = 5, MODEM_STATUS = 6, SCRATCH = 7 };

enum {
	ENABLE_RECEIVED = 1,
	ENABLE_TRANSMITTED = 2,
	ENABLE_LINE = 4,
	ENABLE_MASK = 0x0f,

	CAUSE_NONE = 1,
	CAUSE_TRANSMITTED = 2,
	CAUSE_RECEIVED = 4,
	CAUSE_LINE = 6,
	CAUSE_FIFOS = 0xc0,

	FIFO_ON = 1,
	FIFO_CLEAR_RECEIVER = 2,
	FIFO_MASK = 0xc9,

	LINE_DLAB = 0x80,

	MODEM_DTR = 1,
	MODEM_RTS = 2,
	MODEM_OUT1 = 4,
	MODEM_OUT2 = 8,
	MODEM_LOOP = 0x10,
	MODEM_MASK = 0x1f,

	STATUS_READY = 1,
	STATUS_OVERRUN = 2,
	STATUS_EMPTY = 0x60, /* holding and shift register */
	STATUS_ERRORS = 0x1e,

	MODEM_CTS = 0x10,
	MODEM_DSR = 0x20,
	MODEM_RI = 0x40,
	MODEM_DCD = 0x80,
};

static uint8_t cause(const struct serial *serial)
{
	if (serial->interrupt_enable & ENABLE_LINE && serial->line_status & STATUS_ERRORS)
		return CAUSE_LINE;
	if (serial->interrupt_enable & ENABLE_RECEIVED && serial->input_count > 0)
		return CAUSE_RECEIVED;
	if (serial->interrupt_enable & ENABLE_TRANSMITTED && serial->transmitted)
		return CAUSE_TRANSMITTED;
	return CAUSE_NONE;
}

/* The ISA bus hears edges: only a line that goes up tells anything. */
static void update(struct serial *serial)
{
	bool raised = cause(serial) != CAUSE_NONE;

	if (raised && !serial->raised)
		interrupt_pulse(&serial->options.interrupt);
	serial->raised = raised;
}

static void receive(struct serial *serial, uint8_t byte)
{
	serial->input[(serial->input_first + serial->input_count++) % SERIAL_INPUT] = byte;
}

static void tell_of_room(struct serial *serial)
{
	if (!serial->refused || serial->input_count > SERIAL_INPUT / 2)
		return;
	serial->refused = false;
	if (serial->options.room)
		serial->options.room(serial->options.room_context);
}

static uint8_t read_data(struct serial *serial)
{
	uint8_t byte;

	if (serial->input_count == 0)
		return 0;
	byte = serial->input[serial->input_first];
	serial->input_first = (serial->input_first + 1) % SERIAL_INPUT;
	serial->input_count--;
	tell_of_room(serial);
	return byte;
}

static uint8_t read_cause(struct serial *serial)
{
	uint8_t value = cause(serial);

	if (value == CAUSE_TRANSMITTED)
		serial->transmitted = false; /* as reading it does */
	return value | (serial->fifo_control & FIFO_ON ? CAUSE_FIFOS : 0);
}

static uint8_t read_line_status(struct serial *serial)
{
	uint8_t value = serial->line_status | STATUS_EMPTY | (serial->input_count > 0 ? STATUS_READY : 0);

	serial->line_status &= (uint8_t)~STATUS_ERRORS;
	serial->looked = true;
	return value;
}

static uint8_t modem_status(const struct serial *serial)
{
	uint8_t control = serial->modem_control, value = 0;

	if (!(control & MODEM_LOOP))
		return MODEM_CTS | MODEM_DSR | MODEM_DCD;
	value |= control & MODEM_RTS ? MODEM_CTS : 0;
	value |= control & MODEM_DTR ? MODEM_DSR : 0;
	value |= control & MODEM_OUT1 ? MODEM_RI : 0;
	value |= control & MODEM_OUT2 ? MODEM_DCD : 0;
	return value;
}

static uint8_t read_register(struct serial *serial, uint64_t offset)
{
	bool divisor = serial->line_control & LINE_DLAB;

	switch (offset) {
	case DATA:
		return divisor ? serial->divisor[0] : read_data(serial);
	case ENABLE:
		return divisor ? serial->divisor[1] : serial->interrupt_enable;
	case IDENTIFY:
		return read_cause(serial);
	case LINE:
		return serial->line_control;
	case MODEM:
		return serial->modem_control;
	case LINE_STATUS:
		return read_line_status(serial);
	case MODEM_STATUS:
		return modem_status(serial);
	default:
		return serial->scratch;
	}
}

static void write_data(struct serial *serial, uint8_t byte)
{
	if (serial->modem_control & MODEM_LOOP) {
		/* Drivers measure the FIFO by this. */
		if (serial->input_count < (serial->fifo_control & FIFO_ON ? SERIAL_FIFO : 1))
			receive(serial, byte);
		else
			serial->line_status |= STATUS_OVERRUN;
	} else if (serial->options.output) {
		serial->options.output(serial->options.context, &byte, 1);
	}
	/*
	 * Each byte takes the cause away and brings it again, which is a new edge.  A driver that fills the FIFO, and
	 * has not looked at the chip since the last edge, can do without another one.
	 */
	if (serial->looked && serial->transmitted)
		serial->raised = false;
	serial->looked = false;
	serial->transmitted = true;
}

/* What the chip's FIFO would hold is gone; the rest is still on the line. */
static void clear_receiver(struct serial *serial)
{
	size_t lost = serial->input_count < SERIAL_FIFO ? serial->input_count : SERIAL_FIFO;

	serial->input_first = (serial->input_first + lost) % SERIAL_INPUT;
	serial->input_count -= lost;
	tell_of_room(serial);
}

static void write_fifo_control(struct serial *serial, uint8_t value)
{
	if (value & FIFO_CLEAR_RECEIVER || (value ^ serial->fifo_control) & FIFO_ON)
		clear_receiver(serial);
	serial->fifo_control = value & FIFO_ON ? value & FIFO_MASK : 0;
}

static void write_enable(struct serial *serial, uint8_t value)
{
	/* An empty transmitter interrupts as soon as it may. */
	if (value & ~serial->interrupt_enable & ENABLE_TRANSMITTED)
		serial->transmitted = true;
	serial->interrupt_enable = value & ENABLE_MASK;
}

static void write_register(struct serial *serial, uint64_t offset, uint8_t value)
{
	bool divisor = serial->line_control & LINE_DLAB;

	switch (offset) {
	case DATA:
	case ENABLE:
		if (divisor)
			serial->divisor[offset] = value;
		else if (offset == DATA)
			write_data(serial, value);
		else
			write_enable(serial, value);
		break;
	case IDENTIFY:
		write_fifo_control(serial, value);
		break;
	case LINE:
		serial->line_control = value;
		break;
	case MODEM:
		serial->modem_control = value & MODEM_MASK;
		break;
	case SCRATCH:
		serial->scratch = value;
		break;
	default: /* the status registers */
		break;
	}
}

static void serial_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	struct serial *serial = (struct serial *)device;

	(void)range;
	for (unsigned i = 0; i < size; i++)
		((uint8_t *)data)[i] = read_register(serial, offset + i);
	update(serial);
}

static void serial_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct serial *serial = (struct serial *)device;

	(void)range;
	for (unsigned i = 0; i < size; i++) {
		write_register(serial, offset + i, ((const uint8_t *)data)[i]);
		update(serial);
	}
}

/* As after power-on. */
static void reset(struct serial *serial)
{
	serial->interrupt_enable = serial->fifo_control = serial->line_control = serial->modem_control = 0;
	serial->line_status = serial->scratch = serial->divisor[1] = 0;
	serial->divisor[0] = 12; /* 9600 baud */
	serial->input_first = serial->input_count = 0;
	serial->transmitted = serial->raised = serial->refused = serial->looked = false;
}

static void serial_save(struct device *device, struct state_writer *writer)
{
	const struct serial *serial = (const struct serial *)device;
	const uint8_t registers[] = { serial->interrupt_enable, serial->fifo_control, serial->line_control,
				      serial->modem_control,	serial->line_status,  serial->scratch,
				      serial->divisor[0],	serial->divisor[1],   serial->transmitted };

	state_put(writer, registers, sizeof(registers));
	state_put_u32(writer, (uint32_t)serial->input_count);
	for (size_t i = 0; i < serial->input_count; i++)
		state_put(writer, &serial->input[(serial->input_first + i) % SERIAL_INPUT], 1);
}

static int serial_restore(struct device *device, struct state_reader *reader, struct error *err)
{
	struct serial *serial = (struct serial *)device;
	uint8_t registers[9];
	uint32_t count;

	(void)state_get(reader, registers, sizeof(registers));
	count = state_get_u32(reader);
	if (count > SERIAL_INPUT)
		return error_set(err, EINVAL, "a serial port with %u bytes to be read", count);
	reset(serial);
	serial->interrupt_enable = registers[0] & ENABLE_MASK;
	serial->fifo_control = registers[1] & FIFO_MASK;
	serial->line_control = registers[2];
	serial->modem_control = registers[3] & MODEM_MASK;
	serial->line_status = registers[4] & STATUS_ERRORS;
	serial->scratch = registers[5];
	serial->divisor[0] = registers[6];
	serial->divisor[1] = registers[7];
	serial->transmitted = registers[8] & 1;
	(void)state_get(reader, serial->input, count);
	serial->input_count = count;
	update(serial); /* and again the edge: see device.h */
	return 0;
}

static void serial_free(struct device *device)
{
	struct serial *serial = (struct serial *)device;

	if (serial->options.interrupt.fd >= 0)
		close(serial->options.interrupt.fd);
	device_free(device);
}

static const struct device_ops serial_ops = {
	.name = "serial",
	.read = serial_read,
	.write = serial_write,
	.save = serial_save,
	.restore = serial_restore,
	.free = serial_free,
};

struct serial *serial_make(const struct serial_options *options)
{
	struct serial *serial = calloc(1, sizeof(*serial));

	if (!serial) {
		if (options->interrupt.fd >= 0)
			close(options->interrupt.fd);
		return NULL;
	}
	device_init(&serial->device, &serial_ops);
	serial->options = *options;
	reset(serial);
	return serial;
}

/* With the lock held. */
static size_t take_input(struct serial *serial, const void *bytes, size_t count)
{
	size_t taken = 0;

	/* In loop mode the line is not connected: it waits. */
	while (!(serial->modem_control & MODEM_LOOP) && taken < count && serial->input_count < SERIAL_INPUT)
		receive(serial, ((const uint8_t *)bytes)[taken++]);
	if (taken < count)
		serial->refused = true;
	update(serial);
	return taken;
}

size_t serial_input(struct serial *serial, const void *bytes, size_t count)
{
	size_t taken;

	(void)pthread_mutex_lock(&serial->device.lock);
	taken = take_input(serial, bytes, count);
	(void)pthread_mutex_unlock(&serial->device.lock);
	return taken;
}

ssize_t serial_try_input(struct serial *serial, const void *bytes, size_t count)
{
	ssize_t taken;

	if (pthread_mutex_trylock(&serial->device.lock) != 0)
		return -EAGAIN;
	taken = (ssize_t)take_input(serial, bytes, count);
	(void)pthread_mutex_unlock(&serial->device.lock);
	return taken;
}
