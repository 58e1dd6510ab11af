/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a machine's monitor, as those who asked read them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_answered_before_the_end_is_heard),
		cmocka_unit_test(a_failure_is_an_error_with_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
