/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "linux/tty.h"
#include "paradigm/shell/sync.h"

static void signals_ready(struct loop_source *source, uint32_t events)
{
	struct outside *outside = source->context;
	struct signalfd_siginfo info;

	(void)events;
	while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		outside->signal(outside->context, &info);
}

void outside_open(struct outside *outside, int sync)
{
	*outside = (struct outside){ .sync = sync };
	outside->signals = (struct loop_source){ .fd = -1, .ready = signals_ready, .context = outside };
}

static void restore_terminal(struct outside *outside)
{
	/* Standard input is not where it was, but this is the same terminal. */
	if (outside->raw)
		(void)tty_restore(STDERR_FILENO, &outside->saved);
	outside->raw = false;
}

void outside_close(struct outside *outside)
{
	restore_terminal(outside);
	if (outside->signals.fd >= 0)
		close(outside->signals.fd);
	if (outside->sync >= 0)
		close(outside->sync);
}

int outside_watch_signals(struct outside *outside, struct loop *loop,
			  void (*signal)(void *context, const struct signalfd_siginfo *info), void *context,
			  struct error *err)
{
	sigset_t all;

	outside->signal = signal;
	outside->context = context;
	(void)sigfillset(&all);
	/* A fault of our own is no message to the workload. */
	for (size_t i = 0; i < 6; i++)
		(void)sigdelset(&all, (int[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS }[i]);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
		return error_errno(err, errno, "sigprocmask");
	outside->signals.fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (outside->signals.fd < 0)
		return error_errno(err, errno, "signalfd");
	return loop_add(loop, &outside->signals, EPOLLIN, err);
}

void outside_make_raw(struct outside *outside)
{
	outside->raw = tty_make_raw(STDIN_FILENO, &outside->saved, NULL) == 0;
}

/* Whoever reads the workload's output must see its end.  Standard error is for the last words. */
void outside_give_streams(struct outside *outside, int stdio[static 3])
{
	for (int i = 0; i < 3; i++)
		stdio[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
	(void)dup2(outside->signals.fd, STDIN_FILENO);
	(void)dup2(outside->signals.fd, STDOUT_FILENO);
}

void outside_tell_started(struct outside *outside)
{
	if (outside->sync >= 0)
		close(outside->sync);
	outside->sync = -1;
}

void outside_tell_error(struct outside *outside, const struct error *err)
{
	if (outside->sync >= 0) {
		(void)sync_send_error(outside->sync, err);
		close(outside->sync);
		outside->sync = -1;
		return;
	}
	restore_terminal(outside);
	dprintf(STDERR_FILENO, "caisson-vmm: %s\n", err->text);
}
