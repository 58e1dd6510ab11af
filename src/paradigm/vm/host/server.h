/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server - the VMM's side of the control socket: see control.h.
 *
 * Clients are other programs of ours, but nothing depends on that: a client
 * that says nonsense, says nothing, or does not listen is dropped, and holds up
 * no other.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_SERVER_H
#define CAISSON_PARADIGM_VM_HOST_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "paradigm/vm/host/control.h"
#include "paradigm/vm/host/session.h"

struct server;

struct server_client {
	struct server *server;
	struct loop_source source; /* its fd is owned; -1: free */
	struct session *session;   /* that it began, while that lives */
	bool asked_stats, asked_ready;
	bool holds; /* the machine stands still until it hangs up */
};

/* What requests are turned into, besides sessions. */
struct server_owner {
	void (*counters)(void *context, struct str *out);
	int (*snapshot)(void *context, int state, int memory, struct error *err);
	void (*resume)(void *context); /* after a snapshot */
	int (*balloon)(void *context, uint64_t bytes, struct error *err);
	void *context;
};

struct server {
	struct loop *loop;
	struct sessions *sessions;
	struct server_owner owner;
	struct loop_source listener; /* its fd is owned; -1: none */
	bool listening;
	struct server_client clients[CONTROL_CLIENTS_MAX];
	struct {
		struct control_message head;
		char text[CONTROL_INLINE_MAX + 1];
	} message; /* the one at hand */
};

/* listener becomes the server's; -1: there is none, and nobody ever comes. */
int server_open(struct server *server, struct loop *loop, int listener, struct sessions *sessions,
		const struct server_owner *owner, struct error *err);
void server_close(struct server *server);

/* What became of a session that a client began (session->context). */
void server_started(struct server *server, struct session *session, uint32_t pid);
void server_failed(struct server *server, struct session *session, uint32_t code, const char *words);
void server_exited(struct server *server, struct session *session);
/* The guest's answer to ASK_STATS. */
void server_stats(struct server *server, const char *text, size_t size);
/* The guest's answer to PING. */
void server_ready(struct server *server);

#endif
