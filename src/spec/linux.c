/* SPDX-License-Identifier: Apache-2.0 */
/* config-linux.md, all but control groups (resources.c) and seccomp (seccomp.c). */
#include <stddef.h>
#include <string.h>

#include "spec/parts.h"
#include "spec/runtime.h"

static const char *const namespace_names[] = {
	[OCI_NS_PID] = "pid", [OCI_NS_NETWORK] = "network", [OCI_NS_MOUNT] = "mount",	[OCI_NS_IPC] = "ipc",
	[OCI_NS_UTS] = "uts", [OCI_NS_USER] = "user",	    [OCI_NS_CGROUP] = "cgroup", [OCI_NS_TIME] = "time",
};

struct namespace_entry {
	const char *type, *path;
};
static const struct spec_field namespace_fields[] = {
	SPEC_REQUIRED(struct namespace_entry, type, "type", spec_read_text),
	SPEC_FIELD(struct namespace_entry, path, "path", spec_read_path),
};
static const struct spec_object namespace_object = { namespace_fields, SPEC_COUNT(namespace_fields), false, NULL };

/* The words in braces are what runc prints, down to Go's way of quoting a struct. */
static int read_namespace(struct reader *reader, const struct json_value *value, struct oci_namespace *namespaces)
{
	struct namespace_entry entry = { .type = NULL };
	int ret = spec_read_object(reader, value, &entry, &namespace_object), type = 0;
	const char *path;

	if (ret < 0)
		return ret;
	path = entry.path ? entry.path : "";
	while (type < OCI_NS_COUNT && strcmp(namespace_names[type], entry.type) != 0)
		type++;
	if (type == OCI_NS_COUNT)
		return spec_fail(reader, "namespace {\"%s\" \"%s\"} does not exist", entry.type, path);
	if (namespaces[type].set)
		return spec_fail(reader, "malformed spec file: duplicated ns {\"%s\" \"%s\"}", entry.type, path);
	namespaces[type].set = true;
	namespaces[type].path = entry.path;
	return 0;
}

static int read_namespaces(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	const struct spec_place *outer = reader->place;
	struct spec_place place = { .outer = outer };
	int ret = 0;

	(void)how;
	if (value->kind != JSON_KIND_ARRAY)
		return spec_fail_type(reader, "an array", value);
	reader->place = &place;
	for (const struct json_value *entry = value->first; ret == 0 && entry; entry = entry->next, place.index++)
		ret = read_namespace(reader, entry, target);
	reader->place = outer;
	return ret;
}

static int check_id_mapping(struct reader *reader, void *target)
{
	const struct oci_id_mapping *mapping = target;

	/* The last id is 2^32-2: the kernel refuses anything beyond, and (uint32_t)-1 means "none". */
	if ((uint64_t)mapping->container_id + mapping->size > UINT32_MAX ||
	    (uint64_t)mapping->host_id + mapping->size > UINT32_MAX)
		return spec_fail(reader, "the mapping reaches beyond the last id, 4294967294");
	return 0;
}

static const struct spec_range mapping_size_range = { 1, UINT32_MAX };

static const struct spec_field id_mapping_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_id_mapping, container_id, "containerID", spec_read_u32, &spec_range_id),
	SPEC_REQUIRED_HOW(struct oci_id_mapping, host_id, "hostID", spec_read_u32, &spec_range_id),
	SPEC_REQUIRED_HOW(struct oci_id_mapping, size, "size", spec_read_u32, &mapping_size_range),
};
static const struct spec_object id_mapping = { id_mapping_fields, SPEC_COUNT(id_mapping_fields), false,
					       check_id_mapping };
static const struct spec_list id_mapping_list = {
	.size = sizeof(struct oci_id_mapping),
	.read = spec_read_object,
	.how = &id_mapping,
};

int spec_read_id_mappings(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	(void)how;
	return spec_read_list(reader, value, target, &id_mapping_list);
}

static const struct spec_range nanosecs_range = { 0, 999999999 };

static const struct spec_field time_offset_fields[] = {
	SPEC_FIELD(struct oci_time_offset, secs, "secs", spec_read_i64),
	SPEC_FIELD_HOW(struct oci_time_offset, nanosecs, "nanosecs", spec_read_u32, &nanosecs_range),
};
static const struct spec_object time_offset = { time_offset_fields, SPEC_COUNT(time_offset_fields), true, NULL };

static const struct spec_field time_offsets_fields[] = {
	SPEC_FIELD_HOW(struct oci_linux, time_offset_monotonic, "monotonic", spec_read_object, &time_offset),
	SPEC_FIELD_HOW(struct oci_linux, time_offset_boottime, "boottime", spec_read_object, &time_offset),
};
static const struct spec_object time_offsets = { time_offsets_fields, SPEC_COUNT(time_offsets_fields), false, NULL };

/* The names are clocks, not properties: one that is not known must not be passed over. */
static int read_time_offsets(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	if (value->kind == JSON_KIND_OBJECT)
		for (const struct json_value *clock = value->first; clock; clock = clock->next)
			if (strcmp(clock->name, "monotonic") != 0 && strcmp(clock->name, "boottime") != 0)
				return spec_fail_at(reader, clock->name, "clock must be \"monotonic\" or \"boottime\"");
	return spec_read_object(reader, value, target, how);
}

static int read_node_type(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	const char *text = NULL;
	int ret = spec_read_text(reader, value, &text, how);

	if (ret < 0)
		return ret;
	if (value->count != 1 || !strchr("cbup", *text))
		return spec_fail(reader, "invalid device type \"%s\"", text);
	*(char *)target = *text == 'u' ? 'c' : *text;
	return 0;
}

static const struct spec_field device_fields[] = {
	SPEC_REQUIRED(struct oci_device_node, type, "type", read_node_type),
	SPEC_REQUIRED(struct oci_device_node, path, "path", spec_read_path),
	SPEC_FIELD_HOW(struct oci_device_node, major, "major", spec_read_u32, &spec_range_major),
	SPEC_FIELD_HOW(struct oci_device_node, minor, "minor", spec_read_u32, &spec_range_minor),
	SPEC_FIELD_HOW(struct oci_device_node, file_mode, "fileMode", spec_read_opt_u64, &spec_range_u32),
	SPEC_FIELD_HOW(struct oci_device_node, uid, "uid", spec_read_opt_u64, &spec_range_id),
	SPEC_FIELD_HOW(struct oci_device_node, gid, "gid", spec_read_opt_u64, &spec_range_id),
};
static const struct spec_object device_object = { device_fields, SPEC_COUNT(device_fields), false, NULL };

static bool is_there(const struct json_value *object, const char *name)
{
	const struct json_value *member = json_find(object, name);

	return member && member->kind != JSON_KIND_NULL;
}

static int read_device(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_device_node *device = target;
	int ret = spec_read_object(reader, value, target, &device_object);

	(void)how;
	if (ret < 0)
		return ret;
	if (!device->path)
		return spec_fail_at(reader, "path", "must not be empty");
	if (device->type != 'p' && !is_there(value, "major"))
		return spec_fail_at(reader, "major", "is required");
	if (device->type != 'p' && !is_there(value, "minor"))
		return spec_fail_at(reader, "minor", "is required");
	return 0;
}

static const struct spec_list device_list = { .size = sizeof(struct oci_device_node), .read = read_device };

/* What the kernel takes as an interface's name: dev_valid_name() in net/core/dev.c. */
static bool is_interface_name(const char *name)
{
	return *name && strlen(name) < 16 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       !name[strcspn(name, "/: \t\n\v\f\r%")];
}

/* The same, or with one "%d" in it: the lowest number that makes a name that is free. */
static bool is_interface_template(const char *name)
{
	const char *percent = strchr(name, '%');

	if (!percent)
		return is_interface_name(name);
	return strlen(name) < 16 && percent[1] == 'd' && !strchr(percent + 1, '%') &&
	       !name[strcspn(name, "/: \t\n\v\f\r")];
}

static const struct spec_field net_device_fields[] = {
	SPEC_FIELD(struct oci_net_device, name, "name", spec_read_text_or_null),
};
static const struct spec_object net_device = { net_device_fields, SPEC_COUNT(net_device_fields), false, NULL };
static const struct spec_list net_device_map = {
	.size = sizeof(struct oci_net_device),
	.read = spec_read_object,
	.how = &net_device,
	.key_offset = offsetof(struct oci_net_device, host_name),
};

static int check_rdt(struct reader *reader, void *target)
{
	const struct oci_intel_rdt *rdt = target;

	/* The name of a directory below /sys/fs/resctrl, or that itself. */
	if (rdt->clos_id && strcmp(rdt->clos_id, "/") != 0 &&
	    (strcmp(rdt->clos_id, ".") == 0 || strcmp(rdt->clos_id, "..") == 0 || strchr(rdt->clos_id, '/')))
		return spec_fail_at(reader, "closID", "invalid intelRdt.ClosID \"%s\"", rdt->clos_id);
	if (rdt->mem_bw_schema && (strncmp(rdt->mem_bw_schema, "MB:", 3) != 0 || strchr(rdt->mem_bw_schema, '\n')))
		return spec_fail_at(reader, "memBwSchema", "must be one line that begins with \"MB:\"");
	return 0;
}

/* One string up to version 1.2 of the document, an array of them since. */
static int read_schemata(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_strings *schemata = target;

	if (value->kind != JSON_KIND_STRING)
		return spec_read_strings(reader, value, target, how);
	schemata->items = arena_alloc(reader->arena, 2, sizeof(*schemata->items));
	if (!schemata->items)
		return spec_no_memory(reader);
	schemata->items[0] = value->text;
	schemata->count = 1;
	return 0;
}

static const struct spec_field rdt_fields[] = {
	SPEC_FIELD(struct oci_intel_rdt, clos_id, "closID", spec_read_text_or_null),
	SPEC_FIELD(struct oci_intel_rdt, l3_cache_schema, "l3CacheSchema", spec_read_text_or_null),
	SPEC_FIELD(struct oci_intel_rdt, mem_bw_schema, "memBwSchema", spec_read_text_or_null),
	SPEC_FIELD(struct oci_intel_rdt, schemata, "schemata", read_schemata),
	SPEC_FIELD(struct oci_intel_rdt, enable_monitoring, "enableMonitoring", spec_read_bool),
};
static const struct spec_object rdt = { rdt_fields, SPEC_COUNT(rdt_fields), true, check_rdt };

const char *const spec_memory_policy_modes[] = {
	"MPOL_DEFAULT",	  "MPOL_BIND",	"MPOL_INTERLEAVE",     "MPOL_WEIGHTED_INTERLEAVE",
	"MPOL_PREFERRED", "MPOL_LOCAL", "MPOL_PREFERRED_MANY", NULL,
};
const char *const spec_memory_policy_flags[] = {
	"MPOL_F_NUMA_BALANCING",
	"MPOL_F_RELATIVE_NODES",
	"MPOL_F_STATIC_NODES",
	NULL,
};
static const struct spec_words policy_mode_words = { "invalid memory policy mode: \"", "\"", spec_memory_policy_modes };
static const struct spec_words policy_flag_words = { "invalid memory policy flag: \"", "\"", spec_memory_policy_flags };

static int check_policy(struct reader *reader, void *target)
{
	const struct oci_memory_policy *policy = target;

	return policy->nodes && !spec_is_number_list(policy->nodes)
		       ? spec_fail_at(reader, "nodes", "invalid memory policy nodes: \"%s\"", policy->nodes)
		       : 0;
}

static const struct spec_field policy_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_memory_policy, mode, "mode", spec_read_known_word, &policy_mode_words),
	SPEC_FIELD(struct oci_memory_policy, nodes, "nodes", spec_read_text_or_null),
	SPEC_FIELD_HOW(struct oci_memory_policy, flags, "flags", spec_read_strings, &policy_flag_words),
};
static const struct spec_object policy = { policy_fields, SPEC_COUNT(policy_fields), true, check_policy };

static const struct spec_words domain_words = { "unknown personality domain \"", "\"",
						(const char *const[]){ "LINUX", "LINUX32", NULL } };

static int read_no_flags(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	(void)target;
	(void)how;
	if (value->kind != JSON_KIND_ARRAY)
		return spec_fail_type(reader, "an array", value);
	return value->count ? spec_fail(reader, "personality flags are not supported") : 0;
}

static int check_personality(struct reader *reader, void *target)
{
	(void)reader;
	((struct oci_personality *)target)->default_flags = true;
	return 0;
}

static const struct spec_field personality_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_personality, domain, "domain", spec_read_known_word, &domain_words),
	{ "flags", 0, read_no_flags, NULL, false },
};
static const struct spec_object personality = { personality_fields, SPEC_COUNT(personality_fields), true,
						check_personality };

static const struct spec_words propagation_words = {
	"rootfsPropagation=",
	" is not supported",
	(const char *const[]){ "shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate",
			       "runbindable", NULL },
};

static int check_linux(struct reader *reader, void *target)
{
	struct oci_linux *config = target;

	for (size_t i = 0; i < config->net_devices_count; i++) {
		struct oci_net_device *device = &config->net_devices[i];

		if (!device->name)
			device->name = device->host_name;
		if (!is_interface_name(device->host_name) || !is_interface_template(device->name))
			return spec_fail_at(reader, "netDevices", "\"%s\" is no name for a network device",
					    is_interface_name(device->host_name) ? device->name : device->host_name);
	}
	return 0;
}

static const struct spec_field linux_fields[] = {
	SPEC_FIELD(struct oci_linux, namespaces, "namespaces", read_namespaces),
	SPEC_FIELD(struct oci_linux, uid_mappings, "uidMappings", spec_read_id_mappings),
	SPEC_FIELD(struct oci_linux, gid_mappings, "gidMappings", spec_read_id_mappings),
	{ "timeOffsets", 0, read_time_offsets, &time_offsets, false },
	SPEC_FIELD_HOW(struct oci_linux, devices_count, "devices", spec_read_list, &device_list),
	SPEC_FIELD_HOW(struct oci_linux, net_devices_count, "netDevices", spec_read_map, &net_device_map),
	SPEC_FIELD(struct oci_linux, cgroups_path, "cgroupsPath", spec_read_text_or_null),
	SPEC_FIELD_HOW(struct oci_linux, resources, "resources", spec_read_object, &spec_resources),
	SPEC_FIELD_HOW(struct oci_linux, intel_rdt, "intelRdt", spec_read_object, &rdt),
	SPEC_FIELD_HOW(struct oci_linux, memory_policy, "memoryPolicy", spec_read_object, &policy),
	SPEC_FIELD(struct oci_linux, sysctl, "sysctl", spec_read_pairs),
	SPEC_FIELD(struct oci_linux, seccomp, "seccomp", spec_read_seccomp),
	SPEC_FIELD_HOW(struct oci_linux, rootfs_propagation, "rootfsPropagation", spec_read_word, &propagation_words),
	SPEC_FIELD(struct oci_linux, masked_paths, "maskedPaths", spec_read_paths),
	SPEC_FIELD(struct oci_linux, readonly_paths, "readonlyPaths", spec_read_paths),
	SPEC_FIELD(struct oci_linux, mount_label, "mountLabel", spec_read_text_or_null),
	SPEC_FIELD_HOW(struct oci_linux, personality, "personality", spec_read_object, &personality),
};
const struct spec_object spec_linux = { linux_fields, SPEC_COUNT(linux_fields), false, check_linux };
