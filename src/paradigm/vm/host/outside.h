/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outside - this process as those outside see it, who take it for the
 * workload: its standard streams, the terminal that these may be, its signals,
 * and its creator, who waits at the sync socket (paradigm/shell/sync.h).
 *
 * Knows nothing of the machine; what a signal means is its owner's matter.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_OUTSIDE_H
#define CAISSON_PARADIGM_VM_HOST_OUTSIDE_H

#include <stdbool.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "base/error.h"
#include "base/loop.h"

struct outside {
	int sync;		    /* owned; -1: the creator has been told */
	struct loop_source signals; /* its fd is owned */
	void (*signal)(void *context, const struct signalfd_siginfo *info);
	void *context;
	bool raw; /* the terminal was made so */
	struct termios saved;
};

/* sync becomes its own. */
void outside_open(struct outside *outside, int sync);
/* Gives the terminal back as it was. */
void outside_close(struct outside *outside);

/* From here on all signals but those of faults come by signal(), from the loop. */
int outside_watch_signals(struct outside *outside, struct loop *loop,
			  void (*signal)(void *context, const struct signalfd_siginfo *info), void *context,
			  struct error *err);

/* Standard input is a terminal, and what is typed there is for the workload's. */
void outside_make_raw(struct outside *outside);
/* The standard streams, for the workload alone: fresh descriptors.  Standard error stays ours, too. */
void outside_give_streams(struct outside *outside, int stdio[static 3]);

/* To the creator: the workload runs. */
void outside_tell_started(struct outside *outside);
/* Says err to whom it may concern: the creator while he waits, else the workload's standard error. */
void outside_tell_error(struct outside *outside, const struct error *err);

#endif
