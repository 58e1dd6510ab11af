/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/format.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/template.h"

enum { COLUMNS_MAX = 64, COLUMN_MIN = 10, COLUMN_GAP = 3 };

char *format_unescape(const char *text)
{
	char *copy = strdup(text), *to = copy;

	for (const char *from = text; copy && *from; from++) {
		if (from[0] == '\\' && (from[1] == 't' || from[1] == 'n'))
			*to++ = *++from == 't' ? '\t' : '\n';
		else
			*to++ = *from;
	}
	if (copy)
		*to = '\0';
	return copy;
}

/* Characters, not bytes: continuation bytes of UTF-8 take no place. */
static size_t display_width(const char *text, size_t length)
{
	size_t width = 0;

	for (size_t i = 0; i < length; i++)
		width += (text[i] & 0xc0) != 0x80;
	return width;
}

void format_columns(const char *lines, struct str *out)
{
	size_t widths[COLUMNS_MAX] = { 0 }, column = 0;

	for (const char *at = lines; *at;) {
		size_t length = strcspn(at, "\t\n"), width = display_width(at, length) + COLUMN_GAP;

		/* The last cell of a line is followed by nothing: it does not widen its column. */
		if (at[length] == '\t' && column < COLUMNS_MAX) {
			width = width < COLUMN_MIN ? COLUMN_MIN : width;
			widths[column] = width > widths[column] ? width : widths[column];
		}
		column = at[length] == '\t' ? column + 1 : 0;
		at += length + (at[length] != '\0');
	}
	column = 0;
	for (const char *at = lines; *at;) {
		size_t length = strcspn(at, "\t\n"), width = display_width(at, length);

		str_append_bytes(out, at, length);
		for (; at[length] == '\t' && column < COLUMNS_MAX && width < widths[column]; width++)
			str_append(out, " ");
		column = at[length] == '\t' ? column + 1 : 0;
		if (at[length] == '\n')
			str_append(out, "\n");
		at += length + (at[length] != '\0');
	}
}

/* The heading of a table is the template run on an object whose values are the headings. */
static json_t *heading_row(const struct format *format, json_t *first)
{
	json_t *row = json_object(), *value;
	const char *key;

	json_object_foreach (first, key, value) {
		cleanup_free char *upper = strdup(key);

		for (char *at = upper; at && *at; at++)
			*at = (char)toupper((unsigned char)*at);
		(void)json_object_set_new(row, key, json_string(upper ? upper : key));
	}
	for (const struct format_heading *each = format->headings; each && each->field; each++)
		(void)json_object_set_new(row, each->field, json_string(each->heading));
	return row;
}

static int table_rows(const struct format *format, const char *template, json_t *rows, FILE *out, struct error *err)
{
	cleanup_str struct str lines = STR_INIT, text = STR_INIT;
	json_t *heading = heading_row(format, json_array_get(rows, 0)), *row;
	int ret = 0;
	size_t i;

	/* An own "table" template of a list without rows may name fields that no heading is known for. */
	if (!format->no_heading && (json_array_size(rows) > 0 || template == format->table)) {
		ret = template_render(template, heading, &lines, err);
		str_append(&lines, "\n");
	}
	json_decref(heading);
	json_array_foreach (rows, i, row) {
		if (ret < 0)
			return ret;
		ret = template_render(template, row, &lines, err);
		str_append(&lines, "\n");
	}
	format_columns(str_text(&lines), &text);
	if (ret == 0 && (str_failed(&lines) || str_failed(&text)))
		return error_errno(err, ENOMEM, "cannot format");
	if (ret == 0 && text.text) {
		str_disarm(text.text); /* commands, comments of images, names of processes */
		(void)fputs(text.text, out);
	}
	return ret;
}

static int plain_rows(const char *template, json_t *rows, FILE *out, struct error *err)
{
	size_t i;
	json_t *row;

	json_array_foreach (rows, i, row) {
		cleanup_str struct str text = STR_INIT;
		int ret = template_render(template, row, &text, err);

		if (ret < 0)
			return ret;
		(void)fprintf(out, "%s\n", str_text(&text));
	}
	return 0;
}

int format_rows(const struct format *format, json_t *rows, FILE *out, struct error *err)
{
	cleanup_free char *wish = format->format ? format_unescape(format->format) : NULL;

	if (format->quiet && (!wish || str_starts(wish, "table")))
		return plain_rows(format->quiet, rows, out, err);
	if (!wish || !*wish || strcmp(wish, "table") == 0)
		return table_rows(format, format->table, rows, out, err);
	if (strcmp(wish, "json") == 0)
		return plain_rows("{{json .}}", rows, out, err);
	if (str_starts(wish, "table "))
		return table_rows(format, wish + strspn(wish + 5, " ") + 5, rows, out, err);
	return plain_rows(wish, rows, out, err);
}

void format_duration(long long seconds, char text[static 32])
{
	static const struct {
		long long below, unit;
		const char *name;
	} steps[] = {
		{ 60, 1, "seconds" },
		{ 3600, 60, "minutes" },
		{ 48 * 3600, 3600, "hours" },
		{ 14 * 86400, 86400, "days" },
		{ 60 * 86400, 7 * 86400, "weeks" },
		{ 730 * 86400LL, 30 * 86400, "months" },
		{ INT64_MAX, 365 * 86400, "years" },
	};
	size_t i = 0;

	if (seconds < 1)
		(void)snprintf(text, 32, "Less than a second");
	else if (seconds == 1)
		(void)snprintf(text, 32, "1 second");
	else if (seconds >= 60 && seconds < 120)
		(void)snprintf(text, 32, "About a minute");
	else if (seconds >= 3600 && seconds < 5400)
		(void)snprintf(text, 32, "About an hour");
	else {
		while (seconds >= steps[i].below)
			i++;
		(void)snprintf(text, 32, "%lld %s", seconds / steps[i].unit, steps[i].name);
	}
}

static void print_size(double bytes, double base, const char *const *units, int digits, char text[static 16])
{
	int unit = 0;

	/* 999.9 would be rounded to 1e+03. */
	while (bytes >= (base == 1000 ? 999.5 : base) && units[unit + 1]) {
		bytes /= base;
		unit++;
	}
	(void)snprintf(text, 16, "%.*g%s", digits, bytes, units[unit]);
}

void format_size(unsigned long long bytes, char text[static 16])
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB", NULL };

	print_size((double)bytes, 1000, units, 3, text);
}

void format_size_binary(unsigned long long bytes, char text[static 16])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", NULL };

	print_size((double)bytes, 1024, units, 4, text);
}
