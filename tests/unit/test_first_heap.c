/* SPDX-License-Identifier: Apache-2.0 */
/* bin/first_heap.c, which only caisson-oci is linked with: that blocks do not overlap, keep what is in them, and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "first_heap.c"

/* What libc has, counted.  What it would not have is not asked for: the sanitizers' has an end in store for that. */
enum { REAL_MOST = 1 << 30 };
static size_t real_blocks;

void *__real_malloc(size_t size)
{
	if (size > REAL_MOST)
		return NULL;
	real_blocks++;
	return malloc(size);
}

void *__real_calloc(size_t count, size_t size)
{
	if (count > REAL_MOST || size > REAL_MOST)
		return NULL;
	real_blocks++;
	return calloc(count, size);
}

void *__real_realloc(void *memory, size_t size)
{
	return realloc(memory, size);
}

void __real_free(void *memory)
{
	real_blocks -= memory != NULL;
	free(memory);
}

static void blocks_go_back(void **state)
{
	char *one = __wrap_malloc(100), *two = __wrap_malloc(1), *three;

	(void)state;
	assert_true(is_ours(one) && is_ours(two) && two >= one + 100);
	assert_int_equal((uintptr_t)two % alignof(max_align_t), 0);
	/* In any order: the second holds the end until it goes, too. */
	__wrap_free(one);
	three = __wrap_malloc(1);
	assert_true(three > two);
	__wrap_free(three);
	__wrap_free(two);
	assert_null(last);
	assert_ptr_equal(__wrap_malloc(5), one);
	__wrap_free(one);
	__wrap_free(NULL);
	assert_int_equal(real_blocks, 0);
}

static void calloc_clears_what_was_used(void **state)
{
	volatile size_t too_many = SIZE_MAX / 2; /* the compiler would warn */
	unsigned char *bytes = __wrap_malloc(1000);

	(void)state;
	memset(bytes, 0xff, 1000);
	__wrap_free(bytes);
	bytes = __wrap_calloc(10, 100);
	assert_true(is_ours(bytes));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(bytes[i], 0);
	__wrap_free(bytes);
	assert_null(__wrap_calloc(too_many, 3));
}

static void realloc_grows_in_place_or_moves(void **state)
{
	char *one = __wrap_realloc(NULL, 3), *two;

	(void)state;
	memcpy(one, "ab", 3);
	assert_ptr_equal(__wrap_realloc(one, 5000), one);
	two = __wrap_malloc(1);
	assert_ptr_equal(__wrap_realloc(one, 10), one);
	one = __wrap_realloc(one, 6000);
	assert_true(is_ours(one) && one > two);
	assert_string_equal(one, "ab");
	/* Out of the heap: into libc's, with what was in it. */
	one = __wrap_realloc(one, HEAP_SIZE);
	assert_false(is_ours(one));
	assert_string_equal(one, "ab");
	one = __wrap_realloc(one, HEAP_SIZE * 2);
	assert_string_equal(one, "ab");
	__wrap_free(one);
	__wrap_free(two);
	assert_null(last);
	assert_int_equal(real_blocks, 0);
}

static void what_does_not_fit_is_libcs(void **state)
{
	volatile size_t too_much = SIZE_MAX / 2;
	void *all[HEAP_SIZE / 1000 + 2], *huge = __wrap_malloc(too_much);
	size_t count = 0;

	(void)state;
	assert_null(huge);
	do {
		all[count] = __wrap_malloc(1000);
		assert_non_null(all[count]);
		memset(all[count], (int)count, 1000);
	} while (is_ours(all[count++]));
	assert_int_equal(real_blocks, 1);
	assert_true(count > HEAP_SIZE / 1100);
	for (size_t i = 0; i < count; i++) {
		for (int k = 0; k < 1000; k++)
			assert_int_equal(((unsigned char *)all[i])[k], (unsigned char)i);
		__wrap_free(all[i]);
	}
	assert_null(last);
	assert_int_equal(real_blocks, 0);
}

/* Blocks of all sizes come and go; each byte says whose it is. */
static void random_use(void **state)
{
	enum { BLOCKS = 64, STEPS = 20000, SIZE_MOST = 4000 };
	unsigned char *blocks[BLOCKS] = { NULL };
	size_t sizes[BLOCKS] = { 0 };

	(void)state;
	srand(1);
	for (int step = 0; step < STEPS; step++) {
		int i = rand() % BLOCKS;
		size_t size = (size_t)(rand() % SIZE_MOST), kept = size < sizes[i] ? size : sizes[i];

		if (rand() % 2) {
			__wrap_free(blocks[i]);
			blocks[i] = NULL;
			sizes[i] = 0;
			continue;
		}
		blocks[i] = __wrap_realloc(blocks[i], size + 1);
		assert_non_null(blocks[i]);
		for (size_t k = 0; k < kept; k++)
			assert_int_equal(blocks[i][k], i);
		memset(blocks[i], i, size);
		sizes[i] = size;
	}
	for (int i = 0; i < BLOCKS; i++)
		__wrap_free(blocks[i]);
	assert_null(last);
	real_blocks = 0; /* realloc(NULL) of libc's is not counted */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_go_back),
		cmocka_unit_test(calloc_clears_what_was_used),
		cmocka_unit_test(realloc_grows_in_place_or_moves),
		cmocka_unit_test(what_does_not_fit_is_libcs),
		cmocka_unit_test(random_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
