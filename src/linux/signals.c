/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

static const struct {
	const char *name;
	int number;
} names[] = {
	{ "HUP", SIGHUP },   { "INT", SIGINT },	  { "QUIT", SIGQUIT },	   { "ILL", SIGILL },	{ "TRAP", SIGTRAP },
	{ "ABRT", SIGABRT }, { "IOT", SIGABRT },  { "BUS", SIGBUS },	   { "FPE", SIGFPE },	{ "KILL", SIGKILL },
	{ "USR1", SIGUSR1 }, { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 },	   { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },
	{ "TERM", SIGTERM }, { "STKFLT", 16 },	  { "CHLD", SIGCHLD },	   { "CLD", SIGCHLD },	{ "CONT", SIGCONT },
	{ "STOP", SIGSTOP }, { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN },	   { "TTOU", SIGTTOU }, { "URG", SIGURG },
	{ "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ }, { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF }, { "WINCH", SIGWINCH },
	{ "IO", SIGIO },     { "POLL", SIGIO },	  { "PWR", SIGPWR },	   { "SYS", SIGSYS },
};

/* RTMIN, RTMIN+N, RTMAX or RTMAX-N */
static int real_time(const char *name)
{
	bool from_start = strncasecmp(name, "RTMIN", 5) == 0;
	uint64_t offset = 0;

	if (name[5] && (name[5] != (from_start ? '+' : '-') || str_to_u64(name + 6, &offset) < 0 ||
			offset > SIGNAL_RTMAX - SIGNAL_RTMIN))
		return -EINVAL;
	return from_start ? SIGNAL_RTMIN + (int)offset : SIGNAL_RTMAX - (int)offset;
}

int signal_from_text(const char *text)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	uint64_t number;

	if (str_to_u64(text, &number) == 0)
		return number <= SIGNAL_RTMAX ? (int)number : -EINVAL;
	if (strncasecmp(name, "RTMIN", 5) == 0 || strncasecmp(name, "RTMAX", 5) == 0)
		return real_time(name);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcasecmp(names[i].name, name) == 0)
			return names[i].number;
	}
	return -EINVAL;
}

const char *signal_name(int number)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (names[i].number == number)
			return names[i].name;
	}
	return NULL;
}
