/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/format.h"
#include "cli/template.h"

static const char document[] =
	"{\"Id\":\"abc\",\"Names\":[\"one\",\"two\"],\"State\":{\"Running\":true,\"Pid\":42,\"Error\":\"\"},"
	"\"Labels\":{\"b\":\"2\",\"a\":\"1\"},\"Empty\":[],\"Null\":null,\"Size\":1.5,"
	"\"Mounts\":[{\"Source\":\"/s1\"},{\"Source\":\"/s2\"}]}";

static void expect(const char *template, const char *text)
{
	json_t *value = json_loads(document, 0, NULL);
	struct error err = ERROR_INIT;
	struct str out = STR_INIT;

	if (template_render(template, value, &out, &err) < 0)
		fail_msg("%s: %s", template, err.text);
	assert_string_equal(str_text(&out), text);
	str_free(&out);
	json_decref(value);
}

static void expect_error(const char *template, const char *part)
{
	json_t *value = json_loads(document, 0, NULL);
	struct error err = ERROR_INIT;
	struct str out = STR_INIT;

	assert_int_equal(template_render(template, value, &out, &err), -EINVAL);
	if (!strstr(err.text, part))
		fail_msg("%s: %s", template, err.text);
	str_free(&out);
	json_decref(value);
}

static void test_fields_and_values(void **state)
{
	(void)state;
	expect("plain", "plain");
	expect("{{.Id}}:{{ .State.Pid }}", "abc:42");
	expect("{{.Names}} {{.Labels}} {{.State.Running}}", "[one two] map[a:1 b:2] true");
	expect("{{json .Names}}{{json .Null}}", "[\"one\",\"two\"]null");
	expect("{{.Labels.none}}", "<no value>");
	expect("{{$x := .Id}}{{$x}}{{$.Id}}", "abcabc");
	expect("a {{- /* comment */ -}} b", "ab");
	expect("{{\"a\\tb\"}}{{`raw\\t`}}{{-3}}{{1.5}}{{true}}", "a\tbraw\\t-31.5true");
}

static void test_control(void **state)
{
	(void)state;
	expect("{{if .State.Running}}up{{else}}down{{end}}", "up");
	expect("{{if .State.Error}}x{{else if eq .State.Pid 42}}y{{else}}z{{end}}", "y");
	expect("{{if not .Empty}}empty{{end}}", "empty");
	expect("{{range .Mounts}}<{{.Source}}>{{end}}", "</s1></s2>");
	expect("{{range $i, $m := .Mounts}}{{if $i}},{{end}}{{$i}}={{$m.Source}}{{end}}", "0=/s1,1=/s2");
	expect("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;");
	expect("{{range .Empty}}x{{else}}none{{end}}", "none");
	expect("{{range .Null}}x{{.Deep.Down}}{{end}}", "");
	expect("{{with .State}}{{.Pid}}{{end}}{{with .Empty}}x{{else}}no{{end}}", "42no");
	expect("{{range .Mounts}}{{if eq .Source \"/s2\"}}{{$.Id}}{{end}}{{end}}", "abc");
}

static void test_functions(void **state)
{
	(void)state;
	expect("{{upper .Id}}{{.Id | upper | lower}}{{title \"ab cd\"}}", "ABCabcAb Cd");
	expect("{{join .Names \",\"}}", "one,two");
	expect("{{len .Names}}{{len .Labels}}", "22");
	expect("{{index .Names 1}}{{index .Labels \"a\"}}{{index .Labels \"zz\"}}", "two1");
	expect("{{(index .Mounts 0).Source}}", "/s1");
	expect("{{printf \"%s-%05d-%-4s|%q\" .Id .State.Pid \"x\" \"y\"}}", "abc-00042-x   |\"y\"");
	expect("{{printf \"%999999999s|%99999999.9d\" \"x\" 4}}", "x|4");
	expect("{{truncate \"a\xc3\xa9\" 2}}", "a");
	expect("{{println .Id 1}}", "abc 1\n");
	expect("{{if and .Id (gt .State.Pid 41)}}a{{end}}{{or .Empty \"b\"}}", "ab");
	expect("{{range split \"a,b\" \",\"}}[{{.}}]{{end}}{{truncate .Id 2}}", "[a][b]ab");
}

static void test_bad_templates(void **state)
{
	(void)state;
	expect_error("{{.Nope}}", "there is no field \"Nope\"");
	expect_error("{{.Id", "unclosed action");
	expect_error("{{frob .Id}}", "function \"frob\" not defined");
	expect_error("{{if .Id}}x", "{{end}} is missing");
	expect_error("x{{end}}", "unexpected {{end}}");
	expect_error("{{else}}", "unexpected {{else}}");
	expect_error("{{$x}}", "undefined variable");
	expect_error("{{\"abc}}", "unterminated");
	expect_error("{{len 1}}", "len:");
	expect_error("{{index .Names 9}}", "out of range");
	expect_error("{{.Id | .Id}}", "expected a function");
	expect_error("{{(.Id}}", "parenthesis");
	expect_error("{{/* }}", "comment");
	expect_error("{{json}}", "wrong number of arguments");
	expect_error("{{range .Id}}{{end}}", "range");
	expect_error("{{}}", "expected a value");
}

static char *rows_text(const char *wish, const char *rows_json, bool quiet)
{
	static const struct format_heading headings[] = { { "ID", "CONTAINER ID" }, { NULL, NULL } };
	struct format format = { .format = wish,
				 .table = "{{.ID}}\t{{.Names}}\t{{.Status}}",
				 .quiet = quiet ? "{{.ID}}" : NULL,
				 .headings = headings };
	json_t *rows = json_loads(rows_json, 0, NULL);
	struct error err = ERROR_INIT;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!json_array_size(rows)) /* headings of an empty list come from the table's own list */
		format.table = "{{.ID}}";
	if (format_rows(&format, rows, out, &err) < 0)
		fail_msg("%s", err.text);
	(void)fclose(out);
	json_decref(rows);
	return text;
}

static void expect_rows(const char *wish, bool quiet, const char *expected)
{
	char *text = rows_text(wish,
			       "[{\"ID\":\"1\",\"Names\":\"a\",\"Status\":\"Up\"},"
			       "{\"ID\":\"2\",\"Names\":\"longer-than-ten\",\"Status\":\"Exited (0)\"}]",
			       quiet);

	assert_string_equal(text, expected);
	free(text);
}

static void test_rows(void **state)
{
	char *text;

	(void)state;
	expect_rows(NULL, false,
		    "CONTAINER ID   NAMES             STATUS\n"
		    "1              a                 Up\n"
		    "2              longer-than-ten   Exited (0)\n");
	expect_rows("table {{.Names}}\\t{{.ID}}", false,
		    "NAMES             CONTAINER ID\n"
		    "a                 1\n"
		    "longer-than-ten   2\n");
	expect_rows("{{.Names}}\\t{{.ID}}", false, "a\t1\nlonger-than-ten\t2\n");
	expect_rows(NULL, true, "1\n2\n");
	expect_rows("json", false,
		    "{\"ID\":\"1\",\"Names\":\"a\",\"Status\":\"Up\"}\n"
		    "{\"ID\":\"2\",\"Names\":\"longer-than-ten\",\"Status\":\"Exited (0)\"}\n");
	text = rows_text(NULL, "[]", false);
	assert_string_equal(text, "CONTAINER ID\n");
	free(text);
}

static void test_human_units(void **state)
{
	static const struct {
		long long seconds;
		const char *text;
	} durations[] = { { 0, "Less than a second" }, { 1, "1 second" },	{ 59, "59 seconds" },
			  { 60, "About a minute" },    { 120, "2 minutes" },	{ 3600, "About an hour" },
			  { 7200, "2 hours" },	       { 86400 * 3, "3 days" }, { 86400 * 20, "2 weeks" } };
	char text[32], size[16];

	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(*durations); i++) {
		format_duration(durations[i].seconds, text);
		assert_string_equal(text, durations[i].text);
	}
	format_size(0, size);
	assert_string_equal(size, "0B");
	format_size(1500000, size);
	assert_string_equal(size, "1.5MB");
	format_size(999999, size);
	assert_string_equal(size, "1MB");
	format_size_binary(1536, size);
	assert_string_equal(size, "1.5KiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_and_values),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_functions),
		cmocka_unit_test(test_bad_templates),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_human_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
