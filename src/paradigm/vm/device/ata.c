/* SPDX-License-Identifier: Apache-2.0 */
/* The registers, and who does what in which thread. */
#include "paradigm/vm/device/ata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "paradigm/vm/device/ata_private.h"
#include "paradigm/vm/machine/state.h"

enum {
	STATE_VERSION = 1,
	PIIX_VENDOR = 0x8086,
	PIIX3_IDE = 0x7010,
	PIIX_CLASS = 0x010180, /* IDE, both channels where they have always been */
	PIIX_TIMING = 0x40,    /* of each channel, 16 bits; the highest one switches it on */
	PIIX_TIMING_END = 0x45,
	PIIX_SLOT = 0,
};

static struct ata *ata_of(struct device *device)
{
	return (struct ata *)(void *)device;
}

static bool has_drives(const struct ata_channel *channel)
{
	return channel->drives[0].block || channel->drives[1].block;
}

struct ata_drive *ata_selected(struct ata_channel *channel)
{
	struct ata_drive *drive = &channel->drives[channel->registers[ATA_DEVICE] & ATA_DRIVE1 ? 1 : 0];

	return drive->block ? drive : NULL;
}

void ata_interrupt(const struct ata_channel *channel)
{
	if (!(channel->control & ATA_NO_INTERRUPT))
		interrupt_pulse(&channel->interrupt);
}

/* ---- the drives' work ---- */

void ata_work_begin(struct ata_channel *channel, enum block_operation operation, uint32_t sectors)
{
	channel->request.operation = operation;
	channel->request.offset = operation == BLOCK_FLUSH ? 0 : channel->sector * ATA_SECTOR;
	channel->request.size = (uint64_t)sectors * ATA_SECTOR;
	channel->wanted = true;
	(void)eventfd_write(channel->ata->work.fd, 1);
}

static void done(struct block_request *request, int result)
{
	struct ata_channel *channel = request->context;

	channel->finished = true;
	channel->result = result;
}

/* With the lock held, in the loop's thread. */
static void tell(struct ata *ata)
{
	for (unsigned i = 0; i < ATA_CHANNELS; i++) {
		struct ata_channel *channel = &ata->channels[i];

		if (!channel->finished)
			continue;
		channel->finished = false;
		channel->running = false;
		ata_work_ended(channel, channel->result);
	}
}

static void begin(struct ata_channel *channel)
{
	enum block_operation operation = channel->request.operation;

	channel->wanted = false;
	channel->running = true;
	channel->iov = (struct iovec){ .iov_base = channel->buffer, .iov_len = channel->request.size };
	channel->request = (struct block_request){ .operation = operation,
						   .offset = channel->request.offset,
						   .size = channel->request.size,
						   .iov = &channel->iov,
						   .iov_count = operation == BLOCK_FLUSH ? 0 : 1,
						   .done = done,
						   .context = channel };
	block_submit(channel->drive->block, &channel->request);
	block_kick(channel->drive->block);
}

/* What is wanted is begun, and what ends at once is told, until nothing is wanted. */
static void work(struct ata *ata)
{
	bool more;

	do {
		more = false;
		for (unsigned i = 0; i < ATA_CHANNELS; i++)
			if (ata->channels[i].wanted) {
				begin(&ata->channels[i]);
				more = true;
			}
		tell(ata);
	} while (more);
}

/* Brings everything to its end: nothing is under way, and all is in the files. */
static void drain(struct ata *ata)
{
	work(ata);
	for (unsigned i = 0; i < ATA_CHANNELS * ATA_DRIVES; i++) {
		struct block *block = ata->channels[i / ATA_DRIVES].drives[i % ATA_DRIVES].block;
		int ret = block ? block_drain(block) : 0;

		if (ret < 0) /* the guest's to learn by its own flushes, and no snapshot's */
			ata->disk_error = ret;
		tell(ata);
		work(ata);
	}
}

static bool is_busy(const struct ata *ata)
{
	for (unsigned i = 0; i < ATA_CHANNELS; i++)
		if (ata->channels[i].wanted || ata->channels[i].running)
			return true;
	return false;
}

static void drain_all(struct ata *ata)
{
	do
		drain(ata);
	while (is_busy(ata));
}

static void work_wanted(struct loop_source *source, uint32_t events)
{
	struct ata *ata = source->context;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(source->fd, &count);
	(void)pthread_mutex_lock(&ata->device.lock);
	work(ata);
	if (ata->drain) {
		drain_all(ata);
		ata->drain = false;
		(void)pthread_cond_broadcast(&ata->drained);
	}
	(void)pthread_mutex_unlock(&ata->device.lock);
}

static void batch_ended(void *context)
{
	struct ata *ata = context;

	(void)pthread_mutex_lock(&ata->device.lock);
	tell(ata);
	work(ata);
	(void)pthread_mutex_unlock(&ata->device.lock);
}

static void ata_quiesce(struct device *device)
{
	struct ata *ata = ata_of(device);

	(void)pthread_mutex_lock(&device->lock);
	if (!loop_is_elsewhere(ata->loop)) {
		drain_all(ata);
	} else {
		ata->drain = true;
		(void)eventfd_write(ata->work.fd, 1);
		while (ata->drain)
			(void)pthread_cond_wait(&ata->drained, &device->lock);
	}
	(void)pthread_mutex_unlock(&device->lock);
}

/* ---- registers ---- */

static void move(struct ata_channel *channel, bool in, void *data, unsigned size)
{
	uint32_t count = channel->end - channel->at < size ? channel->end - channel->at : size;
	bool wanted = channel->status & ATA_DATA_REQUEST && in == (channel->transfer != ATA_TRANSFER_OUT);

	if (!wanted)
		return;
	if (in)
		memcpy(data, channel->buffer + channel->at, count);
	else
		memcpy(channel->buffer + channel->at, data, count);
	channel->at += count;
	if (channel->at == channel->end)
		ata_block_moved(channel);
}

static uint8_t read_register(struct ata_channel *channel, uint64_t offset)
{
	const struct ata_drive *drive = ata_selected(channel);

	if (offset == ATA_DEVICE)
		return channel->registers[ATA_DEVICE];
	if (!drive)
		return 0; /* drive 0 answers for drive 1: 9.16 */
	if (offset == ATA_COMMAND)
		return channel->status;
	if (channel->status & ATA_BUSY)
		return channel->status; /* 7.15: the other registers are not to be looked at */
	if (offset == ATA_FEATURES)
		return channel->error;
	return channel->control & ATA_HIGH_BYTES ? channel->high[offset] : channel->registers[offset];
}

static void write_register(struct ata_channel *channel, uint64_t offset, uint8_t value)
{
	if (channel->status & (ATA_BUSY | ATA_DATA_REQUEST) && offset != ATA_COMMAND)
		return;
	if (offset != ATA_COMMAND) {
		channel->control &= (uint8_t)~ATA_HIGH_BYTES;
		channel->high[offset] = channel->registers[offset];
		channel->registers[offset] = value;
	} else if (!(channel->status & ATA_BUSY) && ata_selected(channel)) {
		ata_command(channel, value);
	}
}

static void write_control(struct ata_channel *channel, uint8_t value)
{
	uint8_t before = channel->control;

	channel->control = value;
	if ((before ^ value) & ATA_SOFT_RESET)
		ata_channel_reset(channel);
}

static void ata_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	struct ata_channel *channel = &ata_of(device)->channels[range / 2];

	memset(data, 0xff, size);
	if (!has_drives(channel) || offset >= ATA_REGISTERS)
		return;
	if (range % 2 == 0 && offset == ATA_DATA)
		move(channel, true, data, size);
	else
		*(uint8_t *)data = read_register(channel, range % 2 == 0 ? offset : ATA_COMMAND);
}

static void ata_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct ata_channel *channel = &ata_of(device)->channels[range / 2];
	uint8_t bytes[8];

	if (!has_drives(channel) || offset >= ATA_REGISTERS || size > sizeof(bytes))
		return;
	memcpy(bytes, data, size);
	if (range % 2 == 1)
		write_control(channel, bytes[0]);
	else if (offset == ATA_DATA)
		move(channel, false, bytes, size);
	else
		write_register(channel, offset, bytes[0]);
}

/* ---- snapshots ---- */

static void save_channel(const struct ata_channel *channel, struct state_writer *writer)
{
	state_put(writer, channel->registers, sizeof(channel->registers));
	state_put(writer, channel->high, sizeof(channel->high));
	state_put_u32(writer, channel->status | (uint32_t)channel->error << 8 | (uint32_t)channel->control << 16);
	state_put_u32(writer, channel->transfer);
	state_put_u32(writer, channel->drive == &channel->drives[1]);
	state_put_u64(writer, channel->sector);
	state_put_u32(writer, channel->left);
	state_put_u32(writer, channel->per_block);
	state_put_u32(writer, channel->filled);
	state_put_u32(writer, channel->at);
	state_put_u32(writer, channel->end);
	for (unsigned i = 0; i < ATA_DRIVES; i++)
		state_put_u32(writer, channel->drives[i].multiple | (uint32_t)channel->drives[i].heads << 8 |
					      (uint32_t)channel->drives[i].sectors << 16 |
					      (uint32_t)channel->drives[i].write_cache << 24);
	if (channel->transfer != ATA_TRANSFER_NONE)
		state_put(writer, channel->buffer, channel->filled);
}

static void ata_save(struct device *device, struct state_writer *writer)
{
	const struct ata *ata = ata_of(device);

	state_begin(writer, "ata", STATE_VERSION);
	for (unsigned i = 0; i < ATA_CHANNELS; i++)
		save_channel(&ata->channels[i], writer);
	state_end(writer);
	if (ata->disk_error < 0)
		writer->disk_error = ata->disk_error;
}

/* Everything that is relied on elsewhere. */
static bool is_sound(const struct ata_channel *channel)
{
	uint64_t sectors;

	if (channel->transfer == ATA_TRANSFER_NONE)
		return !(channel->status & ATA_DATA_REQUEST);
	if (channel->transfer > ATA_TRANSFER_IDENTIFY || !channel->drive->block)
		return false;
	sectors = block_size(channel->drive->block) / ATA_SECTOR;
	return channel->per_block >= 1 && channel->per_block <= ATA_MULTIPLE_MAX && channel->at < channel->end &&
	       channel->end <= channel->filled && channel->filled <= ATA_BUFFER_SECTORS * ATA_SECTOR &&
	       channel->filled % ATA_SECTOR == 0 && channel->left <= 65536 && channel->sector <= sectors &&
	       channel->left <= sectors - channel->sector &&
	       (channel->transfer != ATA_TRANSFER_OUT || channel->filled / ATA_SECTOR <= channel->left) &&
	       (channel->transfer != ATA_TRANSFER_IDENTIFY || channel->left == 0);
}

static bool restore_channel(struct ata_channel *channel, struct state_reader *reader)
{
	uint32_t value;

	(void)state_get(reader, channel->registers, sizeof(channel->registers));
	(void)state_get(reader, channel->high, sizeof(channel->high));
	value = state_get_u32(reader);
	channel->status = (uint8_t)value;
	channel->error = (uint8_t)(value >> 8);
	channel->control = (uint8_t)(value >> 16);
	channel->transfer = state_get_u32(reader);
	channel->drive = &channel->drives[state_get_u32(reader) ? 1 : 0];
	channel->sector = state_get_u64(reader);
	channel->left = state_get_u32(reader);
	channel->per_block = state_get_u32(reader);
	channel->filled = state_get_u32(reader);
	channel->at = state_get_u32(reader);
	channel->end = state_get_u32(reader);
	for (unsigned i = 0; i < ATA_DRIVES; i++) {
		value = state_get_u32(reader);
		channel->drives[i].multiple = (uint8_t)value & (2 * ATA_MULTIPLE_MAX - 1);
		if (channel->drives[i].multiple > ATA_MULTIPLE_MAX)
			return false;
		channel->drives[i].heads = (uint8_t)(value >> 8);
		channel->drives[i].sectors = (uint8_t)(value >> 16);
		channel->drives[i].write_cache = value >> 24;
	}
	if (reader->failed || !is_sound(channel))
		return false;
	return channel->transfer == ATA_TRANSFER_NONE || state_get(reader, channel->buffer, channel->filled);
}

static int ata_restore(struct device *device, struct state_reader *reader, struct error *err)
{
	struct ata *ata = ata_of(device);
	int ret = state_enter(reader, "ata", STATE_VERSION, err);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < ATA_CHANNELS; i++)
		if (!restore_channel(&ata->channels[i], reader)) {
			ata->channels[i].transfer = ATA_TRANSFER_NONE;
			ata->channels[i].status = 0;
			return error_set(err, EINVAL, "the snapshot's state of the ATA disks is damaged");
		}
	ret = state_leave(reader, err);
	for (unsigned i = 0; ret == 0 && i < ATA_CHANNELS; i++)
		if (has_drives(&ata->channels[i]))
			ata_interrupt(&ata->channels[i]); /* see device.h */
	return ret;
}

/* ---- from beginning to end ---- */

static void ata_free(struct device *device)
{
	struct ata *ata = ata_of(device);

	for (unsigned i = 0; i < ATA_CHANNELS; i++) {
		struct ata_channel *channel = &ata->channels[i];

		for (unsigned j = 0; j < ATA_DRIVES; j++)
			block_close(channel->drives[j].block);
		if (channel->interrupt.fd >= 0)
			close(channel->interrupt.fd);
		free(channel->buffer);
	}
	loop_remove(ata->loop, &ata->work);
	close(ata->work.fd);
	(void)pthread_cond_destroy(&ata->drained);
	(void)pthread_mutex_destroy(&device->lock);
	free(ata);
}

static const struct device_ops ata_ops = {
	.name = "ata",
	.read = ata_read,
	.write = ata_write,
	.save = ata_save,
	.restore = ata_restore,
	.quiesce = ata_quiesce,
	.free = ata_free,
};

static void make_channel(struct ata *ata, unsigned index, struct block *const *drives, const char *const *serials,
			 const struct interrupt *interrupt)
{
	struct ata_channel *channel = &ata->channels[index];

	channel->ata = ata;
	channel->interrupt = *interrupt;
	channel->drive = &channel->drives[0];
	for (unsigned i = 0; i < ATA_DRIVES; i++) {
		struct ata_drive *drive = &channel->drives[i];
		const char *serial = serials ? serials[index * ATA_DRIVES + i] : NULL;

		drive->block = drives[index * ATA_DRIVES + i];
		if (serial)
			memcpy(drive->serial, serial, strnlen(serial, sizeof(drive->serial)));
		if (drive->block)
			block_on_batch(drive->block, batch_ended, ata);
	}
	ata_channel_reset(channel);
}

int ata_make(struct block *const drives[ATA_CHANNELS * ATA_DRIVES],
	     const char *const serials[ATA_CHANNELS * ATA_DRIVES], const struct interrupt interrupts[ATA_CHANNELS],
	     struct loop *loop, struct device **device, struct error *err)
{
	struct ata *ata = calloc(1, sizeof(*ata));
	int ret = ata ? 0 : -ENOMEM;

	for (unsigned i = 0; ret == 0 && i < ATA_CHANNELS; i++) {
		ata->channels[i].buffer = malloc((size_t)ATA_BUFFER_SECTORS * ATA_SECTOR);
		ret = ata->channels[i].buffer ? 0 : -ENOMEM;
	}
	if (ret == 0) {
		ata->work = (struct loop_source){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
						  .ready = work_wanted,
						  .context = ata };
		ret = ata->work.fd < 0 ? -errno : 0;
	}
	if (ret == 0) {
		ret = loop_add(loop, &ata->work, EPOLLIN, NULL);
		if (ret < 0)
			close(ata->work.fd);
	}
	if (ret < 0) {
		for (unsigned i = 0; ata && i < ATA_CHANNELS; i++)
			free(ata->channels[i].buffer);
		free(ata);
		return error_errno(err, -ret, "cannot make ATA disks");
	}
	ata->loop = loop;
	device_init(&ata->device, &ata_ops);
	(void)pthread_cond_init(&ata->drained, NULL);
	for (unsigned i = 0; i < ATA_CHANNELS; i++)
		make_channel(ata, i, drives, serials, &interrupts[i]);
	*device = &ata->device;
	return 0;
}

int ata_add_pci(struct device *device, struct pci_host *host, struct error *err)
{
	struct ata *ata = ata_of(device);
	struct pci_function *function = &ata->function;

	pci_function_init(function, PIIX_VENDOR, PIIX3_IDE, PIIX_CLASS, false);
	for (unsigned i = PIIX_TIMING; i < PIIX_TIMING_END; i++)
		function->writable[i] = 0xff;
	for (unsigned i = 0; i < ATA_CHANNELS; i++)
		function->config[PIIX_TIMING + 2 * i + 1] = has_drives(&ata->channels[i]) ? 0x80 : 0;
	return pci_add(host, function, PIIX_SLOT, err);
}
