/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/machine/aml.h"

#include <string.h>

enum {
	ZERO_OP = 0x00,
	ONE_OP = 0x01,
	NAME_OP = 0x08,
	BYTE_PREFIX = 0x0a,
	WORD_PREFIX = 0x0b,
	DWORD_PREFIX = 0x0c,
	STRING_PREFIX = 0x0d,
	QWORD_PREFIX = 0x0e,
	SCOPE_OP = 0x10,
	BUFFER_OP = 0x11,
	PACKAGE_OP = 0x12,
	EXT_PREFIX = 0x5b,
	DEVICE_OP = 0x82,
};

static void put(struct str *out, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++) {
		uint8_t byte = (uint8_t)(value >> 8 * i);

		str_append_bytes(out, &byte, 1);
	}
}

/* The length is not known yet: as long as it is the shortest form of it has one byte. */
static aml_place begin(struct str *out)
{
	put(out, 0, 1);
	return out->length - 1;
}

aml_place aml_begin_scope(struct str *out, const char *name)
{
	aml_place place;

	put(out, SCOPE_OP, 1);
	place = begin(out);
	str_append(out, name);
	return place;
}

aml_place aml_begin_device(struct str *out, const char *name)
{
	aml_place place;

	put(out, EXT_PREFIX, 1);
	put(out, DEVICE_OP, 1);
	place = begin(out);
	str_append(out, name);
	return place;
}

aml_place aml_begin_package(struct str *out, uint8_t elements)
{
	aml_place place;

	put(out, PACKAGE_OP, 1);
	place = begin(out);
	put(out, elements, 1);
	return place;
}

/* 20.2.4: a length counts itself; one byte up to 63, else four bits in the first and eight in each further one. */
void aml_end(struct str *out, aml_place place)
{
	size_t content, total;
	unsigned more = 0;
	uint8_t *at;

	if (out->failed)
		return;
	content = out->length - place - 1;
	total = content + 1;
	if (total > 63)
		for (more = 1, total++; total >= (size_t)1 << (4 + 8 * more); more++)
			total++;
	if (more > 0 && !str_extend(out, more))
		return;
	at = (uint8_t *)out->text + place;
	memmove(at + 1 + more, at + 1, content);
	at[0] = (uint8_t)(more ? more << 6 | (total & 0xf) : total);
	for (unsigned i = 0; i < more; i++)
		at[1 + i] = (uint8_t)(total >> (4 + 8 * i));
}

void aml_name(struct str *out, const char *name)
{
	put(out, NAME_OP, 1);
	str_append(out, name);
}

void aml_integer(struct str *out, uint64_t value)
{
	if (value <= 1) {
		put(out, value ? ONE_OP : ZERO_OP, 1);
	} else if (value <= UINT8_MAX) {
		put(out, BYTE_PREFIX, 1);
		put(out, value, 1);
	} else if (value <= UINT16_MAX) {
		put(out, WORD_PREFIX, 1);
		put(out, value, 2);
	} else if (value <= UINT32_MAX) {
		put(out, DWORD_PREFIX, 1);
		put(out, value, 4);
	} else {
		put(out, QWORD_PREFIX, 1);
		put(out, value, 8);
	}
}

void aml_string(struct str *out, const char *text)
{
	put(out, STRING_PREFIX, 1);
	str_append_bytes(out, text, strlen(text) + 1);
}

static unsigned hex(char digit)
{
	return (unsigned)(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

/* 19.3.4: three letters of five bits, four hexadecimal digits, most significant byte first. */
void aml_eisa_id(struct str *out, const char *id)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 3; i++)
		value = value << 5 | ((uint32_t)(id[i] - '@') & 0x1f);
	for (unsigned i = 3; i < 7; i++)
		value = value << 4 | hex(id[i]);
	put(out, DWORD_PREFIX, 1);
	put(out, __builtin_bswap32(value), 4);
}

/* ---- resources: 6.4.2 and 6.4.3 ---- */

void aml_memory(struct aml_resources *resources, uint32_t base, uint32_t size)
{
	put(&resources->bytes, 0x86, 1); /* 32-bit fixed memory range */
	put(&resources->bytes, 9, 2);
	put(&resources->bytes, 1, 1); /* read and write */
	put(&resources->bytes, base, 4);
	put(&resources->bytes, size, 4);
}

void aml_ports(struct aml_resources *resources, uint16_t base, uint8_t size)
{
	put(&resources->bytes, 0x47, 1); /* I/O ports */
	put(&resources->bytes, 1, 1);	 /* all 16 address lines count */
	put(&resources->bytes, base, 2);
	put(&resources->bytes, base, 2);
	put(&resources->bytes, 1, 1);
	put(&resources->bytes, size, 1);
}

void aml_irq(struct aml_resources *resources, unsigned line)
{
	put(&resources->bytes, 0x22, 1); /* IRQ, without flags */
	put(&resources->bytes, UINT64_C(1) << line, 2);
}

void aml_interrupt(struct aml_resources *resources, uint32_t line, bool shared)
{
	enum { CONSUMER = 1, EDGE = 2, SHARED = 8 };

	put(&resources->bytes, 0x89, 1); /* extended interrupt */
	put(&resources->bytes, 6, 2);
	put(&resources->bytes, CONSUMER | EDGE | (shared ? SHARED : 0), 1);
	put(&resources->bytes, 1, 1);
	put(&resources->bytes, line, 4);
}

/* Address space descriptors, with numbers of 2 or 4 bytes: granularity, first, last, translation, length. */
static void window(struct aml_resources *resources, uint8_t kind, uint8_t type, uint8_t flags, unsigned size,
		   uint32_t first, uint32_t last)
{
	enum { FIXED = 0x0c }; /* minimum and maximum */

	put(&resources->bytes, kind, 1);
	put(&resources->bytes, 3 + 5 * size, 2);
	put(&resources->bytes, type, 1);
	put(&resources->bytes, FIXED, 1);
	put(&resources->bytes, flags, 1);
	put(&resources->bytes, 0, size);
	put(&resources->bytes, first, size);
	put(&resources->bytes, last, size);
	put(&resources->bytes, 0, size);
	put(&resources->bytes, last - first + UINT64_C(1), size);
}

void aml_bus_window(struct aml_resources *resources, uint16_t first, uint16_t last)
{
	window(resources, 0x88, 2, 0, 2, first, last);
}

void aml_port_window(struct aml_resources *resources, uint16_t first, uint16_t last)
{
	window(resources, 0x88, 1, 3, 2, first, last); /* the whole range */
}

void aml_memory_window(struct aml_resources *resources, uint32_t first, uint32_t last)
{
	window(resources, 0x87, 0, 1, 4, first, last); /* uncached, writable */
}

void aml_resources(struct str *out, struct aml_resources *resources)
{
	struct str size = STR_INIT;
	aml_place place;

	put(&resources->bytes, 0x79, 1); /* the end, without a sum */
	put(&resources->bytes, 0, 1);
	aml_name(out, "_CRS");
	put(out, BUFFER_OP, 1);
	place = begin(out);
	aml_integer(&size, resources->bytes.length);
	str_append_bytes(out, size.text ? size.text : "", size.length);
	str_append_bytes(out, resources->bytes.text ? resources->bytes.text : "", resources->bytes.length);
	out->failed = out->failed || size.failed || resources->bytes.failed;
	aml_end(out, place);
	str_free(&size);
	str_free(&resources->bytes);
}
