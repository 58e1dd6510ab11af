/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_read.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "engine/client.h"
#include "engine/clock.h"

enum { CHUNK = 65536, LINE_LIMIT = 1 << 20 };

/* A file of the log, line by line. */
struct reader {
	int fd;
	char *buffer; /* owned; from .. used is not handed out yet */
	size_t from, used, room;
};

int log_parse_line(const char *text, size_t length, json_t **document, struct log_line *line)
{
	const char *stream;

	*document = json_loadb(text, length, JSON_ALLOW_NUL, NULL);
	stream = document_text(*document, "stream");
	*line = (struct log_line){ .text = document_text(*document, "log"), .time = document_text(*document, "time") };
	line->length = json_string_length(document_at(*document, "log"));
	line->errors = strcmp(stream, "stderr") == 0;
	if (!json_is_object(*document) || !*stream || clock_parse(line->time, &line->when) < 0) {
		json_decref(*document);
		*document = NULL;
		return -EINVAL;
	}
	return 0;
}

/* The next whole line without its newline; NULL when there is none yet. */
static char *next_line(struct reader *reader, size_t *length)
{
	for (;;) {
		char *start = reader->buffer + reader->from;
		char *end = reader->used > reader->from ? memchr(start, '\n', reader->used - reader->from) : NULL;
		ssize_t count;

		if (end) {
			*length = (size_t)(end - start);
			reader->from += *length + 1;
			return start;
		}
		if (reader->from > 0) {
			memmove(reader->buffer, start, reader->used - reader->from);
			reader->used -= reader->from;
			reader->from = 0;
		}
		if (reader->room - reader->used < CHUNK) {
			char *grown = reader->room > LINE_LIMIT ? NULL
								: realloc(reader->buffer, reader->room + 2 * CHUNK);

			if (!grown) { /* no line is that long: it is no log */
				reader->used = 0;
				return NULL;
			}
			reader->buffer = grown;
			reader->room += 2 * CHUNK;
		}
		count = read(reader->fd, reader->buffer + reader->used, CHUNK);
		if (count <= 0)
			return NULL;
		reader->used += (size_t)count;
	}
}

static void reader_close(struct reader *reader)
{
	if (reader->fd >= 0)
		close(reader->fd);
	free(reader->buffer);
	*reader = (struct reader){ .fd = -1 };
}

static bool before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Hands out whole lines; skip of them are only counted. */
static int read_lines(struct reader *reader, const struct log_read_options *options, long *skip, long *seen)
{
	size_t length;
	int ret = 0;

	for (char *text; ret == 0 && (text = next_line(reader, &length));) {
		json_t *document;
		struct log_line line;

		if (log_parse_line(text, length, &document, &line) < 0)
			continue;
		if (!(options->has_since && before(&line.when, &options->since)) &&
		    !(options->has_until && before(&options->until, &line.when))) {
			if (seen)
				++*seen;
			else if (skip && *skip > 0)
				--*skip;
			else
				ret = options->each(options->context, &line);
		}
		json_decref(document);
	}
	return ret;
}

static int open_part(const struct instance *instance, int number)
{
	char name[32] = "container.log";

	if (number > 0)
		(void)snprintf(name, sizeof(name), "container.log.%d", number);
	return openat(instance->dir_fd, name, O_RDONLY | O_CLOEXEC);
}

static int oldest_part(const struct instance *instance)
{
	int number = 0;

	for (;;) {
		cleanup_close int fd = open_part(instance, number + 1);

		if (fd < 0)
			return number;
		number++;
	}
}

static long count_lines(const struct instance *instance, const struct log_read_options *options)
{
	long seen = 0;

	for (int number = oldest_part(instance); number >= 0; number--) {
		struct reader reader = { .fd = open_part(instance, number) };

		if (reader.fd >= 0)
			(void)read_lines(&reader, options, NULL, &seen);
		reader_close(&reader);
	}
	return seen;
}

/* Whether the log goes on in another file now: it was rotated away under us, or cut. */
static bool rotated(const struct instance *instance, const struct reader *reader)
{
	struct stat open_file, named;

	if (fstat(reader->fd, &open_file) < 0 || fstatat(instance->dir_fd, "container.log", &named, 0) < 0)
		return false;
	return open_file.st_ino != named.st_ino || open_file.st_size < lseek(reader->fd, 0, SEEK_CUR);
}

static int follow(struct instance *instance, struct reader *reader, const struct log_read_options *options, int client)
{
	cleanup_close int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	cleanup_free char *directory = instance_path(instance, "");
	bool ended = client < 0;
	struct monitor_exit status;
	int ret = 0;

	if (watch < 0 || !directory || inotify_add_watch(watch, directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
		return -errno;
	for (;;) {
		struct pollfd fds[] = { { .fd = watch, .events = POLLIN }, { .fd = client, .events = POLLIN } };
		char events[4096];

		ret = read_lines(reader, options, NULL, NULL);
		if (ret == 0 && rotated(instance, reader)) {
			reader_close(reader);
			reader->fd = open_part(instance, 0);
			continue;
		}
		if (ret != 0 || ended)
			return ret;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[0].revents)
			(void)!read(watch, events, sizeof(events));
		if (fds[1].revents)
			ended = client_wait(client, 0, &status) != 0;
	}
}

int log_read(struct instance *instance, const struct log_read_options *options, struct error *err)
{
	/* Connected before the log is read: no end is missed in between. */
	cleanup_close int client = options->follow ? client_connect(instance, 0, NULL) : -1;
	long skip = 0;
	int ret = 0;

	if (strcmp(document_text(instance->record, "HostConfig.LogConfig.Type"), "none") == 0)
		return error_set(err, ENOTSUP, "configured logging driver does not support reading: it is \"none\"");
	if (options->tail >= 0) {
		skip = count_lines(instance, options) - options->tail;
		skip = skip > 0 ? skip : 0;
	}
	for (int number = oldest_part(instance); ret == 0 && number >= 0; number--) {
		struct reader reader = { .fd = open_part(instance, number) };

		if (reader.fd >= 0)
			ret = read_lines(&reader, options, &skip, NULL);
		if (ret == 0 && number == 0 && options->follow && reader.fd >= 0)
			ret = follow(instance, &reader, options, client);
		reader_close(&reader);
	}
	return ret < 0 ? error_errno(err, -ret, "cannot read the log of container %s", instance_name(instance)) : ret;
}
