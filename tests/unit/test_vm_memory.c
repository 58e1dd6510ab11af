/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory, whose every address is hostile, and the state of machines as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/memory.h"
#include "paradigm/vm/machine/state.h"

#define MIB UINT64_C(1048576)

/* 1 MiB at 0, 2 MiB at 16 MiB. */
static const struct guest_region two_regions[] = { { .base = 0, .size = MIB, .offset = 0 },
						   { .base = 16 * MIB, .size = 2 * MIB, .offset = MIB } };

static void make_two(struct guest_memory *memory)
{
	struct error err = ERROR_INIT;

	if (guest_memory_make(memory, two_regions, 2, 0, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_bounds(void **state)
{
	struct guest_memory memory;
	uint8_t byte = 1;

	(void)state;
	make_two(&memory);
	assert_non_null(guest_memory_at(&memory, 0, MIB));
	assert_non_null(guest_memory_at(&memory, MIB - 1, 1));
	assert_null(guest_memory_at(&memory, MIB - 1, 2));
	assert_null(guest_memory_at(&memory, MIB, 1));
	assert_null(guest_memory_at(&memory, 0, MIB + 1));
	assert_null(guest_memory_at(&memory, 0, UINT64_MAX));
	assert_null(guest_memory_at(&memory, UINT64_MAX, 1));
	assert_null(guest_memory_at(&memory, UINT64_MAX, UINT64_MAX));
	assert_null(guest_memory_at(&memory, 16 * MIB - 1, 2));
	assert_non_null(guest_memory_at(&memory, 16 * MIB, 2 * MIB));
	assert_null(guest_memory_at(&memory, 17 * MIB, UINT64_MAX - 17 * MIB));
	assert_ptr_equal(guest_memory_at(&memory, 17 * MIB, 8), memory.regions[1].host + MIB);

	assert_false(guest_memory_write(&memory, MIB, &byte, 1));
	assert_false(guest_memory_read(&memory, MIB, &byte, 1));
	assert_true(guest_memory_write(&memory, 18 * MIB - 1, &byte, 1));
	byte = 0;
	assert_true(guest_memory_read(&memory, 18 * MIB - 1, &byte, 1));
	assert_int_equal(byte, 1);
	guest_memory_free(&memory);
	assert_null(guest_memory_at(&memory, 0, 1));
}

static void test_bad_layout(void **state)
{
	static const struct guest_region bad[][2] = {
		{ { .base = 0, .size = 0 } },
		{ { .base = 0, .size = 4095 } },
		{ { .base = 1, .size = 4096 } },
		{ { .base = UINT64_MAX - 4095, .size = 8192 } },
		{ { .base = 0, .size = 8192 }, { .base = 4096, .size = 4096 } },
		{ { .base = 8192, .size = 4096 }, { .base = 0, .size = 4096 } },
	};
	struct guest_memory memory;
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(guest_memory_make(&memory, bad[i], bad[i][1].size ? 2 : 1, 0, &err), -EINVAL);
	assert_int_equal(guest_memory_make(&memory, two_regions, 0, 0, &err), -EINVAL);
	assert_int_equal(guest_memory_make(&memory, two_regions, 2, 3 * MIB, &err), -EINVAL);
	/* Its regions are not made of such pages. */
	assert_int_equal(guest_memory_make(&memory, two_regions, 2, 2 * MIB, &err), -EINVAL);
}

static void test_discard(void **state)
{
	struct guest_memory memory;
	uint8_t *bytes;

	(void)state;
	make_two(&memory);
	assert_int_equal(guest_memory_size(&memory), 3 * MIB);
	bytes = guest_memory_at(&memory, 16 * MIB, 2 * MIB);
	memset(bytes, 0xaa, 65536);
	/* Only the pages that lie wholly inside. */
	assert_int_equal(guest_memory_discard(&memory, 16 * MIB + 1, 8192), 4096);
	assert_int_equal(bytes[0], 0xaa);
	assert_int_equal(bytes[4095], 0xaa);
	assert_int_equal(bytes[4096], 0);
	assert_int_equal(bytes[8191], 0);
	assert_int_equal(bytes[8192], 0xaa);
	assert_int_equal(guest_memory_discard(&memory, 16 * MIB, 4095), 0);
	assert_int_equal(bytes[0], 0xaa);
	assert_int_equal(guest_memory_discard(&memory, MIB - 4096, 8192), -EINVAL);
	assert_int_equal(guest_memory_discard(&memory, UINT64_MAX - 4096, 8192), -EINVAL);
	guest_memory_free(&memory);
}

static void test_save(void **state)
{
	cleanup_close int file = memfd_create("saved", MFD_CLOEXEC);
	struct guest_memory memory, again;
	struct error err = ERROR_INIT;
	uint64_t value = 42;

	(void)state;
	make_two(&memory);
	assert_true(guest_memory_write(&memory, MIB - 8, &value, 8));
	memset(guest_memory_at(&memory, 16 * MIB + 4096, 12288), 7, 12288);
	assert_int_equal(guest_memory_save(&memory, file, &err), 0);
	guest_memory_free(&memory);
	/* Holes where nothing was. */
	assert_int_equal(lseek(file, 0, SEEK_DATA), MIB - 4096);
	assert_int_equal(lseek(file, 0, SEEK_END), 3 * MIB);

	assert_int_equal(guest_memory_map(&again, two_regions, 2, file, &err), 0);
	value = 0;
	assert_true(guest_memory_read(&again, MIB - 8, &value, 8));
	assert_int_equal(value, 42);
	assert_int_equal(*(uint8_t *)guest_memory_at(&again, 16 * MIB + 4096, 1), 7);
	/* What it writes and gives back is its own; a page given back is not the file's again. */
	value = 1;
	assert_true(guest_memory_write(&again, MIB - 8, &value, 8));
	assert_int_equal(guest_memory_discard(&again, 16 * MIB + 4096, 4096), 4096);
	assert_int_equal(*(uint8_t *)guest_memory_at(&again, 16 * MIB + 4096, 1), 0);
	assert_int_equal(*(uint8_t *)guest_memory_at(&again, 16 * MIB + 8192, 1), 7);
	guest_memory_free(&again);
	assert_int_equal(guest_memory_map(&again, two_regions, 2, file, &err), 0);
	assert_true(guest_memory_read(&again, MIB - 8, &value, 8));
	assert_int_equal(value, 42);
	guest_memory_free(&again);

	assert_int_equal(ftruncate(file, 3 * MIB - 1), 0);
	assert_int_equal(guest_memory_map(&again, two_regions, 2, file, &err), -EINVAL);
}

static void test_layout(void **state)
{
	struct guest_region regions[2];

	(void)state;
	assert_int_equal(layout_regions(256 * MIB, regions), 1);
	assert_int_equal(regions[0].size, 256 * MIB);
	assert_int_equal(layout_regions(LAYOUT_RAM_LOW_END, regions), 1);
	assert_int_equal(layout_regions(8192 * MIB, regions), 2);
	assert_int_equal(regions[0].size, 3072 * MIB);
	assert_int_equal(regions[1].base, 4096 * MIB);
	assert_int_equal(regions[1].size, 5120 * MIB);
	assert_int_equal(regions[1].offset, 3072 * MIB);
	for (unsigned i = 0; i < LAYOUT_VIRTIO_MAX; i++) {
		assert_in_range(layout_virtio_irq(i), 5, LAYOUT_IRQS - 1);
		assert_int_not_equal(layout_virtio_irq(i), LAYOUT_IRQ_RTC);
		assert_int_not_equal(layout_virtio_irq(i), LAYOUT_IRQ_SCI);
	}
}

static void write_two_sections(struct state_writer *writer)
{
	state_begin(writer, "serial", 2);
	state_put_u64(writer, UINT64_C(0x1122334455667788));
	state_put_u32(writer, 7);
	state_put(writer, "abc", 3);
	state_end(writer);
	state_begin(writer, "empty", 1);
	state_end(writer);
	assert_false(str_failed(&writer->out));
}

static int read_two_sections(struct state_reader *reader, struct error *err)
{
	char text[3];

	if (state_enter(reader, "serial", 2, err) < 0)
		return -EINVAL;
	(void)state_get_u64(reader);
	(void)state_get_u32(reader);
	(void)state_get(reader, text, sizeof(text));
	if (state_leave(reader, err) < 0 || state_enter(reader, "empty", 1, err) < 0)
		return -EINVAL;
	return state_leave(reader, err);
}

static void test_state_round(void **unused)
{
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	struct error err = ERROR_INIT;
	char text[3];

	(void)unused;
	write_two_sections(&writer);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(state_get_u32(&reader), 0); /* outside of a section */
	assert_int_equal(state_enter(&reader, "serial", 2, &err), 2);
	assert_int_equal(state_get_u64(&reader), UINT64_C(0x1122334455667788));
	assert_int_equal(state_leave(&reader, &err), -EINVAL); /* something is left */
	assert_int_equal(state_get_u32(&reader), 7);
	assert_true(state_get(&reader, text, 3));
	assert_memory_equal(text, "abc", 3);
	assert_int_equal(state_leave(&reader, &err), 0);
	assert_int_equal(state_get_u32(&reader), 0);
	assert_int_equal(state_leave(&reader, &err), -EINVAL); /* read beyond the section, not into the next one */
	assert_int_equal(state_enter(&reader, "empty", 1, &err), 1);
	assert_int_equal(state_leave(&reader, &err), 0);
	assert_int_equal(state_enter(&reader, "more", 1, &err), -EINVAL);
	str_free(&writer.out);
}

static void test_state_damaged(void **unused)
{
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	struct error err = ERROR_INIT;

	(void)unused;
	write_two_sections(&writer);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(state_enter(&reader, "serial", 1, &err), -EINVAL); /* newer than we know */
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(state_enter(&reader, "seria", 2, &err), -EINVAL);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(read_two_sections(&reader, &err), 0);
	for (size_t cut = 0; cut < writer.out.length; cut++) {
		cleanup_free char *copy = malloc(cut + 1); /* so that valgrind and ASan see one byte too many */

		assert_non_null(copy);
		memcpy(copy, writer.out.text, cut);
		state_reader_init(&reader, copy, cut);
		assert_int_equal(read_two_sections(&reader, &err), -EINVAL);
	}
	/* Lengths that wrap. */
	memset(writer.out.text, 0xff, 4);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(state_enter(&reader, "serial", 2, &err), -EINVAL);
	assert_int_equal(state_leave(&reader, &err), -EINVAL);
	str_free(&writer.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),	      cmocka_unit_test(test_bad_layout),
		cmocka_unit_test(test_discard),	      cmocka_unit_test(test_save),
		cmocka_unit_test(test_layout),	      cmocka_unit_test(test_state_round),
		cmocka_unit_test(test_state_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
