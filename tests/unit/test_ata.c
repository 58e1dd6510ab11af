/* SPDX-License-Identifier: Apache-2.0 */
/* ATA disks under a driver of ours that polls as the old ones did. */
#include "disk.h"

#include <sys/eventfd.h>

#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/device/ata.h"
#include "paradigm/vm/device/pci.h"
#include "paradigm/vm/machine/state.h"

enum { SECTORS = 4096, SECTOR = 512, MOST = 600 };
enum { FEATURES = 1, COUNT, LOW, MID, HIGH, DEVICE, COMMAND };
enum { BUSY = 0x80, READY = 0x40, REQUEST = 0x08, ERROR = 0x01, LBA = 0x40, DRIVE1 = 0x10 };

struct pc {
	struct loop loop;
	struct device *device;
	int lines[2];
	unsigned range; /* of the channel's registers */
};

static struct block *open_disk(struct loop *loop, const char *name, bool qcow2)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct block_source source = { .fd = fd,
				       .format = qcow2 ? BLOCK_QCOW2 : BLOCK_RAW,
				       .threads = kernel_is_veiled() };
	struct error err = ERROR_INIT;
	struct block *block;
	struct stat status;

	assert_true(fd >= 0 && fstat(fd, &status) == 0);
	if (status.st_size == 0 && qcow2)
		assert_int_equal(qcow2_create(fd, SECTORS * SECTOR, NULL, NULL, &err), 0);
	else if (status.st_size == 0)
		assert_int_equal(ftruncate(fd, SECTORS * SECTOR), 0);
	if (block_open(&source, loop, &block, &err) < 0)
		fail_msg("%s", err.text);
	return block;
}

/* A qcow2 image as the first drive, a raw one as the fourth. */
static struct device *make(struct pc *pc)
{
	struct block *const drives[4] = { open_disk(&pc->loop, "first", true), NULL, NULL,
					  open_disk(&pc->loop, "fourth", false) };
	const char *const serials[4] = { "first-disk" };
	struct interrupt interrupts[2] = { { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) },
					   { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) } };
	struct error err = ERROR_INIT;
	struct device *device;

	pc->lines[0] = interrupts[0].fd;
	pc->lines[1] = interrupts[1].fd;
	if (ata_make(drives, serials, interrupts, &pc->loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	return device;
}

static void switch_on(struct pc *pc)
{
	struct error err = ERROR_INIT;

	(void)unlink("first");
	(void)unlink("fourth");
	*pc = (struct pc){ .device = NULL };
	assert_int_equal(loop_open(&pc->loop, &err), 0);
	pc->device = make(pc);
}

static void switch_off(struct pc *pc)
{
	pc->device->ops->free(pc->device);
	loop_close(&pc->loop);
}

static void in_from(struct pc *pc, unsigned range, uint64_t offset, void *data, unsigned size)
{
	pthread_mutex_lock(&pc->device->lock);
	pc->device->ops->read(pc->device, range, offset, data, size);
	pthread_mutex_unlock(&pc->device->lock);
}

static void out_to(struct pc *pc, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	pthread_mutex_lock(&pc->device->lock);
	pc->device->ops->write(pc->device, range, offset, data, size);
	pthread_mutex_unlock(&pc->device->lock);
}

static uint8_t in(struct pc *pc, uint64_t offset)
{
	uint8_t value;

	in_from(pc, pc->range, offset, &value, 1);
	return value;
}

static void out(struct pc *pc, uint64_t offset, uint8_t value)
{
	out_to(pc, pc->range, offset, &value, 1);
}

static void control(struct pc *pc, uint8_t value)
{
	out_to(pc, pc->range + 1, 0, &value, 1);
}

/* Until it is not busy: its status. */
static uint8_t settle(struct pc *pc)
{
	for (int i = 0; i < 2000 && in(pc, COMMAND) & BUSY; i++)
		assert_int_equal(loop_wait(&pc->loop, 10, NULL), 0);
	assert_false(in(pc, COMMAND) & BUSY);
	return in(pc, COMMAND);
}

static unsigned interrupts(struct pc *pc)
{
	eventfd_t count = 0;

	return eventfd_read(pc->lines[pc->range / 2], &count) == 0 ? (unsigned)count : 0;
}

static void command(struct pc *pc, uint8_t code, uint64_t sector, uint32_t count, uint8_t drive)
{
	bool wide = code == 0x24 || code == 0x34 || code == 0x29 || code == 0x39 || code == 0x42;

	out(pc, DEVICE, (uint8_t)(LBA | drive | (wide ? 0 : sector >> 24 & 15)));
	if (wide) {
		out(pc, COUNT, (uint8_t)(count >> 8));
		for (unsigned i = 0; i < 3; i++)
			out(pc, LOW + i, (uint8_t)(sector >> (24 + 8 * i)));
	}
	out(pc, COUNT, (uint8_t)count);
	for (unsigned i = 0; i < 3; i++)
		out(pc, LOW + i, (uint8_t)(sector >> (8 * i)));
	out(pc, COMMAND, code);
}

/* Moves count sectors, word by word (2 or 4 bytes), in blocks of per sectors; interrupts that came. */
static unsigned transfer(struct pc *pc, bool write, uint8_t *bytes, uint32_t count, uint32_t per, unsigned word)
{
	unsigned came = 0;

	for (uint32_t done = 0; done < count;) {
		uint32_t now = count - done < per ? count - done : per;

		assert_int_equal(settle(pc) & (REQUEST | ERROR), REQUEST);
		came += interrupts(pc);
		for (uint32_t i = 0; i < now * SECTOR; i += word, bytes += word)
			if (write)
				out_to(pc, pc->range, 0, bytes, word);
			else
				in_from(pc, pc->range, 0, bytes, word);
		done += now;
	}
	assert_int_equal(settle(pc) & (REQUEST | ERROR), 0);
	return came + interrupts(pc);
}

static void fill(uint8_t *bytes, uint32_t count, unsigned seed)
{
	for (uint32_t i = 0; i < count * SECTOR; i++)
		bytes[i] = (uint8_t)(i * 13 + (i >> 9) + seed);
}

static void sectors_are_written_and_read(void **state)
{
	static const struct {
		uint8_t write, read;
		uint32_t count, per;
		unsigned word;
	} ways[] = {
		{ 0x30, 0x20, 3, 1, 2 },    { 0x30, 0x20, 256, 1, 4 }, { 0x34, 0x24, 1, 1, 2 },
		{ 0x34, 0x24, 600, 1, 4 },  { 0xc5, 0xc4, 40, 16, 2 }, { 0x39, 0x29, 600, 16, 4 },
		{ 0x39, 0x29, 257, 16, 2 },
	};
	uint8_t *written = malloc(MOST * SECTOR), *read = malloc(MOST * SECTOR);
	struct pc pc;

	(void)state;
	assert_true(written && read);
	switch_on(&pc);
	for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		for (unsigned channel = 0; channel < 2; channel++) {
			uint32_t count = ways[i].count, blocks = (count + ways[i].per - 1) / ways[i].per;
			uint8_t drive = channel ? DRIVE1 : 0;

			pc.range = channel * 2;
			fill(written, count, i * 2 + channel);
			(void)interrupts(&pc);
			command(&pc, ways[i].write, 100 + i, count, drive);
			assert_int_equal(interrupts(&pc), 0); /* the first block of a write has none */
			assert_int_equal(transfer(&pc, true, written, count, ways[i].per, ways[i].word), blocks);
			memset(read, 0, count * SECTOR);
			command(&pc, ways[i].read, 100 + i, count, drive);
			assert_int_equal(transfer(&pc, false, read, count, ways[i].per, ways[i].word), blocks);
			assert_memory_equal(written, read, count * SECTOR);
		}
	switch_off(&pc);
	free(written);
	free(read);
}

static void what_was_flushed_is_in_the_image(void **state)
{
	const char *names[] = { "first", NULL };
	uint8_t bytes[SECTOR];
	struct disk disk;
	struct pc pc;

	(void)state;
	switch_on(&pc);
	for (unsigned i = 0; i < 3; i++) {
		fill(bytes, 1, 40 + i);
		if (i == 2) { /* without a cache nothing needs to be flushed */
			out(&pc, FEATURES, 0x82);
			command(&pc, 0xef, 0, 0, 0);
			assert_int_equal(settle(&pc) & ERROR, 0);
		}
		command(&pc, 0x30, i * 300, 1, 0);
		(void)transfer(&pc, true, bytes, 1, 1, 2);
		if (i < 2) {
			command(&pc, i ? 0xea : 0xe7, 0, 0, 0);
			assert_int_equal(settle(&pc) & ERROR, 0);
		}
		disk_open(&disk, names, false);
		memset(bytes, 0, sizeof(bytes));
		assert_int_equal(disk_do(&disk, BLOCK_READ, (uint64_t)i * 300 * SECTOR, bytes, SECTOR), 0);
		assert_int_equal(bytes[0], 40 + i);
		disk_close(&disk);
	}
	switch_off(&pc);
}

static void identify_tells_of_the_disk(void **state)
{
	uint8_t bytes[SECTOR];
	uint16_t words[SECTOR / 2];
	struct pc pc;

	(void)state;
	switch_on(&pc);
	command(&pc, 0xec, 0, 0, 0);
	assert_int_equal(transfer(&pc, false, bytes, 1, 1, 2), 1);
	memcpy(words, bytes, sizeof(words));
	assert_int_equal(words[60] | words[61] << 16, SECTORS);
	assert_int_equal(words[100], SECTORS);
	assert_int_equal(words[10], 'f' << 8 | 'i');
	assert_int_equal(words[49] & 0x100, 0); /* no DMA */
	assert_true(words[49] & 0x200 && words[83] & 0x400);
	/* A packet device is not here. */
	command(&pc, 0xa1, 0, 0, 0);
	assert_int_equal(settle(&pc) & ERROR, ERROR);
	switch_off(&pc);
}

/* As libata's ata_devchk() and the signature after a reset. */
static void drives_that_are_not_there_are_not_found(void **state)
{
	struct pc pc;
	uint8_t value;

	(void)state;
	switch_on(&pc);
	for (unsigned i = 0; i < 4; i++) {
		bool there = i == 0 || i == 3;

		pc.range = i / 2 * 2;
		control(&pc, 0x04);
		control(&pc, 0x00);
		out(&pc, DEVICE, i % 2 ? DRIVE1 : 0);
		assert_int_equal(in(&pc, COMMAND), there ? READY | 0x10 : 0);
		if (there) {
			assert_int_equal(in(&pc, COUNT), 1);
			assert_int_equal(in(&pc, LOW), 1);
			assert_int_equal(in(&pc, MID) | in(&pc, HIGH), 0);
		}
		out(&pc, COUNT, 0x55);
		out(&pc, LOW, 0xaa);
		assert_int_equal(in(&pc, COUNT) == 0x55 && in(&pc, LOW) == 0xaa, there);
		in_from(&pc, pc.range + 1, 0, &value, 1);
		assert_int_equal(value, there ? READY | 0x10 : 0);
	}
	switch_off(&pc);
}

static void what_is_not_on_the_disk_is_an_error(void **state)
{
	struct pc pc;

	(void)state;
	switch_on(&pc);
	for (unsigned i = 0; i < 6; i++) {
		static const uint8_t codes[] = { 0x20, 0x24, 0x30, 0x34, 0x40, 0x42 };

		(void)interrupts(&pc);
		command(&pc, codes[i], SECTORS - 1, 2, 0);
		assert_int_equal(settle(&pc) & (ERROR | REQUEST), ERROR);
		assert_int_equal(in(&pc, FEATURES), 0x10);
		assert_int_equal(interrupts(&pc), 1);
		command(&pc, codes[i], UINT64_C(0xffffffffffff), 0, 0);
		assert_int_equal(settle(&pc) & (ERROR | REQUEST), ERROR);
	}
	out(&pc, COMMAND, 0x3f); /* no such command */
	assert_int_equal(settle(&pc) & ERROR, ERROR);
	assert_int_equal(in(&pc, FEATURES), 0x04);
	(void)interrupts(&pc);
	control(&pc, 0x02); /* no interrupts */
	out(&pc, COMMAND, 0x3f);
	assert_int_equal(interrupts(&pc), 0);
	switch_off(&pc);
}

/* By cylinder, head and sector, in the guest's own geometry. */
static void sectors_have_cylinders_and_heads_too(void **state)
{
	uint8_t bytes[SECTOR], again[SECTOR];
	struct pc pc;

	(void)state;
	switch_on(&pc);
	out(&pc, DEVICE, 3); /* 4 heads */
	out(&pc, COUNT, 32);
	out(&pc, COMMAND, 0x91);
	assert_int_equal(settle(&pc) & ERROR, 0);
	fill(bytes, 1, 9);
	command(&pc, 0x30, (2 * 4 + 1) * 32 + 5 - 1, 1, 0);
	(void)transfer(&pc, true, bytes, 1, 1, 2);
	out(&pc, DEVICE, 1);
	out(&pc, COUNT, 1);
	out(&pc, LOW, 5);
	out(&pc, MID, 2);
	out(&pc, HIGH, 0);
	out(&pc, COMMAND, 0x20);
	(void)transfer(&pc, false, again, 1, 1, 2);
	assert_memory_equal(bytes, again, SECTOR);
	out(&pc, LOW, 0);
	out(&pc, COMMAND, 0x20);
	assert_int_equal(settle(&pc) & ERROR, ERROR);
	switch_off(&pc);
}

/* In the midst of a command, whatever it is doing. */
static void a_reset_ends_what_is_under_way(void **state)
{
	static const uint8_t codes[] = { 0x20, 0x30, 0xe7, 0xec };
	uint8_t bytes[SECTOR];
	struct pc pc;

	(void)state;
	switch_on(&pc);
	for (unsigned i = 0; i < 8; i++) {
		command(&pc, codes[i % 4], 0, 4, 0);
		if (i >= 4)
			(void)settle(&pc);
		control(&pc, 0x04);
		control(&pc, 0x00);
		assert_int_equal(settle(&pc) & (REQUEST | ERROR), 0);
		assert_int_equal(in(&pc, COUNT), 1);
		command(&pc, 0x20, 1, 1, 0);
		(void)transfer(&pc, false, bytes, 1, 1, 2);
	}
	switch_off(&pc);
}

/* In the midst of a block, with what was not flushed. */
static void a_snapshot_goes_on_where_it_was(void **state)
{
	uint8_t *bytes = malloc(20 * SECTOR), *again = malloc(20 * SECTOR);
	struct state_writer writer = { .section = 0 };
	struct state_reader reader;
	struct error err = ERROR_INIT;
	struct device *to;
	eventfd_t edges;
	struct pc pc;

	(void)state;
	assert_true(bytes && again);
	switch_on(&pc);
	fill(bytes, 20, 3);
	command(&pc, 0x30, 7, 20, 0);
	(void)transfer(&pc, true, bytes, 20, 1, 2);
	command(&pc, 0xc4, 7, 20, 0);
	assert_int_equal(settle(&pc) & REQUEST, REQUEST);
	for (unsigned i = 0; i < 1000; i += 2)
		in_from(&pc, 0, 0, again + i, 2);
	pc.device->ops->quiesce(pc.device);
	pc.device->ops->save(pc.device, &writer);
	to = make(&pc);
	state_reader_init(&reader, str_text(&writer.out), writer.out.length);
	if (to->ops->restore(to, &reader, &err) < 0)
		fail_msg("%s", err.text);
	pc.device->ops->free(pc.device);
	pc.device = to;
	/* The edge for the block may have been lost with the machine that was saved. */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(eventfd_read(pc.lines[i], &edges), 0);
	for (unsigned i = 1000; i < 16 * SECTOR; i += 2)
		in_from(&pc, 0, 0, again + i, 2);
	(void)transfer(&pc, false, again + 16 * SECTOR, 4, 16, 2);
	assert_memory_equal(bytes, again, 20 * SECTOR);
	/* A snapshot that somebody has changed is refused, or harmless. */
	for (size_t i = 0; i < 200 && i < writer.out.length; i++) {
		writer.out.text[i] = (char)(writer.out.text[i] ^ 0xff);
		state_reader_init(&reader, str_text(&writer.out), writer.out.length);
		(void)pc.device->ops->restore(pc.device, &reader, &err);
		for (unsigned j = 0; j < 3000; j++)
			in_from(&pc, 0, 0, bytes, 4);
		(void)loop_wait(&pc.loop, 0, NULL);
		writer.out.text[i] = (char)(writer.out.text[i] ^ 0xff);
	}
	switch_off(&pc);
	str_free(&writer.out);
	free(bytes);
	free(again);
}

/* Any size at any register at any time. */
static void nothing_that_a_guest_does_breaks_it(void **state)
{
	uint32_t seed = 7;
	struct pc pc;

	(void)state;
	switch_on(&pc);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t data = seed;
		unsigned range, size;
		uint64_t offset;

		seed = seed * 1664525 + 1013904223;
		range = seed >> 30;
		offset = seed >> 27 & 7;
		size = 1U << (seed >> 24 & 3);
		if ((seed >> 23 & 1) && offset != DEVICE)
			in_from(&pc, range, offset, &data, size);
		else
			out_to(&pc, range, range % 2 ? 0 : offset, &data, size);
		if (i % 64 == 0)
			assert_int_equal(loop_wait(&pc.loop, 0, NULL), 0);
	}
	switch_off(&pc);
}

static void the_bus_shows_a_piix(void **state)
{
	struct bus bus;
	struct interrupt lines = { .fd = -1 };
	struct pci_host *host;
	struct error err = ERROR_INIT;
	uint32_t address = 0x80000800, value = 0;
	struct pc pc;

	(void)state;
	switch_on(&pc);
	assert_int_equal(bus_init(&bus, &err), 0);
	assert_int_equal(pci_host_make(&bus, &lines, &host, &err), 0);
	assert_int_equal(ata_add_pci(pc.device, host, &err), 0);
	assert_true(bus_write(&bus, BUS_PORTS, 0xcf8, &address, 4));
	assert_true(bus_read(&bus, BUS_PORTS, 0xcfc, &value, 4));
	assert_int_equal(value, 0x70108086);
	address += 8;
	assert_true(bus_write(&bus, BUS_PORTS, 0xcf8, &address, 4));
	assert_true(bus_read(&bus, BUS_PORTS, 0xcfc, &value, 4));
	assert_int_equal(value >> 8, 0x010180);
	address += 0x38;
	assert_true(bus_write(&bus, BUS_PORTS, 0xcf8, &address, 4));
	assert_true(bus_read(&bus, BUS_PORTS, 0xcfc, &value, 4));
	assert_int_equal(value, 0x80008000); /* both channels are on */
	pci_host_device(host)->ops->free(pci_host_device(host));
	bus_free(&bus);
	switch_off(&pc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sectors_are_written_and_read),
		cmocka_unit_test(what_was_flushed_is_in_the_image),
		cmocka_unit_test(identify_tells_of_the_disk),
		cmocka_unit_test(drives_that_are_not_there_are_not_found),
		cmocka_unit_test(what_is_not_on_the_disk_is_an_error),
		cmocka_unit_test(sectors_have_cylinders_and_heads_too),
		cmocka_unit_test(a_reset_ends_what_is_under_way),
		cmocka_unit_test(a_snapshot_goes_on_where_it_was),
		cmocka_unit_test(nothing_that_a_guest_does_breaks_it),
		cmocka_unit_test(the_bus_shows_a_piix),
	};

	return cmocka_run_group_tests_name("ata", tests, disk_dir_make, disk_dir_remove);
}
