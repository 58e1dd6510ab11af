/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One more process in a machine, and its stand-in outside: a child of the
 * caller's that passes signals and the terminal's size on, and ends as it ends.
 * The bytes do not go through it: the monitor has the descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/clone.h"
#include "linux/tty.h"
#include "paradigm/vm/vmm.h"

enum {
	STATUS_KILLED = 137,
	BEGIN_SECONDS = 120, /* a guest that has not begun it by then does not live any more: as at its boot */
};

struct stand_in {
	int socket, signals;
	int terminal; /* -1: none */
	bool raw;
	struct termios saved;
};

static void tell(const struct stand_in *self, enum control_kind kind, uint32_t number, uint32_t second)
{
	const struct control_message request = { .kind = kind, .number = number, .second = second };

	/* If it cannot be told it has ended, which the next receive says. */
	(void)vmm_send(self->socket, &request, NULL, NULL, 0, NULL);
}

static void tell_size(const struct stand_in *self)
{
	unsigned int rows, columns;

	if (self->terminal >= 0 && tty_get_size(self->terminal, &rows, &columns) == 0)
		tell(self, CONTROL_RESIZE, rows, columns);
}

static void pass_signal(const struct stand_in *self)
{
	struct signalfd_siginfo info;

	if (read(self->signals, &info, sizeof(info)) != (ssize_t)sizeof(info) || info.ssi_signo == SIGCHLD)
		return;
	if (info.ssi_signo == SIGWINCH && self->terminal >= 0)
		tell_size(self);
	else
		tell(self, CONTROL_SIGNAL, info.ssi_signo, 0);
}

/* Until the process's end; its exit status. */
static int attend(const struct stand_in *self)
{
	struct pollfd fds[] = { { .fd = self->socket, .events = POLLIN }, { .fd = self->signals, .events = POLLIN } };
	struct control_message answer;

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return STATUS_KILLED;
		if (fds[1].revents)
			pass_signal(self);
		if (!fds[0].revents)
			continue;
		if (vmm_receive(self->socket, &answer, NULL, NULL) < 0)
			return STATUS_KILLED; /* and the machine with it */
		if (answer.kind == CONTROL_EXITED)
			return (int)(answer.number & 0xff);
	}
}

/* Keeps a descriptor above the standard streams, which it may be one of. */
static int keep(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static void __attribute__((noreturn)) stand_in_main(int socket, const struct paradigm_exec *exec, const sigset_t *all)
{
	struct stand_in self = { .socket = keep(socket), .terminal = -1 };
	int kept[3], status;

	(void)prctl(PR_SET_NAME, "caisson-exec");
	if (exec->process->terminal)
		self.terminal = keep(exec->stdio[0] >= 0 ? exec->stdio[0] : STDIN_FILENO);
	if (self.terminal >= 0 && exec->stdio[0] >= 0)
		(void)tty_make_controlling(self.terminal, NULL);
	self.signals = signalfd(-1, all, SFD_CLOEXEC);
	self.signals = self.signals >= 0 && self.signals < 3 ? keep(self.signals) : self.signals;
	/* Whoever reads the output waits for the last one who holds it: that must be the monitor. */
	kept[0] = self.socket, kept[1] = self.signals, kept[2] = self.terminal;
	(void)fds_close_from(0, kept, 3);
	if (self.socket < 0 || self.signals < 0)
		_exit(STATUS_KILLED);
	if (self.terminal >= 0)
		self.raw = tty_make_raw(self.terminal, &self.saved, NULL) == 0;
	tell_size(&self);
	status = attend(&self);
	if (self.raw)
		(void)tty_restore(self.terminal, &self.saved);
	_exit(status);
}

/* The descriptors for the monitor; what the caller has closed is replaced. */
static int send_exec(int socket, const struct paradigm_exec *exec, struct error *err)
{
	const struct control_message request = { .kind = CONTROL_EXEC };
	cleanup_close int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[3];

	for (int i = 0; i < 3; i++) {
		fds[i] = exec->stdio[i] >= 0 ? exec->stdio[i] : i;
		if (fcntl(fds[i], F_GETFD) < 0)
			fds[i] = nothing;
	}
	return vmm_send(socket, &request, exec->process_json, fds, 3, err);
}

int vmm_exec(const struct paradigm_exec *exec, pid_t *pid, struct error *err)
{
	struct clone_options options = CLONE_OPTIONS_INIT;
	cleanup_close int socket = vmm_connect(exec->dir_fd, err);
	struct control_message answer;
	sigset_t all, before;
	const struct timeval patience = { .tv_sec = BEGIN_SECONDS }, for_ever = { .tv_sec = 0 };
	pid_t child;
	int ret = socket < 0 ? socket : send_exec(socket, exec, err);

	if (ret == 0) {
		(void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		ret = vmm_receive(socket, &answer, NULL, err);
		(void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever));
	}
	if (ret == 0 && answer.kind != CONTROL_STARTED)
		ret = error_set(err, EPROTO, "the virtual machine's monitor gave an answer of kind %u", answer.kind);
	if (ret < 0)
		return ret;
	/* Blocked before it is there, so that no signal hits it unprepared. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	child = clone_process(&options, err);
	if (child == 0)
		stand_in_main(socket, exec, &all);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (child < 0)
		return (int)child;
	*pid = child;
	return 0;
}
