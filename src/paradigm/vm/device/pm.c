/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI 6.5: 4.8.3 (PM1 and timer), 4.8.3.7 (sleep control and status), 4.8.3.6 (reset). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "paradigm/vm/device/power.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/state.h"

enum {
	STATUS = LAYOUT_PM1_EVENT - LAYOUT_PM,
	ENABLE = STATUS + 2,
	CONTROL = LAYOUT_PM1_CONTROL - LAYOUT_PM,
	TIMER = LAYOUT_PM_TIMER - LAYOUT_PM,
	SLEEP_CONTROL = LAYOUT_SLEEP_CONTROL - LAYOUT_PM,
	SLEEP_STATUS = LAYOUT_SLEEP_STATUS - LAYOUT_PM,
	RESET = LAYOUT_RESET - LAYOUT_PM,

	BUTTON = 0x100,	 /* PWRBTN_STS, PWRBTN_EN */
	SCI_ENABLED = 1, /* of PM1 control: there is no legacy mode */
	SLEEP_ENABLE = 0x2000,
	SLEEP_ENABLE_REDUCED = 0x20,

	TIMER_HZ = 3579545,
};

struct pm {
	struct device device;
	struct power power;
	struct interrupt sci;
	uint16_t status, enable, control;
};

static uint32_t timer(void)
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)((uint64_t)now.tv_sec * TIMER_HZ + (uint64_t)now.tv_nsec * TIMER_HZ / 1000000000U);
}

/* All registers, as bytes. */
static void fill(const struct pm *pm, uint8_t ports[LAYOUT_PM_SIZE])
{
	const uint16_t control = pm->control | SCI_ENABLED;
	const uint32_t ticks = timer();

	memset(ports, 0, LAYOUT_PM_SIZE);
	memcpy(ports + STATUS, &pm->status, 2);
	memcpy(ports + ENABLE, &pm->enable, 2);
	memcpy(ports + CONTROL, &control, 2);
	memcpy(ports + TIMER, &ticks, 4);
}

static void pm_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	uint8_t ports[LAYOUT_PM_SIZE];

	(void)range;
	fill((const struct pm *)device, ports);
	memcpy(data, ports + offset, size);
}

static void slept(const struct pm *pm, unsigned type)
{
	/* Of the sleeping states only "soft off" is told of; another one is none. */
	if (type == LAYOUT_SLEEP_OFF)
		pm->power.event(pm->power.context, POWER_OFF, 0);
}

/* The registers of two bytes are written in one access or in two. */
static void write_byte(struct pm *pm, uint64_t offset, uint8_t value)
{
	unsigned shift = offset % 2 * 8;
	uint16_t bits = (uint16_t)(value << shift), others = (uint16_t)(0xff00U >> shift);

	switch (offset) {
	case STATUS:
	case STATUS + 1:
		pm->status &= (uint16_t)~bits;
		break;
	case ENABLE:
	case ENABLE + 1:
		pm->enable = (pm->enable & others) | bits;
		break;
	case CONTROL:
	case CONTROL + 1:
		pm->control = ((pm->control & others) | bits) & (uint16_t)~SLEEP_ENABLE;
		if (bits & SLEEP_ENABLE)
			slept(pm, pm->control >> 10 & 7);
		break;
	case SLEEP_CONTROL:
		if (value & SLEEP_ENABLE_REDUCED)
			slept(pm, value >> 2 & 7);
		break;
	case RESET:
		if (value == LAYOUT_RESET_VALUE)
			pm->power.event(pm->power.context, POWER_RESET, 0);
		break;
	default:
		break;
	}
}

static void update(const struct pm *pm)
{
	interrupt_set(&pm->sci, pm->status & pm->enable);
}

static void pm_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct pm *pm = (struct pm *)device;

	(void)range;
	for (unsigned i = 0; i < size; i++)
		write_byte(pm, offset + i, ((const uint8_t *)data)[i]);
	update(pm);
}

static void pm_save(struct device *device, struct state_writer *writer)
{
	const struct pm *pm = (const struct pm *)device;

	state_put_u32(writer, pm->status);
	state_put_u32(writer, pm->enable);
	state_put_u32(writer, pm->control);
}

static int pm_restore(struct device *device, struct state_reader *reader, struct error *err)
{
	struct pm *pm = (struct pm *)device;

	(void)err;
	pm->status = (uint16_t)state_get_u32(reader);
	pm->enable = (uint16_t)state_get_u32(reader);
	pm->control = (uint16_t)state_get_u32(reader);
	return 0;
}

static void pm_free(struct device *device)
{
	struct pm *pm = (struct pm *)device;

	if (pm->sci.fd >= 0)
		close(pm->sci.fd);
	device_free(device);
}

static const struct device_ops pm_ops = {
	.name = "pm",
	.read = pm_read,
	.write = pm_write,
	.save = pm_save,
	.restore = pm_restore,
	.free = pm_free,
};

struct device *pm_make(const struct power *power, const struct interrupt *sci)
{
	struct pm *pm = calloc(1, sizeof(*pm));

	if (!pm) {
		if (sci->fd >= 0)
			close(sci->fd);
		return NULL;
	}
	device_init(&pm->device, &pm_ops);
	pm->power = *power;
	pm->sci = *sci;
	return &pm->device;
}

void pm_press_button(struct device *device)
{
	struct pm *pm = (struct pm *)device;

	(void)pthread_mutex_lock(&device->lock);
	pm->status |= BUTTON;
	update(pm);
	(void)pthread_mutex_unlock(&device->lock);
}
