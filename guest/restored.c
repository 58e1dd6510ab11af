/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that goes on from a snapshot has the clock of then, and the same
 * random numbers as every other one that began with it: random(4).
 */
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest/agent.h"

enum { ENTROPY_MAX = 4096, CLOCK_SIZE = 8, NS_PER_S = 1000000000 };

static void set_clock(const struct agent_frame *frame)
{
	uint32_t low = 0, high = 0;
	struct timespec time;
	uint64_t ns;

	(void)agent_number(frame, 0, &low);
	(void)agent_number(frame, 1, &high);
	ns = (uint64_t)high << 32 | low;
	time = (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
	if (clock_settime(CLOCK_REALTIME, &time) < 0)
		boot_say("cannot set the clock");
}

static void add_entropy(const uint8_t *bytes, size_t count)
{
	union {
		struct rand_pool_info info;
		char room[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool;
	cleanup_close int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

	if (count > ENTROPY_MAX)
		count = ENTROPY_MAX;
	pool.info.entropy_count = (int)count * 8;
	pool.info.buf_size = (int)count;
	memcpy(pool.info.buf, bytes, count);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		boot_say("cannot reseed the random numbers");
	explicit_bzero(&pool, sizeof(pool));
}

void restored(const struct agent_frame *frame)
{
	/* The workload runs already: each moment, it may draw a number that another machine of the snapshot draws. */
	if (frame->size > CLOCK_SIZE)
		add_entropy(frame->payload + CLOCK_SIZE, frame->size - CLOCK_SIZE);
	set_clock(frame);
}
