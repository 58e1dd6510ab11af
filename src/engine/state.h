/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - what an instance is doing, read from the files that say it.
 *
 * Nobody writes "running" anywhere: it follows from the run file, exit.json
 * and whether the monitor holds its lock, so it cannot be out of date.
 */
#ifndef CAISSON_ENGINE_STATE_H
#define CAISSON_ENGINE_STATE_H

#include "engine/clock.h"
#include "engine/engine.h"

enum instance_status {
	INSTANCE_CREATED,
	INSTANCE_STARTING, /* being started right now */
	INSTANCE_RUNNING,
	INSTANCE_PAUSED,
	INSTANCE_RESTARTING, /* ended, and waiting to be started again by its policy */
	INSTANCE_EXITED,
	INSTANCE_LOST, /* its monitor is gone without a record: recover.h */
};

struct instance_state {
	enum instance_status status;
	pid_t pid; /* of process 1, 0 if it does not run */
	int exit_code;
	bool oom_killed;
	bool unsettled; /* ended, and something of the run is still to be cleaned up */
	int restarts;
	char started[CLOCK_TEXT_MAX], finished[CLOCK_TEXT_MAX]; /* "0001-01-01T00:00:00Z": never */
	char error[ERROR_TEXT_MAX];				/* why the last start failed; "" */
};

int instance_state_read(const struct instance *instance, struct instance_state *state, struct error *err);

/* docker's word: "created", "running", "paused", "restarting", "exited". */
const char *instance_status_name(enum instance_status status);

/* Running or paused. */
bool instance_state_alive(const struct instance_state *state);

/* Whether a process holds the monitor's lock: it watches the instance, or has just seen its end. */
bool instance_has_monitor(const struct instance *instance);

/* Small marks in the instance's directory. */
bool instance_marked(const struct instance *instance, const char *mark);
int instance_mark(const struct instance *instance, const char *mark, struct error *err);
void instance_unmark(const struct instance *instance, const char *mark);

/* Writes exit.json for an end that no monitor saw, or a start that failed (message not NULL: it stays "created"). */
int instance_record_exit(const struct instance *instance, int code, const char *message, struct error *err);

#endif
