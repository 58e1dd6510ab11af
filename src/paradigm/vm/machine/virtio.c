/* SPDX-License-Identifier: Apache-2.0 */
/* The paravirtual devices of a machine, each in its window. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "linux/tun.h"
#include "paradigm/vm/machine/layout.h"
#include "paradigm/vm/machine/private.h"
#include "paradigm/vm/virtio/balloon.h"
#include "paradigm/vm/virtio/blk.h"
#include "paradigm/vm/virtio/console.h"
#include "paradigm/vm/virtio/fs.h"
#include "paradigm/vm/virtio/net.h"
#include "paradigm/vm/virtio/rng.h"
#include "paradigm/vm/virtio/virtio.h"
#include "paradigm/vm/virtio/vsock.h"

/* Its window, its line, and its queues' doorbells: a driver's kick wakes the loop without a way through here. */
static int connect_device(struct machine *machine, struct device *device, struct error *err)
{
	struct virtio *virtio = (struct virtio *)(void *)device;
	unsigned window = machine->windows++;
	uint64_t base = layout_virtio_base(window);
	int result = machine_own_at(machine, device, BUS_MEMORY, base, LAYOUT_VIRTIO_SIZE, err);

	if (result == 0 && window >= LAYOUT_VIRTIO_MAX)
		return error_set(err, ENOSPC, "a machine with more than %d virtio devices", LAYOUT_VIRTIO_MAX);
	if (result < 0)
		return result;
	result = machine_edges(machine, layout_virtio_irq(window), err);
	if (result < 0)
		return result;
	virtio->interrupt.fd = result;
	result = 0;
	for (unsigned i = 0; result == 0 && i < virtio->queues_count; i++)
		result = kvm_ioeventfd_add(machine->vm,
					   &(struct kvm_doorbell){ .eventfd = virtio->notifiers[i].source.fd,
								   .address = base + VIRTIO_MMIO_QUEUE_NOTIFY,
								   .size = 4,
								   .match = true,
								   .value = i },
					   err);
	return result;
}

static void take_output(void *context, const void *bytes, size_t count)
{
	const struct machine *machine = context;

	machine->agent.output(machine->agent.context, bytes, count);
}

static int add_console(struct machine *machine, struct error *err)
{
	/* A port: the driver of a console spins, with interrupts off, until what it says is taken. */
	const struct virtio_console_options console = {
		.name = "agent", .output = take_output, .room = machine_room, .context = machine
	};
	int result = virtio_console_make(&console, &machine->memory, machine->loop, &machine->virtio_agent, err);

	return result < 0 ? result : connect_device(machine, machine->virtio_agent, err);
}

int machine_mac(const char *text, uint8_t mac[static 6], struct error *err)
{
	unsigned bytes[6];
	char end;

	if (!text || strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5],
		   &end) != 6)
		return error_set(err, EINVAL, "\"%s\" is no address of a network card", text ? text : "");
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)bytes[i];
	return 0;
}

static int add_net(struct machine *machine, const struct vm_net *net, struct error *err)
{
	struct virtio_net_options options = { .pairs = (unsigned)net->taps_count };
	struct device *device;
	int result = machine_mac(net->mac, options.mac, err);

	for (size_t i = 0; result == 0 && i < net->taps_count; i++) {
		options.taps[i] = net->taps[i];
		options.vhosts[i] = i < net->vhosts_count ? net->vhosts[i] : -1;
		result = tap_adopt(net->taps[i], NULL, err);
	}
	if (result < 0)
		return result;
	/* A property of the tap, not of its queues. */
	options.offload = virtio_net_offload(net->taps[0]);
	result = virtio_net_make(&options, &machine->memory, &machine->io.loop, &device, err);
	return result < 0 ? result : connect_device(machine, device, err);
}

static int add_balloon(struct machine *machine, struct error *err)
{
	/* A balloon that lets go when memory is short does no harm. */
	int result = virtio_balloon_make(true, &machine->memory, machine->loop, &machine->balloon, err);

	return result < 0 ? result : connect_device(machine, machine->balloon, err);
}

static int add_disk(struct machine *machine, const struct vm_disk *disk, size_t number, struct error *err)
{
	unsigned queues = machine->vcpus_wanted < VIRTIO_BLK_QUEUES_MAX ? machine->vcpus_wanted : VIRTIO_BLK_QUEUES_MAX;
	struct device *device;
	struct block *block;
	char serial[32];
	int result = machine_open_disk(machine, disk, &block, err);

	if (result < 0)
		return result;
	(void)snprintf(serial, sizeof(serial), "disk%zu", number);
	result = virtio_blk_make(block, queues, serial, &machine->memory, &machine->io.loop, &device, err);
	if (result < 0) {
		block_close(block);
		return result;
	}
	return connect_device(machine, device, err);
}

static int add_share(struct machine *machine, const struct vm_share *share, struct error *err)
{
	struct device *device;
	int result = virtio_fs_make(share->tag, share->server, &machine->memory, &machine->io.loop, &device, err);

	return result < 0 ? result : connect_device(machine, device, err);
}

/* The directory becomes the device's: the configuration keeps its own. */
static int add_vsock(struct machine *machine, const struct vm_config *config, struct error *err)
{
	int directory = fcntl(config->vsock, F_DUPFD_CLOEXEC, 3);
	struct device *device;
	int result;

	if (directory < 0)
		return error_errno(err, errno, "virtio-vsock");
	result = virtio_vsock_make(config->cid, directory, &machine->memory, machine->loop, &device, err);
	return result < 0 ? result : connect_device(machine, device, err);
}

static int add_rng(struct machine *machine, struct error *err)
{
	struct device *device;
	int result = virtio_rng_make(&machine->memory, machine->loop, &device, err);

	return result < 0 ? result : connect_device(machine, device, err);
}

int machine_add_virtio(struct machine *machine, const struct machine_options *options, struct error *err)
{
	const struct vm_config *config = options->config;
	int result = 0;

	if (options->agent.output)
		result = add_console(machine, err);
	for (size_t i = 0; result == 0 && i < config->disks_count; i++)
		result = add_disk(machine, &config->disks[i], i, err);
	for (size_t i = 0; result == 0 && i < config->nets_count; i++)
		result = add_net(machine, &config->nets[i], err);
	for (size_t i = 0; result == 0 && i < config->shares_count; i++)
		result = add_share(machine, &config->shares[i], err);
	if (result == 0 && config->vsock >= 0)
		result = add_vsock(machine, config, err);
	if (result == 0 && machine->bare)
		return 0; /* a kernel that is run for itself is left alone with what costs it time to find */
	if (result == 0)
		result = add_rng(machine, err);
	/* Huge pages are the machine's own, taken from a pool where others could take those that were given back; and
	 * what devices of the host reach is locked into memory. */
	return result < 0 || config->hugepages || config->devices_count > 0 ? result : add_balloon(machine, err);
}

int machine_balloon(struct machine *machine, uint64_t bytes, struct error *err)
{
	uint64_t size = guest_memory_size(&machine->memory);

	if (!machine->balloon)
		return error_set(err, EOPNOTSUPP, "this machine has no balloon");
	if (bytes >= size)
		return error_set(err, EINVAL, "a balloon of %llu MiB in a machine of %llu MiB",
				 (unsigned long long)(bytes >> 20), (unsigned long long)(size >> 20));
	virtio_balloon_set(machine->balloon, bytes);
	return 0;
}

size_t machine_agent_input(struct machine *machine, const void *bytes, size_t count)
{
	if (machine->virtio_agent)
		return virtio_console_input(machine->virtio_agent, bytes, count);
	return machine->serial_agent ? serial_input(machine->serial_agent, bytes, count) : 0;
}
