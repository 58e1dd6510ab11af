/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include <signal.h>
#include <string.h>

#include "linux/capability.h"
#include "linux/signals.h"

static const char *const sources[] = {
	"file",	    "dir",	"signal",	    "capability",	"image",	   "volume", "kernel",
	"snapshot", "instance", "instance-running", "instance-stopped", "instance-paused", NULL
};

/* Where a walk along the words has come to. */
struct place {
	const struct command *command;
	const struct cli_option *pending; /* its value is the next word */
	int operands;
	bool ended;   /* no more options: after "--", or after the first operand of run and exec */
	bool foreign; /* what follows is the command line of the program inside */
	bool help;    /* "help COMMAND" */
	bool lost;    /* a word that is nobody's: say nothing */
};

static bool is_source(const char *word, size_t length)
{
	for (size_t i = 0; sources[i]; i++) {
		if (strlen(sources[i]) == length && strncmp(sources[i], word, length) == 0)
			return true;
	}
	return false;
}

void completion_offer(struct completion *completion, const char *word, const char *about)
{
	size_t length = completion->prefix_length, typed = strlen(completion->current);
	FILE *out = completion->cli->out;

	/* What could be taken for something else by whoever reads the answer. */
	if (strpbrk(word, "\t\n") || (length == 0 && completion->head_length == 0 && *word == ':'))
		return;
	if (strncmp(completion->current, completion->prefix, typed < length ? typed : length) != 0 ||
	    (typed > length && strncmp(completion->current + length, word, typed - length) != 0))
		return;
	(void)fprintf(out, "%.*s%.*s%s", (int)completion->head_length, completion->head, (int)length,
		      completion->prefix, word);
	if (about)
		(void)fprintf(out, "\t%.*s", (int)strcspn(about, "\n"), about);
	(void)fputc('\n', out);
}

static void offer_signals(struct completion *completion)
{
	for (int number = 1; number < NSIG; number++) {
		const char *name = signal_name(number);

		if (name)
			completion_offer(completion, name, strsignal(number));
	}
}

static void offer_capabilities(struct completion *completion)
{
	completion_offer(completion, "ALL", "Every capability");
	for (int number = 0; number < capability_count(); number++)
		completion_offer(completion, capability_name(number) + strlen("CAP_"), NULL);
}

static void offer_source(struct completion *completion, const char *kind)
{
	size_t length = completion->prefix_length;

	if (strcmp(kind, "signal") == 0)
		offer_signals(completion);
	else if (strcmp(kind, "capability") == 0)
		offer_capabilities(completion);
	else if (strcmp(kind, "file") != 0 && strcmp(kind, "dir") != 0)
		completion->source ? completion->source(completion, kind) : (void)0;
	else if (strncmp(completion->current, completion->prefix, length) == 0)
		(void)fprintf(completion->cli->out, ":%s %zu\n", kind, completion->head_length + length);
}

/* One word of a `complete` list: itself, a source, or "PREFIX:source". */
static void offer_word(struct completion *completion, const char *word, size_t length)
{
	size_t prefix = length;
	char text[64];

	while (prefix > 0 && word[prefix - 1] != ':' && word[prefix - 1] != '=')
		prefix--;
	if (length >= sizeof(text))
		return;
	(void)snprintf(text, sizeof(text), "%.*s", (int)length, word);
	if (!is_source(word + prefix, length - prefix)) {
		completion_offer(completion, text, NULL);
	} else if (strlen(completion->current) < prefix) {
		/* Not yet: all that there is would drown the other words. */
		text[prefix] = '\0';
		completion_offer(completion, text, NULL);
	} else {
		completion->prefix = word;
		completion->prefix_length = prefix;
		offer_source(completion, text + prefix);
		completion->prefix_length = 0;
	}
}

/* list ends at the end of the text, or at ';'. */
static void offer_list(struct completion *completion, const char *list)
{
	while (list && *list && *list != ';') {
		size_t length = strcspn(list, " ;");

		if (length)
			offer_word(completion, list, length);
		list += length + (list[length] == ' ');
	}
}

static void store_global(const struct completion *completion, const struct place *place,
			 const struct cli_option *option, const char *value)
{
	if (completion->globals && place->command == completion->cli->root)
		(void)cli_option_store(option, completion->globals, value, NULL);
}

/* A word that begins with a dash.  Letters of a bundle: the last one may want a value. */
static void walk_option(struct completion *completion, struct place *place, const char *word)
{
	const struct cli_option *options = place->command->options, *option = NULL;
	const char *name = word + (word[1] == '-' ? 2 : 1);
	size_t length = strcspn(name, "=");

	if (strcmp(word, "--") == 0) {
		place->ended = true;
		return;
	}
	if (word[1] == '-' || (completion->cli->single_dash && cli_option_named(options, name, length)))
		option = cli_option_named(options, name, length);
	else
		for (const char *at = name; *at; at++) {
			option = cli_option_lettered(options, *at);
			if (option && option->arg && at[1])
				return;
		}
	if (!option || !option->arg)
		return;
	if (name[length] == '=')
		store_global(completion, place, option, name + length + 1);
	else
		place->pending = option;
}

static const struct command *find_command(const struct command *commands, const char *word)
{
	for (; commands && commands->name; commands++) {
		if (strcmp(commands->name, word) == 0 || (commands->alias && strcmp(commands->alias, word) == 0))
			return commands;
	}
	return NULL;
}

static void walk(struct completion *completion, struct place *place, const char *word)
{
	if (place->pending) {
		store_global(completion, place, place->pending, word);
		place->pending = NULL;
	} else if (!place->ended && word[0] == '-' && word[1]) {
		walk_option(completion, place, word);
	} else if (place->command->commands && place->command == completion->cli->root && strcmp(word, "help") == 0) {
		place->help = true;
	} else if (place->command->commands) {
		const struct command *next = find_command(place->command->commands, word);

		place->lost = place->lost || !next;
		place->command = next ? next : place->command;
	} else {
		place->operands++;
		place->ended = place->ended || place->command->operands_end_options;
		place->foreign = place->command->operands_end_options;
	}
}

static void offer_options(struct completion *completion, const struct command *command)
{
	char text[96];

	for (const struct cli_option *option = command->options; option && option->name; option++) {
		(void)snprintf(text, sizeof(text), "--%s", option->name);
		if (option->help)
			completion_offer(completion, text, option->help);
	}
	completion_offer(completion, "--help", "Show help");
}

static void offer_commands(struct completion *completion, const struct place *place)
{
	for (const struct command *each = place->command->commands; each->name; each++) {
		if (each->summary)
			completion_offer(completion, each->name, each->summary);
	}
	if (place->command == completion->cli->root && !find_command(place->command->commands, "help"))
		completion_offer(completion, "help", "Show help of a command");
}

static void offer_operand(struct completion *completion, const struct place *place)
{
	const struct command *command = place->command;
	const char *list = command->complete;

	if (place->foreign) {
		(void)fprintf(completion->cli->out, ":file 0\n");
		return;
	}
	if (command->max_operands >= 0 && place->operands >= command->max_operands)
		return;
	for (int i = 0; i < place->operands && list && strchr(list, ';'); i++)
		list = strchr(list, ';') + 1;
	offer_list(completion, list);
}

/* "--network=ho", and "-network=ho" where one dash is enough. */
static bool offer_joined_value(struct completion *completion, const struct place *place)
{
	const char *word = completion->current, *name = word + (word[1] == '-' ? 2 : 1);
	size_t length = strcspn(name, "=");
	const struct cli_option *option = cli_option_named(place->command->options, name, length);

	if (!option || !option->arg || name[length] != '=' || (word[1] != '-' && !completion->cli->single_dash))
		return false;
	completion->head = word;
	completion->head_length = (size_t)(name + length + 1 - word);
	completion->current = name + length + 1;
	offer_list(completion, option->complete);
	return true;
}

void completion_answer(struct completion *completion, char **words, int count)
{
	struct place place = { .command = completion->cli->root };

	for (int i = 0; i < count - 1; i++)
		walk(completion, &place, words[i]);
	completion->head = completion->prefix = "";
	completion->head_length = completion->prefix_length = 0;
	completion->current = count > 0 ? words[count - 1] : "";
	if (place.lost)
		return;
	if (place.pending)
		offer_list(completion, place.pending->complete);
	else if (!place.ended && !place.help && completion->current[0] == '-')
		offer_joined_value(completion, &place) ? (void)0 : offer_options(completion, place.command);
	else if (place.command->commands)
		offer_commands(completion, &place);
	else if (!place.help)
		offer_operand(completion, &place);
}
