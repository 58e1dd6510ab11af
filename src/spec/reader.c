/* SPDX-License-Identifier: Apache-2.0 */
#include "spec/reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/runtime.h"

const struct spec_range spec_range_id = { 0, UINT32_MAX - 1 };
const struct spec_range spec_range_u16 = { 0, UINT16_MAX };
const struct spec_range spec_range_major = { 0, (1U << 12) - 1 };
const struct spec_range spec_range_minor = { 0, (1U << 20) - 1 };
const struct spec_range spec_range_u32 = { 0, UINT32_MAX };
const struct spec_range spec_range_amount = { -1, INT64_MAX };

/* What every list looks like in memory, whatever its elements are. */
struct list_target {
	size_t count;
	void *items;
};

/* Written from the back: places are linked from the inside out.  What does not fit loses its beginning. */
static const char *place_text(const struct spec_place *place, char *buffer, size_t size)
{
	char *at = buffer + size - 1;

	*at = '\0';
	for (; place; place = place->outer) {
		char part[256];
		int length = place->name ? snprintf(part, sizeof(part), "%s%s", place->outer && *place->name ? "." : "",
						    place->name)
					 : snprintf(part, sizeof(part), "[%zu]", place->index);

		if (length < 0)
			break;
		if (length >= (int)sizeof(part))
			length = (int)sizeof(part) - 1;
		if (length > at - buffer)
			break;
		at -= length;
		memcpy(at, part, (size_t)length);
	}
	return at;
}

static int fail(struct reader *reader, const struct spec_place *place, const char *format, va_list args)
{
	char where[512], what[512];
	const char *text = place_text(place, where, sizeof(where));

	(void)vsnprintf(what, sizeof(what), format, args);
	return error_set(reader->err, EINVAL, "%s%s%s", text, *text ? ": " : "", what);
}

int spec_fail(struct reader *reader, const char *format, ...)
{
	va_list args;
	int ret;

	va_start(args, format);
	ret = fail(reader, reader->place, format, args);
	va_end(args);
	return ret;
}

int spec_fail_at(struct reader *reader, const char *name, const char *format, ...)
{
	struct spec_place place = { .outer = reader->place, .name = name };
	va_list args;
	int ret;

	va_start(args, format);
	ret = fail(reader, &place, format, args);
	va_end(args);
	return ret;
}

int spec_fail_type(struct reader *reader, const char *expected, const struct json_value *value)
{
	return spec_fail(reader, "expected %s, got %s", expected, json_kind_name(value->kind));
}

int spec_no_memory(struct reader *reader)
{
	return error_errno(reader->err, ENOMEM, "read the configuration");
}

int spec_read_bool(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	(void)how;
	if (value->kind != JSON_KIND_BOOL)
		return spec_fail_type(reader, "a boolean", value);
	*(bool *)target = value->truth;
	return 0;
}

int spec_read_opt_bool(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_bool *result = target;

	result->set = true;
	return spec_read_bool(reader, value, &result->value, how);
}

int spec_read_text(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	(void)how;
	if (value->kind != JSON_KIND_STRING)
		return spec_fail_type(reader, "a string", value);
	*(const char **)target = value->text;
	return 0;
}

int spec_read_text_or_null(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_text(reader, value, target, how);

	if (ret == 0 && value->count == 0)
		*(const char **)target = NULL;
	return ret;
}

int spec_read_name(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_text(reader, value, target, how);

	return ret == 0 && value->count == 0 ? spec_fail(reader, "must not be empty") : ret;
}

int spec_read_path(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_text_or_null(reader, value, target, how);

	if (ret == 0 && value->count && *value->text != '/')
		return spec_fail(reader, "must be an absolute path, not \"%s\"", value->text);
	return ret;
}

bool spec_word_in(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

int spec_read_word(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	const struct spec_words *words = how;
	int ret = spec_read_text_or_null(reader, value, target, NULL);

	if (ret == 0 && value->count && !spec_word_in(value->text, words->words))
		return spec_fail(reader, "%s%s%s", words->before, value->text, words->after);
	return ret;
}

int spec_read_known_word(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_word(reader, value, target, how);
	const struct spec_words *words = how;

	return ret == 0 && value->count == 0 ? spec_fail(reader, "%s%s", words->before, words->after) : ret;
}

/* Checks that value is an integer from low to high; gives it as the 64 bits of its two's complement. */
static int read_integer(struct reader *reader, const struct json_value *value, const struct spec_range *range,
			uint64_t *result)
{
	bool small, large;

	if (value->kind == JSON_KIND_NUMBER)
		return spec_fail(reader, "expected an integer, got %s", value->text);
	if (value->kind != JSON_KIND_INTEGER)
		return spec_fail_type(reader, "an integer", value);
	small = value->truth ? range->low >= 0 || value->magnitude > 0 - (uint64_t)range->low
			     : range->low > 0 && value->magnitude < (uint64_t)range->low;
	large = !value->truth && value->magnitude > range->high;
	if (small || large)
		return spec_fail(reader, "%s%ju is out of range (%jd to %ju)", value->truth ? "-" : "",
				 (uintmax_t)value->magnitude, (intmax_t)range->low, (uintmax_t)range->high);
	*result = value->truth ? 0 - value->magnitude : value->magnitude;
	return 0;
}

int spec_read_u32(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	uint64_t number = 0;
	int ret = read_integer(reader, value, how ? how : &spec_range_u32, &number);

	if (ret == 0)
		*(uint32_t *)target = (uint32_t)number;
	return ret;
}

int spec_read_i32(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	static const struct spec_range all = { INT32_MIN, INT32_MAX };
	uint64_t number = 0;
	int ret = read_integer(reader, value, how ? how : &all, &number);

	if (ret == 0)
		*(int32_t *)target = (int32_t)(int64_t)number;
	return ret;
}

int spec_read_u64(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	static const struct spec_range all = { 0, UINT64_MAX };

	return read_integer(reader, value, how ? how : &all, target);
}

int spec_read_i64(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	static const struct spec_range all = { INT64_MIN, INT64_MAX };
	uint64_t number = 0;
	int ret = read_integer(reader, value, how ? how : &all, &number);

	if (ret == 0)
		*(int64_t *)target = (int64_t)number;
	return ret;
}

int spec_read_opt_u64(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_u64 *result = target;

	result->set = true;
	return spec_read_u64(reader, value, &result->value, how);
}

int spec_read_opt_i64(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_i64 *result = target;

	result->set = true;
	return spec_read_i64(reader, value, &result->value, how);
}

static int read_member(struct reader *reader, const struct json_value *member, void *target,
		       const struct spec_object *object, uint64_t *seen)
{
	const struct spec_place *outer = reader->place;
	struct spec_place place = { .outer = outer, .name = member->name };
	size_t i = 0;
	int ret;

	while (i < object->count && strcmp(object->fields[i].name, member->name) != 0)
		i++;
	if (i == object->count)
		return 0;
	reader->place = &place;
	if (*seen & UINT64_C(1) << i)
		ret = spec_fail(reader, "is there twice");
	else if (member->kind == JSON_KIND_NULL)
		ret = 0;
	else
		ret = object->fields[i].read(reader, member, (char *)target + object->fields[i].offset,
					     object->fields[i].how);
	if (member->kind != JSON_KIND_NULL) /* null is "not there", also for what is required */
		*seen |= UINT64_C(1) << i;
	reader->place = outer;
	return ret;
}

int spec_read_object(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	const struct spec_object *object = how;
	uint64_t seen = 0;

	if (value->kind != JSON_KIND_OBJECT)
		return spec_fail_type(reader, "an object", value);
	if (object->set)
		*(bool *)target = true;
	for (const struct json_value *member = value->first; member; member = member->next) {
		int ret = read_member(reader, member, target, object, &seen);

		if (ret < 0)
			return ret;
	}
	for (size_t i = 0; i < object->count; i++)
		if (object->fields[i].required && !(seen & UINT64_C(1) << i))
			return spec_fail_at(reader, object->fields[i].name, "is required");
	return object->check ? object->check(reader, target) : 0;
}

static int compare_names(const void *left, const void *right)
{
	const struct json_value *const *a = left, *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

/* Names that are data: none empty, none twice.  Sorted, so that a hostile document costs no quadratic time. */
static int check_keys(struct reader *reader, const struct json_value *value)
{
	const struct json_value **members, *member = value->first;

	if (value->count == 0)
		return 0;
	members = arena_alloc(reader->arena, value->count, sizeof(*members));
	if (!members)
		return spec_no_memory(reader);
	for (size_t i = 0; member; member = member->next)
		members[i++] = member;
	qsort(members, value->count, sizeof(*members), compare_names);
	if (!*members[0]->name)
		return spec_fail(reader, "a key must not be empty");
	for (size_t i = 1; i < value->count; i++)
		if (strcmp(members[i - 1]->name, members[i]->name) == 0)
			return spec_fail_at(reader, members[i]->name, "is there twice");
	return 0;
}

static int read_elements(struct reader *reader, const struct json_value *value, struct list_target *target,
			 const struct spec_list *list, bool keyed)
{
	const struct spec_place *outer = reader->place;
	struct spec_place place = { .outer = outer };
	const struct json_value *element = value->first;
	int ret = 0;

	if (list->max && value->count > list->max)
		return spec_fail(reader, "has %u entries, more than %zu", value->count, list->max);
	target->count = value->count;
	if (value->count == 0)
		return 0;
	target->items = arena_alloc(reader->arena, value->count, list->size);
	if (!target->items)
		return spec_no_memory(reader);
	reader->place = &place;
	for (char *item = target->items; ret == 0 && element; item += list->size, element = element->next) {
		place.name = element->name;
		ret = list->read(reader, element, item, list->how);
		if (keyed)
			memcpy(item + list->key_offset, &element->name, sizeof(element->name));
		place.index++;
	}
	reader->place = outer;
	return ret;
}

/* The items' pointer has a type of its own in each struct, so it is moved as bytes. */
static void put_list(void *target, const struct list_target *list)
{
	memcpy(target, list, sizeof(*list));
}

int spec_read_list(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct list_target list = { .count = 0 };
	int ret;

	if (value->kind != JSON_KIND_ARRAY)
		return spec_fail_type(reader, "an array", value);
	ret = read_elements(reader, value, &list, how, false);
	if (ret == 0)
		put_list(target, &list);
	return ret;
}

int spec_read_map(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct list_target list = { .count = 0 };
	int ret;

	if (value->kind != JSON_KIND_OBJECT)
		return spec_fail_type(reader, "an object", value);
	ret = check_keys(reader, value);
	if (ret == 0)
		ret = read_elements(reader, value, &list, how, true);
	if (ret == 0)
		put_list(target, &list);
	return ret;
}

static int read_string_list(struct reader *reader, const struct json_value *value, struct oci_strings *strings,
			    spec_read *read, const void *how)
{
	const struct spec_place *outer = reader->place;
	struct spec_place place = { .outer = outer };
	const struct json_value *element = value->first;
	int ret = 0;

	if (value->kind != JSON_KIND_ARRAY)
		return spec_fail_type(reader, "an array", value);
	strings->items = arena_alloc(reader->arena, value->count + 1, sizeof(*strings->items));
	if (!strings->items)
		return spec_no_memory(reader);
	strings->count = value->count;
	reader->place = &place;
	for (; ret == 0 && element; element = element->next, place.index++)
		ret = read(reader, element, &strings->items[place.index], how);
	reader->place = outer;
	return ret;
}

int spec_read_strings(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	return read_string_list(reader, value, target, how ? spec_read_known_word : spec_read_text, how);
}

static int read_strict_path(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_path(reader, value, target, how);

	return ret == 0 && value->count == 0 ? spec_fail(reader, "must not be empty") : ret;
}

int spec_read_paths(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	return read_string_list(reader, value, target, read_strict_path, how);
}

static int read_pair_value(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_pair *pair = target;

	return spec_read_text(reader, value, &pair->value, how);
}

int spec_read_pairs(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	static const struct spec_list pairs = {
		.size = sizeof(struct oci_pair),
		.read = read_pair_value,
		.key_offset = offsetof(struct oci_pair, key),
	};

	(void)how;
	return spec_read_map(reader, value, target, &pairs);
}

/* One number, or "low-high"; NULL if it is neither, else what follows. */
static const char *skip_range(const char *text)
{
	unsigned long low, high;
	char *end;

	if (*text < '0' || *text > '9')
		return NULL;
	low = high = strtoul(text, &end, 10);
	if (*end == '-') {
		if (end[1] < '0' || end[1] > '9')
			return NULL;
		high = strtoul(end + 1, &end, 10);
	}
	return low <= high && high <= INT32_MAX ? end : NULL;
}

bool spec_is_number_list(const char *text)
{
	do {
		text += strspn(text, " ");
		text = skip_range(text);
		if (!text)
			return false;
		text += strspn(text, " ");
	} while (*text++ == ',');
	return text[-1] == '\0';
}
