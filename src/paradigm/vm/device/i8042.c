/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a keyboard controller where nothing is connected: a command byte, self tests, the reset line. */
#include <errno.h>
#include <stdlib.h>

#include "paradigm/vm/device/power.h"
#include "paradigm/vm/machine/state.h"

enum { RANGE_DATA = 0, RANGE_COMMAND = 1 };

enum {
	STATUS_OUTPUT = 0x01,
	STATUS_SYSTEM = 0x04, /* the self test was passed */
	STATUS_UNLOCKED = 0x10,

	READ_COMMAND_BYTE = 0x20,
	WRITE_COMMAND_BYTE = 0x60,
	SELF_TEST = 0xaa,
	TEST_KEYBOARD = 0xab,
	READ_OUTPUT_PORT = 0xd0,
	WRITE_OUTPUT_PORT = 0xd1,
	PULSE = 0xf0, /* and up: bits that are 0 go down; bit 0 is the processor's reset */

	OUTPUT_PORT = 0x03, /* no reset, A20 open */
};

struct i8042 {
	struct device device;
	struct power power;
	uint8_t command_byte;
	uint8_t command; /* that waits for its data, or 0 */
	uint8_t answer;
	bool answered;
};

static void i8042_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	struct i8042 *controller = (struct i8042 *)device;
	uint8_t *byte = data;

	(void)offset, (void)size; /* one port each */
	if (range == RANGE_COMMAND) {
		*byte = STATUS_SYSTEM | STATUS_UNLOCKED | (controller->answered ? STATUS_OUTPUT : 0);
	} else {
		*byte = controller->answered ? controller->answer : 0;
		controller->answered = false;
	}
}

static void answer(struct i8042 *controller, uint8_t byte)
{
	controller->answer = byte;
	controller->answered = true;
}

static void reset_processor(const struct i8042 *controller)
{
	controller->power.event(controller->power.context, POWER_RESET, 0);
}

static void take_command(struct i8042 *controller, uint8_t command)
{
	controller->command = 0;
	switch (command) {
	case READ_COMMAND_BYTE:
		answer(controller, controller->command_byte);
		break;
	case WRITE_COMMAND_BYTE:
	case WRITE_OUTPUT_PORT:
		controller->command = command;
		break;
	case SELF_TEST:
		answer(controller, 0x55);
		break;
	case TEST_KEYBOARD:
		answer(controller, 0x00);
		break;
	case READ_OUTPUT_PORT:
		answer(controller, OUTPUT_PORT);
		break;
	default:
		if (command >= PULSE && !(command & 1))
			reset_processor(controller);
		break;
	}
}

static void take_data(struct i8042 *controller, uint8_t byte)
{
	if (controller->command == WRITE_COMMAND_BYTE)
		controller->command_byte = byte;
	else if (controller->command == WRITE_OUTPUT_PORT && !(byte & 1))
		reset_processor(controller);
	controller->command = 0;
}

static void i8042_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct i8042 *controller = (struct i8042 *)device;

	(void)offset, (void)size;
	if (range == RANGE_COMMAND)
		take_command(controller, *(const uint8_t *)data);
	else
		take_data(controller, *(const uint8_t *)data);
}

static void i8042_save(struct device *device, struct state_writer *writer)
{
	const struct i8042 *controller = (const struct i8042 *)device;
	const uint8_t bytes[] = { controller->command_byte, controller->command, controller->answer,
				  controller->answered };

	state_put(writer, bytes, sizeof(bytes));
}

static int i8042_restore(struct device *device, struct state_reader *reader, struct error *err)
{
	struct i8042 *controller = (struct i8042 *)device;
	uint8_t bytes[4];

	(void)err;
	(void)state_get(reader, bytes, sizeof(bytes));
	controller->command_byte = bytes[0];
	controller->command = bytes[1];
	controller->answer = bytes[2];
	controller->answered = bytes[3] & 1;
	return 0;
}

static const struct device_ops i8042_ops = {
	.name = "i8042",
	.read = i8042_read,
	.write = i8042_write,
	.save = i8042_save,
	.restore = i8042_restore,
	.free = device_free,
};

struct device *i8042_make(const struct power *power)
{
	struct i8042 *controller = calloc(1, sizeof(*controller));

	if (!controller)
		return NULL;
	device_init(&controller->device, &i8042_ops);
	controller->power = *power;
	return &controller->device;
}
