/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson top: the processes of an instance, from the host's /proc; or their threads, which is the default where these
 * have each their own name and share of the work (a machine's vCPUs).
 */
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "engine/recover.h"
#include "paradigm/paradigm.h"
#include "runtime/runtime.h"

enum { SMALL_FILE_MAX = 65536 };

/* What is shown of a process. */
struct task {
	uid_t uid;
	int parent, group, session, terminal, nice, threads;
	char state;
	unsigned long user, system, size; /* clock ticks; bytes */
	long resident;			  /* pages */
	unsigned long long start;	  /* clock ticks since boot */
	char name[64];
	char *command; /* owned */
};

/* A process, or one of its threads. */
struct place {
	pid_t pid, thread; /* thread 0: the process as a whole */
};

static char *read_proc(const struct place *place, const char *leaf, size_t *size)
{
	char path[64], *text = NULL;

	if (place->thread)
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)place->pid, (int)place->thread, leaf);
	else
		(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)place->pid, leaf);
	return file_read(AT_FDCWD, path, SMALL_FILE_MAX, &text, size, NULL) == 0 ? text : NULL;
}

static int read_task(const struct place *place, struct task *task)
{
	size_t size = 0;
	cleanup_free char *stat_text = read_proc(place, "stat", NULL);
	char *open = stat_text ? strchr(stat_text, '(') : NULL, *close = stat_text ? strrchr(stat_text, ')') : NULL;
	char path[32];
	struct stat st;

	*task = (struct task){ .parent = 0 };
	(void)snprintf(path, sizeof(path), "/proc/%d", (int)place->pid);
	if (!open || !close || stat(path, &st) < 0)
		return -ESRCH;
	task->uid = st.st_uid;
	(void)snprintf(task->name, sizeof(task->name), "%.*s", (int)(close - open - 1), open + 1);
	if (sscanf(close + 1, " %c %d %d %d %d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %d %d %*d %llu %lu %ld",
		   &task->state, &task->parent, &task->group, &task->session, &task->terminal, &task->user,
		   &task->system, &task->nice, &task->threads, &task->start, &task->size, &task->resident) != 12)
		return -ESRCH;
	task->command = read_proc(place, "cmdline", &size);
	for (size_t i = 0; task->command && size > 0 && i < size - 1; i++) {
		if (task->command[i] == '\0')
			task->command[i] = ' ';
	}
	return 0;
}

static void user_text(uid_t uid, char text[static 40])
{
	cleanup_fclose FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry;

	(void)snprintf(text, 40, "%u", uid);
	/* Not getpwuid(): this program is static, and other sources of names come as shared libraries. */
	while (file && (entry = fgetpwent(file))) {
		if (entry->pw_uid == uid) {
			(void)snprintf(text, 40, "%s", entry->pw_name);
			return;
		}
	}
}

/* Seconds since its start, and that moment as ps shows it. */
static double start_text(unsigned long long ticks, char text[static 16])
{
	struct timespec boot, now;
	struct tm tm;
	time_t started;

	(void)clock_gettime(CLOCK_BOOTTIME, &boot);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	started = now.tv_sec - boot.tv_sec + (time_t)(ticks / (unsigned long long)sysconf(_SC_CLK_TCK));
	(void)localtime_r(&started, &tm);
	(void)strftime(text, 16, now.tv_sec - started > 86400 ? "%b%d" : "%H:%M", &tm);
	return (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static json_t *clock_value(unsigned long seconds)
{
	return json_sprintf("%02lu:%02lu:%02lu", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

/* Of the numbers that the kernel has for terminals only the pseudo-terminals' are of interest. */
static json_t *terminal_value(unsigned number)
{
	enum { PTS_MAJOR = 136, PTS_MAJORS = 8 };
	unsigned major = number >> 8 & 0xfff, minor = (number & 0xff) | (number >> 12 & 0xfff00);

	if (major < PTS_MAJOR || major >= PTS_MAJOR + PTS_MAJORS)
		return json_string("?");
	return json_sprintf("pts/%u", (major - PTS_MAJOR) * 256 + minor);
}

/* A thread that is not the process's first by its own name, as pstree has it. */
static json_t *command_value(const struct place *place, const struct task *task)
{
	if (place->thread && place->thread != place->pid)
		return json_sprintf("{%s}", task->name);
	return task->command && *task->command ? json_string(task->command) : json_sprintf("[%s]", task->name);
}

/* Each column by the name that ps -o has for it. */
static json_t *task_row(const struct place *place, const struct task *task)
{
	double ticks = (double)(task->user + task->system) / (double)sysconf(_SC_CLK_TCK), age;
	char user[40], started[16], state[2] = { task->state, '\0' };
	json_t *row;

	user_text(task->uid, user);
	age = start_text(task->start, started);
	row = json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "user", user, "uid",
			json_sprintf("%u", task->uid), "pid", json_sprintf("%d", (int)place->pid), "ppid",
			json_sprintf("%d", task->parent), "pgid", json_sprintf("%d", task->group), "sid",
			json_sprintf("%d", task->session), "stat", state, "comm", task->name, "stime", started, "tty",
			terminal_value((unsigned)task->terminal), "time", clock_value((unsigned long)ticks), "etime",
			clock_value((unsigned long)age), "vsz", json_sprintf("%lu", task->size / 1024), "rss",
			json_sprintf("%ld", task->resident * (sysconf(_SC_PAGESIZE) / 1024)), "ni",
			json_sprintf("%d", task->nice));
	(void)json_object_set_new(row, "owner", json_string(user)); /* what ps -ef calls UID */
	(void)json_object_set_new(row, "nlwp", json_sprintf("%d", task->threads));
	(void)json_object_set_new(row, "pcpu", json_sprintf("%.1f", age > 0 ? 100 * ticks / age : 0));
	(void)json_object_set_new(row, "lwp", json_sprintf("%d", (int)(place->thread ? place->thread : place->pid)));
	(void)json_object_set_new(row, "args", command_value(place, task));
	return row;
}

static void add_task(const struct place *place, json_t *rows)
{
	struct task task;

	if (read_task(place, &task) < 0)
		return;
	(void)json_array_append_new(rows, task_row(place, &task));
	free(task.command);
}

static void add_threads(pid_t pid, json_t *rows)
{
	char path[32];
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct place place = { .pid = pid, .thread = (pid_t)strtol(entry->d_name, NULL, 10) };

		if (place.thread > 0)
			add_task(&place, rows);
	}
	closedir(dir);
}

static int list_tasks(const struct container *container, struct runtime *runtime, bool threads, json_t *rows,
		      struct error *err)
{
	struct cgroup cgroup;
	cleanup_free pid_t *pids = NULL;
	size_t count = 0;
	int ret = container_cgroup(runtime, container, &cgroup, err);

	if (ret < 0)
		return ret;
	ret = cgroup_procs(&cgroup, &pids, &count, err);
	cgroup_close(&cgroup);
	for (size_t i = 0; ret == 0 && i < count; i++) {
		if (threads)
			add_threads(pids[i], rows);
		else
			add_task(&(struct place){ .pid = pids[i] }, rows);
	}
	return ret;
}

static const struct format_heading headings[] = {
	{ "owner", "UID" }, { "user", "USER" }, { "uid", "UID" },	{ "pid", "PID" },   { "ppid", "PPID" },
	{ "pgid", "PGID" }, { "sid", "SID" },	{ "stat", "STAT" },	{ "comm", "COMM" }, { "stime", "STIME" },
	{ "tty", "TTY" },   { "time", "TIME" }, { "etime", "ELAPSED" }, { "vsz", "VSZ" },   { "rss", "RSS" },
	{ "ni", "NI" },	    { "nlwp", "NLWP" }, { "pcpu", "%CPU" },	{ "args", "CMD" },  { "lwp", "LWP" },
	{ NULL, NULL },
};

/* Other names that ps(1) and podman have for the same. */
static const struct {
	const char *name, *column;
} aliases[] = { { "cmd", "args" },   { "command", "args" }, { "ucmd", "comm" },	    { "ruser", "user" },
		{ "euser", "user" }, { "uname", "user" },   { "ruid", "uid" },	    { "euid", "uid" },
		{ "hpid", "pid" },   { "sess", "sid" },	    { "session", "sid" },   { "pgrp", "pgid" },
		{ "state", "stat" }, { "s", "stat" },	    { "start", "stime" },   { "tt", "tty" },
		{ "tname", "tty" },  { "cputime", "time" }, { "elapsed", "etime" }, { "vsize", "vsz" },
		{ "rssize", "rss" }, { "nice", "ni" },	    { "thcount", "nlwp" },  { "%cpu", "pcpu" },
		{ "spid", "lwp" },   { "tid", "lwp" } };

static const char *find_column(const char *word, size_t length)
{
	for (size_t i = 0; headings[i].field; i++) {
		if (strlen(headings[i].field) == length && strncasecmp(headings[i].field, word, length) == 0)
			return headings[i].field;
	}
	for (size_t i = 0; i < sizeof(aliases) / sizeof(*aliases); i++) {
		if (strlen(aliases[i].name) == length && strncasecmp(aliases[i].name, word, length) == 0)
			return aliases[i].column;
	}
	return NULL;
}

/* "pid,ppid,args" */
static int add_columns(struct str *table, const char *list, struct error *err)
{
	while (*list) {
		size_t length = strcspn(list, ", ");
		const char *column = find_column(list, length);

		if (length > 0 && !column)
			return error_set(err, EINVAL,
					 "unknown column '%.*s'; known are user, uid, pid, ppid, pgid, sid, "
					 "stat, comm, stime, tty, time, etime, vsz, rss, ni, nlwp, lwp, pcpu, args",
					 (int)length, list);
		if (length > 0)
			str_printf(table, "%s{{.%s}}", table->length ? "\t" : "", column);
		list += length + (list[length] != '\0');
	}
	return 0;
}

/* What people write after the instance's name: options of ps(1), or columns as podman takes them.  threads is set by
 * those that ps has for that. */
static int choose_columns(struct str *table, char **words, int count, bool *threads, struct error *err)
{
	static const char processes[] = "owner,pid,ppid,stime,tty,time,args",
			  full_threads[] = "owner,pid,lwp,ppid,stime,tty,time,args";
	const char *full;
	int ret = 0;

	for (int i = 0; i < count; i++)
		*threads = *threads || (*words[i] == '-' && strcspn(words[i], "LTH") < strcspn(words[i], "o"));
	full = *threads ? full_threads : processes;

	for (int i = 0; ret == 0 && i < count; i++) {
		const char *word = words[i], *bare = *word == '-' ? word + 1 : word;
		const char *list = *word == '-' ? strchr(word, 'o') : NULL;

		if (list && strspn(bare, "eAaxLTHo") >= (size_t)(list - bare + 1))
			ret = list[1]	      ? add_columns(table, list + 1, err)
			      : i + 1 < count ? add_columns(table, words[++i], err)
					      : error_set(err, EINVAL, "-o needs a list of columns, like pid,args");
		else if (strchr(bare, 'u') && bare[strspn(bare, "auxw")] == '\0')
			ret = add_columns(table, "user,pid,pcpu,vsz,rss,tty,stat,stime,time,args", err);
		else if (*word == '-' && *bare && bare[strspn(bare, "eAafFlLTHxw")] == '\0')
			ret = add_columns(table, full, err);
		else if (*word == '-')
			ret = error_set(err, EINVAL, "unknown ps option '%s'; known are -ef, -L, aux and -o COLUMNS",
					word);
		else
			ret = add_columns(table, word, err);
	}
	return ret == 0 && table->length == 0 ? add_columns(table, full, err) : ret;
}

static int list(struct instance *instance, char **words, int count, struct str *table, json_t *rows, struct error *err)
{
	struct runtime *runtime = &instance->engine->runtime;
	struct container container;
	bool threads;
	int ret = container_load(runtime, instance->id, 0, &container, err);

	if (ret < 0)
		return ret;
	threads = container.paradigm->named_threads;
	ret = choose_columns(table, words, count, &threads, err);
	if (ret == 0)
		ret = list_tasks(&container, runtime, threads, rows, err);
	container_close(&container);
	return ret;
}

int top_command(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	cleanup_json json_t *rows = json_array();
	cleanup_str struct str table = STR_INIT;
	struct format format = { .headings = headings };
	struct instance_state state;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	if (open_instance(cli, operands[0], 0, &instance) < 0)
		return 1;
	if (instance_look(&instance, &state, &err) < 0)
		return program_fail(cli, &err, 1);
	if (!instance_state_alive(&state))
		return program_say(cli, 1, "container %s is not running", operands[0]);
	if (list(&instance, operands + 1, count - 1, &table, rows, &err) < 0)
		return program_fail(cli, &err, 1);
	format.table = str_text(&table);
	return show_rows(cli, &format, rows);
}
