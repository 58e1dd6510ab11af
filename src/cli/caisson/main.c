/* SPDX-License-Identifier: Apache-2.0 */
/* caisson: the table of commands, and the way into it. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/caisson/caisson.h"
#include "linux/companion.h"
#include "linux/selfexec.h"

/* Tells a protected copy of ourselves what it is a copy of. */
static const char self_variable[] = "CAISSON_SELF";

static const struct cli_option globals[] = {
	OPT_SWITCH("debug", 'D', struct globals, debug, NULL), /* docker's; there is nothing more to say */
	OPT_VALUE(OPTION_STRING, "root", 0, "dir", "dir", struct globals, root, "Directory of the whole store"),
	OPT_SWITCH("version", 'v', struct globals, version, "Print the version"),
	{ .name = NULL },
};

static const struct command root = {
	.name = "caisson",
	.operands = "[--root DIR] COMMAND",
	.summary = "One OCI image, several ways to isolate it, one command.",
	.options = globals,
	.commands = root_commands,
	.details = "Examples:\n"
		   "  caisson load -i busybox.tar\n"
		   "  caisson run --rm -it busybox sh\n"
		   "  caisson ps -a",
};

int help_command(struct cli *cli, int argc, char **argv)
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

/* Without privileges nobody could write to the binary through us: there a failure is none. */
static int protect(const char *self, char **argv, struct error *err)
{
	int ret;

	if (!self)
		ret = error_set(err, ENOENT, "cannot tell which program this is: is /proc mounted?");
	else if (setenv(self_variable, self, 1) < 0)
		ret = error_errno(err, errno, "cannot protect the program from what it runs");
	else
		ret = selfexec_protect(argv, environ, err);
	return geteuid() == 0 ? ret : 0;
}

/* Whoever starts it says that it is missing; not every command does. */
static char *find_companion(const char *self, const char *name)
{
	char *path;

	return companion_find(self, name, &path, NULL) == 0 ? path : strdup(name);
}

/* Commands in which this program stands in an instance for a moment, where it could be reached from. */
static bool needs_protection(int argc, char **argv)
{
	static const char *const names[] = { "run", "start", "restart", "exec", "settle" };

	for (int i = 1; i < argc && strcmp(argv[i], "__complete") != 0; i++) {
		for (size_t j = 0; j < sizeof(names) / sizeof(*names); j++) {
			if (strcmp(argv[i], names[j]) == 0)
				return true;
		}
	}
	return false;
}

/*
 * What describes an instance is JSON, and so is what is shown of it: there is no place for other bytes, which would
 * be lost on the way.
 */
static int check_words(struct cli *cli, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		json_t *word = json_string(argv[i]);

		json_decref(word);
		if (!word)
			return program_say(cli, -EILSEQ, "argument %d is not valid UTF-8", i);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct program program = { .root = NULL };
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

	if (check_words(&cli, argc, argv) < 0)
		return EXIT_ENGINE;
	program.self = find_self();
	if (needs_protection(argc, argv) && protect(program.self, argv, &err) < 0)
		return program_fail(&cli, &err, EXIT_ENGINE);
	(void)unsetenv(self_variable);
	/* What instances are made of, and what they start with, is not the caller's to narrow: docker's daemon has 022.
	 */
	(void)umask(022);
	/* Nor is it to have the kernel throw the ends of our children away. */
	(void)signal(SIGCHLD, SIG_DFL);
	switch (cli_parse_options(&cli, globals, &program.flags, true, argc, argv, &operands, &count)) {
	case CLI_DONE:
		return 0;
	case CLI_BAD:
		return cli.usage_error;
	case CLI_GO:
		break;
	}
	if (program.flags.version) {
		(void)printf("caisson version " CAISSON_VERSION "\n");
		return 0;
	}
	program.root = program.flags.root && *program.flags.root ? program.flags.root : NULL;
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
