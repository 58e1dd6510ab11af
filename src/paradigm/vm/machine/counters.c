/* SPDX-License-Identifier: Apache-2.0 */
/* What happened in a machine, as JSON. */
#include "paradigm/vm/machine/private.h"

#include "base/json.h"
#include "paradigm/vm/virtio/balloon.h"

static const char *const exit_names[VCPU_EXITS] = {
	[VCPU_PORT_READ] = "port_read",
	[VCPU_PORT_WRITE] = "port_write",
	[VCPU_MEMORY_READ] = "memory_read",
	[VCPU_MEMORY_WRITE] = "memory_write",
	[VCPU_KICK] = "kick",
	[VCPU_OTHER] = "other",
};

struct counters {
	struct str *out;
	bool more; /* than one so far */
};

static void put(void *context, const char *name, uint64_t value)
{
	struct counters *counters = context;

	str_append(counters->out, counters->more ? "," : "");
	json_append_string(counters->out, name);
	str_printf(counters->out, ":%llu", (unsigned long long)value);
	counters->more = true;
}

static void put_kernel(struct str *out, int stats)
{
	struct counters counters = { .out = out };

	str_append(out, "\"kvm\":{");
	if (stats >= 0)
		(void)kvm_stats_read(stats, put, &counters, NULL);
	str_append(out, "}");
}

static void put_vcpu(struct str *out, const struct machine_vcpu *vcpu)
{
	struct counters counters = { .out = out };

	str_append(out, vcpu->index ? ",{\"exits\":{" : "{\"exits\":{");
	for (int i = 0; i < VCPU_EXITS; i++)
		put(&counters, exit_names[i], __atomic_load_n(&vcpu->exits[i], __ATOMIC_RELAXED));
	str_append(out, "},");
	put_kernel(out, vcpu->stats);
	str_append(out, "}");
}

static void put_disks(struct str *out, const struct machine *machine)
{
	str_append(out, "\"disks\":[");
	for (size_t i = 0; i < machine->disks_count; i++) {
		struct counters counters = { .out = out };
		struct block_counters count;

		block_count(machine->disks[i], &count);
		str_append(out, i ? ",{" : "{");
		put(&counters, "reads", count.reads);
		put(&counters, "read_bytes", count.read_bytes);
		put(&counters, "writes", count.writes);
		put(&counters, "write_bytes", count.write_bytes);
		put(&counters, "flushes", count.flushes);
		str_append(out, "}");
	}
	str_append(out, "],");
}

/* Bytes: what the balloon was asked to hold and what it does; and what has gone back to the host so far. */
static void put_balloon(struct str *out, struct device *device)
{
	struct counters counters = { .out = out };
	struct virtio_balloon_state state;

	if (!device)
		return;
	virtio_balloon_get(device, &state);
	str_append(out, "\"balloon\":{");
	put(&counters, "wanted", state.wanted);
	put(&counters, "actual", state.actual);
	put(&counters, "inflated", state.inflated);
	put(&counters, "reported", state.reported);
	str_append(out, "},");
}

void machine_counters(struct machine *machine, struct str *out)
{
	str_append(out, "{\"vcpus\":[");
	for (unsigned i = 0; i < machine->vcpus_count; i++)
		put_vcpu(out, &machine->vcpus[i]);
	str_append(out, "],\"devices\":[");
	for (size_t i = 0; i < machine->devices_count; i++) {
		const struct device *device = machine->devices[i];
		struct counters counters = { .out = out, .more = true };

		str_append(out, i ? ",{\"name\":" : "{\"name\":");
		json_append_string(out, device->ops->name);
		put(&counters, "reads", __atomic_load_n(&device->reads, __ATOMIC_RELAXED));
		put(&counters, "writes", __atomic_load_n(&device->writes, __ATOMIC_RELAXED));
		str_append(out, "}");
	}
	str_printf(out, "],\"unknown\":{\"ports\":%llu,\"memory\":%llu},",
		   (unsigned long long)__atomic_load_n(&machine->bus.unknown[BUS_PORTS], __ATOMIC_RELAXED),
		   (unsigned long long)__atomic_load_n(&machine->bus.unknown[BUS_MEMORY], __ATOMIC_RELAXED));
	put_disks(out, machine);
	put_balloon(out, machine->balloon);
	put_kernel(out, machine->stats);
	str_append(out, "}");
}
