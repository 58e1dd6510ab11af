/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - one process in the guest and its streams, as frames: the pumps
 * between pipes (or one terminal) and the channel, and their credit.
 *
 * Of an output at most as much is read as the host has granted; without credit
 * the pipe fills up and the process waits, as it would in a shell's pipeline.
 * Input that the process does not take is kept, at most as much as the host was
 * granted; the host is granted more as the process takes it.  What is written to a process that has
 * closed its input is dropped.
 *
 * When the process has ended, what it has written is sent; what others go on
 * to write into the same pipe is not waited for.  Then EXIT is due, which is
 * the owner's to send.
 */
#ifndef CAISSON_GUEST_SESSION_H
#define CAISSON_GUEST_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"
#include "base/str.h"
#include "guest/channel.h"
#include "paradigm/vm/agent.h"

struct session;

struct session_output {
	struct loop_source source; /* fd owned; -1: closed */
	struct session *session;
	enum agent_kind data, end;
	uint32_t credit; /* bytes that the host takes */
	bool armed;
};

struct session_input {
	struct loop_source source; /* fd owned; -1: closed */
	struct str pending;	   /* what the process has not taken yet */
	size_t done;		   /* bytes at its begin that it has */
	uint32_t credit;	   /* bytes that the host may send */
	uint32_t owed;		   /* bytes that were taken and are not granted again yet */
	bool ending, armed;
};

struct session {
	struct channel *channel;
	uint16_t number;
	pid_t pid; /* 0: there is no such session */
	struct session_output outputs[2];
	struct session_input input;
	int terminal; /* a terminal's other end, which keeps it from hanging up while nobody has it open; owned, or -1
		       */
	bool ended;
	uint32_t status;   /* as of a shell: 128 + number for signals */
	int64_t end_by_ms; /* of the monotonic clock: until when a terminal's last words are waited for */
};

/* The host's ends of the streams: owned by the session from here on, whatever becomes of it.  output -1: a terminal,
 * whose master is input. */
struct session_streams {
	int input, output, errors;
};

int session_begin(struct session *session, struct channel *channel, uint16_t number, pid_t pid,
		  const struct session_streams *streams, struct error *err);

/* INPUT, INPUT_END and CREDIT_GRANT.  -EPROTO: beyond the credit. */
int session_input(struct session *session, const struct agent_frame *frame, struct error *err);
void session_input_end(struct session *session);
int session_grant(struct session *session, const struct agent_frame *frame, struct error *err);
int session_resize(struct session *session, uint32_t rows, uint32_t columns);

/* The process has ended, with a wait(2) status. */
void session_ended(struct session *session, int status);
/* Goes on with what was held up by a full channel, or waits for time to pass. */
void session_go_on(struct session *session);
/* Ended, and all its output is sent. */
bool session_is_over(const struct session *session);
/* Milliseconds until session_go_on() should be called anyway, -1: never. */
int session_timeout(const struct session *session);
/* Closes everything; the number may be used again. */
void session_close(struct session *session);

#endif
