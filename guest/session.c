/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "linux/tty.h"

enum { SIGNAL_BASE = 128, LAST_WORDS_MS = 200, GRANT_AT = AGENT_CREDIT / 2 };

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- output ---- */

static void output_arm(struct session_output *output, bool armed)
{
	struct loop *loop = output->session->channel->loop;

	if (armed == output->armed)
		return;
	/* Taken out altogether: a hang-up would be told even to who waits for nothing. */
	if (!armed)
		loop_remove(loop, &output->source);
	else if (loop_add(loop, &output->source, EPOLLIN, NULL) < 0)
		return;
	output->armed = armed;
}

static void output_close(struct session_output *output)
{
	struct session *session = output->session;

	output_arm(output, false);
	close(output->source.fd);
	output->source.fd = -1;
	agent_put(&session->channel->out, output->end, session->number, NULL, 0);
}

static bool output_may_read(const struct session_output *output)
{
	return output->source.fd >= 0 && output->credit > 0 && !channel_is_full(output->session->channel);
}

/* Nothing is there now; whether something may still come. */
static bool output_is_awaited(const struct session *session)
{
	return !session->ended || (session->end_by_ms && now_ms() < session->end_by_ms);
}

/* One read; whether there may be more at once. */
static bool output_read(struct session_output *output)
{
	const struct session *session = output->session;
	char data[AGENT_DATA_MAX];
	size_t want = output->credit < sizeof(data) ? output->credit : sizeof(data);
	ssize_t count = read(output->source.fd, data, want);

	if (count > 0) {
		agent_put(&session->channel->out, output->data, session->number, data, (size_t)count);
		output->credit -= (uint32_t)count;
		return true;
	}
	if (count < 0 && (errno == EINTR || (errno == EAGAIN && output_is_awaited(session))))
		return errno == EINTR;
	output_close(output); /* its end, or EIO: nobody has the terminal open */
	return false;
}

static void output_go_on(struct session_output *output)
{
	/* Of a process that has ended everything at once; otherwise others have their turn. */
	while (output_may_read(output) && output_read(output) && output->session->ended)
		;
	if (output->source.fd >= 0)
		output_arm(output, output_may_read(output));
}

static void output_ready(struct loop_source *source, uint32_t events)
{
	struct session_output *output = source->context;

	(void)events;
	output_go_on(output);
	channel_flush(output->session->channel);
}

/* ---- input ---- */

static void input_arm(struct session *session, bool armed)
{
	struct session_input *input = &session->input;

	if (armed == input->armed)
		return;
	if (!armed)
		loop_remove(session->channel->loop, &input->source);
	else if (loop_add(session->channel->loop, &input->source, EPOLLOUT, NULL) < 0)
		return;
	input->armed = armed;
}

static void input_close(struct session *session)
{
	struct session_input *input = &session->input;

	if (input->source.fd < 0)
		return;
	input_arm(session, false);
	close(input->source.fd);
	input->source.fd = -1;
}

static void input_took(struct session *session, size_t count)
{
	struct session_input *input = &session->input;

	input->owed += (uint32_t)count;
	if (input->owed < GRANT_AT)
		return;
	agent_put_numbers(&session->channel->out, AGENT_CREDIT_GRANT, session->number, AGENT_INPUT, input->owed);
	input->credit += input->owed;
	input->owed = 0;
}

static void input_go_on(struct session *session)
{
	struct session_input *input = &session->input;

	while (input->done < input->pending.length) {
		size_t left = input->pending.length - input->done;
		ssize_t count = input->source.fd < 0 ? (ssize_t)left
						     : write(input->source.fd, input->pending.text + input->done, left);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno == EAGAIN) {
			input_arm(session, true);
			return;
		}
		if (count < 0) {
			input_close(session);
			continue;
		}
		input->done += (size_t)count;
		input_took(session, (size_t)count);
	}
	input->pending.length = input->done = 0;
	if (input->source.fd < 0)
		return;
	input_arm(session, false);
	/* A terminal has no end; who is at it types one. */
	if (input->ending && session->terminal < 0)
		input_close(session);
}

static void input_ready(struct loop_source *source, uint32_t events)
{
	struct session *session = source->context;

	(void)events;
	input_go_on(session);
	channel_flush(session->channel);
}

int session_input(struct session *session, const struct agent_frame *frame, struct error *err)
{
	struct session_input *input = &session->input;

	if (frame->size > input->credit)
		return error_set(err, EPROTO, "the host sent more input than it was granted");
	input->credit -= frame->size;
	if (!input->ending)
		str_append_bytes(&input->pending, frame->payload, frame->size);
	else
		input_took(session, frame->size);
	if (str_failed(&input->pending))
		return error_errno(err, ENOMEM, "cannot take input");
	input_go_on(session);
	return 0;
}

void session_input_end(struct session *session)
{
	session->input.ending = true;
	input_go_on(session);
}

int session_grant(struct session *session, const struct agent_frame *frame, struct error *err)
{
	uint32_t kind = 0, bytes = 0;

	(void)agent_number(frame, 0, &kind);
	(void)agent_number(frame, 1, &bytes);
	for (size_t i = 0; i < sizeof(session->outputs) / sizeof(*session->outputs); i++) {
		struct session_output *output = &session->outputs[i];

		if (output->data != kind)
			continue;
		if (__builtin_add_overflow(output->credit, bytes, &output->credit))
			return error_set(err, EPROTO, "the host granted more than 4 GiB");
		output_go_on(output);
		return 0;
	}
	return error_set(err, EPROTO, "the host granted credit for kind %u", kind);
}

int session_resize(struct session *session, uint32_t rows, uint32_t columns)
{
	if (session->terminal < 0 || rows > USHRT_MAX || columns > USHRT_MAX)
		return -EINVAL;
	return tty_set_size(session->terminal, rows, columns);
}

/* ---- a session's life ---- */

static void set_output(struct session *session, int index, int fd, enum agent_kind data, enum agent_kind end)
{
	struct session_output *output = &session->outputs[index];

	*output = (struct session_output){ .source = { .fd = fd, .ready = output_ready, .context = output },
					   .session = session,
					   .data = data,
					   .end = end,
					   .credit = AGENT_CREDIT };
	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, O_RDONLY | O_NONBLOCK);
}

int session_begin(struct session *session, struct channel *channel, uint16_t number, pid_t pid,
		  const struct session_streams *streams, struct error *err)
{
	bool terminal = streams->output < 0;
	/* The same descriptor cannot be waited for twice. */
	int output = terminal ? fcntl(streams->input, F_DUPFD_CLOEXEC, 3) : streams->output;

	*session = (struct session){ .channel = channel, .number = number, .pid = pid, .terminal = -1 };
	set_output(session, 0, output, AGENT_OUTPUT, AGENT_OUTPUT_END);
	set_output(session, 1, terminal ? -1 : streams->errors, AGENT_ERRORS, AGENT_ERRORS_END);
	session->input = (struct session_input){
		.source = { .fd = streams->input, .ready = input_ready, .context = session }, .credit = AGENT_CREDIT
	};
	(void)fcntl(streams->input, F_SETFL, (terminal ? O_RDWR : O_WRONLY) | O_NONBLOCK);
	if (output < 0)
		return error_errno(err, errno, "cannot serve the terminal");
	if (terminal) {
		session->terminal = tty_open_peer(streams->input, err);
		if (session->terminal < 0)
			return session->terminal;
	}
	for (size_t i = 0; i < sizeof(session->outputs) / sizeof(*session->outputs); i++) {
		if (session->outputs[i].source.fd >= 0)
			output_arm(&session->outputs[i], true);
	}
	return 0;
}

void session_ended(struct session *session, int status)
{
	session->ended = true;
	session->status = WIFSIGNALED(status) ? SIGNAL_BASE + (uint32_t)WTERMSIG(status)
					      : (uint32_t)WEXITSTATUS(status);
	input_close(session);
	if (session->terminal >= 0) {
		/* What was written to a terminal is on its way for a while, and only its last close tells the end. */
		close(session->terminal);
		session->terminal = -1;
		session->end_by_ms = now_ms() + LAST_WORDS_MS;
	}
	session_go_on(session);
}

void session_go_on(struct session *session)
{
	for (size_t i = 0; i < sizeof(session->outputs) / sizeof(*session->outputs); i++) {
		if (session->outputs[i].source.fd >= 0)
			output_go_on(&session->outputs[i]);
	}
}

bool session_is_over(const struct session *session)
{
	return session->ended && session->outputs[0].source.fd < 0 && session->outputs[1].source.fd < 0;
}

int session_timeout(const struct session *session)
{
	int64_t left = session->end_by_ms - now_ms();

	if (!session->end_by_ms || session_is_over(session) || !output_may_read(&session->outputs[0]))
		return -1;
	return left < 0 ? 0 : (int)left;
}

void session_close(struct session *session)
{
	for (size_t i = 0; i < sizeof(session->outputs) / sizeof(*session->outputs); i++) {
		struct session_output *output = &session->outputs[i];

		if (output->source.fd < 0)
			continue;
		output_arm(output, false);
		close(output->source.fd);
	}
	input_close(session);
	str_free(&session->input.pending);
	if (session->terminal >= 0)
		close(session->terminal);
	*session = (struct session){ .pid = 0 };
}
