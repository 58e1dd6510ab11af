/* SPDX-License-Identifier: Apache-2.0 */
/* Ports and addresses find their devices, whatever a guest asks for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "paradigm/vm/device/device.h"

struct probe {
	struct device device;
	unsigned range, size;
	uint64_t offset;
	struct bus *bus; /* moves itself there when it is written */
};

static void probe_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	struct probe *probe = (struct probe *)device;

	probe->range = range;
	probe->offset = offset;
	probe->size = size;
	memset(data, 0x5a, size);
}

static void probe_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct probe *probe = (struct probe *)device;

	(void)data;
	probe->range = range;
	probe->offset = offset;
	probe->size = size;
	if (probe->bus) {
		bus_remove(probe->bus, BUS_MEMORY, device, range);
		(void)bus_add(probe->bus, BUS_MEMORY, 0x9000, 0x100, device, range, NULL);
	}
}

static const struct device_ops probe_ops = { .name = "probe", .read = probe_read, .write = probe_write };
static const struct device_ops mute_ops = { .name = "mute" };

static void test_dispatch(void **state)
{
	struct bus bus;
	struct probe low, high;
	uint64_t data;

	(void)state;
	assert_int_equal(bus_init(&bus, NULL), 0);
	device_init(&low.device, &probe_ops);
	device_init(&high.device, &probe_ops);
	low.bus = high.bus = NULL;
	assert_int_equal(bus_add(&bus, BUS_PORTS, 0x3f8, 8, &high.device, 1, NULL), 0);
	assert_int_equal(bus_add(&bus, BUS_PORTS, 0x60, 1, &low.device, 0, NULL), 0);
	assert_int_equal(bus_add(&bus, BUS_PORTS, 0x64, 1, &low.device, 7, NULL), 0);

	assert_true(bus_read(&bus, BUS_PORTS, 0x64, &data, 1));
	assert_int_equal(low.range, 7);
	assert_int_equal(low.offset, 0);
	assert_true(bus_read(&bus, BUS_PORTS, 0x3ff, &data, 1));
	assert_int_equal(high.offset, 7);
	assert_false(bus_read(&bus, BUS_MEMORY, 0x3ff, &data, 1));
	assert_int_equal(bus.unknown[BUS_MEMORY], 1);
	memset(&data, 0, sizeof(data));
	assert_false(bus_read(&bus, BUS_PORTS, 0x400, &data, 4));
	assert_int_equal(data, 0xffffffff);
	assert_false(bus_read(&bus, BUS_PORTS, 0x61, &data, 1));
	assert_false(bus_write(&bus, BUS_PORTS, 0x3f7, &data, 2)); /* begins before it */

	/* Over its end: cut, and ones behind. */
	assert_true(bus_read(&bus, BUS_PORTS, 0x3fe, &data, 4));
	assert_int_equal(high.size, 2);
	assert_int_equal(data & 0xffffffff, 0xffff5a5a);
	/* A string: one by one, each cut. */
	memset(&data, 0, sizeof(data));
	assert_true(bus_read_string(&bus, BUS_PORTS, 0x3ff, &data, 2, 3));
	assert_true(data == 0xff5aff5aff5a && high.size == 1 && high.device.reads == 5);
	assert_true(bus_write_string(&bus, BUS_PORTS, 0x3f9, &data, 2, 4));
	assert_true(high.offset == 1 && high.size == 2 && high.device.writes == 4);
	data = 0;
	assert_false(bus_read_string(&bus, BUS_PORTS, 0x400, &data, 2, 3));
	assert_true(data == 0xffffffffffff);
	assert_true(bus_write(&bus, BUS_PORTS, 0x64, &data, 8));
	assert_int_equal(low.size, 1);
	assert_int_equal(low.device.writes, 1);
	assert_int_equal(high.device.reads, 5);
	bus_free(&bus);
}

static void test_ranges(void **state)
{
	struct bus bus;
	struct device device;
	struct error err = ERROR_INIT;
	uint64_t data = 0;

	(void)state;
	assert_int_equal(bus_init(&bus, NULL), 0);
	device_init(&device, &mute_ops);
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0x1000, 0x1000, &device, 0, &err), 0);
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0x1fff, 1, &device, 1, &err), -EEXIST);
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0xfff, 2, &device, 1, &err), -EEXIST);
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0, 0x10000, &device, 1, &err), -EEXIST);
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0x2000, 0, &device, 1, &err), -EINVAL);
	assert_int_equal(bus_add(&bus, BUS_MEMORY, UINT64_MAX - 1, 3, &device, 1, &err), -EINVAL);
	/* The last byte of all. */
	assert_int_equal(bus_add(&bus, BUS_MEMORY, UINT64_MAX - 1, 2, &device, 1, &err), 0);
	assert_true(bus_read(&bus, BUS_MEMORY, UINT64_MAX, &data, 8));
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0, 0x1000, &device, 2, &err), 0);
	assert_true(bus_write(&bus, BUS_MEMORY, 0xfff, &data, 1));
	bus_remove(&bus, BUS_MEMORY, &device, 2);
	assert_false(bus_write(&bus, BUS_MEMORY, 0xfff, &data, 1));
	for (size_t i = bus.count[BUS_MEMORY]; i < BUS_RANGES_MAX; i++)
		assert_int_equal(bus_add(&bus, BUS_MEMORY, 0x10000 + 16 * i, 16, &device, 3, &err), 0);
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0, 1, &device, 3, &err), -ENOSPC);
	bus_free(&bus);
}

/* A PCI device moves its BAR from within a write. */
static void test_move(void **state)
{
	struct bus bus;
	struct probe probe;
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(bus_init(&bus, NULL), 0);
	device_init(&probe.device, &probe_ops);
	probe.bus = &bus;
	assert_int_equal(bus_add(&bus, BUS_MEMORY, 0x1000, 0x100, &probe.device, 3, NULL), 0);
	assert_true(bus_write(&bus, BUS_MEMORY, 0x1000, &byte, 1));
	assert_false(bus_read(&bus, BUS_MEMORY, 0x1000, &byte, 1));
	assert_true(bus_read(&bus, BUS_MEMORY, 0x90ff, &byte, 1));
	bus_free(&bus);
}

static unsigned seen_line;
static bool seen_level;

static void see(void *context, unsigned line, bool level)
{
	(void)context;
	seen_line = line;
	seen_level = level;
}

static void test_interrupt(void **state)
{
	struct interrupt edge = { .fd = eventfd(0, EFD_CLOEXEC) };
	struct interrupt level = { .fd = -1, .set = see, .line = 17 };
	uint64_t count = 0;

	(void)state;
	interrupt_pulse(&edge);
	interrupt_pulse(&edge);
	interrupt_set(&edge, true); /* has no level */
	assert_int_equal(read(edge.fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	close(edge.fd);
	interrupt_pulse(&level);
	interrupt_set(&level, true);
	assert_int_equal(seen_line, 17);
	assert_true(seen_level);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_interrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
