/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/agent.h"

#include <errno.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { ONE_NUMBER = 4, TWO_NUMBERS = 8 };

/* How long the payload of a kind may be. */
struct limits {
	uint16_t kind;
	uint32_t min, max;
};

static const struct limits from_guest[] = {
	{ AGENT_HELLO, ONE_NUMBER, ONE_NUMBER },
	{ AGENT_STARTED, TWO_NUMBERS, TWO_NUMBERS },
	{ AGENT_FAILED, ONE_NUMBER, ONE_NUMBER + AGENT_TEXT_MAX },
	{ AGENT_OUTPUT, 1, AGENT_DATA_MAX },
	{ AGENT_ERRORS, 1, AGENT_DATA_MAX },
	{ AGENT_OUTPUT_END, 0, 0 },
	{ AGENT_ERRORS_END, 0, 0 },
	{ AGENT_EXIT, TWO_NUMBERS, TWO_NUMBERS },
	{ AGENT_LOG, 0, AGENT_TEXT_MAX },
	{ AGENT_STATS, 0, AGENT_TEXT_MAX },
	{ AGENT_READY, 0, 0 },
	{ AGENT_CREDIT_GRANT, TWO_NUMBERS, TWO_NUMBERS },
};

static const struct limits from_host[] = {
	{ AGENT_FILE, 16, AGENT_FRAME_MAX },
	{ AGENT_SHARE, TWO_NUMBERS + 1, TWO_NUMBERS + AGENT_TEXT_MAX },
	{ AGENT_CONFIG, 0, AGENT_FRAME_MAX },
	{ AGENT_EXEC, 0, AGENT_FRAME_MAX },
	{ AGENT_INPUT, 1, AGENT_DATA_MAX },
	{ AGENT_INPUT_END, 0, 0 },
	{ AGENT_SIGNAL, ONE_NUMBER, ONE_NUMBER },
	{ AGENT_RESIZE, TWO_NUMBERS, TWO_NUMBERS },
	{ AGENT_ASK_STATS, 0, 0 },
	{ AGENT_PING, 0, 0 },
	{ AGENT_RESTORED, 8, 8 + 4096 },
	{ AGENT_NETWORK, 2, AGENT_NETWORK_MAX },
	{ AGENT_CREDIT_GRANT, TWO_NUMBERS, TWO_NUMBERS },
};

static uint32_t get_u32(const uint8_t *bytes)
{
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void put_u32(uint8_t *bytes, uint32_t value)
{
	for (unsigned int i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
}

static const struct limits *find_limits(enum agent_side from, uint16_t kind)
{
	const struct limits *table = from == AGENT_FROM_GUEST ? from_guest : from_host;
	size_t count = from == AGENT_FROM_GUEST ? COUNT(from_guest) : COUNT(from_host);

	for (size_t i = 0; i < count; i++) {
		if (table[i].kind == kind)
			return &table[i];
	}
	return NULL;
}

void agent_parser_free(struct agent_parser *parser)
{
	str_free(&parser->buffer);
	parser->taken = 0;
}

uint8_t *agent_parser_room(struct agent_parser *parser, size_t count)
{
	struct str *buffer = &parser->buffer;
	char *room;

	if (parser->taken > 0) {
		memmove(buffer->text, buffer->text + parser->taken, buffer->length - parser->taken);
		buffer->length -= parser->taken;
		parser->taken = 0;
	}
	room = str_extend(buffer, count);
	if (room)
		buffer->length -= count;
	return (uint8_t *)room;
}

void agent_parser_fed(struct agent_parser *parser, size_t count)
{
	parser->buffer.length += count;
}

static const char *side_name(enum agent_side side)
{
	return side == AGENT_FROM_GUEST ? "guest" : "host";
}

int agent_parser_next(struct agent_parser *parser, struct agent_frame *frame, struct error *err)
{
	size_t left = parser->buffer.length - parser->taken;
	const uint8_t *header = (const uint8_t *)parser->buffer.text + parser->taken;
	const struct limits *limits;

	if (left < AGENT_HEADER_SIZE)
		return 0;
	frame->size = get_u32(header);
	frame->kind = (uint16_t)(header[4] | header[5] << 8);
	frame->session = (uint16_t)(header[6] | header[7] << 8);
	frame->payload = header + AGENT_HEADER_SIZE;
	limits = find_limits(parser->from, frame->kind);
	if (!limits)
		return error_set(err, EPROTO, "the %s's agent sent a frame of unknown kind %u", side_name(parser->from),
				 frame->kind);
	if (frame->size < limits->min || frame->size > limits->max)
		return error_set(err, EPROTO, "the %s's agent sent a frame of kind %u with %u bytes",
				 side_name(parser->from), frame->kind, frame->size);
	if (frame->session >= AGENT_SESSIONS_MAX)
		return error_set(err, EPROTO, "the %s's agent sent a frame of session %u", side_name(parser->from),
				 frame->session);
	if (left - AGENT_HEADER_SIZE < frame->size)
		return 0;
	parser->taken += AGENT_HEADER_SIZE + frame->size;
	return 1;
}

/* Appends a header and room for the payload. */
static uint8_t *put_frame(struct str *out, enum agent_kind kind, uint16_t session, size_t size)
{
	uint8_t *header;

	if (size > AGENT_FRAME_MAX) {
		out->failed = true;
		return NULL;
	}
	header = (uint8_t *)str_extend(out, AGENT_HEADER_SIZE + size);
	if (!header)
		return NULL;
	put_u32(header, (uint32_t)size);
	header[4] = (uint8_t)kind;
	header[5] = (uint8_t)(kind >> 8);
	header[6] = (uint8_t)session;
	header[7] = (uint8_t)(session >> 8);
	return header + AGENT_HEADER_SIZE;
}

void agent_put(struct str *out, enum agent_kind kind, uint16_t session, const void *payload, size_t size)
{
	uint8_t *room = put_frame(out, kind, session, size);

	if (room && size > 0)
		memcpy(room, payload, size);
}

void agent_put_numbers(struct str *out, enum agent_kind kind, uint16_t session, uint32_t first, uint32_t second)
{
	uint8_t *room = put_frame(out, kind, session, TWO_NUMBERS);

	if (room) {
		put_u32(room, first);
		put_u32(room + 4, second);
	}
}

void agent_put_text(struct str *out, enum agent_kind kind, uint16_t session, uint32_t number, const char *text)
{
	size_t length = strnlen(text, AGENT_TEXT_MAX);
	uint8_t *room = put_frame(out, kind, session, ONE_NUMBER + length);

	if (room) {
		put_u32(room, number);
		memcpy(room + ONE_NUMBER, text, length);
	}
}

bool agent_number(const struct agent_frame *frame, unsigned int index, uint32_t *value)
{
	if (frame->size / 4 <= index)
		return false;
	*value = get_u32(frame->payload + (size_t)index * 4);
	return true;
}
