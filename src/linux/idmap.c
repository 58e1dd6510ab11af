/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/clone.h"

enum { RANGES_MAX = 340 /* the kernel's, since 4.15 */ };

static char *to_text(const struct idmap_range *ranges, size_t count)
{
	struct str text = STR_INIT;

	for (size_t i = 0; i < count; i++)
		str_printf(&text, "%u %u %u\n", ranges[i].inside, ranges[i].outside, ranges[i].size);
	return str_take(&text);
}

/* newuidmap PID INSIDE OUTSIDE SIZE ...: set-user-ID, and bound by /etc/subuid. */
static int ask_helper(const char *program, pid_t pid, const struct idmap_range *ranges, size_t count, struct error *err)
{
	cleanup_free char **argv = calloc(3 * count + 3, sizeof(*argv));
	cleanup_free char(*numbers)[16] = calloc(3 * count + 1, sizeof(*numbers));
	struct clone_options options = CLONE_OPTIONS_INIT;
	cleanup_close int pidfd = -1;
	int status = 0;
	pid_t helper;

	if (!argv || !numbers)
		return error_errno(err, ENOMEM, "cannot run %s", program);
	argv[0] = (char *)program;
	(void)snprintf(numbers[0], sizeof(*numbers), "%d", pid);
	argv[1] = numbers[0];
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(numbers[3 * i + 1], sizeof(*numbers), "%u", ranges[i].inside);
		(void)snprintf(numbers[3 * i + 2], sizeof(*numbers), "%u", ranges[i].outside);
		(void)snprintf(numbers[3 * i + 3], sizeof(*numbers), "%u", ranges[i].size);
		for (size_t k = 1; k <= 3; k++)
			argv[3 * i + 1 + k] = numbers[3 * i + k];
	}
	options.pidfd = &pidfd;
	helper = clone_process(&options, err);
	if (helper < 0)
		return helper;
	if (helper == 0) {
		execvp(program, argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pidfd_wait(pidfd, 0, &status) != 1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
			return error_set(err, ENOENT, "%s not found; install the package uidmap", program);
		return error_set(err, EPERM, "%s refused the id mappings; see subuid(5) and subgid(5)", program);
	}
	return 0;
}

static int write_one(pid_t pid, const char *file, const char *helper, const struct idmap_range *ranges, size_t count,
		     struct error *err)
{
	cleanup_free char *text = count <= RANGES_MAX ? to_text(ranges, count) : NULL;
	char path[64];
	int ret;

	if (!text)
		return error_set(err, EINVAL, "cannot write %zu id mappings", count);
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	ret = file_write_text(AT_FDCWD, path, text);
	if (ret == -EPERM && geteuid() != 0)
		return ask_helper(helper, pid, ranges, count, err);
	return ret < 0 ? error_errno(err, -ret, "cannot write %s", path) : 0;
}

static int deny_setgroups(pid_t pid, const struct idmap *map)
{
	char path[64];

	if (geteuid() == 0 || map->gids_count != 1 || map->gids[0].size != 1 || map->gids[0].outside != getegid())
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
	return file_write_text(AT_FDCWD, path, "deny");
}

int idmap_write(pid_t pid, const struct idmap *map, struct error *err)
{
	int ret;

	if (map->uids_count == 0 || map->gids_count == 0)
		return error_set(err, EINVAL, "a user namespace needs both uid and gid mappings");
	ret = write_one(pid, "uid_map", "newuidmap", map->uids, map->uids_count, err);

	if (ret < 0)
		return ret;
	ret = deny_setgroups(pid, map);
	if (ret < 0)
		return error_errno(err, -ret, "cannot deny setgroups(2) in the user namespace");
	return write_one(pid, "gid_map", "newgidmap", map->gids, map->gids_count, err);
}

int idmap_namespace(const struct idmap *map, struct error *err)
{
	struct clone_options options = CLONE_OPTIONS_INIT;
	cleanup_close int pidfd = -1, namespace = -1;
	char path[64];
	int ret, status;
	pid_t parent = getpid(), pid;

	options.flags = CLONE_NEWUSER;
	options.exit_signal = 0; /* no SIGCHLD for a child that the caller knows nothing of */
	options.pidfd = &pidfd;
	pid = clone_process(&options, err);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		/* It must not outlive a parent that is killed just now. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	ret = idmap_write(pid, map, err);
	if (ret == 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		namespace = open(path, O_RDONLY | O_CLOEXEC);
		if (namespace < 0)
			ret = error_errno(err, errno, "cannot open %s", path);
	}
	(void)pidfd_kill(pidfd, SIGKILL);
	(void)pidfd_wait(pidfd, 0, &status);
	return ret < 0 ? ret : take_fd(&namespace);
}

int64_t idmap_outside(const struct idmap_range *ranges, size_t count, uint32_t inside)
{
	for (size_t i = 0; i < count; i++) {
		if (inside >= ranges[i].inside && inside - ranges[i].inside < ranges[i].size)
			return (int64_t)ranges[i].outside + (inside - ranges[i].inside);
	}
	return -1;
}
