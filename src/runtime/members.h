/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members - a JSON object written member by member, in the order of the calls,
 * as Go's encoding/json lays it out.  Private to src/runtime.
 */
#ifndef CAISSON_RUNTIME_MEMBERS_H
#define CAISSON_RUNTIME_MEMBERS_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/str.h"

struct members {
	struct str *out;
	int indent, depth; /* indent 0: no white space */
	bool filled;
};

static inline void members_new_line(struct members *members)
{
	if (members->indent)
		str_printf(members->out, "\n%*s", members->indent * members->depth, "");
}

/* What follows is the member's value. */
static inline void member_name(struct members *members, const char *name)
{
	if (members->filled)
		str_append(members->out, ",");
	members->filled = true;
	members_new_line(members);
	json_append_string(members->out, name);
	str_append(members->out, members->indent ? ": " : ":");
}

/* A NULL text is left out. */
static inline void member_text(struct members *members, const char *name, const char *text)
{
	if (!text)
		return;
	member_name(members, name);
	json_append_string(members->out, text);
}

static inline void member_number(struct members *members, const char *name, uint64_t number)
{
	member_name(members, name);
	str_printf(members->out, "%" PRIu64, number);
}

static inline void open_object(struct members *members)
{
	str_append(members->out, "{");
	members->depth++;
	members->filled = false;
}

static inline void close_object(struct members *members)
{
	members->depth--;
	members_new_line(members);
	str_append(members->out, "}");
	members->filled = true;
}

#endif
