/* SPDX-License-Identifier: Apache-2.0 */
/* base/json: what is JSON, what is not, and what comes out again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

struct sample {
	const char *text, *expected; /* canonical form, or the end of the error's text */
};

static const struct sample good[] = {
	{ "null", "null" },
	{ " \t\r\n true ", "true" },
	{ "false", "false" },
	{ "0", "0" },
	{ "-0", "0" },
	{ "18446744073709551615", "18446744073709551615" },
	{ "-9223372036854775808", "-9223372036854775808" },
	{ "18446744073709551616", "18446744073709551616" },
	{ "-9223372036854775809", "-9223372036854775809" },
	{ "1.50", "1.50" },
	{ "1e400", "1e400" },
	{ "0.5E-3", "0.5E-3" },
	{ "\"\"", "\"\"" },
	{ "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\"", "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\"" },
	{ "\"\\u00e9\\u20AC\\ud83d\\ude00\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
	{ "\"\xc3\xa9\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
	  "\"\xc3\xa9\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"" },
	{ "[]", "[]" },
	{ "{ }", "{}" },
	{ "[1, [ 2,3 ] ,{\"b\":1,\"a\":null,\"A\":[]}]", "[1,[2,3],{\"A\":[],\"b\":1}]" },
	{ "{\"c\":3,\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,\"c\":3}" },
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		cleanup_str struct str out = STR_INIT;
		struct arena arena = { .head = NULL };
		const struct json_value *root;
		struct error err = ERROR_INIT;

		if (json_parse(good[i].text, strlen(good[i].text), &arena, &root, &err) < 0)
			fail_msg("%s: %s", good[i].text, err.text);
		json_append_canonical(&out, root);
		assert_false(str_failed(&out));
		assert_string_equal(str_text(&out), good[i].expected);
		arena_free(&arena);
	}
}

static const struct sample bad[] = {
	{ "", "line 1, column 1: unexpected end of the text" },
	{ "\n\n  ", "line 3, column 3: unexpected end of the text" },
	{ "{\n\t\"a\": 1\n\t\"b\": 2\n}", "line 3, column 2: expected ',' or '}'" },
	{ "{\"a\": \"x\\ny\"\n, 5}", "line 2, column 3: expected the name of a member in double quotes" },
	{ "[1 2]", "column 4: expected ',' or ']'" },
	{ "[1,]", "column 4: expected a value" },
	{ "{\"a\" 1}", "column 6: expected ':'" },
	{ "{\"a\":}", "column 6: expected a value" },
	{ "{\"a\":1,}", "column 8: expected the name of a member in double quotes" },
	{ "nul", "column 1: expected a value" },
	{ "truee", "column 5: text behind the document" },
	{ "1 1", "column 3: text behind the document" },
	{ "01", "malformed number" },
	{ "-", "unexpected end of the text" },
	{ "- ", "malformed number" },
	{ "1. ", "malformed number" },
	{ ".5", "expected a value" },
	{ "+1", "expected a value" },
	{ "1e ", "malformed number" },
	{ "0x10", "text behind the document" },
	{ "NaN", "expected a value" },
	{ "'a'", "expected a value" },
	{ "\"a", "unexpected end of the text" },
	{ "\"a\nb\"", "control character or end of text inside a string" },
	{ "\"\\x\"", "unknown escape in a string" },
	{ "\"\\u12g4\"", "\\u needs four hexadecimal digits" },
	{ "\"\\u12\"", "\\u needs four hexadecimal digits" },
	{ "\"\\u0000\"", "NUL in a string" },
	{ "\"\\ud800\"", "unpaired surrogate in a string" },
	{ "\"\\ud800\\u0041\"", "unpaired surrogate in a string" },
	{ "\"\\udc00\\ud800\"", "unpaired surrogate in a string" },
	{ "\"\x80\"", "not valid UTF-8" },
	{ "\"\xc0\xaf\"", "not valid UTF-8" },
	{ "\"\xc3\"", "not valid UTF-8" },
	{ "\"\xe0\x9f\xbf\"", "not valid UTF-8" },
	{ "\"\xed\xa0\x80\"", "not valid UTF-8" },
	{ "\"\xf0\x8f\xbf\xbf\"", "not valid UTF-8" },
	{ "\"\xf4\x90\x80\x80\"", "not valid UTF-8" },
	{ "\"\xf5\x80\x80\x80\"", "not valid UTF-8" },
	{ "\xef\xbb\xbf{}", "expected a value" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct arena arena = { .head = NULL };
		const struct json_value *root;
		struct error err = ERROR_INIT;

		if (json_parse(bad[i].text, strlen(bad[i].text), &arena, &root, &err) != -22)
			fail_msg("%s was taken", bad[i].text);
		if (!str_ends(err.text, bad[i].expected))
			fail_msg("%s: \"%s\" does not end with \"%s\"", bad[i].text, err.text, bad[i].expected);
		arena_free(&arena);
	}
}

/* The text's own NUL is not its end. */
static void test_nul_bytes(void **state)
{
	static const char inside[] = "\"a\0b\"", behind[] = "1\0";
	struct arena arena = { .head = NULL };
	const struct json_value *root;
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(json_parse(inside, sizeof(inside) - 1, &arena, &root, &err), -22);
	assert_int_equal(json_parse(behind, sizeof(behind) - 1, &arena, &root, &err), -22);
	assert_non_null(strstr(err.text, "text behind the document"));
	assert_int_equal(json_parse(behind, sizeof(behind) - 1, &arena, &root, NULL), -22);
	arena_free(&arena);
}

static void test_depth(void **state)
{
	char text[2 * JSON_DEPTH_MAX + 2];
	struct arena arena = { .head = NULL };
	const struct json_value *root;
	struct error err = ERROR_INIT;

	(void)state;
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_int_equal(json_parse(text, sizeof(text) - 2, &arena, &root, &err), 0);
	memset(text, '[', sizeof(text));
	assert_int_equal(json_parse(text, sizeof(text), &arena, &root, &err), -22);
	assert_non_null(strstr(err.text, "column 101: nested too deeply"));
	arena_free(&arena);
}

static void test_find(void **state)
{
	static const char text[] = "{\"a\":1,\"b\":[true],\"a\":-2}";
	struct arena arena = { .head = NULL };
	const struct json_value *root, *member;

	(void)state;
	assert_int_equal(json_parse(text, sizeof(text) - 1, &arena, &root, NULL), 0);
	assert_int_equal(root->count, 3);
	member = json_find(root, "a");
	assert_non_null(member);
	assert_int_equal(member->kind, JSON_KIND_INTEGER);
	assert_true(member->truth);
	assert_int_equal(member->magnitude, 2);
	assert_null(json_find(root, "c"));
	assert_null(json_find(json_find(root, "b"), "a"));
	assert_null(json_find(NULL, "a"));
	arena_free(&arena);
}

/* More members than fit on the stack of the writer. */
static void test_many_members(void **state)
{
	cleanup_str struct str text = STR_INIT, out = STR_INIT;
	struct arena arena = { .head = NULL };
	const struct json_value *root;

	(void)state;
	for (int i = 999; i >= 0; i--)
		str_printf(&text, "%s\"%03d\":%d", i == 999 ? "{" : ",", i, i);
	str_append(&text, "}");
	assert_int_equal(json_parse(text.text, text.length, &arena, &root, NULL), 0);
	json_append_canonical(&out, root);
	assert_true(str_starts(str_text(&out), "{\"000\":0,\"001\":1,"));
	assert_true(str_ends(str_text(&out), ",\"999\":999}"));
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),  cmocka_unit_test(test_bad),  cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_depth), cmocka_unit_test(test_find), cmocka_unit_test(test_many_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
