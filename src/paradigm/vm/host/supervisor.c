/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/loop.h"
#include "linux/tty.h"
#include "paradigm/vm/host/confine.h"
#include "paradigm/vm/host/console.h"
#include "paradigm/vm/host/engine.h"
#include "paradigm/vm/host/greeting.h"
#include "paradigm/vm/host/outside.h"
#include "paradigm/vm/host/server.h"
#include "paradigm/vm/host/session.h"
#include "paradigm/vm/host/shares.h"
#include "paradigm/vm/host/snapshot.h"

enum { TAIL_SIZE = 600 };

struct supervisor {
	struct vm_config config;
	struct shares shares;
	struct loop loop;
	struct engine *engine;
	struct sessions sessions;
	struct console console;
	struct greeting greeting;
	struct server server;
	struct outside outside;
	struct loop_source timer; /* its fd is owned */
	char *oci;		  /* config.json, until the guest has it */
	size_t oci_size;
	bool terminal; /* the workload's streams are one, ours */
	bool started;  /* the workload runs, or ran */
	bool over;     /* the workload's process has ended */
	bool flushed;  /* and all that it wrote is where it belongs */
	bool machine_ended;
	bool done;
	int status;
};

/* ---- ends ---- */

static void finish(struct supervisor *self, int status)
{
	if (self->done)
		return;
	self->done = true;
	self->status = status;
	loop_stop(&self->loop);
}

static int status_of(int code)
{
	if (code == ENOENT)
		return VMM_EXIT_NO_FILE;
	return code == EACCES || code == ENOEXEC || code == EISDIR ? VMM_EXIT_NO_EXEC : VMM_EXIT_FAILED;
}

/* The machine is of no use any more: err says why, and what its kernel said last is added. */
static void fail(struct supervisor *self, struct error *err)
{
	cleanup_str struct str tail = STR_INIT;
	int status = status_of(err->code);

	if (self->done)
		return;
	console_tail(&self->console, TAIL_SIZE, &tail);
	if (tail.length > 0)
		(void)error_hint(err, "the last that its kernel said:\n%s", tail.text);
	outside_tell_error(&self->outside, err);
	finish(self, status);
}

/* Done when the workload has ended, its output has been read, and the machine is off. */
static void check_done(struct supervisor *self)
{
	if (self->over && self->flushed && self->machine_ended)
		finish(self, self->status);
}

static void stop_machine(struct supervisor *self)
{
	if (!self->machine_ended && self->engine)
		self->engine->ops->stop(self->engine);
}

/* ---- what the engine tells ---- */

static void engine_console(void *context, const void *bytes, size_t count)
{
	struct supervisor *self = context;

	console_take(&self->console, bytes, count);
}

static void engine_agent(void *context, const void *bytes, size_t count)
{
	struct supervisor *self = context;
	struct error err = ERROR_INIT;

	if (self->done || sessions_feed(&self->sessions, bytes, count, &err) == 0)
		return;
	/* Nothing that this guest says is worth anything now. */
	fail(self, &err);
}

static void engine_room(void *context)
{
	struct supervisor *self = context;

	sessions_room(&self->sessions);
}

static void engine_ended(void *context, const struct engine_end *end)
{
	static const char *const how[] = {
		[MACHINE_OFF] = "switched itself off",
		[MACHINE_RESET] = "was reset",
		[MACHINE_EXIT] = "left by its debug-exit port",
		[MACHINE_CRASHED] = "crashed",
	};
	struct supervisor *self = context;
	struct error err = ERROR_INIT;

	self->machine_ended = true;
	if (self->over) {
		check_done(self);
		return;
	}
	(void)error_set(&err, ECONNRESET, "the virtual machine %s %s%s%s",
			end->how < sizeof(how) / sizeof(*how) && how[end->how] ? how[end->how] : "ended",
			self->started ? "while its process ran" : "before its process ran", *end->reason ? ": " : "",
			end->reason);
	fail(self, &err);
}

/* ---- what the guest's agent tells ---- */

static void take_config(struct supervisor *self)
{
	int stdio[3];
	struct error err = ERROR_INIT;

	outside_give_streams(&self->outside, stdio);
	if (!sessions_start(&self->sessions, AGENT_CONFIG, self->oci, self->oci_size, stdio, NULL, &err))
		fail(self, &err);
	free(self->oci);
	self->oci = NULL;
}

/* Before the configuration goes everything that it refers to. */
static void greet(struct supervisor *self)
{
	struct error err = ERROR_INIT;
	int ret;

	if (!self->oci || self->done || !self->sessions.spoken)
		return;
	ret = greeting_go_on(&self->greeting, &self->sessions, &err);
	if (ret < 0)
		fail(self, &err);
	else if (ret == 0)
		take_config(self);
}

static void disarm(struct supervisor *self)
{
	if (self->timer.fd < 0)
		return;
	loop_remove(&self->loop, &self->timer);
	close(self->timer.fd);
	self->timer.fd = -1;
}

static void agent_hello(void *context)
{
	greet(context);
}

static void tell_size(struct supervisor *self)
{
	struct session *workload = sessions_workload(&self->sessions);
	unsigned int rows, columns;

	if (self->terminal && workload && tty_get_size(workload->output.source.fd, &rows, &columns) == 0)
		session_resize(workload, rows, columns);
}

static void workload_runs(struct supervisor *self)
{
	self->started = true;
	disarm(self);
	tell_size(self);
	outside_tell_started(&self->outside);
}

static void agent_started(void *context, struct session *session, uint32_t pid)
{
	struct supervisor *self = context;

	if (session->number == 0)
		workload_runs(self);
	else
		server_started(&self->server, session, pid);
}

static void agent_failed(void *context, struct session *session, uint32_t code, const char *words)
{
	struct supervisor *self = context;
	struct error err = ERROR_INIT;

	if (session->number != 0) {
		server_failed(&self->server, session, code, words);
		return;
	}
	(void)error_set(&err, code > 0 && code < 4096 ? (int)code : EPROTO, "%s", words);
	outside_tell_error(&self->outside, &err);
	finish(self, status_of(err.code));
}

/* As memory.events(cgroup) has it. */
static const char oom_kill[] = "oom_kill 1\n";

static void agent_over(void *context, const struct session *session)
{
	struct supervisor *self = context;

	self->over = true;
	self->status = (int)(session->status & 0xff);
	if (session->out_of_memory && self->config.memory_events >= 0)
		(void)!write(self->config.memory_events, oom_kill, strlen(oom_kill));
	/* All that it wrote is on its disks: there is no need to wait for a kernel that puts everything away. */
	stop_machine(self);
}

static void agent_exited(void *context, struct session *session)
{
	struct supervisor *self = context;

	if (session->number != 0) {
		server_exited(&self->server, session);
		return;
	}
	self->flushed = true;
	check_done(self);
}

static void agent_log(void *context, const char *text, size_t size)
{
	struct supervisor *self = context;

	console_take(&self->console, text, size);
	if (size > 0 && text[size - 1] != '\n')
		console_take(&self->console, "\n", 1);
}

static void agent_stats(void *context, const char *text, size_t size)
{
	struct supervisor *self = context;

	server_stats(&self->server, text, size);
}

/* The answer to AGENT_RESTORED, and to AGENT_PING. */
static void agent_ready(void *context)
{
	struct supervisor *self = context;

	server_ready(&self->server);
	if (!self->started)
		workload_runs(self);
}

static size_t agent_send(void *context, const void *bytes, size_t count)
{
	struct supervisor *self = context;

	return self->engine && !self->machine_ended ? self->engine->ops->agent_input(self->engine, bytes, count) : 0;
}

static void agent_drained(void *context)
{
	greet(context);
}

/* ---- what the control socket asks ---- */

static void control_counters(void *context, struct str *out)
{
	struct supervisor *self = context;
	const struct sessions *sessions = &self->sessions;
	cleanup_str struct str more = STR_INIT;

	str_printf(out, "{\"engine\":\"%s\",\"isolation\":\"%s\",\"vcpus\":%u,\"memory\":%" PRIu64 ",",
		   self->engine->ops->name, self->config.kind == VM_KIND_PV ? "pv" : "vm", self->config.vcpus,
		   self->config.memory);
	str_printf(out, "\"console\":{\"bytes\":%" PRIu64 "},", self->console.total);
	str_printf(out,
		   "\"agent\":{\"frames_in\":%" PRIu64 ",\"frames_out\":%" PRIu64 ",\"bytes_in\":%" PRIu64
		   ",\"bytes_out\":%" PRIu64 "}",
		   sessions->frames_in, sessions->frames_out, sessions->bytes_in, sessions->bytes_out);
	self->engine->ops->counters(self->engine, &more);
	str_printf(out, "%s%s}", more.length ? "," : "", str_text(&more));
}

static int control_snapshot(void *context, int state, int memory, struct error *err)
{
	struct supervisor *self = context;

	return snapshot_write(self->engine, &self->sessions, &self->config, state, memory, err);
}

static void control_resume(void *context)
{
	struct supervisor *self = context;

	self->engine->ops->resume(self->engine);
}

static int control_balloon(void *context, uint64_t bytes, struct error *err)
{
	struct supervisor *self = context;

	return self->engine->ops->balloon(self->engine, bytes, err);
}

/* ---- signals and time ---- */

static void take_signal(void *context, const struct signalfd_siginfo *info)
{
	struct supervisor *self = context;
	struct session *workload = sessions_workload(&self->sessions);
	uint32_t number = info->ssi_signo;
	struct error err = ERROR_INIT;

	if (number == SIGCHLD && shares_check(&self->shares, &err) < 0)
		fail(self, &err);
	if (number == SIGCHLD || (number == SIGPIPE && info->ssi_pid == (uint32_t)getpid()))
		return;
	if (number == SIGWINCH && self->terminal)
		tell_size(self);
	else if (workload)
		session_signal(workload, number);
	else if (!self->started && (number == SIGTERM || number == SIGINT || number == SIGQUIT || number == SIGHUP))
		finish(self, 128 + (int)number);
}

static void timer_ready(struct loop_source *source, uint32_t events)
{
	struct supervisor *self = source->context;
	struct error err = ERROR_INIT;

	(void)events;
	disarm(self);
	(void)error_set(&err, ETIMEDOUT, "the virtual machine's guest has not answered within %u seconds",
			self->config.boot_seconds);
	fail(self, &err);
}

static int open_timer(struct supervisor *self, struct error *err)
{
	struct itimerspec when = { .it_value = { .tv_sec = self->config.boot_seconds } };

	if (self->config.boot_seconds == 0)
		return 0;
	self->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (self->timer.fd < 0 || timerfd_settime(self->timer.fd, 0, &when, NULL) < 0)
		return error_errno(err, errno, "timerfd");
	return loop_add(&self->loop, &self->timer, EPOLLIN, err);
}

/* ---- from begin to end ---- */

static int read_oci(struct supervisor *self, struct error *err)
{
	const struct json_value *root, *terminal;
	struct arena arena = { 0 };
	int ret = file_read_fd(self->config.oci, AGENT_FRAME_MAX, &self->oci, &self->oci_size, err);

	if (ret == 0)
		ret = json_parse(self->oci, self->oci_size, &arena, &root, err);
	if (ret == 0) {
		terminal = json_find(json_find(root, "process"), "terminal");
		self->terminal = terminal && terminal->kind == JSON_KIND_BOOL && terminal->truth && isatty(0);
	}
	arena_free(&arena);
	return ret < 0 ? error_wrap(err, "config.json") : 0;
}

static int restore_agent(struct supervisor *self, struct error *err)
{
	int stdio[3];

	if (self->config.snapshot < 0)
		return 0;
	free(self->oci);
	self->oci = NULL;
	outside_give_streams(&self->outside, stdio);
	return snapshot_continue(&self->sessions, self->config.snapshot, stdio, err);
}

static int open_engine(struct supervisor *self, struct error *err)
{
	const struct engine_owner owner = {
		.console = engine_console,
		.agent = engine_agent,
		.room = engine_room,
		.ended = engine_ended,
		.context = self,
	};
	const struct engine_ops *ops = self->config.engine == VM_ENGINE_KVM ? &engine_kvm : &engine_qemu;
	int ret = ops->make(&self->config, &self->loop, &owner, &self->engine, err);

	if (ret == 0)
		ret = confine_process(err);
	if (ret == 0)
		ret = ops->start(self->engine, err);
	return ret < 0 ? ret : confine_thread(self->config.vsock >= 0 ? CONFINE_VSOCK : CONFINE_MAIN, err);
}

static int open_all(struct supervisor *self, struct error *err)
{
	const struct sessions_owner agent = {
		.hello = agent_hello,
		.started = agent_started,
		.failed = agent_failed,
		.exited = agent_exited,
		.over = agent_over,
		.log = agent_log,
		.stats = agent_stats,
		.ready = agent_ready,
		.send = agent_send,
		.drained = agent_drained,
		.context = self,
	};
	const struct server_owner control = {
		.counters = control_counters,
		.snapshot = control_snapshot,
		.resume = control_resume,
		.balloon = control_balloon,
		.context = self,
	};
	int ret = loop_open(&self->loop, err);

	if (ret < 0)
		return ret;
	sessions_open(&self->sessions, &self->loop, &agent);
	ret = outside_watch_signals(&self->outside, &self->loop, take_signal, self, err);
	if (ret == 0)
		ret = read_oci(self, err);
	if (ret == 0 && self->terminal)
		outside_make_raw(&self->outside);
	if (ret == 0)
		ret = server_open(&self->server, &self->loop, self->config.control, &self->sessions, &control, err);
	if (ret == 0)
		ret = open_timer(self, err);
	if (ret == 0)
		ret = shares_start(&self->shares, &self->config, err);
	if (ret == 0)
		ret = restore_agent(self, err);
	if (ret == 0)
		ret = open_engine(self, err);
	if (ret == 0)
		sessions_room(&self->sessions);
	return ret;
}

static void close_all(struct supervisor *self)
{
	/* First who may still hold the machine. */
	server_close(&self->server);
	if (self->engine)
		self->engine->ops->free(self->engine);
	shares_stop(&self->shares);
	sessions_close(&self->sessions);
	disarm(self);
	outside_close(&self->outside);
	loop_close(&self->loop);
	free(self->oci);
}

int supervisor_run(const struct vm_config *config)
{
	struct supervisor *self = calloc(1, sizeof(*self));
	struct error err = ERROR_INIT;
	int status;

	if (!self)
		return VMM_EXIT_FAILED;
	self->config = *config;
	self->loop.epoll = self->loop.wake = -1;
	outside_open(&self->outside, config->sync);
	self->timer = (struct loop_source){ .fd = -1, .ready = timer_ready, .context = self };
	console_open(&self->console, config->console);
	greeting_open(&self->greeting, &self->config);
	if (open_all(self, &err) < 0 || (!self->done && loop_run(&self->loop, &err) < 0))
		fail(self, &err);
	close_all(self);
	status = self->status;
	free(self);
	return status;
}
