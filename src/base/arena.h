/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena - memory that is given back all at once.
 *
 * For documents that are parsed once, read, and dropped whole: nothing in them
 * is freed by itself.  Memory is zeroed and aligned for any type.
 */
#ifndef CAISSON_BASE_ARENA_H
#define CAISSON_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *head; /* owned */
};

/* Zeroed memory for count elements of size bytes; NULL when memory is out or the product overflows. */
void *arena_alloc(struct arena *arena, size_t count, size_t size);

/* A copy of text; NULL when memory is out. */
char *arena_strdup(struct arena *arena, const char *text);

/* printf into the arena; NULL when memory is out. */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Frees everything; the arena is empty and usable again. */
void arena_free(struct arena *arena);

#endif
