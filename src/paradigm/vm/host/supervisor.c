/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/loop.h"
#include "linux/tty.h"
#include "paradigm/shell/sync.h"
#include "paradigm/vm/host/confine.h"
#include "paradigm/vm/host/console.h"
#include "paradigm/vm/host/engine.h"
#include "paradigm/vm/host/greeting.h"
#include "paradigm/vm/host/server.h"
#include "paradigm/vm/host/session.h"
#include "paradigm/vm/host/shares.h"
#include "paradigm/vm/host/supervisor.h"

enum { TAIL_SIZE = 600, STATE_MAX = 64 << 20 };

struct supervisor {
	struct vm_config config;
	struct shares shares;
	struct loop loop;
	struct engine *engine;
	struct sessions sessions;
	struct console console;
	struct greeting greeting;
	struct server server;
	struct loop_source signals, timer; /* their fds are owned */
	int sync;			   /* owned; -1: told */
	char *oci;			   /* config.json, until the guest has it */
	size_t oci_size;
	bool terminal; /* the workload's streams are one, ours */
	bool raw;      /* ours was made raw */
	bool started;  /* the workload runs, or ran */
	bool over;     /* the workload's process has ended */
	bool flushed;  /* and all that it wrote is where it belongs */
	bool machine_ended;
	bool stopped; /* by us, before the workload ended */
	bool done;
	struct termios saved; /* of the terminal */
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

static void restore_terminal(struct supervisor *self)
{
	/* Standard input is not where it was, but this is the same terminal. */
	if (self->raw)
		(void)tty_restore(STDERR_FILENO, &self->saved);
	self->raw = false;
}

/* Says err to whom it may concern: the creator while he waits, else the workload's standard error. */
static void tell(struct supervisor *self, const struct error *err)
{
	if (self->sync >= 0) {
		(void)sync_send_error(self->sync, err);
		close(self->sync);
		self->sync = -1;
		return;
	}
	restore_terminal(self);
	dprintf(STDERR_FILENO, "caisson-vmm: %s\n", err->text);
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
	tell(self, err);
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
	if (self->stopped) {
		finish(self, VMM_EXIT_KILLED);
		return;
	}
	(void)error_set(&err, ECONNRESET, "the virtual machine %s %s%s%s",
			end->how < sizeof(how) / sizeof(*how) && how[end->how] ? how[end->how] : "ended",
			self->started ? "while its process ran" : "before its process ran", *end->reason ? ": " : "",
			end->reason);
	fail(self, &err);
}

/* ---- what the guest's agent tells ---- */

/* Whoever reads the workload's output must see its end.  Standard error stays ours, too, for the last words. */
static void give_streams_away(struct supervisor *self, int stdio[static 3])
{
	for (int i = 0; i < 3; i++)
		stdio[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
	(void)dup2(self->signals.fd, STDIN_FILENO);
	(void)dup2(self->signals.fd, STDOUT_FILENO);
}

static void take_config(struct supervisor *self)
{
	int stdio[3];
	struct error err = ERROR_INIT;

	give_streams_away(self, stdio);
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
	if (self->sync >= 0)
		close(self->sync);
	self->sync = -1;
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
	tell(self, &err);
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

/* The answer to AGENT_RESTORED. */
static void agent_ready(void *context)
{
	struct supervisor *self = context;

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

/* A disk of the host's goes on changing: a machine that begins here later would write an old cache over it. */
static int disks_may_save(const struct vm_config *config, struct error *err)
{
	for (size_t i = 1; i < config->disks_count; i++)
		if (!config->disks[i].read_only)
			return error_set(err, EOPNOTSUPP,
					 "the machine writes to a disk of the host's (--disk), which a snapshot cannot "
					 "keep; run it without, or with the disk read-only");
	return 0;
}

/* The machine's state, and behind it that of the conversation with its agent. */
static int control_snapshot(void *context, int state, int memory, struct error *err)
{
	struct supervisor *self = context;
	struct state_writer writer = { .out = STR_INIT };
	int ret;

	if (!self->engine->ops->snapshot)
		return error_set(err, EOPNOTSUPP, "machines that %s runs cannot be saved", self->engine->ops->name);
	ret = disks_may_save(&self->config, err);
	if (ret == 0)
		ret = sessions_may_save(&self->sessions, err);
	if (ret == 0)
		ret = self->engine->ops->snapshot(self->engine, state, memory, err);
	if (ret < 0)
		return ret;
	/* The guest's last words before it stood still may have been the end of its process. */
	ret = self->done || self->over ? error_set(err, EBUSY, "the instance's process has just ended")
				       : sessions_may_save(&self->sessions, err);
	if (ret < 0) {
		self->engine->ops->resume(self->engine);
		return ret;
	}
	sessions_save(&self->sessions, &writer);
	ret = str_failed(&writer.out) ? -ENOMEM : file_write_all(state, writer.out.text, writer.out.length);
	str_free(&writer.out);
	if (ret == 0)
		return 0;
	self->engine->ops->resume(self->engine);
	return error_errno(err, -ret, "cannot write the state of the agent's channel");
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

static void control_stop(void *context)
{
	struct supervisor *self = context;

	self->stopped = true;
	stop_machine(self);
}

/* ---- signals and time ---- */

static void take_signal(struct supervisor *self, const struct signalfd_siginfo *info)
{
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

static void signals_ready(struct loop_source *source, uint32_t events)
{
	struct supervisor *self = source->context;
	struct signalfd_siginfo info;

	(void)events;
	while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		take_signal(self, &info);
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

static int open_signals(struct supervisor *self, struct error *err)
{
	sigset_t all;

	(void)sigfillset(&all);
	/* A fault of our own is no message to the workload. */
	for (size_t i = 0; i < 6; i++)
		(void)sigdelset(&all, (int[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS }[i]);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
		return error_errno(err, errno, "sigprocmask");
	self->signals.fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (self->signals.fd < 0)
		return error_errno(err, errno, "signalfd");
	return loop_add(&self->loop, &self->signals, EPOLLIN, err);
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

/* The guest learns what time it is, and gets randomness that no other machine of this snapshot has. */
static int say_restored(struct supervisor *self, struct error *err)
{
	struct {
		uint64_t clock;
		uint8_t entropy[256];
	} restored;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	restored.clock = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
	if (getrandom(restored.entropy, sizeof(restored.entropy), 0) != (ssize_t)sizeof(restored.entropy))
		return error_errno(err, errno, "getrandom");
	sessions_put(&self->sessions, AGENT_RESTORED, &restored, sizeof(restored));
	return 0;
}

static int restore_agent(struct supervisor *self, struct error *err)
{
	cleanup_free char *bytes = NULL;
	struct state_reader reader;
	int stdio[3], ret;
	size_t size;

	if (self->config.snapshot < 0)
		return 0;
	ret = lseek(self->config.snapshot, 0, SEEK_SET) < 0 ? -errno : 0;
	if (ret == 0)
		ret = file_read_fd(self->config.snapshot, STATE_MAX, &bytes, &size, NULL);
	if (ret < 0)
		return error_errno(err, -ret, "cannot read the snapshot");
	free(self->oci);
	self->oci = NULL;
	give_streams_away(self, stdio);
	state_reader_init(&reader, bytes, size);
	ret = sessions_restore(&self->sessions, &reader, stdio, err);
	return ret == 0 ? say_restored(self, err) : ret;
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
		.stop = control_stop,
		.context = self,
	};
	int ret = loop_open(&self->loop, err);

	if (ret < 0)
		return ret;
	sessions_open(&self->sessions, &self->loop, &agent);
	ret = open_signals(self, err);
	if (ret == 0)
		ret = read_oci(self, err);
	if (ret == 0 && self->terminal)
		self->raw = tty_make_raw(STDIN_FILENO, &self->saved, NULL) == 0;
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
	restore_terminal(self);
	if (self->signals.fd >= 0)
		close(self->signals.fd);
	if (self->sync >= 0)
		close(self->sync);
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
	self->sync = config->sync;
	self->loop.epoll = self->loop.wake = -1;
	self->signals = (struct loop_source){ .fd = -1, .ready = signals_ready, .context = self };
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
