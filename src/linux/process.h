/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process - attributes of the calling process: setrlimit(2), ioprio_set(2),
 * sched_setattr(2), sched_setaffinity(2), personality(2), keyctl(2),
 * set_mempolicy(2), prctl(2), setresuid(2), proc_sys(5).
 *
 * Names are those of the kernel's macros, which the OCI runtime specification
 * uses, too.  Numbers are the kernel's.  Nothing is decided here.
 */
#ifndef CAISSON_LINUX_PROCESS_H
#define CAISSON_LINUX_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* "RLIMIT_NOFILE" -> RLIMIT_NOFILE; -EINVAL for an unknown name. */
int process_rlimit_from_name(const char *name);
/* prlimit(2) of process pid (0: the caller); UINT64_MAX is unlimited. */
int process_set_rlimit(pid_t pid, const char *name, uint64_t soft, uint64_t hard, struct error *err);

/* class "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"; priority 0 (high) .. 7. */
int process_set_io_priority(const char *class, int priority, struct error *err);

struct process_scheduler {
	const char *policy;	  /* "SCHED_OTHER", "SCHED_FIFO", ... */
	const char *const *flags; /* "SCHED_FLAG_RESET_ON_FORK", ... */
	size_t flags_count;
	int32_t nice, priority;
	uint64_t runtime, deadline, period; /* nanoseconds */
};
/* sched_setattr(2) of the calling thread. */
int process_set_scheduler(const struct process_scheduler *scheduler, struct error *err);

/* CPUs of thread pid (0: the caller) from a list like "0-3,7".  CPUs that the host lacks are left out, none left is an
 * error. */
int process_set_affinity(pid_t pid, const char *cpus, struct error *err);

/* The caller on every CPU that its cpuset has.  Since Linux 6.2 a narrower list that was inherited (from a service
 * manager, taskset(1)) outlives the entering of a cpuset. */
void process_reset_affinity(void);

/* "LINUX" or "LINUX32". */
int process_set_personality(const char *domain, struct error *err);

/* mode "MPOL_DEFAULT", "MPOL_BIND", ...; nodes "0-1" or NULL; flags "MPOL_F_STATIC_NODES", ... */
int process_set_memory_policy(const char *mode, const char *const *flags, size_t flags_count, const char *nodes,
			      struct error *err);

/* A new session keyring of that name for the caller, which possessors of its user may search; returns its serial.
 * Where the kernel has no keyrings, 0. */
int process_join_session_keyring(const char *name, struct error *err);

/* -1000 .. 1000, by the procfs (linux/procfs.h), for the calling process. */
int process_set_oom_score_adj(int procfs, int value, struct error *err);

int process_set_no_new_privileges(struct error *err);

/* Whether capabilities survive the next change of user ids (prctl PR_SET_KEEPCAPS).  -errno. */
int process_set_keep_capabilities(bool keep);

/* Groups, then gid, then uid (real, effective and saved).  Where setgroups(2) is denied and there are no groups to
 * set, they are left as they are; so they are with PROCESS_KEEP_GROUPS for groups_count. */
#define PROCESS_KEEP_GROUPS SIZE_MAX
int process_set_user(uid_t uid, gid_t gid, const gid_t *groups, size_t groups_count, struct error *err);

/*
 * Where a sysctl lives below "sys/": "net.ipv4.ip_forward" -> "net/ipv4/ip_forward"; a name whose first separator is
 * '/' keeps its dots ("net/ipv4/conf/eth0.100/forwarding"), and one with '.' first swaps both
 * ("net.ipv4.conf.eth0/100.forwarding"): sysctl(8).  -EINVAL for "..", empty components; -ENAMETOOLONG.
 */
int process_sysctl_path(const char *name, char *path, size_t size);
/* Writes a sysctl by the procfs. */
int process_set_sysctl(int procfs, const char *name, const char *value, struct error *err);

/* "0-3,7" into a bit mask of words of 64 bits; -EINVAL, -ERANGE for numbers beyond bits. */
int process_parse_list(const char *text, uint64_t *words, size_t bits);

#endif
