/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/clone.h"

static void test_exit_status(void **state)
{
	(void)state;
	cleanup_close int pidfd = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	struct error err = ERROR_INIT;
	int status = -1;
	pid_t pid;

	options.pidfd = &pidfd;
	pid = clone_process(&options, &err);
	if (pid == 0)
		_exit(42);
	assert_true(pid > 0);
	assert_true(pidfd >= 0);
	assert_true(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(pidfd_wait(pidfd, WNOWAIT, &status), 1);
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	assert_int_equal(pidfd_wait(pidfd, 0, &status), -ECHILD);
}

static void test_signal_and_poll(void **state)
{
	(void)state;
	cleanup_close int pidfd = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	int status = -1;
	pid_t pid;

	options.exit_signal = 0; /* a parent that asks, and is not told */
	pid = clone_process(&options, NULL);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	pidfd = pidfd_of(pid);
	assert_true(pidfd >= 0);
	assert_int_equal(pidfd_wait(pidfd, WNOHANG, &status), 0);
	assert_int_equal(pidfd_kill(pidfd, SIGTERM), 0);
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_int_equal(pidfd_kill(pidfd, SIGTERM), -ESRCH);
	assert_int_equal(pidfd_of(pid), -ESRCH);
}

static void test_shared_memory_is_refused(void **state)
{
	(void)state;
	struct clone_options options = CLONE_OPTIONS_INIT;
	struct error err = ERROR_INIT;

	options.flags = CLONE_VM;
	assert_int_equal(clone_process(&options, &err), -EINVAL);
}

/* A name that looks like the fields behind it. */
static void test_stat_of_a_misleading_name(void **state)
{
	(void)state;
	cleanup_close int pidfd = -1;
	int ready[2];
	struct clone_options options = CLONE_OPTIONS_INIT;
	struct process_stat stat, again;
	char byte;
	int status;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	options.pidfd = &pidfd;
	pid = clone_process(&options, NULL);
	if (pid == 0) {
		(void)prctl(PR_SET_NAME, ") Z 1 (x) 9");
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(process_stat_read(pid, &stat), 0);
	assert_true(stat.state == 'S' || stat.state == 'R');
	assert_int_equal(stat.parent, getpid());
	assert_int_equal(process_stat_read(getpid(), &again), 0);
	assert_true(stat.start >= again.start);
	assert_true(again.start > 0);
	assert_int_equal(pidfd_kill(pidfd, SIGKILL), 0);
	assert_int_equal(pidfd_wait(pidfd, WNOWAIT, &status), 1);
	assert_int_equal(process_stat_read(pid, &stat), 0);
	assert_int_equal(stat.state, 'Z');
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	assert_int_equal(process_stat_read(pid, &stat), -ESRCH);
	close(ready[0]);
	close(ready[1]);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

/* Runs in a child: the test program needs its own descriptors. */
static int check_ranges(void)
{
	const int keep[] = { 104, -1, 101, 3 };

	for (int fd = 100; fd < 107; fd++) {
		if (dup2(0, fd) < 0)
			return 1;
	}
	if (fds_cloexec_from(100, keep, 4) < 0)
		return 2;
	for (int fd = 100; fd < 107; fd++) {
		if (is_cloexec(fd) != (fd != 101 && fd != 104))
			return 3;
	}
	if (fds_close_from(102, keep, 4) < 0)
		return 4;
	for (int fd = 100; fd < 107; fd++) {
		if (is_open(fd) != (fd == 100 || fd == 101 || fd == 104))
			return 5;
	}
	return fds_close_from(100, NULL, 0) < 0 || is_open(100) || is_open(104) ? 6 : 0;
}

static int status_of_child(int (*body)(void))
{
	cleanup_close int pidfd = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	int status = -1;

	options.pidfd = &pidfd;
	if (clone_process(&options, NULL) == 0)
		_exit(body());
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_descriptor_ranges(void **state)
{
	(void)state;
	assert_int_equal(status_of_child(check_ranges), 0);
}

static ino_t namespace_inode(const char *pid, const char *name)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%s/ns/%s", pid, name);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static int check_join(void)
{
	cleanup_close int pidfd = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	struct error err = ERROR_INIT;
	char pid_text[16], path[64];
	int status, failed = 0;
	ino_t before = namespace_inode("self", "uts");
	pid_t pid;

	options.flags = CLONE_NEWUTS | CLONE_NEWIPC;
	options.pidfd = &pidfd;
	pid = clone_process(&options, &err);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	(void)snprintf(pid_text, sizeof(pid_text), "%d", (int)pid);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/uts", (int)pid);
	if (namespace_join_path(path, CLONE_NEWIPC, &err) != -EINVAL || !strstr(err.text, "ipc namespace"))
		failed = 1;
	else if (namespace_join_path("/nonexistent", CLONE_NEWIPC, &err) != -ENOENT)
		failed = 2;
	else if (namespace_join_pidfd(pidfd, CLONE_NEWUTS | CLONE_NEWIPC, &err) < 0)
		failed = 3;
	else if (namespace_inode("self", "uts") != namespace_inode(pid_text, "uts") ||
		 namespace_inode("self", "ipc") != namespace_inode(pid_text, "ipc"))
		failed = 4;
	else if (namespace_inode("self", "uts") == before)
		failed = 5;
	else if (namespace_unshare(CLONE_NEWUTS, &err) < 0 ||
		 namespace_inode("self", "uts") == namespace_inode(pid_text, "uts"))
		failed = 6;
	else if (namespace_join_path(path, CLONE_NEWUTS, &err) < 0 ||
		 namespace_inode("self", "uts") != namespace_inode(pid_text, "uts"))
		failed = 7;
	(void)pidfd_kill(pidfd, SIGKILL);
	(void)pidfd_wait(pidfd, 0, &status);
	return failed;
}

static void test_namespaces(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: namespaces need root\n");
		skip();
	}
	assert_int_equal(status_of_child(check_join), 0);
}

static void test_copied_descriptor(void **state)
{
	(void)state;
	cleanup_close int pidfd = -1, copy = -1;
	int channel[2];
	struct clone_options options = CLONE_OPTIONS_INIT;
	char byte = 0;
	int status;

	assert_int_equal(pipe2(channel, O_CLOEXEC), 0);
	options.pidfd = &pidfd;
	if (clone_process(&options, NULL) == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	copy = pidfd_copy_fd(pidfd, channel[1]);
	(void)pidfd_kill(pidfd, SIGKILL);
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	if (copy == -EPERM || copy == -ENOSYS) {
		print_message("skipped: pidfd_getfd is not allowed here\n");
		skip();
	}
	assert_true(copy >= 0);
	assert_int_equal(write(copy, "x", 1), 1);
	assert_int_equal(read(channel[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(channel[0]);
	close(channel[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_status),
		cmocka_unit_test(test_signal_and_poll),
		cmocka_unit_test(test_shared_memory_is_refused),
		cmocka_unit_test(test_stat_of_a_misleading_name),
		cmocka_unit_test(test_descriptor_ranges),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_copied_descriptor),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
