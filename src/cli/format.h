/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format - how lists of things are shown: docker's --format.
 *
 *     --format table                   the command's own columns, with a heading
 *     --format 'table {{.A}}\t{{.B}}'  chosen columns, with a heading
 *     --format json                    one JSON object per line
 *     --format '{{.A}} {{.B}}'         one line per thing; templates: template.h
 *
 * Rows are jansson objects whose values are ready to be read by people.
 */
#ifndef CAISSON_CLI_FORMAT_H
#define CAISSON_CLI_FORMAT_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

/* A column's heading, by the field's name; what is not in the list is headed by its name in capitals. */
struct format_heading {
	const char *field, *heading; /* field NULL ends the list */
};

struct format {
	const char *format; /* what the user said, or NULL */
	const char *table;  /* the command's own columns: "{{.ID}}\t{{.Names}}" */
	const char *quiet;  /* template for -q, or NULL when it was not given */
	const struct format_heading *headings;
	bool no_heading;
};

/* Shows rows (an array of objects, borrowed). */
int format_rows(const struct format *format, json_t *rows, FILE *out, struct error *err);

/* Lines of tab-separated cells to columns, three blanks apart, at least ten wide, as docker's tables are. */
void format_columns(const char *lines, struct str *out);

/* "2 hours ago"'s first part: "2 hours", "About a minute", "Less than a second". */
void format_duration(long long seconds, char text[static 32]);

/* "1.5MB": docker's sizes, powers of 1000, three digits. */
void format_size(unsigned long long bytes, char text[static 16]);

/* "1.5MiB": powers of 1024, as in docker stats. */
void format_size_binary(unsigned long long bytes, char text[static 16]);

/* Turns the "\t" and "\n" of a command line's template into the characters; fresh memory or NULL. */
char *format_unescape(const char *text);

#endif
