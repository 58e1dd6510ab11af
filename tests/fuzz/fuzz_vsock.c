/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for virtio-vsock: what a driver sends, and what programs of the host's do meanwhile.
 *
 *     0 operation:1 host port:1 guest port:1 flags:1 length:2 room:4 forwarded:4 size:2   a packet of that size
 *     1 size:2           a buffer for a packet        4 which:1          the host reads
 *     2 port:1           the host connects            5 which:1          the host closes
 *     3 which:1 size:2   the host sends               6 what:1           snapshot, or reset
 *     other              the loop goes on
 *
 * Ports: the host's 0 is one on which somebody listens, 1 the last one of a connection from the host.
 */
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/virtio/vsock.h"

enum { RAM = 512 << 10, QUEUES = 3, SIZE = 64, PAGE = 4096, BUFFER = 2048, SOCKETS = 8, GUEST = 3 };
enum { RX, TX, RX_BUFFERS = 128 << 10, TX_BUFFER = 384 << 10, TX_MAX = 65535 };

struct rig {
	struct guest_memory memory;
	struct loop loop;
	struct device *device;
	uint16_t offered[QUEUES], seen;
	int sockets[SOCKETS];
	uint32_t host_port; /* of the last request that came */
};

static int listener = -1, directory = -1;

static void put(struct rig *rig, uint32_t offset, uint32_t value)
{
	rig->device->ops->write(rig->device, 0, offset, &value, sizeof(value));
}

static void start(struct rig *rig)
{
	const uint32_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	put(rig, VIRTIO_MMIO_STATUS, known);
	put(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(rig, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	put(rig, VIRTIO_MMIO_STATUS, known | VIRTIO_CONFIG_S_FEATURES_OK);
	for (uint32_t i = 0; i < QUEUES; i++) {
		put(rig, VIRTIO_MMIO_QUEUE_SEL, i);
		put(rig, VIRTIO_MMIO_QUEUE_NUM, SIZE);
		put(rig, VIRTIO_MMIO_QUEUE_DESC_LOW, PAGE * (1 + 4 * i));
		put(rig, VIRTIO_MMIO_QUEUE_AVAIL_LOW, PAGE * (2 + 4 * i));
		put(rig, VIRTIO_MMIO_QUEUE_USED_LOW, PAGE * (3 + 4 * i));
		put(rig, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	put(rig, VIRTIO_MMIO_STATUS, known | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void offer(struct rig *rig, unsigned queue, uint64_t address, uint32_t size)
{
	uint16_t slot = rig->offered[queue]++ % SIZE;
	struct vring_desc descriptor = { .addr = address, .len = size, .flags = queue == RX ? VRING_DESC_F_WRITE : 0 };
	uint64_t base = PAGE * (1 + 4 * (uint64_t)queue);

	check(guest_memory_write(&rig->memory, base + 16 * (uint64_t)slot, &descriptor, sizeof(descriptor)) &&
	      guest_memory_write(&rig->memory, base + PAGE + 4 + 2 * (uint64_t)slot, &slot, sizeof(slot)) &&
	      guest_memory_write(&rig->memory, base + PAGE + 2, &rig->offered[queue], sizeof(uint16_t)));
	put(rig, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

/* What comes to the guest is well formed. */
static void look(struct rig *rig)
{
	uint64_t used = PAGE * 3;
	uint16_t index = 0;

	check(guest_memory_read(&rig->memory, used + 2, &index, sizeof(index)));
	for (; rig->seen != index; rig->seen++) {
		struct vring_used_elem element = { 0 };
		struct virtio_vsock_hdr header = { 0 };

		check(guest_memory_read(&rig->memory, used + 4 + 8 * (uint64_t)(rig->seen % SIZE), &element,
					sizeof(element)));
		check(guest_memory_read(&rig->memory, RX_BUFFERS + (uint64_t)element.id * BUFFER, &header,
					sizeof(header)));
		check(element.id < SIZE && element.len == sizeof(header) + header.len && element.len <= BUFFER);
		check(header.src_cid == 2 && header.dst_cid == GUEST);
		if (header.op == VIRTIO_VSOCK_OP_REQUEST)
			rig->host_port = header.src_port;
	}
}

static void turn(struct rig *rig)
{
	for (int i = 0; i < 4; i++)
		check(loop_wait(&rig->loop, 0, NULL) == 0);
	look(rig);
}

static void packet(struct rig *rig, struct input *input)
{
	static const uint8_t data[TX_MAX];
	struct virtio_vsock_hdr header = { .src_cid = GUEST, .dst_cid = 2, .type = VIRTIO_VSOCK_TYPE_STREAM };
	uint32_t size;

	header.op = (uint16_t)number(input, 1);
	header.dst_port = number(input, 1);
	header.dst_port = header.dst_port == 0 ? 80 : header.dst_port == 1 ? rig->host_port : header.dst_port;
	header.src_port = number(input, 1);
	header.flags = number(input, 1);
	header.len = number(input, 2);
	header.buf_alloc = number(input, 4);
	header.fwd_cnt = number(input, 4);
	if (header.flags & 0x80)
		header.type = (uint16_t)header.flags;
	size = number(input, 2);
	check(guest_memory_write(&rig->memory, TX_BUFFER, &header, sizeof(header)) &&
	      guest_memory_write(&rig->memory, TX_BUFFER + sizeof(header), data, size));
	offer(rig, TX, TX_BUFFER, size);
	turn(rig);
}

static void add_buffer(struct rig *rig, uint32_t size)
{
	if ((uint16_t)(rig->offered[RX] - rig->seen) < SIZE) /* else it would be a broken ring */
		offer(rig, RX, RX_BUFFERS + (uint64_t)(rig->offered[RX] % SIZE) * BUFFER, size % BUFFER + 1);
	turn(rig);
}

static int *free_socket(struct rig *rig)
{
	for (int i = 0; i < SOCKETS; i++)
		if (rig->sockets[i] < 0)
			return &rig->sockets[i];
	return NULL;
}

static void connect_host(struct rig *rig, uint32_t port)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = VSOCK_SOCKET };
	int *fd = free_socket(rig);
	char text[32];

	if (!fd)
		return;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(*fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		(void)send(*fd, text, (size_t)snprintf(text, sizeof(text), "CONNECT %u\n", port), MSG_NOSIGNAL);
	turn(rig);
}

static void accept_guest(struct rig *rig)
{
	int *fd = free_socket(rig);

	if (fd)
		*fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void disturb(struct rig *rig, uint32_t what)
{
	if (what & 1) {
		rig->device->ops->quiesce(rig->device);
		turn(rig);
		rig->device->ops->resume(rig->device);
	} else {
		put(rig, VIRTIO_MMIO_STATUS, 0);
		memset(rig->memory.regions[0].host, 0, PAGE * 16);
		memset(rig->offered, 0, sizeof(rig->offered));
		rig->seen = 0;
		start(rig);
	}
}

static void act(struct rig *rig, struct input *input)
{
	static char bytes[65536];
	uint32_t which;

	switch (*input->at++) {
	case 0:
		packet(rig, input);
		break;
	case 1:
		add_buffer(rig, number(input, 2));
		break;
	case 2:
		connect_host(rig, number(input, 1));
		break;
	case 3:
		which = number(input, 1) % SOCKETS;
		(void)send(rig->sockets[which], bytes, number(input, 2), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 4:
		which = number(input, 1) % SOCKETS;
		(void)!recv(rig->sockets[which], bytes, sizeof(bytes), MSG_DONTWAIT);
		break;
	case 5:
		close_one(&rig->sockets[number(input, 1) % SOCKETS]);
		break;
	case 6:
		disturb(rig, number(input, 1));
		break;
	default:
		accept_guest(rig);
		turn(rig);
	}
}

static char directory_name[] = "/tmp/fuzz-vsock.XXXXXX";

static void remove_directory(void)
{
	(void)unlinkat(directory, VSOCK_SOCKET "_80", 0);
	(void)unlinkat(directory, VSOCK_SOCKET, 0);
	(void)rmdir(directory_name);
}

static void make_directory(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = VSOCK_SOCKET "_80" };

	check(mkdtemp(directory_name) != NULL);
	directory = open(directory_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(directory >= 0 && atexit(remove_directory) == 0 && fchdir(directory) == 0);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	check(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, SOCKETS) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_region layout = { .size = RAM };
	struct rig rig = { .device = NULL };
	struct input input = { data, data + size };

	if (listener < 0)
		make_directory();
	for (int i = 0; i < SOCKETS; i++)
		rig.sockets[i] = -1;
	check(loop_open(&rig.loop, NULL) == 0 && guest_memory_make(&rig.memory, &layout, 1, 0, NULL) == 0 &&
	      virtio_vsock_make(GUEST, dup(directory), &rig.memory, &rig.loop, &rig.device, NULL) == 0);
	start(&rig);
	while (input.at < input.end)
		act(&rig, &input);
	turn(&rig);
	for (int i = 0; i < SOCKETS; i++)
		close_one(&rig.sockets[i]);
	turn(&rig);
	rig.device->ops->free(rig.device);
	guest_memory_free(&rig.memory);
	loop_close(&rig.loop);
	/* What was accepted by nobody. */
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
		close(fd);
	return 0;
}
