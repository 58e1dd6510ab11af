/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation in a snapshot: bytes that are on their way in either
 * direction, and what each side may still send.
 */
#include <errno.h>
#include <string.h>

#include "paradigm/vm/host/session.h"

enum {
	VERSION = 1,
	WAY_MAX = 32 << 20, /* bytes on their way: more than the sides can have in between */
	INPUT_ENDED = 1 << 0,
	OUTPUT_ENDED = 1 << 1,
	ERRORS_ENDED = 1 << 2,
};

int sessions_may_save(const struct sessions *sessions, struct error *err)
{
	unsigned others = 0;

	for (size_t i = 1; i < AGENT_SESSIONS_MAX; i++)
		others += sessions->table[i].state != SESSION_FREE;
	if (sessions->broken || sessions->table[0].state != SESSION_RUNS)
		return error_set(err, EBUSY, "the instance's process does not run: a snapshot is of one that does");
	if (others)
		return error_set(err, EBUSY,
				 "%u further processes (exec) run in the instance: wait for their end, a snapshot "
				 "would not know whose they are",
				 others);
	return 0;
}

static void put_bytes(struct state_writer *writer, const struct str *bytes, size_t from)
{
	state_put_u64(writer, bytes->length - from);
	if (bytes->length > from)
		state_put(writer, bytes->text + from, bytes->length - from);
}

/* What was held for the one who reads it now counts as read: the next one shall not wait for him. */
static uint32_t taken(const struct stream *stream, uint32_t counted)
{
	return counted + (uint32_t)(stream->held.length - stream->held_from);
}

void sessions_save(const struct sessions *sessions, struct state_writer *writer)
{
	const struct session *workload = &sessions->table[0];

	state_begin(writer, "agent", VERSION);
	state_put_u32(writer, (workload->input.ended ? INPUT_ENDED : 0U) |
				      (workload->output.ended ? OUTPUT_ENDED : 0U) |
				      (workload->errors.ended ? ERRORS_ENDED : 0U));
	state_put_u32(writer, workload->may_send);
	state_put_u32(writer, workload->may_come_output);
	state_put_u32(writer, workload->may_come_errors);
	state_put_u32(writer, taken(&workload->output, workload->taken_output));
	state_put_u32(writer, taken(&workload->errors, workload->taken_errors));
	put_bytes(writer, &sessions->parser.buffer, sessions->parser.taken);
	put_bytes(writer, &sessions->out, sessions->out_from);
	state_end(writer);
}

static void get_bytes(struct state_reader *reader, struct str *bytes)
{
	uint64_t count = state_get_u64(reader);

	if (count > (uint64_t)(reader->end - reader->at) || count > WAY_MAX) {
		reader->failed = true;
		return;
	}
	str_append_bytes(bytes, reader->at, count);
	reader->at += count;
}

/* Credit for all that was read, at once: the guest may be waiting for it. */
static void give_back(struct sessions *sessions, uint32_t kind, uint32_t count, uint32_t *may_come)
{
	uint8_t payload[8] = { (uint8_t)kind,  (uint8_t)(kind >> 8),  (uint8_t)(kind >> 16),  (uint8_t)(kind >> 24),
			       (uint8_t)count, (uint8_t)(count >> 8), (uint8_t)(count >> 16), (uint8_t)(count >> 24) };

	if (count == 0)
		return;
	*may_come += count;
	sessions_put(sessions, AGENT_CREDIT_GRANT, payload, sizeof(payload));
}

int sessions_restore(struct sessions *sessions, struct state_reader *reader, const int stdio[static 3],
		     struct error *err)
{
	struct session *workload = &sessions->table[0];
	uint32_t ended, output, errors;
	int ret = state_find(reader, "agent", VERSION, err);

	sessions_open_streams(workload, stdio);
	workload->state = SESSION_RUNS;
	sessions->spoken = true;
	if (ret < 0)
		return ret;
	ended = state_get_u32(reader);
	workload->may_send = state_get_u32(reader);
	workload->may_come_output = state_get_u32(reader);
	workload->may_come_errors = state_get_u32(reader);
	output = state_get_u32(reader);
	errors = state_get_u32(reader);
	get_bytes(reader, &sessions->parser.buffer);
	get_bytes(reader, &sessions->out);
	if (workload->may_come_output > AGENT_CREDIT || output > AGENT_CREDIT - workload->may_come_output ||
	    workload->may_come_errors > AGENT_CREDIT || errors > AGENT_CREDIT - workload->may_come_errors)
		reader->failed = true;
	ret = state_leave(reader, err);
	if (ret < 0)
		return ret;
	if (ended & INPUT_ENDED)
		stream_close(&workload->input);
	if (ended & OUTPUT_ENDED)
		stream_end(&workload->output);
	if (ended & ERRORS_ENDED)
		stream_end(&workload->errors);
	give_back(sessions, AGENT_OUTPUT, output, &workload->may_come_output);
	give_back(sessions, AGENT_ERRORS, errors, &workload->may_come_errors);
	sessions_room(sessions);
	return 0;
}
