/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/complete.h"

struct sample {
	bool flag;
	const char *text;
};

struct globals {
	const char *root;
};

static const struct cli_option globals[] = {
	OPT_VALUE(OPTION_STRING, "root", 'r', "dir", "dir", struct globals, root, "Store"),
	{ .name = NULL },
};

static const struct cli_option options[] = {
	OPT_SWITCH("tty", 't', struct sample, flag, "Terminal"),
	OPT_SWITCH("hidden", 0, struct sample, flag, NULL),
	OPT_VALUE(OPTION_STRING, "net", 'n', "net", "none host container:instance", struct sample, text, "Network"),
	OPT_VALUE(OPTION_STRING, "file", 'f', "file", "file", struct sample, text, "File"),
	OPT_VALUE(OPTION_STRING, "secret", 0, "opt", "plain key=file", struct sample, text, "Secret"),
	OPT_STRING("free", 0, "text", struct sample, text, "Anything"),
	{ .name = NULL },
};

static const struct command below[] = {
	{ .name = "ls", .alias = "list", .summary = "List", .complete = "image", .max_operands = 1 },
	{ .name = NULL },
};

static const struct command commands[] = {
	{ .name = "run",
	  .summary = "Run",
	  .complete = "image",
	  .max_operands = -1,
	  .operands_end_options = true,
	  .options = options },
	{ .name = "copy", .summary = "Copy", .complete = "file;image;", .max_operands = 3, .options = options },
	{ .name = "image", .summary = "Images", .commands = below },
	{ .name = "secret" },
	{ .name = NULL },
};

static const struct command root = { .name = "prog", .options = globals, .commands = commands };

static void offer(struct completion *completion, const char *kind)
{
	const struct globals *given = completion->globals;

	if (strcmp(kind, "instance") == 0)
		completion_offer(completion, given->root ? "there" : "web", "an instance\nof two lines");
	if (strcmp(kind, "image") == 0) {
		completion_offer(completion, "busybox:1", NULL);
		completion_offer(completion, "evil\tname", NULL);
		completion_offer(completion, ":file 0", NULL);
	}
}

/* line: words between blanks; a blank at its end begins an empty one. */
static void check(const char *line, bool single_dash, const char *expected)
{
	struct globals given = { .root = NULL };
	struct cli cli = { .root = &root, .single_dash = single_dash };
	struct completion completion = { .cli = &cli, .globals = &given, .source = offer };
	char *copy = strdup(line), *rest = copy, *words[16], *out = NULL;
	size_t size;
	int count = 0;

	while (rest && count < 16)
		words[count++] = strsep(&rest, " ");
	cli.out = open_memstream(&out, &size);
	completion_answer(&completion, words, *line ? count : 0);
	(void)fclose(cli.out);
	if (strcmp(out, expected) != 0)
		print_message("line: %s\n", line);
	assert_string_equal(out, expected);
	free(out);
	free(copy);
}

static void test_commands(void **state)
{
	(void)state;
	check("r", false, "run\tRun\n");
	check("run image", false, "");
	check("image ", false, "ls\tList\n");
	check("image list ", false, "busybox:1\n");
	check("image ls x ", false, "");
	check("help im", false, "image\tImages\n");
	check("help image ", false, "ls\tList\n");
	check("bogus ", false, "");
	check("image bogus ", false, "");
	check("s", false, "");
	check("", false, "run\tRun\ncopy\tCopy\nimage\tImages\nhelp\tShow help of a command\n");
}

static void test_flags(void **state)
{
	(void)state;
	check("run --t", false, "--tty\tTerminal\n");
	check("run --h", false, "--help\tShow help\n");
	check("run -t --n", false, "--net\tNetwork\n");
	check("run -- --n", false, "");
	check("run busybox --n", false, ":file 0\n");
	check("--r", false, "--root\tStore\n");
	check("image --", false, "--help\tShow help\n");
}

static void test_values(void **state)
{
	(void)state;
	check("run --net ", false, "none\nhost\ncontainer:\n");
	check("run --net=", false, "--net=none\n--net=host\n--net=container:\n");
	check("run --net=h", false, "--net=host\n");
	check("run -net=h", false, "");
	check("run -net=h", true, "-net=host\n");
	check("run -net h", true, "host\n");
	check("run -tn h", false, "host\n");
	check("run -nh ", false, "busybox:1\n");
	check("run -n=h ", false, "busybox:1\n");
	check("run --net container:", false, "container:web\tan instance\n");
	check("run --net container:x", false, "");
	check("run --net=container:w", false, "--net=container:web\tan instance\n");
	check("run --free ", false, "");
	check("run --bogus=x ", false, "busybox:1\n");
	check("run --file ", false, ":file 0\n");
	check("run --file=x", false, ":file 7\n");
	check("run --secret key=/x", false, ":file 4\n");
	check("run --secret=key=", false, ":file 13\n");
	check("run --secret k", false, "key=\n");
}

static void test_operands(void **state)
{
	(void)state;
	check("run ", false, "busybox:1\n");
	check("run -t busy", false, "busybox:1\n");
	check("copy ", false, ":file 0\n");
	check("copy x ", false, "busybox:1\n");
	check("copy x -t ", false, "busybox:1\n");
	check("copy x y ", false, "");
	check("copy x y z ", false, "");
}

static void test_globals(void **state)
{
	(void)state;
	check("--root ", false, ":dir 0\n");
	check("--root /x run --net container:", false, "container:there\tan instance\n");
	check("--root=/x run --net container:", false, "container:there\tan instance\n");
	check("-r /x run --net container:", false, "container:there\tan instance\n");
	/* After the command it is not the program's flag, and the word after it is an operand. */
	check("run --root /x --net container:", false, ":file 0\n");
}

static void test_scripts(void **state)
{
	static const char *const shells[] = { "bash", "zsh", "fish" };
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char *text = NULL;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		assert_int_equal(completion_script(out, "prog-ram", shells[i], &err), 0);
		(void)fclose(out);
		assert_non_null(strstr(text, "prog_ram"));
		assert_non_null(strstr(text, "__complete"));
		assert_null(strstr(text, "@PROGRAM@"));
		assert_null(strstr(text, "@FUNCTION@"));
		assert_null(strstr(text, "eval "));
		free(text);
	}
	assert_int_equal(completion_script(stdout, "prog", "tcsh", &err), -EINVAL);
	assert_non_null(strstr(err.text, "bash, zsh, fish"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands), cmocka_unit_test(test_flags),	 cmocka_unit_test(test_values),
		cmocka_unit_test(test_operands), cmocka_unit_test(test_globals), cmocka_unit_test(test_scripts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
