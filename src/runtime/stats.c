/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container has used, as runc's `events --stats` tells it (its
 * types/events.go): names, order, and what is left out while it is 0 are part
 * of what readers know.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/internal.h"
#include "runtime/members.h"

struct source {
	const struct cgroup *cgroup;
	bool v2;
};

static uint64_t read_number(const struct source *source, const char *controller, const char *file)
{
	uint64_t value = 0;

	return cgroup_read_u64(source->cgroup, source->v2 ? "" : controller, file, &value, NULL) < 0 ? 0 : value;
}

static uint64_t read_key(const struct source *source, const char *controller, const char *file, const char *key)
{
	uint64_t value = 0;

	return cgroup_read_key(source->cgroup, source->v2 ? "" : controller, file, key, &value, NULL) < 0 ? 0 : value;
}

static void if_any(struct members *members, const char *name, uint64_t number)
{
	if (number)
		member_number(members, name, number);
}

/* "12 34 56\n" as an array; left out when there is no such file. */
static void numbers(struct members *members, const struct source *source, const char *name, const char *controller,
		    const char *file)
{
	cleanup_free char *text = NULL;
	char *rest, *word;

	if (source->v2 || cgroup_read(source->cgroup, controller, file, &text, NULL) < 0 ||
	    text[strspn(text, " \n")] == 0)
		return;
	member_name(members, name);
	str_append(members->out, "[");
	rest = text;
	for (int i = 0; (word = strsep(&rest, " \n"));) {
		if (*word)
			str_printf(members->out, "%s%" PRIu64, i++ ? "," : "", (uint64_t)strtoull(word, NULL, 10));
	}
	str_append(members->out, "]");
}

/* "0-2,4\n" as an array of each. */
static void list(struct members *members, const struct source *source, const char *name, const char *file)
{
	cleanup_free char *text = NULL;
	char *at;
	bool any = false;

	if (cgroup_read(source->cgroup, source->v2 ? "" : "cpuset", file, &text, NULL) < 0 || *text < '0' ||
	    *text > '9')
		return;
	member_name(members, name);
	str_append(members->out, "[");
	for (at = text; *at >= '0' && *at <= '9'; at += *at == ',') {
		unsigned long first = strtoul(at, &at, 10), last = *at == '-' ? strtoul(at + 1, &at, 10) : first;

		for (; first <= last && last < 65536; first++, any = true)
			str_printf(members->out, "%s%lu", any ? "," : "", first);
	}
	str_append(members->out, "]");
}

/* "some avg10=0.12 avg60=0.00 avg300=0.00 total=4711": the numbers as Go prints them, without zeros at the end. */
static bool write_pressure_line(struct members *members, const char *name, const char *text)
{
	static const char *const keys[] = { "avg10", "avg60", "avg300", "total" };
	const char *line = strstr(text, name);

	if (!line)
		return false;
	member_name(members, name);
	open_object(members);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		char key[16];
		const char *at;

		(void)snprintf(key, sizeof(key), " %s=", keys[i]);
		at = strstr(line, key);
		member_name(members, keys[i]);
		if (i == 3)
			str_printf(members->out, "%" PRIu64, at ? (uint64_t)strtoull(at + strlen(key), NULL, 10) : 0);
		else
			str_printf(members->out, "%g", at ? strtod(at + strlen(key), NULL) : 0.0);
	}
	close_object(members);
	return true;
}

/* How long tasks waited for it: only the v2 tree tells, and only where the kernel counts
 * (Documentation/accounting/psi).
 */
static void write_pressure(struct members *members, const struct source *source, const char *file)
{
	cleanup_free char *text = NULL;

	if (cgroup_read(source->cgroup, "", file, &text, NULL) < 0 || !strstr(text, "some "))
		return;
	member_name(members, "psi");
	open_object(members);
	(void)write_pressure_line(members, "some", text);
	/* A cgroup's CPU has no "full" before Linux 5.13. */
	if (!write_pressure_line(members, "full", text))
		(void)write_pressure_line(members, "full", "full ");
	close_object(members);
}

static void write_cpu(struct members *members, const struct source *source, const struct cgroup_stats *stats)
{
	member_name(members, "cpu");
	open_object(members);
	member_name(members, "usage");
	open_object(members);
	/* The sum of user and system time counts ticks only, where the kernel keeps it that way. */
	if_any(members, "total", source->v2 ? stats->cpu_usage : read_number(source, "cpuacct", "cpuacct.usage"));
	numbers(members, source, "percpu", "cpuacct", "cpuacct.usage_percpu");
	numbers(members, source, "percpu_kernel", "cpuacct", "cpuacct.usage_percpu_sys");
	numbers(members, source, "percpu_user", "cpuacct", "cpuacct.usage_percpu_user");
	member_number(members, "kernel", stats->cpu_system);
	member_number(members, "user", stats->cpu_user);
	close_object(members);
	member_name(members, "throttling");
	open_object(members);
	if_any(members, "periods", stats->cpu_periods);
	if_any(members, "throttledPeriods", stats->cpu_throttled_periods);
	if_any(members, "throttledTime", stats->cpu_throttled);
	close_object(members);
	write_pressure(members, source, "cpu.pressure");
	close_object(members);
}

static void write_cpuset(struct members *members, const struct source *source)
{
	static const char *const files[] = { "mem_hardwall",	   "mem_exclusive",	 "memory_migrate",
					     "memory_spread_page", "memory_spread_slab", "memory_pressure",
					     "sched_load_balance" };
	static const char unknown[] = "cpuset.sched_relax_domain_level";
	cleanup_free char *level = NULL;
	char file[64];

	member_name(members, "cpuset");
	open_object(members);
	list(members, source, "cpus", source->v2 ? "cpuset.cpus.effective" : "cpuset.cpus");
	member_number(members, "cpu_exclusive", source->v2 ? 0 : read_number(source, "cpuset", "cpuset.cpu_exclusive"));
	list(members, source, "mems", source->v2 ? "cpuset.mems.effective" : "cpuset.mems");
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		(void)snprintf(file, sizeof(file), "cpuset.%s", files[i]);
		member_number(members, files[i], source->v2 ? 0 : read_number(source, "cpuset", file));
	}
	member_name(members, "sched_relax_domain_level");
	if (!source->v2)
		(void)cgroup_read(source->cgroup, "cpuset", unknown, &level, NULL);
	str_printf(members->out, "%ld", level ? strtol(level, NULL, 10) : 0);
	close_object(members);
}

static void write_entry(struct members *members, const char *name, uint64_t limit, uint64_t usage, uint64_t max,
			uint64_t failcnt)
{
	member_name(members, name);
	open_object(members);
	member_number(members, "limit", limit);
	if_any(members, "usage", usage);
	if_any(members, "max", max);
	member_number(members, "failcnt", failcnt);
	close_object(members);
}

static void write_v1_entry(struct members *members, const struct source *source, const char *name, const char *prefix)
{
	static const char *const files[] = { "limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt" };
	uint64_t values[4];
	char file[64];

	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(file, sizeof(file), "memory.%s%s", prefix, files[i]);
		values[i] = read_number(source, "memory", file);
	}
	write_entry(members, name, values[0], values[1], values[2], values[3]);
}

/* Every line of memory.stat, "name number". */
static void write_raw_memory(struct members *members, const struct source *source)
{
	cleanup_free char *text = NULL;
	char *rest, *line;

	if (cgroup_read(source->cgroup, source->v2 ? "" : "memory", "memory.stat", &text, NULL) < 0 || !*text)
		return;
	member_name(members, "raw");
	open_object(members);
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = '\0';
		member_number(members, line, strtoull(space + 1, NULL, 10));
	}
	close_object(members);
}

static void write_memory(struct members *members, const struct source *source)
{
	uint64_t usage, swap;

	member_name(members, "memory");
	open_object(members);
	if_any(members, "cache", read_key(source, "memory", "memory.stat", source->v2 ? "file" : "cache"));
	if (source->v2) {
		/* As runc counts there: swap is memory and swap together, as in version 1. */
		usage = read_number(source, "", "memory.current");
		swap = read_number(source, "", "memory.swap.current");
		write_entry(members, "usage", read_number(source, "", "memory.max"), usage,
			    read_number(source, "", "memory.peak"), 0);
		write_entry(members, "swap", read_number(source, "", "memory.swap.max"), swap ? swap + usage : usage, 0,
			    0);
		write_entry(members, "kernel", 0, 0, 0, 0);
		write_entry(members, "kernelTCP", 0, 0, 0, 0);
	} else {
		write_v1_entry(members, source, "usage", "");
		write_v1_entry(members, source, "swap", "memsw.");
		write_v1_entry(members, source, "kernel", "kmem.");
		write_v1_entry(members, source, "kernelTCP", "kmem.tcp.");
	}
	write_raw_memory(members, source);
	write_pressure(members, source, "memory.pressure");
	close_object(members);
}

static void write_pids(struct members *members, const struct cgroup_stats *stats)
{
	member_name(members, "pids");
	open_object(members);
	if_any(members, "current", stats->pids_current);
	if_any(members, "limit", stats->pids_limit == UINT64_MAX ? 0 : stats->pids_limit);
	close_object(members);
}

static void block_entry(struct members *members, bool *any, const char *device, const char *op, uint64_t value)
{
	char *rest;
	uint64_t major = strtoull(device, &rest, 10), minor = *rest == ':' ? strtoull(rest + 1, NULL, 10) : 0;

	str_append(members->out, *any ? "," : "[");
	*any = true;
	open_object(members);
	if_any(members, "major", major);
	if_any(members, "minor", minor);
	member_text(members, "op", op);
	if_any(members, "value", value);
	close_object(members);
}

/* v1: "8:0 Read 123" lines.  v2: "8:0 rbytes=1 wbytes=2 rios=3 wios=4": the key for each op. */
static void write_block_list(struct members *members, const struct source *source, const char *name,
			     const char *v1_file, const char *const v2_keys[2])
{
	static const char *const v2_ops[] = { "Read", "Write" };
	cleanup_free char *text = NULL;
	char *rest, *line;
	bool any = false;

	if (cgroup_read(source->cgroup, source->v2 ? "" : "blkio", source->v2 ? "io.stat" : v1_file, &text, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *word = strchr(line, ' ');

		if (!word || *line < '0' || *line > '9')
			continue;
		if (!any)
			member_name(members, name);
		for (int i = 0; i < 2 && source->v2; i++) {
			const char *value = strstr(word, v2_keys[i]);

			if (value)
				block_entry(members, &any, line, v2_ops[i],
					    strtoull(value + strlen(v2_keys[i]), NULL, 10));
		}
		if (!source->v2) {
			char *op = word + 1, *value = strchr(op, ' ');

			if (value)
				*value++ = '\0';
			block_entry(members, &any, line, value ? op : NULL, strtoull(value ? value : op, NULL, 10));
		}
	}
	if (any) {
		str_append(members->out, "]");
		members->filled = true;
	}
}

static void write_block(struct members *members, const struct source *source)
{
	static const char *const bytes[] = { " rbytes=", " wbytes=" }, *const counts[] = { " rios=", " wios=" };

	member_name(members, "blkio");
	open_object(members);
	write_block_list(members, source, "ioServiceBytesRecursive", "blkio.throttle.io_service_bytes_recursive",
			 bytes);
	write_block_list(members, source, "ioServicedRecursive", "blkio.throttle.io_serviced_recursive", counts);
	write_pressure(members, source, "io.pressure");
	close_object(members);
}

/* "hugepages-2048kB" -> "2MB", as the controller's files have it. */
static bool page_size_name(const char *directory, char name[static 32])
{
	static const char *const units[] = { "KB", "MB", "GB" };
	unsigned long long size;
	size_t unit = 0;
	char *end;

	if (!str_starts(directory, "hugepages-"))
		return false;
	size = strtoull(directory + strlen("hugepages-"), &end, 10);
	if (size == 0 || strcmp(end, "kB") != 0)
		return false;
	for (; size >= 1024 && unit < 2; unit++)
		size /= 1024;
	(void)snprintf(name, 32, "%llu%s", size, units[unit]);
	return true;
}

static void write_huge_page(struct members *members, const struct source *source, const char *size)
{
	bool v1 = !source->v2 && cgroup_host_find(source->cgroup->host, "hugetlb") >= 0;
	struct source huge = { .cgroup = source->cgroup, .v2 = !v1 };
	uint64_t usage = 0;
	char file[80];

	(void)snprintf(file, sizeof(file), "hugetlb.%s.%s", size, v1 ? "usage_in_bytes" : "current");
	if (cgroup_read_u64(source->cgroup, v1 ? "hugetlb" : "", file, &usage, NULL) < 0)
		return;
	member_name(members, size);
	open_object(members);
	if_any(members, "usage", usage);
	(void)snprintf(file, sizeof(file), "hugetlb.%s.max_usage_in_bytes", size);
	if_any(members, "max", v1 ? read_number(&huge, "hugetlb", file) : 0);
	(void)snprintf(file, sizeof(file), "hugetlb.%s.%s", size, v1 ? "failcnt" : "events");
	member_number(members, "failcnt", v1 ? read_number(&huge, "hugetlb", file) : read_key(&huge, "", file, "max"));
	close_object(members);
}

/* Nothing where the container is not in the controller's hierarchy: it joins it when it is limited there. */
static void write_hugetlb(struct members *members, const struct source *source)
{
	cleanup_closedir DIR *sizes = opendir("/sys/kernel/mm/hugepages");
	struct dirent *entry;
	char name[32];

	member_name(members, "hugetlb");
	open_object(members);
	while (sizes && (entry = readdir(sizes))) {
		if (page_size_name(entry->d_name, name))
			write_huge_page(members, source, name);
	}
	close_object(members);
}

int container_counters(const struct container *container, struct str *out, struct error *err)
{
	const struct paradigm *paradigm = container->paradigm;

	if (!paradigm->counters)
		return error_set(err, EOPNOTSUPP, "a %s counts nothing by itself", paradigm->name);
	return paradigm->counters(container->dir, container->dir_fd, out, err);
}

int container_stats_json(struct runtime *runtime, struct container *container, char **json, struct error *err)
{
	struct cgroup cgroup = CGROUP_INIT;
	struct cgroup_stats stats = { 0 };
	struct str text = STR_INIT;
	struct members members = { .out = &text };
	struct source source = { .cgroup = &cgroup };
	int ret = container_cgroup(runtime, container, &cgroup, err);

	if (ret < 0)
		return ret;
	source.v2 = runtime->cgroups.layout == CGROUP_V2;
	ret = cgroup_stats_read(&cgroup, &stats, err);
	if (ret == 0) {
		open_object(&members);
		write_cpu(&members, &source, &stats);
		write_cpuset(&members, &source);
		write_memory(&members, &source);
		write_pids(&members, &stats);
		write_block(&members, &source);
		write_hugetlb(&members, &source);
		member_name(&members, "intel_rdt");
		str_append(&text, "{}");
		member_name(&members, "network_interfaces");
		str_append(&text, "null");
		close_object(&members);
		*json = str_take(&text);
		if (!*json)
			ret = error_errno(err, ENOMEM, "cannot write the statistics");
	}
	cgroup_stats_free(&stats);
	cgroup_close(&cgroup);
	return ret;
}
