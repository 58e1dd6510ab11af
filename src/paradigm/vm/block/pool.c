/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/block/pool.h"
#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_SIZE = 256 << 10 }; /* decompressors want some */

static int transfer(struct block_io_request *request)
{
	const struct iovec *all = request->rest ? request->rest : request->iov;
	uint64_t moved = request->moved;
	int at = 0;

	while (at < request->iov_count) {
		const struct iovec *iov = &all[at];
		uint64_t offset = request->offset + moved;
		int count = request->iov_count - at > IOV_MAX ? IOV_MAX : request->iov_count - at;
		ssize_t done = request->operation == BLOCK_IO_READ ? preadv(request->fd, iov, count, (off_t)offset)
								   : pwritev(request->fd, iov, count, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		for (moved += (uint64_t)done; at < request->iov_count && (size_t)done >= all[at].iov_len; at++)
			done -= (ssize_t)all[at].iov_len;
		if (at == request->iov_count)
			break;
		/* Short: the rest of this buffer by itself. */
		uint8_t *bytes = (uint8_t *)all[at].iov_base + done;
		uint64_t left = all[at].iov_len - (size_t)done;
		int ret = request->operation == BLOCK_IO_READ
				  ? block_read_at(request->fd, bytes, left, request->offset + moved)
				  : file_write_at(request->fd, bytes, left, request->offset + moved);

		if (ret < 0)
			return ret;
		moved += left;
		at++;
	}
	return 0;
}

static void perform(struct block_io_request *request)
{
	switch (request->operation) {
	case BLOCK_IO_READ:
	case BLOCK_IO_WRITE:
		request->result = transfer(request);
		break;
	case BLOCK_IO_SYNC:
		request->result = fdatasync(request->fd) < 0 ? -errno : 0;
		break;
	case BLOCK_IO_JOB:
		request->result = request->work(request);
		break;
	}
}

static void finish(struct block_pool *pool, struct block_io_request *request)
{
	uint64_t one = 1;

	request->next = pool->finished;
	pool->finished = request;
	if (!request->next && write(pool->event, &one, sizeof(one)) < 0)
		return; /* cannot be: the counter is never full */
}

static void *worker(void *context)
{
	struct block_pool *pool = context;

	(void)pthread_setname_np(pthread_self(), "block");
	(void)pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct block_io_request *request = pool->first;

		if (request) {
			pool->first = request->next;
			if (!pool->first)
				pool->last = &pool->first;
			(void)pthread_mutex_unlock(&pool->lock);
			perform(request);
			(void)pthread_mutex_lock(&pool->lock);
			finish(pool, request);
			continue;
		}
		if (pool->stop)
			break;
		pool->idle++;
		(void)pthread_cond_wait(&pool->wanted, &pool->lock);
		pool->idle--;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* One more, with every signal blocked: they are the main thread's; but a violation of a seccomp filter is its own. */
static void add_thread(struct block_pool *pool)
{
	pthread_attr_t attributes;
	sigset_t all, before;

	if (pool->threads_count == BLOCK_POOL_THREADS_MAX || pthread_attr_init(&attributes) != 0)
		return;
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGSYS);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&pool->threads[pool->threads_count], &attributes, worker, pool) == 0)
		pool->threads_count++;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
}

int block_pool_open(struct block_pool *pool, struct error *err)
{
	int ret;

	memset(pool, 0, sizeof(*pool));
	pool->last = &pool->first;
	pool->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->event < 0)
		return error_errno(err, errno, "cannot make an eventfd for disks");
	ret = pthread_mutex_init(&pool->lock, NULL);
	if (ret == 0 && (ret = pthread_cond_init(&pool->wanted, NULL)) != 0)
		(void)pthread_mutex_destroy(&pool->lock);
	if (ret != 0) {
		close(pool->event);
		return error_errno(err, ret, "cannot make a lock for disks");
	}
	return 0;
}

void block_pool_close(struct block_pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	(void)pthread_cond_broadcast(&pool->wanted);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads_count; i++)
		(void)pthread_join(pool->threads[i], NULL);
	(void)pthread_cond_destroy(&pool->wanted);
	(void)pthread_mutex_destroy(&pool->lock);
	close(pool->event);
}

void block_pool_submit(struct block_pool *pool, struct block_io_request *request)
{
	request->next = NULL;
	(void)pthread_mutex_lock(&pool->lock);
	if (pool->idle == 0 || pool->first)
		add_thread(pool);
	if (pool->threads_count == 0) {
		perform(request);
		finish(pool, request);
	} else {
		*pool->last = request;
		pool->last = &request->next;
		(void)pthread_cond_signal(&pool->wanted);
	}
	(void)pthread_mutex_unlock(&pool->lock);
}

struct block_io_request *block_pool_take(struct block_pool *pool)
{
	struct block_io_request *taken, *oldest = NULL;
	uint64_t count;

	(void)pthread_mutex_lock(&pool->lock);
	taken = pool->finished;
	pool->finished = NULL;
	if (taken && read(pool->event, &count, sizeof(count)) < 0)
		count = 0;
	(void)pthread_mutex_unlock(&pool->lock);
	while (taken) {
		struct block_io_request *next = taken->next;

		taken->next = oldest;
		oldest = taken;
		taken = next;
	}
	return oldest;
}
