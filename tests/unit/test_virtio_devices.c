/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng, virtio-console and virtio-balloon, as drivers see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <linux/virtio_balloon.h>
#include <linux/virtio_console.h>

#include "paradigm/vm/virtio/balloon.h"
#include "paradigm/vm/virtio/console.h"
#include "paradigm/vm/virtio/rng.h"
#include "virtio_driver.h"

/* As Linux has it: a device that does not ask for the next kick does not get it. */
#define EVENT_INDEX (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)

/* ---- rng ---- */

static struct device *make_rng(struct driver *driver)
{
	struct device *device;
	struct error err = ERROR_INIT;

	if (virtio_rng_make(&driver->memory, &driver->loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	return device;
}

static unsigned count_nonzero(const uint8_t *bytes, size_t count)
{
	unsigned nonzero = 0;

	for (size_t i = 0; i < count; i++)
		nonzero += bytes[i] != 0;
	return nonzero;
}

static void test_rng(void **state)
{
	struct driver driver;
	uint64_t at;

	(void)state;
	driver_open(&driver);
	driver_start(&driver, make_rng(&driver), EVENT_INDEX);
	at = driver_alloc(&driver, 4096);
	assert_int_equal(driver_request(&driver, 0, 0, 0, at, 1000), 1000);
	assert_true(count_nonzero(driver_at(&driver, at, 1000), 1000) > 900);
	assert_int_equal(count_nonzero(driver_at(&driver, at + 1000, 3096), 3096), 0);
	/* Buffers that the device may only read get nothing, and too long ones not all. */
	assert_int_equal(driver_request(&driver, 0, at, 64, 0, 0), 0);
	assert_int_equal(driver_request(&driver, 0, 0, 0, DRIVER_HIGH_BASE, DRIVER_HIGH), 65536);
	driver_migrate(&driver, make_rng(&driver));
	assert_int_equal(driver_request(&driver, 0, 0, 0, at, 16), 16);
	driver_close(&driver);
}

/* More requests than one round takes are all answered by one kick. */
static void test_rng_rounds(void **state)
{
	struct driver driver;
	struct driver_buffer buffer = { .size = 8, .writable = true };

	(void)state;
	driver_open(&driver);
	driver_adopt(&driver, make_rng(&driver));
	assert_true(driver_negotiate(&driver, EVENT_INDEX | UINT64_C(1) << VIRTIO_F_VERSION_1));
	driver_set_queue(&driver, 0, 64);
	driver_go(&driver);
	buffer.address = driver_alloc(&driver, 8);
	for (int i = 0; i < 60; i++)
		(void)driver_add(&driver, 0, &buffer, 1);
	driver_kick(&driver, 0);
	driver_run(&driver);
	assert_int_equal(driver_used_index(&driver, 0), 60);
	driver_close(&driver);
}

/* ---- console ---- */

struct sink {
	char text[1 << 18];
	size_t count;
	unsigned rooms;
};

static void take_output(void *context, const void *bytes, size_t count)
{
	struct sink *sink = context;

	assert_true(sink->count + count < sizeof(sink->text));
	memcpy(sink->text + sink->count, bytes, count);
	sink->count += count;
	sink->text[sink->count] = 0;
}

static void take_room(void *context)
{
	((struct sink *)context)->rooms++;
}

static struct device *make_console(struct driver *driver, struct sink *sink, const char *name)
{
	const struct virtio_console_options options = {
		.name = name, .output = take_output, .room = take_room, .context = sink
	};
	struct device *device;
	struct error err = ERROR_INIT;

	if (virtio_console_make(&options, &driver->memory, &driver->loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	return device;
}

static void send_text(struct driver *driver, unsigned queue, const char *text)
{
	uint64_t at = driver_alloc(driver, strlen(text));

	memcpy(driver_at(driver, at, strlen(text)), text, strlen(text));
	assert_int_equal(driver_request(driver, queue, at, (uint32_t)strlen(text), 0, 0), 0);
}

static uint64_t add_room(struct driver *driver, unsigned queue, uint32_t size)
{
	struct driver_buffer buffer = { .address = driver_alloc(driver, size), .size = size, .writable = true };

	(void)driver_add(driver, queue, &buffer, 1);
	return buffer.address;
}

static void test_console(void **state)
{
	static struct sink sink;
	struct driver driver;
	uint64_t first, second;
	struct driver_used used;

	(void)state;
	memset(&sink, 0, sizeof(sink));
	driver_open(&driver);
	driver_adopt(&driver, make_console(&driver, &sink, NULL));
	assert_int_equal(virtio_console_input(driver.device, "x", 1), 0);
	driver_start(&driver, driver.device, EVENT_INDEX);
	send_text(&driver, 1, "hello ");
	send_text(&driver, 1, "host");
	assert_string_equal(sink.text, "hello host");
	/* No buffers, then two small ones, then room again. */
	assert_int_equal(virtio_console_input(driver.device, "12345", 5), 0);
	first = add_room(&driver, 0, 2);
	second = add_room(&driver, 0, 2);
	driver_kick(&driver, 0);
	driver_run(&driver);
	assert_int_equal(sink.rooms, 1);
	assert_int_equal(virtio_console_input(driver.device, "12345", 5), 4);
	used = driver_wait(&driver, 0);
	assert_int_equal(used.size, 2);
	assert_memory_equal(driver_at(&driver, first, 2), "12", 2);
	assert_memory_equal(driver_at(&driver, second, 2), "34", 2);
	(void)driver_wait(&driver, 0);
	driver_migrate(&driver, make_console(&driver, &sink, NULL));
	first = add_room(&driver, 0, 16);
	assert_int_equal(virtio_console_input(driver.device, "5", 1), 1);
	assert_memory_equal(driver_at(&driver, first, 1), "5", 1);
	send_text(&driver, 1, "!");
	assert_string_equal(sink.text, "hello host!");
	driver_close(&driver);
}

/* A flood in one kick, and a buffer that nobody has. */
static void test_console_flood(void **state)
{
	static struct sink sink;
	struct driver driver;
	struct driver_buffer buffers[2] = { { .size = 1 << 20 }, { .address = 4096, .size = 1 } };

	(void)state;
	memset(&sink, 0, sizeof(sink));
	driver_open(&driver);
	driver_start(&driver, make_console(&driver, &sink, NULL), EVENT_INDEX);
	buffers[0] = (struct driver_buffer){ .address = driver_alloc(&driver, 20000), .size = 20000 };
	for (int i = 0; i < 8; i++)
		(void)driver_add(&driver, 1, buffers, 1);
	driver_kick(&driver, 1);
	driver_run(&driver);
	assert_int_equal(sink.count, 160000);
	buffers[0].size = 1 << 20;
	(void)driver_add(&driver, 1, buffers, 2);
	driver_kick(&driver, 1);
	driver_run(&driver);
	assert_true(driver_needs_reset(&driver));
	assert_int_equal(sink.count, 160000);
	driver_close(&driver);
}

static void send_control(struct driver *driver, uint16_t event, uint16_t value)
{
	const struct virtio_console_control control = { .event = event, .value = value };
	uint64_t at = driver_alloc(driver, sizeof(control));
	uint16_t wanted;

	memcpy(driver_at(driver, at, sizeof(control)), &control, sizeof(control));
	(void)driver_request(driver, 3, at, sizeof(control), 0, 0);
	/* The next one is to be told of, too: Linux spins until it is taken. */
	memcpy(&wanted, driver_at(driver, driver->queues[3].used + 4 + 8 * (uint64_t)driver->queues[3].size, 2), 2);
	assert_int_equal(wanted, driver_used_index(driver, 3));
}

static void expect_control(struct driver *driver, uint64_t at, uint16_t event, uint32_t size)
{
	struct virtio_console_control control;

	assert_int_equal(driver_wait(driver, 2).size, size);
	memcpy(&control, driver_at(driver, at, sizeof(control)), sizeof(control));
	assert_int_equal(control.id, 0);
	assert_int_equal(control.event, event);
}

static void test_console_port(void **state)
{
	static struct sink sink;
	struct driver driver;
	uint64_t at[3], room;

	(void)state;
	memset(&sink, 0, sizeof(sink));
	driver_open(&driver);
	driver_start(&driver, make_console(&driver, &sink, "agent"),
		     UINT64_C(1) << VIRTIO_CONSOLE_F_MULTIPORT | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
	for (int i = 0; i < 3; i++)
		at[i] = add_room(&driver, 2, 32);
	send_control(&driver, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_control(&driver, at[0], VIRTIO_CONSOLE_PORT_ADD, 8);
	send_control(&driver, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_control(&driver, at[1], VIRTIO_CONSOLE_PORT_NAME, 13);
	assert_memory_equal(driver_at(&driver, at[1] + 8, 5), "agent", 5);
	expect_control(&driver, at[2], VIRTIO_CONSOLE_PORT_OPEN, 8);
	/* Nobody has opened it yet. */
	room = add_room(&driver, 0, 16);
	assert_int_equal(virtio_console_input(driver.device, "hi", 2), 0);
	send_control(&driver, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(sink.rooms, 1);
	assert_int_equal(virtio_console_input(driver.device, "hi", 2), 2);
	assert_memory_equal(driver_at(&driver, room, 2), "hi", 2);
	/* Messages that make no sense, and too short ones. */
	for (uint16_t event = 0; event < 12; event++)
		send_control(&driver, event, 0xffff);
	send_text(&driver, 3, "abc");
	assert_false(driver_needs_reset(&driver));
	driver_close(&driver);
}

/* ---- balloon ---- */

static struct device *make_balloon(struct driver *driver)
{
	struct device *device;
	struct error err = ERROR_INIT;

	if (virtio_balloon_make(true, &driver->memory, &driver->loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	return device;
}

static const uint64_t balloon_features = EVENT_INDEX | UINT64_C(1) << VIRTIO_BALLOON_F_REPORTING;

static void send_pages(struct driver *driver, const uint32_t *pages, size_t count)
{
	uint64_t at = driver_alloc(driver, 4 * count);

	memcpy(driver_at(driver, at, 4 * count), pages, 4 * count);
	assert_int_equal(driver_request(driver, 0, at, (uint32_t)(4 * count), 0, 0), 0);
}

static void test_balloon(void **state)
{
	/* Upwards, downwards, alone; outside of memory, and where addresses end. */
	static const uint32_t pages[] = { 512, 513, 514, 600, 599, 700, 0x80000, UINT32_MAX };
	struct virtio_balloon_state balloon;
	struct driver driver;
	uint32_t config[2];

	(void)state;
	driver_open(&driver);
	driver_start(&driver, make_balloon(&driver), balloon_features);
	assert_true(driver_features(&driver) & UINT64_C(1) << VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	virtio_balloon_set(driver.device, 8 * 4096 + 17);
	assert_int_equal(driver_interrupts(&driver), 1);
	driver_config(&driver, 0, config, 8);
	assert_int_equal(config[0], 8);
	memset(driver_at(&driver, 512 << 12, 300 << 12), 0xaa, 300 << 12);
	send_pages(&driver, pages, sizeof(pages) / sizeof(*pages));
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(count_nonzero(driver_at(&driver, (uint64_t)pages[i] << 12, 4096), 4096), 0);
	assert_int_equal(count_nonzero(driver_at(&driver, 515 << 12, 4096), 4096), 4096);
	assert_int_equal(count_nonzero(driver_at(&driver, 601 << 12, 4096), 4096), 4096);
	config[1] = 6;
	driver_write(&driver, VIRTIO_MMIO_CONFIG, config, 8);
	driver_write(&driver, VIRTIO_MMIO_CONFIG, "\xff\xff\xff\xff", 4); /* not the driver's */
	virtio_balloon_get(driver.device, &balloon);
	assert_int_equal(balloon.inflated, 6 << 12);
	assert_int_equal(balloon.actual, 6 << 12);
	assert_int_equal(balloon.wanted, 8 << 12);
	driver_migrate(&driver, make_balloon(&driver));
	virtio_balloon_get(driver.device, &balloon);
	assert_int_equal(balloon.actual, 6 << 12);
	virtio_balloon_set(driver.device, UINT64_MAX);
	driver_config(&driver, 0, config, 8);
	assert_int_equal(config[0], UINT32_MAX);
	driver_close(&driver);
}

/* Many pages that lie apart are many system calls: others on the loop have their turn between them. */
static void test_balloon_rounds(void **state)
{
	enum { REQUESTS = 6, PAGES = 16384 };
	struct driver_buffer buffer = { .size = 4 * PAGES };
	struct driver driver;
	struct driver_used used;
	uint32_t *pages;

	(void)state;
	driver_open(&driver);
	driver_start(&driver, make_balloon(&driver), balloon_features);
	buffer.address = driver_alloc(&driver, 4 * (PAGES + 1));
	pages = driver_at(&driver, buffer.address, 4 * (PAGES + 1));
	for (uint32_t i = 0; i <= PAGES; i++)
		pages[i] = (uint32_t)(DRIVER_HIGH_BASE >> 12) + 2 * (i % 64);
	for (int i = 0; i < REQUESTS; i++)
		(void)driver_add(&driver, 0, &buffer, 1);
	driver_kick(&driver, 0);
	for (int i = 1; i <= REQUESTS; i++) {
		assert_int_equal(loop_wait(&driver.loop, 0, NULL), 0);
		assert_int_equal(driver_used_index(&driver, 0), i);
		assert_true(driver_used(&driver, 0, &used));
	}
	driver_run(&driver);
	assert_false(driver_needs_reset(&driver));
	/* More than any driver sends. */
	buffer.size += 4;
	(void)driver_add(&driver, 0, &buffer, 1);
	driver_kick(&driver, 0);
	driver_run(&driver);
	assert_true(driver_needs_reset(&driver));
	driver_close(&driver);
}

static void test_balloon_reports(void **state)
{
	struct virtio_balloon_state balloon;
	struct driver driver;

	(void)state;
	driver_open(&driver);
	driver_start(&driver, make_balloon(&driver), balloon_features);
	for (unsigned queue = 2; queue <= 4; queue += 2) {
		memset(driver_at(&driver, DRIVER_HIGH_BASE, DRIVER_HIGH), 0xaa, DRIVER_HIGH);
		(void)driver_request(&driver, queue, 0, 0, DRIVER_HIGH_BASE + 4096, 65536);
		assert_int_equal(count_nonzero(driver_at(&driver, DRIVER_HIGH_BASE, DRIVER_HIGH), DRIVER_HIGH),
				 DRIVER_HIGH - 65536);
	}
	virtio_balloon_get(driver.device, &balloon);
	assert_int_equal(balloon.reported, 2 * 65536);
	driver_close(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rng),
		cmocka_unit_test(test_rng_rounds),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_console_flood),
		cmocka_unit_test(test_console_port),
		cmocka_unit_test(test_balloon),
		cmocka_unit_test(test_balloon_rounds),
		cmocka_unit_test(test_balloon_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
