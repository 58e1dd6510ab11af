/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson stats.  Memory is told apart where docker shows one number that
 * counts the page cache: what the programs hold (rss), what the kernel keeps
 * for them and would give back (cache), and what is in use of both (working
 * set), which is what the kernel's limit bites into first.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "engine/recover.h"
#include "linux/cgroup.h"
#include "runtime/runtime.h"

struct stats_flags {
	bool all, no_stream, no_trunc;
	const char *format;
};

const struct cli_option stats_options[] = {
	OPT_SWITCH("all", 'a', struct stats_flags, all, "Show those that do not run, too"),
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct stats_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	OPT_SWITCH("no-stream", 0, struct stats_flags, no_stream, "Only once"),
	OPT_SWITCH("no-trunc", 0, struct stats_flags, no_trunc, "Do not shorten"),
	{ .name = NULL },
};

static const struct format_heading headings[] = {
	{ "ID", "CONTAINER ID" },
	{ "Name", "NAME" },
	{ "Container", "CONTAINER" },
	{ "CPUPerc", "CPU %" },
	{ "MemUsage", "MEM USAGE / LIMIT" },
	{ "MemPerc", "MEM %" },
	{ "RSS", "RSS" },
	{ "Cache", "CACHE" },
	{ "WorkingSet", "WORKING SET" },
	{ "NetIO", "NET I/O" },
	{ "BlockIO", "BLOCK I/O" },
	{ "PIDs", "PIDS" },
	{ "Throttled", "THROTTLED" },
	{ "OOMKills", "OOM KILLS" },
	{ "Counters", "COUNTERS" },
	{ NULL, NULL },
};

static const char table[] = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.RSS}}\t{{.Cache}}\t"
			    "{{.WorkingSet}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/* One instance, between two looks. */
struct watched {
	struct instance instance;
	struct cgroup cgroup;
	bool running; /* cgroup is open */
	pid_t pid;
	json_t *counters; /* of its paradigm, at the last look; NULL: it has none; owned */
	uint64_t cpu;	  /* nanoseconds, at the last look */
	struct timespec when;
};

static void watched_close(struct watched *watched)
{
	if (watched->running)
		cgroup_close(&watched->cgroup);
	watched->running = false;
	json_decref(watched->counters);
	watched->counters = NULL;
}

/* Who is paused does not answer. */
static json_t *read_counters(const struct container *container, const struct instance_state *state)
{
	cleanup_str struct str text = STR_INIT;

	if (state->status == INSTANCE_PAUSED || container_counters(container, &text, NULL) < 0)
		return NULL;
	return json_loads(str_text(&text), 0, NULL);
}

static void watched_open(struct watched *watched)
{
	struct runtime *runtime = &watched->instance.engine->runtime;
	struct instance_state state;
	struct container container;
	int ret;

	watched_close(watched);
	if (instance_take_up(&watched->instance, NULL) < 0)
		return;
	ret = instance_look(&watched->instance, &state, NULL);
	instance_put_down(&watched->instance);
	if (ret < 0 || !instance_state_alive(&state) ||
	    container_load(runtime, watched->instance.id, 0, &container, NULL) < 0)
		return;
	watched->pid = state.pid;
	watched->running = container_cgroup(runtime, &container, &watched->cgroup, NULL) == 0;
	watched->counters = read_counters(&container, &state);
	container_close(&container);
}

static double seconds_between(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_nsec - from->tv_nsec) / 1e9;
}

/* Bytes of all interfaces in the instance's network namespace but the loopback, and the taps of a machine, which get
 * what the interfaces beside them got. */
static void read_network(pid_t pid, unsigned long long *received, unsigned long long *sent)
{
	cleanup_free char *text = NULL;
	char path[64], *rest, *line;

	*received = *sent = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)pid);
	if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0)
		return;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		unsigned long long in, out;
		char name[32];

		if (sscanf(line, " %31[^:]: %llu %*u %*u %*u %*u %*u %*u %*u %llu", name, &in, &out) == 3 &&
		    strcmp(name, "lo") != 0 && !str_starts(name, "tap")) {
			*received += in;
			*sent += out;
		}
	}
}

static json_t *pair_text(unsigned long long a, unsigned long long b, bool binary)
{
	char left[16], right[16];

	if (binary) {
		format_size_binary(a, left);
		format_size_binary(b, right);
	} else {
		format_size(a, left);
		format_size(b, right);
	}
	return json_sprintf("%s / %s", left, right);
}

static json_t *size_value(unsigned long long bytes)
{
	char text[16];

	format_size_binary(bytes, text);
	return json_string(text);
}

static json_t *empty_row(const struct watched *watched, bool whole)
{
	return json_pack("{s:o,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "ID",
			 json_stringn(watched->instance.id, whole ? INSTANCE_ID_LENGTH : SHORT_ID_LENGTH), "Name",
			 instance_name(&watched->instance), "Container", instance_name(&watched->instance), "CPUPerc",
			 "0.00%", "MemUsage", "0B / 0B", "MemPerc", "0.00%", "RSS", "0B", "Cache", "0B", "WorkingSet",
			 "0B", "NetIO", "0B / 0B", "BlockIO", "0B / 0B", "PIDs", "0", "Throttled", "0", "OOMKills",
			 "0");
}

/* What there is for it, whoever says so: the cgroup, a machine's size, the host's. */
static uint64_t memory_limit(const struct watched *watched, const struct cgroup_stats *stats)
{
	json_int_t machine = json_integer_value(json_object_get(watched->counters, "memory"));
	uint64_t limit = stats->memory_limit;
	struct sysinfo host;

	if (sysinfo(&host) == 0 && limit > host.totalram * host.mem_unit)
		limit = host.totalram * host.mem_unit;
	return machine > 0 && (uint64_t)machine < limit ? (uint64_t)machine : limit;
}

static void fill_row(json_t *row, struct watched *watched, const struct cgroup_stats *stats)
{
	uint64_t working = stats->memory_usage > stats->memory_inactive_file
				   ? stats->memory_usage - stats->memory_inactive_file
				   : 0;
	uint64_t limit = memory_limit(watched, stats);
	unsigned long long received, sent;
	struct timespec now;
	double elapsed;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	elapsed = watched->when.tv_sec ? seconds_between(&watched->when, &now) : 0;
	if (elapsed > 0 && stats->cpu_usage >= watched->cpu)
		(void)json_object_set_new(
			row, "CPUPerc",
			json_sprintf("%.2f%%", (double)(stats->cpu_usage - watched->cpu) / 1e7 / elapsed));
	watched->cpu = stats->cpu_usage;
	watched->when = now;
	read_network(watched->pid, &received, &sent);
	(void)json_object_set_new(row, "MemUsage", pair_text(working, limit, true));
	if (limit)
		(void)json_object_set_new(row, "MemPerc",
					  json_sprintf("%.2f%%", 100.0 * (double)working / (double)limit));
	(void)json_object_set_new(row, "RSS", size_value(stats->memory_rss));
	(void)json_object_set_new(row, "Cache", size_value(stats->memory_cache));
	(void)json_object_set_new(row, "WorkingSet", size_value(working));
	(void)json_object_set_new(row, "NetIO", pair_text(received, sent, false));
	(void)json_object_set_new(row, "BlockIO", pair_text(stats->io_read_bytes, stats->io_write_bytes, false));
	(void)json_object_set_new(row, "PIDs", json_sprintf("%llu", (unsigned long long)stats->pids_current));
	(void)json_object_set_new(row, "Throttled",
				  json_sprintf("%llu", (unsigned long long)stats->cpu_throttled_periods));
	(void)json_object_set_new(row, "OOMKills", json_sprintf("%llu", (unsigned long long)stats->oom_kills));
}

static json_t *row_of(struct watched *watched, bool whole)
{
	json_t *row = empty_row(watched, whole);
	struct cgroup_stats stats;

	if (watched->running && cgroup_stats_read(&watched->cgroup, &stats, NULL) == 0) {
		fill_row(row, watched, &stats);
		cgroup_stats_free(&stats);
	}
	if (watched->counters)
		(void)json_object_set(row, "Counters", watched->counters);
	return row;
}

/* A look at all of them; forever, once a second, when stream is set. */
static int watch(struct cli *cli, const struct stats_flags *flags, struct watched *list, size_t count)
{
	const struct format format = { .format = flags->format, .table = table, .headings = headings };
	bool live = !flags->no_stream && isatty(STDOUT_FILENO) && !flags->format;
	bool first = true;

	/* The rate of the CPU is between two looks: the first one only sets the mark. */
	for (;;) {
		cleanup_json json_t *rows = json_array();
		int code = 0;

		for (size_t i = 0; i < count; i++) {
			if (!list[i].running || !first)
				watched_open(&list[i]);
			if (flags->all || list[i].running)
				(void)json_array_append_new(rows, row_of(&list[i], flags->no_trunc));
		}
		if (!first) {
			if (live)
				(void)fputs("\033[H\033[J", cli->out);
			code = show_rows(cli, &format, rows);
			(void)fflush(cli->out);
			if (code || flags->no_stream || ferror(cli->out))
				return code;
		}
		(void)nanosleep(&(struct timespec){ .tv_sec = first ? 0 : 1, .tv_nsec = first ? 500000000 : 0 }, NULL);
		first = false;
	}
}

static int open_watched(struct cli *cli, const struct stats_flags *flags, char **names, size_t count,
			struct watched **list, size_t *used)
{
	struct engine *engine = program_engine(cli);
	struct error err = ERROR_INIT;

	*used = 0;
	*list = calloc(count + 1, sizeof(**list));
	if (!*list || !engine)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct watched *watched = &(*list)[*used];

		if (instance_open(engine, names[i], 0, &watched->instance, &err) < 0)
			return program_fail(cli, &err, -err.code);
		instance_put_down(&watched->instance);
		watched_open(watched);
		/* Of all there are, those that run; of those that were named, all. */
		++*used;
		(void)flags;
	}
	return 0;
}

int stats_command(struct cli *cli, int argc, char **argv)
{
	struct stats_flags flags = { .all = false };
	struct watched *list = NULL;
	char **operands, **ids = NULL;
	struct engine *engine;
	struct error err = ERROR_INIT;
	size_t known = 0, used = 0;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	if (count == 0 && instance_ids(engine, &ids, &known, &err) < 0)
		return program_fail(cli, &err, 1);
	if (count > 0)
		flags.all = true;
	code = open_watched(cli, &flags, count ? operands : ids, count ? (size_t)count : known, &list, &used);
	code = code < 0 ? 1 : watch(cli, &flags, list, used);
	for (size_t i = 0; i < used; i++) {
		watched_close(&list[i]);
		instance_close(&list[i].instance);
	}
	free(list);
	runtime_ids_free(ids, known);
	return code;
}
