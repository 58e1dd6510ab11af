/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port as drivers use it, and as nobody should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "paradigm/vm/device/serial.h"
#include "paradigm/vm/machine/state.h"

struct line {
	struct str out;
	unsigned room;
	int irq; /* non-blocking; the serial port's */
	struct serial *serial;
};

static void output(void *context, const void *bytes, size_t count)
{
	str_append_bytes(&((struct line *)context)->out, bytes, count);
}

static void room(void *context)
{
	((struct line *)context)->room++;
}

static void open_line(struct line *line)
{
	*line = (struct line){ .out = STR_INIT, .irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	line->serial = serial_make(&(struct serial_options){ .interrupt = { .fd = line->irq },
							     .output = output,
							     .context = line,
							     .room = room,
							     .room_context = line });
	assert_non_null(line->serial);
}

static void close_line(struct line *line)
{
	line->serial->device.ops->free(&line->serial->device);
	str_free(&line->out);
}

static uint8_t in(const struct line *line, uint64_t port)
{
	uint8_t value = 0;

	line->serial->device.ops->read(&line->serial->device, 0, port, &value, 1);
	return value;
}

static void out(const struct line *line, uint64_t port, uint8_t value)
{
	line->serial->device.ops->write(&line->serial->device, 0, port, &value, 1);
}

static unsigned edges(const struct line *line)
{
	uint64_t count = 0;

	return read(line->irq, &count, sizeof(count)) == sizeof(count) ? (unsigned)count : 0;
}

static void test_polled(void **state)
{
	struct line line;

	(void)state;
	open_line(&line);
	for (const char *text = "hello\n"; *text; text++) {
		assert_true(in(&line, 5) & 0x20);
		out(&line, 0, (uint8_t)*text);
	}
	assert_string_equal(str_text(&line.out), "hello\n");
	assert_int_equal(in(&line, 5) & 1, 0);
	assert_int_equal(serial_input(line.serial, "ab", 2), 2);
	assert_int_equal(in(&line, 5) & 1, 1);
	assert_int_equal(in(&line, 0), 'a');
	assert_int_equal(in(&line, 0), 'b');
	assert_int_equal(in(&line, 0), 0);
	assert_int_equal(in(&line, 5) & 1, 0);
	assert_int_equal(edges(&line), 0); /* none was enabled */
	close_line(&line);
}

static void test_divisor(void **state)
{
	struct line line;

	(void)state;
	open_line(&line);
	out(&line, 3, 0x83);
	out(&line, 0, 1);
	out(&line, 1, 2);
	assert_int_equal(in(&line, 0), 1);
	assert_int_equal(in(&line, 1), 2);
	out(&line, 3, 0x03);
	assert_int_equal(in(&line, 3), 3);
	assert_int_equal(in(&line, 1), 0);
	assert_int_equal(line.out.length, 0);
	out(&line, 7, 0x5a);
	assert_int_equal(in(&line, 7), 0x5a);
	assert_int_equal(in(&line, 6), 0xb0); /* a terminal is there */
	close_line(&line);
}

static void test_interrupts(void **state)
{
	struct line line;

	(void)state;
	open_line(&line);
	out(&line, 2, 1);
	assert_int_equal(in(&line, 2), 0xc1);
	out(&line, 1, 2); /* the empty transmitter tells at once */
	assert_int_equal(edges(&line), 1);
	assert_int_equal(in(&line, 2), 0xc2);
	assert_int_equal(in(&line, 2), 0xc1);
	/* A driver that fills the FIFO gets one edge. */
	for (int i = 0; i < 16; i++)
		out(&line, 0, 'x');
	assert_int_equal(edges(&line), 1);
	assert_int_equal(in(&line, 2), 0xc2);
	assert_int_equal(edges(&line), 0);
	/* One that never asks for the cause gets one for each byte. */
	for (int i = 0; i < 3; i++) {
		out(&line, 0, 'y');
		assert_int_equal(edges(&line), 1);
		assert_true(in(&line, 5) & 0x20);
	}
	out(&line, 1, 1);
	assert_int_equal(in(&line, 2), 0xc1);
	assert_int_equal(serial_input(line.serial, "ab", 2), 2);
	assert_int_equal(edges(&line), 1);
	assert_int_equal(in(&line, 2), 0xc4);
	assert_int_equal(in(&line, 0), 'a');
	assert_int_equal(in(&line, 2), 0xc4);
	assert_int_equal(in(&line, 0), 'b');
	assert_int_equal(in(&line, 2), 0xc1);
	assert_int_equal(serial_input(line.serial, "c", 1), 1);
	assert_int_equal(edges(&line), 1);
	close_line(&line);
}

static void test_loop(void **state)
{
	struct line line;
	unsigned count = 0;

	(void)state;
	open_line(&line);
	out(&line, 2, 1);
	out(&line, 4, 0x1a);
	assert_int_equal(in(&line, 6), 0x90); /* RTS and OUT2 come back as CTS and DCD */
	for (int i = 0; i < 40; i++)
		out(&line, 0, (uint8_t)i);
	assert_int_equal(serial_input(line.serial, "z", 1), 0);
	assert_int_equal(serial_try_input(line.serial, "z", 1), 0);
	assert_true(in(&line, 5) & 2);	/* overrun */
	assert_false(in(&line, 5) & 2); /* which is told once */
	while (in(&line, 5) & 1)
		assert_int_equal(in(&line, 0), count++);
	assert_int_equal(count, 16);
	assert_int_equal(line.out.length, 0);
	close_line(&line);
}

static void test_full(void **state)
{
	static uint8_t many[SERIAL_INPUT + 100];
	struct line line;
	size_t taken;

	(void)state;
	open_line(&line);
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = (uint8_t)i;
	taken = serial_input(line.serial, many, sizeof(many));
	assert_int_equal(taken, SERIAL_INPUT);
	assert_int_equal(line.room, 0);
	for (size_t i = 0; i < sizeof(many); i++) {
		assert_int_equal(in(&line, 0), many[i]);
		if (line.room == 1 && taken < sizeof(many)) {
			taken += serial_input(line.serial, many + taken, sizeof(many) - taken);
			assert_int_equal(taken, sizeof(many));
		}
	}
	assert_int_equal(line.room, 1);
	close_line(&line);
}

/* A driver that clears the FIFO loses what a chip would lose, and no more. */
static void test_clear(void **state)
{
	static const uint8_t many[100] = { [16] = 7, [17] = 8 };
	struct line line;

	(void)state;
	open_line(&line);
	assert_int_equal(serial_input(line.serial, many, sizeof(many)), sizeof(many));
	out(&line, 2, 0x07);
	assert_int_equal(in(&line, 0), 7);
	assert_int_equal(in(&line, 0), 8);
	for (int i = 0; i < 10; i++)
		out(&line, 2, 0x03);
	assert_int_equal(in(&line, 5) & 1, 0);
	assert_int_equal(serial_input(line.serial, "x", 1), 1);
	assert_int_equal(in(&line, 0), 'x');
	close_line(&line);
}

/* Any size, any offset the bus lets through, any order: nothing but the registers is touched. */
static void test_hostile(void **state)
{
	struct line line;
	uint32_t random = 1;
	uint64_t value;

	(void)state;
	open_line(&line);
	for (int i = 0; i < 20000; i++) {
		unsigned offset = (random = random * 1103515245 + 12345) >> 16 & 7, size = 1 + (random >> 24) % 8;

		size = size > 8 - offset ? 8 - offset : size;
		value = random * UINT64_C(0x9e3779b97f4a7c15);
		if (random & 0x8000)
			line.serial->device.ops->write(&line.serial->device, 0, offset, &value, size);
		else
			line.serial->device.ops->read(&line.serial->device, 0, offset, &value, size);
		if (i % 7 == 0)
			(void)serial_input(line.serial, &value, 8);
		assert_true(line.serial->input_count <= SERIAL_INPUT);
	}
	close_line(&line);
}

static void test_snapshot(void **state)
{
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	struct line line, again;
	eventfd_t edges;
	struct error err = ERROR_INIT;

	(void)state;
	open_line(&line);
	out(&line, 2, 1);
	out(&line, 7, 9);
	assert_int_equal(serial_input(line.serial, "xyz", 3), 3);
	assert_int_equal(in(&line, 0), 'x');
	out(&line, 1, 1);
	state_begin(&writer, "serial", 1);
	line.serial->device.ops->save(&line.serial->device, &writer);
	state_end(&writer);
	close_line(&line);

	open_line(&again);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(state_enter(&reader, "serial", 1, &err), 1);
	assert_int_equal(again.serial->device.ops->restore(&again.serial->device, &reader, &err), 0);
	assert_int_equal(state_leave(&reader, &err), 0);
	/* The edge may have been lost with the machine that was saved. */
	assert_int_equal(eventfd_read(again.irq, &edges), 0);
	assert_int_equal(in(&again, 7), 9);
	assert_int_equal(in(&again, 2), 0xc4);
	assert_int_equal(in(&again, 0), 'y');
	assert_int_equal(in(&again, 0), 'z');
	assert_int_equal(in(&again, 5) & 1, 0);
	/* More input than there is room for. */
	memset(writer.out.text + writer.out.length - 6, 0xff, 4);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(state_enter(&reader, "serial", 1, &err), 1);
	assert_true(again.serial->device.ops->restore(&again.serial->device, &reader, &err) < 0);
	close_line(&again);
	str_free(&writer.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_polled), cmocka_unit_test(test_divisor),	cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_loop),   cmocka_unit_test(test_full),	cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_clear),  cmocka_unit_test(test_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
