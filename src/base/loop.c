/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ROUND_MAX = sizeof((struct loop){ 0 }.ready) / sizeof(struct loop_source *) };

int loop_open(struct loop *loop, struct error *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	int code;

	*loop = (struct loop){ .epoll = -1, .wake = -1, .thread = gettid() };
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll >= 0)
		loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) < 0) {
		code = errno;
		loop_close(loop);
		return error_errno(err, code, "cannot make an event loop");
	}
	return 0;
}

void loop_close(struct loop *loop)
{
	if (loop->wake >= 0)
		close(loop->wake);
	if (loop->epoll >= 0)
		close(loop->epoll);
	loop->epoll = loop->wake = -1;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events, struct error *err)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0)
		return error_errno(err, errno, "cannot wait for descriptor %d", source->fd);
	return 0;
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = 0; i < loop->ready_count; i++)
		if (loop->ready[i] == source)
			loop->ready[i] = NULL;
}

static void drain_wake(const struct loop *loop)
{
	uint64_t count;

	(void)!read(loop->wake, &count, sizeof(count));
}

int loop_wait(struct loop *loop, int timeout_ms, struct error *err)
{
	struct epoll_event events[ROUND_MAX];
	int count = epoll_wait(loop->epoll, events, ROUND_MAX, timeout_ms);
	unsigned round = ++loop->round;

	if (count < 0)
		return errno == EINTR ? 0 : error_errno(err, errno, "cannot wait for events");
	for (int i = 0; i < count; i++)
		loop->ready[i] = events[i].data.ptr;
	loop->ready_count = count;
	for (int i = 0; i < count; i++) {
		struct loop_source *source = loop->ready[i];

		if (source)
			source->ready(source, events[i].events);
		else if (!events[i].data.ptr)
			drain_wake(loop);
		/* A source made a round of its own: what was left of this one is still ready, and will be told again.
		 */
		if (loop->round != round)
			return 0;
	}
	loop->ready_count = 0;
	return 0;
}

int loop_run(struct loop *loop, struct error *err)
{
	int ret = 0;

	__atomic_store_n(&loop->thread, gettid(), __ATOMIC_RELEASE);
	while (ret == 0 && !__atomic_exchange_n(&loop->stopped, false, __ATOMIC_ACQUIRE))
		ret = loop_wait(loop, -1, err);
	__atomic_store_n(&loop->thread, 0, __ATOMIC_RELEASE);
	return ret;
}

void loop_hand_over(struct loop *loop)
{
	__atomic_store_n(&loop->thread, -1, __ATOMIC_RELEASE);
}

bool loop_is_elsewhere(const struct loop *loop)
{
	int thread = __atomic_load_n(&loop->thread, __ATOMIC_ACQUIRE);

	return thread != 0 && thread != gettid();
}

void loop_stop(struct loop *loop)
{
	int saved = errno;
	uint64_t one = 1;

	__atomic_store_n(&loop->stopped, true, __ATOMIC_RELEASE);
	(void)!write(loop->wake, &one, sizeof(one));
	errno = saved;
}
