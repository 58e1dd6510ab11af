/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_connection - one stream of virtio-vsock: its state, its credit, its
 * Unix socket.  Only vsock.c and vsock_connection.c know it.
 *
 * What is to be said to the guest is a set of bits in the connection, never
 * a queue that a guest could make grow: vsock.c asks for the next packet when there is a buffer for it.
 * All functions are called with the device's lock held; those that touch the loop, on the loop's thread.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_VSOCK_CONNECTION_H
#define CAISSON_PARADIGM_VM_VIRTIO_VSOCK_CONNECTION_H

#include <linux/virtio_vsock.h>

#include "paradigm/vm/virtio/vsock.h"

enum vsock_state {
	VSOCK_GREETING,	 /* the host's side has connected and not yet said to which port */
	VSOCK_REQUESTED, /* the guest was asked */
	VSOCK_CONNECTED,
	VSOCK_DYING, /* has no socket any more; a reset is to be said */
	VSOCK_DEAD,  /* for the reaper */
};

/* In the order in which they are said. */
enum vsock_word {
	VSOCK_SAY_REQUEST = 1,
	VSOCK_SAY_RESPONSE = 2,
	VSOCK_SAY_RESET = 4,
	VSOCK_SAY_CREDIT = 8,
	VSOCK_ASK_CREDIT = 16,
	VSOCK_SAY_DATA = 32,
	VSOCK_SAY_SHUTDOWN = 64,
};

enum { VSOCK_GREETING_MAX = 32 };

struct vsock;

struct vsock_connection {
	struct loop_source source; /* the Unix socket, owned */
	struct vsock *vsock;
	struct vsock_connection *next, *previous; /* of all */
	struct vsock_connection *next_waiting;	  /* of those that have something to say */
	bool waiting;
	uint32_t watched; /* events that the loop waits for; 0: it is not there */
	enum vsock_state state;
	uint32_t say;
	uint32_t host_port, guest_port;
	/* To the guest: bytes sent, and what the guest has said of its buffer. */
	uint32_t sent, guest_buffer, guest_forwarded;
	/* From the guest: bytes received, handed on, and of these told to the guest. */
	uint32_t received, forwarded, told;
	bool host_ended;	 /* nothing more is to be read from the socket */
	uint32_t host_shutdown;	 /* what the guest was told, or will be: VIRTIO_VSOCK_SHUTDOWN_* */
	uint32_t guest_shutdown; /* what the guest has told */
	/* What the socket would not take yet; NULL while there is nothing. */
	uint8_t *buffer;
	uint32_t buffer_first, buffer_count;
	char greeting[VSOCK_GREETING_MAX];
	unsigned greeting_count;
};

struct vsock_reply {
	uint32_t host_port, guest_port;
	uint16_t type;
};

enum { VSOCK_REPLIES = 128 };

struct vsock {
	struct virtio virtio;
	uint32_t cid;
	int dir;
	struct loop_source listener, reaper; /* fds owned */
	bool listening;			     /* the listener is in the loop */
	struct vsock_connection *first, *dead;
	unsigned count;
	struct vsock_connection *waiting, **waiting_end;
	/* Resets for packets that belong to no connection. */
	struct vsock_reply replies[VSOCK_REPLIES];
	unsigned replies_first, replies_count;
	bool tell_reset; /* TRANSPORT_RESET is to be sent */
	uint32_t next_port;
	struct iovec iov[VIRTQUEUE_CHAIN_MAX], payload[VIRTQUEUE_CHAIN_MAX];
};

/* A new connection in that state, with a socket that becomes its own; NULL: too many, or no memory. */
struct vsock_connection *vsock_connection_make(struct vsock *vsock, int fd, enum vsock_state state);
void vsock_connection_free(struct vsock_connection *connection);
struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port);
/* A port of the host's that goes with no connection to that port of the guest's. */
uint32_t vsock_new_port(struct vsock *vsock, uint32_t guest_port);

/* Closes the socket; the guest gets a reset. */
void vsock_connection_reset(struct vsock_connection *connection);
/* Waits for what there is to wait for, in the loop or for a buffer of the guest's. */
void vsock_connection_update(struct vsock_connection *connection);
/* The guest says how much it has room for. */
void vsock_connection_credit(struct vsock_connection *connection, const struct virtio_vsock_hdr *header);
uint32_t vsock_connection_room(const struct vsock_connection *connection);
/* The guest has agreed: the host's side hears of it. */
void vsock_connection_agree(struct vsock_connection *connection);
void vsock_connection_shutdown(struct vsock_connection *connection, uint32_t flags);
/* Bytes from the guest, size in all; more than its credit resets it. */
void vsock_connection_data(struct vsock_connection *connection, const struct iovec *iov, size_t count, uint32_t size);
/* Takes bytes for the guest out of the socket: how many, 0: none now (update() waits for more). */
uint32_t vsock_connection_read(struct vsock_connection *connection, struct iovec *iov, size_t count);

/* Sends what there is to say as far as the guest has buffers for it; connections may be freed. */
void vsock_speak(struct vsock *vsock);

#endif
