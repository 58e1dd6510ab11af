/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e1000_private - for the card's own files: e1000.c (registers, interrupts,
 * life), e1000_nvm.c (EEPROM, PHY), e1000_transmit.c, e1000_receive.c.
 */
#ifndef CAISSON_PARADIGM_VM_DEVICE_E1000_PRIVATE_H
#define CAISSON_PARADIGM_VM_DEVICE_E1000_PRIVATE_H

#include <linux/virtio_net.h>

#include "paradigm/vm/device/e1000.h"

/* Registers: offsets (13.3 of the manual). */
enum e1000_register {
	E1000_CTRL = 0x0000,
	E1000_STATUS = 0x0008,
	E1000_EECD = 0x0010,
	E1000_EERD = 0x0014,
	E1000_CTRL_EXT = 0x0018,
	E1000_MDIC = 0x0020,
	E1000_FCAL = 0x0028,
	E1000_FCAH = 0x002c,
	E1000_FCT = 0x0030,
	E1000_VET = 0x0038,
	E1000_ICR = 0x00c0,
	E1000_ITR = 0x00c4,
	E1000_ICS = 0x00c8,
	E1000_IMS = 0x00d0,
	E1000_IMC = 0x00d8,
	E1000_RCTL = 0x0100,
	E1000_FCTTV = 0x0170,
	E1000_TCTL = 0x0400,
	E1000_TIPG = 0x0410,
	E1000_AIT = 0x0458,
	E1000_LEDCTL = 0x0e00,
	E1000_PBA = 0x1000,
	E1000_FCRTL = 0x2160,
	E1000_FCRTH = 0x2168,
	E1000_RDBAL = 0x2800,
	E1000_RDBAH = 0x2804,
	E1000_RDLEN = 0x2808,
	E1000_RDH = 0x2810,
	E1000_RDT = 0x2818,
	E1000_RDTR = 0x2820,
	E1000_RXDCTL = 0x2828,
	E1000_RADV = 0x282c,
	E1000_RSRPD = 0x2c00,
	E1000_TDBAL = 0x3800,
	E1000_TDBAH = 0x3804,
	E1000_TDLEN = 0x3808,
	E1000_TDH = 0x3810,
	E1000_TDT = 0x3818,
	E1000_TIDV = 0x3820,
	E1000_TXDCTL = 0x3828,
	E1000_TADV = 0x382c,
	E1000_TSPMT = 0x3830,
	E1000_STATISTICS = 0x4000, /* cleared when they are read */
	E1000_STATISTICS_END = 0x4100,
	E1000_MPC = 0x4010,  /* missed packets */
	E1000_GPRC = 0x4074, /* good packets received; each its own register, as the next ones */
	E1000_BPRC = 0x4078,
	E1000_MPRC = 0x407c,
	E1000_GPTC = 0x4080,
	E1000_GORCL = 0x4088, /* bytes, 64 bits */
	E1000_GOTCL = 0x4090,
	E1000_TORL = 0x40c0,
	E1000_TOTL = 0x40c8,
	E1000_TPR = 0x40d0,
	E1000_TPT = 0x40d4,
	E1000_TSCTC = 0x40f8, /* TCP segmentation contexts */
	E1000_RXCSUM = 0x5000,
	E1000_MTA = 0x5200,  /* 128 words */
	E1000_RA = 0x5400,   /* 16 pairs of low and high */
	E1000_VFTA = 0x5600, /* 128 words */
	E1000_WUC = 0x5800,
	E1000_WUFC = 0x5808,
	E1000_WUS = 0x5810,
	E1000_MANC = 0x5820,
	E1000_REGISTERS_SIZE = 0x6000,
	E1000_MEMORY_SIZE = 0x20000,
	E1000_PORTS_SIZE = 0x40,
};

enum {
	E1000_ICR_TXDW = 1 << 0, /* a descriptor with RS is done */
	E1000_ICR_TXQE = 1 << 1, /* the transmit ring is empty */
	E1000_ICR_LSC = 1 << 2,	 /* the link changed */
	E1000_ICR_RXDMT0 = 1 << 4,
	E1000_ICR_RXO = 1 << 6,
	E1000_ICR_RXT0 = 1 << 7,
	E1000_ICR_MDAC = 1 << 9,
	E1000_ICR_MASK = 0x1f6df,

	E1000_MTA_WORDS = 128,
	E1000_ADDRESSES = 16,
	E1000_EEPROM_WORDS = 64,
	E1000_PHY_REGISTERS = 32,
	E1000_HEADER = 12, /* of virtio-net, in front of each packet in the tap */
	E1000_PACKET_MAX = 65535 + 18,
	E1000_RECEIVE_BATCH = 64,
	ETHERNET_HEADER = 14,
	VLAN_TAG = 4,
};

/* Offload context (3.3.6): what the last context descriptor said. */
struct e1000_context {
	uint8_t ip_start, ip_offset, tcp_start, tcp_offset;
	uint16_t ip_end, tcp_end;
	uint32_t payload; /* bytes behind the header, of TCP segmentation */
	uint8_t header;	  /* bytes in front of them */
	uint16_t mss;
	uint8_t command;
};

/* A packet that is put together from descriptors. */
struct e1000_packet {
	uint32_t size;
	bool too_long; /* or a part of it was nowhere: it is dropped at its end */
	/* Of its first descriptor: */
	bool begun, segment, insert_ip, insert_tcp;
	uint8_t bytes[E1000_PACKET_MAX];
};

struct e1000 {
	struct device device;
	struct pci_function pci;
	struct guest_memory *memory;
	struct loop *loop;
	struct loop_source tap;
	struct loop_source wake;     /* an eventfd: there may be descriptors for packets again */
	struct loop_source throttle; /* a timer: until the next interrupt may come */
	bool tap_gone;
	bool listening;		    /* the tap is in the loop: changed by its thread alone */
	bool quiet;		    /* no packets in either direction */
	bool interrupting, delayed; /* INTA is up; it will be, when the timer ends */
	uint64_t interrupted;	    /* when it was last raised: ns of CLOCK_MONOTONIC */
	uint32_t registers[E1000_REGISTERS_SIZE / 4];
	uint32_t port_address; /* IOADDR */
	/* e1000_nvm.c */
	uint16_t eeprom[E1000_EEPROM_WORDS];
	struct {
		unsigned count; /* bits that came in since it was selected */
		uint32_t in, out;
	} microwire;
	uint16_t phy[E1000_PHY_REGISTERS];
	/* e1000_transmit.c */
	struct e1000_context checksum, segment;
	struct e1000_packet packet;
	/* e1000_receive.c */
	uint8_t received[E1000_HEADER + E1000_PACKET_MAX];
	uint64_t dropped; /* packets to or from nowhere */
};

static inline uint32_t *e1000_at(struct e1000 *card, unsigned offset)
{
	return &card->registers[offset / 4];
}

static inline uint64_t e1000_ring(struct e1000 *card, unsigned low)
{
	return (uint64_t)*e1000_at(card, low + 4) << 32 | *e1000_at(card, low);
}

/* e1000.c */
/* Causes happened; INTA follows, if they are not masked and it is not too early. */
void e1000_cause(struct e1000 *card, uint32_t causes);
/* Adds to a statistics register, which stops at its end; wide: of 64 bits. */
void e1000_count(struct e1000 *card, unsigned offset, uint32_t count);
void e1000_count_wide(struct e1000 *card, unsigned offset, uint64_t count);
void e1000_link(struct e1000 *card, bool up);

/* e1000_nvm.c */
void e1000_nvm_init(struct e1000 *card, const uint8_t mac[static 6]);
uint32_t e1000_eecd_read(struct e1000 *card);
void e1000_eecd_write(struct e1000 *card, uint32_t value);
uint32_t e1000_eerd_write(const struct e1000 *card, uint32_t value); /* what is read then */
void e1000_phy_reset(struct e1000 *card);
uint32_t e1000_mdic_write(struct e1000 *card, uint32_t value); /* what is read then */

/* e1000_transmit.c */
/* Sends what lies between head and tail. */
void e1000_transmit(struct e1000 *card);

/* e1000_receive.c */
/* Takes packets out of the tap, as many as there are descriptors for; the loop's thread. */
void e1000_receive(struct e1000 *card);
/* There may be descriptors again, or the receiver was switched on: any thread. */
void e1000_receive_ready(struct e1000 *card);

#endif
