/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/session.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
	BACKLOG_MAX = 256 << 10, /* bytes to the guest, above which no input is read */
	FEED_MAX = 64 << 10,	 /* bytes that are parsed at once */
	GRANT_MIN = AGENT_CREDIT / 2,
	CREDIT_MAX = 1 << 20, /* that a guest may give; a sane one gives AGENT_CREDIT */
};

/* ---- to the guest ---- */

size_t sessions_backlog(const struct sessions *sessions)
{
	return sessions->out.length - sessions->out_from;
}

static void pump_inputs(struct sessions *sessions);

/* Gives the engine what waits for it. */
static void send_out(struct sessions *sessions)
{
	struct str *out = &sessions->out;

	if (sessions->broken || str_failed(out)) {
		sessions->broken = true;
		out->length = sessions->out_from = 0;
		return;
	}
	while (sessions->out_from < out->length) {
		size_t taken = sessions->owner.send(sessions->owner.context, out->text + sessions->out_from,
						    out->length - sessions->out_from);

		if (taken == 0)
			return;
		sessions->out_from += taken;
		sessions->bytes_out += taken;
	}
	out->length = sessions->out_from = 0;
}

static void make_room(struct sessions *sessions)
{
	struct str *out = &sessions->out;

	if (sessions->out_from < GRANT_MIN)
		return;
	memmove(out->text, out->text + sessions->out_from, out->length - sessions->out_from);
	out->length -= sessions->out_from;
	sessions->out_from = 0;
}

static void put(struct sessions *sessions, enum agent_kind kind, uint16_t number, const void *payload, size_t size)
{
	if (sessions->broken)
		return;
	make_room(sessions);
	agent_put(&sessions->out, kind, number, payload, size);
	sessions->frames_out++;
	send_out(sessions);
}

static void put_numbers(struct sessions *sessions, enum agent_kind kind, uint16_t number, uint32_t first,
			uint32_t second)
{
	if (sessions->broken)
		return;
	make_room(sessions);
	agent_put_numbers(&sessions->out, kind, number, first, second);
	sessions->frames_out++;
	send_out(sessions);
}

void sessions_put(struct sessions *sessions, enum agent_kind kind, const void *payload, size_t size)
{
	put(sessions, kind, 0, payload, size);
}

void sessions_room(struct sessions *sessions)
{
	if (sessions->pumping)
		return;
	sessions->pumping = true;
	send_out(sessions);
	if (sessions_backlog(sessions) < BACKLOG_MAX) {
		pump_inputs(sessions);
		if (sessions->owner.drained)
			sessions->owner.drained(sessions->owner.context);
	}
	sessions->pumping = false;
}

/* ---- input of sessions ---- */

static void pump_input(struct session *session)
{
	struct sessions *all = session->all;
	char bytes[AGENT_DATA_MAX];

	if (session->state != SESSION_RUNS || session->input.ended)
		return;
	while (session->may_send > 0 && sessions_backlog(all) < BACKLOG_MAX && !all->broken) {
		size_t want = session->may_send < sizeof(bytes) ? session->may_send : sizeof(bytes);
		long count = stream_read(&session->input, bytes, want);

		if (count == -EAGAIN) {
			stream_listen(&session->input, true);
			return;
		}
		if (count == 0) {
			put(all, AGENT_INPUT_END, session->number, NULL, 0);
			return;
		}
		session->may_send -= (uint32_t)count;
		put(all, AGENT_INPUT, session->number, bytes, (size_t)count);
	}
	stream_listen(&session->input, false);
}

static void pump_inputs(struct sessions *sessions)
{
	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++)
		pump_input(&sessions->table[i]);
}

static void input_moved(struct stream *stream, size_t count)
{
	(void)count;
	pump_input(stream->context);
}

/* ---- output of sessions ---- */

static void release(struct session *session)
{
	stream_close(&session->input);
	stream_close(&session->output);
	stream_close(&session->errors);
	session->state = SESSION_FREE;
}

static void check_exited(struct session *session)
{
	if (session->state != SESSION_ENDED || !stream_empty(&session->output) || !stream_empty(&session->errors))
		return;
	/* Streams are closed first: who reads them must see their end when he hears of the exit. */
	release(session);
	session->all->owner.exited(session->all->owner.context, session);
}

/* Gives credit back for bytes that were written; by large steps, each costs the guest a wake-up. */
static void grant(struct session *session, enum agent_kind kind, uint32_t *taken, uint32_t *may_come, size_t count)
{
	*taken += (uint32_t)count;
	if (*taken < GRANT_MIN || session->state == SESSION_ENDED)
		return;
	*may_come += *taken;
	put_numbers(session->all, AGENT_CREDIT_GRANT, session->number, kind, *taken);
	*taken = 0;
}

static void output_moved(struct stream *stream, size_t count)
{
	struct session *session = stream->context;

	grant(session, AGENT_OUTPUT, &session->taken_output, &session->may_come_output, count);
	check_exited(session);
}

static void errors_moved(struct stream *stream, size_t count)
{
	struct session *session = stream->context;

	grant(session, AGENT_ERRORS, &session->taken_errors, &session->may_come_errors, count);
	check_exited(session);
}

/* ---- frames from the guest ---- */

static int take_output(struct session *session, const struct agent_frame *frame, struct error *err)
{
	bool errors = frame->kind == AGENT_ERRORS;
	struct stream *stream = errors ? &session->errors : &session->output;
	uint32_t *may_come = errors ? &session->may_come_errors : &session->may_come_output;

	if (frame->size > *may_come)
		return error_set(err, EPROTO, "the guest's agent sent more than it may in session %u", frame->session);
	if (stream->ended)
		return error_set(err, EPROTO, "the guest's agent sent output after its end in session %u",
				 frame->session);
	*may_come -= frame->size;
	if (stream_write(stream, frame->payload, frame->size) < 0)
		return error_set(err, ENOMEM, "no memory for the guest's output");
	return 0;
}

static int take_output_end(struct session *session, const struct agent_frame *frame, struct error *err)
{
	(void)err;
	stream_end(frame->kind == AGENT_ERRORS_END ? &session->errors : &session->output);
	return 0;
}

static int take_started(struct session *session, const struct agent_frame *frame, struct error *err)
{
	uint32_t pid = 0;

	if (session->state != SESSION_STARTING)
		return error_set(err, EPROTO, "the guest's agent started session %u twice", frame->session);
	(void)agent_number(frame, 0, &pid);
	session->state = SESSION_RUNS;
	session->all->owner.started(session->all->owner.context, session, pid);
	if (session->state == SESSION_RUNS)
		pump_input(session);
	return 0;
}

/* What the guest's runtime begins with, as ours does, who will say it again. */
static const char runtime_words[] = "unable to start container process: ";

static int take_failed(struct session *session, const struct agent_frame *frame, struct error *err)
{
	char words[ERROR_TEXT_MAX];
	size_t length = frame->size - 4 < sizeof(words) - 1 ? frame->size - 4 : sizeof(words) - 1;
	uint32_t code = 0;

	if (session->state != SESSION_STARTING)
		return error_set(err, EPROTO, "the guest's agent took session %u back", frame->session);
	(void)agent_number(frame, 0, &code);
	memcpy(words, frame->payload + 4, length);
	words[length] = '\0';
	release(session);
	session->all->owner.failed(session->all->owner.context, session, code,
				   str_starts(words, runtime_words) ? words + strlen(runtime_words) : words);
	return 0;
}

static int take_exit(struct session *session, const struct agent_frame *frame, struct error *err)
{
	if (session->state != SESSION_RUNS)
		return error_set(err, EPROTO, "the guest's agent ended session %u, which does not run", frame->session);
	(void)agent_number(frame, 0, &session->status);
	(void)agent_number(frame, 1, &session->out_of_memory);
	session->state = SESSION_ENDED;
	stream_close(&session->input);
	if (session->number == 0)
		session->all->owner.over(session->all->owner.context, session);
	if (session->state == SESSION_ENDED) {
		stream_end(&session->output);
		stream_end(&session->errors);
		check_exited(session);
	}
	return 0;
}

static int take_credit(struct session *session, const struct agent_frame *frame, struct error *err)
{
	uint32_t kind = 0, count = 0;

	(void)agent_number(frame, 0, &kind);
	(void)agent_number(frame, 1, &count);
	if (kind != AGENT_INPUT || count > CREDIT_MAX || session->may_send + count > CREDIT_MAX)
		return error_set(err, EPROTO, "the guest's agent granted %u bytes of stream %u", count, kind);
	session->may_send += count;
	pump_input(session);
	return 0;
}

static int take_hello(struct sessions *sessions, const struct agent_frame *frame, struct error *err)
{
	uint32_t version = 0;

	(void)agent_number(frame, 0, &version);
	if (sessions->spoken)
		return error_set(err, EPROTO, "the guest's agent began a second time");
	if (version != AGENT_VERSION)
		return error_set(err, EPROTO,
				 "the guest's agent speaks version %u, not %d: its initramfs is of another build",
				 version, AGENT_VERSION);
	sessions->spoken = true;
	sessions->owner.hello(sessions->owner.context);
	return 0;
}

static int take_general(struct sessions *sessions, const struct agent_frame *frame, struct error *err)
{
	const struct sessions_owner *owner = &sessions->owner;

	switch (frame->kind) {
	case AGENT_HELLO:
		return take_hello(sessions, frame, err);
	case AGENT_LOG:
		owner->log(owner->context, (const char *)frame->payload, frame->size);
		return 0;
	case AGENT_STATS:
		owner->stats(owner->context, (const char *)frame->payload, frame->size);
		return 0;
	case AGENT_READY:
		owner->ready(owner->context);
		return 0;
	default:
		return 1;
	}
}

static const struct {
	enum agent_kind kind;
	int (*take)(struct session *session, const struct agent_frame *frame, struct error *err);
} of_sessions[] = {
	{ AGENT_OUTPUT, take_output },
	{ AGENT_ERRORS, take_output },
	{ AGENT_OUTPUT_END, take_output_end },
	{ AGENT_ERRORS_END, take_output_end },
	{ AGENT_STARTED, take_started },
	{ AGENT_FAILED, take_failed },
	{ AGENT_EXIT, take_exit },
	{ AGENT_CREDIT_GRANT, take_credit },
};

static int take_frame(struct sessions *sessions, const struct agent_frame *frame, struct error *err)
{
	struct session *session = &sessions->table[frame->session];
	int ret;

	sessions->frames_in++;
	if (!sessions->spoken && frame->kind != AGENT_HELLO && frame->kind != AGENT_LOG)
		return error_set(err, EPROTO, "the guest's agent began with a frame of kind %u", frame->kind);
	ret = take_general(sessions, frame, err);
	if (ret <= 0)
		return ret;
	if (session->state == SESSION_FREE || session->state == SESSION_ENDED)
		return error_set(err, EPROTO,
				 "the guest's agent sent a frame of kind %u in session %u, which is not open",
				 frame->kind, frame->session);
	for (size_t i = 0; i < sizeof(of_sessions) / sizeof(*of_sessions); i++) {
		if (of_sessions[i].kind == frame->kind)
			return of_sessions[i].take(session, frame, err);
	}
	return error_set(err, EPROTO, "the guest's agent sent a frame of kind %u", frame->kind);
}

int sessions_feed(struct sessions *sessions, const void *bytes, size_t count, struct error *err)
{
	const char *from = bytes;

	sessions->bytes_in += count;
	while (count > 0 && !sessions->broken) {
		size_t part = count < FEED_MAX ? count : FEED_MAX;
		uint8_t *room = agent_parser_room(&sessions->parser, part);
		struct agent_frame frame;
		int ret = room ? 1 : error_set(err, ENOMEM, "no memory for the guest's agent");

		if (room) {
			memcpy(room, from, part);
			agent_parser_fed(&sessions->parser, part);
		}
		while (ret > 0) {
			ret = agent_parser_next(&sessions->parser, &frame, err);
			if (ret > 0) {
				ret = take_frame(sessions, &frame, err);
				ret = ret < 0 ? ret : 1;
			}
		}
		if (ret < 0) {
			sessions->broken = true;
			return ret;
		}
		from += part;
		count -= part;
	}
	return 0;
}

/* ---- sessions ---- */

void sessions_open(struct sessions *sessions, struct loop *loop, const struct sessions_owner *owner)
{
	*sessions = (struct sessions){ .loop = loop, .owner = *owner, .parser = { .from = AGENT_FROM_GUEST } };
	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
		sessions->table[i].all = sessions;
		sessions->table[i].number = (uint16_t)i;
	}
}

void sessions_close(struct sessions *sessions)
{
	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++)
		release(&sessions->table[i]);
	agent_parser_free(&sessions->parser);
	str_free(&sessions->out);
}

static struct session *find_free(struct sessions *sessions, enum agent_kind kind)
{
	size_t first = kind == AGENT_CONFIG ? 0 : 1, last = kind == AGENT_CONFIG ? 1 : AGENT_SESSIONS_MAX;

	for (size_t i = first; i < last; i++) {
		if (sessions->table[i].state == SESSION_FREE)
			return &sessions->table[i];
	}
	return NULL;
}

void sessions_open_streams(struct session *session, const int stdio[static 3])
{
	struct loop *loop = session->all->loop;

	stream_open(&session->input, loop, stdio[0], false, input_moved, session);
	stream_open(&session->output, loop, stdio[1], true, output_moved, session);
	stream_open(&session->errors, loop, stdio[2], true, errors_moved, session);
}

struct session *sessions_start(struct sessions *sessions, enum agent_kind kind, const char *text, size_t size,
			       const int stdio[static 3], void *context, struct error *err)
{
	struct session *session = find_free(sessions, kind);

	if (!session || size > AGENT_FRAME_MAX) {
		for (int i = 0; i < 3; i++) {
			if (stdio[i] >= 0)
				close(stdio[i]);
		}
		if (session)
			(void)error_set(err, E2BIG, "the process needs %zu bytes to be told, %d is the most", size,
					AGENT_FRAME_MAX);
		else
			(void)error_set(err, EAGAIN, "%d processes run in the virtual machine already",
					AGENT_SESSIONS_MAX);
		return NULL;
	}
	*session = (struct session){ .all = sessions,
				     .number = session->number,
				     .state = SESSION_STARTING,
				     .may_send = AGENT_CREDIT,
				     .may_come_output = AGENT_CREDIT,
				     .may_come_errors = AGENT_CREDIT,
				     .context = context };
	sessions_open_streams(session, stdio);
	put(sessions, kind, session->number, text, size);
	return session;
}

struct session *sessions_workload(struct sessions *sessions)
{
	return sessions->table[0].state == SESSION_FREE ? NULL : &sessions->table[0];
}

void session_signal(struct session *session, uint32_t number)
{
	uint8_t payload[4] = { (uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
			       (uint8_t)(number >> 24) };

	if (session->state == SESSION_STARTING || session->state == SESSION_RUNS)
		put(session->all, AGENT_SIGNAL, session->number, payload, sizeof(payload));
}

void session_resize(struct session *session, uint32_t rows, uint32_t columns)
{
	if (session->state == SESSION_STARTING || session->state == SESSION_RUNS)
		put_numbers(session->all, AGENT_RESIZE, session->number, rows, columns);
}
