/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/tsc.h"

#include <time.h>

#ifdef __x86_64__
#include <x86intrin.h>

enum { TRIES = 8, SLEEP_NS = 4000000 };

struct moment {
	uint64_t ns, ticks;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The pair that was read the most closely together, of several. */
static struct moment look(void)
{
	struct moment best = { 0 };
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = now_ns(), ticks = __rdtsc(), after = now_ns();

		if (after - before >= least)
			continue;
		least = after - before;
		best = (struct moment){ .ns = before + least / 2, .ticks = ticks };
	}
	return best;
}

uint32_t tsc_khz(void)
{
	const struct timespec pause = { .tv_nsec = SLEEP_NS };
	struct moment first = look(), second;
	uint64_t khz;

	(void)nanosleep(&pause, NULL);
	second = look();
	if (second.ns <= first.ns || second.ticks <= first.ticks || second.ns - first.ns > UINT64_C(10000000000))
		return 0;
	khz = (second.ticks - first.ticks) * 1000000 / (second.ns - first.ns);
	return khz > 100000 && khz < 20000000 ? (uint32_t)khz : 0;
}

#else

uint32_t tsc_khz(void)
{
	return 0;
}

#endif
