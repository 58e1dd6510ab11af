/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - points in time as documents and logs write them: RFC 3339, UTC,
 * nanoseconds ("2026-11-21T05:16:10.123456789Z").
 *
 * Also used by the monitor, which is small: no time zones, no allocation.
 */
#ifndef CAISSON_ENGINE_CLOCK_H
#define CAISSON_ENGINE_CLOCK_H

#include <time.h>

enum { CLOCK_TEXT_MAX = 40 };

/* Exactly 30 characters and NUL, for years 1970 .. 9999. */
void clock_format(const struct timespec *when, char text[static CLOCK_TEXT_MAX]);
void clock_now(char text[static CLOCK_TEXT_MAX]);

/* Parses what clock_format() writes, fewer or no digits of a fraction, and offsets ("+02:00").  -EINVAL. */
int clock_parse(const char *text, struct timespec *when);

#endif
