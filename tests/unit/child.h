/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child - tests that change their process run in a child of their own.
 *
 * The child's body returns 0, or 77 where the host does not allow what is to
 * be tested, or another number after a CHECK that failed and said where.
 */
#ifndef CAISSON_TESTS_UNIT_CHILD_H
#define CAISSON_TESTS_UNIT_CHILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "linux/clone.h"

enum { CHILD_SKIP = 77 };

/*
 * The facilities under test, or a program that stands between: valgrind 3.19 answers ENOSYS to what came after Linux 5.
 * main() then returns CHILD_SKIP, which Meson counts as skipped.
 */
static inline bool kernel_is_hidden(void)
{
	if (pidfd_of(getpid()) != -ENOSYS)
		return false;
	print_message("skipped: no pidfd_open(2): an old kernel, or valgrind\n");
	return true;
}

/* In a function that has a struct error err. */
#define CHECK(condition)                                                                                          \
	do {                                                                                                      \
		if (!(condition)) {                                                                               \
			(void)fprintf(stderr, "%s:%d: %s (err: %s)\n", __FILE__, __LINE__, #condition, err.text); \
			return 1;                                                                                 \
		}                                                                                                 \
	} while (0)

static inline void need_root(void)
{
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		skip();
	}
}

/* flags: CLONE_NEW*.  cmocka's signal handlers would run the rest of the tests in the child. */
static inline void in_child(uint64_t flags, int (*body)(void))
{
	struct clone_options options = CLONE_OPTIONS_INIT;
	int pidfd = -1, status = -1;
	pid_t pid;

	options.flags = flags | CLONE_CLEAR_SIGHAND;
	options.pidfd = &pidfd;
	pid = clone_process(&options, NULL);
	if (pid == 0)
		_exit(body());
	assert_true(pid > 0);
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	close(pidfd);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_SKIP) {
		print_message("skipped: this host does not allow it\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
