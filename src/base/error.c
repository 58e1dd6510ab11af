/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A message that does not fit must show that it was cut. */
static void mark_cut(char *text)
{
	memcpy(text + ERROR_TEXT_MAX - 4, "...", 4);
}

/*
 * Names out of archives and documents are quoted in errors, and somebody reads those on a terminal: what would steer it
 * (C0, DEL, and C1 as UTF-8) is shown as '?'.
 */
static void disarm(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
			at[0] = at[1] = '?';
		else if ((*at < ' ' && *at != '\n' && *at != '\t') || *at == 0x7f)
			*at = '?';
	}
}

static void set_text(struct error *err, int code, const char *format, va_list args)
{
	err->code = code;
	if (vsnprintf(err->text, sizeof(err->text), format, args) >= (int)sizeof(err->text))
		mark_cut(err->text);
	disarm(err->text);
}

static void append(struct error *err, const char *separator, const char *text)
{
	size_t used = strlen(err->text);

	if (snprintf(err->text + used, sizeof(err->text) - used, "%s%s", separator, text) >=
	    (int)(sizeof(err->text) - used))
		mark_cut(err->text);
}

int error_set(struct error *err, int code, const char *format, ...)
{
	if (err) {
		va_list args;

		va_start(args, format);
		set_text(err, code, format, args);
		va_end(args);
	}
	return -code;
}

int error_errno(struct error *err, int code, const char *format, ...)
{
	if (err) {
		va_list args;

		va_start(args, format);
		set_text(err, code, format, args);
		va_end(args);
		append(err, ": ", strerror(code));
	}
	return -code;
}

int error_wrap(struct error *err, const char *format, ...)
{
	char inner[ERROR_TEXT_MAX];
	va_list args;

	if (!err)
		return -EIO;
	memcpy(inner, err->text, sizeof(inner));
	va_start(args, format);
	set_text(err, err->code, format, args);
	va_end(args);
	append(err, ": ", inner);
	return -err->code;
}

int error_hint(struct error *err, const char *format, ...)
{
	char hint[ERROR_TEXT_MAX];
	va_list args;

	if (!err)
		return -EIO;
	va_start(args, format);
	(void)vsnprintf(hint, sizeof(hint), format, args);
	va_end(args);
	disarm(hint);
	append(err, "; ", hint);
	return -err->code;
}
