/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/queue.h"

#include <errno.h>
#include <limits.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the rings are little-endian, and read as they are");

/* Where the fields are: struct virtq_avail and virtq_used, virtio 1.2, 2.7.6 and 2.7.8. */
enum {
	RING_FLAGS = 0,
	RING_INDEX = 2,
	RING_ENTRIES = 4,
	AVAILABLE_ENTRY = 2,
	USED_ENTRY = 8,
	DESCRIPTOR = 16,
	USED_EVENT = 2, /* bytes behind the entries: the other side's event index */
};

static uint16_t load16(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_RELAXED);
}

static void store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELAXED);
}

/* The indices: what the driver has written before its own is seen behind it, and what we have written before ours. */
static uint16_t load_index(const uint8_t *ring)
{
	return __atomic_load_n((const uint16_t *)(const void *)(ring + RING_INDEX), __ATOMIC_ACQUIRE);
}

static void store_index(uint8_t *ring, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)(ring + RING_INDEX), value, __ATOMIC_RELEASE);
}

void virtqueue_init(struct virtqueue *queue, struct guest_memory *memory, uint16_t size_max)
{
	*queue = (struct virtqueue){ .memory = memory, .size_max = size_max };
	virtqueue_reset(queue);
}

void virtqueue_reset(struct virtqueue *queue)
{
	*queue = (struct virtqueue){ .memory = queue->memory, .size_max = queue->size_max, .size = queue->size_max };
}

static size_t available_bytes(const struct virtqueue *queue)
{
	return RING_ENTRIES + (size_t)AVAILABLE_ENTRY * queue->size + USED_EVENT;
}

static size_t used_bytes(const struct virtqueue *queue)
{
	return RING_ENTRIES + (size_t)USED_ENTRY * queue->size + USED_EVENT;
}

bool virtqueue_start(struct virtqueue *queue)
{
	if (queue->size == 0 || queue->size > queue->size_max || (queue->size & (queue->size - 1)) != 0)
		return false;
	if (queue->descriptors % 16 != 0 || queue->available % 2 != 0 || queue->used % 4 != 0)
		return false;
	queue->descriptor_area = guest_memory_at(queue->memory, queue->descriptors, (uint64_t)DESCRIPTOR * queue->size);
	queue->available_area = guest_memory_at(queue->memory, queue->available, available_bytes(queue));
	queue->used_area = guest_memory_at(queue->memory, queue->used, used_bytes(queue));
	queue->ready = queue->descriptor_area && queue->available_area && queue->used_area;
	return queue->ready;
}

static int fail_queue(struct virtqueue *queue)
{
	queue->broken = true;
	return -EINVAL;
}

/* A table of descriptors: the queue's own, or an indirect one. */
struct table {
	const uint8_t *at;
	uint32_t count;
	uint32_t visited; /* more than count: it loops */
};

/* One read of guest memory, which the barrier keeps from becoming two: what was judged is what is used. */
static struct vring_desc load_descriptor(const struct table *table, uint32_t index)
{
	struct vring_desc copy;

	memcpy(&copy, table->at + (size_t)index * DESCRIPTOR, sizeof(copy));
	atomic_signal_fence(memory_order_seq_cst);
	return copy;
}

static bool enter_indirect(const struct virtqueue *queue, const struct vring_desc *descriptor, struct table *table)
{
	if (descriptor->len == 0 || descriptor->len % DESCRIPTOR != 0 || (descriptor->flags & VRING_DESC_F_NEXT))
		return false;
	table->at = guest_memory_at(queue->memory, descriptor->addr, descriptor->len);
	table->count = descriptor->len / DESCRIPTOR;
	table->visited = 0;
	return table->at != NULL;
}

static bool add_buffer(const struct virtqueue *queue, const struct vring_desc *descriptor,
		       struct virtqueue_chain *chain)
{
	unsigned count = chain->count_out + chain->count_in;
	bool in = descriptor->flags & VRING_DESC_F_WRITE;
	uint64_t *size = in ? &chain->size_in : &chain->size_out;
	void *at;

	if (count == VIRTQUEUE_CHAIN_MAX || descriptor->len == 0 || (!in && chain->count_in > 0))
		return false;
	at = guest_memory_at(queue->memory, descriptor->addr, descriptor->len);
	*size += descriptor->len; /* cannot overflow: at most CHAIN_MAX 32-bit numbers */
	if (!at || *size > UINT32_MAX)
		return false;
	chain->iov[count] = (struct iovec){ .iov_base = at, .iov_len = descriptor->len };
	if (in)
		chain->count_in++;
	else
		chain->count_out++;
	return true;
}

static bool walk(const struct virtqueue *queue, struct virtqueue_chain *chain)
{
	struct table table = { .at = queue->descriptor_area, .count = queue->size };
	uint32_t index = chain->head;
	bool indirect = false;

	for (;;) {
		struct vring_desc descriptor;

		if (index >= table.count || table.visited++ == table.count)
			return false;
		descriptor = load_descriptor(&table, index);
		index = descriptor.next;
		if (descriptor.flags & VRING_DESC_F_INDIRECT) {
			if (indirect || !enter_indirect(queue, &descriptor, &table))
				return false;
			indirect = true;
			index = 0;
			continue;
		}
		if (!add_buffer(queue, &descriptor, chain))
			return false;
		if (!(descriptor.flags & VRING_DESC_F_NEXT))
			return true;
	}
}

/* How many requests wait; more than the ring holds is a broken one. */
static uint16_t count_waiting(const struct virtqueue *queue)
{
	return (uint16_t)(load_index(queue->available_area) - queue->next_available);
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct iovec *iov)
{
	uint16_t waiting, slot;

	if (queue->broken)
		return -EINVAL;
	if (!queue->ready)
		return 0;
	waiting = count_waiting(queue);
	if (waiting == 0)
		return 0;
	if (waiting > queue->size)
		return fail_queue(queue);
	slot = queue->next_available & (queue->size - 1);
	*chain = (struct virtqueue_chain){
		.head = load16(queue->available_area + RING_ENTRIES + (size_t)slot * AVAILABLE_ENTRY),
		.iov = iov,
	};
	if (!walk(queue, chain))
		return fail_queue(queue);
	queue->next_available++;
	return 1;
}

void virtqueue_unpop(struct virtqueue *queue)
{
	queue->next_available--;
}

void virtqueue_fill(struct virtqueue *queue, uint16_t ahead, uint16_t head, uint32_t written)
{
	const struct vring_used_elem entry = { .id = head, .len = written };
	uint16_t slot = (uint16_t)(queue->next_used + ahead) & (queue->size - 1);
	uint64_t offset = RING_ENTRIES + (uint64_t)slot * USED_ENTRY;

	if (!queue->ready)
		return;
	memcpy(queue->used_area + offset, &entry, sizeof(entry));
}

void virtqueue_publish(struct virtqueue *queue, uint16_t count)
{
	if (!queue->ready)
		return;
	queue->next_used = (uint16_t)(queue->next_used + count);
	store_index(queue->used_area, queue->next_used);
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	virtqueue_fill(queue, 0, head, written);
	virtqueue_publish(queue, 1);
}

bool virtqueue_wants_interrupt(struct virtqueue *queue)
{
	uint16_t before = queue->signalled, now = queue->next_used, event;

	if (!queue->ready || before == now)
		return false;
	queue->signalled = now;
	/* The driver writes its wish and then looks at our index; we have written that and now look at its wish. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!queue->event_index)
		return !(load16(queue->available_area + RING_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
	event = load16(queue->available_area + RING_ENTRIES + (size_t)AVAILABLE_ENTRY * queue->size);
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool virtqueue_listen(struct virtqueue *queue, bool wanted)
{
	uint64_t offset = RING_ENTRIES + (uint64_t)USED_ENTRY * queue->size;

	if (!queue->ready || queue->broken)
		return false;
	/* With an index and not wanted: that of the last asking is behind us, and no notification comes for it. */
	if (!queue->event_index)
		store16(queue->used_area + RING_FLAGS, wanted ? 0 : VRING_USED_F_NO_NOTIFY);
	else if (wanted)
		store16(queue->used_area + offset, queue->next_available);
	atomic_thread_fence(memory_order_seq_cst);
	return wanted && count_waiting(queue) != 0;
}

void virtqueue_save(const struct virtqueue *queue, struct state_writer *writer)
{
	state_put_u32(writer, queue->size);
	state_put_u32(writer,
		      (uint32_t)queue->ready | (uint32_t)queue->broken << 1 | (uint32_t)queue->event_index << 2);
	state_put_u64(writer, queue->descriptors);
	state_put_u64(writer, queue->available);
	state_put_u64(writer, queue->used);
	state_put_u32(writer, queue->next_available);
	state_put_u32(writer, queue->next_used);
	state_put_u32(writer, queue->signalled);
}

int virtqueue_restore(struct virtqueue *queue, struct state_reader *reader, struct error *err)
{
	uint32_t size = state_get_u32(reader), flags = state_get_u32(reader);

	virtqueue_reset(queue);
	queue->broken = flags & 2;
	queue->event_index = flags & 4;
	queue->descriptors = state_get_u64(reader);
	queue->available = state_get_u64(reader);
	queue->used = state_get_u64(reader);
	queue->next_available = (uint16_t)state_get_u32(reader);
	queue->next_used = (uint16_t)state_get_u32(reader);
	queue->signalled = (uint16_t)state_get_u32(reader);
	if (reader->failed || size > UINT16_MAX)
		return error_set(err, EINVAL, "the snapshot has a virtqueue that is cut short");
	queue->size = (uint16_t)size;
	if ((flags & 1) && !virtqueue_start(queue))
		return error_set(err, EINVAL, "the snapshot has a virtqueue outside of memory");
	return 0;
}

/* The part of one buffer that begins offset bytes into the whole; 0: the buffer lies before it. */
static size_t part_of(const struct iovec *iov, size_t *offset, size_t wanted)
{
	size_t room;

	if (*offset >= iov->iov_len) {
		*offset -= iov->iov_len;
		return 0;
	}
	room = iov->iov_len - *offset;
	return room < wanted ? room : wanted;
}

size_t iov_read(const struct iovec *iov, size_t count, size_t offset, void *to, size_t size)
{
	size_t done = 0;

	for (size_t i = 0; i < count && done < size; i++) {
		size_t part = part_of(&iov[i], &offset, size - done);

		if (part == 0)
			continue;
		memcpy((uint8_t *)to + done, (const uint8_t *)iov[i].iov_base + offset, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t iov_write(const struct iovec *iov, size_t count, size_t offset, const void *from, size_t size)
{
	size_t done = 0;

	for (size_t i = 0; i < count && done < size; i++) {
		size_t part = part_of(&iov[i], &offset, size - done);

		if (part == 0)
			continue;
		memcpy((uint8_t *)iov[i].iov_base + offset, (const uint8_t *)from + done, part);
		done += part;
		offset = 0;
	}
	return done;
}
