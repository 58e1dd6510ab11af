/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime - the life of a container as the OCI runtime specification tells it
 * (runtime.md): create, start, state, kill, delete, and what runc adds.
 *
 * One directory per container below the root (default /run/caisson-oci, or
 * $XDG_RUNTIME_DIR/caisson-oci), holding
 *
 *     state.json    what is known of it, replaced in one step
 *     config.json   the specification it was made from
 *     start         a listening socket while it is created and not yet started
 *
 * and the directory itself is flock(2)ed by every command that changes it.
 *
 * caisson-oci's commands and the engine stand on this room; it is the only
 * one that knows the files.  It starts processes through paradigm/shell and
 * owns cgroup paths and hooks.  Functions never print and never exit.
 *
 * Errors use runc's words where scripts are known to look for them
 * ("container does not exist", "container with given ID already exists",
 * "cannot delete container X that is not stopped: running").
 */
#ifndef CAISSON_RUNTIME_RUNTIME_H
#define CAISSON_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "linux/cgroup.h"
#include "spec/runtime.h"

struct paradigm;

struct runtime {
	char *root; /* state directory, owned */
	/* What containers can be, the default first, NULL-terminated (paradigms.h); NULL: paradigm/container alone. */
	const struct paradigm *const *paradigms;
	const char *paradigm; /* name of another default, or NULL */
	const char *self;     /* path of the running program; NULL: see linux/companion.h */
	bool systemd_cgroup;  /* cgroups through systemd: cgroupsPath is "slice:prefix:name" */
	bool unified;	/* on hybrid hosts: a cgroup in the v2 tree, too (eBPF by cgroup, PSI); 0.3 ms a container */
	bool own_names; /* cgroupsPath is the caller's own choice: nobody looks for it in hierarchies without a limit */
	bool rootless;	/* cgroup failures for lack of permission are not errors */
	struct cgroup_host cgroups;
	const char *resctrl; /* mount point of the resctrl file system; NULL: where it is mounted */
	/* Gets what is worth a warning and no error (a poststop hook that failed); NULL: it is dropped. */
	void (*warn)(void *context, const char *text);
	/* Gets each step of a container's way, for who looks for where it got stuck; NULL: not told. */
	void (*debug)(void *context, const char *text);
	void *warn_context;		/* of both */
	bool cgroups_read;		/* read on first use */
	bool cgroups_asked, cgroups_v2; /* cgroup_host_is_v2(), and what it said */
};

/* Below the root: compiled seccomp filters (paradigm/shell/seccomp.h).  No container can have this name. */
#define RUNTIME_SECCOMP_CACHE "@seccomp"

/* root NULL: the default.  The directory is made on first create, mode 0711. */
int runtime_open(struct runtime *runtime, const char *root, struct error *err);
void runtime_close(struct runtime *runtime);

enum runtime_status { RUNTIME_CREATING, RUNTIME_CREATED, RUNTIME_RUNNING, RUNTIME_PAUSED, RUNTIME_STOPPED };
const char *runtime_status_name(enum runtime_status status); /* "creating", ... */

/* What is known of one container; everything is owned by it. */
struct container {
	char *id;
	char *dir;	       /* its directory below the root */
	int dir_fd;	       /* the same; carries the lock */
	pid_t pid;	       /* of its process 1 in the caller's pid namespace; 0 before creation */
	uint64_t pid_start;    /* start time in clock ticks (field 22 of /proc/PID/stat): tells a reused pid */
	char *bundle, *rootfs; /* absolute */
	char *created;	       /* RFC 3339, UTC, nanoseconds */
	uid_t owner;
	char *cgroup_path;	 /* without leading '/'; NULL: it has none */
	uint32_t cgroup_present; /* the hierarchies that it was made in, as in struct cgroup; 0: not known */
	bool systemd_cgroup;
	char *cgroup_unit;			  /* the systemd scope; NULL with the cgroupfs driver */
	char *intel_rdt_path, *intel_rdt_monitor; /* its groups below resctrl's mount point, or NULL */
	bool intel_rdt_made;			  /* the first was made for it, and goes with it */
	const struct paradigm *paradigm;
	char *keyring;	      /* its session keyring; NULL: it was made with the caller's */
	struct oci_spec spec; /* parsed from config.json on load */
};

/* Reads which cgroups the host has, once; what needs it does it by itself, but children of a fork inherit it. */
int runtime_read_cgroups(struct runtime *runtime, struct error *err);

/* Removes what a creation that was killed half-way has left under id (directory, cgroup); waits for one that is still
 * going on.  Where there is a container, or nothing, nothing is done. */
int runtime_sweep(struct runtime *runtime, const char *id, struct error *err);

/* Ends and removes a container whose state file cannot be read: whatever runs in the cgroup that its configuration
 * names.  For callers that have chosen that cgroup themselves. */
int runtime_force_out(struct runtime *runtime, const char *id, struct error *err);

enum { RUNTIME_LOCK = 1 }; /* hold the container's lock until container_close() */

/* -ENOENT "container does not exist".  An id that could not have been created is refused before any path is made. */
int container_load(struct runtime *runtime, const char *id, int flags, struct container *container, struct error *err);
void container_close(struct container *container);
/* Lets others change it while this one is still looked at. */
void container_unlock(const struct container *container);

/* Looks at the process, the start socket and the freezer. */
int container_status(struct runtime *runtime, struct container *container, enum runtime_status *status,
		     struct error *err);

/* Ids of all containers below the root, sorted; the caller frees with runtime_ids_free(). */
int runtime_list(struct runtime *runtime, char ***ids, size_t *count, struct error *err);
void runtime_ids_free(char **ids, size_t count);

struct runtime_create_options {
	const char *bundle;	    /* directory with config.json; NULL: the working directory */
	const char *config;	    /* config file instead of BUNDLE/config.json, or NULL */
	const char *config_text;    /* the configuration itself instead of a file, or NULL */
	const char *console_socket; /* AF_UNIX path that gets the pty master (SCM_RIGHTS), or NULL */
	int console_fd_out;	    /* set to the pty master when keep_console is true, else unused */
	bool keep_console;	    /* process.terminal: hand the master to the caller instead of a socket */
	bool plain_lines;	    /* with it: the terminal does not turn "\n" into "\r\n" */
	const char *pid_file;	    /* gets process 1's pid, or NULL */
	int preserve_fds;	    /* descriptors 3 .. 2+N stay open in the container (LISTEN_FDS adds its own) */
	/* What its terminal has from the first moment on; not set: what the configuration says. */
	struct oci_console_size console_size;
	bool no_pivot, no_new_keyring;
	bool subreaper; /* orphans of process 1 become the caller's, where no pid namespace of the container's has them
			 */
	int stdio[3];	/* become the container's 0, 1, 2; -1: inherit */
	bool notify;	/* give it a NOTIFY_SOCKET */
	int notify_fd_out; /* runtime_run(): set to the other end of that, like container_notify_listen()'s */
	/*
	 * A detached mount (fsmount, open_tree with OPEN_TREE_CLONE) that becomes the root file system in place of what
	 * is at root.path, or -1.  It is attached over root.path (a directory that exists and is not looked into) in
	 * the container's own mount namespace only: the host never sees it, and it is gone with the last process in it.
	 * The descriptor stays the caller's.
	 */
	int rootfs_fd;
	const struct paradigm *paradigm; /* NULL: by the annotation PARADIGM_ANNOTATION, else the runtime's default */
};
#define RUNTIME_CREATE_OPTIONS_INIT       \
	((struct runtime_create_options){ \
		.console_fd_out = -1, .notify_fd_out = -1, .stdio = { -1, -1, -1 }, .rootfs_fd = -1 })

/*
 * Makes everything up to, not including, the user's program.  Process 1 is a
 * child of the caller.  On failure nothing is left: no process, cgroup,
 * directory, mount.  container is filled (and not locked) on success.
 */
int runtime_create(struct runtime *runtime, const char *id, struct runtime_create_options *options,
		   struct container *container, struct error *err);

/*
 * Where the notifications of a container that was made with notify come in: to be called before it is started.
 * O_CLOEXEC, non-blocking, owned by the caller.  -ENOENT: it was made without.
 */
int container_notify_listen(const struct container *container, struct error *err);

/* Lets the user's program go; returns once execve(2) has happened or failed. */
int runtime_start(struct runtime *runtime, struct container *container, struct error *err);

/* create + start without a wait in between (no socket): what `run` uses. */
int runtime_run(struct runtime *runtime, const char *id, struct runtime_create_options *options,
		struct container *container, struct error *err);

/* all: every process in its cgroup; so is SIGKILL where process 1 has no pid namespace that would end with it.  -ESRCH
 * "container not running". */
int runtime_kill(struct runtime *runtime, struct container *container, int signal, bool all, struct error *err);

/* Removes cgroup, directory, and runs poststop hooks.  force: kills it first, and a missing container is fine. */
int runtime_delete(struct runtime *runtime, struct container *container, bool force, struct error *err);

int runtime_pause(struct runtime *runtime, struct container *container, struct error *err);
int runtime_resume(struct runtime *runtime, struct container *container, struct error *err);

/* Applies resources to the container's cgroup. */
int runtime_update(struct runtime *runtime, struct container *container, const struct oci_resources *resources,
		   struct error *err);

/*
 * Writes the schemata of its class of service (linux.intelRdt); a container without one gets one of its own.  Either
 * may be NULL.  The caller holds the lock.
 */
int runtime_update_rdt(struct runtime *runtime, struct container *container, const char *l3_cache_schema,
		       const char *mem_bw_schema, struct error *err);

struct runtime_exec_options {
	const struct oci_process *process; /* complete: args, env, cwd, user, capabilities ... */
	const char *console_socket, *pid_file;
	/* Existing sub-cgroups of the container's to run in, "[CONTROLLER[,CONTROLLER...]:]PATH", NULL-terminated;
	 * NULL: the container's own. */
	const char *const *cgroups;
	bool keep_console, plain_lines;
	int console_fd_out;
	int preserve_fds;
	int stdio[3];
	int seconds; /* as in shell_exec_options */
	bool ignore_paused;
};
#define RUNTIME_EXEC_OPTIONS_INIT ((struct runtime_exec_options){ .console_fd_out = -1, .stdio = { -1, -1, -1 } })

/* Runs one more process in the container.  *pid is a child of the caller, already past execve(2). */
int runtime_exec(struct runtime *runtime, struct container *container, struct runtime_exec_options *options, pid_t *pid,
		 struct error *err);

/* The OCI state document ({"ociVersion":...,"id":...,"status":...,"pid":...,"bundle":...}); indent 0: one line.
 * Fresh memory owned by the caller, or NULL. */
char *container_state_json(const struct container *container, enum runtime_status status, int indent);
/* The same with the name of its owner, which runc's list has and its state has not. */
char *container_describe(const struct container *container, enum runtime_status status, const char *owner, int indent);

/* What the container has used, in the form of runc's `events` ("data" of type "stats"), one line; fresh memory owned by
 * the caller.  What the host does not count is left out or 0. */
int container_stats_json(struct runtime *runtime, struct container *container, char **json, struct error *err);

/* What its paradigm counts by itself, as JSON, appended to out; it runs and is not paused.  -EOPNOTSUPP: nothing. */
int container_counters(const struct container *container, struct str *out, struct error *err);

/* The container's cgroup, opened.  -ENOENT when it has none. */
int container_cgroup(struct runtime *runtime, const struct container *container, struct cgroup *cgroup,
		     struct error *err);

#endif
