/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/device/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void device_init(struct device *device, const struct device_ops *ops)
{
	*device = (struct device){ .ops = ops };
	(void)pthread_mutex_init(&device->lock, NULL);
}

void device_free(struct device *device)
{
	(void)pthread_mutex_destroy(&device->lock);
	free(device);
}

void interrupt_pulse(const struct interrupt *interrupt)
{
	const uint64_t one = 1;

	/* Fails only when 2^64 - 2 of them wait. */
	if (interrupt->fd >= 0 && write(interrupt->fd, &one, sizeof(one)) < 0)
		return;
}

void interrupt_set(const struct interrupt *interrupt, bool level)
{
	if (interrupt->set)
		interrupt->set(interrupt->context, interrupt->line, level);
}

int bus_init(struct bus *bus, struct error *err)
{
	int code;

	memset(bus, 0, sizeof(*bus));
	code = pthread_rwlock_init(&bus->lock, NULL);
	return code ? error_errno(err, code, "make a lock") : 0;
}

void bus_free(struct bus *bus)
{
	(void)pthread_rwlock_destroy(&bus->lock);
}

/* The first range that ends behind address, whose last byte may be that of all addresses. */
static size_t find_range(const struct bus *bus, enum bus_kind kind, uint64_t address)
{
	size_t low = 0, high = bus->count[kind];

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct bus_range *range = &bus->ranges[kind][middle];

		if (range->base + (range->size - 1) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert_range(struct bus *bus, enum bus_kind kind, const struct bus_range *range, struct error *err)
{
	struct bus_range *ranges = bus->ranges[kind];
	size_t at = find_range(bus, kind, range->base);
	uint64_t last = range->base + (range->size - 1);

	if (range->size == 0 || last < range->base)
		return error_set(err, EINVAL, "%s: a range of 0x%llx bytes at 0x%llx", range->device->ops->name,
				 (unsigned long long)range->size, (unsigned long long)range->base);
	if (at < bus->count[kind] && ranges[at].base <= last)
		return error_set(err, EEXIST, "%s at 0x%llx overlaps %s at 0x%llx", range->device->ops->name,
				 (unsigned long long)range->base, ranges[at].device->ops->name,
				 (unsigned long long)ranges[at].base);
	if (bus->count[kind] == BUS_RANGES_MAX)
		return error_set(err, ENOSPC, "%s: the bus has no room for more devices", range->device->ops->name);
	memmove(ranges + at + 1, ranges + at, (bus->count[kind] - at) * sizeof(*ranges));
	ranges[at] = *range;
	bus->count[kind]++;
	return 0;
}

int bus_add(struct bus *bus, enum bus_kind kind, uint64_t base, uint64_t size, struct device *device, unsigned range,
	    struct error *err)
{
	const struct bus_range added = { .base = base, .size = size, .device = device, .range = range };
	int result;

	(void)pthread_rwlock_wrlock(&bus->lock);
	result = insert_range(bus, kind, &added, err);
	(void)pthread_rwlock_unlock(&bus->lock);
	return result;
}

void bus_remove(struct bus *bus, enum bus_kind kind, const struct device *device, unsigned range)
{
	struct bus_range *ranges = bus->ranges[kind];

	(void)pthread_rwlock_wrlock(&bus->lock);
	for (size_t i = 0; i < bus->count[kind]; i++) {
		if (ranges[i].device != device || ranges[i].range != range)
			continue;
		bus->count[kind]--;
		memmove(ranges + i, ranges + i + 1, (bus->count[kind] - i) * sizeof(*ranges));
		break;
	}
	(void)pthread_rwlock_unlock(&bus->lock);
}

/*
 * A copy: the lock is not held while the device works, for it may move its own ranges (a PCI BAR).  Devices live as
 * long as the machine.
 */
static bool look_up(struct bus *bus, enum bus_kind kind, uint64_t address, struct bus_range *found)
{
	size_t at;
	bool there;

	(void)pthread_rwlock_rdlock(&bus->lock);
	at = find_range(bus, kind, address);
	there = at < bus->count[kind] && bus->ranges[kind][at].base <= address;
	if (there)
		*found = bus->ranges[kind][at];
	(void)pthread_rwlock_unlock(&bus->lock);
	if (!there)
		__atomic_fetch_add(&bus->unknown[kind], 1, __ATOMIC_RELAXED);
	return there;
}

/* Whoever adds holds the device's lock, but whoever asks (counters) does not. */
static void count_accesses(uint64_t *counter, uint32_t count)
{
	__atomic_store_n(counter, *counter + count, __ATOMIC_RELAXED);
}

static unsigned cut(const struct bus_range *range, uint64_t offset, unsigned size)
{
	return size > range->size - offset ? (unsigned)(range->size - offset) : size;
}

bool bus_read_string(struct bus *bus, enum bus_kind kind, uint64_t address, void *data, unsigned size, uint32_t count)
{
	struct bus_range range;
	struct device *device;
	uint8_t *at = data;
	uint64_t offset;

	memset(data, 0xff, (size_t)size * count);
	if (!look_up(bus, kind, address, &range))
		return false;
	device = range.device;
	offset = address - range.base;
	(void)pthread_mutex_lock(&device->lock);
	count_accesses(&device->reads, count);
	for (uint32_t i = 0; device->ops->read && i < count; i++, at += size)
		device->ops->read(device, range.range, offset, at, cut(&range, offset, size));
	(void)pthread_mutex_unlock(&device->lock);
	return true;
}

bool bus_write_string(struct bus *bus, enum bus_kind kind, uint64_t address, const void *data, unsigned size,
		      uint32_t count)
{
	struct bus_range range;
	struct device *device;
	const uint8_t *at = data;
	uint64_t offset;

	if (!look_up(bus, kind, address, &range))
		return false;
	device = range.device;
	offset = address - range.base;
	(void)pthread_mutex_lock(&device->lock);
	count_accesses(&device->writes, count);
	for (uint32_t i = 0; device->ops->write && i < count; i++, at += size)
		device->ops->write(device, range.range, offset, at, cut(&range, offset, size));
	(void)pthread_mutex_unlock(&device->lock);
	return true;
}

bool bus_read(struct bus *bus, enum bus_kind kind, uint64_t address, void *data, unsigned size)
{
	return bus_read_string(bus, kind, address, data, size, 1);
}

bool bus_write(struct bus *bus, enum bus_kind kind, uint64_t address, const void *data, unsigned size)
{
	return bus_write_string(bus, kind, address, data, size, 1);
}
