/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec - one more process in a running instance.
 *
 * The caller is its parent and passes stdio on: the caller's own descriptors
 * never get into the instance (they could be a terminal that takes input by
 * TIOCSTI, CVE-2017-5226, or the host's /dev/null).
 */
#ifndef CAISSON_ENGINE_EXEC_H
#define CAISSON_ENGINE_EXEC_H

#include "engine/engine.h"

struct exec_options {
	json_t *document; /* {"Cmd": [..], "Env": [..], "WorkingDir", "User", "Tty", "Privileged"}; borrowed */
	bool interactive; /* pass input on */
	bool detach;	  /* return once it runs; its stdio leads nowhere */
	int input, output, errors;
};

/* *code: the exit code of the process, 0 when detached.  On failure docker's: 127 where the command or its directory is
 * not there, 126 where it could not begin for another reason, 1 where nothing can. */
int instance_exec(struct instance *instance, const struct exec_options *options, int *code, struct error *err);

#endif
