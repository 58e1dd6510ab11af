/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd driver: a transient scope that systemd makes and owns
 * (Delegate=yes), with the limits that it knows as properties, so that a
 * daemon-reload does not take them away.  Everything, those included, is then
 * written into the scope's control files like with the cgroupfs driver.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "linux/clone.h"
#include "linux/process.h"
#include "linux/systemd.h"
#include "paradigm/shell/resources.h"
#include "runtime/internal.h"

enum { PROPERTIES_MAX = 24, LIST_BYTES = 128, NANOSECONDS_PER_MICROSECOND = 1000 };

/* What a unit is asked for; the buffers behind its properties. */
struct unit {
	struct systemd_property properties[PROPERTIES_MAX];
	size_t count;
	struct systemd_item pid;
	unsigned char cpus[LIST_BYTES], mems[LIST_BYTES];
};

static struct systemd manager(void)
{
	return (struct systemd){ .user = geteuid() != 0 || namespace_user_is_made() };
}

static struct systemd_property *add(struct unit *unit, const char *name, enum systemd_type type)
{
	struct systemd_property *property = &unit->properties[unit->count++];

	*property = (struct systemd_property){ .name = name, .type = type };
	return property;
}

static void add_u64(struct unit *unit, const char *name, uint64_t number)
{
	add(unit, name, SYSTEMD_U64)->number = number;
}

static void add_limit(struct unit *unit, const char *name, const struct oci_i64 *limit)
{
	if (limit->set && limit->value)
		add_u64(unit, name, limit->value < 0 ? UINT64_MAX : (uint64_t)limit->value);
}

/* AllowedCPUs and AllowedMemoryNodes are bit masks, least significant byte first. */
static int add_list(struct unit *unit, const char *name, const char *list, unsigned char bytes[static LIST_BYTES],
		    struct error *err)
{
	uint64_t words[LIST_BYTES / sizeof(uint64_t)];
	struct systemd_property *property;

	if (!list || !*list)
		return 0;
	if (process_parse_list(list, words, (size_t)LIST_BYTES * 8) < 0)
		return error_set(err, EINVAL, "invalid list \"%s\"", list);
	for (size_t i = 0; i < LIST_BYTES; i++)
		bytes[i] = (unsigned char)(words[i / 8] >> (i % 8 * 8));
	property = add(unit, name, SYSTEMD_BYTES);
	property->bytes = bytes;
	property->count = LIST_BYTES;
	return 0;
}

static void add_cpu_v2(struct unit *unit, const struct oci_resources *r)
{
	uint64_t period = r->cpu.period.value ? r->cpu.period.value : 100000;

	if (r->cpu.shares.value)
		add_u64(unit, "CPUWeight", resources_cpu_weight(r->cpu.shares.value));
	if (r->cpu.period.value)
		add_u64(unit, "CPUQuotaPeriodUSec", period);
	if (r->cpu.quota.value > 0)
		add_u64(unit, "CPUQuotaPerSecUSec", (uint64_t)r->cpu.quota.value * 1000000 / period);
	else if (r->cpu.quota.set && r->cpu.quota.value)
		add_u64(unit, "CPUQuotaPerSecUSec", UINT64_MAX);
}

static int add_resources(struct unit *unit, const struct oci_resources *r, enum cgroup_layout layout, struct error *err)
{
	int ret = 0;

	if (layout == CGROUP_V2) {
		add_cpu_v2(unit, r);
		add_limit(unit, "MemoryMax", &r->memory.limit);
		add_limit(unit, "MemoryLow", &r->memory.reservation);
		ret = add_list(unit, "AllowedCPUs", r->cpu.cpus, unit->cpus, err);
		if (ret == 0)
			ret = add_list(unit, "AllowedMemoryNodes", r->cpu.mems, unit->mems, err);
	} else {
		if (r->cpu.shares.value)
			add_u64(unit, "CPUShares", r->cpu.shares.value);
		add_limit(unit, "MemoryLimit", &r->memory.limit);
	}
	if (r->pids_limit.set)
		add_u64(unit, "TasksMax", r->pids_limit.value > 0 ? (uint64_t)r->pids_limit.value : UINT64_MAX);
	return ret;
}

/* The slice that a path's last directory but one is: "/a.slice/a-b.slice/x.scope" -> "a-b.slice"; fresh memory. */
static char *slice_of(const char *path)
{
	const char *end = strrchr(path, '/'), *start = end;

	while (start && start > path && start[-1] != '/')
		start--;
	return start && start < end ? strndup(start, (size_t)(end - start)) : strdup("system.slice");
}

int container_start_scope(struct runtime *runtime, const struct container *container, pid_t pid, struct cgroup *cgroup,
			  struct error *err)
{
	cleanup_free char *slice = slice_of(container->cgroup_path), *path = NULL;
	cleanup_str struct str description = STR_INIT;
	struct systemd systemd = manager();
	struct systemd_property *pids;
	struct unit unit = { .count = 0 };
	int ret;

	str_printf(&description, "caisson container %s", container->id);
	if (!slice || str_failed(&description))
		return error_errno(err, ENOMEM, "cannot start the scope %s", container->cgroup_unit);
	unit.pid.number = (uint64_t)pid;
	pids = add(&unit, "PIDs", SYSTEMD_U32S);
	pids->items = &unit.pid;
	pids->count = 1;
	add(&unit, "Description", SYSTEMD_STRING)->text = str_text(&description);
	add(&unit, "Slice", SYSTEMD_STRING)->text = slice;
	add(&unit, "Delegate", SYSTEMD_BOOL)->number = 1;
	add(&unit, "DefaultDependencies", SYSTEMD_BOOL)->number = 0;
	add(&unit, "CPUAccounting", SYSTEMD_BOOL)->number = 1;
	add(&unit, "MemoryAccounting", SYSTEMD_BOOL)->number = 1;
	add(&unit, "TasksAccounting", SYSTEMD_BOOL)->number = 1;
	ret = add_resources(&unit, &container->spec.linux_.resources, runtime->cgroups.layout, err);
	if (ret == 0)
		ret = systemd_start_scope(&systemd, container->cgroup_unit, unit.properties, unit.count, &path, err);
	/* A user's manager puts its slices below its own cgroup: only systemd knows where it really is. */
	return ret < 0 ? ret : cgroup_open(&runtime->cgroups, path, cgroup, err);
}

int container_update_scope(const struct container *container, enum cgroup_layout layout,
			   const struct oci_resources *resources, struct error *err)
{
	struct systemd systemd = manager();
	struct unit unit = { .count = 0 };
	int ret = add_resources(&unit, resources, layout, err);

	if (ret < 0 || unit.count == 0)
		return ret;
	return systemd_set_properties(&systemd, container->cgroup_unit, unit.properties, unit.count, err);
}

int container_stop_scope(const struct container *container, struct error *err)
{
	struct systemd systemd = manager();

	return systemd_stop(&systemd, container->cgroup_unit, err);
}
