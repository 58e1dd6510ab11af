/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk under a driver of ours, on raw files and qcow2 images. */
#include "disk.h"

#include <linux/virtio_blk.h>

#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/virtio/blk.h"
#include "virtio_driver.h"

enum { SECTORS = 2048, DATA = 4096 };

#define FEATURE(name) (UINT64_C(1) << (name))

/* Of the C library's place: what was written may fail to reach the disk, and Linux tells of it once. */
static int sync_error;

int fdatasync(int fd)
{
	(void)fd;
	errno = __atomic_exchange_n(&sync_error, 0, __ATOMIC_SEQ_CST);
	return errno ? -1 : 0;
}

/* threads: what is begun does not end before the loop has its turn. */
static struct block *open_disk(struct loop *loop, bool qcow2, bool read_only, bool threads)
{
	int fd = open("disk", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct block_source source = { .fd = fd,
				       .format = qcow2 ? BLOCK_QCOW2 : BLOCK_RAW,
				       .read_only = read_only,
				       .threads = threads || kernel_is_veiled() };
	struct error err = ERROR_INIT;
	struct block *block;

	assert_true(fd >= 0);
	if (qcow2)
		assert_int_equal(qcow2_create(fd, SECTORS * 512, NULL, NULL, &err), 0);
	else
		assert_int_equal(ftruncate(fd, SECTORS * 512), 0);
	if (block_open(&source, loop, &block, &err) < 0)
		fail_msg("%s", err.text);
	return block;
}

static struct device *make(struct driver *driver, struct block *block, unsigned queues)
{
	struct error err = ERROR_INIT;
	struct device *device;

	if (virtio_blk_make(block, queues, "a-disk", &driver->memory, &driver->loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	return device;
}

static void start(struct driver *driver, bool qcow2, bool read_only, unsigned queues, uint64_t features)
{
	driver_open(driver);
	driver_start(driver, make(driver, open_disk(&driver->loop, qcow2, read_only, queues == 2), queues), features);
}

/* Header, data, status; puts it there. */
static uint64_t add(struct driver *driver, unsigned queue, uint32_t type, uint64_t sector, uint64_t data, uint32_t size,
		    bool writable)
{
	uint64_t header = driver_alloc(driver, 16), status = driver_alloc(driver, 1);
	struct driver_buffer buffers[3] = { { .address = header, .size = 16 } };
	struct virtio_blk_outhdr *at = driver_at(driver, header, 16);
	unsigned count = 1;

	*at = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	if (size > 0)
		buffers[count++] = (struct driver_buffer){ .address = data, .size = size, .writable = writable };
	buffers[count++] = (struct driver_buffer){ .address = status, .size = 1, .writable = true };
	*(uint8_t *)driver_at(driver, status, 1) = 0xaa;
	(void)driver_add(driver, queue, buffers, count);
	return status;
}

static uint8_t status_at(struct driver *driver, uint64_t status)
{
	return *(uint8_t *)driver_at(driver, status, 1);
}

/* And waits; its status. */
static int do_it(struct driver *driver, uint32_t type, uint64_t sector, uint64_t data, uint32_t size)
{
	uint64_t status = add(driver, 0, type, sector, data, size,
			      type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID);
	struct driver_used used;

	driver_kick(driver, 0);
	used = driver_wait(driver, 0);
	if (status_at(driver, status) == VIRTIO_BLK_S_OK && type == VIRTIO_BLK_T_IN)
		assert_int_equal(used.size, size + 1);
	return status_at(driver, status);
}

static void fill(struct driver *driver, uint64_t data, int value)
{
	memset(driver_at(driver, data, DATA), value, DATA);
}

static void sectors_are_written_and_read(void **state)
{
	(void)state;
	for (int qcow2 = 0; qcow2 < 2; qcow2++) {
		struct driver driver;
		uint64_t data;

		start(&driver, qcow2, false, 1, FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_RING_F_EVENT_IDX));
		data = driver_alloc(&driver, DATA);
		for (uint64_t i = 0; i < 8; i++) {
			fill(&driver, data, (int)i + 1);
			assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, i * 200, data, DATA), VIRTIO_BLK_S_OK);
		}
		assert_int_equal(do_it(&driver, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
		for (uint64_t i = 0; i < 8; i++) {
			const uint8_t *bytes = driver_at(&driver, data, DATA);

			fill(&driver, data, 0xee);
			assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, i * 200 + 1, data, DATA), VIRTIO_BLK_S_OK);
			assert_int_equal(bytes[0], i + 1);
			assert_int_equal(bytes[DATA - 513], i + 1);
			assert_int_equal(bytes[DATA - 512], 0);
		}
		driver_close(&driver);
	}
}

static void the_configuration_tells_of_the_disk(void **state)
{
	struct virtio_blk_config config;
	struct driver driver;
	uint64_t data;
	uint8_t byte = 0;

	(void)state;
	start(&driver, true, false, 4, FEATURE(VIRTIO_BLK_F_MQ) | FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
	driver_config(&driver, 0, &config.capacity, 8);
	assert_int_equal(config.capacity, SECTORS);
	driver_config(&driver, offsetof(struct virtio_blk_config, num_queues), &config.num_queues, 2);
	assert_int_equal(config.num_queues, 4);
	driver_config(&driver, offsetof(struct virtio_blk_config, wce), &byte, 1);
	assert_int_equal(byte, 1);
	byte = 0;
	driver_write(&driver, VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, wce), &byte, 1);
	byte = 9;
	driver_config(&driver, offsetof(struct virtio_blk_config, wce), &byte, 1);
	assert_int_equal(byte, 0);
	data = driver_alloc(&driver, VIRTIO_BLK_ID_BYTES);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_GET_ID, 0, data, VIRTIO_BLK_ID_BYTES), VIRTIO_BLK_S_OK);
	assert_string_equal(driver_at(&driver, data, VIRTIO_BLK_ID_BYTES), "a-disk");
	driver_close(&driver);
}

static int unmap(struct driver *driver, uint32_t type, uint64_t sector, uint32_t count, uint32_t flags)
{
	uint64_t at = driver_alloc(driver, sizeof(struct virtio_blk_discard_write_zeroes));
	struct virtio_blk_discard_write_zeroes *range = driver_at(driver, at, sizeof(*range));

	*range = (struct virtio_blk_discard_write_zeroes){ .sector = sector, .num_sectors = count, .flags = flags };
	return do_it(driver, type, 0, at, sizeof(*range));
}

static void zeros_are_written_and_discards_taken(void **state)
{
	(void)state;
	for (int qcow2 = 0; qcow2 < 2; qcow2++) {
		struct driver driver;
		uint64_t data;

		start(&driver, qcow2, false, 1, FEATURE(VIRTIO_BLK_F_DISCARD) | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES));
		data = driver_alloc(&driver, DATA);
		fill(&driver, data, 7);
		assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, 0, data, DATA), VIRTIO_BLK_S_OK);
		for (uint32_t flags = 0; flags < 2; flags++)
			assert_int_equal(unmap(&driver, VIRTIO_BLK_T_WRITE_ZEROES, 1 + flags, 1, flags),
					 VIRTIO_BLK_S_OK);
		assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, 0, data, DATA), VIRTIO_BLK_S_OK);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(((uint8_t *)driver_at(&driver, data, DATA))[i * 512],
					 i == 1 || i == 2 ? 0 : 7);
		assert_int_equal(unmap(&driver, VIRTIO_BLK_T_DISCARD, 0, SECTORS, 0), VIRTIO_BLK_S_OK);
		assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, 0, data, DATA), VIRTIO_BLK_S_OK);
		assert_int_equal(*(uint8_t *)driver_at(&driver, data, 1), 0);
		assert_int_equal(unmap(&driver, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
		assert_int_equal(unmap(&driver, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
		assert_int_equal(unmap(&driver, VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(unmap(&driver, VIRTIO_BLK_T_DISCARD, UINT64_MAX, 1, 0), VIRTIO_BLK_S_IOERR);
		driver_close(&driver);
	}
}

static void what_is_not_in_the_disk_is_an_error(void **state)
{
	struct driver driver;
	uint64_t data;

	(void)state;
	start(&driver, false, false, 1, 0);
	data = driver_alloc(&driver, DATA);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, SECTORS, data, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, SECTORS - 1, data, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, UINT64_MAX / 512, data, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, 0, data, 100), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, 0, data, 511), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, 77, 0, data, 512), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_DISCARD, 0, data, 32), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, SECTORS - 1, data, 512), VIRTIO_BLK_S_OK);
	assert_false(driver_needs_reset(&driver));
	driver_close(&driver);
}

static void a_disk_that_is_only_read_stays_as_it_is(void **state)
{
	struct driver driver;
	uint64_t data;

	(void)state;
	start(&driver, true, true, 1, FEATURE(VIRTIO_BLK_F_RO));
	assert_true(driver_features(&driver) & FEATURE(VIRTIO_BLK_F_RO));
	assert_false(driver_features(&driver) & FEATURE(VIRTIO_BLK_F_DISCARD));
	data = driver_alloc(&driver, DATA);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(unmap(&driver, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	driver_close(&driver);
}

/* A request without a place for its status, or without a header. */
static void requests_without_form_stop_the_device(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct driver driver;
		struct driver_buffer buffer;

		start(&driver, false, false, 1, 0);
		buffer = (struct driver_buffer){ .address = driver_alloc(&driver, 64), .size = 64, .writable = i == 1 };
		if (i == 2)
			buffer.size = 8;
		(void)driver_add(&driver, 0, &buffer, 1);
		driver_kick(&driver, 0);
		driver_run(&driver);
		assert_true(driver_needs_reset(&driver));
		driver_close(&driver);
	}
}

/* One kick, one interrupt: nobody is told of each by itself. */
static void many_requests_need_one_interrupt(void **state)
{
	enum { MANY = 5 };
	struct driver driver;
	uint64_t status[MANY], data;

	(void)state;
	start(&driver, false, false, 1, FEATURE(VIRTIO_BLK_F_FLUSH));
	data = driver_alloc(&driver, DATA);
	for (unsigned i = 0; i < MANY; i++)
		status[i] = add(&driver, 0, VIRTIO_BLK_T_GET_ID, 0, data + 64 * i, 20, true);
	(void)driver_interrupts(&driver);
	driver_kick(&driver, 0);
	for (unsigned i = 0; i < MANY; i++)
		(void)driver_wait(&driver, 0);
	assert_int_equal(driver_interrupts(&driver), 1);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(status_at(&driver, status[i]), VIRTIO_BLK_S_OK);
	driver_close(&driver);
}

/* After the reset nothing of what was under way reaches the guest's memory. */
static void a_reset_ends_what_is_under_way(void **state)
{
	struct driver driver;
	uint64_t data;

	(void)state;
	start(&driver, false, false, 2, FEATURE(VIRTIO_BLK_F_MQ) | FEATURE(VIRTIO_BLK_F_FLUSH));
	data = driver_alloc(&driver, 4 * DATA);
	for (unsigned i = 0; i < 4; i++)
		(void)add(&driver, 1, VIRTIO_BLK_T_IN, (uint64_t)i * 300, data + i * DATA, DATA, true);
	driver_kick(&driver, 1);
	assert_int_equal(loop_wait(&driver.loop, 0, NULL), 0);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(driver_used_index(&driver, 1), 0);
	for (unsigned i = 0; i < 4; i++)
		fill(&driver, data + i * DATA, 0x55);
	driver_run(&driver);
	for (unsigned i = 0; i < 4 * DATA; i++)
		assert_int_equal(((uint8_t *)driver_at(&driver, data, 4 * DATA))[i], 0x55);
	assert_int_equal(driver_used_index(&driver, 1), 0);
	driver_start(&driver, driver.device, FEATURE(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, 0, data, DATA), VIRTIO_BLK_S_OK);
	driver_close(&driver);
}

/* What was not flushed is in the files when a snapshot has been taken. */
static void a_snapshot_holds_what_was_written(void **state)
{
	struct driver driver;
	struct error err = ERROR_INIT;
	struct block_source source = { .format = BLOCK_QCOW2, .threads = kernel_is_veiled() };
	struct block *again;
	uint64_t data;

	(void)state;
	start(&driver, true, false, 1, FEATURE(VIRTIO_BLK_F_FLUSH));
	data = driver_alloc(&driver, DATA);
	fill(&driver, data, 0x77);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, 8, data, DATA), VIRTIO_BLK_S_OK);
	driver.device->ops->quiesce(driver.device);
	source.fd = open("disk", O_RDWR | O_CLOEXEC);
	assert_int_equal(block_open(&source, &driver.loop, &again, &err), 0);
	driver_migrate(&driver, make(&driver, again, 1));
	fill(&driver, data, 0);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, 8, data, DATA), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)driver_at(&driver, data, 1), 0x77);
	driver_close(&driver);
}

/* A disk that could not be written while the machine stopped: no snapshot is made, and the guest's flushes fail. */
static void a_drain_that_failed_is_told(void **state)
{
	struct state_writer writer = { .section = 0 };
	struct driver driver;
	uint64_t data;

	(void)state;
	start(&driver, false, false, 2, FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_BLK_F_MQ));
	data = driver_alloc(&driver, DATA);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, 8, data, DATA), VIRTIO_BLK_S_OK);
	__atomic_store_n(&sync_error, EIO, __ATOMIC_SEQ_CST);
	driver.device->ops->quiesce(driver.device);
	driver.device->ops->save(driver.device, &writer);
	assert_int_equal(writer.disk_error, -EIO);
	driver.device->ops->resume(driver.device);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_IN, 8, data, DATA), VIRTIO_BLK_S_OK);
	str_free(&writer.out);
	driver_close(&driver);
}

/* A driver that cannot flush: each write is safe when it is answered, here visible to another who opens the image. */
static void without_flushes_writes_are_safe_at_once(void **state)
{
	const char *names[] = { "disk", NULL };
	struct driver driver;
	struct disk disk;
	uint64_t data;
	uint8_t bytes[512];

	(void)state;
	start(&driver, true, false, 1, 0);
	data = driver_alloc(&driver, DATA);
	fill(&driver, data, 0x66);
	assert_int_equal(do_it(&driver, VIRTIO_BLK_T_OUT, 8, data, DATA), VIRTIO_BLK_S_OK);
	disk_open(&disk, names, false);
	assert_int_equal(disk_do(&disk, BLOCK_READ, 8 * 512, bytes, sizeof(bytes)), 0);
	assert_int_equal(bytes[0], 0x66);
	disk_close(&disk);
	driver_close(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sectors_are_written_and_read),
		cmocka_unit_test(the_configuration_tells_of_the_disk),
		cmocka_unit_test(zeros_are_written_and_discards_taken),
		cmocka_unit_test(what_is_not_in_the_disk_is_an_error),
		cmocka_unit_test(a_disk_that_is_only_read_stays_as_it_is),
		cmocka_unit_test(requests_without_form_stop_the_device),
		cmocka_unit_test(many_requests_need_one_interrupt),
		cmocka_unit_test(a_reset_ends_what_is_under_way),
		cmocka_unit_test(a_snapshot_holds_what_was_written),
		cmocka_unit_test(a_drain_that_failed_is_told),
		cmocka_unit_test(without_flushes_writes_are_safe_at_once),
	};

	return cmocka_run_group_tests_name("virtio_blk", tests, disk_dir_make, disk_dir_remove);
}
