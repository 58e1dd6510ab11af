/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the e1000 and the PCI bus that it is on: an input is what a guest does to registers,
 * configuration space and memory, and what comes over the wire.
 *
 *     0 offset:4 value:4   writes a register          3 size:2         a packet comes
 *     1 offset:4 size:1    reads one                  4 offset:1 value:4   writes the configuration space
 *     2 address:4 size:1 bytes   writes memory        5                saves and restores the card
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/device/e1000_private.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/state.h"

enum { RAM = 256 << 10, SLOT = 2, TURNS = 4 };

struct board {
	struct bus bus;
	struct pci_host *host;
	struct guest_memory memory;
	struct loop loop;
	struct device *card;
	int wire;
};

static void set_level(void *context, unsigned line, bool level)
{
	(void)context;
	(void)level;
	check(line >= LAYOUT_IRQ_PCI && line < LAYOUT_IRQ_PCI + LAYOUT_IRQ_PCI_COUNT);
}

static void make(struct board *board)
{
	struct interrupt lines = { .fd = -1, .set = set_level };
	struct guest_region layout = { .size = RAM };
	struct e1000_options options = { .mac = { 2, 0, 0, 0, 0, 1 }, .slot = SLOT };
	int pair[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	check(bus_init(&board->bus, NULL) == 0 && loop_open(&board->loop, NULL) == 0);
	check(guest_memory_make(&board->memory, &layout, 1, 0, NULL) == 0);
	check(pci_host_make(&board->bus, &lines, &board->host, NULL) == 0);
	board->wire = pair[1];
	options.tap = pair[0];
	options.pci = board->host;
	options.memory = &board->memory;
	options.loop = &board->loop;
	check(e1000_make(&options, &board->card, NULL) == 0);
}

static void unmake(struct board *board)
{
	struct device *host = pci_host_device(board->host);

	board->card->ops->free(board->card);
	host->ops->free(host);
	guest_memory_free(&board->memory);
	loop_close(&board->loop);
	bus_free(&board->bus);
	close(board->wire);
}

static void turn(struct board *board)
{
	for (int i = 0; i < TURNS; i++)
		check(loop_wait(&board->loop, 0, NULL) == 0);
}

static void write_config(struct board *board, uint32_t offset, uint32_t value)
{
	uint32_t address = 0x80000000U | SLOT << 11 | (offset & 0xfc);

	(void)bus_write(&board->bus, BUS_PORTS, 0xcf8, &address, 4);
	(void)bus_write(&board->bus, BUS_PORTS, 0xcfc, &value, 4);
}

static void write_memory(struct board *board, struct input *input)
{
	uint32_t address = number(input, 4), size = number(input, 1);

	size = size < (size_t)(input->end - input->at) ? size : (uint32_t)(input->end - input->at);
	(void)guest_memory_write(&board->memory, address, input->at, size);
	input->at += size;
}

static void packet(struct board *board, uint32_t size)
{
	static uint8_t bytes[UINT16_MAX];
	ssize_t count;

	for (uint32_t i = 0; i < size && i < 64; i++)
		bytes[i] = (uint8_t)(size + i);
	memset(bytes, 0, E1000_HEADER - 2);
	count = write(board->wire, bytes, size);
	(void)count;
	turn(board);
	while (read(board->wire, bytes, sizeof(bytes)) > 0)
		;
}

static void save_and_restore(struct board *board)
{
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;

	board->card->ops->save(board->card, &writer);
	check(!str_failed(&writer.out));
	state_reader_init(&reader, writer.out.text, writer.out.length);
	check(board->card->ops->restore(board->card, &reader, NULL) == 0);
	str_free(&writer.out);
}

static void act(struct board *board, struct input *input, uint64_t base)
{
	uint32_t offset, value;
	uint64_t wide = 0;

	switch (*input->at++) {
	case 0:
		offset = number(input, 4) % E1000_MEMORY_SIZE;
		value = number(input, 4);
		(void)bus_write(&board->bus, BUS_MEMORY, base + offset, &value, 4);
		break;
	case 1:
		offset = number(input, 4) % E1000_MEMORY_SIZE;
		(void)bus_read(&board->bus, BUS_MEMORY, base + offset, &wide, number(input, 1) % 8 + 1);
		break;
	case 2:
		write_memory(board, input);
		break;
	case 3:
		packet(board, number(input, 2));
		break;
	case 4:
		offset = number(input, 1);
		write_config(board, offset, number(input, 4));
		break;
	case 5:
		save_and_restore(board);
		break;
	default:
		turn(board);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board board = { .wire = -1 };
	struct input input = { data, data + size };

	make(&board);
	write_config(&board, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_PORTS | PCI_COMMAND_MASTER);
	while (input.at < input.end)
		act(&board, &input, LAYOUT_PCI_MEMORY);
	unmake(&board);
	return 0;
}
