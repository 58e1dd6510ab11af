/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader - from a JSON tree into plain structs, by tables.
 *
 * A document's objects are described by tables of struct spec_field: name,
 * place in the struct, how to read it.  The reader checks types and ranges,
 * refuses a property that is there twice (two programs would read two
 * documents), skips unknown ones and null (which Go programs write for "not
 * set"), and names the property in every error:
 *
 *     linux.resources.memory.limit: expected an integer, got a string
 *
 * Private to src/spec.  It stores nothing but what it is told to; strings
 * point into the tree, arrays are made in the arena.
 */
#ifndef CAISSON_SPEC_READER_H
#define CAISSON_SPEC_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"

/* Where the reader is: a list from the innermost name outwards, kept on the stack. */
struct spec_place {
	const struct spec_place *outer;
	const char *name; /* of a property or a key; NULL: the element with this index */
	size_t index;
};

struct reader {
	struct arena *arena;
	struct error *err;
	const struct spec_place *place;
};

/* Reads value into target; how is what the table says. */
typedef int spec_read(struct reader *reader, const struct json_value *value, void *target, const void *how);

struct spec_field {
	const char *name;
	size_t offset;
	spec_read *read;
	const void *how;
	bool required;
};

struct spec_object {
	const struct spec_field *fields;
	size_t count; /* at most 64 */
	bool set;     /* the struct begins with "bool set", which says that the object was there */
	int (*check)(struct reader *reader, void *target); /* what no single field can say; may be NULL */
};

/* An array, or an object whose names are data, read into { size_t count; ELEMENT *items; }. */
struct spec_list {
	size_t size; /* of an element */
	spec_read *read;
	const void *how;
	size_t key_offset; /* of the "const char *" that gets the name (spec_read_map) */
	size_t max;	   /* elements; 0: no limit */
};

struct spec_range {
	int64_t low;
	uint64_t high;
};

/* Strings out of a fixed list.  before and after stand around the wrong word in the message. */
struct spec_words {
	const char *before, *after;
	const char *const *words; /* NULL-terminated */
};

#define SPEC_COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SPEC_FIELD(type, member, json_name, reader)                    \
	{                                                              \
		json_name, offsetof(type, member), reader, NULL, false \
	}
#define SPEC_FIELD_HOW(type, member, json_name, reader, how)          \
	{                                                             \
		json_name, offsetof(type, member), reader, how, false \
	}
#define SPEC_REQUIRED(type, member, json_name, reader)                \
	{                                                             \
		json_name, offsetof(type, member), reader, NULL, true \
	}
#define SPEC_REQUIRED_HOW(type, member, json_name, reader, how)      \
	{                                                            \
		json_name, offsetof(type, member), reader, how, true \
	}

/* The error of the property at hand: "place: format".  Returns -EINVAL. */
int spec_fail(struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a property below the one at hand (name), from an object's check. */
int spec_fail_at(struct reader *reader, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int spec_fail_type(struct reader *reader, const char *expected, const struct json_value *value);
int spec_no_memory(struct reader *reader);

spec_read spec_read_bool;	  /* bool */
spec_read spec_read_opt_bool;	  /* struct oci_bool */
spec_read spec_read_text;	  /* const char *: may be empty */
spec_read spec_read_text_or_null; /* const char *: "" is what Go writes for "not set" */
spec_read spec_read_name;	  /* const char *: not empty */
spec_read spec_read_path;	  /* const char *: absolute; "" stays NULL */
spec_read spec_read_word;	  /* const char *: how is a struct spec_words; "" stays NULL */
spec_read spec_read_known_word;	  /* the same, and "" is as wrong as any other */
spec_read spec_read_u32;	  /* uint32_t: how is a struct spec_range or NULL */
spec_read spec_read_i32;	  /* int32_t */
spec_read spec_read_u64;	  /* uint64_t */
spec_read spec_read_i64;	  /* int64_t */
spec_read spec_read_opt_u64;	  /* struct oci_u64 */
spec_read spec_read_opt_i64;	  /* struct oci_i64 */
spec_read spec_read_object;	  /* how is a struct spec_object */
spec_read spec_read_list;	  /* how is a struct spec_list; target { size_t, pointer } */
spec_read spec_read_map;	  /* the same out of an object */
spec_read spec_read_strings;	  /* struct oci_strings; how is a struct spec_words or NULL */
spec_read spec_read_paths;	  /* struct oci_strings, each absolute */
spec_read spec_read_pairs;	  /* struct oci_pairs; keys are not empty and not there twice */

/* true if text is one of the words. */
bool spec_word_in(const char *text, const char *const *words);

/* true for a list of numbers and ranges as cpuset(7) has it: "0-3,7". */
bool spec_is_number_list(const char *text);

extern const struct spec_range spec_range_id;  /* a uid or gid: 0 .. 2^32-2, (uint32_t)-1 means "none" to the kernel */
extern const struct spec_range spec_range_u16; /* 0 .. 65535 */
extern const struct spec_range spec_range_major;  /* 12 bits: mknod(2) cuts the rest off and makes another device */
extern const struct spec_range spec_range_minor;  /* 20 bits */
extern const struct spec_range spec_range_u32;	  /* in a wider target */
extern const struct spec_range spec_range_amount; /* -1 (unlimited) or more */

#endif
