/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paradigm - what a paradigm has to say for itself: the contract between the
 * outer shell, which is the same for all, and what becomes process 1 in it.
 *
 * A paradigm is a constant table of functions, found by name.  Whoever calls
 * it never asks which one it is.
 */
#ifndef CAISSON_PARADIGM_PARADIGM_H
#define CAISSON_PARADIGM_PARADIGM_H

#include "base/error.h"
#include "spec/runtime.h"

struct paradigm {
	const char *name; /* what --isolation takes */

	/* Whether this host can run it; if not, err says why, and what would help.  Anywhere; cheap. */
	int (*probe)(struct error *err);

	/*
	 * Inside the shell, before the workload is let go: looks up what become() will execute, so that a missing
	 * program is an error of `create`.  The result is owned by the caller (free()).  -ENOENT, -EACCES.
	 */
	int (*find)(const struct oci_process *process, char **program, struct error *err);

	/* Inside the shell, as its process 1, everything else done: turns into the workload.  Returns only on failure.
	 */
	int (*become)(const struct oci_process *process, const char *program, struct error *err);
};

#endif
