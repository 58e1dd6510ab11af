/* SPDX-License-Identifier: Apache-2.0 */
/* The transport and the split ring, with a device that gives back what it gets, and drivers good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>

#include "unseen.h"
#include "virtio_driver.h"

/* ---- a device ---- */

struct echo {
	struct virtio virtio;
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	unsigned handled, activated, resets, quiesced, resumed;
	uint32_t value; /* configuration space, and state */
	/* A request that stays under way until the loop is told so. */
	bool slow, busy;
	uint16_t held;
	struct loop_source later;
};

static struct echo *echo_of(struct virtio *virtio)
{
	return (struct echo *)(void *)virtio;
}

static void echo_config_read(struct virtio *virtio, uint32_t offset, void *data, uint32_t size)
{
	memcpy(data, (uint8_t *)&echo_of(virtio)->value + offset, size);
}

static void echo_config_write(struct virtio *virtio, uint32_t offset, const void *data, uint32_t size)
{
	memcpy((uint8_t *)&echo_of(virtio)->value + offset, data, size);
}

static int echo_activate(struct virtio *virtio)
{
	struct echo *echo = echo_of(virtio);

	echo->activated++;
	return echo->value == 0xbad ? -EIO : 0;
}

static void echo_handle(struct virtio *virtio, unsigned queue)
{
	struct echo *echo = echo_of(virtio);
	struct virtqueue_chain chain;
	uint8_t buffer[4096];

	echo->handled++;
	while (virtio_pop(virtio, queue, &chain, echo->iov)) {
		size_t count = iov_read(chain.iov, chain.count_out, 0, buffer, sizeof(buffer));

		if (echo->slow) {
			assert_false(echo->busy);
			__atomic_store_n(&echo->busy, true, __ATOMIC_RELEASE);
			echo->held = chain.head;
			return;
		}
		count = iov_write(chain.iov + chain.count_out, chain.count_in, 0, buffer, count);
		virtqueue_push(&virtio->queues[queue], chain.head, (uint32_t)count);
	}
	virtio_notify(virtio, queue);
	if (virtqueue_listen(&virtio->queues[queue], true))
		virtio_kick(virtio, queue);
}

static void echo_finish(struct loop_source *source, uint32_t events)
{
	struct echo *echo = source->context;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(source->fd, &count);
	if (!echo->busy)
		return;
	echo->busy = false;
	virtqueue_push(&echo->virtio.queues[0], echo->held, 7);
	virtio_notify(&echo->virtio, 0);
}

static void echo_drain(struct echo *echo)
{
	while (echo->busy)
		assert_int_equal(loop_wait(echo->virtio.loop, -1, NULL), 0);
}

static void echo_reset(struct virtio *virtio)
{
	echo_of(virtio)->resets++;
	echo_drain(echo_of(virtio));
}

static void echo_quiesce(struct virtio *virtio)
{
	echo_of(virtio)->quiesced++;
	echo_drain(echo_of(virtio));
}

static void echo_resume(struct virtio *virtio)
{
	echo_of(virtio)->resumed++;
}

static void echo_save(struct virtio *virtio, struct state_writer *writer)
{
	state_put_u32(writer, echo_of(virtio)->value);
}

static int echo_restore(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	(void)err;
	echo_of(virtio)->value = state_get_u32(reader);
	return 0;
}

static void echo_free(struct virtio *virtio)
{
	struct echo *echo = echo_of(virtio);

	loop_remove(virtio->loop, &echo->later);
	close(echo->later.fd);
	virtio_free(virtio);
	free(echo);
}

enum { ECHO_ID = 63, ECHO_FEATURE = 5 };

static const struct virtio_ops echo_ops = {
	.name = "virtio-echo",
	.id = ECHO_ID,
	.features = 1 << ECHO_FEATURE,
	.config_size = 4,
	.config_read = echo_config_read,
	.config_write = echo_config_write,
	.activate = echo_activate,
	.handle = echo_handle,
	.reset = echo_reset,
	.save = echo_save,
	.restore = echo_restore,
	.quiesce = echo_quiesce,
	.resume = echo_resume,
	.free = echo_free,
};

static struct device *make_echo(struct driver *driver, const struct virtio_ops *ops)
{
	struct echo *echo = calloc(1, sizeof(*echo));
	struct error err = ERROR_INIT;

	assert_non_null(echo);
	if (virtio_init(&echo->virtio, ops, 0, 2, 64, &driver->memory, &driver->loop, &err) < 0)
		fail_msg("%s", err.text);
	echo->later = (struct loop_source){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.ready = echo_finish,
		.context = echo,
	};
	assert_int_equal(loop_add(&driver->loop, &echo->later, EPOLLIN, NULL), 0);
	return &echo->virtio.device;
}

#define VERSION_1   (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define EVENT_INDEX (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT    (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

static struct echo *start_echo(struct driver *driver, uint64_t features)
{
	driver_open(driver);
	driver_start(driver, make_echo(driver, &echo_ops), features);
	return echo_of(driver->virtio);
}

static void expect_echo(struct driver *driver, unsigned queue)
{
	uint64_t out = driver_alloc(driver, 64), in = driver_alloc(driver, 64);

	strcpy(driver_at(driver, out, 64), "hello");
	memset(driver_at(driver, in, 64), 0, 64);
	assert_int_equal(driver_request(driver, queue, out, 64, in, 64), 64);
	assert_string_equal(driver_at(driver, in, 64), "hello");
}

/* ---- registers ---- */

static void test_identity(void **state)
{
	struct driver driver;

	(void)state;
	driver_open(&driver);
	driver_adopt(&driver, make_echo(&driver, &echo_ops));
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_DEVICE_ID), ECHO_ID);
	assert_true(driver_features(&driver) == (VERSION_1 | EVENT_INDEX | INDIRECT | 1 << ECHO_FEATURE));
	driver_set(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 2);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	driver_close(&driver);
}

/* Whatever is written where, in whatever size: only the bytes asked for are given, and nothing falls over. */
static void test_odd_accesses(void **state)
{
	uint8_t zeros[8] = { 0 }, ones[8], data[9];
	struct driver driver;

	(void)state;
	start_echo(&driver, 0);
	memset(ones, 0xff, sizeof(ones));
	for (unsigned size = 1; size <= 8; size++) {
		for (uint64_t offset = 0; offset < 0x120; offset++) {
			memset(data, 0xee, sizeof(data));
			driver_read(&driver, offset, data, size);
			assert_int_equal(data[8], 0xee);
			if (offset < 0x100 && (size != 4 || offset % 4 != 0))
				assert_memory_equal(data, ones, size);
			if (size != 4 || offset % 4 != 0)
				driver_write(&driver, offset, offset % 2 ? ones : zeros, size);
		}
		driver_read(&driver, VIRTIO_MMIO_SIZE - size, data, size);
		assert_memory_equal(data, ones, size);
		driver_write(&driver, VIRTIO_MMIO_SIZE - size, zeros, size);
	}
	/* None of that was a register. */
	expect_echo(&driver, 0);
	driver_close(&driver);
}

static void test_negotiation(void **state)
{
	struct driver driver;
	struct echo *echo;

	(void)state;
	driver_open(&driver);
	driver_adopt(&driver, make_echo(&driver, &echo_ops));
	echo = echo_of(driver.virtio);
	assert_false(driver_negotiate(&driver, VERSION_1 | 1 << 7)); /* not offered */
	assert_false(driver_negotiate(&driver, 0));		     /* a legacy driver */
	driver_go(&driver);
	assert_int_equal(echo->activated, 0);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK, 0);
	assert_true(driver_negotiate(&driver, VERSION_1 | 1 << ECHO_FEATURE));
	/* Too late. */
	driver_set(&driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_set(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	assert_true(virtio_has(driver.virtio, ECHO_FEATURE));
	driver_go(&driver);
	driver_go(&driver);
	assert_int_equal(echo->activated, 1);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(echo->resets, 1);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_STATUS), 0);
	assert_false(virtio_has(driver.virtio, ECHO_FEATURE));
	/* A device that cannot. */
	echo->value = 0xbad;
	assert_true(driver_negotiate(&driver, VERSION_1));
	driver_go(&driver);
	assert_true(driver_needs_reset(&driver));
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(echo->resets, 1);
	driver_close(&driver);
}

static const struct {
	uint32_t size;
	uint64_t descriptors, available, used;
} bad_queues[] = {
	{ 0, 0x1000, 0x2000, 0x3000 },
	{ 3, 0x1000, 0x2000, 0x3000 },
	{ 128, 0x1000, 0x2000, 0x3000 },
	{ 0x10010, 0x1000, 0x2000, 0x3000 }, /* 16, for who forgets the upper half */
	{ UINT32_MAX, 0x1000, 0x2000, 0x3000 },
	{ 16, 0x1008, 0x2000, 0x3000 },
	{ 16, 0x1000, 0x2001, 0x3000 },
	{ 16, 0x1000, 0x2000, 0x3002 },
	{ 16, DRIVER_LOW - 16, 0x2000, 0x3000 },
	{ 16, 0x1000, DRIVER_LOW - 36, 0x3000 },
	{ 16, 0x1000, 0x2000, DRIVER_LOW - 132 },
	{ 16, DRIVER_LOW, 0x2000, 0x3000 },
	{ 16, 0x1000, DRIVER_HIGH_BASE + DRIVER_HIGH, 0x3000 },
	{ 16, 0x1000, 0x2000, UINT64_MAX - 3 },
	{ 16, UINT64_MAX - 15, 0x2000, 0x3000 },
};

static void test_bad_queues(void **state)
{
	struct driver driver;

	(void)state;
	driver_open(&driver);
	driver_adopt(&driver, make_echo(&driver, &echo_ops));
	for (size_t i = 0; i < sizeof(bad_queues) / sizeof(*bad_queues); i++) {
		assert_true(driver_negotiate(&driver, VERSION_1));
		driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
		driver_set(&driver, VIRTIO_MMIO_QUEUE_NUM, bad_queues[i].size);
		driver_set64(&driver, VIRTIO_MMIO_QUEUE_DESC_LOW, bad_queues[i].descriptors);
		driver_set64(&driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, bad_queues[i].available);
		driver_set64(&driver, VIRTIO_MMIO_QUEUE_USED_LOW, bad_queues[i].used);
		driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 1);
		if (driver_get(&driver, VIRTIO_MMIO_QUEUE_READY) || !driver_needs_reset(&driver))
			fail_msg("queue %zu was taken", i);
		driver_go(&driver);
		driver_kick(&driver, 0);
		driver_run(&driver);
		driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	}
	/* Registers of queues that there are not, and notifications for them. */
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NUM, 16);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, 2);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	driver_close(&driver);
}

static void test_config(void **state)
{
	struct driver driver;
	struct echo *echo = start_echo(&driver, 0);
	uint32_t value = 0, generation = driver_get(&driver, VIRTIO_MMIO_CONFIG_GENERATION);
	const uint16_t half_value = 0x5566;

	(void)state;
	echo->value = 0x11223344;
	virtio_config_changed(driver.virtio);
	assert_int_not_equal(driver_get(&driver, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(driver_interrupts(&driver), 1);
	driver_set(&driver, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	driver_config(&driver, 0, &value, 4);
	assert_int_equal(value, 0x11223344);
	driver_write(&driver, VIRTIO_MMIO_CONFIG + 2, &half_value, 2);
	assert_int_equal(echo->value, 0x55663344);
	driver_write(&driver, VIRTIO_MMIO_CONFIG + 3, &half_value, 2); /* over the end */
	assert_int_equal(echo->value, 0x55663344);
	driver_config(&driver, 2, &value, 4);
	assert_int_equal(value, UINT32_MAX);
	driver_close(&driver);
}

/* ---- rings ---- */

static void test_requests(void **state)
{
	struct driver driver;
	struct driver_buffer buffers[4];
	char text[] = "0123456789";

	(void)state;
	start_echo(&driver, INDIRECT);
	for (int i = 0; i < 100; i++)
		expect_echo(&driver, (unsigned)i % 2);
	/* Two and two, of odd sizes, the last one in the other region. */
	buffers[0] = (struct driver_buffer){ driver_alloc(&driver, 64), 3, false };
	buffers[1] = (struct driver_buffer){ driver_alloc(&driver, 64), 7, false };
	buffers[2] = (struct driver_buffer){ driver_alloc(&driver, 64), 9, true };
	buffers[3] = (struct driver_buffer){ DRIVER_HIGH_BASE + DRIVER_HIGH - 5, 5, true };
	memcpy(driver_at(&driver, buffers[0].address, 3), text, 3);
	memcpy(driver_at(&driver, buffers[1].address, 7), text + 3, 7);
	for (int indirect = 0; indirect < 2; indirect++) {
		struct driver_used used;

		memset(driver_at(&driver, buffers[3].address, 5), 0, 5);
		if (indirect)
			(void)driver_add_indirect(&driver, 0, buffers, 4);
		else
			(void)driver_add(&driver, 0, buffers, 4);
		driver_kick(&driver, 0);
		used = driver_wait(&driver, 0);
		assert_int_equal(used.size, 10);
		assert_memory_equal(driver_at(&driver, buffers[2].address, 9), text, 9);
		assert_memory_equal(driver_at(&driver, buffers[3].address, 2), "9", 2);
	}
	driver_close(&driver);
}

enum fault {
	LOOP,
	NEXT_OUTSIDE,
	HEAD_OUTSIDE,
	ADDRESS_OUTSIDE,
	ADDRESS_WRAPS,
	LENGTH_OVER_END,
	OVER_TWO_REGIONS,
	EMPTY_BUFFER,
	FOUR_GIB,
	READ_AFTER_WRITE,
	INDEX_JUMPS,
	INDIRECT_LOOP,
	INDIRECT_NESTED,
	INDIRECT_EMPTY,
	INDIRECT_ODD,
	INDIRECT_OUTSIDE,
	INDIRECT_HUGE,
	INDIRECT_AND_NEXT,
	INDIRECT_NEXT_OUTSIDE,
	FAULTS,
};

/* Makes one request that no driver may make; the table's descriptors are all good at first. */
static void make_fault(struct driver *driver, enum fault fault)
{
	struct vring_desc *first = driver_descriptor(driver, 0, 0);
	uint64_t table = driver_alloc(driver, 4096);
	struct vring_desc *indirect = driver_at(driver, table, 4096);
	const struct vring_desc good = { .addr = table, .len = 64, .flags = VRING_DESC_F_NEXT };
	bool is_indirect = fault >= INDIRECT_LOOP;

	for (unsigned i = 0; i < DRIVER_QUEUE_SIZE; i++) {
		first[i] = good;
		first[i].next = (uint16_t)(i + 1);
	}
	for (unsigned i = 0; i < 256; i++) {
		indirect[i] = good;
		indirect[i].next = (uint16_t)(i + 1);
	}
	first[3].flags = indirect[3].flags = VRING_DESC_F_WRITE;
	if (is_indirect)
		first[0] = (struct vring_desc){ .addr = table, .len = 16 * 8, .flags = VRING_DESC_F_INDIRECT };
	switch (fault) {
	case LOOP:
		first[3] = good;
		first[3].next = 1;
		break;
	case NEXT_OUTSIDE:
		first[2].next = DRIVER_QUEUE_SIZE;
		break;
	case HEAD_OUTSIDE:
		driver_offer(driver, 0, DRIVER_QUEUE_SIZE);
		return;
	case ADDRESS_OUTSIDE:
		first[1].addr = DRIVER_LOW;
		break;
	case ADDRESS_WRAPS:
		first[1].addr = UINT64_MAX - 31;
		break;
	case LENGTH_OVER_END:
		first[1].addr = DRIVER_LOW - 63;
		break;
	case OVER_TWO_REGIONS:
		first[1].addr = DRIVER_HIGH_BASE - 32;
		break;
	case EMPTY_BUFFER:
		first[2].len = 0;
		break;
	case FOUR_GIB:
		first[1].len = UINT32_MAX;
		break;
	case READ_AFTER_WRITE:
		first[1].flags |= VRING_DESC_F_WRITE;
		break;
	case INDEX_JUMPS:
		driver->queues[0].next_available = (uint16_t)(driver->queues[0].next_available + DRIVER_QUEUE_SIZE);
		break;
	case INDIRECT_LOOP:
		indirect[3] = good;
		indirect[3].next = 0;
		break;
	case INDIRECT_NESTED:
		indirect[1].flags = VRING_DESC_F_INDIRECT;
		break;
	case INDIRECT_EMPTY:
		first[0].len = 0;
		break;
	case INDIRECT_ODD:
		first[0].len = 16 * 8 + 1;
		break;
	case INDIRECT_OUTSIDE:
		first[0].addr = DRIVER_LOW - 16 * 7;
		break;
	case INDIRECT_HUGE:
		first[0].len = UINT32_MAX - 15;
		break;
	case INDIRECT_AND_NEXT:
		first[0].flags |= VRING_DESC_F_NEXT;
		first[0].next = 2;
		break;
	case INDIRECT_NEXT_OUTSIDE:
		indirect[2].next = 8;
		break;
	case FAULTS:
		break;
	}
	driver_offer(driver, 0, 0);
}

static void test_faults(void **state)
{
	struct driver driver;
	struct echo *echo;
	unsigned handled;

	(void)state;
	driver_open(&driver);
	driver.device = make_echo(&driver, &echo_ops);
	for (enum fault fault = 0; fault <= FAULTS; fault++) {
		driver_start(&driver, driver.device, INDIRECT);
		echo = echo_of(driver.virtio);
		expect_echo(&driver, 0);
		make_fault(&driver, fault);
		(void)driver_interrupts(&driver);
		driver_kick(&driver, 0);
		driver_run(&driver);
		if (driver_needs_reset(&driver) != (fault != FAULTS)) /* the last one is none */
			fail_msg("fault %u", fault);
		if (fault == FAULTS)
			break;
		assert_int_equal(driver_interrupts(&driver), 1);
		assert_true(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
		/* From now on it is deaf, on the other queue too. */
		handled = echo->handled;
		driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
		driver_run(&driver);
		assert_int_equal(echo->handled, handled);
		driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	}
	driver_close(&driver);
}

/* The longest chain that there may be, and one more. */
static void test_long_chain(void **state)
{
	struct driver_buffer buffers[VIRTQUEUE_CHAIN_MAX + 1];
	struct driver driver;
	uint64_t byte;

	(void)state;
	start_echo(&driver, INDIRECT);
	byte = driver_alloc(&driver, 1);
	for (unsigned i = 0; i <= VIRTQUEUE_CHAIN_MAX; i++)
		buffers[i] = (struct driver_buffer){ byte, 1, i > 0 };
	(void)driver_add_indirect(&driver, 0, buffers, VIRTQUEUE_CHAIN_MAX);
	driver_kick(&driver, 0);
	assert_int_equal(driver_wait(&driver, 0).size, 1);
	assert_false(driver_needs_reset(&driver));
	(void)driver_add_indirect(&driver, 0, buffers, VIRTQUEUE_CHAIN_MAX + 1);
	driver_kick(&driver, 0);
	driver_run(&driver);
	assert_true(driver_needs_reset(&driver));
	driver_close(&driver);
}

static void add_one(struct driver *driver)
{
	const struct driver_buffer buffer = { 0x1000, 8, false };

	(void)driver_add(driver, 0, &buffer, 1);
}

static void test_interrupts(void **state)
{
	struct driver driver;
	struct driver_used used;
	uint16_t *available;

	(void)state;
	start_echo(&driver, 0);
	available = driver_at(&driver, driver.queues[0].available, 4);
	available[0] = VRING_AVAIL_F_NO_INTERRUPT;
	for (int i = 0; i < 4; i++) {
		if (i == 3)
			available[0] = 0;
		add_one(&driver);
		driver_kick(&driver, 0);
		driver_run(&driver);
		assert_int_equal(driver_interrupts(&driver), i == 3);
	}
	/* A kick for nothing is answered by nothing. */
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	driver_run(&driver);
	assert_int_equal(driver_interrupts(&driver), 0);
	for (int i = 0; i < 4; i++)
		assert_true(driver_used(&driver, 0, &used));
	assert_false(driver_used(&driver, 0, &used));
	driver_close(&driver);
}

/* With the event index: one interrupt when the used index passes used_event, over the wrap of indices too. */
static void test_event_index(void **state)
{
	struct driver driver;
	uint16_t *event;
	unsigned count = 0;

	(void)state;
	start_echo(&driver, EVENT_INDEX);
	event = driver_at(&driver, driver.queues[0].available + 4 + 2 * DRIVER_QUEUE_SIZE, 2);
	*event = 2;
	for (int i = 0; i < 6; i++) {
		add_one(&driver);
		driver_kick(&driver, 0);
		driver_run(&driver);
		assert_int_equal(driver_interrupts(&driver), i == 2);
	}
	*event = 7; /* in the midst of the next eight */
	for (int i = 0; i < 8; i++)
		add_one(&driver);
	driver_kick(&driver, 0);
	driver_run(&driver);
	assert_int_equal(driver_interrupts(&driver), 1);
	*event = 3; /* next time round */
	for (unsigned i = 14; i < 65536 + 8; i += 2) {
		add_one(&driver);
		add_one(&driver);
		driver_kick(&driver, 0);
		driver_run(&driver);
		count += driver_interrupts(&driver);
	}
	assert_int_equal(count, 1);
	driver_close(&driver);
}

static void test_listen(void **state)
{
	struct driver driver;
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	struct virtqueue_chain chain;
	struct virtqueue *queue;
	const uint16_t *used;

	(void)state;
	for (int event_index = 0; event_index < 2; event_index++) {
		start_echo(&driver, event_index ? EVENT_INDEX : 0);
		queue = &driver.virtio->queues[0];
		used = driver_at(&driver, driver.queues[0].used, 6 + 8 * DRIVER_QUEUE_SIZE);
		assert_false(virtqueue_listen(queue, false));
		if (!event_index)
			assert_int_equal(used[0], VRING_USED_F_NO_NOTIFY);
		add_one(&driver);
		assert_false(virtqueue_listen(queue, false));
		assert_true(virtqueue_listen(queue, true));
		assert_int_equal(used[0], 0);
		assert_int_equal(virtqueue_pop(queue, &chain, iov), 1);
		assert_int_equal(virtqueue_pop(queue, &chain, iov), 0);
		virtqueue_unpop(queue);
		assert_true(virtqueue_listen(queue, true));
		assert_int_equal(virtqueue_pop(queue, &chain, iov), 1);
		assert_int_equal(chain.size_out, 8);
		assert_false(virtqueue_listen(queue, true));
		if (event_index)
			assert_int_equal(used[2 + 4 * DRIVER_QUEUE_SIZE], 1);
		driver_close(&driver);
	}
}

/* A driver that stops one queue and gives it another place. */
/* What is under way in a thread of the device's own comes to its end first. */
static void test_stop_queue(void **state)
{
	(void)state;
	for (int own_thread = 0; own_thread < 2; own_thread++) {
		struct virtio_ops ops = echo_ops;
		struct driver driver;
		struct echo *echo;

		ops.own_thread = own_thread;
		driver_open(&driver);
		driver_start(&driver, make_echo(&driver, &ops), 0);
		echo = echo_of(driver.virtio);
		driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
		driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
		assert_int_equal(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
		assert_int_equal(echo->quiesced, own_thread);
		assert_int_equal(echo->resumed, own_thread);
		add_one(&driver);
		driver_kick(&driver, 0);
		driver_run(&driver);
		assert_int_equal(driver_used_index(&driver, 0), 0);
		expect_echo(&driver, 1);
		driver_close(&driver);
	}
}

/* ---- snapshots ---- */

static void test_migrate(void **state)
{
	struct driver driver;
	struct echo *echo = start_echo(&driver, EVENT_INDEX);
	struct device *to;

	(void)state;
	for (int i = 0; i < 21; i++)
		expect_echo(&driver, 0);
	echo->value = 17;
	/* Kicked, and not heard before the snapshot. */
	add_one(&driver);
	driver_kick(&driver, 0);
	to = make_echo(&driver, &echo_ops);
	((struct virtio *)(void *)to)->interrupt.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	driver_migrate(&driver, to);
	echo = echo_of(driver.virtio);
	/* An interrupt for what had been handed back may have been lost with the machine that was saved. */
	assert_int_equal(driver_interrupts(&driver), 1);
	assert_int_equal(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	assert_int_equal(echo->value, 17);
	assert_int_equal(echo->activated, 0);
	(void)driver_wait(&driver, 0);
	expect_echo(&driver, 0);
	expect_echo(&driver, 1);
	driver_close(&driver);
}

/* Cut anywhere, or of another device, the state is refused; altered, it may be taken, and does no harm. */
static void test_bad_state(void **state)
{
	struct driver driver;
	struct state_writer writer = { .section = 0 };
	struct state_reader reader;
	struct error err = ERROR_INIT;
	struct device *device, *to;
	uint8_t *copy;

	(void)state;
	start_echo(&driver, EVENT_INDEX);
	device = driver.device;
	device->ops->quiesce(device);
	device->ops->save(device, &writer);
	assert_false(str_failed(&writer.out));
	to = make_echo(&driver, &echo_ops);
	for (size_t size = 0; size < writer.out.length; size++) {
		copy = malloc(size + 1);
		assert_non_null(copy);
		memcpy(copy, writer.out.text, size);
		state_reader_init(&reader, copy, size);
		assert_true(to->ops->restore(to, &reader, &err) < 0);
		free(copy);
	}
	for (size_t at = 0; at < writer.out.length; at++) {
		writer.out.text[at] = (char)~writer.out.text[at];
		state_reader_init(&reader, writer.out.text, writer.out.length);
		if (to->ops->restore(to, &reader, &err) == 0) {
			to->ops->resume(to);
			driver_run(&driver);
		}
		writer.out.text[at] = (char)~writer.out.text[at];
	}
	to->ops->free(to);
	str_free(&writer.out);
	driver_close(&driver);
}

/* ---- threads ---- */

static void *run_loop(void *loop)
{
	assert_int_equal(loop_run(loop, NULL), 0);
	return NULL;
}

/* The driver resets, stops and snapshots a device whose requests are under way in its own thread. */
static void test_own_thread(void **state)
{
	struct virtio_ops ops = echo_ops;
	struct driver driver;
	struct echo *echo;
	pthread_t thread;

	(void)state;
	ops.own_thread = true;
	driver_open(&driver);
	driver_adopt(&driver, make_echo(&driver, &ops));
	driver.threaded = true;
	loop_hand_over(&driver.loop);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, &driver.loop), 0);
	for (int i = 0; i < 3; i++) {
		driver_start(&driver, driver.device, 0);
		expect_echo(&driver, 0);
		echo = echo_of(driver.virtio);
		echo->slow = true; /* nothing is under way that could see it */
		add_one(&driver);
		driver_kick(&driver, 0);
		while (!__atomic_load_n(&echo->busy, __ATOMIC_ACQUIRE))
			usleep(1000);
		assert_int_equal(eventfd_write(echo->later.fd, 1), 0);
		if (i == 0) {
			driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
			driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
		} else if (i == 1) {
			driver.device->ops->quiesce(driver.device);
		} else {
			driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
		}
		assert_int_equal(driver_used_index(&driver, 0), 2);
		assert_false(echo->busy);
		echo->slow = false;
		if (i == 1)
			driver.device->ops->resume(driver.device);
	}
	loop_stop(&driver.loop);
	assert_int_equal(pthread_join(thread, NULL), 0);
	driver_close(&driver);
}

/* A loop's thread that can be held up, and vCPUs that write registers meanwhile. */
struct busy {
	struct driver driver;
	struct loop_source stall;
	bool stalled;
	pthread_t thread;
};

static void stall_loop(struct loop_source *source, uint32_t events)
{
	struct busy *busy = source->context;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(source->fd, &count);
	__atomic_store_n(&busy->stalled, true, __ATOMIC_RELEASE);
	assert_int_equal(eventfd_read(source->fd, &count), 0);
	__atomic_store_n(&busy->stalled, false, __ATOMIC_RELEASE);
}

static void busy_open(struct busy *busy, const struct virtio_ops *ops)
{
	*busy = (struct busy){ .stalled = false };
	driver_open(&busy->driver);
	driver_adopt(&busy->driver, make_echo(&busy->driver, ops));
	busy->stall = (struct loop_source){ .fd = eventfd(0, EFD_CLOEXEC), .ready = stall_loop, .context = busy };
	assert_int_equal(loop_add(&busy->driver.loop, &busy->stall, EPOLLIN, NULL), 0);
	busy->driver.threaded = true;
	assert_int_equal(pthread_create(&busy->thread, NULL, run_loop, &busy->driver.loop), 0);
	while (!loop_is_elsewhere(&busy->driver.loop))
		usleep(1000);
}

static void busy_stall(struct busy *busy)
{
	assert_int_equal(eventfd_write(busy->stall.fd, 1), 0);
	while (!__atomic_load_n(&busy->stalled, __ATOMIC_ACQUIRE))
		usleep(1000);
}

static void busy_go_on(struct busy *busy)
{
	assert_int_equal(eventfd_write(busy->stall.fd, 1), 0);
	while (__atomic_load_n(&busy->stalled, __ATOMIC_ACQUIRE))
		usleep(1000);
}

static void busy_close(struct busy *busy)
{
	loop_stop(&busy->driver.loop);
	assert_int_equal(pthread_join(busy->thread, NULL), 0);
	loop_remove(&busy->driver.loop, &busy->stall);
	close(busy->stall.fd);
	driver_close(&busy->driver);
}

struct vcpu_write {
	struct driver *driver;
	uint64_t offset;
	uint32_t value;
	pthread_t thread;
};

static void *write_register(void *context)
{
	struct vcpu_write *vcpu = context;

	driver_set(vcpu->driver, vcpu->offset, vcpu->value);
	return NULL;
}

static void begin_write(struct vcpu_write *vcpu, struct driver *driver, uint64_t offset, uint32_t value)
{
	*vcpu = (struct vcpu_write){ .driver = driver, .offset = offset, .value = value };
	assert_int_equal(pthread_create(&vcpu->thread, NULL, write_register, vcpu), 0);
}

static void wait_for_order(struct virtio *virtio, enum virtio_order order)
{
	enum virtio_order given;

	do {
		usleep(1000);
		(void)pthread_mutex_lock(&virtio->device.lock);
		given = virtio->order;
		(void)pthread_mutex_unlock(&virtio->device.lock);
	} while (given != order);
}

/* Another vCPU selects another queue, or none that there is, between the order to stop one and its being done. */
static void test_select_while_stopping(void **state)
{
	static const uint32_t selections[] = { 1, 1000, UINT32_MAX };
	struct virtio_ops ops = echo_ops;
	struct busy busy;
	struct vcpu_write stop;

	(void)state;
	ops.own_thread = true;
	busy_open(&busy, &ops);
	for (size_t i = 0; i < sizeof(selections) / sizeof(*selections); i++) {
		driver_start(&busy.driver, busy.driver.device, 0);
		driver_set(&busy.driver, VIRTIO_MMIO_QUEUE_SEL, 0);
		busy_stall(&busy);
		begin_write(&stop, &busy.driver, VIRTIO_MMIO_QUEUE_READY, 0);
		wait_for_order(busy.driver.virtio, VIRTIO_ORDER_STOP_QUEUE);
		driver_set(&busy.driver, VIRTIO_MMIO_QUEUE_SEL, selections[i]);
		busy_go_on(&busy);
		assert_int_equal(pthread_join(stop.thread, NULL), 0);
		driver_set(&busy.driver, VIRTIO_MMIO_QUEUE_SEL, 0);
		assert_int_equal(driver_get(&busy.driver, VIRTIO_MMIO_QUEUE_READY), 0);
		driver_set(&busy.driver, VIRTIO_MMIO_QUEUE_SEL, 1);
		assert_int_equal(driver_get(&busy.driver, VIRTIO_MMIO_QUEUE_READY), 1);
	}
	busy_close(&busy);
}

/* One vCPU resets the device, and another one sets DRIVER_OK before that is done: the device stays as after a reset. */
static void test_activate_while_resetting(void **state)
{
	struct virtio_ops ops = echo_ops;
	struct busy busy;
	struct vcpu_write reset, go;
	uint32_t status;

	(void)state;
	ops.own_thread = true;
	busy_open(&busy, &ops);
	assert_true(driver_negotiate(&busy.driver, VERSION_1));
	driver_set_queue(&busy.driver, 0, 0);
	status = driver_get(&busy.driver, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK;
	busy_stall(&busy);
	begin_write(&reset, &busy.driver, VIRTIO_MMIO_STATUS, 0);
	wait_for_order(busy.driver.virtio, VIRTIO_ORDER_RESET);
	begin_write(&go, &busy.driver, VIRTIO_MMIO_STATUS, status);
	while (driver_get(&busy.driver, VIRTIO_MMIO_STATUS) != status)
		usleep(1000);
	busy_go_on(&busy);
	assert_int_equal(pthread_join(reset.thread, NULL), 0);
	assert_int_equal(pthread_join(go.thread, NULL), 0);
	assert_int_equal(driver_get(&busy.driver, VIRTIO_MMIO_STATUS), 0);
	assert_false(busy.driver.virtio->active);
	assert_int_equal(echo_of(busy.driver.virtio)->activated, 0);
	driver_start(&busy.driver, busy.driver.device, 0);
	expect_echo(&busy.driver, 0);
	busy_close(&busy);
}

struct scribbler {
	struct driver *driver;
	bool stop;
};

UNSEEN static void *scribble(void *context)
{
	struct scribbler *scribbler = context;
	struct driver *driver = scribbler->driver;
	struct vring_desc *descriptors = driver_descriptor(driver, 0, 0);
	uint32_t seed = 1;

	while (!__atomic_load_n(&scribbler->stop, __ATOMIC_RELAXED)) {
		volatile struct vring_desc *descriptor = &descriptors[seed % DRIVER_QUEUE_SIZE];

		seed = seed * 1103515245 + 12345;
		descriptor->addr = seed & 1 ? UINT64_C(0x1000) : UINT64_C(0xffff000000000000);
		descriptor->len = seed & 2 ? 64 : UINT32_MAX;
		descriptor->next = (uint16_t)(seed >> 20);
		descriptor->addr = 0x1000;
		descriptor->len = 64;
		descriptor->next = (uint16_t)(seed >> 16) % DRIVER_QUEUE_SIZE;
		descriptor->flags = seed & 0x300 ? VRING_DESC_F_NEXT : 0;
	}
	return NULL;
}

/* What is changed while it is looked at: what was judged is what is used. */
static void test_scribbling(void **state)
{
	struct driver driver;
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	struct scribbler scribbler = { .driver = &driver };
	struct virtqueue_chain chain;
	struct virtqueue *queue;
	const uint8_t *good;
	uint16_t *available;
	pthread_t thread;
	unsigned popped = 0, torn = 0;

	(void)state;
	start_echo(&driver, 0);
	queue = &driver.virtio->queues[0];
	good = driver_at(&driver, 0x1000, 64);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &scribbler), 0);
	available = driver_at(&driver, driver.queues[0].available, 4 + 2 * DRIVER_QUEUE_SIZE);
	for (uint16_t i = 0; popped < 20000; i++) {
		available[2 + i % DRIVER_QUEUE_SIZE] = i % DRIVER_QUEUE_SIZE;
		available[1] = (uint16_t)(i + 1);
		queue->next_available = i;
		queue->broken = false;
		if (virtqueue_pop(queue, &chain, iov) <= 0) {
			torn++;
			(void)sched_yield();
			continue;
		}
		popped++;
		for (unsigned j = 0; j < chain.count_out + chain.count_in; j++) {
			assert_ptr_equal(chain.iov[j].iov_base, good);
			assert_int_equal(chain.iov[j].iov_len, 64);
		}
	}
	__atomic_store_n(&scribbler.stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	print_message("%u requests were whole, %u were not\n", popped, torn);
	driver_close(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_odd_accesses),
		cmocka_unit_test(test_negotiation),
		cmocka_unit_test(test_bad_queues),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_event_index),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_stop_queue),
		cmocka_unit_test(test_migrate),
		cmocka_unit_test(test_bad_state),
		cmocka_unit_test(test_own_thread),
		cmocka_unit_test(test_select_while_stopping),
		cmocka_unit_test(test_activate_while_resetting),
		cmocka_unit_test(test_scribbling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
