/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel - the guest's end of the line to the host: whole frames of
 * paradigm/vm/agent.h in, frames out, over one descriptor that is never waited for.
 *
 * What is to be sent is put into out with agent_put() and its like, then
 * channel_flush() is called.  Whoever has much to say asks channel_is_full()
 * first, and goes on when drained is called.
 */
#ifndef CAISSON_GUEST_CHANNEL_H
#define CAISSON_GUEST_CHANNEL_H

#include <stdbool.h>

#include "base/loop.h"
#include "base/str.h"
#include "paradigm/vm/agent.h"

struct channel {
	struct loop *loop;
	struct loop_source source; /* its fd is owned */
	struct agent_parser parser;
	struct str out;	    /* what the line has not taken yet */
	size_t written;	    /* bytes at its begin that it has */
	bool armed;	    /* waits for the line to take more */
	bool held;	    /* somebody was told that it is full */
	struct error error; /* why the line is of no use any more */

	void (*take)(void *context, const struct agent_frame *frame);
	void (*drained)(void *context);
	void *context;
};

/* fd becomes the channel's.  A terminal is made raw: no echo, no signals, eight bits. */
int channel_open(struct channel *channel, struct loop *loop, int fd, struct error *err);
void channel_close(struct channel *channel);

/* As much of out as the line takes now; the rest follows by itself. */
void channel_flush(struct channel *channel);
/* Waits until all of out is taken. */
void channel_flush_all(struct channel *channel);
/* Whether there is no room for more; drained is called then, when there is again. */
bool channel_is_full(struct channel *channel);

/* Why it is of no use any more, or NULL. */
const struct error *channel_error(const struct channel *channel);

#endif
