/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifecycle - what can be done to an instance after it was made: stop, kill,
 * pause, update, remove, wait.  Starting is launch.h's.
 *
 * Instances are given opened and not locked; where a lock is needed it is
 * taken here.
 */
#ifndef CAISSON_ENGINE_LIFECYCLE_H
#define CAISSON_ENGINE_LIFECYCLE_H

#include "engine/engine.h"
#include "engine/launch.h"
#include "engine/state.h"

/* "TERM", "SIGTERM", "15", "RTMIN+3" -> number; -EINVAL "invalid signal: X". */
int signal_from_name(const char *name, struct error *err);

/* The stop signal, then SIGKILL after timeout seconds (< 0: never; INSTANCE_STOP_DEFAULT: what the instance says).
 * One that does not run is fine.  The run is settled afterwards; with --rm the instance is gone. */
enum { INSTANCE_STOP_DEFAULT = -2 };
int instance_stop(struct instance *instance, int timeout, const char *signal, struct error *err);

/* -ESRCH "Container X is not running". */
int instance_kill(struct instance *instance, const char *signal, struct error *err);

int instance_pause(struct instance *instance, bool pause, struct error *err);

/* Waits until it does not run; *code is its exit code. */
int instance_wait(struct instance *instance, int *code, struct error *err);

/* force: kills it first.  volumes: its anonymous volumes, too.  -EBUSY when it runs. */
int instance_remove(struct instance *instance, bool force, bool volumes, struct error *err);

/* For an instance whose record cannot be read: ends what may run of it and takes it out of the store. */
int instance_force_out(struct engine *engine, const char *what, struct error *err);

/* Settles what an end that this command has seen has left; client is the connection that has told it, with
 * MONITOR_OWNS. An instance that is to be restarted is left to its monitor. */
int instance_finish(struct instance *instance, int client, struct error *err);

/* Puts changes (HostConfig keys) into the record and, if it runs, into its cgroup. */
int instance_update(struct instance *instance, const json_t *changes, struct error *err);

/* What the monitor turns into: settles, and starts again if the policy says so; then it does not return. */
int instance_after_exit(struct instance *instance, const struct launch_options *options, struct error *err);

#endif
