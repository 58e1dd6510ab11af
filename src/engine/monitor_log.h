/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor_log - container.log: docker's json-file, one JSON object per line,
 *
 *     {"log":"text\n","stream":"stdout","time":"2026-11-21T05:16:10.123456789Z"}
 *
 * rotated by size: container.log, container.log.1 (newer), container.log.2 ...
 * A line that is longer than MONITOR_LINE_MAX is written in pieces, without
 * "\n" but in the last one.  What is not UTF-8 becomes U+FFFD, as in docker's.
 * Allocates nothing; a log that cannot be written (disk full) is left out, for
 * the instance must not stop because of it.
 */
#ifndef CAISSON_ENGINE_MONITOR_LOG_H
#define CAISSON_ENGINE_MONITOR_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "engine/monitor.h"

enum { LOG_STREAMS = 2, LOG_BATCH_MAX = 32768 };

struct monitor_log {
	int dir, fd; /* dir is not owned */
	uint64_t written, max_size;
	uint32_t max_files;
	size_t batch_used;
	size_t line_used[LOG_STREAMS];
	char line[LOG_STREAMS][MONITOR_LINE_MAX]; /* begun, not ended yet */
	char batch[LOG_BATCH_MAX];		  /* encoded, not written yet */
};

/* Opens the log to append; max_size 0: no rotation.  The struct must be zeroed: it may stay untouched memory. */
void monitor_log_open(struct monitor_log *log, int dir, uint64_t max_size, uint32_t max_files);

/* What came out of stream 0 (stdout) or 1 (stderr). */
void monitor_log_write(struct monitor_log *log, int stream, const char *bytes, size_t count);

/* The end: a line that was begun is written without its newline. */
void monitor_log_close(struct monitor_log *log);

#endif
