/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

int log_open(struct log *log, const char *path, struct error *err)
{
	int fd;

	if (!path || !*path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_errno(err, errno, "cannot open the log %s", path);
	log->fd = fd;
	return 0;
}

int log_set_format(struct log *log, const char *name)
{
	if (strcmp(name, "text") == 0)
		log->format = LOG_FORMAT_TEXT;
	else if (strcmp(name, "json") == 0)
		log->format = LOG_FORMAT_JSON;
	else
		return -EINVAL;
	return 0;
}

/* Messages quote names out of images and configurations: escaped, so that no line can be forged. */
static void append_quoted(struct str *line, const char *text)
{
	str_append(line, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			str_printf(line, "\\%c", c);
		else if (c == '\n')
			str_append(line, "\\n");
		else if (c < 0x20 || c == 0x7f)
			str_printf(line, "\\u%04x", c);
		else
			str_append_bytes(line, text, 1);
	}
	str_append(line, "\"");
}

void log_print(const struct log *log, enum log_level level, const char *format, ...)
{
	cleanup_str struct str line = STR_INIT, message = STR_INIT;
	char text[ERROR_TEXT_MAX + 256], when[32];
	time_t now = time(NULL);
	struct tm tm;
	va_list args;

	if (level > log->level)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	append_quoted(&message, text);
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	if (log->format == LOG_FORMAT_JSON)
		str_printf(&line, "{\"level\":\"%s\",\"msg\":%s,\"time\":\"%s\"}\n", level_names[level],
			   str_text(&message), when);
	else
		str_printf(&line, "time=\"%s\" level=%s msg=%s\n", when, level_names[level], str_text(&message));
	if (!str_failed(&line) && !str_failed(&message))
		(void)file_write_all(log->fd, line.text, line.length);
}

void log_close(struct log *log)
{
	if (log->fd > STDERR_FILENO)
		close(log->fd);
	log->fd = STDERR_FILENO;
}
