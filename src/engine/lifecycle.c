/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "engine/client.h"
#include "engine/launch.h"
#include "engine/name.h"
#include "engine/recover.h"
#include "engine/spec.h"
#include "linux/signals.h"
#include "runtime/runtime.h"

int signal_from_name(const char *name, struct error *err)
{
	int number = signal_from_text(name);

	return number > 0 ? number : error_set(err, EINVAL, "invalid signal: %s", name);
}

static int not_running(const struct instance *instance, struct error *err)
{
	return error_set(err, ESRCH, "container %s is not running", instance_name(instance));
}

/* Settles an end; what is slow to free goes into held. */
static int finish(struct instance *instance, struct file_held *held, bool *gone, struct error *err)
{
	struct instance_state state;
	unsigned delay;
	int ret = instance_lock(instance, err);

	*gone = false;
	if (ret == -ENOENT)
		return 0;
	if (ret == 0)
		ret = instance_state_read(instance, &state, err);
	instance->held = held;
	if (ret == 0 && !restart_due(instance, &state, &delay))
		ret = instance_settle(instance, gone, err);
	instance->held = NULL;
	instance_unlock(instance);
	return ret;
}

/* The directory of an instance that is no more is the last of it that is open: nothing may stay so here when the
 * connection to the monitor, which gets it all, is closed. */
static void leave_directory(struct instance *instance, struct file_held *held)
{
	file_hold(held, instance->dir_fd);
	close(instance->dir_fd);
	instance->dir_fd = -1;
}

int instance_finish(struct instance *instance, int client, struct error *err)
{
	struct file_held held = { .count = 0 };
	bool gone;
	int ret = finish(instance, &held, &gone, err);

	if (gone)
		leave_directory(instance, &held);
	client_leave(client, &held);
	return ret;
}

/* Looks until it does not run any more; timeout in milliseconds.  1: so it is, 0: timeout. */
static int await_end(struct instance *instance, int timeout, struct error *err)
{
	enum { NAP_MS = 10 };
	struct instance_state state;

	for (int waited = 0; timeout < 0 || waited <= timeout; waited += NAP_MS) {
		int ret = instance_look(instance, &state, err);

		if (ret < 0 || !instance_state_alive(&state))
			return ret < 0 ? ret : 1;
		(void)nanosleep(&(struct timespec){ .tv_nsec = NAP_MS * 1000000L }, NULL);
	}
	return 0;
}

/* The same as end_run() where the monitor's socket is gone, or the run is over already. */
static int end_unheard(struct instance *instance, int number, int timeout, struct error *err)
{
	enum { KILL_TIMEOUT = 10000 };
	int ret;

	(void)instance_signal(instance, number, NULL);
	ret = await_end(instance, timeout, err);
	if (ret == 0) {
		(void)instance_signal(instance, SIGKILL, NULL);
		ret = await_end(instance, KILL_TIMEOUT, err);
	}
	return ret == 0 ? error_set(err, ETIMEDOUT, "container %s does not end", instance_name(instance)) : ret;
}

/* Ends a run: number, and after timeout milliseconds SIGKILL.  1: it ended, 0: there was none.  kept, if not NULL, gets
 * the connection to the monitor, which stays as long as that is open. */
static int end_run(struct instance *instance, int number, int timeout, int *kept, struct error *err)
{
	struct file_held held = { .count = 0 };
	struct monitor_exit ended;
	cleanup_close int client = client_connect(instance, MONITOR_OWNS, NULL);
	bool gone;
	int ret;

	if (client < 0)
		return end_unheard(instance, number, timeout, err);
	ret = instance_signal(instance, number, err);
	/* It may have ended between the two. */
	if (ret < 0 && ret != -ESRCH)
		return ret;
	if (number != SIGKILL && instance_marked(instance, "paused"))
		(void)instance_pause(instance, false, NULL);
	ret = client_wait(client, timeout, &ended);
	if (ret == 0) {
		(void)instance_signal(instance, SIGKILL, NULL);
		ret = client_wait(client, -1, &ended);
	}
	if (ret < 0 && ret != -EPIPE)
		return error_errno(err, -ret, "cannot wait for the end of container %s", instance_name(instance));
	ret = finish(instance, &held, &gone, err);
	client_leave(client, &held);
	if (kept)
		*kept = take_fd(&client);
	return ret < 0 ? ret : 1;
}

/* Somebody waits to start it again: it sees the mark and gives up. */
static int stop_restarting(struct instance *instance, struct error *err)
{
	enum { ROUNDS = 200, NAP_NS = 10000000 };
	struct instance_state state = { .status = INSTANCE_RESTARTING };

	for (int i = 0; i < ROUNDS && state.status == INSTANCE_RESTARTING; i++) {
		int ret = instance_state_read(instance, &state, err);

		if (ret < 0)
			return ret;
		if (state.status == INSTANCE_RESTARTING)
			(void)nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
	}
	return 0;
}

/* The state, once nobody is starting it any more. */
static int look_when_started(struct instance *instance, struct instance_state *state, struct error *err)
{
	int ret = instance_look(instance, state, err);

	while (ret == 0 && state->status == INSTANCE_STARTING) {
		ret = instance_lock(instance, err);
		instance_unlock(instance);
		if (ret == 0)
			ret = instance_look(instance, state, err);
	}
	return ret;
}

/* What stop does once; 1 when there may be more to do: its end, or its next start, may have come in between. */
static int stop_once(struct instance *instance, int number, int timeout, struct error *err)
{
	struct instance_state state;
	unsigned delay;
	int ret = look_when_started(instance, &state, err);

	if (ret < 0)
		return ret;
	if (state.status == INSTANCE_CREATED ||
	    (state.status == INSTANCE_EXITED && !restart_due(instance, &state, &delay)))
		return 0;
	ret = instance_mark(instance, "stopped", err);
	if (ret == 0 && state.status == INSTANCE_RESTARTING)
		ret = stop_restarting(instance, err);
	else if (ret == 0 && state.status != INSTANCE_EXITED)
		ret = end_run(instance, timeout == 0 ? SIGKILL : number, timeout < 0 ? -1 : timeout * 1000, NULL, err);
	/* Whoever is about to start it again has seen the mark when he gives the lock back. */
	if (ret >= 0)
		ret = instance_lock(instance, err);
	instance_unlock(instance);
	return ret < 0 ? ret : 1;
}

int instance_stop(struct instance *instance, int timeout, const char *signal, struct error *err)
{
	enum { DEFAULT_TIMEOUT = 10 };
	const char *own = document_text(instance->record, "Config.StopSignal");
	const json_t *wish = document_at(instance->record, "Config.StopTimeout");
	int number = signal_from_name(signal ? signal : *own ? own : "TERM", err), ret;

	if (number < 0)
		return number;
	if (timeout == INSTANCE_STOP_DEFAULT)
		timeout = json_is_integer(wish) ? (int)json_integer_value(wish) : DEFAULT_TIMEOUT;
	do
		ret = stop_once(instance, number, timeout, err);
	while (ret == 1);
	/* With --rm it goes by itself. */
	return ret == -ENOENT ? 0 : ret;
}

int instance_kill(struct instance *instance, const char *signal, struct error *err)
{
	struct instance_state state;
	int number = signal_from_name(signal, err), ret;

	if (number < 0)
		return number;
	ret = instance_look(instance, &state, err);
	if (ret < 0)
		return ret;
	if (!instance_state_alive(&state))
		return not_running(instance, err);
	/* As docker has it: a killed instance is not restarted. */
	if (number == SIGKILL || number == SIGTERM)
		(void)instance_mark(instance, "stopped", NULL);
	ret = instance_signal(instance, number, err);
	return ret == -ESRCH ? not_running(instance, err) : ret;
}

/* One that was marked, and then not frozen, is fine. */
static int thaw(struct runtime *runtime, struct container *container, struct error *err)
{
	enum runtime_status status;
	int ret = container_status(runtime, container, &status, err);

	return ret == 0 && status == RUNTIME_PAUSED ? runtime_resume(runtime, container, err) : ret;
}

int instance_pause(struct instance *instance, bool pause, struct error *err)
{
	struct runtime *runtime = &instance->engine->runtime;
	struct instance_state state;
	struct container container;
	int ret = instance_look(instance, &state, err);

	if (ret < 0)
		return ret;
	if (!instance_state_alive(&state))
		return not_running(instance, err);
	if (pause == (state.status == INSTANCE_PAUSED))
		return error_set(err, EINVAL, pause ? "Container %s is already paused" : "Container %s is not paused",
				 instance_name(instance));
	ret = container_load(runtime, instance->id, RUNTIME_LOCK, &container, err);
	if (ret < 0)
		return ret;
	/* The mark is there as long as it may be frozen: should we die on the way, it can be unpaused. */
	if (pause)
		ret = instance_mark(instance, "paused", err);
	if (ret == 0)
		ret = pause ? runtime_pause(runtime, &container, err) : thaw(runtime, &container, err);
	if (pause ? ret < 0 : ret == 0)
		instance_unmark(instance, "paused");
	container_close(&container);
	return ret;
}

int instance_wait(struct instance *instance, int *code, struct error *err)
{
	enum { NAP_NS = 10000000 };
	bool restarts = strcmp(document_text(instance->record, "HostConfig.RestartPolicy.Name"), "no") != 0;

	for (;;) {
		struct monitor_exit ended = { .code = 0 };
		struct instance_state state;
		cleanup_close int client = client_connect(instance, 0, NULL);
		int ret = client < 0 ? 0 : client_wait(client, -1, &ended);

		/* One that starts again is waited for until it doesn't any more. */
		if (ret == 1 && !restarts) {
			*code = ended.code;
			return 0;
		}
		ret = instance_refresh(instance, err);
		if (ret == 0)
			ret = instance_look(instance, &state, err);
		if (ret == 0 && (state.status == INSTANCE_CREATED || state.status == INSTANCE_EXITED)) {
			unsigned delay;

			*code = state.exit_code;
			if (state.status == INSTANCE_CREATED || !restart_due(instance, &state, &delay))
				return 0;
		}
		if (ret < 0)
			return ret;
		(void)nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
	}
}

/* Where its process cannot be told: with its cgroup. */
static int end_damaged(struct instance *instance, struct error *err)
{
	enum { END_TIMEOUT = 10000 };
	int ret = instance_lock(instance, err);

	if (ret == 0)
		ret = instance_remove_container(instance, err);
	instance_unlock(instance);
	return ret == 0 ? await_end(instance, END_TIMEOUT, err) : ret;
}

/* What is being started may take for ever: a guest that does not boot.  Who starts it sees it end, and cleans up. */
static int end_start(struct instance *instance, struct error *err)
{
	enum { NAP_NS = 20000000 };
	struct instance_state state;
	int ret = instance_look(instance, &state, err);

	while (ret == 0 && state.status == INSTANCE_STARTING && flock(instance->dir_fd, LOCK_EX | LOCK_NB) < 0) {
		(void)instance_signal(instance, SIGKILL, NULL);
		(void)nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
		ret = instance_look(instance, &state, err);
	}
	instance_unlock(instance);
	return ret == -ENOENT ? 0 : ret;
}

int instance_remove(struct instance *instance, bool force, bool volumes, struct error *err)
{
	struct file_held held = { .count = 0 };
	cleanup_close int client = -1;
	struct instance_state state;
	int ret = force ? end_start(instance, err) : 0;

	if (ret == 0)
		ret = look_when_started(instance, &state, err);
	if (ret == 0 && force && state.status != INSTANCE_CREATED && state.status != INSTANCE_EXITED) {
		ret = instance_mark(instance, "stopped", err);
		if (ret == 0)
			ret = end_run(instance, SIGKILL, -1, &client, err);
		if (ret < 0 && ret != -ENOENT)
			ret = end_damaged(instance, err);
	}
	if (ret >= 0)
		ret = instance_lock(instance, err);
	/* With --rm it went by itself. */
	if (ret == -ENOENT && force)
		return 0;
	if (ret == 0)
		ret = instance_look(instance, &state, err);
	if (ret == -ENOENT)
		return force ? 0 : ret;
	if (ret == 0 && (instance_state_alive(&state) || state.status == INSTANCE_STARTING))
		ret = error_set(
			err, EBUSY,
			"cannot remove container \"/%s\": container is %s: stop the container before removing or "
			"force remove (caisson rm -f %s)",
			instance_name(instance), instance_status_name(state.status), instance_name(instance));
	instance->held = client >= 0 ? &held : NULL;
	/* A state that was tampered with may have told less than what runs. */
	if (ret == 0)
		ret = instance_remove_container(instance, err);
	if (ret == 0)
		ret = instance_discard(instance, volumes, err);
	instance->held = NULL;
	instance_unlock(instance);
	if (ret == 0 && client >= 0)
		leave_directory(instance, &held);
	client_leave(client, &held);
	return ret;
}

int instance_force_out(struct engine *engine, const char *what, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct container container;
	int ret = instance_find(engine, what, instance.id, err);

	if (ret < 0)
		return ret;
	instance.engine = engine;
	instance.record = json_object();
	instance.dir_fd = openat(engine->instances_fd, instance.id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (instance.dir_fd < 0 || flock(instance.dir_fd, LOCK_EX) < 0)
		return error_errno(err, errno, "cannot open instance %s", instance.id);
	if (container_load(&engine->runtime, instance.id, RUNTIME_LOCK, &container, NULL) == 0) {
		ret = runtime_delete(&engine->runtime, &container, true, err);
		container_close(&container);
	}
	/* Its names cannot be read either: all that lead to it are looked for. */
	name_release_all(engine, instance.id);
	return ret < 0 ? ret : instance_discard(&instance, false, err);
}

static bool changes_memory(const json_t *changes)
{
	const char *key;
	json_t *item;

	json_object_foreach ((json_t *)(uintptr_t)changes, key, item) {
		if (str_starts(key, "Memory") || str_starts(key, "Oom"))
			return true;
	}
	return false;
}

static int update_cgroup(struct instance *instance, const json_t *changes, struct error *err)
{
	struct runtime *runtime = &instance->engine->runtime;
	cleanup_json json_t *json = spec_build_resources(instance->record, err);
	cleanup_free char *text = NULL;
	struct oci_resources resources;
	struct container container;
	struct arena arena = { .head = NULL };
	int ret;

	if (!json)
		return err ? -err->code : -EINVAL;
	(void)json_object_del(json, "devices"); /* not what is changed, and v2 would load its program again */
	if (!changes_memory(changes))
		(void)json_object_del(json, "memory");
	text = json_dumps(json, JSON_COMPACT);
	ret = text ? oci_resources_parse(text, strlen(text), &arena, &resources, err)
		   : error_errno(err, ENOMEM, "cannot update");
	if (ret == 0)
		ret = container_load(runtime, instance->id, RUNTIME_LOCK, &container, err);
	if (ret == 0) {
		ret = runtime_update(runtime, &container, &resources, err);
		container_close(&container);
	}
	arena_free(&arena);
	return ret;
}

int instance_update(struct instance *instance, const json_t *changes, struct error *err)
{
	cleanup_json json_t *before = NULL;
	struct instance_state state;
	int ret = instance_lock(instance, err);

	if (ret == 0)
		ret = instance_look(instance, &state, err);
	if (ret < 0)
		return ret;
	before = json_deep_copy(document_at(instance->record, "HostConfig"));
	(void)json_object_update(document_at(instance->record, "HostConfig"), (json_t *)(uintptr_t)changes);
	if (instance_state_alive(&state))
		ret = update_cgroup(instance, changes, err);
	if (ret == 0)
		ret = instance_save(instance, err);
	else
		(void)document_set(instance->record, "HostConfig", json_incref(before));
	instance_unlock(instance);
	return ret < 0 ? error_wrap(err, "cannot update container %s", instance_name(instance)) : 0;
}

/* Sleeps through the delay; false when the instance was stopped or removed meanwhile. */
static bool sleep_until_restart(struct instance *instance, unsigned delay)
{
	enum { NAP_MS = 100 };

	for (unsigned slept = 0; slept < delay; slept += NAP_MS) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = NAP_MS * 1000000L }, NULL);
		if (instance_marked(instance, "stopped") || !instance_marked(instance, "restart"))
			return false;
	}
	return true;
}

/* Called locked; the lock is given back while it sleeps. */
static int restart(struct instance *instance, unsigned delay, const struct launch_options *options, struct error *err)
{
	struct instance_state state;
	bool gone;
	int ret = instance_mark(instance, "restart", err);

	if (ret == 0)
		ret = instance_settle(instance, &gone, err);
	instance_unlock(instance);
	if (ret < 0)
		return ret;
	if (!sleep_until_restart(instance, delay)) {
		instance_unmark(instance, "restart");
		return 0;
	}
	ret = instance_lock(instance, err);
	if (ret < 0)
		return ret;
	if (instance_marked(instance, "stopped")) {
		instance_unmark(instance, "restart");
		return 0;
	}
	ret = instance_state_read(instance, &state, err);
	(void)document_set(instance->record, "RestartCount", json_integer(state.restarts + 1));
	if (ret == 0)
		ret = instance_save(instance, err);
	if (ret == 0)
		ret = launch_here(instance, options, err);
	instance_unmark(instance, "restart");
	return ret;
}

int instance_after_exit(struct instance *instance, const struct launch_options *options, struct error *err)
{
	struct instance_state state;
	unsigned delay;
	bool gone;
	int ret = instance_lock(instance, err);

	if (ret == -ENOENT)
		return 0;
	if (ret == 0)
		ret = instance_state_read(instance, &state, err);
	if (ret == 0 && state.status == INSTANCE_EXITED && restart_due(instance, &state, &delay))
		return restart(instance, delay, options, err);
	if (ret == 0)
		ret = instance_settle(instance, &gone, err);
	return ret;
}
