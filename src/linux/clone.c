/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* struct clone_args of <linux/sched.h>, which glibc's <sched.h> cannot stand beside it; up to its second extension. */
struct clone3_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
		cgroup;
};

static const struct {
	int flag;
	const char *name;
} namespace_names[] = {
	{ CLONE_NEWPID, "pid" }, { CLONE_NEWNET, "network" }, { CLONE_NEWNS, "mount" },	     { CLONE_NEWIPC, "ipc" },
	{ CLONE_NEWUTS, "uts" }, { CLONE_NEWUSER, "user" },   { CLONE_NEWCGROUP, "cgroup" }, { CLONE_NEWTIME, "time" },
};

enum { NAMESPACES_COUNT = sizeof(namespace_names) / sizeof(*namespace_names), NAMESPACES_TEXT_MAX = 80 };

const char *namespace_flag_name(int flag)
{
	for (size_t i = 0; i < NAMESPACES_COUNT; i++) {
		if (namespace_names[i].flag == flag)
			return namespace_names[i].name;
	}
	return "?";
}

/* "pid, network" for a message. */
static const char *namespaces_text(uint64_t flags, char text[static NAMESPACES_TEXT_MAX])
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < NAMESPACES_COUNT; i++) {
		if (flags & (uint64_t)namespace_names[i].flag)
			used += (size_t)snprintf(text + used, NAMESPACES_TEXT_MAX - used, "%s%s", used ? ", " : "",
						 namespace_names[i].name);
	}
	return text;
}

/* What a user can do about the usual refusals. */
static int explain(struct error *err, uint64_t flags, int code)
{
	if (code == EACCES && (flags & CLONE_INTO_CGROUP))
		return error_hint(err, "it may not enter its cgroup: that takes the right to write to cgroup.procs of "
				       "the cgroup that holds both its own and the caller's");
	if ((code == EBUSY || code == EOPNOTSUPP) && (flags & CLONE_INTO_CGROUP))
		return error_hint(err, "its cgroup cannot hold processes: it gives controllers to children of its own, "
				       "or is threaded");
	if (code == EPERM && !(flags & CLONE_NEWUSER))
		return error_hint(err, "it needs CAP_SYS_ADMIN, or a user namespace");
	if (code == EPERM)
		return error_hint(err, "user namespaces may be disabled on this host"
				       " (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)");
	if (code == ENOSPC || code == EUSERS)
		return error_hint(err, "the limit of namespaces is reached (sysctl user.max_*_namespaces)");
	return -code;
}

/*
 * Seccomp profiles of container engines answer clone3 with ENOSYS so that glibc falls back to clone(2); inside such an
 * engine we do likewise.  The older call has no room for the flags above 32 bits, nor for CLONE_NEWTIME (its bit
 * belongs to the exit signal), so then the error stands.
 */
static long clone_without_clone3(const struct clone3_arguments *arguments, int *pidfd)
{
	if (arguments->flags >> 32 || arguments->flags & CLONE_NEWTIME) {
		errno = ENOSYS;
		return -1;
	}
#if defined(__s390__)
	return syscall(SYS_clone, 0, (unsigned long)(arguments->flags | arguments->exit_signal), pidfd, 0, 0);
#else
	return syscall(SYS_clone, (unsigned long)(arguments->flags | arguments->exit_signal), 0, pidfd, 0, 0);
#endif
}

pid_t clone_process(const struct clone_options *options, struct error *err)
{
	char names[NAMESPACES_TEXT_MAX];
	int pidfd = -1;
	struct clone3_arguments arguments = {
		.flags = options->flags,
		.exit_signal = (uint64_t)options->exit_signal,
	};
	long pid;

	if (options->flags & (CLONE_VM | CLONE_THREAD))
		return error_set(err, EINVAL, "cannot make a process that shares its parent's memory");
	/* clone3(2): a sibling sends what its maker sends, and may not ask for it. */
	if (options->flags & CLONE_PARENT)
		arguments.exit_signal = 0;
	if (options->pidfd) {
		arguments.flags |= CLONE_PIDFD;
		arguments.pidfd = (uint64_t)(uintptr_t)&pidfd;
	}
	if (options->cgroup_fd >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = (uint64_t)options->cgroup_fd;
	}
	pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid < 0 && errno == ENOSYS)
		pid = clone_without_clone3(&arguments, &pidfd);
	if (pid < 0) {
		int code = errno;

		if (!namespaces_text(arguments.flags, names)[0])
			(void)error_errno(err, code, "cannot create a process");
		else
			(void)error_errno(err, code, "cannot create a process in new namespaces (%s)", names);
		return explain(err, arguments.flags, code);
	}
	if (pid > 0 && options->pidfd)
		*options->pidfd = pidfd;
	return (pid_t)pid;
}

int pidfd_of(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : (int)fd;
}

int pidfd_kill(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int pidfd_copy_fd(int pidfd, int fd)
{
	long copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return copy < 0 ? -errno : (int)copy;
}

int pidfd_wait(int pidfd, int options, int *status)
{
	siginfo_t info = { .si_pid = 0 };

	/* __WALL: a child whose exit signal is not SIGCHLD is waited for as well. */
	while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL | options) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (info.si_pid == 0)
		return 0;
	if (info.si_code == CLD_EXITED)
		*status = (info.si_status & 0xff) << 8;
	else
		*status = (info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
	return 1;
}

int namespace_join_pidfd(int pidfd, int flags, struct error *err)
{
	char names[NAMESPACES_TEXT_MAX];

	if (flags == 0 || setns(pidfd, flags) == 0)
		return 0;
	return error_errno(err, errno, "cannot join namespaces (%s) of the process",
			   namespaces_text((uint64_t)flags, names));
}

int namespace_join_fd(int fd, int type, const char *name, struct error *err)
{
	int code;

	if (setns(fd, type) == 0)
		return 0;
	code = errno;
	(void)error_errno(err, code, "cannot join %s namespace %s", namespace_flag_name(type), name);
	if (code == EINVAL)
		return error_hint(err, "it may be a namespace of another type, or no namespace at all");
	return -code;
}

int namespace_join_path(const char *path, int type, struct error *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, errno, "cannot open %s namespace %s", namespace_flag_name(type), path);
	return namespace_join_fd(fd, type, path, err);
}

int namespace_unshare(int flags, struct error *err)
{
	char names[NAMESPACES_TEXT_MAX];
	int code;

	if (flags == 0 || unshare(flags) == 0)
		return 0;
	code = errno;
	(void)error_errno(err, code, "cannot create namespaces (%s)", namespaces_text((uint64_t)flags, names));
	return explain(err, (uint64_t)flags, code);
}

bool namespace_user_is_made(void)
{
	char target[64];
	ssize_t length = readlink("/proc/self/ns/user", target, sizeof(target) - 1);

	if (length <= 0)
		return false;
	target[length] = '\0';
	/* PROC_USER_INIT_INO of the kernel's <linux/proc_ns.h>: the first user namespace has a fixed number. */
	return strcmp(target, "user:[4026531837]") != 0;
}

/* The text of field number (2: the state) counted from the last ')'; NULL when there are fewer. */
static char *stat_field(char *after_name, int number)
{
	char *field = after_name;

	while (field && number-- > 0) {
		field = strchr(field, ' ');
		if (field)
			field++;
	}
	return field;
}

int process_stat_read(pid_t pid, struct process_stat *stat)
{
	enum { TO_STATE = 1, TO_PARENT = 2, TO_START = 20 };
	char path[32], text[1024], *after_name, *state, *parent, *start;
	cleanup_close int fd = -1;
	ssize_t length;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	length = read(fd, text, sizeof(text) - 1);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	/* The name is whatever the process wants, ") Z 1" too; nothing after it can hold a ')'. */
	after_name = strrchr(text, ')');
	state = stat_field(after_name, TO_STATE);
	parent = stat_field(after_name, TO_PARENT);
	start = stat_field(after_name, TO_START);
	if (!start)
		return -EIO;
	stat->state = *state;
	stat->parent = (pid_t)strtol(parent, NULL, 10);
	stat->start = strtoull(start, NULL, 10);
	return 0;
}

static int compare_fds(const void *left, const void *right)
{
	int a = *(const int *)left, b = *(const int *)right;

	return (a > b) - (a < b);
}

/* close_range(2) over the gaps that the sorted list of kept descriptors leaves. */
static int for_gaps(int first, const int *keep, size_t keep_count, unsigned int flags)
{
	cleanup_free int *sorted = NULL;
	unsigned int from = first < 0 ? 0 : (unsigned int)first;

	if (keep_count > 0) {
		sorted = calloc(keep_count, sizeof(*sorted));
		if (!sorted)
			return -ENOMEM;
		memcpy(sorted, keep, keep_count * sizeof(*sorted));
		qsort(sorted, keep_count, sizeof(*sorted), compare_fds);
	}
	for (size_t i = 0; i < keep_count; i++) {
		if (sorted[i] < 0 || (unsigned int)sorted[i] < from)
			continue;
		if ((unsigned int)sorted[i] > from &&
		    syscall(SYS_close_range, from, (unsigned int)sorted[i] - 1, flags) < 0)
			return -errno;
		from = (unsigned int)sorted[i] + 1;
	}
	return syscall(SYS_close_range, from, UINT_MAX, flags) < 0 ? -errno : 0;
}

int fds_cloexec_from(int first, const int *keep, size_t keep_count)
{
	return for_gaps(first, keep, keep_count, CLOSE_RANGE_CLOEXEC);
}

int fds_close_from(int first, const int *keep, size_t keep_count)
{
	return for_gaps(first, keep, keep_count, 0);
}

void fds_close(const int *fds, size_t count)
{
	for (size_t first = 0, next; first < count; first = next) {
		next = first + 1;
		while (next < count && fds[next] == fds[next - 1] + 1)
			next++;
		(void)syscall(SYS_close_range, (unsigned int)fds[first], (unsigned int)fds[next - 1], 0);
	}
}
