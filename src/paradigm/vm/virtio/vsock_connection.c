/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/vsock_connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

enum { FIRST_PORT = 1 << 30, SHUTDOWN_BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND };

static void watch(struct vsock_connection *connection, uint32_t events)
{
	struct loop *loop = connection->vsock->virtio.loop;

	if (events == connection->watched)
		return;
	/* Not "no events": a socket that has hung up says so all the time. */
	if (events == 0)
		loop_remove(loop, &connection->source);
	else if (connection->watched != 0)
		(void)loop_change(loop, &connection->source, events);
	else if (loop_add(loop, &connection->source, events, NULL) < 0)
		events = 0;
	connection->watched = events;
}

static void close_socket(struct vsock_connection *connection)
{
	watch(connection, 0);
	if (connection->source.fd >= 0)
		close(connection->source.fd);
	connection->source.fd = -1;
	free(connection->buffer);
	connection->buffer = NULL;
	connection->buffer_count = 0;
}

static void stop_waiting(struct vsock_connection *connection)
{
	struct vsock *vsock = connection->vsock;
	struct vsock_connection **link = &vsock->waiting;

	if (!connection->waiting)
		return;
	while (*link != connection)
		link = &(*link)->next_waiting;
	*link = connection->next_waiting;
	if (!*link)
		vsock->waiting_end = link;
	connection->waiting = false;
}

void vsock_connection_free(struct vsock_connection *connection)
{
	struct vsock *vsock = connection->vsock;

	close_socket(connection);
	if (connection->state != VSOCK_DEAD) {
		stop_waiting(connection);
		if (connection->previous)
			connection->previous->next = connection->next;
		else
			vsock->first = connection->next;
		if (connection->next)
			connection->next->previous = connection->previous;
		vsock->count--;
	}
	free(connection);
}

struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
	for (struct vsock_connection *connection = vsock->first; connection; connection = connection->next)
		if (connection->host_port == host_port && connection->guest_port == guest_port &&
		    connection->state != VSOCK_GREETING)
			return connection;
	return NULL;
}

uint32_t vsock_new_port(struct vsock *vsock, uint32_t guest_port)
{
	do
		vsock->next_port = FIRST_PORT | (vsock->next_port + 1);
	while (vsock->next_port == UINT32_MAX || vsock_find(vsock, vsock->next_port, guest_port));
	return vsock->next_port;
}

void vsock_connection_reset(struct vsock_connection *connection)
{
	close_socket(connection);
	if (connection->state == VSOCK_GREETING) {
		vsock_connection_free(connection);
		return;
	}
	connection->state = VSOCK_DYING;
	connection->say = VSOCK_SAY_RESET;
	vsock_connection_update(connection);
}

uint32_t vsock_connection_room(const struct vsock_connection *connection)
{
	uint32_t under_way = connection->sent - connection->guest_forwarded;

	/* A guest that claims to have read more than was sent gets nothing. */
	return under_way > connection->guest_buffer ? 0 : connection->guest_buffer - under_way;
}

static bool has_to_say(const struct vsock_connection *connection)
{
	if (connection->say & ~(uint32_t)VSOCK_SAY_DATA)
		return true;
	return (connection->say & VSOCK_SAY_DATA) && vsock_connection_room(connection) > 0;
}

void vsock_connection_update(struct vsock_connection *connection)
{
	struct vsock *vsock = connection->vsock;
	uint32_t events = 0;

	if (connection->state == VSOCK_GREETING)
		events = EPOLLIN;
	if (connection->state == VSOCK_CONNECTED && !connection->host_ended && !(connection->say & VSOCK_SAY_DATA))
		events |= EPOLLIN;
	if (connection->buffer_count > 0)
		events |= EPOLLOUT;
	watch(connection, vsock->virtio.quiet ? 0 : events);
	if (has_to_say(connection) && !connection->waiting) {
		connection->waiting = true;
		connection->next_waiting = NULL;
		*vsock->waiting_end = connection;
		vsock->waiting_end = &connection->next_waiting;
	}
}

void vsock_connection_credit(struct vsock_connection *connection, const struct virtio_vsock_hdr *header)
{
	connection->guest_buffer = header->buf_alloc;
	connection->guest_forwarded = header->fwd_cnt;
	if (vsock_connection_room(connection) > 0)
		connection->say &= ~(uint32_t)VSOCK_ASK_CREDIT;
}

/* ---- from the guest ---- */

/* What the guest has shut down takes effect when everything before it has gone out. */
static void settle(struct vsock_connection *connection)
{
	if (connection->buffer_count > 0)
		return;
	if (connection->guest_shutdown == SHUTDOWN_BOTH)
		vsock_connection_reset(connection);
	else if (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)
		(void)shutdown(connection->source.fd, SHUT_WR);
}

void vsock_connection_shutdown(struct vsock_connection *connection, uint32_t flags)
{
	connection->guest_shutdown |= flags & SHUTDOWN_BOTH;
	if (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		connection->host_ended = true;
		connection->say &= ~(uint32_t)(VSOCK_SAY_DATA | VSOCK_ASK_CREDIT);
		(void)shutdown(connection->source.fd, SHUT_RD);
	}
	settle(connection);
}

static void went_out(struct vsock_connection *connection, uint32_t count)
{
	connection->forwarded += count;
	/* By what it was told, the guest sees less than half of the room. */
	if (connection->received - connection->told > VSOCK_BUFFER / 2 && connection->forwarded != connection->told)
		connection->say |= VSOCK_SAY_CREDIT;
}

/* 0: the socket takes nothing now; -errno. */
static ssize_t send_parts(const struct vsock_connection *connection, struct iovec *iov, size_t count)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t sent;

	do
		sent = sendmsg(connection->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN ? 0 : -errno;
	return sent;
}

/* It fits: the credit was checked. */
static bool keep(struct vsock_connection *connection, const struct iovec *iov, size_t count, size_t offset,
		 uint32_t size)
{
	uint32_t at, part;

	if (size == 0)
		return true;
	if (!connection->buffer)
		connection->buffer = malloc(VSOCK_BUFFER);
	if (!connection->buffer)
		return false;
	at = (connection->buffer_first + connection->buffer_count) % VSOCK_BUFFER;
	part = size < VSOCK_BUFFER - at ? size : VSOCK_BUFFER - at;
	(void)iov_read(iov, count, offset, connection->buffer + at, part);
	(void)iov_read(iov, count, offset + part, connection->buffer, size - part);
	connection->buffer_count += size;
	return true;
}

void vsock_connection_data(struct vsock_connection *connection, const struct iovec *iov, size_t count, uint32_t size)
{
	uint32_t held = connection->received - connection->forwarded;
	ssize_t sent = 0;

	if (size > VSOCK_BUFFER - held || (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)) {
		vsock_connection_reset(connection);
		return;
	}
	connection->received += size;
	if (connection->buffer_count == 0 && size > 0)
		sent = send_parts(connection, (struct iovec *)iov, count);
	if (sent < 0 || !keep(connection, iov, count, (size_t)sent, size - (uint32_t)sent)) {
		vsock_connection_reset(connection);
		return;
	}
	went_out(connection, (uint32_t)sent);
}

static void flush(struct vsock_connection *connection)
{
	uint32_t first = connection->buffer_first, count = connection->buffer_count;
	uint32_t part = count < VSOCK_BUFFER - first ? count : VSOCK_BUFFER - first;
	struct iovec iov[2] = {
		{ .iov_base = connection->buffer + first, .iov_len = part },
		{ .iov_base = connection->buffer, .iov_len = count - part },
	};
	ssize_t sent = send_parts(connection, iov, count > part ? 2 : 1);

	if (sent < 0) {
		vsock_connection_reset(connection);
		return;
	}
	connection->buffer_first = (first + (uint32_t)sent) % VSOCK_BUFFER;
	connection->buffer_count -= (uint32_t)sent;
	went_out(connection, (uint32_t)sent);
	if (connection->buffer_count == 0) {
		free(connection->buffer);
		connection->buffer = NULL;
		connection->buffer_first = 0;
		settle(connection);
	}
}

/* ---- from the host's side ---- */

/* The other side has closed for writing, or altogether. */
static void end_of_host(struct vsock_connection *connection)
{
	struct pollfd poll_fd = { .fd = connection->source.fd };

	connection->host_ended = true;
	connection->host_shutdown = VIRTIO_VSOCK_SHUTDOWN_SEND;
	if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR)))
		connection->host_shutdown = SHUTDOWN_BOTH;
	connection->say |= VSOCK_SAY_SHUTDOWN;
}

uint32_t vsock_connection_read(struct vsock_connection *connection, struct iovec *iov, size_t count)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t got = recvmsg(connection->source.fd, &message, MSG_DONTWAIT);

	if (got > 0) {
		connection->sent += (uint32_t)got;
		if (vsock_connection_room(connection) == 0)
			connection->say |= VSOCK_ASK_CREDIT;
		return (uint32_t)got;
	}
	if (got < 0 && errno == EINTR)
		return 0;
	connection->say &= ~(uint32_t)VSOCK_SAY_DATA;
	if (got == 0)
		end_of_host(connection);
	else if (errno != EAGAIN)
		vsock_connection_reset(connection);
	return 0;
}

void vsock_connection_agree(struct vsock_connection *connection)
{
	char text[32];
	struct iovec iov = { .iov_base = text };

	iov.iov_len = (size_t)snprintf(text, sizeof(text), "OK %u\n", connection->host_port);
	connection->state = VSOCK_CONNECTED;
	if (send_parts(connection, &iov, 1) != (ssize_t)iov.iov_len)
		vsock_connection_reset(connection);
}

/* -1: it is none. */
static int parse_greeting(const char *line, uint32_t *port)
{
	uint64_t number;

	if (!str_starts(line, "CONNECT ") || str_to_u64(line + strlen("CONNECT "), &number) < 0 || number > UINT32_MAX)
		return -1;
	*port = (uint32_t)number;
	return 0;
}

/* Byte by byte up to the newline: what follows it is the guest's. */
static void greet(struct vsock_connection *connection)
{
	for (;;) {
		char *at = connection->greeting + connection->greeting_count;
		ssize_t got = recv(connection->source.fd, at, 1, MSG_DONTWAIT);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0 || ++connection->greeting_count == VSOCK_GREETING_MAX) {
			vsock_connection_reset(connection);
			return;
		}
		if (*at == '\n') {
			*at = 0;
			break;
		}
	}
	if (strlen(connection->greeting) + 1 != connection->greeting_count ||
	    parse_greeting(connection->greeting, &connection->guest_port) < 0) {
		vsock_connection_reset(connection);
		return;
	}
	connection->host_port = vsock_new_port(connection->vsock, connection->guest_port);
	connection->state = VSOCK_REQUESTED;
	connection->say = VSOCK_SAY_REQUEST;
	vsock_connection_update(connection);
}

static void socket_ready(struct loop_source *source, uint32_t events)
{
	struct vsock_connection *connection = source->context;
	struct vsock *vsock = connection->vsock;

	(void)pthread_mutex_lock(&vsock->virtio.device.lock);
	if (connection->state == VSOCK_GREETING) {
		greet(connection); /* may free it */
	} else if (connection->state == VSOCK_CONNECTED) {
		if (connection->watched & EPOLLIN && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			connection->say |= VSOCK_SAY_DATA;
		if (connection->buffer_count > 0)
			flush(connection);
		if (connection->state == VSOCK_CONNECTED)
			vsock_connection_update(connection);
	}
	vsock_speak(vsock); /* may free it, too */
	(void)pthread_mutex_unlock(&vsock->virtio.device.lock);
}

struct vsock_connection *vsock_connection_make(struct vsock *vsock, int fd, enum vsock_state state)
{
	struct vsock_connection *connection = NULL;

	if (vsock->count < VSOCK_CONNECTIONS_MAX)
		connection = calloc(1, sizeof(*connection));
	if (!connection) {
		close(fd);
		return NULL;
	}
	connection->source = (struct loop_source){ .fd = fd, .ready = socket_ready, .context = connection };
	connection->vsock = vsock;
	connection->state = state;
	connection->next = vsock->first;
	if (vsock->first)
		vsock->first->previous = connection;
	vsock->first = connection;
	vsock->count++;
	return connection;
}
