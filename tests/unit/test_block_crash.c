/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images whose power is cut: of what was not synced, a disk may hold any part.  Whatever it holds, what was
 * flushed is there, nothing but unused clusters is wrong, and the image can be written again.
 */
#include "journal.h"

#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/block/qcow2_format.h"

enum { DISK = 4 << 20, SECTORS = DISK / SECTOR, CLUSTER = 65536, BATCH = 8 };

static const char *const top[] = { "top", "raw:base", NULL };
static const char *const cut[] = { "cut", "raw:base", NULL };

static uint32_t seed = 1;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 8) * sides) >> 24);
}

/* In the C library's place: what lists of changes grow by.  So many times more; -1: for ever. */
static int memory_left = -1;

void *reallocarray(void *old, size_t count, size_t size)
{
	if (memory_left == 0) {
		errno = ENOMEM;
		return NULL;
	}
	memory_left -= memory_left > 0;
	return realloc(old, count * size);
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

/* What was made with these options; journal_begin() comes later. */
#define MAKE_TOP(options)                                                                                        \
	do {                                                                                                     \
		make_base();                                                                                     \
		MUST_RUN("rm -f top; qemu-img create -f qcow2 -o %s -b base -F raw top %d", options, (int)DISK); \
	} while (0)

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

static int only_that(size_t note, void *context)
{
	return note == *(size_t *)context;
}

static int all_but_that(size_t note, void *context)
{
	return note != *(size_t *)context;
}

/* Whether an image that was cut before that note can be written beyond what the lost writes had. */
static void must_take_data(size_t position, int (*kept)(size_t note, void *context), size_t note)
{
	static uint8_t bytes[64 << 10], back[64 << 10];
	struct disk disk;

	for (size_t i = 0; i < sizeof(bytes); i += SECTOR)
		fill(bytes + i, value_of((uint32_t)(i / SECTOR), 3));
	journal_cut("cut", position, kept, &note, dice);
	disk_open(&disk, cut, true);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 1 << 20, bytes, sizeof(bytes)), 0);
	assert_int_equal(flush(&disk), 0);
	assert_int_equal(disk_do(&disk, BLOCK_READ, 1 << 20, back, sizeof(back)), 0);
	assert_memory_equal(bytes, back, sizeof(bytes));
	assert_true(value_at(&disk, SECTORS - 1) == value_of(SECTORS - 1, 1));
	disk_close(&disk);
	must_be_sound("cut");
}

/* Each of the writes of tables between two syncs reaches the disk alone, or alone does not. */
static void no_table_relies_on_what_was_not_synced(void **state)
{
	static uint8_t bytes[40 << 10];
	struct disk disk;
	unsigned tried = 0;

	(void)state;
	need_qemu_img();
	/* A block has the refcounts of 32 KiB: there will be a second one. */
	MAKE_TOP("cluster_size=512,refcount_bits=64");
	journal_begin("top");
	disk_open(&disk, top, true);
	for (size_t i = 0; i < sizeof(bytes); i += SECTOR)
		fill(bytes + i, value_of((uint32_t)(i / SECTOR), 2));
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, bytes, sizeof(bytes)), 0);
	assert_int_equal(flush(&disk), 0);
	for (size_t at = 0; at < journal.count; at++)
		for (size_t i = journal_unsynced(at); journal.notes[at].kind == NOTE_SYNC && i < at; i++) {
			if (journal.notes[i].kind == NOTE_WRITE && journal.notes[i].size > 512)
				continue; /* data */
			must_take_data(at, only_that, i);
			must_take_data(at, all_but_that, i);
			tried++;
		}
	disk_close(&disk);
	journal_end();
	assert_true(tried >= 5);
}

/* The kernel tells of data that it could not write once; whoever asks later hears of it all the same. */
static void a_sync_that_failed_is_not_forgotten(void **state)
{
	static const char *const raw[] = { "raw:base", NULL };
	static const struct {
		const char *const *names;
		const char *watched;
	} disks[] = { { raw, "base" }, { top, "top" } };
	struct disk disk;

	(void)state;
	make_top();
	for (size_t i = 0; i < 2; i++) {
		journal_begin(disks[i].watched);
		disk_open(&disk, disks[i].names, true);
		assert_int_equal(write_at(&disk, 8, 2), 0);
		assert_int_equal(flush(&disk), 0);
		assert_int_equal(write_at(&disk, 8, 3), 0);
		journal.sync_error = EIO;
		assert_int_equal(block_drain(disk.block), -EIO);
		assert_int_equal(flush(&disk), -EIO);
		assert_int_equal(block_drain(disk.block), -EIO);
		assert_true(value_at(&disk, 8) == value_of(8, 3));
		disk_close(&disk);
		journal_end();
	}
}

/* A snapshot's tables, and a refcount table that is soon too small. */
static uint8_t *make_busy_top(uint64_t *size)
{
	static uint8_t bytes[16 << 10];
	struct disk disk;
	struct stat status;

	MAKE_TOP("cluster_size=512,refcount_bits=64");
	disk_open(&disk, top, true);
	for (uint64_t at = 0; stat("top", &status) == 0 && status.st_size < (2 << 20) - (60 << 10); at += sizeof(bytes))
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, at, bytes, sizeof(bytes)), 0);
	disk_close(&disk);
	MUST_RUN("qemu-img snapshot -c before top");
	return journal_read_file("top", size);
}

/* With so many growths of lists: whether something failed. */
static bool write_with_memory(int left)
{
	static uint8_t bytes[48 << 10];
	struct disk disk;
	bool failed;

	disk_open(&disk, top, true);
	memory_left = left;
	failed = disk_do(&disk, BLOCK_WRITE, 0, bytes, sizeof(bytes)) != 0;
	failed |= disk_do(&disk, BLOCK_WRITE, 3 << 20, bytes, sizeof(bytes)) != 0;
	failed |= disk_do(&disk, BLOCK_DISCARD, 0, NULL, sizeof(bytes) / 2) != 0;
	memory_left = -1;
	disk_close(&disk);
	return failed;
}

/* No data reach the disk while bitmaps that do not know of them count as up to date. */
static void bitmaps_are_given_up_before_data_are_written(void **state)
{
	struct disk disk;
	uint64_t features = htobe64(1);
	int fd;

	(void)state;
	make_top();
	fd = open("top", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &features, sizeof(features), QCOW2_AUTOCLEAR), sizeof(features));
	close(fd);
	journal_begin("top");
	disk_open(&disk, top, true);
	assert_int_equal(journal.count, 2);
	assert_int_equal(journal.notes[0].offset, QCOW2_AUTOCLEAR);
	assert_int_equal(journal.notes[1].kind, NOTE_SYNC);
	disk_close(&disk);
	journal_end();
}

/* A list of changes cannot grow, at any time: what is written then may be less, but not wrong. */
static void lists_without_memory_do_no_harm(void **state)
{
	/* The first new cluster wants nothing, a refcount block, a larger refcount table. */
	static const uint64_t alignments[] = { 1, 32 << 10, 2 << 20 };
	uint64_t size;
	uint8_t *image;

	(void)state;
	need_qemu_img();
	image = make_busy_top(&size);
	for (size_t i = 0; i < sizeof(alignments) / sizeof(*alignments); i++) {
		uint64_t aligned = (size + alignments[i] - 1) / alignments[i] * alignments[i];
		bool failed = true;

		for (int left = 0; failed; left++) {
			int fd = open("top", O_RDWR | O_TRUNC | O_CLOEXEC);

			assert_int_equal(write(fd, image, size), size);
			assert_int_equal(ftruncate(fd, (off_t)aligned), 0);
			close(fd);
			failed = write_with_memory(left);
			must_be_sound("top");
		}
	}
	free(image);
	journal_end();
}

/* ---- at random ---- */

/* What a sector was given, from some note on.  In the order of time. */
struct event {
	size_t position;
	uint32_t batch, sector;
	uint64_t value;
};

static struct event *events;
static size_t events_count, events_room;

static void add_event(struct event event)
{
	if (events_count == events_room) {
		events_room = events_room ? events_room * 2 : 4 * SECTORS;
		events = realloc(events, events_room * sizeof(*events));
		assert_non_null(events);
	}
	events[events_count++] = event;
}

static void read_all(struct disk *disk, uint64_t values[static SECTORS])
{
	static uint8_t bytes[DISK];

	assert_int_equal(disk_do(disk, BLOCK_READ, 0, bytes, DISK), 0);
	for (uint32_t i = 0; i < SECTORS; i++)
		values[i] = read_value(bytes + (size_t)i * SECTOR);
}

struct
try {
	struct block_request request;
	struct iovec iov;
	uint8_t *bytes;
	int result;
	uint32_t promises; /* of a flush: the newest batch that it makes safe */
};

static void try_done(struct block_request *request, int result)
{
	struct try *try = request->context;

	try->result = result;
	if (request->operation == BLOCK_FLUSH && result == 0)
		journal_promise(try->promises);
}

static bool meets_another(const struct try *tries, size_t count, uint64_t offset, uint64_t size)
{
	for (size_t i = 0; i < count; i++)
		if (offset < tries[i].request.offset + tries[i].request.size && tries[i].request.offset < offset + size)
			return true;
	return false;
}

static bool roll(struct try *tries, size_t count, uint32_t batch)
{
	static const enum block_operation operations[] = { BLOCK_WRITE,	  BLOCK_WRITE,	      BLOCK_WRITE, BLOCK_WRITE,
							   BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_FLUSH };
	struct try *try = &tries[count];
	uint64_t size = (1 + dice(dice(4) == 0 ? 200 : 10)) * SECTOR;
	uint64_t offset = dice((DISK - (uint32_t)size) / SECTOR + 1) * (uint64_t)SECTOR;

	if (meets_another(tries, count, offset, size))
		return false;
	memset(try, 0, sizeof(*try));
	try->bytes = malloc(size);
	assert_non_null(try->bytes);
	for (uint64_t i = 0; i < size; i += SECTOR)
		fill(try->bytes + i, value_of((uint32_t)((offset + i) / SECTOR), batch + 1));
	try->iov = (struct iovec){ .iov_base = try->bytes, .iov_len = size };
	try->result = 1;
	try->promises = batch - 1;
	try->request = (struct block_request){ .operation = operations[dice(7)],
					       .offset = offset,
					       .size = size,
					       .iov = &try->iov,
					       .iov_count = 1,
					       .unmap = dice(2),
					       .done = try_done,
					       .context = try };
	if (try->request.operation == BLOCK_FLUSH)
		try->request.offset = try->request.size = 0;
	return true;
}

/* What it has done can be seen; of a write that failed, some may be there. */
static void account(struct disk *disk, struct try *try, uint32_t batch, size_t position)
{
	uint64_t offset = try->request.offset, size = try->request.size;

	if (size > 0)
		assert_int_equal(disk_do(disk, BLOCK_READ, offset, try->bytes, size), 0);
	for (uint64_t i = 0; i < size; i += SECTOR) {
		uint32_t sector = (uint32_t)((offset + i) / SECTOR);
		uint64_t value = read_value(try->bytes + i);

		if (try->result == 0 && try->request.operation == BLOCK_WRITE)
			assert_true(value == value_of(sector, batch + 1));
		if (try->result == 0 && try->request.operation == BLOCK_WRITE_ZEROES)
			assert_true(value == 0);
		add_event((struct event){ .position = position, .batch = batch, .sector = sector, .value = value });
	}
	free(try->bytes);
}

/* Some requests at once.  False: a flush failed, and the disk takes no more. */
static bool play(struct disk *disk, uint32_t batch)
{
	struct try tries[BATCH];
	size_t count = 0, position = journal_position();
	bool fine = true;

	for (unsigned i = 0; i < BATCH; i++)
		count += roll(tries, count, batch) ? 1 : 0;
	for (size_t i = 0; i < count; i++)
		block_submit(disk->block, &tries[i].request);
	for (size_t i = 0; i < count; i++)
		disk_wait(disk, &tries[i].result);
	for (size_t i = 0; i < count; i++) {
		assert_true(tries[i].result == 0 || tries[i].result == -ENOSPC);
		fine &= tries[i].request.operation != BLOCK_FLUSH || tries[i].result == 0;
		account(disk, &tries[i], batch, position);
	}
	return fine;
}

static int keep_some(size_t note, void *context)
{
	uint32_t mood = *(uint32_t *)context;

	(void)note;
	switch (mood) {
	case 0:
		return dice(8) == 0;
	case 1:
		return dice(8) != 0;
	default:
		return (int)dice(3);
	}
}

/* Whether a sector may hold that when the power goes at that position, before which `batch` was promised. */
static bool is_possible(uint32_t sector, uint64_t value, size_t position, uint32_t batch)
{
	for (size_t i = 0; i < events_count; i++)
		if (events[i].batch > batch && events[i].position <= position && events[i].sector == sector &&
		    events[i].value == value)
			return true;
	return false;
}

static void compare(const uint64_t values[static SECTORS], size_t position)
{
	static uint64_t safe[SECTORS];
	uint32_t batch = 0;

	for (size_t i = 0; i < position; i++)
		if (journal.notes[i].kind == NOTE_PROMISE && journal.notes[i].promised > batch)
			batch = journal.notes[i].promised;
	for (size_t i = 0; i < events_count; i++)
		if (events[i].batch <= batch)
			safe[events[i].sector] = events[i].value;
	for (uint32_t i = 0; i < SECTORS; i++)
		if (values[i] != safe[i] && !is_possible(i, values[i], position, batch))
			fail_msg("before note %zu: sector %u holds 0x%llx, and 0x%llx was safe", position, i,
				 (unsigned long long)values[i], (unsigned long long)safe[i]);
}

/* The image can be read, and written all over without harm. */
static void examine(size_t position)
{
	static uint64_t values[SECTORS], after[SECTORS];
	struct disk disk;

	disk_open(&disk, cut, true);
	read_all(&disk, values);
	compare(values, position);
	for (uint32_t i = dice(200); i < SECTORS; i += 1 + dice(400)) {
		assert_int_equal(write_at(&disk, i, UINT32_MAX), 0);
		values[i] = value_of(i, UINT32_MAX);
	}
	assert_int_equal(flush(&disk), 0);
	read_all(&disk, after);
	assert_memory_equal(values, after, sizeof(values));
	disk_close(&disk);
	must_be_sound("cut");
}

static void cut_somewhere(void)
{
	size_t position = 1 + dice((uint32_t)journal.count);
	uint32_t mood = dice(3);

	/* Most often before a sync, when most is at stake. */
	while (dice(4) > 0 && position < journal.count && journal.notes[position].kind != NOTE_SYNC)
		position++;
	journal_cut("cut", position, keep_some, &mood, dice);
	if (dice(2)) /* what is written there could hide what is wrong */
		must_be_sound("cut");
	examine(position);
}

/* Everything between opening an image and closing it. */
static void live(unsigned batches, bool full)
{
	static uint64_t values[SECTORS];
	struct disk disk;
	uint32_t batch = 1;

	events_count = 0;
	journal_begin("top");
	disk_open(&disk, top, true);
	read_all(&disk, values);
	for (uint32_t i = 0; i < SECTORS; i++)
		add_event((struct event){ .sector = i, .value = values[i] });
	if (full)
		journal_limit(200 + dice(4000));
	while (batch <= batches && play(&disk, batch))
		batch++;
	if (block_drain(disk.block) == 0)
		journal_promise(batch);
	disk_close(&disk);
}

static void survive(unsigned batches, unsigned cuts, bool full)
{
	bool veiled = kernel_is_veiled();

	live(batches, full);
	for (unsigned i = 0; i < (veiled ? 2 : cuts); i++)
		cut_somewhere();
	journal_cut("cut", journal.count, NULL, NULL, dice);
	examine(journal.count);
	journal_end();
	must_be_sound("top");
}

static const char *const options[] = { "cluster_size=512,refcount_bits=64", "cluster_size=4k",
				       "cluster_size=512,refcount_bits=1", "cluster_size=64k",
				       "compat=0.10,cluster_size=1k" };
enum { OPTIONS = sizeof(options) / sizeof(*options) };

static void what_was_flushed_survives_a_power_cut(void **state)
{
	(void)state;
	need_qemu_img();
	for (size_t i = 0; i < OPTIONS; i++) {
		MAKE_TOP(options[i]);
		survive(30, 5, false);
	}
}

static void a_disk_that_snapshots_share_survives_a_power_cut(void **state)
{
	(void)state;
	need_qemu_img();
	for (size_t i = 0; i < 2; i++) {
		struct disk disk;

		MAKE_TOP(options[i]);
		disk_open(&disk, top, true);
		for (uint32_t sector = 0; sector < SECTORS; sector += 16)
			assert_int_equal(write_at(&disk, sector, 2), 0);
		disk_close(&disk);
		MUST_RUN("qemu-img snapshot -c before top");
		survive(30, 5, false);
	}
}

/* The refcount table has 2 MiB of clusters, and becomes too small. */
static void a_refcount_table_that_grows_survives_a_power_cut(void **state)
{
	struct disk disk;

	(void)state;
	need_qemu_img();
	MAKE_TOP(options[0]);
	disk_open(&disk, top, true);
	for (uint32_t sector = 0; sector < SECTORS * 29 / 64; sector++)
		assert_int_equal(write_at(&disk, sector, 2), 0);
	disk_close(&disk);
	survive(30, 8, false);
}

static void a_full_disk_survives_a_power_cut(void **state)
{
	(void)state;
	need_qemu_img();
	for (size_t i = 0; i < OPTIONS; i++) {
		MAKE_TOP(options[i]);
		survive(40, 4, true);
	}
}

static int remove_all(void **state)
{
	journal_end();
	free(events);
	return disk_dir_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_disk_leaves_no_table_behind_the_end),
		cmocka_unit_test(a_flush_amid_a_first_write_links_no_table_behind_the_end),
		cmocka_unit_test(no_table_relies_on_what_was_not_synced),
		cmocka_unit_test(a_sync_that_failed_is_not_forgotten),
		cmocka_unit_test(bitmaps_are_given_up_before_data_are_written),
		cmocka_unit_test(lists_without_memory_do_no_harm),
		cmocka_unit_test(what_was_flushed_survives_a_power_cut),
		cmocka_unit_test(a_disk_that_snapshots_share_survives_a_power_cut),
		cmocka_unit_test(a_refcount_table_that_grows_survives_a_power_cut),
		cmocka_unit_test(a_full_disk_survives_a_power_cut),
	};

	return cmocka_run_group_tests_name("block_crash", tests, disk_dir_make, remove_all);
}
