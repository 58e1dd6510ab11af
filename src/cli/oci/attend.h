/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend - standing by a process in the foreground: signal(7), wait(2),
 * prctl(2) PR_SET_CHILD_SUBREAPER, termios(3).
 *
 * Signals that we get are the process's; what it leaves behind is reaped; its
 * terminal, if it has one of its own, is joined to ours: keys, output, and the
 * window's size.
 */
#ifndef CAISSON_CLI_OCI_ATTEND_H
#define CAISSON_CLI_OCI_ATTEND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "spec/runtime.h"

/*
 * To be called before the process is made: from now on signals wait for attend_wait(), and none is lost in between.
 * subreaper: orphans of the process become our children.
 */
int attend_begin(bool subreaper, struct error *err);

/* The size of the terminal on standard input, if it is one.  The process's own must have it before the process runs,
 * which may ask at once; later changes are attend_wait()'s part. */
void attend_console_size(struct oci_console_size *size);

/* Called whenever there is something to read from fd, which it reads. */
typedef void attend_ready_fn(int fd);

struct attend {
	pid_t pid;   /* a child */
	int console; /* master of its terminal, or -1 */
	int watched; /* a descriptor to be watched on the side, or -1 */
	attend_ready_fn *ready;
};

/* Attends until the child's end.  Returns its exit status as a shell shows it (128 + n after signal n), or -errno. */
int attend_wait(const struct attend *attend, struct error *err);

#endif
