/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
	QUEUE_SIZE = 64,
	REQUEST_MAX = 65536, /* bytes that one request gets */
	ROUND_MAX = 16,	     /* requests before others on the loop have their turn */
};

struct rng {
	struct virtio virtio;
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
};

static uint32_t fill(const struct virtqueue_chain *chain)
{
	uint32_t written = 0;

	for (unsigned i = chain->count_out; i < (unsigned)chain->count_out + chain->count_in; i++) {
		uint8_t *at = chain->iov[i].iov_base;
		size_t left = chain->iov[i].iov_len;

		while (left > 0 && written < REQUEST_MAX) {
			size_t wanted = left < REQUEST_MAX - written ? left : REQUEST_MAX - written;
			ssize_t count = getrandom(at, wanted, 0);

			if (count < 0 && errno == EINTR)
				continue;
			if (count <= 0)
				return written;
			at += count;
			left -= (size_t)count;
			written += (uint32_t)count;
		}
	}
	return written;
}

static void rng_handle(struct virtio *virtio, unsigned queue)
{
	struct rng *rng = (struct rng *)(void *)virtio;
	struct virtqueue_chain chain;
	unsigned count;

	for (count = 0; count < ROUND_MAX && virtio_pop(virtio, queue, &chain, rng->iov); count++)
		virtqueue_push(&virtio->queues[queue], chain.head, fill(&chain));
	virtio_notify(virtio, queue);
	if (count == ROUND_MAX || virtqueue_listen(&virtio->queues[queue], true))
		virtio_kick(virtio, queue);
}

static void rng_free(struct virtio *virtio)
{
	virtio_free(virtio);
	free(virtio);
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.handle = rng_handle,
	.free = rng_free,
};

int virtio_rng_make(struct guest_memory *memory, struct loop *loop, struct device **device, struct error *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	int ret;

	if (!rng)
		return error_errno(err, ENOMEM, "cannot make virtio-rng");
	ret = virtio_init(&rng->virtio, &rng_ops, 0, 1, QUEUE_SIZE, memory, loop, err);
	if (ret < 0)
		free(rng);
	else
		*device = &rng->virtio.device;
	return ret;
}
