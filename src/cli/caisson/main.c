/* SPDX-License-Identifier: Apache-2.0 */
/* caisson: the table of commands, and the way into it. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/caisson/caisson.h"
#include "linux/selfexec.h"

#ifndef CAISSON_LIBEXECDIR
#define CAISSON_LIBEXECDIR "/usr/libexec/caisson"
#endif

/* Tells a protected copy of ourselves what it is a copy of. */
static const char self_variable[] = "CAISSON_SELF";

struct globals {
	const char *root;
	bool debug, version;
};

static const struct cli_option globals[] = {
	OPT_SWITCH("debug", 'D', struct globals, debug, "Say more"),
	OPT_VALUE(OPTION_STRING, "root", 0, "dir", "dir", struct globals, root, "Directory of the whole store"),
	OPT_SWITCH("version", 'v', struct globals, version, "Print the version"),
	{ .name = NULL },
};

/* Commands that are the same at the top and below `container`. */
#define INSTANCE_COMMANDS                                                                                            \
	{ .name = "attach",                                                                                          \
	  .operands = "[OPTIONS] CONTAINER",                                                                         \
	  .summary = "Attach stdio to a running instance",                                                           \
	  .complete = "instance",                                                                                    \
	  .min_operands = 1,                                                                                         \
	  .max_operands = 1,                                                                                         \
	  .options = attach_options,                                                                                 \
	  .run = attach_command },                                                                                   \
		{ .name = "create",                                                                                  \
		  .operands = "[OPTIONS] IMAGE [COMMAND] [ARG...]",                                                  \
		  .summary = "Create an instance without starting it",                                               \
		  .complete = "image",                                                                               \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .operands_end_options = true,                                                                      \
		  .options = create_options,                                                                         \
		  .run = create_command },                                                                           \
		{ .name = "exec",                                                                                    \
		  .operands = "[OPTIONS] CONTAINER COMMAND [ARG...]",                                                \
		  .summary = "Run one more command in a running instance",                                           \
		  .complete = "instance",                                                                            \
		  .min_operands = 2,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .operands_end_options = true,                                                                      \
		  .options = exec_options,                                                                           \
		  .run = exec_command,                                                                               \
		  .details = "Examples:\n"                                                                           \
			     "  caisson exec web ps\n"                                                               \
			     "  caisson exec -it -u nobody web sh" },                                                \
		{ .name = "kill",                                                                                    \
		  .operands = "[OPTIONS] CONTAINER [CONTAINER...]",                                                  \
		  .summary = "Send a signal (SIGKILL)",                                                              \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .options = kill_options,                                                                           \
		  .run = kill_command },                                                                             \
		{ .name = "logs",                                                                                    \
		  .operands = "[OPTIONS] CONTAINER",                                                                 \
		  .summary = "Show what an instance has printed",                                                    \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = 1,                                                                                 \
		  .options = logs_options,                                                                           \
		  .run = logs_command },                                                                             \
		{ .name = "pause",                                                                                   \
		  .operands = "CONTAINER [CONTAINER...]",                                                            \
		  .summary = "Freeze all processes of instances",                                                    \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .run = pause_command },                                                                            \
		{ .name = "port",                                                                                    \
		  .operands = "CONTAINER [PORT]",                                                                    \
		  .summary = "List published ports",                                                                 \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = 2,                                                                                 \
		  .run = port_command },                                                                             \
		{ .name = "rename",                                                                                  \
		  .operands = "CONTAINER NEW_NAME",                                                                  \
		  .summary = "Rename an instance",                                                                   \
		  .complete = "instance",                                                                            \
		  .min_operands = 2,                                                                                 \
		  .max_operands = 2,                                                                                 \
		  .run = rename_command },                                                                           \
		{ .name = "restart",                                                                                 \
		  .operands = "[OPTIONS] CONTAINER [CONTAINER...]",                                                  \
		  .summary = "Stop and start instances",                                                             \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .options = stop_options,                                                                           \
		  .run = restart_command },                                                                          \
		{ .name = "rm",                                                                                      \
		  .alias = "remove",                                                                                 \
		  .operands = "[OPTIONS] CONTAINER [CONTAINER...]",                                                  \
		  .summary = "Remove instances",                                                                     \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .options = rm_options,                                                                             \
		  .run = rm_command },                                                                               \
		{ .name = "run",                                                                                     \
		  .operands = "[OPTIONS] IMAGE [COMMAND] [ARG...]",                                                  \
		  .summary = "Create an instance from an image and run a command in it",                             \
		  .complete = "image",                                                                               \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .operands_end_options = true,                                                                      \
		  .options = run_options,                                                                            \
		  .run = run_command,                                                                                \
		  .details = "Examples:\n"                                                                           \
			     "  caisson run --rm busybox echo hello\n"                                               \
			     "  caisson run -it --rm busybox sh\n"                                                   \
			     "  caisson run -d --name web --memory 64m --cpus 0.5 -v data:/srv busybox httpd -f\n\n" \
			     "Without --network an instance has a loopback of its own and nothing else." },          \
		{ .name = "start",                                                                                   \
		  .operands = "[OPTIONS] CONTAINER [CONTAINER...]",                                                  \
		  .summary = "Start instances",                                                                      \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .options = start_options,                                                                          \
		  .run = start_command },                                                                            \
		{ .name = "stats",                                                                                   \
		  .operands = "[OPTIONS] [CONTAINER...]",                                                            \
		  .summary = "Show what instances use, as it changes",                                               \
		  .complete = "instance",                                                                            \
		  .max_operands = -1,                                                                                \
		  .options = stats_options,                                                                          \
		  .run = stats_command },                                                                            \
		{ .name = "stop",                                                                                    \
		  .operands = "[OPTIONS] CONTAINER [CONTAINER...]",                                                  \
		  .summary = "Stop instances",                                                                       \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .options = stop_options,                                                                           \
		  .run = stop_command },                                                                             \
		{ .name = "top",                                                                                     \
		  .operands = "CONTAINER",                                                                           \
		  .summary = "Show the processes of an instance",                                                    \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .run = top_command },                                                                              \
		{ .name = "unpause",                                                                                 \
		  .operands = "CONTAINER [CONTAINER...]",                                                            \
		  .summary = "Let frozen instances go on",                                                           \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .run = unpause_command },                                                                          \
		{ .name = "update",                                                                                  \
		  .operands = "[OPTIONS] CONTAINER [CONTAINER...]",                                                  \
		  .summary = "Change limits of instances",                                                           \
		  .complete = "instance",                                                                            \
		  .min_operands = 1,                                                                                 \
		  .max_operands = -1,                                                                                \
		  .options = update_options,                                                                         \
		  .run = update_command },                                                                           \
	{                                                                                                            \
		.name = "wait", .operands = "CONTAINER [CONTAINER...]",                                              \
		.summary = "Wait until instances end, and print their exit codes", .complete = "instance",           \
		.min_operands = 1, .max_operands = -1, .run = wait_command                                           \
	}

const struct command container_commands[] = {
	INSTANCE_COMMANDS,
	{ .name = "inspect",
	  .operands = "[OPTIONS] CONTAINER [CONTAINER...]",
	  .summary = "Show all that is known of instances",
	  .complete = "instance",
	  .min_operands = 1,
	  .max_operands = -1,
	  .options = inspect_options,
	  .run = container_inspect_command },
	{ .name = "ls",
	  .alias = "list",
	  .operands = "[OPTIONS]",
	  .summary = "List instances",
	  .options = ps_options,
	  .run = ps_command },
	{ .name = "ps", .operands = "[OPTIONS]", .options = ps_options, .run = ps_command },
	{ .name = "prune",
	  .operands = "[OPTIONS]",
	  .summary = "Remove all stopped instances",
	  .options = force_option,
	  .run = prune_command },
	{ .name = NULL },
};

static int help_command(struct cli *cli, int argc, char **argv);

static const struct command commands[] = {
	INSTANCE_COMMANDS,
	{ .name = "container", .operands = "COMMAND", .summary = "Manage instances", .commands = container_commands },
	{ .name = "help",
	  .operands = "[COMMAND]",
	  .summary = "Show help of a command",
	  .max_operands = -1,
	  .run = help_command },
	{ .name = "history",
	  .operands = "[OPTIONS] IMAGE",
	  .summary = "Show how an image was made",
	  .complete = "image",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = history_options,
	  .run = history_command },
	{ .name = "image", .operands = "COMMAND", .summary = "Manage images", .commands = image_commands },
	{ .name = "images",
	  .operands = "[OPTIONS] [REPOSITORY[:TAG]]",
	  .summary = "List images",
	  .complete = "image",
	  .max_operands = 1,
	  .options = images_options,
	  .run = images_command },
	{ .name = "import",
	  .operands = "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
	  .summary = "Make an image from a root file system's tarball",
	  .complete = "file",
	  .min_operands = 1,
	  .max_operands = 2,
	  .options = import_options,
	  .run = import_command },
	{ .name = "info",
	  .operands = "[OPTIONS]",
	  .summary = "Show what the engine and the host are",
	  .options = format_option,
	  .run = info_command },
	{ .name = "inspect",
	  .operands = "[OPTIONS] NAME|ID [NAME|ID...]",
	  .summary = "Show all that is known of instances or images",
	  .complete = "instance",
	  .min_operands = 1,
	  .max_operands = -1,
	  .options = inspect_options,
	  .run = inspect_command },
	{ .name = "load",
	  .operands = "[OPTIONS] [FILE|DIRECTORY]",
	  .summary = "Load images from an OCI layout or a docker archive",
	  .complete = "file",
	  .max_operands = 1,
	  .options = load_options,
	  .run = load_command },
	{ .name = "ps",
	  .operands = "[OPTIONS]",
	  .summary = "List instances",
	  .options = ps_options,
	  .run = ps_command },
	{ .name = "rmi",
	  .operands = "[OPTIONS] IMAGE [IMAGE...]",
	  .summary = "Remove images",
	  .complete = "image",
	  .min_operands = 1,
	  .max_operands = -1,
	  .options = rmi_options,
	  .run = rmi_command },
	{ .name = "save",
	  .operands = "[OPTIONS] IMAGE [IMAGE...]",
	  .summary = "Write images to an archive",
	  .complete = "image",
	  .min_operands = 1,
	  .max_operands = -1,
	  .options = save_options,
	  .run = save_command },
	{ .name = "settle", .operands = "CONTAINER LOCK", .max_operands = 2, .run = settle_command },
	{ .name = "system", .operands = "COMMAND", .summary = "Manage the store", .commands = system_commands },
	{ .name = "tag",
	  .operands = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
	  .summary = "Give an image one more name",
	  .complete = "image",
	  .min_operands = 2,
	  .max_operands = 2,
	  .run = tag_command },
	{ .name = "version",
	  .operands = "[OPTIONS]",
	  .summary = "Show the version",
	  .options = format_option,
	  .run = version_command },
	{ .name = "volume", .operands = "COMMAND", .summary = "Manage volumes", .commands = volume_commands },
	{ .name = NULL },
};

static const struct command root = {
	.name = "caisson",
	.operands = "[--root DIR] COMMAND",
	.summary = "One OCI image, several ways to isolate it, one command.",
	.options = globals,
	.commands = commands,
};

static int help_command(struct cli *cli, int argc, char **argv)
{
	char help[] = "--help", *words[8];
	int count = 0;

	if (argc == 2 && strcmp(argv[1], "--machine") == 0) {
		cli_help_machine(cli->out, "caisson", &root, globals);
		return 0;
	}
	for (int i = 1; i < argc && count < 6; i++)
		words[count++] = argv[i];
	words[count++] = help;
	words[count] = NULL;
	(void)snprintf(cli->path, sizeof(cli->path), "caisson");
	return cli_dispatch(cli, &root, count, words);
}

/* Where this program was started from, even if it runs from a protected copy. */
static char *find_self(void)
{
	const char *told = getenv(self_variable);
	char path[PATH_MAX];
	ssize_t length;

	if (told && *told == '/' && selfexec_is_protected())
		return strdup(told);
	length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	return length > 0 ? strndup(path, (size_t)length) : NULL;
}

/* A program that belongs to us: beside us (in a build), or where it was installed. */
static char *find_companion(const char *self, const char *name)
{
	char path[PATH_MAX];
	const char *slash = self ? strrchr(self, '/') : NULL;
	int directory = slash ? (int)(slash - self) : 0;

	(void)snprintf(path, sizeof(path), "%.*s/%s", directory, self ? self : "", name);
	if (slash && access(path, X_OK) == 0)
		return strdup(path);
	(void)snprintf(path, sizeof(path), "%.*s/../libexec/caisson/%s", directory, self ? self : "", name);
	if (slash && access(path, X_OK) == 0)
		return strdup(path);
	(void)snprintf(path, sizeof(path), CAISSON_LIBEXECDIR "/%s", name);
	return strdup(path);
}

/* Commands in which this program stands in an instance for a moment, where it could be reached from. */
static bool needs_protection(int argc, char **argv)
{
	static const char *const names[] = { "run", "start", "restart", "exec", "settle" };

	for (int i = 1; i < argc; i++) {
		for (size_t j = 0; j < sizeof(names) / sizeof(*names); j++) {
			if (strcmp(argv[i], names[j]) == 0)
				return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	struct program program = { .root = NULL };
	struct globals flags = { .root = NULL };
	struct cli cli = { .path = "caisson",
			   .root = &root,
			   .context = &program,
			   .usage_error = EXIT_ENGINE,
			   .out = stdout,
			   .err = stderr,
			   .command = &root };
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	program.self = find_self();
	if (needs_protection(argc, argv) && program.self && setenv(self_variable, program.self, 1) == 0)
		(void)selfexec_protect(argv, environ, &err);
	(void)unsetenv(self_variable);
	switch (cli_parse_options(&cli, globals, &flags, true, argc, argv, &operands, &count)) {
	case CLI_DONE:
		return 0;
	case CLI_BAD:
		return cli.usage_error;
	case CLI_GO:
		break;
	}
	if (flags.version) {
		(void)printf("caisson version " CAISSON_VERSION "\n");
		return 0;
	}
	program.root = flags.root && *flags.root ? flags.root : NULL;
	program.debug = flags.debug;
	program.monitor = find_companion(program.self, "caisson-monitor");
	program.init = find_companion(program.self, "caisson-init");
	code = cli_dispatch(&cli, &root, count, operands);
	if (program.engine_open)
		engine_close(&program.engine);
	free(program.self);
	free(program.monitor);
	free(program.init);
	if (fflush(stdout) == EOF && code == 0)
		code = 1;
	return code;
}
