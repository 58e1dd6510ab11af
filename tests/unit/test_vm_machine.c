/* SPDX-License-Identifier: Apache-2.0 */
/* Whole machines with guests of a few instructions, which run where KVM only emulates, too. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "linux/kvm.h"
#include "paradigm/vm/machine/machine.h"
#include "paradigm/vm/machine/private.h"

enum { ORIGIN = 0x100000, CODE = 0x1000, WAIT_MS = 60000 };

/* A guest, and what is connected to it. */
struct guest {
	struct vm_config config;
	struct machine *machine;
	struct loop loop;
	pthread_mutex_t lock;
	struct str out; /* of its serial port */
	int heard;	/* pipe: a byte for each byte of out */
	int said;
	const char *reason;
};

static void output(void *context, const void *bytes, size_t count)
{
	struct guest *guest = context;

	(void)pthread_mutex_lock(&guest->lock);
	str_append_bytes(&guest->out, bytes, count);
	(void)pthread_mutex_unlock(&guest->lock);
	assert_true(write(guest->said, bytes, count) == (ssize_t)count);
}

/* An ELF32 kernel with a multiboot header in front of code: 32 bits, flat segments, no interrupts, no stack. */
static int make_kernel(const uint8_t *code, size_t size)
{
	static const uint32_t multiboot[] = { 0x1badb002, 0, -0x1badb002U };
	const Elf32_Ehdr header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB,
						 EV_CURRENT },
				    .e_type = ET_EXEC,
				    .e_machine = EM_386,
				    .e_version = EV_CURRENT,
				    .e_entry = ORIGIN + sizeof(multiboot),
				    .e_phoff = sizeof(Elf32_Ehdr),
				    .e_ehsize = sizeof(Elf32_Ehdr),
				    .e_phentsize = sizeof(Elf32_Phdr),
				    .e_phnum = 1 };
	const Elf32_Phdr segment = { .p_type = PT_LOAD,
				     .p_offset = CODE,
				     .p_vaddr = ORIGIN,
				     .p_paddr = ORIGIN,
				     .p_filesz = (Elf32_Word)(sizeof(multiboot) + size),
				     .p_memsz = 0x2000,
				     .p_flags = PF_R | PF_W | PF_X };
	int file = memfd_create("kernel", MFD_CLOEXEC);

	assert_true(file >= 0);
	assert_int_equal(pwrite(file, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(pwrite(file, &segment, sizeof(segment), sizeof(header)), sizeof(segment));
	assert_int_equal(pwrite(file, multiboot, sizeof(multiboot), CODE), sizeof(multiboot));
	assert_int_equal(pwrite(file, code, size, CODE + sizeof(multiboot)), size);
	return file;
}

static void prepare_guest(struct guest *guest, const uint8_t *code, size_t size)
{
	struct error err = ERROR_INIT;
	int pipe[2];

	*guest = (struct guest){ .config = VM_CONFIG_INIT, .out = STR_INIT };
	guest->config.kvm = kvm_open(&err);
	if (guest->config.kvm < 0) {
		print_message("skipped: %s\n", err.text);
		skip();
	}
	(void)pthread_mutex_init(&guest->lock, NULL);
	guest->config.kernel = make_kernel(code, size);
	guest->config.memory = 16 << 20;
	guest->config.command_line = "";
	assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
	guest->heard = pipe[0];
	guest->said = pipe[1];
	assert_int_equal(loop_open(&guest->loop, &err), 0);
}

static int try_machine(struct guest *guest, struct error *err)
{
	return machine_make(&(struct machine_options){ .config = &guest->config,
						       .loop = &guest->loop,
						       .console = { .output = output, .context = guest } },
			    &guest->machine, err);
}

static void make_machine(struct guest *guest)
{
	struct error err = ERROR_INIT;

	if (try_machine(guest, &err) < 0)
		fail_msg("%s", err.text);
}

static void start(struct guest *guest)
{
	struct error err = ERROR_INIT;

	if (machine_start(guest->machine, &err) < 0)
		fail_msg("%s", err.text);
}

#define OPEN(guest, code)                                 \
	do {                                              \
		prepare_guest(guest, code, sizeof(code)); \
		make_machine(guest);                      \
		start(guest);                             \
	} while (0)

static enum machine_end wait_for_end(struct guest *guest, unsigned *code)
{
	struct pollfd end = { .fd = machine_end_fd(guest->machine), .events = POLLIN };

	if (poll(&end, 1, WAIT_MS) != 1)
		fail_msg("the guest goes on and on; it wrote \"%s\"", str_text(&guest->out));
	return machine_ended(guest->machine, code, &guest->reason);
}

static void close_guest(struct guest *guest)
{
	machine_free(guest->machine);
	loop_close(&guest->loop);
	close(guest->config.kvm);
	close(guest->config.kernel);
	close(guest->heard);
	close(guest->said);
	str_free(&guest->out);
	(void)pthread_mutex_destroy(&guest->lock);
}

static char hear(struct guest *guest)
{
	struct pollfd heard = { .fd = guest->heard, .events = POLLIN };
	char byte = 0;

	assert_int_equal(poll(&heard, 1, WAIT_MS), 1);
	assert_int_equal(read(guest->heard, &byte, 1), 1);
	return byte;
}

static void test_exit(void **state)
{
	static const uint8_t code[] = {
		0xb0, 0x21, 0xe6, 0xf4, /* out 0x21 to the debug-exit port */
		0xf4, 0xeb, 0xfd,	/* hlt, again */
	};
	struct guest guest;
	unsigned status = 0;

	(void)state;
	OPEN(&guest, code);
	assert_int_equal(wait_for_end(&guest, &status), MACHINE_EXIT);
	assert_int_equal(status, 0x21);
	assert_non_null(strstr(guest.reason, "debug-exit"));
	machine_stop(guest.machine); /* the first reason counts */
	assert_int_equal(machine_ended(guest.machine, NULL, NULL), MACHINE_EXIT);
	close_guest(&guest);
}

/* Reads bytes, writes the next one of the alphabet, ends at 'q'. */
static const uint8_t echo[] = {
	0x66, 0xba, 0xfd, 0x03,	      /* mov $0x3fd, %dx */
	0xec, 0xa8, 0x01, 0x74, 0xf7, /* in %dx, %al; test $1, %al; jz to the beginning */
	0x66, 0xba, 0xf8, 0x03,	      /* mov $0x3f8, %dx */
	0xec, 0x3c, 'q',  0x74, 0x05, /* in %dx, %al; cmp $'q', %al; je end */
	0xfe, 0xc0, 0xee, 0xeb, 0xe9, /* inc %al; out %al, %dx; jmp to the beginning */
	0xb0, 0x00, 0xe6, 0xf4,	      /* end: out 0 to the debug-exit port */
	0xf4, 0xeb, 0xfd,
};

static void test_serial(void **state)
{
	struct guest guest;
	unsigned status = 1;

	(void)state;
	OPEN(&guest, echo);
	assert_int_equal(machine_console_input(guest.machine, "HAL", 3), 3);
	assert_int_equal(hear(&guest), 'I');
	assert_int_equal(hear(&guest), 'B');
	assert_int_equal(hear(&guest), 'M');
	assert_int_equal(machine_console_input(guest.machine, "q", 1), 1);
	assert_int_equal(wait_for_end(&guest, &status), MACHINE_EXIT);
	assert_int_equal(status, 0);
	close_guest(&guest);
}

static void count_room(void *context)
{
	++*(unsigned *)context;
}

/* More input than the port takes: the owner hears when to go on. */
static void test_room(void **state)
{
	static char many[3000];
	struct guest guest;
	struct error err = ERROR_INIT;
	unsigned rooms = 0;
	size_t taken;

	(void)state;
	prepare_guest(&guest, echo, sizeof(echo));
	make_machine(&guest);
	memset(many, 'a', sizeof(many));
	machine_on_room(guest.machine, count_room, &rooms);
	taken = machine_console_input(guest.machine, many, sizeof(many));
	assert_in_range(taken, 1, sizeof(many) - 1);
	start(&guest);
	assert_int_equal(hear(&guest), 'b');
	while (rooms == 0)
		assert_int_equal(loop_wait(&guest.loop, WAIT_MS, &err), 0);
	assert_true(machine_console_input(guest.machine, "q", 1) == 1);
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_EXIT);
	close_guest(&guest);
}

static void test_ends(void **state)
{
	static const uint8_t off[] = { 0x66, 0xba, 0x0c, 0x06, 0xb0, 0x34, 0xee, 0xf4, 0xeb, 0xfd }; /* 0x34 to 0x60c */
	static const uint8_t reset[] = { 0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd };
	/* An invalid instruction, and no table of interrupts to tell it to. */
	static const uint8_t fault[] = { 0x0f, 0x0b };
	/* Nothing is there: ones, and no harm; then 0x7f to the debug-exit port. */
	static const uint8_t nothing[] = { 0xa1, 0x00, 0x00, 0x00, 0xc0,       /* mov 0xc0000000, %eax */
					   0xa3, 0xfc, 0xff, 0xff, 0xdf,       /* mov %eax, 0xdffffffc */
					   0x66, 0xba, 0x99, 0x99, 0xef, 0xed, /* out %eax, 0x9999, and in */
					   0x24, 0x7f, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd };
	struct guest guest;
	unsigned status = 0;

	(void)state;
	OPEN(&guest, off);
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_OFF);
	close_guest(&guest);
	OPEN(&guest, reset);
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_RESET);
	close_guest(&guest);
	OPEN(&guest, fault);
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_CRASHED);
	assert_non_null(strstr(guest.reason, "vCPU 0: triple fault"));
	close_guest(&guest);
	OPEN(&guest, nothing);
	assert_int_equal(wait_for_end(&guest, &status), MACHINE_EXIT);
	assert_int_equal(status, 0x7f);
	close_guest(&guest);
}

/* A string, four bytes at once, two of one; an address that is not aligned, and one on two pages. */
static void test_odd_accesses(void **state)
{
	static const uint8_t code[] = {
		0xbe, 0x36, 0x00, 0x10, 0x00,	    /* mov $text, %esi */
		0xb9, 0x03, 0x00, 0x00, 0x00,	    /* mov $3, %ecx */
		0x66, 0xba, 0xf8, 0x03,		    /* mov $0x3f8, %dx */
		0xf3, 0x6e,			    /* rep outsb */
		0xb8, 0x21, 0x00, 0x00, 0x00, 0xef, /* mov $'!', %eax; out %eax, %dx */
		0x66, 0xed,			    /* in %dx, %ax */
		0xa1, 0x01, 0x00, 0x00, 0xc0,	    /* mov 0xc0000001, %eax */
		0x66, 0xa3, 0xff, 0x0f, 0x00, 0xc0, /* mov %ax, 0xc0000fff */
		0xb0, 0x2a, 0xe6, 0xf4,		    /* out 0x2a to the debug-exit port */
		0xf4, 0xeb, 0xfd, 'o',	'd',  'd',
	};
	struct arena arena = { .head = NULL };
	struct str text = STR_INIT;
	const struct json_value *root;
	struct guest guest;
	struct error err = ERROR_INIT;
	unsigned status = 0;

	(void)state;
	OPEN(&guest, code);
	assert_int_equal(wait_for_end(&guest, &status), MACHINE_EXIT);
	assert_int_equal(status, 0x2a);
	assert_int_equal(hear(&guest), 'o');
	assert_int_equal(hear(&guest), 'd');
	assert_int_equal(hear(&guest), 'd');
	machine_counters(guest.machine, &text);
	if (json_parse(text.text, text.length, &arena, &root, &err) < 0)
		fail_msg("%s: %s", err.text, text.text);
	assert_true(json_find(json_find(root, "unknown"), "memory")->magnitude >= 2);
	arena_free(&arena);
	str_free(&text);
	close_guest(&guest);
}

static const uint8_t idle[] = { 0xf4, 0xeb, 0xfd };
static const uint8_t busy[] = { 0xeb, 0xfe };

static void test_stop(void **state)
{
	struct guest guest;

	(void)state;
	OPEN(&guest, idle);
	machine_stop(guest.machine);
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_OFF);
	close_guest(&guest);
	OPEN(&guest, busy);
	close_guest(&guest);
	prepare_guest(&guest, busy, sizeof(busy));
	make_machine(&guest);
	close_guest(&guest); /* never started */
}

static void test_pause(void **state)
{
	struct guest guest;
	struct error err = ERROR_INIT;

	(void)state;
	OPEN(&guest, echo);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(machine_pause(guest.machine, &err), 0);
		assert_int_equal(machine_pause(guest.machine, &err), 0);
		assert_int_equal(machine_console_input(guest.machine, "a", 1), 1);
		assert_int_equal(poll(&(struct pollfd){ .fd = guest.heard, .events = POLLIN }, 1, 0), 0);
		assert_int_equal(machine_resume(guest.machine, &err), 0);
		assert_int_equal(hear(&guest), 'b');
	}
	assert_int_equal(machine_pause(guest.machine, &err), 0);
	machine_stop(guest.machine);
	assert_int_equal(machine_pause(guest.machine, &err), -ESRCH);
	assert_int_equal(machine_resume(guest.machine, &err), 0);
	close_guest(&guest);
}

/*
 * The first vCPU sends INIT and SIPI to all others; each adds itself up in memory, and the last one ends the machine
 * with how many they are.  What they run is copied to 0x8000 first.
 */
static const uint8_t many_vcpus[] = {
	0xbe,
	0x0c + 0x40,
	0x00,
	0x10,
	0x00, /* mov $others, %esi */
	0xbf,
	0x00,
	0x80,
	0x00,
	0x00, /* mov $0x8000, %edi */
	0xb9,
	0x20,
	0x00,
	0x00,
	0x00,
	0xf3,
	0xa4, /* mov $32, %ecx; rep movsb */
	0xb8,
	0x00,
	0xc5,
	0x0c,
	0x00, /* mov $0xc4500 | all but self, %eax: INIT */
	0xa3,
	0x00,
	0x03,
	0xe0,
	0xfe, /* mov %eax, 0xfee00300 */
	0xb8,
	0x08,
	0x46,
	0x0c,
	0x00, /* mov $0xc4608, %eax: SIPI to 0x8000 */
	0xa3,
	0x00,
	0x03,
	0xe0,
	0xfe, /* mov %eax, 0xfee00300 */
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90, /* to 0x2e */
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90, /* 0x3f */
	0xf4,
	/* others, real mode, cs 0x800: */
	0x31,
	0xc0,
	0x8e,
	0xd8, /* xor %ax, %ax; mov %ax, %ds */
	0xb0,
	0x01, /* mov $1, %al */
	0xf0,
	0x0f,
	0xc0,
	0x06,
	0x00,
	0x90, /* lock xadd %al, 0x9000 */
	0xfe,
	0xc0,
	0x3c,
	0x03, /* inc %al; cmp $3, %al */
	0x75,
	0x02,
	0xe6,
	0xf4, /* jne; out %al, $0xf4 */
	0xf4,
	0xeb,
	0xfd, /* hlt */
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
	0x90,
};

static void test_smp(void **state)
{
	struct guest guest;
	unsigned status = 0;

	(void)state;
	prepare_guest(&guest, many_vcpus, sizeof(many_vcpus));
	guest.config.vcpus = 4;
	guest.config.pins[0] = 0;
	guest.config.pins_count = 1;
	make_machine(&guest);
	start(&guest);
	assert_int_equal(wait_for_end(&guest, &status), MACHINE_EXIT);
	assert_int_equal(status, 3);
	close_guest(&guest);
}

/* Whatever they are doing, being started or waiting for it, all stand still and go on. */
static void test_smp_pause(void **state)
{
	struct guest guest;
	struct error err = ERROR_INIT;
	unsigned status = 0;

	(void)state;
	prepare_guest(&guest, many_vcpus, sizeof(many_vcpus));
	guest.config.vcpus = 4;
	make_machine(&guest);
	start(&guest);
	for (int i = 0; i < 100 && machine_pause(guest.machine, &err) == 0; i++)
		assert_int_equal(machine_resume(guest.machine, &err), 0);
	assert_int_equal(wait_for_end(&guest, &status), MACHINE_EXIT);
	assert_int_equal(status, 3);
	close_guest(&guest);
}

/* One runs, the other was never started. */
static void test_smp_snapshot(void **unused)
{
	cleanup_close int state = memfd_create("state", MFD_CLOEXEC), memory = memfd_create("memory", MFD_CLOEXEC);
	cleanup_close int again = memfd_create("again", MFD_CLOEXEC), again_memory = memfd_create("m", MFD_CLOEXEC);
	struct guest guest;
	struct error err = ERROR_INIT;

	(void)unused;
	prepare_guest(&guest, echo, sizeof(echo));
	guest.config.vcpus = 2;
	make_machine(&guest);
	start(&guest);
	assert_int_equal(machine_console_input(guest.machine, "a", 1), 1);
	assert_int_equal(hear(&guest), 'b');
	assert_int_equal(machine_pause(guest.machine, &err), 0);
	if (machine_save(guest.machine, state, memory, &err) < 0)
		fail_msg("%s", err.text);
	close_guest(&guest);

	prepare_guest(&guest, idle, sizeof(idle));
	guest.config.vcpus = 2;
	guest.config.snapshot = state;
	guest.config.snapshot_memory = memory;
	make_machine(&guest);
	/* What was not let go saves as what it was made of. */
	if (machine_save(guest.machine, again, again_memory, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(lseek(again, 0, SEEK_END), lseek(state, 0, SEEK_END));
	start(&guest);
	assert_int_equal(machine_console_input(guest.machine, "yq", 2), 2);
	assert_int_equal(hear(&guest), 'z');
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_EXIT);
	close_guest(&guest);
}

static void test_snapshot(void **unused)
{
	cleanup_close int state = memfd_create("state", MFD_CLOEXEC), memory = memfd_create("memory", MFD_CLOEXEC);
	struct guest guest;
	struct error err = ERROR_INIT;
	uint8_t byte = 0;

	(void)unused;
	OPEN(&guest, echo);
	assert_int_equal(machine_console_input(guest.machine, "a", 1), 1);
	assert_int_equal(hear(&guest), 'b');
	assert_int_equal(machine_pause(guest.machine, &err), 0);
	assert_int_equal(machine_console_input(guest.machine, "rs", 2), 2);
	if (machine_save(guest.machine, state, memory, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(machine_resume(guest.machine, &err), 0); /* it goes on, too */
	assert_int_equal(hear(&guest), 's');
	close_guest(&guest);

	for (int i = 0; i < 2; i++) { /* more than once */
		prepare_guest(&guest, idle, sizeof(idle));
		guest.config.snapshot = state;
		guest.config.snapshot_memory = memory;
		make_machine(&guest);
		start(&guest);
		assert_int_equal(hear(&guest), 's');
		assert_int_equal(hear(&guest), 't');
		assert_int_equal(machine_console_input(guest.machine, "yq", 2), 2);
		assert_int_equal(hear(&guest), 'z');
		assert_int_equal(wait_for_end(&guest, NULL), MACHINE_EXIT);
		close_guest(&guest);
	}

	/* Another machine than that which was saved, and a state that was cut or damaged. */
	prepare_guest(&guest, idle, sizeof(idle));
	guest.config.snapshot = state;
	guest.config.snapshot_memory = memory;
	guest.config.vcpus = 2;
	assert_int_equal(try_machine(&guest, &err), -EINVAL);
	guest.config.vcpus = 1;
	guest.config.memory = 8 << 20;
	assert_int_equal(try_machine(&guest, &err), -EINVAL);
	guest.config.memory = 16 << 20;
	for (off_t at = lseek(state, 0, SEEK_END) - 1; at > 0; at = at * 3 / 4) {
		assert_int_equal(ftruncate(state, at), 0);
		assert_int_equal(try_machine(&guest, &err), -EINVAL);
	}
	assert_int_equal(pwrite(state, &byte, 1, 0), 1);
	assert_int_equal(try_machine(&guest, &err), -EINVAL);
	close_guest(&guest);
}

static const struct machine *noted;
static bool resumed, too_late;

static void note_resume(struct device *device)
{
	(void)device;
	resumed = true;
	too_late = noted->io.started;
}

/* What belongs to the I/O thread is touched by others only before that runs. */
static void test_resume_before_threads(void **unused)
{
	cleanup_close int state = memfd_create("state", MFD_CLOEXEC), memory = memfd_create("memory", MFD_CLOEXEC);
	struct device_ops ops;
	struct guest guest;
	struct error err = ERROR_INIT;

	(void)unused;
	OPEN(&guest, idle);
	assert_int_equal(machine_pause(guest.machine, &err), 0);
	assert_int_equal(machine_save(guest.machine, state, memory, &err), 0);
	close_guest(&guest);
	prepare_guest(&guest, idle, sizeof(idle));
	guest.config.snapshot = state;
	guest.config.snapshot_memory = memory;
	make_machine(&guest);
	ops = *guest.machine->devices[0]->ops;
	ops.resume = note_resume;
	guest.machine->devices[0]->ops = &ops;
	noted = guest.machine;
	start(&guest);
	assert_true(resumed);
	assert_false(too_late);
	close_guest(&guest);
}

/*
 * Puts patterns into XMM0, DR0 and the first MTRR and says so; when it hears a byte, it looks at them again and ends
 * with 1, and 2, 4, 8 more for what is not the same.
 */
static const uint8_t registers[] = {
	0x0f, 0x20, 0xe0,			     /* mov %cr4, %eax */
	0x66, 0x0d, 0x00, 0x02,			     /* or $0x200, %ax: OSFXSR */
	0x0f, 0x22, 0xe0,			     /* mov %eax, %cr4 */
	0x0f, 0x10, 0x05, 0x89, 0x00, 0x10, 0x00,    /* movups pattern, %xmm0 */
	0xb8, 0x78, 0x56, 0x34, 0x12,		     /* mov $0x12345678, %eax */
	0x0f, 0x23, 0xc0,			     /* mov %eax, %dr0 */
	0xb9, 0x00, 0x02, 0x00, 0x00, 0x31, 0xd2,    /* mov $0x200, %ecx; xor %edx, %edx */
	0xb8, 0x06, 0x00, 0x00, 0x80, 0x0f, 0x30,    /* mov $0x80000006, %eax; wrmsr */
	0x66, 0xba, 0xf8, 0x03, 0xb0, 'r',  0xee,    /* mov $0x3f8, %dx; mov $'r', %al; out %al, %dx */
	0x66, 0xba, 0xfd, 0x03,			     /* mov $0x3fd, %dx */
	0xec, 0xa8, 0x01, 0x74, 0xf7,		     /* in %dx, %al; test $1, %al; jz to the last mov */
	0x0f, 0x11, 0x05, 0x99, 0x00, 0x10, 0x00,    /* movups %xmm0, found */
	0x30, 0xdb,				     /* xor %bl, %bl */
	0xbe, 0x89, 0x00, 0x10, 0x00,		     /* mov $pattern, %esi */
	0xbf, 0x99, 0x00, 0x10, 0x00,		     /* mov $found, %edi */
	0xb9, 0x10, 0x00, 0x00, 0x00, 0xf3, 0xa6,    /* mov $16, %ecx; repe cmpsb */
	0x74, 0x03, 0x80, 0xcb, 0x02,		     /* je; or $2, %bl */
	0x0f, 0x21, 0xc0,			     /* mov %dr0, %eax */
	0x3d, 0x78, 0x56, 0x34, 0x12,		     /* cmp $0x12345678, %eax */
	0x74, 0x03, 0x80, 0xcb, 0x04,		     /* je; or $4, %bl */
	0xb9, 0x00, 0x02, 0x00, 0x00, 0x0f, 0x32,    /* mov $0x200, %ecx; rdmsr */
	0x3d, 0x06, 0x00, 0x00, 0x80,		     /* cmp $0x80000006, %eax */
	0x74, 0x03, 0x80, 0xcb, 0x08,		     /* je; or $8, %bl */
	0xfe, 0xc3, 0x88, 0xd8,			     /* inc %bl; mov %bl, %al */
	0xe6, 0xf4, 0xf4, 0xeb, 0xfd,		     /* out %al, $0xf4; hlt, again */
	'P',  'A',  'T',  'T',	'E',  'R',  'N',  0, /* pattern, at 0x100089 */
	1,    2,    3,	  4,	5,    6,    7,	  8,
};

static void test_registers(void **unused)
{
	cleanup_close int state = memfd_create("state", MFD_CLOEXEC), memory = memfd_create("memory", MFD_CLOEXEC);
	static uint8_t bytes[1 << 20];
	struct guest guest;
	struct error err = ERROR_INIT;
	unsigned status = 0;
	ssize_t size;
	uint8_t *vcpu;

	(void)unused;
	OPEN(&guest, registers);
	assert_int_equal(hear(&guest), 'r');
	assert_int_equal(machine_pause(guest.machine, &err), 0);
	if (machine_save(guest.machine, state, memory, &err) < 0)
		fail_msg("%s", err.text);
	close_guest(&guest);

	prepare_guest(&guest, idle, sizeof(idle));
	guest.config.snapshot = state;
	guest.config.snapshot_memory = memory;
	make_machine(&guest);
	start(&guest);
	assert_int_equal(machine_console_input(guest.machine, "q", 1), 1);
	assert_int_equal(wait_for_end(&guest, &status), MACHINE_EXIT);
	assert_int_equal(status, 1);
	machine_free(guest.machine);

	/* An older version had less in it. */
	size = pread(state, bytes, sizeof(bytes), 0);
	vcpu = memmem(bytes, (size_t)size, "vcpu", 4);
	assert_non_null(vcpu);
	assert_int_equal(vcpu[4], 2);
	vcpu[4] = 1;
	assert_int_equal(pwrite(state, bytes, (size_t)size, 0), size);
	assert_int_equal(try_machine(&guest, &err), -EINVAL);
	assert_non_null(strstr(err.text, "older"));
	close_guest(&guest);
}

/* A file that cannot be synced: what a disk was given may be lost, and the snapshot would not know. */
static void test_snapshot_of_a_failed_disk(void **unused)
{
	cleanup_close int state = memfd_create("state", MFD_CLOEXEC), memory = memfd_create("memory", MFD_CLOEXEC);
	struct guest guest;
	struct error err = ERROR_INIT;

	(void)unused;
	prepare_guest(&guest, echo, sizeof(echo));
	guest.config.kind = VM_KIND_VM;
	guest.config.disks_count = 1;
	guest.config.disks[0].chain_count = 1;
	guest.config.disks[0].chain[0].format = "raw";
	guest.config.disks[0].chain[0].fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	assert_true(guest.config.disks[0].chain[0].fd >= 0);
	make_machine(&guest);
	start(&guest);
	assert_int_equal(machine_console_input(guest.machine, "a", 1), 1);
	assert_int_equal(hear(&guest), 'b');
	assert_int_equal(machine_pause(guest.machine, &err), 0);
	assert_int_equal(machine_save(guest.machine, state, memory, &err), -EINVAL);
	assert_non_null(strstr(err.text, "disks"));
	assert_int_equal(machine_resume(guest.machine, &err), 0); /* the guest goes on */
	assert_int_equal(machine_console_input(guest.machine, "aq", 2), 2);
	assert_int_equal(hear(&guest), 'b');
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_EXIT);
	close(guest.config.disks[0].chain[0].fd);
	close_guest(&guest);
}

static void test_counters(void **state)
{
	struct arena arena = { .head = NULL };
	struct str text = STR_INIT;
	const struct json_value *root, *vcpu;
	struct guest guest;
	struct error err = ERROR_INIT;

	(void)state;
	OPEN(&guest, echo);
	machine_counters(guest.machine, &text); /* while the guest does what is counted */
	assert_non_null(strstr(str_text(&text), "port_read"));
	str_free(&text);
	assert_int_equal(machine_console_input(guest.machine, "q", 1), 1);
	assert_int_equal(wait_for_end(&guest, NULL), MACHINE_EXIT);
	machine_counters(guest.machine, &text);
	if (json_parse(text.text, text.length, &arena, &root, &err) < 0)
		fail_msg("%s: %s", err.text, text.text);
	vcpu = json_find(root, "vcpus")->first;
	assert_int_equal(json_find(json_find(vcpu, "exits"), "port_write")->magnitude, 1);
	assert_true(json_find(json_find(vcpu, "exits"), "port_read")->magnitude >= 2);
	assert_non_null(json_find(json_find(root, "unknown"), "ports"));
	assert_non_null(json_find(root, "disks"));
	assert_null(json_find(root, "balloon")); /* a bare machine has none */
	assert_int_equal(machine_balloon(guest.machine, 4096, &err), -EOPNOTSUPP);
	arena_free(&arena);
	str_free(&text);
	close_guest(&guest);
}

static void test_bad_config(void **state)
{
	struct guest guest;
	struct error err = ERROR_INIT;

	(void)state;
	prepare_guest(&guest, idle, sizeof(idle));
	guest.config.vcpus = 0;
	assert_int_equal(try_machine(&guest, &err), -EINVAL);
	guest.config.vcpus = VM_VCPUS_MAX + 1;
	assert_int_equal(try_machine(&guest, &err), -EINVAL);
	guest.config.vcpus = 1;
	guest.config.memory = 4096;
	assert_int_equal(try_machine(&guest, &err), -EINVAL);
	guest.config.memory = UINT64_MAX;
	assert_true(try_machine(&guest, &err) < 0);
	guest.config.memory = 16 << 20;
	assert_int_equal(ftruncate(guest.config.kernel, 100), 0);
	assert_int_equal(try_machine(&guest, &err), -ENOEXEC);
	assert_null(guest.machine);
	/* A CPU that no host has. */
	guest.config.kernel = (close(guest.config.kernel), make_kernel(idle, sizeof(idle)));
	guest.config.pins[0] = 1000;
	guest.config.pins_count = 1;
	make_machine(&guest);
	assert_true(machine_start(guest.machine, &err) < 0);
	assert_non_null(strstr(err.text, "on CPU 1000"));
	close_guest(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit),	     cmocka_unit_test(test_serial),
		cmocka_unit_test(test_room),	     cmocka_unit_test(test_ends),
		cmocka_unit_test(test_stop),	     cmocka_unit_test(test_pause),
		cmocka_unit_test(test_smp),	     cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_counters),     cmocka_unit_test(test_bad_config),
		cmocka_unit_test(test_odd_accesses), cmocka_unit_test(test_smp_pause),
		cmocka_unit_test(test_smp_snapshot), cmocka_unit_test(test_snapshot_of_a_failed_disk),
		cmocka_unit_test(test_registers),    cmocka_unit_test(test_resume_before_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
