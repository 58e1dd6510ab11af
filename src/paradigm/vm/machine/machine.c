/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/machine/machine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "paradigm/vm/machine/acpi.h"
#include "paradigm/vm/machine/arch.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/private.h"

static void signal_event(int event)
{
	const uint64_t one = 1;

	/* Fails only when it is readable anyway. */
	if (write(event, &one, sizeof(one)) < 0)
		return;
}

/* With the lock held. */
static void command(struct machine *machine, enum machine_command command)
{
	__atomic_store_n(&machine->command, command, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&machine->changed);
	if (command != MACHINE_GO)
		for (unsigned i = 0; i < machine->vcpus_count; i++)
			vcpu_kick(&machine->vcpus[i]);
}

void machine_finish(struct machine *machine, enum machine_end end, unsigned code, const char *format, ...)
{
	va_list arguments;

	(void)pthread_mutex_lock(&machine->lock);
	if (machine->end == MACHINE_RUNS) {
		va_start(arguments, format);
		(void)vsnprintf(machine->end_reason, sizeof(machine->end_reason), format, arguments);
		va_end(arguments);
		machine->end_code = code;
		machine->end = end;
		command(machine, MACHINE_QUIT);
		signal_event(machine->end_event);
	}
	(void)pthread_mutex_unlock(&machine->lock);
}

void machine_power(void *context, enum power_event event, uint32_t code)
{
	struct machine *machine = context;

	if (event == POWER_OFF)
		machine_finish(machine, MACHINE_OFF, 0, "the guest powered off");
	else if (event == POWER_RESET)
		machine_finish(machine, MACHINE_RESET, 0, "the guest asked for a reset");
	else
		machine_finish(machine, MACHINE_EXIT, code, "the guest wrote 0x%x to the debug-exit port", code);
}

int machine_end_fd(const struct machine *machine)
{
	return machine->end_event;
}

enum machine_end machine_ended(struct machine *machine, unsigned *code, const char **reason)
{
	enum machine_end end;

	(void)pthread_mutex_lock(&machine->lock);
	end = machine->end;
	if (code)
		*code = machine->end_code;
	if (reason)
		*reason = machine->end_reason; /* written once */
	(void)pthread_mutex_unlock(&machine->lock);
	return end;
}

void machine_stop(struct machine *machine)
{
	machine_finish(machine, MACHINE_OFF, 0, "switched off from outside");
}

static int make_memory(struct machine *machine, const struct vm_config *config, struct error *err)
{
	struct guest_region layout[2];
	size_t count = layout_regions(config->memory, layout);
	int result = config->snapshot_memory >= 0
			     ? guest_memory_map(&machine->memory, layout, count, config->snapshot_memory, err)
			     : guest_memory_make(&machine->memory, layout, count, config->hugepages, err);

	for (size_t i = 0; result == 0 && i < count; i++)
		result = kvm_memory_set(machine->vm, (unsigned)i, 0, layout[i].base, machine->memory.regions[i].host,
					layout[i].size, err);
	return result;
}

static int make_vcpus(struct machine *machine, const struct vm_config *config, struct error *err)
{
	int result = 0;

	machine->vcpus = calloc(config->vcpus, sizeof(*machine->vcpus));
	if (!machine->vcpus)
		return error_errno(err, ENOMEM, "make %u vCPUs", config->vcpus);
	for (unsigned i = 0; result == 0 && i < config->vcpus; i++) {
		struct machine_vcpu *vcpu = &machine->vcpus[i];

		*vcpu = (struct machine_vcpu){ .machine = machine, .index = i, .kvm.fd = -1, .stats = -1, .pin = -1 };
		if (i < config->pins_count)
			vcpu->pin = config->pins[i];
		machine->vcpus_count = i + 1;
		result = kvm_vcpu_create(machine->kvm, machine->vm, i, &vcpu->kvm, err);
		if (result == 0)
			result = arch_vcpu_init(vcpu, err);
		/* Now: later the descriptor is busy while the guest runs. */
		if (result == 0)
			vcpu->stats = kvm_stats_open(vcpu->kvm.fd, NULL);
		if (result < 0)
			return error_wrap(err, "make vCPU %u", i);
	}
	return 0;
}

static void tell_of_room(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) == sizeof(count) && machine->on_room)
		machine->on_room(machine->on_room_context);
}

static int make_events(struct machine *machine, struct loop *loop, struct error *err)
{
	int room = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	machine->end_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->room = (struct loop_source){ .fd = room, .ready = tell_of_room, .context = machine };
	if (room < 0 || machine->end_event < 0)
		return error_errno(err, errno, "make an eventfd");
	if (loop && loop_add(loop, &machine->room, EPOLLIN, err) < 0)
		return -EIO;
	machine->loop = loop;
	return 0;
}

static int boot(struct machine *machine, const struct vm_config *config, struct error *err)
{
	const struct boot_image image = { .kernel = config->kernel,
					  .initrd = config->initrd,
					  .command_line = config->command_line ? config->command_line : "" };
	const struct acpi_facts facts = { .kind = config->kind,
					  .vcpus = config->vcpus,
					  .virtio = machine->windows,
					  .com2 = machine->serial_agent,
					  .pci = config->kind == VM_KIND_VM || config->devices_count > 0,
					  .msi = config->devices_count > 0 };
	struct boot_state state;
	int result = boot_load(&image, &machine->memory, LAYOUT_ACPI, &state, err);

	if (result == 0)
		result = acpi_write(&machine->memory, &facts, err);
	if (result == 0)
		arch_firmware(machine);
	return result < 0 ? result : arch_vcpu_enter(&machine->vcpus[0], &state, err);
}

static int check_config(const struct vm_config *config, struct error *err)
{
	if (config->vcpus == 0 || config->vcpus > VM_VCPUS_MAX)
		return error_set(err, EINVAL, "a machine of %u vCPUs: there can be 1 to %d", config->vcpus,
				 VM_VCPUS_MAX);
	if (config->memory < LAYOUT_RAM_1M || config->memory % 4096)
		return error_set(err, EINVAL, "a machine of %llu bytes of memory: it must be whole pages, and 1 MiB",
				 (unsigned long long)config->memory);
	if (config->devices_count > 0 && config->snapshot >= 0)
		return error_set(err, ENOTSUP, "a machine with devices of the host cannot begin from a snapshot");
	return kvm_check(config->kvm, err);
}

static int make(struct machine *machine, const struct machine_options *options, struct error *err)
{
	const struct vm_config *config = options->config;
	int result = make_events(machine, options->loop, err);

	if (result == 0)
		result = machine->vm = kvm_vm_create(machine->kvm, err);
	if (result < 0)
		return result;
	machine->stats = kvm_stats_open(machine->vm, NULL);
	result = bus_init(&machine->bus, err);
	if (result == 0)
		result = arch_machine_init(machine, err);
	if (result == 0)
		result = make_memory(machine, config, err);
	if (result == 0)
		result = make_vcpus(machine, config, err);
	if (result == 0)
		result = io_open(machine, err);
	if (result == 0)
		result = machine_add_devices(machine, options, err);
	if (result < 0)
		return result;
	return config->snapshot >= 0 ? machine_restore(machine, config->snapshot, err) : boot(machine, config, err);
}

int machine_make(const struct machine_options *options, struct machine **made, struct error *err)
{
	const struct vm_config *config = options->config;
	struct machine *machine;
	int result = check_config(config, err);

	*made = NULL;
	if (result < 0)
		return result;
	machine = calloc(1, sizeof(*machine));
	if (!machine)
		return error_errno(err, ENOMEM, "make a machine");
	machine->kind = config->kind;
	machine->vcpus_wanted = config->vcpus;
	machine->bare = config->oci < 0;
	machine->agent = options->agent;
	machine->thread = options->thread;
	machine->kvm = config->kvm;
	machine->vm = machine->stats = machine->end_event = machine->room.fd = -1;
	machine->memory.fd = -1;
	machine->command = MACHINE_HOLD;
	(void)pthread_mutex_init(&machine->lock, NULL);
	(void)pthread_cond_init(&machine->changed, NULL);
	result = make(machine, options, err);
	if (result < 0) {
		machine_free(machine);
		return result;
	}
	*made = machine;
	return 0;
}

static void resume_devices(struct machine *machine)
{
	for (size_t i = 0; i < machine->devices_count; i++)
		if (machine->devices[i]->ops->resume)
			machine->devices[i]->ops->resume(machine->devices[i]);
}

int machine_start(struct machine *machine, struct error *err)
{
	int result;

	/* Before its thread runs: until then the loop of the devices is ours. */
	if (machine->restored)
		resume_devices(machine);
	machine->restored = false;
	result = io_start(machine, err);
	if (result < 0)
		return result;
	/* Held meanwhile: who ends the machine must know of each thread that there is. */
	(void)pthread_mutex_lock(&machine->lock);
	if (machine->end == MACHINE_RUNS)
		command(machine, MACHINE_GO);
	for (unsigned i = 0; result == 0 && i < machine->vcpus_count; i++)
		result = vcpu_start(&machine->vcpus[i], err);
	(void)pthread_mutex_unlock(&machine->lock);
	if (result < 0)
		machine_stop(machine);
	return result;
}

static void join(struct machine *machine)
{
	machine_stop(machine);
	for (unsigned i = 0; i < machine->vcpus_count; i++)
		if (machine->vcpus[i].started)
			(void)pthread_join(machine->vcpus[i].thread, NULL);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void machine_free(struct machine *machine)
{
	if (!machine)
		return;
	join(machine);
	io_stop(machine);
	while (machine->devices_count > 0) {
		struct device *device = machine->devices[--machine->devices_count];

		device->ops->free(device);
	}
	machine_free_passthrough(machine);
	for (unsigned i = 0; i < machine->vcpus_count; i++) {
		close_fd(machine->vcpus[i].stats);
		kvm_vcpu_close(&machine->vcpus[i].kvm);
	}
	free(machine->vcpus);
	io_close(machine);
	close_fd(machine->stats);
	close_fd(machine->vm);
	guest_memory_free(&machine->memory);
	bus_free(&machine->bus);
	if (machine->loop)
		loop_remove(machine->loop, &machine->room);
	close_fd(machine->room.fd);
	close_fd(machine->end_event);
	(void)pthread_cond_destroy(&machine->changed);
	(void)pthread_mutex_destroy(&machine->lock);
	free(machine);
}

size_t machine_console_input(struct machine *machine, const void *bytes, size_t count)
{
	return serial_input(machine->console, bytes, count);
}

ssize_t machine_console_try_input(struct machine *machine, const void *bytes, size_t count)
{
	return serial_try_input(machine->console, bytes, count);
}

void machine_on_room(struct machine *machine, void (*room)(void *context), void *context)
{
	machine->on_room_context = context;
	machine->on_room = room;
}

void machine_quiesce(struct machine *machine)
{
	for (size_t i = 0; i < machine->devices_count; i++)
		if (machine->devices[i]->ops->quiesce)
			machine->devices[i]->ops->quiesce(machine->devices[i]);
}

int machine_pause(struct machine *machine, struct error *err)
{
	bool ended;

	(void)pthread_mutex_lock(&machine->lock);
	if (machine->command == MACHINE_GO)
		command(machine, MACHINE_HOLD);
	while (machine->command == MACHINE_HOLD && machine->parked < machine->vcpus_count && machine->vcpus[0].started)
		(void)pthread_cond_wait(&machine->changed, &machine->lock);
	ended = machine->end != MACHINE_RUNS;
	(void)pthread_mutex_unlock(&machine->lock);
	if (ended)
		return error_set(err, ESRCH, "the machine has ended: %s", machine->end_reason);
	machine_quiesce(machine);
	return 0;
}

int machine_resume(struct machine *machine, struct error *err)
{
	resume_devices(machine);
	/* So that the guest's watchdogs see no lockup; without a clock of KVM's, it sees one. */
	for (unsigned i = 0; i < machine->vcpus_count; i++)
		(void)kvm_clock_stopped(&machine->vcpus[i].kvm);
	(void)pthread_mutex_lock(&machine->lock);
	if (machine->command == MACHINE_HOLD)
		command(machine, MACHINE_GO);
	(void)pthread_mutex_unlock(&machine->lock);
	(void)err;
	return 0;
}
