/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console - what the guest's kernel says on its first serial port.
 *
 * The last of it is kept, to be quoted when the machine ends as it should not;
 * all of it goes to a file, if there is one, which is kept short however much the
 * guest says.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_CONSOLE_H
#define CAISSON_PARADIGM_VM_HOST_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum {
	CONSOLE_KEPT = 8192,		/* bytes */
	CONSOLE_FILE_MAX = 1024 * 1024, /* bytes, then the file begins anew with what is kept */
};

struct console {
	int fd; /* the caller's, -1: none; a regular file, or something that may lose bytes */
	uint64_t written;
	uint64_t total; /* bytes that ever came: the place of the next one in kept is total % CONSOLE_KEPT */
	char kept[CONSOLE_KEPT];
};

void console_open(struct console *console, int fd);
void console_take(struct console *console, const void *bytes, size_t count);
/* Appends the last lines, at most count bytes of them, without what would steer a terminal. */
void console_tail(const struct console *console, size_t count, struct str *out);

#endif
