/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - talking to an instance's monitor, and passing stdio on.
 *
 * The protocol is monitor.h's.
 */
#ifndef CAISSON_ENGINE_CLIENT_H
#define CAISSON_ENGINE_CLIENT_H

#include <signal.h>

#include "base/file.h"
#include "engine/engine.h"
#include "engine/monitor.h"

/* Connects and says what is wanted (MONITOR_WANTS_*, MONITOR_OWNS).  A descriptor, or -ENOENT when no monitor lives. */
int client_connect(const struct instance *instance, unsigned wants, struct error *err);

/*
 * Waits for the end, passing over output; timeout in milliseconds, -1: for ever.  1: *ended is set, 0: timeout,
 * -EPIPE: the monitor went away without a word.
 */
int client_wait(int client, int timeout, struct monitor_exit *ended);

/* Leaves it to the monitor to close what was removed; nothing is held afterwards, whether or not it could. */
void client_leave(int client, struct file_held *held);

/* Signals the instance's process 1. */
int instance_signal(struct instance *instance, int number, struct error *err);

enum attach_result { ATTACH_EXITED, ATTACH_DETACHED, ATTACH_LOST };

struct attach_options {
	int input, output, errors; /* the user's; -1: not wanted */
	bool tty;		   /* input is a terminal that goes into raw mode, and its size is passed on */
	bool pass_signals;	   /* to process 1, those that would end the caller */
	const char *detach_keys;   /* docker's form ("ctrl-p,ctrl-q"); only with tty */
};

/* Passes stdio on until the instance ends, its monitor dies, or the user types the detach keys. */
int attach(struct instance *instance, int client, const struct attach_options *options, enum attach_result *result,
	   struct monitor_exit *ended, struct error *err);

/* Those that end a program, or are meant for one: what pass_signals passes. */
void attach_passed_signals(sigset_t *set);

/* "ctrl-p,ctrl-q" -> bytes; -EINVAL.  *count at most 16. */
int attach_parse_keys(const char *text, unsigned char keys[static 16], size_t *count, struct error *err);

#endif
