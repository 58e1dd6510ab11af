/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the threads of a machine share: two threads that stand for vCPUs do to every device whatever comes to their
 * minds, while one runs the loop of disks and network and the main one the rest, takes counters and snapshots, and
 * gives input.  That nothing hangs or falls is seen by any build, that nobody touches what is another's by
 * ThreadSanitizer's (tools/run-tests --suite threads).
 */
#include "disk.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/device/ata.h"
#include "paradigm/vm/device/cmos.h"
#include "paradigm/vm/device/e1000.h"
#include "paradigm/vm/device/power.h"
#include "paradigm/vm/device/serial.h"
#include "paradigm/vm/fs/serve.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/state.h"
#include "paradigm/vm/virtio/balloon.h"
#include "paradigm/vm/virtio/blk.h"
#include "paradigm/vm/virtio/console.h"
#include "paradigm/vm/virtio/fs.h"
#include "paradigm/vm/virtio/net.h"
#include "paradigm/vm/virtio/rng.h"
#include "paradigm/vm/virtio/virtio.h"
#include "paradigm/vm/virtio/vsock.h"
#include "unseen.h"

enum {
	VCPUS = 2,
	ROUNDS = 20000, /* accesses of each */
	DEVICES_MAX = 24,
	RAM = 4 << 20,
	SECTORS = 2048,
	DISKS = 4,
	GUEST = 3,	/* its vsock address */
	RING_SIZE = 16, /* of each queue, at RINGS; all of them offer the same requests */
	RINGS = 0x10000,
	RING_BYTES = 0x400, /* descriptors, what is available, what was used */
	AVAILABLE = 0x100,
	USED = 0x200,
	QUEUES_MAX = 8, /* of a device */
	BUFFERS = 0x100000,
};

/* A place where a vCPU can read and write. */
struct place {
	enum bus_kind kind;
	uint64_t base, size;
	struct virtio *virtio; /* NULL: it is no window of one */
};

struct rig {
	struct bus bus;
	struct guest_memory memory;
	struct loop main, io;
	pthread_t io_thread, vcpus[VCPUS];
	pthread_rwlock_t run; /* taken by a vCPU while it is "in the guest", and alone by who stops them */
	unsigned running;     /* vCPUs; atomic */
	uint64_t heard;	      /* bytes, edges, events: whatever devices tell; atomic */
	struct device *devices[DEVICES_MAX];
	size_t devices_count;
	struct place places[DEVICES_MAX];
	size_t places_count;
	unsigned windows;
	struct block *disks[DISKS];
	struct serial *serial;
	struct device *console, *balloon, *pm;
	struct pci_host *pci;
	int wires[2]; /* the other ends of the network cards */
	int peers[2]; /* connections to the guest's sockets, or -1 */
	pid_t server; /* of the shared directory; 0: there is none */
};

static uint32_t roll(uint32_t *seed, uint32_t sides)
{
	*seed = *seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(*seed >> 8) * sides) >> 24);
}

/* ---- a machine's devices ---- */

static void hear(struct rig *rig)
{
	__atomic_fetch_add(&rig->heard, 1, __ATOMIC_RELAXED);
}

static void take_output(void *context, const void *bytes, size_t count)
{
	(void)bytes, (void)count;
	hear(context);
}

static void take_room(void *context)
{
	hear(context);
}

static void take_power(void *context, enum power_event event, uint32_t code)
{
	(void)event, (void)code;
	hear(context);
}

static void take_level(void *context, unsigned line, bool level)
{
	(void)line, (void)level;
	hear(context);
}

static int event(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static void own(struct rig *rig, struct device *device)
{
	assert_non_null(device);
	rig->devices[rig->devices_count++] = device;
}

static void place(struct rig *rig, enum bus_kind kind, uint64_t base, uint64_t size, struct virtio *virtio)
{
	rig->places[rig->places_count++] = (struct place){ .kind = kind, .base = base, .size = size, .virtio = virtio };
}

static void own_at(struct rig *rig, struct device *device, uint64_t port, uint64_t size)
{
	own(rig, device);
	assert_int_equal(bus_add(&rig->bus, BUS_PORTS, port, size, device, 0, NULL), 0);
	place(rig, BUS_PORTS, port, size, NULL);
}

static void own_window(struct rig *rig, struct device *device)
{
	struct virtio *virtio = (struct virtio *)(void *)device;
	uint64_t base = layout_virtio_base(rig->windows++);

	own(rig, device);
	virtio->interrupt.fd = event();
	assert_int_equal(bus_add(&rig->bus, BUS_MEMORY, base, LAYOUT_VIRTIO_SIZE, device, 0, NULL), 0);
	place(rig, BUS_MEMORY, base, LAYOUT_VIRTIO_SIZE, virtio);
}

static void must(int result, const struct error *err)
{
	if (result < 0)
		fail_msg("%s", err->text);
}

static struct block *open_block(struct rig *rig, unsigned number)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct block_source source = { .fd = fd,
				       .format = number % 2 ? BLOCK_QCOW2 : BLOCK_RAW,
				       .threads = number < 2 || kernel_is_veiled() };
	struct error err = ERROR_INIT;

	assert_true(fd >= 0);
	if (source.format == BLOCK_QCOW2)
		must(qcow2_create(fd, SECTORS * 512, NULL, NULL, &err), &err);
	else
		assert_int_equal(ftruncate(fd, SECTORS * 512), 0);
	must(block_open(&source, &rig->io, &rig->disks[number], &err), &err);
	return rig->disks[number];
}

static int open_wire(int *other)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	*other = pair[1];
	return pair[0];
}

static void add_ports(struct rig *rig)
{
	const struct power power = { .event = take_power, .context = rig };
	const struct interrupt sci = { .fd = -1, .set = take_level, .context = rig };
	struct serial_options serial = { .interrupt = { .fd = event() },
					 .output = take_output,
					 .context = rig,
					 .room = take_room,
					 .room_context = rig };

	rig->serial = serial_make(&serial);
	own_at(rig, &rig->serial->device, LAYOUT_COM1, LAYOUT_COM_SIZE);
	own_at(rig, cmos_make(NULL), LAYOUT_CMOS, LAYOUT_CMOS_SIZE);
	rig->pm = pm_make(&power, &sci);
	own_at(rig, rig->pm, LAYOUT_PM, LAYOUT_PM_SIZE);
	own_at(rig, i8042_make(&power), LAYOUT_I8042_DATA, 1);
}

static void add_pci(struct rig *rig)
{
	static const uint64_t ports[][2] = { { LAYOUT_ATA0, LAYOUT_ATA_SIZE },
					     { LAYOUT_ATA0_CONTROL, 1 },
					     { LAYOUT_ATA1, LAYOUT_ATA_SIZE },
					     { LAYOUT_ATA1_CONTROL, 1 } };
	const struct interrupt lines = { .fd = -1, .set = take_level, .context = rig };
	const struct interrupt edges[ATA_CHANNELS] = { { .fd = event() }, { .fd = event() } };
	struct block *const drives[ATA_CHANNELS * ATA_DRIVES] = { open_block(rig, 0), NULL, open_block(rig, 3) };
	struct e1000_options card = { .mac = { 2, 0, 0, 0, 0, 1 }, .memory = &rig->memory, .loop = &rig->io };
	struct error err = ERROR_INIT;
	struct device *device;

	must(pci_host_make(&rig->bus, &lines, &rig->pci, &err), &err);
	own(rig, pci_host_device(rig->pci));
	place(rig, BUS_PORTS, LAYOUT_PCI_ADDRESS, 8, NULL);
	must(ata_make(drives, NULL, edges, &rig->io, &device, &err), &err);
	own(rig, device);
	for (unsigned i = 0; i < sizeof(ports) / sizeof(*ports); i++) {
		must(bus_add(&rig->bus, BUS_PORTS, ports[i][0], ports[i][1], device, i, &err), &err);
		place(rig, BUS_PORTS, ports[i][0], ports[i][1], NULL);
	}
	must(ata_add_pci(device, rig->pci, &err), &err);
	card.tap = open_wire(&rig->wires[0]);
	card.pci = rig->pci;
	must(e1000_make(&card, &device, &err), &err);
	own(rig, device);
	place(rig, BUS_MEMORY, LAYOUT_PCI_MEMORY, 0x6000, NULL); /* its registers, at first */
}

static void add_virtio(struct rig *rig)
{
	const struct virtio_console_options console = {
		.name = "port", .output = take_output, .room = take_room, .context = rig
	};
	struct virtio_net_options net = { .pairs = 1, .mac = { 2, 0, 0, 0, 0, 2 }, .vhosts = { -1 } };
	struct error err = ERROR_INIT;
	struct device *device;

	for (unsigned i = 1; i < 3; i++) {
		must(virtio_blk_make(open_block(rig, i), i, "disk", &rig->memory, &rig->io, &device, &err), &err);
		own_window(rig, device);
	}
	net.taps[0] = open_wire(&rig->wires[1]);
	must(virtio_net_make(&net, &rig->memory, &rig->io, &device, &err), &err);
	own_window(rig, device);
	must(virtio_console_make(&console, &rig->memory, &rig->main, &rig->console, &err), &err);
	own_window(rig, rig->console);
	must(virtio_rng_make(&rig->memory, &rig->main, &device, &err), &err);
	own_window(rig, device);
	must(virtio_balloon_make(true, &rig->memory, &rig->main, &rig->balloon, &err), &err);
	own_window(rig, rig->balloon);
	must(virtio_vsock_make(GUEST, open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), &rig->memory, &rig->main, &device,
			       &err),
	     &err);
	own_window(rig, device);
}

/* Its server is a process, and is made before there are threads. */
static void add_share(struct rig *rig)
{
	int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), socket;
	struct error err = ERROR_INIT;
	struct device *device;

	must(fs_start(directory, true, FS_MESSAGES, NULL, &socket, &rig->server, &err), &err);
	close(directory);
	must(virtio_fs_make("share", socket, &rig->memory, &rig->io, &device, &err), &err);
	own_window(rig, device);
}

static void *run_io(void *context)
{
	return loop_run(&((struct rig *)context)->io, NULL) == 0 ? context : NULL;
}

static void rig_open(struct rig *rig)
{
	const struct guest_region layout = { .base = 0, .size = RAM };
	struct error err = ERROR_INIT;

	*rig = (struct rig){ .peers = { -1, -1 } };
	must(bus_init(&rig->bus, &err), &err);
	must(guest_memory_make(&rig->memory, &layout, 1, 0, &err), &err);
	/* Two requests may be about the same bytes: that is the guest's affair. */
	HIDE_MEMORY(rig->memory.regions[0].host, RAM);
	must(loop_open(&rig->main, &err), &err);
	must(loop_open(&rig->io, &err), &err);
	assert_int_equal(pthread_rwlock_init(&rig->run, NULL), 0);
	if (!kernel_is_veiled()) /* the server could not serve */
		add_share(rig);
	add_virtio(rig);
	add_ports(rig);
	add_pci(rig);
	loop_hand_over(&rig->io);
	assert_int_equal(pthread_create(&rig->io_thread, NULL, run_io, rig), 0);
}

static void rig_close(struct rig *rig)
{
	void *ended = NULL;
	int status;

	loop_stop(&rig->io);
	assert_int_equal(pthread_join(rig->io_thread, &ended), 0);
	assert_ptr_equal(ended, rig);
	while (rig->devices_count > 0) {
		struct device *device = rig->devices[--rig->devices_count];

		device->ops->free(device);
	}
	for (int i = 0; i < 2; i++) {
		close(rig->wires[i]);
		if (rig->peers[i] >= 0)
			close(rig->peers[i]);
	}
	if (rig->server > 0) {
		assert_int_equal(waitpid(rig->server, &status, 0), rig->server);
		assert_int_equal(status, 0);
	}
	(void)pthread_rwlock_destroy(&rig->run);
	loop_close(&rig->io);
	loop_close(&rig->main);
	guest_memory_free(&rig->memory);
	bus_free(&rig->bus);
}

/* ---- vCPUs ---- */

struct vcpu {
	struct rig *rig;
	uint32_t seed;
};

static uint64_t ring_of(const struct place *place, unsigned queue)
{
	uint64_t window = (place->base - LAYOUT_VIRTIO) / LAYOUT_VIRTIO_SIZE;

	return RINGS + (window * QUEUES_MAX + queue) * RING_BYTES;
}

UNSEEN static void poke(struct rig *rig, uint64_t address, const void *bytes, size_t size)
{
	volatile uint8_t *at = rig->memory.regions[0].host + address;

	for (size_t i = 0; i < size; i++)
		at[i] = ((const uint8_t *)bytes)[i];
}

UNSEEN static uint16_t peek16(struct rig *rig, uint64_t address)
{
	return *(volatile uint16_t *)(void *)(rig->memory.regions[0].host + address);
}

static uint32_t get(struct rig *rig, const struct place *place, uint64_t offset)
{
	uint32_t value = 0;

	(void)bus_read(&rig->bus, place->kind, place->base + offset, &value, sizeof(value));
	return value;
}

static void set(struct rig *rig, const struct place *place, uint64_t offset, uint32_t value)
{
	(void)bus_write(&rig->bus, place->kind, place->base + offset, &value, sizeof(value));
}

/* By the book; but others may have other ideas at the same time. */
static void bring_up(struct rig *rig, const struct place *place)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	set(rig, place, VIRTIO_MMIO_STATUS, 0);
	set(rig, place, VIRTIO_MMIO_STATUS, status);
	for (uint32_t i = 0; i < 2; i++) {
		set(rig, place, VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
		set(rig, place, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		set(rig, place, VIRTIO_MMIO_DRIVER_FEATURES, get(rig, place, VIRTIO_MMIO_DEVICE_FEATURES));
	}
	set(rig, place, VIRTIO_MMIO_STATUS, status |= VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned i = 0; i < place->virtio->queues_count; i++) {
		uint64_t ring = ring_of(place, i);
		uint32_t nothing = 0;

		poke(rig, ring + AVAILABLE, &nothing, sizeof(nothing));
		poke(rig, ring + USED, &nothing, sizeof(nothing));
		set(rig, place, VIRTIO_MMIO_QUEUE_SEL, i);
		set(rig, place, VIRTIO_MMIO_QUEUE_NUM, RING_SIZE);
		set(rig, place, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)ring);
		set(rig, place, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)ring + AVAILABLE);
		set(rig, place, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)ring + USED);
		set(rig, place, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	set(rig, place, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

static const uint32_t disk_types[8] = { VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_OUT,	      VIRTIO_BLK_T_IN,
					VIRTIO_BLK_T_OUT,   VIRTIO_BLK_T_FLUSH,	      VIRTIO_BLK_T_GET_ID,
					VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES };

/* What the device reads first; returns its size. */
static size_t head_of(const struct virtio *virtio, unsigned queue, uint32_t dice, uint8_t head[static 64])
{
	const struct virtio_blk_outhdr request = { .type = disk_types[dice % 8], .sector = dice / 16 % SECTORS };
	const struct virtio_vsock_hdr packet = { .src_cid = GUEST,
						 .dst_cid = 2,
						 .src_port = 5,
						 .dst_port = (UINT32_C(1) << 30) + dice / 16 % 8,
						 .type = VIRTIO_VSOCK_TYPE_STREAM,
						 .op = (uint16_t)(dice % 8),
						 .buf_alloc = 65536 };
	const uint8_t control[8] = { (uint8_t)(dice % 6), dice % 6 == VIRTIO_NET_CTRL_MAC, 0, 0, 0, 2, 3, 4 };
	const uint16_t port[4] = { 0, 0, (uint16_t)(dice % 8), 1 };

	memset(head, 0, 64);
	switch (virtio->ops->id) {
	case VIRTIO_ID_NET:
		memcpy(head, control, queue == 2 ? sizeof(control) : 0);
		return queue == 2 ? (control[1] ? 8 : control[0] == VIRTIO_NET_CTRL_ANNOUNCE ? 2 : 3) : 64;
	case VIRTIO_ID_BLOCK:
		memcpy(head, &request, sizeof(request));
		return sizeof(request);
	case VIRTIO_ID_CONSOLE:
		memcpy(head, port, sizeof(port));
		return sizeof(port);
	case VIRTIO_ID_VSOCK:
		memcpy(head, &packet, sizeof(packet));
		return sizeof(packet);
	default:
		memcpy(head, &dice, sizeof(dice));
		return 40;
	}
}

/* A queue whose requests are room for what the device has to say. */
static bool is_room(uint32_t id, unsigned queue)
{
	return id == VIRTIO_ID_RNG || (id == VIRTIO_ID_NET && queue == 0) ||
	       ((id == VIRTIO_ID_CONSOLE || id == VIRTIO_ID_VSOCK) && queue % 2 == 0);
}

/* A request of up to three parts, and a notification. */
static void offer(struct vcpu *vcpu, const struct place *place, unsigned queue)
{
	struct rig *rig = vcpu->rig;
	uint32_t dice = roll(&vcpu->seed, 1 << 20), parts = 1 + dice / 8 % 4 % 3;
	uint64_t ring = ring_of(place, queue), buffer = BUFFERS + dice / 4 % 512 * 4096;
	uint16_t index = peek16(rig, ring + AVAILABLE + 2), at = (uint16_t)(index * 3 % RING_SIZE);
	bool only_in = is_room(place->virtio->ops->id, queue);
	uint8_t head[64];
	uint32_t size = (uint32_t)head_of(place->virtio, queue, dice, head);

	poke(rig, buffer, head, sizeof(head));
	for (uint32_t i = 0; i < parts; i++) {
		const struct vring_desc descriptor = {
			.addr = buffer + (i ? 64 : 0) + (i == 2 ? 1024 : 0),
			.len = i == 0 && !only_in ? size
			       : i == 2		  ? 1
						  : 1024,
			.flags = (uint16_t)((i + 1U < parts ? VRING_DESC_F_NEXT : 0) |
					    (only_in || i == 2 || (i == 1 && dice % 2 == 0) ? VRING_DESC_F_WRITE : 0)),
			.next = (uint16_t)((at + i + 1) % RING_SIZE),
		};

		poke(rig, ring + (uint64_t)((at + i) % RING_SIZE) * 16, &descriptor, sizeof(descriptor));
	}
	poke(rig, ring + AVAILABLE + 4 + index % RING_SIZE * 2, &at, sizeof(at));
	index++;
	poke(rig, ring + AVAILABLE + 2, &index, sizeof(index));
	set(rig, place, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static void touch_config(struct vcpu *vcpu, const struct place *place)
{
	uint64_t address = place->base + VIRTIO_MMIO_CONFIG + roll(&vcpu->seed, 40);
	uint8_t byte = (uint8_t)roll(&vcpu->seed, 3);

	if (roll(&vcpu->seed, 4))
		(void)bus_read(&vcpu->rig->bus, place->kind, address, &byte, 1);
	else
		(void)bus_write(&vcpu->rig->bus, place->kind, address, &byte, 1);
}

static void touch_virtio(struct vcpu *vcpu, const struct place *place)
{
	struct rig *rig = vcpu->rig;
	unsigned queue = roll(&vcpu->seed, place->virtio->queues_count);
	uint32_t dice = roll(&vcpu->seed, 100);

	if (dice < 4) {
		bring_up(rig, place);
	} else if (dice < 60) {
		offer(vcpu, place, queue);
	} else if (dice < 75) {
		touch_config(vcpu, place);
	} else if (dice < 85) {
		set(rig, place, VIRTIO_MMIO_INTERRUPT_ACK, get(rig, place, VIRTIO_MMIO_INTERRUPT_STATUS));
	} else if (dice < 87) {
		set(rig, place, VIRTIO_MMIO_QUEUE_SEL, queue);
		set(rig, place, VIRTIO_MMIO_QUEUE_READY, roll(&vcpu->seed, 2));
	} else if (dice < 90) {
		set(rig, place, roll(&vcpu->seed, 64) * 4, roll(&vcpu->seed, 32));
	} else {
		(void)get(rig, place, roll(&vcpu->seed, 64) * 4);
	}
}

/* Registers of the old devices; the values are such as lead somewhere. */
static void touch_registers(struct vcpu *vcpu, const struct place *place)
{
	static const uint32_t values[] = { 0,	 1,    2,    3,	     4,		 7,	     0x10,	0x20,
					   0x30, 0x40, 0xe7, 0xec,   0xc4,	 0x83,	     0x80,	0x1000,
					   6,	 0xff, 0x06, 0x8000, 0x80001000, 0x80001004, 0x80001010 };
	uint32_t value = values[roll(&vcpu->seed, sizeof(values) / sizeof(*values))];
	unsigned size = 1U << roll(&vcpu->seed, 3);
	uint64_t address = place->base + roll(&vcpu->seed, (uint32_t)(place->size / size)) * (uint64_t)size;
	uint8_t bytes[512];

	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, &value, sizeof(value));
	switch (roll(&vcpu->seed, 4)) {
	case 0:
		(void)bus_read(&vcpu->rig->bus, place->kind, address, bytes, size);
		break;
	case 1: /* as string instructions do with a disk's data */
		(void)bus_read_string(&vcpu->rig->bus, place->kind, place->base, bytes, 2, sizeof(bytes) / 2);
		break;
	default:
		(void)bus_write(&vcpu->rig->bus, place->kind, address, bytes, size);
		break;
	}
}

/* The card's rings lie at the beginning of the buffers: what is in there is as good as anything. */
static void touch_card(struct vcpu *vcpu, const struct place *place)
{
	static const uint32_t registers[][2] = {
		{ 0x0100, 0x0400801a }, { 0x0400, 0x0000000a }, { 0x2800, BUFFERS }, { 0x2808, 128 },
		{ 0x2818, 7 },		{ 0x2818, 3 },		{ 0x3800, BUFFERS }, { 0x3808, 128 },
		{ 0x3818, 5 },		{ 0x3818, 1 },		{ 0x00d0, 0x1f6df }, { 0x00d8, 0x1f6df },
		{ 0x00c4, 400 },	{ 0x00c8, 0x80 },	{ 0x0000, 1 << 26 },
	};
	const uint32_t *one = registers[roll(&vcpu->seed, sizeof(registers) / sizeof(*registers))];

	if (roll(&vcpu->seed, 4) == 0)
		(void)get(vcpu->rig, place, 0xc0);
	else
		set(vcpu->rig, place, one[0], one[1]);
}

/* Memory and ports off and on, master or not; and its registers elsewhere for a while. */
static void touch_pci(struct vcpu *vcpu)
{
	const struct place address = { .kind = BUS_PORTS, .base = LAYOUT_PCI_ADDRESS };
	uint32_t slot = 1 + roll(&vcpu->seed, 2), dice = roll(&vcpu->seed, 8);

	set(vcpu->rig, &address, 0, 0x80000000U | slot << 11 | (dice ? 4 : 0x10));
	if (dice)
		set(vcpu->rig, &address, 4, dice == 1 ? 0x400 : 7);
	else
		set(vcpu->rig, &address, 4, (uint32_t)LAYOUT_PCI_MEMORY + roll(&vcpu->seed, 2) * 0x20000);
	(void)get(vcpu->rig, &address, 4);
}

/* A command of a disk as a driver gives it, its data. */
static void touch_disk(struct vcpu *vcpu, const struct place *place)
{
	static const uint8_t commands[] = { 0x20, 0x30, 0x20, 0x30, 0xe7, 0xec };
	const uint8_t registers[] = { 0, 1, (uint8_t)roll(&vcpu->seed, 256), 0, 0, 0xe0 };
	uint8_t command = commands[roll(&vcpu->seed, sizeof(commands))], status = 0x80, data[512] = { 0 };
	struct bus *bus = &vcpu->rig->bus;

	for (unsigned i = 1; i < sizeof(registers); i++)
		(void)bus_write(bus, BUS_PORTS, place->base + i, &registers[i], 1);
	(void)bus_write(bus, BUS_PORTS, place->base + 7, &command, 1);
	for (unsigned i = 0; i < 20 && status & 0x80; i++)
		(void)bus_read(bus, BUS_PORTS, place->base + 7, &status, 1);
	if (command == 0x30)
		(void)bus_write_string(bus, BUS_PORTS, place->base, data, 2, sizeof(data) / 2);
	else
		(void)bus_read_string(bus, BUS_PORTS, place->base, data, 2, sizeof(data) / 2);
}

static void touch(struct vcpu *vcpu)
{
	const struct place *place = &vcpu->rig->places[roll(&vcpu->seed, (uint32_t)vcpu->rig->places_count)];

	if (place->virtio)
		touch_virtio(vcpu, place);
	else if (place->kind == BUS_MEMORY)
		touch_card(vcpu, place);
	else if (place->base == LAYOUT_PCI_ADDRESS)
		touch_pci(vcpu);
	else if ((place->base == LAYOUT_ATA0 || place->base == LAYOUT_ATA1) && roll(&vcpu->seed, 2))
		touch_disk(vcpu, place);
	else
		touch_registers(vcpu, place);
}

static void *run_vcpu(void *context)
{
	struct vcpu *vcpu = context;
	unsigned rounds = kernel_is_veiled() ? ROUNDS / 10 : ROUNDS;

	for (unsigned i = 0; i < rounds; i++) {
		(void)pthread_rwlock_rdlock(&vcpu->rig->run);
		touch(vcpu);
		(void)pthread_rwlock_unlock(&vcpu->rig->run);
	}
	__atomic_fetch_sub(&vcpu->rig->running, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- the main thread's work ---- */

/* As machine_counters() does. */
static uint64_t sum_counters(struct rig *rig)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < rig->devices_count; i++)
		sum += __atomic_load_n(&rig->devices[i]->reads, __ATOMIC_RELAXED) +
		       __atomic_load_n(&rig->devices[i]->writes, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < DISKS; i++) {
		struct block_counters count;

		block_count(rig->disks[i], &count);
		sum += count.reads + count.writes + count.flushes;
	}
	return sum;
}

static void take_snapshot(struct rig *rig)
{
	struct state_writer writer = { .out = STR_INIT };

	(void)pthread_rwlock_wrlock(&rig->run);
	for (size_t i = 0; i < rig->devices_count; i++)
		if (rig->devices[i]->ops->quiesce)
			rig->devices[i]->ops->quiesce(rig->devices[i]);
	for (size_t i = 0; i < rig->devices_count; i++) {
		struct device *device = rig->devices[i];

		(void)pthread_mutex_lock(&device->lock);
		if (device->ops->save)
			device->ops->save(device, &writer);
		(void)pthread_mutex_unlock(&device->lock);
	}
	assert_true(writer.out.length > 1000 && !str_failed(&writer.out));
	str_free(&writer.out);
	for (size_t i = 0; i < rig->devices_count; i++)
		if (rig->devices[i]->ops->resume)
			rig->devices[i]->ops->resume(rig->devices[i]);
	(void)pthread_rwlock_unlock(&rig->run);
}

static void greet_guest(struct rig *rig, unsigned number)
{
	static const char words[] = "CONNECT 5\nand more";
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = VSOCK_SOCKET };
	int *peer = &rig->peers[number % 2];

	if (*peer >= 0)
		close(*peer);
	*peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(*peer >= 0);
	if (connect(*peer, (struct sockaddr *)&address, sizeof(address)) == 0)
		(void)!write(*peer, words, sizeof(words) - 1);
}

static void feed(struct rig *rig)
{
	struct virtio_balloon_state state;
	uint8_t packet[200] = { 0 };

	(void)serial_input(rig->serial, "typed", 5);
	(void)virtio_console_input(rig->console, packet, sizeof(packet));
	memset(packet + 12, 0xff, 6); /* to everybody */
	for (int i = 0; i < 2; i++) {
		(void)!write(rig->wires[i], packet, sizeof(packet));
		while (read(rig->wires[i], packet, sizeof(packet)) > 0)
			hear(rig);
	}
	virtio_balloon_set(rig->balloon, 1 << 20);
	virtio_balloon_get(rig->balloon, &state);
	pm_press_button(rig->pm);
}

static void run_main(struct rig *rig)
{
	for (unsigned round = 0; __atomic_load_n(&rig->running, __ATOMIC_ACQUIRE) > 0; round++) {
		assert_int_equal(loop_wait(&rig->main, 0, NULL), 0);
		switch (round % 16) {
		case 1:
			greet_guest(rig, round / 16);
			break;
		case 9:
			take_snapshot(rig);
			break;
		default:
			feed(rig);
			(void)sum_counters(rig);
			break;
		}
	}
}

/* ---- the tests ---- */

/* After all that, a disk answers a driver that wants no harm. */
static void serves(struct rig *rig, const struct place *place)
{
	struct vcpu calm = { .rig = rig, .seed = 1 };
	uint64_t ring = ring_of(place, 0);

	bring_up(rig, place);
	assert_int_equal(get(rig, place, VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
								      VIRTIO_CONFIG_S_FEATURES_OK |
								      VIRTIO_CONFIG_S_DRIVER_OK);
	for (;;) { /* the first with three parts is whole */
		struct vcpu again = calm;

		if (roll(&again.seed, 1 << 20) / 8 % 4 == 2)
			break;
		(void)roll(&calm.seed, 1);
	}
	offer(&calm, place, 0);
	for (int waited = 0; waited < 2000 && peek16(rig, ring + USED + 2) == 0; waited++)
		usleep(10000);
	assert_int_equal(peek16(rig, ring + USED + 2), 1);
}

static void devices_are_shared_by_threads(void **state)
{
	static struct rig rig;
	struct vcpu vcpus[VCPUS];

	(void)state;
	rig_open(&rig);
	rig.running = VCPUS;
	for (unsigned i = 0; i < VCPUS; i++) {
		vcpus[i] = (struct vcpu){ .rig = &rig, .seed = i + 1 };
		assert_int_equal(pthread_create(&rig.vcpus[i], NULL, run_vcpu, &vcpus[i]), 0);
	}
	run_main(&rig);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_join(rig.vcpus[i], NULL), 0);
	assert_true(sum_counters(&rig) > VCPUS && __atomic_load_n(&rig.heard, __ATOMIC_RELAXED) > 0);
	for (size_t i = 0; i < rig.places_count; i++)
		if (rig.places[i].virtio && rig.places[i].virtio->ops->id == VIRTIO_ID_BLOCK)
			serves(&rig, &rig.places[i]);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(devices_are_shared_by_threads, disk_dir_make, disk_dir_remove),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
