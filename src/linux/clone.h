/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone - new processes, descriptors of processes, and their namespaces.
 *
 * clone3(2), pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2), waitid(2)
 * with P_PIDFD, setns(2), unshare(2), close_range(2), proc_pid_stat(5).
 *
 * The room knows how to make and watch one process; which namespaces it gets
 * and what it does is decided above.  Needs Linux 5.11 (close_range with
 * CLOEXEC); everything else falls back where there is a way.
 */
#ifndef CAISSON_LINUX_CLONE_H
#define CAISSON_LINUX_CLONE_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "base/error.h"

/* <linux/sched.h> has them, but glibc 2.36 has only some and the two headers cannot be included together. */
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif

struct clone_options {
	uint64_t flags;	 /* CLONE_NEW*, CLONE_PARENT, CLONE_CLEAR_SIGHAND, CLONE_VFORK; never CLONE_VM */
	int exit_signal; /* to the parent when the child ends; 0: none (the parent then waits with __WALL); SIGCHLD */
	int cgroup_fd;	 /* directory in the v2 tree that the child is born in, or -1 */
	int *pidfd;	 /* where to put a pidfd of the child (O_CLOEXEC, owned by the caller), or NULL */
};
#define CLONE_OPTIONS_INIT ((struct clone_options){ .exit_signal = SIGCHLD, .cgroup_fd = -1 })

/*
 * Like fork(2): returns twice, 0 in the child, its pid in the parent; -errno when there is no child.  Not glibc's
 * fork(): that takes no flags, runs atfork handlers and takes the locks of stdio and malloc.  The caller must be
 * single-threaded, as after this nobody repairs locks that other threads held.
 */
pid_t clone_process(const struct clone_options *options, struct error *err);

/* A pidfd (O_CLOEXEC, owned by the caller) of a process; -ESRCH when there is none.  No words. */
int pidfd_of(pid_t pid);
/* Signals the process behind a pidfd: a pid that was used again is never hit.  -errno, no words. */
int pidfd_kill(int pidfd, int signal);
/* A copy of descriptor number fd of that process (O_CLOEXEC, owned by the caller).  -errno, no words. */
int pidfd_copy_fd(int pidfd, int fd);
/*
 * Waits for the end of a child (options 0), or looks whether it has ended (WNOHANG); WNOWAIT leaves the zombie.
 * Returns 1 and a wait(2)-style *status (WIFEXITED(), ...), 0 when it still runs, or -errno.  No words.
 */
int pidfd_wait(int pidfd, int options, int *status);

/* Joins several namespaces of a process at once: flags of CLONE_NEW*; Linux 5.8.  */
int namespace_join_pidfd(int pidfd, int flags, struct error *err);
/* Joins the namespace at path; type is its CLONE_NEW* flag, and a namespace of another type is refused. */
int namespace_join_path(const char *path, int type, struct error *err);
/* The same with an open descriptor; name is only used for the message. */
int namespace_join_fd(int fd, int type, const char *name, struct error *err);
/* unshare(2) with words: names the namespaces that could not be made. */
int namespace_unshare(int flags, struct error *err);
/* Whether the caller is in a user namespace that somebody made, in which uid 0 is not the host's root. */
bool namespace_user_is_made(void);
/* "pid", "network", ...: the name of one CLONE_NEW* flag for messages; "?" for others. */
const char *namespace_flag_name(int flag);

struct process_stat {
	char state;	/* 'R', 'S', 'D', 'Z', 'T', ... */
	pid_t parent;	/* as the reading procfs shows it */
	uint64_t start; /* clock ticks since boot: together with the pid it names one process for ever */
};
/* Reads /proc/PID/stat; a command name with spaces or ')' in it misleads nobody.  -ESRCH when it is gone.  No words. */
int process_stat_read(pid_t pid, struct process_stat *stat);

/* Closes count descriptors, neighbours with one system call. */
void fds_close(const int *fds, size_t count);
/* Sets close-on-exec on every descriptor from first on, except those in keep (in any order, may hold -1).  -errno. */
int fds_cloexec_from(int first, const int *keep, size_t keep_count);
/* Closes every descriptor from first on, except those in keep.  -errno. */
int fds_close_from(int first, const int *keep, size_t keep_count);

#endif
