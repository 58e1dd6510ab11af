/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - JSON text (RFC 8259) as a tree in an arena, and text out of it.
 *
 * A document is copied once; strings are unescaped in that copy and point into
 * it, so a tree costs two kinds of memory only: the copy and its nodes.  Nothing
 * is hashed and nothing is allocated one by one: this runs at the start of a
 * program that lives for two milliseconds.
 *
 * Integers keep the whole range from INT64_MIN to UINT64_MAX: resource limits
 * and seccomp arguments use the upper half, which jansson cannot hold.
 *
 * The text is hostile.  Refused, beyond what the RFC refuses: nesting deeper
 * than JSON_DEPTH_MAX, strings that are not UTF-8, unpaired surrogates, NUL in a
 * string.  Duplicate names are kept; who reads an object decides about them.
 */
#ifndef CAISSON_BASE_JSON_H
#define CAISSON_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 100, JSON_SIZE_MAX = 1 << 30 };

enum json_kind {
	JSON_KIND_NULL,
	JSON_KIND_BOOL,
	JSON_KIND_INTEGER,
	JSON_KIND_NUMBER, /* any other number: a fraction, an exponent, or beyond 64 bits */
	JSON_KIND_STRING,
	JSON_KIND_ARRAY,
	JSON_KIND_OBJECT,
};

struct json_value {
	enum json_kind kind : 8;       /* packed: a node is 32 bytes, and page faults are most of what parsing costs */
	bool truth;		       /* of a bool; of an integer: it is negative */
	uint32_t count;		       /* bytes of a string, children of an array or object */
	const char *name;	       /* in an object; NULL elsewhere */
	const struct json_value *next; /* sibling in the same array or object, in the document's order */
	union {
		const struct json_value *first; /* child */
		const char *text;		/* of a string; of a number that is no integer, as it was written */
		uint64_t magnitude;		/* of an integer */
	};
};

/* Parses size bytes.  -EINVAL with line and column for what is not JSON, -EFBIG above 1 GiB, -ENOMEM.  The tree belongs
 * to the arena. */
int json_parse(const char *text, size_t size, struct arena *arena, const struct json_value **root, struct error *err);

/* The member of that name (the last one, if there are several); NULL if there is none or object is no object. */
const struct json_value *json_find(const struct json_value *object, const char *name);

/* "an integer", "a string", ...: for messages. */
const char *json_kind_name(enum json_kind kind);

/* Appends text as a JSON string, quotes included; text is expected to be UTF-8 and goes through as it is. */
void json_append_string(struct str *out, const char *text);

/* Appends a value without white space, members sorted by name, members that are null left out: the same for documents
 * that say the same. */
void json_append_canonical(struct str *out, const struct json_value *value);

#endif
