/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/boot: kernels of each kind, made here and real; what the kernel is told; damaged ones. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "paradigm/vm/boot/load.h"
#include "paradigm/vm/machine/layout.h"

enum { MEMORY = 64 << 20, IMAGE = 64 << 10 };

struct made {
	uint8_t bytes[IMAGE];
	size_t size;
};

static int file_of(const void *bytes, size_t size)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, size, 0), (ssize_t)size);
	return fd;
}

static void make_memory(struct guest_memory *memory, uint64_t size)
{
	struct guest_region regions[2];
	size_t count = layout_regions(size, regions);
	struct error err = ERROR_INIT;

	assert_int_equal(guest_memory_make(memory, regions, count, 0, &err), 0);
}

static uint32_t word(const struct guest_memory *memory, uint64_t address)
{
	uint32_t value = 0;

	assert_true(guest_memory_read(memory, address, &value, sizeof(value)));
	return value;
}

static uint64_t quad(const struct guest_memory *memory, uint64_t address)
{
	return word(memory, address) | (uint64_t)word(memory, address + 4) << 32;
}

static void assert_text(const struct guest_memory *memory, uint64_t address, const char *text)
{
	const char *there = guest_memory_at(memory, address, strlen(text) + 1);

	assert_non_null(there);
	assert_string_equal(there, text);
}

static void put(struct made *made, size_t at, const void *bytes, size_t size)
{
	assert_true(at + size <= IMAGE);
	memcpy(made->bytes + at, bytes, size);
	if (at + size > made->size)
		made->size = at + size;
}

static void put_number(struct made *made, size_t at, uint64_t value, size_t size)
{
	put(made, at, &value, size);
}

static void make_bzimage(struct made *made)
{
	*made = (struct made){ .size = 4096 };
	put_number(made, 0x1f1, 1, 1); /* setup: two sectors */
	put_number(made, 0x1fe, 0xaa55, 2);
	put_number(made, 0x201, 0x6a, 1);
	put(made, 0x202, "HdrS", 4);
	put_number(made, 0x206, 0x20f, 2);
	put_number(made, 0x211, 1, 1);
	put_number(made, 0x22c, 0x7fffffff, 4);
	put_number(made, 0x230, 0x200000, 4);
	put_number(made, 0x234, 1, 1);
	put_number(made, 0x236, 1, 2);
	put_number(made, 0x238, 2047, 4);
	put_number(made, 0x258, 0x1000000, 8);
	put_number(made, 0x260, 0x400000, 4);
	put(made, 1024, "kernel proper", 14);
}

static void make_elf64(struct made *made, uint64_t note)
{
	Elf64_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			      .e_type = ET_EXEC,
			      .e_machine = EM_X86_64,
			      .e_entry = 0x1000100,
			      .e_phoff = sizeof(header),
			      .e_phentsize = sizeof(Elf64_Phdr),
			      .e_phnum = 2 };
	Elf64_Phdr load = { .p_type = PT_LOAD,
			    .p_offset = 0x1000,
			    .p_paddr = 0x1000000,
			    .p_vaddr = 0xffffffff81000000,
			    .p_filesz = 0x1000,
			    .p_memsz = 0x3000 };
	Elf64_Phdr notes = { .p_type = note ? PT_NOTE : PT_NULL, .p_offset = 0x800, .p_filesz = 48, .p_align = 4 };
	Elf64_Nhdr other = { .n_namesz = 4, .n_descsz = 8, .n_type = 3 };
	Elf64_Nhdr entry = { .n_namesz = 4, .n_descsz = 8, .n_type = 18 };

	*made = (struct made){ .size = 0x2000 };
	put(made, 0, &header, sizeof(header));
	put(made, sizeof(header), &load, sizeof(load));
	put(made, sizeof(header) + sizeof(load), &notes, sizeof(notes));
	put(made, 0x800, &other, sizeof(other));
	put(made, 0x80c, "GNU", 4);
	put(made, 0x818, &entry, sizeof(entry));
	put(made, 0x824, "Xen", 4);
	put(made, 0x828, &note, sizeof(note));
	put(made, 0x1000, "kernel proper", 14);
}

static void make_multiboot(struct made *made)
{
	Elf32_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1 },
			      .e_type = ET_EXEC,
			      .e_machine = EM_386,
			      .e_entry = 0x400020,
			      .e_phoff = sizeof(header),
			      .e_phentsize = sizeof(Elf32_Phdr),
			      .e_phnum = 1 };
	Elf32_Phdr load = { .p_type = PT_LOAD,
			    .p_offset = 0x1000,
			    .p_paddr = 0x400000,
			    .p_vaddr = 0x400000,
			    .p_filesz = 0x1000,
			    .p_memsz = 0x3000 };

	*made = (struct made){ .size = 0x2000 };
	put(made, 0, &header, sizeof(header));
	put(made, sizeof(header), &load, sizeof(load));
	put(made, 0x1000, "kernel proper", 14);
	put_number(made, 0x1010, 0x1badb002, 4);
	put_number(made, 0x1014, 2, 4);
	put_number(made, 0x1018, (uint32_t) - (0x1badb002 + 2), 4);
}

/* Loads it with a command line and an initramfs of 5000 bytes; the caller frees memory. */
static int load(const struct made *made, uint64_t size, struct guest_memory *memory, struct boot_state *state,
		struct error *err)
{
	static const char initrd[5000] = "initramfs";
	cleanup_close int kernel_fd = file_of(made->bytes, made->size);
	cleanup_close int initrd_fd = file_of(initrd, sizeof(initrd));
	struct boot_image image = { kernel_fd, initrd_fd, "test.flat", "console=ttyS0 quiet" };

	make_memory(memory, size);
	return boot_load(&image, memory, LAYOUT_ACPI, state, err);
}

static void load_well(const struct made *made, struct guest_memory *memory, struct boot_state *state)
{
	struct error err = ERROR_INIT;
	int ret = load(made, MEMORY, memory, state, &err);

	if (ret < 0)
		fail_msg("%s", err.text);
}

/* The selectors in the table say what the registers say. */
static void assert_descriptors(const struct guest_memory *memory, const struct boot_state *state, bool wide)
{
	assert_int_equal(state->gdt_limit, 47);
	assert_true(quad(memory, state->gdt_base) == 0);
	assert_true(quad(memory, state->gdt_base + state->code.selector) ==
		    (wide ? 0x00af9b000000ffff : 0x00cf9b000000ffff));
	assert_true(quad(memory, state->gdt_base + state->data.selector) == 0x00cf93000000ffff);
	assert_true(quad(memory, state->gdt_base + state->task.selector) == 0x00008b0000000067);
	assert_int_equal(state->code.l, wide);
	assert_int_equal(state->rflags, 2);
}

static void assert_long_mode(const struct guest_memory *memory, const struct boot_state *state)
{
	static const uint64_t addresses[] = { 0, 0x1000200, 0x7fffffff, 0xfee00010, 0xffffffff };

	assert_int_equal(state->mode, BOOT_LONG64);
	assert_true(state->cr0 == 0x80000011 && state->cr4 == 0x20 && state->efer == 0x500);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		uint64_t address = addresses[i];
		uint64_t entry = quad(memory, (state->cr3 & ~UINT64_C(0xfff)) + (address >> 39 & 511) * 8);

		assert_int_equal(entry & 3, 3);
		entry = quad(memory, (entry & ~UINT64_C(0xfff)) + (address >> 30 & 511) * 8);
		assert_int_equal(entry & 3, 3);
		entry = quad(memory, (entry & ~UINT64_C(0xfff)) + (address >> 21 & 511) * 8);
		assert_int_equal(entry & 0x83, 0x83);
		assert_true((entry & ~UINT64_C(0x1fffff)) == (address & ~UINT64_C(0x1fffff)));
	}
	assert_descriptors(memory, state, true);
}

static void assert_zero_page(const struct guest_memory *memory, const struct boot_state *state)
{
	uint64_t page = state->rsi, initrd = word(memory, page + 0x218);
	unsigned entries = word(memory, page + 0x1e8) & 0xff;

	assert_int_equal(word(memory, page + 0x202), 0x53726448);
	assert_int_equal(word(memory, page + 0x210) & 0xff, 0xff);
	assert_text(memory, word(memory, page + 0x228), "console=ttyS0 quiet");
	assert_int_equal(word(memory, page + 0x21c), 5000);
	assert_text(memory, initrd, "initramfs");
	assert_int_equal(initrd % 4096, 0);
	assert_true(quad(memory, page + 0x070) == LAYOUT_ACPI);
	assert_int_equal(entries, 4);
	assert_true(quad(memory, page + 0x2d0) == 0 && quad(memory, page + 0x2d8) == LAYOUT_EBDA);
	assert_int_equal(word(memory, page + 0x2e0), 1);
	assert_true(quad(memory, page + 0x2d0 + 3 * 20) == 0x100000);
	assert_true(quad(memory, page + 0x2d0 + 3 * 20 + 8) == MEMORY - 0x100000);
}

static void test_bzimage(void **unused)
{
	struct guest_memory memory;
	struct boot_state state;
	struct made made;

	(void)unused;
	make_bzimage(&made);
	load_well(&made, &memory, &state);
	assert_int_equal(state.protocol, BOOT_LINUX64);
	assert_true(state.rip == 0x1000200);
	assert_text(&memory, 0x1000000, "kernel proper");
	assert_long_mode(&memory, &state);
	assert_zero_page(&memory, &state);
	guest_memory_free(&memory);
}

static void test_bzimage_32_bit(void **unused)
{
	struct guest_memory memory;
	struct boot_state state;
	struct made made;

	(void)unused;
	make_bzimage(&made);
	put_number(&made, 0x236, 0, 2);
	load_well(&made, &memory, &state);
	assert_int_equal(state.protocol, BOOT_LINUX32);
	assert_int_equal(state.mode, BOOT_PROTECTED32);
	assert_true(state.rip == 0x1000000 && state.cr0 == 0x11 && state.cr4 == 0 && state.efer == 0);
	assert_descriptors(&memory, &state, false);
	assert_zero_page(&memory, &state);
	guest_memory_free(&memory);
}

/* Where memory ends below the place that it was linked for, it goes to the next one. */
static void test_bzimage_elsewhere(void **unused)
{
	struct error err = ERROR_INIT;
	struct guest_memory memory;
	struct boot_state state;
	struct made made;

	(void)unused;
	make_bzimage(&made);
	assert_int_equal(load(&made, 16 << 20, &memory, &state, &err), 0);
	assert_true(state.rip == 0x200200);
	guest_memory_free(&memory);
	put_number(&made, 0x234, 0, 1); /* not relocatable */
	assert_int_equal(load(&made, 16 << 20, &memory, &state, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "too little memory for the kernel: it takes 4 MiB"));
	guest_memory_free(&memory);
}

static void test_pvh(void **unused)
{
	struct guest_memory memory;
	struct boot_state state;
	struct made made;
	uint64_t info;

	(void)unused;
	make_elf64(&made, 0x1000200);
	load_well(&made, &memory, &state);
	assert_int_equal(state.protocol, BOOT_PVH);
	assert_int_equal(state.mode, BOOT_PROTECTED32);
	assert_true(state.rip == 0x1000200 && state.cr0 == 0x11 && state.cr4 == 0);
	assert_descriptors(&memory, &state, false);
	assert_text(&memory, 0x1000000, "kernel proper");
	info = state.rbx;
	assert_int_equal(word(&memory, info), 0x336ec578);
	assert_int_equal(word(&memory, info + 4), 1);
	assert_int_equal(word(&memory, info + 12), 1);
	assert_text(&memory, quad(&memory, quad(&memory, info + 16)), "initramfs");
	assert_true(quad(&memory, quad(&memory, info + 16) + 8) == 5000);
	assert_text(&memory, quad(&memory, info + 24), "console=ttyS0 quiet");
	assert_true(quad(&memory, info + 32) == LAYOUT_ACPI);
	assert_int_equal(word(&memory, info + 48), 4);
	assert_true(quad(&memory, quad(&memory, info + 40) + 3 * 24) == 0x100000);
	guest_memory_free(&memory);
}

/* Holes of the file are zeros in memory; what lies behind, between and before them is where it belongs. */
static void test_holes(void **unused)
{
	enum { SPAN = 2 << 20, HERE = 1 << 20, SHORT = HERE + 65536 };
	static const struct {
		uint64_t filled, end; /* of the data in the middle; the end of the file */
	} cases[] = { { 4, SPAN }, { 0, SPAN }, { SPAN - HERE, SPAN }, { 65536, SHORT } };

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_close int fd = -1;
		struct boot_image image = { .initrd = -1, .command_line = "" };
		struct error err = ERROR_INIT;
		struct guest_memory memory;
		struct boot_state state;
		static char middle[HERE];
		struct made made;

		make_elf64(&made, 0);
		put_number(&made, sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz), cases[i].end - 0x1000, 8);
		put_number(&made, sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_memsz), SPAN, 8);
		fd = file_of(made.bytes, made.size);
		memset(middle, 'm', sizeof(middle));
		assert_int_equal(pwrite(fd, middle, cases[i].filled, HERE), cases[i].filled);
		assert_int_equal(ftruncate(fd, (off_t)cases[i].end), 0);
		image.kernel = fd;
		make_memory(&memory, MEMORY);
		assert_int_equal(boot_load(&image, &memory, LAYOUT_ACPI, &state, &err), 0);
		assert_text(&memory, 0x1000000, "kernel proper");
		assert_memory_equal(guest_memory_at(&memory, 0x1000000 + HERE - 0x1000, HERE), middle, cases[i].filled);
		assert_int_equal(word(&memory, 0x1000000 + HERE - 0x1004), 0);
		assert_int_equal(word(&memory, 0x1000000 + HERE - 0x1000 + cases[i].filled), 0);
		guest_memory_free(&memory);
	}
}

/* Without the note: at the entry point, which may be a virtual address. */
static void test_elf64(void **unused)
{
	struct guest_memory memory;
	struct boot_state state;
	struct made made;

	(void)unused;
	make_elf64(&made, 0);
	load_well(&made, &memory, &state);
	assert_int_equal(state.protocol, BOOT_ELF64);
	assert_true(state.rip == 0x1000100);
	assert_long_mode(&memory, &state);
	assert_zero_page(&memory, &state);
	guest_memory_free(&memory);

	put_number(&made, offsetof(Elf64_Ehdr, e_entry), 0xffffffff81000234, 8);
	load_well(&made, &memory, &state);
	assert_true(state.rip == 0x1000234);
	guest_memory_free(&memory);
}

static void test_multiboot(void **unused)
{
	struct guest_memory memory;
	struct boot_state state;
	struct made made;
	uint64_t info;

	(void)unused;
	make_multiboot(&made);
	load_well(&made, &memory, &state);
	assert_int_equal(state.protocol, BOOT_MULTIBOOT);
	assert_true(state.rip == 0x400020 && state.rax == 0x2badb002);
	assert_text(&memory, 0x400000, "kernel proper");
	info = state.rbx;
	assert_int_equal(word(&memory, info), 0x24d);
	assert_int_equal(word(&memory, info + 4), 639);
	assert_int_equal(word(&memory, info + 8), (MEMORY >> 10) - 1024);
	assert_text(&memory, word(&memory, info + 16), "test.flat console=ttyS0 quiet");
	assert_int_equal(word(&memory, info + 20), 1);
	assert_text(&memory, word(&memory, word(&memory, info + 24)), "initramfs");
	assert_int_equal(word(&memory, word(&memory, info + 24) + 4) - word(&memory, word(&memory, info + 24)), 5000);
	assert_int_equal(word(&memory, info + 44), 4 * 24);
	assert_int_equal(word(&memory, word(&memory, info + 48)), 20);
	assert_text(&memory, word(&memory, info + 64), "caisson");
	guest_memory_free(&memory);
}

/* Memory on both sides of the devices. */
static void test_memory_map(void **unused)
{
	struct error err = ERROR_INIT;
	struct guest_memory memory;
	struct boot_state state;
	struct made made;
	uint64_t map;

	(void)unused;
	make_elf64(&made, 0x1000200);
	assert_int_equal(load(&made, UINT64_C(5) << 30, &memory, &state, &err), 0);
	map = quad(&memory, state.rbx + 40);
	assert_int_equal(word(&memory, state.rbx + 48), 5);
	assert_true(quad(&memory, map + 3 * 24 + 8) == LAYOUT_RAM_LOW_END - 0x100000);
	assert_true(quad(&memory, map + 4 * 24) == LAYOUT_RAM_HIGH);
	assert_true(quad(&memory, map + 4 * 24 + 8) == UINT64_C(2) << 30);
	guest_memory_free(&memory);
}

/* Changes size bytes at a place of a kernel, and expects an error. */
static void refuse(const struct made *good, size_t at, uint64_t value, size_t size, int code, const char *words)
{
	struct error err = ERROR_INIT;
	struct guest_memory memory;
	struct boot_state state;
	struct made made = *good;

	put_number(&made, at, value, size);
	assert_int_equal(load(&made, MEMORY, &memory, &state, &err), -code);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" should say \"%s\"", err.text, words);
	guest_memory_free(&memory);
}

static void test_damaged_elf(void **unused)
{
	const size_t segment = sizeof(Elf64_Ehdr);
	struct made made;

	(void)unused;
	make_elf64(&made, 0x1000200);
	refuse(&made, offsetof(Elf64_Ehdr, e_machine), EM_AARCH64, 2, ENOEXEC, "not for x86");
	refuse(&made, offsetof(Elf64_Ehdr, e_type), ET_REL, 2, ENOEXEC, "not a program");
	refuse(&made, offsetof(Elf64_Ehdr, e_phoff), UINT64_MAX - 8, 8, ENOEXEC, "cut short");
	refuse(&made, offsetof(Elf64_Ehdr, e_phoff), UINT64_MAX - 60, 8, ENOEXEC, "cut short");
	refuse(&made, offsetof(Elf64_Ehdr, e_phoff), 0x1ff0, 8, ENOEXEC, "cut short");
	refuse(&made, offsetof(Elf64_Ehdr, e_phnum), 0xffff, 2, ENOEXEC, "impossible");
	refuse(&made, offsetof(Elf64_Ehdr, e_phentsize), 1, 2, ENOEXEC, "impossible");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_offset), UINT64_MAX, 8, ENOEXEC, "beyond its end");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_filesz), 0x1001, 8, ENOEXEC, "beyond its end");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_memsz), 0xfff, 8, ENOEXEC, "impossible size");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_memsz), UINT64_MAX, 8, ENOEXEC, "impossible size");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_memsz), MEMORY, 8, ENOSPC, "no memory at 0x1000000");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_paddr), MEMORY - 0x1000, 8, ENOSPC, "no memory");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_paddr), 0x8f000, 8, ENOEXEC, "boot loader");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_paddr), 0xff000, 8, ENOEXEC, "boot loader");
	refuse(&made, segment + offsetof(Elf64_Phdr, p_type), PT_NULL, 4, ENOEXEC, "nothing is loaded");
	refuse(&made, 0x818 + 4, 0x1000, 4, ENOEXEC, "longer than its segment");
	refuse(&made, 0x828, 0x30000000, 8, ENOEXEC, "to be entered");
	refuse(&made, 0x828, UINT64_MAX, 8, ENOEXEC, "to be entered");
}

static void test_damaged_bzimage(void **unused)
{
	struct made made;

	(void)unused;
	make_bzimage(&made);
	refuse(&made, 0x202, 0, 4, ENOEXEC, "no kernel");
	refuse(&made, 0x1fe, 0, 2, ENOEXEC, "no kernel");
	refuse(&made, 0x206, 0x205, 2, ENOEXEC, "too old");
	refuse(&made, 0x1f1, 64, 1, ENOEXEC, "cut short");
	refuse(&made, 0x238, 10, 4, E2BIG, "at most 10 bytes");
	refuse(&made, 0x260, UINT32_MAX, 4, ENOSPC, "too little memory");
	refuse(&made, 0x22c, 0x100fff, 4, ENOSPC, "initramfs");
}

static void test_damaged_multiboot(void **unused)
{
	struct made made;

	(void)unused;
	make_multiboot(&made);
	refuse(&made, 0x1018, 0, 4, ENOEXEC, "neither a multiboot header nor");
	put_number(&made, 0x1014, 0x10, 4);
	refuse(&made, 0x1018, (uint32_t) - (0x1badb002 + 0x10), 4, ENOEXEC, "flags 0x10");
}

/* Every length of a good kernel, and every byte of its headers with other values: an error or a kernel, no more. */
static void test_mutations(void **unused)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct made kinds[4], made;
	struct guest_memory memory;
	struct boot_state state;

	(void)unused;
	make_bzimage(&kinds[0]);
	make_elf64(&kinds[1], 0x1000200);
	make_elf64(&kinds[2], 0);
	make_multiboot(&kinds[3]);
	for (size_t kind = 0; kind < 4; kind++) {
		for (size_t size = 0; size < kinds[kind].size; size += size < 0x300 ? 7 : 211) {
			made = kinds[kind];
			made.size = size;
			(void)load(&made, MEMORY, &memory, &state, NULL);
			guest_memory_free(&memory);
		}
		for (size_t at = 0; at < 0x280; at++) {
			made = kinds[kind];
			made.bytes[at] = values[at % sizeof(values)];
			(void)load(&made, MEMORY, &memory, &state, NULL);
			guest_memory_free(&memory);
		}
	}
}

static void test_limits(void **unused)
{
	static char line[BOOT_COMMAND_LINE_MAX + 1];
	struct boot_image image = { .initrd = -1, .command_line = line };
	struct error err = ERROR_INIT;
	struct guest_memory memory;
	struct boot_state state;
	struct made made;

	(void)unused;
	memset(line, 'x', BOOT_COMMAND_LINE_MAX);
	make_elf64(&made, 0x1000200);
	image.kernel = file_of(made.bytes, made.size);
	make_memory(&memory, MEMORY);
	assert_int_equal(boot_load(&image, &memory, 0, &state, &err), -E2BIG);
	line[BOOT_COMMAND_LINE_MAX - 1] = '\0';
	assert_int_equal(boot_load(&image, &memory, 0, &state, &err), 0);
	assert_int_equal(word(&memory, state.rbx + 12), 0); /* no modules */
	guest_memory_free(&memory);
	make_memory(&memory, 1 << 20);
	assert_int_equal(boot_load(&image, &memory, 0, &state, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "less than 2 MiB"));
	guest_memory_free(&memory);
	close(image.kernel);
	make_memory(&memory, MEMORY);
	image.kernel = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(boot_load(&image, &memory, 0, &state, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, "not a regular file"));
	close(image.kernel);
	guest_memory_free(&memory);
}

/* A distribution's own kernel, from the lab's cache. */
static void test_real_bzimage(void **unused)
{
	const char *cache = getenv("LAB_CACHE");
	struct boot_image image = { .initrd = -1, .command_line = "quiet" };
	struct error err = ERROR_INIT;
	struct guest_memory memory;
	struct boot_state state;
	char pattern[4096];
	glob_t found;

	(void)unused;
	(void)snprintf(pattern, sizeof(pattern), "%s/kernel/boot/vmlinuz-*", cache ? cache : "/var/tmp/lab-cache");
	if (glob(pattern, 0, NULL, &found) != 0) {
		print_message("no kernel in the lab's cache: tests/lab/lab prepare\n");
		skip();
	}
	image.kernel = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	assert_true(image.kernel >= 0);
	make_memory(&memory, 256 << 20);
	assert_int_equal(boot_load(&image, &memory, LAYOUT_ACPI, &state, &err), 0);
	assert_int_equal(state.protocol, BOOT_LINUX64);
	/* startup_64 begins with cld, cli. */
	assert_int_equal(word(&memory, state.rip) & 0xffff, 0xfafc);
	guest_memory_free(&memory);
	close(image.kernel);
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bzimage),
		cmocka_unit_test(test_bzimage_32_bit),
		cmocka_unit_test(test_bzimage_elsewhere),
		cmocka_unit_test(test_pvh),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_elf64),
		cmocka_unit_test(test_multiboot),
		cmocka_unit_test(test_memory_map),
		cmocka_unit_test(test_damaged_elf),
		cmocka_unit_test(test_damaged_bzimage),
		cmocka_unit_test(test_damaged_multiboot),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_real_bzimage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
