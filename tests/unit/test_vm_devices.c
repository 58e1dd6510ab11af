/* SPDX-License-Identifier: Apache-2.0 */
/* The small devices of a PC: its clock, and the ways to switch it off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "paradigm/vm/device/cmos.h"
#include "paradigm/vm/device/fw_cfg.h"
#include "paradigm/vm/device/power.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/state.h"

struct events {
	unsigned count;
	enum power_event last;
	uint32_t code;
	bool sci;
};

static void event(void *context, enum power_event which, uint32_t code)
{
	struct events *events = context;

	events->count++;
	events->last = which;
	events->code = code;
}

static void sci(void *context, unsigned line, bool level)
{
	assert_int_equal(line, LAYOUT_IRQ_SCI);
	((struct events *)context)->sci = level;
}

static uint32_t in(struct device *device, unsigned range, uint64_t offset, unsigned size)
{
	uint32_t value = 0;

	device->ops->read(device, range, offset, &value, size);
	return value;
}

static void out(struct device *device, unsigned range, uint64_t offset, uint32_t value, unsigned size)
{
	device->ops->write(device, range, offset, &value, size);
}

static time_t leap_night(void)
{
	return 1709251199; /* 2024-02-29 23:59:59 UTC, a Thursday */
}

static uint8_t cmos_at(struct device *cmos, uint8_t index)
{
	out(cmos, 0, 0, index, 1);
	return (uint8_t)in(cmos, 0, 1, 1);
}

static void test_cmos(void **state)
{
	struct device *cmos = cmos_make(leap_night);

	(void)state;
	assert_non_null(cmos);
	assert_int_equal(cmos_at(cmos, 0x00), 0x59);
	assert_int_equal(cmos_at(cmos, 0x02), 0x59);
	assert_int_equal(cmos_at(cmos, 0x84), 0x23); /* with the NMI masked */
	assert_int_equal(cmos_at(cmos, 0x06), 5);
	assert_int_equal(cmos_at(cmos, 0x07), 0x29);
	assert_int_equal(cmos_at(cmos, 0x08), 0x02);
	assert_int_equal(cmos_at(cmos, 0x09), 0x24);
	assert_int_equal(cmos_at(cmos, 0x32), 0x20);
	assert_int_equal(cmos_at(cmos, 0x0a) & 0x80, 0);
	assert_int_equal(cmos_at(cmos, 0x0d), 0x80);
	out(cmos, 0, 0, 0x0b, 1);
	out(cmos, 0, 1, 0x04, 1); /* binary, 12 hours */
	assert_int_equal(cmos_at(cmos, 0x04), 0x80 | 11);
	assert_int_equal(cmos_at(cmos, 0x07), 29);
	out(cmos, 0, 0, 0xf0, 1);
	out(cmos, 0, 1, 0x77, 1);
	assert_int_equal(cmos_at(cmos, 0x70), 0x77);
	assert_int_equal(in(cmos, 0, 0, 1), 0xff);
	assert_int_equal(in(cmos, 0, 0, 2), 0x77ff);
	cmos->ops->free(cmos);
}

static void test_i8042(void **state)
{
	struct events events = { .count = 0 };
	struct device *controller = i8042_make(&(struct power){ .event = event, .context = &events });

	(void)state;
	assert_non_null(controller);
	assert_int_equal(in(controller, 1, 0, 1) & 1, 0);
	out(controller, 1, 0, 0xaa, 1);
	assert_int_equal(in(controller, 1, 0, 1) & 1, 1);
	assert_int_equal(in(controller, 0, 0, 1), 0x55);
	assert_int_equal(in(controller, 1, 0, 1) & 1, 0);
	out(controller, 1, 0, 0x60, 1);
	out(controller, 0, 0, 0x47, 1);
	out(controller, 1, 0, 0x20, 1);
	assert_int_equal(in(controller, 0, 0, 1), 0x47);
	out(controller, 1, 0, 0xff, 1); /* pulses nothing */
	out(controller, 0, 0, 0xfe, 1); /* to the keyboard */
	out(controller, 1, 0, 0xd1, 1);
	out(controller, 0, 0, 0x03, 1);
	assert_int_equal(events.count, 0);
	out(controller, 1, 0, 0xfe, 1);
	assert_int_equal(events.count, 1);
	assert_int_equal(events.last, POWER_RESET);
	out(controller, 1, 0, 0xd1, 1);
	out(controller, 0, 0, 0x02, 1);
	assert_int_equal(events.count, 2);
	controller->ops->free(controller);
}

static uint64_t fw_item(struct device *config, uint16_t item, unsigned bytes)
{
	uint64_t value = 0;

	out(config, 0, 0, item, 2);
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)in(config, 0, 1, 1) << 8 * i;
	return value;
}

static void test_fw_cfg(void **state)
{
	struct device *config = fw_cfg_make(UINT64_C(5) << 30, 7);

	(void)state;
	assert_non_null(config);
	assert_true(fw_item(config, 0, 4) == 0x554d4551); /* QEMU */
	assert_true(fw_item(config, 1, 4) == 1);
	assert_true(fw_item(config, 3, 8) == UINT64_C(5) << 30);
	assert_int_equal(in(config, 0, 1, 1), 0); /* behind its end */
	assert_true(fw_item(config, 5, 2) == 7);
	assert_true(fw_item(config, 0x0f, 2) == 7);
	assert_true(fw_item(config, 0x19, 4) == 0); /* no files */
	assert_true(fw_item(config, 0xffff, 8) == 0);
	/* With all of a register; odd sizes and places change nothing. */
	out(config, 0, 0, 0x12340005, 4);
	out(config, 0, 0, 0, 1);
	out(config, 0, 1, 0xff, 1);
	assert_int_equal(in(config, 0, 0, 2), 0);
	assert_int_equal(in(config, 0, 1, 4), 0);
	assert_int_equal(in(config, 0, 1, 1), 7);
	config->ops->free(config);
}

static void test_debug_exit(void **state)
{
	struct events events = { .count = 0 };
	struct device *port = debug_exit_make(&(struct power){ .event = event, .context = &events });

	(void)state;
	assert_non_null(port);
	assert_int_equal(in(port, 0, 0, 4), 0);
	out(port, 0, 0, 0x12345678, 4);
	assert_int_equal(events.last, POWER_EXIT);
	assert_int_equal(events.code, 0x12345678);
	out(port, 0, 0, 0x1234567f, 1);
	assert_int_equal(events.code, 0x7f);
	port->ops->free(port);
}

static struct device *open_pm(struct events *events)
{
	struct device *pm = pm_make(
		&(struct power){ .event = event, .context = events },
		&(struct interrupt){ .fd = -1, .set = sci, .context = events, .line = LAYOUT_IRQ_SCI });

	assert_non_null(pm);
	return pm;
}

static void test_pm_sleep(void **state)
{
	struct events events = { .count = 0 };
	struct device *pm = open_pm(&events);
	uint32_t ticks;

	(void)state;
	assert_int_equal(in(pm, 0, LAYOUT_PM1_CONTROL - LAYOUT_PM, 2), 1); /* ACPI mode */
	out(pm, 0, LAYOUT_PM1_CONTROL - LAYOUT_PM, 0x2000 | 1 << 10, 2);   /* a state there is not */
	out(pm, 0, LAYOUT_SLEEP_CONTROL - LAYOUT_PM, LAYOUT_SLEEP_OFF << 2, 1);
	out(pm, 0, LAYOUT_RESET - LAYOUT_PM, 1, 1);
	assert_int_equal(events.count, 0);
	out(pm, 0, LAYOUT_PM1_CONTROL - LAYOUT_PM, 0x2000 | LAYOUT_SLEEP_OFF << 10, 2);
	assert_int_equal(events.count, 1);
	assert_int_equal(events.last, POWER_OFF);
	out(pm, 0, LAYOUT_SLEEP_CONTROL - LAYOUT_PM, 0x20 | LAYOUT_SLEEP_OFF << 2, 1);
	assert_int_equal(events.count, 2);
	assert_int_equal(events.last, POWER_OFF);
	out(pm, 0, LAYOUT_RESET - LAYOUT_PM, LAYOUT_RESET_VALUE, 1);
	assert_int_equal(events.count, 3);
	assert_int_equal(events.last, POWER_RESET);
	ticks = in(pm, 0, LAYOUT_PM_TIMER - LAYOUT_PM, 4);
	while (in(pm, 0, LAYOUT_PM_TIMER - LAYOUT_PM, 4) == ticks)
		;
	assert_int_equal(in(pm, 0, LAYOUT_SLEEP_STATUS - LAYOUT_PM, 1), 0);
	pm->ops->free(pm);
}

static void test_pm_button(void **unused)
{
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	struct events events = { .count = 0 };
	struct device *pm = open_pm(&events);
	struct error err = ERROR_INIT;

	(void)unused;
	pm_press_button(pm);
	assert_false(events.sci); /* nobody asked */
	out(pm, 0, 0, 0x100, 2);
	out(pm, 0, 3, 0x01, 1); /* PWRBTN_EN, by its byte */
	assert_false(events.sci);
	pm_press_button(pm);
	assert_true(events.sci);
	assert_int_equal(in(pm, 0, 0, 4), 0x01000100);
	state_begin(&writer, "pm", 1);
	pm->ops->save(pm, &writer);
	state_end(&writer);
	out(pm, 0, 0, 0x100, 2); /* acknowledged */
	assert_false(events.sci);
	state_reader_init(&reader, writer.out.text, writer.out.length);
	assert_int_equal(state_enter(&reader, "pm", 1, &err), 1);
	assert_int_equal(pm->ops->restore(pm, &reader, &err), 0);
	assert_int_equal(state_leave(&reader, &err), 0);
	assert_int_equal(in(pm, 0, 0, 4), 0x01000100);
	assert_int_equal(events.count, 0);
	pm->ops->free(pm);
	str_free(&writer.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmos),   cmocka_unit_test(test_i8042),	cmocka_unit_test(test_debug_exit),
		cmocka_unit_test(test_fw_cfg), cmocka_unit_test(test_pm_sleep), cmocka_unit_test(test_pm_button),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
