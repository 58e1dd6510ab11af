/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of QEMU's vhost-user-fs: queues in the guest's memory.  QEMU is not trusted: a guest may have taken it
 * over.  What it says of memory is believed as far as it can be mapped.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "paradigm/vm/fs/serve.h"
#include "paradigm/vm/virtio/queue.h"

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	RESET_OWNER = 4,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,

	FLAG_VERSION = 1,
	FLAG_REPLY = 4,
	FLAG_NEED_REPLY = 8,

	QUEUES = 2, /* hiprio and one of requests */
	PAYLOAD_MAX = 512,
	FDS_MAX = 8,
	NO_FD = 0x100,
	ROUND_MAX = 32,
};

#define FEATURE_PROTOCOL (UINT64_C(1) << 30)
#define FEATURES                                                                      \
	(UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | \
	 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC | FEATURE_PROTOCOL)
#define PROTOCOL_FEATURES (UINT64_C(1) << 0 /* several queues */ | UINT64_C(1) << 3 /* replies on demand */)

struct message {
	struct {
		uint32_t request, flags, size;
	} header;
	uint8_t payload[PAYLOAD_MAX];
	int fds[FDS_MAX]; /* closed, unless they are taken */
	size_t fds_count;
};

/* As in the message; its addresses are QEMU's own. */
struct region {
	uint64_t guest, size, user, offset;
};

struct back;

struct ring {
	struct virtqueue queue;
	struct back *back;
	struct loop_source kick; /* owned, or -1 */
	int call;
	bool enabled;
	uint64_t descriptors, used, available; /* QEMU's addresses */
};

struct back {
	struct fuse_server *server;
	struct loop loop;
	struct loop_source socket;
	struct guest_memory memory;
	struct region regions[GUEST_REGIONS_MAX];
	void *mappings[GUEST_REGIONS_MAX];
	size_t mapped[GUEST_REGIONS_MAX];
	uint64_t features;
	struct ring rings[QUEUES];
	int result; /* of the whole; set with the loop's end */
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	uint8_t request[FUSE_REQUEST_MAX], reply[FUSE_REPLY_MAX];
};

static void end(struct back *back, int result)
{
	back->result = result;
	loop_stop(&back->loop);
}

/* ---- requests ---- */

static uint32_t serve_chain(struct back *back, const struct virtqueue_chain *chain)
{
	size_t size = iov_read(chain->iov, chain->count_out, 0, back->request, sizeof(back->request));
	size_t room = chain->size_in < sizeof(back->reply) ? (size_t)chain->size_in : sizeof(back->reply);

	if (chain->size_out > sizeof(back->request))
		return 0;
	size = fuse_serve(back->server, back->request, size, back->reply, room);
	return (uint32_t)iov_write(chain->iov + chain->count_out, chain->count_in, 0, back->reply, size);
}

static void kicked(struct loop_source *source, uint32_t events)
{
	struct ring *ring = source->context;
	struct virtqueue_chain chain;
	eventfd_t count;
	int ret = 0;

	(void)events;
	(void)eventfd_read(source->fd, &count);
	for (int i = 0; i < ROUND_MAX && ring->enabled; i++) {
		ret = virtqueue_pop(&ring->queue, &chain, ring->back->iov);
		if (ret <= 0)
			break;
		virtqueue_push(&ring->queue, chain.head, serve_chain(ring->back, &chain));
	}
	if (virtqueue_wants_interrupt(&ring->queue) && ring->call >= 0)
		(void)eventfd_write(ring->call, 1);
	if (ret < 0)
		end(ring->back, -EPROTO);
	else if (ring->enabled && (ret > 0 || virtqueue_listen(&ring->queue, true)))
		(void)eventfd_write(source->fd, 1);
}

/* ---- what QEMU sets up ---- */

static void unmap(struct back *back)
{
	for (size_t i = 0; i < back->memory.count; i++)
		(void)munmap(back->mappings[i], back->mapped[i]);
	back->memory.count = 0;
}

static int map_region(struct back *back, const struct region *region, int fd)
{
	size_t at = back->memory.count, length;
	void *mapping;

	if (region->size == 0 || __builtin_add_overflow(region->size, region->offset, &length) ||
	    region->guest + region->size < region->guest || region->user + region->size < region->user)
		return -EINVAL;
	mapping = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (mapping == MAP_FAILED)
		return -errno;
	back->mappings[at] = mapping;
	back->mapped[at] = length;
	back->regions[at] = *region;
	back->memory.regions[at] = (struct guest_region){
		.base = region->guest,
		.size = region->size,
		.host = (uint8_t *)mapping + region->offset,
	};
	back->memory.count++;
	return 0;
}

/* Address of the guest's, by that of QEMU's. */
static uint64_t guest_address(const struct back *back, uint64_t user)
{
	for (size_t i = 0; i < back->memory.count; i++)
		if (user >= back->regions[i].user && user - back->regions[i].user < back->regions[i].size)
			return back->regions[i].guest + (user - back->regions[i].user);
	return UINT64_MAX;
}

/* With new memory, or a new place. */
static void place(struct ring *ring)
{
	struct virtqueue *queue = &ring->queue;

	queue->descriptors = guest_address(ring->back, ring->descriptors);
	queue->available = guest_address(ring->back, ring->available);
	queue->used = guest_address(ring->back, ring->used);
	queue->event_index = ring->back->features & UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	queue->ready = false;
	if (ring->kick.fd >= 0)
		(void)virtqueue_start(queue);
}

static int set_memory(struct back *back, const struct message *message)
{
	struct {
		uint32_t count, padding;
	} table;

	unmap(back);
	memcpy(&table, message->payload, sizeof(table));
	if (table.count > GUEST_REGIONS_MAX || table.count != message->fds_count ||
	    message->header.size < sizeof(table) + table.count * sizeof(struct region))
		return -EINVAL;
	for (size_t i = 0; i < table.count; i++) {
		struct region region;
		int ret;

		memcpy(&region, message->payload + sizeof(table) + i * sizeof(region), sizeof(region));
		ret = map_region(back, &region, message->fds[i]);
		if (ret < 0)
			return ret;
	}
	for (int i = 0; i < QUEUES; i++)
		if (back->rings[i].queue.ready)
			place(&back->rings[i]);
	return 0;
}

static void drop_kick(struct back *back, struct ring *ring)
{
	if (ring->kick.fd < 0)
		return;
	loop_remove(&back->loop, &ring->kick);
	close(ring->kick.fd);
	ring->kick.fd = -1;
	ring->queue.ready = false;
}

static int take_fd_of(struct message *message)
{
	return message->fds_count > 0 ? take_fd(&message->fds[0]) : -1;
}

static int set_kick(struct back *back, struct ring *ring, struct message *message)
{
	drop_kick(back, ring);
	ring->kick = (struct loop_source){ .fd = take_fd_of(message), .ready = kicked, .context = ring };
	if (ring->kick.fd < 0)
		return -EINVAL; /* polling, which is not offered */
	if (loop_add(&back->loop, &ring->kick, EPOLLIN, NULL) < 0) {
		close(ring->kick.fd);
		ring->kick.fd = -1;
		return -EINVAL;
	}
	place(ring);
	return 0;
}

static void set_call(struct ring *ring, struct message *message)
{
	if (ring->call >= 0)
		close(ring->call);
	ring->call = take_fd_of(message);
}

struct vring_state {
	uint32_t index, number;
};

struct vring_address {
	uint32_t index, flags;
	uint64_t descriptors, used, available, log;
};

static struct ring *ring_of(struct back *back, uint64_t index)
{
	return index < QUEUES ? &back->rings[index] : NULL;
}

static int set_addresses(struct back *back, const struct message *message)
{
	struct vring_address address;
	struct ring *ring;

	memcpy(&address, message->payload, sizeof(address));
	ring = ring_of(back, address.index);
	if (!ring)
		return -EINVAL;
	ring->descriptors = address.descriptors;
	ring->used = address.used;
	ring->available = address.available;
	if (ring->kick.fd >= 0)
		place(ring);
	return 0;
}

/* The driver's index is QEMU's to tell; ours is in the ring itself. */
static void set_base(struct ring *ring, uint16_t base)
{
	ring->queue.next_available = ring->queue.next_used = ring->queue.signalled = base;
}

static int set_ring(struct back *back, const struct message *message)
{
	struct vring_state state;
	struct ring *ring;

	memcpy(&state, message->payload, sizeof(state));
	ring = ring_of(back, state.index);
	if (!ring || state.number > UINT16_MAX)
		return -EINVAL;
	if (message->header.request == SET_VRING_NUM)
		ring->queue.size = (uint16_t)state.number;
	else if (message->header.request == SET_VRING_BASE)
		set_base(ring, (uint16_t)state.number);
	else
		ring->enabled = state.number != 0;
	/* It may have been kicked before. */
	if (ring->enabled && ring->kick.fd >= 0)
		(void)eventfd_write(ring->kick.fd, 1);
	return 0;
}

static int set_fd(struct back *back, struct message *message)
{
	uint64_t number;
	struct ring *ring;

	memcpy(&number, message->payload, sizeof(number));
	ring = ring_of(back, number & 0xff);
	if (!ring)
		return -EINVAL;
	if (message->header.request == SET_VRING_KICK)
		return set_kick(back, ring, message);
	if (message->header.request == SET_VRING_CALL)
		set_call(ring, message);
	return 0;
}

/* ---- the conversation ---- */

static int reply(const struct back *back, const struct message *message, const void *payload, uint32_t size)
{
	uint8_t out[sizeof(message->header) + sizeof(uint64_t)];
	uint32_t header[3] = { message->header.request, FLAG_VERSION | FLAG_REPLY, size };

	memcpy(out, header, sizeof(header));
	memcpy(out + sizeof(header), payload, size);
	return send(back->socket.fd, out, sizeof(header) + size, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int reply_number(const struct back *back, const struct message *message, uint64_t number)
{
	return reply(back, message, &number, sizeof(number));
}

static int get_base(struct back *back, const struct message *message)
{
	struct vring_state state;
	struct ring *ring;

	memcpy(&state, message->payload, sizeof(state));
	ring = ring_of(back, state.index);
	if (!ring)
		return -EINVAL;
	drop_kick(back, ring);
	state.number = ring->queue.next_available;
	ring->queue.broken = false;
	return reply(back, message, &state, sizeof(state));
}

/* 1: it was answered; 0: done; -errno: it could not be. */
static int obey(struct back *back, struct message *message)
{
	uint64_t number;

	memcpy(&number, message->payload, sizeof(number));
	switch (message->header.request) {
	case GET_FEATURES:
		return reply_number(back, message, FEATURES) < 0 ? -EIO : 1;
	case GET_PROTOCOL_FEATURES:
		return reply_number(back, message, PROTOCOL_FEATURES) < 0 ? -EIO : 1;
	case GET_QUEUE_NUM:
		return reply_number(back, message, QUEUES) < 0 ? -EIO : 1;
	case GET_VRING_BASE:
		return get_base(back, message) < 0 ? -EIO : 1;
	case SET_FEATURES:
		back->features = number;
		for (int i = 0; i < QUEUES && !(number & FEATURE_PROTOCOL); i++)
			back->rings[i].enabled = true;
		return number & ~FEATURES ? -EINVAL : 0;
	case SET_MEM_TABLE:
		return set_memory(back, message);
	case SET_VRING_NUM:
	case SET_VRING_BASE:
	case SET_VRING_ENABLE:
		return set_ring(back, message);
	case SET_VRING_ADDR:
		return set_addresses(back, message);
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ERR:
		return set_fd(back, message);
	case SET_PROTOCOL_FEATURES:
	case SET_OWNER:
	case RESET_OWNER:
		return 0;
	default:
		return -ENOTSUP;
	}
}

static void take_fds(struct msghdr *header, struct message *message)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
			if (message->fds_count < FDS_MAX)
				message->fds[message->fds_count++] = fd;
			else
				close(fd);
		}
	}
}

/* 1; 0: the other end is gone; -errno. */
static int receive(int socket, struct message *message)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec part = { .iov_base = &message->header, .iov_len = sizeof(message->header) };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	ssize_t count;

	do
		count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	while (count < 0 && errno == EINTR);
	if (count <= 0)
		return count < 0 ? -errno : 0;
	take_fds(&header, message);
	if (count != (ssize_t)sizeof(message->header) || message->header.size > PAYLOAD_MAX)
		return -EPROTO;
	if (message->header.size > 0 &&
	    recv(socket, message->payload, message->header.size, MSG_WAITALL) != (ssize_t)message->header.size)
		return -EPROTO;
	return 1;
}

static void told(struct loop_source *source, uint32_t events)
{
	struct back *back = source->context;
	struct message message = { .fds_count = 0 };
	int ret = receive(source->fd, &message);

	(void)events;
	if (ret <= 0) {
		end(back, ret);
	} else {
		ret = obey(back, &message);
		if (ret <= 0 && (message.header.flags & FLAG_NEED_REPLY))
			ret = reply_number(back, &message, ret < 0);
		if (ret < 0)
			end(back, ret);
	}
	for (size_t i = 0; i < message.fds_count; i++)
		if (message.fds[i] >= 0)
			close(message.fds[i]);
}

int fs_serve_vhost_user(struct fuse_server *server, int socket)
{
	struct back *back = calloc(1, sizeof(*back));
	int ret;

	if (!back)
		return -ENOMEM;
	ret = loop_open(&back->loop, NULL);
	if (ret < 0) {
		free(back);
		return ret;
	}
	back->server = server;
	back->memory.fd = -1;
	back->memory.page = 4096;
	back->socket = (struct loop_source){ .fd = socket, .ready = told, .context = back };
	for (int i = 0; i < QUEUES; i++) {
		struct ring *ring = &back->rings[i];

		virtqueue_init(&ring->queue, &back->memory, VIRTQUEUE_SIZE_MAX);
		ring->back = back;
		ring->kick.fd = ring->call = -1;
	}
	ret = loop_add(&back->loop, &back->socket, EPOLLIN, NULL);
	if (ret == 0)
		ret = loop_run(&back->loop, NULL);
	for (int i = 0; i < QUEUES; i++) {
		drop_kick(back, &back->rings[i]);
		if (back->rings[i].call >= 0)
			close(back->rings[i].call);
	}
	unmap(back);
	loop_close(&back->loop);
	ret = ret < 0 ? ret : back->result;
	free(back);
	return ret;
}
