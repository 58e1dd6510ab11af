/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the host's side of the conversation with a guest's agent: whatever comes, no more is held than
 * was granted, and what is over is said once.
 *
 *     0 kind:1 session:1 size:2   a frame, with that many of the following bytes
 *     1 size:2                    bytes as they are
 *     2                           the host starts a process
 *     3 room:2                    the line takes so many bytes
 *     4 size:1                    whoever reads the output reads
 *     5 size:2                    the conversation begins anew, with a state that was saved
 *     other                       the loop goes on
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/host/session.h"

enum { STARTED_MAX = 8, STATE_PAYLOAD = 1024 };

struct fuzz {
	struct loop loop;
	struct sessions sessions;
	struct input input;
	size_t room;
	int output; /* what the processes' output comes out of */
	unsigned started, overs, exited[AGENT_SESSIONS_MAX];
};

static const uint8_t *bytes(struct fuzz *fuzz, size_t *count)
{
	const uint8_t *at = fuzz->input.at;
	size_t left = (size_t)(fuzz->input.end - at);

	*count = *count < left ? *count : left;
	fuzz->input.at += *count;
	return at;
}

static void on_session(void *context, struct session *session, uint32_t pid)
{
	(void)context, (void)pid;
	check(session->state == SESSION_RUNS);
}

static void on_failed(void *context, struct session *session, uint32_t code, const char *words)
{
	(void)context, (void)session, (void)code;
	check(strlen(words) < ERROR_TEXT_MAX);
}

static void on_exited(void *context, struct session *session)
{
	struct fuzz *fuzz = context;

	fuzz->exited[session->number]++;
	check(fuzz->exited[session->number] <= fuzz->started);
}

static void on_over(void *context, const struct session *session)
{
	check(session->number == 0);
	((struct fuzz *)context)->overs++;
}

static void on_text(void *context, const char *text, size_t size)
{
	(void)context;
	check(size <= AGENT_TEXT_MAX && (size == 0 || text));
}

static void on_nothing(void *context)
{
	(void)context;
}

static size_t on_send(void *context, const void *data, size_t count)
{
	struct fuzz *fuzz = context;

	(void)data;
	count = count < fuzz->room ? count : fuzz->room;
	fuzz->room -= count;
	return count;
}

static void open_sessions(struct fuzz *fuzz)
{
	const struct sessions_owner owner = { .hello = on_nothing,
					      .started = on_session,
					      .failed = on_failed,
					      .exited = on_exited,
					      .over = on_over,
					      .log = on_text,
					      .stats = on_text,
					      .ready = on_nothing,
					      .send = on_send,
					      .drained = on_nothing,
					      .context = fuzz };

	sessions_open(&fuzz->sessions, &fuzz->loop, &owner);
}

/* Input that does not end, output that is read slowly, errors that nobody reads. */
static void open_streams(struct fuzz *fuzz, int stdio[static 3])
{
	int ends[2];

	check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	if (fuzz->output >= 0)
		close(fuzz->output);
	fuzz->output = ends[0];
	stdio[0] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	stdio[1] = ends[1];
	stdio[2] = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static void start(struct fuzz *fuzz)
{
	int stdio[3];

	if (fuzz->started == STARTED_MAX)
		return;
	open_streams(fuzz, stdio);
	if (sessions_start(&fuzz->sessions, fuzz->started == 0 ? AGENT_CONFIG : AGENT_EXEC, "{}", 2, stdio, NULL, NULL))
		fuzz->started++;
}

static void feed(struct fuzz *fuzz, const void *data, size_t count)
{
	struct error err = ERROR_INIT;

	if (sessions_feed(&fuzz->sessions, data, count, &err) < 0)
		check(*err.text && fuzz->sessions.broken);
}

static void feed_frame(struct fuzz *fuzz)
{
	unsigned kind = number(&fuzz->input, 1), session = number(&fuzz->input, 1);
	size_t count = number(&fuzz->input, 2);
	const uint8_t *payload = bytes(fuzz, &count);
	struct str frame = STR_INIT;

	agent_put(&frame, (enum agent_kind)kind, (uint16_t)session, payload, count);
	feed(fuzz, frame.text, frame.length);
	str_free(&frame);
}

static void feed_bytes(struct fuzz *fuzz)
{
	size_t count = number(&fuzz->input, 2);
	const uint8_t *from = bytes(fuzz, &count);

	feed(fuzz, from, count);
}

static void read_output(struct fuzz *fuzz)
{
	char room[256 * 64];
	size_t count = (number(&fuzz->input, 1) + 1) * 64;

	if (fuzz->output >= 0)
		(void)!read(fuzz->output, room, count);
}

static void restore(struct fuzz *fuzz)
{
	size_t count = number(&fuzz->input, 2) % STATE_PAYLOAD;
	const uint8_t *from = bytes(fuzz, &count);
	struct error err = ERROR_INIT;
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	int stdio[3];

	sessions_close(&fuzz->sessions);
	open_sessions(fuzz);
	memset(fuzz->exited, 0, sizeof(fuzz->exited));
	open_streams(fuzz, stdio);
	state_begin(&writer, "agent", 1);
	state_put(&writer, from, count);
	state_end(&writer);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	if (sessions_restore(&fuzz->sessions, &reader, stdio, &err) < 0) {
		check(*err.text);
		sessions_close(&fuzz->sessions);
		open_sessions(fuzz);
	}
	str_free(&writer.out);
	fuzz->started = 1;
}

static void check_held(const struct sessions *sessions)
{
	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
		const struct session *session = &sessions->table[i];

		if (session->state == SESSION_FREE)
			continue;
		check(session->output.held.length - session->output.held_from <= AGENT_CREDIT);
		check(session->errors.held.length - session->errors.held_from <= AGENT_CREDIT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { .input = { data, data + size }, .room = AGENT_CREDIT, .output = -1 };

	/* As in the supervisor, where all signals are blocked. */
	(void)signal(SIGPIPE, SIG_IGN);
	check(loop_open(&fuzz.loop, NULL) == 0);
	open_sessions(&fuzz);
	while (fuzz.input.at < fuzz.input.end) {
		switch (number(&fuzz.input, 1)) {
		case 0:
			feed_frame(&fuzz);
			break;
		case 1:
			feed_bytes(&fuzz);
			break;
		case 2:
			start(&fuzz);
			break;
		case 3:
			fuzz.room += number(&fuzz.input, 2);
			sessions_room(&fuzz.sessions);
			break;
		case 4:
			read_output(&fuzz);
			break;
		case 5:
			restore(&fuzz);
			break;
		default:
			(void)loop_wait(&fuzz.loop, 0, NULL);
		}
		check_held(&fuzz.sessions);
	}
	sessions_close(&fuzz.sessions);
	loop_close(&fuzz.loop);
	if (fuzz.output >= 0)
		close(fuzz.output);
	return 0;
}
