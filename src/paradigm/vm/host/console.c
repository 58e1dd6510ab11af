/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/console.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void console_open(struct console *console, int fd)
{
	console->fd = fd;
	console->written = console->total = 0;
}

/* The kept byte that came before so many others. */
static char kept_at(const struct console *console, uint64_t place)
{
	return console->kept[place % CONSOLE_KEPT];
}

static uint64_t kept_count(const struct console *console)
{
	return console->total < CONSOLE_KEPT ? console->total : CONSOLE_KEPT;
}

static void begin_file_anew(struct console *console)
{
	size_t from = console->total % CONSOLE_KEPT;

	if (ftruncate(console->fd, 0) < 0 || lseek(console->fd, 0, SEEK_SET) < 0) {
		console->fd = -1; /* not a file: it has had enough */
		return;
	}
	console->written = 0;
	if (console->total > CONSOLE_KEPT)
		(void)!write(console->fd, console->kept + from, CONSOLE_KEPT - from);
	(void)!write(console->fd, console->kept, from);
}

static void write_file(struct console *console, const char *bytes, size_t count)
{
	struct pollfd poll_fd = { .fd = console->fd, .events = POLLOUT };

	if (console->fd < 0 || poll(&poll_fd, 1, 0) <= 0)
		return;
	(void)!write(console->fd, bytes, count < 4096 ? count : 4096);
	console->written += count;
	if (console->written > CONSOLE_FILE_MAX)
		begin_file_anew(console);
}

void console_take(struct console *console, const void *bytes, size_t count)
{
	const char *from = bytes;

	while (count > 0) {
		size_t at = console->total % CONSOLE_KEPT, part = CONSOLE_KEPT - at < count ? CONSOLE_KEPT - at : count;

		part = part < 4096 ? part : 4096;
		memcpy(console->kept + at, from, part);
		console->total += part;
		write_file(console, from, part);
		from += part;
		count -= part;
	}
}

/* Whether text stands at a place of what is kept. */
static bool stands_at(const struct console *console, uint64_t place, const char *text)
{
	for (size_t i = 0; text[i]; i++) {
		if (place + i >= console->total || kept_at(console, place + i) != text[i])
			return false;
	}
	return true;
}

/* The begin of the line that holds place. */
static uint64_t line_begin(const struct console *console, uint64_t place)
{
	uint64_t first = console->total - kept_count(console);

	while (place > first && kept_at(console, place - 1) != '\n')
		place--;
	return place;
}

/* Where the last lines begin: where the kernel says that it gives up, if it does; else after a line's end, unless the
 * line is longer than all that is wanted. */
static uint64_t tail_begin(const struct console *console, size_t count)
{
	uint64_t kept = kept_count(console), first = console->total - kept;
	uint64_t begin = console->total - (kept < count ? kept : count);

	for (uint64_t i = console->total; i-- > first;) {
		if (stands_at(console, i, "Kernel panic"))
			return line_begin(console, i);
	}
	if (begin == first)
		return begin;
	for (uint64_t i = begin; i < console->total; i++) {
		if (kept_at(console, i - 1) == '\n')
			return i;
	}
	return begin;
}

void console_tail(const struct console *console, size_t count, struct str *out)
{
	size_t before = out->length;
	uint64_t begin = tail_begin(console, count);
	uint64_t end = console->total - begin < count ? console->total : begin + count;

	for (uint64_t i = begin; i < end; i++) {
		char byte = kept_at(console, i);

		if (byte != '\r' && byte != '\0')
			str_append_bytes(out, &byte, 1);
	}
	while (out->length > before && out->text[out->length - 1] == '\n')
		out->text[--out->length] = '\0';
	if (out->length > before)
		str_disarm(out->text + before);
}
