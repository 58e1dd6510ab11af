/* SPDX-License-Identifier: Apache-2.0 */
#include "image/change.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

struct change {
	struct oci_image_config *config;
	struct error *err;
};

static int no_memory(const struct change *change)
{
	return error_errno(change->err, ENOMEM, "cannot change image");
}

static int add_string(const struct change *change, struct oci_strings *strings, const char *text)
{
	const char **items = arena_alloc(&change->config->arena, strings->count + 2, sizeof(*items));

	if (!items)
		return no_memory(change);
	if (strings->count)
		memcpy(items, strings->items, strings->count * sizeof(*items));
	items[strings->count] = arena_strdup(&change->config->arena, text);
	if (!items[strings->count])
		return no_memory(change);
	strings->items = items;
	strings->count++;
	return 0;
}

static int add_once(const struct change *change, struct oci_strings *strings, const char *text)
{
	for (size_t i = 0; i < strings->count; i++)
		if (strcmp(strings->items[i], text) == 0)
			return 0;
	return add_string(change, strings, text);
}

static int set_string(const struct change *change, const char **target, const char *text)
{
	*target = arena_strdup(&change->config->arena, text);
	return *target ? 0 : no_memory(change);
}

/* The JSON form ["a", "b"]: 1 when text was that, 0 when it is something else. */
static int json_form(const struct change *change, const char *text, struct oci_strings *strings)
{
	json_t *array = *text == '[' ? json_loads(text, 0, NULL) : NULL;
	int ret = json_is_array(array);

	for (size_t i = 0; i < json_array_size(array); i++)
		if (!json_is_string(json_array_get(array, i)))
			ret = 0;
	if (ret)
		*strings = (struct oci_strings){ .count = 0 };
	for (size_t i = 0; ret > 0 && i < json_array_size(array); i++)
		if (add_string(change, strings, json_string_value(json_array_get(array, i))) < 0)
			ret = -ENOMEM;
	json_decref(array);
	return ret;
}

/* Takes one word with quotes and backslashes off *at into word; false at the end. */
static bool next_word(const char **at, struct str *word)
{
	char quote = 0;

	while (isspace((unsigned char)**at))
		(*at)++;
	if (!**at)
		return false;
	for (; **at && (quote || !isspace((unsigned char)**at)); (*at)++) {
		if (**at == '\\' && (*at)[1] && quote != '\'') {
			(*at)++;
			str_append_bytes(word, *at, 1);
		} else if (quote ? **at == quote : (**at == '"' || **at == '\'')) {
			quote = quote ? 0 : **at;
		} else {
			str_append_bytes(word, *at, 1);
		}
	}
	return true;
}

/* The shell form becomes ["/bin/sh", "-c", TEXT], or what SHELL said. */
static int command_form(const struct change *change, const char *text, struct oci_strings *strings)
{
	int ret = json_form(change, text, strings);

	if (ret != 0)
		return ret < 0 ? ret : 0;
	*strings = (struct oci_strings){ .count = 0 };
	for (size_t i = 0; ret == 0 && i < change->config->config.shell.count; i++)
		ret = add_string(change, strings, change->config->config.shell.items[i]);
	if (ret == 0 && strings->count == 0 && (ret = add_string(change, strings, "/bin/sh")) == 0)
		ret = add_string(change, strings, "-c");
	return ret == 0 ? add_string(change, strings, text) : ret;
}

static int change_cmd(const struct change *change, const char *text)
{
	change->config->config.cmd_set = true;
	return command_form(change, text, &change->config->config.cmd);
}

static int change_entrypoint(const struct change *change, const char *text)
{
	change->config->config.entrypoint_set = true;
	return command_form(change, text, &change->config->config.entrypoint);
}

static int set_env(const struct change *change, const char *assignment)
{
	struct oci_strings *env = &change->config->config.env;
	size_t name = strcspn(assignment, "=") + 1;

	for (size_t i = 0; i < env->count; i++)
		if (strncmp(env->items[i], assignment, name) == 0)
			return set_string(change, &env->items[i], assignment);
	return add_string(change, env, assignment);
}

static int set_label(const struct change *change, const char *assignment)
{
	struct oci_pairs *labels = &change->config->config.labels;
	struct oci_pair *items = arena_alloc(&change->config->arena, labels->count + 1, sizeof(*items));
	const char *equals = strchr(assignment, '=');
	const char *key = arena_printf(&change->config->arena, "%.*s", (int)(equals - assignment), assignment);

	if (!items || !key)
		return no_memory(change);
	for (size_t i = 0; i < labels->count; i++)
		if (strcmp(labels->items[i].key, key) == 0)
			return set_string(change, &labels->items[i].value, equals + 1);
	if (labels->count)
		memcpy(items, labels->items, labels->count * sizeof(*items));
	items[labels->count].key = key;
	labels->items = items;
	return set_string(change, &labels->items[labels->count++].value, equals + 1);
}

/* "KEY=VALUE ..." with quotes, or the old "KEY VALUE". */
static int assignments(const struct change *change, const char *text,
		       int (*set)(const struct change *change, const char *assignment))
{
	size_t first = strcspn(text, " \t=");
	int ret = 0;

	if (first == 0)
		return error_set(change->err, EINVAL, "a name is missing");
	if (text[first] != '=') {
		cleanup_str struct str old = STR_INIT;

		if (!text[first])
			return error_set(change->err, EINVAL, "\"%.64s\" has no value", text);
		str_append_bytes(&old, text, first);
		str_append(&old, "=");
		str_append(&old, text + first + strspn(text + first, " \t"));
		return str_failed(&old) ? no_memory(change) : set(change, str_text(&old));
	}
	while (ret == 0) {
		cleanup_str struct str word = STR_INIT;

		if (!next_word(&text, &word))
			break;
		if (str_failed(&word))
			return no_memory(change);
		if (!strchr(str_text(&word), '=') || *str_text(&word) == '=')
			return error_set(change->err, EINVAL, "\"%.64s\" is not NAME=VALUE", str_text(&word));
		ret = set(change, str_text(&word));
	}
	return ret;
}

static int change_env(const struct change *change, const char *text)
{
	return assignments(change, text, set_env);
}

static int change_label(const struct change *change, const char *text)
{
	return assignments(change, text, set_label);
}

static int add_port(const struct change *change, const char *word)
{
	cleanup_str struct str port = STR_INIT;
	size_t digits = strspn(word, "0123456789-");
	const char *protocol = word[digits] == '/' ? word + digits + 1 : NULL;

	if (!isdigit((unsigned char)*word) || (word[digits] && !protocol) ||
	    (protocol && strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0 && strcmp(protocol, "sctp") != 0))
		return error_set(change->err, EINVAL, "\"%.64s\" is not PORT[/tcp|udp|sctp]", word);
	str_append(&port, word);
	if (!protocol)
		str_append(&port, "/tcp");
	return str_failed(&port) ? no_memory(change)
				 : add_once(change, &change->config->config.exposed_ports, str_text(&port));
}

static int add_volume(const struct change *change, const char *word)
{
	return add_once(change, &change->config->config.volumes, word);
}

static int each_word(const struct change *change, const char *text,
		     int (*add)(const struct change *change, const char *word))
{
	int ret = 0;

	while (ret == 0) {
		cleanup_str struct str word = STR_INIT;

		if (!next_word(&text, &word))
			break;
		ret = str_failed(&word) ? no_memory(change) : add(change, str_text(&word));
	}
	return ret;
}

static int change_expose(const struct change *change, const char *text)
{
	return each_word(change, text, add_port);
}

static int change_volume(const struct change *change, const char *text)
{
	struct oci_strings list = { .count = 0 };
	int ret = json_form(change, text, &list);

	if (ret == 0)
		return each_word(change, text, add_volume);
	for (size_t i = 0; ret > 0 && i < list.count; i++)
		if (add_volume(change, list.items[i]) < 0)
			ret = -ENOMEM;
	return ret < 0 ? ret : 0;
}

/* A Go duration ("1m30s") in nanoseconds; -1 if it is none. */
static int64_t parse_duration(const char *text)
{
	static const struct {
		const char *unit;
		int64_t nanoseconds;
	} units[] = { { "ms", 1000000 },
		      { "us", 1000 },
		      { "ns", 1 },
		      { "h", 3600 * INT64_C(1000000000) },
		      { "m", 60 * INT64_C(1000000000) },
		      { "s", 1000000000 } };
	int64_t sum = 0;

	while (*text) {
		char digits[20];
		size_t length = strspn(text, "0123456789"), i;
		int64_t part;

		if (length == 0 || length >= sizeof(digits))
			return -1;
		memcpy(digits, text, length);
		digits[length] = '\0';
		text += length;
		for (i = 0; i < sizeof(units) / sizeof(*units) && !str_starts(text, units[i].unit); i++)
			;
		if (i == sizeof(units) / sizeof(*units) || str_to_i64(digits, &part) < 0 ||
		    __builtin_mul_overflow(part, units[i].nanoseconds, &part) ||
		    __builtin_add_overflow(sum, part, &sum))
			return -1;
		text += strlen(units[i].unit);
	}
	return sum;
}

static int healthcheck_option(const struct change *change, const char *word)
{
	struct oci_healthcheck *check = &change->config->config.healthcheck;
	const struct {
		const char *name;
		int64_t *target;
	} durations[] = { { "--interval=", &check->interval },
			  { "--timeout=", &check->timeout },
			  { "--start-period=", &check->start_period } };
	uint64_t retries;

	for (size_t i = 0; i < sizeof(durations) / sizeof(*durations); i++) {
		if (!str_starts(word, durations[i].name))
			continue;
		*durations[i].target = parse_duration(word + strlen(durations[i].name));
		if (*durations[i].target >= 0)
			return 0;
		*durations[i].target = 0;
		return error_set(change->err, EINVAL, "\"%.64s\" is not a duration", word);
	}
	if (str_starts(word, "--retries=") && str_to_u64(word + strlen("--retries="), &retries) == 0 &&
	    retries <= INT32_MAX) {
		check->retries = (int64_t)retries;
		return 0;
	}
	return error_set(change->err, EINVAL, "unknown option \"%.64s\"", word);
}

/* HEALTHCHECK [OPTIONS] CMD command, or HEALTHCHECK NONE */
static int change_healthcheck(const struct change *change, const char *text)
{
	struct oci_healthcheck *check = &change->config->config.healthcheck;
	struct oci_strings command = { .count = 0 };
	int ret;

	*check = (struct oci_healthcheck){ .set = true };
	if (strcasecmp(text, "NONE") == 0)
		return add_string(change, &check->test, "NONE");
	while (str_starts(text, "--")) {
		cleanup_str struct str word = STR_INIT;

		(void)next_word(&text, &word);
		ret = str_failed(&word) ? no_memory(change) : healthcheck_option(change, str_text(&word));
		if (ret < 0)
			return ret;
		text += strspn(text, " \t");
	}
	if (strncasecmp(text, "CMD ", 4) != 0)
		return error_set(change->err, EINVAL, "expected CMD or NONE");
	text += 4 + strspn(text + 4, " \t");
	ret = json_form(change, text, &command);
	if (ret < 0)
		return ret;
	if (ret == 0) {
		ret = add_string(change, &check->test, "CMD-SHELL");
		return ret < 0 ? ret : add_string(change, &check->test, text);
	}
	ret = add_string(change, &check->test, "CMD");
	for (size_t i = 0; ret == 0 && i < command.count; i++)
		ret = add_string(change, &check->test, command.items[i]);
	return ret;
}

static int change_onbuild(const struct change *change, const char *text)
{
	return add_string(change, &change->config->config.on_build, text);
}

static int change_shell(const struct change *change, const char *text)
{
	int ret = json_form(change, text, &change->config->config.shell);

	return ret == 0 ? error_set(change->err, EINVAL, "needs the form [\"program\", \"argument\"]")
			: (ret < 0 ? ret : 0);
}

static int change_stopsignal(const struct change *change, const char *text)
{
	return set_string(change, &change->config->config.stop_signal, text);
}

static int change_user(const struct change *change, const char *text)
{
	return set_string(change, &change->config->config.user, text);
}

static int change_workdir(const struct change *change, const char *text)
{
	const char *before = change->config->config.working_dir;

	if (*text == '/')
		return set_string(change, &change->config->config.working_dir, text);
	change->config->config.working_dir = arena_printf(&change->config->arena, "%s/%s",
							  before && strcmp(before, "/") != 0 ? before : "", text);
	return change->config->config.working_dir ? 0 : no_memory(change);
}

static const struct {
	const char *name;
	int (*apply)(const struct change *change, const char *text);
} instructions[] = {
	{ "CMD", change_cmd },
	{ "ENTRYPOINT", change_entrypoint },
	{ "ENV", change_env },
	{ "EXPOSE", change_expose },
	{ "HEALTHCHECK", change_healthcheck },
	{ "LABEL", change_label },
	{ "ONBUILD", change_onbuild },
	{ "SHELL", change_shell },
	{ "STOPSIGNAL", change_stopsignal },
	{ "USER", change_user },
	{ "VOLUME", change_volume },
	{ "WORKDIR", change_workdir },
};

int image_change(struct oci_image_config *config, const char *instruction, struct error *err)
{
	const struct change change = { config, err };
	size_t length;
	const char *rest;

	instruction += strspn(instruction, " \t");
	length = strcspn(instruction, " \t");
	rest = instruction + length + strspn(instruction + length, " \t");
	for (size_t i = 0; i < sizeof(instructions) / sizeof(*instructions); i++) {
		if (strlen(instructions[i].name) != length ||
		    strncasecmp(instructions[i].name, instruction, length) != 0)
			continue;
		if (!*rest)
			return error_set(err, EINVAL, "change \"%.64s\": needs a value", instruction);
		if (instructions[i].apply(&change, rest) < 0)
			return error_wrap(err, "change \"%.64s\"", instruction);
		return 0;
	}
	return error_set(err, EINVAL, "change \"%.64s\": not an instruction that can change an image", instruction);
}
