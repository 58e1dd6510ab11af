/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - one direction of an instance's standard streams: bytes between a
 * descriptor that somebody gave us and the agent's channel.
 *
 * The descriptor may be a pipe, a socket, a file, a terminal; it may be shared
 * with processes that do not expect it to be non-blocking, so it is made so
 * only where nothing else keeps us from blocking (terminals), and put back.
 * A stream never reads more than it was granted, nor holds more than it has granted.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_STREAM_H
#define CAISSON_PARADIGM_VM_HOST_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/str.h"

struct stream {
	struct loop *loop;
	struct loop_source source; /* its fd is owned; -1: closed */
	int kind;		   /* what the descriptor is: stream.c */
	int flags;		   /* that it had */
	bool output, listening;
	bool ended;	  /* output: nothing comes any more; input: nothing is read any more */
	struct str held;  /* of an output: from held_from on, what is to be written */
	size_t held_from; /* bytes */
	/* Of an output: count bytes were written, or dropped because nobody reads any more; after the last ones of an
	 * ended stream, too, with 0.  Of an input: there is something to be read by stream_read(). */
	void (*moved)(struct stream *stream, size_t count);
	void *context;
};

/* fd becomes the stream's; -1: an input that has ended, an output that drops everything. */
void stream_open(struct stream *stream, struct loop *loop, int fd, bool output,
		 void (*moved)(struct stream *stream, size_t count), void *context);
/* What is held is dropped.  A closed (or zeroed) one may be closed again. */
void stream_close(struct stream *stream);

/* Output: takes bytes, writes what it can. */
int stream_write(struct stream *stream, const void *bytes, size_t count);
/* Output: nothing comes any more; the descriptor is closed as soon as all is written. */
void stream_end(struct stream *stream);
/* Output: everything is written, or dropped. */
bool stream_empty(const struct stream *stream);

/* Input: whether moved() is to be called when there is something to read. */
void stream_listen(struct stream *stream, bool listen);
/* Input: at most count bytes.  0: the end, and the stream is closed; -EAGAIN: nothing now. */
long stream_read(struct stream *stream, void *bytes, size_t count);

#endif
