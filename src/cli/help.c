/* SPDX-License-Identifier: Apache-2.0 */
/* How the tables of options.h read as help: for people, and for programs. */
#include <string.h>

#include "cli/options.h"

enum { COLUMN_MAX = 34, FLAG_MAX = 96 };

/* "-m, --memory bytes" */
static int flag_text(const struct cli_option *option, char text[static FLAG_MAX])
{
	char letter[8] = "    ";

	if (option->letter)
		(void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	return snprintf(text, FLAG_MAX, "%s--%s%s%s", letter, option->name, option->arg ? " " : "",
			option->arg ? option->arg : "");
}

static void print_row(FILE *out, const char *left, int column, const char *right)
{
	if ((int)strlen(left) > column)
		(void)fprintf(out, "  %s\n  %*s   %s\n", left, column, "", right);
	else
		(void)fprintf(out, "  %-*s   %s\n", column, left, right);
}

static void print_options(FILE *out, const struct cli_option *options)
{
	char text[FLAG_MAX];
	int column = 0;

	for (const struct cli_option *each = options; each->name; each++) {
		int width = flag_text(each, text);

		if (each->help && width <= COLUMN_MAX && width > column)
			column = width;
	}
	(void)fputs("\nOptions:\n", out);
	for (; options->name; options++) {
		if (!options->help)
			continue;
		(void)flag_text(options, text);
		print_row(out, text, column, options->help);
	}
}

static bool same_group(const struct command *one, const struct command *other)
{
	return one->group == other->group || (one->group && other->group && strcmp(one->group, other->group) == 0);
}

static void print_commands(FILE *out, const struct command *commands)
{
	int column = 0;

	for (const struct command *each = commands; each->name; each++) {
		if (each->summary && (int)strlen(each->name) > column)
			column = (int)strlen(each->name);
	}
	/* A group begins where the first of it stands, and has all of it. */
	for (const struct command *first = commands; first->name; first++) {
		const struct command *before = commands;

		while (before < first && !(before->summary && same_group(before, first)))
			before++;
		if (before < first || !first->summary)
			continue;
		(void)fprintf(out, "\n%s:\n", first->group ? first->group : "Commands");
		for (const struct command *each = first; each->name; each++) {
			if (each->summary && same_group(each, first))
				print_row(out, each->name, column, each->summary);
		}
	}
}

void cli_help(const struct cli *cli)
{
	const struct command *command = cli->command;
	FILE *out = cli->out;

	if (cli->help) {
		cli->help(cli);
		return;
	}
	(void)fprintf(out, "Usage:  %s %s\n\n%s\n", cli->path, command->operands ? command->operands : "COMMAND",
		      command->summary ? command->summary : "");
	if (command->alias) {
		int parent = (int)(strlen(cli->path) - strlen(command->name));

		(void)fprintf(out, "\nAliases:\n  %s, %.*s%s\n", cli->path, parent, cli->path, command->alias);
	}
	if (command->commands)
		print_commands(out, command->commands);
	if (command->options && command->options->name)
		print_options(out, command->options);
	if (command->details)
		(void)fprintf(out, "\n%s\n", command->details);
	if (command->commands)
		(void)fprintf(out, "\nRun '%s COMMAND --help' for more information on a command.\n", cli->path);
}

static const char *or_dash(const char *text)
{
	return text && *text ? text : "-";
}

static void machine_options(FILE *out, const char *path, const struct cli_option *options)
{
	for (; options && options->name; options++) {
		char letter[3] = { '-', options->letter, '\0' };

		if (options->help)
			(void)fprintf(out, "option\t%s\t--%s\t%s\t%s\t%s\t%s\n", path, options->name, letter,
				      or_dash(options->arg), or_dash(options->complete), options->help);
	}
}

static void machine_commands(FILE *out, const char *path, const struct command *commands)
{
	for (; commands && commands->name; commands++) {
		const char *const names[] = { commands->name, commands->alias };

		for (size_t i = 0; commands->summary && i < 2 && names[i]; i++) {
			char below[256];

			(void)snprintf(below, sizeof(below), "%s %s", path, names[i]);
			(void)fprintf(out, "command\t%s\t%s\t%s\t%s\n", below, or_dash(commands->operands),
				      or_dash(commands->complete), commands->summary);
			machine_options(out, below, commands->options);
			machine_commands(out, below, commands->commands);
		}
	}
}

void cli_help_machine(FILE *out, const char *program, const struct command *root, const struct cli_option *globals)
{
	machine_options(out, program, globals);
	machine_commands(out, program, root->commands);
}
