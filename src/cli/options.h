/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options - commands and their flags, as tables.
 *
 * Each command is a struct command whose table of struct cli_option says
 * everything about its flags once: parsing, --help, "did you mean", shell
 * completion (complete.h) and the check of the man pages all come from it.  Flags read
 * as those of docker and runc do: --name VALUE, --name=VALUE, -n VALUE,
 * -nVALUE, -n=VALUE, switches bundled (-it) or given a truth (--rm=false), "--"
 * ends them.  getopt_long(3) is not used: it keeps global state, takes
 * abbreviations, and its words are not docker's.
 *
 * Knows no command, and never exits; it prints only help and usage errors.
 */
#ifndef CAISSON_CLI_OPTIONS_H
#define CAISSON_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum option_kind {
	OPTION_SWITCH, /* bool */
	OPTION_STRING, /* const char *, borrowed from argv */
	OPTION_INT,    /* int64_t */
	OPTION_SIZE,   /* uint64_t bytes, docker's units */
	OPTION_LIST,   /* struct option_list */
	OPTION_CALL,   /* apply() */
};

/* The values of a flag that may be given several times, in order. */
struct option_list {
	size_t count;
	const char **items; /* owned; what it points to is borrowed from argv; items[count] is NULL */
};

struct cli_option {
	const char *name;     /* without dashes; NULL ends the table */
	char letter;	      /* or 0 */
	const char *arg;      /* what the value is called in --help; NULL for a switch */
	const char *help;     /* one line; NULL hides the flag */
	const char *complete; /* what the value may be (complete.h), or NULL */
	enum option_kind kind;
	size_t offset; /* of the member in the command's target struct */
	/* OPTION_CALL only; value is NULL for a switch (arg == NULL), "false" when it was switched off. */
	int (*apply)(void *target, const struct cli_option *option, const char *value, struct error *err);
};

#define OPT_SWITCH(name_, letter_, type, member, help_)                                       \
	{                                                                                     \
		.name = (name_), .letter = (letter_), .help = (help_), .kind = OPTION_SWITCH, \
		.offset = offsetof(type, member)                                              \
	}
#define OPT_VALUE(kind_, name_, letter_, arg_, complete_, type, member, help_)                                 \
	{                                                                                                      \
		.name = (name_), .letter = (letter_), .arg = (arg_), .help = (help_), .complete = (complete_), \
		.kind = (kind_), .offset = offsetof(type, member)                                              \
	}
#define OPT_STRING(name, letter, arg, type, member, help) \
	OPT_VALUE(OPTION_STRING, name, letter, arg, NULL, type, member, help)
#define OPT_INT(name, letter, arg, type, member, help) \
	OPT_VALUE(OPTION_INT, name, letter, arg, NULL, type, member, help)
#define OPT_SIZE(name, letter, arg, type, member, help) \
	OPT_VALUE(OPTION_SIZE, name, letter, arg, NULL, type, member, help)
#define OPT_LIST(name, letter, arg, type, member, help) \
	OPT_VALUE(OPTION_LIST, name, letter, arg, NULL, type, member, help)
#define OPT_CALL(name_, letter_, arg_, complete_, apply_, help_)                                               \
	{                                                                                                      \
		.name = (name_), .letter = (letter_), .arg = (arg_), .help = (help_), .complete = (complete_), \
		.kind = OPTION_CALL, .apply = (apply_)                                                         \
	}

struct cli;

struct command {
	const char *name;     /* NULL ends a table of commands */
	const char *alias;    /* a second name ("ls" for "list"), or NULL */
	const char *operands; /* for the usage line: "[OPTIONS] IMAGE [COMMAND] [ARG...]" */
	const char *summary;  /* one line; NULL hides the command */
	const char *group;    /* heading under which its parent's --help lists it; NULL: "Commands" */
	const char *details;  /* below the flags in --help: examples, notes; or NULL */
	const char *complete; /* what the operands may be (complete.h), or NULL */
	int min_operands;
	int max_operands;				    /* -1: any number */
	bool operands_end_options;			    /* what follows the first operand is not ours (run, exec) */
	const struct cli_option *options;		    /* ends with a NULL name; or NULL */
	const struct command *commands;			    /* sub-commands, or NULL */
	int (*run)(struct cli *cli, int argc, char **argv); /* returns the exit code; argv[0] is the command's word */
};

/* One invocation, on its way down the tree of commands. */
struct cli {
	char path[128];		       /* "caisson image ls": what is being run, for messages */
	const struct command *command; /* what path names */
	const struct command *root;
	void *context;	  /* the program's own */
	int usage_error;  /* exit code for bad usage */
	bool single_dash; /* "-bundle" is "--bundle", as in runc */
	FILE *out, *err;
	/* Prints a usage error in the program's own way, or NULL: "caisson: MESSAGE\nSee 'caisson run --help'." */
	void (*report)(struct cli *cli, const char *message);
	/* Prints the help of cli->command in the program's own way, or NULL. */
	void (*help)(const struct cli *cli);
};

/*
 * Finds the sub-command of parent that argv[0] names and runs it; prints help for "--help", and "did you mean" for
 * what is unknown.  Returns the exit code.
 */
int cli_dispatch(struct cli *cli, const struct command *parent, int argc, char **argv);

/*
 * Parses argv[1..] into target by the tables of cli->command.  *operands and *count get what is no flag, in order
 * (argv is permuted for that).  False: there is nothing left to do, and *code is what to return: help was printed, or
 * a usage error.  Lists in target stay the caller's to free, whatever happens.
 */
bool cli_parse(struct cli *cli, void *target, int argc, char **argv, char ***operands, int *count, int *code);

enum cli_verdict {
	CLI_GO,	  /* parsed: go on */
	CLI_DONE, /* help was printed: return 0 */
	CLI_BAD,  /* the error was printed: return cli->usage_error */
};

/* By a table that is no command's (global flags before the command); stop: at the first operand.  Checks no number of
 * operands. */
enum cli_verdict cli_parse_options(struct cli *cli, const struct cli_option *options, void *target, bool stop, int argc,
				   char **argv, char ***operands, int *count);

/* The option of a table with that name (length bytes), or that letter; or NULL. */
const struct cli_option *cli_option_named(const struct cli_option *options, const char *name, size_t length);
const struct cli_option *cli_option_lettered(const struct cli_option *options, char letter);

/* Stores one value in target; value is NULL for a switch without "=...". */
int cli_option_store(const struct cli_option *option, void *target, const char *value, struct error *err);

/* Prints a usage error; returns CLI_BAD. */
enum cli_verdict cli_usage_error(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints --help of cli->command. */
void cli_help(const struct cli *cli);

/*
 * Everything below root, for programs that read it (the check of the man pages); tab-separated lines:
 *     command PATH OPERANDS COMPLETE SUMMARY
 *     option PATH --NAME -L ARG COMPLETE HELP
 * "-" stands for what is not there.
 */
void cli_help_machine(FILE *out, const char *program, const struct command *root, const struct cli_option *globals);

/* The name in names (NULL-terminated) that is closest to word, or NULL when none is close. */
const char *cli_nearest(const char *word, const char *const *names);

int option_list_add(struct option_list *list, const char *item);
void option_list_free(struct option_list *list);
#define cleanup_option_list __attribute__((cleanup(option_list_free)))

#endif
