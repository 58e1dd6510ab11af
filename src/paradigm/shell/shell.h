/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shell - the outer container that every paradigm stands in.
 *
 * Makes one process in its own namespaces, cgroup, root file system, with its
 * limits, credentials and filters, exactly as an OCI configuration says, and
 * lets the paradigm take over as process 1.  See config.md, config-linux.md
 * and runtime.md of the OCI runtime specification, namespaces(7).
 *
 * It never looks at state directories, images or networks, and keeps nothing
 * after its process is gone: all mounts live in the process's own namespace.
 *
 * There is one child and no second helper process: clone3(2) gives it its
 * namespaces, parent and child talk through one socket (sync.h), and the child
 * dies with the parent until it is let go.
 */
#ifndef CAISSON_PARADIGM_SHELL_SHELL_H
#define CAISSON_PARADIGM_SHELL_SHELL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "linux/cgroup.h"
#include "paradigm/paradigm.h"
#include "spec/runtime.h"

/* The OCI state document for hooks and seccomp agents; fresh memory.  status is "creating", "created", ... */
typedef char *shell_state_fn(void *context, pid_t pid, const char *status);

struct seccomp_filter;

struct shell_options { /* nothing in here is owned */
	const struct oci_spec *spec;
	const struct paradigm *paradigm;
	const struct paradigm_setup *setup; /* for its become(); NULL: it prepares nothing */
	const char *bundle;		    /* absolute; relative mount sources start there */
	const char *rootfs; /* absolute path of the root file system; only for messages when rootfs_fd >= 0 */
	int rootfs_fd;	    /* a detached mount (open_tree, fsmount) to take as the root instead; -1: rootfs */
	/*
	 * Where it belongs.  The child is born in its v2 directory, if there is one already.  If join is set, that is
	 * called while the child builds its root file system: it makes the rest, fills in *cgroup, and either moves the
	 * child (systemd's scopes; returns 0) or opens doors for it to enter by itself (returns how many; they are
	 * closed by the shell).
	 */
	struct cgroup *cgroup; /* NULL: stay in the caller's */
	int (*join)(void *context, pid_t pid, int doors[static CGROUP_HIERARCHIES_MAX], struct error *err);
	/* Called once, when the child has made all that it has to make and before any hook runs: for what would be in
	 * its way, the rules for devices.  NULL: nothing. */
	int (*confine)(void *context, pid_t pid, struct error *err);
	int start_socket;	    /* listening AF_UNIX socket on which `start` will connect; -1: go at once */
	const char *console_socket; /* gets the terminal's master; NULL: none */
	bool keep_console;	    /* the terminal's master is returned in struct shell instead */
	bool plain_lines;	    /* with it: the terminal does not turn "\n" into "\r\n" */
	int stdio[3];		    /* become 0, 1, 2; -1: inherited */
	int preserve_fds;	    /* 3 .. 2 + preserve_fds stay open */
	const struct seccomp_filter *filter; /* of the configuration's linux.seccomp */
	bool no_pivot;
	const char *keyring; /* session keyring, this container's alone; NULL: keep the caller's */
	shell_state_fn *state;
	void *state_context; /* of state, join and confine */
};

struct shell {
	pid_t pid;   /* process 1, in the caller's pid namespace; 0: none */
	int pidfd;   /* owned; -1 until it is needed */
	int sync;    /* owned */
	int console; /* the terminal's master if it is kept, owned; else -1 */
	int doors[CGROUP_HIERARCHIES_MAX];
	int doors_count; /* that join opened; -1 before it was called */
	bool released;	 /* by shell_hand() */
	bool confined;
	int *mounts_before;	    /* see unmount.h; owned, or NULL */
	struct netdevices *devices; /* that were moved to the child and come back if it is aborted; owned, or NULL */
	const struct shell_options *options;
};

/* Clones the child and returns at once, so that the caller can work while the child does.  On failure there is none. */
int shell_spawn(const struct shell_options *options, struct shell *shell, struct error *err);

/* Calls join, if there is one; shell_prepare() does it otherwise.  For callers that have more to do meanwhile. */
int shell_join(struct shell *shell, struct error *err);

/*
 * Whether a container of this configuration needs nothing of its creator but the cgroup: no id mappings, no terminal,
 * no hooks until it is created.
 */
bool shell_asks_nothing(const struct oci_spec *spec);

/*
 * For such a one only, after shell_join(): hands the cgroup to it.  release is for callers that have nothing left to
 * do: the child goes on to its program at once, and shell_release() follows without shell_prepare().
 */
int shell_hand(struct shell *shell, bool release, struct error *err);

/*
 * Serves the child (id mappings, prestart and createRuntime hooks) until everything is set up but the workload.  On
 * failure the child is dead and reaped, and err is the child's own error where it had one.
 */
int shell_prepare(struct shell *shell, struct error *err);

/*
 * Lets the child live on by itself.  Without a start socket the paradigm takes over now, and this returns when it has
 * (or has failed: then the child is dead and reaped); with one the child waits there.
 */
int shell_release(struct shell *shell, struct error *err);

/* What `start` does: connected is a socket connected to the start socket of process pidfd.  Returns when the paradigm
 * has taken over, or with the child's error. */
int shell_start(int connected, int pidfd, pid_t pid, const struct oci_spec *spec, shell_state_fn *state, void *context,
		struct error *err);

/* Kills and reaps a child that must not live (before release only), closes the descriptors. */
void shell_abort(struct shell *shell);
/* Closes the descriptors only. */
void shell_close(struct shell *shell);

struct shell_exec_options {
	const struct oci_spec *spec;	   /* of the container */
	const struct oci_process *process; /* to run */
	const struct paradigm *paradigm;
	pid_t pid;		/* the container's process 1 */
	int pidfd;		/* of the same */
	struct cgroup *cgroups; /* to run in, each with the hierarchies that it is for; none: stay in the caller's */
	size_t cgroups_count;
	const char *console_socket;
	bool keep_console, plain_lines;
	int stdio[3];
	int preserve_fds;
	int seconds; /* within which it must have begun, whatever the container does to it; 0: for ever */
	const struct seccomp_filter *filter;
	const char *keyring; /* the container's session keyring; NULL: keep the caller's */
	shell_state_fn *state;
	/* As in struct shell_options. */
	int (*confine)(void *context, pid_t pid, struct error *err);
	void *state_context; /* of state and confine */
};

/* One more process in a running container; returns when it has executed its program.  console as in struct shell.
 * -ETIMEDOUT: somebody in the container, who can send it signals, does not let it begin. */
int shell_exec(const struct shell_exec_options *options, pid_t *pid, int *console, struct error *err);

#endif
