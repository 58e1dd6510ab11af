/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the frames between host and guest.  An input's first byte says whose they are, its second in how
 * large pieces they come.  What is taken for a frame must be one again when it is written.
 */
#include "fuzz.h"
#include "paradigm/vm/agent.h"

static void take_frames(struct agent_parser *parser, struct str *again, int *ret)
{
	struct error err = ERROR_INIT;
	struct agent_frame frame;

	while ((*ret = agent_parser_next(parser, &frame, &err)) == 1) {
		uint32_t number;

		check(frame.size <= AGENT_FRAME_MAX && frame.session < AGENT_SESSIONS_MAX);
		for (unsigned int i = 0; agent_number(&frame, i, &number); i++)
			check((i + 1) * 4 <= frame.size);
		agent_put(again, (enum agent_kind)frame.kind, frame.session, frame.payload, frame.size);
	}
	check(*ret == 0 || (*ret == -err.code && *err.text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_parser parser = { .from = AGENT_FROM_HOST };
	cleanup_str struct str again = STR_INIT;
	size_t piece;
	int ret = 0;

	if (size < 2)
		return 0;
	parser.from = data[0] & 1 ? AGENT_FROM_GUEST : AGENT_FROM_HOST;
	piece = (size_t)data[1] + 1;
	data += 2;
	size -= 2;
	for (size_t at = 0; at < size && ret >= 0; at += piece) {
		size_t count = piece < size - at ? piece : size - at;
		uint8_t *room = agent_parser_room(&parser, count);

		check(room != NULL);
		memcpy(room, data + at, count);
		agent_parser_fed(&parser, count);
		take_frames(&parser, &again, &ret);
	}
	check(!str_failed(&again) && again.length <= size);
	check(again.length == 0 || memcmp(again.text, data, again.length) == 0);
	agent_parser_free(&parser);
	return 0;
}
