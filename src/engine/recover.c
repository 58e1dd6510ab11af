/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/runtime.h"

enum { CODE_KILLED = 128 + SIGKILL };

int instance_remove_container(struct instance *instance, struct error *err)
{
	struct runtime *runtime = &instance->engine->runtime;
	struct container container;
	int ret = container_load(runtime, instance->id, RUNTIME_LOCK, &container, err);

	if (ret == -ENOENT)
		return runtime_sweep(runtime, instance->id, err);
	if (ret < 0) /* it cannot be read */
		return runtime_force_out(runtime, instance->id, err);
	file_hold(instance->held, container.dir_fd);
	file_hold_at(instance->held, container.dir_fd, "config.json");
	file_hold_at(instance->held, container.dir_fd, "state.json");
	ret = runtime_delete(runtime, &container, true, err);
	container_close(&container);
	return ret;
}

static int clean(struct instance *instance, struct error *err)
{
	int ret = instance_remove_container(instance, err);

	if (ret < 0)
		return error_wrap(err, "cannot clean up after instance %s", instance->id);
	instance_unmark(instance, "ctl");
	instance_unmark(instance, "paused");
	if (renameat(instance->dir_fd, "run", instance->dir_fd, "last-run") < 0 && errno != ENOENT &&
	    (file_remove_all(instance->dir_fd, "last-run", err) < 0 ||
	     renameat(instance->dir_fd, "run", instance->dir_fd, "last-run") < 0))
		return error_errno(err, errno, "cannot clean up after instance %s", instance->id);
	return 0;
}

/* --rm; `restart` says so when it is not to be followed. */
static bool is_fleeting(const struct instance *instance)
{
	return document_bool(instance->record, "HostConfig.AutoRemove") && !instance_marked(instance, "keep");
}

/* The run is over: only what is left of it has to go.  One that will be started again keeps its directory. */
static int settle_ended(struct instance *instance, const struct instance_state *state, bool *gone, struct error *err)
{
	int ret = state->unsettled || state->status == INSTANCE_LOST ? clean(instance, err) : 0;

	if (ret == 0 && is_fleeting(instance) && state->status != INSTANCE_RESTARTING) {
		ret = instance_discard(instance, true, err);
		*gone = ret == 0;
	}
	return ret;
}

/* What never ran stays created. */
static int record_loss(struct instance *instance, const struct instance_state *state, struct error *err)
{
	return instance_record_exit(instance, CODE_KILLED,
				    state->pid ? NULL : "the command that was to start it was killed", err);
}

int instance_settle(struct instance *instance, bool *gone, struct error *err)
{
	struct instance_state state;
	int ret = instance_state_read(instance, &state, err);

	*gone = false;
	if (ret < 0)
		return ret;
	if (state.status == INSTANCE_LOST) {
		ret = instance_remove_container(instance, err);
		if (ret == 0)
			ret = record_loss(instance, &state, err);
		return ret == 0 ? settle_ended(instance, &state, gone, err) : ret;
	}
	if (state.status != INSTANCE_EXITED && !state.unsettled && !*state.error)
		return 0;
	return settle_ended(instance, &state, gone, err);
}

static bool needs_settling(const struct instance *instance, const struct instance_state *state)
{
	return state->status == INSTANCE_LOST || state->unsettled ||
	       ((state->status == INSTANCE_EXITED || *state->error) && is_fleeting(instance));
}

/*
 * Whoever starts an instance holds its lock until the run file says which process it is.  With the lock free it has
 * been started, and the file is damaged: the runtime knows the process, too.
 */
static int doubt_starting(struct instance *instance, struct instance_state *state, struct error *err)
{
	bool lock_here = !instance->locked;
	struct container container;
	int ret;

	if (lock_here && flock(instance->dir_fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	ret = instance_state_read(instance, state, err);
	if (ret == 0 && state->status == INSTANCE_STARTING) {
		state->status = INSTANCE_RUNNING;
		if (container_load(&instance->engine->runtime, instance->id, 0, &container, NULL) == 0) {
			state->pid = container.pid;
			container_close(&container);
		}
	}
	if (lock_here)
		instance_unlock(instance);
	return ret;
}

int instance_look(struct instance *instance, struct instance_state *state, struct error *err)
{
	bool gone = false, lock_here = !instance->locked;
	int ret = instance_state_read(instance, state, err);

	if (ret == 0 && state->status == INSTANCE_STARTING)
		ret = doubt_starting(instance, state, err);
	if (ret < 0 || !needs_settling(instance, state))
		return ret;
	if (lock_here && flock(instance->dir_fd, LOCK_EX | LOCK_NB) < 0) {
		/* Whoever holds the lock starts it, or is about to settle it. */
		ret = instance_state_read(instance, state, err);
		if (ret == 0 && state->status == INSTANCE_LOST)
			state->status = INSTANCE_STARTING;
		return ret;
	}
	ret = instance_settle(instance, &gone, err);
	if (ret == 0 && gone)
		return error_set(err, ENOENT, "No such container: %s", instance->id);
	if (lock_here)
		instance_unlock(instance);
	return ret < 0 ? ret : instance_state_read(instance, state, err);
}

static void recover_one(struct engine *engine, const char *id)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct instance_state state;

	if (instance_open(engine, id, 0, &instance, NULL) == 0)
		(void)instance_look(&instance, &state, NULL);
}

void engine_recover(struct engine *engine)
{
	char **ids = NULL;
	size_t count = 0;

	if (instance_ids(engine, &ids, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		recover_one(engine, ids[i]);
	runtime_ids_free(ids, count);
}

bool restart_due(const struct instance *instance, const struct instance_state *state, unsigned *delay)
{
	enum { FIRST_DELAY = 100, LAST_DELAY = 60000, STEADY_SECONDS = 10 };
	const char *policy = document_text(instance->record, "HostConfig.RestartPolicy.Name");
	json_int_t limit = document_int(instance->record, "HostConfig.RestartPolicy.MaximumRetryCount");
	struct timespec started, finished;
	bool due = strcmp(policy, "always") == 0 || strcmp(policy, "unless-stopped") == 0;

	if (strcmp(policy, "on-failure") == 0)
		due = state->exit_code != 0 && (limit == 0 || state->restarts < limit);
	if (!due || instance_marked(instance, "stopped"))
		return false;
	*delay = FIRST_DELAY;
	/* A run that lasted starts the count anew, as in docker; else each wait is twice the last one. */
	if (clock_parse(state->started, &started) < 0 || clock_parse(state->finished, &finished) < 0 ||
	    finished.tv_sec - started.tv_sec < STEADY_SECONDS) {
		for (int i = 0; i < state->restarts && *delay < LAST_DELAY; i++)
			*delay *= 2;
	}
	*delay = *delay > LAST_DELAY ? LAST_DELAY : *delay;
	return true;
}
