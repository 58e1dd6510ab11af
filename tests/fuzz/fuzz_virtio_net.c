/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for virtio's network card: an input is the features that a driver chooses (4 bytes), and what it
 * does then to rings, registers and memory, and what comes over the wire.  The rings lie at fixed places: descriptors
 * at 4096 times (1 + 4 times the queue), available and used rings in the two pages behind them.
 *
 *     0 address:3 size:1 bytes   writes memory       3 size:2             a packet comes
 *     1 queue:1                  kicks               4 offset:2 value:4   writes a register
 *     2 queue:1 head:2           offers a chain      5                    the loop goes on
 */
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/virtio/net_private.h"

enum { RAM = 256 << 10, QUEUES = 5, SIZE = 16, PAGE = 4096, TURNS = 6 };

struct board {
	struct guest_memory memory;
	struct loop loop;
	struct device *card;
	int wires[2];
	uint16_t offered[QUEUES];
};

static void put(struct board *board, uint32_t offset, uint32_t value)
{
	board->card->ops->write(board->card, 0, offset, &value, sizeof(value));
}

static void start(struct board *board, uint64_t features)
{
	const uint32_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	features |= UINT64_C(1) << VIRTIO_F_VERSION_1;
	put(board, VIRTIO_MMIO_STATUS, known);
	put(board, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	put(board, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(board, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	put(board, VIRTIO_MMIO_STATUS, known | VIRTIO_CONFIG_S_FEATURES_OK);
	for (uint32_t i = 0; i < QUEUES; i++) {
		put(board, VIRTIO_MMIO_QUEUE_SEL, i);
		put(board, VIRTIO_MMIO_QUEUE_NUM, SIZE);
		put(board, VIRTIO_MMIO_QUEUE_DESC_LOW, PAGE * (1 + 4 * i));
		put(board, VIRTIO_MMIO_QUEUE_AVAIL_LOW, PAGE * (2 + 4 * i));
		put(board, VIRTIO_MMIO_QUEUE_USED_LOW, PAGE * (3 + 4 * i));
		put(board, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	put(board, VIRTIO_MMIO_STATUS, known | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void make(struct board *board)
{
	struct guest_region layout = { .size = RAM };
	struct virtio_net_options options = { .pairs = 2, .vhosts = { -1, -1 }, .offload = UINT32_MAX, .mtu = 1500 };

	check(loop_open(&board->loop, NULL) == 0 && guest_memory_make(&board->memory, &layout, 1, 0, NULL) == 0);
	for (int i = 0; i < 2; i++) {
		int pair[2];

		check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
		options.taps[i] = pair[0];
		board->wires[i] = pair[1];
	}
	check(virtio_net_make(&options, &board->memory, &board->loop, &board->card, NULL) == 0);
}

static void turn(struct board *board)
{
	static uint8_t bytes[1 << 17];

	for (int i = 0; i < TURNS; i++)
		check(loop_wait(&board->loop, 0, NULL) == 0);
	for (int i = 0; i < 2; i++) {
		ssize_t size;

		while ((size = read(board->wires[i], bytes, sizeof(bytes))) > 0) {
			/* What is said of a packet lies within it. */
			uint16_t begin, offset;

			memcpy(&begin, bytes + 6, sizeof(begin));
			memcpy(&offset, bytes + 8, sizeof(offset));
			check(size >= NET_HEADER + NET_ETHERNET && size <= NET_HEADER + NET_PACKET_MAX);
			check(!bytes[0] || begin + offset + 2 <= size - NET_HEADER);
		}
	}
}

static void write_memory(struct board *board, struct input *input)
{
	uint32_t address = number(input, 3), size = number(input, 1);

	size = size < (size_t)(input->end - input->at) ? size : (uint32_t)(input->end - input->at);
	(void)guest_memory_write(&board->memory, address, input->at, size);
	input->at += size;
}

static void offer(struct board *board, uint32_t queue, uint16_t head)
{
	uint64_t ring = PAGE * (2 + 4 * (uint64_t)queue);
	uint16_t index = ++board->offered[queue];

	(void)guest_memory_write(&board->memory, ring + 4 + 2 * (uint64_t)((uint16_t)(index - 1) % SIZE), &head,
				 sizeof(head));
	(void)guest_memory_write(&board->memory, ring + 2, &index, sizeof(index));
}

static void packet(struct board *board, uint32_t size)
{
	static uint8_t bytes[UINT16_MAX];
	ssize_t count = write(board->wires[size & 1], bytes, size);

	(void)count;
	turn(board);
}

static void act(struct board *board, struct input *input)
{
	uint32_t value;

	switch (*input->at++) {
	case 0:
		write_memory(board, input);
		break;
	case 1:
		put(board, VIRTIO_MMIO_QUEUE_NOTIFY, number(input, 1));
		break;
	case 2:
		value = number(input, 1) % QUEUES;
		offer(board, value, (uint16_t)number(input, 2));
		break;
	case 3:
		packet(board, number(input, 2));
		break;
	case 4:
		value = number(input, 2) % VIRTIO_MMIO_SIZE;
		put(board, value, number(input, 4));
		break;
	default:
		turn(board);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board board = { .card = NULL };
	struct input input = { data, data + size };

	make(&board);
	start(&board, number(&input, 4) & ((struct virtio *)(void *)board.card)->features_device);
	while (input.at < input.end)
		act(&board, &input);
	turn(&board);
	board.card->ops->free(board.card);
	guest_memory_free(&board.memory);
	loop_close(&board.loop);
	close(board.wires[0]);
	close(board.wires[1]);
	return 0;
}
