/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the split ring and the transport's registers.  The first byte's low bits are the ring's size
 * (a power of two up to 64), bit 3 the event index; then
 * bit 7 clear: the rest is guest memory from 0 on: descriptors, available ring (at 1024), used ring (at 2048),
 *     indirect tables anywhere.  What comes out of the walker must lie inside of memory.
 * bit 7 set: the rest are accesses to virtio devices: offset:2, size and direction:1, value:8.
 */
#include "fuzz.h"
#include "paradigm/vm/virtio/balloon.h"
#include "paradigm/vm/virtio/console.h"
#include "paradigm/vm/virtio/queue.h"
#include "paradigm/vm/virtio/rng.h"

enum { LOW = 16384, HIGH = 4096, DEVICES = 3, ACCESS = 11 };

#define HIGH_BASE UINT64_C(0x100000)

static void check_buffer(const struct guest_memory *memory, const struct iovec *iov)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];
		const uint8_t *at = iov->iov_base;

		if (at >= region->host && at < region->host + region->size &&
		    iov->iov_len <= (size_t)(region->host + region->size - at))
			return;
	}
	abort();
}

static void check_chain(const struct guest_memory *memory, const struct virtqueue_chain *chain)
{
	uint64_t out = 0, in = 0;

	check(chain->count_out + chain->count_in > 0 && chain->count_out + chain->count_in <= VIRTQUEUE_CHAIN_MAX);
	for (unsigned i = 0; i < (unsigned)chain->count_out + chain->count_in; i++) {
		check_buffer(memory, &chain->iov[i]);
		if (i < chain->count_out)
			out += chain->iov[i].iov_len;
		else
			in += chain->iov[i].iov_len;
	}
	check(out == chain->size_out && in == chain->size_in);
}

static void walk(struct guest_memory *memory, uint8_t mode, const uint8_t *data, size_t size)
{
	static struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	struct virtqueue_chain chain;
	struct virtqueue queue;
	unsigned popped = 0;

	memset(memory->regions[0].host, 0, LOW);
	memcpy(memory->regions[0].host, data, size < LOW ? size : LOW);
	virtqueue_init(&queue, memory, 64);
	queue.size = (uint16_t)(1U << (mode & 7));
	queue.event_index = mode & 8;
	queue.available = 1024;
	queue.used = 2048;
	if (!virtqueue_start(&queue))
		return;
	while (virtqueue_pop(&queue, &chain, iov) > 0) {
		check(++popped <= 65536U + queue.size);
		check_chain(memory, &chain);
		if (popped % 4 == 0) {
			virtqueue_unpop(&queue);
			check(virtqueue_pop(&queue, &chain, iov) == 1);
		}
		virtqueue_push(&queue, chain.head, (uint32_t)chain.size_in);
		(void)virtqueue_wants_interrupt(&queue);
		(void)virtqueue_listen(&queue, popped & 1);
		if (popped == 2048)
			return; /* the used ring may lie over the available one, and feed it for ever */
	}
}

static void use_registers(struct guest_memory *memory, const uint8_t *data, size_t size)
{
	const struct virtio_console_options options = { .name = "fuzz" };
	struct device *devices[DEVICES];
	struct loop loop;

	check(loop_open(&loop, NULL) == 0 && virtio_rng_make(memory, &loop, &devices[0], NULL) == 0 &&
	      virtio_balloon_make(true, memory, &loop, &devices[1], NULL) == 0 &&
	      virtio_console_make(&options, memory, &loop, &devices[2], NULL) == 0);
	for (; size >= ACCESS; data += ACCESS, size -= ACCESS) {
		struct device *device = devices[data[1] >> 4 & 3 ? (data[1] >> 4 & 3) - 1 : 0];
		uint64_t offset = (data[0] | (uint64_t)data[1] << 8) % VIRTIO_MMIO_SIZE & 0x1ff;
		unsigned count = (data[2] & 7) + 1;
		uint8_t value[8];

		memcpy(value, data + 3, sizeof(value));
		/* Rings and buffers, too, come from here. */
		(void)guest_memory_write(memory, (uint64_t)(data[9] | data[10] << 8), value, 6);
		if (data[2] & 8)
			device->ops->read(device, 0, offset, value, count);
		else
			device->ops->write(device, 0, offset, value, count);
		if (data[2] & 16)
			check(loop_wait(&loop, 0, NULL) == 0);
		if (data[2] & 32)
			(void)virtio_console_input(devices[2], data, size);
	}
	for (int i = 0; i < 4; i++)
		check(loop_wait(&loop, 0, NULL) == 0);
	for (int i = 0; i < DEVICES; i++)
		devices[i]->ops->free(devices[i]);
	loop_close(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* From malloc(), so that the sanitizer knows their ends; they are never given back. */
	static uint8_t *low, *high;
	struct guest_memory memory = { .count = 2, .fd = -1, .page = 4096 };

	if (!low) {
		low = aligned_alloc(4096, LOW);
		high = aligned_alloc(4096, HIGH);
	}
	check(low && high);
	memory.regions[0] = (struct guest_region){ .size = LOW, .host = low };
	memory.regions[1] = (struct guest_region){ .base = HIGH_BASE, .size = HIGH, .host = high };
	if (size == 0)
		return 0;
	if (data[0] & 0x80)
		use_registers(&memory, data + 1, size - 1);
	else
		walk(&memory, data[0], data + 1, size - 1);
	return 0;
}
