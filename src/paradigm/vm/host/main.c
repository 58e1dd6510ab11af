/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson-vmm - the monitor of one virtual machine.
 *
 *     caisson-vmm --config FD     runs the machine that the JSON behind FD describes (paradigm/vm/config.h)
 *
 * Nobody calls it but the paradigms pv and vm, which run it inside the shell,
 * and `caisson vm boot`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/str.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/host/bare.h"
#include "paradigm/vm/host/supervisor.h"

enum { CONFIG_MAX = 1 << 20 };

static int usage(void)
{
	dprintf(STDERR_FILENO, "usage: caisson-vmm --config FD\n"
			       "the monitor of one virtual machine; `caisson run --isolation pv` calls it\n");
	return BARE_FAILED;
}

static int run(const char *number)
{
	struct arena arena = { .head = NULL };
	struct error err = ERROR_INIT;
	struct vm_config config;
	char *text = NULL;
	size_t size = 0;
	int64_t fd;
	int status = BARE_FAILED;

	if (str_to_i64(number, &fd) < 0 || fd < 0 || fd > 1 << 20)
		return usage();
	if (file_read_fd((int)fd, CONFIG_MAX, &text, &size, &err) < 0 ||
	    vm_config_read(text, size, &arena, &config, &err) < 0) {
		dprintf(STDERR_FILENO, "caisson-vmm: configuration: %s\n", err.text);
	} else {
		close((int)fd);
		status = config.oci < 0 ? bare_run(&config) : supervisor_run(&config);
	}
	free(text);
	arena_free(&arena);
	return status;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--config") == 0)
		return run(argv[2]);
	return usage();
}
