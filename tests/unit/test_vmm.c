/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a machine's monitor, as those who asked read them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "paradigm/vm/vmm.h"

static void pair(int ends[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

static void what_was_answered_before_the_end_is_heard(void **state)
{
	const struct control_message resize = { .kind = CONTROL_RESIZE, .number = 24, .second = 80 };
	const struct control_message exited = { .kind = CONTROL_EXITED, .number = 5 };
	struct control_message answer = { .number = 0 };
	int ends[2];

	(void)state;
	pair(ends);
	/* Nobody will read it. */
	assert_int_equal(vmm_send(ends[0], &resize, NULL, NULL, 0, NULL), 0);
	assert_int_equal(send(ends[1], &exited, sizeof(exited), 0), sizeof(exited));
	close(ends[1]);
	assert_int_equal(vmm_receive(ends[0], &answer, NULL, NULL), 0);
	assert_true(answer.kind == CONTROL_EXITED && answer.number == 5);
	assert_int_equal(vmm_receive(ends[0], &answer, NULL, NULL), -ECONNRESET);
	close(ends[0]);
}

static void a_failure_is_an_error_with_its_words(void **state)
{
	struct {
		struct control_message head;
		char words[8];
	} failed = { .head = { .kind = CONTROL_FAILED, .number = ENOENT, .size = 4 }, .words = "none" };
	struct control_message answer;
	struct error err = ERROR_INIT;
	int ends[2];

	(void)state;
	pair(ends);
	assert_true(send(ends[1], &failed, sizeof(failed.head) + 4, 0) > 0);
	close(ends[1]);
	assert_int_equal(vmm_receive(ends[0], &answer, NULL, &err), -ENOENT);
	assert_string_equal(err.text, "none");
	close(ends[0]);
}

/* A monitor that has counted something, and hands on what its guest says. */
static pid_t be_monitor(int listener, const char *stats)
{
	pid_t pid = fork();

	for (int i = 0; pid == 0 && i < 2; i++) {
		struct {
			struct control_message head;
			char text[256];
		} message;
		int client = accept(listener, NULL, NULL);
		const char *text;

		(void)alarm(60);
		if (recv(client, &message, sizeof(message), 0) < (ssize_t)sizeof(message.head))
			_exit(1);
		text = message.head.kind == CONTROL_COUNTERS ? "{\"engine\":\"kvm\"}" : stats;
		message.head = (struct control_message){ .kind = CONTROL_DONE, .size = (uint32_t)strlen(text) };
		memcpy(message.text, text, message.head.size);
		if (send(client, &message, sizeof(message.head) + message.head.size, MSG_NOSIGNAL) < 0)
			_exit(1);
		close(client);
	}
	if (pid == 0)
		_exit(0);
	return pid;
}

static void of_what_the_guest_says_only_numbers_are_believed(void **state)
{
	static const struct {
		const char *stats, *counters;
	} cases[] = {
		{ "{\"memory_total\":5,\"other\":1,\"container_cpu_ns\":9223372036854775807}",
		  "{\"engine\":\"kvm\",\"guest\":{\"memory_total\":5,\"container_cpu_ns\":9223372036854775807}}" },
		{ "{\"memory_total\":-1,\"memory_available\":\"1\",\"network_sent\":9223372036854775808,"
		  "\"network_received\":1.5,\"container_memory\":{}}",
		  "{\"engine\":\"kvm\"}" },
		{ "}{", "{\"engine\":\"kvm\"}" },
		{ "[1]", "{\"engine\":\"kvm\"}" },
		{ "", "{\"engine\":\"kvm\"}" },
	};
	char directory[] = "/tmp/caisson-vmm.XXXXXX";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), dir, status;

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET, directory);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 2), 0);
	dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cleanup_str struct str out = STR_INIT;
		pid_t pid = be_monitor(listener, cases[i].stats);

		assert_true(pid > 0);
		assert_int_equal(vmm_counters(directory, dir, &out, NULL), 0);
		assert_string_equal(str_text(&out), cases[i].counters);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	close(dir);
	close(listener);
	assert_int_equal(unlink(address.sun_path), 0);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_answered_before_the_end_is_heard),
		cmocka_unit_test(a_failure_is_an_error_with_its_words),
		cmocka_unit_test(of_what_the_guest_says_only_numbers_are_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
