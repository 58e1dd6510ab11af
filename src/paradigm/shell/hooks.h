/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hooks - programs that the configuration wants run at points of a
 * container's life (config.md, "POSIX-platform Hooks").
 *
 * A hook gets the container's state (JSON) on standard input; it runs in the
 * namespaces of whoever calls this room, in the bundle's directory, as under
 * runc and crun: hooks say "rootfs/..." and mean it.  Its output is kept only
 * to tell why it failed.
 */
#ifndef CAISSON_PARADIGM_SHELL_HOOKS_H
#define CAISSON_PARADIGM_SHELL_HOOKS_H

#include "base/error.h"
#include "spec/runtime.h"

/*
 * Runs the hooks of a list one after the other; the first one that fails, or does not end within its timeout (it is
 * killed then), ends the series.  name is the list's name in the document, for messages.  bundle is the directory to
 * run in, as far as it is still there; NULL: the caller's.
 */
int hooks_run(const struct oci_hook_list *hooks, const char *name, const char *bundle, const char *state,
	      struct error *err);

#endif
