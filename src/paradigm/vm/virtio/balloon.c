/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUEUE_INFLATE,
	QUEUE_DEFLATE,
	/*
	 * Behind them statistics, free page hints and reports.  Linux numbers only the queues that were negotiated,
	 * others as the specification does: with neither of the first two offered, all that come are reports.
	 */
	QUEUES = 5,

	QUEUE_SIZE = 128,
	PAGE_SHIFT = VIRTIO_BALLOON_PFN_SHIFT,
	PAGE = 1 << PAGE_SHIFT,
	REQUEST_MAX = 64 << 10, /* bytes of page numbers in one request; Linux 1 KiB */
	PIECE = 256,		/* page numbers that are looked at together */
	/* Before others on the loop have their turn, after a whole request: */
	ROUND_MAX = 64,	       /* requests */
	ROUND_DISCARDS = 4096, /* pages or runs of pages, each a system call */
};

struct balloon {
	struct virtio virtio;
	struct virtio_balloon_state state;
	unsigned discards; /* in this round */
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
};

static struct balloon *balloon_of(struct virtio *virtio)
{
	return (struct balloon *)(void *)virtio;
}

static uint64_t discard(struct balloon *balloon, uint64_t address, uint64_t size)
{
	struct guest_memory *memory = balloon->virtio.memory;
	int64_t given = guest_memory_discard(memory, address, size);

	balloon->discards++;
	if (given <= 0)
		return 0;
	return (uint64_t)given;
}

/* Pages that follow one another, upwards or downwards, go in one call. */
static void discard_pages(struct balloon *balloon, const uint32_t *pages, size_t count)
{
	for (size_t i = 0, run; i < count; i += run) {
		uint64_t first = pages[i], last = pages[i];

		for (run = 1; i + run < count; run++) {
			uint64_t next = pages[i + run];

			if (next == last + 1)
				last = next;
			else if (next + 1 == first)
				first = next;
			else
				break;
		}
		balloon->state.inflated += discard(balloon, first << PAGE_SHIFT, (last - first + 1) << PAGE_SHIFT);
	}
}

static bool inflate(struct balloon *balloon, const struct virtqueue_chain *chain)
{
	uint32_t pages[PIECE];
	size_t done = 0, count;

	if (chain->size_out > REQUEST_MAX)
		return false;
	while ((count = iov_read(chain->iov, chain->count_out, done, pages, sizeof(pages))) >= sizeof(*pages)) {
		discard_pages(balloon, pages, count / sizeof(*pages));
		done += count;
	}
	return true;
}

/* Where memory of the guest's is, from where it is mapped: buffers of chains lie in one region each. */
static uint64_t guest_address(const struct guest_memory *memory, const uint8_t *host)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		if (host >= region->host && (uint64_t)(host - region->host) < region->size)
			return region->base + (uint64_t)(host - region->host);
	}
	return UINT64_MAX;
}

static void take_report(struct balloon *balloon, const struct virtqueue_chain *chain)
{
	for (unsigned i = chain->count_out; i < (unsigned)chain->count_out + chain->count_in; i++)
		balloon->state.reported += discard(
			balloon, guest_address(balloon->virtio.memory, chain->iov[i].iov_base), chain->iov[i].iov_len);
}

static void handle_request(struct balloon *balloon, unsigned queue, const struct virtqueue_chain *chain)
{
	if (queue == QUEUE_INFLATE && !inflate(balloon, chain))
		virtio_fail(&balloon->virtio);
	else if (queue > QUEUE_DEFLATE && virtio_has(&balloon->virtio, VIRTIO_BALLOON_F_REPORTING))
		take_report(balloon, chain);
	virtqueue_push(&balloon->virtio.queues[queue], chain->head, 0);
}

static void balloon_handle(struct virtio *virtio, unsigned queue)
{
	struct balloon *balloon = balloon_of(virtio);
	struct virtqueue_chain chain;
	bool more = true;

	balloon->discards = 0;
	for (int count = 0; more && count < ROUND_MAX && balloon->discards < ROUND_DISCARDS; count++) {
		more = virtio_pop(virtio, queue, &chain, balloon->iov);
		if (more)
			handle_request(balloon, queue, &chain);
	}
	virtio_notify(virtio, queue);
	if (more || virtqueue_listen(&virtio->queues[queue], true))
		virtio_kick(virtio, queue);
}

static void balloon_reset(struct virtio *virtio)
{
	struct balloon *balloon = balloon_of(virtio);

	balloon->state.actual = 0;
}

static struct virtio_balloon_config make_config(const struct balloon *balloon)
{
	return (struct virtio_balloon_config){
		.num_pages = (uint32_t)(balloon->state.wanted >> PAGE_SHIFT),
		.actual = (uint32_t)(balloon->state.actual >> PAGE_SHIFT),
	};
}

enum { CONFIG_SIZE = 8 }; /* what follows belongs to features that are not offered */

static void balloon_config_read(struct virtio *virtio, uint32_t offset, void *data, uint32_t size)
{
	const struct virtio_balloon_config config = make_config(balloon_of(virtio));

	memcpy(data, (const uint8_t *)&config + offset, size);
}

static void balloon_config_write(struct virtio *virtio, uint32_t offset, const void *data, uint32_t size)
{
	struct balloon *balloon = balloon_of(virtio);
	struct virtio_balloon_config config = make_config(balloon);

	memcpy((uint8_t *)&config + offset, data, size);
	balloon->state.actual = (uint64_t)config.actual << PAGE_SHIFT; /* the only field that is the driver's */
}

static void balloon_save(struct virtio *virtio, struct state_writer *writer)
{
	const struct balloon *balloon = balloon_of(virtio);

	state_put_u64(writer, balloon->state.wanted);
	state_put_u64(writer, balloon->state.actual);
}

static int balloon_restore(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	struct balloon *balloon = balloon_of(virtio);

	(void)err;
	balloon->state.wanted = state_get_u64(reader);
	balloon->state.actual = state_get_u64(reader);
	return 0;
}

static void balloon_free(struct virtio *virtio)
{
	virtio_free(virtio);
	free(balloon_of(virtio));
}

static const struct virtio_ops balloon_ops = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.features = UINT64_C(1) << VIRTIO_BALLOON_F_REPORTING,
	.config_size = CONFIG_SIZE,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.handle = balloon_handle,
	.reset = balloon_reset,
	.save = balloon_save,
	.restore = balloon_restore,
	.free = balloon_free,
};

int virtio_balloon_make(bool deflate_on_oom, struct guest_memory *memory, struct loop *loop, struct device **device,
			struct error *err)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));
	int ret;

	if (!balloon)
		return error_errno(err, ENOMEM, "cannot make virtio-balloon");
	ret = virtio_init(&balloon->virtio, &balloon_ops,
			  deflate_on_oom ? UINT64_C(1) << VIRTIO_BALLOON_F_DEFLATE_ON_OOM : 0, QUEUES, QUEUE_SIZE,
			  memory, loop, err);
	if (ret < 0)
		free(balloon);
	else
		*device = &balloon->virtio.device;
	return ret;
}

void virtio_balloon_set(struct device *device, uint64_t bytes)
{
	struct balloon *balloon = (struct balloon *)(void *)device;

	(void)pthread_mutex_lock(&device->lock);
	balloon->state.wanted = bytes >> PAGE_SHIFT << PAGE_SHIFT;
	if (balloon->state.wanted > (uint64_t)UINT32_MAX << PAGE_SHIFT)
		balloon->state.wanted = (uint64_t)UINT32_MAX << PAGE_SHIFT;
	virtio_config_changed(&balloon->virtio);
	(void)pthread_mutex_unlock(&device->lock);
}

void virtio_balloon_get(struct device *device, struct virtio_balloon_state *state)
{
	(void)pthread_mutex_lock(&device->lock);
	*state = ((struct balloon *)(void *)device)->state;
	(void)pthread_mutex_unlock(&device->lock);
}
