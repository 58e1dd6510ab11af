/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarball - tar archives byte by byte, for tests that need archives which no
 * honest program would write.  See tar(5).
 */
#ifndef CAISSON_TESTS_TARBALL_H
#define CAISSON_TESTS_TARBALL_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

struct tar_entry {
	const char *name;
	char type; /* '0' file, '1' hard link, '2' symbolic link, '3' char, '4' block, '5' directory, '6' fifo */
	const char *link;
	const char *data;
	size_t size; /* of data; 0: strlen(data) */
	unsigned mode, uid, gid, major, minor;
	uint64_t mtime;
	const char *pax;   /* records that go before it: "key=value" lines separated by '\n' */
	uint64_t huge_uid; /* written in base 256 instead of uid */
};

static inline void tar_pad(struct str *tar)
{
	static const char zeros[512];

	str_append_bytes(tar, zeros, (512 - tar->length % 512) % 512);
}

/* Octal digits up to the last byte of a field, which stays NUL; what does not fit is cut. */
static inline void tar_octal(unsigned char *field, int width, uint64_t value)
{
	for (int i = width - 2; i >= 0; i--, value >>= 3)
		field[i] = (unsigned char)('0' + (value & 7));
}

static inline void tar_text(unsigned char *field, const char *text)
{
	for (int i = 0; i < 100 && text[i]; i++)
		field[i] = (unsigned char)text[i];
}

static inline void tar_header(struct str *tar, const struct tar_entry *entry, const char *name, char type, size_t size)
{
	unsigned char block[512] = { 0 };
	unsigned sum = 0;

	tar_text(block, name);
	tar_octal(block + 100, 8, entry->mode);
	tar_octal(block + 108, 8, entry->uid);
	tar_octal(block + 116, 8, entry->gid);
	tar_octal(block + 124, 12, size);
	tar_octal(block + 136, 12, entry->mtime);
	if (entry->huge_uid) {
		memset(block + 108, 0, 8);
		block[108] = 0x80;
		for (int i = 0; i < 7; i++)
			block[115 - i] = (unsigned char)(entry->huge_uid >> (8 * i));
	}
	block[156] = (unsigned char)type;
	if (entry->link)
		tar_text(block + 157, entry->link);
	memcpy(block + 257, "ustar\00000", 8);
	tar_octal(block + 329, 8, entry->major);
	tar_octal(block + 337, 8, entry->minor);
	memset(block + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += block[i];
	tar_octal(block + 148, 7, sum);
	str_append_bytes(tar, block, sizeof(block));
}

/* "LENGTH key=value\n", where LENGTH counts itself; value may hold NUL if size says so. */
static inline void tar_pax_record(struct str *records, const char *record, size_t size)
{
	size_t length = size + 3;
	char digits[24];

	for (;;) {
		size_t whole = (size_t)snprintf(digits, sizeof(digits), "%zu", length) + 1 + size + 1;

		if (whole == length)
			break;
		length = whole;
	}
	str_printf(records, "%zu ", length);
	str_append_bytes(records, record, size);
	str_append(records, "\n");
}

static inline void tar_pax(struct str *tar, const struct str *records)
{
	const struct tar_entry header = { .mode = 0644 };

	tar_header(tar, &header, "PaxHeaders/x", 'x', records->length);
	str_append_bytes(tar, str_text(records), records->length);
	tar_pad(tar);
}

/* Adds an entry; a name or link longer than the header's field goes into a pax record. */
static inline void tar_add(struct str *tar, struct tar_entry entry)
{
	cleanup_str struct str records = STR_INIT;
	size_t size = entry.size ? entry.size : entry.data ? strlen(entry.data) : 0;

	if (entry.mode == 0)
		entry.mode = entry.type == '5' ? 0755 : 0644;
	for (const char *at = entry.pax; at && *at;) {
		size_t length = strcspn(at, "\n");

		tar_pax_record(&records, at, length);
		at += length + (at[length] == '\n');
	}
	if (strlen(entry.name) > 100) {
		cleanup_str struct str record = STR_INIT;

		str_printf(&record, "path=%s", entry.name);
		tar_pax_record(&records, str_text(&record), record.length);
	}
	if (records.length)
		tar_pax(tar, &records);
	tar_header(tar, &entry, entry.name, entry.type ? entry.type : '0', size);
	if (size) {
		str_append_bytes(tar, entry.data, size);
		tar_pad(tar);
	}
}

static inline void tar_end(struct str *tar)
{
	static const char zeros[1024];

	str_append_bytes(tar, zeros, sizeof(zeros));
}

/*
 * Valgrind 3.19 does not let openat2(2) through, and most of the image rooms stand on it.  True: say so and return 77,
 * which meson counts as skipped.
 */
static inline bool no_openat2(void)
{
	int fd = file_open_in_root(AT_FDCWD, "/", O_PATH, 0);

	if (fd >= 0)
		close(fd);
	if (fd != -ENOSYS)
		return false;
	(void)fprintf(stderr, "no openat2(2) here (valgrind?): skipped\n");
	return true;
}

/* The bytes as a file to read from. */
static inline int tar_fd(const struct str *tar)
{
	int fd = memfd_create("tarball", MFD_CLOEXEC);

	if (fd < 0 || write(fd, str_text(tar), tar->length) != (ssize_t)tar->length || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	return fd;
}

#endif
