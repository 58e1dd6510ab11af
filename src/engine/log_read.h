/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_read - what an instance has printed, out of container.log and its
 * rotated parts.  The format is monitor_log.h's; a line that is damaged or cut
 * (a crash, a full disk) is passed over.
 */
#ifndef CAISSON_ENGINE_LOG_READ_H
#define CAISSON_ENGINE_LOG_READ_H

#include "engine/engine.h"

struct log_line {
	const char *text; /* as printed, newline included; length bytes */
	size_t length;
	bool errors;	  /* from stderr */
	const char *time; /* as in the log */
	struct timespec when;
};

struct log_read_options {
	long tail; /* the last so many lines; < 0: all */
	bool has_since, has_until;
	struct timespec since, until;
	bool follow; /* go on until the instance ends */
	/* Called for each line in order; non-zero ends the reading with that value. */
	int (*each)(void *context, const struct log_line *line);
	void *context;
};

int log_read(struct instance *instance, const struct log_read_options *options, struct error *err);

/* One line of the log, for tests; strings point into *document, which the caller gives back.  -EINVAL. */
int log_parse_line(const char *text, size_t length, json_t **document, struct log_line *line);

#endif
