/* SPDX-License-Identifier: Apache-2.0 */
/* One table per struct says how it is written and how it is read. */
#include "paradigm/vm/config.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

enum { FD_MAX = 1 << 20 };

enum type {
	TYPE_BOOL,
	TYPE_FD, /* an int, -1: none */
	TYPE_U32,
	TYPE_I32,
	TYPE_U64,
	TYPE_TEXT, /* NULL: left out */
	TYPE_WORD, /* an enum; how is a list of words that ends with NULL */
	TYPE_LIST, /* how is a struct list */
};

struct field {
	const char *name;
	size_t offset;
	enum type type;
	const void *how;
};

/* An array inside a struct, and how much of it is in use. */
struct list {
	size_t count_offset, item_size, max;
	const void *empty; /* what an item is before it is read */
	const struct field *fields;
};

#define FIELD(struct_type, member, type)                        \
	{                                                       \
#member, offsetof(struct_type, member), type, 0 \
	}
#define FIELD_HOW(struct_type, member, type, how)                 \
	{                                                         \
#member, offsetof(struct_type, member), type, how \
	}
#define END                   \
	{                     \
		NULL, 0, 0, 0 \
	}

static const char *const engines[] = { "kvm", "qemu", NULL };
static const char *const kinds[] = { "pv", "vm", NULL };

/* The type of one element of a disk's chain, which has no name of its own. */
struct chain_item {
	int fd;
	const char *format;
};
_Static_assert(sizeof(struct chain_item) == sizeof(((struct vm_disk *)0)->chain[0]), "as config.h has it");

static const struct field chain_fields[] = {
	FIELD(struct chain_item, fd, TYPE_FD),
	FIELD(struct chain_item, format, TYPE_TEXT),
	END,
};
static const struct list chain = {
	.count_offset = offsetof(struct vm_disk, chain_count) - offsetof(struct vm_disk, chain),
	.item_size = sizeof(struct chain_item),
	.max = VM_CHAIN_MAX,
	.empty = &(const struct chain_item){ .fd = -1 },
	.fields = chain_fields,
};

static const struct field disk_fields[] = {
	FIELD_HOW(struct vm_disk, chain, TYPE_LIST, &chain),
	FIELD(struct vm_disk, read_only, TYPE_BOOL),
	END,
};
static const struct field number_fields[] = {
	/* a list of numbers: its items have no names */
	{ NULL, 0, TYPE_I32, NULL },
};
static const struct list taps = {
	.count_offset = offsetof(struct vm_net, taps_count) - offsetof(struct vm_net, taps),
	.item_size = sizeof(int32_t),
	.max = VM_QUEUES_MAX,
	.empty = &(const int32_t){ -1 },
	.fields = number_fields,
};
static const struct list vhosts = {
	.count_offset = offsetof(struct vm_net, vhosts_count) - offsetof(struct vm_net, vhosts),
	.item_size = sizeof(int32_t),
	.max = VM_QUEUES_MAX,
	.empty = &(const int32_t){ -1 },
	.fields = number_fields,
};
static const struct field net_fields[] = {
	FIELD_HOW(struct vm_net, taps, TYPE_LIST, &taps),
	FIELD_HOW(struct vm_net, vhosts, TYPE_LIST, &vhosts),
	FIELD(struct vm_net, mac, TYPE_TEXT),
	END,
};
static const struct field device_fields[] = {
	FIELD(struct vm_device, fd, TYPE_FD),
	FIELD(struct vm_device, address, TYPE_TEXT),
	END,
};
static const struct field share_fields[] = {
	FIELD(struct vm_share, fd, TYPE_FD),
	FIELD(struct vm_share, tag, TYPE_TEXT),
	FIELD(struct vm_share, read_only, TYPE_BOOL),
	FIELD(struct vm_share, mount, TYPE_U32),
	END,
};
static const struct field file_fields[] = {
	FIELD(struct vm_file, fd, TYPE_FD),
	FIELD(struct vm_file, mount, TYPE_U32),
	END,
};

/* Where a list's count is, seen from its array. */
#define COUNT_AFTER(array) (offsetof(struct vm_config, array##_count) - offsetof(struct vm_config, array))
#define LIST(array, max_items, empty_item, item_fields)                                                           \
	{                                                                                                         \
		COUNT_AFTER(array), sizeof(((struct vm_config *)0)->array[0]), max_items, empty_item, item_fields \
	}

static const struct list pins = LIST(pins, VM_VCPUS_MAX, &(const int32_t){ 0 }, number_fields);
static const struct list disks = LIST(disks, VM_DISKS_MAX, &(const struct vm_disk){ .chain_count = 0 }, disk_fields);
static const struct list nets = LIST(nets, VM_NETS_MAX, &(const struct vm_net){ .taps_count = 0 }, net_fields);
static const struct list devices = LIST(devices, VM_DEVICES_MAX, &(const struct vm_device){ .fd = -1 }, device_fields);
static const struct list shares = LIST(shares, VM_SHARES_MAX, (&(const struct vm_share){ .fd = -1, .server = -1 }),
				       share_fields);
static const struct list files = LIST(files, VM_FILES_MAX, &(const struct vm_file){ .fd = -1 }, file_fields);

static const struct field config_fields[] = {
	FIELD_HOW(struct vm_config, engine, TYPE_WORD, engines),
	FIELD_HOW(struct vm_config, kind, TYPE_WORD, kinds),
	FIELD(struct vm_config, kvm, TYPE_FD),
	FIELD(struct vm_config, machine, TYPE_TEXT),
	FIELD(struct vm_config, qemu, TYPE_TEXT),
	FIELD(struct vm_config, kernel, TYPE_FD),
	FIELD(struct vm_config, initrd, TYPE_FD),
	FIELD(struct vm_config, command_line, TYPE_TEXT),
	FIELD(struct vm_config, memory, TYPE_U64),
	FIELD(struct vm_config, vcpus, TYPE_U32),
	FIELD(struct vm_config, hugepages, TYPE_U64),
	FIELD_HOW(struct vm_config, pins, TYPE_LIST, &pins),
	FIELD_HOW(struct vm_config, disks, TYPE_LIST, &disks),
	FIELD_HOW(struct vm_config, nets, TYPE_LIST, &nets),
	FIELD(struct vm_config, network, TYPE_TEXT),
	FIELD_HOW(struct vm_config, devices, TYPE_LIST, &devices),
	FIELD(struct vm_config, container, TYPE_FD),
	FIELD_HOW(struct vm_config, shares, TYPE_LIST, &shares),
	FIELD(struct vm_config, oci, TYPE_FD),
	FIELD_HOW(struct vm_config, files, TYPE_LIST, &files),
	FIELD(struct vm_config, control, TYPE_FD),
	FIELD(struct vm_config, sync, TYPE_FD),
	FIELD(struct vm_config, console, TYPE_FD),
	FIELD(struct vm_config, memory_events, TYPE_FD),
	FIELD(struct vm_config, vsock, TYPE_FD),
	FIELD(struct vm_config, cid, TYPE_U32),
	FIELD(struct vm_config, boot_seconds, TYPE_U32),
	FIELD(struct vm_config, snapshot, TYPE_FD),
	FIELD(struct vm_config, snapshot_memory, TYPE_FD),
	FIELD(struct vm_config, counters, TYPE_FD),
	END,
};
_Static_assert(sizeof(enum vm_engine) == sizeof(int) && sizeof(enum vm_kind) == sizeof(int), "a TYPE_WORD is an int");

/* ---- writing ---- */

static void write_object(const struct field *fields, const char *object, struct str *out);

static void write_list(const struct list *list, const char *array, struct str *out)
{
	size_t count;

	memcpy(&count, array + list->count_offset, sizeof(count));
	str_append(out, "[");
	for (size_t i = 0; i < count && i < list->max; i++) {
		const char *item = array + i * list->item_size;

		str_append(out, i ? "," : "");
		if (list->fields->name)
			write_object(list->fields, item, out);
		else
			str_printf(out, "%d", *(const int32_t *)item);
	}
	str_append(out, "]");
}

static void write_value(const struct field *field, const char *value, struct str *out)
{
	switch (field->type) {
	case TYPE_BOOL:
		str_append(out, *(const bool *)value ? "true" : "false");
		break;
	case TYPE_FD:
	case TYPE_I32:
		str_printf(out, "%d", *(const int *)value);
		break;
	case TYPE_U32:
		str_printf(out, "%u", *(const uint32_t *)value);
		break;
	case TYPE_U64:
		str_printf(out, "%ju", (uintmax_t) * (const uint64_t *)value);
		break;
	case TYPE_TEXT:
		json_append_string(out, *(const char *const *)value);
		break;
	case TYPE_WORD:
		json_append_string(out, ((const char *const *)field->how)[*(const int *)value]);
		break;
	case TYPE_LIST:
		write_list(field->how, value, out);
		break;
	}
}

static void write_object(const struct field *fields, const char *object, struct str *out)
{
	const char *between = "";

	str_append(out, "{");
	for (const struct field *field = fields; field->name; field++) {
		const char *value = object + field->offset;

		if (field->type == TYPE_TEXT && !*(const char *const *)value)
			continue;
		str_printf(out, "%s\"%s\":", between, field->name);
		write_value(field, value, out);
		between = ",";
	}
	str_append(out, "}");
}

void vm_config_write(const struct vm_config *config, struct str *out)
{
	write_object(config_fields, (const char *)config, out);
}

/* ---- reading ---- */

static int read_object(const struct field *fields, const struct json_value *from, char *object, struct error *err);

static int read_number(const struct json_value *from, int64_t low, uint64_t high, int64_t *number, struct error *err)
{
	if (from->kind != JSON_KIND_INTEGER)
		return error_set(err, EINVAL, "expected an integer, got %s", json_kind_name(from->kind));
	if (from->truth ? from->magnitude > (uint64_t)-low : from->magnitude > high)
		return error_set(err, EINVAL, "%s%ju is out of range", from->truth ? "-" : "",
				 (uintmax_t)from->magnitude);
	*number = from->truth ? -(int64_t)from->magnitude : (int64_t)from->magnitude;
	return 0;
}

static int read_word(const char *const *words, const char *text, int *value, struct error *err)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], text) == 0) {
			*value = i;
			return 0;
		}
	}
	return error_set(err, EINVAL, "\"%s\" is not known", text);
}

static int read_list(const struct list *list, const struct json_value *from, char *array, struct error *err)
{
	size_t count = 0;

	if (from->kind != JSON_KIND_ARRAY)
		return error_set(err, EINVAL, "expected an array, got %s", json_kind_name(from->kind));
	if (from->count > list->max)
		return error_set(err, EINVAL, "more than %zu items", list->max);
	for (const struct json_value *each = from->count ? from->first : NULL; each; each = each->next) {
		char *item = array + count++ * list->item_size;
		int64_t number = 0;
		int ret;

		memcpy(item, list->empty, list->item_size);
		if (list->fields->name) {
			ret = read_object(list->fields, each, item, err);
		} else {
			ret = read_number(each, 0, INT32_MAX, &number, err);
			*(int32_t *)item = ret < 0 ? 0 : (int32_t)number;
		}
		if (ret < 0)
			return error_wrap(err, "[%zu]", count - 1);
	}
	memcpy(array + list->count_offset, &count, sizeof(count));
	return 0;
}

static int read_value(const struct field *field, const struct json_value *from, char *value, struct error *err)
{
	int64_t number = 0;
	int ret = 0;

	if ((field->type == TYPE_TEXT || field->type == TYPE_WORD) && from->kind != JSON_KIND_STRING)
		return error_set(err, EINVAL, "expected a string, got %s", json_kind_name(from->kind));
	switch (field->type) {
	case TYPE_BOOL:
		if (from->kind != JSON_KIND_BOOL)
			return error_set(err, EINVAL, "expected true or false, got %s", json_kind_name(from->kind));
		*(bool *)value = from->truth;
		break;
	case TYPE_FD:
		ret = read_number(from, -1, FD_MAX, &number, err);
		*(int *)value = (int)number;
		break;
	case TYPE_I32:
		ret = read_number(from, INT32_MIN, INT32_MAX, &number, err);
		*(int32_t *)value = (int32_t)number;
		break;
	case TYPE_U32:
		ret = read_number(from, 0, UINT32_MAX, &number, err);
		*(uint32_t *)value = (uint32_t)number;
		break;
	case TYPE_U64:
		ret = read_number(from, 0, INT64_MAX, &number, err);
		*(uint64_t *)value = (uint64_t)number;
		break;
	case TYPE_TEXT:
		*(const char **)value = from->text;
		break;
	case TYPE_WORD:
		return read_word(field->how, from->text, (int *)value, err);
	case TYPE_LIST:
		return read_list(field->how, from, value, err);
	}
	return ret;
}

static int read_object(const struct field *fields, const struct json_value *from, char *object, struct error *err)
{
	if (from->kind != JSON_KIND_OBJECT)
		return error_set(err, EINVAL, "expected an object, got %s", json_kind_name(from->kind));
	for (const struct json_value *each = from->count ? from->first : NULL; each; each = each->next) {
		const struct field *field = fields;

		while (field->name && strcmp(field->name, each->name) != 0)
			field++;
		if (!field->name)
			return error_set(err, EINVAL, "\"%s\" is not known", each->name);
		if (json_find(from, each->name) != each)
			return error_set(err, EINVAL, "\"%s\" is there twice", each->name);
		if (read_value(field, each, object + field->offset, err) < 0)
			return error_wrap(err, "%s", field->name);
	}
	return 0;
}

/* What the rest of the program takes for granted. */
static int check(const struct vm_config *config, struct error *err)
{
	if (config->vcpus == 0 || config->vcpus > VM_VCPUS_MAX)
		return error_set(err, EINVAL, "vcpus: must be from 1 to %d", VM_VCPUS_MAX);
	if (config->kernel < 0 && config->snapshot < 0)
		return error_set(err, EINVAL, "kernel: is required");
	for (size_t i = 0; i < config->disks_count; i++) {
		const struct vm_disk *disk = &config->disks[i];

		if (disk->chain_count == 0)
			return error_set(err, EINVAL, "disks: [%zu]: chain: must not be empty", i);
		for (size_t k = 0; k < disk->chain_count; k++) {
			const char *format = disk->chain[k].format;

			if (disk->chain[k].fd < 0)
				return error_set(err, EINVAL, "disks: [%zu]: chain: [%zu]: fd: is required", i, k);
			if (!format || (strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0))
				return error_set(err, EINVAL,
						 "disks: [%zu]: chain: [%zu]: format: must be raw or qcow2", i, k);
		}
	}
	for (size_t i = 0; i < config->nets_count; i++) {
		const struct vm_net *net = &config->nets[i];

		if (net->taps_count == 0 || (net->vhosts_count > 0 && net->vhosts_count != net->taps_count))
			return error_set(err, EINVAL, "nets: [%zu]: taps are required, and vhosts for none or all", i);
	}
	for (size_t i = 0; i < config->devices_count; i++) {
		if (config->devices[i].fd < 0 || config->container < 0)
			return error_set(err, EINVAL, "devices: [%zu]: fd and container are required", i);
	}
	for (size_t i = 0; i < config->shares_count; i++) {
		if (config->shares[i].fd < 0 || !config->shares[i].tag)
			return error_set(err, EINVAL, "shares: [%zu]: fd and tag are required", i);
	}
	return 0;
}

int vm_config_read(const char *text, size_t size, struct arena *arena, struct vm_config *config, struct error *err)
{
	const struct json_value *root;
	int ret;

	*config = VM_CONFIG_INIT;
	ret = json_parse(text, size, arena, &root, err);
	if (ret < 0)
		return ret;
	ret = read_object(config_fields, root, (char *)config, err);
	return ret < 0 ? ret : check(config, err);
}
