/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets from the guest: 3.3 (descriptors), 3.4 (ring), 3.5 (TCP segmentation) of the manual.
 *
 * A packet's parts are copied together first: the guest may change its memory at any time, and what is judged here must
 * be what is sent.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "paradigm/vm/device/e1000_private.h"

enum {
	TCTL_ENABLE = 1 << 1,
	TCTL_PAD = 1 << 3,
	CTRL_VLAN = 1 << 30,

	DESCRIPTOR_SIZE = 16,
	RING_UNIT = 128,

	/* Command bits, of all kinds of descriptors. */
	COMMAND_EOP = 0x01,
	COMMAND_TCP = 0x01,	/* of a context */
	COMMAND_IP4 = 0x02,	/* of a context */
	COMMAND_INSERT = 0x04,	/* legacy: a checksum */
	COMMAND_SEGMENT = 0x04, /* extended: TCP segmentation */
	COMMAND_REPORT = 0x08,
	COMMAND_EXTENDED = 0x20,
	COMMAND_VLAN = 0x40,

	TYPE_CONTEXT = 0,
	TYPE_DATA = 1,

	OPTION_IP = 1, /* POPTS: which checksums */
	OPTION_TCP = 2,

	STATUS_DONE = 1,
	SIZE_MINIMUM = 60,
};

struct descriptor {
	uint64_t address;
	uint32_t command; /* length, type or checksum offset, command */
	uint8_t status;
	uint8_t options; /* POPTS, or legacy: where the checksum begins */
	uint16_t special;
};

static uint16_t big_16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put_big_16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The sum of RFC 1071 over size bytes; of an odd number the last one counts as followed by a zero. */
static uint32_t sum_of(const uint8_t *bytes, uint32_t size)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < size; i += 2)
		sum = fold(sum + big_16(bytes + i));
	return size % 2 ? fold(sum + (uint32_t)(bytes[size - 1] << 8)) : sum;
}

/* Writes the checksum of what lies from start to end (the last byte; 0: the packet's end) to offset. */
static void insert_checksum(struct e1000_packet *packet, uint32_t start, uint32_t offset, uint32_t end)
{
	uint32_t limit = end == 0 || end + 1 > packet->size ? packet->size : end + 1;

	if (start < limit && offset + 2 <= packet->size)
		put_big_16(packet->bytes + offset, ~sum_of(packet->bytes + start, limit - start));
}

/* ---- what is handed to the tap ---- */

/*
 * The card adjusts lengths and checksum seeds of each segment; who segments behind the tap expects a packet that is
 * right as one: its IP length and checksum, and the length in the seed of the TCP checksum.
 */
static bool prepare_segments(const struct e1000_context *context, struct e1000_packet *packet,
			     struct virtio_net_hdr_v1 *header)
{
	uint32_t ip = context->ip_start, tcp = context->tcp_start, tcp_size;
	uint8_t *bytes = packet->bytes;

	if (!(context->command & COMMAND_TCP) || context->mss == 0 || context->header > packet->size || tcp <= ip ||
	    tcp + 20U > context->header || context->tcp_offset < tcp || context->tcp_offset + 2U > context->header)
		return false;
	tcp_size = packet->size - tcp;
	if (context->command & COMMAND_IP4) {
		if (ip + 20U > tcp || packet->size - ip > 0xffff)
			return false;
		put_big_16(bytes + ip + 2, packet->size - ip);
		put_big_16(bytes + ip + 10, 0);
		insert_checksum(packet, ip, ip + 10, tcp - 1);
	} else {
		if (ip + 40U > tcp || packet->size - ip - 40 > 0xffff)
			return false;
		put_big_16(bytes + ip + 4, packet->size - ip - 40);
	}
	put_big_16(bytes + context->tcp_offset, fold(big_16(bytes + context->tcp_offset) + tcp_size));
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->csum_start = htole16((uint16_t)tcp);
	header->csum_offset = htole16((uint16_t)(context->tcp_offset - tcp));
	if (packet->size - context->header <= context->mss)
		return true;
	header->gso_type = context->command & COMMAND_IP4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	header->gso_size = htole16(context->mss);
	header->hdr_len = htole16(context->header);
	return true;
}

/* The checksum of the upper protocol is left to the tap where it reaches to the packet's end, as they all do. */
static void prepare_checksums(const struct e1000_context *context, struct e1000_packet *packet,
			      struct virtio_net_hdr_v1 *header)
{
	uint32_t start = context->tcp_start, offset = context->tcp_offset;

	if (packet->insert_ip)
		insert_checksum(packet, context->ip_start, context->ip_offset, context->ip_end);
	if (!packet->insert_tcp)
		return;
	if (context->tcp_end != 0 || offset < start || offset + 2 > packet->size) {
		insert_checksum(packet, start, offset, context->tcp_end);
		return;
	}
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->csum_start = htole16((uint16_t)start);
	header->csum_offset = htole16((uint16_t)(offset - start));
}

static void insert_tag(struct e1000 *card, struct e1000_packet *packet, uint16_t tag, struct virtio_net_hdr_v1 *header)
{
	uint8_t *at = packet->bytes + 12;

	if (packet->size < ETHERNET_HEADER || packet->size + VLAN_TAG > sizeof(packet->bytes))
		return;
	memmove(at + VLAN_TAG, at, packet->size - 12);
	put_big_16(at, *e1000_at(card, E1000_VET));
	put_big_16(at + 2, tag);
	packet->size += VLAN_TAG;
	if (header->flags)
		header->csum_start = htole16((uint16_t)(le16toh(header->csum_start) + VLAN_TAG));
	if (header->gso_type)
		header->hdr_len = htole16((uint16_t)(le16toh(header->hdr_len) + VLAN_TAG));
}

static void send_packet(struct e1000 *card, const struct descriptor *last)
{
	struct e1000_packet *packet = &card->packet;
	struct virtio_net_hdr_v1 header = { .num_buffers = 0 };
	struct iovec iov[2] = { { &header, E1000_HEADER }, { packet->bytes, 0 } };
	bool good = !packet->too_long && packet->size >= ETHERNET_HEADER;

	if (good && packet->segment) {
		good = prepare_segments(&card->segment, packet, &header);
		e1000_count(card, E1000_TSCTC, 1);
	} else if (good) {
		prepare_checksums(&card->checksum, packet, &header);
	}
	if (!good) {
		card->dropped++;
		return;
	}
	if (last->command >> 24 & COMMAND_VLAN && *e1000_at(card, E1000_CTRL) & CTRL_VLAN)
		insert_tag(card, packet, last->special, &header);
	if (packet->size < SIZE_MINIMUM && *e1000_at(card, E1000_TCTL) & TCTL_PAD) {
		memset(packet->bytes + packet->size, 0, SIZE_MINIMUM - packet->size);
		packet->size = SIZE_MINIMUM;
	}
	iov[1].iov_len = packet->size;
	/* Ethernet loses what finds no room. */
	if (card->tap_gone || writev(card->tap.fd, iov, 2) < 0) {
		card->dropped++;
		if (!card->tap_gone && errno == EBADFD)
			e1000_link(card, false);
		return;
	}
	e1000_count(card, E1000_GPTC, 1);
	e1000_count(card, E1000_TPT, 1);
	e1000_count_wide(card, E1000_GOTCL, packet->size + 4);
	e1000_count_wide(card, E1000_TOTL, packet->size + 4);
}

/* ---- descriptors ---- */

static void take_context(struct e1000 *card, const struct descriptor *descriptor)
{
	uint64_t offsets = descriptor->address;
	uint8_t command = (uint8_t)(descriptor->command >> 24);
	struct e1000_context *context = command & COMMAND_SEGMENT ? &card->segment : &card->checksum;

	*context = (struct e1000_context){
		.ip_start = (uint8_t)offsets,
		.ip_offset = (uint8_t)(offsets >> 8),
		.ip_end = (uint16_t)(offsets >> 16),
		.tcp_start = (uint8_t)(offsets >> 32),
		.tcp_offset = (uint8_t)(offsets >> 40),
		.tcp_end = (uint16_t)(offsets >> 48),
		.payload = descriptor->command & 0xfffff,
		.header = descriptor->options,
		.mss = descriptor->special,
		.command = command,
	};
}

static void take_bytes(struct e1000 *card, uint64_t address, uint32_t size)
{
	struct e1000_packet *packet = &card->packet;

	if (size > sizeof(packet->bytes) - packet->size ||
	    !guest_memory_read(card->memory, address, packet->bytes + packet->size, size)) {
		packet->too_long = true;
		return;
	}
	packet->size += size;
}

static void end_packet(struct e1000 *card, const struct descriptor *last)
{
	struct e1000_packet *packet = &card->packet;

	send_packet(card, last);
	packet->size = 0;
	packet->begun = packet->too_long = packet->segment = packet->insert_ip = packet->insert_tcp = false;
}

static void take_legacy(struct e1000 *card, const struct descriptor *descriptor)
{
	struct e1000_packet *packet = &card->packet;
	uint8_t command = (uint8_t)(descriptor->command >> 24);

	packet->begun = true;
	take_bytes(card, descriptor->address, descriptor->command & 0xffff);
	if (!(command & COMMAND_EOP))
		return;
	if (command & COMMAND_INSERT && !packet->too_long)
		insert_checksum(packet, descriptor->options, descriptor->command >> 16 & 0xff, 0);
	end_packet(card, descriptor);
}

static void take_data(struct e1000 *card, const struct descriptor *descriptor)
{
	struct e1000_packet *packet = &card->packet;
	uint8_t command = (uint8_t)(descriptor->command >> 24);

	/* What is to be done with the packet says its first descriptor. */
	if (!packet->begun) {
		packet->begun = true;
		packet->segment = command & COMMAND_SEGMENT;
		packet->insert_ip = descriptor->options & OPTION_IP;
		packet->insert_tcp = descriptor->options & OPTION_TCP;
	}
	take_bytes(card, descriptor->address, descriptor->command & 0xfffff);
	if (command & COMMAND_EOP)
		end_packet(card, descriptor);
}

/* Which causes follow. */
static uint32_t take_descriptor(struct e1000 *card, uint64_t address)
{
	struct descriptor descriptor;
	uint8_t command;

	if (!guest_memory_read(card->memory, address, &descriptor, sizeof(descriptor)))
		return 0;
	descriptor.address = le64toh(descriptor.address);
	descriptor.command = le32toh(descriptor.command);
	descriptor.special = le16toh(descriptor.special);
	command = (uint8_t)(descriptor.command >> 24);
	if (!(command & COMMAND_EXTENDED))
		take_legacy(card, &descriptor);
	else if ((descriptor.command >> 20 & 0xf) == TYPE_CONTEXT)
		take_context(card, &descriptor);
	else if ((descriptor.command >> 20 & 0xf) == TYPE_DATA)
		take_data(card, &descriptor);
	if (!(command & COMMAND_REPORT))
		return 0;
	descriptor.status |= STATUS_DONE;
	(void)guest_memory_write(card->memory, address + offsetof(struct descriptor, status), &descriptor.status, 1);
	return E1000_ICR_TXDW;
}

void e1000_transmit(struct e1000 *card)
{
	uint32_t count = *e1000_at(card, E1000_TDLEN) / DESCRIPTOR_SIZE, *head = e1000_at(card, E1000_TDH);
	uint32_t tail = *e1000_at(card, E1000_TDT), causes = 0;
	uint64_t ring = e1000_ring(card, E1000_TDBAL);

	_Static_assert(sizeof(struct descriptor) == DESCRIPTOR_SIZE, "3.3.3");
	/* A tail outside of the ring is never reached: then nothing is sent, rather than the ring for ever. */
	if (!(*e1000_at(card, E1000_TCTL) & TCTL_ENABLE) || !pci_is_master(&card->pci) || card->quiet ||
	    *head >= count || tail >= count || *head == tail)
		return;
	while (*head != tail) {
		causes |= take_descriptor(card, ring + (uint64_t)*head * DESCRIPTOR_SIZE);
		*head = *head + 1 == count ? 0 : *head + 1;
	}
	e1000_cause(card, causes | E1000_ICR_TXQE);
}
