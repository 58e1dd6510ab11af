/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/device/pci.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/state.h"

enum {
	CAPABILITIES_BEGIN = 0x40,
	BAR_PORTS = 1,
	BAR_64 = 4,
	BAR_PREFETCHABLE = 8,
	ADDRESS_BYTES = 4, /* of the eight ports: the address, then the data */
	/* The bridge says that it is the one that every kernel knows. */
	BRIDGE_VENDOR = 0x8086,
	BRIDGE_DEVICE = 0x1237,
	BRIDGE_CLASS = 0x060000,
	STATE_VERSION = 1,
};

static const uint32_t address_enable = UINT32_C(1) << 31;

struct window {
	uint64_t begin, end, next; /* next: the first address that no BAR was given */
};

struct pci_host {
	struct device device;
	struct bus *bus;
	struct interrupt lines;
	pthread_mutex_t line_lock; /* of levels: devices change them with their own lock held */
	struct pci_function *slots[PCI_SLOTS];
	struct pci_function bridge;
	uint32_t address;
	struct window windows[BUS_KINDS];
};

static uint16_t get_16(const struct pci_function *function, unsigned offset)
{
	uint16_t value;

	memcpy(&value, function->config + offset, sizeof(value));
	return le16toh(value);
}

static uint32_t get_32(const struct pci_function *function, unsigned offset)
{
	uint32_t value;

	memcpy(&value, function->config + offset, sizeof(value));
	return le32toh(value);
}

static void put_16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void put_32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

bool pci_is_master(const struct pci_function *function)
{
	return __atomic_load_n(&function->config[PCI_COMMAND], __ATOMIC_RELAXED) & PCI_COMMAND_MASTER;
}

/* ---- interrupts ---- */

static unsigned line_of(unsigned slot)
{
	return LAYOUT_IRQ_PCI + slot % LAYOUT_IRQ_PCI_COUNT;
}

unsigned pci_line(const struct pci_function *function)
{
	return line_of(function->slot);
}

/* With the line lock held. */
static void drive_line(struct pci_host *host, unsigned line)
{
	bool level = false;
	struct interrupt out = host->lines;

	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		const struct pci_function *function = host->slots[slot];

		level |= function && line_of(slot) == line && function->level &&
			 !(get_16(function, PCI_COMMAND) & PCI_COMMAND_NO_INTX);
	}
	out.line = line;
	interrupt_set(&out, level);
}

static void set_level(void *context, unsigned slot, bool level)
{
	struct pci_host *host = context;
	struct pci_function *function = host->slots[slot];

	(void)pthread_mutex_lock(&host->line_lock);
	if (function->level != level) {
		function->level = level;
		if (level)
			function->config[PCI_STATUS] |= PCI_STATUS_INTX;
		else
			function->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
		drive_line(host, line_of(slot));
	}
	(void)pthread_mutex_unlock(&host->line_lock);
}

/* ---- BARs ---- */

static uint64_t bar_address(const struct pci_function *function, unsigned index)
{
	const struct pci_bar *bar = &function->bars[index];
	uint64_t value = get_32(function, PCI_BAR + 4 * index);

	if (bar->kind == BUS_PORTS)
		return value & ~UINT64_C(3);
	if (bar->wide)
		value |= (uint64_t)get_32(function, PCI_BAR + 4 * (index + 1)) << 32;
	return value & ~UINT64_C(15);
}

static bool bar_is_on(const struct pci_function *function, const struct pci_bar *bar)
{
	return get_16(function, PCI_COMMAND) & (bar->kind == BUS_PORTS ? PCI_COMMAND_PORTS : PCI_COMMAND_MEMORY);
}

static void tell_moved(struct pci_function *function, unsigned index)
{
	if (function->moved)
		function->moved(function, index);
}

static void unmap_bar(struct pci_host *host, struct pci_function *function, unsigned index)
{
	struct pci_bar *bar = &function->bars[index];

	bus_remove(host->bus, bar->kind, function->device, bar->range);
	bar->mapped = false;
	tell_moved(function, index);
}

/* Where the guest wants it, if that is in the window and free. */
static void map_bar(struct pci_host *host, struct pci_function *function, unsigned index)
{
	struct pci_bar *bar = &function->bars[index];
	const struct window *window = &host->windows[bar->kind];
	uint64_t base = bar_address(function, index);
	bool wanted = bar_is_on(function, bar) && base >= window->begin && base < window->end &&
		      window->end - base >= bar->size;

	if (bar->mapped && (!wanted || bar->base != base))
		unmap_bar(host, function, index);
	if (!wanted || bar->mapped)
		return;
	bar->mapped = bus_add(host->bus, bar->kind, base, bar->size, function->device, bar->range, NULL) == 0;
	bar->base = base;
	if (bar->mapped)
		tell_moved(function, index);
}

/* All devices': one that moves away makes room for another. */
static void map_all(struct pci_host *host)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_function *function = host->slots[slot];

		for (unsigned i = 0; function && i < PCI_BARS; i++) {
			if (function->bars[i].size > 0)
				map_bar(host, function, i);
		}
	}
}

static int place_bar(struct pci_host *host, struct pci_function *function, unsigned index, struct error *err)
{
	struct pci_bar *bar = &function->bars[index];
	struct window *window = &host->windows[bar->kind];
	uint64_t smallest = bar->kind == BUS_PORTS ? 4 : 16;
	uint64_t base = (window->next + bar->size - 1) & ~(bar->size - 1);
	uint8_t *at = function->config + PCI_BAR + 4 * index, *mask = function->writable + PCI_BAR + 4 * index;
	uint32_t flags = bar->kind == BUS_PORTS ? BAR_PORTS
						: (bar->wide ? BAR_64 : 0) | (bar->prefetchable ? BAR_PREFETCHABLE : 0);

	if ((bar->size & (bar->size - 1)) != 0 || bar->size < smallest || (bar->wide && index + 1 >= PCI_BARS) ||
	    (bar->wide && function->bars[index + 1].size > 0))
		return error_set(err, EINVAL, "a PCI BAR of 0x%llx bytes", (unsigned long long)bar->size);
	if (base < window->next || base >= window->end || window->end - base < bar->size)
		return error_set(err, ENOSPC, "there is no room for a PCI BAR of 0x%llx bytes",
				 (unsigned long long)bar->size);
	window->next = base + bar->size;
	put_32(at, (uint32_t)base | flags);
	put_32(mask, (uint32_t) ~(bar->size - 1));
	if (bar->wide) {
		put_32(at + 4, (uint32_t)(base >> 32));
		put_32(mask + 4, (uint32_t)(~(bar->size - 1) >> 32));
	}
	return 0;
}

/* ---- the configuration space ---- */

static struct pci_function *addressed(struct pci_host *host, unsigned *offset)
{
	uint32_t address = host->address;

	/* Bus 0, function 0 of each slot. */
	if (!(address & address_enable) || (address & 0x00ff0700))
		return NULL;
	*offset = address & 0xfc;
	return host->slots[address >> 11 & (PCI_SLOTS - 1)];
}

static void read_ports(struct device *device, unsigned range, uint64_t port, void *data, unsigned size)
{
	struct pci_host *host = (struct pci_host *)device;
	struct pci_function *function;
	unsigned offset;
	uint32_t address = htole32(host->address);

	(void)range;
	memset(data, 0xff, size);
	if (port == 0 && size == ADDRESS_BYTES)
		memcpy(data, &address, sizeof(address));
	if (port < ADDRESS_BYTES)
		return;
	function = addressed(host, &offset);
	port -= ADDRESS_BYTES;
	if (!function || port + size > sizeof(uint32_t))
		return;
	(void)pthread_mutex_lock(&host->line_lock);
	memcpy(data, function->config + offset + port, size);
	(void)pthread_mutex_unlock(&host->line_lock);
}

static void write_config(struct pci_host *host, struct pci_function *function, unsigned offset, const uint8_t *data,
			 unsigned size)
{
	(void)pthread_mutex_lock(&host->line_lock);
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = function->writable[offset + i];

		/* pci_is_master() looks without the lock. */
		__atomic_store_n(&function->config[offset + i],
				 (uint8_t)((function->config[offset + i] & ~mask) | (data[i] & mask)),
				 __ATOMIC_RELAXED);
	}
	if (offset <= PCI_COMMAND + 1 && function->interrupt.set)
		drive_line(host, line_of(function->slot));
	(void)pthread_mutex_unlock(&host->line_lock);
	if (offset < PCI_BAR + 4 * PCI_BARS)
		map_all(host);
	if (function->written)
		function->written(function, offset, size);
}

static void write_ports(struct device *device, unsigned range, uint64_t port, const void *data, unsigned size)
{
	struct pci_host *host = (struct pci_host *)device;
	struct pci_function *function;
	unsigned offset;

	(void)range;
	if (port == 0 && size == ADDRESS_BYTES) {
		memcpy(&host->address, data, sizeof(host->address));
		host->address = le32toh(host->address);
	}
	if (port < ADDRESS_BYTES)
		return;
	function = addressed(host, &offset);
	port -= ADDRESS_BYTES;
	if (function && port + size <= sizeof(uint32_t))
		write_config(host, function, offset + (unsigned)port, data, size);
}

/* ---- making ---- */

static void save(struct device *device, struct state_writer *writer)
{
	struct pci_host *host = (struct pci_host *)device;

	state_begin(writer, "pci", STATE_VERSION);
	state_put_u32(writer, host->address);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		state_put_u32(writer, host->slots[slot] != NULL);
		if (!host->slots[slot])
			continue;
		/* A card's timer may still be about to raise its line. */
		(void)pthread_mutex_lock(&host->line_lock);
		state_put(writer, host->slots[slot]->config, PCI_CONFIG_SIZE);
		state_put_u32(writer, host->slots[slot]->level);
		(void)pthread_mutex_unlock(&host->line_lock);
	}
	state_end(writer);
}

/* What the guest could have written, and no more. */
static void restore_config(struct pci_function *function, const uint8_t *config)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t mask = function->writable[i];

		function->config[i] = (uint8_t)((function->config[i] & ~mask) | (config[i] & mask));
	}
}

static int restore(struct device *device, struct state_reader *reader, struct error *err)
{
	struct pci_host *host = (struct pci_host *)device;
	int ret = state_enter(reader, "pci", STATE_VERSION, err);

	if (ret < 0)
		return ret;
	host->address = state_get_u32(reader);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		uint8_t config[PCI_CONFIG_SIZE];
		bool level;

		if (state_get_u32(reader) != (host->slots[slot] != NULL))
			return error_set(err, EINVAL, "the snapshot's machine has other PCI devices");
		if (!host->slots[slot])
			continue;
		(void)state_get(reader, config, sizeof(config));
		level = state_get_u32(reader);
		if (reader->failed)
			break;
		restore_config(host->slots[slot], config);
		if (host->slots[slot]->interrupt.set)
			set_level(host, slot, level);
	}
	map_all(host);
	return state_leave(reader, err);
}

/* The devices are the machine's, and free themselves. */
static void free_host(struct device *device)
{
	struct pci_host *host = (struct pci_host *)device;

	(void)pthread_mutex_destroy(&host->line_lock);
	(void)pthread_mutex_destroy(&device->lock);
	free(host);
}

static const struct device_ops host_ops = {
	.name = "pci",
	.read = read_ports,
	.write = write_ports,
	.save = save,
	.restore = restore,
	.free = free_host,
};

int pci_host_make(struct bus *bus, const struct interrupt *lines, struct pci_host **host, struct error *err)
{
	struct pci_host *fresh = calloc(1, sizeof(*fresh));
	int ret;

	if (!fresh)
		return error_errno(err, ENOMEM, "cannot make the PCI bus");
	device_init(&fresh->device, &host_ops);
	(void)pthread_mutex_init(&fresh->line_lock, NULL);
	fresh->bus = bus;
	fresh->lines = *lines;
	fresh->windows[BUS_PORTS] = (struct window){ LAYOUT_PCI_PORTS, LAYOUT_PCI_PORTS + LAYOUT_PCI_PORTS_SIZE,
						     LAYOUT_PCI_PORTS };
	fresh->windows[BUS_MEMORY] = (struct window){ LAYOUT_PCI_MEMORY, LAYOUT_PCI_MEMORY + LAYOUT_PCI_MEMORY_SIZE,
						      LAYOUT_PCI_MEMORY };
	pci_function_init(&fresh->bridge, BRIDGE_VENDOR, BRIDGE_DEVICE, BRIDGE_CLASS, false);
	fresh->slots[0] = &fresh->bridge;
	fresh->bridge.host = fresh;
	ret = bus_add(bus, BUS_PORTS, LAYOUT_PCI_ADDRESS, LAYOUT_PCI_DATA + 4 - LAYOUT_PCI_ADDRESS, &fresh->device, 0,
		      err);
	if (ret < 0) {
		free_host(&fresh->device);
		return ret;
	}
	*host = fresh;
	return 0;
}

struct device *pci_host_device(struct pci_host *host)
{
	return &host->device;
}

void pci_function_init(struct pci_function *function, uint16_t vendor, uint16_t device, uint32_t class_code,
		       bool interrupt)
{
	*function = (struct pci_function){ .interrupt = { .fd = -1 } };
	put_16(function->config + PCI_VENDOR, vendor);
	put_16(function->config + PCI_VENDOR + 2, device);
	put_32(function->config + PCI_REVISION, class_code << 8);
	function->config[PCI_INTERRUPT_PIN] = interrupt ? 1 : 0;
	put_16(function->writable + PCI_COMMAND,
	       PCI_COMMAND_PORTS | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
	function->writable[PCI_INTERRUPT_LINE] = interrupt ? 0xff : 0;
	function->writable[PCI_REVISION + 4] = 0xff; /* cache line size: remembered, as software expects */
	function->writable[PCI_REVISION + 5] = 0xff; /* latency timer */
}

static int choose_slot(const struct pci_host *host, unsigned wanted, struct error *err)
{
	if (wanted > 0)
		return wanted < PCI_SLOTS && !host->slots[wanted]
			       ? (int)wanted
			       : error_set(err, EBUSY, "PCI slot %u is taken, or there is none", wanted);
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		if (!host->slots[slot])
			return (int)slot;
	}
	return error_set(err, ENOSPC, "all PCI slots are taken");
}

int pci_add(struct pci_host *host, struct pci_function *function, unsigned wanted, struct error *err)
{
	int slot = choose_slot(host, wanted, err), ret = 0;
	uint16_t command = 0;

	if (slot < 0)
		return slot;
	for (unsigned i = 0; ret == 0 && i < PCI_BARS; i++) {
		if (function->bars[i].size == 0)
			continue;
		ret = place_bar(host, function, i, err);
		command |= function->bars[i].kind == BUS_PORTS ? PCI_COMMAND_PORTS : PCI_COMMAND_MEMORY;
	}
	if (ret < 0)
		return ret;
	put_16(function->config + PCI_COMMAND, command);
	function->host = host;
	function->slot = (unsigned)slot;
	host->slots[slot] = function;
	if (function->config[PCI_INTERRUPT_PIN]) {
		function->config[PCI_INTERRUPT_LINE] = (uint8_t)line_of((unsigned)slot);
		function->interrupt = (struct interrupt){
			.fd = -1, .set = set_level, .context = host, .line = (unsigned)slot
		};
	}
	map_all(host);
	return 0;
}

int pci_add_capability(struct pci_function *function, uint8_t id, unsigned size)
{
	unsigned at = function->capabilities_end ? function->capabilities_end : CAPABILITIES_BEGIN;
	unsigned link = function->capability_last ? function->capability_last + 1 : PCI_CAPABILITIES;

	if (size < 2 || size > PCI_CONFIG_SIZE - at)
		return -ENOSPC;
	function->config[link] = (uint8_t)at;
	function->config[at] = id;
	function->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	function->capability_last = at;
	function->capabilities_end = (at + size + 3) & ~3U;
	return (int)at;
}
