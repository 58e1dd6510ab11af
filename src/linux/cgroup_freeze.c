/* SPDX-License-Identifier: Apache-2.0 */
/* The freezers: cgroup-v1/freezer-subsystem.rst, and cgroup.freeze in cgroup-v2.rst. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/cgroup_private.h"

enum {
	FREEZE_WAIT_US = 5000000,
	EVENTS_MAX = 256,
	NAPS_BEFORE_RETRY = 16,
	STAT_MAX = 4096,
	KERNEL_THREAD = 0x00200000, /* PF_KTHREAD, proc(5) */
};

/* The hierarchy whose freezer is used, or -1.  v1's is preferred where there is one: tools look there. */
static int freezer_of(const struct cgroup *cgroup)
{
	int v1 = cgroup_host_find(cgroup->host, "freezer"), v2 = cgroup_host_find(cgroup->host, "");

	if (v1 >= 0 && cgroup_has(cgroup, (size_t)v1)) {
		char path[PATH_MAX];

		if (v2 < 0 ||
		    (cgroup_file_path(cgroup, (size_t)v1, "freezer.state", path) == 0 && access(path, F_OK) == 0))
			return v1;
	}
	return v2 >= 0 && cgroup_has(cgroup, (size_t)v2) ? v2 : -1;
}

static int no_freezer(const struct cgroup *cgroup, struct error *err)
{
	return error_set(err, ENOENT, "cgroup %s has no freezer", cgroup->path);
}

/* "frozen 0" or "frozen 1" in cgroup.events; -errno. */
static int v2_is_frozen(int events)
{
	char text[EVENTS_MAX];
	ssize_t count = pread(events, text, sizeof(text) - 1, 0);
	const char *frozen;

	if (count < 0)
		return -errno;
	text[count] = '\0';
	frozen = strstr(text, "frozen ");
	return frozen ? frozen[strlen("frozen ")] == '1' : -ENOENT;
}

/* The state and the flags of a task; -1: it is gone. */
static int read_task(const char *path, char *state, unsigned *flags)
{
	cleanup_free char *text = NULL;
	const char *end;

	if (file_read(AT_FDCWD, path, STAT_MAX, &text, NULL, NULL) < 0)
		return -1;
	end = strrchr(text, ')');
	return end && sscanf(end + 1, " %c %*d %*d %*d %*d %*d %u", state, flags) == 2 ? 0 : -1;
}

/* Whether a thread of a process may still run, or is in the middle of something. */
static bool is_busy(pid_t pid)
{
	char path[64], state;
	unsigned flags;
	bool busy = false;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	for (const struct dirent *entry; dir && !busy && (entry = readdir(dir));) {
		int thread = (int)strtol(entry->d_name, NULL, 10);

		(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, thread);
		busy = thread > 0 && read_task(path, &state, &flags) == 0 && (state == 'R' || state == 'D');
	}
	if (dir)
		closedir(dir);
	return busy;
}

/*
 * KVM before Linux 6.14, and vhost before 6.4, put kernel threads into their user's cgroup. Those never freeze, and the
 * kernel does not say "frozen" before they have. Then what counts is that all others sleep: cgroup.freeze has woken
 * each of them, and none comes back from there but into the freezer.
 */
static bool v2_only_kernel_runs(const struct cgroup *cgroup)
{
	cleanup_free pid_t *pids = NULL;
	bool kernel = false, busy = false;
	size_t count = 0;

	if (cgroup_procs(cgroup, &pids, &count, NULL) < 0)
		return false;
	for (size_t i = 0; i < count && !busy; i++) {
		char path[32], state;
		unsigned flags;

		(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pids[i]);
		if (read_task(path, &state, &flags) < 0)
			continue;
		if (flags & KERNEL_THREAD)
			kernel = true;
		else
			busy = is_busy(pids[i]);
	}
	return kernel && !busy;
}

static int v2_wait_frozen(const struct cgroup *cgroup, int events)
{
	struct pollfd poller = { .fd = events, .events = POLLPRI };
	int frozen;

	/* The file is notified of each change, so that one long poll is enough; the bound is for a task that hangs. */
	for (int tries = 0; tries < FREEZE_WAIT_US / 100000; tries++) {
		frozen = v2_is_frozen(events);
		if (frozen != 0)
			return frozen < 0 ? frozen : 0;
		if (tries > 0 && v2_only_kernel_runs(cgroup))
			return 0;
		if (poll(&poller, 1, tries < 10 ? 10 : 100) < 0 && errno != EINTR)
			return -errno;
	}
	return -ETIMEDOUT;
}

static int v2_freeze(const struct cgroup *cgroup, size_t v2, bool freeze, struct error *err)
{
	cleanup_close int events = cgroup_file_open(cgroup, v2, "cgroup.events", O_RDONLY);
	int ret;

	if (events < 0)
		return error_errno(err, -events, "cannot watch cgroup %s while it freezes", cgroup->path);
	ret = cgroup_file_write(cgroup, v2, "cgroup.freeze", freeze ? "1" : "0", err);
	if (ret < 0)
		return ret;
	/* Thawed is thawed: unless a cgroup above is frozen, which this one cannot wait for. */
	ret = freeze ? v2_wait_frozen(cgroup, events) : 0;
	if (ret < 0) {
		(void)cgroup_file_write(cgroup, v2, "cgroup.freeze", "0", NULL);
		return error_errno(err, -ret, "cannot freeze cgroup %s", cgroup->path);
	}
	return 0;
}

/* "THAWED", "FREEZING", "FROZEN" into state; reading it makes the kernel look again. */
static int v1_state(const struct cgroup *cgroup, size_t freezer, char state[static 16], struct error *err)
{
	cleanup_close int fd = cgroup_file_open(cgroup, freezer, "freezer.state", O_RDONLY);
	ssize_t count = fd < 0 ? -1 : read(fd, state, 15);

	if (count < 0)
		return error_errno(err, fd < 0 ? -fd : errno, "cannot read freezer.state of cgroup %s", cgroup->path);
	state[count] = '\0';
	state[strcspn(state, "\n")] = '\0';
	return 0;
}

/*
 * A task that was forked, or was entering, at the wrong moment can keep the whole cgroup in FREEZING for good on some
 * kernels; going through THAWED once makes the kernel walk all tasks again.
 */
static int v1_freeze(const struct cgroup *cgroup, size_t freezer, bool freeze, struct error *err)
{
	struct cgroup_wait wait = { .left_us = FREEZE_WAIT_US };
	char state[16];
	int ret = cgroup_file_write(cgroup, freezer, "freezer.state", freeze ? "FROZEN" : "THAWED", err);

	if (!freeze)
		return ret;
	for (int naps = 1; ret == 0; naps++) {
		ret = v1_state(cgroup, freezer, state, err);
		if (ret < 0 || strcmp(state, "FROZEN") == 0)
			break;
		if (!cgroup_wait_nap(&wait))
			ret = error_errno(err, ETIMEDOUT, "cannot freeze cgroup %s", cgroup->path);
		else if (naps % NAPS_BEFORE_RETRY == 0)
			(void)cgroup_file_write(cgroup, freezer, "freezer.state", "THAWED", NULL);
		if (ret == 0)
			ret = cgroup_file_write(cgroup, freezer, "freezer.state", "FROZEN", err);
	}
	if (ret < 0)
		(void)cgroup_file_write(cgroup, freezer, "freezer.state", "THAWED", NULL);
	return ret;
}

int cgroup_freeze(const struct cgroup *cgroup, bool freeze, struct error *err)
{
	int i = freezer_of(cgroup);

	if (i < 0)
		return no_freezer(cgroup, err);
	if (!*cgroup->path)
		return error_set(err, EINVAL, "cannot freeze the root cgroup");
	if (cgroup->host->hierarchies[i].v2)
		return v2_freeze(cgroup, (size_t)i, freeze, err);
	return v1_freeze(cgroup, (size_t)i, freeze, err);
}

int cgroup_frozen(const struct cgroup *cgroup, bool *frozen, struct error *err)
{
	int i = freezer_of(cgroup), ret;
	char state[16];

	if (i < 0)
		return no_freezer(cgroup, err);
	if (cgroup->host->hierarchies[i].v2) {
		cleanup_free char *text = NULL;

		ret = cgroup_file_read(cgroup, (size_t)i, "cgroup.freeze", &text, err);
		*frozen = ret == 0 && *text == '1';
		return ret;
	}
	ret = v1_state(cgroup, (size_t)i, state, err);
	*frozen = ret == 0 && strcmp(state, "THAWED") != 0;
	return ret;
}
