/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool - a few threads that do what would block.
 *
 * Threads come with the first requests and stay; finished requests are told by
 * an eventfd.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_POOL_H
#define CAISSON_PARADIGM_VM_BLOCK_POOL_H

#include <pthread.h>

#include "paradigm/vm/block/io.h"

enum { BLOCK_POOL_THREADS_MAX = 4 };

struct block_pool {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct block_io_request *first, **last; /* to be done */
	struct block_io_request *finished;	/* newest first */
	pthread_t threads[BLOCK_POOL_THREADS_MAX];
	unsigned threads_count, idle;
	bool stop;
	int event; /* eventfd: there is something finished */
};

int block_pool_open(struct block_pool *pool, struct error *err);
/* Nothing may be going on. */
void block_pool_close(struct block_pool *pool);
/* Without a thread, it is done at once, by the caller. */
void block_pool_submit(struct block_pool *pool, struct block_io_request *request);
/* What is finished, oldest first, and the eventfd empty. */
struct block_io_request *block_pool_take(struct block_pool *pool);

#endif
