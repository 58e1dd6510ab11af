/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signals - signals by name and number, as kill(1) and the engines' --signal take them; signal(7).
 *
 * The numbers are the kernel's: real-time signals go from 34 (RTMIN) to 64 (RTMAX), as in glibc's and docker's
 * counting, whatever the C library keeps for itself.
 */
#ifndef CAISSON_LINUX_SIGNALS_H
#define CAISSON_LINUX_SIGNALS_H

enum { SIGNAL_RTMIN = 34, SIGNAL_RTMAX = 64 };

/*
 * The number of the signal that text means: 9, KILL, SIGKILL, sigkill, RTMIN, RTMIN+3, RTMAX-2.
 * Numbers are taken as they are, from 0 to 64.  -EINVAL for anything else.
 */
int signal_from_text(const char *text);

/* "KILL" for SIGKILL; NULL for a number without a name of its own (the real-time signals). */
const char *signal_name(int number);

#endif
