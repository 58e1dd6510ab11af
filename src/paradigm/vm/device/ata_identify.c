/* SPDX-License-Identifier: Apache-2.0 */
/* IDENTIFY DEVICE: ATA/ATAPI-6, 8.15, table 20. */
#include <string.h>

#include "paradigm/vm/device/ata_private.h"

#define LBA28_MAX UINT64_C(0x0fffffff)

static void put(uint8_t *data, unsigned word, uint64_t value)
{
	data[word * 2] = (uint8_t)value;
	data[word * 2 + 1] = (uint8_t)(value >> 8);
}

/* Texts have the first of two characters in the upper byte, and end with spaces. */
static void put_text(uint8_t *data, unsigned word, unsigned words, const char *text, size_t room)
{
	size_t length = strnlen(text, room);

	for (size_t i = 0; i < (size_t)words * 2; i++)
		data[(size_t)word * 2 + (i ^ 1)] = i < length ? (uint8_t)text[i] : ' ';
}

void ata_identify(const struct ata_drive *drive, uint8_t data[static ATA_SECTOR])
{
	uint64_t sectors = block_size(drive->block) / ATA_SECTOR;
	uint64_t small = sectors < LBA28_MAX ? sectors : LBA28_MAX;
	uint64_t cylinders = sectors / ((uint64_t)ATA_HEADS * ATA_SECTORS_PER_TRACK);
	uint64_t by_head = drive->heads && drive->sectors ? sectors / ((uint64_t)drive->heads * drive->sectors) : 0;

	memset(data, 0, ATA_SECTOR);
	cylinders = cylinders < 16383 ? cylinders : 16383;
	by_head = by_head < 65535 ? by_head : 65535;
	put(data, 0, 0x0040); /* a fixed disk */
	put(data, 1, cylinders);
	put(data, 3, ATA_HEADS);
	put(data, 6, ATA_SECTORS_PER_TRACK);
	put_text(data, 10, 10, drive->serial, sizeof(drive->serial));
	put_text(data, 23, 4, "1", 1);
	put_text(data, 27, 20, "CAISSON DISK", 20);
	put(data, 47, 0x8000 | ATA_MULTIPLE_MAX);
	put(data, 49, 1 << 9 | 1 << 11); /* LBA, IORDY; no DMA */
	put(data, 50, 0x4000);
	put(data, 51, 0x0200); /* PIO mode 2, and 64: more */
	put(data, 53, 1 | 2);
	put(data, 54, by_head);
	put(data, 55, drive->heads);
	put(data, 56, drive->sectors);
	by_head *= (uint64_t)drive->heads * drive->sectors;
	put(data, 57, by_head & 0xffff);
	put(data, 58, by_head >> 16);
	put(data, 59, drive->multiple ? 0x0100 | drive->multiple : 0);
	put(data, 60, small & 0xffff);
	put(data, 61, small >> 16);
	put(data, 64, 3); /* PIO modes 3 and 4 */
	put(data, 67, 120);
	put(data, 68, 120);
	put(data, 80, 0x7e); /* up to ATA/ATAPI-6 */
	put(data, 82, 1 << 5);
	put(data, 83, 0x4000 | 1 << 13 | 1 << 12 | 1 << 10); /* FLUSH CACHE EXT, FLUSH CACHE, 48 bits */
	put(data, 84, 0x4000);
	put(data, 85, drive->write_cache ? 1 << 5 : 0);
	put(data, 86, 1 << 13 | 1 << 12 | 1 << 10);
	put(data, 87, 0x4000);
	put(data, 93, 0x4000 | 1 << 13 | 1); /* hardware reset, 80 wires */
	for (unsigned i = 0; i < 4; i++)
		put(data, 100 + i, sectors >> (16 * i) & 0xffff);
	put(data, 106, 0x4000 | 1 << 13 | 3); /* 8 logical sectors in a physical one */
}
