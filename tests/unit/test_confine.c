/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/host/confine: what a confined thread may do, and what becomes of one that does more. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "linux/capability.h"
#include "linux/seccomp.h"
#include "paradigm/vm/host/confine.h"

#define ROLES (CONFINE_FILES + 1)

static const char *said_by_child(int fd)
{
	static char text[256];
	ssize_t count = read(fd, text, sizeof(text) - 1);

	text[count > 0 ? count : 0] = '\0';
	return text;
}

static void need_filters(void)
{
#if defined(__SANITIZE_ADDRESS__)
	print_message("skipped: a sanitizer makes system calls of its own\n");
	skip();
#endif
	if (!seccomp_action_available(SECCOMP_RET_TRAP)) {
		print_message("skipped: there is no seccomp(2); valgrind 3.19 hides it\n");
		skip();
	}
}

/* Runs act in a confined process; its wait(2) status, and its last words. */
static int confined(enum confine_role role, void (*act)(void), const char **words)
{
	int ends[2], status = 0;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(ends[1], STDERR_FILENO);
		if (confine_process(NULL) < 0 || confine_thread(role, NULL) < 0)
			_exit(99);
		act();
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	*words = said_by_child(ends[0]);
	close(ends[0]);
	return status;
}

static void do_usual(void)
{
	void *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || munmap(memory, 8192) < 0 || getpid() <= 0 || write(STDERR_FILENO, "hi", 2) != 2)
		_exit(1);
	if (syscall(SYS_clone3, NULL, 0) != -1)
		_exit(2);
}

static void do_open(void)
{
	(void)open("/etc/passwd", O_RDONLY);
}

static void do_exec(void)
{
	(void)execl("/bin/true", "true", NULL);
}

static void do_fork(void)
{
	(void)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static void do_execute_memory(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_socket(void)
{
	(void)socket(AF_INET, SOCK_STREAM, 0);
}

static void do_unix_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		_exit(1);
	close(fd);
}

static void do_type(void)
{
	char byte = 'x';

	(void)ioctl(STDERR_FILENO, TIOCSTI, &byte);
}

static void do_handle(void)
{
	(void)signal(SIGSYS, SIG_IGN);
}

static void do_ptrace(void)
{
	(void)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void test_allowed(void **state)
{
	const char *words;

	(void)state;
	need_filters();
	for (enum confine_role role = CONFINE_MAIN; role < ROLES; role++) {
		assert_int_equal(confined(role, do_usual, &words), 0);
		assert_string_equal(words, "hi");
	}
	assert_int_equal(confined(CONFINE_VSOCK, do_unix_socket, &words), 0);
	assert_int_equal(confined(CONFINE_FILES, do_open, &words), 0);
}

static void test_forbidden(void **state)
{
	static void (*const acts[])(void) = { do_open,	 do_exec, do_fork,   do_execute_memory,
					      do_socket, do_type, do_handle, do_ptrace };
	const char *words;

	(void)state;
	need_filters();
	for (enum confine_role role = CONFINE_MAIN; role < ROLES; role++) {
		for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
			int status;

			if (role == CONFINE_FILES && acts[i] == do_open)
				continue;
			status = confined(role, acts[i], &words);
			if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
				fail_msg("role %d, act %zu: status %x", (int)role, i, (unsigned int)status);
			assert_non_null(strstr(words, "caisson-vmm: killed: a thread made system call "));
		}
	}
	assert_true(WIFSIGNALED(confined(CONFINE_MAIN, do_unix_socket, &words)));
}

/* Standard error is no device: a call that is let through fails, and the process goes on. */
static void do_map_memory(void)
{
	(void)ioctl(STDERR_FILENO, KVM_SET_USER_MEMORY_REGION, NULL);
}

static void do_route(void)
{
	(void)ioctl(STDERR_FILENO, KVM_SET_GSI_ROUTING, NULL);
}

static void do_listen(void)
{
	(void)ioctl(STDERR_FILENO, KVM_IRQFD, NULL);
}

static void do_set_interrupts(void)
{
	(void)ioctl(STDERR_FILENO, VFIO_DEVICE_SET_IRQS, NULL);
}

static void do_reset_device(void)
{
	(void)ioctl(STDERR_FILENO, VFIO_DEVICE_RESET);
}

static void do_map_for_device(void)
{
	(void)ioctl(STDERR_FILENO, VFIO_IOMMU_MAP_DMA, NULL);
}

static bool killed(enum confine_role role, void (*act)(void))
{
	const char *words;
	int status = confined(role, act, &words);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

/* What a device of the host's needs, the vCPUs of its machine may do, and nobody else; and no more than that. */
static void test_passthrough(void **state)
{
	static void (*const needed[])(void) = { do_map_memory, do_route, do_listen, do_set_interrupts };

	(void)state;
	need_filters();
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
		assert_false(killed(CONFINE_PASSTHROUGH, needed[i]));
		assert_true(killed(CONFINE_VCPU, needed[i]));
		assert_true(killed(CONFINE_IO, needed[i]));
		assert_true(killed(CONFINE_FILES, needed[i]));
	}
	for (enum confine_role role = CONFINE_MAIN; role < ROLES; role++) {
		assert_int_equal(killed(role, do_set_interrupts), role != CONFINE_PASSTHROUGH);
		assert_true(killed(role, do_reset_device));
		assert_true(killed(role, do_map_for_device));
	}
}

/* The number is the one of the call. */
static void test_told(void **state)
{
	const char *words;
	char expected[32];

	(void)state;
	need_filters();
	(void)confined(CONFINE_VCPU, do_ptrace, &words);
	(void)snprintf(expected, sizeof(expected), "system call %d,", SYS_ptrace);
	assert_non_null(strstr(words, expected));
}

static void *work(void *context)
{
	*(int *)context = 7;
	return NULL;
}

/* As a machine's threads do: workers inherit the filter. */
static void *confine_and_make(void *context)
{
	enum confine_role role = *(enum confine_role *)context;
	pthread_t thread;
	int done = 0;

	if (confine_thread(role, NULL) < 0 || pthread_create(&thread, NULL, work, &done) ||
	    pthread_join(thread, NULL) || done != 7)
		_exit(1);
	return NULL;
}

static int workers_of(enum confine_role role)
{
	pthread_t thread;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)close(STDERR_FILENO);
		if (confine_process(NULL) < 0 || pthread_create(&thread, NULL, confine_and_make, &role) ||
		    pthread_join(thread, NULL))
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_workers(void **state)
{
	(void)state;
	need_filters();
	assert_int_equal(workers_of(CONFINE_IO), 0);
	assert_int_equal(workers_of(CONFINE_VCPU), 0);
	assert_true(WIFSIGNALED(workers_of(CONFINE_FILES)));
}

/* A thread's filter is its own: the others go on as before. */
static void *only_confine(void *context)
{
	(void)context;
	return confine_thread(CONFINE_VCPU, NULL) < 0 ? NULL : (void *)1;
}

static void test_own_thread(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	need_filters();
	if (pid == 0) {
		pthread_t thread;
		void *result = NULL;

		if (confine_process(NULL) < 0 || pthread_create(&thread, NULL, only_confine, NULL) ||
		    pthread_join(thread, &result) || !result)
			_exit(1);
		do_socket();
		do_open();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_capabilities(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(confine_process(NULL) < 0 || capability_own_permitted() != 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_size(void **state)
{
	struct sock_filter code[CONFINE_CODE_MAX];

	(void)state;
	for (enum confine_role role = CONFINE_MAIN; role < ROLES; role++)
		assert_in_range(confine_filter(role, code), 50, CONFINE_CODE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size),	   cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_forbidden),  cmocka_unit_test(test_passthrough),
		cmocka_unit_test(test_told),	   cmocka_unit_test(test_workers),
		cmocka_unit_test(test_own_thread), cmocka_unit_test(test_capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
