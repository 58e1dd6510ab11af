/* SPDX-License-Identifier: Apache-2.0 */
/* caisson top: the processes of an instance, from the host's /proc. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "engine/recover.h"
#include "runtime/runtime.h"

enum { SMALL_FILE_MAX = 65536 };

/* What ps -ef shows of a process. */
struct task {
	uid_t uid;
	int parent, terminal;
	char state;
	unsigned long user, system; /* clock ticks */
	unsigned long long start;   /* clock ticks since boot */
	char name[64];
	char *command; /* owned */
};

static char *read_proc(pid_t pid, const char *leaf, size_t *size)
{
	char path[64], *text = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, leaf);
	return file_read(AT_FDCWD, path, SMALL_FILE_MAX, &text, size, NULL) == 0 ? text : NULL;
}

static int read_task(pid_t pid, struct task *task)
{
	size_t size = 0;
	cleanup_free char *stat_text = read_proc(pid, "stat", NULL);
	char *open = stat_text ? strchr(stat_text, '(') : NULL, *close = stat_text ? strrchr(stat_text, ')') : NULL;
	char path[32];
	struct stat st;

	*task = (struct task){ .parent = 0 };
	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (!open || !close || stat(path, &st) < 0)
		return -ESRCH;
	task->uid = st.st_uid;
	(void)snprintf(task->name, sizeof(task->name), "%.*s", (int)(close - open - 1), open + 1);
	if (sscanf(close + 1, " %c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu",
		   &task->state, &task->parent, &task->terminal, &task->user, &task->system, &task->start) != 6)
		return -ESRCH;
	task->command = read_proc(pid, "cmdline", &size);
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

static void start_text(unsigned long long ticks, char text[static 16])
{
	struct timespec boot, now;
	struct tm tm;
	time_t started;

	(void)clock_gettime(CLOCK_BOOTTIME, &boot);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	started = now.tv_sec - boot.tv_sec + (time_t)(ticks / (unsigned long long)sysconf(_SC_CLK_TCK));
	(void)localtime_r(&started, &tm);
	(void)strftime(text, 16, now.tv_sec - started > 86400 ? "%b%d" : "%H:%M", &tm);
}

static json_t *task_row(pid_t pid, const struct task *task)
{
	unsigned long seconds = (task->user + task->system) / (unsigned long)sysconf(_SC_CLK_TCK);
	char user[40], started[16];

	user_text(task->uid, user);
	start_text(task->start, started);
	return json_pack(
		"{s:s,s:o,s:o,s:s,s:s,s:o,s:o}", "UID", user, "PID", json_sprintf("%d", (int)pid), "PPID",
		json_sprintf("%d", task->parent), "STIME", started, "TTY", task->terminal ? "pts" : "?", "TIME",
		json_sprintf("%02lu:%02lu:%02lu", seconds / 3600, seconds / 60 % 60, seconds % 60), "CMD",
		task->command && *task->command ? json_string(task->command) : json_sprintf("[%s]", task->name));
}

static int list_tasks(struct instance *instance, json_t *rows, struct error *err)
{
	struct runtime *runtime = &instance->engine->runtime;
	struct container container;
	struct cgroup cgroup;
	cleanup_free pid_t *pids = NULL;
	size_t count = 0;
	int ret = container_load(runtime, instance->id, 0, &container, err);

	if (ret < 0)
		return ret;
	ret = container_cgroup(runtime, &container, &cgroup, err);
	container_close(&container);
	if (ret < 0)
		return ret;
	ret = cgroup_procs(&cgroup, &pids, &count, err);
	cgroup_close(&cgroup);
	for (size_t i = 0; ret == 0 && i < count; i++) {
		struct task task;

		if (read_task(pids[i], &task) < 0)
			continue;
		(void)json_array_append_new(rows, task_row(pids[i], &task));
		free(task.command);
	}
	return ret;
}

int top_command(struct cli *cli, int argc, char **argv)
{
	static const struct format_heading headings[] = { { "UID", "UID" },	{ "PID", "PID" }, { "PPID", "PPID" },
							  { "STIME", "STIME" }, { "TTY", "TTY" }, { "TIME", "TIME" },
							  { "CMD", "CMD" },	{ NULL, NULL } };
	static const struct format format = {
		.table = "{{.UID}}\t{{.PID}}\t{{.PPID}}\t{{.STIME}}\t{{.TTY}}\t{{.TIME}}\t{{.CMD}}",
		.headings = headings,
	};
	cleanup_instance struct instance instance = INSTANCE_INIT;
	cleanup_json json_t *rows = json_array();
	struct instance_state state;
	struct error err = ERROR_INIT;
	char **operands;
	int count;

	switch (cli_parse(cli, NULL, argc, argv, &operands, &count)) {
	case CLI_DONE:
		return 0;
	case CLI_BAD:
		return cli->usage_error;
	case CLI_GO:
		break;
	}
	if (open_instance(cli, operands[0], 0, &instance) < 0)
		return 1;
	if (instance_look(&instance, &state, &err) < 0)
		return program_fail(cli, &err, 1);
	if (!instance_state_alive(&state))
		return program_say(cli, 1, "container %s is not running", operands[0]);
	if (list_tasks(&instance, rows, &err) < 0)
		return program_fail(cli, &err, 1);
	return show_rows(cli, &format, rows);
}
