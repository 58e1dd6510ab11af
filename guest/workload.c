/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONFIG and EXEC: processes by src/runtime, their streams to sessions.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest/agent.h"
#include "guest/paradigm.h"
#include "linux/mount.h"

/* A workload that stops whatever it sees must not stop us, who wait for it. */
enum { EXEC_SECONDS = 10 };

/* The pipes of one process: the host's ends and its own. */
struct pipes {
	int ours[3], theirs[3];
};

static void pipes_close(int ends[3])
{
	for (int i = 0; i < 3; i++) {
		if (ends[i] >= 0)
			close(ends[i]);
		ends[i] = -1;
	}
}

static void pipes_free(struct pipes *pipes)
{
	pipes_close(pipes->ours);
	pipes_close(pipes->theirs);
}
#define cleanup_pipes __attribute__((cleanup(pipes_free)))
#define PIPES_INIT    ((struct pipes){ .ours = { -1, -1, -1 }, .theirs = { -1, -1, -1 } })

static int pipes_make(struct pipes *pipes, struct error *err)
{
	for (int i = 0; i < 3; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return error_errno(err, errno, "cannot make the streams");
		pipes->ours[i] = ends[i == 0];
		pipes->theirs[i] = ends[i != 0];
	}
	return 0;
}

static void say_failed(struct agent *agent, uint16_t number, const struct error *err)
{
	boot_debug(&agent->boot, "session %u: %s", number, err->text);
	agent_put_text(&agent->channel.out, AGENT_FAILED, number, (uint32_t)err->code, err->text);
	channel_flush(&agent->channel);
}

/* console: the master of its terminal, if it has one. */
static int begin(struct agent *agent, uint16_t number, pid_t pid, struct pipes *pipes, int console, struct error *err)
{
	struct session *session = &agent->sessions[number];
	struct session_streams streams = { .input = console, .output = -1, .errors = -1 };
	int ret;

	pipes_close(pipes->theirs);
	if (console < 0) {
		streams = (struct session_streams){ .input = take_fd(&pipes->ours[0]),
						    .output = take_fd(&pipes->ours[1]),
						    .errors = take_fd(&pipes->ours[2]) };
	}
	agent_put_numbers(&agent->channel.out, AGENT_STARTED, number, (uint32_t)pid, 0);
	ret = session_begin(session, &agent->channel, number, pid, &streams, err);
	channel_flush(&agent->channel);
	boot_debug(&agent->boot, "session %u: process %d runs", number, (int)pid);
	return ret;
}

static int start(struct agent *agent, const char *config, struct error *err)
{
	struct runtime_create_options options = RUNTIME_CREATE_OPTIONS_INIT;
	cleanup_close int rootfs = mount_clone(AT_FDCWD, BOOT_ROOTFS, false, 0, err);
	cleanup_pipes struct pipes pipes = PIPES_INIT;
	int ret = rootfs < 0 ? rootfs : pipes_make(&pipes, err);

	if (ret < 0)
		return ret;
	options.rootfs_fd = rootfs;
	options.paradigm = &paradigm_guest;
	options.bundle = "/";
	options.config_text = config;
	options.keep_console = true;
	memcpy(options.stdio, pipes.theirs, sizeof(options.stdio));
	ret = runtime_run(&agent->runtime, agent->boot.words.id, &options, &agent->container, err);
	return ret < 0 ? ret : begin(agent, 0, agent->container.pid, &pipes, options.console_fd_out, err);
}

void workload_start(struct agent *agent, const struct agent_frame *frame)
{
	cleanup_free char *config = strndup((const char *)frame->payload, frame->size);
	struct error err = ERROR_INIT;

	boot_debug(&agent->boot, "configuration of %u bytes", frame->size);
	if (!config)
		(void)error_errno(&err, ENOMEM, "cannot read the configuration");
	else if (strlen(config) != frame->size)
		(void)error_set(&err, EINVAL, "the configuration has a NUL in it");
	else
		(void)start(agent, config, &err);
	if (err.code) {
		say_failed(agent, 0, &err);
		agent->sealed = true;
	}
}

static int exec(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	struct runtime_exec_options options = RUNTIME_EXEC_OPTIONS_INIT;
	struct arena arena = { .head = NULL };
	cleanup_pipes struct pipes pipes = PIPES_INIT;
	struct oci_process process;
	pid_t pid = 0;
	int ret = pipes_make(&pipes, err);

	if (ret == 0)
		ret = oci_process_parse((const char *)frame->payload, frame->size, &arena, &process, err);
	if (ret == 0) {
		guest_edit_process(&process);
		options.process = &process;
		options.keep_console = true;
		options.seconds = EXEC_SECONDS;
		memcpy(options.stdio, pipes.theirs, sizeof(options.stdio));
		ret = runtime_exec(&agent->runtime, &agent->container, &options, &pid, err);
	}
	arena_free(&arena);
	if (ret < 0)
		return ret;
	ret = begin(agent, frame->session, pid, &pipes, options.console_fd_out, err);
	if (ret < 0)
		(void)kill(pid, SIGKILL);
	return ret;
}

void workload_exec(struct agent *agent, const struct agent_frame *frame)
{
	struct error err = ERROR_INIT;

	if (agent->sealed || !agent->sessions[0].pid || agent->sessions[0].ended)
		(void)error_set(&err, ESRCH, "container not running");
	else
		(void)exec(agent, frame, &err);
	/* One that was said to have started has an end, and no failure. */
	if (err.code && !agent->sessions[frame->session].pid)
		say_failed(agent, frame->session, &err);
}

void workload_signal(struct agent *agent, const struct agent_frame *frame)
{
	const struct session *session = &agent->sessions[frame->session];
	uint32_t number = 0;

	(void)agent_number(frame, 0, &number);
	/* Our own child that is not reaped: the pid is its own. */
	if (session->pid && !session->ended && number > 0 && number <= 64)
		(void)kill(session->pid, (int)number);
}
