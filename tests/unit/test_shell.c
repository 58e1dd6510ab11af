/* SPDX-License-Identifier: Apache-2.0 */
/* The shell's parts that stand alone: hooks, the conversation with the child, limits as control files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/cgroup.h"
#include "linux/clone.h"
#include "paradigm/container/container.h"
#include "paradigm/shell/hooks.h"
#include "paradigm/shell/resources.h"
#include "paradigm/shell/seccomp.h"
#include "paradigm/shell/shell.h"
#include "paradigm/shell/sync.h"

#define HOOK(script, ...)                                                                                   \
	{                                                                                                   \
		.path = "/bin/sh", .args = { 3, (const char *[]){ "sh", "-c", script, NULL } }, __VA_ARGS__ \
	}
#define HOOKS(...)                                                                                              \
	((struct oci_hook_list){ .count = sizeof((struct oci_hook[]){ __VA_ARGS__ }) / sizeof(struct oci_hook), \
				 .items = (struct oci_hook[]){ __VA_ARGS__ } })

static void hook_gets_the_state(void **state)
{
	char directory[] = "/tmp/caisson-hook.XXXXXX", script[128];
	cleanup_free char *text = NULL, *where = NULL;
	struct oci_hook_list hooks;
	struct oci_hook hook = HOOK(script);
	int dir;

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(script, sizeof(script), "pwd >%s/where; cat >%s/state", directory, directory);
	hooks = (struct oci_hook_list){ .count = 1, .items = &hook };
	assert_int_equal(hooks_run(&hooks, "prestart", "/usr", "{\"id\":\"x\"}", NULL), 0);
	dir = open(directory, O_PATH | O_DIRECTORY);
	assert_int_equal(file_read(dir, "state", 100, &text, NULL, NULL), 0);
	assert_string_equal(text, "{\"id\":\"x\"}");
	assert_int_equal(file_read(dir, "where", 100, &where, NULL, NULL), 0);
	assert_string_equal(where, "/usr\n");
	/* A bundle that is gone keeps no hook from running. */
	assert_int_equal(hooks_run(&hooks, "poststop", "/no/such/bundle", "{}", NULL), 0);
	close(dir);
	assert_int_equal(file_remove_all(AT_FDCWD, directory, NULL), 0);
}

static void failing_hook_ends_the_series(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	assert_true(hooks_run(&HOOKS(HOOK("exit 0"), HOOK("echo no luck >&2; exit 3"), HOOK("kill -9 $PPID")),
			      "poststop", NULL, "{}", &err) < 0);
	assert_non_null(strstr(err.text, "poststop hook #1"));
	assert_non_null(strstr(err.text, "exit status 3"));
	assert_non_null(strstr(err.text, "no luck"));
	assert_true(hooks_run(&HOOKS(HOOK("kill -9 $$")), "prestart", NULL, "{}", &err) < 0);
	assert_non_null(strstr(err.text, "signal: killed"));
}

static void missing_hook_is_an_error(void **state)
{
	struct oci_hook hook = { .path = "/nowhere/hook" };
	struct error err = ERROR_INIT;

	(void)state;
	assert_true(hooks_run(&(struct oci_hook_list){ .count = 1, .items = &hook }, "prestart", NULL, "{}", &err) < 0);
	assert_non_null(strstr(err.text, "no such file"));
}

static void slow_hook_is_killed(void **state)
{
	struct error err = ERROR_INIT;
	int self = pidfd_of(getpid());

	(void)state;
	if (self == -ENOSYS) {
		print_message("pidfd_open is missing (valgrind 3.19 hides it)\n");
		skip();
	}
	close(self);
	/* Whoever waited for it would wait for longer than a test may take. */
	assert_int_equal(
		hooks_run(&HOOKS(HOOK("exec sleep 1000", .timeout = { true, 1 })), "prestart", NULL, "{}", &err),
		-ETIMEDOUT);
	assert_non_null(strstr(err.text, "timeout"));
}

static void hook_has_its_own_environment_and_no_blocked_signals(void **state)
{
	static const char script[] = "test \"$A\" = b && test -z \"$HOME\" && grep -q '^SigBlk:.*0000000000000000$' "
				     "/proc/self/status";
	struct oci_hook hook = HOOK(script, .env = { 2, (const char *[]){ "A=b", "PATH=/usr/bin:/bin", NULL } });
	sigset_t all, saved;

	(void)state;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &saved);
	assert_int_equal(hooks_run(&(struct oci_hook_list){ .count = 1, .items = &hook }, "prestart", NULL, "{}", NULL),
			 0);
	(void)sigprocmask(SIG_SETMASK, &saved, NULL);
}

/* As somebody in the container might who can send it signals. */
static int stop_it(void *context, pid_t pid, struct error *err)
{
	(void)context, (void)err;
	return kill(pid, SIGSTOP);
}

static char *no_state(void *context, pid_t pid, const char *status)
{
	(void)context, (void)pid, (void)status;
	return strdup("{}");
}

static void a_process_that_is_not_let_begin_is_given_up(void **state)
{
	struct oci_process process = { .set = true,
				       .cwd = "/",
				       .args = { 1, (const char *[]){ "/bin/true", NULL } },
				       .env = { 0, (const char *[]){ NULL } } };
	struct seccomp_filter filter = { .count = 0 };
	struct oci_spec spec = { .process = process };
	struct shell_exec_options options = { .spec = &spec,
					      .process = &process,
					      .paradigm = &paradigm_container,
					      .pid = getpid(),
					      .pidfd = pidfd_of(getpid()),
					      .stdio = { -1, -1, -1 },
					      .filter = &filter,
					      .state = no_state };
	struct error err = ERROR_INIT;
	int console, status;
	pid_t pid = 0;

	(void)state;
	if (options.pidfd < 0 || geteuid() != 0) {
		print_message("needs root, and pidfd_open (valgrind 3.19 hides it)\n");
		skip();
	}
	assert_int_equal(shell_exec(&options, &pid, &console, &err), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	options.confine = stop_it;
	options.seconds = 1;
	assert_int_equal(shell_exec(&options, &pid, &console, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "not let begin"));
	/* And nothing of it is left. */
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	close(options.pidfd);
}

static int pair(void **state)
{
	int *sockets = calloc(2, sizeof(*sockets));

	*state = sockets;
	return sockets ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) : -1;
}

static int unpair(void **state)
{
	int *sockets = *state;

	for (int i = 0; i < 2; i++) {
		if (sockets[i] >= 0)
			close(sockets[i]);
	}
	free(sockets);
	return 0;
}

static void messages_arrive_with_their_descriptor(void **state)
{
	int *sockets = *state, fd = -1, pipes[2];
	struct sync_message message;
	char byte = 0;

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(sync_send(sockets[0], SYNC_CONSOLE, 7, pipes[0]), 0);
	assert_int_equal(sync_receive(sockets[1], &message, &fd), 1);
	assert_int_equal(message.kind, SYNC_CONSOLE);
	assert_int_equal(message.number, 7);
	assert_true(fd >= 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
}

static void errors_arrive_whole(void **state)
{
	int *sockets = *state;
	struct error error = ERROR_INIT;
	struct sync_message message;

	(void)error_set(&error, EXDEV, "a story with %d words and more", 7);
	assert_int_equal(sync_send_error(sockets[0], &error), 0);
	assert_int_equal(sync_receive(sockets[1], &message, NULL), 1);
	assert_int_equal(message.kind, SYNC_ERROR);
	assert_int_equal(message.error.code, EXDEV);
	assert_string_equal(message.error.text, error.text);
}

/* Closing with something unread resets the connection; the error that was sent before must not get lost over that. */
static void errors_outlive_what_the_sender_has_not_read(void **state)
{
	int *sockets = *state;
	struct error error = ERROR_INIT;
	struct sync_message message;

	(void)error_set(&error, EXDEV, "the story");
	assert_int_equal(sync_send(sockets[1], SYNC_GO, 0, -1), 0);
	assert_int_equal(sync_send_error(sockets[0], &error), 0);
	close(sockets[0]);
	sockets[0] = -1;
	assert_int_equal(sync_receive(sockets[1], &message, NULL), 1);
	assert_int_equal(message.kind, SYNC_ERROR);
	assert_string_equal(message.error.text, "the story");
	assert_int_equal(sync_receive(sockets[1], &message, NULL), 0);
}

static void the_end_is_seen_from_both_sides(void **state)
{
	int *sockets = *state;
	struct sync_message message;
	struct error err = ERROR_INIT;

	close(sockets[0]);
	sockets[0] = -1;
	assert_int_equal(sync_receive(sockets[1], &message, NULL), 0);
	assert_true(sync_ask(sockets[1], SYNC_MAP, 0, &err) < 0);
	assert_true(err.code != 0);
}

static void long_texts_arrive(void **state)
{
	int *sockets = *state;
	cleanup_free char *text = malloc(1 << 20), *got = NULL;

	assert_non_null(text);
	memset(text, 'y', (1 << 20) - 1);
	text[(1 << 20) - 1] = '\0';
	assert_int_equal(sync_send_text(sockets[0], SYNC_STATE, text), 0);
	assert_int_equal(sync_receive_text(sockets[1], SYNC_STATE, &got), 0);
	assert_string_equal(got, text);
}

static void weights_are_converted(void **state)
{
	(void)state;
	assert_int_equal(resources_cpu_weight(0), 0);
	assert_int_equal(resources_cpu_weight(2), 1);
	assert_int_equal(resources_cpu_weight(262144), 10000);
	assert_in_range(resources_cpu_weight(1024), 39, 100); /* by systemd's formula, or the newer one */
	assert_int_equal(resources_io_weight(10), 1);
	assert_int_equal(resources_io_weight(1000), 10000);
	for (uint64_t shares = 3; shares < 262144; shares += 97)
		assert_true(resources_cpu_weight(shares) >= resources_cpu_weight(shares - 1));
}

static bool has(const char *const *list, const char *name)
{
	for (; *list; list++) {
		if (strcmp(*list, name) == 0)
			return true;
	}
	return false;
}

static void limits_bring_their_controllers(void **state)
{
	const char *list[RESOURCES_CONTROLLERS_MAX + 1];
	struct oci_resources resources = { .cpu.shares = { true, 100 } };

	(void)state;
	resources_controllers(&resources, CGROUP_V1, list);
	assert_true(has(list, "cpu"));
	resources.cpu.shares.set = false;
	resources.cpu.cpus = "0";
	resources_controllers(&resources, CGROUP_V1, list);
	assert_true(has(list, "cpuset"));
}

/* A directory with empty files stands for a cgroup: what is written into which file is what counts here. */
struct fake {
	char directory[32];
	struct cgroup_host host;
	struct cgroup cgroup;
};

static struct fake *fake_new(bool v2, const char *controller, const char *const *files)
{
	struct fake *fake = calloc(1, sizeof(*fake));
	char path[128];

	assert_non_null(fake);
	strcpy(fake->directory, "/tmp/caisson-fake.XXXXXX");
	assert_non_null(mkdtemp(fake->directory));
	fake->host = (struct cgroup_host){ .layout = v2 ? CGROUP_V2 : CGROUP_V1, .count = 1 };
	fake->host.hierarchies[0] = (struct cgroup_hierarchy){
		.controllers = strdup(controller), .mount = strdup(fake->directory), .root = strdup("/"), .v2 = v2
	};
	fake->cgroup = CGROUP_INIT;
	fake->cgroup.host = &fake->host;
	fake->cgroup.path = strdup("c");
	fake->cgroup.present = 1;
	(void)snprintf(path, sizeof(path), "%s/c", fake->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	for (; *files; files++) {
		(void)snprintf(path, sizeof(path), "%s/c/%s", fake->directory, *files);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	return fake;
}

static void fake_expect(const struct fake *fake, const char *file, const char *content)
{
	cleanup_free char *text = NULL;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/c/%s", fake->directory, file);
	assert_int_equal(file_read(AT_FDCWD, path, 1000, &text, NULL, NULL), 0);
	text[strcspn(text, "\n")] = '\0';
	assert_string_equal(text, content);
}

static void fake_free(struct fake *fake)
{
	(void)file_remove_all(AT_FDCWD, fake->directory, NULL);
	cgroup_close(&fake->cgroup);
	cgroup_host_free(&fake->host);
	free(fake);
}

static void v1_memory_is_written(void **state)
{
	static const char *const files[] = { "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
					     "memory.soft_limit_in_bytes", "memory.swappiness", NULL };
	struct fake *fake = fake_new(false, "memory", files);
	struct oci_resources resources = { .memory = { .limit = { true, 1 << 20 },
						       .swap = { true, 2 << 20 },
						       .reservation = { true, 4096 },
						       .swappiness = { true, 10 } } };
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(resources_apply(&fake->cgroup, &resources, RESOURCES_UPDATE, &err), 0);
	fake_expect(fake, "memory.limit_in_bytes", "1048576");
	fake_expect(fake, "memory.memsw.limit_in_bytes", "2097152");
	fake_expect(fake, "memory.soft_limit_in_bytes", "4096");
	fake_expect(fake, "memory.swappiness", "10");
	fake_free(fake);
}

static void v2_limits_are_written(void **state)
{
	static const char *const files[] = { "memory.max", "memory.swap.max", "memory.low", "cpu.max",
					     "cpu.weight", "pids.max",	      NULL };
	struct fake *fake = fake_new(true, "", files);
	struct oci_resources resources = { .memory = { .limit = { true, 1 << 20 }, .swap = { true, 3 << 20 } },
					   .cpu = { .quota = { true, 50000 }, .period = { true, 100000 } },
					   .pids_limit = { true, 33 } };

	(void)state;
	assert_int_equal(resources_apply(&fake->cgroup, &resources, RESOURCES_UPDATE, NULL), 0);
	fake_expect(fake, "memory.max", "1048576");
	/* Version 2 counts swap alone, the document counts both together. */
	fake_expect(fake, "memory.swap.max", "2097152");
	fake_expect(fake, "cpu.max", "50000 100000");
	fake_expect(fake, "pids.max", "33");
	fake_free(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hook_gets_the_state),
		cmocka_unit_test(failing_hook_ends_the_series),
		cmocka_unit_test(missing_hook_is_an_error),
		cmocka_unit_test(slow_hook_is_killed),
		cmocka_unit_test(hook_has_its_own_environment_and_no_blocked_signals),
		cmocka_unit_test(a_process_that_is_not_let_begin_is_given_up),
		cmocka_unit_test_setup_teardown(messages_arrive_with_their_descriptor, pair, unpair),
		cmocka_unit_test_setup_teardown(errors_arrive_whole, pair, unpair),
		cmocka_unit_test_setup_teardown(errors_outlive_what_the_sender_has_not_read, pair, unpair),
		cmocka_unit_test_setup_teardown(the_end_is_seen_from_both_sides, pair, unpair),
		cmocka_unit_test_setup_teardown(long_texts_arrive, pair, unpair),
		cmocka_unit_test(weights_are_converted),
		cmocka_unit_test(limits_bring_their_controllers),
		cmocka_unit_test(v1_memory_is_written),
		cmocka_unit_test(v2_limits_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
