/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/agent: frames in, frames out, and what is no frame. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "paradigm/vm/agent.h"

static void feed(struct agent_parser *parser, const void *bytes, size_t count)
{
	uint8_t *room = agent_parser_room(parser, count);

	assert_non_null(room);
	memcpy(room, bytes, count);
	agent_parser_fed(parser, count);
}

static void put_conversation(struct str *out)
{
	agent_put_numbers(out, AGENT_STARTED, 3, 4711, 0);
	agent_put(out, AGENT_OUTPUT, 3, "hello", 5);
	agent_put(out, AGENT_OUTPUT_END, 3, NULL, 0);
	agent_put_text(out, AGENT_FAILED, 63, ENOENT, "no such thing");
	assert_false(str_failed(out));
}

static void check_conversation(struct agent_parser *parser, unsigned int *seen)
{
	struct error err = ERROR_INIT;
	struct agent_frame frame;
	uint32_t number;
	int ret;

	while ((ret = agent_parser_next(parser, &frame, &err)) == 1) {
		switch ((*seen)++) {
		case 0:
			assert_int_equal(frame.kind, AGENT_STARTED);
			assert_int_equal(frame.session, 3);
			assert_true(agent_number(&frame, 0, &number));
			assert_int_equal(number, 4711);
			assert_true(agent_number(&frame, 1, &number));
			assert_false(agent_number(&frame, 2, &number));
			break;
		case 1:
			assert_int_equal(frame.kind, AGENT_OUTPUT);
			assert_int_equal(frame.size, 5);
			assert_memory_equal(frame.payload, "hello", 5);
			assert_false(agent_number(&frame, 1, &number));
			break;
		case 2:
			assert_int_equal(frame.kind, AGENT_OUTPUT_END);
			assert_int_equal(frame.size, 0);
			break;
		case 3:
			assert_int_equal(frame.kind, AGENT_FAILED);
			assert_int_equal(frame.session, 63);
			assert_true(agent_number(&frame, 0, &number));
			assert_int_equal(number, ENOENT);
			assert_int_equal(frame.size, 4 + strlen("no such thing"));
			assert_memory_equal(frame.payload + 4, "no such thing", frame.size - 4);
			break;
		default:
			fail();
		}
	}
	assert_int_equal(ret, 0);
}

/* However the bytes are cut. */
static void test_pieces(void **state)
{
	cleanup_str struct str out = STR_INIT;

	(void)state;
	put_conversation(&out);
	for (size_t piece = 1; piece <= out.length; piece++) {
		struct agent_parser parser = { .from = AGENT_FROM_GUEST };
		unsigned int seen = 0;

		for (size_t at = 0; at < out.length; at += piece) {
			feed(&parser, out.text + at, piece < out.length - at ? piece : out.length - at);
			check_conversation(&parser, &seen);
		}
		assert_int_equal(seen, 4);
		agent_parser_free(&parser);
	}
}

/* What was taken makes room: a parser holds no more than one frame and a read. */
static void test_memory(void **state)
{
	struct agent_parser parser = { .from = AGENT_FROM_HOST };
	cleanup_str struct str out = STR_INIT;
	static char data[AGENT_DATA_MAX];
	struct agent_frame frame;

	(void)state;
	agent_put(&out, AGENT_INPUT, 0, data, sizeof(data));
	for (unsigned int i = 0; i < 1000; i++) {
		feed(&parser, out.text, out.length);
		assert_int_equal(agent_parser_next(&parser, &frame, NULL), 1);
	}
	assert_true(parser.buffer.room <= 8 * sizeof(data));
	agent_parser_free(&parser);
}

struct wrong {
	enum agent_side from;
	uint8_t header[AGENT_HEADER_SIZE];
};

static const struct wrong wrong[] = {
	{ AGENT_FROM_GUEST, { 0, 0, 0, 0, 0, 0, 0, 0 } },		      /* no kind */
	{ AGENT_FROM_GUEST, { 0, 0, 0, 0, 0xff, 0xff, 0, 0 } },		      /* unknown kind */
	{ AGENT_FROM_GUEST, { 1, 0, 0, 0, AGENT_OUTPUT, 1, 0, 0 } },	      /* its upper byte counts */
	{ AGENT_FROM_GUEST, { 1, 0, 0, 0, AGENT_INPUT, 0, 0, 0 } },	      /* the host's */
	{ AGENT_FROM_HOST, { 1, 0, 0, 0, AGENT_OUTPUT, 0, 0, 0 } },	      /* the guest's */
	{ AGENT_FROM_GUEST, { 0, 0, 0, 0, AGENT_OUTPUT, 0, 0, 0 } },	      /* empty */
	{ AGENT_FROM_GUEST, { 1, 0x40, 0, 0, AGENT_OUTPUT, 0, 0, 0 } },	      /* one byte too long */
	{ AGENT_FROM_GUEST, { 0xff, 0xff, 0xff, 0xff, AGENT_LOG, 0, 0, 0 } }, /* 4 GiB */
	{ AGENT_FROM_GUEST, { 3, 0, 0, 0, AGENT_HELLO, 0, 0, 0 } },
	{ AGENT_FROM_GUEST, { 4, 0, 0, 0, AGENT_EXIT, 0, 0, 0 } },
	{ AGENT_FROM_GUEST, { 1, 0, 0, 0, AGENT_OUTPUT, 0, AGENT_SESSIONS_MAX, 0 } },
	{ AGENT_FROM_GUEST, { 1, 0, 0, 0, AGENT_OUTPUT, 0, 0, 1 } }, /* session 256 */
	{ AGENT_FROM_HOST, { 7, 0, 0, 0, AGENT_RESTORED, 0, 0, 0 } },
	{ AGENT_FROM_HOST, { 15, 0, 0, 0, AGENT_FILE, 0, 0, 0 } },
	{ AGENT_FROM_HOST, { 1, 0, 0x40, 0, AGENT_FILE, 0, 0, 0 } }, /* 4 MiB and a byte */
};

static void test_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct agent_parser parser = { .from = wrong[i].from };
		struct error err = ERROR_INIT;
		struct agent_frame frame;

		/* Without a payload: nobody waits, or finds memory, for one that would be refused. */
		feed(&parser, wrong[i].header, sizeof(wrong[i].header));
		if (agent_parser_next(&parser, &frame, &err) != -EPROTO)
			fail_msg("header %zu was taken", i);
		assert_int_equal(err.code, EPROTO);
		assert_true(*err.text);
		agent_parser_free(&parser);
	}
}

static void test_too_long(void **state)
{
	cleanup_str struct str out = STR_INIT, text = STR_INIT;
	struct agent_parser parser = { .from = AGENT_FROM_GUEST };
	struct agent_frame frame;

	(void)state;
	for (unsigned int i = 0; i < AGENT_TEXT_MAX + 10; i++)
		str_append(&text, "x");
	agent_put_text(&out, AGENT_FAILED, 0, 1, str_text(&text));
	feed(&parser, out.text, out.length);
	assert_int_equal(agent_parser_next(&parser, &frame, NULL), 1);
	assert_int_equal(frame.size, 4 + AGENT_TEXT_MAX);
	assert_false(str_failed(&out));
	agent_put(&out, AGENT_CONFIG, 0, "", (size_t)AGENT_FRAME_MAX + 1);
	assert_true(str_failed(&out));
	agent_parser_free(&parser);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
