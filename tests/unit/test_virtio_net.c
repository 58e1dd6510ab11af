/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paradigm/vm/virtio/net.h, driven as a guest does.  The tap is a socket that holds one packet a message; where the
 * host has /dev/net/tun, a real one too, in a network namespace of the test's own.
 */
#include "child.h"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "linux/tun.h"
#include "paradigm/vm/virtio/net_private.h"
#include "virtio_driver.h"

#define BIT(number) (UINT64_C(1) << (number))

enum {
	RX = 0,
	TX = 1,
	CONTROL = 2,
	OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
	FRAME = 100,
	BUFFERS = 8,
};

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };

struct board {
	struct driver driver;
	int wires[VIRTIO_NET_PAIRS_MAX];
	unsigned pairs;
	uint64_t buffers[BUFFERS];
	uint8_t packet[80000];
};

static struct board board;

static struct device *make(struct board *on, unsigned pairs)
{
	struct virtio_net_options options = { .pairs = pairs, .offload = OFFLOADS, .mtu = 1400 };
	struct error err = ERROR_INIT;
	struct device *device = NULL;

	memcpy(options.mac, mac, sizeof(mac));
	for (unsigned i = 0; i < pairs; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
		options.taps[i] = pair[0];
		options.vhosts[i] = -1;
		on->wires[i] = pair[1];
	}
	on->pairs = pairs;
	if (virtio_net_make(&options, &on->driver.memory, &on->driver.loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	return device;
}

static void begin(unsigned pairs, uint64_t features)
{
	memset(&board, 0, sizeof(board));
	driver_open(&board.driver);
	driver_start(&board.driver, make(&board, pairs), features);
	driver_run(&board.driver);
}

static void end(void)
{
	driver_close(&board.driver);
	for (unsigned i = 0; i < board.pairs; i++) {
		if (board.wires[i] >= 0)
			close(board.wires[i]);
	}
}

static void offer(unsigned queue, unsigned count, uint32_t size)
{
	for (unsigned i = 0; i < count; i++) {
		struct driver_buffer buffer = { .size = size, .writable = true };

		board.buffers[i] = buffer.address = driver_alloc(&board.driver, size);
		(void)driver_add(&board.driver, queue, &buffer, 1);
	}
	driver_kick(&board.driver, queue);
	driver_run(&board.driver);
}

static void fill(uint8_t *packet, size_t size)
{
	memset(packet, 0, NET_HEADER);
	for (size_t i = NET_HEADER; i < size; i++)
		packet[i] = (uint8_t)(i * 7 + 1);
}

/* From the wire. */
static void give(unsigned pair, size_t size)
{
	fill(board.packet, NET_HEADER + size);
	assert_int_equal(write(board.wires[pair], board.packet, NET_HEADER + size), NET_HEADER + size);
	driver_run(&board.driver);
}

static struct virtio_net_hdr_v1 header_at(uint64_t address)
{
	struct virtio_net_hdr_v1 header;

	memcpy(&header, driver_at(&board.driver, address, NET_HEADER), NET_HEADER);
	return header;
}

/* Sends a packet of size bytes behind the header, in two buffers; bytes that came out, or -1. */
static ssize_t send_with(const struct virtio_net_hdr_v1 *header, uint32_t size)
{
	uint64_t at = driver_alloc(&board.driver, NET_HEADER + size);
	struct driver_buffer buffers[2] = { { .address = at, .size = 20 },
					    { .address = at + 20, .size = NET_HEADER + size - 20 } };
	uint8_t *bytes = driver_at(&board.driver, at, NET_HEADER + size);

	fill(bytes, NET_HEADER + size);
	memcpy(bytes, header, NET_HEADER);
	(void)driver_add(&board.driver, TX, buffers, 2);
	driver_kick(&board.driver, TX);
	assert_int_equal(driver_wait(&board.driver, TX).size, 0);
	return read(board.wires[0], board.packet, sizeof(board.packet));
}

/* ---- tests ---- */

static void test_configuration(void **state)
{
	struct virtio_net_config config;
	uint64_t features;

	(void)state;
	begin(1, 0);
	driver_config(&board.driver, 0, config.mac, 6);
	driver_config(&board.driver, 6, &config.status, 2);
	driver_config(&board.driver, 8, &config.max_virtqueue_pairs, 2);
	driver_config(&board.driver, 10, &config.mtu, 2);
	assert_memory_equal(config.mac, mac, 6);
	assert_int_equal(config.status, VIRTIO_NET_S_LINK_UP);
	assert_int_equal(config.max_virtqueue_pairs, 1);
	assert_int_equal(config.mtu, 1400);
	features = driver_features(&board.driver);
	assert_true(features & BIT(VIRTIO_NET_F_GUEST_TSO4) && features & BIT(VIRTIO_NET_F_HOST_TSO6));
	assert_false(features & (BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_GUEST_UFO)));
	end();
}

static void test_receives(void **state)
{
	struct driver_used used;
	struct virtio_net_hdr_v1 header;

	(void)state;
	begin(1, 0);
	offer(RX, 4, 2048);
	(void)driver_interrupts(&board.driver);
	give(0, FRAME);
	used = driver_wait(&board.driver, RX);
	assert_int_equal(used.size, NET_HEADER + FRAME);
	header = header_at(board.buffers[0]);
	assert_int_equal(header.num_buffers, 1);
	assert_memory_equal(driver_at(&board.driver, board.buffers[0] + NET_HEADER, FRAME), board.packet + NET_HEADER,
			    FRAME);
	assert_true(driver_interrupts(&board.driver) > 0);
	/* What is longer than the buffer is dropped, and takes none. */
	give(0, 3000);
	give(0, FRAME + 1);
	used = driver_wait(&board.driver, RX);
	assert_int_equal(used.size, NET_HEADER + FRAME + 1);
	assert_int_equal(((struct net *)board.driver.virtio)->dropped, 1);
	end();
}

static void test_merges(void **state)
{
	struct driver_used used;
	size_t got = 0;

	(void)state;
	begin(1, BIT(VIRTIO_NET_F_MRG_RXBUF));
	offer(RX, 6, 1000);
	give(0, 4500);
	assert_int_equal(header_at(board.buffers[0]).num_buffers, 5);
	for (unsigned i = 0; i < 5; i++) {
		used = driver_wait(&board.driver, RX);
		assert_int_equal(used.id, i);
		board.packet[9] = board.packet[10] = 0;
		assert_memory_equal((uint8_t *)driver_at(&board.driver, board.buffers[i], used.size) + (i ? 0 : 12),
				    board.packet + got + (i ? 0 : 12), used.size - (i ? 0 : 12));
		got += used.size;
	}
	assert_int_equal(got, NET_HEADER + 4500);
	end();
}

static void test_waits_for_buffers(void **state)
{
	struct driver_used used;

	(void)state;
	begin(1, BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_EVENT_IDX));
	/* None at all. */
	give(0, FRAME);
	give(0, FRAME + 1);
	assert_false(driver_used(&board.driver, RX, &used));
	offer(RX, 1, 500);
	assert_int_equal(driver_wait(&board.driver, RX).size, NET_HEADER + FRAME);
	assert_false(driver_used(&board.driver, RX, &used));
	offer(RX, 1, 500);
	assert_int_equal(driver_wait(&board.driver, RX).size, NET_HEADER + FRAME + 1);
	/* Too few for a long one, which waits until there are enough. */
	offer(RX, 2, 500);
	give(0, 1600);
	assert_false(driver_used(&board.driver, RX, &used));
	offer(RX, 3, 500);
	assert_int_equal(driver_wait(&board.driver, RX).size, 500);
	assert_int_equal(driver_wait(&board.driver, RX).size, 500);
	assert_int_equal(driver_wait(&board.driver, RX).size, 500);
	assert_int_equal(driver_wait(&board.driver, RX).size, 112);
	assert_false(driver_used(&board.driver, RX, &used));
	end();
}

static void test_sends(void **state)
{
	struct virtio_net_hdr_v1 header = { .num_buffers = 7, .flags = 0xf0 };

	(void)state;
	begin(1, 0);
	assert_int_equal(send_with(&header, FRAME), NET_HEADER + FRAME);
	/* Nothing of what is not understood comes through. */
	assert_int_equal(board.packet[0], 0);
	assert_int_equal(board.packet[NET_HEADER], (uint8_t)(NET_HEADER * 7 + 1));
	assert_int_equal(board.packet[NET_HEADER + FRAME - 1], (uint8_t)((NET_HEADER + FRAME - 1) * 7 + 1));
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(send_with(&header, FRAME), NET_HEADER + FRAME);
	end();
}

static void test_offloads(void **state)
{
	const uint64_t features = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4);
	struct virtio_net_hdr_v1 good = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 };
	struct virtio_net_hdr_v1 bad;

	(void)state;
	begin(1, features);
	assert_int_equal(send_with(&good, FRAME), NET_HEADER + FRAME);
	assert_int_equal(board.packet[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
	good.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	good.gso_size = 1000;
	good.hdr_len = 54;
	assert_int_equal(send_with(&good, 3000), NET_HEADER + 3000);
	assert_int_equal(board.packet[1], VIRTIO_NET_HDR_GSO_TCPV4);
	/* A checksum outside of the packet, segments of nothing, without a checksum, of a kind that was not agreed on.
	 */
	bad = good;
	bad.csum_start = 2999;
	assert_true(send_with(&bad, 3000) < 0);
	bad.csum_start = 0xffff;
	bad.csum_offset = 0xffff;
	assert_true(send_with(&bad, 3000) < 0);
	bad = good;
	bad.gso_size = 0;
	assert_true(send_with(&bad, 3000) < 0);
	bad = good;
	bad.flags = 0;
	assert_true(send_with(&bad, 3000) < 0);
	bad = good;
	bad.hdr_len = 3001;
	assert_true(send_with(&bad, 3000) < 0);
	bad = good;
	bad.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_true(send_with(&bad, 3000) < 0);
	bad.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN;
	assert_true(send_with(&bad, 3000) < 0);
	bad.gso_type = 0x77;
	assert_true(send_with(&bad, 3000) < 0);
	/* No Ethernet frame; more than any. */
	assert_true(send_with(&good, 13) < 0);
	assert_true(send_with(&good, 70000) < 0);
	assert_int_equal(((struct net *)board.driver.virtio)->dropped, 10);
	end();
}

static void test_full_wire(void **state)
{
	struct virtio_net_hdr_v1 header = { 0 };
	struct driver_buffer buffer = { .size = 40000 };
	uint8_t *bytes;
	unsigned sent = 0, seen = 0;

	(void)state;
	begin(1, 0);
	buffer.address = driver_alloc(&board.driver, buffer.size);
	bytes = driver_at(&board.driver, buffer.address, buffer.size);
	fill(bytes, buffer.size);
	memcpy(bytes, &header, NET_HEADER);
	/* Until the socket takes no more. */
	for (; sent < DRIVER_QUEUE_SIZE; sent++)
		(void)driver_add(&board.driver, TX, &buffer, 1);
	driver_kick(&board.driver, TX);
	driver_run(&board.driver);
	assert_true(driver_used_index(&board.driver, TX) < DRIVER_QUEUE_SIZE);
	while (seen < sent) {
		ssize_t size = read(board.wires[0], board.packet, sizeof(board.packet));

		if (size > 0)
			seen++;
		driver_run(&board.driver);
		if (size <= 0 && seen < sent)
			assert_int_equal(errno, EAGAIN);
	}
	assert_int_equal(driver_used_index(&board.driver, TX), DRIVER_QUEUE_SIZE);
	end();
}

static uint8_t command(unsigned queue, uint8_t class, uint8_t number, const void *data, uint32_t size)
{
	uint64_t out = driver_alloc(&board.driver, 2 + size), in = driver_alloc(&board.driver, 1);
	uint8_t *bytes = driver_at(&board.driver, out, 2 + size);

	bytes[0] = class;
	bytes[1] = number;
	if (size > 0)
		memcpy(bytes + 2, data, size);
	assert_int_equal(driver_request(&board.driver, queue, out, 2 + size, in, 1), 1);
	return *(uint8_t *)driver_at(&board.driver, in, 1);
}

static void test_control(void **state)
{
	static const uint8_t other[6] = { 2, 1, 2, 3, 4, 5 }, tables[] = { 1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0 };
	const uint64_t features = BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) |
				  BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	uint64_t wanted = BIT(VIRTIO_NET_F_GUEST_CSUM);
	uint8_t on = 1, seen[6];
	uint16_t id = 7;

	(void)state;
	begin(1, features);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), VIRTIO_NET_OK);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_RX, 99, &on, 1), VIRTIO_NET_ERR);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2), VIRTIO_NET_OK);
	id = 4096;
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2), VIRTIO_NET_ERR);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), VIRTIO_NET_OK);
	driver_config(&board.driver, 0, seen, 6);
	assert_memory_equal(seen, other, 6);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 5), VIRTIO_NET_ERR);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, tables, 14),
			 VIRTIO_NET_OK);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, tables, 13),
			 VIRTIO_NET_ERR);
	assert_int_equal(
		command(CONTROL, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wanted, 8),
		VIRTIO_NET_OK);
	wanted |= BIT(VIRTIO_NET_F_GUEST_TSO4);
	assert_int_equal(
		command(CONTROL, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wanted, 8),
		VIRTIO_NET_ERR);
	id = 1;
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &id, 2), VIRTIO_NET_ERR);
	assert_int_equal(command(CONTROL, 77, 0, NULL, 0), VIRTIO_NET_ERR);
	/* A reset gives the address back. */
	driver_set(&board.driver, VIRTIO_MMIO_STATUS, 0);
	driver_config(&board.driver, 0, seen, 6);
	assert_memory_equal(seen, mac, 6);
	end();
}

static void test_several_queues(void **state)
{
	uint16_t count = 2;

	(void)state;
	begin(2, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ));
	offer(RX, 2, 2048);
	offer(2, 2, 2048);
	give(0, FRAME);
	assert_int_equal(driver_wait(&board.driver, RX).size, NET_HEADER + FRAME);
	/* The second pair sleeps until it is asked for. */
	give(1, FRAME);
	assert_int_equal(driver_used_index(&board.driver, 2), 0);
	assert_int_equal(command(4, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &count, 2), VIRTIO_NET_OK);
	driver_run(&board.driver);
	assert_int_equal(driver_wait(&board.driver, 2).size, NET_HEADER + FRAME);
	count = 3;
	assert_int_equal(command(4, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &count, 2), VIRTIO_NET_ERR);
	count = 0;
	assert_int_equal(command(4, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &count, 2), VIRTIO_NET_ERR);
	end();
}

static void test_control_without_several_queues(void **state)
{
	uint8_t on = 1;

	(void)state;
	/* The device has two pairs, the driver knows of one: then queue 2 is the control queue. */
	begin(2, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX));
	assert_int_equal(command(2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), VIRTIO_NET_OK);
	end();
}

static void test_link(void **state)
{
	struct virtio_net_hdr_v1 header = { 0 };
	uint16_t status = 0;

	(void)state;
	begin(1, BIT(VIRTIO_NET_F_STATUS));
	offer(RX, 2, 2048);
	close(board.wires[0]);
	board.wires[0] = -1;
	driver_run(&board.driver);
	driver_config(&board.driver, 6, &status, 2);
	assert_int_equal(status, 0);
	assert_true(driver_get(&board.driver, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
	assert_true(send_with(&header, FRAME) < 0);
	end();
}

static void test_hostile(void **state)
{
	struct virtio_net_hdr_v1 header = { 0 };
	struct driver_buffer buffers[3];

	(void)state;
	/* A buffer for packets that is none; then only a reset helps. */
	begin(1, 0);
	buffers[0] = (struct driver_buffer){ .address = driver_alloc(&board.driver, 64), .size = 64 };
	(void)driver_add(&board.driver, RX, buffers, 1);
	driver_kick(&board.driver, RX);
	give(0, FRAME);
	assert_true(driver_needs_reset(&board.driver));
	end();
	/* One that is too small for the header. */
	begin(1, BIT(VIRTIO_NET_F_MRG_RXBUF));
	offer(RX, 1, 11);
	give(0, FRAME);
	assert_true(driver_needs_reset(&board.driver));
	end();
	/* Buffers of one byte: the packet is dropped. */
	begin(1, BIT(VIRTIO_NET_F_MRG_RXBUF));
	offer(RX, 1, 12);
	offer(RX, 8, 1);
	give(0, FRAME);
	assert_false(driver_needs_reset(&board.driver));
	assert_int_equal(driver_used_index(&board.driver, RX), 0);
	end();
	/* A packet to be sent that the device could write to. */
	begin(1, 0);
	buffers[0] = (struct driver_buffer){ .address = driver_alloc(&board.driver, 200), .size = 200 };
	buffers[1] = (struct driver_buffer){ .address = buffers[0].address, .size = 100, .writable = true };
	(void)driver_add(&board.driver, TX, buffers, 2);
	driver_kick(&board.driver, TX);
	assert_int_equal(driver_wait(&board.driver, TX).size, 0);
	assert_true(read(board.wires[0], board.packet, sizeof(board.packet)) < 0);
	/* Outside of memory. */
	buffers[0] = (struct driver_buffer){ .address = DRIVER_LOW - 10, .size = 200 };
	(void)driver_add(&board.driver, TX, buffers, 1);
	driver_kick(&board.driver, TX);
	driver_run(&board.driver);
	assert_true(driver_needs_reset(&board.driver));
	end();
	/* A control command without an answer's place, or of nothing. */
	begin(1, BIT(VIRTIO_NET_F_CTRL_VQ));
	buffers[0] = (struct driver_buffer){ .address = driver_alloc(&board.driver, 4), .size = 1 };
	(void)driver_add(&board.driver, CONTROL, buffers, 1);
	driver_kick(&board.driver, CONTROL);
	assert_int_equal(driver_wait(&board.driver, CONTROL).size, 0);
	assert_int_equal(send_with(&header, FRAME), NET_HEADER + FRAME);
	end();
}

static void test_state(void **state)
{
	static const uint8_t other[6] = { 2, 1, 2, 3, 4, 5 };
	const uint64_t features = BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
				  BIT(VIRTIO_NET_F_STATUS);
	uint16_t status = 0;
	uint8_t seen[6];
	int before;

	(void)state;
	begin(1, features);
	offer(RX, 2, 2048);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), VIRTIO_NET_OK);
	before = board.wires[0];
	driver_migrate(&board.driver, make(&board, 1));
	close(before);
	driver_run(&board.driver);
	give(0, FRAME);
	assert_int_equal(driver_wait(&board.driver, RX).size, NET_HEADER + FRAME);
	driver_config(&board.driver, 0, seen, 6);
	assert_memory_equal(seen, other, 6);
	driver_config(&board.driver, 6, &status, 2);
	assert_int_equal(status, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(command(CONTROL, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			 VIRTIO_NET_OK);
	driver_config(&board.driver, 6, &status, 2);
	assert_int_equal(status, VIRTIO_NET_S_LINK_UP);
	end();
}

static void test_refuses(void **state)
{
	struct virtio_net_options options = { .pairs = VIRTIO_NET_PAIRS_MAX + 1 };
	struct device *device = NULL;

	(void)state;
	assert_int_equal(virtio_net_make(&options, NULL, NULL, &device, NULL), -EINVAL);
	options.pairs = 0;
	assert_int_equal(virtio_net_make(&options, NULL, NULL, &device, NULL), -EINVAL);
}

/* ---- a real tap ---- */

static int set_up(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;
	struct ifreq request = { .ifr_flags = IFF_UP };

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	ret = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return ret;
}

static int through_a_tap(void)
{
	struct error err = ERROR_INIT;
	struct tap tap;
	struct virtio_net_options options = { .pairs = 1, .vhosts = { -1 } };
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b5) };
	struct virtio_net_hdr_v1 header = { 0 };
	struct device *device = NULL;
	uint64_t at;
	uint8_t *bytes, seen[2048];
	bool found = false;
	int other;

	CHECK(tap_open(&(struct tap_options){ 0 }, &tap, &err) == 0 && set_up(tap.name) == 0);
	options.taps[0] = tap.fds[0];
	options.offload = virtio_net_offload(tap.fds[0]);
	CHECK((options.offload & OFFLOADS) == OFFLOADS);
	memset(&board, 0, sizeof(board));
	driver_open(&board.driver);
	CHECK(virtio_net_make(&options, &board.driver.memory, &board.driver.loop, &device, &err) == 0);
	driver_start(&board.driver, device, BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4));
	other = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(0x88b5));
	address.sll_ifindex = (int)if_nametoindex(tap.name);
	CHECK(other >= 0 && bind(other, (struct sockaddr *)&address, sizeof(address)) == 0);
	/* Out. */
	at = driver_alloc(&board.driver, NET_HEADER + FRAME);
	bytes = driver_at(&board.driver, at, NET_HEADER + FRAME);
	memcpy(bytes, &header, NET_HEADER);
	memset(bytes + NET_HEADER, 0xff, FRAME);
	bytes[NET_HEADER + 12] = 0x88;
	bytes[NET_HEADER + 13] = 0xb5;
	CHECK(driver_request(&board.driver, TX, at, NET_HEADER + FRAME, 0, 0) == 0);
	CHECK(recv(other, seen, sizeof(seen), 0) == FRAME && seen[20] == 0xff);
	/* In; among what the kernel itself sends. */
	offer(RX, BUFFERS, 2048);
	CHECK(sendto(other, bytes + NET_HEADER, FRAME, 0, (struct sockaddr *)&address, sizeof(address)) == FRAME);
	for (unsigned i = 0; i < BUFFERS && !found; i++) {
		struct driver_used used = driver_wait(&board.driver, RX);
		const uint8_t *packet = driver_at(&board.driver, board.buffers[used.id], used.size);

		found = used.size == NET_HEADER + FRAME && packet[NET_HEADER + 12] == 0x88;
	}
	CHECK(found);
	driver_close(&board.driver);
	CHECK(if_nametoindex("tap0") == 0);
	return 0;
}

static void test_real_tap(void **state)
{
	(void)state;
	need_root();
	if (access("/dev/net/tun", R_OK | W_OK) < 0 || kernel_is_hidden()) {
		print_message("skipped: no /dev/net/tun, or valgrind\n");
		skip();
	}
	in_child(CLONE_NEWNET, through_a_tap);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configuration),  cmocka_unit_test(test_receives),
		cmocka_unit_test(test_merges),	       cmocka_unit_test(test_waits_for_buffers),
		cmocka_unit_test(test_sends),	       cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_full_wire),      cmocka_unit_test(test_control),
		cmocka_unit_test(test_several_queues), cmocka_unit_test(test_control_without_several_queues),
		cmocka_unit_test(test_link),	       cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_state),	       cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_real_tap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
