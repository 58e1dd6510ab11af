/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside - what happens in the child of the shell, and its rooms: rootfs
 * (mounts.c, cgroup_mount.c, devices.c, masks.c), terminal, credentials.
 *
 * For the shell's own files only.  Everything here runs in the process that
 * becomes process 1, in the order that inside.c tells; descriptors are closed
 * by its execve(2), memory goes with it.
 */
#ifndef CAISSON_PARADIGM_SHELL_INSIDE_H
#define CAISSON_PARADIGM_SHELL_INSIDE_H

#include "linux/cgroup.h"
#include "paradigm/shell/shell.h"

/* See fresh.c. */
enum { FRESH_PROC, FRESH_SYS, FRESH_DEV, FRESH_COUNT };

struct inside {
	const struct shell_options *options; /* NULL when a process is added to a running container */
	const struct oci_spec *spec;
	const struct oci_process *process;
	const struct paradigm *paradigm;
	int sync;		/* socket to the parent */
	int procfs;		/* the host's /proc; -1 if nothing is to be written there */
	int root_fd;		/* the container's root mount */
	int nodes;		/* a detached tmpfs with the devices that the parent made, or -1 */
	int fresh[FRESH_COUNT]; /* roots of the container's own /proc, /sys, /dev; -1: none, or no longer ours alone */
	bool proc_is_readonly;	/* that /proc, by its mount options */
	int *sources; /* per mount of the specification: a detached mount that the parent opened (of a source in the
			 root: only the user namespace to map it by), or -1 */
	int doors[CGROUP_HIERARCHIES_MAX];
	int doors_count;
	struct cgroup_host cgroup_host; /* as the parent told it */
	bool cgroup_joined;
	bool released;	   /* the parent has nothing left to say */
	int joined;	   /* CLONE_NEW* of namespaces that a stand-in has joined already */
	bool in_userns;	   /* new or joined: no device nodes, no host's privileges */
	bool dev_is_bound; /* the configuration brings a /dev of its own */
	int console;	   /* the terminal's other end; -1: none */
	int preserve_fds, stdio[3];
	const struct seccomp_filter *filter;
	const char *keyring; /* name of the session keyring; NULL: the caller's is kept */
	bool hidden;	     /* from whoever is in the namespaces: credentials_hide() */
	bool chdir_is_due;   /* only the user may enter the working directory */
	bool keeps_root;     /* no mount namespace of its own */
};

/* inside.c: never return. */
__attribute__((noreturn)) void inside_main(struct inside *inside);
__attribute__((noreturn)) void inside_fail(int socket, const struct error *error);
/* Enters the cgroup and makes the namespaces that hang on it; the first call does it, later ones do nothing. */
int inside_join_cgroup(struct inside *inside, struct error *err);

/* namespaces.c */
/* CLONE_NEW* flag of an OCI namespace type. */
int namespaces_flag(enum oci_namespace_type type);
/* Flags of the namespaces that clone3(2) can make at once. */
uint64_t namespaces_new(const struct oci_linux *linux_);
/* Whether they need a stand-in that joins first and clones then: see namespaces.c. */
bool namespaces_need_stand_in(const struct oci_linux *linux_);
/* Joins all namespaces with a path (types in except are skipped); EPERM is kept for later in *later if that is not
 * NULL. */
int namespaces_join(const struct oci_linux *linux_, int except, int *later, struct error *err);
/* New cgroup and time namespaces, which must be made after the cgroup is entered and before the program runs. */
int namespaces_unshare_late(struct inside *inside, struct error *err);
/* Brings the loopback interface of a new network namespace up. */
int namespaces_loopback_up(struct error *err);

/* rootfs.c: makes the root file system ready below inside->root_fd; then changes into it. */
int rootfs_open(struct inside *inside, struct error *err);
int rootfs_build(struct inside *inside, struct error *err);
int rootfs_enter(struct inside *inside, struct error *err);

/* mounts.c */
int mounts_make_all(struct inside *inside, struct error *err);
/* Joins the cgroup, and makes the mounts that show it: last, as the parent makes the cgroup meanwhile. */
int mounts_make_late(struct inside *inside, struct error *err);
/* In the parent: opens the sources that the child could not reach or map.  *sources (mounts_count descriptors) is owned
 * by the caller, NULL if there are none. */
int mounts_open_sources(const struct shell_options *options, int **sources, struct error *err);
/* Opens a mount point below the root, made if missing; O_PATH descriptor or -errno with words. */
int mounts_open_target(const struct inside *inside, const char *path, bool directory, struct error *err);

/* fresh.c */
/*
 * A file system of type was mounted at destination, over target: if it is one of those, it is remembered, and target
 * (now -1) left open until execve(2).
 */
void fresh_note(struct inside *inside, const char *type, const char *destination, int *target);
/* Something that others may write to was mounted at destination, over a directory of a file system of kind magic. */
void fresh_forget(struct inside *inside, const char *destination, long magic);
/* If path lies in that file system and may be walked as it is: its root, and the path from there; else -1. */
int fresh_find(const struct inside *inside, int which, const char *path, const char **rest);

/* cgroup_mount.c */
int cgroup_mount_make(struct inside *inside, const struct oci_mount *mount, struct error *err);

/* devices.c */
/* In the parent: makes the devices that the child cannot make itself.  *nodes is owned by the caller, -1 if there is
 * none. */
int devices_make_outside(const struct shell_options *options, int *nodes, struct error *err);
int devices_make(struct inside *inside, struct error *err);
/* After the last node is made: a /dev that is to be read-only becomes so. */
int devices_finish(const struct inside *inside, struct error *err);

/* masks.c: maskedPaths and readonlyPaths */
int masks_apply(const struct inside *inside, struct error *err);

/* terminal.c */
int terminal_make(struct inside *inside, struct error *err); /* opens it, tells the parent */
int terminal_use(struct inside *inside, struct error *err);  /* 0, 1, 2, controlling terminal */

/* credentials.c: what the process keeps over execve(2). */
/* Limits, memory policy, labels: needs the host's /proc. */
int credentials_early(struct inside *inside, struct error *err);
/* Scheduler and I/O priority, in the cgroup whose CPUs they are for: a v1 cpu cgroup lets no realtime task in. */
int credentials_scheduling(const struct inside *inside, struct error *err);
/*
 * Keeps those who are in the namespaces that are about to be joined from looking into this process, or tracing it, in
 * the time that it still has descriptors and mounts of the host (CVE-2016-9962).
 */
int credentials_hide(struct inside *inside, struct error *err);
/* Joins the session keyring, in the user namespace that it belongs to. */
int credentials_keyring(const struct inside *inside, struct error *err);
int credentials_final(struct inside *inside, int control, struct error *err); /* user, capabilities, seccomp */
int credentials_chdir(struct inside *inside, struct error *err);
/* Each variable once, and HOME from /etc/passwd where there is none; replaces process->env. */
int credentials_environment(const struct inside *inside, struct oci_process *process, struct error *err);

#endif
