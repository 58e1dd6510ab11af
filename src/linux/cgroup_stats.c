/* SPDX-License-Identifier: Apache-2.0 */
/* What a cgroup has used: one table per version says which file and key fills which field. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "linux/cgroup_private.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { PER_CPU_MAX = 65536 };

/* v1 says "no limit" as the largest number of whole pages. */
#define V1_NO_LIMIT (UINT64_C(0x7fffffffffffffff) & ~UINT64_C(0xffff))

int cgroup_parse_number(const char *text, uint64_t *value)
{
	char digits[24];
	size_t length = strcspn(text, " \n");

	if (length >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, length);
	digits[length] = '\0';
	if (strcmp(digits, "max") == 0) {
		*value = UINT64_MAX;
		return 0;
	}
	return str_to_u64(digits, value);
}

int cgroup_parse_key(const char *text, const char *key, uint64_t *value)
{
	size_t length = strlen(key);

	while (*text) {
		if (strncmp(text, key, length) == 0 && text[length] == ' ')
			return cgroup_parse_number(text + length + 1, value);
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return -ENOENT;
}

int cgroup_read_u64(const struct cgroup *cgroup, const char *controller, const char *file, uint64_t *value,
		    struct error *err)
{
	cleanup_free char *text = NULL;
	int ret = cgroup_read(cgroup, controller, file, &text, err);

	if (ret < 0)
		return ret;
	ret = cgroup_parse_number(text, value);
	return ret < 0 ? error_errno(err, -ret, "%s of cgroup %s: \"%.40s\"", file, cgroup->path, text) : 0;
}

int cgroup_read_key(const struct cgroup *cgroup, const char *controller, const char *file, const char *key,
		    uint64_t *value, struct error *err)
{
	cleanup_free char *text = NULL;
	int ret = cgroup_read(cgroup, controller, file, &text, err);

	if (ret < 0)
		return ret;
	ret = cgroup_parse_key(text, key, value);
	return ret < 0 ? error_errno(err, -ret, "%s in %s of cgroup %s", key, file, cgroup->path) : 0;
}

/* One number of a file: the only one with key NULL, else the one behind the key, times scale. */
struct field {
	const char *key;
	size_t offset;
	uint64_t scale;
};

/* A file of which fields are read; parse, if not NULL, takes what is no flat list of keys. */
struct source {
	const char *controller, *file;
	struct field fields[7];
	void (*parse)(const char *text, struct cgroup_stats *stats);
};

#define FIELD(key, name)                                    \
	{                                                   \
		key, offsetof(struct cgroup_stats, name), 1 \
	}
#define USEC(key, name)                                        \
	{                                                      \
		key, offsetof(struct cgroup_stats, name), 1000 \
	}
#define NUMBER(name)              \
	{                         \
		FIELD(NULL, name) \
	}

/* "cpu user system\n0 123 456\n1 ...": nanoseconds, but guessed at each tick: the sum is cpuacct.usage's to say. */
static void parse_usage_all(const char *text, struct cgroup_stats *stats)
{
	uint64_t *grown;
	char *end;

	stats->cpu_user = stats->cpu_system = 0;
	while (*(text += strcspn(text, "\n")) && *++text && stats->cpu_per_cpu_count < PER_CPU_MAX) {
		uint64_t user, system;

		(void)strtoull(text, &end, 10);
		user = strtoull(end, &end, 10);
		system = strtoull(end, &end, 10);
		grown = reallocarray(stats->cpu_per_cpu, stats->cpu_per_cpu_count + 1, sizeof(*grown));
		if (!grown)
			return;
		stats->cpu_per_cpu = grown;
		stats->cpu_per_cpu[stats->cpu_per_cpu_count++] = user + system;
		stats->cpu_user += user;
		stats->cpu_system += system;
	}
}

/* "8:0 Read 123\n8:0 Write 456\n...Total 579": the sums over all devices. */
static void sum_blkio(const char *text, uint64_t *reads, uint64_t *writes)
{
	*reads = *writes = 0;
	for (; *text; text += *text == '\n') {
		const char *word = text + strcspn(text, " \n");
		uint64_t value;

		if (strncmp(word, " Read ", 6) == 0 && cgroup_parse_number(word + 6, &value) == 0)
			*reads += value;
		else if (strncmp(word, " Write ", 7) == 0 && cgroup_parse_number(word + 7, &value) == 0)
			*writes += value;
		text += strcspn(text, "\n");
	}
}

static void parse_blkio_bytes(const char *text, struct cgroup_stats *stats)
{
	sum_blkio(text, &stats->io_read_bytes, &stats->io_write_bytes);
}

static void parse_blkio_count(const char *text, struct cgroup_stats *stats)
{
	sum_blkio(text, &stats->io_reads, &stats->io_writes);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n...". */
static void parse_io_stat(const char *text, struct cgroup_stats *stats)
{
	const struct field fields[] = { FIELD("rbytes=", io_read_bytes), FIELD("wbytes=", io_write_bytes),
					FIELD("rios=", io_reads), FIELD("wios=", io_writes) };

	for (; *text; text += *text != '\0') {
		for (size_t i = 0; i < COUNT(fields); i++) {
			size_t length = strlen(fields[i].key);
			uint64_t value;

			if (strncmp(text, fields[i].key, length) == 0 &&
			    cgroup_parse_number(text + length, &value) == 0)
				*(uint64_t *)((char *)stats + fields[i].offset) += value;
		}
		text += strcspn(text, " \n");
	}
}

static const struct source V1_SOURCES[] = {
	{ "cpuacct", "cpuacct.usage", NUMBER(cpu_usage) },
	{ "cpuacct", "cpuacct.usage_all", .parse = parse_usage_all },
	{ "cpu",
	  "cpu.stat",
	  { FIELD("nr_periods", cpu_periods), FIELD("nr_throttled", cpu_throttled_periods),
	    FIELD("throttled_time", cpu_throttled) } },
	{ "memory", "memory.usage_in_bytes", NUMBER(memory_usage) },
	{ "memory", "memory.max_usage_in_bytes", NUMBER(memory_max_usage) },
	{ "memory", "memory.limit_in_bytes", NUMBER(memory_limit) },
	{ "memory", "memory.failcnt", NUMBER(memory_failcnt) },
	{ "memory", "memory.memsw.usage_in_bytes", NUMBER(swap_usage) },
	{ "memory", "memory.memsw.limit_in_bytes", NUMBER(swap_limit) },
	{ "memory", "memory.kmem.usage_in_bytes", NUMBER(kernel_usage) },
	{ "memory", "memory.kmem.limit_in_bytes", NUMBER(kernel_limit) },
	{ "memory", "memory.kmem.tcp.usage_in_bytes", NUMBER(kernel_tcp_usage) },
	{ "memory",
	  "memory.stat",
	  { FIELD("total_rss", memory_rss), FIELD("total_cache", memory_cache),
	    FIELD("total_inactive_file", memory_inactive_file), FIELD("total_shmem", memory_shmem) } },
	{ "memory", "memory.oom_control", { FIELD("oom_kill", oom_kills) } },
	{ "pids", "pids.current", NUMBER(pids_current) },
	{ "pids", "pids.max", NUMBER(pids_limit) },
	{ "blkio", "blkio.throttle.io_service_bytes_recursive", .parse = parse_blkio_bytes },
	{ "blkio", "blkio.throttle.io_serviced_recursive", .parse = parse_blkio_count },
};

/* The first is there even without the cpu controller, also in the hybrid layout. */
static const struct source V2_SOURCES[] = {
	{ "",
	  "cpu.stat",
	  { USEC("usage_usec", cpu_usage), USEC("user_usec", cpu_user), USEC("system_usec", cpu_system),
	    FIELD("nr_periods", cpu_periods), FIELD("nr_throttled", cpu_throttled_periods),
	    USEC("throttled_usec", cpu_throttled) } },
	{ "", "memory.current", NUMBER(memory_usage) },
	{ "", "memory.peak", NUMBER(memory_max_usage) },
	{ "", "memory.max", NUMBER(memory_limit) },
	{ "", "memory.swap.current", NUMBER(swap_usage) },
	{ "", "memory.swap.max", NUMBER(swap_limit) },
	{ "",
	  "memory.stat",
	  { FIELD("anon", memory_rss), FIELD("file", memory_cache), FIELD("inactive_file", memory_inactive_file),
	    FIELD("shmem", memory_shmem), FIELD("kernel", kernel_usage), FIELD("sock", kernel_tcp_usage) } },
	{ "", "memory.events", { FIELD("max", memory_failcnt), FIELD("oom_kill", oom_kills) } },
	{ "", "pids.current", NUMBER(pids_current) },
	{ "", "pids.max", NUMBER(pids_limit) },
	{ "", "io.stat", .parse = parse_io_stat },
};

static int read_source(const struct cgroup *cgroup, const struct source *source, struct cgroup_stats *stats,
		       struct error *err)
{
	cleanup_free char *text = NULL;
	int ret = cgroup_read(cgroup, source->controller, source->file, &text, err);

	/* Which files there are differs from kernel to kernel. */
	if (ret == -ENOENT || ret == -EOPNOTSUPP || ret == -ENODEV)
		return 0;
	if (ret < 0)
		return ret;
	if (source->parse)
		source->parse(text, stats);
	for (const struct field *field = source->fields; field->scale; field++) {
		uint64_t value;

		ret = field->key ? cgroup_parse_key(text, field->key, &value) : cgroup_parse_number(text, &value);
		if (ret == 0)
			*(uint64_t *)((char *)stats + field->offset) = value == UINT64_MAX ? value
											   : value * field->scale;
	}
	return 0;
}

static void v1_no_limit(uint64_t *limit)
{
	if (*limit >= V1_NO_LIMIT)
		*limit = UINT64_MAX;
}

/* v2 counts swap without memory. */
static void v2_add_memory(struct cgroup_stats *stats)
{
	stats->swap_usage += stats->memory_usage;
	if (stats->memory_limit == UINT64_MAX ||
	    __builtin_add_overflow(stats->swap_limit, stats->memory_limit, &stats->swap_limit))
		stats->swap_limit = UINT64_MAX;
}

int cgroup_stats_read(const struct cgroup *cgroup, struct cgroup_stats *stats, struct error *err)
{
	bool v2 = cgroup->host->layout == CGROUP_V2;
	int ret = 0;

	*stats = (struct cgroup_stats){ .pids_limit = UINT64_MAX };
	stats->memory_limit = stats->swap_limit = stats->kernel_limit = UINT64_MAX;
	for (size_t i = 0; ret == 0 && i < (v2 ? COUNT(V2_SOURCES) : 1); i++)
		ret = read_source(cgroup, &V2_SOURCES[i], stats, err);
	for (size_t i = 0; ret == 0 && !v2 && i < COUNT(V1_SOURCES); i++)
		ret = read_source(cgroup, &V1_SOURCES[i], stats, err);
	if (ret < 0) {
		cgroup_stats_free(stats);
		return ret;
	}
	if (v2) {
		v2_add_memory(stats);
	} else {
		v1_no_limit(&stats->memory_limit);
		v1_no_limit(&stats->swap_limit);
		v1_no_limit(&stats->kernel_limit);
	}
	if (err)
		*err = ERROR_INIT;
	return 0;
}

void cgroup_stats_free(struct cgroup_stats *stats)
{
	free(stats->cpu_per_cpu);
	*stats = (struct cgroup_stats){ .cpu_usage = 0 };
}
