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

/* All in one write; if the kernel refuses that, one by one, so that one that cannot be had does not cost the others. */
static int enable_here(const char *dir, const char *missing)
{
	char path[PATH_MAX], copy[CONTROLLERS_MAX], *rest = copy, *word;
	int ret, first = 0;

	if (snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	ret = file_write_text(AT_FDCWD, path, missing);
	if (ret == 0 || ret == -EACCES || ret == -EROFS || !strchr(missing, ' '))
		return ret;
	(void)snprintf(copy, sizeof(copy), "%s", missing);
	while ((word = strsep(&rest, " "))) {
		ret = file_write_text(AT_FDCWD, path, word);
		if (ret < 0 && first == 0)
			first = ret;
	}
	return first;
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
		if (!cgroup_list_has(list, controllers[i]))
			return false;
	return controllers;
}

/* Enables in the directory dir[..end] what it has and its child dir[..next] lacks; what was refused goes to refusal. */
static int enable_level(char *dir, size_t end, size_t next, const char *const *controllers, struct error *refusal)
{
	cleanup_str struct str missing = STR_INIT;
	char here[CONTROLLERS_MAX], below[CONTROLLERS_MAX], saved;
	int ret;

	saved = dir[next];
	dir[next] = '\0';
	read_controllers(dir, below);
	dir[next] = saved;
	saved = dir[end];
	dir[end] = '\0';
	read_controllers(dir, here);
	missing_of(here, below, controllers, &missing);
	ret = missing.length > 0 ? enable_here(dir, str_text(&missing)) : 0;
	if (ret < 0 && refusal->code == 0)
		(void)refused(dir, str_text(&missing), -ret, refusal);
	dir[end] = saved;
	return str_failed(&missing) ? -ENOMEM : 0;
}

int cgroup_v2_enable(const struct cgroup *cgroup, size_t v2, const char *const *controllers, bool rootless,
		     struct error *err)
{
	char dir[PATH_MAX], list[CONTROLLERS_MAX];
	size_t end = strlen(cgroup->host->hierarchies[v2].mount), next;
	struct error refusal = ERROR_INIT;

	if (cgroup_file_path(cgroup, v2, NULL, dir) < 0)
		return error_errno(err, ENAMETOOLONG, "cgroup %s", cgroup->path);
	/* Mostly all is on already, by whoever made the parent. */
	read_controllers(dir, list);
	if (has_all(list, controllers))
		return 0;
	for (; dir[end]; end = next) {
		next = end + 1 + strcspn(dir + end + 1, "/");
		if (enable_level(dir, end, next, controllers, &refusal) < 0)
			return error_errno(err, ENOMEM, "cgroup %s", cgroup->path);
	}
	if (rootless || refusal.code == 0)
		return 0;
	if (err)
		*err = refusal;
	return -refusal.code;
}
