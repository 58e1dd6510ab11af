/* SPDX-License-Identifier: Apache-2.0 */
/* ps: the host's ps(1), narrowed to the processes in the container's cgroup. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/oci/oci.h"

enum { OUTPUT_MAX = 64 << 20 };

struct flags {
	const char *format;
};

const char oci_ps_details[] =
	"   What follows the id goes to ps(1), \"-ef\" by default; its output must have a PID column.\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci ps web -o pid,rss,cmd\n";

const struct cli_option oci_ps_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 'f', "format", "table json", struct flags, format,
		  "table (default) or json"),
	{ .name = NULL },
};

static int read_pids(struct oci *oci, const char *id, pid_t **pids, size_t *count, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct cgroup cgroup = CGROUP_INIT;
	int ret = instance_open(oci, id, 0, &instance, err);

	*pids = NULL;
	*count = 0;
	if (ret < 0)
		return ret;
	ret = container_cgroup(&instance.runtime, &instance.container, &cgroup, err);
	if (ret == -ENOENT)
		return 0;
	if (ret == 0)
		ret = cgroup_procs(&cgroup, pids, count, err);
	cgroup_close(&cgroup);
	return ret;
}

static int print_json(const pid_t *pids, size_t count, struct error *err)
{
	cleanup_str struct str out = STR_INIT;

	str_append(&out, count ? "[" : "null");
	for (size_t i = 0; i < count; i++)
		str_printf(&out, "%s%d", i ? "," : "", pids[i]);
	str_append(&out, count ? "]\n" : "\n");
	return str_failed(&out) ? error_errno(err, ENOMEM, "cannot list processes") : oci_print(str_text(&out), err);
}

/* Runs ps and returns its output. */
static int run_ps(char **argv, char **output, struct error *err)
{
	cleanup_close int out = -1;
	int pipes[2], status, ret;
	pid_t pid;

	if (pipe(pipes) < 0)
		return error_errno(err, errno, "cannot make a pipe");
	pid = fork();
	if (pid == 0) {
		close(pipes[0]);
		if (dup2(pipes[1], STDOUT_FILENO) >= 0)
			(void)execvp(argv[0], argv);
		(void)dprintf(STDERR_FILENO, "exec: \"ps\": %s\n",
			      errno == ENOENT ? "executable file not found in $PATH" : error_words(errno));
		_exit(127);
	}
	close(pipes[1]);
	out = pipes[0];
	if (pid < 0)
		return error_errno(err, errno, "cannot run ps");
	ret = file_read_fd(out, OUTPUT_MAX, output, NULL, err);
	/* ps must not wait for a reader that has given up. */
	close(take_fd(&out));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (ret == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		return error_set(err, EIO, "ps failed with status %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128);
	return ret;
}

/* The word in column number index of a line; false when there are fewer. */
static bool column(const char *line, size_t length, int index, char *word, size_t size)
{
	const char *end = line + length;

	for (;; index--) {
		const char *start;

		while (line < end && (*line == ' ' || *line == '\t'))
			line++;
		if (line == end)
			return false;
		start = line;
		while (line < end && *line != ' ' && *line != '\t')
			line++;
		if (index == 0)
			return snprintf(word, size, "%.*s", (int)(line - start), start) < (int)size;
	}
}

static int find_pid_column(const char *line, size_t length)
{
	char word[64];

	for (int i = 0; column(line, length, i, word, sizeof(word)) || *word; i++) {
		if (strcmp(word, "PID") == 0)
			return i;
		if (!column(line, length, i, word, sizeof(word)))
			break;
	}
	return -1;
}

static bool is_ours(const char *line, size_t length, int index, const pid_t *pids, size_t count, bool *number)
{
	char word[64];
	int64_t pid;

	*number = column(line, length, index, word, sizeof(word)) && str_to_i64(word, &pid) == 0;
	for (size_t i = 0; *number && i < count; i++) {
		if (pids[i] == pid)
			return true;
	}
	return false;
}

static int print_table(const char *text, const pid_t *pids, size_t count, struct error *err)
{
	cleanup_str struct str out = STR_INIT;
	size_t length = strcspn(text, "\n");
	int index = find_pid_column(text, length);
	bool ours = false;

	if (index < 0)
		return error_set(err, EINVAL, "couldn't find PID field in ps output");
	str_append_bytes(&out, text, length);
	str_append(&out, "\n");
	for (text += length; *text == '\n' && text[1]; text += length) {
		bool number;

		length = strcspn(++text, "\n");
		ours = is_ours(text, length, index, pids, count, &number);
		if (!ours)
			continue;
		str_append_bytes(&out, text, length);
		str_append(&out, "\n");
	}
	return str_failed(&out) ? error_errno(err, ENOMEM, "cannot list processes") : oci_print(str_text(&out), err);
}

static int list_processes(struct oci *oci, const struct flags *flags, int argc, char **argv, struct error *err)
{
	static char standard[] = "-ef", name[] = "ps";
	cleanup_free char *output = NULL;
	cleanup_free pid_t *pids = NULL;
	cleanup_free char **words = NULL;
	size_t count;
	int ret = read_pids(oci, argv[0], &pids, &count, err);

	if (ret < 0)
		return ret;
	if (flags->format && strcmp(flags->format, "json") == 0)
		return print_json(pids, count, err);
	words = calloc((size_t)argc + 2, sizeof(*words));
	if (!words)
		return error_errno(err, ENOMEM, "cannot list processes");
	words[0] = name;
	words[1] = standard;
	for (int i = 1; i < argc; i++)
		words[i] = argv[i];
	ret = run_ps(words, &output, err);
	return ret < 0 ? ret : print_table(output, pids, count, err);
}

int oci_ps(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	int code, ret;

	if (!oci_arguments(cli, &flags, 1, -1, &argc, &argv, &code))
		return code;
	if (flags.format && strcmp(flags.format, "table") != 0 && strcmp(flags.format, "json") != 0)
		ret = error_set(&err, EINVAL, "invalid format option");
	else
		ret = list_processes(cli->context, &flags, argc, argv, &err);
	return ret < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
