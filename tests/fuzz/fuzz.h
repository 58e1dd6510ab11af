/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz - what libFuzzer's targets share: promises, and input that is taken in
 * pieces.
 */
#ifndef CAISSON_TESTS_FUZZ_FUZZ_H
#define CAISSON_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that is not kept is a finding. */
static inline void check(int condition)
{
	if (!condition)
		abort();
}

struct input {
	const uint8_t *at, *end;
};

/* The next bytes, at most 4 of them; behind the end there are zeros. */
static inline uint32_t number(struct input *input, size_t size)
{
	uint32_t value = 0;

	size = size < (size_t)(input->end - input->at) ? size : (size_t)(input->end - input->at);
	memcpy(&value, input->at, size);
	input->at += size;
	return value;
}

#endif
