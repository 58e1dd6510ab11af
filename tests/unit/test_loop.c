/* SPDX-License-Identifier: Apache-2.0 */
/* base/loop: who is called, when, and who no longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"

struct probe {
	struct loop_source source;
	struct loop *loop;
	struct probe *other; /* removed, or waited for, when this one is called */
	unsigned called;
	uint32_t events;
};

static struct loop *open_loop(struct loop *loop)
{
	struct error err = ERROR_INIT;

	if (loop_open(loop, &err) < 0)
		fail_msg("%s", err.text);
	return loop;
}

static void make_probe(struct probe *probe, struct loop *loop,
		       void (*ready)(struct loop_source *source, uint32_t events), unsigned value)
{
	*probe = (struct probe){ .loop = loop };
	probe->source = (struct loop_source){ .fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK),
					      .ready = ready,
					      .context = probe };
	assert_true(probe->source.fd >= 0);
	assert_int_equal(loop_add(loop, &probe->source, EPOLLIN, NULL), 0);
}

static void drop_probe(struct probe *probe)
{
	close(probe->source.fd);
}

static void count_call(struct loop_source *source, uint32_t events)
{
	struct probe *probe = source->context;

	probe->called++;
	probe->events = events;
}

static void consume(struct loop_source *source, uint32_t events)
{
	uint64_t value;

	count_call(source, events);
	assert_int_equal(read(source->fd, &value, sizeof(value)), sizeof(value));
}

static void test_level(void **state)
{
	struct loop loop;
	struct probe probe;

	(void)state;
	make_probe(&probe, open_loop(&loop), count_call, 0);
	assert_int_equal(loop_wait(&loop, 0, NULL), 0);
	assert_int_equal(probe.called, 0);
	assert_int_equal(eventfd_write(probe.source.fd, 1), 0);
	for (unsigned round = 1; round <= 2; round++) {
		assert_int_equal(loop_wait(&loop, -1, NULL), 0);
		assert_int_equal(probe.called, round);
		assert_int_equal(probe.events, EPOLLIN);
	}
	assert_int_equal(loop_change(&loop, &probe.source, 0), 0);
	assert_int_equal(loop_wait(&loop, 0, NULL), 0);
	assert_int_equal(probe.called, 2);
	assert_int_equal(loop_change(&loop, &probe.source, EPOLLIN | EPOLLOUT), 0);
	assert_int_equal(loop_wait(&loop, -1, NULL), 0);
	assert_int_equal(probe.events, EPOLLIN | EPOLLOUT);
	loop_remove(&loop, &probe.source);
	assert_int_equal(loop_wait(&loop, 0, NULL), 0);
	assert_int_equal(probe.called, 3);
	drop_probe(&probe);
	loop_close(&loop);
}

static void remove_other(struct loop_source *source, uint32_t events)
{
	struct probe *probe = source->context;

	count_call(source, events);
	loop_remove(probe->loop, &probe->other->source);
	loop_remove(probe->loop, source);
}

/* Both are ready in one round; whichever comes first takes the other one away. */
static void test_removed_in_round(void **state)
{
	struct loop loop;
	struct probe first, second;

	(void)state;
	make_probe(&first, open_loop(&loop), remove_other, 1);
	make_probe(&second, &loop, remove_other, 1);
	first.other = &second;
	second.other = &first;
	assert_int_equal(loop_wait(&loop, -1, NULL), 0);
	assert_int_equal(loop_wait(&loop, 0, NULL), 0);
	assert_int_equal(first.called + second.called, 1);
	drop_probe(&first);
	drop_probe(&second);
	loop_close(&loop);
}

static void wait_for_other(struct loop_source *source, uint32_t events)
{
	struct probe *probe = source->context;

	consume(source, events);
	while (!probe->other->called)
		assert_int_equal(loop_wait(probe->loop, -1, NULL), 0);
}

/* A round within a round (a device that drains its disk) calls everyone once, too. */
static void test_nested(void **state)
{
	struct loop loop;
	struct probe first, second, third;

	(void)state;
	make_probe(&first, open_loop(&loop), wait_for_other, 1);
	make_probe(&second, &loop, consume, 1);
	make_probe(&third, &loop, consume, 1);
	first.other = &third;
	for (int round = 0; round < 4; round++)
		assert_int_equal(loop_wait(&loop, 0, NULL), 0);
	assert_int_equal(first.called, 1);
	assert_int_equal(second.called, 1);
	assert_int_equal(third.called, 1);
	drop_probe(&first);
	drop_probe(&second);
	drop_probe(&third);
	loop_close(&loop);
}

static void *run_in_thread(void *loop)
{
	return loop_run(loop, NULL) == 0 ? loop : NULL;
}

/* Whose it is, from the moment on that it is given away, and not only when the other thread has come that far. */
static void test_hand_over(void **state)
{
	struct loop loop;
	pthread_t thread;
	void *ended;

	(void)state;
	assert_false(loop_is_elsewhere(open_loop(&loop)));
	loop_hand_over(&loop);
	assert_true(loop_is_elsewhere(&loop));
	assert_int_equal(pthread_create(&thread, NULL, run_in_thread, &loop), 0);
	assert_true(loop_is_elsewhere(&loop));
	loop_stop(&loop);
	assert_int_equal(pthread_join(thread, &ended), 0);
	assert_ptr_equal(ended, &loop);
	assert_false(loop_is_elsewhere(&loop));
	loop_close(&loop);
}

static void *stop_from_thread(void *loop)
{
	loop_stop(loop);
	return NULL;
}

static void stop_in_round(struct loop_source *source, uint32_t events)
{
	consume(source, events);
	loop_stop(((struct probe *)source->context)->loop);
}

static void test_stop(void **state)
{
	struct loop loop;
	struct probe probe;
	pthread_t thread;

	(void)state;
	loop_stop(open_loop(&loop));
	assert_int_equal(loop_run(&loop, NULL), 0);
	make_probe(&probe, &loop, stop_in_round, 1);
	assert_int_equal(loop_run(&loop, NULL), 0);
	assert_int_equal(probe.called, 1);
	assert_int_equal(pthread_create(&thread, NULL, stop_from_thread, &loop), 0);
	assert_int_equal(loop_run(&loop, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	drop_probe(&probe);
	loop_close(&loop);
}

static void test_bad_descriptor(void **state)
{
	struct loop_source source = { .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), .ready = count_call };
	struct error err = ERROR_INIT;
	struct loop loop;

	(void)state;
	assert_true(source.fd >= 0);
	assert_int_equal(loop_add(open_loop(&loop), &source, EPOLLIN, &err), -EPERM);
	assert_string_not_equal(err.text, "");
	close(source.fd);
	loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level),  cmocka_unit_test(test_removed_in_round),
		cmocka_unit_test(test_nested), cmocka_unit_test(test_hand_over),
		cmocka_unit_test(test_stop),   cmocka_unit_test(test_bad_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
