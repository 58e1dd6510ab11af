/* SPDX-License-Identifier: Apache-2.0 */
/* What only version 2 needs: controllers are switched on from above, level by level (cgroup-v2.rst, "Controlling
 * Controllers"). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/bpf.h"
#include "linux/cgroup_private.h"

enum { CONTROLLERS_MAX = 1024 };

/* A directory's cgroup.controllers; "" when it cannot be read. */
static void read_controllers(const char *dir, char list[static CONTROLLERS_MAX])
{
	char path[PATH_MAX];
	cleanup_close int fd = -1;
	ssize_t count = -1;

	if (snprintf(path, sizeof(path), "%s/cgroup.controllers", dir) < (int)sizeof(path))
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		count = read(fd, list, CONTROLLERS_MAX - 1);
	list[count > 0 ? count : 0] = '\0';
}

static bool is_listed(const char *const *controllers, const char *word)
{
	for (size_t i = 0; controllers && controllers[i]; i++)
		if (strcmp(controllers[i], word) == 0)
			return true;
	return !controllers;
}

/* "+cpu +memory": those of available that are wanted and not in have. */
static void missing_of(const char *available, const char *have, const char *const *controllers, struct str *missing)
{
	char copy[CONTROLLERS_MAX], *rest = copy, *word;

	(void)snprintf(copy, sizeof(copy), "%s", available);
	while ((word = strsep(&rest, " \n")))
		if (*word && is_listed(controllers, word) && !cgroup_list_has(have, word))
			str_printf(missing, "%s+%s", missing->length > 0 ? " " : "", word);
}

static int write_subtree(const char *dir, const char *words)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return file_write_text(AT_FDCWD, path, words);
}

/*
 * All in one write; if the kernel refuses that, one by one, so that one that cannot be had does not cost the others.
 * Not when processes are in the way: of those controllers that know threads the kernel would then make a threaded
 * subtree, in which no process can live.
 */
static int enable_here(const char *dir, const char *missing)
{
	char copy[CONTROLLERS_MAX], *rest = copy, *word;
	int ret = write_subtree(dir, missing), first = 0;

	if (ret == 0 || ret == -EBUSY || ret == -EACCES || ret == -EROFS || !strchr(missing, ' '))
		return ret;
	(void)snprintf(copy, sizeof(copy), "%s", missing);
	while ((word = strsep(&rest, " "))) {
		ret = write_subtree(dir, word);
		if (ret < 0 && first == 0)
			first = ret;
	}
	return first;
}

/* The same trap when only such controllers were asked for: the children have become useless.  Takes it back. */
static int undo_threaded(const char *dir, const char *child, const char *missing)
{
	char path[PATH_MAX], words[CONTROLLERS_MAX];
	cleanup_free char *type = NULL;

	if (snprintf(path, sizeof(path), "%s/cgroup.type", child) >= (int)sizeof(path) ||
	    file_read(AT_FDCWD, path, CONTROLLERS_MAX, &type, NULL, NULL) < 0 || !str_starts(type, "domain invalid"))
		return 0;
	(void)snprintf(words, sizeof(words), "%s", missing);
	for (char *plus = words; (plus = strchr(plus, '+'));)
		*plus = '-';
	(void)write_subtree(dir, words);
	return -EBUSY;
}

static int refused(const char *dir, const char *missing, int code, struct error *err)
{
	(void)error_errno(err, code, "cannot enable %s for the children of cgroup %s", missing, dir);
	if (code == EBUSY)
		(void)error_hint(err,
				 "%s holds processes itself, and cgroup v2 gives controllers only to children of "
				 "cgroups without any: move them into a child of it",
				 dir);
	if (code == EACCES || code == EPERM || code == EROFS)
		(void)error_hint(err, "ask for delegation of the controllers (systemd: Delegate=yes)");
	return -code;
}

/* Does the list have every controller that is wanted?  Of "all" nobody knows without asking the root. */
static bool has_all(const char *list, const char *const *controllers)
{
	for (size_t i = 0; controllers && controllers[i]; i++)
		if (*controllers[i] && !cgroup_list_has(list, controllers[i]))
			return false;
	return controllers;
}

/* Enables in dir what it has and its child lacks; what was refused goes to refusal. */
static int enable_level(const char *dir, const char *child, const char *const *controllers, struct error *refusal)
{
	cleanup_str struct str missing = STR_INIT;
	char here[CONTROLLERS_MAX], below[CONTROLLERS_MAX];
	int ret;

	read_controllers(child, below);
	read_controllers(dir, here);
	missing_of(here, below, controllers, &missing);
	if (str_failed(&missing))
		return -ENOMEM;
	if (missing.length == 0)
		return 0;
	ret = enable_here(dir, str_text(&missing));
	if (ret == 0)
		ret = undo_threaded(dir, child, str_text(&missing));
	if (ret < 0 && refusal->code == 0)
		(void)refused(dir, str_text(&missing), -ret, refusal);
	return 0;
}

int cgroup_v2_enable(const struct cgroup *cgroup, size_t v2, const char *const *controllers, bool rootless,
		     struct error *err)
{
	char leaf[PATH_MAX], dir[PATH_MAX], child[PATH_MAX], list[CONTROLLERS_MAX];
	size_t end = strlen(cgroup->host->hierarchies[v2].mount), next;
	struct error refusal = ERROR_INIT;

	if (cgroup_file_path(cgroup, v2, NULL, leaf) < 0)
		return error_errno(err, ENAMETOOLONG, "cgroup %s", cgroup->path);
	/* Mostly all is on already, by whoever made the parent. */
	read_controllers(leaf, list);
	if (has_all(list, controllers))
		return 0;
	for (; leaf[end]; end = next) {
		next = end + 1 + strcspn(leaf + end + 1, "/");
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)end, leaf);
		(void)snprintf(child, sizeof(child), "%.*s", (int)next, leaf);
		if (enable_level(dir, child, controllers, &refusal) < 0)
			return error_errno(err, ENOMEM, "cgroup %s", cgroup->path);
	}
	/* "All" is what can be had: further up, the tree is mostly somebody else's. */
	if (!controllers && (refusal.code == EACCES || refusal.code == EPERM || refusal.code == EROFS))
		return 0;
	if (rootless || refusal.code == 0)
		return 0;
	if (err)
		*err = refusal;
	return -refusal.code;
}

/* How the program of this room is told from systemd's and others'. */
static const char DEVICE_PROGRAM[] = "caisson_dev";

int cgroup_devices_v2(const struct cgroup *cgroup, const struct cgroup_device_rule *rules, size_t count,
		      struct error *err)
{
	int v2 = cgroup_host_find(cgroup->host, ""), ret;
	cleanup_close int opened = -1, program = -1, before = -1;
	int dir = cgroup->v2_dir;
	cleanup_free struct bpf_insn *insns = NULL;
	size_t insn_count = 0;

	if (v2 < 0 || !cgroup_has(cgroup, (size_t)v2))
		return error_set(err, ENOENT, "cgroup %s has no directory in the v2 tree", cgroup->path);
	if (dir < 0)
		dir = opened = cgroup_file_open(cgroup, (size_t)v2, NULL, O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return error_errno(err, -dir, "cannot open cgroup %s", cgroup->path);
	ret = bpf_device_program(rules, count, &insns, &insn_count, err);
	if (ret == 0)
		ret = program = bpf_device_load(insns, insn_count, DEVICE_PROGRAM, err);
	if (ret >= 0)
		before = bpf_device_find(dir, DEVICE_PROGRAM, err);
	if (before < 0 && before != -ENOENT && ret >= 0)
		ret = before;
	if (ret >= 0)
		ret = bpf_device_attach(dir, program, before, err);
	if (ret < 0)
		(void)error_wrap(err, "cannot control the devices of cgroup %s", cgroup->path);
	return ret < 0 ? ret : 0;
}
