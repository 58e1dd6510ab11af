/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson-init - process 1.
 *
 *     caisson-init [--] PROGRAM [ARGS...]    in a container: starts the program, forwards signals, reaps (reaper.h)
 *     /init                                  in a virtual machine, started by its kernel (agent.h)
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/reaper.h"

enum { EXIT_USAGE = 2 };

int main(int argc, char **argv)
{
	/* The kernel passes words of its command line on, so there may be arguments. */
	if (argc > 0 && strcmp(argv[0], "/init") == 0 && getpid() == 1)
		agent_main();
	argv++;
	if (*argv && strcmp(*argv, "--") == 0)
		argv++;
	if (!*argv || strcmp(*argv, "--help") == 0) {
		dprintf(*argv ? STDOUT_FILENO : STDERR_FILENO, "usage: caisson-init [--] PROGRAM [ARGS...]\n");
		return *argv ? 0 : EXIT_USAGE;
	}
	if (strcmp(*argv, "--version") == 0) {
		dprintf(STDOUT_FILENO, "caisson-init version %s\n", CAISSON_VERSION);
		return 0;
	}
	return reaper_run(argv);
}
