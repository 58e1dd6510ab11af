/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_NODES = 64 }; /* allocated together */

/*
 * The copy that is parsed ends with a NUL, which is valid nowhere in JSON: it
 * stops every loop below, so none of them needs to look at the end as well.
 */
struct parser {
	char *at;
	char *begin;
	struct arena *arena;
	struct json_value *pool;
	size_t pool_left;
	const char *wrong; /* what was expected where at stands; NULL: memory is out */
};

static int parse_value(struct parser *parser, struct json_value *value, int depth);

static int fail(struct parser *parser, char *at, const char *wrong)
{
	parser->at = at;
	parser->wrong = wrong;
	return -EINVAL;
}

static struct json_value *new_node(struct parser *parser)
{
	if (parser->pool_left == 0) {
		parser->pool = arena_alloc(parser->arena, POOL_NODES, sizeof(*parser->pool));
		if (!parser->pool)
			return NULL;
		parser->pool_left = POOL_NODES;
	}
	parser->pool_left--;
	return parser->pool++;
}

static void skip_space(struct parser *parser)
{
	while (*parser->at == ' ' || *parser->at == '\n' || *parser->at == '\t' || *parser->at == '\r')
		parser->at++;
}

/* Length of the UTF-8 sequence at text (not ASCII); 0 if it is none: see table 3-7 of the Unicode standard. */
static size_t utf8_length(const char *text)
{
	const unsigned char *byte = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (byte[0] >= 0xc2 && byte[0] <= 0xdf)
		length = 2;
	else if (byte[0] >= 0xe0 && byte[0] <= 0xef)
		length = 3;
	else if (byte[0] >= 0xf0 && byte[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (byte[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (byte[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (byte[0] == 0xf0)
		low = 0x90; /* overlong */
	else if (byte[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (byte[1] < low || byte[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if (byte[i] < 0x80 || byte[i] > 0xbf)
			return 0;
	return length;
}

/* Four hexadecimal digits; -1 if they are not. */
static int32_t hex4(const char *text)
{
	int32_t value = 0;

	for (int i = 0; i < 4; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

static char *put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
		*out++ = (char)(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	} else {
		*out++ = (char)(0xf0 | code >> 18);
		*out++ = (char)(0x80 | (code >> 12 & 0x3f));
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	}
	return out;
}

/* One escape, at after the backslash; what it stands for is never longer than what it was written with. */
static int parse_escape(struct parser *parser, char **out)
{
	static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
	const char *letter = *parser->at ? strchr(letters, *parser->at) : NULL;
	int32_t code, low;

	if (letter) {
		*(*out)++ = meaning[letter - letters];
		parser->at++;
		return 0;
	}
	if (*parser->at != 'u')
		return fail(parser, parser->at, "unknown escape in a string");
	code = hex4(parser->at + 1);
	if (code < 0)
		return fail(parser, parser->at, "\\u needs four hexadecimal digits");
	if (code == 0)
		return fail(parser, parser->at, "NUL in a string");
	if (code >= 0xd800 && code <= 0xdfff) {
		low = code < 0xdc00 && parser->at[5] == '\\' && parser->at[6] == 'u' ? hex4(parser->at + 7) : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(parser, parser->at, "unpaired surrogate in a string");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
		parser->at += 6;
	}
	parser->at += 5;
	*out = put_utf8(*out, (uint32_t)code);
	return 0;
}

/* At the opening quote.  The closing one gives its place to the NUL. */
static int parse_string(struct parser *parser, const char **text, uint32_t *count)
{
	char *start = ++parser->at, *out = start;

	for (;;) {
		unsigned char c = (unsigned char)*parser->at;

		if (c == '"')
			break;
		if (c == '\\') {
			parser->at++;
			if (parse_escape(parser, &out) < 0)
				return -EINVAL;
		} else if (c < 0x20) {
			return fail(parser, parser->at, "control character or end of text inside a string");
		} else if (c < 0x80) {
			*out++ = *parser->at++;
		} else {
			size_t length = utf8_length(parser->at);

			if (length == 0)
				return fail(parser, parser->at, "a string is not valid UTF-8");
			memmove(out, parser->at, length);
			out += length;
			parser->at += length;
		}
	}
	parser->at++;
	*out = '\0';
	*text = start;
	*count = (uint32_t)(out - start);
	return 0;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static int parse_number(struct parser *parser, struct json_value *value)
{
	char *start = parser->at, *at = start, *copy;
	bool negative = *at == '-', integer = true;
	uint64_t magnitude = 0;

	if (negative)
		at++;
	if (!digit(*at) || (at[0] == '0' && digit(at[1])))
		return fail(parser, at, "malformed number");
	for (; digit(*at); at++)
		if (__builtin_mul_overflow(magnitude, 10, &magnitude) ||
		    __builtin_add_overflow(magnitude, (uint64_t)(*at - '0'), &magnitude))
			integer = false;
	if (*at == '.') {
		integer = false;
		if (!digit(*++at))
			return fail(parser, at, "malformed number");
		while (digit(*at))
			at++;
	}
	if (*at == 'e' || *at == 'E') {
		integer = false;
		at++;
		if (*at == '+' || *at == '-')
			at++;
		if (!digit(*at))
			return fail(parser, at, "malformed number");
		while (digit(*at))
			at++;
	}
	parser->at = at;
	if (integer && (!negative || magnitude <= (uint64_t)INT64_MAX + 1)) {
		value->kind = JSON_KIND_INTEGER;
		value->truth = negative && magnitude;
		value->magnitude = magnitude;
		return 0;
	}
	value->kind = JSON_KIND_NUMBER;
	value->count = (uint32_t)(at - start);
	copy = arena_alloc(parser->arena, (size_t)value->count + 1, 1);
	if (!copy)
		return -ENOMEM;
	value->text = memcpy(copy, start, value->count);
	return 0;
}

static int parse_word(struct parser *parser, const char *word, struct json_value *value, enum json_kind kind,
		      bool truth)
{
	size_t length = strlen(word);

	if (strncmp(parser->at, word, length) != 0)
		return fail(parser, parser->at, "expected a value");
	parser->at += length;
	value->kind = kind;
	value->truth = truth;
	return 0;
}

/* The name of a member and the colon behind it. */
static int parse_name(struct parser *parser, struct json_value *member)
{
	uint32_t count;
	int ret;

	if (*parser->at != '"')
		return fail(parser, parser->at, "expected the name of a member in double quotes");
	ret = parse_string(parser, &member->name, &count);
	if (ret < 0)
		return ret;
	skip_space(parser);
	if (*parser->at != ':')
		return fail(parser, parser->at, "expected ':'");
	parser->at++;
	return 0;
}

/* An array or an object, from its opening bracket on. */
static int parse_children(struct parser *parser, struct json_value *value, int depth)
{
	bool object = *parser->at == '{';
	char close = object ? '}' : ']';
	const struct json_value **link = &value->first;

	if (depth >= JSON_DEPTH_MAX)
		return fail(parser, parser->at, "nested too deeply");
	value->kind = object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
	parser->at++;
	skip_space(parser);
	if (*parser->at == close) {
		parser->at++;
		return 0;
	}
	for (;;) {
		struct json_value *child = new_node(parser);
		int ret;

		if (!child)
			return -ENOMEM;
		skip_space(parser);
		ret = object ? parse_name(parser, child) : 0;
		if (ret == 0)
			ret = parse_value(parser, child, depth + 1);
		if (ret < 0)
			return ret;
		*link = child;
		link = &child->next;
		value->count++;
		skip_space(parser);
		if (*parser->at == close)
			break;
		if (*parser->at != ',')
			return fail(parser, parser->at, object ? "expected ',' or '}'" : "expected ',' or ']'");
		parser->at++;
	}
	parser->at++;
	return 0;
}

static int parse_value(struct parser *parser, struct json_value *value, int depth)
{
	skip_space(parser);
	switch (*parser->at) {
	case '{':
	case '[':
		return parse_children(parser, value, depth);
	case '"':
		value->kind = JSON_KIND_STRING;
		return parse_string(parser, &value->text, &value->count);
	case 't':
		return parse_word(parser, "true", value, JSON_KIND_BOOL, true);
	case 'f':
		return parse_word(parser, "false", value, JSON_KIND_BOOL, false);
	case 'n':
		return parse_word(parser, "null", value, JSON_KIND_NULL, false);
	default:
		if (*parser->at == '-' || digit(*parser->at))
			return parse_number(parser, value);
		return fail(parser, parser->at, "expected a value");
	}
}

int json_parse(const char *text, size_t size, struct arena *arena, const struct json_value **root, struct error *err)
{
	struct parser parser = { .arena = arena };
	size_t line = 1, column = 1, offset;
	struct json_value *value;
	int ret;

	if (size > JSON_SIZE_MAX)
		return error_set(err, EFBIG, "larger than %d bytes", JSON_SIZE_MAX);
	parser.at = parser.begin = arena_alloc(arena, size + 1, 1);
	value = parser.begin ? new_node(&parser) : NULL;
	if (!value)
		return error_errno(err, ENOMEM, "parse JSON");
	if (size)
		memcpy(parser.begin, text, size);
	ret = parse_value(&parser, value, 0);
	if (ret == 0) {
		skip_space(&parser);
		if (parser.at != parser.begin + size)
			ret = fail(&parser, parser.at, "text behind the document");
	}
	if (ret == 0) {
		*root = value;
		return 0;
	}
	if (!parser.wrong)
		return error_errno(err, ENOMEM, "parse JSON");
	/* Counted in the original: unescaped strings have put line feeds of their own into the copy. */
	offset = (size_t)(parser.at - parser.begin);
	for (size_t i = 0; i < offset && i < size; i++) {
		column = text[i] == '\n' ? 1 : column + 1;
		line += text[i] == '\n';
	}
	return error_set(err, EINVAL, "not valid JSON: line %zu, column %zu: %s", line, column,
			 offset >= size ? "unexpected end of the text" : parser.wrong);
}

const struct json_value *json_find(const struct json_value *object, const char *name)
{
	const struct json_value *found = NULL;

	if (!object || object->kind != JSON_KIND_OBJECT)
		return NULL;
	for (const struct json_value *member = object->first; member; member = member->next)
		if (strcmp(member->name, name) == 0)
			found = member;
	return found;
}

const char *json_kind_name(enum json_kind kind)
{
	static const char *const names[] = {
		[JSON_KIND_NULL] = "null",	    [JSON_KIND_BOOL] = "a boolean",
		[JSON_KIND_INTEGER] = "an integer", [JSON_KIND_NUMBER] = "a number that is no 64-bit integer",
		[JSON_KIND_STRING] = "a string",    [JSON_KIND_ARRAY] = "an array",
		[JSON_KIND_OBJECT] = "an object",
	};

	return names[kind];
}

static size_t plain_length(const char *text)
{
	size_t length = 0;

	while ((unsigned char)text[length] >= 0x20 && text[length] != '"' && text[length] != '\\')
		length++;
	return length;
}

static void append_escaped(struct str *out, const char *text)
{
	static const char letters[] = "\"\\bfnrt", meaning[] = "\"\\\b\f\n\r\t";

	str_append_bytes(out, "\"", 1);
	while (*text) {
		size_t plain = plain_length(text);
		const char *letter;

		str_append_bytes(out, text, plain);
		text += plain;
		if (!*text)
			break;
		letter = strchr(meaning, *text);
		if (letter)
			str_printf(out, "\\%c", letters[letter - meaning]);
		else
			str_printf(out, "\\u%04x", (unsigned char)*text);
		text++;
	}
	str_append_bytes(out, "\"", 1);
}

void json_append_string(struct str *out, const char *text)
{
	size_t plain = plain_length(text);
	char *at;

	if (text[plain]) {
		append_escaped(out, text);
		return;
	}
	at = str_extend(out, plain + 2);
	if (!at)
		return;
	at[0] = '"';
	memcpy(at + 1, text, plain);
	at[plain + 1] = '"';
}

static int compare_names(const void *left, const void *right)
{
	const struct json_value *const *a = left, *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

static void append_members(struct str *out, const struct json_value *object)
{
	const struct json_value *few[16], **members = few;
	size_t count = 0;

	if (object->count > sizeof(few) / sizeof(*few))
		members = calloc(object->count, sizeof(*members));
	if (!members) {
		out->failed = true;
		return;
	}
	for (const struct json_value *member = object->first; member; member = member->next)
		if (member->kind != JSON_KIND_NULL)
			members[count++] = member;
	qsort(members, count, sizeof(*members), compare_names);
	for (size_t i = 0; i < count; i++) {
		if (i)
			str_append_bytes(out, ",", 1);
		json_append_string(out, members[i]->name);
		str_append_bytes(out, ":", 1);
		json_append_canonical(out, members[i]);
	}
	if (members != few)
		free(members);
}

void json_append_canonical(struct str *out, const struct json_value *value)
{
	switch (value->kind) {
	case JSON_KIND_NULL:
		str_append(out, "null");
		break;
	case JSON_KIND_BOOL:
		str_append(out, value->truth ? "true" : "false");
		break;
	case JSON_KIND_INTEGER:
		str_printf(out, "%s%ju", value->truth ? "-" : "", (uintmax_t)value->magnitude);
		break;
	case JSON_KIND_NUMBER:
		str_append(out, value->text);
		break;
	case JSON_KIND_STRING:
		json_append_string(out, value->text);
		break;
	case JSON_KIND_ARRAY:
		str_append_bytes(out, "[", 1);
		for (const struct json_value *item = value->first; item; item = item->next) {
			json_append_canonical(out, item);
			if (item->next)
				str_append_bytes(out, ",", 1);
		}
		str_append_bytes(out, "]", 1);
		break;
	case JSON_KIND_OBJECT:
		str_append_bytes(out, "{", 1);
		append_members(out, value);
		str_append_bytes(out, "}", 1);
		break;
	}
}
