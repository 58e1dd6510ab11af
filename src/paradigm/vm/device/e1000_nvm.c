/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the card remembers without power, and its transceiver: 5.6 (EEPROM map), 13.4.3 and 13.4.4 (EECD, EERD),
 * 13.4.7 (MDIC); the PHY's registers are those of IEEE 802.3, 22.2.4, and the Marvell 88E1011's own.
 */
#include <endian.h>
#include <string.h>

#include "paradigm/vm/device/e1000_private.h"

enum {
	/* EEPROM */
	WORD_COMPATIBILITY = 0x03,
	WORD_INIT_1 = 0x0a,
	WORD_SUBSYSTEM = 0x0b,
	WORD_SUBSYSTEM_VENDOR = 0x0c,
	WORD_DEVICE = 0x0d,
	WORD_VENDOR = 0x0e,
	WORD_INIT_2 = 0x0f,
	WORD_CHECKSUM = 0x3f,
	CHECKSUM = 0xbaba, /* of all words */

	EECD_CLOCK = 1 << 0,
	EECD_SELECT = 1 << 1,
	EECD_IN = 1 << 2,
	EECD_OUT = 1 << 3,
	EECD_WRITE_ENABLE = 3 << 4,
	EECD_REQUEST = 1 << 6,
	EECD_GRANT = 1 << 7,
	EECD_PRESENT = 1 << 8,
	MICROWIRE_COMMAND = 9, /* bits: start, two of the operation, six of the address */
	MICROWIRE_READ = 6 << 6,

	EERD_START = 1 << 0,
	EERD_DONE = 1 << 4,

	/* PHY */
	PHY_CONTROL = 0,
	PHY_STATUS = 1,
	PHY_ID = 2,
	PHY_ADVERTISE = 4,
	PHY_PARTNER = 5,
	PHY_EXPANSION = 6,
	PHY_1000_CONTROL = 9,
	PHY_1000_STATUS = 10,
	PHY_EXTENDED_STATUS = 15,
	PHY_SPECIFIC_CONTROL = 16,
	PHY_SPECIFIC_STATUS = 17,
	PHY_EXTENDED_CONTROL = 20,
	PHY_CONTROL_RESET = 0x8000,
	PHY_CONTROL_RESTART = 0x0200,
	PHY_STATUS_LINK = 0x0004,
	PHY_STATUS_NEGOTIATED = 0x0020,
	PHY_SPECIFIC_LINK = 0x0c00, /* link is up, speed and duplex are known */
	PHY_ADDRESS = 1,

	MDIC_WRITE = 1,
	MDIC_READ = 2,
};

static const uint32_t mdic_ready = UINT32_C(1) << 28, mdic_interrupt = UINT32_C(1) << 29,
		      mdic_error = UINT32_C(1) << 30;

void e1000_nvm_init(struct e1000 *card, const uint8_t mac[static 6])
{
	uint16_t sum = 0;

	memset(card->eeprom, 0, sizeof(card->eeprom));
	for (unsigned i = 0; i < 3; i++)
		card->eeprom[i] = (uint16_t)(mac[2 * i] | mac[2 * i + 1] << 8);
	card->eeprom[WORD_COMPATIBILITY] = 0x0100; /* a client's card: no manageability */
	card->eeprom[WORD_INIT_1] = 0x4408;
	card->eeprom[WORD_SUBSYSTEM] = 0x001e;
	card->eeprom[WORD_SUBSYSTEM_VENDOR] = 0x8086;
	card->eeprom[WORD_DEVICE] = 0x100e;
	card->eeprom[WORD_VENDOR] = 0x8086;
	card->eeprom[WORD_INIT_2] = 0x3040;
	for (unsigned i = 0; i < WORD_CHECKSUM; i++)
		sum = (uint16_t)(sum + card->eeprom[i]);
	card->eeprom[WORD_CHECKSUM] = (uint16_t)(CHECKSUM - sum);
	e1000_phy_reset(card);
}

uint32_t e1000_eecd_read(struct e1000 *card)
{
	uint32_t value = *e1000_at(card, E1000_EECD) | EECD_PRESENT | EECD_WRITE_ENABLE;

	value &= ~(uint32_t)(EECD_OUT | EECD_GRANT);
	if (value & EECD_REQUEST)
		value |= EECD_GRANT;
	/* An idle wire is pulled up. */
	if (card->microwire.count < MICROWIRE_COMMAND || card->microwire.out)
		value |= EECD_OUT;
	return value;
}

/* A rising clock: first the command comes in, then a word's bits go out, the highest first. */
static void microwire_clock(struct e1000 *card, bool bit)
{
	unsigned count = ++card->microwire.count;

	if (count <= MICROWIRE_COMMAND) {
		card->microwire.in = card->microwire.in << 1 | bit;
		/* Zeros before the start bit are no command yet. */
		if (card->microwire.in == 0)
			card->microwire.count = 0;
		card->microwire.out = 0;
		return;
	}
	if ((card->microwire.in & (7 << 6)) == MICROWIRE_READ) {
		unsigned position = count - MICROWIRE_COMMAND - 1;
		unsigned word = (card->microwire.in + position / 16) % E1000_EEPROM_WORDS;

		card->microwire.out = card->eeprom[word] >> (15 - position % 16) & 1;
	} else {
		/* Nothing is ever written; whoever waits for the end of a write reads ones. */
		card->microwire.out = 1;
	}
	/* Words repeat: the counter need not run over. */
	if (count == MICROWIRE_COMMAND + 16 * E1000_EEPROM_WORDS)
		card->microwire.count = MICROWIRE_COMMAND;
}

void e1000_eecd_write(struct e1000 *card, uint32_t value)
{
	uint32_t before = *e1000_at(card, E1000_EECD);

	*e1000_at(card, E1000_EECD) = value & (EECD_CLOCK | EECD_SELECT | EECD_IN | EECD_REQUEST);
	if (!(value & EECD_SELECT) || !(before & EECD_SELECT)) {
		card->microwire.count = 0;
		card->microwire.in = 0;
		card->microwire.out = 0;
		return;
	}
	if ((value & EECD_CLOCK) && !(before & EECD_CLOCK))
		microwire_clock(card, value & EECD_IN);
}

uint32_t e1000_eerd_write(const struct e1000 *card, uint32_t value)
{
	unsigned word = value >> 8 & 0xff;

	if (!(value & EERD_START))
		return value & 0xff00;
	return (uint32_t)(word < E1000_EEPROM_WORDS ? card->eeprom[word] : 0) << 16 | word << 8 | EERD_DONE;
}

void e1000_phy_reset(struct e1000 *card)
{
	static const uint16_t power_on[E1000_PHY_REGISTERS] = {
		[PHY_CONTROL] = 0x1140, /* negotiates, full duplex, 1000 Mb/s */
		[PHY_STATUS] = 0x7949,		 [PHY_ID] = 0x0141,
		[PHY_ID + 1] = 0x0c20,		 [PHY_ADVERTISE] = 0x0de1,
		[PHY_PARTNER] = 0x45e1,		 [PHY_EXPANSION] = 0x0001,
		[PHY_1000_CONTROL] = 0x0e00,	 [PHY_1000_STATUS] = 0x3c00,
		[PHY_EXTENDED_STATUS] = 0x3000,	 [PHY_SPECIFIC_CONTROL] = 0x0360,
		[PHY_SPECIFIC_STATUS] = 0xa000, /* 1000 Mb/s, full duplex */
		[PHY_EXTENDED_CONTROL] = 0x0d60,
	};

	memcpy(card->phy, power_on, sizeof(power_on));
}

static uint16_t phy_read(const struct e1000 *card, unsigned address)
{
	uint16_t value = card->phy[address];
	bool up = !card->tap_gone;

	if (address == PHY_STATUS && up)
		value |= PHY_STATUS_LINK | PHY_STATUS_NEGOTIATED;
	if (address == PHY_SPECIFIC_STATUS && up)
		value |= PHY_SPECIFIC_LINK;
	return value;
}

/* The link was never down: negotiation is over as soon as it is asked for. */
static void phy_write(struct e1000 *card, unsigned address, uint16_t value)
{
	switch (address) {
	case PHY_CONTROL:
		if (value & PHY_CONTROL_RESET)
			e1000_phy_reset(card);
		else
			card->phy[address] = (uint16_t)(value & ~PHY_CONTROL_RESTART);
		break;
	case PHY_STATUS:
	case PHY_ID:
	case PHY_ID + 1:
	case PHY_PARTNER:
	case PHY_EXPANSION:
	case PHY_1000_STATUS:
	case PHY_EXTENDED_STATUS:
	case PHY_SPECIFIC_STATUS:
		break;
	default:
		card->phy[address] = value;
	}
}

uint32_t e1000_mdic_write(struct e1000 *card, uint32_t value)
{
	unsigned address = value >> 16 & 31, phy = value >> 21 & 31, operation = value >> 26 & 3;

	value &= ~(mdic_ready | mdic_error);
	if (phy != PHY_ADDRESS)
		value |= mdic_error;
	else if (operation == MDIC_READ)
		value = (value & ~UINT32_C(0xffff)) | phy_read(card, address);
	else if (operation == MDIC_WRITE)
		phy_write(card, address, (uint16_t)value);
	if (value & mdic_interrupt)
		e1000_cause(card, E1000_ICR_MDAC);
	return value | mdic_ready;
}
