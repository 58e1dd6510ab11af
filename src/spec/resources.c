/* SPDX-License-Identifier: Apache-2.0 */
/* config-linux.md, "Control groups": limits.  Whether a limit makes sense on this machine is left to the kernel. */
#include <stddef.h>
#include <string.h>

#include "spec/parts.h"
#include "spec/runtime.h"

static int read_device_type(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	const char *text = NULL;
	int ret = spec_read_text(reader, value, &text, how);

	if (ret < 0 || !*text)
		return ret;
	if (value->count != 1 || !strchr("abc", *text))
		return spec_fail(reader, "invalid cgroup device type \"%s\"", text);
	*(char *)target = *text;
	return 0;
}

/* No access at all is what the document calls unset: everything, as for the type and the numbers. */
static int read_access(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_device_rule *rule = target;
	const char *text = NULL;
	int ret = spec_read_text(reader, value, &text, how);

	for (; ret == 0 && *text; text++) {
		if (*text == 'r')
			rule->read = true;
		else if (*text == 'w')
			rule->write = true;
		else if (*text == 'm')
			rule->mknod = true;
		else if (*text != 'a') /* in v1's files it stands for a type; runc takes no notice of it here */
			return spec_fail(reader, "invalid cgroup device access \"%s\": only r, w and m are known",
					 value->text);
	}
	return ret;
}

static int check_device_rule(struct reader *reader, void *target)
{
	struct oci_device_rule *rule = target;

	(void)reader;
	if (!rule->type)
		rule->type = 'a';
	if (!rule->read && !rule->write && !rule->mknod)
		rule->read = rule->write = rule->mknod = true;
	return 0;
}

static const struct spec_range any_number_range = { -1, UINT32_MAX };

static const struct spec_field device_rule_fields[] = {
	SPEC_REQUIRED(struct oci_device_rule, allow, "allow", spec_read_bool),
	SPEC_FIELD(struct oci_device_rule, type, "type", read_device_type),
	SPEC_FIELD_HOW(struct oci_device_rule, major, "major", spec_read_opt_i64, &any_number_range),
	SPEC_FIELD_HOW(struct oci_device_rule, minor, "minor", spec_read_opt_i64, &any_number_range),
	{ "access", 0, read_access, NULL, false },
};
static const struct spec_object device_rule = { device_rule_fields, SPEC_COUNT(device_rule_fields), false,
						check_device_rule };
static const struct spec_list device_rule_list = {
	.size = sizeof(struct oci_device_rule),
	.read = spec_read_object,
	.how = &device_rule,
};

static const struct spec_range swappiness_range = { 0, 100 };

static const struct spec_field memory_fields[] = {
	SPEC_FIELD_HOW(struct oci_resources, memory.limit, "limit", spec_read_opt_i64, &spec_range_amount),
	SPEC_FIELD_HOW(struct oci_resources, memory.reservation, "reservation", spec_read_opt_i64, &spec_range_amount),
	SPEC_FIELD_HOW(struct oci_resources, memory.swap, "swap", spec_read_opt_i64, &spec_range_amount),
	SPEC_FIELD_HOW(struct oci_resources, memory.kernel, "kernel", spec_read_opt_i64, &spec_range_amount),
	SPEC_FIELD_HOW(struct oci_resources, memory.kernel_tcp, "kernelTCP", spec_read_opt_i64, &spec_range_amount),
	SPEC_FIELD_HOW(struct oci_resources, memory.swappiness, "swappiness", spec_read_opt_u64, &swappiness_range),
	SPEC_FIELD(struct oci_resources, memory.disable_oom_killer, "disableOOMKiller", spec_read_opt_bool),
	SPEC_FIELD(struct oci_resources, memory.use_hierarchy, "useHierarchy", spec_read_opt_bool),
	SPEC_FIELD(struct oci_resources, memory.check_before_update, "checkBeforeUpdate", spec_read_opt_bool),
};
static const struct spec_object memory = { memory_fields, SPEC_COUNT(memory_fields), false, NULL };

static const struct spec_field cpu_fields[] = {
	SPEC_FIELD(struct oci_resources, cpu.shares, "shares", spec_read_opt_u64),
	SPEC_FIELD(struct oci_resources, cpu.quota, "quota", spec_read_opt_i64),
	SPEC_FIELD(struct oci_resources, cpu.burst, "burst", spec_read_opt_u64),
	SPEC_FIELD(struct oci_resources, cpu.period, "period", spec_read_opt_u64),
	SPEC_FIELD(struct oci_resources, cpu.realtime_runtime, "realtimeRuntime", spec_read_opt_i64),
	SPEC_FIELD(struct oci_resources, cpu.realtime_period, "realtimePeriod", spec_read_opt_u64),
	SPEC_FIELD(struct oci_resources, cpu.cpus, "cpus", spec_read_text_or_null),
	SPEC_FIELD(struct oci_resources, cpu.mems, "mems", spec_read_text_or_null),
	SPEC_FIELD(struct oci_resources, cpu.idle, "idle", spec_read_opt_i64),
};
static const struct spec_object cpu = { cpu_fields, SPEC_COUNT(cpu_fields), false, NULL };

static const struct spec_field pids_fields[] = {
	SPEC_FIELD(struct oci_resources, pids_limit, "limit", spec_read_opt_i64),
};
static const struct spec_object pids = { pids_fields, SPEC_COUNT(pids_fields), false, NULL };

static int check_weight_device(struct reader *reader, void *target)
{
	const struct oci_weight_device *device = target;

	return device->weight.set || device->leaf_weight.set ? 0 : spec_fail(reader, "needs a weight or a leafWeight");
}

static const struct spec_field weight_device_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_weight_device, major, "major", spec_read_u32, &spec_range_major),
	SPEC_REQUIRED_HOW(struct oci_weight_device, minor, "minor", spec_read_u32, &spec_range_minor),
	SPEC_FIELD_HOW(struct oci_weight_device, weight, "weight", spec_read_opt_u64, &spec_range_u16),
	SPEC_FIELD_HOW(struct oci_weight_device, leaf_weight, "leafWeight", spec_read_opt_u64, &spec_range_u16),
};
static const struct spec_object weight_device = { weight_device_fields, SPEC_COUNT(weight_device_fields), false,
						  check_weight_device };
static const struct spec_list weight_device_list = {
	.size = sizeof(struct oci_weight_device),
	.read = spec_read_object,
	.how = &weight_device,
};

static const struct spec_field throttle_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_throttle_device, major, "major", spec_read_u32, &spec_range_major),
	SPEC_REQUIRED_HOW(struct oci_throttle_device, minor, "minor", spec_read_u32, &spec_range_minor),
	SPEC_REQUIRED(struct oci_throttle_device, rate, "rate", spec_read_u64),
};
static const struct spec_object throttle = { throttle_fields, SPEC_COUNT(throttle_fields), false, NULL };
static const struct spec_list throttle_list = {
	.size = sizeof(struct oci_throttle_device),
	.read = spec_read_object,
	.how = &throttle,
};

static const struct spec_field block_io_fields[] = {
	SPEC_FIELD_HOW(struct oci_resources, block_io.weight, "weight", spec_read_opt_u64, &spec_range_u16),
	SPEC_FIELD_HOW(struct oci_resources, block_io.leaf_weight, "leafWeight", spec_read_opt_u64, &spec_range_u16),
	SPEC_FIELD_HOW(struct oci_resources, block_io.weight_device_count, "weightDevice", spec_read_list,
		       &weight_device_list),
	SPEC_FIELD_HOW(struct oci_resources, block_io.read_bps, "throttleReadBpsDevice", spec_read_list,
		       &throttle_list),
	SPEC_FIELD_HOW(struct oci_resources, block_io.write_bps, "throttleWriteBpsDevice", spec_read_list,
		       &throttle_list),
	SPEC_FIELD_HOW(struct oci_resources, block_io.read_iops, "throttleReadIOPSDevice", spec_read_list,
		       &throttle_list),
	SPEC_FIELD_HOW(struct oci_resources, block_io.write_iops, "throttleWriteIOPSDevice", spec_read_list,
		       &throttle_list),
};
static const struct spec_object block_io = { block_io_fields, SPEC_COUNT(block_io_fields), false, NULL };

/* The size becomes part of a file's name ("hugetlb.2MB.limit_in_bytes"), so nothing else may pass. */
static int read_page_size(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_text(reader, value, target, how);
	size_t digits;

	if (ret < 0)
		return ret;
	digits = strspn(value->text, "0123456789");
	if (digits == 0 || digits > 10 || *value->text == '0' || value->count != digits + 2 ||
	    !strchr("KMG", value->text[digits]) || value->text[digits + 1] != 'B')
		return spec_fail(reader, "\"%s\" is no page size like \"64KB\", \"2MB\" or \"1GB\"", value->text);
	return 0;
}

static const struct spec_field hugepage_fields[] = {
	SPEC_REQUIRED(struct oci_hugepage_limit, page_size, "pageSize", read_page_size),
	SPEC_REQUIRED(struct oci_hugepage_limit, limit, "limit", spec_read_u64),
};
static const struct spec_object hugepage = { hugepage_fields, SPEC_COUNT(hugepage_fields), false, NULL };
static const struct spec_list hugepage_list = {
	.size = sizeof(struct oci_hugepage_limit),
	.read = spec_read_object,
	.how = &hugepage,
};

static const struct spec_field priority_fields[] = {
	SPEC_REQUIRED(struct oci_network_priority, name, "name", spec_read_name),
	SPEC_REQUIRED(struct oci_network_priority, priority, "priority", spec_read_u32),
};
static const struct spec_object priority = { priority_fields, SPEC_COUNT(priority_fields), false, NULL };
static const struct spec_list priority_list = {
	.size = sizeof(struct oci_network_priority),
	.read = spec_read_object,
	.how = &priority,
};

static const struct spec_field network_fields[] = {
	SPEC_FIELD_HOW(struct oci_resources, network.class_id, "classID", spec_read_opt_u64, &spec_range_u32),
	SPEC_FIELD_HOW(struct oci_resources, network.priorities, "priorities", spec_read_list, &priority_list),
};
static const struct spec_object network = { network_fields, SPEC_COUNT(network_fields), false, NULL };

static int check_rdma(struct reader *reader, void *target)
{
	const struct oci_rdma_limit *limit = target;

	return limit->hca_handles.set || limit->hca_objects.set ? 0
								: spec_fail(reader, "needs hcaHandles or hcaObjects");
}

static const struct spec_field rdma_fields[] = {
	SPEC_FIELD_HOW(struct oci_rdma_limit, hca_handles, "hcaHandles", spec_read_opt_u64, &spec_range_u32),
	SPEC_FIELD_HOW(struct oci_rdma_limit, hca_objects, "hcaObjects", spec_read_opt_u64, &spec_range_u32),
};
static const struct spec_object rdma = { rdma_fields, SPEC_COUNT(rdma_fields), false, check_rdma };
static const struct spec_list rdma_map = {
	.size = sizeof(struct oci_rdma_limit),
	.read = spec_read_object,
	.how = &rdma,
	.key_offset = offsetof(struct oci_rdma_limit, device),
};

/* A key is a file in the container's cgroup, and must not lead out of it. */
static int read_unified(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	struct oci_pairs *pairs = target;
	int ret = spec_read_pairs(reader, value, target, how);

	for (size_t i = 0; ret == 0 && i < pairs->count; i++)
		if (strchr(pairs->items[i].key, '/') || strcmp(pairs->items[i].key, "..") == 0 ||
		    strcmp(pairs->items[i].key, ".") == 0)
			return spec_fail(reader, "unified resource \"%s\" must be a file name (no slashes)",
					 pairs->items[i].key);
	return ret;
}

static const struct spec_field resources_fields[] = {
	SPEC_FIELD_HOW(struct oci_resources, devices_count, "devices", spec_read_list, &device_rule_list),
	{ "memory", 0, spec_read_object, &memory, false },
	{ "cpu", 0, spec_read_object, &cpu, false },
	{ "pids", 0, spec_read_object, &pids, false },
	{ "blockIO", 0, spec_read_object, &block_io, false },
	SPEC_FIELD_HOW(struct oci_resources, hugepage_limits, "hugepageLimits", spec_read_list, &hugepage_list),
	{ "network", 0, spec_read_object, &network, false },
	SPEC_FIELD_HOW(struct oci_resources, rdma, "rdma", spec_read_map, &rdma_map),
	SPEC_FIELD(struct oci_resources, unified, "unified", read_unified),
};
const struct spec_object spec_resources = { resources_fields, SPEC_COUNT(resources_fields), false, NULL };
