/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - the host's side of the conversation with the guest's agent: see
 * paradigm/vm/agent.h.
 *
 * Holds the sessions, which are the processes that we started in the guest:
 * 0 is the workload.  Each has three descriptors, whose bytes flow by credit.
 * The guest is hostile: what it says wrongly ends the conversation, and what
 * it can make us hold is bounded by the credit that we gave.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_SESSION_H
#define CAISSON_PARADIGM_VM_HOST_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/str.h"
#include "paradigm/vm/agent.h"
#include "paradigm/vm/host/stream.h"
#include "paradigm/vm/machine/state.h"

struct sessions;

enum session_state {
	SESSION_FREE,
	SESSION_STARTING, /* the guest was told */
	SESSION_RUNS,
	SESSION_ENDED, /* its last output is being written */
};

struct session {
	struct sessions *all;
	uint16_t number;
	enum session_state state;
	struct stream input, output, errors;
	uint32_t may_send;			   /* bytes of input that the guest takes */
	uint32_t may_come_output, may_come_errors; /* bytes that the guest may still send */
	uint32_t taken_output, taken_errors;	   /* bytes written since the last grant */
	uint32_t status, out_of_memory;		   /* once it has ended */
	void *context;				   /* of whom it belongs to */
};

/* Whom things are told.  Any of them may use the sessions, but not close them. */
struct sessions_owner {
	void (*hello)(void *context);
	void (*started)(void *context, struct session *session, uint32_t pid);
	/* It never began; afterwards the session is free. */
	void (*failed)(void *context, struct session *session, uint32_t code, const char *words);
	/* Its process has ended (status as of a shell), and all that it wrote has reached its descriptors; afterwards
	 * the session is free. */
	void (*exited)(void *context, struct session *session);
	/* Session 0's process has ended, though its output may still be on its way. */
	void (*over)(void *context, const struct session *session);
	void (*log)(void *context, const char *text, size_t size);
	void (*stats)(void *context, const char *text, size_t size);
	void (*ready)(void *context);
	/* Bytes for the agent; how many were taken. */
	size_t (*send)(void *context, const void *bytes, size_t count);
	/* More may be queued: see sessions_backlog(). */
	void (*drained)(void *context);
	void *context;
};

struct sessions {
	struct loop *loop;
	struct sessions_owner owner;
	struct agent_parser parser;
	struct str out; /* from out_from on: what the engine has not taken */
	size_t out_from;
	bool spoken; /* HELLO has come */
	bool broken; /* the conversation is over */
	bool pumping;
	struct session table[AGENT_SESSIONS_MAX];
	/* counters, bytes and frames */
	uint64_t frames_in, frames_out, bytes_in, bytes_out;
};

void sessions_open(struct sessions *sessions, struct loop *loop, const struct sessions_owner *owner);
void sessions_close(struct sessions *sessions);

/* Bytes from the guest.  -EPROTO, -ENOMEM: the conversation is over, nothing is taken any more. */
int sessions_feed(struct sessions *sessions, const void *bytes, size_t count, struct error *err);
/* The engine takes bytes again. */
void sessions_room(struct sessions *sessions);
/* Bytes that wait for the engine. */
size_t sessions_backlog(const struct sessions *sessions);

/*
 * A session of its own for a process; the descriptors become the session's, -1: none.  kind is AGENT_CONFIG (session
 * 0) or AGENT_EXEC, text what goes with it.  NULL: no number is free, no memory; the descriptors are closed.
 */
struct session *sessions_start(struct sessions *sessions, enum agent_kind kind, const char *text, size_t size,
			       const int stdio[static 3], void *context, struct error *err);
struct session *sessions_workload(struct sessions *sessions); /* NULL: there is none (any more) */
void session_signal(struct session *session, uint32_t number);
void session_resize(struct session *session, uint32_t rows, uint32_t columns);
/* What goes to the guest beside sessions: a FILE, a SHARE, ASK_STATS, ... */
void sessions_put(struct sessions *sessions, enum agent_kind kind, const void *payload, size_t size);

/*
 * session_state.c: the conversation as it stands, beside a machine that was saved with it.  Only the workload may run
 * (-EBUSY).  What it wrote and nobody has read yet stays with the instance that goes on.
 */
int sessions_may_save(const struct sessions *sessions, struct error *err);
void sessions_save(const struct sessions *sessions, struct state_writer *writer);
/* Goes on with it, on descriptors that become the workload's.  -EINVAL: it is no such state. */
int sessions_restore(struct sessions *sessions, struct state_reader *reader, const int stdio[static 3],
		     struct error *err);

/* For session_state.c. */
void sessions_open_streams(struct session *session, const int stdio[static 3]);

#endif
