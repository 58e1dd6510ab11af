/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of templates: Go's own, and those that docker adds. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/template.h"

bool template_truth(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return json_object_size(value) > 0;
	case JSON_ARRAY:
		return json_array_size(value) > 0;
	case JSON_STRING:
		return *json_string_value(value) != '\0';
	case JSON_INTEGER:
		return json_integer_value(value) != 0;
	case JSON_REAL:
		return json_real_value(value) != 0;
	case JSON_TRUE:
		return true;
	default:
		return false;
	}
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_object(const json_t *value, struct str *out)
{
	size_t count = json_object_size(value), i = 0;
	cleanup_free const char **keys = calloc(count + 1, sizeof(*keys));
	const char *key;
	json_t *item;

	if (!keys) {
		out->failed = true;
		return;
	}
	json_object_foreach ((json_t *)(uintptr_t)value, key, item)
		keys[i++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	str_append(out, "map[");
	for (i = 0; i < count; i++) {
		str_printf(out, "%s%s:", i ? " " : "", keys[i]);
		template_print(json_object_get(value, keys[i]), out);
	}
	str_append(out, "]");
}

void template_print(const json_t *value, struct str *out)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		print_object(value, out);
		return;
	case JSON_ARRAY:
		str_append(out, "[");
		for (size_t i = 0; i < json_array_size(value); i++) {
			str_append(out, i ? " " : "");
			template_print(json_array_get(value, i), out);
		}
		str_append(out, "]");
		return;
	case JSON_STRING:
		str_append(out, json_string_value(value));
		return;
	case JSON_INTEGER:
		str_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return;
	case JSON_REAL:
		str_printf(out, "%g", json_real_value(value));
		return;
	case JSON_NULL:
		str_append(out, "<no value>");
		return;
	default:
		str_append(out, json_is_true(value) ? "true" : "false");
	}
}

static json_t *take_text(struct str *text, struct error *err)
{
	bool failed = str_failed(text);
	json_t *value = failed ? NULL : json_string(str_text(text));

	str_free(text);
	if (failed)
		(void)error_errno(err, ENOMEM, "cannot format");
	else if (!value)
		(void)error_set(err, EINVAL, "a character was cut in two");
	return value;
}

static json_t *call_json(json_t *const *args, int count, struct error *err)
{
	cleanup_free char *text = json_dumps(args[0], JSON_COMPACT | JSON_ENCODE_ANY);
	json_t *value = text ? json_string(text) : NULL;

	(void)count;
	if (!value)
		(void)error_errno(err, ENOMEM, "cannot format");
	return value;
}

static json_t *map_text(const json_t *value, int (*map)(int), struct error *err)
{
	struct str text = STR_INIT;

	template_print(value, &text);
	for (size_t i = 0; i < text.length; i++)
		text.text[i] = (char)map((unsigned char)text.text[i]);
	return take_text(&text, err);
}

static json_t *call_upper(json_t *const *args, int count, struct error *err)
{
	(void)count;
	return map_text(args[0], toupper, err);
}

static json_t *call_lower(json_t *const *args, int count, struct error *err)
{
	(void)count;
	return map_text(args[0], tolower, err);
}

static json_t *call_title(json_t *const *args, int count, struct error *err)
{
	struct str text = STR_INIT;

	(void)count;
	template_print(args[0], &text);
	for (size_t i = 0; i < text.length; i++) {
		if (i == 0 || isspace((unsigned char)text.text[i - 1]))
			text.text[i] = (char)toupper((unsigned char)text.text[i]);
	}
	return take_text(&text, err);
}

static json_t *call_join(json_t *const *args, int count, struct error *err)
{
	struct str text = STR_INIT;
	size_t i;
	json_t *item;

	(void)count;
	if (!json_is_array(args[0]) && !json_is_null(args[0])) {
		(void)error_set(err, EINVAL, "join: expected a list");
		return NULL;
	}
	json_array_foreach (args[0], i, item) {
		if (i)
			template_print(args[1], &text);
		template_print(item, &text);
	}
	return take_text(&text, err);
}

static json_t *call_split(json_t *const *args, int count, struct error *err)
{
	const char *text = json_string_value(args[0]), *separator = json_string_value(args[1]);
	json_t *list = json_array();

	(void)count;
	if (!text || !separator || !*separator || !list) {
		json_decref(list);
		(void)error_set(err, EINVAL, "split: expected a text and a separator");
		return NULL;
	}
	for (const char *at; (at = strstr(text, separator)); text = at + strlen(separator))
		(void)json_array_append_new(list, json_stringn(text, (size_t)(at - text)));
	(void)json_array_append_new(list, json_string(text));
	return list;
}

static json_t *call_truncate(json_t *const *args, int count, struct error *err)
{
	struct str text = STR_INIT;
	json_int_t length = json_integer_value(args[1]);

	(void)count;
	template_print(args[0], &text);
	if (length >= 0 && (size_t)length < text.length) {
		/* No character is cut in two. */
		while (length > 0 && (text.text[length] & 0xc0) == 0x80)
			length--;
		text.length = (size_t)length;
		text.text[text.length] = '\0';
	}
	return take_text(&text, err);
}

static json_t *call_len(json_t *const *args, int count, struct error *err)
{
	(void)count;
	if (json_is_object(args[0]))
		return json_integer((json_int_t)json_object_size(args[0]));
	if (json_is_array(args[0]))
		return json_integer((json_int_t)json_array_size(args[0]));
	if (json_is_string(args[0]))
		return json_integer((json_int_t)json_string_length(args[0]));
	if (json_is_null(args[0]))
		return json_integer(0);
	(void)error_set(err, EINVAL, "len: expected a list, a map or a text");
	return NULL;
}

static json_t *call_index(json_t *const *args, int count, struct error *err)
{
	json_t *value = args[0];

	for (int i = 1; i < count; i++) {
		if (json_is_array(value) && json_is_integer(args[i])) {
			json_int_t at = json_integer_value(args[i]);

			value = at >= 0 ? json_array_get(value, (size_t)at) : NULL;
			if (!value) {
				(void)error_set(err, EINVAL, "index: index out of range: %" JSON_INTEGER_FORMAT, at);
				return NULL;
			}
		} else if (json_is_object(value) && json_is_string(args[i])) {
			value = json_object_get(value, json_string_value(args[i]));
			if (!value)
				return json_string("");
		} else if (json_is_null(value)) {
			return json_string("");
		} else {
			(void)error_set(err, EINVAL, "index: cannot look into that");
			return NULL;
		}
	}
	return json_incref(value);
}

static json_t *print_all(json_t *const *args, int count, const char *separator, const char *tail, struct error *err)
{
	struct str text = STR_INIT;

	for (int i = 0; i < count; i++) {
		str_append(&text, i ? separator : "");
		template_print(args[i], &text);
	}
	str_append(&text, tail);
	return take_text(&text, err);
}

static json_t *call_print(json_t *const *args, int count, struct error *err)
{
	return print_all(args, count, "", "", err);
}

static json_t *call_println(json_t *const *args, int count, struct error *err)
{
	return print_all(args, count, " ", "\n", err);
}

/* One verb of printf: %s %v %d %q %t %x, with flags and width. */
/* Flags, width and precision as C has them too; none of them wants a gigabyte of blanks. */
static bool is_plain_layout(const char *text, size_t length)
{
	size_t digits = 0;

	for (size_t i = 0; i < length && digits <= 4; i++)
		digits = isdigit((unsigned char)text[i]) ? digits + 1 : 0;
	return length <= 16 && digits <= 4;
}

static const char *print_verb(const char *format, const json_t *value, struct str *out)
{
	cleanup_str struct str text = STR_INIT;
	size_t whole = strspn(format, "-+ #0123456789."), length = is_plain_layout(format, whole) ? whole : 0;
	char verb = format[whole], how[32];

	if (!value) {
		str_printf(out, "%%!%c(MISSING)", verb);
	} else if ((verb == 'd' || verb == 'x') && json_is_integer(value)) {
		(void)snprintf(how, sizeof(how), "%%%.*sll%c", (int)length, format, verb);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		str_printf(out, how, (long long)json_integer_value(value));
	} else {
		if (verb == 'q')
			str_append(&text, "\"");
		template_print(value, &text);
		if (verb == 'q')
			str_append(&text, "\"");
		(void)snprintf(how, sizeof(how), "%%%.*ss", (int)length, format);
		str_printf(out, how, str_text(&text));
#pragma GCC diagnostic pop
	}
	return format + whole + (verb != '\0');
}

static json_t *call_printf(json_t *const *args, int count, struct error *err)
{
	const char *format = json_string_value(args[0]);
	struct str text = STR_INIT;
	int used = 1;

	if (!format) {
		(void)error_set(err, EINVAL, "printf: expected a format");
		return NULL;
	}
	while (*format) {
		size_t plain = strcspn(format, "%");

		str_append_bytes(&text, format, plain);
		format += plain;
		if (!*format)
			break;
		format++;
		if (*format == '%') {
			str_append(&text, "%");
			format++;
		} else {
			format = print_verb(format, used < count ? args[used] : NULL, &text);
			used++;
		}
	}
	return take_text(&text, err);
}

/* -1, 0, 1; numbers by value, texts by bytes; 2 when they cannot be compared. */
static int compare(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b)) {
		double x = json_number_value(a), y = json_number_value(b);

		return (x > y) - (x < y);
	}
	if (json_is_string(a) && json_is_string(b)) {
		int order = strcmp(json_string_value(a), json_string_value(b));

		return (order > 0) - (order < 0);
	}
	return json_equal(a, b) ? 0 : 2;
}

static json_t *call_eq(json_t *const *args, int count, struct error *err)
{
	(void)err;
	for (int i = 1; i < count; i++) {
		if (compare(args[0], args[i]) == 0)
			return json_true();
	}
	return json_false();
}

static json_t *call_ne(json_t *const *args, int count, struct error *err)
{
	(void)count, (void)err;
	return json_boolean(compare(args[0], args[1]) != 0);
}

static json_t *call_lt(json_t *const *args, int count, struct error *err)
{
	(void)count, (void)err;
	return json_boolean(compare(args[0], args[1]) == -1);
}

static json_t *call_le(json_t *const *args, int count, struct error *err)
{
	int order = compare(args[0], args[1]);

	(void)count, (void)err;
	return json_boolean(order == -1 || order == 0);
}

static json_t *call_gt(json_t *const *args, int count, struct error *err)
{
	(void)count, (void)err;
	return json_boolean(compare(args[0], args[1]) == 1);
}

static json_t *call_ge(json_t *const *args, int count, struct error *err)
{
	int order = compare(args[0], args[1]);

	(void)count, (void)err;
	return json_boolean(order == 0 || order == 1);
}

static json_t *call_and(json_t *const *args, int count, struct error *err)
{
	(void)err;
	for (int i = 0; i < count; i++) {
		if (!template_truth(args[i]))
			return json_incref(args[i]);
	}
	return json_incref(args[count - 1]);
}

static json_t *call_or(json_t *const *args, int count, struct error *err)
{
	(void)err;
	for (int i = 0; i < count; i++) {
		if (template_truth(args[i]))
			return json_incref(args[i]);
	}
	return json_incref(args[count - 1]);
}

static json_t *call_not(json_t *const *args, int count, struct error *err)
{
	(void)count, (void)err;
	return json_boolean(!template_truth(args[0]));
}

static const struct template_function functions[] = {
	{ "json", 1, 1, call_json },
	{ "upper", 1, 1, call_upper },
	{ "lower", 1, 1, call_lower },
	{ "title", 1, 1, call_title },
	{ "join", 2, 2, call_join },
	{ "split", 2, 2, call_split },
	{ "truncate", 2, 2, call_truncate },
	{ "len", 1, 1, call_len },
	{ "index", 1, -1, call_index },
	{ "print", 0, -1, call_print },
	{ "println", 0, -1, call_println },
	{ "printf", 1, -1, call_printf },
	{ "eq", 2, -1, call_eq },
	{ "ne", 2, 2, call_ne },
	{ "lt", 2, 2, call_lt },
	{ "le", 2, 2, call_le },
	{ "gt", 2, 2, call_gt },
	{ "ge", 2, 2, call_ge },
	{ "and", 1, -1, call_and },
	{ "or", 1, -1, call_or },
	{ "not", 1, 1, call_not },
};

const struct template_function *template_function_find(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		if (strlen(functions[i].name) == length && memcmp(functions[i].name, name, length) == 0)
			return &functions[i];
	}
	return NULL;
}
