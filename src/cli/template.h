/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template - the part of Go's text/template that people use with docker.
 *
 * Follows https://pkg.go.dev/text/template: fields (.State.Status), variables,
 * pipelines, parentheses, if / else if / else, range, with, comments, trimming
 * ({{- -}}), and the functions that are listed in template_function.c.  Data
 * are jansson values.  Runs straight over the text: templates are short and
 * run once per row.
 *
 * A field that is not there is an error that names it, but for the keys of
 * maps that users fill (Labels, Annotations, ...), which give "<no value>".
 */
#ifndef CAISSON_CLI_TEMPLATE_H
#define CAISSON_CLI_TEMPLATE_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

/* Appends what the template makes of value.  -EINVAL with "template parsing error: ...". */
int template_render(const char *text, json_t *value, struct str *out, struct error *err);

/* For template.c: a function of the language. */
struct template_function {
	const char *name;
	int min, max; /* number of arguments; max -1: any */
	/* Returns a new reference, or NULL with err set.  Arguments are borrowed. */
	json_t *(*call)(json_t *const *args, int count, struct error *err);
};
const struct template_function *template_function_find(const char *name, size_t length);

/* Go's idea of truth: not empty, not zero. */
bool template_truth(const json_t *value);

/* What Go prints for a value: text as it is, "[a b]", "map[k:v]". */
void template_print(const json_t *value, struct str *out);

#endif
