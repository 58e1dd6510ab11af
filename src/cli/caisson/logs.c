/* SPDX-License-Identifier: Apache-2.0 */
/* caisson logs */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "engine/clock.h"
#include "engine/log_read.h"

struct logs_flags {
	bool details, follow, timestamps;
	const char *since, *until, *tail;
	FILE *out, *err;
};

const struct cli_option logs_options[] = {
	OPT_SWITCH("details", 0, struct logs_flags, details, NULL),
	OPT_SWITCH("follow", 'f', struct logs_flags, follow, "Go on until the instance ends"),
	OPT_STRING("since", 0, "string", struct logs_flags, since, "From then on (2026-11-21T05:16:10Z, or 42m ago)"),
	OPT_VALUE(OPTION_STRING, "tail", 'n', "string", "all", struct logs_flags, tail,
		  "Only so many lines from the end, or all"),
	OPT_SWITCH("timestamps", 't', struct logs_flags, timestamps, "Show when each line was written"),
	OPT_STRING("until", 0, "string", struct logs_flags, until, "Until then"),
	{ .name = NULL },
};

/* "1h30m", "10s", "1.5h": that long ago. */
static int parse_ago(const char *text, struct timespec *when)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = { { "ms", 0.001 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
	double ago = 0;

	if (!*text)
		return -EINVAL;
	while (*text) {
		char *end;
		double number = strtod(text, &end);
		size_t i = 0, count = sizeof(units) / sizeof(*units);

		if (end == text || number < 0 || strchr("+-", *text))
			return -EINVAL;
		while (i < count && !str_starts(end, units[i].unit))
			i++;
		if (i == count)
			return -EINVAL;
		ago += number * units[i].seconds;
		text = end + strlen(units[i].unit);
	}
	(void)clock_gettime(CLOCK_REALTIME, when);
	when->tv_sec -= (time_t)ago;
	return 0;
}

/* RFC 3339, a date with or without a time of the day, seconds since the epoch, or a duration. */
static int parse_moment(const char *text, struct timespec *when)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d", NULL };
	char *end;

	if (clock_parse(text, when) == 0)
		return 0;
	for (size_t i = 0; forms[i]; i++) {
		struct tm tm = { .tm_isdst = -1 };

		end = strptime(text, forms[i], &tm);
		if (end && !*end) {
			*when = (struct timespec){ .tv_sec = mktime(&tm) };
			return 0;
		}
	}
	if (*text && text[strspn(text, "0123456789.")] == '\0') {
		double seconds = strtod(text, &end);

		when->tv_sec = (time_t)seconds;
		when->tv_nsec = (long)((seconds - (double)when->tv_sec) * 1e9);
		return 0;
	}
	return parse_ago(text, when);
}

static int print_line(void *context, const struct log_line *line)
{
	const struct logs_flags *flags = context;
	FILE *out = line->errors ? flags->err : flags->out;

	if (flags->timestamps)
		(void)fprintf(out, "%s ", line->time);
	(void)fwrite(line->text, 1, line->length, out);
	/* Two streams, one order. */
	return fflush(out) == EOF ? 1 : 0;
}

int logs_command(struct cli *cli, int argc, char **argv)
{
	struct logs_flags flags = { .tail = "all", .out = cli->out, .err = cli->err };
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct log_read_options options = { .tail = -1, .each = print_line, .context = &flags };
	struct error err = ERROR_INIT;
	char **operands;
	uint64_t lines;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (strcmp(flags.tail, "all") != 0 && strcmp(flags.tail, "-1") != 0) {
		if (str_to_u64(flags.tail, &lines) < 0 || lines > INT32_MAX)
			return program_say(cli, 1, "invalid --tail: %s; expected a number of lines, or all",
					   flags.tail);
		options.tail = (long)lines;
	}
	options.follow = flags.follow;
	options.has_since = flags.since != NULL;
	options.has_until = flags.until != NULL;
	if ((flags.since && parse_moment(flags.since, &options.since) < 0) ||
	    (flags.until && parse_moment(flags.until, &options.until) < 0))
		return program_say(cli, 1, "invalid value for --%s; write it like 2026-11-21T05:16:10Z, or 42m",
				   flags.since && parse_moment(flags.since, &options.since) < 0 ? "since" : "until");
	if (open_instance(cli, operands[0], 0, &instance) < 0)
		return 1;
	return log_read(&instance, &options, &err) < 0 ? program_fail(cli, &err, 1) : 0;
}
