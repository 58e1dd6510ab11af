/* SPDX-License-Identifier: Apache-2.0 */
/* The threads in which the guest runs, and what they do when it comes out. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "paradigm/vm/machine/arch.h"
#include "paradigm/vm/machine/private.h"

enum { STACK = 256 << 10 };

static void crash(struct machine_vcpu *vcpu, const char *what)
{
	char place[64];

	machine_finish(vcpu->machine, MACHINE_CRASHED, 0, "vCPU %u: %s, at %s", vcpu->index, what,
		       arch_vcpu_place(vcpu, place, sizeof(place)));
}

/* Counted by this thread alone, and asked for by others. */
static void count_exit(struct machine_vcpu *vcpu, enum vcpu_exit kind)
{
	__atomic_store_n(&vcpu->exits[kind], vcpu->exits[kind] + 1, __ATOMIC_RELAXED);
}

static void handle_ports(struct machine_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->kvm.run;
	uint64_t offset = run->io.data_offset, length = (uint64_t)run->io.size * run->io.count;
	uint8_t *data;

	count_exit(vcpu, run->io.direction == KVM_EXIT_IO_IN ? VCPU_PORT_READ : VCPU_PORT_WRITE);
	if (offset > vcpu->kvm.size || length > vcpu->kvm.size - offset) {
		crash(vcpu, "KVM's data of a port lies outside of what it shares");
		return;
	}
	data = (uint8_t *)run + offset;
	if (run->io.direction == KVM_EXIT_IO_IN)
		(void)bus_read_string(&vcpu->machine->bus, BUS_PORTS, run->io.port, data, run->io.size, run->io.count);
	else
		(void)bus_write_string(&vcpu->machine->bus, BUS_PORTS, run->io.port, data, run->io.size, run->io.count);
}

static void handle_memory(struct machine_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->kvm.run;
	unsigned size = run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len : sizeof(run->mmio.data);

	count_exit(vcpu, run->mmio.is_write ? VCPU_MEMORY_WRITE : VCPU_MEMORY_READ);
	if (run->mmio.is_write)
		(void)bus_write(&vcpu->machine->bus, BUS_MEMORY, run->mmio.phys_addr, run->mmio.data, size);
	else
		(void)bus_read(&vcpu->machine->bus, BUS_MEMORY, run->mmio.phys_addr, run->mmio.data, size);
}

static void handle_internal_error(struct machine_vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->kvm.run;
	char text[128], *at = text;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		(void)snprintf(text, sizeof(text), "KVM failed with its error %u", run->internal.suberror);
		crash(vcpu, text);
		return;
	}
	at += snprintf(text, sizeof(text), "KVM cannot emulate an instruction");
	if (run->emulation_failure.ndata >= 3 &&
	    run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) {
		at += snprintf(at, sizeof(text) - (size_t)(at - text), ",");
		for (unsigned i = 0; i < run->emulation_failure.insn_size && i < 15; i++)
			at += snprintf(at, sizeof(text) - (size_t)(at - text), " %02x",
				       run->emulation_failure.insn_bytes[i]);
	}
	crash(vcpu, text);
}

static void handle_system_event(struct machine_vcpu *vcpu)
{
	switch (vcpu->kvm.run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_finish(vcpu->machine, MACHINE_OFF, 0, "the guest powered off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_finish(vcpu->machine, MACHINE_RESET, 0, "the guest asked for a reset");
		break;
	default:
		crash(vcpu, "the guest told KVM that it crashed");
		break;
	}
}

static void handle_other(struct machine_vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->kvm.run;
	char text[96];

	count_exit(vcpu, VCPU_OTHER);
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		crash(vcpu, "triple fault");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		handle_internal_error(vcpu);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(vcpu);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		(void)snprintf(text, sizeof(text), "the processor refuses to enter the guest (0x%llx)",
			       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		crash(vcpu, text);
		break;
	default:
		(void)snprintf(text, sizeof(text), "KVM's exit %u, which is not handled", run->exit_reason);
		crash(vcpu, text);
		break;
	}
}

/* One stay in the guest. */
static void run_once(struct machine_vcpu *vcpu)
{
	int result = kvm_vcpu_run(&vcpu->kvm);
	char text[64];

	vcpu->unfinished = false;
	if (result == -EINTR || result == -EAGAIN) {
		count_exit(vcpu, VCPU_KICK);
		return;
	}
	if (result < 0) {
		(void)snprintf(text, sizeof(text), "KVM_RUN failed: %s", error_words(-result));
		crash(vcpu, text);
		return;
	}
	switch (vcpu->kvm.run->exit_reason) {
	case KVM_EXIT_IO:
		handle_ports(vcpu);
		vcpu->unfinished = true;
		break;
	case KVM_EXIT_MMIO:
		handle_memory(vcpu);
		vcpu->unfinished = true;
		break;
	case KVM_EXIT_INTR:
		count_exit(vcpu, VCPU_KICK);
		break;
	default:
		handle_other(vcpu);
		break;
	}
}

/* The kernel finishes an instruction when the vCPU enters again: its registers are whole only then. */
static void finish_instruction(struct machine_vcpu *vcpu)
{
	kvm_vcpu_kick(&vcpu->kvm, true);
	while (vcpu->unfinished)
		run_once(vcpu);
}

/* Stands still as long as it is told to; false: for good. */
static bool park(struct machine_vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	bool going;

	finish_instruction(vcpu);
	(void)pthread_mutex_lock(&machine->lock);
	machine->parked++;
	(void)pthread_cond_broadcast(&machine->changed);
	while (machine->command == MACHINE_HOLD)
		(void)pthread_cond_wait(&machine->changed, &machine->lock);
	machine->parked--;
	going = machine->command == MACHINE_GO;
	(void)pthread_mutex_unlock(&machine->lock);
	return going;
}

static void *vcpu_main(void *context)
{
	struct machine_vcpu *vcpu = context;
	struct machine *machine = vcpu->machine;
	enum machine_command command;
	char name[16];

	/* A thread names itself by a system call; for another's name, C libraries open a file of /proc. */
	(void)snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	(void)pthread_setname_np(pthread_self(), name);
	if (machine->thread)
		machine->thread(machine->passthrough ? MACHINE_THREAD_VCPU_PASSTHROUGH : MACHINE_THREAD_VCPU);
	for (;;) {
		/* In this order: who kicks has set the command before. */
		kvm_vcpu_kick(&vcpu->kvm, false);
		command = __atomic_load_n(&machine->command, __ATOMIC_SEQ_CST);
		if (command == MACHINE_QUIT || (command == MACHINE_HOLD && !park(vcpu)))
			return NULL;
		if (command == MACHINE_HOLD)
			continue;
		do
			run_once(vcpu);
		while (!__atomic_load_n(&vcpu->kvm.run->immediate_exit, __ATOMIC_RELAXED) &&
		       __atomic_load_n(&machine->command, __ATOMIC_RELAXED) == MACHINE_GO);
	}
}

static void be_interrupted(int signal)
{
	(void)signal; /* that it came is enough */
}

static int pin(struct machine_vcpu *vcpu)
{
	cpu_set_t set;

	if (vcpu->pin < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)vcpu->pin, &set);
	return pthread_setaffinity_np(vcpu->thread, sizeof(set), &set);
}

int vcpu_start(struct machine_vcpu *vcpu, struct error *err)
{
	const struct sigaction action = { .sa_handler = be_interrupted };
	sigset_t mask, before;
	pthread_attr_t attributes;
	int code;

	if (sigaction(VCPU_SIGNAL, &action, NULL) < 0)
		return error_errno(err, errno, "prepare signals for vCPUs");
	code = pthread_attr_init(&attributes);
	if (code == 0)
		code = pthread_attr_setstacksize(&attributes, STACK);
	if (code == 0) {
		/* A thread inherits the mask: all signals are somebody else's but the one. */
		(void)sigfillset(&mask);
		(void)sigdelset(&mask, VCPU_SIGNAL);
		(void)pthread_sigmask(SIG_SETMASK, &mask, &before);
		code = pthread_create(&vcpu->thread, &attributes, vcpu_main, vcpu);
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	(void)pthread_attr_destroy(&attributes);
	if (code)
		return error_errno(err, code, "start vCPU %u", vcpu->index);
	vcpu->started = true;
	code = pin(vcpu);
	if (code)
		return error_errno(err, code, "run vCPU %u on CPU %d", vcpu->index, vcpu->pin);
	return 0;
}

void vcpu_kick(struct machine_vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	kvm_vcpu_kick(&vcpu->kvm, true);
	(void)pthread_kill(vcpu->thread, VCPU_SIGNAL);
}
