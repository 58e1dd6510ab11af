/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"

enum { WORD_MAX = 64, NAMES_MAX = 256 };

int option_list_add(struct option_list *list, const char *item)
{
	const char **grown = reallocarray(list->items, list->count + 2, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->items = grown;
	list->items[list->count++] = item;
	list->items[list->count] = NULL;
	return 0;
}

void option_list_free(struct option_list *list)
{
	free(list->items);
	*list = (struct option_list){ .count = 0 };
}

/* Edits (insert, delete, replace, swap of neighbours) between two words of less than WORD_MAX bytes. */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), rows[3][WORD_MAX + 1] = { { 0 } };

	if (n >= WORD_MAX || m >= WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[n % 3][m];
}

const char *cli_nearest(const char *word, const char *const *names)
{
	size_t best = strlen(word) > 5 ? 3 : 2; /* one past what still counts as a slip of the finger */
	const char *nearest = NULL;

	if (strlen(word) < 2)
		return NULL;
	for (; *names; names++) {
		size_t edits = distance(word, *names);

		if (edits < best) {
			best = edits;
			nearest = *names;
		}
	}
	return nearest;
}

enum cli_verdict cli_usage_error(struct cli *cli, const char *format, ...)
{
	char message[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (cli->report) {
		cli->report(cli, message);
	} else {
		int program = (int)strcspn(cli->path, " ");

		(void)fprintf(cli->err, "%.*s: %s\nSee '%s --help'.\n", program, cli->path, message, cli->path);
	}
	return CLI_BAD;
}

const struct cli_option *cli_option_named(const struct cli_option *options, const char *name, size_t length)
{
	for (; options && options->name; options++) {
		if (strncmp(options->name, name, length) == 0 && options->name[length] == '\0')
			return options;
	}
	return NULL;
}

const struct cli_option *cli_option_lettered(const struct cli_option *options, char letter)
{
	for (; options && options->name; options++) {
		if (options->letter && options->letter == letter)
			return options;
	}
	return NULL;
}

static int parse_truth(const char *text, bool *value)
{
	static const char *const words[2][5] = { { "false", "0", "f", "no", "off" },
						 { "true", "1", "t", "yes", "on" } };

	for (int truth = 0; truth < 2; truth++) {
		for (size_t i = 0; i < 5; i++) {
			if (strcasecmp(text, words[truth][i]) == 0) {
				*value = truth;
				return 0;
			}
		}
	}
	return -EINVAL;
}

int cli_option_store(const struct cli_option *option, void *target, const char *value, struct error *err)
{
	char *member = (char *)target + option->offset;
	bool truth = true;
	int ret = 0;

	switch (option->kind) {
	case OPTION_SWITCH:
		*(bool *)member = true;
		ret = value ? parse_truth(value, (bool *)member) : 0;
		return ret < 0 ? error_set(err, EINVAL, "expected true or false") : 0;
	case OPTION_STRING:
		*(const char **)member = value;
		return 0;
	case OPTION_INT:
		ret = str_to_i64(value, (int64_t *)member);
		return ret < 0 ? error_set(err, -ret, ret == -ERANGE ? "out of range" : "expected a whole number") : 0;
	case OPTION_SIZE:
		ret = str_to_size(value, (uint64_t *)member);
		return ret < 0 ? error_set(err, -ret, "invalid size: '%s'; write it like 512k, 64m, 2g", value) : 0;
	case OPTION_LIST:
		ret = option_list_add((struct option_list *)member, value);
		return ret < 0 ? error_errno(err, -ret, "cannot keep it") : 0;
	case OPTION_CALL:
		if (option->arg)
			return option->apply(target, option, value, err);
		if (value && parse_truth(value, &truth) < 0)
			return error_set(err, EINVAL, "expected true or false");
		return option->apply(target, option, truth ? NULL : "false", err);
	}
	return error_set(err, EINVAL, "unknown kind of flag");
}

static enum cli_verdict apply_or_complain(struct cli *cli, const struct cli_option *option, void *target,
					  const char *value)
{
	struct error err = ERROR_INIT;
	char letter[] = "-x, ";

	if (cli_option_store(option, target, value, &err) == 0)
		return CLI_GO;
	letter[1] = option->letter;
	return cli_usage_error(cli, "invalid argument \"%s\" for \"%s--%s\" flag: %s", value ? value : "",
			       option->letter ? letter : "", option->name, err.text);
}

static enum cli_verdict unknown_flag(struct cli *cli, const struct cli_option *options, const char *name, size_t length)
{
	const char *names[NAMES_MAX], *nearest;
	char word[WORD_MAX];
	size_t count = 0;

	(void)snprintf(word, sizeof(word), "%.*s", (int)(length < WORD_MAX ? length : WORD_MAX - 1), name);
	for (; options && options->name && count < NAMES_MAX - 1; options++)
		names[count++] = options->name;
	names[count] = NULL;
	nearest = cli_nearest(word, names);
	if (nearest)
		return cli_usage_error(cli, "unknown flag: --%s; did you mean --%s?", word, nearest);
	return cli_usage_error(cli, "unknown flag: --%.*s", (int)length, name);
}

/* What parsing carries from word to word. */
struct walk {
	struct cli *cli;
	const struct cli_option *options;
	void *target;
	int argc, at; /* argv[at] is the next word */
	char **argv;
};

/* text: what follows the dashes. */
static enum cli_verdict parse_long(struct walk *walk, const char *text)
{
	size_t length = strcspn(text, "=");
	const char *value = text[length] ? text + length + 1 : NULL;
	const struct cli_option *option = cli_option_named(walk->options, text, length);

	if (!option && length == 4 && strncmp(text, "help", 4) == 0) {
		cli_help(walk->cli);
		return CLI_DONE;
	}
	if (!option)
		return unknown_flag(walk->cli, walk->options, text, length);
	if (option->arg && !value) {
		if (walk->at >= walk->argc)
			return cli_usage_error(walk->cli, "flag needs an argument: --%s", option->name);
		value = walk->argv[walk->at++];
	}
	return apply_or_complain(walk->cli, option, walk->target, value);
}

/* A bundle of letters; the last one may take the rest of the word, or the next word, as its value. */
static enum cli_verdict parse_letters(struct walk *walk, const char *word)
{
	for (const char *at = word + 1; *at; at++) {
		const struct cli_option *option = cli_option_lettered(walk->options, *at);
		enum cli_verdict verdict;
		const char *value = NULL;

		if (!option && *at == 'h') {
			cli_help(walk->cli);
			return CLI_DONE;
		}
		if (!option)
			return cli_usage_error(walk->cli, "unknown shorthand flag: '%c' in %s", *at, word);
		if (!option->arg) {
			value = at[1] == '=' ? at + 2 : NULL;
			verdict = apply_or_complain(walk->cli, option, walk->target, value);
			if (verdict != CLI_GO || value)
				return verdict;
			continue;
		}
		if (at[1])
			value = at[1] == '=' ? at + 2 : at + 1;
		else if (walk->at < walk->argc)
			value = walk->argv[walk->at++];
		else
			return cli_usage_error(walk->cli, "flag needs an argument: '%c' in %s", *at, word);
		return apply_or_complain(walk->cli, option, walk->target, value);
	}
	return CLI_GO;
}

static enum cli_verdict parse_word(struct walk *walk, const char *word)
{
	const char *name = word + 1;

	if (*name == '-')
		return parse_long(walk, name + 1);
	/* runc's flag package takes "-name" for "--name". */
	if (walk->cli->single_dash && name[1] &&
	    (cli_option_named(walk->options, name, strcspn(name, "=")) || strcmp(name, "help") == 0))
		return parse_long(walk, name);
	return parse_letters(walk, word);
}

enum cli_verdict cli_parse_options(struct cli *cli, const struct cli_option *options, void *target, bool stop, int argc,
				   char **argv, char ***operands, int *count)
{
	struct walk walk = { cli, options, target, argc, 1, argv };
	int kept = 0;

	/* Operands move to the front of argv as they are met: what was parsed before them is not needed any more. */
	*operands = argv;
	while (walk.at < argc) {
		char *word = argv[walk.at++];
		enum cli_verdict verdict;

		if (word[0] != '-' || !word[1]) {
			argv[kept++] = word;
			if (stop)
				break;
			continue;
		}
		if (strcmp(word, "--") == 0)
			break;
		verdict = parse_word(&walk, word);
		if (verdict != CLI_GO)
			return verdict;
	}
	while (walk.at < argc)
		argv[kept++] = argv[walk.at++];
	argv[kept] = NULL;
	*count = kept;
	return CLI_GO;
}

static enum cli_verdict check_count(struct cli *cli, int count)
{
	const struct command *command = cli->command;
	int need = count < command->min_operands ? command->min_operands : command->max_operands;
	const char *how = command->max_operands == command->min_operands ? "exactly"
			  : count < command->min_operands		 ? "at least"
									 : "at most";

	if (count >= command->min_operands && (command->max_operands < 0 || count <= command->max_operands))
		return CLI_GO;
	if (command->max_operands == 0)
		return cli_usage_error(cli, "\"%s\" accepts no arguments\nUsage: %s %s", cli->path, cli->path,
				       command->operands);
	return cli_usage_error(cli, "\"%s\" requires %s %d argument%s\nUsage: %s %s", cli->path, how, need,
			       need == 1 ? "" : "s", cli->path, command->operands);
}

bool cli_parse(struct cli *cli, void *target, int argc, char **argv, char ***operands, int *count, int *code)
{
	const struct command *command = cli->command;
	enum cli_verdict verdict = cli_parse_options(cli, command->options, target, command->operands_end_options, argc,
						     argv, operands, count);

	if (verdict == CLI_GO)
		verdict = check_count(cli, *count);
	*code = verdict == CLI_BAD ? cli->usage_error : 0;
	return verdict == CLI_GO;
}

static bool names_command(const struct command *command, const char *word)
{
	return strcmp(command->name, word) == 0 || (command->alias && strcmp(command->alias, word) == 0);
}

static int unknown_command(struct cli *cli, const struct command *parent, const char *word)
{
	const char *names[NAMES_MAX], *nearest;
	size_t count = 0;

	for (const struct command *each = parent->commands; each->name && count < NAMES_MAX - 1; each++) {
		if (each->summary)
			names[count++] = each->name;
	}
	names[count] = NULL;
	nearest = cli_nearest(word, names);
	if (nearest)
		(void)cli_usage_error(cli, "'%s' is not a %s command; did you mean '%s %s'?", word, cli->path,
				      cli->path, nearest);
	else
		(void)cli_usage_error(cli, "'%s' is not a %s command", word, cli->path);
	return cli->usage_error;
}

int cli_dispatch(struct cli *cli, const struct command *parent, int argc, char **argv)
{
	size_t used = strlen(cli->path);

	cli->command = parent;
	if (argc < 1 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 ||
	    (parent != cli->root && strcmp(argv[0], "help") == 0)) {
		if (argc < 1)
			cli->out = cli->err;
		cli_help(cli);
		return argc < 1 ? cli->usage_error : 0;
	}
	if (argv[0][0] == '-') {
		(void)cli_usage_error(cli, "unknown flag: %s", argv[0]);
		return cli->usage_error;
	}
	for (const struct command *each = parent->commands; each->name; each++) {
		if (!names_command(each, argv[0]))
			continue;
		(void)snprintf(cli->path + used, sizeof(cli->path) - used, " %s", each->name);
		cli->command = each;
		return each->commands ? cli_dispatch(cli, each, argc - 1, argv + 1) : each->run(cli, argc, argv);
	}
	return unknown_command(cli, parent, argv[0]);
}
