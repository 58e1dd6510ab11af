/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch - starting an instance.
 *
 * The command prepares everything that can fail for a reason of its own (the
 * root file system, the user, its specification, sockets and pipes), then forks; the
 * child runs the instance through runtime.h, so that it is the parent of its
 * process 1, and becomes the monitor (monitor.h).  The root file system is a
 * detached mount: no mount is ever seen in the host's table.
 *
 * Whichever of the two is killed when, the run file says that something may
 * be left, and recover.h clears it.
 */
#ifndef CAISSON_ENGINE_LAUNCH_H
#define CAISSON_ENGINE_LAUNCH_H

#include <signal.h>

#include "engine/engine.h"

struct launch_options {
	unsigned attach;	/* MONITOR_WANTS_* and MONITOR_OWNS: connect to the new monitor with these; 0: don't */
	const char *engine;	/* path of caisson, which the monitor turns into in the end */
	const char *monitor;	/* path of caisson-monitor */
	const char *init;	/* path of caisson-init */
	struct image *image;	/* the instance's image if it is open already, or NULL */
	unsigned rows, columns; /* of the terminal; 0: not known */
	/* Signals to block from when the instance may run: whoever attaches will pass them on; or NULL.  They are still
	 * blocked when launch() has succeeded. */
	const sigset_t *hold;
};

/*
 * Starts a locked instance that is created or exited.  *client gets a
 * connection to its monitor if options->attach is set (owned by the caller).
 * On failure nothing is left running, and the error is recorded (with --rm the
 * instance is gone); what exit code the engine should end with is
 * launch_exit_code()'s to say.
 */
int launch(struct instance *instance, const struct launch_options *options, int *client, struct error *err);

/* The same without a child: the caller becomes the monitor, and the call only returns on failure. */
int launch_here(struct instance *instance, const struct launch_options *options, struct error *err);

/* docker's exit codes for what prevented a start: 126 (found, cannot be executed), 127 (not found), 125 (all else). */
int launch_exit_code(const struct error *err);

#endif
