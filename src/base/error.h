/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error - what went wrong, in words that a user can act on.
 *
 * A function that can fail returns 0 (or a non-negative result) or a negative
 * errno, and fills a struct error with a chain that reads from the outside in:
 *
 *     cannot mount proc on /proc: operation not permitted
 *
 * The callee sets the innermost part, each caller that has something to add
 * wraps it.  Every function takes a NULL struct error and then only returns
 * the code.  The struct holds no pointers: it can be sent through a pipe.
 * What would steer a terminal is shown as '?': errors quote hostile names.
 */
#ifndef CAISSON_BASE_ERROR_H
#define CAISSON_BASE_ERROR_H

#include <stdarg.h>

enum { ERROR_TEXT_MAX = 1020 };

struct error {
	int code;		   /* a positive errno, 0 while nothing failed */
	char text[ERROR_TEXT_MAX]; /* never empty once code is set; cut with "..." when too long */
};

#define ERROR_INIT ((struct error){ .code = 0, .text = "" })

/* Sets the error to a message of its own; returns -code. */
int error_set(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Like error_set(), followed by ": " and what errno value code means; returns -code. */
int error_errno(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What an errno value means, in the words that programs look for: those of the C library's strerror(3) on most systems,
 * without its capital ("no such file or directory", "device or resource busy"), whichever library is linked. */
const char *error_words(int code);

/* Puts "format: " before what is there; returns minus the code that was set before (-EIO when err is NULL). */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends "; format": what the user can do next.  Returns like error_wrap(). */
int error_hint(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
