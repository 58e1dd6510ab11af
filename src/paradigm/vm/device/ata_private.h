/* SPDX-License-Identifier: Apache-2.0 */
/* ata_private - a channel's state, and what its files do for each other. */
#ifndef CAISSON_PARADIGM_VM_DEVICE_ATA_PRIVATE_H
#define CAISSON_PARADIGM_VM_DEVICE_ATA_PRIVATE_H

#include <pthread.h>

#include "paradigm/vm/device/ata.h"
#include "paradigm/vm/device/pci.h"

enum {
	ATA_SECTOR = 512,
	ATA_BUFFER_SECTORS = 256, /* that a drive reads or writes at once */
	ATA_MULTIPLE_MAX = 16,	  /* sectors between interrupts */
	ATA_SERIAL_MAX = 20,
	ATA_HEADS = 16,
	ATA_SECTORS_PER_TRACK = 63,

	/* status */
	ATA_BUSY = 0x80,
	ATA_READY = 0x40,
	ATA_SEEK_DONE = 0x10,
	ATA_DATA_REQUEST = 0x08,
	ATA_ERROR = 0x01,
	/* error */
	ATA_UNCORRECTABLE = 0x40,
	ATA_NOT_FOUND = 0x10,
	ATA_ABORTED = 0x04,
	/* device */
	ATA_LBA = 0x40,
	ATA_DRIVE1 = 0x10,
	/* device control */
	ATA_HIGH_BYTES = 0x80,
	ATA_SOFT_RESET = 0x04,
	ATA_NO_INTERRUPT = 0x02,
};

/* Command block registers. */
enum { ATA_DATA, ATA_FEATURES, ATA_COUNT, ATA_LOW, ATA_MID, ATA_HIGH, ATA_DEVICE, ATA_COMMAND, ATA_REGISTERS };

struct ata_drive {
	struct block *block; /* owned; NULL: there is none */
	char serial[ATA_SERIAL_MAX];
	uint8_t multiple;	/* sectors, 0: not set */
	uint8_t heads, sectors; /* as the guest would have the geometry */
	bool write_cache;
};

/* What the bytes in the buffer are. */
enum ata_transfer { ATA_TRANSFER_NONE, ATA_TRANSFER_IN, ATA_TRANSFER_OUT, ATA_TRANSFER_IDENTIFY };

struct ata;

struct ata_channel {
	struct ata *ata;
	struct ata_drive drives[ATA_DRIVES];
	struct interrupt interrupt;
	uint8_t registers[ATA_REGISTERS], high[ATA_REGISTERS]; /* high: as they were before the last write */
	uint8_t status, error, control;

	enum ata_transfer transfer;
	struct ata_drive *drive;  /* the current command's */
	uint64_t sector;	  /* next one that the drive reads or writes */
	uint32_t left;		  /* sectors that the drive has yet to read or write */
	uint32_t per_block;	  /* sectors between interrupts */
	uint8_t *buffer;	  /* owned; ATA_BUFFER_SECTORS */
	uint32_t filled, at, end; /* bytes: in the buffer, moved, and where the current block ends */

	/* The drive's work: begun by a vCPU, done in the loop's thread. */
	bool wanted, running, abandoned; /* abandoned: the channel was reset meanwhile */
	bool finished;			 /* touched by the loop's thread alone */
	int result;
	struct block_request request;
	struct iovec iov;
};

struct ata {
	struct device device; /* first */
	struct ata_channel channels[ATA_CHANNELS];
	struct loop *loop;
	struct loop_source work; /* its eventfd is owned */
	bool drain;		 /* the loop is to bring everything to an end */
	pthread_cond_t drained;	 /* with device.lock */
	int disk_error;		 /* -errno of a disk that could not be drained */
	struct pci_function function;
};

/* ata_command.c: with the device's lock held. */
void ata_command(struct ata_channel *channel, uint8_t command);
void ata_channel_reset(struct ata_channel *channel);
/* A block has been moved between the guest and the buffer. */
void ata_block_moved(struct ata_channel *channel);
/* The drive's work has ended. */
void ata_work_ended(struct ata_channel *channel, int result);

/* ata_identify.c: what IDENTIFY DEVICE answers. */
void ata_identify(const struct ata_drive *drive, uint8_t data[static ATA_SECTOR]);

/* ata.c */
struct ata_drive *ata_selected(struct ata_channel *channel); /* NULL: there is none */
/* Lets the drive do channel->request in the loop's thread. */
void ata_work_begin(struct ata_channel *channel, enum block_operation operation, uint32_t sectors);
void ata_interrupt(const struct ata_channel *channel);

#endif
