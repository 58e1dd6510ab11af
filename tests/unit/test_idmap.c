/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "linux/idmap.h"
#include "linux/mount.h"

static const struct idmap_range ranges[] = { { 0, 100000, 1000 }, { 5000, 7000, 1 } };
static const struct idmap map = { .uids = ranges, .gids = ranges, .uids_count = 2, .gids_count = 2 };

static void test_outside(void **state)
{
	(void)state;
	assert_int_equal(idmap_outside(ranges, 2, 0), 100000);
	assert_int_equal(idmap_outside(ranges, 2, 999), 100999);
	assert_int_equal(idmap_outside(ranges, 2, 1000), -1);
	assert_int_equal(idmap_outside(ranges, 2, 5000), 7000);
}

/* A child in a new user namespace that waits; returns its pid. */
static pid_t waiting_child(int *pidfd)
{
	struct clone_options options = CLONE_OPTIONS_INIT;
	pid_t pid;

	options.flags = CLONE_NEWUSER;
	options.pidfd = pidfd;
	pid = clone_process(&options, NULL);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also of a parent that failed a CHECK */
		for (;;)
			pause();
	}
	return pid;
}

static bool file_has(pid_t pid, const char *name, const char *wanted)
{
	char path[64], text[512];
	cleanup_close int fd = -1;
	ssize_t length;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = read(fd, text, sizeof(text) - 1);
	text[length > 0 ? length : 0] = '\0';
	return strstr(text, wanted);
}

static int end_child(int pidfd)
{
	int status;

	return pidfd_kill(pidfd, SIGKILL) == 0 && pidfd_wait(pidfd, 0, &status) == 1 ? 0 : -1;
}

static int write_as_root(void)
{
	struct error err = ERROR_INIT;
	cleanup_close int pidfd = -1;
	struct idmap empty = map;
	pid_t pid = waiting_child(&pidfd);

	CHECK(pid > 0);
	CHECK(idmap_write(pid, &map, &err) == 0);
	CHECK(file_has(pid, "uid_map", "100000       1000"));
	CHECK(file_has(pid, "gid_map", "5000       7000          1"));
	CHECK(file_has(pid, "setgroups", "allow"));
	CHECK(idmap_write(pid, &map, &err) == -EPERM && strstr(err.text, "uid_map")); /* only once */
	CHECK(end_child(pidfd) == 0);
	empty.uids_count = 0;
	CHECK(idmap_write(pid, &empty, &err) == -EINVAL);
	return 0;
}

/* A user without a line in /etc/subuid may map itself, and nothing else. */
static int write_as_nobody(void)
{
	struct idmap_range self = { 0, 65534, 1 }, many = { 0, 100000, 65536 };
	struct idmap own = { &self, &self, 1, 1 }, others = { &many, &many, 1, 1 };
	struct error err = ERROR_INIT;
	cleanup_close int pidfd = -1, second = -1;
	pid_t pid;

	CHECK(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0); /* as for who logged in as that user: its /proc files are its own */
	pid = waiting_child(&pidfd);
	if (pid < 0)
		return CHILD_SKIP;
	CHECK(idmap_write(pid, &own, &err) == 0);
	CHECK(file_has(pid, "uid_map", "65534") && file_has(pid, "gid_map", "65534"));
	CHECK(file_has(pid, "setgroups", "deny"));
	CHECK(end_child(pidfd) == 0);
	pid = waiting_child(&second);
	CHECK(idmap_write(pid, &others, &err) < 0);
	CHECK(strstr(err.text, "newuidmap"));
	CHECK(end_child(second) == 0);
	return 0;
}

static int hold_namespace(void)
{
	struct error err = ERROR_INIT;
	cleanup_close int userns = idmap_namespace(&map, &err);
	struct idmap bad = map;

	CHECK(userns >= 0);
	CHECK(fcntl(userns, F_GETFD) == FD_CLOEXEC);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD); /* nobody is left */
	CHECK(namespace_join_fd(userns, CLONE_NEWUSER, "held", &err) == 0);
	CHECK(file_has(getpid(), "uid_map", "1000"));
	bad.gids_count = 0;
	CHECK(idmap_namespace(&bad, &err) < 0);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
	return 0;
}

static int idmapped_mount(void)
{
	struct error err = ERROR_INIT;
	struct mount_options options = { .flags = 0 };
	cleanup_close int userns = idmap_namespace(&map, &err);
	cleanup_close int tree = mount_new("tmpfs", NULL, &options, &err);
	struct stat st;

	CHECK(userns >= 0 && tree >= 0);
	CHECK(mkdirat(tree, "of-root", 0700) == 0);
	if (mount_set_idmap(tree, userns, false, &err) == -EINVAL) /* tmpfs: Linux 6.3 */
		return CHILD_SKIP;
	CHECK(fstatat(tree, "of-root", &st, 0) == 0);
	CHECK(st.st_uid == 100000 && st.st_gid == 100000);
	return 0;
}

static void test_write_as_root(void **state)
{
	(void)state;
	need_root();
	in_child(0, write_as_root);
}

static void test_write_as_nobody(void **state)
{
	(void)state;
	need_root();
	in_child(0, write_as_nobody);
}

static void test_namespace(void **state)
{
	(void)state;
	need_root();
	in_child(0, hold_namespace);
}

static void test_idmapped_mount(void **state)
{
	(void)state;
	need_root();
	in_child(0, idmapped_mount);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outside),		cmocka_unit_test(test_write_as_root),
		cmocka_unit_test(test_write_as_nobody), cmocka_unit_test(test_namespace),
		cmocka_unit_test(test_idmapped_mount),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
