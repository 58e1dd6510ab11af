/* SPDX-License-Identifier: Apache-2.0 */
/* Disks whose images lie, and disks whose process is killed. */
#include "disk.h"

#include <signal.h>

#include "base/cleanup.h"
#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/block/qcow2_format.h"

enum { CLUSTER = 65536, DISK = 4 << 20 };

static const char *const image[] = { "image", NULL };

static void write_u64(const char *name, uint64_t offset, uint64_t value)
{
	cleanup_close int fd = open(name, O_WRONLY | O_CLOEXEC);

	value = htobe64(value);
	assert_int_equal(pwrite(fd, &value, sizeof(value), (off_t)offset), sizeof(value));
}

static void write_u32(const char *name, uint64_t offset, uint32_t value)
{
	cleanup_close int fd = open(name, O_WRONLY | O_CLOEXEC);

	value = htobe32(value);
	assert_int_equal(pwrite(fd, &value, sizeof(value), (off_t)offset), sizeof(value));
}

/* Header, refcount table, refcount block, L1, then (with data) an L2 table and the first two clusters. */
static void make_image(bool data)
{
	struct error err = ERROR_INIT;
	uint8_t bytes[512];
	struct disk disk;
	int fd;

	(void)unlink("image");
	fd = open("image", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(qcow2_create(fd, DISK, NULL, NULL, &err), 0);
	close(fd);
	if (!data)
		return;
	memset(bytes, 0x11, sizeof(bytes));
	disk_open(&disk, image, false);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, bytes, sizeof(bytes)), 0);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, CLUSTER, bytes, sizeof(bytes)), 0);
	disk_close(&disk);
}

static void refuse(const char *words)
{
	struct error err = ERROR_INIT;
	struct disk disk;

	assert_int_equal(disk_try_open(&disk, image, false, false, &err), -EINVAL);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

static void what_is_not_known_is_refused_in_words(void **state)
{
	static const struct {
		uint64_t offset, value;
		const char *words;
	} lies[] = {
		{ QCOW2_INCOMPATIBLE, QCOW2_EXTERNAL_DATA, "in another file" },
		{ QCOW2_INCOMPATIBLE, QCOW2_EXTENDED_L2, "extended L2" },
		{ QCOW2_INCOMPATIBLE, UINT64_C(1) << 40, "not known" },
		{ QCOW2_INCOMPATIBLE, QCOW2_DIRTY, "qemu-img check" },
		{ QCOW2_INCOMPATIBLE, QCOW2_CORRUPT, "damaged" },
		{ QCOW2_INCOMPATIBLE, QCOW2_COMPRESSION_TYPE, "compressed" },
		{ QCOW2_CRYPT_METHOD, (uint64_t)1 << 32 | 1, "encrypted" },
		{ QCOW2_SIZE, UINT64_MAX, "too large" },
		{ QCOW2_SIZE, UINT64_C(1) << 40, "L1" },
		{ QCOW2_L1_OFFSET, 0, "not in the file" },
		{ QCOW2_L1_OFFSET, 3 * CLUSTER + 8, "not in the file" },
		{ QCOW2_L1_OFFSET, UINT64_MAX - 65535, "not in the file" },
		{ QCOW2_L1_OFFSET, CLUSTER, "overlap" },
		{ QCOW2_REFCOUNT_TABLE_OFFSET, 0, "not in the file" },
		{ QCOW2_REFCOUNT_TABLE_OFFSET, UINT64_C(1) << 50, "not in the file" },
		{ QCOW2_BACKING_OFFSET, 200, "missing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		make_image(false);
		write_u64("image", lies[i].offset, lies[i].value);
		refuse(lies[i].words);
	}
}

static void headers_that_lie_are_refused(void **state)
{
	static const struct {
		uint64_t offset;
		uint32_t value;
		const char *words;
	} lies[] = {
		{ 0, 0x51464900, "not in the format" },
		{ QCOW2_VERSION, 4, "version" },
		{ QCOW2_CLUSTER_BITS, 8, "clusters" },
		{ QCOW2_CLUSTER_BITS, 22, "clusters" },
		{ QCOW2_CLUSTER_BITS, 0xffffffff, "clusters" },
		{ QCOW2_REFCOUNT_ORDER, 7, "refcounts" },
		{ QCOW2_HEADER_LENGTH, 96, "length" },
		{ QCOW2_HEADER_LENGTH, 0xfffffff8, "length" },
		{ QCOW2_L1_SIZE, 0xffffffff, "L1" },
		{ QCOW2_L1_SIZE, 0, "L1" },
		{ QCOW2_REFCOUNT_TABLE_CLUSTERS, 0, "refcount" },
		{ QCOW2_REFCOUNT_TABLE_CLUSTERS, 0xffffffff, "refcount" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		make_image(false);
		write_u32("image", lies[i].offset, lies[i].value);
		refuse(lies[i].words);
	}
}

/* Of what the image is after it was opened: the request fails, the header and the tables are what they were. */
static void entries_that_lie_are_errors_of_their_requests(void **state)
{
	static const uint64_t lies[] = {
		QCOW2_COPIED | CLUSTER,			      /* the refcount table */
		QCOW2_COPIED | (3 * CLUSTER),		      /* the L1 table */
		QCOW2_COPIED | 512,			      /* in the header */
		QCOW2_COPIED | (5 * CLUSTER + 512),	      /* between clusters */
		QCOW2_COPIED | UINT64_C(0x00ffffffffff0000),  /* far behind the end */
		UINT64_C(0x3f00000000000000) | (5 * CLUSTER), /* reserved bits */
	};
	uint8_t bytes[512] = { 0x22 }, before[4 * CLUSTER], after[4 * CLUSTER];

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(lies) / sizeof(*lies); i++) {
		bool of_l1 = i % 2;
		struct disk disk;
		int fd;

		make_image(true);
		write_u64("image", of_l1 ? 3 * CLUSTER : 4 * CLUSTER, lies[i / 2]);
		fd = open("image", O_RDONLY | O_CLOEXEC);
		assert_int_equal(pread(fd, before, sizeof(before), 0), sizeof(before));
		disk_open(&disk, image, false);
		assert_int_equal(disk_do(&disk, BLOCK_READ, 0, bytes, 512), -EIO);
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, bytes, 512), -EIO);
		assert_int_equal(disk_do(&disk, BLOCK_WRITE_ZEROES, 0, NULL, CLUSTER), -EIO);
		assert_int_equal(disk_do(&disk, BLOCK_DISCARD, 0, NULL, CLUSTER), -EIO);
		if (!of_l1) /* the next one is as good as ever */
			assert_int_equal(disk_do(&disk, BLOCK_READ, CLUSTER, bytes, 512), 0);
		disk_close(&disk);
		assert_int_equal(pread(fd, after, sizeof(after), 0), sizeof(after));
		assert_memory_equal(before, after, sizeof(before));
		close(fd);
	}
}

/* A refcount block on top of the header, and refcounts that call everything free. */
static void refcounts_that_lie_do_no_harm(void **state)
{
	uint8_t *bytes = calloc(1, 1 << 20), zeros[CLUSTER] = { 0 }, header[QCOW2_HEADER_OURS],
		after[QCOW2_HEADER_OURS];
	struct disk disk;
	int fd;

	(void)state;
	assert_non_null(bytes);
	make_image(true);
	fd = open("image", O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, zeros, CLUSTER, 2 * CLUSTER), CLUSTER);
	disk_open(&disk, image, false);
	memset(bytes, 0x33, 1 << 20);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 1 << 20, bytes, 1 << 20), 0);
	assert_int_equal(disk_do(&disk, BLOCK_DISCARD, 0, NULL, CLUSTER), 0);
	assert_int_equal(disk_do(&disk, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(disk_do(&disk, BLOCK_READ, CLUSTER, bytes, 512), 0);
	assert_int_equal(bytes[0], 0x11);
	disk_close(&disk);

	make_image(true);
	write_u64("image", CLUSTER, 0x10000 - 512);
	close(fd);
	fd = open("image", O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
	disk_open(&disk, image, false);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 1 << 20, bytes, 1 << 20), -EIO);
	assert_int_equal(disk_do(&disk, BLOCK_READ, CLUSTER, bytes, 512), 0);
	disk_close(&disk);
	assert_int_equal(pread(fd, after, sizeof(after), 0), sizeof(after));
	assert_memory_equal(header, after, sizeof(header));
	close(fd);
	free(bytes);
}

/* ---- kill -9 ---- */

enum { ROUNDS = 12, SLOTS = DISK / 4096 };

/* The first words of a slot's 4 KiB: its number and what it was last given. */
static void fill_slot(uint8_t bytes[static 4096], uint32_t slot, uint32_t value)
{
	for (uint32_t i = 0; i < 4096; i += 8) {
		memcpy(bytes + i, &slot, 4);
		memcpy(bytes + i + 4, &value, 4);
	}
}

/* Writes slots, flushes, and says each slot and value that is safe; until it is killed. */
static void write_until_killed(int say, uint32_t value)
{
	static uint8_t bytes[8][4096];
	const char *names[] = { "top", "raw:base", NULL };
	struct disk disk;

	disk_open(&disk, names, value % 2 == 1);
	for (;; value++) {
		uint32_t said[8][2];

		for (unsigned i = 0; i < 8; i++) {
			said[i][0] = (value * 8 + i) * 2654435761U % SLOTS;
			said[i][1] = value;
			fill_slot(bytes[i], said[i][0], value);
			if (disk_do(&disk, BLOCK_WRITE, (uint64_t)said[i][0] * 4096, bytes[i], 4096) < 0)
				_exit(1);
		}
		if (value % 3 == 0)
			(void)disk_do(&disk, BLOCK_DISCARD, DISK, NULL, CLUSTER * 4); /* behind the slots */
		if (value % 3 == 1)
			(void)disk_do(&disk, BLOCK_WRITE, DISK, bytes[0], 4096);
		if (disk_do(&disk, BLOCK_FLUSH, 0, NULL, 0) < 0 || write(say, said, sizeof(said)) != sizeof(said))
			_exit(1);
	}
}

/* Every slot has at least what was said last, and never half of anything. */
static void check_slots(const uint32_t safe[SLOTS])
{
	const char *names[] = { "top", "raw:base", NULL };
	static uint8_t bytes[4096], expected[4096];
	struct disk disk;

	disk_open(&disk, names, false);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		uint32_t value;

		assert_int_equal(disk_do(&disk, BLOCK_READ, (uint64_t)slot * 4096, bytes, 4096), 0);
		memcpy(&value, bytes + 4, 4);
		assert_true(value >= safe[slot]);
		fill_slot(expected, slot, value);
		assert_memory_equal(bytes, expected, 4096);
	}
	disk_close(&disk);
}

static void make_chain(void)
{
	static uint8_t bytes[4096];
	int fd = open("base", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		fill_slot(bytes, slot, 0);
		assert_int_equal(pwrite(fd, bytes, 4096, (off_t)slot * 4096), 4096);
	}
	close(fd);
	MUST_RUN("rm -f top; qemu-img create -f qcow2 -o cluster_size=16k -b base -F raw top 8M");
}

static void what_was_flushed_survives_kill_9(void **state)
{
	static uint32_t safe[SLOTS];
	uint32_t said[8][2], value = 1, heard = 0;

	(void)state;
	need_qemu_img();
	make_chain();
	for (unsigned round = 0; round < ROUNDS; round++) {
		int pipes[2], status;
		pid_t pid;

		assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			write_until_killed(pipes[1], value);
		close(pipes[1]);
		/* Killed at another place of its work each time, after some rounds of it. */
		for (unsigned i = 0; i < 5 + round; i++) {
			assert_int_equal(read(pipes[0], said, sizeof(said)), sizeof(said));
			usleep(round * 37 % 500);
			for (unsigned j = 0; j < 8; j++)
				safe[said[j][0]] = said[j][1];
			value = said[0][1] + 1;
			heard++;
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		while (read(pipes[0], said, sizeof(said)) == sizeof(said)) {
			for (unsigned j = 0; j < 8; j++)
				safe[said[j][0]] = said[j][1];
			value = said[0][1] + 1;
		}
		close(pipes[0]);
		/* 3: clusters are left over, and nothing else. */
		status = run("qemu-img check -f qcow2 top");
		if (status != 0 && status != 3)
			must_run_(status, "qemu-img check");
		value += 2; /* what was under way is no later than what comes */
		check_slots(safe);
	}
	assert_true(heard >= ROUNDS * 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_known_is_refused_in_words),
		cmocka_unit_test(headers_that_lie_are_refused),
		cmocka_unit_test(entries_that_lie_are_errors_of_their_requests),
		cmocka_unit_test(refcounts_that_lie_do_no_harm),
		cmocka_unit_test(what_was_flushed_survives_kill_9),
	};

	return cmocka_run_group_tests_name("block_faults", tests, disk_dir_make, disk_dir_remove);
}
