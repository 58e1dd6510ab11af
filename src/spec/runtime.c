/* SPDX-License-Identifier: Apache-2.0 */
#include "spec/runtime.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "spec/parts.h"

/* Digits without a leading zero; NULL if there are none. */
static const char *skip_version_number(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits == 0 || digits > 9 || (*text == '0' && digits > 1) ? NULL : text + digits;
}

/* https://semver.org: MAJOR.MINOR.PATCH, then perhaps -PRERELEASE and +BUILD. */
static bool is_semantic_version(const char *text)
{
	static const char identifier[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.";
	size_t length;

	for (int i = 0; i < 3; i++) {
		text = skip_version_number(text);
		if (!text || (i < 2 && *text++ != '.'))
			return false;
	}
	for (const char *sign = "-+"; *sign; sign++) {
		if (*text != *sign)
			continue;
		length = strspn(++text, identifier);
		if (length == 0)
			return false;
		text += length;
	}
	return !*text;
}

/* Within a major version a document only ever gains properties, and those that are unknown are ignored. */
static int read_version(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_name(reader, value, target, how);

	if (ret < 0)
		return ret;
	if (!is_semantic_version(value->text))
		return spec_fail(reader, "\"%s\" is no version like \"1.2.0\" (see semver.org)", value->text);
	if (strncmp(value->text, "1.", 2) != 0)
		return spec_fail(reader, "version %s of the specification is not supported, 1.0.0 and later 1.x are",
				 value->text);
	return 0;
}

static int check_root(struct reader *reader, void *target)
{
	const struct oci_spec *spec = target;

	return spec->root.path ? 0 : spec_fail_at(reader, "path", "must not be empty");
}

static const struct spec_field root_fields[] = {
	SPEC_REQUIRED(struct oci_spec, root.path, "path", spec_read_text_or_null),
	SPEC_FIELD(struct oci_spec, root.readonly, "readonly", spec_read_bool),
};
static const struct spec_object root_object = { root_fields, SPEC_COUNT(root_fields), false, check_root };

static int check_mount(struct reader *reader, void *target)
{
	struct oci_mount *mount = target;

	if (*mount->destination != '/') {
		mount->destination = arena_printf(reader->arena, "/%s", mount->destination);
		if (!mount->destination)
			return spec_no_memory(reader);
	}
	return 0;
}

static const struct spec_field mount_fields[] = {
	SPEC_REQUIRED(struct oci_mount, destination, "destination", spec_read_name),
	SPEC_FIELD(struct oci_mount, type, "type", spec_read_text_or_null),
	SPEC_FIELD(struct oci_mount, source, "source", spec_read_text_or_null),
	SPEC_FIELD(struct oci_mount, options, "options", spec_read_strings),
	SPEC_FIELD(struct oci_mount, uid_mappings, "uidMappings", spec_read_id_mappings),
	SPEC_FIELD(struct oci_mount, gid_mappings, "gidMappings", spec_read_id_mappings),
};
static const struct spec_object mount_object = { mount_fields, SPEC_COUNT(mount_fields), false, check_mount };
static const struct spec_list mount_list = {
	.size = sizeof(struct oci_mount),
	.read = spec_read_object,
	.how = &mount_object,
};

static int check_spec(struct reader *reader, void *target)
{
	const struct oci_spec *spec = target;

	return spec->root.path ? 0 : spec_fail_at(reader, "root", "root must be specified");
}

static const struct spec_field spec_fields[] = {
	SPEC_REQUIRED(struct oci_spec, oci_version, "ociVersion", read_version),
	{ "root", 0, spec_read_object, &root_object, false },
	SPEC_FIELD_HOW(struct oci_spec, mounts_count, "mounts", spec_read_list, &mount_list),
	SPEC_FIELD_HOW(struct oci_spec, process, "process", spec_read_object, &spec_process),
	SPEC_FIELD(struct oci_spec, hostname, "hostname", spec_read_text_or_null),
	SPEC_FIELD(struct oci_spec, domainname, "domainname", spec_read_text_or_null),
	SPEC_FIELD_HOW(struct oci_spec, hooks, "hooks", spec_read_object, &spec_hooks),
	SPEC_FIELD(struct oci_spec, annotations, "annotations", spec_read_pairs),
	SPEC_FIELD_HOW(struct oci_spec, linux_, "linux", spec_read_object, &spec_linux),
	SPEC_FIELD_HOW(struct oci_spec, vm, "vm", spec_read_object, &spec_vm),
};
static const struct spec_object spec_object = { spec_fields, SPEC_COUNT(spec_fields), false, check_spec };

static int parse(const char *json, size_t size, struct arena *arena, const struct spec_object *object, void *target,
		 struct error *err)
{
	struct reader reader = { .arena = arena, .err = err };
	const struct json_value *root;
	int ret = json_parse(json, size, arena, &root, err);

	return ret < 0 ? ret : spec_read_object(&reader, root, target, object);
}

int oci_spec_parse(const char *json, size_t size, struct oci_spec *spec, struct error *err)
{
	int ret;

	*spec = (struct oci_spec){ .oci_version = NULL };
	ret = parse(json, size, &spec->arena, &spec_object, spec, err);
	if (ret < 0)
		oci_spec_free(spec);
	return ret;
}

int oci_process_parse(const char *json, size_t size, struct arena *arena, struct oci_process *process,
		      struct error *err)
{
	*process = (struct oci_process){ .set = false };
	return parse(json, size, arena, &spec_process, process, err);
}

int oci_resources_parse(const char *json, size_t size, struct arena *arena, struct oci_resources *resources,
			struct error *err)
{
	*resources = (struct oci_resources){ .devices_count = 0 };
	return parse(json, size, arena, &spec_resources, resources, err);
}

const char *oci_spec_annotation(const struct oci_spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->annotations.count; i++)
		if (strcmp(spec->annotations.items[i].key, key) == 0)
			return spec->annotations.items[i].value;
	return NULL;
}

void oci_spec_free(struct oci_spec *spec)
{
	arena_free(&spec->arena);
	*spec = (struct oci_spec){ .oci_version = NULL };
}
