/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

struct sample {
	bool interactive, tty, remove, proxy;
	const char *name, *workdir;
	struct option_list env;
	int64_t pids;
	uint64_t memory;
	int calls;
};

static int apply_even(void *target, const struct cli_option *option, const char *value, struct error *err)
{
	struct sample *sample = target;

	(void)option;
	if (strlen(value) % 2)
		return error_set(err, EINVAL, "odd");
	sample->calls++;
	return 0;
}

static const struct cli_option sample_options[] = {
	OPT_SWITCH("interactive", 'i', struct sample, interactive, "Keep stdin open"),
	OPT_SWITCH("tty", 't', struct sample, tty, "Allocate a terminal"),
	OPT_SWITCH("rm", 0, struct sample, remove, "Remove it afterwards"),
	OPT_SWITCH("sig-proxy", 0, struct sample, proxy, "Pass signals on"),
	OPT_STRING("name", 0, "string", struct sample, name, "Its name"),
	OPT_STRING("workdir", 'w', "string", struct sample, workdir, "Where it works"),
	OPT_LIST("env", 'e', "list", struct sample, env, "Environment"),
	OPT_INT("pids-limit", 0, "int", struct sample, pids, "Processes"),
	OPT_SIZE("memory", 'm', "bytes", struct sample, memory, "Memory"),
	OPT_CALL("even", 0, "text", NULL, apply_even, "An even text"),
	OPT_SWITCH("hidden", 0, struct sample, remove, NULL),
	{ .name = NULL },
};

static int never_run(struct cli *cli, int argc, char **argv)
{
	(void)cli, (void)argc, (void)argv;
	return 77;
}

static const struct command image_commands[] = {
	{ .name = "ls", .alias = "list", .summary = "List images", .max_operands = -1, .run = never_run },
	{ .name = NULL },
};

static const struct command commands[] = {
	{ .name = "run",
	  .operands = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
	  .summary = "Run it",
	  .min_operands = 1,
	  .max_operands = -1,
	  .operands_end_options = true,
	  .options = sample_options,
	  .run = never_run },
	{ .name = "image", .group = "Others", .summary = "Images", .commands = image_commands },
	{ .name = "hidden", .group = "Nowhere" },
	{ .name = "rename",
	  .operands = "A B",
	  .summary = "Rename",
	  .min_operands = 2,
	  .max_operands = 2,
	  .run = never_run },
	{ .name = NULL },
};

static const struct command root = { .name = "caisson", .commands = commands };

struct bench {
	struct cli cli;
	struct sample sample;
	char *out, *err;
	size_t out_size, err_size;
	char **operands;
	int count;
	char line[256], *words[32];
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	bench->cli = (struct cli){ .path = "caisson", .root = &root, .usage_error = 125 };
	bench->cli.out = open_memstream(&bench->out, &bench->out_size);
	bench->cli.err = open_memstream(&bench->err, &bench->err_size);
	bench->sample.proxy = true;
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	(void)fclose(bench->cli.out);
	(void)fclose(bench->cli.err);
	option_list_free(&bench->sample.env);
	free(bench->out);
	free(bench->err);
	free(bench);
	return 0;
}

/* Splits a command line at its blanks: argv must be writable. */
static int split(struct bench *bench, const char *line, char **words)
{
	char *rest = NULL;
	int count = 0;

	(void)snprintf(bench->line, sizeof(bench->line), "%s", line);
	for (char *word = strtok_r(bench->line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		words[count++] = word;
	words[count] = NULL;
	return count;
}

static enum cli_verdict parse(struct bench *bench, const char *line)
{
	int code, argc = split(bench, line, bench->words);
	bool go_on;

	bench->cli.command = &commands[0];
	(void)snprintf(bench->cli.path, sizeof(bench->cli.path), "caisson run");
	go_on = cli_parse(&bench->cli, &bench->sample, argc, bench->words, &bench->operands, &bench->count, &code);
	(void)fflush(bench->cli.err);
	(void)fflush(bench->cli.out);
	if (go_on)
		return CLI_GO;
	assert_true(code == 0 || code == bench->cli.usage_error);
	return code == 0 ? CLI_DONE : CLI_BAD;
}

static void test_every_way_to_write_a_flag(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(parse(bench, "run -it --rm --name=a -w /x -eA=1 -e B=2 --env C=3 -e=D -m64m --pids-limit -1 "
				      "--even ab image -z --name b"),
			 CLI_GO);
	assert_true(bench->sample.interactive && bench->sample.tty && bench->sample.remove);
	assert_string_equal(bench->sample.name, "a");
	assert_string_equal(bench->sample.workdir, "/x");
	assert_int_equal(bench->sample.env.count, 4);
	assert_string_equal(bench->sample.env.items[0], "A=1");
	assert_string_equal(bench->sample.env.items[3], "D");
	assert_int_equal(bench->sample.memory, 64 << 20);
	assert_int_equal(bench->sample.pids, -1);
	assert_int_equal(bench->sample.calls, 1);
	/* What follows the first operand is the container's. */
	assert_int_equal(bench->count, 4);
	assert_string_equal(bench->operands[0], "image");
	assert_string_equal(bench->operands[1], "-z");
}

static void test_truths_and_double_dash(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(parse(bench, "run --sig-proxy=false --rm=true -t=0 -- --rm"), CLI_GO);
	assert_false(bench->sample.proxy);
	assert_true(bench->sample.remove);
	assert_false(bench->sample.tty);
	assert_int_equal(bench->count, 1);
	assert_string_equal(bench->operands[0], "--rm");
	assert_int_equal(parse(bench, "run --rm=perhaps x"), CLI_BAD);
	assert_non_null(strstr(bench->err, "invalid argument \"perhaps\" for \"--rm\" flag"));
}

static void test_errors_say_what_to_do(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(parse(bench, "run --nmae x"), CLI_BAD);
	assert_non_null(strstr(bench->err, "caisson: unknown flag: --nmae; did you mean --name?\n"
					   "See 'caisson run --help'."));
	assert_int_equal(parse(bench, "run -z"), CLI_BAD);
	assert_non_null(strstr(bench->err, "unknown shorthand flag: 'z' in -z"));
	assert_int_equal(parse(bench, "run --name"), CLI_BAD);
	assert_non_null(strstr(bench->err, "flag needs an argument: --name"));
	assert_int_equal(parse(bench, "run -iw"), CLI_BAD);
	assert_non_null(strstr(bench->err, "flag needs an argument: 'w' in -iw"));
	assert_int_equal(parse(bench, "run -m many x"), CLI_BAD);
	assert_non_null(strstr(bench->err, "invalid argument \"many\" for \"-m, --memory\" flag: invalid size"));
	assert_int_equal(parse(bench, "run --even odd x"), CLI_BAD);
	assert_int_equal(parse(bench, "run -i"), CLI_BAD);
	assert_non_null(strstr(bench->err, "\"caisson run\" requires at least 1 argument\n"));
	/* An abbreviation is not a flag: it would change its meaning when a flag is added. */
	assert_int_equal(parse(bench, "run --mem 1 x"), CLI_BAD);
}

static void test_help(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(parse(bench, "run -i --help"), CLI_DONE);
	assert_non_null(strstr(bench->out, "Usage:  caisson run [OPTIONS] IMAGE [COMMAND] [ARG...]"));
	assert_non_null(strstr(bench->out, "-m, --memory bytes"));
	assert_null(strstr(bench->out, "hidden"));
}

static void test_groups(void **state)
{
	struct bench *bench = *state;

	bench->cli.command = &root;
	cli_help(&bench->cli);
	(void)fflush(bench->cli.out);
	/* Each group is whole, whatever stands between its commands. */
	assert_non_null(strstr(bench->out,
			       "\nCommands:\n  run      Run it\n  rename   Rename\n\nOthers:\n  image    Images\n"));
	assert_null(strstr(bench->out, "Nowhere"));
}

static int dispatch(struct bench *bench, const char *line)
{
	int code, argc = split(bench, line, bench->words);

	bench->cli.path[strlen("caisson")] = '\0';
	code = cli_dispatch(&bench->cli, &root, argc, bench->words);
	(void)fflush(bench->cli.err);
	(void)fflush(bench->cli.out);
	return code;
}

static void test_dispatch(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(dispatch(bench, "image list"), 77);
	assert_string_equal(bench->cli.path, "caisson image ls");
	assert_int_equal(dispatch(bench, "rnu"), 125);
	assert_non_null(strstr(bench->err, "'rnu' is not a caisson command; did you mean 'caisson run'?"));
	assert_int_equal(dispatch(bench, "frobnicate"), 125);
	assert_non_null(strstr(bench->err, "'frobnicate' is not a caisson command\n"));
	assert_int_equal(dispatch(bench, "image lss"), 125);
	assert_non_null(strstr(bench->err, "did you mean 'caisson image ls'?\nSee 'caisson image --help'."));
}

static void test_single_dash(void **state)
{
	struct bench *bench = *state;

	bench->cli.single_dash = true;
	assert_int_equal(parse(bench, "run -name x -memory=1k -it y"), CLI_GO);
	assert_string_equal(bench->sample.name, "x");
	assert_int_equal(bench->sample.memory, 1024);
	assert_true(bench->sample.interactive);
}

static void test_machine(void **state)
{
	struct bench *bench = *state;

	cli_help_machine(bench->cli.out, "caisson", &root, NULL);
	(void)fflush(bench->cli.out);
	assert_non_null(strstr(bench->out, "command\tcaisson image list\t-\t-\tList images\n"));
	assert_non_null(strstr(bench->out, "option\tcaisson run\t--memory\t-m\tbytes\t-\tMemory\n"));
	assert_non_null(strstr(bench->out, "option\tcaisson run\t--rm\t-\t-\t-\tRemove it afterwards\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_way_to_write_a_flag, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_truths_and_double_dash, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_errors_say_what_to_do, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_help, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_groups, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dispatch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_single_dash, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_machine, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
