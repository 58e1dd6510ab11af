/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for ATA disks: an input is what a guest does to the ports of both channels.
 *
 *     0 port:1 value:1     writes a register            3 count:1   reads that many words of data
 *     1 port:1             reads one                    4 count:1   writes that many
 *     2                    lets the drives work         5           saves and restores the disks
 *     6 at:1 value:1       the same, damaged            7           resets them
 *
 * The upper bit of an operation is the channel, the next one the size of words: 2 or 4 bytes.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/block/block.h"
#include "paradigm/vm/device/ata.h"
#include "paradigm/vm/machine/state.h"

enum { DISK = 200 << 10, OPERATIONS_MAX = 4096 };

struct board {
	struct loop loop;
	struct device *ata;
};

/* One master in each channel, and a slave in the first. */
static struct block *drive(struct loop *loop, unsigned index)
{
	struct block_source source = { .fd = memfd_create("disk", MFD_CLOEXEC), .format = BLOCK_RAW };
	struct block *block = NULL;

	if (index == 3)
		return close(source.fd), NULL;
	source.threads = true; /* rings take longer to make than all that is done with them */
	check(source.fd >= 0 && ftruncate(source.fd, DISK) == 0);
	check(block_open(&source, loop, &block, NULL) == 0);
	return block;
}

static void set_up(struct board *board)
{
	struct block *drives[ATA_CHANNELS * ATA_DRIVES];
	const char *const serials[ATA_CHANNELS * ATA_DRIVES] = { "disk0" };
	struct interrupt interrupts[ATA_CHANNELS];

	check(loop_open(&board->loop, NULL) == 0);
	for (unsigned i = 0; i < ATA_CHANNELS * ATA_DRIVES; i++)
		drives[i] = drive(&board->loop, i);
	for (unsigned i = 0; i < ATA_CHANNELS; i++)
		interrupts[i] = (struct interrupt){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	check(ata_make(drives, serials, interrupts, &board->loop, &board->ata, NULL) == 0);
}

static void touch(struct board *board, unsigned range, uint64_t offset, void *bytes, unsigned size, int writes)
{
	if (writes)
		board->ata->ops->write(board->ata, range, offset, bytes, size);
	else
		board->ata->ops->read(board->ata, range, offset, bytes, size);
}

/* By the control registers: what was begun is abandoned, and interrupts are let through again. */
static void reset(struct board *board)
{
	uint8_t soft_reset = 4, nothing = 0;

	for (unsigned i = 0; i < ATA_CHANNELS; i++) {
		touch(board, i * 2 + 1, 0, &soft_reset, 1, 1);
		touch(board, i * 2 + 1, 0, &nothing, 1, 1);
	}
}

/* at, value: a byte that is something else when it comes back. */
static void save_and_restore(struct board *board, const uint8_t *damage)
{
	struct state_writer writer = { .out = STR_INIT };
	struct state_reader reader;
	int ret;

	board->ata->ops->quiesce(board->ata);
	board->ata->ops->save(board->ata, &writer);
	check(!str_failed(&writer.out));
	if (damage && damage[0] < writer.out.length)
		writer.out.text[damage[0]] = (char)damage[1];
	state_reader_init(&reader, writer.out.text, writer.out.length);
	ret = board->ata->ops->restore(board->ata, &reader, NULL);
	check(damage || ret == 0);
	if (ret < 0)
		reset(board);
	str_free(&writer.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Disks have threads, which take longer to make than all that is done with them: what they hold stays. */
	static struct board board;
	const uint8_t *end = data + size;

	if (!board.ata)
		set_up(&board);
	for (unsigned i = 0; i < OPERATIONS_MAX && end - data >= 3; i++, data += 3) {
		unsigned channel = data[0] >> 7, word = data[0] & 0x40 ? 4 : 2, operation = data[0] & 7;
		unsigned control = data[1] >> 7;
		uint8_t bytes[8] = { data[2], (uint8_t)i };

		if (operation < 2)
			touch(&board, channel * 2 + control, control ? 0 : data[1] & 7, bytes, 1, operation == 0);
		else if (operation == 2)
			(void)loop_wait(&board.loop, data[1] & 1, NULL);
		else if (operation < 5)
			for (unsigned k = 0; k <= data[1]; k++)
				touch(&board, channel * 2, 0, bytes, word, operation == 4);
		else if (operation < 7)
			save_and_restore(&board, operation == 6 ? data + 1 : NULL);
		else
			reset(&board);
	}
	board.ata->ops->quiesce(board.ata);
	reset(&board);
	return 0;
}
