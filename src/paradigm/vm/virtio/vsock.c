/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/virtio/vsock_connection.h"

enum {
	QUEUE_RECEIVE,
	QUEUE_TRANSMIT,
	QUEUE_EVENT,
	QUEUES,

	QUEUE_SIZE = 128,
	HEADER = sizeof(struct virtio_vsock_hdr),
	PACKET_MAX = 65536, /* bytes of data that we send in one */
	ROUND_MAX = 64,	    /* packets before others on the loop have their turn */
	BACKLOG = 64,
};

static struct vsock *vsock_of(struct virtio *virtio)
{
	return (struct vsock *)(void *)virtio;
}

/* ---- to the guest ---- */

static struct virtio_vsock_hdr make_header(const struct vsock *vsock, uint32_t host_port, uint32_t guest_port,
					   uint16_t operation)
{
	return (struct virtio_vsock_hdr){
		.src_cid = VMADDR_CID_HOST,
		.dst_cid = vsock->cid,
		.src_port = host_port,
		.dst_port = guest_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = operation,
	};
}

static uint32_t put_header(const struct virtqueue_chain *chain, const struct virtio_vsock_hdr *header)
{
	return (uint32_t)iov_write(chain->iov + chain->count_out, chain->count_in, 0, header, HEADER);
}

/* The first reply that waits. */
static uint32_t say_reply(struct vsock *vsock, const struct virtqueue_chain *chain)
{
	const struct vsock_reply *reply = &vsock->replies[vsock->replies_first];
	struct virtio_vsock_hdr header = make_header(vsock, reply->host_port, reply->guest_port, VIRTIO_VSOCK_OP_RST);

	header.type = reply->type;
	vsock->replies_first = (vsock->replies_first + 1) % VSOCK_REPLIES;
	vsock->replies_count--;
	return put_header(chain, &header);
}

/* Puts into payload the part of some buffers that begins at offset and has at most size bytes. */
static size_t slice(const struct iovec *iov, size_t count, size_t offset, size_t size, struct iovec *payload)
{
	size_t parts = 0;

	for (size_t i = 0; i < count && size > 0; i++) {
		size_t length = iov[i].iov_len;

		if (offset >= length) {
			offset -= length;
			continue;
		}
		length = length - offset < size ? length - offset : size;
		payload[parts++] = (struct iovec){ .iov_base = (uint8_t *)iov[i].iov_base + offset, .iov_len = length };
		size -= length;
		offset = 0;
	}
	return parts;
}

static uint32_t read_data(struct vsock_connection *connection, const struct virtqueue_chain *chain)
{
	struct vsock *vsock = connection->vsock;
	uint32_t size = vsock_connection_room(connection);
	size_t parts;

	if (size > PACKET_MAX)
		size = PACKET_MAX;
	parts = slice(chain->iov + chain->count_out, chain->count_in, HEADER, size, vsock->payload);
	return parts > 0 ? vsock_connection_read(connection, vsock->payload, parts) : 0;
}

/* The next thing that a connection says, if it still has any: bytes written, 0 for none. */
static uint32_t say_word(struct vsock_connection *connection, const struct virtqueue_chain *chain)
{
	static const uint16_t operations[][2] = {
		{ VSOCK_SAY_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
		{ VSOCK_SAY_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
		{ VSOCK_SAY_RESET, VIRTIO_VSOCK_OP_RST },
		{ VSOCK_SAY_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
		{ VSOCK_ASK_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
		{ VSOCK_SAY_DATA, VIRTIO_VSOCK_OP_RW },
		{ VSOCK_SAY_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
	};
	struct virtio_vsock_hdr header;
	size_t i = 0;

	while (i < sizeof(operations) / sizeof(*operations) && !(connection->say & operations[i][0]))
		i++;
	if (i == sizeof(operations) / sizeof(*operations))
		return 0;
	header = make_header(connection->vsock, connection->host_port, connection->guest_port, operations[i][1]);
	if (operations[i][0] == VSOCK_SAY_DATA) {
		header.len = read_data(connection, chain);
		if (header.len == 0)
			return 0;
	} else {
		connection->say &= ~(uint32_t)operations[i][0];
	}
	if (operations[i][0] == VSOCK_SAY_SHUTDOWN)
		header.flags = connection->host_shutdown;
	header.buf_alloc = VSOCK_BUFFER;
	header.fwd_cnt = connection->told = connection->forwarded;
	return put_header(chain, &header) + header.len;
}

static struct vsock_connection *take_waiting(struct vsock *vsock)
{
	struct vsock_connection *connection = vsock->waiting;

	vsock->waiting = connection->next_waiting;
	if (!vsock->waiting)
		vsock->waiting_end = &vsock->waiting;
	connection->waiting = false;
	return connection;
}

/* One packet, from whoever waits longest: bytes written, 0: it had nothing to say after all. */
static uint32_t say_next(struct vsock *vsock, const struct virtqueue_chain *chain)
{
	struct vsock_connection *connection;
	uint32_t written;

	if (vsock->replies_count > 0)
		return say_reply(vsock, chain);
	connection = take_waiting(vsock);
	written = say_word(connection, chain);
	if (connection->state == VSOCK_DYING && connection->say == 0)
		vsock_connection_free(connection);
	else
		vsock_connection_update(connection);
	return written;
}

static bool has_to_say(const struct vsock *vsock)
{
	return vsock->replies_count > 0 || vsock->waiting;
}

void vsock_speak(struct vsock *vsock)
{
	struct virtio *virtio = &vsock->virtio;
	struct virtqueue *queue = &virtio->queues[QUEUE_RECEIVE];
	struct virtqueue_chain chain;
	bool full = vsock->replies_count == VSOCK_REPLIES;
	unsigned count;

	if (!virtio->active || virtio->quiet)
		return;
	for (count = 0; count < ROUND_MAX && has_to_say(vsock); count++) {
		uint32_t written;

		if (!virtio_pop(virtio, QUEUE_RECEIVE, &chain, vsock->iov))
			break;
		if (chain.size_in < HEADER) {
			virtio_fail(virtio);
			return;
		}
		written = say_next(vsock, &chain);
		if (written == 0)
			virtqueue_unpop(queue);
		else
			virtqueue_push(queue, chain.head, written);
	}
	if (virtqueue_listen(queue, has_to_say(vsock)))
		virtio_kick(virtio, QUEUE_RECEIVE);
	if (full && vsock->replies_count < VSOCK_REPLIES)
		virtio_kick(virtio, QUEUE_TRANSMIT);
	virtio_notify(virtio, QUEUE_RECEIVE);
}

/* ---- from the guest ---- */

static void reply_reset(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	if (header->op == VIRTIO_VSOCK_OP_RST)
		return;
	vsock->replies[(vsock->replies_first + vsock->replies_count++) % VSOCK_REPLIES] = (struct vsock_reply){
		.host_port = header->dst_port, .guest_port = header->src_port, .type = header->type
	};
}

/* The directory is the working directory. */
static int connect_to(uint32_t port)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), VSOCK_SOCKET "_%u", port);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = errno;

		close(fd);
		return -code;
	}
	return fd;
}

static void take_request(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct vsock_connection *connection = NULL;
	int fd = vsock->count < VSOCK_CONNECTIONS_MAX ? connect_to(header->dst_port) : -EMFILE;

	if (fd >= 0)
		connection = vsock_connection_make(vsock, fd, VSOCK_CONNECTED);
	if (!connection) {
		reply_reset(vsock, header);
		return;
	}
	connection->host_port = header->dst_port;
	connection->guest_port = header->src_port;
	connection->say = VSOCK_SAY_RESPONSE;
	vsock_connection_credit(connection, header);
	vsock_connection_update(connection);
}

static void take_data(struct vsock_connection *connection, const struct virtio_vsock_hdr *header,
		      const struct virtqueue_chain *chain)
{
	struct vsock *vsock = connection->vsock;
	size_t parts;

	if (header->len > chain->size_out - HEADER) {
		vsock_connection_reset(connection);
		return;
	}
	parts = slice(chain->iov, chain->count_out, HEADER, header->len, vsock->payload);
	vsock_connection_data(connection, vsock->payload, parts, header->len);
}

/* false: in this state, no such packet can come. */
static bool take_connected(struct vsock_connection *connection, const struct virtio_vsock_hdr *header,
			   const struct virtqueue_chain *chain)
{
	switch (header->op) {
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		vsock_connection_shutdown(connection, header->flags);
		return true;
	case VIRTIO_VSOCK_OP_RW:
		take_data(connection, header, chain);
		return true;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return true;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		connection->say |= VSOCK_SAY_CREDIT;
		return true;
	default:
		return false;
	}
}

static void take_for(struct vsock_connection *connection, const struct virtio_vsock_hdr *header,
		     const struct virtqueue_chain *chain)
{
	bool fits = false;

	if (header->op == VIRTIO_VSOCK_OP_RST) {
		vsock_connection_free(connection);
		return;
	}
	if (connection->state == VSOCK_DYING)
		return;
	vsock_connection_credit(connection, header);
	if (connection->state == VSOCK_CONNECTED) {
		fits = take_connected(connection, header, chain);
	} else if (connection->state == VSOCK_REQUESTED && header->op == VIRTIO_VSOCK_OP_RESPONSE) {
		vsock_connection_agree(connection);
		fits = true;
	}
	if (fits)
		vsock_connection_update(connection);
	else
		vsock_connection_reset(connection);
}

static void take_packet(struct vsock *vsock, const struct virtqueue_chain *chain)
{
	struct vsock_connection *connection;
	struct virtio_vsock_hdr header;

	if (iov_read(chain->iov, chain->count_out, 0, &header, HEADER) != HEADER)
		return;
	if (header.src_cid != vsock->cid || header.dst_cid != VMADDR_CID_HOST)
		return;
	if (header.type != VIRTIO_VSOCK_TYPE_STREAM) {
		reply_reset(vsock, &header);
		return;
	}
	connection = vsock_find(vsock, header.dst_port, header.src_port);
	if (connection)
		take_for(connection, &header, chain);
	else if (header.op == VIRTIO_VSOCK_OP_REQUEST)
		take_request(vsock, &header);
	else
		reply_reset(vsock, &header);
}

static void handle_transmit(struct vsock *vsock)
{
	struct virtio *virtio = &vsock->virtio;
	struct virtqueue *queue = &virtio->queues[QUEUE_TRANSMIT];
	struct virtqueue_chain chain;
	unsigned count;

	/* A guest that takes no replies is not heard: vsock_speak() has it heard again. */
	for (count = 0; count < ROUND_MAX && vsock->replies_count < VSOCK_REPLIES; count++) {
		if (!virtio_pop(virtio, QUEUE_TRANSMIT, &chain, vsock->iov))
			break;
		take_packet(vsock, &chain);
		virtqueue_push(queue, chain.head, 0);
	}
	virtio_notify(virtio, QUEUE_TRANSMIT);
	vsock_speak(vsock);
	if (vsock->replies_count < VSOCK_REPLIES && (count == ROUND_MAX || virtqueue_listen(queue, true)))
		virtio_kick(virtio, QUEUE_TRANSMIT);
}

static void handle_event(struct vsock *vsock)
{
	const struct virtio_vsock_event event = { .id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	struct virtio *virtio = &vsock->virtio;
	struct virtqueue_chain chain;

	if (!vsock->tell_reset || !virtio_pop(virtio, QUEUE_EVENT, &chain, vsock->iov))
		return;
	vsock->tell_reset = false;
	virtqueue_push(&virtio->queues[QUEUE_EVENT], chain.head,
		       (uint32_t)iov_write(chain.iov + chain.count_out, chain.count_in, 0, &event, sizeof(event)));
	virtio_notify(virtio, QUEUE_EVENT);
}

/* ---- the host's side ---- */

static void listen_for(struct vsock *vsock, bool wanted)
{
	if (wanted == vsock->listening)
		return;
	if (wanted)
		wanted = loop_add(vsock->virtio.loop, &vsock->listener, EPOLLIN, NULL) == 0;
	else
		loop_remove(vsock->virtio.loop, &vsock->listener);
	vsock->listening = wanted;
}

static void accept_one(struct loop_source *source, uint32_t events)
{
	struct vsock *vsock = source->context;
	struct vsock_connection *connection;
	int fd;

	(void)events;
	(void)pthread_mutex_lock(&vsock->virtio.device.lock);
	fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		connection = vsock_connection_make(vsock, fd, VSOCK_GREETING);
		if (connection)
			vsock_connection_update(connection);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		/* It stays readable; until something of ours ends there is nothing to do about it. */
		listen_for(vsock, false);
	}
	(void)pthread_mutex_unlock(&vsock->virtio.device.lock);
}

/* ---- the device ---- */

static void vsock_handle(struct virtio *virtio, unsigned queue)
{
	struct vsock *vsock = vsock_of(virtio);

	if (queue == QUEUE_TRANSMIT)
		handle_transmit(vsock);
	else if (queue == QUEUE_RECEIVE)
		vsock_speak(vsock);
	else
		handle_event(vsock);
	listen_for(vsock, true); /* if there were too many descriptors before, one may have been closed */
}

/* A reset may come from a vCPU's thread, which must not touch the loop: the connections are left to the reaper. */
static void reap(struct loop_source *source, uint32_t events)
{
	struct vsock *vsock = source->context;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(source->fd, &count);
	(void)pthread_mutex_lock(&vsock->virtio.device.lock);
	while (vsock->dead) {
		struct vsock_connection *connection = vsock->dead;

		vsock->dead = connection->next;
		vsock_connection_free(connection);
	}
	if (!vsock->virtio.quiet)
		listen_for(vsock, true);
	(void)pthread_mutex_unlock(&vsock->virtio.device.lock);
}

static void vsock_reset(struct virtio *virtio)
{
	struct vsock *vsock = vsock_of(virtio);

	while (vsock->first) {
		struct vsock_connection *connection = vsock->first;

		vsock->first = connection->next;
		connection->state = VSOCK_DEAD;
		connection->next = vsock->dead;
		vsock->dead = connection;
	}
	vsock->count = 0;
	vsock->waiting = NULL;
	vsock->waiting_end = &vsock->waiting;
	vsock->replies_count = 0;
	vsock->tell_reset = false;
	(void)eventfd_write(vsock->reaper.fd, 1);
}

static void update_all(struct vsock *vsock)
{
	for (struct vsock_connection *connection = vsock->first; connection; connection = connection->next)
		vsock_connection_update(connection);
}

/* The sockets are left alone; what comes meanwhile waits in them. */
static void vsock_quiesce(struct virtio *virtio)
{
	struct vsock *vsock = vsock_of(virtio);

	virtio->quiet = true;
	listen_for(vsock, false);
	update_all(vsock);
}

static void vsock_resume(struct virtio *virtio)
{
	listen_for(vsock_of(virtio), true);
	update_all(vsock_of(virtio));
}

static int vsock_restore(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	(void)reader;
	(void)err;
	vsock_of(virtio)->tell_reset = virtio->active;
	return 0;
}

static void vsock_config_read(struct virtio *virtio, uint32_t offset, void *data, uint32_t size)
{
	const struct virtio_vsock_config config = { .guest_cid = vsock_of(virtio)->cid };

	memcpy(data, (const uint8_t *)&config + offset, size);
}

static void drop_source(struct vsock *vsock, struct loop_source *source)
{
	if (source->fd < 0)
		return;
	loop_remove(vsock->virtio.loop, source);
	close(source->fd);
}

static void vsock_free(struct virtio *virtio)
{
	struct vsock *vsock = vsock_of(virtio);

	vsock_reset(virtio);
	while (vsock->dead) {
		struct vsock_connection *connection = vsock->dead;

		vsock->dead = connection->next;
		vsock_connection_free(connection);
	}
	if (vsock->listener.fd >= 0)
		(void)unlinkat(vsock->dir, VSOCK_SOCKET, 0);
	drop_source(vsock, &vsock->listener);
	drop_source(vsock, &vsock->reaper);
	virtio_free(virtio);
	close(vsock->dir);
	free(vsock);
}

static const struct virtio_ops vsock_ops = {
	.name = "virtio-vsock",
	.id = VIRTIO_ID_VSOCK,
	.config_size = sizeof(struct virtio_vsock_config),
	.config_read = vsock_config_read,
	.handle = vsock_handle,
	.reset = vsock_reset,
	.restore = vsock_restore,
	.quiesce = vsock_quiesce,
	.resume = vsock_resume,
	.free = vsock_free,
};

/* What a killed VMM left behind goes.  What somebody listens on, and what is no socket, is not ours to take. */
static int clear_name(int dir, const struct sockaddr_un *address, struct error *err)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (fstatat(dir, VSOCK_SOCKET, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_errno(err, errno, "cannot look for an old " VSOCK_SOCKET);
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, EEXIST, VSOCK_SOCKET " is there already, and no socket; remove it");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, errno, "cannot make a socket for virtio-vsock");
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
		return error_set(err, EADDRINUSE,
				 "somebody listens on " VSOCK_SOCKET
				 " already; give each machine a directory of its own");
	return unlinkat(dir, VSOCK_SOCKET, 0) < 0 ? error_errno(err, errno, "cannot take an old " VSOCK_SOCKET " away")
						  : 0;
}

static int make_listener(struct vsock *vsock, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = VSOCK_SOCKET };
	int ret = clear_name(vsock->dir, &address, err), fd;

	if (ret < 0)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, errno, "cannot make a socket for virtio-vsock");
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0) {
		int code = errno;

		close(fd);
		return error_errno(err, code, "cannot listen on " VSOCK_SOCKET);
	}
	vsock->listener = (struct loop_source){ .fd = fd, .ready = accept_one, .context = vsock };
	return 0;
}

static int open_host_side(struct vsock *vsock, struct error *err)
{
	struct error local = ERROR_INIT;

	err = err ? err : &local;
	if (fchdir(vsock->dir) < 0)
		return error_errno(err, errno, "cannot enter the directory of virtio-vsock's sockets");
	if (make_listener(vsock, err) < 0)
		return -err->code;
	vsock->reaper = (struct loop_source){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
					      .ready = reap,
					      .context = vsock };
	if (vsock->reaper.fd < 0)
		return error_errno(err, errno, "cannot make virtio-vsock");
	if (loop_add(vsock->virtio.loop, &vsock->reaper, EPOLLIN, err) < 0)
		return -err->code;
	listen_for(vsock, true);
	return 0;
}

int virtio_vsock_make(uint32_t cid, int dir, struct guest_memory *memory, struct loop *loop, struct device **device,
		      struct error *err)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));
	int ret;

	if (!vsock) {
		close(dir);
		return error_errno(err, ENOMEM, "cannot make virtio-vsock");
	}
	vsock->cid = cid;
	vsock->dir = dir;
	vsock->listener.fd = vsock->reaper.fd = -1;
	vsock->waiting_end = &vsock->waiting;
	ret = virtio_init(&vsock->virtio, &vsock_ops, 0, QUEUES, QUEUE_SIZE, memory, loop, err);
	if (ret < 0) {
		close(dir);
		free(vsock);
		return ret;
	}
	ret = open_host_side(vsock, err);
	if (ret < 0)
		vsock_free(&vsock->virtio);
	else
		*device = &vsock->virtio.device;
	return ret;
}
