/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that stands still, into two files and out of them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "paradigm/vm/machine/arch.h"

enum { MACHINE_VERSION = 1, DEVICE_VERSION = 1, STATE_MAX = 64 << 20 };

static void save_machine(const struct machine *machine, struct state_writer *writer)
{
	state_begin(writer, "machine", MACHINE_VERSION);
	state_put_u32(writer, machine->kind);
	state_put_u32(writer, machine->bare);
	state_put_u32(writer, machine->vcpus_count);
	state_put_u32(writer, (uint32_t)machine->memory.count);
	for (size_t i = 0; i < machine->memory.count; i++)
		state_put_u64(writer, machine->memory.regions[i].size);
	state_end(writer);
}

static void save_devices(struct machine *machine, struct state_writer *writer)
{
	for (size_t i = 0; i < machine->devices_count; i++) {
		struct device *device = machine->devices[i];

		if (!device->ops->save)
			continue;
		state_begin(writer, device->ops->name, DEVICE_VERSION);
		(void)pthread_mutex_lock(&device->lock);
		device->ops->save(device, writer);
		(void)pthread_mutex_unlock(&device->lock);
		state_end(writer);
	}
}

int machine_save(struct machine *machine, int state, int memory, struct error *err)
{
	struct state_writer writer = { .out = STR_INIT };
	int result;

	if (machine->passthrough)
		return error_set(err, ENOTSUP, "a machine with devices of the host cannot be saved");
	save_machine(machine, &writer);
	result = arch_save(machine, &writer, err);
	if (result == 0)
		save_devices(machine, &writer);
	if (result == 0 && writer.disk_error < 0)
		result = error_errno(err, -writer.disk_error, "write the machine's disks");
	if (result == 0 && str_failed(&writer.out))
		result = error_errno(err, ENOMEM, "save the machine's state");
	if (result == 0) {
		result = ftruncate(state, 0) < 0 ? -errno : 0;
		if (result == 0)
			result = file_write_all(state, writer.out.text, writer.out.length);
		if (result < 0)
			(void)error_errno(err, -result, "write the machine's state");
	}
	str_free(&writer.out);
	return result < 0 ? result : guest_memory_save(&machine->memory, memory, err);
}

/* What was saved must be what was made, else nothing fits. */
static int check_machine(const struct machine *machine, struct state_reader *reader, struct error *err)
{
	uint32_t kind, bare, vcpus, regions;
	bool same;

	if (state_enter(reader, "machine", MACHINE_VERSION, err) < 0)
		return -EINVAL;
	kind = state_get_u32(reader);
	bare = state_get_u32(reader);
	vcpus = state_get_u32(reader);
	regions = state_get_u32(reader);
	if (vcpus != machine->vcpus_count)
		return error_set(err, EINVAL, "the snapshot is of a machine with %u vCPUs, and this one has %u", vcpus,
				 machine->vcpus_count);
	same = kind == (uint32_t)machine->kind && bare == machine->bare && regions == machine->memory.count;
	for (size_t i = 0; same && i < machine->memory.count; i++)
		same = state_get_u64(reader) == machine->memory.regions[i].size;
	if (!same)
		return error_set(err, EINVAL, "the snapshot is of a machine of another kind, or with other memory");
	return state_leave(reader, err);
}

static int restore_devices(struct machine *machine, struct state_reader *reader, struct error *err)
{
	for (size_t i = 0; i < machine->devices_count; i++) {
		struct device *device = machine->devices[i];
		int result;

		if (!device->ops->save)
			continue;
		if (state_enter(reader, device->ops->name, DEVICE_VERSION, err) < 0)
			return -EINVAL;
		(void)pthread_mutex_lock(&device->lock);
		result = device->ops->restore(device, reader, err);
		(void)pthread_mutex_unlock(&device->lock);
		if (result < 0 || state_leave(reader, err) < 0)
			return error_wrap(err, "restore %s", device->ops->name);
	}
	return 0;
}

int machine_restore(struct machine *machine, int state, struct error *err)
{
	cleanup_free char *bytes = NULL;
	struct state_reader reader;
	size_t size;
	int result;

	if (lseek(state, 0, SEEK_SET) < 0)
		return error_errno(err, errno, "read the snapshot");
	result = file_read_fd(state, STATE_MAX, &bytes, &size, err);
	if (result < 0)
		return error_wrap(err, "read the snapshot");
	state_reader_init(&reader, bytes, size);
	result = check_machine(machine, &reader, err);
	if (result == 0)
		result = arch_restore(machine, &reader, err);
	if (result == 0) {
		machine_quiesce(machine);
		machine->restored = true;
		result = restore_devices(machine, &reader, err);
	}
	/* What follows is the machine's owner's. */
	return result;
}
