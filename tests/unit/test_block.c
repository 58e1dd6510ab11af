/* SPDX-License-Identifier: Apache-2.0 */
/* Disks against what qemu-img makes, and what it says of ours. */
#include "disk.h"
#include "unseen.h"

#ifdef THREADS_ARE_WATCHED
enum { BATCHES = 3 }; /* what threads do to one another they do in the first ones, too */
#else
enum { BATCHES = 40 };
#endif
enum { BATCH = 16, SIZE = 6 << 20 };

/* What the disk should hold. */
static uint8_t shadow[SIZE];
static uint32_t seed = 1;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(seed >> 8) * sides) >> 24);
}

struct
try {
	struct block_request request;
	struct iovec iov[3];
	uint8_t *bytes;
	int result;
};

static bool meets_another(const struct try *tries, size_t count, uint64_t offset, uint64_t size)
{
	for (size_t i = 0; i < count; i++)
		if (offset < tries[i].request.offset + tries[i].request.size && tries[i].request.offset < offset + size)
			return true;
	return false;
}

/* A request of random kind, place and pieces, that meets no other of its batch. */
static bool roll(struct try *tries, size_t count)
{
	static const enum block_operation operations[] = {
		BLOCK_READ,  BLOCK_READ,    BLOCK_WRITE,	BLOCK_WRITE,
		BLOCK_WRITE, BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_FLUSH
	};
	struct try *try = &tries[count];
	uint64_t most = dice(4) == 0 ? 600 : 20, size = (1 + dice((uint32_t)most)) * 512;
	uint64_t offset = dice((SIZE - (uint32_t)size) / 512 + 1) * (uint64_t)512, cut = 1 + dice((uint32_t)size - 1);

	if (meets_another(tries, count, offset, size))
		return false;
	memset(try, 0, sizeof(*try));
	try->bytes = malloc(size);
	assert_non_null(try->bytes);
	for (uint64_t i = 0; i < size; i++)
		try->bytes[i] = (uint8_t)(seed + i * 7 + (i >> 9));
	try->iov[0] = (struct iovec){ .iov_base = try->bytes, .iov_len = cut };
	try->iov[1] = (struct iovec){ .iov_base = try->bytes + cut, .iov_len = size - cut };
	try->result = 1;
	try->request = (struct block_request){ .operation = operations[dice(8)],
					       .offset = offset,
					       .size = size,
					       .iov = try->iov,
					       .iov_count = 2,
					       .unmap = dice(2),
					       .done = disk_done,
					       .context = &try->result };
	if (try->request.operation == BLOCK_FLUSH)
		try->request.offset = try->request.size = 0;
	return true;
}

static void judge(struct disk *disk, struct try *try)
{
	uint64_t offset = try->request.offset, size = try->request.size;

	assert_int_equal(try->result, 0);
	if (try->request.operation == BLOCK_READ)
		assert_memory_equal(try->bytes, shadow + offset, size);
	else if (try->request.operation == BLOCK_WRITE)
		memcpy(shadow + offset, try->bytes, size);
	else if (try->request.operation == BLOCK_WRITE_ZEROES)
		memset(shadow + offset, 0, size);
	else if (try->request.operation == BLOCK_DISCARD) /* whatever is there now stays */
		assert_int_equal(disk_do(disk, BLOCK_READ, offset, shadow + offset, size), 0);
	free(try->bytes);
}

static void play(struct disk *disk, unsigned batches)
{
	struct try tries[BATCH];

	for (unsigned batch = 0; batch < batches; batch++) {
		size_t count = 0;

		for (unsigned i = 0; i < BATCH; i++)
			count += roll(tries, count) ? 1 : 0;
		for (size_t i = 0; i < count; i++)
			block_submit(disk->block, &tries[i].request);
		for (size_t i = 0; i < count; i++)
			disk_wait(disk, &tries[i].result);
		for (size_t i = 0; i < count; i++)
			judge(disk, &tries[i]);
	}
}

/* qemu-img reads the same from the image as should be in it. */
static void compare(const char *name, const char *format)
{
	FILE *file = fopen("shadow", "we");

	assert_non_null(file);
	assert_int_equal(fwrite(shadow, 1, SIZE, file), SIZE);
	assert_int_equal(fclose(file), 0);
	MUST_RUN("qemu-img compare -f %s -F raw %s shadow", format, name);
}

static void read_all(struct disk *disk)
{
	assert_int_equal(disk_do(disk, BLOCK_READ, 0, shadow, SIZE), 0);
}

/* Plays with an image, opens it anew now and then, and lets qemu-img judge. */
static void play_with(const char *const *names, bool qcow2)
{
	for (int round = 0; round < 4; round++) {
		struct disk disk;

		disk_open(&disk, names, round % 2 == 1);
		assert_true(block_size(disk.block) == SIZE);
		if (round == 0)
			read_all(&disk);
		play(&disk, BATCHES);
		disk_close(&disk);
		if (qcow2)
			MUST_RUN("qemu-img check -f qcow2 %s", names[0]);
	}
	compare(qcow2 ? names[0] : names[0] + 4, qcow2 ? "qcow2" : "raw");
}

static void make_base(void)
{
	MUST_RUN("head -c %d /dev/urandom >base && truncate -s %d base", SIZE / 2, SIZE);
}

static void raw_files_hold_what_is_written(void **state)
{
	const char *names[] = { "raw:base", NULL };

	(void)state;
	need_qemu_img();
	make_base();
	play_with(names, false);
}

static void new_images_hold_what_is_written(void **state)
{
	static const char *const options[] = {
		"cluster_size=64k",
		"cluster_size=512",
		"cluster_size=1k,refcount_bits=1",
		"cluster_size=4k,refcount_bits=64",
		"cluster_size=2M,lazy_refcounts=on",
		"cluster_size=512,refcount_bits=64",
		"cluster_size=8k,refcount_bits=2",
		"compat=0.10",
		"cluster_size=4k,preallocation=metadata",
		"cluster_size=32k,preallocation=falloc",
	};
	const char *names[] = { "top", NULL };

	(void)state;
	need_qemu_img();
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		MUST_RUN("rm -f top; qemu-img create -f qcow2 -o %s top %d", options[i], SIZE);
		play_with(names, true);
	}
}

static void chains_show_what_is_below(void **state)
{
	const char *names[] = { "top", "middle", "raw:base", NULL };

	(void)state;
	need_qemu_img();
	for (int i = 0; i < 3; i++) {
		make_base();
		/* What is below may be smaller. */
		MUST_RUN("truncate -s %d base", i == 1 ? SIZE / 2 - 512 * 3 : SIZE);
		MUST_RUN("qemu-img create -f qcow2 -o cluster_size=4k -b base -F raw middle %d", SIZE);
		MUST_RUN("qemu-io -f qcow2 -c 'write -P 7 100k 200k' -c 'write -z 400k 64k' middle");
		MUST_RUN("qemu-img create -f qcow2 -o compat=%s -b middle -F qcow2 top %d", i == 2 ? "0.10" : "1.1",
			 SIZE);
		play_with(names, true);
	}
}

static void compressed_images_can_be_read_and_written(void **state)
{
	static const char *const options[] = { "compression_type=zlib", "compression_type=zstd",
					       "compression_type=zlib,cluster_size=4k", "compat=0.10" };
	const char *names[] = { "top", NULL };

	(void)state;
	need_qemu_img();
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		MUST_RUN("yes caisson | head -c %d >text; head -c 100000 /dev/urandom >>text; truncate -s %d text",
			 SIZE / 2, SIZE);
		MUST_RUN("qemu-img convert -c -f raw -O qcow2 -o %s text top", options[i]);
		play_with(names, true);
	}
}

static void snapshots_stay_as_they_were(void **state)
{
	const char *names[] = { "top", NULL };

	(void)state;
	need_qemu_img();
	make_base();
	for (int i = 0; i < 2; i++) {
		MUST_RUN("qemu-img convert -f raw -O qcow2 -o cluster_size=%s base top", i ? "512" : "64k");
		MUST_RUN("qemu-img snapshot -c before top");
		play_with(names, true);
		MUST_RUN("qemu-img convert -l snapshot.name=before -f qcow2 -O raw top before && cmp before base");
		MUST_RUN("qemu-img snapshot -d before top && qemu-img check top");
	}
}

/* Tables of refcounts that are too small for what is to come. */
static void refcount_tables_grow(void **state)
{
	const char *names[] = { "top", NULL };
	uint8_t *bytes = malloc(1 << 20);
	struct disk disk;

	(void)state;
	need_qemu_img();
	assert_non_null(bytes);
	MUST_RUN("qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 top 64M");
	disk_open(&disk, names, false);
	for (uint64_t i = 0; i < 64; i++) {
		memset(bytes, (int)i + 1, 1 << 20);
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, i << 20, bytes, 1 << 20), 0);
		if (i % 16 == 0)
			assert_int_equal(disk_do(&disk, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
	disk_close(&disk);
	MUST_RUN("qemu-img check top");
	for (int i = 0; i < 64; i++)
		MUST_RUN("qemu-io -f qcow2 -r -c 'read -P %d %dM 1M' top >out && ! grep failed out", i + 1, i);
	free(bytes);
}

/* What was freed is used again: the file does not grow with every round. */
static void freed_clusters_are_used_again(void **state)
{
	const char *names[] = { "top", NULL };
	uint8_t *bytes = calloc(1, 1 << 20);
	struct disk disk;
	struct stat status;

	(void)state;
	need_qemu_img();
	assert_non_null(bytes);
	MUST_RUN("rm -f top; qemu-img create -f qcow2 top 64M");
	disk_open(&disk, names, false);
	for (uint64_t i = 0; i < 32; i++) {
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, (i % 7) << 20, bytes, 1 << 20), 0);
		assert_int_equal(disk_do(&disk, BLOCK_DISCARD, (i % 7) << 20, NULL, 1 << 20), 0);
		assert_int_equal(block_drain(disk.block), 0);
	}
	disk_close(&disk);
	assert_int_equal(stat("top", &status), 0);
	assert_true(status.st_size < 4 << 20);
	MUST_RUN("qemu-img check top");
	free(bytes);
}

static void requests_outside_are_refused(void **state)
{
	const char *names[] = { "raw:base", NULL };
	uint8_t bytes[1024];
	struct disk disk;
	struct error err = ERROR_INIT;

	(void)state;
	MUST_RUN("truncate -s 4096 base");
	disk_open(&disk, names, false);
	assert_int_equal(disk_do(&disk, BLOCK_READ, 4096, bytes, 512), -EINVAL);
	assert_int_equal(disk_do(&disk, BLOCK_READ, 3584, bytes, 1024), -EINVAL);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 100, bytes, 512), -EINVAL);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, bytes, 100), -EINVAL);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, UINT64_MAX - 511, bytes, 512), -EINVAL);
	assert_int_equal(disk_do(&disk, BLOCK_READ, 3584, bytes, 512), 0);
	disk_close(&disk);
	assert_int_equal(disk_try_open(&disk, names, true, false, &err), 0);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, bytes, 512), -EROFS);
	assert_int_equal(disk_do(&disk, BLOCK_DISCARD, 0, NULL, 512), -EROFS);
	disk_close(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_files_hold_what_is_written),
		cmocka_unit_test(requests_outside_are_refused),
		cmocka_unit_test(new_images_hold_what_is_written),
		cmocka_unit_test(chains_show_what_is_below),
		cmocka_unit_test(compressed_images_can_be_read_and_written),
		cmocka_unit_test(snapshots_stay_as_they_were),
		cmocka_unit_test(refcount_tables_grow),
		cmocka_unit_test(freed_clusters_are_used_again),
	};

	return cmocka_run_group_tests_name("block", tests, disk_dir_make, disk_dir_remove);
}
