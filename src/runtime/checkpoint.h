/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint - a container's processes as files, and back: criu(8).
 *
 * CRIU is run as a program, which every distribution has: its library is in
 * none of Debian's packages.  Its flags are chosen here, its work is its own;
 * when it fails the end of its log becomes the error.  Image directories hold
 * CRIU's files and descriptors.json, which says what the standard streams were.
 */
#ifndef CAISSON_RUNTIME_CHECKPOINT_H
#define CAISSON_RUNTIME_CHECKPOINT_H

#include "runtime/runtime.h"

struct checkpoint_options {
	const char *criu;	  /* program; NULL: "criu", by PATH */
	const char *image_path;	  /* directory of the image; NULL: "checkpoint" in the working directory */
	const char *work_path;	  /* for logs; NULL: image_path */
	const char *parent_path;  /* relative to image_path: an earlier pre-dump, or NULL */
	const char *page_server;  /* ADDRESS:PORT, or NULL */
	const char *cgroups_mode; /* "soft", "full", "strict", "ignore"; NULL: soft */
	const char *empty_ns;	  /* "network", or NULL */
	const char *lsm_profile, *lsm_mount_context;
	int status_fd; /* gets a NUL byte when lazy pages can be served; -1: none */
	bool leave_running, tcp_established, ext_unix_sk, shell_job, file_locks, pre_dump, auto_dedup, lazy_pages;
	/* Of a restored container with process.terminal: its master goes to a socket, or to the caller. */
	const char *console_socket;
	bool keep_console;
	int console_fd_out; /* set to the master when keep_console is true and there is one, else -1 */
};
#define CHECKPOINT_OPTIONS_INIT ((struct checkpoint_options){ .status_fd = -1, .console_fd_out = -1 })

/* Writes the image.  Unless it is left running, the container's processes are gone afterwards. */
int runtime_checkpoint(struct runtime *runtime, struct container *container, const struct checkpoint_options *options,
		       struct error *err);

/*
 * Makes container id from bundle and image: running, a child of the caller; container is filled on success.  Its
 * prestart and createRuntime hooks run.  Nothing is left on failure.  pid_file: may be NULL.
 */
int runtime_restore(struct runtime *runtime, const char *id, const char *bundle, const char *pid_file,
		    struct checkpoint_options *options, struct container *container, struct error *err);

#endif
