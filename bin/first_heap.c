/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs of one thread that live for milliseconds, linked with musl.
 *
 * The first memory that they ask for is their own: pages of .bss, which the kernel gives as they are touched.
 * malloc(3) would begin with four system calls, and go on with one or two for every few blocks.  What does not fit
 * comes from there.  By the linker's --wrap, so that what libc allocates by itself comes from here as well.
 *
 * Blocks lie one behind the other; the end moves back over those that were freed.
 */
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

struct block {
	alignas(max_align_t) struct block *before;
	size_t size; /* of data, in bytes */
	bool is_free;
	alignas(max_align_t) unsigned char data[];
};

enum { HEAP_SIZE = 128 << 10 };

static alignas(max_align_t) unsigned char heap[HEAP_SIZE];
static struct block *last;

static bool is_ours(const void *memory)
{
	return (uintptr_t)memory >= (uintptr_t)heap && (uintptr_t)memory < (uintptr_t)heap + HEAP_SIZE;
}

static struct block *block_of(void *memory)
{
	return (struct block *)((unsigned char *)memory - offsetof(struct block, data));
}

static size_t align(size_t size)
{
	return (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

/* Whether a block at this place could have so many bytes. */
static bool fits(const unsigned char *place, size_t size)
{
	size_t left = (size_t)(heap + HEAP_SIZE - place);

	return left > sizeof(struct block) && size <= left - sizeof(struct block) - alignof(max_align_t);
}

void *__wrap_malloc(size_t size)
{
	unsigned char *place = last ? last->data + last->size : heap;
	struct block *block = (struct block *)place;

	if (!fits(place, size))
		return __real_malloc(size);
	*block = (struct block){ .before = last, .size = align(size) };
	last = block;
	return block->data;
}

void *__wrap_calloc(size_t count, size_t size)
{
	size_t bytes;
	void *memory;

	if (__builtin_mul_overflow(count, size, &bytes))
		return __real_calloc(count, size);
	memory = __wrap_malloc(bytes);
	return memory ? memset(memory, 0, bytes) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
	struct block *block = memory && is_ours(memory) ? block_of(memory) : NULL;
	void *moved;

	if (memory && !block)
		return __real_realloc(memory, size);
	if (block && block == last && fits((const unsigned char *)block, size)) {
		block->size = align(size);
		return memory;
	}
	if (block && size <= block->size)
		return memory;
	moved = __wrap_malloc(size);
	if (moved && block) {
		memcpy(moved, memory, block->size < size ? block->size : size);
		__wrap_free(memory);
	}
	return moved;
}

void __wrap_free(void *memory)
{
	if (!memory || !is_ours(memory)) {
		__real_free(memory);
		return;
	}
	block_of(memory)->is_free = true;
	while (last && last->is_free)
		last = last->before;
}
