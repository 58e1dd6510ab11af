/* SPDX-License-Identifier: Apache-2.0 */
/* The user's side of stdio: see client.h. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/client.h"
#include "linux/tty.h"

enum { KEYS_MAX = 16 };

struct attachment {
	struct instance *instance;
	const struct attach_options *options;
	int client, signals, input;
	unsigned char keys[KEYS_MAX];
	size_t keys_count, keys_matched;
	struct monitor_exit *ended;
	bool over, detached;
	int ending; /* signal that is to end us, once the terminal is what it was; 0: none */
	/*
	 * Input that the monitor has not taken yet.  Never waited for: the monitor takes no input while we do not take
	 * its output.
	 */
	size_t pending_size;
	struct monitor_frame pending;
};

/* "ctrl-p", "a", "ctrl-@" ... one word of length bytes. */
static int parse_key(const char *word, size_t length)
{
	static const char specials[] = "@[\\]^_";

	if (length == 1)
		return (unsigned char)*word;
	if (length != 6 || strncasecmp(word, "ctrl-", 5) != 0)
		return -EINVAL;
	if (isalpha((unsigned char)word[5]))
		return tolower((unsigned char)word[5]) - 'a' + 1;
	return strchr(specials, word[5]) ? word[5] & 0x1f : -EINVAL;
}

int attach_parse_keys(const char *text, unsigned char keys[static KEYS_MAX], size_t *count, struct error *err)
{
	*count = 0;
	while (*text) {
		size_t length = strcspn(text, ",");
		int key = parse_key(text, length);

		if (key < 0 || *count == KEYS_MAX)
			return error_set(
				err, EINVAL,
				"invalid detach keys: '%s'; write them like ctrl-p,ctrl-q: letters, or ctrl- and "
				"one of a-z @ [ ] \\ ^ _",
				text);
		keys[(*count)++] = (unsigned char)key;
		text += length + (text[length] == ',');
	}
	return 0;
}

static void send_pending(struct attachment *self)
{
	if (self->pending_size == 0)
		return;
	if (send(self->client, &self->pending, self->pending_size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ||
	    (errno != EAGAIN && errno != EINTR))
		self->pending_size = 0; /* taken, or nobody is there any more, which the other direction will see */
}

/* Only while nothing is pending. */
static void send_frame(struct attachment *self, char type, const void *data, size_t size)
{
	self->pending.type = type;
	memcpy(self->pending.data, data, size);
	self->pending_size = 1 + size;
	send_pending(self);
}

static void send_size(const struct attachment *self)
{
	struct {
		char type;
		char data[sizeof(struct monitor_size)];
	} frame = { .type = MONITOR_RESIZE };
	struct monitor_size size;
	unsigned rows, columns;

	if (!self->options->tty || tty_get_size(self->options->input, &rows, &columns) < 0 || rows == 0)
		return;
	size = (struct monitor_size){ .rows = (uint16_t)rows, .columns = (uint16_t)columns };
	memcpy(frame.data, &size, sizeof(size));
	(void)send(self->client, &frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * Looks for the detach keys; what may be their beginning is held back and goes with what comes next.  Returns how many
 * bytes are in out, which must have room for count and KEYS_MAX more.
 */
static size_t filter_keys(struct attachment *self, const unsigned char *in, size_t count, unsigned char *out)
{
	size_t used = 0;

	for (size_t i = 0; i < count && !self->detached; i++) {
		if (in[i] == self->keys[self->keys_matched]) {
			self->keys_matched++;
			self->detached = self->keys_matched == self->keys_count;
			continue;
		}
		memcpy(out + used, self->keys, self->keys_matched);
		used += self->keys_matched;
		self->keys_matched = 0;
		if (in[i] == self->keys[0])
			self->keys_matched = 1;
		else
			out[used++] = in[i];
	}
	return used;
}

static void pass_input(struct attachment *self)
{
	unsigned char bytes[MONITOR_DATA_MAX - KEYS_MAX], filtered[MONITOR_DATA_MAX];
	ssize_t count = read(self->input, bytes, sizeof(bytes));
	size_t size = count > 0 ? (size_t)count : 0;

	if (count < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (count <= 0) {
		self->input = -1;
		send_frame(self, MONITOR_INPUT_END, "", 0);
		return;
	}
	if (!self->keys_count) {
		send_frame(self, MONITOR_INPUT, bytes, size);
		return;
	}
	size = filter_keys(self, bytes, size, filtered);
	self->over = self->detached;
	if (size)
		send_frame(self, MONITOR_INPUT, filtered, size);
}

static int pass_output(struct attachment *self, struct error *err)
{
	struct monitor_frame frame;
	ssize_t count = recv(self->client, &frame, sizeof(frame), 0);
	int to, ret = 0;

	if (count < 0 && errno == EINTR)
		return 0;
	if (count <= 0) {
		self->over = true;
		return 0;
	}
	if (frame.type == MONITOR_EXIT && count >= (ssize_t)(1 + sizeof(*self->ended))) {
		memcpy(self->ended, frame.data, sizeof(*self->ended));
		self->over = true;
		return 1;
	}
	to = frame.type == MONITOR_OUTPUT   ? self->options->output
	     : frame.type == MONITOR_ERRORS ? self->options->errors
					    : -1;
	if (to >= 0)
		ret = file_write_all(to, frame.data, (size_t)count - 1);
	return ret < 0 ? error_errno(err, -ret, "cannot write the instance's output") : 0;
}

static void take_signal(struct attachment *self)
{
	struct signalfd_siginfo info;

	if (read(self->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		send_size(self);
	else if (!self->options->pass_signals)
		self->over = (self->ending = (int)info.ssi_signo) != 0;
	else
		(void)instance_signal(self->instance, (int)info.ssi_signo, NULL);
}

void attach_passed_signals(sigset_t *set)
{
	static const int passed[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGTSTP };

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++)
		sigaddset(set, passed[i]);
}

/* A terminal in raw mode must not be left so: what ends us waits until it is restored. */
static void choose_signals(const struct attach_options *options, sigset_t *set)
{
	static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

	sigemptyset(set);
	if (options->pass_signals)
		attach_passed_signals(set);
	for (size_t i = 0; options->tty && i < sizeof(ending) / sizeof(*ending); i++)
		sigaddset(set, ending[i]);
	if (options->tty)
		sigaddset(set, SIGWINCH);
}

/* 1: ended is filled. */
static int pass_all(struct attachment *self, struct error *err)
{
	int ret = 0;

	while (!self->over && ret == 0) {
		bool pending = self->pending_size > 0;
		struct pollfd fds[] = { { .fd = self->client, .events = (short)(POLLIN | (pending ? POLLOUT : 0)) },
					{ .fd = pending ? -1 : self->input, .events = POLLIN },
					{ .fd = self->signals, .events = POLLIN } };

		if (poll(fds, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return error_errno(err, errno, "cannot wait for the instance");
		}
		if (fds[2].revents)
			take_signal(self);
		if (fds[0].revents & POLLOUT)
			send_pending(self);
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
			ret = pass_output(self, err);
		if (ret == 0 && !self->over && fds[1].revents)
			pass_input(self);
	}
	return ret;
}

int attach(struct instance *instance, int client, const struct attach_options *options, enum attach_result *result,
	   struct monitor_exit *ended, struct error *err)
{
	struct attachment self = {
		.instance = instance, .options = options, .client = client, .input = options->input, .ended = ended
	};
	cleanup_close int signals = -1;
	struct termios saved;
	sigset_t chosen, before;
	int ret = 0;

	if (options->tty && options->detach_keys)
		ret = attach_parse_keys(options->detach_keys, self.keys, &self.keys_count, err);
	if (ret < 0)
		return ret;
	choose_signals(options, &chosen);
	(void)sigprocmask(SIG_BLOCK, &chosen, &before);
	if (options->tty)
		ret = tty_make_raw(options->input, &saved, err);
	if (ret < 0) {
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return ret;
	}
	signals = self.signals = signalfd(-1, &chosen, SFD_CLOEXEC | SFD_NONBLOCK);
	send_size(&self);
	ret = pass_all(&self, err);
	if (options->tty)
		(void)tty_restore(options->input, &saved);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (self.ending)
		(void)raise(self.ending);
	if (ret >= 0)
		*result = ret == 1 ? ATTACH_EXITED : self.detached ? ATTACH_DETACHED : ATTACH_LOST;
	return ret < 0 ? ret : 0;
}
