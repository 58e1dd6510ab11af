/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/clone.h"
#include "linux/signals.h"
#include "paradigm/vm/host/engine.h"

enum { CHUNK = 65536, WORDS_KEPT = 400, STOP_SECONDS = 2 };

struct qemu;

/* One of the guest's serial ports. */
struct port {
	struct qemu *qemu;
	struct loop_source source; /* its fd is owned */
	bool open, wants_room;
	void (*output)(void *context, const void *bytes, size_t count);
};

struct qemu {
	struct engine engine;
	const struct vm_config *config;
	struct loop *loop;
	struct engine_owner owner;
	struct qemu_args args;
	struct qemu_sockets sockets; /* owned until QEMU has them */
	struct port console, agent;
	struct qmp qmp;
	struct loop_source process; /* a pidfd, owned */
	struct loop_source timer;   /* after which stop() is done with patience */
	struct loop_source words;   /* the pipe of its standard error, owned */
	int words_end;		    /* QEMU's end of it, owned until QEMU has it */
	struct str said;	    /* its last words */
	bool ended;
};

static void close_source(struct loop *loop, struct loop_source *source)
{
	if (source->fd < 0)
		return;
	loop_remove(loop, source);
	close(source->fd);
	source->fd = -1;
}

/* ---- serial ports ---- */

/* Reads what is there; false when QEMU has closed its end. */
static bool port_read(struct port *port)
{
	static const int rounds_max = 16; /* then others have their turn */
	char bytes[CHUNK / 4];

	for (int i = 0; i < rounds_max && port->open; i++) {
		ssize_t count = recv(port->source.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (count > 0)
			port->output(port->qemu->owner.context, bytes, (size_t)count);
		else if (count < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		else
			return false;
	}
	return true;
}

static void port_ready(struct loop_source *source, uint32_t events)
{
	struct port *port = source->context;

	if ((events & EPOLLOUT) && port->wants_room) {
		port->wants_room = false;
		(void)loop_change(port->qemu->loop, source, EPOLLIN);
		port->qemu->owner.room(port->qemu->owner.context);
	}
	if ((events & ~(uint32_t)EPOLLOUT) && port->open && !port_read(port)) {
		port->open = false; /* how it ended the process will tell */
		loop_remove(port->qemu->loop, source);
	}
}

static size_t port_write(struct port *port, const void *bytes, size_t count)
{
	ssize_t done = port->open ? send(port->source.fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;

	if (!port->open)
		return 0;
	if (done < (ssize_t)count && !port->wants_room)
		port->wants_room = loop_change(port->qemu->loop, &port->source, EPOLLIN | EPOLLOUT) == 0;
	return done < 0 ? 0 : (size_t)done;
}

static int port_open(struct port *port, struct qemu *qemu, int *theirs,
		     void (*output)(void *context, const void *bytes, size_t count), struct error *err)
{
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "socketpair");
	*theirs = pair[1];
	*port = (struct port){ .qemu = qemu, .output = output };
	port->source = (struct loop_source){ .fd = pair[0], .ready = port_ready, .context = port };
	ret = loop_add(qemu->loop, &port->source, EPOLLIN, err);
	port->open = ret == 0;
	return ret;
}

static void port_close(struct port *port)
{
	if (port->source.fd < 0)
		return;
	if (port->open)
		loop_remove(port->qemu->loop, &port->source);
	close(port->source.fd);
	port->source.fd = -1;
	port->open = false;
}

/* ---- its end ---- */

static void read_words(struct qemu *qemu)
{
	char bytes[1024];
	ssize_t count;

	while ((count = read(qemu->words.fd, bytes, sizeof(bytes))) > 0) {
		str_append_bytes(&qemu->said, bytes, (size_t)count);
		if (qemu->said.length > (size_t)2 * WORDS_KEPT) {
			memmove(qemu->said.text, qemu->said.text + qemu->said.length - WORDS_KEPT, WORDS_KEPT);
			qemu->said.length = WORDS_KEPT;
			qemu->said.text[WORDS_KEPT] = '\0';
		}
	}
	if (count == 0)
		close_source(qemu->loop, &qemu->words);
}

static void words_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	read_words(source->context);
}

static void judge_signal(struct engine_end *end, int number)
{
	const char *name = signal_name(number);

	end->how = MACHINE_CRASHED;
	(void)snprintf(end->reason, sizeof(end->reason), "QEMU was killed by signal %d (%s%s)", number,
		       name ? name : "unknown", number == SIGSYS ? ": a system call that it is not allowed" : "");
}

/* What a process that ended with status says about its machine. */
static void judge(struct qemu *qemu, int status, struct engine_end *end)
{
	const char *why = qemu->qmp.shutdown;
	size_t length = qemu->said.length;

	*end = (struct engine_end){ .how = MACHINE_OFF };
	if (WIFSIGNALED(status)) {
		judge_signal(end, WTERMSIG(status));
	} else if (strcmp(why, "guest-reset") == 0) {
		end->how = MACHINE_RESET;
	} else if (strcmp(why, "guest-panic") == 0) {
		end->how = MACHINE_CRASHED;
		(void)snprintf(end->reason, sizeof(end->reason), "the guest's kernel panicked");
	} else if (*why || WEXITSTATUS(status) == 0) {
		end->how = MACHINE_OFF;
	} else if (qemu->config->oci < 0 && (WEXITSTATUS(status) & 1) && length == 0) {
		end->how = MACHINE_EXIT; /* QEMU makes an exit status out of the number that was written */
		end->code = (unsigned int)WEXITSTATUS(status) >> 1;
	} else {
		while (length > 0 && qemu->said.text[length - 1] == '\n')
			qemu->said.text[--length] = '\0';
		end->how = MACHINE_CRASHED;
		(void)snprintf(end->reason, sizeof(end->reason), "QEMU ended with status %d: %s", WEXITSTATUS(status),
			       length ? qemu->said.text : "it said nothing");
	}
}

static void process_ready(struct loop_source *source, uint32_t events)
{
	struct qemu *qemu = source->context;
	struct engine_end end;
	int status = 0;

	(void)events;
	if (qemu->ended || pidfd_wait(source->fd, WNOHANG, &status) == 0)
		return;
	qemu->ended = true;
	close_source(qemu->loop, source);
	/* Its ends are closed, so these come to an end, too. */
	while (qemu->console.open && port_read(&qemu->console) && qemu->console.open)
		;
	while (qemu->agent.open && port_read(&qemu->agent) && qemu->agent.open)
		;
	qmp_drain(&qemu->qmp);
	if (qemu->words.fd >= 0)
		read_words(qemu);
	judge(qemu, status, &end);
	qemu->owner.ended(qemu->owner.context, &end);
}

static void timer_ready(struct loop_source *source, uint32_t events)
{
	struct qemu *qemu = source->context;

	(void)events;
	close_source(qemu->loop, source);
	if (qemu->process.fd >= 0)
		(void)pidfd_kill(qemu->process.fd, SIGKILL);
}

/* QEMU writes the tables of its images back before it ends, which takes it some milliseconds. */
static void stop(struct engine *engine)
{
	struct qemu *qemu = (struct qemu *)engine;
	struct itimerspec patience = { .it_value = { .tv_sec = STOP_SECONDS } };

	if (qemu->process.fd < 0 || qemu->timer.fd >= 0)
		return;
	(void)pidfd_kill(qemu->process.fd, SIGTERM);
	qemu->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (qemu->timer.fd < 0 || timerfd_settime(qemu->timer.fd, 0, &patience, NULL) < 0 ||
	    loop_add(qemu->loop, &qemu->timer, EPOLLIN, NULL) < 0)
		(void)pidfd_kill(qemu->process.fd, SIGKILL);
}

/* ---- its begin ---- */

/* In the child. */
static void __attribute__((noreturn)) become_qemu(struct qemu *qemu, pid_t parent)
{
	static const char message[] = "cannot execute QEMU\n";
	char *const environment[] = { NULL };
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;
	int pipe_fds[2];

	/* It shall not outlive us, whatever becomes of us; nor shall a terminal's ^C reach it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	(void)setsid();
	(void)sigaction(SIGPIPE, &standard, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (pipe(pipe_fds) < 0 || dup2(pipe_fds[0], 0) < 0 || dup2(qemu->words_end, 1) < 0 ||
	    dup2(qemu->words_end, 2) < 0)
		_exit(127);
	(void)fds_close_from(3, qemu->args.fds, qemu->args.fds_count);
	for (size_t i = 0; i < qemu->args.fds_count; i++)
		(void)fcntl(qemu->args.fds[i], F_SETFD, 0);
	execve(qemu->args.items[0], (char **)qemu->args.items, environment);
	(void)!write(2, message, sizeof(message) - 1);
	_exit(127);
}

static void close_theirs(struct qemu *qemu)
{
	int *const sockets[] = { &qemu->sockets.console, &qemu->sockets.agent, &qemu->sockets.monitor,
				 &qemu->words_end };

	for (size_t i = 0; i < sizeof(sockets) / sizeof(*sockets); i++) {
		if (*sockets[i] >= 0)
			close(*sockets[i]);
		*sockets[i] = -1;
	}
	for (size_t i = 0; i < VM_SHARES_MAX; i++) {
		if (qemu->sockets.shares[i] >= 0)
			close(qemu->sockets.shares[i]);
		qemu->sockets.shares[i] = -1;
	}
}

static int start(struct engine *engine, struct error *err)
{
	struct qemu *qemu = (struct qemu *)engine;
	struct clone_options options = CLONE_OPTIONS_INIT;
	pid_t self = getpid(), pid;
	int pidfd = -1, ret;

	options.pidfd = &pidfd;
	pid = clone_process(&options, err);
	if (pid == 0)
		become_qemu(qemu, self);
	close_theirs(qemu);
	if (pid < 0)
		return (int)pid;
	qemu->process.fd = pidfd;
	ret = loop_add(qemu->loop, &qemu->process, EPOLLIN, err);
	if (ret < 0) {
		(void)pidfd_kill(pidfd, SIGKILL);
		(void)pidfd_wait(pidfd, 0, &(int){ 0 });
		close(pidfd);
		qemu->process.fd = -1;
	}
	return ret;
}

static void qemu_free(struct engine *engine)
{
	struct qemu *qemu = (struct qemu *)engine;
	int status;

	if (qemu->process.fd >= 0) {
		(void)pidfd_kill(qemu->process.fd, SIGKILL);
		(void)pidfd_wait(qemu->process.fd, 0, &status);
	}
	close_source(qemu->loop, &qemu->process);
	close_source(qemu->loop, &qemu->timer);
	close_source(qemu->loop, &qemu->words);
	port_close(&qemu->console);
	port_close(&qemu->agent);
	qmp_close(&qemu->qmp);
	close_theirs(qemu);
	qemu_args_free(&qemu->args);
	str_free(&qemu->said);
	free(qemu);
}

static int open_words(struct qemu *qemu, struct error *err)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_errno(err, errno, "pipe");
	(void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
	qemu->words.fd = pair[0];
	qemu->words_end = pair[1];
	return loop_add(qemu->loop, &qemu->words, EPOLLIN, err);
}

static int open_monitor(struct qemu *qemu, struct error *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "socketpair");
	qemu->sockets.monitor = pair[1];
	return qmp_open(&qemu->qmp, qemu->loop, pair[0], err);
}

static int open_all(struct qemu *qemu, struct error *err)
{
	int ret = port_open(&qemu->console, qemu, &qemu->sockets.console, qemu->owner.console, err);

	if (ret == 0 && qemu->config->oci >= 0)
		ret = port_open(&qemu->agent, qemu, &qemu->sockets.agent, qemu->owner.agent, err);
	if (ret == 0)
		ret = open_monitor(qemu, err);
	if (ret == 0)
		ret = open_words(qemu, err);
	return ret < 0 ? ret : qemu_args_make(&qemu->args, qemu->config, &qemu->sockets, err);
}

static int make(const struct vm_config *config, struct loop *loop, const struct engine_owner *owner,
		struct engine **engine, struct error *err)
{
	struct qemu *qemu = calloc(1, sizeof(*qemu));
	int ret;

	if (!qemu)
		return error_set(err, ENOMEM, "no memory for QEMU's machine");
	qemu->engine.ops = &engine_qemu;
	qemu->config = config;
	qemu->loop = loop;
	qemu->owner = *owner;
	qemu->words_end = qemu->console.source.fd = qemu->agent.source.fd = -1;
	qemu->sockets.console = qemu->sockets.agent = qemu->sockets.monitor = -1;
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		qemu->sockets.shares[i] = -1;
	qemu->process = (struct loop_source){ .fd = -1, .ready = process_ready, .context = qemu };
	qemu->timer = (struct loop_source){ .fd = -1, .ready = timer_ready, .context = qemu };
	qemu->words = (struct loop_source){ .fd = -1, .ready = words_ready, .context = qemu };
	for (size_t i = 0; i < config->shares_count; i++)
		qemu->sockets.shares[i] = config->shares[i].server;
	ret = open_all(qemu, err);
	if (ret < 0) {
		qemu_free(&qemu->engine);
		return ret;
	}
	*engine = &qemu->engine;
	return 0;
}

static size_t agent_input(struct engine *engine, const void *bytes, size_t count)
{
	return port_write(&((struct qemu *)engine)->agent, bytes, count);
}

static size_t console_input(struct engine *engine, const void *bytes, size_t count)
{
	return port_write(&((struct qemu *)engine)->console, bytes, count);
}

static int balloon(struct engine *engine, uint64_t bytes, struct error *err)
{
	struct qemu *qemu = (struct qemu *)engine;
	char command[128];

	if (qemu->config->kind != VM_KIND_PV || qemu->config->oci < 0)
		return error_set(err, EOPNOTSUPP, "this machine has no balloon");
	if (bytes >= qemu->config->memory)
		return error_set(err, EINVAL, "the machine has only %" PRIu64 " bytes of memory", qemu->config->memory);
	(void)snprintf(command, sizeof(command), "{\"execute\":\"balloon\",\"arguments\":{\"value\":%" PRIu64 "}}",
		       qemu->config->memory - bytes);
	qmp_send(&qemu->qmp, command);
	return 0;
}

static void counters(struct engine *engine, struct str *out)
{
	(void)engine; /* its translator counts nothing that it would tell */
	(void)out;
}

const struct engine_ops engine_qemu = {
	.name = "qemu",
	.make = make,
	.start = start,
	.agent_input = agent_input,
	.console_input = console_input,
	.stop = stop,
	.free = qemu_free,
	.balloon = balloon,
	.counters = counters,
};
