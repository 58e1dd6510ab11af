/* SPDX-License-Identifier: Apache-2.0 */
/*
 * str - text that grows, and numbers out of text.
 *
 * A struct str is a growing, always NUL-terminated buffer; a failed
 * allocation is remembered in it and reported once, by str_failed(), so that
 * a series of appends needs one check.
 */
#ifndef CAISSON_BASE_STR_H
#define CAISSON_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	char *text;	     /* owned; NULL while empty, use str_text() to read */
	size_t length, room; /* bytes without and with the terminating NUL */
	bool failed;	     /* memory ran out; the content is incomplete */
};

#define STR_INIT ((struct str){ .text = NULL })

void str_append(struct str *str, const char *text);
void str_append_bytes(struct str *str, const void *bytes, size_t count);
void str_printf(struct str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *str_extend(struct str *str, size_t count); /* count more bytes, for the caller to fill; NULL: failed */
const char *str_text(const struct str *str);	 /* "" while empty; never NULL */
bool str_failed(const struct str *str);
char *str_take(struct str *str); /* the text, owned by the caller; NULL if an append failed */
void str_free(struct str *str);

#define cleanup_str __attribute__((cleanup(str_free)))

bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);

/* Whole-text decimal numbers; -EINVAL for anything but digits (one leading '-' in the signed one), -ERANGE. */
int str_to_u64(const char *text, uint64_t *value);
int str_to_i64(const char *text, int64_t *value);

/*
 * A size in bytes as docker writes it: digits, an optional fraction, an optional unit b, k, m, g, t, p in either
 * case (powers of 1024), an optional "b" or "ib" after it.  -EINVAL, -ERANGE.
 */
int str_to_size(const char *text, uint64_t *bytes);

/*
 * For what quotes names out of archives, documents and processes, and is read on a terminal: what would steer it (C0
 * but newline and tab, DEL, C1 as UTF-8) becomes '?'.
 */
void str_disarm(char *text);

#endif
