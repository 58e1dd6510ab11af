/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { SMALL_FILE_MAX = 65536 };

static const char never[] = "0001-01-01T00:00:00Z";

static const char *const status_names[] = {
	[INSTANCE_CREATED] = "created", [INSTANCE_STARTING] = "created",      [INSTANCE_RUNNING] = "running",
	[INSTANCE_PAUSED] = "paused",	[INSTANCE_RESTARTING] = "restarting", [INSTANCE_EXITED] = "exited",
	[INSTANCE_LOST] = "dead",
};

const char *instance_status_name(enum instance_status status)
{
	return status_names[status];
}

bool instance_state_alive(const struct instance_state *state)
{
	return state->status == INSTANCE_RUNNING || state->status == INSTANCE_PAUSED;
}

bool instance_marked(const struct instance *instance, const char *mark)
{
	return faccessat(instance->dir_fd, mark, F_OK, 0) == 0;
}

int instance_mark(const struct instance *instance, const char *mark, struct error *err)
{
	cleanup_close int fd = openat(instance->dir_fd, mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? error_errno(err, errno, "cannot mark instance %s as %s", instance->id, mark) : 0;
}

void instance_unmark(const struct instance *instance, const char *mark)
{
	(void)unlinkat(instance->dir_fd, mark, 0);
}

/* A small document of the instance: -ENOENT when it is not there, 0 and NULL when nothing can be made of it. */
static int read_document(const struct instance *instance, const char *name, json_t **document)
{
	cleanup_free char *text = NULL;
	size_t size;
	int ret = file_read(instance->dir_fd, name, SMALL_FILE_MAX, &text, &size, NULL);

	*document = ret == 0 ? json_loadb(text, size, 0, NULL) : NULL;
	return ret == -ENOENT || ret == -ENOMEM || ret == -EMFILE || ret == -ENFILE ? ret : 0;
}

/* The monitor itself must not look: to close the file would drop its own lock (fcntl(2)). */
bool instance_has_monitor(const struct instance *instance)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	cleanup_close int fd = -1;

	if (instance->monitor_lock >= 0)
		return true;
	fd = openat(instance->dir_fd, "monitor", O_RDWR | O_CLOEXEC);
	return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}

static void take_exit(struct instance_state *state, const json_t *ended)
{
	state->exit_code = (int)document_int(ended, "ExitCode");
	state->oom_killed = document_bool(ended, "OOMKilled");
	copy_text(state->finished, sizeof(state->finished), document_text(ended, "FinishedAt"));
	copy_text(state->error, sizeof(state->error), document_text(ended, "Error"));
}

static enum instance_status judge(const struct instance *instance, struct instance_state *state, bool begun,
				  const json_t *run, bool ended)
{
	bool lives = (begun || instance_marked(instance, "restart")) && instance_has_monitor(instance);

	state->unsettled = begun && ended;
	if (ended)
		return lives && instance_marked(instance, "restart") ? INSTANCE_RESTARTING : INSTANCE_EXITED;
	if (!begun)
		return INSTANCE_CREATED;
	if (!lives)
		return INSTANCE_LOST;
	if (!document_at(run, "Pid"))
		return INSTANCE_STARTING;
	return instance_marked(instance, "paused") ? INSTANCE_PAUSED : INSTANCE_RUNNING;
}

int instance_state_read(const struct instance *instance, struct instance_state *state, struct error *err)
{
	cleanup_json json_t *run = NULL, *ended = NULL, *last = NULL;
	int begun, finished;

	*state = (struct instance_state){ .status = INSTANCE_CREATED };
	copy_text(state->started, sizeof(state->started), never);
	copy_text(state->finished, sizeof(state->finished), never);
	/* This order: whoever starts or ends an instance writes run first and removes it last. */
	finished = read_document(instance, "exit.json", &ended);
	begun = read_document(instance, "run", &run);
	if (finished == -ENOENT && begun == 0 && !instance_has_monitor(instance))
		finished = read_document(instance, "exit.json", &ended); /* it ended while we looked */
	if ((finished < 0 && finished != -ENOENT) || (begun < 0 && begun != -ENOENT))
		return error_errno(err, finished < 0 && finished != -ENOENT ? -finished : -begun,
				   "cannot read the state of instance %s", instance->id);
	state->status = judge(instance, state, begun == 0, run, finished == 0);
	if (finished == 0)
		take_exit(state, ended);
	if (run && state->status != INSTANCE_EXITED)
		state->pid = (pid_t)document_int(run, "Pid");
	if (document_at(run, "StartedAt"))
		copy_text(state->started, sizeof(state->started), document_text(run, "StartedAt"));
	else if (finished == 0 && read_document(instance, "last-run", &last) == 0 && document_at(last, "StartedAt"))
		copy_text(state->started, sizeof(state->started), document_text(last, "StartedAt"));
	state->restarts = (int)document_int(instance->record, "RestartCount");
	if (*state->error && state->status == INSTANCE_EXITED)
		state->status = INSTANCE_CREATED;
	return 0;
}

int instance_record_exit(const struct instance *instance, int code, const char *message, struct error *err)
{
	cleanup_json json_t *document = json_pack("{s:i,s:b}", "ExitCode", code, "OOMKilled", 0);
	cleanup_free char *text = NULL;
	char when[CLOCK_TEXT_MAX];
	int ret;

	clock_now(when);
	if (message)
		(void)document_set_text(document, "Error", message);
	else
		(void)document_set_text(document, "FinishedAt", when);
	text = json_dumps(document, JSON_COMPACT);
	if (!text)
		return error_errno(err, ENOMEM, "cannot record the end of instance %s", instance->id);
	ret = file_replace(instance->dir_fd, "exit.json", text, strlen(text), 0600, err);
	return ret < 0 ? error_wrap(err, "cannot record the end of instance %s", instance->id) : 0;
}
