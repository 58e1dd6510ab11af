/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_driver - the other side of a virtio device, for tests: a guest's
 * driver that does all by the book (registers, rings, kicks), and lets a test
 * write over whatever it likes.
 *
 *     struct driver driver;
 *     driver_open(&driver);
 *     virtio_rng_make(&driver.memory, &driver.loop, &device, &err);
 *     driver_start(&driver, device, features);
 *     at = driver_alloc(&driver, 64);
 *     driver_request(&driver, 0, NULL, 0, at, 64);     puts it there, kicks, waits: bytes written
 *
 * Include after cmocka.h.
 */
#ifndef CAISSON_TESTS_VIRTIO_DRIVER_H
#define CAISSON_TESTS_VIRTIO_DRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "paradigm/vm/device/device.h"
#include "paradigm/vm/machine/memory.h"
#include "paradigm/vm/virtio/virtio.h"

enum {
	DRIVER_QUEUE_SIZE = 16,
	DRIVER_LOW = 4 << 20,
	DRIVER_HIGH = 1 << 20,
	DRIVER_SECONDS = 20, /* after which nothing more is expected: a failure */
};

#define DRIVER_HIGH_BASE UINT64_C(0x100000000)

/* A buffer of a chain. */
struct driver_buffer {
	uint64_t address;
	uint32_t size;
	bool writable;
};

struct driver_queue {
	uint64_t descriptors, available, used;
	uint16_t size, next_descriptor, next_available, seen_used;
	uint16_t told; /* next_available at the last kick */
};

struct driver {
	struct loop loop;
	struct guest_memory memory;
	struct device *device;
	struct virtio *virtio;
	struct driver_queue queues[VIRTIO_QUEUES_MAX];
	uint64_t next_free; /* of the guest's memory */
	bool threaded;	    /* somebody else runs the loop */
};

struct driver_used {
	uint32_t id, size;
};

/* 4 MiB at 0 and 1 MiB at 4 GiB. */
__attribute__((unused)) static void driver_open(struct driver *driver)
{
	const struct guest_region layout[] = {
		{ .base = 0, .size = DRIVER_LOW },
		{ .base = DRIVER_HIGH_BASE, .size = DRIVER_HIGH, .offset = DRIVER_LOW },
	};
	struct error err = ERROR_INIT;

	*driver = (struct driver){ .next_free = 4096 };
	if (loop_open(&driver->loop, &err) < 0 || guest_memory_make(&driver->memory, layout, 2, 0, &err) < 0)
		fail_msg("%s", err.text);
}

/* The device too. */
__attribute__((unused)) static void driver_close(struct driver *driver)
{
	if (driver->device)
		driver->device->ops->free(driver->device);
	guest_memory_free(&driver->memory);
	loop_close(&driver->loop);
}

__attribute__((unused)) static uint64_t driver_alloc(struct driver *driver, uint64_t size)
{
	uint64_t at = driver->next_free;

	driver->next_free += (size + 63) / 64 * 64;
	assert_true(driver->next_free <= DRIVER_LOW);
	return at;
}

/* Where the guest's memory is mapped; it must be there. */
__attribute__((unused)) static void *driver_at(struct driver *driver, uint64_t address, uint64_t size)
{
	void *at = guest_memory_at(&driver->memory, address, size);

	assert_non_null(at);
	return at;
}

/* ---- registers, as the bus reads and writes them ---- */

__attribute__((unused)) static void driver_read(struct driver *driver, uint64_t offset, void *data, unsigned size)
{
	memset(data, 0xff, size);
	pthread_mutex_lock(&driver->device->lock);
	driver->device->ops->read(driver->device, 0, offset, data, size);
	pthread_mutex_unlock(&driver->device->lock);
}

__attribute__((unused)) static void driver_write(struct driver *driver, uint64_t offset, const void *data,
						 unsigned size)
{
	pthread_mutex_lock(&driver->device->lock);
	driver->device->ops->write(driver->device, 0, offset, data, size);
	pthread_mutex_unlock(&driver->device->lock);
}

__attribute__((unused)) static uint32_t driver_get(struct driver *driver, uint64_t offset)
{
	uint32_t value;

	driver_read(driver, offset, &value, sizeof(value));
	return value;
}

__attribute__((unused)) static void driver_set(struct driver *driver, uint64_t offset, uint32_t value)
{
	driver_write(driver, offset, &value, sizeof(value));
}

__attribute__((unused)) static void driver_config(struct driver *driver, uint32_t offset, void *data, unsigned size)
{
	driver_read(driver, VIRTIO_MMIO_CONFIG + offset, data, size);
}

__attribute__((unused)) static uint64_t driver_features(struct driver *driver)
{
	uint64_t features;

	driver_set(driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)driver_get(driver, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	driver_set(driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | driver_get(driver, VIRTIO_MMIO_DEVICE_FEATURES);
}

__attribute__((unused)) static bool driver_needs_reset(struct driver *driver)
{
	return driver_get(driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* ---- virtio 1.2, 3.1.1 ---- */

/* Takes over a device; nothing is negotiated. */
__attribute__((unused)) static void driver_adopt(struct driver *driver, struct device *device)
{
	driver->device = device;
	driver->virtio = (struct virtio *)(void *)device;
	if (driver->virtio->interrupt.fd < 0)
		driver->virtio->interrupt.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* false: the device does not like the features. */
__attribute__((unused)) static bool driver_negotiate(struct driver *driver, uint64_t features)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	driver_set(driver, VIRTIO_MMIO_STATUS, 0);
	driver_set(driver, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_set(driver, VIRTIO_MMIO_STATUS, status);
	for (uint32_t i = 0; i < 2; i++) {
		driver_set(driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		driver_set(driver, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
	}
	driver_set(driver, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_FEATURES_OK);
	return driver_get(driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

__attribute__((unused)) static void driver_set64(struct driver *driver, uint64_t low, uint64_t value)
{
	driver_set(driver, low, (uint32_t)value);
	driver_set(driver, low + 4, (uint32_t)(value >> 32));
}

/* size 0: DRIVER_QUEUE_SIZE, or what the device has at most. */
__attribute__((unused)) static void driver_set_queue(struct driver *driver, unsigned index, uint16_t size)
{
	struct driver_queue *queue = &driver->queues[index];
	uint32_t most;

	driver_set(driver, VIRTIO_MMIO_QUEUE_SEL, index);
	most = driver_get(driver, VIRTIO_MMIO_QUEUE_NUM_MAX);
	if (size == 0)
		size = (uint16_t)(most < DRIVER_QUEUE_SIZE ? most : DRIVER_QUEUE_SIZE);
	*queue = (struct driver_queue){ .size = size };
	queue->descriptors = driver_alloc(driver, 16 * (uint64_t)size);
	queue->available = driver_alloc(driver, 6 + 2 * (uint64_t)size);
	queue->used = driver_alloc(driver, 6 + 8 * (uint64_t)size);
	memset(driver_at(driver, queue->available, 6), 0, 6 + 2 * (size_t)size);
	memset(driver_at(driver, queue->used, 6), 0, 6 + 8 * (size_t)size);
	driver_set(driver, VIRTIO_MMIO_QUEUE_NUM, size);
	driver_set64(driver, VIRTIO_MMIO_QUEUE_DESC_LOW, queue->descriptors);
	driver_set64(driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue->available);
	driver_set64(driver, VIRTIO_MMIO_QUEUE_USED_LOW, queue->used);
	driver_set(driver, VIRTIO_MMIO_QUEUE_READY, 1);
}

__attribute__((unused)) static void driver_go(struct driver *driver)
{
	driver_set(driver, VIRTIO_MMIO_STATUS, driver_get(driver, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* All of it, with all queues; VERSION_1 is added. */
__attribute__((unused)) static void driver_start(struct driver *driver, struct device *device, uint64_t features)
{
	driver_adopt(driver, device);
	assert_true(driver_negotiate(driver, features | UINT64_C(1) << VIRTIO_F_VERSION_1));
	for (unsigned i = 0; i < driver->virtio->queues_count; i++)
		driver_set_queue(driver, i, 0);
	driver_go(driver);
}

/* ---- rings ---- */

__attribute__((unused)) static struct vring_desc *driver_descriptor(struct driver *driver, unsigned index,
								    unsigned number)
{
	return driver_at(driver, driver->queues[index].descriptors + 16 * (uint64_t)number, 16);
}

/* Offers the chain that begins with that descriptor. */
__attribute__((unused)) static void driver_offer(struct driver *driver, unsigned index, uint16_t head)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t *ring = driver_at(driver, queue->available, 6 + 2 * (uint64_t)queue->size);

	ring[2 + queue->next_available % queue->size] = head;
	__atomic_store_n(&ring[1], ++queue->next_available, __ATOMIC_SEQ_CST);
}

__attribute__((unused)) static void driver_fill(struct vring_desc *descriptor, const struct driver_buffer *buffer,
						bool more, uint16_t next)
{
	*descriptor = (struct vring_desc){
		.addr = buffer->address,
		.len = buffer->size,
		.flags = (uint16_t)((buffer->writable ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0)),
		.next = next,
	};
}

/* A chain of descriptors of the ring's own, taken in turns: only as many may be under way as there is room for. */
__attribute__((unused)) static uint16_t driver_add(struct driver *driver, unsigned index,
						   const struct driver_buffer *buffers, unsigned count)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t head = queue->next_descriptor % queue->size;

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = queue->next_descriptor++ % queue->size;

		driver_fill(driver_descriptor(driver, index, at), &buffers[i], i + 1 < count,
			    (uint16_t)((at + 1) % queue->size));
	}
	driver_offer(driver, index, head);
	return head;
}

/* The same by one indirect descriptor. */
__attribute__((unused)) static uint16_t driver_add_indirect(struct driver *driver, unsigned index,
							    const struct driver_buffer *buffers, unsigned count)
{
	struct driver_queue *queue = &driver->queues[index];
	uint64_t table = driver_alloc(driver, 16 * (uint64_t)count);
	struct vring_desc *descriptors = driver_at(driver, table, 16 * (uint64_t)count);
	uint16_t head = queue->next_descriptor++ % queue->size;

	for (unsigned i = 0; i < count; i++)
		driver_fill(&descriptors[i], &buffers[i], i + 1 < count, (uint16_t)(i + 1));
	*driver_descriptor(driver, index, head) = (struct vring_desc){
		.addr = table,
		.len = 16 * count,
		.flags = VRING_DESC_F_INDIRECT,
	};
	driver_offer(driver, index, head);
	return head;
}

/* Tells the device of what was offered since the last time, if it wants to hear of that: as Linux does, no more. */
__attribute__((unused)) static void driver_kick(struct driver *driver, unsigned index)
{
	struct driver_queue *queue = &driver->queues[index];
	const uint16_t *used = driver_at(driver, queue->used, 6 + 8 * (uint64_t)queue->size);
	uint16_t before = queue->told, now = queue->next_available, event;

	queue->told = now;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&used[2 + 4 * queue->size], __ATOMIC_RELAXED);
	if (virtio_has(driver->virtio, VIRTIO_RING_F_EVENT_IDX)
		    ? (uint16_t)(now - event - 1) < (uint16_t)(now - before)
		    : !(__atomic_load_n(&used[0], __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY))
		driver_set(driver, VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

/* Rounds of the loop, until there is nothing to do. */
__attribute__((unused)) static void driver_run(struct driver *driver)
{
	struct pollfd poll_fd = { .fd = driver->loop.epoll, .events = POLLIN };

	for (int rounds = 0; rounds < 10000 && poll(&poll_fd, 1, 0) > 0; rounds++)
		assert_int_equal(loop_wait(&driver->loop, 0, NULL), 0);
}

__attribute__((unused)) static uint16_t driver_used_index(struct driver *driver, unsigned index)
{
	const uint16_t *used = driver_at(driver, driver->queues[index].used, 4);

	return __atomic_load_n(&used[1], __ATOMIC_ACQUIRE);
}

/* The next request that comes back, if one has. */
__attribute__((unused)) static bool driver_used(struct driver *driver, unsigned index, struct driver_used *used)
{
	struct driver_queue *queue = &driver->queues[index];
	uint64_t at = queue->used + 4 + 8 * (uint64_t)(queue->seen_used % queue->size);

	if (driver_used_index(driver, index) == queue->seen_used)
		return false;
	queue->seen_used++;
	memcpy(used, driver_at(driver, at, 8), 8);
	return true;
}

/* Waits for it. */
__attribute__((unused)) static struct driver_used driver_wait(struct driver *driver, unsigned index)
{
	struct driver_used used;

	for (int waited = 0; waited < DRIVER_SECONDS * 100; waited++) {
		if (driver_used(driver, index, &used))
			return used;
		if (driver->threaded)
			usleep(10000);
		else
			assert_int_equal(loop_wait(&driver->loop, 10, NULL), 0);
	}
	fail_msg("the device gave nothing back on queue %u", index);
	return (struct driver_used){ 0 };
}

/* Number of interrupts since the last asking. */
__attribute__((unused)) static unsigned driver_interrupts(struct driver *driver)
{
	eventfd_t count = 0;

	return eventfd_read(driver->virtio->interrupt.fd, &count) == 0 ? (unsigned)count : 0;
}

/* One request of one buffer that the device reads (or none) and one that it writes (or none): bytes written. */
__attribute__((unused)) static uint32_t driver_request(struct driver *driver, unsigned index, uint64_t out,
						       uint32_t out_size, uint64_t in, uint32_t in_size)
{
	struct driver_buffer buffers[2];
	unsigned count = 0;
	uint16_t head;
	struct driver_used used;

	if (out_size > 0)
		buffers[count++] = (struct driver_buffer){ .address = out, .size = out_size };
	if (in_size > 0)
		buffers[count++] = (struct driver_buffer){ .address = in, .size = in_size, .writable = true };
	head = driver_add(driver, index, buffers, count);
	driver_kick(driver, index);
	used = driver_wait(driver, index);
	assert_int_equal(used.id, head);
	return used.size;
}

/* Writes its state and reads it into another of the same kind, which takes the place of the first. */
__attribute__((unused)) static void driver_migrate(struct driver *driver, struct device *to)
{
	struct device *from = driver->device;
	struct state_writer writer = { .section = 0 };
	struct state_reader reader;
	struct error err = ERROR_INIT;

	from->ops->quiesce(from);
	from->ops->save(from, &writer);
	state_reader_init(&reader, str_text(&writer.out), writer.out.length);
	if (to->ops->restore(to, &reader, &err) < 0)
		fail_msg("%s", err.text);
	from->ops->free(from);
	driver_adopt(driver, to);
	to->ops->resume(to);
	str_free(&writer.out);
}

#endif
