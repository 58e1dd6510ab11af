/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/device/cmos.h"

#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/machine/state.h"

enum {
	SECONDS = 0x00,
	MINUTES = 0x02,
	HOURS = 0x04,
	WEEKDAY = 0x06,
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	STATUS_A = 0x0a,
	STATUS_B = 0x0b,
	STATUS_C = 0x0c,
	STATUS_D = 0x0d,
	CENTURY = 0x32, /* where the FADT says it is */
	CMOS_BYTES = 128,

	A_DIVIDER = 0x26, /* 32768 Hz; an update is never in progress */
	B_24H = 0x02,
	B_BINARY = 0x04,
	D_VALID = 0x80,
	HOUR_PM = 0x80,
};

struct cmos {
	struct device device;
	time_t (*now)(void);
	uint8_t index;
	uint8_t bytes[CMOS_BYTES];
};

static time_t host_time(void)
{
	return time(NULL);
}

static uint8_t encode(const struct cmos *cmos, int value)
{
	return (uint8_t)(cmos->bytes[STATUS_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static uint8_t encode_hour(const struct cmos *cmos, int hour)
{
	if (cmos->bytes[STATUS_B] & B_24H)
		return encode(cmos, hour);
	return encode(cmos, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static uint8_t read_byte(const struct cmos *cmos, uint8_t index)
{
	struct tm tm = { .tm_mday = 1 };
	time_t now = cmos->now();

	if (!gmtime_r(&now, &tm))
		return 0;
	switch (index) {
	case SECONDS:
		return encode(cmos, tm.tm_sec % 60);
	case MINUTES:
		return encode(cmos, tm.tm_min);
	case HOURS:
		return encode_hour(cmos, tm.tm_hour);
	case WEEKDAY:
		return encode(cmos, tm.tm_wday + 1);
	case DAY:
		return encode(cmos, tm.tm_mday);
	case MONTH:
		return encode(cmos, tm.tm_mon + 1);
	case YEAR:
		return encode(cmos, tm.tm_year % 100);
	case CENTURY:
		return encode(cmos, (tm.tm_year + 1900) / 100 % 100);
	case STATUS_A:
		return A_DIVIDER;
	case STATUS_C:
		return 0; /* no interrupt is pending */
	case STATUS_D:
		return D_VALID;
	default:
		return cmos->bytes[index];
	}
}

static void cmos_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	const struct cmos *cmos = (const struct cmos *)device;

	(void)range;
	for (unsigned i = 0; i < size; i++)
		((uint8_t *)data)[i] = offset + i == 0 ? 0xff : read_byte(cmos, cmos->index);
}

static void cmos_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct cmos *cmos = (struct cmos *)device;

	(void)range;
	for (unsigned i = 0; i < size; i++) {
		uint8_t value = ((const uint8_t *)data)[i];

		if (offset + i == 0)
			cmos->index = value % CMOS_BYTES; /* the highest bit masks the NMI */
		else
			cmos->bytes[cmos->index] = value;
	}
}

static void cmos_save(struct device *device, struct state_writer *writer)
{
	const struct cmos *cmos = (const struct cmos *)device;

	state_put(writer, &cmos->index, 1);
	state_put(writer, cmos->bytes, sizeof(cmos->bytes));
}

static int cmos_restore(struct device *device, struct state_reader *reader, struct error *err)
{
	struct cmos *cmos = (struct cmos *)device;

	(void)err;
	(void)state_get(reader, &cmos->index, 1);
	cmos->index %= CMOS_BYTES;
	(void)state_get(reader, cmos->bytes, sizeof(cmos->bytes));
	return 0;
}

static const struct device_ops cmos_ops = {
	.name = "cmos",
	.read = cmos_read,
	.write = cmos_write,
	.save = cmos_save,
	.restore = cmos_restore,
	.free = device_free,
};

struct device *cmos_make(time_t (*now)(void))
{
	struct cmos *cmos = calloc(1, sizeof(*cmos));

	if (!cmos)
		return NULL;
	device_init(&cmos->device, &cmos_ops);
	cmos->now = now ? now : host_time;
	cmos->bytes[STATUS_B] = B_24H;
	return &cmos->device;
}
