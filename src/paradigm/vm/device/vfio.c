/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/device/vfio.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	ENTRY = PCI_MSIX_ENTRY_SIZE,
	MSIX_BYTES = 12,       /* of the capability */
	CAPABILITIES_MAX = 48, /* what a configuration space has room for; a longer list is a circle */
};

_Static_assert((int)PCI_BARS <= (int)VFIO_PCI_ROM_REGION_INDEX, "BAR n is region n");

/* A part of a BAR that the guest reaches without us. */
struct passage {
	unsigned bar;
	uint64_t offset, size;
	void *host;
};

struct message {
	uint32_t words[ENTRY / 4]; /* address, its upper half, data, control */
	int eventfd;
	bool routed; /* it goes to the guest */
};

struct vfio {
	struct device device;
	struct pci_function pci;
	struct vfio_device host;
	const struct vfio_wiring *wiring;
	void *context;
	struct passage passages[VFIO_SLOTS_MAX];
	unsigned passages_count;
	unsigned msix; /* the capability's offset; 0: none */
	unsigned table_bar;
	uint64_t table; /* offset in that BAR */
	unsigned messages_count, real_messages;
	struct message messages[VFIO_MESSAGES_MAX];
	bool by_messages;	       /* the device sends messages, not INTx */
	int line_event, line_resample; /* -1: it has no INTx */
	bool line_on;
};

static struct vfio *vfio_of(struct device *device)
{
	return (struct vfio *)(void *)device;
}

static uint32_t load(const void *from, unsigned size)
{
	uint32_t value = 0;

	memcpy(&value, from, size);
	return le32toh(value);
}

static void store(void *to, uint32_t value, unsigned size)
{
	value = htole32(value);
	memcpy(to, &value, size);
}

/* ---- interrupts ---- */

static bool function_sends(const struct vfio *vfio)
{
	uint32_t control = load(vfio->pci.config + vfio->msix + PCI_MSIX_FLAGS, 2);

	return vfio->by_messages && !(control & PCI_MSIX_FLAGS_MASKALL);
}

/* What comes while a message is masked waits in its eventfd. */
static void update_message(struct vfio *vfio, unsigned number)
{
	struct message *message = &vfio->messages[number];
	bool wanted = function_sends(vfio) && !(message->words[3] & PCI_MSIX_ENTRY_CTRL_MASKBIT);

	if (wanted)
		wanted = vfio->wiring->route(vfio->context, number,
					     message->words[0] | (uint64_t)message->words[1] << 32, message->words[2]);
	if (wanted != message->routed && vfio->wiring->listen(vfio->context, number, message->eventfd, wanted))
		message->routed = wanted;
}

static void set_line(struct vfio *vfio, bool on)
{
	unsigned line = pci_line(&vfio->pci);

	if (vfio->line_event < 0 || vfio->line_on == on)
		return;
	if (on) {
		vfio->line_on = vfio->wiring->listen_line(vfio->context, line, vfio->line_event, vfio->line_resample,
							  true) &&
				vfio->wiring->interrupts(&vfio->host, VFIO_PCI_INTX_IRQ_INDEX, &vfio->line_event, 1) &&
				vfio->wiring->unmask_by(&vfio->host, vfio->line_resample);
		return;
	}
	(void)vfio->wiring->interrupts(&vfio->host, VFIO_PCI_INTX_IRQ_INDEX, NULL, 0);
	(void)vfio->wiring->listen_line(vfio->context, line, vfio->line_event, vfio->line_resample, false);
	vfio->line_on = false;
}

static void set_messages(struct vfio *vfio, bool on)
{
	int eventfds[VFIO_MESSAGES_MAX];

	if (vfio->by_messages == on)
		return;
	if (!on) {
		vfio->by_messages = false;
		for (unsigned i = 0; i < vfio->messages_count; i++)
			update_message(vfio, i);
		(void)vfio->wiring->interrupts(&vfio->host, VFIO_PCI_MSIX_IRQ_INDEX, NULL, 0);
		set_line(vfio, true);
		return;
	}
	set_line(vfio, false);
	for (unsigned i = 0; i < vfio->messages_count; i++)
		eventfds[i] = vfio->messages[i].eventfd;
	vfio->by_messages = vfio->wiring->interrupts(&vfio->host, VFIO_PCI_MSIX_IRQ_INDEX, eventfds,
						     vfio->messages_count);
}

/* Of the registers that the guest changes, those that the device must hear of.  It always decodes its memory: whether
 * the guest sees that is the bus's affair. */
static void send_command(const struct vfio *vfio)
{
	uint16_t command = (uint16_t)(load(vfio->pci.config + PCI_COMMAND, 2) &
				      (PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX));
	uint16_t bytes = htole16((uint16_t)(command | PCI_COMMAND_MEMORY | PCI_COMMAND_PORTS));
	const struct vfio_region *config = &vfio->host.regions[VFIO_PCI_CONFIG_REGION_INDEX];

	(void)!pwrite(vfio->host.fd, &bytes, sizeof(bytes), (off_t)(config->offset + PCI_COMMAND));
}

static bool touches(unsigned offset, unsigned size, unsigned at, unsigned bytes)
{
	return offset < at + bytes && at < offset + size;
}

static void config_written(struct pci_function *function, unsigned offset, unsigned size)
{
	struct vfio *vfio = vfio_of(function->device);

	(void)pthread_mutex_lock(&vfio->device.lock);
	if (touches(offset, size, PCI_COMMAND, 2))
		send_command(vfio);
	if (vfio->msix && touches(offset, size, vfio->msix + PCI_MSIX_FLAGS, 2)) {
		set_messages(vfio, load(vfio->pci.config + vfio->msix + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE);
		for (unsigned i = 0; i < vfio->messages_count; i++)
			update_message(vfio, i);
	}
	(void)pthread_mutex_unlock(&vfio->device.lock);
}

/* ---- BARs ---- */

static void bar_moved(struct pci_function *function, unsigned bar)
{
	struct vfio *vfio = vfio_of(function->device);
	const struct pci_bar *place = &function->bars[bar];

	for (unsigned i = 0; i < vfio->passages_count; i++) {
		const struct passage *passage = &vfio->passages[i];

		/* What cannot be mapped is read and written here. */
		if (passage->bar == bar)
			(void)vfio->wiring->map(vfio->context, i, place->mapped ? place->base + passage->offset : 0,
						passage->host, place->mapped ? passage->size : 0);
	}
}

static bool in_table(const struct vfio *vfio, unsigned bar, uint64_t offset, unsigned size)
{
	uint64_t bytes = (uint64_t)vfio->real_messages * ENTRY;

	return vfio->msix && bar == vfio->table_bar && offset < vfio->table + bytes && offset + size > vfio->table;
}

static void read_bar(struct device *device, unsigned bar, uint64_t offset, void *data, unsigned size)
{
	const struct vfio *vfio = vfio_of(device);
	const struct vfio_region *region = &vfio->host.regions[bar];

	memset(data, 0xff, size);
	if (in_table(vfio, bar, offset, size)) {
		uint64_t at = offset - vfio->table, number = at / ENTRY;

		/* 6.8.2: whole words; nobody reads others. */
		if (offset >= vfio->table && at % 4 == 0 && size == 4 && number < vfio->messages_count)
			store(data, vfio->messages[number].words[at % ENTRY / 4], 4);
		else if (offset >= vfio->table && at % 8 == 0 && size == 8 && number < vfio->messages_count)
			memcpy(data, &vfio->messages[number].words[at % ENTRY / 4], 8);
		return;
	}
	if (offset + size <= region->size &&
	    pread(vfio->host.fd, data, size, (off_t)(region->offset + offset)) != (ssize_t)size)
		memset(data, 0xff, size);
}

static void write_table(struct vfio *vfio, uint64_t at, const uint8_t *data, unsigned size)
{
	if (at % 4 != 0 || (size != 4 && (size != 8 || at % 8 != 0)) || at / ENTRY >= vfio->messages_count)
		return;
	for (unsigned i = 0; i < size; i += 4)
		vfio->messages[at / ENTRY].words[at % ENTRY / 4 + i / 4] = load(data + i, 4);
	update_message(vfio, (unsigned)(at / ENTRY));
}

static void write_bar(struct device *device, unsigned bar, uint64_t offset, const void *data, unsigned size)
{
	struct vfio *vfio = vfio_of(device);
	const struct vfio_region *region = &vfio->host.regions[bar];

	if (in_table(vfio, bar, offset, size)) {
		if (offset >= vfio->table)
			write_table(vfio, offset - vfio->table, data, size);
		return;
	}
	if (offset + size <= region->size)
		(void)!pwrite(vfio->host.fd, data, size, (off_t)(region->offset + offset));
}

static void add_passage(struct vfio *vfio, unsigned bar, uint64_t begin, uint64_t end)
{
	const struct vfio_region *region = &vfio->host.regions[bar];
	void *host;

	if (begin >= end || vfio->passages_count == VFIO_SLOTS_MAX)
		return;
	host = mmap(NULL, end - begin, PROT_READ | PROT_WRITE, MAP_SHARED, vfio->host.fd,
		    (off_t)(region->offset + begin));
	if (host == MAP_FAILED)
		return;
	vfio->passages[vfio->passages_count++] = (struct passage){ bar, begin, end - begin, host };
}

/* All pages of the BAR that the kernel maps, but for those with the MSI-X table: its messages are the guest's, not the
 * host's. */
static void add_passages(struct vfio *vfio, unsigned bar)
{
	const struct vfio_region *region = &vfio->host.regions[bar];
	uint64_t hole = 0, hole_end = 0;

	if (vfio->msix && bar == vfio->table_bar) {
		hole = vfio->table / PAGE * PAGE;
		hole_end = (vfio->table + (uint64_t)vfio->real_messages * ENTRY + PAGE - 1) / PAGE * PAGE;
	}
	for (size_t i = 0; i < region->areas_count; i++) {
		uint64_t begin = (region->areas[i].offset + PAGE - 1) / PAGE * PAGE;
		uint64_t end = (region->areas[i].offset + region->areas[i].size) / PAGE * PAGE;

		if (hole_end <= begin || hole >= end) {
			add_passage(vfio, bar, begin, end);
			continue;
		}
		add_passage(vfio, bar, begin, hole);
		add_passage(vfio, bar, hole_end, end);
	}
}

/* ---- the configuration space ---- */

static int add_bars(struct vfio *vfio, const uint8_t *config, struct error *err)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct vfio_region *region = &vfio->host.regions[i];
		uint32_t low = load(config + PCI_BAR + 4 * i, 4);
		bool ports = low & PCI_BASE_ADDRESS_SPACE_IO;
		bool wide = !ports && (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;

		if (region->size == 0)
			continue;
		if (!region->readable || !region->writable)
			return error_set(err, ENOTSUP, "BAR %u of the device cannot be read and written", i);
		vfio->pci.bars[i] = (struct pci_bar){ .kind = ports ? BUS_PORTS : BUS_MEMORY,
						      .size = region->size,
						      .range = i,
						      .wide = wide,
						      .prefetchable = !ports && (low & PCI_BASE_ADDRESS_MEM_PREFETCH) };
		if (!ports)
			add_passages(vfio, i);
		i += wide;
	}
	return 0;
}

static int add_messages(struct vfio *vfio, const uint8_t *from, struct error *err)
{
	uint32_t table = load(from + PCI_MSIX_TABLE, 4);
	unsigned count = (load(from + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
	const struct vfio_region *region = &vfio->host.regions[table & PCI_MSIX_TABLE_BIR];
	uint64_t bytes = (uint64_t)count * ENTRY;
	int at;

	vfio->table_bar = table & PCI_MSIX_TABLE_BIR;
	vfio->table = table & PCI_MSIX_TABLE_OFFSET;
	vfio->real_messages = count;
	if (vfio->table_bar >= PCI_BARS || region->size < bytes || vfio->table > region->size - bytes)
		return error_set(err, EINVAL, "the device's MSI-X table is not in one of its BARs");
	if (count > vfio->host.interrupts[VFIO_PCI_MSIX_IRQ_INDEX])
		count = vfio->host.interrupts[VFIO_PCI_MSIX_IRQ_INDEX];
	vfio->messages_count = count < VFIO_MESSAGES_MAX ? count : VFIO_MESSAGES_MAX;
	if (vfio->messages_count == 0)
		return 0;
	at = pci_add_capability(&vfio->pci, PCI_CAP_ID_MSIX, MSIX_BYTES);
	if (at < 0)
		return error_errno(err, -at, "MSI-X");
	vfio->msix = (unsigned)at;
	store(vfio->pci.config + at + PCI_MSIX_FLAGS, vfio->messages_count - 1, 2);
	memcpy(vfio->pci.config + at + PCI_MSIX_TABLE, from + PCI_MSIX_TABLE, MSIX_BYTES - PCI_MSIX_TABLE);
	store(vfio->pci.writable + at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	for (unsigned i = 0; i < vfio->messages_count; i++) {
		vfio->messages[i].words[3] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		vfio->messages[i].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vfio->messages[i].eventfd < 0)
			return error_errno(err, errno, "make an eventfd");
	}
	return 0;
}

static void add_vendors(struct vfio *vfio, const uint8_t *config, unsigned at)
{
	unsigned length = config[at + 2];
	int copy;

	if (length < 3 || length > PCI_CONFIG_SIZE - at)
		return;
	copy = pci_add_capability(&vfio->pci, PCI_CAP_ID_VNDR, length);
	if (copy >= 0)
		memcpy(vfio->pci.config + copy + 2, config + at + 2, length - 2);
}

/* The capabilities that a guest can do with. */
static int add_capabilities(struct vfio *vfio, const uint8_t *config, struct error *err)
{
	unsigned at = config[PCI_CAPABILITIES] & ~3U;
	int ret = 0;

	if (!(config[PCI_STATUS] & PCI_STATUS_CAPABILITIES))
		return 0;
	for (int links = 0; ret == 0 && at >= PCI_STD_HEADER_SIZEOF && links < CAPABILITIES_MAX; links++) {
		if (config[at] == PCI_CAP_ID_MSIX && !vfio->msix && at + MSIX_BYTES <= PCI_CONFIG_SIZE)
			ret = add_messages(vfio, config + at, err);
		else if (config[at] == PCI_CAP_ID_VNDR)
			add_vendors(vfio, config, at);
		at = config[at + 1] & ~3U;
	}
	return ret;
}

static int add_line(struct vfio *vfio, const uint8_t *config, struct error *err)
{
	if (!config[PCI_INTERRUPT_PIN] || vfio->host.interrupts[VFIO_PCI_INTX_IRQ_INDEX] == 0)
		return 0;
	vfio->line_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vfio->line_resample = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return vfio->line_event < 0 || vfio->line_resample < 0 ? error_errno(err, errno, "make an eventfd") : 0;
}

static int describe(struct vfio *vfio, struct error *err)
{
	const struct vfio_region *region = &vfio->host.regions[VFIO_PCI_CONFIG_REGION_INDEX];
	uint8_t config[PCI_CONFIG_SIZE];
	int ret;

	if (region->size < sizeof(config) ||
	    pread(vfio->host.fd, config, sizeof(config), (off_t)region->offset) != (ssize_t)sizeof(config))
		return error_set(err, EIO, "the device's configuration space cannot be read");
	if ((config[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) != PCI_HEADER_TYPE_NORMAL)
		return error_set(err, ENOTSUP, "a bridge cannot be given to a guest");
	pci_function_init(&vfio->pci, (uint16_t)load(config + PCI_VENDOR, 2),
			  (uint16_t)load(config + PCI_VENDOR + 2, 2), load(config + PCI_REVISION, 4) >> 8,
			  config[PCI_INTERRUPT_PIN] != 0);
	vfio->pci.config[PCI_REVISION] = config[PCI_REVISION];
	memcpy(vfio->pci.config + PCI_SUBSYSTEM, config + PCI_SUBSYSTEM, 4);
	vfio->pci.device = &vfio->device;
	vfio->pci.written = config_written;
	vfio->pci.moved = bar_moved;
	ret = add_capabilities(vfio, config, err);
	if (ret == 0)
		ret = add_line(vfio, config, err);
	return ret < 0 ? ret : add_bars(vfio, config, err);
}

/* ---- life ---- */

static void release(struct vfio *vfio)
{
	for (unsigned i = 0; i < vfio->passages_count; i++)
		(void)munmap(vfio->passages[i].host, vfio->passages[i].size);
	for (unsigned i = 0; i < VFIO_MESSAGES_MAX; i++)
		if (vfio->messages[i].eventfd >= 0)
			close(vfio->messages[i].eventfd);
	if (vfio->line_event >= 0)
		close(vfio->line_event);
	if (vfio->line_resample >= 0)
		close(vfio->line_resample);
	(void)pthread_mutex_destroy(&vfio->device.lock);
	free(vfio);
}

/* The vCPUs are gone, and with the machine its slots.  With its last descriptor the kernel silences and resets it. */
static void free_vfio(struct device *device)
{
	struct vfio *vfio = vfio_of(device);

	close(vfio->host.fd);
	release(vfio);
}

static const struct device_ops vfio_ops = {
	.name = "vfio",
	.read = read_bar,
	.write = write_bar,
	.free = free_vfio,
};

int vfio_make(const struct vfio_options *options, struct device **device, struct error *err)
{
	struct vfio *vfio = calloc(1, sizeof(*vfio));
	int ret;

	if (!vfio)
		return error_errno(err, ENOMEM, "make a device of the host's the guest's");
	device_init(&vfio->device, &vfio_ops);
	vfio->host = *options->host;
	vfio->wiring = options->wiring;
	vfio->context = options->context;
	vfio->line_event = vfio->line_resample = -1;
	for (unsigned i = 0; i < VFIO_MESSAGES_MAX; i++)
		vfio->messages[i].eventfd = -1;
	(void)vfio_reset(&vfio->host);
	ret = describe(vfio, err);
	if (ret == 0)
		ret = pci_add(options->pci, &vfio->pci, options->slot, err);
	if (ret < 0) {
		release(vfio);
		return ret;
	}
	send_command(vfio);
	set_line(vfio, true);
	*device = &vfio->device;
	return 0;
}
