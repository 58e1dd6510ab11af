/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/device/pci.h, by the ports that a guest has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "paradigm/vm/device/pci.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/state.h"

enum { SLOT = 3 };

/* A device that remembers what it was asked. */
struct toy {
	struct device device;
	struct pci_function pci;
	unsigned range;
	uint64_t offset;
	unsigned written; /* configuration writes it was told of */
};

struct board {
	struct bus bus;
	struct pci_host *host;
	bool levels[LAYOUT_IRQS];
	struct toy toys[2];
};

static void toy_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	struct toy *toy = (struct toy *)device;

	toy->range = range;
	toy->offset = offset;
	memset(data, 0x77, size);
}

static void toy_config(struct pci_function *function, unsigned offset, unsigned size)
{
	struct toy *toy = (struct toy *)((char *)function - offsetof(struct toy, pci));

	assert_true(size > 0 && offset + size <= PCI_CONFIG_SIZE);
	toy->written++;
}

static const struct device_ops toy_ops = { .name = "toy", .read = toy_read };

static void set_level(void *context, unsigned line, bool level)
{
	struct board *board = context;

	assert_in_range(line, LAYOUT_IRQ_PCI, LAYOUT_IRQ_PCI + LAYOUT_IRQ_PCI_COUNT - 1);
	board->levels[line] = level;
}

static void add_toy(struct board *board, unsigned index, unsigned slot)
{
	struct toy *toy = &board->toys[index];

	device_init(&toy->device, &toy_ops);
	pci_function_init(&toy->pci, 0x1234, (uint16_t)(0x5678 + index), 0x020000, true);
	toy->pci.device = &toy->device;
	toy->pci.bars[0] = (struct pci_bar){ .kind = BUS_MEMORY, .size = 0x10000, .range = 0 };
	toy->pci.bars[1] = (struct pci_bar){ .kind = BUS_PORTS, .size = 0x20, .range = 1 };
	toy->pci.bars[2] = (struct pci_bar){
		.kind = BUS_MEMORY, .size = 0x1000, .range = 2, .wide = true, .prefetchable = true
	};
	toy->pci.written = toy_config;
	assert_int_equal(pci_add(board->host, &toy->pci, slot, NULL), 0);
}

static int set_up(void **state)
{
	static struct board board;
	struct interrupt lines = { .fd = -1, .set = set_level, .context = &board };

	memset(&board, 0, sizeof(board));
	assert_int_equal(bus_init(&board.bus, NULL), 0);
	assert_int_equal(pci_host_make(&board.bus, &lines, &board.host, NULL), 0);
	add_toy(&board, 0, SLOT);
	add_toy(&board, 1, 0);
	*state = &board;
	return 0;
}

static int tear_down(void **state)
{
	struct board *board = *state;
	struct device *device = pci_host_device(board->host);

	device->ops->free(device);
	bus_free(&board->bus);
	return 0;
}

static void point(struct board *board, unsigned slot, unsigned offset)
{
	uint32_t address = 0x80000000U | slot << 11 | (offset & 0xfc);

	assert_true(bus_write(&board->bus, BUS_PORTS, 0xcf8, &address, sizeof(address)));
}

static uint32_t config_read(struct board *board, unsigned slot, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	point(board, slot, offset);
	assert_true(bus_read(&board->bus, BUS_PORTS, 0xcfc + (offset & 3), &value, size));
	return value;
}

static void config_write(struct board *board, unsigned slot, unsigned offset, uint32_t value, unsigned size)
{
	point(board, slot, offset);
	assert_true(bus_write(&board->bus, BUS_PORTS, 0xcfc + (offset & 3), &value, size));
}

static bool meets(struct board *board, enum bus_kind kind, uint64_t address)
{
	uint32_t value = 0;

	return bus_read(&board->bus, kind, address, &value, 4) && value == 0x77777777;
}

static void test_identity(void **state)
{
	struct board *board = *state;
	uint32_t value = 0;

	assert_int_equal(config_read(board, 0, PCI_VENDOR, 4), 0x12378086);
	assert_int_equal(config_read(board, 0, PCI_REVISION + 2, 2), 0x0600);
	assert_int_equal(config_read(board, SLOT, PCI_VENDOR, 4), 0x56781234);
	assert_int_equal(config_read(board, SLOT, PCI_VENDOR + 2, 2), 0x5678);
	assert_int_equal(config_read(board, SLOT, PCI_REVISION + 3, 1), 0x02);
	assert_int_equal(config_read(board, 1, PCI_VENDOR, 4), 0x56791234);
	/* Nobody: other slots, functions, buses, and without the enable bit. */
	assert_int_equal(config_read(board, 9, PCI_VENDOR, 4), UINT32_MAX);
	value = 0x80000000U | SLOT << 11 | 1 << 8;
	assert_true(bus_write(&board->bus, BUS_PORTS, 0xcf8, &value, 4));
	assert_true(bus_read(&board->bus, BUS_PORTS, 0xcfc, &value, 4) && value == UINT32_MAX);
	value = SLOT << 11;
	assert_true(bus_write(&board->bus, BUS_PORTS, 0xcf8, &value, 4));
	assert_true(bus_read(&board->bus, BUS_PORTS, 0xcf8, &value, 4) && value == SLOT << 11);
	assert_true(bus_read(&board->bus, BUS_PORTS, 0xcfc, &value, 4) && value == UINT32_MAX);
	/* The header's identity is not the guest's to change. */
	config_write(board, SLOT, PCI_VENDOR, 0, 4);
	assert_int_equal(config_read(board, SLOT, PCI_VENDOR, 4), 0x56781234);
	assert_int_equal(config_read(board, SLOT, PCI_INTERRUPT_LINE, 2),
			 1 << 8 | (LAYOUT_IRQ_PCI + SLOT % LAYOUT_IRQ_PCI_COUNT));
}

static void test_sizes_of_bars(void **state)
{
	struct board *board = *state;

	config_write(board, SLOT, PCI_BAR, UINT32_MAX, 4);
	assert_int_equal(config_read(board, SLOT, PCI_BAR, 4), 0xffff0000);
	config_write(board, SLOT, PCI_BAR + 4, UINT32_MAX, 4);
	assert_int_equal(config_read(board, SLOT, PCI_BAR + 4, 4), 0xffffffe1);
	config_write(board, SLOT, PCI_BAR + 8, UINT32_MAX, 4);
	config_write(board, SLOT, PCI_BAR + 12, UINT32_MAX, 4);
	assert_int_equal(config_read(board, SLOT, PCI_BAR + 8, 4), 0xfffff00c);
	assert_int_equal(config_read(board, SLOT, PCI_BAR + 12, 4), 0xffffffff);
	config_write(board, SLOT, PCI_BAR + 16, UINT32_MAX, 4);
	assert_int_equal(config_read(board, SLOT, PCI_BAR + 16, 4), 0);
}

static void test_bars_move(void **state)
{
	struct board *board = *state;
	struct toy *toy = &board->toys[0];
	uint64_t first = config_read(board, SLOT, PCI_BAR, 4), other = config_read(board, 1, PCI_BAR, 4);

	/* As firmware would have left them. */
	assert_true(meets(board, BUS_MEMORY, first + 0xfffc) && toy->range == 0 && toy->offset == 0xfffc);
	assert_true(meets(board, BUS_PORTS, config_read(board, SLOT, PCI_BAR + 4, 4) & ~3U) && toy->range == 1);
	assert_true(meets(board, BUS_MEMORY, config_read(board, SLOT, PCI_BAR + 8, 4) & ~15U) && toy->range == 2);
	/* Elsewhere. */
	config_write(board, SLOT, PCI_BAR, 0xe8000000, 4);
	assert_true(meets(board, BUS_MEMORY, 0xe8000004) && toy->offset == 4);
	assert_false(meets(board, BUS_MEMORY, first));
	/* Outside of the windows, at the end of all addresses, over another one: not there. */
	config_write(board, SLOT, PCI_BAR, 0x00100000, 4);
	assert_false(meets(board, BUS_MEMORY, 0x00100000));
	config_write(board, SLOT, PCI_BAR, 0xfee00000, 4);
	assert_false(meets(board, BUS_MEMORY, 0xfee00000));
	config_write(board, SLOT, PCI_BAR + 12, UINT32_MAX, 4);
	assert_false(meets(board, BUS_MEMORY, UINT64_C(0xffffffff00000000) | config_read(board, SLOT, PCI_BAR + 8, 4)));
	config_write(board, SLOT, PCI_BAR, (uint32_t)other, 4);
	board->toys[1].offset = 1;
	assert_true(meets(board, BUS_MEMORY, other) && board->toys[1].offset == 0);
	/* When the other one goes, it is its turn. */
	config_write(board, 1, PCI_BAR, 0xe9000000, 4);
	toy->offset = 1;
	assert_true(meets(board, BUS_MEMORY, other) && toy->offset == 0);
	assert_true(meets(board, BUS_MEMORY, 0xe9000000));
	assert_true(toy->written > 0);
	/* A port BAR outside of its window. */
	config_write(board, SLOT, PCI_BAR + 4, 0x60, 4);
	assert_false(meets(board, BUS_PORTS, 0x60));
}

static void test_command(void **state)
{
	struct board *board = *state;
	uint64_t memory = config_read(board, SLOT, PCI_BAR, 4), ports = config_read(board, SLOT, PCI_BAR + 4, 4) & ~3U;

	config_write(board, SLOT, PCI_COMMAND, PCI_COMMAND_PORTS, 2);
	assert_false(meets(board, BUS_MEMORY, memory));
	assert_true(meets(board, BUS_PORTS, ports));
	assert_false(pci_is_master(&board->toys[0].pci));
	config_write(board, SLOT, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 1);
	assert_true(meets(board, BUS_MEMORY, memory));
	assert_false(meets(board, BUS_PORTS, ports));
	assert_true(pci_is_master(&board->toys[0].pci));
}

static void test_interrupts(void **state)
{
	struct board *board = *state;
	struct pci_function *function = &board->toys[0].pci, *other = &board->toys[1].pci;
	unsigned line = LAYOUT_IRQ_PCI + SLOT % LAYOUT_IRQ_PCI_COUNT;

	interrupt_set(&function->interrupt, true);
	assert_true(board->levels[line]);
	assert_true(config_read(board, SLOT, PCI_STATUS, 2) & PCI_STATUS_INTX);
	config_write(board, SLOT, PCI_COMMAND, PCI_COMMAND_NO_INTX, 2);
	assert_false(board->levels[line]);
	config_write(board, SLOT, PCI_COMMAND, 0, 2);
	assert_true(board->levels[line]);
	interrupt_set(&function->interrupt, false);
	assert_false(board->levels[line]);
	assert_false(config_read(board, SLOT, PCI_STATUS, 2) & PCI_STATUS_INTX);
	interrupt_set(&other->interrupt, true);
	assert_true(board->levels[LAYOUT_IRQ_PCI + 1]);
	assert_false(board->levels[line]);
}

static void test_shared_line(void **state)
{
	struct board *board = *state;
	struct toy third;

	memset(&third, 0, sizeof(third));
	pci_function_init(&third.pci, 1, 2, 0, true);
	assert_int_equal(pci_add(board->host, &third.pci, SLOT, NULL), -EBUSY);
	assert_int_equal(pci_add(board->host, &third.pci, PCI_SLOTS, NULL), -EBUSY);
	assert_int_equal(pci_add(board->host, &third.pci, SLOT + LAYOUT_IRQ_PCI_COUNT, NULL), 0);
	interrupt_set(&board->toys[0].pci.interrupt, true);
	interrupt_set(&third.pci.interrupt, true);
	interrupt_set(&board->toys[0].pci.interrupt, false);
	assert_true(board->levels[LAYOUT_IRQ_PCI + SLOT % LAYOUT_IRQ_PCI_COUNT]);
	interrupt_set(&third.pci.interrupt, false);
	assert_false(board->levels[LAYOUT_IRQ_PCI + SLOT % LAYOUT_IRQ_PCI_COUNT]);
}

static void test_capabilities(void **state)
{
	struct pci_function function;
	int first, second;

	(void)state;
	pci_function_init(&function, 1, 2, 0, false);
	first = pci_add_capability(&function, 0x11, 12);
	second = pci_add_capability(&function, 0x09, 5);
	assert_true(first >= 0x40 && second >= first + 12 && second % 4 == 0);
	assert_int_equal(function.config[PCI_CAPABILITIES], first);
	assert_int_equal(function.config[first], 0x11);
	assert_int_equal(function.config[first + 1], second);
	assert_int_equal(function.config[second + 1], 0);
	assert_true(function.config[PCI_STATUS] & PCI_STATUS_CAPABILITIES);
	assert_int_equal(pci_add_capability(&function, 0x09, 250), -ENOSPC);
}

static void test_odd_accesses(void **state)
{
	struct board *board = *state;
	uint64_t value;

	point(board, SLOT, 0);
	for (unsigned port = 0xcf8; port <= 0xcff; port++) {
		for (unsigned size = 1; size <= 8; size++) {
			uint64_t zero = 0;

			assert_true(bus_read(&board->bus, BUS_PORTS, port, &value, size));
			if (port != 0xcf8 || size != 4)
				assert_true(bus_write(&board->bus, BUS_PORTS, port, &zero, size));
		}
	}
	assert_int_equal(config_read(board, SLOT, PCI_VENDOR, 4), 0x56781234);
}

static void test_state(void **state)
{
	struct board *board = *state;
	struct device *device = pci_host_device(board->host);
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;

	config_write(board, SLOT, PCI_BAR, 0xe8000000, 4);
	interrupt_set(&board->toys[0].pci.interrupt, true);
	device->ops->save(device, &writer);
	assert_false(str_failed(&writer.out));
	config_write(board, SLOT, PCI_BAR, 0xea000000, 4);
	interrupt_set(&board->toys[0].pci.interrupt, false);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(device->ops->restore(device, &reader, NULL), 0);
	assert_true(meets(board, BUS_MEMORY, 0xe8000000));
	assert_false(meets(board, BUS_MEMORY, 0xea000000));
	assert_true(board->levels[LAYOUT_IRQ_PCI + SLOT % LAYOUT_IRQ_PCI_COUNT]);
	for (size_t length = 0; length < writer.out.length; length++) {
		state_reader_init(&reader, writer.out.text, length);
		assert_true(device->ops->restore(device, &reader, NULL) < 0);
	}
	str_free(&writer.out);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sizes_of_bars, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bars_move, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_command, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_interrupts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_shared_line, set_up, tear_down),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test_setup_teardown(test_odd_accesses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_state, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
