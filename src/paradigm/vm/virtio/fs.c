/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/fs.h"

#include <errno.h>
#include <limits.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "paradigm/vm/fs/serve.h"

enum {
	QUEUES = 2, /* high priority (FORGET), and one of requests */
	QUEUE_SIZE = 128,
	SLOTS = 128, /* requests that are under way */
	ROUND_MAX = 64,
};

struct slot {
	uint16_t head;
	uint8_t queue;
	bool used;
	struct iovec *iov; /* owned: where the reply goes */
	unsigned count;
	uint32_t room;
};

struct fs {
	struct virtio virtio;
	char tag[VIRTIO_FS_TAG_MAX];
	struct loop_source server; /* fd owned */
	bool dead;		   /* the server */
	bool full;		   /* the socket takes no more; a request waits in its queue */
	struct slot slots[SLOTS];
	uint32_t free[SLOTS];
	unsigned free_count;
	struct iovec iov[1 + VIRTQUEUE_CHAIN_MAX];
	uint8_t reply[sizeof(struct fs_message) + FUSE_REPLY_MAX];
};

static struct fs *fs_of(struct virtio *virtio)
{
	return (struct fs *)(void *)virtio;
}

/* ---- to the server ---- */

static void give_back(struct fs *fs, uint32_t number, uint32_t written)
{
	struct slot *slot = &fs->slots[number];

	virtqueue_push(&fs->virtio.queues[slot->queue], slot->head, written);
	virtio_notify(&fs->virtio, slot->queue);
	free(slot->iov);
	*slot = (struct slot){ .used = false };
	fs->free[fs->free_count++] = number;
}

/* Everything that is under way is lost. */
static void bury_server(struct fs *fs)
{
	if (fs->dead)
		return;
	fs->dead = true;
	loop_remove(fs->virtio.loop, &fs->server);
	for (uint32_t i = 0; i < SLOTS; i++)
		if (fs->slots[i].used)
			give_back(fs, i, 0);
	virtio_fail(&fs->virtio);
}

/* false: no memory. */
static bool fill_slot(struct slot *slot, unsigned queue, const struct virtqueue_chain *chain)
{
	*slot = (struct slot){
		.head = chain->head, .queue = (uint8_t)queue, .count = chain->count_in, .room = (uint32_t)chain->size_in
	};
	if (slot->count > 0) {
		slot->iov = malloc(slot->count * sizeof(*slot->iov));
		if (!slot->iov)
			return false;
		memcpy(slot->iov, chain->iov + chain->count_out, slot->count * sizeof(*slot->iov));
	}
	slot->used = true;
	return true;
}

/* 0; -EAGAIN: not now. */
static int send_request(struct fs *fs, uint32_t number, unsigned count_out)
{
	struct fs_message message = { .number = number, .room = fs->slots[number].room };
	struct msghdr header = { .msg_iov = fs->iov, .msg_iovlen = 1 + count_out };

	fs->iov[0] = (struct iovec){ .iov_base = &message, .iov_len = sizeof(message) };
	if (sendmsg(fs->server.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == ENOBUFS || errno == EINTR ? -EAGAIN : -errno;
}

/* 1: it is under way, or was refused; 0: it stays in the queue. */
static int carry(struct fs *fs, unsigned queue, const struct virtqueue_chain *chain)
{
	uint32_t number = fs->free[fs->free_count - 1];
	int ret;

	/* Nothing that a file system sends. */
	if (chain->size_out > FUSE_REQUEST_MAX || chain->count_out >= IOV_MAX ||
	    !fill_slot(&fs->slots[number], queue, chain)) {
		virtqueue_push(&fs->virtio.queues[queue], chain->head, 0);
		return 1;
	}
	ret = send_request(fs, number, chain->count_out);
	if (ret == 0) {
		fs->free_count--;
		return 1;
	}
	free(fs->slots[number].iov);
	fs->slots[number] = (struct slot){ .used = false };
	virtqueue_unpop(&fs->virtio.queues[queue]);
	fs->full = true;
	if (ret != -EAGAIN)
		bury_server(fs);
	else
		(void)loop_change(fs->virtio.loop, &fs->server, EPOLLIN | EPOLLOUT);
	return 0;
}

static void fs_handle(struct virtio *virtio, unsigned queue)
{
	struct fs *fs = fs_of(virtio);
	struct virtqueue_chain chain;
	unsigned count;

	if (fs->dead) {
		virtio_fail(virtio);
		return;
	}
	for (count = 0; count < ROUND_MAX && fs->free_count > 0 && !fs->full; count++)
		if (!virtio_pop(virtio, queue, &chain, fs->iov + 1) || !carry(fs, queue, &chain))
			break;
	virtio_notify(virtio, queue);
	/* Without a slot or room, the next reply looks again. */
	if (fs->free_count > 0 && !fs->full && (count == ROUND_MAX || virtqueue_listen(&virtio->queues[queue], true)))
		virtio_kick(virtio, queue);
}

/* ---- from the server ---- */

static bool take_reply(struct fs *fs, size_t size)
{
	struct fs_message message;
	struct slot *slot;

	if (size < sizeof(message))
		return false;
	memcpy(&message, fs->reply, sizeof(message));
	size -= sizeof(message);
	if (message.number >= SLOTS || !fs->slots[message.number].used || size > fs->slots[message.number].room)
		return false;
	slot = &fs->slots[message.number];
	give_back(fs, message.number,
		  (uint32_t)iov_write(slot->iov, slot->count, 0, fs->reply + sizeof(message), size));
	return true;
}

static void server_ready(struct loop_source *source, uint32_t events)
{
	struct fs *fs = source->context;
	bool waited = fs->full || fs->free_count == 0;

	for (int i = 0; i < ROUND_MAX && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)); i++) {
		ssize_t count = recv(source->fd, fs->reply, sizeof(fs->reply), MSG_DONTWAIT);

		if (count < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (count <= 0 || !take_reply(fs, (size_t)count)) {
			bury_server(fs);
			return;
		}
	}
	if (fs->full && (events & EPOLLOUT)) {
		fs->full = false;
		(void)loop_change(fs->virtio.loop, source, EPOLLIN);
	}
	for (unsigned i = 0; i < QUEUES && waited; i++)
		virtio_kick(&fs->virtio, i);
}

/* ---- the device ---- */

static void fs_drain(struct virtio *virtio)
{
	struct fs *fs = fs_of(virtio);

	while (fs->free_count < SLOTS && loop_wait(virtio->loop, -1, NULL) == 0)
		;
}

static void fs_config_read(struct virtio *virtio, uint32_t offset, void *data, uint32_t size)
{
	struct virtio_fs_config config = { .num_request_queues = QUEUES - 1 };

	memcpy(config.tag, fs_of(virtio)->tag, sizeof(config.tag));
	memcpy(data, (const uint8_t *)&config + offset, size);
}

static int fs_restore(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	(void)reader;
	if (!virtio->active)
		return 0;
	return error_set(err, ENOTSUP, "a machine with shared directories cannot go on from a snapshot");
}

static void fs_free(struct virtio *virtio)
{
	struct fs *fs = fs_of(virtio);

	if (!fs->dead)
		loop_remove(virtio->loop, &fs->server);
	close(fs->server.fd);
	for (int i = 0; i < SLOTS; i++)
		free(fs->slots[i].iov);
	virtio_free(virtio);
	free(fs);
}

static const struct virtio_ops fs_ops = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.own_thread = true,
	.config_size = sizeof(struct virtio_fs_config),
	.config_read = fs_config_read,
	.handle = fs_handle,
	.reset = fs_drain,
	.quiesce = fs_drain,
	.restore = fs_restore,
	.free = fs_free,
};

int virtio_fs_make(const char *tag, int server, struct guest_memory *memory, struct loop *loop, struct device **device,
		   struct error *err)
{
	struct fs *fs = NULL;
	int ret;

	if (*tag && strlen(tag) <= VIRTIO_FS_TAG_MAX)
		fs = calloc(1, sizeof(*fs));
	if (!fs) {
		close(server);
		return error_set(err, EINVAL, "cannot make virtio-fs: \"%s\" is no tag of 1 to %d bytes", tag,
				 VIRTIO_FS_TAG_MAX);
	}
	memcpy(fs->tag, tag, strlen(tag));
	fs->server = (struct loop_source){ .fd = server, .ready = server_ready, .context = fs };
	while (fs->free_count < SLOTS) {
		fs->free[fs->free_count] = fs->free_count;
		fs->free_count++;
	}
	ret = virtio_init(&fs->virtio, &fs_ops, 0, QUEUES, QUEUE_SIZE, memory, loop, err);
	if (ret == 0) {
		ret = loop_add(loop, &fs->server, EPOLLIN, err);
		if (ret < 0)
			virtio_free(&fs->virtio);
	}
	if (ret < 0) {
		close(server);
		free(fs);
		return ret;
	}
	*device = &fs->virtio.device;
	return 0;
}
