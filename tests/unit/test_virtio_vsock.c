/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock between a driver and Unix sockets: every state, every credit, and packets that fit nowhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "paradigm/vm/virtio/vsock.h"
#include "virtio_driver.h"

enum { GUEST = 7, HOST = 2, RX = 0, TX = 1, EVENT = 2, RX_SIZE = 4096, HEADER = sizeof(struct virtio_vsock_hdr) };

struct rig {
	struct driver driver;
	char dir[64];
	uint64_t rx[DRIVER_QUEUE_SIZE], tx;
	uint16_t rx_head;
	unsigned rx_next;
};

struct packet {
	struct virtio_vsock_hdr header;
	char data[RX_SIZE];
};

static struct device *make_vsock(struct rig *rig)
{
	struct error err = ERROR_INIT;
	struct device *device;
	int dir = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(dir >= 0);
	if (virtio_vsock_make(GUEST, dir, &rig->driver.memory, &rig->driver.loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	return device;
}

static void add_rx(struct rig *rig, uint64_t address)
{
	const struct driver_buffer buffer = { .address = address, .size = RX_SIZE, .writable = true };

	(void)driver_add(&rig->driver, RX, &buffer, 1);
}

static void open_rig(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	strcpy(rig->dir, "/tmp/vsock.XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	driver_open(&rig->driver);
	driver_start(&rig->driver, make_vsock(rig), UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
	for (int i = 0; i < DRIVER_QUEUE_SIZE; i++) {
		rig->rx[i] = driver_alloc(&rig->driver, RX_SIZE);
		add_rx(rig, rig->rx[i]);
	}
	rig->tx = driver_alloc(&rig->driver, 1 << 17);
}

static void close_rig(struct rig *rig)
{
	char path[128];

	driver_close(&rig->driver);
	(void)snprintf(path, sizeof(path), "%s/%s", rig->dir, VSOCK_SOCKET);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/%s_80", rig->dir, VSOCK_SOCKET);
	(void)unlink(path);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(rig->dir), 0);
}

/* The next packet to the guest, whose buffer is given back. */
static bool receive(struct rig *rig, struct packet *packet)
{
	struct driver_used used;
	uint64_t at;

	driver_run(&rig->driver);
	if (!driver_used(&rig->driver, RX, &used))
		return false;
	at = driver_descriptor(&rig->driver, RX, used.id)->addr;
	assert_in_range(used.size, HEADER, RX_SIZE);
	memcpy(packet, driver_at(&rig->driver, at, RX_SIZE), RX_SIZE);
	assert_int_equal(used.size, HEADER + packet->header.len);
	assert_int_equal(packet->header.src_cid, HOST);
	assert_int_equal(packet->header.dst_cid, GUEST);
	add_rx(rig, at);
	driver_kick(&rig->driver, RX);
	return true;
}

static void expect(struct rig *rig, struct packet *packet, uint16_t operation)
{
	if (!receive(rig, packet))
		fail_msg("no packet, where operation %u was expected", operation);
	assert_int_equal(packet->header.op, operation);
}

static void expect_nothing(struct rig *rig)
{
	struct packet packet;

	if (receive(rig, &packet))
		fail_msg("operation %u, where nothing was expected", packet.header.op);
}

static struct virtio_vsock_hdr make_header(uint32_t host_port, uint32_t guest_port, uint16_t operation)
{
	return (struct virtio_vsock_hdr){
		.src_cid = GUEST,
		.dst_cid = HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = operation,
		.buf_alloc = 1 << 20,
	};
}

static void send_packet(struct rig *rig, const struct virtio_vsock_hdr *header, const void *data, uint32_t size)
{
	memcpy(driver_at(&rig->driver, rig->tx, HEADER), header, HEADER);
	memcpy(driver_at(&rig->driver, rig->tx + HEADER, size), data, size);
	(void)driver_request(&rig->driver, TX, rig->tx, HEADER + size, 0, 0);
}

static void send_simple(struct rig *rig, uint32_t host_port, uint32_t guest_port, uint16_t operation)
{
	const struct virtio_vsock_hdr header = make_header(host_port, guest_port, operation);

	send_packet(rig, &header, "", 0);
}

static void send_data(struct rig *rig, uint32_t host_port, uint32_t guest_port, const char *text)
{
	struct virtio_vsock_hdr header = make_header(host_port, guest_port, VIRTIO_VSOCK_OP_RW);

	header.len = (uint32_t)strlen(text);
	send_packet(rig, &header, text, header.len);
}

/* The socket of that name in the directory: connected to, or listening. */
static int open_socket(struct rig *rig, const char *name, bool listening)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", rig->dir, name);
	if (listening) {
		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		assert_int_equal(listen(fd, 300), 0);
	} else {
		assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	}
	return fd;
}

static void expect_text(int fd, const char *text)
{
	char got[256] = "";
	ssize_t count = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	assert_int_equal(count, strlen(text));
	assert_string_equal(got, text);
}

/* What the host's side sees once the device is done with it. */
static void expect_closed(struct rig *rig, int fd)
{
	char byte;
	ssize_t count;

	driver_run(&rig->driver);
	count = recv(fd, &byte, 1, MSG_DONTWAIT);
	assert_true(count == 0 || (count < 0 && errno == ECONNRESET));
	close(fd);
}

/* A connection from the host to port 1024 of the guest; its port. */
static int connect_to_guest(struct rig *rig, uint32_t *host_port)
{
	struct packet packet;
	char expected[32];
	int fd = open_socket(rig, VSOCK_SOCKET, false);

	assert_int_equal(send(fd, "CONNECT 1024\n", 13, MSG_NOSIGNAL), 13);
	expect(rig, &packet, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(packet.header.dst_port, 1024);
	*host_port = packet.header.src_port;
	send_simple(rig, *host_port, 1024, VIRTIO_VSOCK_OP_RESPONSE);
	(void)snprintf(expected, sizeof(expected), "OK %u\n", *host_port);
	expect_text(fd, expected);
	return fd;
}

/* A connection from the guest's port 5000 to port 80. */
static int connect_to_host(struct rig *rig, int listener)
{
	struct packet packet;
	int fd;

	send_simple(rig, 80, 5000, VIRTIO_VSOCK_OP_REQUEST);
	expect(rig, &packet, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(packet.header.buf_alloc, VSOCK_BUFFER);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

/* ---- */

static void test_from_host(void **state)
{
	struct rig rig;
	struct packet packet;
	uint32_t port, other;
	uint64_t cid;
	int fd, second;

	(void)state;
	open_rig(&rig);
	driver_config(&rig.driver, 0, &cid, 8);
	assert_int_equal(cid, GUEST);
	fd = connect_to_guest(&rig, &port);
	second = connect_to_guest(&rig, &other);
	assert_int_not_equal(port, other);
	assert_int_equal(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(packet.header.src_port, port);
	assert_int_equal(packet.header.len, 5);
	assert_memory_equal(packet.data, "hello", 5);
	send_data(&rig, port, 1024, "world");
	expect_text(fd, "world");
	/* The host closes: the guest is told, and answers. */
	close(fd);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(packet.header.flags, VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_simple(&rig, port, 1024, VIRTIO_VSOCK_OP_RST);
	expect_nothing(&rig);
	/* The guest closes. */
	send_data(&rig, other, 1024, "bye");
	send_simple(&rig, other, 1024, VIRTIO_VSOCK_OP_RST);
	expect_text(second, "bye");
	expect_closed(&rig, second);
	expect_nothing(&rig);
	close_rig(&rig);
}

static void test_greetings(void **state)
{
	static const char *const bad[] = { "\n",
					   "CONNECT\n",
					   "CONNECT \n",
					   "CONNECT -1\n",
					   "CONNECT 4294967296\n",
					   "CONNECT 1 \n",
					   "connect 1\n",
					   "CONNECT 1024               \n      \n",
					   "GET / HTTP/1.1 and more of that, much more\n" };
	struct rig rig;
	struct packet packet;
	int fd;

	(void)state;
	open_rig(&rig);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		fd = open_socket(&rig, VSOCK_SOCKET, false);
		(void)send(fd, bad[i], strlen(bad[i]), MSG_NOSIGNAL);
		expect_closed(&rig, fd);
	}
	fd = open_socket(&rig, VSOCK_SOCKET, false);
	assert_int_equal(send(fd, "CONNECT 1\0\n", 11, MSG_NOSIGNAL), 11);
	expect_closed(&rig, fd);
	close(open_socket(&rig, VSOCK_SOCKET, false));
	expect_nothing(&rig);
	/* Slowly, with the first bytes for the guest at its heels; which refuses. */
	fd = open_socket(&rig, VSOCK_SOCKET, false);
	assert_int_equal(send(fd, "CONN", 4, MSG_NOSIGNAL), 4);
	expect_nothing(&rig);
	assert_int_equal(send(fd, "ECT 9\nabc", 9, MSG_NOSIGNAL), 9);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(packet.header.dst_port, 9);
	expect_nothing(&rig);
	send_simple(&rig, packet.header.src_port, 9, VIRTIO_VSOCK_OP_RST);
	expect_closed(&rig, fd);
	close_rig(&rig);
}

static void test_from_guest(void **state)
{
	struct rig rig;
	struct packet packet;
	int listener, fd;

	(void)state;
	open_rig(&rig);
	send_simple(&rig, 80, 5000, VIRTIO_VSOCK_OP_REQUEST);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RST); /* nobody listens */
	assert_int_equal(packet.header.dst_port, 5000);
	assert_int_equal(packet.header.src_port, 80);
	listener = open_socket(&rig, VSOCK_SOCKET "_80", true);
	fd = connect_to_host(&rig, listener);
	send_data(&rig, 80, 5000, "ping");
	expect_text(fd, "ping");
	/* Half closed by the host: the guest may go on. */
	assert_int_equal(send(fd, "pong", 4, MSG_NOSIGNAL), 4);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(packet.data, "pong", 4);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(packet.header.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_data(&rig, 80, 5000, "more");
	expect_text(fd, "more");
	/* And by the guest, in two steps. */
	{
		struct virtio_vsock_hdr header = make_header(80, 5000, VIRTIO_VSOCK_OP_SHUTDOWN);

		header.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
		send_packet(&rig, &header, "", 0);
		expect_nothing(&rig);
		header.flags = VIRTIO_VSOCK_SHUTDOWN_RCV;
		send_packet(&rig, &header, "", 0);
	}
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RST);
	expect_closed(&rig, fd);
	/* The same ports can be used again. */
	fd = connect_to_host(&rig, listener);
	close(fd);
	close(listener);
	close_rig(&rig);
}

/* The guest gets no more than it has room for, and is told of ours. */
static void test_credit(void **state)
{
	struct rig rig;
	struct packet packet;
	struct virtio_vsock_hdr header = make_header(80, 5000, VIRTIO_VSOCK_OP_REQUEST);
	int listener, fd, size = 4096;
	char block[32768];
	uint32_t total = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	open_rig(&rig);
	listener = open_socket(&rig, VSOCK_SOCKET "_80", true);
	header.buf_alloc = 6;
	send_packet(&rig, &header, "", 0);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RESPONSE);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_int_equal(send(fd, "0123456789", 10, MSG_NOSIGNAL), 10);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(packet.header.len, 6);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	expect_nothing(&rig);
	header.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	header.fwd_cnt = 7; /* more than was sent: nothing for that */
	send_packet(&rig, &header, "", 0);
	expect_nothing(&rig);
	header.fwd_cnt = 3;
	send_packet(&rig, &header, "", 0);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(packet.header.len, 3);
	assert_memory_equal(packet.data, "678", 3);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	send_simple(&rig, 80, 5000, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	header.fwd_cnt = 9;
	send_packet(&rig, &header, "", 0);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(packet.header.fwd_cnt, 0);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(packet.header.len, 1);
	/* The other way: what the socket does not take is kept, up to the credit, and comes in order. */
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	header.op = VIRTIO_VSOCK_OP_RW;
	header.fwd_cnt = 10;
	header.len = sizeof(block);
	for (int i = 0; i < 40; i++) {
		uint32_t room = VSOCK_BUFFER - (total - packet.header.fwd_cnt);

		if (room < sizeof(block))
			break;
		send_packet(&rig, &header, block, sizeof(block));
		total += sizeof(block);
		while (receive(&rig, &packet))
			assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	}
	assert_true(VSOCK_BUFFER - (total - packet.header.fwd_cnt) < sizeof(block));
	for (uint32_t got = 0; got < total;) {
		char piece[10000];
		ssize_t count = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);

		assert_true(count > 0);
		for (ssize_t i = 0; i < count; i++)
			assert_int_equal(piece[i], 'x');
		got += (uint32_t)count;
		driver_run(&rig.driver);
	}
	while (receive(&rig, &packet))
		assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_true(total - packet.header.fwd_cnt <= VSOCK_BUFFER / 2);
	/* Beyond it: the end. */
	for (int i = 0; i < 20 && !(receive(&rig, &packet) && packet.header.op == VIRTIO_VSOCK_OP_RST); i++)
		send_packet(&rig, &header, block, sizeof(block));
	assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_RST);
	close(fd);
	close(listener);
	close_rig(&rig);
}

/* The guest closes while the host has not read everything: the rest arrives. */
static void test_late_reader(void **state)
{
	struct rig rig;
	struct packet packet;
	struct virtio_vsock_hdr header = make_header(80, 5000, VIRTIO_VSOCK_OP_RW);
	static char block[65536];
	int listener, fd;
	uint32_t total = 0, got = 0;

	(void)state;
	open_rig(&rig);
	listener = open_socket(&rig, VSOCK_SOCKET "_80", true);
	fd = connect_to_host(&rig, listener);
	header.len = 32768;
	packet.header.fwd_cnt = 0;
	while (VSOCK_BUFFER - (total - packet.header.fwd_cnt) >= header.len) {
		memset(block, (int)(total / header.len) + 1, header.len);
		send_packet(&rig, &header, block, header.len);
		total += header.len;
		while (receive(&rig, &packet))
			;
	}
	header = make_header(80, 5000, VIRTIO_VSOCK_OP_SHUTDOWN);
	header.flags = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
	send_packet(&rig, &header, "", 0);
	expect_nothing(&rig);
	while (got < total) {
		ssize_t count = recv(fd, block, 5000, MSG_DONTWAIT);

		assert_true(count > 0);
		for (ssize_t i = 0; i < count; i++, got++)
			assert_int_equal(block[i], got / 32768 + 1);
		driver_run(&rig.driver);
	}
	do
		assert_true(receive(&rig, &packet));
	while (packet.header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_RST);
	expect_closed(&rig, fd);
	close(listener);
	close_rig(&rig);
}

static void test_odd_packets(void **state)
{
	struct rig rig;
	struct packet packet;
	struct virtio_vsock_hdr header;
	uint32_t port;
	int fd;

	(void)state;
	open_rig(&rig);
	/* Of no connection. */
	for (uint16_t operation = 0; operation < 12; operation++) {
		send_simple(&rig, 80, 5000, operation);
		if (operation != VIRTIO_VSOCK_OP_RST)
			expect(&rig, &packet, VIRTIO_VSOCK_OP_RST);
		expect_nothing(&rig);
	}
	/* Not for us, or not from the guest; of a type that there is not; too short. */
	header = make_header(80, 5000, VIRTIO_VSOCK_OP_REQUEST);
	header.dst_cid = 99;
	send_packet(&rig, &header, "", 0);
	header.dst_cid = HOST;
	header.src_cid = HOST;
	send_packet(&rig, &header, "", 0);
	expect_nothing(&rig);
	header.src_cid = GUEST;
	header.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	send_packet(&rig, &header, "", 0);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(packet.header.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	(void)driver_request(&rig.driver, TX, rig.tx, HEADER - 1, 0, 0);
	expect_nothing(&rig);
	/* In a connection, what cannot come there ends it. */
	for (uint16_t operation = 0; operation < 12; operation++) {
		if (operation >= VIRTIO_VSOCK_OP_RST && operation <= VIRTIO_VSOCK_OP_CREDIT_REQUEST)
			continue;
		fd = connect_to_guest(&rig, &port);
		send_simple(&rig, port, 1024, operation);
		expect(&rig, &packet, VIRTIO_VSOCK_OP_RST);
		expect_closed(&rig, fd);
	}
	/* A length that the packet has not. */
	fd = connect_to_guest(&rig, &port);
	header = make_header(port, 1024, VIRTIO_VSOCK_OP_RW);
	header.len = 1000;
	send_packet(&rig, &header, "abc", 3);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RST);
	expect_closed(&rig, fd);
	/* Data before the connection is one. */
	fd = open_socket(&rig, VSOCK_SOCKET, false);
	assert_int_equal(send(fd, "CONNECT 1\n", 10, MSG_NOSIGNAL), 10);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_REQUEST);
	send_data(&rig, packet.header.src_port, 1, "early");
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RST);
	expect_closed(&rig, fd);
	assert_false(driver_needs_reset(&rig.driver));
	close_rig(&rig);
}

/* Packets that want answers, and no buffer for any: the device stops listening and loses nothing. */
static void test_no_buffers(void **state)
{
	struct rig rig;
	struct virtio_vsock_hdr header = make_header(80, 0, VIRTIO_VSOCK_OP_REQUEST);
	struct driver_buffer buffer = { .size = HEADER };
	struct packet packet;
	unsigned sent = 0, answered = 0;

	(void)state;
	open_rig(&rig);
	buffer.address = rig.tx;
	/* All receive buffers are used up by answers that the driver does not take. */
	for (unsigned round = 0; round < 100; round++) {
		struct driver_used used;

		header.src_port = round;
		memcpy(driver_at(&rig.driver, rig.tx, HEADER), &header, HEADER);
		(void)driver_add(&rig.driver, TX, &buffer, 1);
		(void)driver_add(&rig.driver, TX, &buffer, 1);
		driver_kick(&rig.driver, TX);
		driver_run(&rig.driver);
		for (int i = 0; i < 2 && driver_used(&rig.driver, TX, &used); i++)
			sent++;
		if (sent % 2 || driver_used_index(&rig.driver, TX) != (uint16_t)(2 * (round + 1)))
			break;
	}
	assert_true(sent < 200);
	while (receive(&rig, &packet)) {
		assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_RST);
		answered++;
	}
	assert_int_equal(answered, driver_used_index(&rig.driver, TX));
	assert_true(answered >= sent);
	close_rig(&rig);
}

static void test_too_many(void **state)
{
	struct rig rig;
	struct packet packet;
	int listener, fds[VSOCK_CONNECTIONS_MAX];

	(void)state;
	open_rig(&rig);
	listener = open_socket(&rig, VSOCK_SOCKET "_80", true);
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		send_simple(&rig, 80, i, VIRTIO_VSOCK_OP_REQUEST);
		expect(&rig, &packet, VIRTIO_VSOCK_OP_RESPONSE);
		fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
	send_simple(&rig, 80, 9999, VIRTIO_VSOCK_OP_REQUEST);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RST);
	expect_closed(&rig, open_socket(&rig, VSOCK_SOCKET, false));
	send_simple(&rig, 80, 17, VIRTIO_VSOCK_OP_RST);
	send_simple(&rig, 80, 9999, VIRTIO_VSOCK_OP_REQUEST);
	expect(&rig, &packet, VIRTIO_VSOCK_OP_RESPONSE);
	/* The driver resets the device: all are gone. */
	driver_set(&rig.driver, VIRTIO_MMIO_STATUS, 0);
	for (int i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		expect_closed(&rig, fds[i]);
	close(listener);
	close_rig(&rig);
}

static void test_migrate_vsock(void **state)
{
	struct rig rig;
	struct driver_buffer buffer = { .size = 8, .writable = true };
	struct state_writer writer = { .section = 0 };
	struct state_reader reader;
	struct driver_used used;
	struct device *from;
	uint32_t port;
	int fd, late;

	(void)state;
	open_rig(&rig);
	buffer.address = driver_alloc(&rig.driver, 8);
	(void)driver_add(&rig.driver, EVENT, &buffer, 1);
	driver_kick(&rig.driver, EVENT);
	fd = connect_to_guest(&rig, &port);
	/* Quiet, it reads nothing and takes nobody, and forgets nothing. */
	from = rig.driver.device;
	from->ops->quiesce(from);
	assert_int_equal(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
	late = open_socket(&rig, VSOCK_SOCKET, false);
	assert_int_equal(send(late, "CONNECT 1\n", 10, MSG_NOSIGNAL), 10);
	expect_nothing(&rig);
	from->ops->save(from, &writer);
	from->ops->resume(from);
	{
		struct packet packet;

		assert_true(receive(&rig, &packet));
		assert_true(receive(&rig, &packet));
		expect_nothing(&rig);
	}
	assert_false(driver_used(&rig.driver, EVENT, &used));
	/* Somewhere else, nothing of it is there, and the guest is told. */
	from->ops->free(from);
	rig.driver.device = NULL;
	driver_adopt(&rig.driver, make_vsock(&rig));
	state_reader_init(&reader, str_text(&writer.out), writer.out.length);
	assert_int_equal(rig.driver.device->ops->restore(rig.driver.device, &reader, NULL), 0);
	rig.driver.device->ops->resume(rig.driver.device);
	driver_run(&rig.driver);
	assert_true(driver_used(&rig.driver, EVENT, &used));
	assert_int_equal(used.size, 4);
	assert_int_equal(*(uint32_t *)driver_at(&rig.driver, buffer.address, 4), 0);
	expect_closed(&rig, fd);
	close(late);
	str_free(&writer.out);
	close_rig(&rig);
}

/* The same directory once more: refused, and nothing is taken away there. */
static void expect_refusal(struct rig *rig, int code)
{
	int dir = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error err = ERROR_INIT;
	struct device *device = NULL;

	assert_int_equal(virtio_vsock_make(GUEST, dir, &rig->driver.memory, &rig->driver.loop, &device, &err), -code);
	assert_null(device);
}

static void test_whose_name(void **state)
{
	struct rig rig;
	uint32_t port;
	int fd;

	(void)state;
	open_rig(&rig);
	expect_refusal(&rig, EADDRINUSE);
	close(connect_to_guest(&rig, &port)); /* it still listens */
	driver_run(&rig.driver);
	driver_close(&rig.driver);
	/* Left by one that was killed. */
	driver_open(&rig.driver);
	close(open_socket(&rig, VSOCK_SOCKET, true));
	driver_adopt(&rig.driver, make_vsock(&rig));
	driver_close(&rig.driver);
	/* What is no socket stays. */
	driver_open(&rig.driver);
	assert_int_equal(chdir(rig.dir), 0);
	fd = open(VSOCK_SOCKET, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	expect_refusal(&rig, EEXIST);
	assert_int_equal(unlink(VSOCK_SOCKET), 0);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_host),     cmocka_unit_test(test_greetings),
		cmocka_unit_test(test_from_guest),    cmocka_unit_test(test_credit),
		cmocka_unit_test(test_late_reader),   cmocka_unit_test(test_odd_packets),
		cmocka_unit_test(test_no_buffers),    cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_migrate_vsock), cmocka_unit_test(test_whose_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
