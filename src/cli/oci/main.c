/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson-oci's main: the table of commands, the global flags, and the one
 * place where the program protects its own binary from containers.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/complete.h"
#include "cli/oci/oci.h"
#include "linux/selfexec.h"

#define COMMAND(name_, operands_, complete_, summary_)                                                  \
	{                                                                                               \
		.name = #name_, .operands = operands_, .complete = complete_, .summary = summary_,      \
		.details = oci_##name_##_details, .max_operands = -1, .options = oci_##name_##_options, \
		.run = oci_##name_                                                                      \
	}
#define COMMAND_UNTIL_OPERAND(name_, operands_, complete_, summary_)                                    \
	{                                                                                               \
		.name = #name_, .operands = operands_, .complete = complete_, .summary = summary_,      \
		.details = oci_##name_##_details, .max_operands = -1, .options = oci_##name_##_options, \
		.operands_end_options = true, .run = oci_##name_                                        \
	}

#define ALIAS "caisson-oci-"

/* How many operands there may be is checked by each command, in runc's words. */
const struct command oci_commands[] = {
	COMMAND(checkpoint, "[command options] <container-id>", "instance;", "checkpoint a running container"),
	COMMAND(completion, "bash|zsh|fish", "bash zsh fish;",
		"print a script that teaches a shell to complete commands"),
	COMMAND(create, "[command options] <container-id>", NULL, "create a container"),
	COMMAND(delete, "[command options] <container-id>", "instance;",
		"delete any resources held by the container often used with detached container"),
	COMMAND(events, "[command options] <container-id>", "instance;",
		"display container events such as OOM notifications, cpu, memory, and IO usage statistics"),
	COMMAND_UNTIL_OPERAND(exec,
			      "[command options] <container-id> <command> [args...]  || -p process.json <container-id>",
			      "instance;", "execute new process inside the container"),
	COMMAND(features, "", NULL, "show the enabled features"),
	COMMAND(kill, "[command options] <container-id> [signal]", "instance;signal",
		"kill sends the specified signal (default: SIGTERM) to the container's init process"),
	COMMAND(list, "[command options]", NULL, "lists containers started with the given root"),
	COMMAND(pause, "<container-id>", "instance;", "pause suspends all processes inside the container"),
	COMMAND_UNTIL_OPERAND(ps, "[command options] <container-id> [ps options]", "instance;",
			      "ps displays the processes running inside a container"),
	COMMAND(restore, "[command options] <container-id>", NULL, "restore a container from a previous checkpoint"),
	COMMAND(resume, "<container-id>", "instance;", "resumes all processes that have been previously paused"),
	COMMAND(run, "[command options] <container-id>", NULL, "create and run a container"),
	COMMAND(spec, "[command options]", NULL, "create a new specification file"),
	COMMAND(start, "<container-id>", "instance;", "executes the user defined process in a created container"),
	COMMAND(state, "<container-id>", "instance;", "output the state of a container"),
	COMMAND(update, "[command options] <container-id>", "instance;", "update container resource constraints"),
	{ .name = NULL },
};

const struct cli_option oci_globals[] = {
	OPT_SWITCH("debug", 0, struct oci, debug, "enable debug logging"),
	OPT_VALUE(OPTION_STRING, "log", 0, "file", "file", struct oci, log_path,
		  "append log lines to a file instead of stderr"),
	OPT_VALUE(OPTION_STRING, "log-format", 0, "format", "text json", struct oci, log_format,
		  "log format: text (default) or json"),
	OPT_VALUE(OPTION_STRING, "root", 0, "dir", "dir", struct oci, root,
		  "directory for the state of containers, best on a tmpfs (default: /run/caisson-oci, or "
		  "$XDG_RUNTIME_DIR/caisson-oci when not root)"),
	OPT_VALUE(OPTION_STRING, "criu", 0, "file", "file", struct oci, criu,
		  "the criu program for checkpoint and restore (default: criu)"),
	OPT_SWITCH("systemd-cgroup", 0, struct oci, systemd_cgroup,
		   "make cgroups through systemd; cgroupsPath then reads \"slice:prefix:name\""),
	OPT_VALUE(OPTION_STRING, "cgroup-manager", 0, "manager", "cgroupfs systemd", struct oci, cgroup_manager,
		  "who makes cgroups, in crun's words: cgroupfs (default), or systemd as with --systemd-cgroup"),
	OPT_VALUE(OPTION_STRING, "rootless", 0, "when", "true false auto", struct oci, rootless,
		  "ignore cgroup permission errors: true, false, or auto (default)"),
	OPT_SWITCH("version", 'v', struct oci, version, "print the version"),
	{ .name = NULL },
};

static const char root_details[] = "Containers are configured using bundles. A bundle is a directory that holds a\n"
				   "specification file named \"config.json\" and a root file system.\n"
				   "\n"
				   "EXAMPLE:\n"
				   "    mkdir -p bundle/rootfs/bin && cd bundle\n"
				   "    cp /bin/busybox rootfs/bin/ && ln -s busybox rootfs/bin/sh\n"
				   "    caisson-oci spec\n"
				   "    caisson-oci run my-container\n";

static const struct command root_command = {
	.name = "caisson-oci",
	.operands = "[global options] command [command options] [arguments...]",
	.summary = "Open Container Initiative runtime",
	.details = root_details,
	.options = oci_globals,
	.commands = oci_commands,
};

static const struct command *find_command(const char *name)
{
	for (const struct command *each = oci_commands; each->name; each++) {
		if (strcmp(each->name, name) == 0)
			return each;
	}
	return NULL;
}

static int choose_cgroup_manager(struct oci *oci, struct error *err)
{
	const char *manager = oci->cgroup_manager;

	if (!manager)
		return 0;
	if (strcmp(manager, "cgroupfs") != 0 && strcmp(manager, "systemd") != 0)
		return error_set(err, EINVAL, "invalid value \"%s\" for --cgroup-manager: expected cgroupfs or systemd",
				 manager);
	oci->systemd_cgroup = strcmp(manager, "systemd") == 0;
	return 0;
}

static int open_log(struct oci *oci, struct error *err)
{
	int ret = log_open(&oci->log, oci->log_path, err);

	if (ret == 0 && oci->log_format && log_set_format(&oci->log, oci->log_format) < 0)
		ret = error_set(err, EINVAL, "invalid log-format: %s; known are text and json", oci->log_format);
	if (oci->debug)
		oci->log.level = LOG_LEVEL_DEBUG;
	return ret;
}

/* Commands that make processes for a container, by the mere sight of the word: a container that is called "run" costs a
 * start, no more. */
static bool makes_processes(char **argv)
{
	static const char *const commands[] = { "create", "run", "exec", "restore" };

	for (char **word = argv; *word; word++) {
		for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
			if (strcmp(*word, commands[i]) == 0)
				return true;
		}
	}
	return false;
}

static int print_version(const struct oci *oci)
{
	struct error err = ERROR_INIT;
	char text[256];

	(void)snprintf(text, sizeof(text),
		       "%s version " CAISSON_VERSION "\ncommit: v" CAISSON_VERSION "\nspec: " OCI_VERSION_MAX "\n",
		       oci->program);
	return oci_print(text, &err) < 0 ? oci_fail(oci, &err, OCI_EXIT_ERROR) : 0;
}

/* "help", "help COMMAND", and "help --machine" for programs that read it (the check of the man page). */
static int help_command(struct cli *cli, int argc, char **argv)
{
	if (argc < 2) {
		oci_help(cli);
		return 0;
	}
	if (strcmp(argv[1], "--machine") == 0) {
		cli_help_machine(cli->out, cli->root->name, cli->root, oci_globals);
		return 0;
	}
	cli->command = find_command(argv[1]);
	if (!cli->command)
		return -1;
	oci_help(cli);
	return 0;
}

static void offer_containers(struct completion *completion, const char *kind)
{
	struct runtime runtime;
	char **ids;
	size_t count;

	if (strcmp(kind, "instance") != 0 || oci_open(completion->cli->context, &runtime, NULL) < 0)
		return;
	if (runtime_list(&runtime, &ids, &count, NULL) == 0) {
		for (size_t i = 0; i < count; i++)
			completion_offer(completion, ids[i], NULL);
		runtime_ids_free(ids, count);
	}
	runtime_close(&runtime);
}

static int unknown_command(struct oci *oci, const char *word)
{
	const char *names[sizeof(root_command) + 32] = { "help" }, *nearest;
	struct error err = ERROR_INIT;
	size_t count = 1;

	for (const struct command *each = oci_commands; each->name; each++)
		names[count++] = each->name;
	nearest = cli_nearest(word, names);
	if (nearest)
		(void)error_set(&err, EINVAL, "No help topic for '%s'; did you mean '%s'?", word, nearest);
	else
		(void)error_set(&err, EINVAL, "No help topic for '%s'; `%s --help` lists the commands", word,
				oci->program);
	return oci_fail(oci, &err, OCI_EXIT_NO_COMMAND);
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
	struct oci *oci = cli->context;
	int code;

	if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "h") == 0) {
		code = help_command(cli, argc, argv);
		return code < 0 ? unknown_command(oci, argv[1]) : code;
	}
	if (strcmp(argv[0], "__complete") == 0) {
		completion_answer(&(struct completion){ .cli = cli, .globals = oci, .source = offer_containers },
				  argv + 1, argc - 1);
		return 0;
	}
	cli->command = find_command(argv[0]);
	if (!cli->command)
		return unknown_command(oci, argv[0]);
	(void)snprintf(cli->path, sizeof(cli->path), "%s %s", oci->program, cli->command->name);
	return cli->command->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
	struct oci oci = { .program = "caisson-oci", .log = LOG_INIT };
	struct cli cli = { .command = &root_command,
			   .root = &root_command,
			   .context = &oci,
			   .usage_error = OCI_EXIT_ERROR,
			   .single_dash = true,
			   .out = stdout,
			   .err = stderr,
			   .help = oci_help,
			   .report = oci_report };
	struct error err = ERROR_INIT;
	enum cli_verdict verdict;
	const char *name;
	char **words;
	int count, code;
	bool makes, exposed;

	if (argc < 1)
		return OCI_EXIT_ERROR;
	name = strrchr(argv[0], '/');
	name = name ? name + 1 : argv[0];
	if (strcmp(name, "runc") == 0)
		oci.program = "runc";
	/* caisson-oci-pv: for clients that can choose a runtime, but not annotate what they run. */
	if (str_starts(name, ALIAS))
		oci.paradigm = name + strlen(ALIAS);
	(void)snprintf(cli.path, sizeof(cli.path), "%s", oci.program);

	/*
	 * Who stands in a container with a foot must not be found there as a file that can be written to
	 * (CVE-2019-5736); without privileges nobody could write to the binary through us.  Before anything else, as
	 * all of it is done twice.
	 */
	makes = makes_processes(argv);
	exposed = makes && getauxval(AT_EUID) == 0;
	if (exposed && selfexec_protect(argv, environ, &err) < 0)
		return oci_fail(&oci, &err, OCI_EXIT_ERROR);
	/* Ignored by whoever started us, the kernel would throw exit statuses away, and give pids to others. */
	if (makes)
		(void)signal(SIGCHLD, SIG_DFL);
	verdict = cli_parse_options(&cli, oci_globals, &oci, true, argc, argv, &words, &count);
	if (verdict != CLI_GO)
		return verdict == CLI_DONE ? 0 : OCI_EXIT_ERROR;
	if (open_log(&oci, &err) < 0 || choose_cgroup_manager(&oci, &err) < 0)
		return oci_fail(&oci, &err, OCI_EXIT_ERROR);
	if (exposed)
		log_print(&oci.log, LOG_LEVEL_DEBUG, "runc exeseal: using /proc/self/exe clone or a read-only file");
	if (oci.version) {
		code = print_version(&oci);
	} else if (count == 0) {
		oci_help(&cli);
		code = 0;
	} else {
		code = dispatch(&cli, count, words);
	}
	log_close(&oci.log);
	return code;
}
