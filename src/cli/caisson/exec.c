/* SPDX-License-Identifier: Apache-2.0 */
/* caisson exec */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/caisson/caisson.h"
#include "engine/exec.h"

struct exec_flags {
	bool detach, interactive, tty, privileged;
	const char *user, *workdir, *detach_keys;
	struct option_list env, env_files;
};

const struct cli_option exec_options[] = {
	OPT_SWITCH("detach", 'd', struct exec_flags, detach, "Run it in the background"),
	/* Taken, and not needed: no key is looked for, so that all of them reach the command. */
	OPT_STRING("detach-keys", 0, "string", struct exec_flags, detach_keys, NULL),
	OPT_LIST("env", 'e', "list", struct exec_flags, env, "Set an environment variable"),
	OPT_VALUE(OPTION_LIST, "env-file", 0, "list", "file", struct exec_flags, env_files,
		  "Read environment variables from a file"),
	OPT_SWITCH("interactive", 'i', struct exec_flags, interactive, "Pass stdin on"),
	OPT_SWITCH("privileged", 0, struct exec_flags, privileged, "Give the process all capabilities"),
	OPT_SWITCH("tty", 't', struct exec_flags, tty, "Give it a terminal"),
	OPT_STRING("user", 'u', "string", struct exec_flags, user, "User and group (NAME|UID[:GROUP|GID])"),
	OPT_STRING("workdir", 'w', "string", struct exec_flags, workdir, "Working directory"),
	{ .name = NULL },
};

static json_t *build_document(const struct exec_flags *flags, char **command, int count, struct error *err)
{
	json_t *env = json_array(), *args = json_array();
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < flags->env_files.count; i++)
		ret = read_env_file(flags->env_files.items[i], env, false, err);
	for (size_t i = 0; ret == 0 && i < flags->env.count; i++) {
		json_t *variable = env_of_flag(flags->env.items[i], err);

		ret = variable ? 0 : -EILSEQ;
		if (variable && strchr(json_string_value(variable), '='))
			(void)json_array_append(env, variable);
		json_decref(variable);
	}
	for (int i = 0; i < count; i++)
		(void)json_array_append_new(args, json_string(command[i]));
	if (ret < 0) {
		json_decref(env);
		json_decref(args);
		return NULL;
	}
	return json_pack("{s:o,s:o,s:s,s:s,s:b,s:b}", "Cmd", args, "Env", env, "WorkingDir",
			 flags->workdir ? flags->workdir : "", "User", flags->user ? flags->user : "", "Tty",
			 flags->tty, "Privileged", flags->privileged);
}

static int exec_in(struct cli *cli, const struct exec_flags *flags, char **operands, int count)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	cleanup_json json_t *document = NULL;
	struct error err = ERROR_INIT;
	struct exec_options options = { .interactive = flags->interactive,
					.detach = flags->detach,
					.input = STDIN_FILENO,
					.output = STDOUT_FILENO,
					.errors = STDERR_FILENO };
	int code;

	if (flags->user && !*flags->user)
		return program_say(cli, EXIT_ENGINE, "--user: expected NAME|UID[:GROUP|GID]");
	if (flags->workdir && *flags->workdir != '/')
		return program_say(cli, EXIT_ENGINE, "--workdir: Cwd must be an absolute path");
	if (flags->tty && flags->interactive && !flags->detach && !isatty(STDIN_FILENO))
		return program_say(cli, 1, "the input device is not a TTY; leave -t out");
	document = build_document(flags, operands + 1, count - 1, &err);
	if (!document)
		return program_fail(cli, &err, EXIT_ENGINE);
	options.document = document;
	if (open_instance(cli, operands[0], 0, &instance) < 0)
		return 1;
	return instance_exec(&instance, &options, &code, &err) < 0 ? program_fail(cli, &err, code) : code;
}

int exec_command(struct cli *cli, int argc, char **argv)
{
	struct exec_flags flags = { .detach = false };
	char **operands;
	int count, code;

	if (cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		code = exec_in(cli, &flags, operands, count);
	option_list_free(&flags.env);
	option_list_free(&flags.env_files);
	return code;
}
