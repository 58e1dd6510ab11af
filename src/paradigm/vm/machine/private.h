/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private - the inside of a machine, for the files of this room.
 *
 * Locks, in this order: a device's, then the machine's.  The machine's is never
 * held while a device is called.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_PRIVATE_H
#define CAISSON_PARADIGM_VM_MACHINE_PRIVATE_H

#include <pthread.h>
#include <signal.h>

#include "linux/kvm.h"
#include "paradigm/vm/block/block.h"
#include "paradigm/vm/boot/load.h"
#include "paradigm/vm/device/pci.h"
#include "paradigm/vm/device/power.h"
#include "paradigm/vm/device/serial.h"
#include "paradigm/vm/machine/machine.h"

enum { MACHINE_DEVICES_MAX = 96, MACHINE_IRQFDS_MAX = 96 };

/* Takes a vCPU out of the guest.  Nobody sends this one: signal(7) has it as unused. */
enum { VCPU_SIGNAL = SIGSTKFLT };

/* What the vCPUs are to do. */
enum machine_command { MACHINE_GO, MACHINE_HOLD, MACHINE_QUIT };

enum vcpu_exit {
	VCPU_PORT_READ,
	VCPU_PORT_WRITE,
	VCPU_MEMORY_READ,
	VCPU_MEMORY_WRITE,
	VCPU_KICK, /* a signal, of ours or another */
	VCPU_OTHER,
	VCPU_EXITS,
};

struct machine_vcpu {
	struct machine *machine;
	unsigned index;
	struct kvm_vcpu kvm;
	int stats; /* the kernel's counters, or -1 */
	pthread_t thread;
	bool started;	 /* there is a thread to be joined */
	bool unfinished; /* the kernel has yet to finish the instruction of the last exit */
	int32_t pin;	 /* host CPU, or -1 */
	/* Atomic, and changed by its thread alone. */
	uint64_t exits[VCPU_EXITS];
};

/* A message-signalled interrupt of a device of the host's. */
struct machine_message {
	bool used;
	uint64_t address;
	uint32_t data;
};

struct passthrough;

struct machine {
	enum vm_kind kind;
	bool bare; /* no agent: whatever kernel */
	bool has_pit;
	int kvm, vm; /* kvm is the configuration's */
	int stats;   /* the kernel's counters, or -1 */
	struct guest_memory memory;
	struct bus bus;
	struct kvm_cpuid_table cpuid; /* what each vCPU gets, but for its number */
	struct machine_vcpu *vcpus;
	unsigned vcpus_count, vcpus_wanted;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* parked, or command */
	enum machine_command command;
	unsigned parked;
	enum machine_end end;
	unsigned end_code;
	char end_reason[256];
	int end_event; /* eventfd */

	struct device *devices[MACHINE_DEVICES_MAX]; /* owned, in the order of snapshots */
	size_t devices_count;
	struct serial *console, *serial_agent;
	struct device *pm, *virtio_agent, *balloon; /* NULL: it has none */
	struct block *disks[VM_DISKS_MAX];	    /* their devices', for counting */
	size_t disks_count;
	unsigned windows; /* of virtio, in use */
	bool restored;	  /* devices stand still since they were restored */
	struct {
		struct loop loop; /* of disks and network cards */
		pthread_t thread;
		bool open, started;
	} io;

	struct passthrough *passthrough; /* NULL: no device of the host's */
	struct machine_channel agent;
	void (*thread)(enum machine_thread thread); /* the owner's, or NULL */
	struct loop *loop;			    /* the owner's */
	struct loop_source room;
	void (*on_room)(void *context);
	void *on_room_context;
};

/* machine.c: the first reason counts.  Any thread, any lock but the machine's. */
void machine_finish(struct machine *machine, enum machine_end end, unsigned code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* All devices stand still until machine_resume(), or machine_start(). */
void machine_quiesce(struct machine *machine);
/* struct power's function, whose context is the machine. */
void machine_power(void *context, enum power_event event, uint32_t code);

/* devices.c */
int machine_add_devices(struct machine *machine, const struct machine_options *options, struct error *err);
/* Makes an eventfd whose writes are edges of line; the caller's. */
int machine_edges(const struct machine *machine, unsigned line, struct error *err);
/* For struct interrupt's set, with the machine as context. */
void machine_set_level(void *context, unsigned line, bool level);
/* For devices that have room for input again, with the machine as context: tells the owner, on his loop. */
void machine_room(void *context);
/* Takes a device over, whatever comes (NULL: -ENOMEM), and puts its range 0 on the bus. */
int machine_own(struct machine *machine, struct device *device, struct error *err);
int machine_own_at(struct machine *machine, struct device *device, enum bus_kind kind, uint64_t base, uint64_t size,
		   struct error *err);

/* virtio.c, pci.c */
int machine_add_virtio(struct machine *machine, const struct machine_options *options, struct error *err);
int machine_add_pci(struct machine *machine, const struct machine_options *options, struct error *err);
/* "02:..." */
int machine_mac(const char *text, uint8_t mac[static 6], struct error *err);

/* passthrough.c */
int machine_add_passthrough(struct machine *machine, struct pci_host *pci, const struct vm_config *config,
			    struct error *err);
void machine_free_passthrough(struct machine *machine);

/* disks.c */
int machine_open_disk(struct machine *machine, const struct vm_disk *disk, struct block **block, struct error *err);

/* io.c: the thread runs from start to stop; the loop is there from open to close. */
int io_open(struct machine *machine, struct error *err);
int io_start(struct machine *machine, struct error *err);
void io_stop(struct machine *machine);
void io_close(struct machine *machine);

/* vcpu.c */
int vcpu_start(struct machine_vcpu *vcpu, struct error *err);
/* Out of the guest, so that it looks at the machine's command. */
void vcpu_kick(struct machine_vcpu *vcpu);

/* snapshot.c: sets what machine_save() wrote, once everything is made. */
int machine_restore(struct machine *machine, int state, struct error *err);

#endif
