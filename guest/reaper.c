/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/reaper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL_BASE = 128 };

/* Signals that say something about this process alone. */
static const int own_signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU };

__attribute__((noreturn)) static void run_program(char **argv, const sigset_t *mask)
{
	/* A process group of its own in the foreground, so that keys on the terminal reach it and not us. */
	if (setpgid(0, 0) == 0 && isatty(STDIN_FILENO))
		(void)tcsetpgrp(STDIN_FILENO, getpid());
	(void)signal(SIGTTOU, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "caisson-init: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE);
}

/* Reaps all that has ended; returns whether the program is among it. */
static int reap(pid_t program, int *status)
{
	int ended = 0, one;
	pid_t pid;

	while ((pid = waitpid(-1, &one, WNOHANG)) > 0) {
		if (pid == program) {
			*status = one;
			ended = 1;
		}
	}
	return ended;
}

static int supervise(pid_t program, const sigset_t *all)
{
	int status = 0;

	for (;;) {
		siginfo_t info;
		int signal = sigwaitinfo(all, &info);

		if (signal < 0)
			continue;
		if (signal != SIGCHLD) {
			(void)kill(program, signal);
			continue;
		}
		if (reap(program, &status))
			return WIFSIGNALED(status) ? EXIT_SIGNAL_BASE + WTERMSIG(status) : WEXITSTATUS(status);
	}
}

int reaper_run(char **argv)
{
	sigset_t all, old;
	pid_t program;

	/* Where it is not process 1 (a shared pid namespace) orphans would go past it. */
	if (getpid() != 1)
		(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)sigfillset(&all);
	for (size_t i = 0; i < sizeof(own_signals) / sizeof(*own_signals); i++)
		(void)sigdelset(&all, own_signals[i]);
	(void)sigprocmask(SIG_SETMASK, &all, &old);
	/* tcsetpgrp() from what is then a background group would stop us. */
	(void)signal(SIGTTOU, SIG_IGN);
	program = fork();
	if (program < 0) {
		dprintf(STDERR_FILENO, "caisson-init: fork: %s\n", strerror(errno));
		return EXIT_CANNOT_EXECUTE;
	}
	if (program == 0)
		run_program(argv, &old);
	return supervise(program, &all);
}
