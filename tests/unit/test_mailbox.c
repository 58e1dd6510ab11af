/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/host/mailbox: nothing is lost or forgotten between the threads of a machine and the loop. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "paradigm/vm/host/mailbox.h"

enum { THREADS = 3, ROUNDS = 20000 };

struct boxes {
	int wake;
	struct mailbox one, other;
};

static int set_up(void **state)
{
	struct boxes *boxes = calloc(1, sizeof(*boxes));

	boxes->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	mailbox_open(&boxes->one, 8, boxes->wake);
	mailbox_open(&boxes->other, 8, boxes->wake);
	*state = boxes;
	return boxes->wake < 0;
}

static int tear_down(void **state)
{
	struct boxes *boxes = *state;

	mailbox_close(&boxes->one);
	mailbox_close(&boxes->other);
	close(boxes->wake);
	free(boxes);
	return 0;
}

static bool woken(const struct boxes *boxes)
{
	uint64_t count;

	return read(boxes->wake, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static bool takes(struct mailbox *box, const char *wanted)
{
	struct str bytes;
	bool whole = mailbox_take(box, &bytes), same = strcmp(str_text(&bytes), wanted) == 0;

	str_free(&bytes);
	return whole && same;
}

static void test_order(void **state)
{
	struct boxes *boxes = *state;

	assert_false(woken(boxes));
	mailbox_put(&boxes->one, "ab", 2);
	mailbox_put(&boxes->one, "cd", 2);
	assert_true(woken(boxes));
	assert_true(takes(&boxes->one, "abcd"));
	assert_true(takes(&boxes->one, ""));
}

/* What comes into one mailbox while it is read and the other still waits must wake again. */
static void test_two_share_a_wake(void **state)
{
	struct boxes *boxes = *state;

	mailbox_put(&boxes->one, "a", 1);
	mailbox_put(&boxes->other, "b", 1);
	assert_true(woken(boxes));
	assert_true(takes(&boxes->one, "a"));
	mailbox_put(&boxes->one, "c", 1);
	assert_true(takes(&boxes->other, "b"));
	assert_true(woken(boxes));
	assert_true(takes(&boxes->one, "c"));
}

static void test_what_does_not_fit(void **state)
{
	struct boxes *boxes = *state;
	struct str bytes;

	mailbox_put(&boxes->one, "12345678", 8);
	mailbox_put(&boxes->one, "9", 1);
	assert_false(mailbox_take(&boxes->one, &bytes));
	assert_string_equal(bytes.text, "12345678");
	str_free(&bytes);
	mailbox_put(&boxes->one, "a", 1);
	assert_true(takes(&boxes->one, "a"));
}

static void *put_many(void *box)
{
	for (int i = 0; i < ROUNDS; i++)
		mailbox_put(box, "x", 1);
	return NULL;
}

static void test_threads(void **state)
{
	struct boxes *boxes = *state;
	pthread_t threads[THREADS];
	size_t total = 0;
	struct str bytes;

	boxes->one.max = (size_t)THREADS * ROUNDS;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_many, &boxes->one), 0);
	while (total < (size_t)THREADS * ROUNDS) {
		if (!woken(boxes))
			continue; /* for ever, if a wake-up is forgotten */
		assert_true(mailbox_take(&boxes->one, &bytes));
		total += bytes.length;
		str_free(&bytes);
	}
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	assert_int_equal(total, THREADS * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_share_a_wake, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_does_not_fit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
