/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attack of CVE-2019-5736, on a copy of this program: it keeps a descriptor of /proc/self/exe, becomes a shell, so
 * that the program runs no longer and may be written to, and appends to it.  It must work where nothing protects the
 * copy, and fail from both kinds of protected copy.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/selfexec.h"

static const char attack_script[] = "echo overwritten >> /proc/self/fd/9";

/* The copy's own main: argv[1] says how it is to protect itself, argv[2] comes with the second start. */
static int copy_main(char *argv[], char *envp[])
{
	char *const again[] = { argv[0], argv[1], (char[]){ "again" }, NULL };
	int exe, fd;

	if (strcmp(argv[1], "nothing") != 0 && !argv[2]) {
		if (selfexec_is_protected())
			return 10;
		if (strcmp(argv[1], "any") == 0) {
			(void)selfexec_protect(again, envp, NULL);
			return 11;
		}
		fd = selfexec_open(strcmp(argv[1], "mount") == 0 ? SELFEXEC_MOUNT : SELFEXEC_MEMFD, NULL);
		if (fd < 0)
			return CHILD_SKIP;
		(void)syscall(SYS_execveat, fd, "", again, envp, AT_EMPTY_PATH);
		return 12;
	}
	if (selfexec_is_protected() != (argv[2] != NULL))
		return 13;
	if (argv[2] && selfexec_protect(argv, envp, NULL) != 0) /* once is enough */
		return 14;
	exe = open("/proc/self/exe", O_PATH);
	if (exe < 0 || dup2(exe, 9) < 0)
		return 15;
	execl("/bin/sh", "sh", "-c", attack_script, (char *)NULL);
	return 16;
}

struct copy {
	char dir[40], path[48];
	struct stat before;
};

static void make_copy(struct copy *copy)
{
	cleanup_free char *bytes = NULL;
	cleanup_close int fd = -1;
	size_t size;

	strcpy(copy->dir, "/tmp/test_selfexec.XXXXXX");
	assert_non_null(mkdtemp(copy->dir));
	(void)snprintf(copy->path, sizeof(copy->path), "%s/program", copy->dir);
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/exe", 64 << 20, &bytes, &size, NULL), 0);
	fd = open(copy->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_int_equal(file_write_all(fd, bytes, size), 0);
	assert_int_equal(fstat(fd, &copy->before), 0);
}

static void attack(const char *how, int expected, bool overwritten)
{
	struct clone_options options = CLONE_OPTIONS_INIT;
	cleanup_close int pidfd = -1, null = -1;
	struct copy copy;
	struct stat after;
	int status = -1;

	make_copy(&copy);
	options.flags = CLONE_CLEAR_SIGHAND;
	options.pidfd = &pidfd;
	if (clone_process(&options, NULL) == 0) {
		null = open("/dev/null", O_WRONLY);
		(void)dup2(null, STDERR_FILENO); /* the shell complains when it fails, as it should */
		execl(copy.path, "program", how, (char *)NULL);
		_exit(100);
	}
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	assert_int_equal(stat(copy.path, &after), 0);
	assert_int_equal(file_remove_all(AT_FDCWD, copy.dir, NULL), 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_SKIP) {
		print_message("skipped: this host does not allow it\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status) != 0, expected != 0);
	assert_true(WEXITSTATUS(status) < 10);
	assert_int_equal(after.st_size != copy.before.st_size, overwritten);
}

static void test_unprotected(void **state)
{
	(void)state;
	attack("nothing", 0, true);
}

static void test_mount(void **state)
{
	(void)state;
	need_root();
	attack("mount", 1, false);
}

static void test_memfd(void **state)
{
	(void)state;
	attack("memfd", 1, false);
}

static void test_protect(void **state)
{
	(void)state;
	attack("any", 1, false);
}

int main(int argc, char *argv[], char *envp[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unprotected),
		cmocka_unit_test(test_mount),
		cmocka_unit_test(test_memfd),
		cmocka_unit_test(test_protect),
	};

	if (argc > 1)
		return copy_main(argv, envp);
	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
