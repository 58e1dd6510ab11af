/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - waits for many descriptors in one thread, see epoll(7).
 *
 * A source is a descriptor and the function to be called when it is ready.  It
 * is the caller's, and must stay where it is while it is added.  A loop belongs
 * to the thread that runs it; only loop_stop() may be called by others, and by
 * signal handlers.  Level-triggered.  Sources may add and remove sources,
 * themselves included, while they are called, and make rounds of their own.
 */
#ifndef CAISSON_BASE_LOOP_H
#define CAISSON_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct loop {
	int epoll, wake; /* owned */
	bool stopped;
	struct loop_source *ready[64]; /* of the current round: a removed source is taken out */
	int ready_count;
	unsigned round;
	int thread; /* that it belongs to: who opened it, then who runs it; 0: nobody, -1: one to come.  Atomic */
};

struct loop_source {
	int fd;							    /* the caller's */
	void (*ready)(struct loop_source *source, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP */
	void *context;						    /* the caller's */
};

int loop_open(struct loop *loop, struct error *err);
void loop_close(struct loop *loop);

/* events: EPOLLIN | EPOLLOUT | ...; 0: only errors and hang-ups. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events, struct error *err);
int loop_change(struct loop *loop, struct loop_source *source, uint32_t events);
void loop_remove(struct loop *loop, struct loop_source *source);

/* One round: waits for at most timeout_ms (-1: for ever) and calls what is ready.  0, or -errno. */
int loop_wait(struct loop *loop, int timeout_ms, struct error *err);
/* Rounds until loop_stop(), which may also come before; it ends one loop_run(). */
int loop_run(struct loop *loop, struct error *err);
void loop_stop(struct loop *loop);
/* Whoever opened the loop does not run it: a thread that he makes after this call will. */
void loop_hand_over(struct loop *loop);
/* Whether another thread than the caller's runs the loop, or is about to: it was opened, or handed over, and not yet
 * run. */
bool loop_is_elsewhere(const struct loop *loop);

#endif
