/* SPDX-License-Identifier: Apache-2.0 */
/*
 * criu - one request to criu(8) by its service protocol: `criu swrk FD`, and
 * messages of CRIU's rpc.proto over that socket (Protocol Buffers, "Encoding").
 *
 * The command line would do for most of it, but not for a terminal's master,
 * which comes as a descriptor, nor for hooks between two stages of a restore.
 * What is asked for, and where, is decided in checkpoint.c.
 */
#ifndef CAISSON_RUNTIME_CRIU_H
#define CAISSON_RUNTIME_CRIU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

/* criu_req_type */
enum criu_type { CRIU_DUMP = 1, CRIU_RESTORE = 2, CRIU_PRE_DUMP = 4 };

/* Numbers of the fields of criu_opts.  Descriptors are ours, by their numbers here; CRIU opens them through /proc. */
enum criu_field {
	CRIU_IMAGES_DIR_FD = 1,
	CRIU_PID = 2,
	CRIU_LEAVE_RUNNING = 3,
	CRIU_EXT_UNIX_SK = 4,
	CRIU_TCP_ESTABLISHED = 5,
	CRIU_EVASIVE_DEVICES = 6,
	CRIU_SHELL_JOB = 7,
	CRIU_FILE_LOCKS = 8,
	CRIU_LOG_LEVEL = 9,
	CRIU_LOG_FILE = 10,
	CRIU_PAGE_SERVER = 11,
	CRIU_NOTIFY_SCRIPTS = 12,
	CRIU_ROOT = 13,
	CRIU_PARENT_IMAGE = 14,
	CRIU_TRACK_MEMORY = 15,
	CRIU_AUTO_DEDUP = 16,
	CRIU_WORK_DIR_FD = 17,
	CRIU_RESTORE_SIBLING = 26,
	CRIU_INHERIT_FD = 27,
	CRIU_CGROUPS_MODE = 34,
	CRIU_EXTERNAL = 37,
	CRIU_EMPTY_NAMESPACES = 38,
	CRIU_FREEZE_CGROUP = 44,
	CRIU_LAZY_PAGES = 48,
	CRIU_STATUS_FD = 49,
	CRIU_ORPHAN_PTS_MASTER = 50,
	CRIU_LSM_PROFILE = 53,
	CRIU_LSM_MOUNT_CONTEXT = 64,
};

/* Each appends one field to a message; a false flag and a NULL text are left out. */
void criu_number(struct str *message, unsigned field, uint64_t number);
void criu_flag(struct str *message, unsigned field, bool flag);
void criu_text(struct str *message, unsigned field, const char *text);
void criu_bytes(struct str *message, unsigned field, const void *bytes, size_t size);

/*
 * Called at each stage that CRIU tells of (CRIU_NOTIFY_SCRIPTS): "setup-namespaces", "orphan-pts-master", ...; pid is
 * of process 1.  fd is -1 or a descriptor that is the callee's.  A failure ends the request.
 */
typedef int criu_stage_fn(void *context, const char *stage, pid_t pid, int fd, struct error *err);

/*
 * Runs the program (by PATH) with the request.  Returns the pid of a restored process 1, a child of the caller, or 0;
 * -ENOENT: there is no such program; -EIO: CRIU says no, in its log.  Descriptors 0 to 2 are the caller's.
 */
int criu_run(const char *program, enum criu_type type, const struct str *options, criu_stage_fn *stage, void *context,
	     struct error *err);

#endif
