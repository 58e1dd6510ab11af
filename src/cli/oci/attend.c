/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/attend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/tty.h"

/* Every signal that can be a message.  The others are about ourselves: our own faults, and what nobody sends. */
static void messages(sigset_t *set)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGURG };

	(void)sigfillset(set);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		(void)sigdelset(set, own[i]);
}

int attend_begin(bool subreaper, struct error *err)
{
	sigset_t set;

	messages(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return error_errno(err, errno, "cannot hold signals back");
	if (subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return error_errno(err, errno, "cannot become a subreaper");
	return 0;
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reaps whoever has ended.  Returns whether pid was among them, or -errno. */
static int reap(pid_t pid, int *code)
{
	for (;;) {
		int status;
		pid_t ended = waitpid(-1, &status, WNOHANG);

		if (ended == pid) {
			*code = exit_status(status);
			return 1;
		}
		if (ended == 0)
			return 0;
		if (ended < 0 && errno != EINTR)
			return -errno;
	}
}

/* pid is a child that was not waited for: nobody else can have its number. */
static void pass_on(pid_t pid, int signal, pid_t sender)
{
	/* A SIGPIPE of our own making, from a reader of our output that left. */
	if (sender != getpid())
		(void)kill(pid, signal);
}

static int wait_for_end(pid_t pid, struct error *err)
{
	sigset_t set;
	int code = 0;

	messages(&set);
	for (;;) {
		siginfo_t info;
		int signal = sigwaitinfo(&set, &info), ended = 0;

		if (signal == SIGCHLD)
			ended = reap(pid, &code);
		else if (signal > 0)
			pass_on(pid, signal, info.si_pid);
		if (ended)
			return ended < 0 ? error_errno(err, -ended, "cannot wait for process %d", pid) : code;
	}
}

/* One direction: what was read and not written yet. */
struct stream {
	int from, to;
	size_t start, end;
	/* At most what a pipe that is ready takes without blocking (PIPE_BUF). */
	char bytes[4096];
};

struct relay {
	const struct attend *attend;
	pid_t pid;
	int console, signals;
	struct stream keys, screen;
	bool raw;
	struct termios saved;
};

void attend_console_size(struct oci_console_size *size)
{
	unsigned int rows, columns;

	if (isatty(STDIN_FILENO) && tty_get_size(STDIN_FILENO, &rows, &columns) == 0)
		*size = (struct oci_console_size){ .set = true, .height = rows, .width = columns };
}

static void copy_size(const struct relay *relay)
{
	unsigned int rows, columns;

	if (tty_get_size(STDIN_FILENO, &rows, &columns) == 0)
		(void)tty_set_size(relay->console, rows, columns);
}

/* Returns false at the end of the stream. */
static bool stream_read(struct stream *stream)
{
	ssize_t count = read(stream->from, stream->bytes, sizeof(stream->bytes));

	if (count <= 0)
		return count < 0 && (errno == EINTR || errno == EAGAIN);
	stream->start = 0;
	stream->end = (size_t)count;
	return true;
}

static void stream_write(struct stream *stream)
{
	ssize_t count = write(stream->to, stream->bytes + stream->start, stream->end - stream->start);

	if (count > 0)
		stream->start += (size_t)count;
	else if (errno != EINTR && errno != EAGAIN)
		stream->start = stream->end; /* nobody reads it: as if it had been */
}

/* The end of our input is the end of the terminal's, where the program reads lines. */
static void type_end_of_file(struct relay *relay)
{
	struct termios termios;

	relay->keys.from = -1;
	if (tcgetattr(relay->console, &termios) == 0 && (termios.c_lflag & ICANON)) {
		relay->keys.bytes[0] = (char)termios.c_cc[VEOF];
		relay->keys.start = 0;
		relay->keys.end = 1;
	}
}

/* Returns 1 when the process has ended. */
static int take_signals(struct relay *relay, int *code)
{
	struct signalfd_siginfo info;

	while (read(relay->signals, &info, sizeof(info)) == sizeof(info)) {
		int ended = 0;

		if (info.ssi_signo == SIGCHLD)
			ended = reap(relay->pid, code);
		else if (info.ssi_signo == SIGWINCH)
			copy_size(relay);
		else
			pass_on(relay->pid, (int)info.ssi_signo, (pid_t)info.ssi_pid);
		if (ended)
			return ended;
	}
	return 0;
}

static bool pending(const struct stream *stream)
{
	return stream->start < stream->end;
}

/* What the process wrote before its end is still in the terminal. */
static void drain(struct relay *relay)
{
	struct pollfd out = { .fd = relay->screen.to, .events = POLLOUT };

	for (;;) {
		while (pending(&relay->screen)) {
			if (poll(&out, 1, -1) < 0 && errno != EINTR)
				return;
			stream_write(&relay->screen);
		}
		if (!stream_read(&relay->screen) || !pending(&relay->screen))
			return;
	}
}

static int relay_loop(struct relay *relay, int *code)
{
	enum { SIGNALS, INPUT, OUTPUT, CONSOLE, WATCHED };
	struct stream *keys = &relay->keys, *screen = &relay->screen;

	for (;;) {
		struct pollfd polls[] = {
			[SIGNALS] = { .fd = relay->signals, .events = POLLIN },
			[INPUT] = { .fd = pending(keys) ? -1 : keys->from, .events = POLLIN },
			[OUTPUT] = { .fd = pending(screen) ? screen->to : -1, .events = POLLOUT },
			[CONSOLE] = { .fd = relay->console,
				      .events = (short)((pending(keys) ? POLLOUT : 0) |
							(pending(screen) || screen->from < 0 ? 0 : POLLIN)) },
			[WATCHED] = { .fd = relay->attend->watched, .events = POLLIN },
		};
		int ended;

		/* A terminal that nobody has open any more would be reported over and over. */
		if (screen->from < 0)
			polls[CONSOLE].fd = -1;
		if (poll(polls, sizeof(polls) / sizeof(*polls), -1) < 0 && errno != EINTR)
			return -errno;
		if (polls[OUTPUT].revents)
			stream_write(screen);
		if ((polls[CONSOLE].revents & (POLLIN | POLLHUP)) && !pending(screen) && !stream_read(screen))
			screen->from = -1;
		if (polls[INPUT].revents && !stream_read(keys))
			type_end_of_file(relay);
		if (pending(keys) && (polls[CONSOLE].revents & POLLOUT))
			stream_write(keys);
		if (polls[WATCHED].revents)
			relay->attend->ready(relay->attend->watched);
		ended = polls[SIGNALS].revents ? take_signals(relay, code) : 0;
		if (ended)
			return ended;
	}
}

static int relay_open(struct relay *relay, struct error *err)
{
	sigset_t set;

	messages(&set);
	relay->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (relay->signals < 0)
		return error_errno(err, errno, "cannot make a signalfd");
	if (relay->console < 0)
		return 0;
	/* The descriptor is ours alone, so that nobody else is surprised by it. */
	if (fcntl(relay->console, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return error_errno(err, errno, "cannot set up the terminal");
	if (!isatty(STDIN_FILENO))
		return 0;
	copy_size(relay);
	relay->raw = tty_make_raw(STDIN_FILENO, &relay->saved, err) == 0;
	/* Lines come as "\n" (plain_lines in runtime.h): beginning them on the left is the caller's terminal's part. */
	if (relay->raw)
		(void)tty_process_output(STDIN_FILENO);
	return relay->raw ? 0 : -EIO;
}

static int relay_until_end(const struct attend *attend, struct error *err)
{
	struct relay relay = { .attend = attend,
			       .pid = attend->pid,
			       .console = attend->console,
			       .signals = -1,
			       .keys = { .from = attend->console < 0 ? -1 : STDIN_FILENO, .to = attend->console },
			       .screen = { .from = attend->console, .to = STDOUT_FILENO } };
	int ret = relay_open(&relay, err), code = 0;

	if (ret == 0) {
		ret = relay_loop(&relay, &code);
		if (ret < 0)
			(void)error_errno(err, -ret, "cannot attend to process %d", attend->pid);
		else if (attend->console >= 0)
			drain(&relay);
	}
	if (relay.raw)
		(void)tty_restore(STDIN_FILENO, &relay.saved);
	if (relay.signals >= 0)
		close(relay.signals);
	return ret < 0 ? ret : code;
}

int attend_wait(const struct attend *attend, struct error *err)
{
	bool only_waits = attend->console < 0 && attend->watched < 0;

	return only_waits ? wait_for_end(attend->pid, err) : relay_until_end(attend, err);
}
