/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATS: one line of JSON,
 *
 *     {"container":...,                          as `caisson-oci events --stats` has it under "data"
 *      "memory":{"total":B,"available":B},       of the machine
 *      "interfaces":[{"name":"eth0","rx_bytes":N,"tx_bytes":N}],
 *      "uptime":"12.34 ...",                     /proc/uptime
 *      "processes":[{"pid":N,"uid":N,"stat":"/proc/PID/stat","command":"..."}]}
 *
 * with as many processes as fit into a frame.  Names of processes are hostile.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "guest/agent.h"

enum { SMALL_FILE_MAX = 65536, PROCESS_MAX = 2048, COMMAND_MAX = 1024, KIB = 1024 };

static char *read_proc(const char *path, size_t *size)
{
	char *text = NULL;

	return file_read(AT_FDCWD, path, SMALL_FILE_MAX, &text, size, NULL) == 0 ? text : NULL;
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
	cleanup_free char *text = read_proc("/proc/vmstat", NULL);

	return text && find_number(text, "oom_kill ") > 0;
}

/* As JSON has it: without what is no ASCII. */
static void put_text(struct str *out, char *text, size_t size)
{
	while (size > 0 && (text[size - 1] == '\0' || text[size - 1] == '\n'))
		size--;
	text[size] = '\0';
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\0')
			text[i] = ' ';
		else if ((text[i] & 0x80) || text[i] < ' ')
			text[i] = '?';
	}
	json_append_string(out, text);
}

static void put_memory(struct str *out)
{
	cleanup_free char *text = read_proc("/proc/meminfo", NULL);

	if (text)
		str_printf(out, ",\"memory\":{\"total\":%" PRIu64 ",\"available\":%" PRIu64 "}",
			   find_number(text, "MemTotal:") * KIB, find_number(text, "MemAvailable:") * KIB);
}

static void put_interfaces(struct str *out)
{
	cleanup_free char *text = read_proc("/proc/net/dev", NULL);
	const char *between = "";
	char *rest = text, *line;

	str_append(out, ",\"interfaces\":[");
	while ((line = strsep(&rest, "\n"))) {
		char name[16];
		uint64_t received, sent;

		if (sscanf(line, " %15[^ :]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, name, &received,
			   &sent) != 3 ||
		    strcmp(name, "lo") == 0)
			continue;
		str_printf(out, "%s{\"name\":", between);
		put_text(out, name, strlen(name));
		str_printf(out, ",\"rx_bytes\":%" PRIu64 ",\"tx_bytes\":%" PRIu64 "}", received, sent);
		between = ",";
	}
	str_append(out, "]");
}

static void put_uptime(struct str *out)
{
	size_t size = 0;
	cleanup_free char *text = read_proc("/proc/uptime", &size);

	if (text) {
		str_append(out, ",\"uptime\":");
		put_text(out, text, size);
	}
}

static bool put_process(struct str *out, pid_t pid, const char *between)
{
	char path[48];
	size_t stat_size = 0, command_size = 0;
	cleanup_free char *stat_text = NULL, *command = NULL;
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (stat(path, &st) < 0)
		return false;
	stat_text = read_proc(path, &stat_size);
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	command = read_proc(path, &command_size);
	if (!stat_text || stat_size > PROCESS_MAX / 2)
		return false;
	str_printf(out, "%s{\"pid\":%d,\"uid\":%u,\"stat\":", between, (int)pid, (unsigned)st.st_uid);
	put_text(out, stat_text, stat_size);
	str_append(out, ",\"command\":");
	if (command)
		put_text(out, command, command_size < COMMAND_MAX ? command_size : COMMAND_MAX);
	else
		str_append(out, "\"\"");
	str_append(out, "}");
	return true;
}

static void put_processes(struct agent *agent, struct str *out, size_t room)
{
	struct cgroup cgroup;
	cleanup_free pid_t *pids = NULL;
	const char *between = "";
	size_t count = 0;

	str_append(out, ",\"processes\":[");
	if (agent->container.cgroup_path && container_cgroup(&agent->runtime, &agent->container, &cgroup, NULL) == 0) {
		(void)cgroup_procs(&cgroup, &pids, &count, NULL);
		cgroup_close(&cgroup);
	}
	/* A command may need two bytes for each of its own. */
	for (size_t i = 0; i < count && out->length + 2 * (size_t)PROCESS_MAX < room; i++) {
		if (put_process(out, pids[i], between))
			between = ",";
	}
	str_append(out, "]");
}

void stats_write(struct agent *agent, struct str *out)
{
	cleanup_free char *container = NULL;

	str_append(out, "{\"container\":");
	if (agent->container.cgroup_path &&
	    container_stats_json(&agent->runtime, &agent->container, &container, NULL) == 0)
		str_append(out, container);
	else
		str_append(out, "null");
	put_memory(out);
	put_interfaces(out);
	put_uptime(out);
	put_processes(agent, out, AGENT_TEXT_MAX);
	str_append(out, "}");
}
