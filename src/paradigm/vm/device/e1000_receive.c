/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets to the guest: 3.2 (filters, descriptors, ring) of the manual.  The tap is read only while there are
 * descriptors: what the guest has no room for waits, and is dropped, in the kernel's queue.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "paradigm/vm/device/e1000_private.h"

enum {
	RCTL_ENABLE = 1 << 1,
	RCTL_UNICAST = 1 << 3, /* all of it */
	RCTL_MULTICAST = 1 << 4,
	RCTL_LONG = 1 << 5,
	RCTL_BROADCAST = 1 << 15,
	RCTL_VLAN_FILTER = 1 << 18,
	RCTL_LARGER = 1 << 25, /* buffers: times 16 */
	RCTL_STRIP_CRC = 1 << 26,
	CTRL_VLAN = 1 << 30,
	RXCSUM_UPPER = 1 << 9,

	DESCRIPTOR_SIZE = 16,
	STATUS_DONE = 0x01,
	STATUS_EOP = 0x02,
	STATUS_UNCHECKED = 0x04, /* IXSM: ignore what is said of checksums */
	STATUS_VLAN = 0x08,
	STATUS_TCP = 0x20,
	STATUS_IP = 0x40,
	STATUS_OTHERS = 0x80, /* PIF: may be for somebody else */

	SIZE_MINIMUM = 60,
	SIZE_USUAL = 1518, /* without the checksum, with a tag */
	SIZE_JUMBO = 16384,
	CRC = 4,
};

static const uint32_t address_valid = UINT32_C(1) << 31;

struct descriptor {
	uint64_t address;
	uint16_t size, checksum;
	uint8_t status, errors;
	uint16_t special;
};

struct frame {
	uint8_t *bytes;
	uint32_t size;
	uint8_t status;
	uint16_t tag;
};

/* ---- filters: 3.2.1, 13.5 ---- */

static bool is_own_address(struct e1000 *card, const uint8_t *address)
{
	uint32_t low = (uint32_t)address[0] | (uint32_t)address[1] << 8 | (uint32_t)address[2] << 16 |
		       (uint32_t)address[3] << 24;
	uint32_t high = (uint32_t)address[4] | (uint32_t)address[5] << 8;

	for (unsigned i = 0; i < E1000_ADDRESSES; i++) {
		uint32_t entry = *e1000_at(card, E1000_RA + 8 * i + 4);

		if (entry & address_valid && (entry & 0xffff) == high && *e1000_at(card, E1000_RA + 8 * i) == low)
			return true;
	}
	return false;
}

static bool is_in_table(struct e1000 *card, const uint8_t *address)
{
	/* Which twelve bits of the last sixteen: RCTL.MO. */
	static const unsigned shifts[] = { 4, 3, 2, 0 };
	unsigned last = (unsigned)address[4] | (unsigned)address[5] << 8;
	unsigned hash = last >> shifts[*e1000_at(card, E1000_RCTL) >> 12 & 3] & 0xfff;

	return *e1000_at(card, E1000_MTA + 4 * (hash >> 5)) >> (hash & 31) & 1;
}

static bool is_tagged(struct e1000 *card, const struct frame *frame)
{
	return frame->size >= ETHERNET_HEADER + VLAN_TAG &&
	       (uint32_t)(frame->bytes[12] << 8 | frame->bytes[13]) == (*e1000_at(card, E1000_VET) & 0xffff);
}

static bool vlan_is_wanted(struct e1000 *card, const struct frame *frame)
{
	unsigned id;

	if (!(*e1000_at(card, E1000_RCTL) & RCTL_VLAN_FILTER) || !is_tagged(card, frame))
		return true;
	id = (unsigned)(frame->bytes[14] << 8 | frame->bytes[15]) & 0xfff;
	return *e1000_at(card, E1000_VFTA + 4 * (id >> 5)) >> (id & 31) & 1;
}

static bool is_wanted(struct e1000 *card, struct frame *frame)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint32_t control = *e1000_at(card, E1000_RCTL);

	if (frame->size > SIZE_USUAL && !(control & RCTL_LONG))
		return false;
	if (!vlan_is_wanted(card, frame))
		return false;
	if (is_own_address(card, frame->bytes))
		return true;
	if (memcmp(frame->bytes, broadcast, sizeof(broadcast)) == 0) {
		e1000_count(card, E1000_BPRC, 1);
		return control & (RCTL_BROADCAST | RCTL_MULTICAST);
	}
	if (frame->bytes[0] & 1 && (control & RCTL_MULTICAST || is_in_table(card, frame->bytes))) {
		e1000_count(card, E1000_MPRC, 1);
		return true;
	}
	frame->status |= STATUS_OTHERS;
	return !(frame->bytes[0] & 1) && (control & RCTL_UNICAST);
}

/* ---- descriptors ---- */

static uint32_t buffer_size(struct e1000 *card)
{
	uint32_t control = *e1000_at(card, E1000_RCTL), size = UINT32_C(2048) >> (control >> 16 & 3);

	return control & RCTL_LARGER && size < 2048 ? size * 16 : size;
}

static uint32_t ring_count(struct e1000 *card)
{
	return *e1000_at(card, E1000_RDLEN) / DESCRIPTOR_SIZE;
}

/* How many descriptors the guest has put there. */
static uint32_t ring_free(struct e1000 *card)
{
	uint32_t count = ring_count(card), head = *e1000_at(card, E1000_RDH), tail = *e1000_at(card, E1000_RDT);

	if (head >= count || tail >= count)
		return 0;
	return tail >= head ? tail - head : count - head + tail;
}

/* Enough for the longest packet, or all that a small ring can have. */
static bool has_room(struct e1000 *card)
{
	uint32_t longest = *e1000_at(card, E1000_RCTL) & RCTL_LONG ? SIZE_JUMBO : SIZE_USUAL;
	uint32_t wanted = (longest + CRC + buffer_size(card) - 1) / buffer_size(card), count = ring_count(card);

	if (!(*e1000_at(card, E1000_RCTL) & RCTL_ENABLE) || !pci_is_master(&card->pci) || count == 0)
		return false;
	return ring_free(card) > 0 && ring_free(card) >= (wanted < count ? wanted : count - 1);
}

/* One buffer's part of a frame into the descriptor at the head. */
static void put_part(struct e1000 *card, const uint8_t *bytes, uint32_t size, const struct descriptor *said)
{
	uint32_t *head = e1000_at(card, E1000_RDH);
	uint64_t place = e1000_ring(card, E1000_RDBAL) + (uint64_t)*head * DESCRIPTOR_SIZE;
	struct descriptor descriptor;

	if (guest_memory_read(card->memory, place, &descriptor, sizeof(descriptor))) {
		if (!guest_memory_write(card->memory, le64toh(descriptor.address), bytes, size))
			card->dropped++;
		descriptor.size = htole16((uint16_t)size);
		descriptor.checksum = 0;
		descriptor.status = said->status;
		descriptor.errors = 0;
		descriptor.special = htole16(said->special);
		(void)guest_memory_write(card->memory, place + 8, (uint8_t *)&descriptor + 8, 8);
	} else {
		card->dropped++;
	}
	*head = *head + 1 >= ring_count(card) ? 0 : *head + 1;
}

static void strip_tag(struct e1000 *card, struct frame *frame)
{
	if (!(*e1000_at(card, E1000_CTRL) & CTRL_VLAN) || !is_tagged(card, frame))
		return;
	frame->tag = (uint16_t)(frame->bytes[14] << 8 | frame->bytes[15]);
	frame->status |= STATUS_VLAN;
	memmove(frame->bytes + VLAN_TAG, frame->bytes, 12);
	frame->bytes += VLAN_TAG;
	frame->size -= VLAN_TAG;
}

static uint32_t put_frame(struct e1000 *card, struct frame *frame)
{
	uint32_t room = buffer_size(card), free_before = ring_free(card), free_after;
	uint32_t threshold = ring_count(card) >> ((*e1000_at(card, E1000_RCTL) >> 8 & 3) + 1), causes;

	strip_tag(card, frame);
	if (frame->size < SIZE_MINIMUM) {
		memset(frame->bytes + frame->size, 0, SIZE_MINIMUM - frame->size);
		frame->size = SIZE_MINIMUM;
	}
	/* Nobody looks at its value, but drivers count with its four bytes. */
	if (!(*e1000_at(card, E1000_RCTL) & RCTL_STRIP_CRC)) {
		memset(frame->bytes + frame->size, 0, CRC);
		frame->size += CRC;
	}
	if ((frame->size + room - 1) / room > free_before)
		return E1000_ICR_RXO;
	for (uint32_t done = 0; done < frame->size; done += room) {
		uint32_t part = frame->size - done < room ? frame->size - done : room;
		bool last = done + part == frame->size;
		struct descriptor said = { .status = (uint8_t)(STATUS_DONE | (last ? STATUS_EOP | frame->status : 0)),
					   .special = last ? frame->tag : 0 };

		put_part(card, frame->bytes + done, part, &said);
	}
	causes = E1000_ICR_RXT0;
	free_after = ring_free(card);
	if (free_before > threshold && free_after <= threshold)
		causes |= E1000_ICR_RXDMT0;
	e1000_count(card, E1000_GPRC, 1);
	e1000_count_wide(card, E1000_GORCL, frame->size);
	return causes;
}

/* What the kernel says of the checksums: it has looked at them, or has made them, or nobody did. */
static uint8_t checksum_status(struct e1000 *card, const struct virtio_net_hdr_v1 *header)
{
	if (!(*e1000_at(card, E1000_RXCSUM) & RXCSUM_UPPER) || !(header->flags & VIRTIO_NET_HDR_F_DATA_VALID))
		return STATUS_UNCHECKED;
	return STATUS_TCP | STATUS_IP;
}

static uint32_t take_packet(struct e1000 *card, uint32_t size)
{
	struct virtio_net_hdr_v1 header;
	struct frame frame = { .bytes = card->received + E1000_HEADER, .size = size - E1000_HEADER };

	memcpy(&header, card->received, E1000_HEADER);
	e1000_count(card, E1000_TPR, 1);
	e1000_count_wide(card, E1000_TORL, frame.size);
	/* Nothing of that was allowed to the tap. */
	if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE || header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ||
	    !is_wanted(card, &frame))
		return 0;
	frame.status |= checksum_status(card, &header);
	return put_frame(card, &frame);
}

/* In the loop's thread. */
static void listen_to_tap(struct e1000 *card)
{
	bool wanted = !card->tap_gone && !card->quiet && has_room(card);

	if (wanted && !card->listening)
		card->listening = loop_add(card->loop, &card->tap, EPOLLIN, NULL) == 0;
	if (!wanted && card->listening) {
		loop_remove(card->loop, &card->tap);
		card->listening = false;
	}
}

void e1000_receive_ready(struct e1000 *card)
{
	const uint64_t one = 1;

	if (!card->listening && !card->tap_gone && !card->quiet && has_room(card) &&
	    write(card->wake.fd, &one, sizeof(one)) < 0)
		card->dropped++;
}

/* Whether there may be more. */
static bool receive_packet(struct e1000 *card, uint32_t *causes)
{
	/* Room for the checksum behind the packet stays. */
	ssize_t size = read(card->tap.fd, card->received, sizeof(card->received) - CRC);

	if (size == 0 || (size < 0 && errno == EBADFD))
		e1000_link(card, false);
	if (size <= 0)
		return false;
	if (size >= E1000_HEADER + ETHERNET_HEADER)
		*causes |= take_packet(card, (uint32_t)size);
	return true;
}

void e1000_receive(struct e1000 *card)
{
	uint32_t causes = 0;

	for (unsigned i = 0; i < E1000_RECEIVE_BATCH && !card->quiet && !card->tap_gone && has_room(card); i++) {
		if (!receive_packet(card, &causes))
			break;
	}
	if (causes)
		e1000_cause(card, causes);
	listen_to_tap(card);
}
