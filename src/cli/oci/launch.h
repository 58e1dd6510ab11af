/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch - the flags that create, run and restore have in common, and what
 * they mean for the runtime.
 */
#ifndef CAISSON_CLI_OCI_LAUNCH_H
#define CAISSON_CLI_OCI_LAUNCH_H

#include "cli/oci/oci.h"

/* A command with more flags has this as its first member: the tables count from there. */
struct launch {
	const char *bundle, *config, *console_socket, *pidfd_socket, *pid_file;
	bool no_pivot, no_new_keyring, detach, keep, no_subreaper;
	int64_t preserve_fds;
};

#define LAUNCH_OPTIONS                                                                                       \
	OPT_VALUE(OPTION_STRING, "bundle", 'b', "dir", "dir", struct launch, bundle,                         \
		  "the bundle directory (default: the current one)"),                                        \
		OPT_VALUE(OPTION_STRING, "console-socket", 0, "path", "file", struct launch, console_socket, \
			  "AF_UNIX socket that gets the master end of the console's pseudoterminal"),        \
		OPT_VALUE(OPTION_STRING, "pid-file", 0, "file", "file", struct launch, pid_file,             \
			  "file that gets the process id"),                                                  \
		OPT_SWITCH("no-pivot", 0, struct launch, no_pivot,                                           \
			   "do not use pivot_root, for a root file system on a ramdisk")

#define LAUNCH_CREATE_OPTIONS                                                                                        \
	LAUNCH_OPTIONS,                                                                                              \
		OPT_VALUE(OPTION_STRING, "config", 'f', "file", "file", struct launch, config,                       \
			  "the configuration, when it is not the bundle's config.json"),                             \
		OPT_VALUE(OPTION_STRING, "pidfd-socket", 0, "path", "file", struct launch, pidfd_socket,             \
			  "AF_UNIX socket that gets a pidfd of the container process"),                              \
		OPT_SWITCH("no-new-keyring", 0, struct launch, no_new_keyring, "keep the caller's session keyring"), \
		OPT_INT("preserve-fds", 0, "n", struct launch, preserve_fds,                                         \
			"pass N more descriptors to the container (stdio + $LISTEN_FDS + N in total)")

#define LAUNCH_RUN_OPTIONS                                                                                            \
	OPT_SWITCH("detach", 'd', struct launch, detach, "leave once the process runs, and do not wait for its end"), \
		OPT_SWITCH("no-subreaper", 0, struct launch, no_subreaper,                                            \
			   "do not become the parent of what the container's processes leave behind")

/* The flags as the runtime takes them; detach says whether nobody will attend to the process. */
int launch_options(const struct launch *launch, bool detach, struct runtime_create_options *options, struct error *err);

#endif
