/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "linux/procfs.h"

enum { LIST_BITS = 8192, LIST_WORDS = LIST_BITS / 64 };

/* A name of the kernel's and its number. */
struct named {
	const char *name;
	long value;
};

static long find(const struct named *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(table[i].name, name) == 0)
			return table[i].value;
	}
	return -EINVAL;
}
#define FIND(table, name) find(table, sizeof(table) / sizeof(*(table)), name)
#define NAMED(macro)          \
	{                     \
#macro, macro \
	}

int process_rlimit_from_name(const char *name)
{
	static const struct named limits[] = {
		NAMED(RLIMIT_AS),     NAMED(RLIMIT_CORE),   NAMED(RLIMIT_CPU),	      NAMED(RLIMIT_DATA),
		NAMED(RLIMIT_FSIZE),  NAMED(RLIMIT_LOCKS),  NAMED(RLIMIT_MEMLOCK),    NAMED(RLIMIT_MSGQUEUE),
		NAMED(RLIMIT_NICE),   NAMED(RLIMIT_NOFILE), NAMED(RLIMIT_NPROC),      NAMED(RLIMIT_RSS),
		NAMED(RLIMIT_RTPRIO), NAMED(RLIMIT_RTTIME), NAMED(RLIMIT_SIGPENDING), NAMED(RLIMIT_STACK),
	};

	return (int)FIND(limits, name);
}

int process_set_rlimit(pid_t pid, const char *name, uint64_t soft, uint64_t hard, struct error *err)
{
	int resource = process_rlimit_from_name(name);
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = hard };

	if (resource < 0)
		return error_set(err, EINVAL, "invalid rlimit type: %s", name);
	/* By number: glibc wants an enum of its own here, musl an int. */
	if (syscall(SYS_prlimit64, pid, resource, &limit, NULL) < 0)
		return error_errno(err, errno, "error setting rlimit type %d (%s) to %llu:%llu", resource, name,
				   (unsigned long long)soft, (unsigned long long)hard);
	return 0;
}

int process_set_io_priority(const char *class, int priority, struct error *err)
{
	static const struct named classes[] = { NAMED(IOPRIO_CLASS_RT), NAMED(IOPRIO_CLASS_BE),
						NAMED(IOPRIO_CLASS_IDLE) };
	long number = FIND(classes, class);

	if (number < 0 || priority < 0 || priority > 7)
		return error_set(err, EINVAL, "invalid I/O priority: class %s, priority %d", class, priority);
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE((int)number, priority)) < 0)
		return error_errno(err, errno, "cannot set the I/O priority");
	return 0;
}

/* sched_setattr(2)'s argument: glibc has no wrapper, and its <sched.h> collides with the kernel's struct. */
int process_set_scheduler(const struct process_scheduler *scheduler, struct error *err)
{
	static const struct named policies[] = {
		{ "SCHED_OTHER", SCHED_NORMAL },
		NAMED(SCHED_BATCH),
		{ "SCHED_ISO", 4 },
		NAMED(SCHED_IDLE),
		NAMED(SCHED_FIFO),
		NAMED(SCHED_RR),
		NAMED(SCHED_DEADLINE),
	};
	static const struct named flags[] = {
		NAMED(SCHED_FLAG_RESET_ON_FORK),  NAMED(SCHED_FLAG_RECLAIM),	 NAMED(SCHED_FLAG_DL_OVERRUN),
		NAMED(SCHED_FLAG_KEEP_POLICY),	  NAMED(SCHED_FLAG_KEEP_PARAMS), NAMED(SCHED_FLAG_UTIL_CLAMP_MIN),
		NAMED(SCHED_FLAG_UTIL_CLAMP_MAX),
	};
	long policy = FIND(policies, scheduler->policy);
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = (unsigned)policy,
		.sched_nice = scheduler->nice,
		.sched_priority = (unsigned)scheduler->priority,
		.sched_runtime = scheduler->runtime,
		.sched_deadline = scheduler->deadline,
		.sched_period = scheduler->period,
	};

	if (policy < 0)
		return error_set(err, EINVAL, "invalid scheduler policy: %s", scheduler->policy);
	for (size_t i = 0; i < scheduler->flags_count; i++) {
		long flag = FIND(flags, scheduler->flags[i]);

		if (flag < 0)
			return error_set(err, EINVAL, "invalid scheduler flag: %s", scheduler->flags[i]);
		attr.sched_flags |= (unsigned long)flag;
	}
	if (syscall(SYS_sched_setattr, 0, &attr, 0) == 0)
		return 0;
	/* The kernel says EINVAL for all that can be wrong with these. */
	if (errno == EINVAL && attr.sched_policy == SCHED_DEADLINE)
		return error_set(
			err, EINVAL,
			"cannot set the scheduler policy %s: it takes 1024 ns <= runtime (%ju) <= deadline (%ju) <= "
			"period (%ju, 0: the deadline), and the kernel's bounds for the period",
			scheduler->policy, (uintmax_t)scheduler->runtime, (uintmax_t)scheduler->deadline,
			(uintmax_t)scheduler->period);
	return error_errno(err, errno, "cannot set the scheduler policy %s", scheduler->policy);
}

int process_parse_list(const char *text, uint64_t *words, size_t bits)
{
	memset(words, 0, (bits + 63) / 64 * sizeof(*words));
	while (*text) {
		unsigned long first, last;
		char *end;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		first = last = strtoul(text, &end, 10);
		if (*end == '-') {
			text = end + 1;
			if (*text < '0' || *text > '9')
				return -EINVAL;
			last = strtoul(text, &end, 10);
		}
		if (last < first || (*end && *end != ',') || (*end == ',' && !end[1]))
			return -EINVAL;
		if (last >= bits)
			return -ERANGE;
		for (; first <= last; first++)
			words[first / 64] |= UINT64_C(1) << (first % 64);
		text = *end ? end + 1 : end;
	}
	return 0;
}

void process_reset_affinity(void)
{
	uint64_t words[LIST_WORDS];

	memset(words, 0xff, sizeof(words));
	/* Where it is refused, the CPUs are those of the caller. */
	(void)syscall(SYS_sched_setaffinity, 0, sizeof(words), words);
}

int process_set_affinity(pid_t pid, const char *cpus, struct error *err)
{
	uint64_t words[LIST_WORDS];

	if (!*cpus || process_parse_list(cpus, words, LIST_BITS) < 0)
		return error_set(err, EINVAL, "invalid CPU list: \"%s\"", cpus);
	if (syscall(SYS_sched_setaffinity, pid, sizeof(words), words) < 0)
		return error_errno(err, errno, "cannot set the CPU affinity to %s", cpus);
	return 0;
}

int process_set_personality(const char *domain, struct error *err)
{
	static const struct named domains[] = { { "LINUX", PER_LINUX }, { "LINUX32", PER_LINUX32 } };
	long number = FIND(domains, domain);

	if (number < 0)
		return error_set(err, EINVAL, "invalid personality domain: %s", domain);
	return personality((unsigned long)number) < 0 ? error_errno(err, errno, "cannot set the personality") : 0;
}

int process_set_memory_policy(const char *mode, const char *const *flags, size_t flags_count, const char *nodes,
			      struct error *err)
{
	static const struct named modes[] = { NAMED(MPOL_DEFAULT),
					      NAMED(MPOL_PREFERRED),
					      NAMED(MPOL_BIND),
					      NAMED(MPOL_INTERLEAVE),
					      NAMED(MPOL_LOCAL),
					      { "MPOL_PREFERRED_MANY", 5 },
					      { "MPOL_WEIGHTED_INTERLEAVE", 6 } };
	static const struct named known[] = { { "MPOL_F_NUMA_BALANCING", 1 << 13 },
					      NAMED(MPOL_F_RELATIVE_NODES),
					      NAMED(MPOL_F_STATIC_NODES) };
	uint64_t words[LIST_WORDS] = { 0 };
	long number = FIND(modes, mode);

	if (number < 0)
		return error_set(err, EINVAL, "invalid memory policy mode: %s", mode);
	for (size_t i = 0; i < flags_count; i++) {
		long flag = FIND(known, flags[i]);

		if (flag < 0)
			return error_set(err, EINVAL, "invalid memory policy flag: %s", flags[i]);
		number |= flag;
	}
	if (nodes && process_parse_list(nodes, words, LIST_BITS) < 0)
		return error_set(err, EINVAL, "invalid node list: \"%s\"", nodes);
	/* maxnode counts one more than the bits that are looked at. */
	if (syscall(SYS_set_mempolicy, number, nodes && *nodes ? words : NULL, nodes && *nodes ? LIST_BITS : 0) < 0)
		return error_errno(err, errno, "cannot set the memory policy %s", mode);
	return 0;
}

int process_join_session_keyring(const char *name, struct error *err)
{
	enum { POSSESSOR_ALL = 0x3f000000, USER_SEARCH = 0x00080000, USER_LINK = 0x00100000, USER_VIEW = 0x00010000 };
	long serial = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);

	if (serial < 0)
		return errno == ENOSYS ? 0 : error_errno(err, errno, "cannot make a session keyring");
	(void)syscall(SYS_keyctl, KEYCTL_SETPERM, serial, POSSESSOR_ALL | USER_VIEW | USER_SEARCH | USER_LINK);
	return (int)serial;
}

int process_set_oom_score_adj(int procfs, int value, struct error *err)
{
	char text[16];
	int ret;

	(void)snprintf(text, sizeof(text), "%d", value);
	ret = procfs_write(procfs, "self/oom_score_adj", text);
	return ret < 0 ? error_errno(err, -ret, "cannot set oom_score_adj to %d", value) : 0;
}

int process_set_no_new_privileges(struct error *err)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? error_errno(err, errno, "cannot set no_new_privs") : 0;
}

int process_set_keep_capabilities(bool keep)
{
	return prctl(PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* The raw calls: glibc's change all threads by signals, and there is only one thread here. */
int process_set_user(uid_t uid, gid_t gid, const gid_t *groups, size_t groups_count, struct error *err)
{
	/* -1 means "leave it" to these calls: who asked for it would stay root. */
	if (uid == (uid_t)-1 || gid == (gid_t)-1)
		return error_set(err, EINVAL, "cannot become user %u, group %u: there is no such id", uid, gid);
	if (groups_count != PROCESS_KEEP_GROUPS && syscall(SYS_setgroups, groups_count, groups) < 0 &&
	    (errno != EPERM || groups_count > 0))
		return error_errno(err, errno, "cannot set the additional groups");
	if (syscall(SYS_setresgid, gid, gid, gid) < 0)
		return error_errno(err, errno, "cannot become group %u", gid);
	if (syscall(SYS_setresuid, uid, uid, uid) < 0)
		return error_errno(err, errno, "cannot become user %u", uid);
	return 0;
}

int process_sysctl_path(const char *name, char *path, size_t size)
{
	char first = name[strcspn(name, "./")];
	size_t length = strlen(name);

	if (length == 0 || length >= size)
		return length ? -ENAMETOOLONG : -EINVAL;
	for (size_t i = 0; i <= length; i++) {
		path[i] = name[i];
		if (first == '.' && (name[i] == '.' || name[i] == '/'))
			path[i] = name[i] == '.' ? '/' : '.';
	}
	/* No component may be empty, "." or "..". */
	for (const char *part = path;; part += strcspn(part, "/") + 1) {
		size_t part_length = strcspn(part, "/");

		if (part_length == 0 || (part[0] == '.' && (part_length == 1 || (part_length == 2 && part[1] == '.'))))
			return -EINVAL;
		if (!part[part_length])
			return 0;
	}
}

int process_set_sysctl(int procfs, const char *name, const char *value, struct error *err)
{
	char path[512] = "sys/";
	int ret = process_sysctl_path(name, path + strlen("sys/"), sizeof(path) - strlen("sys/"));

	if (ret < 0)
		return error_set(err, -ret, "invalid sysctl name: %s contains an invalid path component", name);
	ret = procfs_write(procfs, path, value);
	return ret < 0 ? error_errno(err, -ret, "cannot set sysctl %s to \"%s\"", name, value) : 0;
}
