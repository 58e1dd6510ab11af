/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/device/e1000.h, driven by its registers as a guest's driver does; the tap is a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "paradigm/vm/device/e1000_private.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/state.h"

enum {
	RAM = 1 << 20,
	RX_RING = 0x1000,
	TX_RING = 0x2000,
	RX_BUFFERS = 0x10000, /* 2048 bytes each */
	TX_BUFFER = 0x40000,
	COUNT = 8, /* descriptors */
	LINE = LAYOUT_IRQ_PCI + 2 % LAYOUT_IRQ_PCI_COUNT,
	SLOT = 2,
	MTU = 1500,
};

struct board {
	struct bus bus;
	struct pci_host *host;
	struct guest_memory memory;
	struct loop loop;
	struct device *card;
	uint64_t base, ports;
	int wire; /* the tap's other end */
	bool level;
	unsigned raised;
	uint8_t packet[70000];
};

static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };

static void set_level(void *context, unsigned line, bool level)
{
	struct board *board = context;

	if (line != LINE)
		return;
	board->raised += level && !board->level;
	board->level = level;
}

static uint32_t config(struct board *board, unsigned offset)
{
	uint32_t address = 0x80000000U | SLOT << 11 | offset, value = 0;

	(void)bus_write(&board->bus, BUS_PORTS, 0xcf8, &address, 4);
	(void)bus_read(&board->bus, BUS_PORTS, 0xcfc, &value, 4);
	return value;
}

static void master(struct board *board)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_PORTS | PCI_COMMAND_MASTER;

	(void)config(board, PCI_COMMAND);
	(void)bus_write(&board->bus, BUS_PORTS, 0xcfc, &command, 2);
}

static int set_up(void **state)
{
	static struct board board;
	struct interrupt lines = { .fd = -1, .set = set_level, .context = &board };
	struct guest_region layout = { .base = 0, .size = RAM };
	struct e1000_options options;
	int pair[2];

	memset(&board, 0, sizeof(board));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(bus_init(&board.bus, NULL), 0);
	assert_int_equal(loop_open(&board.loop, NULL), 0);
	assert_int_equal(guest_memory_make(&board.memory, &layout, 1, 0, NULL), 0);
	assert_int_equal(pci_host_make(&board.bus, &lines, &board.host, NULL), 0);
	board.wire = pair[1];
	options = (struct e1000_options){
		.tap = pair[0], .pci = board.host, .slot = SLOT, .memory = &board.memory, .loop = &board.loop
	};
	memcpy(options.mac, mac, sizeof(mac));
	assert_int_equal(e1000_make(&options, &board.card, NULL), 0);
	board.base = config(&board, PCI_BAR) & ~15U;
	board.ports = config(&board, PCI_BAR + 8) & ~3U;
	master(&board);
	*state = &board;
	return 0;
}

static int tear_down(void **state)
{
	struct board *board = *state;
	struct device *host = pci_host_device(board->host);

	board->card->ops->free(board->card);
	host->ops->free(host);
	guest_memory_free(&board->memory);
	loop_close(&board->loop);
	bus_free(&board->bus);
	if (board->wire >= 0)
		close(board->wire);
	return 0;
}

static uint32_t get(struct board *board, unsigned offset)
{
	uint32_t value = 0;

	assert_true(bus_read(&board->bus, BUS_MEMORY, board->base + offset, &value, 4));
	return value;
}

static void put(struct board *board, unsigned offset, uint32_t value)
{
	assert_true(bus_write(&board->bus, BUS_MEMORY, board->base + offset, &value, 4));
}

static void turn(struct board *board)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_wait(&board->loop, 0, NULL), 0);
}

/* ---- a driver ---- */

static void start(struct board *board, uint32_t receive)
{
	put(board, E1000_RDBAL, RX_RING);
	put(board, E1000_RDLEN, COUNT * 16);
	put(board, E1000_RDH, 0);
	put(board, E1000_TDBAL, TX_RING);
	put(board, E1000_TDLEN, COUNT * 16);
	put(board, E1000_TDT, 0);
	put(board, E1000_TCTL, 1 << 1 | 1 << 3);
	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t descriptor[2] = { RX_BUFFERS + i * 2048, 0 };

		assert_true(guest_memory_write(&board->memory, RX_RING + i * 16, descriptor, 16));
	}
	put(board, E1000_RCTL, 1 << 1 | 1 << 15 | receive);
	put(board, E1000_RDT, COUNT - 1);
	put(board, E1000_IMS, E1000_ICR_RXT0 | E1000_ICR_TXDW | E1000_ICR_LSC | E1000_ICR_RXDMT0);
	turn(board);
}

static void describe(struct board *board, unsigned index, uint64_t low, uint64_t high)
{
	uint64_t descriptor[2] = { low, high };

	assert_true(guest_memory_write(&board->memory, TX_RING + index * 16, descriptor, 16));
}

static bool is_done(struct board *board, unsigned index)
{
	uint8_t status = 0;

	assert_true(guest_memory_read(&board->memory, TX_RING + index * 16 + 12, &status, 1));
	return status & 1;
}

/* A packet that came out of the card: its bytes in board->packet, behind the header. */
static ssize_t take(struct board *board, struct virtio_net_hdr_v1 *header)
{
	ssize_t size = read(board->wire, board->packet, sizeof(board->packet));

	if (size < E1000_HEADER)
		return -1;
	memcpy(header, board->packet, E1000_HEADER);
	memmove(board->packet, board->packet + E1000_HEADER, (size_t)size - E1000_HEADER);
	return size - E1000_HEADER;
}

static void fill(uint8_t *frame, size_t size, const uint8_t *to)
{
	for (size_t i = 0; i < size; i++)
		frame[i] = (uint8_t)i;
	memcpy(frame, to, 6);
	frame[12] = 0x08;
	frame[13] = 0x00;
}

/* A packet for the card. */
static void give(struct board *board, const uint8_t *to, size_t size)
{
	uint8_t packet[E1000_HEADER + 20000] = { 0 };

	fill(packet + E1000_HEADER, size, to);
	assert_int_equal(write(board->wire, packet, E1000_HEADER + size), E1000_HEADER + size);
	turn(board);
}

struct received {
	uint64_t address;
	uint16_t size, checksum;
	uint8_t status, errors;
	uint16_t special;
};

static struct received received(struct board *board, unsigned index)
{
	struct received descriptor;

	assert_true(guest_memory_read(&board->memory, RX_RING + index * 16, &descriptor, 16));
	return descriptor;
}

/* ---- tests ---- */

static void test_is_found(void **state)
{
	struct board *board = *state;
	uint64_t wide = 0;

	assert_int_equal(config(board, PCI_VENDOR), 0x100e8086);
	assert_int_equal(config(board, PCI_REVISION) >> 8, 0x020000);
	assert_int_equal(get(board, E1000_STATUS) & 0x83, 0x83);
	assert_int_equal(get(board, E1000_RA), 0x33221102);
	assert_int_equal(get(board, E1000_RA + 4), 0x80005544);
	assert_true(bus_read(&board->bus, BUS_MEMORY, board->base + E1000_RA, &wide, 8));
	assert_int_equal(wide, UINT64_C(0x8000554433221102));
	wide = 0;
	assert_true(bus_read(&board->bus, BUS_MEMORY, board->base + E1000_RA + 1, &wide, 2));
	assert_int_equal(wide, 0x2211);
	/* By ports. */
	wide = E1000_RA;
	assert_true(bus_write(&board->bus, BUS_PORTS, board->ports, &wide, 4));
	assert_true(bus_read(&board->bus, BUS_PORTS, board->ports + 4, &wide, 4));
	assert_int_equal((uint32_t)wide, 0x33221102);
}

static uint16_t eeprom_by_wire(struct board *board, unsigned word)
{
	unsigned command = 6 << 6 | word, value = 0;

	put(board, E1000_EECD, 1 << 6);
	assert_true(get(board, E1000_EECD) & 1 << 7);
	put(board, E1000_EECD, 1 << 6 | 1 << 1);
	for (int bit = 8; bit >= 0; bit--) {
		uint32_t wires = 1 << 6 | 1 << 1 | (command >> bit & 1) << 2;

		put(board, E1000_EECD, wires);
		put(board, E1000_EECD, wires | 1);
		put(board, E1000_EECD, wires);
	}
	for (int bit = 0; bit < 16; bit++) {
		put(board, E1000_EECD, 1 << 6 | 1 << 1 | 1);
		value = value << 1 | (get(board, E1000_EECD) >> 3 & 1);
		put(board, E1000_EECD, 1 << 6 | 1 << 1);
	}
	put(board, E1000_EECD, 0);
	return (uint16_t)value;
}

static void test_eeprom(void **state)
{
	struct board *board = *state;
	uint16_t sum = 0;

	for (unsigned word = 0; word < E1000_EEPROM_WORDS; word++) {
		uint32_t value;

		put(board, E1000_EERD, word << 8 | 1);
		value = get(board, E1000_EERD);
		assert_true(value & 1 << 4);
		assert_int_equal(eeprom_by_wire(board, word), value >> 16);
		sum = (uint16_t)(sum + (value >> 16));
	}
	assert_int_equal(sum, 0xbaba);
	put(board, E1000_EERD, 0xff << 8 | 1);
	assert_int_equal(get(board, E1000_EERD) >> 16, 0);
	assert_int_equal(eeprom_by_wire(board, 1), 0x3322);
}

static uint32_t phy(struct board *board, unsigned address, unsigned number)
{
	put(board, E1000_MDIC, 2U << 26 | address << 21 | number << 16);
	assert_true(get(board, E1000_MDIC) & 1 << 28);
	return get(board, E1000_MDIC);
}

static void test_phy(void **state)
{
	struct board *board = *state;

	assert_int_equal(phy(board, 1, 2) & 0xffff, 0x0141);
	assert_int_equal(phy(board, 1, 3) & 0xfff0, 0x0c20);
	assert_int_equal(phy(board, 1, 1) & 0x24, 0x24);
	assert_true(phy(board, 2, 2) & 1 << 30);
	put(board, E1000_MDIC, 1U << 26 | 1U << 21 | 4 << 16 | 0x1234);
	assert_int_equal(phy(board, 1, 4) & 0xffff, 0x1234);
	put(board, E1000_MDIC, 1U << 26 | 1U << 21 | 2 << 16 | 0x1234);
	assert_int_equal(phy(board, 1, 2) & 0xffff, 0x0141);
	put(board, E1000_MDIC, 1U << 26 | 1U << 21 | 0 << 16 | 0x8000);
	assert_int_equal(phy(board, 1, 4) & 0xffff, 0x0de1);
	assert_int_equal(phy(board, 1, 0) & 0x8000, 0);
}

static void test_sends(void **state)
{
	struct board *board = *state;
	struct virtio_net_hdr_v1 header;
	uint8_t frame[100];

	start(board, 0);
	fill(frame, sizeof(frame), mac);
	assert_true(guest_memory_write(&board->memory, TX_BUFFER, frame, sizeof(frame)));
	/* In two parts, the second reported. */
	describe(board, 0, TX_BUFFER, 60);
	describe(board, 1, TX_BUFFER + 60, 40 | 0x09U << 24);
	put(board, E1000_TDT, 2);
	assert_int_equal(take(board, &header), 100);
	assert_memory_equal(board->packet, frame, 100);
	assert_int_equal(header.flags, 0);
	assert_false(is_done(board, 0));
	assert_true(is_done(board, 1) && board->level);
	assert_int_equal(get(board, E1000_TDH), 2);
	assert_true(get(board, E1000_ICR) & E1000_ICR_TXDW);
	assert_false(board->level);
	assert_int_equal(get(board, E1000_ICR), 0);
	assert_int_equal(get(board, E1000_GPTC), 1);
	assert_int_equal(get(board, E1000_GPTC), 0);
	/* A short one is padded; the ring goes round. */
	for (unsigned i = 2; i < 20; i++) {
		describe(board, i % COUNT, TX_BUFFER, 20 | 0x09U << 24);
		put(board, E1000_TDT, (i + 1) % COUNT);
		assert_int_equal(take(board, &header), 60);
	}
	assert_true(take(board, &header) < 0);
}

static uint16_t sum(const uint8_t *bytes, size_t size, uint32_t seed)
{
	for (size_t i = 0; i + 1 < size; i += 2)
		seed += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	if (size % 2)
		seed += (uint32_t)(bytes[size - 1] << 8);
	while (seed >> 16)
		seed = (seed & 0xffff) + (seed >> 16);
	return (uint16_t)seed;
}

static uint64_t context_offsets(unsigned tcp_start, unsigned tcp_offset)
{
	return 14 | 24 << 8 | 33 << 16 | (uint64_t)tcp_start << 32 | (uint64_t)tcp_offset << 40;
}

static void test_checksums(void **state)
{
	struct board *board = *state;
	struct virtio_net_hdr_v1 header;
	uint8_t frame[101];

	start(board, 0);
	fill(frame, sizeof(frame), mac);
	frame[24] = frame[25] = 0;
	assert_true(guest_memory_write(&board->memory, TX_BUFFER, frame, sizeof(frame)));
	describe(board, 0, context_offsets(34, 50), 0x20ULL << 24);
	describe(board, 1, TX_BUFFER, 101 | 1 << 20 | 0x29ULL << 24 | 3ULL << 40);
	put(board, E1000_TDT, 2);
	assert_int_equal(take(board, &header), 101);
	assert_int_equal(sum(board->packet + 14, 20, 0), 0xffff);
	assert_int_equal(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(header.csum_start, 34);
	assert_int_equal(header.csum_offset, 16);
	/* The same where the sum ends before the packet: made here. */
	describe(board, 2, context_offsets(34, 50) | UINT64_C(80) << 48, 0x20ULL << 24);
	describe(board, 3, TX_BUFFER, 101 | 1 << 20 | 0x29ULL << 24 | 2ULL << 40);
	put(board, E1000_TDT, 4);
	assert_int_equal(take(board, &header), 101);
	assert_int_equal(header.flags, 0);
	assert_int_equal((uint16_t)~sum(frame + 34, 47, 0), board->packet[50] << 8 | board->packet[51]);
	/* Legacy. */
	describe(board, 4, TX_BUFFER, 101 | 50 << 16 | 0x0dULL << 24 | 34ULL << 40);
	put(board, E1000_TDT, 5);
	assert_int_equal(take(board, &header), 101);
	assert_int_equal((uint16_t)~sum(frame + 34, 67, 0), board->packet[50] << 8 | board->packet[51]);
}

static void test_segments(void **state)
{
	struct board *board = *state;
	struct virtio_net_hdr_v1 header;
	uint8_t frame[4054];

	start(board, 0);
	fill(frame, sizeof(frame), mac);
	frame[50] = 0x12; /* the seed, without the length */
	frame[51] = 0x34;
	assert_true(guest_memory_write(&board->memory, TX_BUFFER, frame, sizeof(frame)));
	describe(board, 0, context_offsets(34, 50), 4000 | 0x27ULL << 24 | 54ULL << 40 | 1460ULL << 48);
	describe(board, 1, TX_BUFFER, 54 | 1 << 20 | 0x24ULL << 24 | 3ULL << 40);
	describe(board, 2, TX_BUFFER + 54, 4000 | 1 << 20 | 0x2dULL << 24 | 3ULL << 40);
	put(board, E1000_TDT, 3);
	assert_int_equal(take(board, &header), 4054);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(header.gso_size, 1460);
	assert_int_equal(header.hdr_len, 54);
	assert_int_equal(header.csum_start, 34);
	assert_int_equal(board->packet[16] << 8 | board->packet[17], 4040);
	assert_int_equal(sum(board->packet + 14, 20, 0), 0xffff);
	assert_int_equal(board->packet[50] << 8 | board->packet[51], 0x1234 + 4020);
	/* One segment is no segmentation. */
	describe(board, 3, TX_BUFFER, 100 | 1 << 20 | 0x2dULL << 24 | 3ULL << 40);
	put(board, E1000_TDT, 4);
	assert_int_equal(take(board, &header), 100);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	/* Contexts that fit no packet: dropped, and the descriptors are done. */
	describe(board, 4, context_offsets(34, 50), 4000 | 0x27ULL << 24 | 54ULL << 40);
	describe(board, 5, TX_BUFFER, 4000 | 1 << 20 | 0x2dULL << 24 | 3ULL << 40);
	put(board, E1000_TDT, 6);
	describe(board, 6, context_offsets(34, 255), 4000 | 0x27ULL << 24 | 54ULL << 40 | 1000ULL << 48);
	describe(board, 7, TX_BUFFER, 4000 | 1 << 20 | 0x2dULL << 24 | 3ULL << 40);
	put(board, E1000_TDT, 0);
	assert_true(is_done(board, 5) && is_done(board, 7));
	assert_true(take(board, &header) < 0);
}

static void test_tags(void **state)
{
	struct board *board = *state;
	struct virtio_net_hdr_v1 header;
	uint8_t frame[100], seen[100];
	struct received said;

	start(board, 0);
	fill(frame, sizeof(frame), mac);
	assert_true(guest_memory_write(&board->memory, TX_BUFFER, frame, sizeof(frame)));
	put(board, E1000_CTRL, 1 << 30);
	describe(board, 0, TX_BUFFER, 100 | 0x49ULL << 24 | 0x2abcULL << 48);
	put(board, E1000_TDT, 1);
	assert_int_equal(take(board, &header), 104);
	assert_memory_equal(board->packet + 12, "\x81\x00\x2a\xbc\x08\x00", 6);
	/* And back. */
	memmove(board->packet + E1000_HEADER, board->packet, 104);
	memset(board->packet, 0, E1000_HEADER);
	assert_int_equal(write(board->wire, board->packet, E1000_HEADER + 104), E1000_HEADER + 104);
	turn(board);
	said = received(board, 0);
	assert_int_equal(said.size, 104); /* with four bytes of checksum */
	assert_int_equal(said.special, 0x2abc);
	assert_true(said.status & 0x08);
	assert_true(guest_memory_read(&board->memory, RX_BUFFERS, seen, sizeof(seen)));
	assert_memory_equal(seen, frame, sizeof(frame));
	/* With the filter, a tag that is not in the table does not come in. */
	put(board, E1000_RCTL, get(board, E1000_RCTL) | 1 << 18);
	memmove(board->packet + E1000_HEADER, frame, 12);
	assert_int_equal(write(board->wire, board->packet, E1000_HEADER + 104), E1000_HEADER + 104);
	turn(board);
	assert_int_equal(get(board, E1000_RDH), 1);
	put(board, E1000_VFTA + 4 * (0xabc >> 5), 1U << (0xabc & 31));
	assert_int_equal(write(board->wire, board->packet, E1000_HEADER + 104), E1000_HEADER + 104);
	turn(board);
	assert_int_equal(get(board, E1000_RDH), 2);
}

static void test_receives(void **state)
{
	struct board *board = *state;
	uint8_t frame[200], seen[200];
	struct received said;

	start(board, 0);
	assert_false(board->level);
	give(board, mac, 200);
	said = received(board, 0);
	assert_int_equal(said.status & 0x07, 0x07);
	assert_int_equal(said.size, 204);
	fill(frame, sizeof(frame), mac);
	assert_true(guest_memory_read(&board->memory, RX_BUFFERS, seen, sizeof(seen)));
	assert_memory_equal(seen, frame, sizeof(frame));
	assert_true(board->level);
	assert_true(get(board, E1000_ICR) & E1000_ICR_RXT0);
	assert_false(board->level);
	give(board, mac, 20);
	assert_int_equal(received(board, 1).size, 64);
	assert_int_equal(get(board, E1000_GPRC), 2);
	/* Too long. */
	give(board, mac, 1600);
	assert_int_equal(get(board, E1000_RDH), 2);
}

static void test_long_packets(void **state)
{
	struct board *board = *state;

	/* Without checksums, in buffers of 2048 bytes. */
	start(board, 1 << 5 | 1 << 26);
	give(board, mac, 5000);
	assert_int_equal(get(board, E1000_RDH), 3);
	assert_int_equal(received(board, 0).size, 2048);
	assert_int_equal(received(board, 0).status & 3, 1);
	assert_int_equal(received(board, 2).size, 5000 - 4096);
	assert_int_equal(received(board, 2).status & 3, 3);
}

static void test_filters(void **state)
{
	static const uint8_t other[6] = { 2, 1, 1, 1, 1, 1 }, all[6] = { 255, 255, 255, 255, 255, 255 },
			     group[6] = { 0x01, 0, 0x5e, 0, 0, 0xfb };
	unsigned hash = ((unsigned)group[4] | (unsigned)group[5] << 8) >> 4 & 0xfff;
	struct board *board = *state;

	start(board, 0);
	give(board, other, 100);
	give(board, group, 100);
	assert_int_equal(get(board, E1000_RDH), 0);
	give(board, all, 100);
	assert_int_equal(get(board, E1000_RDH), 1);
	put(board, E1000_MTA + 4 * (hash >> 5), 1U << (hash & 31));
	give(board, group, 100);
	assert_int_equal(get(board, E1000_RDH), 2);
	put(board, E1000_RA + 8, 0x01010102);
	put(board, E1000_RA + 12, 0x80000101);
	give(board, other, 100);
	assert_int_equal(get(board, E1000_RDH), 3);
	put(board, E1000_RA + 12, 0);
	put(board, E1000_MTA + 4 * (hash >> 5), 0);
	put(board, E1000_RCTL, 1 << 1 | 1 << 3 | 1 << 4);
	give(board, other, 100);
	give(board, group, 100);
	assert_int_equal(get(board, E1000_RDH), 5);
}

static void test_waits_for_descriptors(void **state)
{
	struct board *board = *state;

	start(board, 0);
	for (unsigned i = 0; i < COUNT + 2; i++)
		give(board, mac, 100);
	assert_int_equal(get(board, E1000_RDH), COUNT - 1);
	assert_true(get(board, E1000_ICR) & E1000_ICR_RXDMT0);
	put(board, E1000_RDT, 3);
	turn(board);
	assert_int_equal(get(board, E1000_RDH), 2);
	/* Switched off, and on again. */
	put(board, E1000_RCTL, 0);
	give(board, mac, 100);
	assert_int_equal(get(board, E1000_RDH), 2);
	put(board, E1000_RCTL, 1 << 1);
	turn(board);
	assert_int_equal(get(board, E1000_RDH), 3);
}

static void test_interrupts(void **state)
{
	struct board *board = *state;

	put(board, E1000_ICS, E1000_ICR_LSC);
	assert_false(board->level);
	put(board, E1000_IMS, E1000_ICR_LSC);
	assert_true(board->level);
	put(board, E1000_IMC, E1000_ICR_LSC);
	assert_false(board->level);
	assert_int_equal(get(board, E1000_IMS), 0);
	put(board, E1000_IMS, E1000_ICR_LSC);
	put(board, E1000_ICR, E1000_ICR_LSC);
	assert_false(board->level);
	/* With a throttle of 2 ms the second one comes late, but comes. */
	put(board, E1000_ITR, 2000000 / 256);
	put(board, E1000_ICS, E1000_ICR_LSC);
	assert_int_equal(get(board, E1000_ICR), E1000_ICR_LSC);
	put(board, E1000_ICS, E1000_ICR_LSC);
	for (int i = 0; i < 100 && !board->level; i++)
		assert_int_equal(loop_wait(&board->loop, 100, NULL), 0);
	assert_true(board->level);
}

static void test_link(void **state)
{
	struct board *board = *state;

	start(board, 0);
	close(board->wire);
	board->wire = -1;
	turn(board);
	assert_true(board->level);
	assert_int_equal(get(board, E1000_ICR) & E1000_ICR_LSC, E1000_ICR_LSC);
	assert_false(get(board, E1000_STATUS) & 2);
	assert_int_equal(phy(board, 1, 1) & 4, 0);
	/* Sending goes on into nothing. */
	describe(board, 0, TX_BUFFER, 100 | 0x09U << 24);
	put(board, E1000_TDT, 1);
	assert_true(is_done(board, 0));
}

static void test_hostile(void **state)
{
	static const uint64_t places[] = { RAM - 8, RAM, UINT64_MAX - 7, UINT64_MAX << 4, 0xfee00000, 0xe0000000 };
	struct board *board = *state;
	struct virtio_net_hdr_v1 header;

	start(board, 0);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		/* Buffers that are not memory, registers of the card's own among them. */
		describe(board, get(board, E1000_TDH), places[i], 100 | 0x09U << 24);
		put(board, E1000_TDT, (get(board, E1000_TDH) + 1) % COUNT);
		assert_true(take(board, &header) < 0);
	}
	assert_true(guest_memory_write(&board->memory, RX_RING, &places[4], 8));
	give(board, mac, 100);
	assert_int_equal(get(board, E1000_RDH), 1);
	assert_true(((struct e1000 *)board->card)->dropped > 0);
	/* A packet that never ends. */
	for (unsigned i = 0; i < 40; i++) {
		unsigned head = get(board, E1000_TDH);

		describe(board, head, 0, 0xffff | 1 << 20 | 0x28ULL << 24);
		put(board, E1000_TDT, (head + 1) % COUNT);
	}
	describe(board, get(board, E1000_TDH), 0, 1 | 1 << 20 | 0x29ULL << 24);
	put(board, E1000_TDT, (get(board, E1000_TDH) + 1) % COUNT);
	assert_true(take(board, &header) < 0);
	/* Rings that are not memory, that have no end, or of which the indices are outside. */
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		put(board, E1000_TDBAL, (uint32_t)places[i]);
		put(board, E1000_TDBAH, (uint32_t)(places[i] >> 32));
		put(board, E1000_RDBAL, (uint32_t)places[i]);
		put(board, E1000_RDBAH, (uint32_t)(places[i] >> 32));
		put(board, E1000_TDLEN, UINT32_MAX);
		put(board, E1000_TDH, 0xffff);
		put(board, E1000_TDT, 0xfffe);
		put(board, E1000_TDLEN, 0);
		put(board, E1000_TDT, 3);
		put(board, E1000_TDT, 0xffff);
		put(board, E1000_RDT, 0xffff);
		put(board, E1000_RDH, 0xfff0);
		give(board, mac, 100);
	}
	assert_true(take(board, &header) < 0);
}

static void test_without_master(void **state)
{
	struct board *board = *state;
	struct virtio_net_hdr_v1 header;
	uint16_t command = PCI_COMMAND_MEMORY;

	start(board, 0);
	(void)config(board, PCI_COMMAND);
	assert_true(bus_write(&board->bus, BUS_PORTS, 0xcfc, &command, 2));
	describe(board, 0, TX_BUFFER, 100 | 0x09U << 24);
	put(board, E1000_TDT, 1);
	give(board, mac, 100);
	assert_true(take(board, &header) < 0);
	assert_int_equal(get(board, E1000_RDH), 0);
}

static void test_odd_accesses(void **state)
{
	struct board *board = *state;
	uint8_t data[8];

	for (uint64_t offset = 0; offset < E1000_MEMORY_SIZE; offset += offset < E1000_REGISTERS_SIZE ? 1 : 4093) {
		memset(data, (int)offset, sizeof(data));
		for (unsigned size = 1; size <= 8; size++) {
			assert_true(bus_read(&board->bus, BUS_MEMORY, board->base + offset, data, size));
			assert_true(bus_write(&board->bus, BUS_MEMORY, board->base + offset, data, size));
		}
	}
	for (uint64_t offset = 0; offset < E1000_PORTS_SIZE; offset++) {
		for (unsigned size = 1; size <= 8; size++) {
			memset(data, 0xff, sizeof(data));
			assert_true(bus_write(&board->bus, BUS_PORTS, board->ports + offset, data, size));
			assert_true(bus_read(&board->bus, BUS_PORTS, board->ports + offset, data, size));
		}
	}
	put(board, E1000_CTRL, 1 << 26);
	assert_int_equal(get(board, E1000_RCTL), 0);
	assert_int_equal(get(board, E1000_RA), 0x33221102);
}

static void test_state(void **state)
{
	struct board *board = *state;
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	struct virtio_net_hdr_v1 header;
	uint8_t frame[100];

	start(board, 0);
	fill(frame, sizeof(frame), mac);
	assert_true(guest_memory_write(&board->memory, TX_BUFFER, frame, sizeof(frame)));
	/* In the middle of a packet. */
	describe(board, 0, TX_BUFFER, 60);
	describe(board, 1, TX_BUFFER + 60, 40 | 0x09U << 24);
	put(board, E1000_TDT, 1);
	board->card->ops->quiesce(board->card);
	give(board, mac, 100);
	assert_int_equal(get(board, E1000_RDH), 0);
	board->card->ops->save(board->card, &writer);
	put(board, E1000_CTRL, 1 << 26);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(board->card->ops->restore(board->card, &reader, NULL), 0);
	board->card->ops->resume(board->card);
	turn(board);
	assert_int_equal(get(board, E1000_RDH), 1);
	put(board, E1000_TDT, 2);
	assert_int_equal(take(board, &header), 100);
	assert_memory_equal(board->packet, frame, 100);
	for (size_t length = 0; length < writer.out.length; length += length < 100 ? 1 : 97) {
		state_reader_init(&reader, writer.out.text, length);
		assert_true(board->card->ops->restore(board->card, &reader, NULL) < 0);
	}
	str_free(&writer.out);
}

/* Rings as long as no driver can make them are none in a snapshot, either. */
static void test_hostile_state(void **state)
{
	static const unsigned registers[] = { E1000_TDLEN, E1000_TDH, E1000_TDT, E1000_RDLEN, E1000_RDH, E1000_RDT };
	struct board *board = *state;
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	uint32_t before[E1000_REGISTERS_SIZE / 4];
	uint8_t *saved;

	start(board, 0);
	for (unsigned i = 0; i < E1000_REGISTERS_SIZE / 4; i++)
		before[i] = *e1000_at((struct e1000 *)board->card, 4 * i);
	board->card->ops->quiesce(board->card);
	board->card->ops->save(board->card, &writer);
	saved = memmem(writer.out.text, writer.out.length, before, sizeof(before));
	assert_non_null(saved);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(board->card->ops->restore(board->card, &reader, NULL), 0);
	assert_memory_equal(((struct e1000 *)board->card)->registers, before, sizeof(before));
	for (size_t i = 0; i < sizeof(registers) / sizeof(*registers); i++)
		memset(saved + registers[i], 0xff, 4);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(board->card->ops->restore(board->card, &reader, NULL), 0);
	assert_int_equal(get(board, E1000_TDLEN), 0xfff80);
	assert_int_equal(get(board, E1000_RDLEN), 0xfff80);
	assert_int_equal(get(board, E1000_TDH), 0xffff);
	assert_int_equal(get(board, E1000_RDT), 0xffff);
	board->card->ops->resume(board->card);
	turn(board);
	str_free(&writer.out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(is_found),
		TEST(eeprom),
		TEST(phy),
		TEST(sends),
		TEST(checksums),
		TEST(segments),
		TEST(tags),
		TEST(receives),
		TEST(long_packets),
		TEST(filters),
		TEST(waits_for_descriptors),
		TEST(interrupts),
		TEST(link),
		TEST(hostile),
		TEST(without_master),
		TEST(odd_accesses),
		TEST(state),
		TEST(hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
