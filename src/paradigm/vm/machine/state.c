/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/machine/state.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* A section: length of the name (u32), name, version (u32), length of the bytes (u64), bytes. */
enum { SECTION_NAME_MAX = 64 };

void state_begin(struct state_writer *writer, const char *name, uint32_t version)
{
	uint64_t length = 0; /* state_end() knows */
	size_t size = strlen(name);

	state_put_u32(writer, (uint32_t)size);
	state_put(writer, name, size);
	state_put_u32(writer, version);
	writer->section = writer->out.length;
	state_put(writer, &length, sizeof(length));
}

void state_end(struct state_writer *writer)
{
	uint64_t length;

	if (str_failed(&writer->out))
		return;
	length = htole64(writer->out.length - writer->section - sizeof(length));
	memcpy(writer->out.text + writer->section, &length, sizeof(length));
}

void state_put(struct state_writer *writer, const void *bytes, size_t count)
{
	str_append_bytes(&writer->out, bytes, count);
}

void state_put_u64(struct state_writer *writer, uint64_t value)
{
	value = htole64(value);
	state_put(writer, &value, sizeof(value));
}

void state_put_u32(struct state_writer *writer, uint32_t value)
{
	value = htole32(value);
	state_put(writer, &value, sizeof(value));
}

void state_reader_init(struct state_reader *reader, const void *bytes, size_t count)
{
	const uint8_t *first = bytes;

	/* Outside of sections there is nothing to be read. */
	*reader = (struct state_reader){ .at = first, .end = first, .next = first, .limit = first + count };
}

/* Into the next section, whatever it is; its version, or 0: there is no whole one. */
static uint32_t enter_any(struct state_reader *reader, char found[static SECTION_NAME_MAX + 1])
{
	uint32_t size, written;
	uint64_t length;

	memset(found, 0, SECTION_NAME_MAX + 1);
	reader->failed = false;
	reader->at = reader->next;
	reader->end = reader->limit;
	size = state_get_u32(reader);
	if (size > SECTION_NAME_MAX)
		reader->failed = true;
	(void)state_get(reader, found, reader->failed ? 0 : size);
	written = state_get_u32(reader);
	length = state_get_u64(reader);
	if (reader->failed || written == 0 || length > (uint64_t)(reader->end - reader->at)) {
		reader->end = reader->at = reader->next;
		reader->failed = true;
		return 0;
	}
	reader->end = reader->next = reader->at + length;
	if (strlen(found) != size)
		found[0] = '\0';
	return written;
}

static int check_version(const char *name, uint32_t written, uint32_t version, struct error *err)
{
	if (written > version)
		return error_set(err, EINVAL,
				 "the snapshot's state of %s is of version %u, and this program knows up to %u", name,
				 written, version);
	return (int)written;
}

static int end_early(const char *name, struct error *err)
{
	return error_set(err, EINVAL, "the snapshot ends where the state of %s should be", name);
}

int state_enter(struct state_reader *reader, const char *name, uint32_t version, struct error *err)
{
	char found[SECTION_NAME_MAX + 1];
	uint32_t written = enter_any(reader, found);

	if (written == 0)
		return end_early(name, err);
	if (strcmp(found, name) != 0)
		return error_set(err, EINVAL, "the snapshot has the state of %s where that of %s should be", found,
				 name);
	return check_version(name, written, version, err);
}

int state_find(struct state_reader *reader, const char *name, uint32_t version, struct error *err)
{
	char found[SECTION_NAME_MAX + 1];
	uint32_t written;

	do {
		written = enter_any(reader, found);
		if (written == 0)
			return end_early(name, err);
	} while (strcmp(found, name) != 0);
	return check_version(name, written, version, err);
}

int state_leave(struct state_reader *reader, struct error *err)
{
	if (reader->failed)
		return error_set(err, EINVAL, "the snapshot's state is cut short");
	if (reader->at != reader->end)
		return error_set(err, EINVAL, "the snapshot's state has %td bytes too many", reader->end - reader->at);
	return 0;
}

bool state_get(struct state_reader *reader, void *bytes, size_t count)
{
	if (reader->failed || count > (size_t)(reader->end - reader->at)) {
		reader->failed = true;
		memset(bytes, 0, count);
		return false;
	}
	memcpy(bytes, reader->at, count);
	reader->at += count;
	return true;
}

uint64_t state_get_u64(struct state_reader *reader)
{
	uint64_t value;

	(void)state_get(reader, &value, sizeof(value));
	return le64toh(value);
}

uint32_t state_get_u32(struct state_reader *reader)
{
	uint32_t value;

	(void)state_get(reader, &value, sizeof(value));
	return le32toh(value);
}
