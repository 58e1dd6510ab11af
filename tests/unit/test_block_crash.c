/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images whose power is cut: what they hold then can be read, and written again, and
 * nothing but unused clusters is wrong.
 */
#include "journal.h"

#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/block/qcow2_format.h"

enum { DISK = 4 << 20, SECTORS = DISK / SECTOR, CLUSTER = 65536 };

static const char *const top[] = { "top", "raw:base", NULL };
static const char *const cut[] = { "cut", "raw:base", NULL };

static uint32_t seed = 1;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 8) * sides) >> 24);
}

/* ---- what a sector holds: one number, again and again ---- */

static uint64_t value_of(uint32_t sector, uint32_t version)
{
	return (uint64_t)sector << 32 | version;
}

static void fill(uint8_t *bytes, uint64_t value)
{
	for (unsigned i = 0; i < SECTOR; i += sizeof(value))
		memcpy(bytes + i, &value, sizeof(value));
}

static uint64_t read_value(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	assert_memory_equal(bytes, bytes + sizeof(value), SECTOR - sizeof(value));
	return value;
}

static void make_base(void)
{
	static uint8_t bytes[SECTOR];
	FILE *file = fopen("base", "we");

	assert_non_null(file);
	for (uint32_t i = 0; i < SECTORS; i++) {
		fill(bytes, value_of(i, 1));
		assert_int_equal(fwrite(bytes, 1, SECTOR, file), SECTOR);
	}
	assert_int_equal(fclose(file), 0);
}

/* Of 64 KiB clusters: header, refcount table, refcount block, L1 table. */
static void make_top(void)
{
	struct error err = ERROR_INIT;
	int fd;

	make_base();
	(void)unlink("top");
	fd = open("top", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(qcow2_create(fd, DISK, "base", "raw", &err), 0);
	close(fd);
}

static void must_be_sound(const char *name)
{
	int status = run("qemu-img check -f qcow2 %s", name);

	if (status != 0 && status != 3) /* 3: clusters are left over */
		must_run_(status, "qemu-img check");
}

static uint64_t value_at(struct disk *disk, uint32_t sector)
{
	uint8_t bytes[SECTOR];

	assert_int_equal(disk_do(disk, BLOCK_READ, (uint64_t)sector * SECTOR, bytes, SECTOR), 0);
	return read_value(bytes);
}

static int write_at(struct disk *disk, uint32_t sector, uint32_t version)
{
	uint8_t bytes[SECTOR];

	fill(bytes, value_of(sector, version));
	return disk_do(disk, BLOCK_WRITE, (uint64_t)sector * SECTOR, bytes, SECTOR);
}

static int flush(struct disk *disk)
{
	return disk_do(disk, BLOCK_FLUSH, 0, NULL, 0);
}

/* ---- one thing after the other ---- */

/* The first write of a region finds no room, and its table is linked all the same. */
static void a_full_disk_leaves_no_table_behind_the_end(void **state)
{
	struct disk disk;

	(void)state;
	need_qemu_img();
	make_top();
	journal_begin("top");
	journal_limit(0);
	disk_open(&disk, top, true);
	assert_int_equal(write_at(&disk, 8, 2), -ENOSPC);
	assert_int_equal(flush(&disk), 0);
	disk_close(&disk);
	journal_end();
	must_be_sound("top");
	disk_open(&disk, top, true);
	assert_true(value_at(&disk, 9) == value_of(9, 1));
	assert_int_equal(write_at(&disk, 1000, 3), 0);
	assert_true(value_at(&disk, 9) == value_of(9, 1));
	assert_int_equal(write_at(&disk, 9, 4), 0);
	assert_int_equal(flush(&disk), 0);
	assert_true(value_at(&disk, 1000) == value_of(1000, 3));
	assert_true(value_at(&disk, 9) == value_of(9, 4));
	disk_close(&disk);
	must_be_sound("top");
}

/* A flush ends while the first write of a region is still on its way; then the power goes. */
static void a_flush_amid_a_first_write_links_no_table_behind_the_end(void **state)
{
	uint8_t bytes[SECTOR] = { 0 };
	struct iovec iov = { .iov_base = bytes, .iov_len = SECTOR };
	int wrote = 1, flushed = 1;
	struct block_request write = { .operation = BLOCK_WRITE,
				       .size = SECTOR,
				       .iov = &iov,
				       .iov_count = 1,
				       .done = disk_done,
				       .context = &wrote };
	struct block_request sync = { .operation = BLOCK_FLUSH, .done = disk_done, .context = &flushed };
	struct disk disk;
	size_t position;

	(void)state;
	need_qemu_img();
	make_top();
	journal_begin("top");
	disk_open(&disk, top, true);
	journal_hold(true);
	block_submit(disk.block, &write);
	block_submit(disk.block, &sync);
	disk_wait(&disk, &flushed);
	assert_int_equal(flushed, 0);
	position = journal_position();
	assert_int_equal(wrote, 1);
	journal_hold(false);
	disk_close(&disk);
	assert_int_equal(wrote, 0);
	journal_cut("cut", position, NULL, NULL, dice);
	journal_end();
	must_be_sound("cut");
	disk_open(&disk, cut, true);
	assert_true(value_at(&disk, 9) == value_of(9, 1));
	assert_int_equal(write_at(&disk, 1000, 3), 0);
	assert_true(value_at(&disk, 9) == value_of(9, 1));
	disk_close(&disk);
}

static int remove_all(void **state)
{
	journal_end();
	return disk_dir_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_disk_leaves_no_table_behind_the_end),
		cmocka_unit_test(a_flush_amid_a_first_write_links_no_table_behind_the_end),
	};

	return cmocka_run_group_tests_name("block_crash", tests, disk_dir_make, remove_all);
}
