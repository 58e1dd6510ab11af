/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/blk.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUEUE_SIZE = 256,
	SEGMENTS_MAX = QUEUE_SIZE - 2, /* the header and the status take one each */
	SECTOR = 512,
	UNMAP_SECTORS_MAX = 4 << 20, /* of one discard or write of zeros */
	PHYSICAL_BLOCK_EXPONENT = 3, /* sectors of 4 KiB are read and written at once */
	ROUNDS_MAX = 4,		     /* before others on the loop have their turn */
};

#define BIT(number) (UINT64_C(1) << (number))

struct blk;

/* A request of the driver's on its way. */
struct request {
	struct block_request block;
	struct blk *blk;
	unsigned queue;
	uint16_t head;
	uint8_t *status;   /* in the guest's memory */
	uint64_t written;  /* bytes before the status, if it does well */
	uint8_t result;	   /* VIRTIO_BLK_S_* */
	struct iovec *iov; /* room for iov_room */
	unsigned iov_room;
	struct request *next;
};

struct blk {
	struct virtio virtio; /* first */
	struct block *block;
	struct virtio_blk_config config;
	char serial[VIRTIO_BLK_SERIAL_MAX];
	uint8_t write_back; /* atomic: the driver wants a cache that it flushes */
	bool dropping;	    /* the queues are no more: nothing is handed back */
	int drained;	    /* what the last drain said */
	unsigned running[VIRTIO_BLK_QUEUES_MAX];
	bool held_back[VIRTIO_BLK_QUEUES_MAX]; /* there may be more in the queue, but too much is running */
	struct request *finished, **finished_last;
	struct request *free;
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
};

static struct blk *blk_of(struct virtio *virtio)
{
	return (struct blk *)(void *)virtio;
}

static struct request *request_new(struct blk *blk, unsigned segments)
{
	struct request *request = blk->free;

	if (request)
		blk->free = request->next;
	else
		request = calloc(1, sizeof(*request));
	if (request && request->iov_room < segments) {
		free(request->iov);
		request->iov = calloc(segments, sizeof(*request->iov));
		request->iov_room = request->iov ? segments : 0;
		if (!request->iov) {
			free(request);
			return NULL;
		}
	}
	return request;
}

static void request_end(struct request *request, uint8_t result)
{
	struct blk *blk = request->blk;

	request->result = result;
	request->next = NULL;
	*blk->finished_last = request;
	blk->finished_last = &request->next;
}

static bool is_write_through(const struct blk *blk)
{
	return !virtio_has(&blk->virtio, VIRTIO_BLK_F_FLUSH) || (virtio_has(&blk->virtio, VIRTIO_BLK_F_CONFIG_WCE) &&
								 !__atomic_load_n(&blk->write_back, __ATOMIC_RELAXED));
}

static void done(struct block_request *block, int result)
{
	struct request *request = (struct request *)(void *)block;
	bool writes = block->operation == BLOCK_WRITE || block->operation == BLOCK_WRITE_ZEROES;

	/* A driver that knows of no cache takes what is written for safe. */
	if (result == 0 && writes && !request->blk->dropping && is_write_through(request->blk)) {
		block->operation = BLOCK_FLUSH;
		block_submit(request->blk->block, block);
		return;
	}
	request_end(request, result == 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

/* Hands back all that is finished: one interrupt a queue. */
static void hand_back(struct blk *blk)
{
	struct request *request = blk->finished;
	uint64_t touched = 0;

	blk->finished = NULL;
	blk->finished_last = &blk->finished;
	while (request) {
		struct request *next = request->next;

		if (!blk->dropping) {
			*request->status = request->result;
			virtqueue_push(&blk->virtio.queues[request->queue], request->head,
				       (uint32_t)(request->result == VIRTIO_BLK_S_OK ? request->written : 0) + 1);
			touched |= BIT(request->queue);
		}
		blk->running[request->queue]--;
		request->next = blk->free;
		blk->free = request;
		request = next;
	}
	for (unsigned queue = 0; queue < blk->virtio.queues_count; queue++) {
		if (touched & BIT(queue))
			virtio_notify(&blk->virtio, queue);
		if (blk->held_back[queue] && blk->running[queue] < QUEUE_SIZE) {
			blk->held_back[queue] = false;
			virtio_kick(&blk->virtio, queue);
		}
	}
}

static void batch_ended(void *context)
{
	struct blk *blk = context;

	block_kick(blk->block); /* flushes of those who write through */
	hand_back(blk);
}

/* ---- what the driver asks for: each says what goes wrong at once, or VIRTIO_BLK_S_OK and the request is on its way */

static uint8_t begin(struct request *request, enum block_operation operation, uint64_t sector, uint64_t size)
{
	request->block = (struct block_request){
		.operation = operation,
		.offset = sector * SECTOR,
		.size = size,
		.iov = request->iov,
		.iov_count = request->block.iov_count,
		.unmap = request->block.unmap,
		.done = done,
	};
	block_submit(request->blk->block, &request->block);
	return VIRTIO_BLK_S_OK;
}

static bool in_disk(const struct blk *blk, uint64_t sector, uint64_t size)
{
	uint64_t sectors = block_size(blk->block) / SECTOR;

	return size % SECTOR == 0 && sector <= sectors && size / SECTOR <= sectors - sector;
}

static uint8_t begin_read(struct request *request, const struct virtqueue_chain *chain, uint64_t sector)
{
	uint64_t size = chain->size_in - 1;

	if (!in_disk(request->blk, sector, size))
		return VIRTIO_BLK_S_IOERR;
	request->block.iov_count = block_iov_slice(chain->iov + chain->count_out, chain->count_in, 0, size,
						   request->iov);
	request->written = size;
	return begin(request, BLOCK_READ, sector, size);
}

static uint8_t begin_write(struct request *request, const struct virtqueue_chain *chain, uint64_t sector)
{
	uint64_t size = chain->size_out - sizeof(struct virtio_blk_outhdr);

	if (!in_disk(request->blk, sector, size) || block_read_only(request->blk->block))
		return VIRTIO_BLK_S_IOERR;
	request->block.iov_count = block_iov_slice(chain->iov, chain->count_out, sizeof(struct virtio_blk_outhdr), size,
						   request->iov);
	return begin(request, BLOCK_WRITE, sector, size);
}

static uint8_t begin_unmap(struct request *request, const struct virtqueue_chain *chain, bool zeroes)
{
	struct virtio_blk_discard_write_zeroes range;
	uint64_t sector, size;
	uint32_t flags;

	if (chain->size_out != sizeof(struct virtio_blk_outhdr) + sizeof(range)) /* we allow one range */
		return VIRTIO_BLK_S_IOERR;
	(void)iov_read(chain->iov, chain->count_out, sizeof(struct virtio_blk_outhdr), &range, sizeof(range));
	sector = le64toh(range.sector);
	size = (uint64_t)le32toh(range.num_sectors) * SECTOR;
	flags = le32toh(range.flags);
	if (flags & ~(zeroes ? (uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0))
		return VIRTIO_BLK_S_UNSUPP;
	if (!in_disk(request->blk, sector, size) || size > (uint64_t)UNMAP_SECTORS_MAX * SECTOR ||
	    block_read_only(request->blk->block))
		return VIRTIO_BLK_S_IOERR;
	request->block.unmap = flags != 0;
	return begin(request, zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD, sector, size);
}

static uint8_t get_serial(struct request *request, const struct virtqueue_chain *chain)
{
	const struct blk *blk = request->blk;
	uint64_t size = chain->size_in - 1 < sizeof(blk->serial) ? chain->size_in - 1 : sizeof(blk->serial);

	request->written = iov_write(chain->iov + chain->count_out, chain->count_in, 0, blk->serial, size);
	request_end(request, VIRTIO_BLK_S_OK);
	return VIRTIO_BLK_S_OK;
}

static uint8_t carry_out(struct request *request, const struct virtqueue_chain *chain)
{
	struct virtio_blk_outhdr header;

	request->block.iov_count = 0;
	request->block.unmap = false;
	(void)iov_read(chain->iov, chain->count_out, 0, &header, sizeof(header));
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		return begin_read(request, chain, le64toh(header.sector));
	case VIRTIO_BLK_T_OUT:
		return begin_write(request, chain, le64toh(header.sector));
	case VIRTIO_BLK_T_FLUSH:
		return begin(request, BLOCK_FLUSH, 0, 0);
	case VIRTIO_BLK_T_GET_ID:
		return get_serial(request, chain);
	case VIRTIO_BLK_T_DISCARD:
		return begin_unmap(request, chain, false);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return begin_unmap(request, chain, true);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* false: what no driver may send, or there is no memory; the device has failed. */
static bool take(struct blk *blk, unsigned queue, const struct virtqueue_chain *chain)
{
	const struct iovec *last = &chain->iov[chain->count_out + chain->count_in - 1];
	struct request *request;
	uint8_t result;

	if (chain->count_in == 0 || chain->size_in == 0 || chain->size_out < sizeof(struct virtio_blk_outhdr) ||
	    !(request = request_new(blk, (unsigned)chain->count_out + chain->count_in))) {
		virtio_fail(&blk->virtio);
		return false;
	}
	request->blk = blk;
	request->queue = queue;
	request->head = chain->head;
	request->written = 0;
	request->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	blk->running[queue]++;
	result = carry_out(request, chain);
	if (result != VIRTIO_BLK_S_OK)
		request_end(request, result);
	return true;
}

static void blk_handle(struct virtio *virtio, unsigned queue)
{
	struct blk *blk = blk_of(virtio);
	struct virtqueue *ring = &virtio->queues[queue];
	struct virtqueue_chain chain;
	bool more = true;

	for (int round = 0; more && round < ROUNDS_MAX; round++) {
		(void)virtqueue_listen(ring, false);
		while (blk->running[queue] < QUEUE_SIZE && virtio_pop(virtio, queue, &chain, blk->iov))
			if (!take(blk, queue, &chain))
				break;
		blk->held_back[queue] = blk->running[queue] >= QUEUE_SIZE;
		block_kick(blk->block);
		hand_back(blk);
		more = virtqueue_listen(ring, true);
	}
	if (more && !blk->held_back[queue])
		virtio_kick(virtio, queue);
}

/* ---- the rest of virtio_ops ---- */

static void blk_quiesce(struct virtio *virtio)
{
	struct blk *blk = blk_of(virtio);

	/* What could not be written is the guest's to learn by its own flushes, and no snapshot's. */
	blk->drained = block_drain(blk->block);
	hand_back(blk);
}

static void blk_reset(struct virtio *virtio)
{
	struct blk *blk = blk_of(virtio);

	blk->dropping = true;
	blk_quiesce(virtio);
	blk->dropping = false;
	memset(blk->held_back, 0, sizeof(blk->held_back));
	__atomic_store_n(&blk->write_back, 1, __ATOMIC_RELAXED);
}

static void blk_config_read(struct virtio *virtio, uint32_t offset, void *data, uint32_t size)
{
	struct blk *blk = blk_of(virtio);
	struct virtio_blk_config config = blk->config;

	config.wce = __atomic_load_n(&blk->write_back, __ATOMIC_RELAXED);
	memcpy(data, (const uint8_t *)&config + offset, size);
}

static void blk_config_write(struct virtio *virtio, uint32_t offset, const void *data, uint32_t size)
{
	const uint8_t *byte = data;

	if (offset == offsetof(struct virtio_blk_config, wce) && size == 1)
		__atomic_store_n(&blk_of(virtio)->write_back, *byte != 0, __ATOMIC_RELAXED);
}

static void blk_save(struct virtio *virtio, struct state_writer *writer)
{
	const struct blk *blk = blk_of(virtio);

	state_put_u32(writer, __atomic_load_n(&blk->write_back, __ATOMIC_RELAXED));
	if (blk->drained < 0)
		writer->disk_error = blk->drained;
}

static int blk_restore(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	uint32_t write_back = state_get_u32(reader);

	if (reader->failed || write_back > 1)
		return error_set(err, EINVAL, "the snapshot's state of a disk is damaged");
	__atomic_store_n(&blk_of(virtio)->write_back, (uint8_t)write_back, __ATOMIC_RELAXED);
	return 0;
}

static void blk_free(struct virtio *virtio)
{
	struct blk *blk = blk_of(virtio);

	blk->dropping = true;
	block_close(blk->block);
	hand_back(blk);
	while (blk->free) {
		struct request *next = blk->free->next;

		free(blk->free->iov);
		free(blk->free);
		blk->free = next;
	}
	virtio_free(virtio);
	free(blk);
}

static const struct virtio_ops blk_ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.own_thread = true,
	.config_size = sizeof(struct virtio_blk_config),
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.handle = blk_handle,
	.reset = blk_reset,
	.quiesce = blk_quiesce,
	.save = blk_save,
	.restore = blk_restore,
	.free = blk_free,
};

static void fill_config(struct blk *blk, unsigned queues)
{
	uint32_t granularity = block_granularity(blk->block) / SECTOR;

	blk->config = (struct virtio_blk_config){
		.capacity = htole64(block_size(blk->block) / SECTOR),
		.seg_max = htole32(SEGMENTS_MAX),
		.blk_size = htole32(SECTOR),
		.physical_block_exp = PHYSICAL_BLOCK_EXPONENT,
		.min_io_size = htole16(1 << PHYSICAL_BLOCK_EXPONENT),
		.num_queues = htole16((uint16_t)queues),
		.max_discard_sectors = htole32(UNMAP_SECTORS_MAX),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(granularity),
		.max_write_zeroes_sectors = htole32(UNMAP_SECTORS_MAX),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = 1,
	};
}

int virtio_blk_make(struct block *block, unsigned queues, const char *serial, struct guest_memory *memory,
		    struct loop *loop, struct device **device, struct error *err)
{
	uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) |
			    BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);
	struct blk *blk;
	int ret;

	if (queues == 0 || queues > VIRTIO_BLK_QUEUES_MAX)
		return error_set(err, EINVAL, "a disk has 1 to %d queues, not %u", VIRTIO_BLK_QUEUES_MAX, queues);
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return error_errno(err, ENOMEM, "cannot make virtio-blk");
	features |= block_read_only(block) ? BIT(VIRTIO_BLK_F_RO)
					   : BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	features |= queues > 1 ? BIT(VIRTIO_BLK_F_MQ) : 0;
	blk->block = block;
	blk->write_back = 1;
	blk->finished_last = &blk->finished;
	if (serial)
		memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
	fill_config(blk, queues);
	ret = virtio_init(&blk->virtio, &blk_ops, features, queues, QUEUE_SIZE, memory, loop, err);
	if (ret < 0) {
		free(blk);
		return ret;
	}
	block_on_batch(block, batch_ended, blk);
	*device = &blk->virtio.device;
	return 0;
}
