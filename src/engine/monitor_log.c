/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/monitor_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"

static const char log_name[] = "container.log";

enum {
	OVERHEAD = 128,	 /* of a line beside its text */
	ESCAPED_MAX = 6, /* "\u0000" */
	NAME_ROOM = sizeof(log_name) + 12,
};

static void open_file(struct monitor_log *log, int flags)
{
	struct stat st;

	log->fd = openat(log->dir, log_name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0640);
	log->written = log->fd >= 0 && fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void monitor_log_open(struct monitor_log *log, int dir, uint64_t max_size, uint32_t max_files)
{
	log->dir = dir;
	log->max_size = max_size;
	log->max_files = max_files;
	open_file(log, 0);
}

/* "container.log.N" */
static void numbered(char name[static NAME_ROOM], uint32_t number)
{
	char digits[12], *at = digits + sizeof(digits) - 1;
	size_t length = sizeof(log_name) - 1;

	memcpy(name, log_name, length);
	name[length++] = '.';
	*at = '\0';
	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	memcpy(name + length, at, strlen(at) + 1);
}

static void rotate(struct monitor_log *log)
{
	char older[NAME_ROOM], newer[NAME_ROOM];

	if (log->max_files > 1) {
		for (uint32_t i = log->max_files - 1; i > 1; i--) {
			numbered(older, i);
			numbered(newer, i - 1);
			(void)renameat(log->dir, newer, log->dir, older);
		}
		numbered(newer, 1);
		(void)renameat(log->dir, log_name, log->dir, newer);
	}
	if (log->fd >= 0)
		close(log->fd);
	open_file(log, O_TRUNC);
}

static void flush(struct monitor_log *log)
{
	size_t done = 0;

	while (log->fd >= 0 && done < log->batch_used) {
		ssize_t count = write(log->fd, log->batch + done, log->batch_used - done);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		done += (size_t)count;
	}
	log->written += done;
	log->batch_used = 0;
	if (log->max_size && log->written >= log->max_size)
		rotate(log);
}

static char *put_text(char *at, const char *text)
{
	size_t length = strlen(text);

	memcpy(at, text, length);
	return at + length;
}

/* Bytes of the well-formed UTF-8 sequence at text, 0 if it is none (overlong, surrogate, beyond U+10FFFF, cut). */
static size_t sequence_length(const unsigned char *text, size_t left)
{
	unsigned char first = text[0], low = 0x80, high = 0xbf;
	size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;

	if (length == 0 || length > left)
		return 0;
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

static char *put_escape(char *at, unsigned char c)
{
	static const char hex[] = "0123456789abcdef", short_names[] = "\"\"\\\\n\nr\rt\t";

	*at++ = '\\';
	for (size_t i = 0; i + 1 < sizeof(short_names); i += 2) {
		if ((unsigned char)short_names[i + 1] == c) {
			*at++ = short_names[i];
			return at;
		}
	}
	at = put_text(at, "u00");
	*at++ = hex[c >> 4];
	*at++ = hex[c & 15];
	return at;
}

/* One character, escaped where it must be; *used gets how many bytes it took. */
static char *put_character(char *at, const unsigned char *text, size_t left, size_t *used)
{
	unsigned char c = *text;

	*used = 1;
	if (c == '"' || c == '\\' || c < 0x20 || c == 0x7f || c == '<' || c == '>' || c == '&')
		return put_escape(at, c);
	if (c < 0x80) {
		*at++ = (char)c;
		return at;
	}
	*used = sequence_length(text, left);
	if (*used == 0) {
		*used = 1;
		return put_text(at, "\\ufffd");
	}
	memcpy(at, text, *used);
	return at + *used;
}

/* One object into the batch; the text is at most MONITOR_LINE_MAX bytes and may take several times that. */
static void encode(struct monitor_log *log, int stream, const char *text, size_t length, bool newline)
{
	static const char *const streams[] = { "stdout", "stderr" };
	char when[CLOCK_TEXT_MAX], *at;

	if (log->batch_used + OVERHEAD + ESCAPED_MAX > LOG_BATCH_MAX)
		flush(log);
	at = put_text(log->batch + log->batch_used, "{\"log\":\"");
	for (size_t i = 0, used; i < length; i += used) {
		/* Only a line of control characters is longer than the batch: it goes out in parts. */
		if (at + OVERHEAD + ESCAPED_MAX > log->batch + LOG_BATCH_MAX) {
			uint64_t limit = log->max_size;

			log->max_size = 0; /* no rotation within a line */
			log->batch_used = (size_t)(at - log->batch);
			flush(log);
			log->max_size = limit;
			at = log->batch;
		}
		at = put_character(at, (const unsigned char *)text + i, length - i, &used);
	}
	clock_now(when);
	at = put_text(at, newline ? "\\n\",\"stream\":\"" : "\",\"stream\":\"");
	at = put_text(at, streams[stream]);
	at = put_text(at, "\",\"time\":\"");
	at = put_text(at, when);
	at = put_text(at, "\"}\n");
	log->batch_used = (size_t)(at - log->batch);
	if (log->max_size && log->written + log->batch_used >= log->max_size)
		flush(log);
}

/* How much of a full line can be written without cutting a character in two. */
static size_t cut_at_character(const char *line, size_t length)
{
	for (size_t back = 1; back <= 3 && back < length; back++) {
		unsigned char c = (unsigned char)line[length - back];

		if (c >= 0xc0)
			return sequence_length((const unsigned char *)line + length - back, back) ? length
												  : length - back;
		if (c < 0x80)
			break;
	}
	return length;
}

void monitor_log_write(struct monitor_log *log, int stream, const char *bytes, size_t count)
{
	char *line = log->line[stream];
	size_t *used = &log->line_used[stream];

	while (count > 0) {
		const char *end = memchr(bytes, '\n', count);
		size_t part = end ? (size_t)(end - bytes) : count, room = MONITOR_LINE_MAX - *used;

		if (end && *used == 0 && part <= MONITOR_LINE_MAX) {
			encode(log, stream, bytes, part, true);
			bytes += part + 1;
			count -= part + 1;
			continue;
		}
		end = part > room ? NULL : end;
		part = part > room ? room : part;
		memcpy(line + *used, bytes, part);
		*used += part;
		bytes += part;
		count -= part;
		if (end) {
			encode(log, stream, line, *used, true);
			*used = 0;
			bytes++;
			count--;
		} else if (*used == MONITOR_LINE_MAX) {
			size_t cut = cut_at_character(line, *used);

			encode(log, stream, line, cut, false);
			memmove(line, line + cut, *used - cut);
			*used -= cut;
		}
	}
	flush(log);
}

void monitor_log_close(struct monitor_log *log)
{
	for (int stream = 0; stream < LOG_STREAMS; stream++) {
		if (log->line_used[stream])
			encode(log, stream, log->line[stream], log->line_used[stream], false);
		log->line_used[stream] = 0;
	}
	flush(log);
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}
