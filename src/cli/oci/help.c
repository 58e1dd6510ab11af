/* SPDX-License-Identifier: Apache-2.0 */
/* Help as runc lays it out: NAME, USAGE, DESCRIPTION, COMMANDS, OPTIONS. */
#include <stdio.h>
#include <string.h>

#include "cli/oci/oci.h"

enum { FLAG_MAX = 64, COLUMN_MAX = 36 };

static int flag_text(const struct cli_option *option, char text[static FLAG_MAX])
{
	char letter[8] = "";

	if (option->letter)
		(void)snprintf(letter, sizeof(letter), ", -%c", option->letter);
	return snprintf(text, FLAG_MAX, "--%s%s%s%s", option->name, option->arg ? " " : "",
			option->arg ? option->arg : "", letter);
}

static void print_options(FILE *out, const char *title, const struct cli_option *options)
{
	char text[FLAG_MAX];
	int column = (int)strlen("--help, -h");

	for (const struct cli_option *each = options; each && each->name; each++) {
		int width = each->help ? flag_text(each, text) : 0;

		if (width > column && width <= COLUMN_MAX)
			column = width;
	}
	(void)fprintf(out, "\n%s:\n", title);
	for (; options && options->name; options++) {
		if (!options->help)
			continue;
		(void)flag_text(options, text);
		(void)fprintf(out, "   %-*s  %s\n", column, text, options->help);
	}
	(void)fprintf(out, "   %-*s  show help\n", column, "--help, -h");
}

void oci_help(const struct cli *cli)
{
	const struct command *command = cli->command;
	const struct oci *oci = cli->context;
	bool top = command == cli->root;

	/* The flags and words of a command are runc's, whose documentation holds. */
	if (top)
		(void)fprintf(cli->out, "NAME:\n   %s, a drop-in for runc - %s\n", oci->program, command->summary);
	else
		(void)fprintf(cli->out, "NAME:\n   %s %s - %s, as \"runc %s\"\n", oci->program, command->name,
			      command->summary, command->name);
	(void)fprintf(cli->out, "\nUSAGE:\n   %s%s%s %s\n", oci->program, top ? "" : " ", top ? "" : command->name,
		      command->operands);
	if (command->details)
		(void)fprintf(cli->out, "\nDESCRIPTION:\n%s", command->details);
	if (command->commands) {
		(void)fputs("\nCOMMANDS:\n", cli->out);
		for (const struct command *each = command->commands; each->name; each++)
			(void)fprintf(cli->out, "   %-10s  %s\n", each->name, each->summary);
		(void)fprintf(cli->out, "   %-10s  %s\n", "help", "show this, or the help of one command");
	}
	print_options(cli->out, top ? "GLOBAL OPTIONS" : "OPTIONS", command->options);
}
