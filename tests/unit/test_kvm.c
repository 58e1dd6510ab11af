/* SPDX-License-Identifier: Apache-2.0 */
/* The room on /dev/kvm, with guests of a few instructions: they run where KVM only emulates, too. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/kvm.h"

enum { PAGE = 4096, MEMORY = 16 * PAGE };

struct guest {
	int kvm, vm;
	uint8_t *memory;
	struct kvm_vcpu vcpu;
};

/* Real mode, code at address 0. */
static void open_guest(struct guest *guest, const uint8_t *code, size_t size)
{
	struct error err = ERROR_INIT;
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2, .rsp = 0x8000 };

	*guest = (struct guest){ .kvm = kvm_open(&err), .vm = -1, .vcpu.fd = -1 };
	if (guest->kvm < 0) {
		print_message("skipped: %s\n", err.text);
		skip();
	}
	guest->vm = kvm_vm_create(guest->kvm, &err);
	assert_true(guest->vm >= 0);
	if (kvm_irqchip_create(guest->vm, 0xfffbd000, 0xfffbc000, &err) < 0)
		fail_msg("%s", err.text);
	guest->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(guest->memory, MAP_FAILED);
	memcpy(guest->memory, code, size);
	if (kvm_memory_set(guest->vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, guest->memory, MEMORY, &err) < 0)
		fail_msg("%s", err.text);
	if (kvm_vcpu_create(guest->kvm, guest->vm, 0, &guest->vcpu, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(kvm_sregs_get(&guest->vcpu, &sregs, &err), 0);
	sregs.cs.base = sregs.cs.selector = 0;
	assert_int_equal(kvm_sregs_set(&guest->vcpu, &sregs, &err), 0);
	assert_int_equal(kvm_regs_set(&guest->vcpu, &regs, &err), 0);
}

static void close_guest(struct guest *guest)
{
	kvm_vcpu_close(&guest->vcpu);
	close(guest->vm);
	close(guest->kvm);
	munmap(guest->memory, MEMORY);
}

static void run(struct guest *guest, unsigned reason)
{
	assert_int_equal(kvm_vcpu_run(&guest->vcpu), 0);
	assert_int_equal(guest->vcpu.run->exit_reason, reason);
}

static void test_exits(void **state)
{
	static const uint8_t code[] = {
		0xb0, 'x',	  /* mov $'x', %al */
		0xe6, 0xf4,	  /* out %al, $0xf4 */
		0xa2, 0x00, 0x30, /* mov %al, 0x3000 */
		0xe4, 0x60,	  /* in $0x60, %al */
		0xe6, 0xf5,	  /* out %al, $0xf5 */
	};
	struct guest guest;
	uint64_t dirty = 0;
	struct kvm_run *shared;

	(void)state;
	open_guest(&guest, code, sizeof(code));
	shared = guest.vcpu.run;
	run(&guest, KVM_EXIT_IO);
	assert_int_equal(shared->io.port, 0xf4);
	assert_int_equal(shared->io.direction, KVM_EXIT_IO_OUT);
	assert_int_equal(((uint8_t *)shared)[shared->io.data_offset], 'x');
	run(&guest, KVM_EXIT_IO);
	assert_int_equal(shared->io.direction, KVM_EXIT_IO_IN);
	((uint8_t *)shared)[shared->io.data_offset] = 7;
	run(&guest, KVM_EXIT_IO);
	assert_int_equal(((uint8_t *)shared)[shared->io.data_offset], 7);
	assert_int_equal(guest.memory[0x3000], 'x');
	assert_int_equal(kvm_dirty_log(guest.vm, 0, &dirty, NULL), 0);
	assert_true(dirty & 1 << 3);
	assert_int_equal(kvm_dirty_log(guest.vm, 1, &dirty, NULL), -ENOENT);
	close_guest(&guest);
}

static void test_kick(void **state)
{
	static const uint8_t code[] = { 0xeb, 0xfe }; /* jmp to itself */
	struct guest guest;

	(void)state;
	open_guest(&guest, code, sizeof(code));
	kvm_vcpu_kick(&guest.vcpu, true);
	assert_int_equal(kvm_vcpu_run(&guest.vcpu), -EINTR);
	assert_int_equal(kvm_vcpu_run(&guest.vcpu), -EINTR);
	close_guest(&guest);
}

/* Whatever a device does with descriptors, the guest sees as interrupts, and the other way round. */
static void test_events(void **state)
{
	static const uint8_t code[] = {
		0xb0, 1,    /* mov $1, %al */
		0xe6, 0x10, /* out %al, $0x10 */
		0xe6, 0x11, /* out %al, $0x11 */
		0xe6, 0xf4, /* out %al, $0xf4 */
	};
	const struct kvm_irq_routing_entry route = { .gsi = 24,
						     .type = KVM_IRQ_ROUTING_MSI,
						     .u.msi = { .address_lo = 0xfee00000, .data = 0x30 } };
	cleanup_close int event = eventfd(0, EFD_CLOEXEC), irq = eventfd(0, EFD_CLOEXEC);
	struct kvm_doorbell doorbell, matched;
	struct guest guest;
	struct error err = ERROR_INIT;
	uint64_t count = 0;

	(void)state;
	open_guest(&guest, code, sizeof(code));
	doorbell = (struct kvm_doorbell){ .eventfd = event, .address = 0x10, .size = 1, .port = true };
	assert_int_equal(kvm_ioeventfd_add(guest.vm, &doorbell, &err), 0);
	/* Not this value: an exit. */
	matched = (struct kvm_doorbell){
		.eventfd = event, .address = 0x11, .size = 1, .port = true, .match = true, .value = 2
	};
	assert_int_equal(kvm_ioeventfd_add(guest.vm, &matched, &err), 0);
	run(&guest, KVM_EXIT_IO);
	assert_int_equal(guest.vcpu.run->io.port, 0x11);
	run(&guest, KVM_EXIT_IO);
	assert_int_equal(guest.vcpu.run->io.port, 0xf4);
	assert_int_equal(read(event, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	assert_int_equal(kvm_ioeventfd_remove(guest.vm, &doorbell), 0);
	assert_int_equal(kvm_ioeventfd_remove(guest.vm, &doorbell), -ENOENT);

	assert_int_equal(kvm_irqfd_add(guest.vm, irq, 20, -1, &err), 0);
	assert_int_equal(kvm_irqfd_add(guest.vm, irq, 21, -1, &err), -EBUSY);
	assert_int_equal(kvm_irqfd_remove(guest.vm, irq, 20), 0);
	assert_int_equal(kvm_irq_line(guest.vm, 20, true), 0);
	assert_int_equal(kvm_routes_set(guest.vm, &route, 1, &err), 0);
	assert_true(kvm_signal_msi(guest.vm, 0xfee00000, 0x30) >= 0);
	assert_int_equal(kvm_pit_create(guest.vm, &err), 0);
	close_guest(&guest);
}

/* A snapshot in another machine goes on where the first one stood. */
static void test_state(void **unused)
{
	static const uint8_t code[] = {
		0xb0, 1,    /* mov $1, %al */
		0xe6, 0xf4, /* out %al, $0xf4 */
		0xb0, 2,    /* mov $2, %al */
		0xe6, 0xf5, /* out %al, $0xf5 */
	};
	cleanup_free struct kvm_vcpu_state *state = calloc(1, sizeof(*state));
	cleanup_free struct kvm_vm_state *machine = calloc(1, sizeof(*machine));
	cleanup_free struct kvm_cpuid_table *cpuid = calloc(1, sizeof(*cpuid));
	struct guest first, second;
	struct error err = ERROR_INIT;

	(void)unused;
	assert_true(state && machine && cpuid);
	open_guest(&first, code, sizeof(code));
	assert_int_equal(kvm_cpuid_supported(first.kvm, cpuid, &err), 0);
	assert_non_null(kvm_cpuid_find(cpuid, 0, 0));
	assert_null(kvm_cpuid_find(cpuid, 0x12345678, 0));
	assert_int_equal(kvm_cpuid_set(&first.vcpu, cpuid, &err), 0);
	run(&first, KVM_EXIT_IO);
	kvm_vcpu_kick(&first.vcpu, true); /* lets the kernel finish the instruction */
	assert_int_equal(kvm_vcpu_run(&first.vcpu), -EINTR);
	if (kvm_vcpu_state_get(first.kvm, &first.vcpu, state, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(state->regs.rip, 4);
	assert_true(state->msr_count > 0);
	assert_int_equal(kvm_vm_state_get(first.vm, false, machine, &err), 0);
	close_guest(&first);

	open_guest(&second, code, sizeof(code));
	assert_int_equal(kvm_cpuid_set(&second.vcpu, cpuid, &err), 0);
	assert_int_equal(kvm_vm_state_set(second.vm, false, machine, &err), 0);
	if (kvm_vcpu_state_set(&second.vcpu, state, &err) < 0)
		fail_msg("%s", err.text);
	run(&second, KVM_EXIT_IO);
	assert_int_equal(second.vcpu.run->io.port, 0xf5);
	/* What no processor can have. */
	state->sregs.cr0 = 0x80000000;
	state->sregs.efer = ~UINT64_C(0);
	assert_true(kvm_vcpu_state_set(&second.vcpu, state, &err) < 0);
	state->msr_count = UINT32_MAX;
	assert_true(kvm_vcpu_state_set(&second.vcpu, state, &err) < 0);
	close_guest(&second);
}

static void count_exits(void *context, const char *name, uint64_t value)
{
	if (strcmp(name, "exits") == 0 || strcmp(name, "io_exits") == 0)
		*(uint64_t *)context += 1 + (value > 1000000);
}

static void test_stats(void **state)
{
	static const uint8_t code[] = { 0xe6, 0xf4 };
	struct guest guest;
	struct error err = ERROR_INIT;
	uint64_t seen = 0;
	cleanup_close int stats = -1;

	(void)state;
	open_guest(&guest, code, sizeof(code));
	run(&guest, KVM_EXIT_IO);
	stats = kvm_stats_open(guest.vcpu.fd, &err);
	if (stats == -ENOSYS) {
		print_message("skipped: %s\n", err.text);
		close_guest(&guest);
		skip();
	}
	assert_true(stats >= 0);
	if (kvm_stats_read(stats, count_exits, &seen, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(seen, 2);
	close_guest(&guest);
}

static void test_probe(void **state)
{
	char directory[] = "/tmp/test_kvm.XXXXXX";
	cleanup_free char *text = NULL;
	cleanup_close int kvm = -1, cache = -1;
	struct error err = ERROR_INIT;
	size_t size;
	int speed;

	(void)state;
	kvm = kvm_open(&err);
	if (kvm < 0) {
		print_message("skipped: %s\n", err.text);
		skip();
	}
	assert_non_null(mkdtemp(directory));
	cache = open(directory, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	speed = kvm_probe(kvm, cache, &err);
	if (speed < 0)
		fail_msg("%s", err.text);
	assert_true(speed == KVM_NATIVE || speed == KVM_EMULATED);
	print_message("%s\n", speed == KVM_NATIVE ? "native" : "emulated");
	assert_int_equal(file_read(cache, "kvm-speed", 256, &text, &size, &err), 0);
	assert_non_null(strstr(text, speed == KVM_NATIVE ? " native " : " emulated "));

	/* What is written there counts: no KVM is asked. */
	assert_int_equal(kvm_probe(-1, cache, &err), speed);
	/* Of another boot it does not, nor does nonsense. */
	text[0] = text[0] == '0' ? '1' : '0';
	assert_int_equal(file_replace(cache, "kvm-speed", text, size, 0644, &err), 0);
	assert_true(kvm_probe(-1, cache, &err) < 0);
	assert_int_equal(file_replace(cache, "kvm-speed", "", 0, 0644, &err), 0);
	assert_true(kvm_probe(-1, cache, &err) < 0);
	assert_int_equal(file_remove_all(AT_FDCWD, directory, NULL), 0);
}

static void test_not_kvm(void **state)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct error err = ERROR_INIT;

	(void)state;
	assert_true(kvm_check(null, &err) < 0);
	assert_true(kvm_vm_create(null, &err) < 0);
	assert_true(kvm_probe(null, -1, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exits),	cmocka_unit_test(test_kick),  cmocka_unit_test(test_events),
		cmocka_unit_test(test_state),	cmocka_unit_test(test_stats), cmocka_unit_test(test_probe),
		cmocka_unit_test(test_not_kvm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
