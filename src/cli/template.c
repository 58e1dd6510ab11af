/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { ARGS_MAX = 16, VARIABLES_MAX = 32, NESTING_MAX = 64 };

static void decref_json(json_t **value)
{
	json_decref(*value);
}
#define cleanup_json __attribute__((cleanup(decref_json)))

struct variable {
	const char *name; /* into the template, without '$' */
	size_t length;
	json_t *value; /* owned */
};

/* One run over one template.  Where live is false, text is read for its structure only. */
struct run {
	const char *text, *at;
	json_t *root, *dot; /* borrowed */
	struct variable variables[VARIABLES_MAX];
	int variables_count, nesting;
	bool live, trim; /* trim: the last action ended with "-}}" */
	struct str *out;
	struct error *err;
};

enum stop { STOP_TEXT_END, STOP_ELSE, STOP_END };

static int run_list(struct run *run, enum stop *stop);
static json_t *eval_pipeline(struct run *run);

static int complain(struct run *run, const char *what)
{
	return error_set(run->err, EINVAL, "template parsing error: at character %d: %s",
			 (int)(run->at - run->text) + 1, what);
}

static void skip_blanks(struct run *run)
{
	while (isspace((unsigned char)*run->at))
		run->at++;
}

static size_t word_length(const char *at)
{
	size_t length = 0;

	while (isalnum((unsigned char)at[length]) || at[length] == '_')
		length++;
	return length;
}

/* Takes a keyword if it is next. */
static bool take_word(struct run *run, const char *word)
{
	size_t length = strlen(word);

	skip_blanks(run);
	if (strncmp(run->at, word, length) != 0 || word_length(run->at) != length)
		return false;
	run->at += length;
	return true;
}

static bool at_action_end(struct run *run)
{
	skip_blanks(run);
	return strncmp(run->at, "}}", 2) == 0 || strncmp(run->at, "-}}", 3) == 0;
}

static int end_action(struct run *run)
{
	if (!at_action_end(run))
		return complain(run, *run->at ? "unexpected text in an action" : "unclosed action");
	run->trim = *run->at == '-';
	run->at += run->trim ? 3 : 2;
	return 0;
}

/* Maps whose keys users choose: what is not there is no mistake. */
static bool free_map(const char *name, size_t length)
{
	static const char *const names[] = { "Labels", "Annotations", "Sysctls", "Options", "LogOpts" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
			return true;
	}
	return false;
}

/* ".A.B" from base on; takes the reference to base, gives a new one. */
static json_t *eval_fields(struct run *run, json_t *base)
{
	bool free_keys = false;

	while (run->live && base && *run->at == '.' && word_length(run->at + 1)) {
		size_t length = word_length(run->at + 1);
		cleanup_free char *name = strndup(run->at + 1, length);
		cleanup_json json_t *parent = base;
		json_t *found = name ? json_object_get(parent, name) : NULL;

		if (!found && !(free_keys || json_is_null(parent))) {
			(void)error_set(run->err, EINVAL,
					"template parsing error: at character %d: there is no field \"%.*s\"; "
					"{{json .}} shows all",
					(int)(run->at - run->text) + 1, (int)length, run->at + 1);
			return NULL;
		}
		free_keys = free_map(run->at + 1, length);
		base = found ? json_incref(found) : json_null();
		run->at += 1 + length;
	}
	while (*run->at == '.' && word_length(run->at + 1))
		run->at += 1 + word_length(run->at + 1);
	return base;
}

static json_t *eval_variable(struct run *run)
{
	const char *name = ++run->at;
	size_t length = word_length(name);

	run->at += length;
	if (length == 0)
		return eval_fields(run, json_incref(run->root));
	for (int i = run->variables_count - 1; i >= 0; i--) {
		const struct variable *each = &run->variables[i];

		if (each->length == length && memcmp(each->name, name, length) == 0)
			return eval_fields(run, json_incref(each->value));
	}
	if (!run->live)
		return eval_fields(run, json_null());
	(void)complain(run, "undefined variable");
	return NULL;
}

static json_t *eval_string(struct run *run)
{
	static const char escapes[][2] = { { 'n', '\n' }, { 't', '\t' }, { 'r', '\r' } };
	cleanup_str struct str text = STR_INIT;
	char quote = *run->at++;

	while (*run->at && *run->at != quote) {
		char c = *run->at++;

		if (c == '\\' && quote == '"' && *run->at) {
			c = *run->at++;
			for (size_t i = 0; i < sizeof(escapes) / sizeof(*escapes); i++)
				c = c == escapes[i][0] ? escapes[i][1] : c;
		}
		str_append_bytes(&text, &c, 1);
	}
	if (!*run->at) {
		(void)complain(run, "unterminated quoted string");
		return NULL;
	}
	run->at++;
	return json_string(str_text(&text));
}

static json_t *eval_number(struct run *run)
{
	char *end;
	long long whole = strtoll(run->at, &end, 10);
	json_t *value;

	if (*end == '.' && isdigit((unsigned char)end[1]))
		value = json_real(strtod(run->at, &end));
	else
		value = json_integer(whole);
	run->at = end;
	return value;
}

static json_t *eval_parenthesis(struct run *run)
{
	json_t *value;

	if (++run->nesting > NESTING_MAX) {
		(void)complain(run, "nested too deeply");
		return NULL;
	}
	run->at++;
	value = eval_pipeline(run);
	run->nesting--;
	skip_blanks(run);
	if (value && *run->at != ')') {
		json_decref(value);
		(void)complain(run, "unclosed left parenthesis");
		return NULL;
	}
	if (value)
		run->at++;
	return value ? eval_fields(run, value) : NULL;
}

static json_t *eval_operand(struct run *run)
{
	char c;

	skip_blanks(run);
	c = *run->at;
	if (c == '.') {
		if (!word_length(run->at + 1)) {
			run->at++;
			return json_incref(run->dot);
		}
		return eval_fields(run, json_incref(run->dot));
	}
	if (c == '$')
		return eval_variable(run);
	if (c == '"' || c == '`')
		return eval_string(run);
	if (c == '(')
		return eval_parenthesis(run);
	if (isdigit((unsigned char)c) || (c == '-' && isdigit((unsigned char)run->at[1])))
		return eval_number(run);
	if (take_word(run, "true"))
		return json_true();
	if (take_word(run, "false"))
		return json_false();
	if (take_word(run, "nil"))
		return json_null();
	(void)complain(run, c ? "expected a value" : "unclosed action");
	return NULL;
}

static bool at_command_end(struct run *run)
{
	return at_action_end(run) || *run->at == '|' || *run->at == ')' || !*run->at;
}

/* function args... [piped] */
static json_t *eval_call(struct run *run, const struct template_function *function, json_t *piped)
{
	json_t *args[ARGS_MAX], *value = NULL;
	bool whole = true;
	int count = 0;

	while (whole && !at_command_end(run)) {
		args[count] = count < ARGS_MAX - 1 ? eval_operand(run) : NULL;
		if (args[count])
			count++;
		else
			whole = false;
	}
	if (whole && piped)
		args[count++] = json_incref(piped);
	if (!whole) {
		if (run->err && !run->err->code)
			(void)complain(run, "too many arguments");
	} else if (!run->live) {
		value = json_null();
	} else if (count < function->min || (function->max >= 0 && count > function->max)) {
		(void)complain(run, "wrong number of arguments");
	} else {
		value = function->call(args, count, run->err);
		if (!value)
			(void)error_wrap(run->err, "template parsing error");
	}
	for (int i = 0; i < count; i++)
		json_decref(args[i]);
	return value;
}

static json_t *eval_command(struct run *run, json_t *piped)
{
	const struct template_function *function;
	size_t length;
	json_t *value;

	skip_blanks(run);
	length = word_length(run->at);
	function = template_function_find(run->at, length);
	if (function) {
		run->at += length;
		return eval_call(run, function, piped);
	}
	if (length && isalpha((unsigned char)*run->at) && strncmp(run->at, "true", 4) != 0 &&
	    strncmp(run->at, "false", 5) != 0 && strncmp(run->at, "nil", 3) != 0) {
		(void)error_set(run->err, EINVAL, "template parsing error: function \"%.*s\" not defined", (int)length,
				run->at);
		return NULL;
	}
	value = piped ? NULL : eval_operand(run);
	if (piped)
		(void)complain(run, "expected a function after '|'");
	return value;
}

static json_t *eval_pipeline(struct run *run)
{
	json_t *value = eval_command(run, NULL);

	while (value) {
		cleanup_json json_t *piped = NULL;

		skip_blanks(run);
		if (*run->at != '|')
			break;
		run->at++;
		piped = value;
		value = eval_command(run, piped);
	}
	return value;
}

static void forget(struct run *run, int keep)
{
	while (run->variables_count > keep)
		json_decref(run->variables[--run->variables_count].value);
}

static int remember(struct run *run, const char *name, size_t length, json_t *value)
{
	if (run->variables_count == VARIABLES_MAX)
		return complain(run, "too many variables");
	run->variables[run->variables_count++] = (struct variable){ name, length, json_incref(value) };
	return 0;
}

/* "$a := ", "$a, $b := " or nothing; count gets how many names there were. */
static int parse_declaration(struct run *run, const char *names[2], size_t lengths[2], int *count)
{
	const char *start;

	skip_blanks(run);
	start = run->at;
	*count = 0;
	while (*count < 2 && *run->at == '$' && word_length(run->at + 1)) {
		names[*count] = run->at + 1;
		lengths[*count] = word_length(run->at + 1);
		run->at += 1 + lengths[(*count)++];
		skip_blanks(run);
		if (strncmp(run->at, ":=", 2) == 0) {
			run->at += 2;
			return 0;
		}
		if (*run->at == '=' && run->at[1] != '=') {
			run->at += 1;
			return 0;
		}
		if (*run->at != ',')
			break;
		run->at++;
		skip_blanks(run);
	}
	run->at = start;
	*count = 0;
	return 0;
}

/* Runs a list as live or dead text, with another dot; stop tells what ended it. */
static int run_block(struct run *run, bool live, json_t *dot, enum stop *stop)
{
	bool was_live = run->live;
	json_t *was_dot = run->dot;
	int variables = run->variables_count, ret;

	run->live = was_live && live;
	run->dot = dot;
	ret = run_list(run, stop);
	run->live = was_live;
	run->dot = was_dot;
	forget(run, variables);
	if (ret == 0 && *stop == STOP_TEXT_END)
		return complain(run, "unexpected end: {{end}} is missing");
	return ret;
}

/* if and with; entered after the keyword, left after {{end}}. */
static int run_choice(struct run *run, bool sets_dot)
{
	bool done = false;

	for (;;) {
		cleanup_json json_t *value = NULL;
		const char *names[2];
		size_t lengths[2];
		int count, ret, variables = run->variables_count;
		bool chosen, was_live = run->live;
		enum stop stop;

		(void)parse_declaration(run, names, lengths, &count);
		run->live = was_live && !done;
		value = eval_pipeline(run);
		run->live = was_live;
		if (!value || end_action(run) < 0)
			return -EINVAL;
		if (count && remember(run, names[0], lengths[0], value) < 0)
			return -EINVAL;
		chosen = !done && template_truth(value);
		ret = run_block(run, chosen, sets_dot ? value : run->dot, &stop);
		forget(run, variables);
		if (ret < 0 || stop == STOP_END)
			return ret;
		done = done || chosen;
		if (take_word(run, "if") || take_word(run, "with"))
			continue;
		ret = end_action(run);
		if (ret == 0)
			ret = run_block(run, !done, run->dot, &stop);
		if (ret == 0 && stop != STOP_END)
			return complain(run, "unexpected {{else}}");
		return ret;
	}
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What range walks over: element i and its key. */
struct walk {
	json_t *over;
	const char **keys; /* owned; NULL for a list */
	size_t count;
};

static int walk_open(struct run *run, json_t *over, struct walk *walk)
{
	const char *key;
	json_t *item;

	*walk = (struct walk){ .over = over };
	if (json_is_array(over)) {
		walk->count = json_array_size(over);
	} else if (json_is_object(over)) {
		walk->keys = calloc(json_object_size(over) + 1, sizeof(*walk->keys));
		if (!walk->keys)
			return error_errno(run->err, ENOMEM, "cannot format");
		json_object_foreach (over, key, item)
			walk->keys[walk->count++] = key;
		qsort(walk->keys, walk->count, sizeof(*walk->keys), compare_keys);
	} else if (!json_is_null(over)) {
		return complain(run, "range can't iterate over that");
	}
	return 0;
}

static int run_element(struct run *run, const struct walk *walk, size_t i, const char *names[2],
		       const size_t lengths[2], int count, enum stop *stop)
{
	json_t *item = walk->keys ? json_object_get(walk->over, walk->keys[i]) : json_array_get(walk->over, i);
	cleanup_json json_t *key = walk->keys ? json_string(walk->keys[i]) : json_integer((json_int_t)i);
	int variables = run->variables_count, ret = 0;

	if (count == 2)
		ret = remember(run, names[0], lengths[0], key);
	if (ret == 0 && count > 0)
		ret = remember(run, names[count - 1], lengths[count - 1], item);
	if (ret == 0)
		ret = run_block(run, true, item, stop);
	forget(run, variables);
	return ret;
}

static int run_range(struct run *run)
{
	cleanup_json json_t *over = NULL;
	const char *names[2], *body;
	size_t lengths[2];
	struct walk walk = { .count = 0 };
	enum stop stop = STOP_END;
	int count, ret;
	bool trim;

	(void)parse_declaration(run, names, lengths, &count);
	over = eval_pipeline(run);
	if (!over || end_action(run) < 0)
		return -EINVAL;
	body = run->at;
	trim = run->trim;
	ret = run->live ? walk_open(run, over, &walk) : 0;
	for (size_t i = 0; ret == 0 && i < walk.count; i++) {
		run->at = body;
		run->trim = trim;
		ret = run_element(run, &walk, i, names, lengths, count, &stop);
	}
	if (ret == 0 && walk.count == 0)
		ret = run_block(run, false, run->dot, &stop);
	free(walk.keys);
	if (ret < 0 || stop == STOP_END)
		return ret;
	ret = end_action(run);
	if (ret == 0)
		ret = run_block(run, walk.count == 0, run->dot, &stop);
	if (ret == 0 && stop != STOP_END)
		return complain(run, "unexpected {{else}}");
	return ret;
}

/* A plain action: a value that is printed, or a variable that is set. */
static int run_value(struct run *run)
{
	cleanup_json json_t *value = NULL;
	const char *names[2];
	size_t lengths[2];
	int count, ret;

	(void)parse_declaration(run, names, lengths, &count);
	value = eval_pipeline(run);
	if (!value)
		return -EINVAL;
	ret = end_action(run);
	if (ret == 0 && count)
		return remember(run, names[0], lengths[0], value);
	if (ret == 0 && run->live)
		template_print(value, run->out);
	return ret;
}

/* The text up to the next action (or the end), trimmed where the actions around it ask for it. */
static void run_text(struct run *run)
{
	const char *open = strstr(run->at, "{{"), *end = open ? open : run->at + strlen(run->at);

	if (run->trim)
		skip_blanks(run);
	if (run->at > end)
		run->at = end;
	run->trim = false;
	if (open && open[2] == '-' && isspace((unsigned char)open[3])) {
		while (end > run->at && isspace((unsigned char)end[-1]))
			end--;
	}
	if (run->live)
		str_append_bytes(run->out, run->at, (size_t)(end - run->at));
	run->at = open ? open + 2 : end;
	if (open && *run->at == '-' && isspace((unsigned char)run->at[1]))
		run->at++;
}

static int run_action(struct run *run, enum stop *stop)
{
	*stop = STOP_TEXT_END;
	skip_blanks(run);
	if (strncmp(run->at, "/*", 2) == 0) {
		const char *end = strstr(run->at, "*/");

		if (!end)
			return complain(run, "unclosed comment");
		run->at = end + 2;
		return end_action(run);
	}
	if (take_word(run, "end")) {
		*stop = STOP_END;
		return end_action(run);
	}
	if (take_word(run, "else")) {
		*stop = STOP_ELSE;
		return 0;
	}
	if (take_word(run, "if"))
		return run_choice(run, false);
	if (take_word(run, "with"))
		return run_choice(run, true);
	if (take_word(run, "range"))
		return run_range(run);
	return run_value(run);
}

static int run_list(struct run *run, enum stop *stop)
{
	int ret = 0;

	if (++run->nesting > NESTING_MAX)
		return complain(run, "nested too deeply");
	*stop = STOP_TEXT_END;
	while (ret == 0 && *stop == STOP_TEXT_END) {
		const char *open = strstr(run->at, "{{");

		run_text(run);
		if (!open)
			break;
		ret = run_action(run, stop);
	}
	run->nesting--;
	return ret;
}

int template_render(const char *text, json_t *value, struct str *out, struct error *err)
{
	struct error local = ERROR_INIT;
	struct run run = { .text = text, .at = text, .root = value, .dot = value, .live = true, .out = out };
	enum stop stop;
	int ret;

	run.err = err ? err : &local;
	ret = run_list(&run, &stop);
	if (ret == 0 && stop != STOP_TEXT_END)
		ret = complain(&run, stop == STOP_END ? "unexpected {{end}}" : "unexpected {{else}}");
	forget(&run, 0);
	if (ret == 0 && str_failed(out))
		ret = error_errno(run.err, ENOMEM, "cannot format");
	return ret;
}
