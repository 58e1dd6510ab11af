/* SPDX-License-Identifier: Apache-2.0 */
/* The transport: registers, and who is told what in which thread. */
#include "paradigm/vm/virtio/virtio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR = 0x73696163, /* "cais" */
	STATUS_OF_DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
			   VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED,
};

#define BIT(number) (UINT64_C(1) << (number))

static struct virtio *virtio_of(struct device *device)
{
	return (struct virtio *)(void *)device;
}

static uint32_t status_of(const struct virtio *virtio)
{
	return __atomic_load_n(&virtio->status, __ATOMIC_RELAXED);
}

bool virtio_has(const struct virtio *virtio, unsigned feature)
{
	return virtio->features_driver & BIT(feature);
}

static void interrupt_driver(struct virtio *virtio, uint32_t reason)
{
	__atomic_fetch_or(&virtio->interrupt_status, reason, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&virtio->interrupts, 1, __ATOMIC_RELAXED);
	interrupt_pulse(&virtio->interrupt);
}

void virtio_notify(struct virtio *virtio, unsigned queue)
{
	if (virtqueue_wants_interrupt(&virtio->queues[queue]))
		interrupt_driver(virtio, VIRTIO_MMIO_INT_VRING);
}

void virtio_interrupt(struct virtio *virtio)
{
	interrupt_driver(virtio, VIRTIO_MMIO_INT_VRING);
}

void virtio_config_changed(struct virtio *virtio)
{
	__atomic_fetch_add(&virtio->config_generation, 1, __ATOMIC_SEQ_CST);
	if (status_of(virtio) & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt_driver(virtio, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_fail(struct virtio *virtio)
{
	uint32_t before = __atomic_fetch_or(&virtio->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_SEQ_CST);

	if ((before & VIRTIO_CONFIG_S_DRIVER_OK) && !(before & VIRTIO_CONFIG_S_NEEDS_RESET))
		interrupt_driver(virtio, VIRTIO_MMIO_INT_CONFIG);
}

bool virtio_pop(struct virtio *virtio, unsigned queue, struct virtqueue_chain *chain, struct iovec *iov)
{
	int ret = virtqueue_pop(&virtio->queues[queue], chain, iov);

	if (ret < 0)
		virtio_fail(virtio);
	return ret > 0;
}

void virtio_kick(struct virtio *virtio, unsigned queue)
{
	(void)eventfd_write(virtio->notifiers[queue].source.fd, 1);
}

static void handle_queue(struct virtio *virtio, unsigned queue)
{
	if (virtio->active && !virtio->quiet && virtio->queues[queue].ready &&
	    !(status_of(virtio) & VIRTIO_CONFIG_S_NEEDS_RESET))
		virtio->ops->handle(virtio, queue);
}

static void notified(struct loop_source *source, uint32_t events)
{
	struct virtio_notifier *notifier = source->context;
	struct virtio *virtio = notifier->virtio;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(source->fd, &count);
	__atomic_fetch_add(&virtio->notifications, 1, __ATOMIC_RELAXED);
	if (virtio->ops->own_thread) {
		handle_queue(virtio, notifier->queue);
		return;
	}
	(void)pthread_mutex_lock(&virtio->device.lock);
	handle_queue(virtio, notifier->queue);
	(void)pthread_mutex_unlock(&virtio->device.lock);
}

/* Not if a reset of another vCPU's has overtaken the order: a device that is active has DRIVER_OK. */
static void activate(struct virtio *virtio)
{
	if (virtio->active || !(status_of(virtio) & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	if (virtio->ops->activate && virtio->ops->activate(virtio) < 0)
		virtio_fail(virtio);
	else
		virtio->active = true;
}

static void quiesce(struct virtio *virtio)
{
	/* Before: while what is under way comes to its end, nothing new begins. */
	virtio->quiet = true;
	if (virtio->active && virtio->ops->quiesce)
		virtio->ops->quiesce(virtio);
}

/* What the driver has asked for meanwhile was not heard; look at everything. */
static void resume(struct virtio *virtio)
{
	virtio->quiet = false;
	if (virtio->active && virtio->ops->resume)
		virtio->ops->resume(virtio);
	for (unsigned i = 0; i < virtio->queues_count; i++)
		virtio_kick(virtio, i);
}

static void reset(struct virtio *virtio)
{
	bool quiet = virtio->quiet;

	virtio->quiet = true;
	if (virtio->active && virtio->ops->reset)
		virtio->ops->reset(virtio);
	virtio->quiet = quiet;
	virtio->active = false;
	for (unsigned i = 0; i < virtio->queues_count; i++)
		virtqueue_reset(&virtio->queues[i]);
	virtio->features_driver = 0;
	virtio->select_device_features = virtio->select_driver_features = virtio->select_queue = 0;
	__atomic_store_n(&virtio->interrupt_status, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&virtio->status, 0, __ATOMIC_SEQ_CST);
}

/*
 * The lock is enough for a device without a thread of its own: nothing of it is under way.  And we may be a vCPU, which
 * must not touch the loop, as quiesce() may.
 */
static void stop_queue(struct virtio *virtio, unsigned queue)
{
	bool quiet = virtio->quiet, own_thread = virtio->ops->own_thread;

	if (queue >= virtio->queues_count)
		return;
	if (own_thread)
		quiesce(virtio);
	virtqueue_reset(&virtio->queues[queue]);
	if (own_thread && !quiet)
		resume(virtio);
}

static void carry_out(struct virtio *virtio, enum virtio_order order, unsigned queue)
{
	static void (*const functions[])(struct virtio * virtio) = {
		[VIRTIO_ORDER_ACTIVATE] = activate,
		[VIRTIO_ORDER_RESET] = reset,
		[VIRTIO_ORDER_QUIESCE] = quiesce,
		[VIRTIO_ORDER_RESUME] = resume,
	};

	if (order == VIRTIO_ORDER_STOP_QUEUE)
		stop_queue(virtio, queue);
	else
		functions[order](virtio);
}

/*
 * With the lock held, which is let go while the device's own thread works for us: that thread needs it to find the
 * order.  Meanwhile other vCPUs may write all registers, so that an order takes nothing from there.
 */
static void give_order(struct virtio *virtio, enum virtio_order order, unsigned queue)
{
	if (!virtio->ops->own_thread || !loop_is_elsewhere(virtio->loop)) {
		carry_out(virtio, order, queue);
		return;
	}
	while (virtio->order != VIRTIO_ORDER_NONE)
		(void)pthread_cond_wait(&virtio->carried_out, &virtio->device.lock);
	virtio->order = order;
	virtio->order_queue = queue;
	(void)eventfd_write(virtio->orders.source.fd, 1);
	while (virtio->order != VIRTIO_ORDER_NONE)
		(void)pthread_cond_wait(&virtio->carried_out, &virtio->device.lock);
}

static void ordered(struct loop_source *source, uint32_t events)
{
	struct virtio *virtio = ((struct virtio_notifier *)source->context)->virtio;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(source->fd, &count);
	(void)pthread_mutex_lock(&virtio->device.lock);
	if (virtio->order != VIRTIO_ORDER_NONE)
		carry_out(virtio, virtio->order, virtio->order_queue);
	virtio->order = VIRTIO_ORDER_NONE;
	(void)pthread_cond_broadcast(&virtio->carried_out);
	(void)pthread_mutex_unlock(&virtio->device.lock);
}

/* ---- registers ---- */

static uint32_t half(uint64_t value, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(value >> (32 * select));
}

static void set_half(uint64_t *value, bool high, uint32_t half_value)
{
	uint64_t kept = high ? UINT32_MAX : ~(uint64_t)UINT32_MAX;

	*value = (*value & kept) | (uint64_t)half_value << (high ? 32 : 0);
}

/* NULL: there is none of that number. */
static struct virtqueue *selected(struct virtio *virtio)
{
	return virtio->select_queue < virtio->queues_count ? &virtio->queues[virtio->select_queue] : NULL;
}

static uint32_t read_register(struct virtio *virtio, uint64_t offset)
{
	const struct virtqueue *queue = selected(virtio);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return virtio->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half(virtio->features_device, virtio->select_device_features);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? queue->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue && queue->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&virtio->interrupt_status, __ATOMIC_SEQ_CST);
	case VIRTIO_MMIO_STATUS:
		return status_of(virtio);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return __atomic_load_n(&virtio->config_generation, __ATOMIC_SEQ_CST);
	case VIRTIO_MMIO_SHM_LEN_LOW: /* of a region that is not there: 4.2.2 */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	default:
		return 0;
	}
}

static void write_status(struct virtio *virtio, uint32_t value)
{
	uint32_t before = status_of(virtio), added = value & ~before & STATUS_OF_DRIVER;

	if (value == 0) {
		give_order(virtio, VIRTIO_ORDER_RESET, 0);
		return;
	}
	/* The driver sees by the bit that stays away that its choice does not do: 3.1.1, step 6. */
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    ((virtio->features_driver & ~virtio->features_device) || !virtio_has(virtio, VIRTIO_F_VERSION_1)))
		added &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((before | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	__atomic_fetch_or(&virtio->status, added, __ATOMIC_SEQ_CST);
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		give_order(virtio, VIRTIO_ORDER_ACTIVATE, 0);
}

static void write_queue_ready(struct virtio *virtio, struct virtqueue *queue, uint32_t value)
{
	if (value == 0 && queue->ready) {
		give_order(virtio, VIRTIO_ORDER_STOP_QUEUE, virtio->select_queue);
	} else if (value == 1 && !queue->ready && !(status_of(virtio) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		queue->event_index = virtio_has(virtio, VIRTIO_RING_F_EVENT_IDX);
		if (!virtqueue_start(queue))
			virtio_fail(virtio);
	}
}

/* Of a queue that is not in use; whatever else the driver wants with it is none of its business. */
static void write_queue_register(struct virtqueue *queue, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		queue->size = value <= UINT16_MAX ? (uint16_t)value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&queue->descriptors, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&queue->available, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&queue->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	default:
		break;
	}
}

static void write_register(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct virtqueue *queue = selected(virtio);
	bool negotiated = status_of(virtio) & VIRTIO_CONFIG_S_FEATURES_OK;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		virtio->select_device_features = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		virtio->select_driver_features = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!negotiated && virtio->select_driver_features <= 1)
			set_half(&virtio->features_driver, virtio->select_driver_features == 1, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		virtio->select_queue = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (queue)
			write_queue_ready(virtio, queue, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value < virtio->queues_count)
			virtio_kick(virtio, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		__atomic_fetch_and(&virtio->interrupt_status, ~value, __ATOMIC_SEQ_CST);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(virtio, value);
		break;
	default:
		if (queue && !queue->ready)
			write_queue_register(queue, offset, value);
		break;
	}
}

/* ---- what the bus calls ---- */

static bool in_config(const struct virtio *virtio, uint64_t offset, unsigned size)
{
	return offset >= VIRTIO_MMIO_CONFIG && offset - VIRTIO_MMIO_CONFIG <= virtio->ops->config_size &&
	       size <= virtio->ops->config_size - (offset - VIRTIO_MMIO_CONFIG);
}

static void mmio_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	struct virtio *virtio = virtio_of(device);

	(void)range;
	memset(data, 0xff, size);
	if (in_config(virtio, offset, size)) {
		virtio->ops->config_read(virtio, (uint32_t)(offset - VIRTIO_MMIO_CONFIG), data, size);
	} else if (offset < VIRTIO_MMIO_CONFIG && offset % 4 == 0 && size == 4) {
		uint32_t value = read_register(virtio, offset);

		memcpy(data, &value, sizeof(value));
	}
}

static void mmio_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct virtio *virtio = virtio_of(device);
	uint32_t value;

	(void)range;
	if (in_config(virtio, offset, size)) {
		if (virtio->ops->config_write)
			virtio->ops->config_write(virtio, (uint32_t)(offset - VIRTIO_MMIO_CONFIG), data, size);
	} else if (offset < VIRTIO_MMIO_CONFIG && offset % 4 == 0 && size == 4) {
		memcpy(&value, data, sizeof(value));
		write_register(virtio, offset, value);
	}
}

static void give_order_locked(struct device *device, enum virtio_order order)
{
	(void)pthread_mutex_lock(&device->lock);
	give_order(virtio_of(device), order, 0);
	(void)pthread_mutex_unlock(&device->lock);
}

static void mmio_quiesce(struct device *device)
{
	give_order_locked(device, VIRTIO_ORDER_QUIESCE);
}

static void mmio_resume(struct device *device)
{
	give_order_locked(device, VIRTIO_ORDER_RESUME);
}

enum { STATE_VERSION = 1 };

static void mmio_save(struct device *device, struct state_writer *writer)
{
	struct virtio *virtio = virtio_of(device);

	state_begin(writer, virtio->ops->name, STATE_VERSION);
	state_put_u64(writer, virtio->features_driver);
	state_put_u32(writer, virtio->status);
	state_put_u32(writer, virtio->interrupt_status);
	state_put_u32(writer, virtio->config_generation);
	state_put_u32(writer, virtio->select_device_features);
	state_put_u32(writer, virtio->select_driver_features);
	state_put_u32(writer, virtio->select_queue);
	state_put_u32(writer, virtio->active);
	state_put_u32(writer, virtio->queues_count);
	for (unsigned i = 0; i < virtio->queues_count; i++)
		virtqueue_save(&virtio->queues[i], writer);
	if (virtio->ops->save)
		virtio->ops->save(virtio, writer);
	state_end(writer);
}

static int restore_queues(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	uint32_t count = state_get_u32(reader);

	if (count != virtio->queues_count)
		return error_set(err, EINVAL, "the snapshot has %u queues of %s, and the machine %u", count,
				 virtio->ops->name, virtio->queues_count);
	for (unsigned i = 0; i < count; i++) {
		int ret = virtqueue_restore(&virtio->queues[i], reader, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static int mmio_restore(struct device *device, struct state_reader *reader, struct error *err)
{
	struct virtio *virtio = virtio_of(device);
	int ret = state_enter(reader, virtio->ops->name, STATE_VERSION, err);

	if (ret < 0)
		return ret;
	virtio->quiet = true;
	virtio->features_driver = state_get_u64(reader);
	virtio->status = state_get_u32(reader);
	virtio->interrupt_status = state_get_u32(reader);
	virtio->config_generation = state_get_u32(reader);
	virtio->select_device_features = state_get_u32(reader);
	virtio->select_driver_features = state_get_u32(reader);
	virtio->select_queue = state_get_u32(reader);
	virtio->active = state_get_u32(reader) != 0 && (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK);
	if (virtio->features_driver & ~virtio->features_device)
		return error_set(err, EINVAL, "the snapshot's %s has features that this one lacks (0x%llx)",
				 virtio->ops->name,
				 (unsigned long long)(virtio->features_driver & ~virtio->features_device));
	ret = restore_queues(virtio, reader, err);
	if (ret == 0 && virtio->ops->restore)
		ret = virtio->ops->restore(virtio, reader, err);
	if (ret == 0)
		ret = state_leave(reader, err);
	if (ret < 0)
		virtio->active = false;
	else if (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt_driver(virtio, VIRTIO_MMIO_INT_VRING); /* see device.h */
	return ret;
}

static void mmio_free(struct device *device)
{
	struct virtio *virtio = virtio_of(device);

	virtio->ops->free(virtio);
}

/* ---- life ---- */

static int add_notifier(struct virtio *virtio, struct virtio_notifier *notifier, unsigned queue,
			void (*ready)(struct loop_source *source, uint32_t events), struct error *err)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return error_errno(err, errno, "cannot make the notification of a queue of %s", virtio->ops->name);
	notifier->virtio = virtio;
	notifier->queue = queue;
	notifier->source = (struct loop_source){ .fd = fd, .ready = ready, .context = notifier };
	return loop_add(virtio->loop, &notifier->source, EPOLLIN, err);
}

int virtio_init(struct virtio *virtio, const struct virtio_ops *ops, uint64_t features, unsigned queues,
		uint16_t queue_size, struct guest_memory *memory, struct loop *loop, struct error *err)
{
	int ret = 0;

	virtio->device_ops = (struct device_ops){
		.name = ops->name,
		.read = mmio_read,
		.write = mmio_write,
		.save = mmio_save,
		.restore = mmio_restore,
		.quiesce = mmio_quiesce,
		.resume = mmio_resume,
		.free = mmio_free,
	};
	device_init(&virtio->device, &virtio->device_ops);
	(void)pthread_cond_init(&virtio->carried_out, NULL);
	virtio->ops = ops;
	virtio->loop = loop;
	virtio->memory = memory;
	virtio->interrupt.fd = -1;
	virtio->features_device = ops->features | features | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
				  BIT(VIRTIO_RING_F_INDIRECT_DESC);
	virtio->queues_count = queues;
	virtio->orders.source.fd = -1;
	for (unsigned i = 0; i < queues; i++)
		virtio->notifiers[i].source.fd = -1;
	for (unsigned i = 0; i < queues; i++)
		virtqueue_init(&virtio->queues[i], memory, queue_size);
	for (unsigned i = 0; i < queues && ret == 0; i++)
		ret = add_notifier(virtio, &virtio->notifiers[i], i, notified, err);
	if (ret == 0 && ops->own_thread)
		ret = add_notifier(virtio, &virtio->orders, 0, ordered, err);
	if (ret < 0)
		virtio_free(virtio);
	return ret;
}

static void drop_notifier(struct virtio *virtio, struct virtio_notifier *notifier)
{
	if (notifier->source.fd < 0)
		return;
	loop_remove(virtio->loop, &notifier->source);
	close(notifier->source.fd);
	notifier->source.fd = -1;
}

void virtio_free(struct virtio *virtio)
{
	for (unsigned i = 0; i < virtio->queues_count; i++)
		drop_notifier(virtio, &virtio->notifiers[i]);
	drop_notifier(virtio, &virtio->orders);
	if (virtio->interrupt.fd >= 0)
		close(virtio->interrupt.fd);
	virtio->interrupt.fd = -1;
	(void)pthread_cond_destroy(&virtio->carried_out);
	(void)pthread_mutex_destroy(&virtio->device.lock);
}
