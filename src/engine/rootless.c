/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/rootless.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "image/store.h"
#include "linux/clone.h"
#include "linux/idmap.h"
#include "linux/subid.h"

enum { RANGES_MAX = 340, PASSWD_MAX = 1 << 20 };

struct mapping {
	struct idmap_range uids[RANGES_MAX], gids[RANGES_MAX];
	size_t uids_count, gids_count;
};

/* The user's name by /etc/passwd, as fresh memory; NULL: ranges can be the number's, too.  (A static program cannot ask
 * the name service.) */
static char *find_name(uid_t uid)
{
	cleanup_free char *text = NULL;
	char *line, *rest;

	if (file_read(AT_FDCWD, "/etc/passwd", PASSWD_MAX, &text, NULL, NULL) < 0)
		return NULL;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		const char *name = strsep(&line, ":"), *number = line ? (strsep(&line, ":"), strsep(&line, ":")) : NULL;
		uint64_t found;

		if (number && str_to_u64(number, &found) == 0 && found == uid)
			return strdup(name);
	}
	return NULL;
}

/* The user is root; the subordinate ids follow, as far as they are asked for. */
static void fill_mapping(struct mapping *mapping, bool subordinate)
{
	cleanup_free char *name = subordinate ? find_name(getuid()) : NULL;

	mapping->uids[0] = (struct idmap_range){ 0, geteuid(), 1 };
	mapping->gids[0] = (struct idmap_range){ 0, getegid(), 1 };
	mapping->uids_count = mapping->gids_count = 1;
	if (!subordinate)
		return;
	mapping->uids_count += subid_read("/etc/subuid", name, getuid(), 1, mapping->uids + 1, RANGES_MAX - 1);
	mapping->gids_count += subid_read("/etc/subgid", name, getuid(), 1, mapping->gids + 1, RANGES_MAX - 1);
}

/* What the holder does: it waits for a byte (its ids are mapped), then until nobody uses the namespace any more. */
__attribute__((noreturn)) static void hold(int file, int go)
{
	const int keep[] = { file };
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(1);
	/* Nothing of the command's is to be kept open or busy, nor do its terminal's keys mean us. */
	(void)setsid();
	(void)!chdir("/");
	(void)fds_close_from(0, keep, 1);
	/* Whoever joins must be allowed to look at us. */
	(void)prctl(PR_SET_DUMPABLE, 1);
	(void)prctl(PR_SET_NAME, "caisson-userns");
	while (flock(file, LOCK_EX) < 0 && errno == EINTR)
		;
	(void)!ftruncate(file, 0);
	_exit(0);
}

static int map_ids(pid_t pid, const struct mapping *mapping, struct error *err)
{
	const struct idmap map = { mapping->uids, mapping->gids, mapping->uids_count, mapping->gids_count };

	return idmap_write(pid, &map, err);
}

/*
 * In a new user namespace with that mapping, or with NULL in the caller's.  It gets a descriptor of its own: locks of
 * flock(2) belong to the open file.
 */
static pid_t start_holder(const char *path, const struct mapping *mapping, struct error *err)
{
	cleanup_close int file = open(path, O_RDWR | O_CLOEXEC), pidfd = -1, answer = -1, go = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	int pair[2], ret;
	pid_t pid;

	if (file < 0 || pipe2(pair, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot start the holder of the user namespace");
	go = pair[0];
	answer = pair[1];
	options.flags = mapping ? CLONE_NEWUSER : 0;
	options.exit_signal = 0; /* nobody waits for it: it belongs to the machine's process 1 in the end */
	options.pidfd = &pidfd;
	pid = clone_process(&options, err);
	if (pid == 0) {
		close(answer); /* so that the end of the command is seen */
		hold(file, go);
	}
	if (pid < 0)
		return pid;
	ret = mapping ? map_ids(pid, mapping, err) : 0;
	if (ret == 0)
		ret = file_write_all(answer, "", 1);
	if (ret < 0) {
		int status;

		(void)pidfd_kill(pidfd, SIGKILL);
		(void)pidfd_wait(pidfd, 0, &status);
	}
	return ret < 0 ? ret : pid;
}

/* With all ids that the user has, or else with the one that needs nobody's permission. */
static pid_t make_namespace(const char *path, char **notice, struct error *err)
{
	cleanup_free struct mapping *mapping = calloc(1, sizeof(*mapping));
	struct error why = ERROR_INIT;
	pid_t pid;

	if (!mapping)
		return error_errno(err, ENOMEM, "cannot make the user namespace");
	fill_mapping(mapping, true);
	if (mapping->uids_count > 1 && mapping->gids_count > 1) {
		pid = start_holder(path, mapping, &why);
		if (pid > 0)
			return pid;
	} else {
		(void)error_set(&why, ENOENT, "you have no subordinate ids in /etc/subuid and /etc/subgid");
		(void)error_hint(&why, "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER");
	}
	fill_mapping(mapping, false);
	pid = start_holder(path, mapping, err);
	if (pid > 0 && asprintf(notice,
				"%s; until then there is only one user in instances, and images with files of others, "
				"or a USER, may not work",
				why.text) < 0)
		*notice = NULL;
	return pid;
}

static int write_holder(int file, pid_t pid, struct error *err)
{
	struct process_stat stat;
	char text[64];
	int length, ret = process_stat_read(pid, &stat);

	if (ret == 0) {
		length = snprintf(text, sizeof(text), "%d %llu\n", (int)pid, (unsigned long long)stat.start);
		if (ftruncate(file, 0) < 0 || pwrite(file, text, (size_t)length, 0) != length)
			ret = -errno;
	}
	return ret < 0 ? error_errno(err, -ret, "cannot note the holder of the user namespace") : 0;
}

/* A pidfd of the process that the file names, if that is alive; -ESRCH. */
static int find_holder(int file)
{
	unsigned long long start;
	struct process_stat stat;
	cleanup_close int pidfd = -1;
	char text[64];
	ssize_t length = pread(file, text, sizeof(text) - 1, 0);
	int pid;

	if (length <= 0)
		return -ESRCH;
	text[length] = '\0';
	if (sscanf(text, "%d %llu", &pid, &start) != 2 || pid <= 0)
		return -ESRCH;
	pidfd = pidfd_of(pid);
	/* Opened first, then compared: a pid that was used again is never taken. */
	if (pidfd < 0 || process_stat_read(pid, &stat) < 0 || stat.start != start || stat.state == 'Z')
		return -ESRCH;
	return take_fd(&pidfd);
}

/* What every command has for itself. */
static int settle_in(struct error *err)
{
	int ret = namespace_unshare(CLONE_NEWNS, err);

	if (ret == 0 && setenv(IMAGE_STORE_ROOTLESS, "1", 1) < 0)
		ret = error_errno(err, errno, "cannot enter the user namespace");
	return ret;
}

static int join(int file, struct error *err)
{
	cleanup_close int holder = find_holder(file);
	int ret;

	if (holder < 0)
		return holder;
	ret = namespace_join_pidfd(holder, CLONE_NEWUSER, err);
	return ret == 0 ? settle_in(err) : ret;
}

/* A pidfd of the process that has the lock of fcntl(2) on that file: the kernel tells who that is.  -ESRCH. */
static int find_owner(int dir, const char *instance)
{
	struct flock before = { .l_type = F_WRLCK, .l_whence = SEEK_SET }, after = before;
	char name[NAME_MAX + sizeof("/monitor")];
	cleanup_close int file = -1, pidfd = -1;

	(void)snprintf(name, sizeof(name), "%s/monitor", instance);
	file = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0 || fcntl(file, F_GETLK, &before) < 0 || before.l_type == F_UNLCK || before.l_pid <= 0)
		return -ESRCH;
	pidfd = pidfd_of(before.l_pid);
	if (pidfd < 0 || fcntl(file, F_GETLK, &after) < 0 || after.l_type == F_UNLCK || after.l_pid != before.l_pid)
		return -ESRCH;
	return take_fd(&pidfd);
}

/* A pidfd of some instance's monitor; -ESRCH. */
static int find_monitor(const char *instances)
{
	cleanup_closedir DIR *dir = opendir(instances);
	struct dirent *entry;
	int pidfd = -ESRCH;

	while (dir && pidfd < 0 && (entry = readdir(dir))) {
		if (*entry->d_name != '.')
			pidfd = find_owner(dirfd(dir), entry->d_name);
	}
	return pidfd;
}

/* The holder was killed, the namespace lives on with the instances in it: it gets a new holder. */
static int revive(int file, const char *path, const char *instances, struct error *err)
{
	cleanup_close int monitor = find_monitor(instances);
	int ret;
	pid_t pid;

	if (monitor < 0)
		return monitor;
	ret = namespace_join_pidfd(monitor, CLONE_NEWUSER, err);
	if (ret < 0)
		return ret;
	pid = start_holder(path, NULL, err);
	ret = pid < 0 ? pid : write_holder(file, pid, err);
	return ret == 0 ? settle_in(err) : ret;
}

/* One at a time makes it: by a lock of fcntl(2)'s, which has nothing to do with those of flock(2). */
static int join_or_make(int file, const char *path, const char *instances, char **notice, struct error *err)
{
	struct flock makers = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int ret = join(file, err);
	pid_t pid;

	if (ret != -ESRCH)
		return ret;
	while ((ret = fcntl(file, F_OFD_SETLKW, &makers)) < 0 && errno == EINTR)
		;
	if (ret < 0)
		return error_errno(err, errno, "cannot lock %s", path);
	ret = join(file, err);
	if (ret == -ESRCH)
		ret = revive(file, path, instances, err);
	if (ret == -ESRCH) {
		pid = make_namespace(path, notice, err);
		ret = pid < 0 ? pid : write_holder(file, pid, err);
		if (ret == 0)
			ret = join(file, err);
		if (ret == -ESRCH)
			(void)error_set(err, ESRCH, "the holder of the user namespace was killed");
	}
	makers.l_type = F_UNLCK;
	(void)fcntl(file, F_OFD_SETLK, &makers);
	return ret;
}

int rootless_enter(const char *run_dir, const char *instances, int *lock, char **notice, struct error *err)
{
	cleanup_free char *path = path_join(run_dir, "namespace");
	cleanup_close int file = -1;
	int ret;

	*notice = NULL;
	if (!path)
		return error_errno(err, ENOMEM, "cannot enter the user namespace");
	ret = file_mkdir_all(AT_FDCWD, run_dir, 0711, err);
	if (ret < 0)
		return ret;
	file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file < 0)
		return error_errno(err, errno, "cannot open %s", path);
	/* Blocks for the moment in which a holder is about to go. */
	while ((ret = flock(file, LOCK_SH)) < 0 && errno == EINTR)
		;
	if (ret < 0)
		return error_errno(err, errno, "cannot lock %s", path);
	ret = join_or_make(file, path, instances, notice, err);
	if (ret < 0)
		return error_wrap(err, "cannot work without root"), ret;
	*lock = take_fd(&file);
	return 0;
}
