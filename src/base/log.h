/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - the diagnostics of a command, in runc's two formats.
 *
 * text:  time="2026-11-21T04:55:36Z" level=error msg="..."
 * json:  {"level":"error","msg":"...","time":"2026-11-21T04:55:36Z"}
 *
 * podman, containerd and CRI-O read the last "level":"error" line of the json
 * log to tell their user why a runtime failed.  One log per process, opened by
 * main(); floors below the CLI return errors instead of logging them.  The
 * struct is the context: there is no hidden state.
 */
#ifndef CAISSON_BASE_LOG_H
#define CAISSON_BASE_LOG_H

#include <stdbool.h>

#include "base/error.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log {
	int fd; /* owned if it is not STDERR_FILENO */
	enum log_format format;
	enum log_level level; /* what is above it is dropped */
};

#define LOG_INIT ((struct log){ .fd = 2, .format = LOG_FORMAT_TEXT, .level = LOG_LEVEL_INFO })

/* Appends to path from now on (created 0644); path NULL or "" keeps stderr. */
int log_open(struct log *log, const char *path, struct error *err);

/* "text" or "json"; -EINVAL for anything else. */
int log_set_format(struct log *log, const char *name);

/* One line, written with one write(2) so that processes can share the file.  What cannot be written is dropped. */
void log_print(const struct log *log, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void log_close(struct log *log);

#endif
