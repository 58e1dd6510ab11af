/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm - is it the processor that runs the guests?
 *
 * A kernel without the processor's virtualization can still offer /dev/kvm, with every capability, and interpret each
 * instruction of a guest that is not made for it: about 2 us each, against less than 1 ns.  Nothing tells but time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/kvm.h"
#include "linux/kvm_private.h"

enum {
	PAGE = 4096,
	ROUNDS = 2000, /* of one instruction */
	TRIES = 3,     /* the best one counts: others may have had the processor meanwhile */
	/* Interpreters need 1000 or more, translators (a nested machine in QEMU's TCG) below 50. */
	NS_PER_INSTRUCTION = 250,
};

#define CACHE "kvm-speed"

static uint64_t now(void)
{
	struct timespec time = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

/* Real mode, at guest physical address 0. */
static const uint8_t loop_program[] = {
	0xb9, ROUNDS & 0xff, ROUNDS >> 8, /* mov $ROUNDS, %cx */
	0xe2, 0xfe,			  /* loop to itself */
	0xe6, 0x80,			  /* out %al, $0x80 */
};

static int run_loop(struct kvm_vcpu *vcpu, uint64_t *ns, struct error *err)
{
	struct kvm_regs regs = { .rip = 0, .rflags = 2 };
	uint64_t begin;
	int result = kvm_regs_set(vcpu, &regs, err);

	if (result < 0)
		return result;
	begin = now();
	do
		result = kvm_vcpu_run(vcpu);
	while (result == -EINTR || result == -EAGAIN);
	*ns = now() - begin;
	if (result < 0)
		return error_errno(err, -result, "KVM_RUN");
	if (vcpu->run->exit_reason != KVM_EXIT_IO)
		return error_set(err, EIO, "a guest of three instructions left KVM with exit %u",
				 vcpu->run->exit_reason);
	return 0;
}

static int time_vcpu(struct kvm_vcpu *vcpu, uint64_t *best, struct error *err)
{
	struct kvm_sregs sregs;
	uint64_t ns;
	int result = kvm_sregs_get(vcpu, &sregs, err);

	if (result < 0)
		return result;
	sregs.cs.base = sregs.cs.selector = 0;
	result = kvm_sregs_set(vcpu, &sregs, err);
	*best = UINT64_MAX;
	for (int i = 0; result == 0 && i < TRIES && *best >= (uint64_t)ROUNDS * NS_PER_INSTRUCTION; i++) {
		result = run_loop(vcpu, &ns, err);
		if (result == 0 && ns < *best)
			*best = ns;
	}
	return result;
}

static int time_guest(int kvm, void *memory, uint64_t *best, struct error *err)
{
	cleanup_close int vm = kvm_vm_create(kvm, err);
	struct kvm_vcpu vcpu;
	int result;

	if (vm < 0)
		return vm;
	/* VMX cannot run real mode without pages of its own everywhere. */
	if (kvm_capability(vm, KVM_CAP_SET_TSS_ADDR))
		(void)kvm_call_number(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	memcpy(memory, loop_program, sizeof(loop_program));
	result = kvm_memory_set(vm, 0, 0, 0, memory, PAGE, err);
	if (result == 0)
		result = kvm_vcpu_create(kvm, vm, 0, &vcpu, err);
	if (result < 0)
		return result;
	result = time_vcpu(&vcpu, best, err);
	kvm_vcpu_close(&vcpu);
	return result;
}

static char *boot_id(void)
{
	char *text = NULL;
	size_t size;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &size, NULL) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static int remembered(int cache, const char *boot)
{
	cleanup_free char *text = NULL;
	size_t size, length = boot ? strlen(boot) : 0;

	if (cache < 0 || length == 0 || file_read(cache, CACHE, 256, &text, &size, NULL) < 0)
		return 0;
	if (strncmp(text, boot, length) != 0)
		return 0;
	if (strncmp(text + length, " native ", 8) == 0)
		return KVM_NATIVE;
	return strncmp(text + length, " emulated ", 10) == 0 ? KVM_EMULATED : 0;
}

int kvm_probe(int kvm, int cache, struct error *err)
{
	cleanup_free char *boot = boot_id();
	int speed = remembered(cache, boot), result;
	char line[256];
	uint64_t ns;
	void *memory;

	if (speed)
		return speed;
	memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return error_errno(err, errno, "try out KVM");
	result = time_guest(kvm, memory, &ns, err);
	(void)munmap(memory, PAGE);
	if (result < 0)
		return error_wrap(err, "try out KVM");
	speed = ns < (uint64_t)ROUNDS * NS_PER_INSTRUCTION ? KVM_NATIVE : KVM_EMULATED;
	if (cache >= 0 && boot) {
		/* Only a help: without it, it is tried out again. */
		(void)snprintf(line, sizeof(line), "%s %s %llu ns per instruction\n", boot,
			       speed == KVM_NATIVE ? "native" : "emulated", (unsigned long long)(ns / ROUNDS));
		(void)file_replace(cache, CACHE, line, strlen(line), 0644, NULL);
	}
	return speed;
}
