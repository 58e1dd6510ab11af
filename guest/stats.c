/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATS: what the guest's kernel counts, as one line of JSON: numbers alone, of which paradigm/vm/vmm.c hands on those
 * that it knows by name.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "guest/agent.h"

enum { SMALL_FILE_MAX = 65536, KIB = 1024 };

static const uint64_t NS_PER_US = 1000;

static char *read_proc(const char *path)
{
	char *text = NULL;

	return file_read(AT_FDCWD, path, SMALL_FILE_MAX, &text, NULL, NULL) == 0 ? text : NULL;
}

/* The number after a line's name. */
static uint64_t find_number(const char *text, const char *name)
{
	const char *at = text;
	uint64_t number = 0;

	while (at && !str_starts(at, name)) {
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	if (at)
		(void)sscanf(at + strlen(name), "%" SCNu64, &number);
	return number;
}

bool stats_out_of_memory(void)
{
	cleanup_free char *text = read_proc("/proc/vmstat");

	return text && find_number(text, "oom_kill ") > 0;
}

static void put(struct str *out, const char *name, uint64_t number)
{
	str_printf(out, "%s\"%s\":%" PRIu64, out->length > 1 ? "," : "", name, number);
}

static void put_memory(struct str *out)
{
	cleanup_free char *text = read_proc("/proc/meminfo");

	if (!text)
		return;
	put(out, "memory_total", find_number(text, "MemTotal:") * KIB);
	put(out, "memory_available", find_number(text, "MemAvailable:") * KIB);
}

static void put_network(struct str *out)
{
	cleanup_free char *text = read_proc("/proc/net/dev");
	uint64_t received = 0, sent = 0;
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		char name[16];
		uint64_t in, to;

		if (sscanf(line, " %15[^ :]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, name, &in, &to) != 3 ||
		    strcmp(name, "lo") == 0)
			continue;
		received += in;
		sent += to;
	}
	put(out, "network_received", received);
	put(out, "network_sent", sent);
}

static void put_container(struct agent *agent, struct str *out)
{
	struct cgroup cgroup;
	uint64_t number = 0;

	if (!agent->container.cgroup_path || container_cgroup(&agent->runtime, &agent->container, &cgroup, NULL) < 0)
		return;
	if (cgroup_read_key(&cgroup, "", "cpu.stat", "usage_usec", &number, NULL) == 0)
		put(out, "container_cpu_ns", number * NS_PER_US);
	if (cgroup_read_u64(&cgroup, "", "memory.current", &number, NULL) == 0)
		put(out, "container_memory", number);
	if (cgroup_read_u64(&cgroup, "", "pids.current", &number, NULL) == 0)
		put(out, "container_processes", number);
	cgroup_close(&cgroup);
}

void stats_write(struct agent *agent, struct str *out)
{
	str_append(out, "{");
	put_memory(out);
	put_network(out);
	put_container(agent, out);
	str_append(out, "}");
}
