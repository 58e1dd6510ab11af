/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document - what is known of an instance, in docker's own words.
 *
 * An instance is described by the document that docker's API takes to create
 * a container and shows in `docker inspect`: {"Config": {...}, "HostConfig":
 * {...}, ...}.  The command line fills it, the record on disk keeps it,
 * `inspect` prints it, and spec.h turns it into config.json; there is no
 * second form that could differ from it.
 *
 * A path is a series of keys with dots between: "HostConfig.Memory".
 */
#ifndef CAISSON_ENGINE_DOCUMENT_H
#define CAISSON_ENGINE_DOCUMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"

static inline void cleanup_json_fn(json_t **value)
{
	json_decref(*value);
}
#define cleanup_json __attribute__((cleanup(cleanup_json_fn)))

/* A new document with docker's default for every property; NULL when memory is out. */
json_t *document_new(void);

/* Whether an instance's record has what every record has, each value of the kind that it must be. */
bool document_is_record(const json_t *record);

/* What is at path (borrowed), or NULL. */
json_t *document_at(const json_t *document, const char *path);

/* The value at path; "", 0, false when there is none or it has another type. */
const char *document_text(const json_t *document, const char *path);
json_int_t document_int(const json_t *document, const char *path);
bool document_bool(const json_t *document, const char *path);

/* Puts value (taken over, also on failure; NULL counts as one) at path; parents that are missing are made.  -ENOMEM. */
int document_set(json_t *document, const char *path, json_t *value);
int document_set_text(json_t *document, const char *path, const char *text);

/* Appends to the list at path, which is made if it is not there (or null). */
int document_add(json_t *document, const char *path, json_t *value);

/* Whether the list at path has this text. */
bool document_lists(const json_t *document, const char *path, const char *text);

#endif
