/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup - control groups, version 1, hybrid and version 2, behind one door.
 *
 * Follows Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.  A struct
 * cgroup is the set of directories that one container has: one in each v1
 * hierarchy that it uses, and one in the v2 tree if there is one (in the
 * hybrid layout both).  Which layout a host has is read from mountinfo, never
 * guessed from names below /sys/fs/cgroup.
 *
 * The room makes and removes only directories that it was told to; it knows no
 * limits and no policy: which file gets which value is decided above
 * (paradigm/shell/resources.c).
 *
 * A path is relative to the mount point of each hierarchy; a leading '/' makes
 * no difference; ".." is refused.
 *
 * System calls are counted here: making a cgroup costs one mkdir(2) in each
 * hierarchy, removing it one rmdir(2), entering it one open and one write.
 */
#ifndef CAISSON_LINUX_CGROUP_H
#define CAISSON_LINUX_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum cgroup_layout { CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 };

enum { CGROUP_HIERARCHIES_MAX = 20 };

struct cgroup_hierarchy {
	char *controllers; /* v1: "cpu,cpuacct", "name=systemd", "freezer"; v2: "" (see cgroup.controllers) */
	char *mount;	   /* where it is mounted */
	char *root;	   /* which cgroup of the hierarchy is mounted there, mostly "/"; NULL: not looked at yet */
	char *own;	   /* the caller's own cgroup, relative to mount, "/..."; NULL until cgroup_host_read_own() */
	bool v2;
};

struct cgroup_host {
	enum cgroup_layout layout;
	size_t count;
	struct cgroup_hierarchy hierarchies[CGROUP_HIERARCHIES_MAX];
};

struct cgroup {
	const struct cgroup_host *host; /* not owned, must outlive this */
	char *path;			/* owned; without leading '/' */
	uint32_t present; /* bit N: it has (or, after cgroup_open(), may have) a directory in hierarchy N */
	int v2_dir;	  /* opened by the first cgroup_v2_dir(), owned; -1 */
};

/* What cgroup_close() may always be called on. */
#define CGROUP_INIT ((struct cgroup){ .v2_dir = -1 })

/* Reads which hierarchies are mounted and visible (/proc/self/mountinfo).
 * A host without any cgroup mount has count == 0; that is no error. */
int cgroup_host_read(struct cgroup_host *host, struct error *err);
/* The same for who knows already what cgroup_host_is_v2() says. */
int cgroup_host_read_as(struct cgroup_host *host, bool v2, struct error *err);
/* Fills in the caller's place in each hierarchy (/proc/self/cgroup), which only relative paths need. */
int cgroup_host_read_own(struct cgroup_host *host, struct error *err);
void cgroup_host_free(struct cgroup_host *host);
/* Whether v2 alone is mounted where systemd mounts it: what cgroup_host_read() would find, for one system call. */
bool cgroup_host_is_v2(void);

/* What the child of a process that reads the host only after the fork has to know of it, as bytes for a message: how
 * many, -E2BIG; and back again.  The caller's own places are not in it. */
int cgroup_host_pack(const struct cgroup_host *host, char *bytes, size_t size);
int cgroup_host_unpack(const char *bytes, size_t size, struct cgroup_host *host);

/* The parsers behind them: text is a whole mountinfo or cgroup file.  Lines that make no sense are passed over. */
int cgroup_host_parse_mounts(const char *text, struct cgroup_host *host, struct error *err);
int cgroup_host_parse_own(const char *text, struct cgroup_host *host, struct error *err);

/* Index of the hierarchy that has a v1 controller ("memory", "name=systemd"), of the v2 tree for ""; -1 if none. */
int cgroup_host_find(const struct cgroup_host *host, const char *controller);

enum {
	/* -EEXIST if a directory of that path exists already and holds processes or is frozen: who entered it would be
	 * bound by somebody else's limits, and end with them; or never run. */
	CGROUP_CREATE_EXCLUSIVE = 1,
	/* With it: the v2 tree's directory is passed over, as the one to come was born in it. */
	CGROUP_CREATE_BORN_IN_V2 = 2,
	/* In every mounted hierarchy; the list of controllers says only what is enabled in the v2 tree. */
	CGROUP_CREATE_EVERYWHERE = 4,
};

/*
 * Makes (or finds) the directories of path, parents included.  controllers is a NULL-terminated list of
 * v1 controllers that are wanted, or NULL for every mounted hierarchy; "" in it means the v2 tree of a hybrid host; on
 * CGROUP_V2 that is always used, and the listed controllers that are available are enabled in subtree_control from the
 * root down to the parent (no process is ever moved out of the way: the error says which cgroup holds some).  In the
 * hybrid layout that is done, if "" is in the list, for those controllers that no v1 hierarchy has.  cpuset of v1
 * inherits cpus and mems from the parent so that tasks can enter.  A hierarchy in which the caller may not create
 * (EACCES, EPERM, EROFS) is skipped when rootless is true.  On failure the directories that this call made are removed
 * again.  Calling it again with a longer list adds to what is there.
 */
int cgroup_create(const struct cgroup_host *host, const char *path, const char *const *controllers, int flags,
		  bool rootless, struct cgroup *cgroup, struct error *err);

/* Finds what is there: -ENOENT when no hierarchy has the path.  The path "/" is the root of each. */
int cgroup_open(const struct cgroup_host *host, const char *path, struct cgroup *cgroup, struct error *err);

/* The same without a look: as if every hierarchy had it. */
int cgroup_name(const struct cgroup_host *host, const char *path, struct cgroup *cgroup, struct error *err);

/* Frees the path and closes v2_dir; the directories stay. */
void cgroup_close(struct cgroup *cgroup);

/*
 * Entering without the kernel's global lock: the parent opens the doors, the child writes "0" into each by itself.
 * (v1: the "tasks" files; a thread that moves only itself skips cgroup_threadgroup_rwsem and the RCU grace period that
 * comes with it: about 40 us instead of 7 ms on an idle machine.  v2's cgroup.procs has no such way: there clone3(2)
 * with CLONE_INTO_CGROUP is the cheap one, 3 us.)  Returns the number of descriptors put into doors, or -errno.  The v2
 * directory is included unless skip_v2, for children that were born in it by CLONE_INTO_CGROUP.
 */
int cgroup_doors_open(const struct cgroup *cgroup, bool skip_v2, int doors[static CGROUP_HIERARCHIES_MAX],
		      struct error *err);
/* The calling thread (the process must have only this one) enters through count doors; they stay open.  -errno. */
int cgroup_doors_enter(const int *doors, int count);

/* Moves a whole process, by cgroup.procs in every hierarchy.  Waits for the grace period that the doors avoid. */
int cgroup_attach(const struct cgroup *cgroup, pid_t pid, struct error *err);

/* The directory in the v2 tree for CLONE_INTO_CGROUP (owned by cgroup, opened once), or -1. */
int cgroup_v2_dir(struct cgroup *cgroup);

/* Writes or reads one control file of a v1 controller, or of the v2 tree with controller "".  -ENOENT when the
 * hierarchy or the file does not exist; errors name the file's full path.  Reading: NUL-terminated, owned by the
 * caller. */
int cgroup_write(const struct cgroup *cgroup, const char *controller, const char *file, const char *text,
		 struct error *err);
/* The same for a file that takes one line a write: opened once, every line by a write of its own. */
int cgroup_write_lines(const struct cgroup *cgroup, const char *controller, const char *file, const char *const *lines,
		       size_t count, struct error *err);
int cgroup_read(const struct cgroup *cgroup, const char *controller, const char *file, char **text, struct error *err);
/* One number; "max" is UINT64_MAX. */
int cgroup_read_u64(const struct cgroup *cgroup, const char *controller, const char *file, uint64_t *value,
		    struct error *err);
/* The value behind "key " in a flat-keyed file (memory.stat, cpu.stat); -ENOENT if there is none. */
int cgroup_read_key(const struct cgroup *cgroup, const char *controller, const char *file, const char *key,
		    uint64_t *value, struct error *err);

/* Freezer: v2 cgroup.freeze where the layout is v2, the v1 freezer else (the v2 tree's as a fallback in the hybrid
 * layout).  Waits until the state is reached (bounded: -ETIMEDOUT, and the cgroup is thawed again). */
int cgroup_freeze(const struct cgroup *cgroup, bool freeze, struct error *err);
int cgroup_frozen(const struct cgroup *cgroup, bool *frozen, struct error *err);

/* All processes in it and below, each once, in the caller's pid namespace; the caller frees *pids. */
int cgroup_procs(const struct cgroup *cgroup, pid_t **pids, size_t *count, struct error *err);

/* Signals every process in it and below, each once; with SIGKILL until none is left (cgroup.kill where there is one).
 */
int cgroup_kill(const struct cgroup *cgroup, int signal, struct error *err);

/* Removes the directories, children included (deepest first); retries EBUSY for a second while processes are dying.
 * What is already gone is fine. */
int cgroup_remove(const struct cgroup *cgroup, struct error *err);

/* The device rules of a container for v2: compiled into one BPF_PROG_TYPE_CGROUP_DEVICE program that is attached to the
 * v2 directory (replacing the one attached before through this room).  Last matching rule wins, what none matches is
 * denied; an "a" rule is for every device.  See linux/bpf.h. */
struct cgroup_device_rule {
	bool allow, read, write, mknod;
	char type;	      /* 'a', 'b', 'c' */
	int64_t major, minor; /* -1: any */
};
int cgroup_devices_v2(const struct cgroup *cgroup, const struct cgroup_device_rule *rules, size_t count,
		      struct error *err);

struct cgroup_stats {
	uint64_t cpu_usage, cpu_user, cpu_system;		    /* nanoseconds */
	uint64_t cpu_periods, cpu_throttled_periods, cpu_throttled; /* counts, counts, nanoseconds */
	uint64_t *cpu_per_cpu;
	size_t cpu_per_cpu_count; /* v1 only; owned, freed by cgroup_stats_free() */
	uint64_t memory_usage, memory_max_usage, memory_limit, memory_failcnt; /* bytes; limit UINT64_MAX: none */
	uint64_t swap_usage, swap_limit; /* memory and swap together, also on v2 */
	uint64_t kernel_usage, kernel_limit, kernel_tcp_usage;
	uint64_t memory_rss, memory_cache, memory_inactive_file, memory_shmem; /* bytes; told apart: users ask for it */
	uint64_t oom_kills;
	uint64_t pids_current, pids_limit; /* limit UINT64_MAX: none */
	uint64_t io_read_bytes, io_write_bytes, io_reads, io_writes;
};
/* What the host has of it; the rest is 0. */
int cgroup_stats_read(const struct cgroup *cgroup, struct cgroup_stats *stats, struct error *err);
void cgroup_stats_free(struct cgroup_stats *stats);

/* A descriptor that becomes readable (poll POLLIN or POLLPRI) at each OOM in the cgroup: v1 eventfd on
 * memory.oom_control, v2 inotify on memory.events.  cgroup_oom_read() drains it and says whether OOM happened since
 * last time; *kills is the count of OOM kills, and keeps it for the next call (start it with 0; v1 counts a kill a
 * moment after it has told of it).  -ENOENT when the cgroup is gone, of which v1 tells as well. */
int cgroup_oom_open(const struct cgroup *cgroup, struct error *err);
int cgroup_oom_read(const struct cgroup *cgroup, int fd, uint64_t *kills, bool *happened, struct error *err);

#endif
