/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/shell/resources.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One application: where to, what, and the first error; after it every further write is skipped. */
struct applying {
	const struct cgroup *cgroup;
	const struct oci_resources *resources;
	bool v2, update, rootless;
	int failed; /* 0 or -errno */
	struct error *err;
};

__attribute__((format(printf, 4, 5))) static void put(struct applying *a, const char *controller, const char *file,
						      const char *format, ...)
{
	char text[256];
	va_list args;

	if (a->failed)
		return;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) >= (int)sizeof(text))
		a->failed = error_set(a->err, EINVAL, "the value for %s is too long", file);
	va_end(args);
	if (!a->failed)
		a->failed = cgroup_write(a->cgroup, a->v2 ? "" : controller, file, text, a->err);
}

static void put_u64(struct applying *a, const char *controller, const char *file, const struct oci_u64 *value)
{
	if (value->set)
		put(a, controller, file, "%" PRIu64, value->value);
}

static void put_i64(struct applying *a, const char *controller, const char *file, const struct oci_i64 *value)
{
	if (value->set)
		put(a, controller, file, "%" PRId64, value->value);
}

/* v2 writes "max" where v1 writes -1. */
static void put_max(struct applying *a, const char *controller, const char *file, int64_t value)
{
	if (value < 0 && a->v2)
		put(a, controller, file, "max");
	else
		put(a, controller, file, "%" PRId64, value < 0 ? -1 : value);
}

/* The first of two files that exists: kernels with BFQ call the weight by another name. */
static void put_either(struct applying *a, const char *controller, const char *file, const char *other,
		       const char *text)
{
	int ret;

	if (a->failed)
		return;
	ret = cgroup_write(a->cgroup, a->v2 ? "" : controller, file, text, a->err);
	if (ret == -ENOENT)
		ret = cgroup_write(a->cgroup, a->v2 ? "" : controller, other, text, a->err);
	a->failed = ret;
}

uint64_t resources_cpu_weight(uint64_t shares)
{
	if (shares == 0)
		return 0;
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + (shares - 2) * 9999 / 262142;
}

uint64_t resources_io_weight(uint64_t weight)
{
	if (weight < 10)
		return weight ? 1 : 0;
	return 1 + (weight - 10) * 9999 / 990;
}

/* Below a limited parent a shorter period may be too short for the quota of before, which is about to change. */
static void put_bandwidth(struct applying *a, const struct oci_u64 *period, const struct oci_i64 *quota)
{
	bool again;

	if (period->value)
		put_u64(a, "cpu", "cpu.cfs_period_us", period);
	again = a->failed == -EINVAL && quota->value;
	if (again) {
		a->failed = 0;
		if (a->err)
			*a->err = ERROR_INIT;
	}
	if (quota->value)
		put_i64(a, "cpu", "cpu.cfs_quota_us", quota);
	if (again)
		put_u64(a, "cpu", "cpu.cfs_period_us", period);
}

static void apply_cpu_v1(struct applying *a)
{
	const __typeof__(a->resources->cpu) *cpu = &a->resources->cpu;

	if (cpu->shares.value)
		put_u64(a, "cpu", "cpu.shares", &cpu->shares);
	put_bandwidth(a, &cpu->period, &cpu->quota);
	put_u64(a, "cpu", "cpu.cfs_burst_us", &cpu->burst);
	if (cpu->realtime_period.value)
		put_u64(a, "cpu", "cpu.rt_period_us", &cpu->realtime_period);
	if (cpu->realtime_runtime.value)
		put_i64(a, "cpu", "cpu.rt_runtime_us", &cpu->realtime_runtime);
}

static void apply_cpu_v2(struct applying *a)
{
	const __typeof__(a->resources->cpu) *cpu = &a->resources->cpu;
	uint64_t period = cpu->period.value ? cpu->period.value : 100000; /* the kernel's default */

	if (cpu->shares.value)
		put(a, "cpu", "cpu.weight", "%" PRIu64, resources_cpu_weight(cpu->shares.value));
	if (cpu->quota.value > 0)
		put(a, "cpu", "cpu.max", "%" PRId64 " %" PRIu64, cpu->quota.value, period);
	else if (cpu->quota.value < 0 || cpu->period.value)
		put(a, "cpu", "cpu.max", "max %" PRIu64, period);
	put_u64(a, "cpu", "cpu.max.burst", &cpu->burst);
}

static void apply_cpu(struct applying *a)
{
	const __typeof__(a->resources->cpu) *cpu = &a->resources->cpu;

	if (a->v2)
		apply_cpu_v2(a);
	else
		apply_cpu_v1(a);
	put_i64(a, "cpu", "cpu.idle", &cpu->idle);
	if (cpu->cpus && *cpu->cpus)
		put(a, "cpuset", "cpuset.cpus", "%s", cpu->cpus);
	if (cpu->mems && *cpu->mems)
		put(a, "cpuset", "cpuset.mems", "%s", cpu->mems);
}

/*
 * v1 wants memory <= memory+swap at every moment: a limit that grows past the old sum needs the sum raised first, one
 * that shrinks needs itself lowered first.
 */
static void apply_memory_v1_limits(struct applying *a)
{
	const struct oci_i64 *limit = &a->resources->memory.limit, *swap = &a->resources->memory.swap;
	uint64_t old = UINT64_MAX;
	bool swap_first = false;

	if (limit->value && swap->value && a->update &&
	    cgroup_read_u64(a->cgroup, "memory", "memory.memsw.limit_in_bytes", &old, NULL) == 0)
		swap_first = swap->value < 0 || (uint64_t)swap->value > old;
	if (swap_first)
		put_max(a, "memory", "memory.memsw.limit_in_bytes", swap->value);
	if (limit->value)
		put_max(a, "memory", "memory.limit_in_bytes", limit->value);
	if (swap->value && !swap_first)
		put_max(a, "memory", "memory.memsw.limit_in_bytes", swap->value);
}

static void apply_memory_v1(struct applying *a)
{
	const __typeof__(a->resources->memory) *memory = &a->resources->memory;

	apply_memory_v1_limits(a);
	if (memory->reservation.value)
		put_max(a, "memory", "memory.soft_limit_in_bytes", memory->reservation.value);
	if (memory->kernel_tcp.value)
		put_max(a, "memory", "memory.kmem.tcp.limit_in_bytes", memory->kernel_tcp.value);
	/* memory.kernel: the kernel dropped kmem.limit_in_bytes, and the document says to ignore the property then. */
	put_u64(a, "memory", "memory.swappiness", &memory->swappiness);
	if (memory->disable_oom_killer.set && (memory->disable_oom_killer.value || a->update))
		put(a, "memory", "memory.oom_control", "%d", memory->disable_oom_killer.value);
}

static void apply_memory_v2(struct applying *a)
{
	const __typeof__(a->resources->memory) *memory = &a->resources->memory;
	int64_t limit = memory->limit.value, swap = memory->swap.value;

	if (a->failed)
		return;
	if (swap > 0 && limit > 0 && swap < limit)
		a->failed = error_set(a->err, EINVAL, "memory+swap limit should be >= memory limit");
	else if (swap > 0 && limit == 0)
		a->failed = error_set(a->err, EINVAL, "unable to set swap limit without memory limit");
	else if (swap)
		put_max(a, "memory", "memory.swap.max", swap < 0 || limit < 0 ? -1 : swap - limit);
	if (limit)
		put_max(a, "memory", "memory.max", limit);
	if (memory->reservation.value)
		put_max(a, "memory", "memory.low", memory->reservation.value);
}

/* check_before_update: refuse a limit that the present usage would turn into an OOM kill. */
static void check_memory_usage(struct applying *a)
{
	const __typeof__(a->resources->memory) *memory = &a->resources->memory;
	uint64_t usage;

	if (!a->update || !memory->check_before_update.value || memory->limit.value <= 0)
		return;
	if (cgroup_read_u64(a->cgroup, a->v2 ? "" : "memory", a->v2 ? "memory.current" : "memory.usage_in_bytes",
			    &usage, NULL) == 0 &&
	    usage > (uint64_t)memory->limit.value)
		a->failed = error_set(a->err, EBUSY, "rejecting memory limit %" PRId64 " because of usage %" PRIu64,
				      memory->limit.value, usage);
}

static void apply_throttle(struct applying *a, const struct oci_throttle_devices *devices, const char *file,
			   const char *key)
{
	for (size_t i = 0; i < devices->count; i++) {
		const struct oci_throttle_device *device = &devices->items[i];

		if (a->v2 && device->rate == 0)
			put(a, "io", "io.max", "%u:%u %s=max", device->major, device->minor, key);
		else if (a->v2)
			put(a, "io", "io.max", "%u:%u %s=%" PRIu64, device->major, device->minor, key, device->rate);
		else
			put(a, "blkio", file, "%u:%u %" PRIu64, device->major, device->minor, device->rate);
	}
}

static void apply_block_io_weight(struct applying *a, uint64_t weight)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, a->v2 ? resources_io_weight(weight) : weight);
	/* BFQ has its own range even on v2, and takes the specification's number as it is. */
	if (!a->v2)
		put_either(a, "blkio", "blkio.weight", "blkio.bfq.weight", text);
	else if (!a->failed && cgroup_write(a->cgroup, "", "io.weight", text, NULL) < 0)
		put(a, "io", "io.bfq.weight", "%" PRIu64, weight);
}

static void apply_block_io_device(struct applying *a, const struct oci_weight_device *device)
{
	char text[64];

	if (device->weight.value) {
		(void)snprintf(text, sizeof(text), "%u:%u %" PRIu64, device->major, device->minor,
			       device->weight.value);
		if (a->v2)
			put_either(a, "io", "io.bfq.weight", "io.weight", text);
		else
			put_either(a, "blkio", "blkio.weight_device", "blkio.bfq.weight_device", text);
	}
	if (device->leaf_weight.value && !a->v2)
		put(a, "blkio", "blkio.leaf_weight_device", "%u:%u %" PRIu64, device->major, device->minor,
		    device->leaf_weight.value);
}

static void apply_block_io(struct applying *a)
{
	const __typeof__(a->resources->block_io) *io = &a->resources->block_io;

	if (io->weight.value)
		apply_block_io_weight(a, io->weight.value);
	if (io->leaf_weight.value && !a->v2)
		put_u64(a, "blkio", "blkio.leaf_weight", &io->leaf_weight);
	for (size_t i = 0; i < io->weight_device_count; i++)
		apply_block_io_device(a, &io->weight_device[i]);
	apply_throttle(a, &io->read_bps, "blkio.throttle.read_bps_device", "rbps");
	apply_throttle(a, &io->write_bps, "blkio.throttle.write_bps_device", "wbps");
	apply_throttle(a, &io->read_iops, "blkio.throttle.read_iops_device", "riops");
	apply_throttle(a, &io->write_iops, "blkio.throttle.write_iops_device", "wiops");
}

static void apply_hugetlb(struct applying *a)
{
	for (size_t i = 0; i < a->resources->hugepage_limits.count; i++) {
		const char *size = a->resources->hugepage_limits.items[i].page_size;
		char file[64], text[32];

		(void)snprintf(text, sizeof(text), "%" PRIu64, a->resources->hugepage_limits.items[i].limit);
		(void)snprintf(file, sizeof(file), "hugetlb.%.16s.%s", size, a->v2 ? "max" : "limit_in_bytes");
		put(a, "hugetlb", file, "%s", text);
		/* Reservations (mmap before the first touch) are counted apart, since 5.7. */
		(void)snprintf(file, sizeof(file), "hugetlb.%.16s.rsvd.%s", size, a->v2 ? "max" : "limit_in_bytes");
		if (!a->failed)
			(void)cgroup_write(a->cgroup, a->v2 ? "" : "hugetlb", file, text, NULL);
	}
}

/* v2 has no net_cls and net_prio: packets are classified by eBPF there. */
static void apply_network(struct applying *a)
{
	const struct oci_resources *r = a->resources;

	if (a->v2)
		return;
	put_u64(a, "net_cls", "net_cls.classid", &r->network.class_id);
	for (size_t i = 0; i < r->network.priorities.count; i++)
		put(a, "net_prio", "net_prio.ifpriomap", "%s %u", r->network.priorities.items[i].name,
		    r->network.priorities.items[i].priority);
}

static void apply_rdma(struct applying *a)
{
	for (size_t i = 0; i < a->resources->rdma.count; i++) {
		const __typeof__(*a->resources->rdma.items) *limit = &a->resources->rdma.items[i];

		if (limit->hca_handles.set)
			put(a, "rdma", "rdma.max", "%s hca_handle=%" PRIu64, limit->device, limit->hca_handles.value);
		if (limit->hca_objects.set)
			put(a, "rdma", "rdma.max", "%s hca_object=%" PRIu64, limit->device, limit->hca_objects.value);
	}
}

static void apply_unified(struct applying *a)
{
	for (size_t i = 0; i < a->resources->unified.count && !a->failed; i++) {
		const struct oci_pair *pair = &a->resources->unified.items[i];

		if (!a->v2) {
			a->failed = error_set(a->err, EINVAL, "invalid configuration: cannot use unified on cgroup v1");
			return;
		}
		if (strchr(pair->key, '/') || !strchr(pair->key, '.')) {
			a->failed = error_set(a->err, EINVAL,
					      "unified resource \"%s\" must be a file name of a controller", pair->key);
			return;
		}
		a->failed = cgroup_write(a->cgroup, "", pair->key, pair->value, a->err);
		if (a->failed)
			(void)error_wrap(a->err, "unified resource \"%s\" can't be set", pair->key);
	}
}

#define RULE(t, ma, mi, access)                                                                                \
	{                                                                                                      \
		.allow = true, .read = (access), .write = (access), .mknod = true, .type = (t), .major = (ma), \
		.minor = (mi)                                                                                  \
	}
/* What every container may use whatever its configuration says: the devices that the specification promises it. */
static const struct cgroup_device_rule always_allowed[] = {
	RULE('c', 1, 3, true),	  /* null */
	RULE('c', 1, 5, true),	  /* zero */
	RULE('c', 1, 7, true),	  /* full */
	RULE('c', 1, 8, true),	  /* random */
	RULE('c', 1, 9, true),	  /* urandom */
	RULE('c', 5, 0, true),	  /* tty */
	RULE('c', 5, 2, true),	  /* ptmx */
	RULE('c', 136, -1, true), /* pts */
};
#undef RULE
enum { ALWAYS_ALLOWED = sizeof(always_allowed) / sizeof(*always_allowed), DEVICE_RULES_MAX = 512 };

static struct cgroup_device_rule device_rule(const struct oci_device_rule *rule)
{
	return (struct cgroup_device_rule){
		.allow = rule->allow,
		.read = rule->read,
		.write = rule->write,
		.mknod = rule->mknod,
		.type = rule->type,
		.major = rule->major.set ? rule->major.value : -1,
		.minor = rule->minor.set ? rule->minor.value : -1,
	};
}

/* A rule for all devices and all ways to use them decides everything that was said before it. */
static bool is_total(const struct oci_device_rule *rule)
{
	return rule->type == 'a' && rule->read && rule->write && rule->mknod;
}

enum { DEVICE_LINE_MAX = 64 };

static void write_device_line(char line[static DEVICE_LINE_MAX], const struct cgroup_device_rule *rule)
{
	char major[24] = "*", minor[24] = "*";

	if (rule->major >= 0)
		(void)snprintf(major, sizeof(major), "%" PRId64, rule->major);
	if (rule->minor >= 0)
		(void)snprintf(minor, sizeof(minor), "%" PRId64, rule->minor);
	(void)snprintf(line, DEVICE_LINE_MAX, "%c %s:%s %s%s%s", rule->type, major, minor, rule->read ? "r" : "",
		       rule->write ? "w" : "", rule->mknod ? "m" : "");
}

/* Neighbours that go into the same file share its opening. */
static void put_devices_v1(struct applying *a, const struct cgroup_device_rule *rules, size_t count)
{
	char text[DEVICE_RULES_MAX][DEVICE_LINE_MAX];
	const char *lines[DEVICE_RULES_MAX];

	for (size_t first = 0, next; first < count && !a->failed; first = next) {
		for (next = first; next < count && rules[next].allow == rules[first].allow; next++) {
			write_device_line(text[next], &rules[next]);
			lines[next] = text[next];
		}
		a->failed = cgroup_write_lines(a->cgroup, "devices",
					       rules[first].allow ? "devices.allow" : "devices.deny", lines + first,
					       next - first, a->err);
	}
}

static void apply_devices(struct applying *a)
{
	const struct oci_resources *r = a->resources;
	struct cgroup_device_rule rules[DEVICE_RULES_MAX];
	size_t first = 0, count = 1;
	bool allow_all = false;

	if (a->update && r->devices_count == 0)
		return;
	for (size_t i = 0; i < r->devices_count; i++) {
		if (is_total(&r->devices[i])) {
			first = i + 1;
			allow_all = r->devices[i].allow;
		}
	}
	if (r->devices_count - first > DEVICE_RULES_MAX - ALWAYS_ALLOWED - 1) {
		a->failed = error_set(a->err, E2BIG, "more than %d device rules",
				      DEVICE_RULES_MAX - ALWAYS_ALLOWED - 1);
		return;
	}
	/* Everything stays allowed: a new cgroup is like its parent, so there is nothing to write. */
	if (allow_all && first == r->devices_count && !a->update)
		return;
	rules[0] = (struct cgroup_device_rule){
		.allow = allow_all, .read = true, .write = true, .mknod = true, .type = 'a', .major = -1, .minor = -1
	};
	for (size_t i = first; i < r->devices_count; i++)
		rules[count++] = device_rule(&r->devices[i]);
	for (size_t i = 0; i < ALWAYS_ALLOWED && !allow_all; i++)
		rules[count++] = always_allowed[i];
	if (a->v2) {
		a->failed = cgroup_devices_v2(a->cgroup, rules, count, a->err);
		/* cgroup v2 knows no delegation of devices. */
		if (a->failed == -EPERM && a->rootless)
			a->failed = 0;
		return;
	}
	put(a, "devices", allow_all ? "devices.allow" : "devices.deny", "a");
	/* Nor has a rootless user a cgroup in v1's hierarchy. */
	if (a->failed && a->rootless) {
		a->failed = 0;
		return;
	}
	put_devices_v1(a, rules + 1, count - 1);
}

static struct applying begin(const struct cgroup *cgroup, const struct oci_resources *resources, unsigned flags,
			     struct error *err)
{
	return (struct applying){
		.cgroup = cgroup,
		.resources = resources,
		.v2 = cgroup->host->layout == CGROUP_V2,
		.update = flags & RESOURCES_UPDATE,
		.rootless = flags & RESOURCES_ROOTLESS,
		.err = err,
	};
}

int resources_apply_devices(const struct cgroup *cgroup, const struct oci_resources *resources, unsigned flags,
			    struct error *err)
{
	struct applying a = begin(cgroup, resources, flags, err);

	apply_devices(&a);
	return a.failed;
}

int resources_apply(const struct cgroup *cgroup, const struct oci_resources *resources, unsigned flags,
		    struct error *err)
{
	struct applying a = begin(cgroup, resources, flags, err);

	if (!(flags & RESOURCES_WITHOUT_DEVICES))
		apply_devices(&a);
	check_memory_usage(&a);
	if (a.v2)
		apply_memory_v2(&a);
	else
		apply_memory_v1(&a);
	apply_cpu(&a);
	if (resources->pids_limit.value > 0)
		put(&a, "pids", "pids.max", "%" PRId64, resources->pids_limit.value);
	else if (resources->pids_limit.set)
		put(&a, "pids", "pids.max", "max");
	apply_block_io(&a);
	apply_hugetlb(&a);
	apply_network(&a);
	apply_rdma(&a);
	apply_unified(&a);
	return a.failed;
}

static bool is_throttled(const struct oci_resources *r)
{
	return r->block_io.read_bps.count || r->block_io.write_bps.count || r->block_io.read_iops.count ||
	       r->block_io.write_iops.count;
}

static bool limits_io(const struct oci_resources *r)
{
	return is_throttled(r) || r->block_io.weight.set || r->block_io.leaf_weight.set ||
	       r->block_io.weight_device_count;
}

static bool limits_cpu(const struct oci_resources *r)
{
	return r->cpu.shares.set || r->cpu.quota.set || r->cpu.period.set || r->cpu.burst.set || r->cpu.idle.set ||
	       r->cpu.realtime_period.set || r->cpu.realtime_runtime.set;
}

bool resources_limited(const struct oci_resources *r)
{
	return r->memory.limit.value || r->memory.reservation.value || r->memory.swap.value || limits_cpu(r) ||
	       r->cpu.cpus || r->cpu.mems || r->pids_limit.value > 0 || limits_io(r) || r->hugepage_limits.count ||
	       r->network.class_id.set || r->network.priorities.count || r->rdma.count || r->unified.count;
}

/* Whether a file of that controller is among the "unified" ones. */
static bool is_named(const struct oci_resources *r, const char *controller)
{
	size_t length = strlen(controller);

	for (size_t i = 0; i < r->unified.count; i++)
		if (strncmp(r->unified.items[i].key, controller, length) == 0 && r->unified.items[i].key[length] == '.')
			return true;
	return false;
}

void resources_controllers(const struct oci_resources *r, enum cgroup_layout layout,
			   const char *list[static RESOURCES_CONTROLLERS_MAX + 1])
{
	const struct {
		const char *controller;
		bool needed;
	} controllers[] = {
		{ "devices", true },
		/* what statistics are asked for everywhere */
		{ "memory", true },
		{ "cpuacct", true },
		{ "pids", true },
		{ "freezer", true },
		{ "cpu", layout == CGROUP_V2 || limits_cpu(r) },
		{ "cpuset", r->cpu.cpus || r->cpu.mems || is_named(r, "cpuset") },
		{ "blkio", limits_io(r) },
		{ "io", limits_io(r) || is_named(r, "io") },
		{ "hugetlb", r->hugepage_limits.count || is_named(r, "hugetlb") },
		{ "net_cls", r->network.class_id.set },
		{ "net_prio", r->network.priorities.count },
		{ "rdma", r->rdma.count || is_named(r, "rdma") },
		{ "misc", is_named(r, "misc") },
	};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(controllers) / sizeof(*controllers); i++) {
		if (controllers[i].needed)
			list[count++] = controllers[i].controller;
	}
	list[count] = NULL;
}
