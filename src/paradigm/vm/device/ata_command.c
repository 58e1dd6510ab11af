/* SPDX-License-Identifier: Apache-2.0 */
/* What commands do, and how data moves block by block: ATA/ATAPI-6, chapters 8 and 9. */
#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/device/ata_private.h"

enum {
	IDENTIFY_DEVICE = 0xec,
	SET_FEATURES_TRANSFER_MODE = 0x03,
	TRANSFER_PIO_FLOW = 0x08, /* with the mode in the lowest three bits */
	PIO_MODE_MAX = 4,
};

static void end(struct ata_channel *channel, uint8_t error)
{
	channel->transfer = ATA_TRANSFER_NONE;
	channel->error = error;
	channel->status = ATA_READY | ATA_SEEK_DONE | (error ? ATA_ERROR : 0);
	ata_interrupt(channel);
}

/* The guest may move the next block: as many sectors as there are, at most what it wants between interrupts. */
static void offer_block(struct ata_channel *channel)
{
	uint32_t most = channel->per_block * ATA_SECTOR, there = channel->filled - channel->at;

	channel->end = channel->at + (there < most ? there : most);
	channel->status = ATA_READY | ATA_SEEK_DONE | ATA_DATA_REQUEST;
}

/* How much the drive moves next: the buffer has as many whole blocks as there is room for. */
static uint32_t piece(const struct ata_channel *channel)
{
	uint32_t most = ATA_BUFFER_SECTORS / channel->per_block * channel->per_block;

	return channel->left < most ? channel->left : most;
}

/* ---- data ---- */

static void read_on(struct ata_channel *channel)
{
	channel->status = ATA_BUSY;
	ata_work_begin(channel, BLOCK_READ, piece(channel));
}

/* Room for what the guest has to write next. */
static void write_on(struct ata_channel *channel)
{
	channel->at = 0;
	channel->filled = piece(channel) * ATA_SECTOR;
	offer_block(channel);
}

void ata_block_moved(struct ata_channel *channel)
{
	bool all = channel->at == channel->filled;

	channel->status &= (uint8_t)~ATA_DATA_REQUEST;
	if (!all) {
		offer_block(channel);
		ata_interrupt(channel);
	} else if (channel->transfer == ATA_TRANSFER_OUT) {
		channel->status = ATA_BUSY;
		ata_work_begin(channel, BLOCK_WRITE, channel->filled / ATA_SECTOR);
	} else if (channel->transfer == ATA_TRANSFER_IN && channel->left > 0) {
		read_on(channel);
	} else { /* the last block of a read has had its interrupt */
		channel->transfer = ATA_TRANSFER_NONE;
	}
}

static void piece_done(struct ata_channel *channel)
{
	uint32_t sectors = (uint32_t)(channel->request.size / ATA_SECTOR);

	channel->sector += sectors;
	channel->left -= sectors;
	if (channel->transfer == ATA_TRANSFER_IN) {
		channel->at = 0;
		channel->filled = sectors * ATA_SECTOR;
		offer_block(channel);
		ata_interrupt(channel);
	} else if (channel->left > 0) {
		write_on(channel);
		ata_interrupt(channel);
	} else if (!channel->drive->write_cache) {
		channel->transfer = ATA_TRANSFER_NONE;
		ata_work_begin(channel, BLOCK_FLUSH, 0);
	} else {
		end(channel, 0);
	}
}

void ata_work_ended(struct ata_channel *channel, int result)
{
	if (channel->abandoned) {
		channel->abandoned = false;
		ata_channel_reset(channel);
	} else if (result < 0) {
		end(channel, channel->request.operation == BLOCK_READ ? ATA_UNCORRECTABLE : ATA_ABORTED);
	} else if (channel->request.operation == BLOCK_FLUSH) {
		end(channel, 0);
	} else {
		piece_done(channel);
	}
}

void ata_channel_reset(struct ata_channel *channel)
{
	channel->transfer = ATA_TRANSFER_NONE;
	if (channel->running || channel->wanted) {
		channel->abandoned = true; /* busy until then */
		channel->status = ATA_BUSY;
		return;
	}
	memset(channel->high, 0, sizeof(channel->high));
	memset(channel->registers, 0, sizeof(channel->registers));
	/* The signature of a disk: 9.12. */
	channel->registers[ATA_COUNT] = channel->registers[ATA_LOW] = 1;
	channel->error = 1;
	channel->status = ATA_READY | ATA_SEEK_DONE;
	for (unsigned i = 0; i < ATA_DRIVES; i++) {
		struct ata_drive *drive = &channel->drives[i];

		drive->multiple = ATA_MULTIPLE_MAX;
		drive->heads = ATA_HEADS;
		drive->sectors = ATA_SECTORS_PER_TRACK;
		drive->write_cache = true;
	}
	if (channel->control & ATA_SOFT_RESET)
		channel->status = ATA_BUSY;
}

/* ---- where ---- */

static uint64_t lba48(const struct ata_channel *channel)
{
	uint64_t sector = 0;

	for (unsigned i = 0; i < 3; i++)
		sector |= (uint64_t)channel->registers[ATA_LOW + i] << (8 * i) | (uint64_t)channel->high[ATA_LOW + i]
											 << (24 + 8 * i);
	return sector;
}

static uint64_t lba28(const struct ata_channel *channel)
{
	const uint8_t *registers = channel->registers;

	return (uint64_t)(registers[ATA_DEVICE] & 15) << 24 | (uint64_t)registers[ATA_HIGH] << 16 |
	       (uint64_t)registers[ATA_MID] << 8 | registers[ATA_LOW];
}

/* Cylinder, head, sector; UINT64_MAX: there is no such. */
static uint64_t chs(const struct ata_channel *channel)
{
	const struct ata_drive *drive = channel->drive;
	const uint8_t *registers = channel->registers;
	uint64_t cylinder = (uint64_t)registers[ATA_HIGH] << 8 | registers[ATA_MID];

	if (registers[ATA_LOW] == 0 || registers[ATA_LOW] > drive->sectors ||
	    (registers[ATA_DEVICE] & 15) >= drive->heads)
		return UINT64_MAX;
	return (cylinder * drive->heads + (registers[ATA_DEVICE] & 15)) * drive->sectors + registers[ATA_LOW] - 1;
}

/* Sets sector and left; false: that is not on the disk. */
static bool find_sectors(struct ata_channel *channel, bool wide)
{
	uint64_t sectors = block_size(channel->drive->block) / ATA_SECTOR;
	uint32_t count = channel->registers[ATA_COUNT];

	if (wide) {
		count |= (uint32_t)channel->high[ATA_COUNT] << 8;
		count = count ? count : 65536;
		channel->sector = lba48(channel);
	} else {
		count = count ? count : 256;
		channel->sector = channel->registers[ATA_DEVICE] & ATA_LBA ? lba28(channel) : chs(channel);
	}
	channel->left = count;
	return channel->sector < sectors && count <= sectors - channel->sector;
}

/* ---- commands ---- */

enum { WIDE = 1, MULTIPLE = 2 };

static void transfer_sectors(struct ata_channel *channel, unsigned how, enum ata_transfer transfer)
{
	uint8_t multiple = channel->drive->multiple;

	if (how & MULTIPLE && multiple == 0) {
		end(channel, ATA_ABORTED);
		return;
	}
	if (!find_sectors(channel, how & WIDE)) {
		end(channel, ATA_NOT_FOUND);
		return;
	}
	channel->per_block = how & MULTIPLE ? multiple : 1;
	channel->transfer = transfer;
	if (transfer == ATA_TRANSFER_IN)
		read_on(channel);
	else
		write_on(channel); /* the first block of a write has no interrupt */
}

static void read_sectors(struct ata_channel *channel, unsigned how)
{
	transfer_sectors(channel, how, ATA_TRANSFER_IN);
}

static void write_sectors(struct ata_channel *channel, unsigned how)
{
	transfer_sectors(channel, how, ATA_TRANSFER_OUT);
}

static void verify_sectors(struct ata_channel *channel, unsigned how)
{
	end(channel, find_sectors(channel, how & WIDE) ? 0 : ATA_NOT_FOUND);
}

static void flush_cache(struct ata_channel *channel, unsigned how)
{
	(void)how;
	channel->status = ATA_BUSY;
	ata_work_begin(channel, BLOCK_FLUSH, 0);
}

static void identify_device(struct ata_channel *channel, unsigned how)
{
	(void)how;
	ata_identify(channel->drive, channel->buffer);
	channel->transfer = ATA_TRANSFER_IDENTIFY;
	channel->sector = channel->left = 0; /* of a command that was interrupted, or wanted what is not there */
	channel->per_block = 1;
	channel->at = 0;
	channel->filled = ATA_SECTOR;
	offer_block(channel);
	ata_interrupt(channel);
}

static void set_multiple(struct ata_channel *channel, unsigned how)
{
	uint8_t count = channel->registers[ATA_COUNT];

	(void)how;
	if (count > ATA_MULTIPLE_MAX || (count & (count - 1))) {
		end(channel, ATA_ABORTED);
		return;
	}
	channel->drive->multiple = count;
	end(channel, 0);
}

static void set_features(struct ata_channel *channel, unsigned how)
{
	uint8_t value = channel->registers[ATA_COUNT];
	bool good = true;

	(void)how;
	switch (channel->registers[ATA_FEATURES]) {
	case 0x02:
		channel->drive->write_cache = true;
		break;
	case 0x82: /* what was written before is to be safe, too */
		channel->drive->write_cache = false;
		flush_cache(channel, 0);
		return;
	case SET_FEATURES_TRANSFER_MODE:
		good = value <= 1 || (value >= TRANSFER_PIO_FLOW && value <= TRANSFER_PIO_FLOW + PIO_MODE_MAX);
		break;
	case 0x55: /* look-ahead and power-on defaults: nothing to us */
	case 0xaa:
	case 0x66:
	case 0xcc:
		break;
	default:
		good = false;
		break;
	}
	end(channel, good ? 0 : ATA_ABORTED);
}

static void set_geometry(struct ata_channel *channel, unsigned how)
{
	(void)how;
	channel->drive->heads = (channel->registers[ATA_DEVICE] & 15) + 1;
	channel->drive->sectors = channel->registers[ATA_COUNT];
	end(channel, channel->drive->sectors ? 0 : ATA_ABORTED);
}

static void check_power(struct ata_channel *channel, unsigned how)
{
	(void)how;
	channel->registers[ATA_COUNT] = 0xff; /* awake */
	end(channel, 0);
}

static void diagnose(struct ata_channel *channel, unsigned how)
{
	(void)how;
	ata_channel_reset(channel);
	ata_interrupt(channel);
}

static void nothing(struct ata_channel *channel, unsigned how)
{
	(void)how;
	end(channel, 0);
}

struct command {
	uint8_t code;
	uint8_t how;
	void (*run)(struct ata_channel *channel, unsigned how);
};

static const struct command commands[] = {
	{ 0x10, 0, nothing }, /* RECALIBRATE */
	{ 0x20, 0, read_sectors },
	{ 0x21, 0, read_sectors },
	{ 0x24, WIDE, read_sectors },
	{ 0x29, WIDE | MULTIPLE, read_sectors },
	{ 0x30, 0, write_sectors },
	{ 0x31, 0, write_sectors },
	{ 0x34, WIDE, write_sectors },
	{ 0x39, WIDE | MULTIPLE, write_sectors },
	{ 0x40, 0, verify_sectors },
	{ 0x41, 0, verify_sectors },
	{ 0x42, WIDE, verify_sectors },
	{ 0x70, 0, nothing }, /* SEEK */
	{ 0x90, 0, diagnose },
	{ 0x91, 0, set_geometry },
	{ 0xc4, MULTIPLE, read_sectors },
	{ 0xc5, MULTIPLE, write_sectors },
	{ 0xc6, 0, set_multiple },
	{ 0xe0, 0, nothing }, /* STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE: it is never asleep */
	{ 0xe1, 0, nothing },
	{ 0xe2, 0, nothing },
	{ 0xe3, 0, nothing },
	{ 0xe5, 0, check_power },
	{ 0xe6, 0, nothing }, /* SLEEP */
	{ 0xe7, 0, flush_cache },
	{ 0xea, 0, flush_cache },
	{ IDENTIFY_DEVICE, 0, identify_device },
	{ 0xef, 0, set_features },
};

void ata_command(struct ata_channel *channel, uint8_t code)
{
	channel->drive = ata_selected(channel);
	channel->transfer = ATA_TRANSFER_NONE;
	channel->error = 0;
	channel->status = ATA_READY | ATA_SEEK_DONE;
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (commands[i].code == code) {
			commands[i].run(channel, commands[i].how);
			return;
		}
	end(channel, ATA_ABORTED);
}
