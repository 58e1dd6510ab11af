/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine - a virtual machine on /dev/kvm: memory, vCPUs, buses, devices.
 *
 * What is the architecture's (memory map, interrupt controllers, CPUID, boot
 * registers, ACPI) is behind arch.h; x86-64 is there now.  A machine is put
 * together by machine_make() from a configuration, runs in threads of its own
 * (vCPUs, "io" for disks and network), and tells its owner through one eventfd
 * that it has ended, and how.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_MACHINE_H
#define CAISSON_PARADIGM_VM_MACHINE_MACHINE_H

#include <pthread.h>
#include <sys/types.h>

#include "base/loop.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/device/device.h"
#include "paradigm/vm/machine/memory.h"

enum machine_end {
	MACHINE_RUNS,
	MACHINE_OFF,	 /* the guest powered off, or we were told to */
	MACHINE_RESET,	 /* it asked for a reset (panic=-1, i8042) */
	MACHINE_EXIT,	 /* debug-exit: code is what was written */
	MACHINE_CRASHED, /* triple fault, an access that KVM cannot emulate, ... : reason tells */
};

struct machine;

/* What the guest's serial port, or its agent channel, is connected to. */
struct machine_channel {
	/* Bytes from the guest, from any thread, with the device's lock held. */
	void (*output)(void *context, const void *bytes, size_t count);
	void *context;
};

enum machine_thread {
	MACHINE_THREAD_VCPU,
	MACHINE_THREAD_VCPU_PASSTHROUGH, /* of a machine with devices of the host's: it maps their registers, and routes
					  * their messages */
	MACHINE_THREAD_IO,
};

struct machine_options {
	const struct vm_config *config;
	struct loop *loop;		/* the owner's: consoles, vsock, balloon live there */
	struct machine_channel console; /* the first serial port */
	struct machine_channel agent; /* virtio-console's port (pv) or the second serial port (vm); output NULL: none */
	/* Called by each thread of the machine's before anything else: to confine it.  NULL: nothing. */
	void (*thread)(enum machine_thread thread);
};

int machine_make(const struct machine_options *options, struct machine **machine, struct error *err);
/* Lets the vCPUs go; in the thread that made it. */
int machine_start(struct machine *machine, struct error *err);
/* Readable when the machine has ended. */
int machine_end_fd(const struct machine *machine);
/* code and reason (owned by the machine) may be NULL. */
enum machine_end machine_ended(struct machine *machine, unsigned *code, const char **reason);
/* Ends it from outside: any thread. */
void machine_stop(struct machine *machine);
/* Threads are joined, disks flushed. */
void machine_free(struct machine *machine);

/* Bytes to the guest; how many were taken (the rest when the guest has read: try again after a byte was output, or
 * when room() is called). */
size_t machine_console_input(struct machine *machine, const void *bytes, size_t count);
/* The same for who must not wait for a vCPU whose output to the console waits: -EAGAIN, and nobody calls. */
ssize_t machine_console_try_input(struct machine *machine, const void *bytes, size_t count);
size_t machine_agent_input(struct machine *machine, const void *bytes, size_t count);
/* Called (on the loop) when there is room again after one of them took less than it was given. */
void machine_on_room(struct machine *machine, void (*room)(void *context), void *context);

/* All vCPUs out of the guest, all devices quiet; and on again. */
int machine_pause(struct machine *machine, struct error *err);
int machine_resume(struct machine *machine, struct error *err);
/* A paused machine, into two files: state, and memory (sparse). */
int machine_save(struct machine *machine, int state, int memory, struct error *err);

/* Bytes of guest memory that the balloon is to take away; the guest does it when it can.  -EOPNOTSUPP: the machine has
 * none, being told nothing of virtio, or having huge pages; -EINVAL: that is all of its memory. */
int machine_balloon(struct machine *machine, uint64_t bytes, struct error *err);

/* Counters as JSON: exits by reason, accesses by device, requests of disks, the balloon, the kernel's own
 * (KVM_GET_STATS_FD). */
void machine_counters(struct machine *machine, struct str *out);

#endif
