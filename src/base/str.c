/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Makes room for count more bytes and the NUL. */
static bool reserve(struct str *str, size_t count)
{
	size_t need, room = str->room ? str->room : 64;
	char *grown;

	if (str->failed || __builtin_add_overflow(str->length, count, &need) || need == SIZE_MAX) {
		str->failed = true;
		return false;
	}
	if (++need <= str->room)
		return true;
	while (room < need)
		room = room > SIZE_MAX / 2 ? need : room * 2;
	grown = realloc(str->text, room);
	if (!grown) {
		str->failed = true;
		return false;
	}
	str->text = grown;
	str->room = room;
	return true;
}

char *str_extend(struct str *str, size_t count)
{
	char *start;

	if (!reserve(str, count))
		return NULL;
	start = str->text + str->length;
	str->length += count;
	str->text[str->length] = '\0';
	return start;
}

void str_append_bytes(struct str *str, const void *bytes, size_t count)
{
	if (!reserve(str, count))
		return;
	if (count)
		memcpy(str->text + str->length, bytes, count);
	str->length += count;
	str->text[str->length] = '\0';
}

void str_append(struct str *str, const char *text)
{
	str_append_bytes(str, text, strlen(text));
}

void str_printf(struct str *str, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0) {
		str->failed = true;
		return;
	}
	if (!reserve(str, (size_t)length))
		return;
	va_start(args, format);
	(void)vsnprintf(str->text + str->length, (size_t)length + 1, format, args);
	va_end(args);
	str->length += (size_t)length;
}

const char *str_text(const struct str *str)
{
	return str->text ? str->text : "";
}

bool str_failed(const struct str *str)
{
	return str->failed;
}

char *str_take(struct str *str)
{
	char *text;

	if (!reserve(str, 0))
		return NULL;
	text = str->text;
	text[str->length] = '\0';
	*str = STR_INIT;
	return text;
}

void str_free(struct str *str)
{
	free(str->text);
	*str = STR_INIT;
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
	size_t length = strlen(text), tail = strlen(suffix);

	return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

int str_to_u64(const char *text, uint64_t *value)
{
	uint64_t sum = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, (uint64_t)(*text - '0'), &sum))
			return -ERANGE;
	}
	*value = sum;
	return 0;
}

int str_to_i64(const char *text, int64_t *value)
{
	bool negative = *text == '-';
	uint64_t magnitude;
	int ret = str_to_u64(text + negative, &magnitude);

	if (ret < 0)
		return ret;
	if (magnitude > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return 0;
}

/* The power of 1024 that a unit stands for; -1 if it is none. */
static int unit_shift(const char *unit)
{
	static const char units[] = "kmgtp";
	const char *at;

	if (!*unit || strcasecmp(unit, "b") == 0)
		return 0;
	at = strchr(units, *unit | 0x20);
	if (!at || !*at || (unit[1] && strcasecmp(unit + 1, "b") != 0 && strcasecmp(unit + 1, "ib") != 0))
		return -1;
	return (int)(at - units + 1) * 10;
}

int str_to_size(const char *text, uint64_t *bytes)
{
	char digits[24];
	size_t count = strspn(text, "0123456789");
	const char *rest = text + count;
	double fraction = 0, scale = 0.1;
	uint64_t whole;
	int shift, ret;

	if (count == 0 || count >= sizeof(digits))
		return count ? -ERANGE : -EINVAL;
	memcpy(digits, text, count);
	digits[count] = '\0';
	ret = str_to_u64(digits, &whole);
	if (ret < 0)
		return ret;
	if (*rest == '.') {
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
			fraction += scale * (*rest - '0');
	}
	while (*rest == ' ')
		rest++;
	shift = unit_shift(rest);
	if (shift < 0)
		return -EINVAL;
	if (whole > UINT64_MAX >> shift)
		return -ERANGE;
	whole <<= shift;
	if (__builtin_add_overflow(whole, (uint64_t)(fraction * (double)(UINT64_C(1) << shift)), bytes))
		return -ERANGE;
	return 0;
}

void str_disarm(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
			at[0] = at[1] = '?';
		else if ((*at < ' ' && *at != '\n' && *at != '\t') || *at == 0x7f)
			*at = '?';
	}
}
