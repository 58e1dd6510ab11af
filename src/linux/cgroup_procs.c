/* SPDX-License-Identifier: Apache-2.0 */
/* The processes in a cgroup and below it: listing and signalling them. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/cgroup_private.h"

enum { PROCS_FILE_MAX = 64 << 20, SIGNAL_PASSES = 64, PASSES_BEFORE_FREEZE = 4 };

int cgroup_each_child(const char *dir, int (*visit)(const char *child, void *data), void *data)
{
	cleanup_closedir DIR *stream = opendir(dir);
	char child[PATH_MAX];
	struct dirent *entry;
	int ret = 0;

	if (!stream)
		return -errno;
	while (ret == 0 && (entry = readdir(stream))) {
		if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", dir, entry->d_name) >= (int)sizeof(child))
			return -ENAMETOOLONG;
		ret = visit(child, data);
	}
	return ret;
}

static int pids_append(struct cgroup_pids *pids, pid_t pid)
{
	if (pids->count == pids->room) {
		size_t room = pids->room ? pids->room * 2 : 64;
		pid_t *grown = reallocarray(pids->items, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		pids->items = grown;
		pids->room = room;
	}
	pids->items[pids->count++] = pid;
	return 0;
}

static int pids_of(const char *dir, struct cgroup_pids *pids)
{
	cleanup_free char *text = NULL;
	char path[PATH_MAX], *at, *end;
	int ret;

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	ret = file_read(AT_FDCWD, path, PROCS_FILE_MAX, &text, NULL, NULL);
	/* Of a threaded v2 cgroup the processes are listed by the domain above it. */
	if (ret == -EOPNOTSUPP)
		return 0;
	at = text;
	while (ret == 0 && *at) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		/* 0 is a process that the caller's pid namespace does not show. */
		if (pid > 0)
			ret = pids_append(pids, (pid_t)pid);
		at = end + (*end == '\n');
	}
	return ret;
}

static int pids_of_child(const char *child, void *data)
{
	int ret = cgroup_pids_below(child, data);

	return ret == -ENOENT || ret == -ENODEV ? 0 : ret; /* removed meanwhile */
}

int cgroup_pids_below(const char *dir, struct cgroup_pids *pids)
{
	struct stat st;
	int ret = pids_of(dir, pids);

	/* kernfs counts a directory's children in its links. */
	if (ret == 0 && stat(dir, &st) == 0 && st.st_nlink > 2)
		ret = cgroup_each_child(dir, pids_of_child, pids);
	return ret;
}

static int compare_pids(const void *left, const void *right)
{
	pid_t a = *(const pid_t *)left, b = *(const pid_t *)right;

	return (a > b) - (a < b);
}

/* From the first hierarchy that has the cgroup, v2 before v1: every process of an instance is in all of them. */
static int list_pids(const struct cgroup *cgroup, struct cgroup_pids *pids, struct error *err)
{
	int v2 = cgroup_host_find(cgroup->host, ""), ret = -ENOENT;
	size_t count = cgroup->host->count, first = v2 < 0 ? 0 : (size_t)v2;
	char path[PATH_MAX];

	/* One that was made for a later limit may still be empty while the processes are in others. */
	for (size_t step = 0; (ret == -ENOENT || (ret == 0 && pids->count == 0)) && step < count; step++) {
		size_t i = (first + step) % count;
		int found;

		if (!cgroup_has(cgroup, i) || cgroup_file_path(cgroup, i, NULL, path) < 0)
			continue;
		found = cgroup_pids_below(path, pids);
		if (found != -ENOENT)
			ret = found;
	}
	if (ret == -ENOENT)
		return error_set(err, ENOENT, "cgroup %s does not exist", cgroup->path);
	if (ret < 0)
		return error_errno(err, -ret, "cannot list the processes in cgroup %s", cgroup->path);
	if (pids->count > 0)
		qsort(pids->items, pids->count, sizeof(*pids->items), compare_pids);
	return 0;
}

int cgroup_procs(const struct cgroup *cgroup, pid_t **pids, size_t *count, struct error *err)
{
	struct cgroup_pids list = { .items = NULL };
	int ret = list_pids(cgroup, &list, err);
	size_t kept = 0;

	if (ret < 0) {
		free(list.items);
		return ret;
	}
	/* One that was moved while the tree was walked is seen twice. */
	for (size_t i = 0; i < list.count; i++)
		if (kept == 0 || list.items[kept - 1] != list.items[i])
			list.items[kept++] = list.items[i];
	*pids = list.items;
	*count = kept;
	return 0;
}

/* Signals those of now that were not among before (both sorted); how many there were. */
static size_t signal_new(const struct cgroup_pids *now, const struct cgroup_pids *before, int signal)
{
	size_t fresh = 0, j = 0;

	for (size_t i = 0; i < now->count; i++) {
		while (j < before->count && before->items[j] < now->items[i])
			j++;
		if (j < before->count && before->items[j] == now->items[i])
			continue;
		(void)kill(now->items[i], signal); /* ESRCH: gone by itself */
		fresh++;
	}
	return fresh;
}

/*
 * What a process may answer with a fork: all that are there stand still meanwhile, so that each gets it, and nobody who
 * was born of the answer.  Unless we were among them: then nobody would let them go.
 */
static int signal_once(const struct cgroup *cgroup, int signal, struct error *err)
{
	struct cgroup_pids nobody = { .items = NULL }, now = { .items = NULL };
	bool frozen = true, ours = false;
	pid_t own = getpid();
	int ret = list_pids(cgroup, &now, err);

	for (size_t i = 0; ret == 0 && i < now.count; i++)
		ours |= now.items[i] == own;
	/* One that is frozen already stays so: it gets the signal when it goes on. */
	if (ret == 0 && !ours && cgroup_frozen(cgroup, &frozen, NULL) == 0 && !frozen &&
	    cgroup_freeze(cgroup, true, NULL) == 0) {
		free(now.items);
		now = nobody;
		ret = list_pids(cgroup, &now, err);
	} else {
		frozen = true;
	}
	if (ret == 0)
		(void)signal_new(&now, &nobody, signal);
	if (!frozen)
		(void)cgroup_freeze(cgroup, false, NULL);
	free(now.items);
	return ret == -ENOENT ? 0 : ret;
}

/*
 * Passes until one finds nobody new: a process that was killed may have forked before.  Who forks faster than that is
 * frozen for the rest.
 */
static int kill_all(const struct cgroup *cgroup, struct error *err)
{
	struct cgroup_pids before = { .items = NULL }, now = { .items = NULL };
	bool frozen = false;
	int ret = 0;

	for (int pass = 0; pass < SIGNAL_PASSES; pass++) {
		if (pass == PASSES_BEFORE_FREEZE)
			frozen = cgroup_freeze(cgroup, true, NULL) == 0;
		now = (struct cgroup_pids){ .items = NULL };
		ret = list_pids(cgroup, &now, err);
		if (ret < 0 || signal_new(&now, &before, SIGKILL) == 0)
			break;
		free(before.items);
		before = now;
		now.items = NULL;
	}
	if (frozen)
		(void)cgroup_freeze(cgroup, false, NULL);
	free(before.items);
	free(now.items);
	return ret == -ENOENT ? 0 : ret;
}

int cgroup_kill(const struct cgroup *cgroup, int signal, struct error *err)
{
	int v2 = cgroup_host_find(cgroup->host, ""), freezer = cgroup_host_find(cgroup->host, "freezer"), ret = -ENOENT;

	if (!*cgroup->path)
		return error_set(err, EINVAL, "cannot signal everything in the root cgroup");
	if (signal != SIGKILL)
		return signal_once(cgroup, signal, err);
	if (v2 >= 0 && cgroup_has(cgroup, (size_t)v2))
		ret = cgroup_file_write(cgroup, (size_t)v2, "cgroup.kill", "1", NULL);
	if (ret < 0)
		ret = kill_all(cgroup, err);
	/* Who sits in the v1 freezer does not even die before it is thawed; in v2's it does. */
	if (freezer >= 0 && cgroup_has(cgroup, (size_t)freezer))
		(void)cgroup_file_write(cgroup, (size_t)freezer, "freezer.state", "THAWED", NULL);
	return ret;
}
