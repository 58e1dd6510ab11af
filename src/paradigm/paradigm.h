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

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "spec/runtime.h"

enum { PARADIGM_FDS_MAX = 256 };

/* A container on its way into the shell. */
struct paradigm_setup {
	struct oci_spec *spec; /* in: what the user asked for; out: what the shell is to do */
	const char *config;    /* the same as it was written */
	size_t config_size;
	const char *id, *bundle, *rootfs;
	const char *dir; /* the container's state directory */
	int dir_fd;
	int cache_fd; /* a directory for what is worth remembering (verdicts about the host), or -1 */
	const char
		*self; /* path of the running program, beside which its companions are; NULL: see linux/companion.h */
	/* A detached mount that the shell takes as its root, or -1.  prepare() may replace it by one of its own, which
	 * release() closes. */
	int rootfs_fd;
	/* Opened for become(), O_CLOEXEC: it clears that.  Owned by the setup. */
	int fds[PARADIGM_FDS_MAX];
	size_t fds_count;
	void *own; /* the paradigm's, from prepare() to release() */
};

/* One more process in a running instance. */
struct paradigm_exec {
	const struct oci_process *process;
	const char *process_json; /* the same as text */
	const char *dir;	  /* the container's state directory */
	int dir_fd;
	const char *self; /* as in struct paradigm_setup */
	/* -1: the caller's.  With process->terminal they are the same terminal, made for this process: its controlling
	 * one, in a session of its own. */
	int stdio[3];
};

struct paradigm {
	const char *name; /* what --isolation takes */

	/* The instance's root file system is a disk of its own (vm.image of the specification), made from the image. */
	bool root_is_disk;

	/* The workload runs on a kernel that is not the host's: there is a kernel to be chosen for it, and processors;
	 * of the host's namespaces it can be in none but the network's, and numbers of devices mean others there. */
	bool own_kernel;

	/* What works in it are threads of the host's, each with a name that says what it does: worth a line of `top`.
	 */
	bool named_threads;

	/* Whether this host can run it; if not, err says why, and what would help.  engine, if not NULL, gets in words
	 * with which engine ("kvm", "qemu: /dev/kvm only emulates").  Anywhere; cheap. */
	int (*probe)(struct str *engine, struct error *err);

	/*
	 * In the creating process, before the shell exists: checks the specification, opens what must be carried into
	 * the shell, and turns the specification into what the shell is to do; what it adds is of spec->arena.
	 * release() undoes it in the creating process, whatever became of the shell, but only after a prepare() that
	 * succeeded: one that fails leaves nothing.  NULL: the specification is the shell's as it is.
	 */
	int (*prepare)(struct paradigm_setup *setup, struct error *err);
	void (*release)(struct paradigm_setup *setup);

	/*
	 * Outside, when nothing of the container runs any more (or ever did): what prepare() or the workload made in
	 * places of other people's, and which outlives both, is taken away.  spec is what the user asked for, or what
	 * prepare() made of it.  As often as one likes, and after a process that was killed anywhere.  NULL: there is
	 * no such thing.
	 */
	void (*clean)(const struct oci_spec *spec);

	/*
	 * Inside the shell, before the workload is let go: looks up what become() will execute, so that a missing
	 * program is an error of `create`.  The result is owned by the caller (free()).  -ENOENT, -EACCES.
	 */
	int (*find)(const struct oci_process *process, char **program, struct error *err);

	/*
	 * Inside the shell, as its process 1, everything else done: turns into the workload.  Returns only on failure.
	 * setup NULL: without prepare.  control is the socket (paradigm/shell/sync.h) whose closing tells the creator
	 * that the workload runs: execve(2) closes it, unless become() passes it on.
	 */
	int (*become)(const struct paradigm_setup *setup, const struct oci_process *process, const char *program,
		      int control, struct error *err);

	/*
	 * From outside: one more process.  A child of the caller's stands for it: it has its streams, passes on its
	 * signals, and ends as it ends.  Returns once the process runs (-ENOENT, -EACCES: there is no such program).
	 * NULL: the shell does it with setns(2).
	 */
	int (*exec)(const struct paradigm_exec *exec, pid_t *pid, struct error *err);

	/*
	 * From outside, while it runs: changes those of the wanted resources that are not the cgroup's to limit, and
	 * takes them out of wanted; spec is what it was started with.  -ENOTSUP: they cannot change, or not so far.
	 * NULL: all are the cgroup's.
	 */
	int (*update)(int dir_fd, struct oci_spec *spec, struct oci_resources *wanted, struct error *err);

	/* From outside: the crossings that it counts by itself, as JSON.  NULL: none. */
	int (*counters)(const char *dir, int dir_fd, struct str *out, struct error *err);

	/* Where its memory is not the cgroup's: a file in the container's state directory, there from prepare() on,
	 * which says "oom_kill N" as memory.events(cgroup) does once something was killed for want of it.  NULL: none.
	 */
	const char *memory_events;

	/*
	 * From outside: writes the whole running instance into two files, from which prepare() can begin again. It
	 * stands still, what it wrote to its disks is on them, until *hold (a descriptor, the caller's) is closed: time
	 * to copy them. NULL: the runtime's own way (CRIU).
	 */
	int (*snapshot)(const char *dir, int dir_fd, int state, int memory, int *hold, struct error *err);
};

#endif
