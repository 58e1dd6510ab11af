/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/device/e1000.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/device/e1000_private.h"
#include "paradigm/vm/machine/state.h"

enum {
	VENDOR_INTEL = 0x8086,
	DEVICE_82540EM = 0x100e,
	CLASS_ETHERNET = 0x020000,
	RANGE_MEMORY = 0,
	RANGE_PORTS = 1,
	BAR_MEMORY = 0,
	BAR_PORTS = 2,
	PORT_ADDRESS = 0,
	PORT_DATA = 4,

	CTRL_RESET = 1 << 26,
	CTRL_EXT_RESET = 1 << 13, /* of the EEPROM: reads it again */
	STATUS_FULL_DUPLEX = 1 << 0,
	STATUS_LINK = 1 << 1,
	STATUS_1000 = 1 << 7 | 1 << 9, /* speed; and what was detected */
	POWER_ON_CTRL = 1 << 0 | 1 << 6 | 2 << 8,
	POWER_ON_PBA = 0x00100030,
	POWER_ON_VET = 0x8100,
	ITR_UNIT = 256, /* ns */
	STATE_VERSION = 1,
};

static const uint32_t ctrl_phy_reset = UINT32_C(1) << 31, rah_valid = UINT32_C(1) << 31;

/* ---- interrupts: 3.4.3, 13.4.17 ff. ---- */

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Whether it is too early for the next one (ITR); then the timer will come back to it. */
static bool is_throttled(struct e1000 *card, uint64_t now)
{
	uint64_t due = card->interrupted + (uint64_t)(*e1000_at(card, E1000_ITR) & 0xffff) * ITR_UNIT;
	struct itimerspec timer = { 0 };

	if (card->delayed)
		return true;
	if (now >= due)
		return false;
	timer.it_value.tv_nsec = (long)(due - now);
	card->delayed = timerfd_settime(card->throttle.fd, 0, &timer, NULL) == 0;
	return card->delayed;
}

static void update_interrupt(struct e1000 *card)
{
	bool pending = *e1000_at(card, E1000_ICR) & *e1000_at(card, E1000_IMS);
	uint64_t now;

	if (pending == card->interrupting)
		return;
	if (pending) {
		now = now_ns();
		if (is_throttled(card, now))
			return;
		card->interrupted = now;
	}
	card->interrupting = pending;
	interrupt_set(&card->pci.interrupt, pending);
}

void e1000_cause(struct e1000 *card, uint32_t causes)
{
	*e1000_at(card, E1000_ICR) |= causes & E1000_ICR_MASK;
	update_interrupt(card);
}

static void throttle_ended(struct loop_source *source, uint32_t events)
{
	struct e1000 *card = source->context;
	uint64_t times;

	(void)events;
	(void)pthread_mutex_lock(&card->device.lock);
	if (read(source->fd, &times, sizeof(times)) == sizeof(times)) {
		card->delayed = false;
		card->interrupted = 0;
		update_interrupt(card);
	}
	(void)pthread_mutex_unlock(&card->device.lock);
}

void e1000_link(struct e1000 *card, bool up)
{
	if (card->tap_gone != up)
		return;
	card->tap_gone = !up;
	e1000_cause(card, E1000_ICR_LSC);
}

/* ---- statistics: 13.7; they stop at their ends ---- */

void e1000_count(struct e1000 *card, unsigned offset, uint32_t count)
{
	uint32_t *value = e1000_at(card, offset);

	if (__builtin_add_overflow(*value, count, value))
		*value = UINT32_MAX;
}

void e1000_count_wide(struct e1000 *card, unsigned offset, uint64_t count)
{
	uint64_t value = e1000_ring(card, offset);

	if (__builtin_add_overflow(value, count, &value))
		value = UINT64_MAX;
	*e1000_at(card, offset) = (uint32_t)value;
	*e1000_at(card, offset + 4) = (uint32_t)(value >> 32);
}

/* ---- registers ---- */

/* 14.1: everything but what the EEPROM and the host know. */
static void reset_registers(struct e1000 *card)
{
	memset(card->registers, 0, sizeof(card->registers));
	*e1000_at(card, E1000_CTRL) = POWER_ON_CTRL;
	*e1000_at(card, E1000_PBA) = POWER_ON_PBA;
	*e1000_at(card, E1000_VET) = POWER_ON_VET;
	*e1000_at(card, E1000_RA) = card->eeprom[0] | (uint32_t)card->eeprom[1] << 16;
	*e1000_at(card, E1000_RA + 4) = card->eeprom[2] | rah_valid;
	memset(&card->microwire, 0, sizeof(card->microwire));
	memset(&card->checksum, 0, sizeof(card->checksum));
	memset(&card->segment, 0, sizeof(card->segment));
	memset(&card->packet, 0, offsetof(struct e1000_packet, bytes));
	update_interrupt(card);
}

static uint32_t read_plain(struct e1000 *card, unsigned offset)
{
	return *e1000_at(card, offset);
}

static uint32_t read_status(struct e1000 *card, unsigned offset)
{
	(void)offset;
	return STATUS_FULL_DUPLEX | STATUS_1000 | (card->tap_gone ? 0 : STATUS_LINK);
}

static uint32_t read_eecd(struct e1000 *card, unsigned offset)
{
	(void)offset;
	return e1000_eecd_read(card);
}

static uint32_t read_and_clear(struct e1000 *card, unsigned offset)
{
	uint32_t value = *e1000_at(card, offset);

	*e1000_at(card, offset) = 0;
	if (offset == E1000_ICR)
		update_interrupt(card);
	return value;
}

static void write_plain(struct e1000 *card, unsigned offset, uint32_t value)
{
	*e1000_at(card, offset) = value;
}

static void write_ctrl(struct e1000 *card, unsigned offset, uint32_t value)
{
	if (value & CTRL_RESET) {
		reset_registers(card);
		return;
	}
	if (value & ctrl_phy_reset)
		e1000_phy_reset(card);
	*e1000_at(card, offset) = value & ~ctrl_phy_reset;
}

static void write_ctrl_ext(struct e1000 *card, unsigned offset, uint32_t value)
{
	*e1000_at(card, offset) = value & ~(uint32_t)CTRL_EXT_RESET;
}

static void write_eecd(struct e1000 *card, unsigned offset, uint32_t value)
{
	(void)offset;
	e1000_eecd_write(card, value);
}

static void write_eerd(struct e1000 *card, unsigned offset, uint32_t value)
{
	*e1000_at(card, offset) = e1000_eerd_write(card, value);
}

static void write_mdic(struct e1000 *card, unsigned offset, uint32_t value)
{
	value = e1000_mdic_write(card, value);
	*e1000_at(card, offset) = value;
}

static void write_icr(struct e1000 *card, unsigned offset, uint32_t value)
{
	*e1000_at(card, offset) &= ~value;
	update_interrupt(card);
}

static void write_ics(struct e1000 *card, unsigned offset, uint32_t value)
{
	(void)offset;
	e1000_cause(card, value);
}

static void write_ims(struct e1000 *card, unsigned offset, uint32_t value)
{
	*e1000_at(card, offset) |= value & E1000_ICR_MASK;
	update_interrupt(card);
}

static void write_imc(struct e1000 *card, unsigned offset, uint32_t value)
{
	(void)offset;
	*e1000_at(card, E1000_IMS) &= ~value;
	update_interrupt(card);
}

static void write_receiver(struct e1000 *card, unsigned offset, uint32_t value)
{
	*e1000_at(card, offset) = value;
	e1000_receive_ready(card);
}

static void write_transmitter(struct e1000 *card, unsigned offset, uint32_t value)
{
	*e1000_at(card, offset) = value;
	e1000_transmit(card);
}

struct e1000_access {
	unsigned offset, count; /* of registers */
	uint32_t writable;	/* bits of the value that write gets */
	uint32_t (*read)(struct e1000 *card, unsigned offset);
	void (*write)(struct e1000 *card, unsigned offset, uint32_t value);
};

/* Sorted. */
static const struct e1000_access accesses[] = {
	{ E1000_CTRL, 1, UINT32_MAX, read_plain, write_ctrl },
	{ E1000_STATUS, 1, 0, read_status, NULL },
	{ E1000_EECD, 1, UINT32_MAX, read_eecd, write_eecd },
	{ E1000_EERD, 1, 0xff01, read_plain, write_eerd },
	{ E1000_CTRL_EXT, 1, UINT32_MAX, read_plain, write_ctrl_ext },
	{ E1000_MDIC, 1, 0x2fffffff, read_plain, write_mdic },
	{ E1000_FCAL, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_FCAH, 1, 0xffff, read_plain, write_plain },
	{ E1000_FCT, 1, 0xffff, read_plain, write_plain },
	{ E1000_VET, 1, 0xffff, read_plain, write_plain },
	{ E1000_ICR, 1, UINT32_MAX, read_and_clear, write_icr },
	{ E1000_ITR, 1, 0xffff, read_plain, write_plain },
	{ E1000_ICS, 1, UINT32_MAX, NULL, write_ics },
	{ E1000_IMS, 1, UINT32_MAX, read_plain, write_ims },
	{ E1000_IMC, 1, UINT32_MAX, NULL, write_imc },
	{ E1000_RCTL, 1, 0x07ffffff, read_plain, write_receiver },
	{ E1000_FCTTV, 1, 0xffff, read_plain, write_plain },
	{ E1000_TCTL, 1, 0x07ffffff, read_plain, write_transmitter },
	{ E1000_TIPG, 1, 0x3fffffff, read_plain, write_plain },
	{ E1000_AIT, 1, 0xffff, read_plain, write_plain },
	{ E1000_LEDCTL, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_PBA, 1, 0xffff, read_plain, write_plain },
	{ E1000_FCRTL, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_FCRTH, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_RDBAL, 1, 0xfffffff0, read_plain, write_plain },
	{ E1000_RDBAH, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_RDLEN, 1, 0xfff80, read_plain, write_plain },
	{ E1000_RDH, 1, 0xffff, read_plain, write_plain },
	{ E1000_RDT, 1, 0xffff, read_plain, write_receiver },
	{ E1000_RDTR, 1, 0xffff, read_plain, write_plain },
	{ E1000_RXDCTL, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_RADV, 1, 0xffff, read_plain, write_plain },
	{ E1000_RSRPD, 1, 0xfff, read_plain, write_plain },
	{ E1000_TDBAL, 1, 0xfffffff0, read_plain, write_plain },
	{ E1000_TDBAH, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_TDLEN, 1, 0xfff80, read_plain, write_plain },
	{ E1000_TDH, 1, 0xffff, read_plain, write_plain },
	{ E1000_TDT, 1, 0xffff, read_plain, write_transmitter },
	{ E1000_TIDV, 1, 0xffff, read_plain, write_plain },
	{ E1000_TXDCTL, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_TADV, 1, 0xffff, read_plain, write_plain },
	{ E1000_TSPMT, 1, UINT32_MAX, read_plain, write_plain },
	{ E1000_STATISTICS, (E1000_STATISTICS_END - E1000_STATISTICS) / 4, 0, read_and_clear, NULL },
	{ E1000_RXCSUM, 1, 0x7ff, read_plain, write_plain },
	{ E1000_MTA, E1000_MTA_WORDS, UINT32_MAX, read_plain, write_plain },
	{ E1000_RA, 2 * E1000_ADDRESSES, UINT32_MAX, read_plain, write_plain },
	{ E1000_VFTA, E1000_MTA_WORDS, UINT32_MAX, read_plain, write_plain },
	{ E1000_WUC, 1, 0xf, read_plain, write_plain },
	{ E1000_WUFC, 1, 0xf00ff, read_plain, write_plain },
	{ E1000_WUS, 1, 0, read_plain, NULL },
	{ E1000_MANC, 1, UINT32_MAX, read_plain, write_plain },
};

static int compare_access(const void *key, const void *element)
{
	const struct e1000_access *access = element;
	unsigned offset = *(const unsigned *)key;

	if (offset < access->offset)
		return -1;
	return offset >= access->offset + 4 * access->count;
}

static const struct e1000_access *find_access(uint64_t offset)
{
	unsigned key = (unsigned)offset;

	if (offset >= E1000_REGISTERS_SIZE)
		return NULL;
	return bsearch(&key, accesses, sizeof(accesses) / sizeof(*accesses), sizeof(*accesses), compare_access);
}

static uint32_t read_register(struct e1000 *card, uint64_t offset)
{
	const struct e1000_access *access = find_access(offset & ~UINT64_C(3));

	return access && access->read ? access->read(card, (unsigned)offset & ~3U) : 0;
}

/* Whole registers only. */
static void write_register(struct e1000 *card, uint64_t offset, uint32_t value)
{
	const struct e1000_access *access = offset % 4 == 0 ? find_access(offset) : NULL;

	if (access && access->write)
		access->write(card, (unsigned)offset, value & access->writable);
}

static void read_memory(struct e1000 *card, uint64_t offset, uint8_t *data, unsigned size)
{
	while (size > 0) {
		unsigned skip = (unsigned)offset % 4, part = 4 - skip < size ? 4 - skip : size;
		uint32_t value = htole32(read_register(card, offset));

		memcpy(data, (uint8_t *)&value + skip, part);
		data += part;
		offset += part;
		size -= part;
	}
}

static void write_memory(struct e1000 *card, uint64_t offset, const uint8_t *data, unsigned size)
{
	for (; size >= 4; size -= 4, offset += 4, data += 4) {
		uint32_t value;

		memcpy(&value, data, sizeof(value));
		write_register(card, offset, le32toh(value));
	}
}

/* 13.2.2: registers by address and data. */
static void read_port(struct e1000 *card, uint64_t offset, uint8_t *data, unsigned size)
{
	uint32_t value;

	memset(data, 0, size);
	if (offset >= PORT_DATA) {
		if (offset + size <= PORT_DATA + 4)
			read_memory(card, card->port_address + (offset - PORT_DATA), data, size);
		return;
	}
	value = htole32(card->port_address);
	if (offset == PORT_ADDRESS && size <= sizeof(value))
		memcpy(data, &value, size);
}

static void write_port(struct e1000 *card, uint64_t offset, const uint8_t *data, unsigned size)
{
	uint32_t value;

	if (size != sizeof(value))
		return;
	memcpy(&value, data, sizeof(value));
	if (offset == PORT_ADDRESS)
		card->port_address = le32toh(value) & (E1000_MEMORY_SIZE - 1);
	else if (offset == PORT_DATA)
		write_register(card, card->port_address, le32toh(value));
}

static void read_card(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	if (range == RANGE_MEMORY)
		read_memory((struct e1000 *)device, offset, data, size);
	else
		read_port((struct e1000 *)device, offset, data, size);
}

static void write_card(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	if (range == RANGE_MEMORY)
		write_memory((struct e1000 *)device, offset, data, size);
	else
		write_port((struct e1000 *)device, offset, data, size);
}

/* ---- life ---- */

static void save_context(struct state_writer *writer, const struct e1000_context *context)
{
	state_put(writer, &context->ip_start, 4);
	state_put_u32(writer, context->ip_end);
	state_put_u32(writer, context->tcp_end);
	state_put_u32(writer, context->payload);
	state_put_u32(writer, context->header);
	state_put_u32(writer, context->mss);
	state_put_u32(writer, context->command);
}

static void restore_context(struct state_reader *reader, struct e1000_context *context)
{
	(void)state_get(reader, &context->ip_start, 4);
	context->ip_end = (uint16_t)state_get_u32(reader);
	context->tcp_end = (uint16_t)state_get_u32(reader);
	context->payload = state_get_u32(reader);
	context->header = (uint8_t)state_get_u32(reader);
	context->mss = (uint16_t)state_get_u32(reader);
	context->command = (uint8_t)state_get_u32(reader);
}

static void save_card(struct device *device, struct state_writer *writer)
{
	struct e1000 *card = (struct e1000 *)device;
	const struct e1000_packet *packet = &card->packet;

	state_begin(writer, "e1000", STATE_VERSION);
	for (unsigned i = 0; i < E1000_REGISTERS_SIZE / 4; i++)
		state_put_u32(writer, card->registers[i]);
	for (unsigned i = 0; i < E1000_PHY_REGISTERS; i++)
		state_put_u32(writer, card->phy[i]);
	state_put_u32(writer, card->port_address);
	save_context(writer, &card->checksum);
	save_context(writer, &card->segment);
	state_put_u32(writer, (packet->begun ? 1U : 0) | (packet->too_long ? 2U : 0) | (packet->segment ? 4U : 0) |
				      (packet->insert_ip ? 8U : 0) | (packet->insert_tcp ? 16U : 0));
	state_put_u32(writer, packet->size);
	state_put(writer, packet->bytes, packet->size);
	state_end(writer);
}

static int restore_packet(struct state_reader *reader, struct e1000_packet *packet, struct error *err)
{
	uint32_t flags = state_get_u32(reader);

	packet->begun = flags & 1;
	packet->too_long = flags & 2;
	packet->segment = flags & 4;
	packet->insert_ip = flags & 8;
	packet->insert_tcp = flags & 16;
	packet->size = state_get_u32(reader);
	if (packet->size > sizeof(packet->bytes)) {
		packet->size = 0;
		return error_set(err, EINVAL, "the snapshot's network card has a packet that is too long");
	}
	(void)state_get(reader, packet->bytes, packet->size);
	return 0;
}

/* What the register can hold: what the driver may write, and where the card writes itself (results, counters), all. */
static uint32_t possible(unsigned offset, uint32_t value)
{
	const struct e1000_access *access = find_access(offset);

	if (!access)
		return 0;
	if (offset == E1000_PBA)
		return value & (access->writable | POWER_ON_PBA);
	return !access->write || access->write == write_eerd || access->write == write_mdic ? value
											    : value & access->writable;
}

static int restore_card(struct device *device, struct state_reader *reader, struct error *err)
{
	struct e1000 *card = (struct e1000 *)device;
	int ret = state_enter(reader, "e1000", STATE_VERSION, err);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < E1000_REGISTERS_SIZE / 4; i++)
		card->registers[i] = possible(4 * i, state_get_u32(reader));
	for (unsigned i = 0; i < E1000_PHY_REGISTERS; i++)
		card->phy[i] = (uint16_t)state_get_u32(reader);
	card->port_address = state_get_u32(reader) & (E1000_MEMORY_SIZE - 1);
	restore_context(reader, &card->checksum);
	restore_context(reader, &card->segment);
	ret = restore_packet(reader, &card->packet, err);
	if (ret == 0)
		ret = state_leave(reader, err);
	if (ret < 0)
		return ret;
	/* The bridge has restored the line's level. */
	card->interrupting = card->pci.level;
	update_interrupt(card);
	return 0;
}

static void quiesce(struct device *device)
{
	struct e1000 *card = (struct e1000 *)device;

	(void)pthread_mutex_lock(&device->lock);
	card->quiet = true;
	(void)pthread_mutex_unlock(&device->lock);
}

static void wake(struct e1000 *card)
{
	const uint64_t one = 1;

	/* Fails only when it is awake 2^64 times. */
	if (write(card->wake.fd, &one, sizeof(one)) < 0)
		return;
}

static void resume(struct device *device)
{
	struct e1000 *card = (struct e1000 *)device;

	(void)pthread_mutex_lock(&device->lock);
	card->quiet = false;
	e1000_transmit(card);
	wake(card);
	(void)pthread_mutex_unlock(&device->lock);
}

static void tap_ready(struct loop_source *source, uint32_t events)
{
	struct e1000 *card = source->context;

	(void)pthread_mutex_lock(&card->device.lock);
	e1000_receive(card);
	/* Nothing to be read, and nothing ever will. */
	if ((events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLIN) && !card->tap_gone) {
		e1000_link(card, false);
		e1000_receive(card);
	}
	(void)pthread_mutex_unlock(&card->device.lock);
}

static void woken(struct loop_source *source, uint32_t events)
{
	struct e1000 *card = source->context;
	uint64_t times;

	(void)events;
	(void)pthread_mutex_lock(&card->device.lock);
	if (read(source->fd, &times, sizeof(times)) == sizeof(times))
		e1000_receive(card);
	(void)pthread_mutex_unlock(&card->device.lock);
}

/* The loop no longer runs. */
static void free_card(struct device *device)
{
	struct e1000 *card = (struct e1000 *)device;

	if (card->listening)
		loop_remove(card->loop, &card->tap);
	if (card->wake.fd >= 0) {
		loop_remove(card->loop, &card->wake);
		close(card->wake.fd);
	}
	if (card->throttle.fd >= 0) {
		loop_remove(card->loop, &card->throttle);
		close(card->throttle.fd);
	}
	if (card->tap.fd >= 0)
		close(card->tap.fd);
	(void)pthread_mutex_destroy(&device->lock);
	free(card);
}

static const struct device_ops card_ops = {
	.name = "e1000",
	.read = read_card,
	.write = write_card,
	.save = save_card,
	.restore = restore_card,
	.quiesce = quiesce,
	.resume = resume,
	.free = free_card,
};

static int add_sources(struct e1000 *card, struct error *err)
{
	int ret;

	card->wake = (struct loop_source){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), woken, card };
	if (card->wake.fd < 0)
		return error_errno(err, errno, "cannot make an eventfd");
	ret = loop_add(card->loop, &card->wake, EPOLLIN, err);
	if (ret < 0) {
		close(take_fd(&card->wake.fd));
		return ret;
	}
	card->throttle = (struct loop_source){ timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
					       throttle_ended, card };
	if (card->throttle.fd < 0)
		return error_errno(err, errno, "cannot make a timer");
	ret = loop_add(card->loop, &card->throttle, EPOLLIN, err);
	if (ret < 0)
		close(take_fd(&card->throttle.fd));
	return ret;
}

static void describe(struct e1000 *card)
{
	pci_function_init(&card->pci, VENDOR_INTEL, DEVICE_82540EM, CLASS_ETHERNET, true);
	card->pci.device = &card->device;
	card->pci.config[PCI_REVISION] = 3;
	card->pci.config[PCI_SUBSYSTEM] = VENDOR_INTEL & 0xff;
	card->pci.config[PCI_SUBSYSTEM + 1] = VENDOR_INTEL >> 8;
	card->pci.config[PCI_SUBSYSTEM + 2] = 0x1e;
	card->pci.bars[BAR_MEMORY] = (struct pci_bar){ .kind = BUS_MEMORY,
						       .size = E1000_MEMORY_SIZE,
						       .range = RANGE_MEMORY };
	card->pci.bars[BAR_PORTS] = (struct pci_bar){ .kind = BUS_PORTS,
						      .size = E1000_PORTS_SIZE,
						      .range = RANGE_PORTS };
}

int e1000_make(const struct e1000_options *options, struct device **device, struct error *err)
{
	struct e1000 *card = calloc(1, sizeof(*card));
	int ret;

	if (!card)
		return error_errno(err, ENOMEM, "cannot make a network card");
	device_init(&card->device, &card_ops);
	card->memory = options->memory;
	card->loop = options->loop;
	card->tap = (struct loop_source){ -1, tap_ready, card };
	card->wake.fd = card->throttle.fd = -1;
	describe(card);
	e1000_nvm_init(card, options->mac);
	e1000_phy_reset(card);
	reset_registers(card);
	ret = add_sources(card, err);
	if (ret == 0)
		ret = pci_add(options->pci, &card->pci, options->slot, err);
	if (ret < 0) {
		error_wrap(err, "e1000");
		free_card(&card->device);
		return ret;
	}
	card->tap.fd = options->tap;
	*device = &card->device;
	return 0;
}
