/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer - JSON with indentation, in the form of Go's encoding/json.
 *
 * Private to src/spec.  Every function takes the member's name, NULL inside an
 * array.  A failed allocation is kept in out, see str_failed().
 */
#ifndef CAISSON_SPEC_WRITER_H
#define CAISSON_SPEC_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct writer {
	struct str out;
	const char *indent; /* of one level */
	int depth;
	bool filled; /* the innermost array or object has something in it */
};

/* bracket is '{' or '['. */
void writer_open(struct writer *writer, const char *name, char bracket);
void writer_close(struct writer *writer, char bracket);
void writer_text(struct writer *writer, const char *name, const char *text);
void writer_number(struct writer *writer, const char *name, int64_t number);
void writer_unsigned(struct writer *writer, const char *name, uint64_t number);
void writer_bool(struct writer *writer, const char *name, bool truth);
/* An array of strings; words ends with NULL. */
void writer_words(struct writer *writer, const char *name, const char *const *words);

#endif
