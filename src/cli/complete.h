/* SPDX-License-Identifier: Apache-2.0 */
/*
 * complete - what may come next on a command line, for the shells.
 *
 * The scripts of bash, zsh and fish (completion_script()) know nothing of a
 * program but its name: they hand the words so far to its hidden command
 * `__complete`, and the answer comes out of the tables of options.h.  So the
 * shells cannot know less than --help, and there is one thing to keep right.
 *
 * The answer has one candidate a line, "CANDIDATE<TAB>DESCRIPTION".  A line
 * ":file N" or ":dir N" asks the shell for names of files (or directories)
 * beginning with the current word without its first N bytes.
 *
 * Nothing of what is printed is for a shell to evaluate, and the scripts do
 * not: words of the line and names out of the store stay text.
 */
#ifndef CAISSON_CLI_COMPLETE_H
#define CAISSON_CLI_COMPLETE_H

#include "cli/options.h"

/*
 * `complete` of struct cli_option is a list of words: what a value may be.  These stand for what there is, and may
 * follow a prefix that ends in ':' or '=' ("container:instance"):
 *     file dir signal capability     found here
 *     image volume instance kernel snapshot    found by the program (struct completion)
 *     instance-running instance-stopped instance-paused
 * In struct command `;` separates what is for the first operand, the second, ...; the last one is for all that follow.
 */
struct completion;
typedef void (*completion_source)(struct completion *completion, const char *kind);

struct completion {
	struct cli *cli;
	void *globals;		  /* target of the root's options: the program's store is where they say; or NULL */
	completion_source source; /* calls completion_offer() for each of what kind names; or NULL */
	const char *current;	  /* the word to complete, without what comes before its value */
	const char *head;	  /* what comes before it in the whole word, head_length bytes: "--network=" */
	size_t head_length;
	const char *prefix; /* "container:" while its source is asked */
	size_t prefix_length;
};

/* Prints word, if the current word may become it.  about may be NULL. */
void completion_offer(struct completion *completion, const char *word, const char *about);

/* words: the words after the program's name, the last of which is to be completed (and may be ""). */
void completion_answer(struct completion *completion, char **words, int count);

/* Prints the script for shell ("bash", "zsh", "fish"); -EINVAL names those. */
int completion_script(FILE *out, const char *program, const char *shell, struct error *err);

#endif
