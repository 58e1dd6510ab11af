/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's isa-debug-exit: what is written is the machine's status.  Reads give zeros, as there. */
#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/device/power.h"

struct debug_exit {
	struct device device;
	struct power power;
};

static void debug_exit_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	(void)device, (void)range, (void)offset;
	memset(data, 0, size);
}

static void debug_exit_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	const struct debug_exit *port = (const struct debug_exit *)device;
	uint32_t code = 0;

	(void)range, (void)offset;
	memcpy(&code, data, size < sizeof(code) ? size : sizeof(code));
	port->power.event(port->power.context, POWER_EXIT, code);
}

static const struct device_ops debug_exit_ops = {
	.name = "debug-exit",
	.read = debug_exit_read,
	.write = debug_exit_write,
	.free = device_free,
};

struct device *debug_exit_make(const struct power *power)
{
	struct debug_exit *port = calloc(1, sizeof(*port));

	if (!port)
		return NULL;
	device_init(&port->device, &debug_exit_ops);
	port->power = *power;
	return &port->device;
}
