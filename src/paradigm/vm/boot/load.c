/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/boot/load.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paradigm/vm/boot/private.h"

const char *boot_protocol_name(enum boot_protocol protocol)
{
	static const char *const names[] = { [BOOT_LINUX64] = "linux64",
					     [BOOT_LINUX32] = "linux32",
					     [BOOT_PVH] = "pvh",
					     [BOOT_ELF64] = "elf64",
					     [BOOT_MULTIBOOT] = "multiboot" };

	return names[protocol];
}

/* pread(2) until it is done; -ENOEXEC where the file ends. */
static int read_at(int fd, const char *what, uint64_t offset, uint8_t *to, uint64_t size, struct error *err)
{
	while (size > 0) {
		/* One call moves at most 0x7ffff000 bytes. */
		ssize_t got = pread(fd, to, size < (1U << 30) ? size : 1U << 30, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(err, errno, "cannot read the %s", what);
		if (got == 0)
			return error_set(err, ENOEXEC, "the %s was cut short", what);
		to += got;
		offset += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return 0;
}

/*
 * The same, but what is a hole in the file stays as it is in memory: zeros.  A third of a vmlinux is its .bss and
 * padding; who copied them would also touch as much of the guest's memory.
 */
static int read_data_at(int fd, const char *what, uint64_t offset, uint8_t *to, uint64_t size, struct error *err)
{
	uint64_t end = offset + size;

	while (offset < end) {
		off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;
		int ret;

		if (data < 0 && errno == ENXIO) /* nothing but a hole follows */
			return 0;
		if (data < (off_t)offset) /* a file system that does not tell */
			return read_at(fd, what, offset, to, end - offset, err);
		if ((uint64_t)data >= end)
			return 0;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data || (uint64_t)hole > end)
			hole = (off_t)end;
		ret = read_at(fd, what, (uint64_t)data, to + ((uint64_t)data - offset), (uint64_t)(hole - data), err);
		if (ret < 0)
			return ret;
		to += (uint64_t)hole - offset;
		offset = (uint64_t)hole;
	}
	return 0;
}

int boot_read(const struct boot_job *job, uint64_t offset, void *to, size_t size, struct error *err)
{
	if (offset > job->kernel_size || size > job->kernel_size - offset)
		return error_set(err, ENOEXEC, "the kernel was cut short: its headers lead beyond its end");
	return read_at(job->image->kernel, "kernel", offset, to, size, err);
}

int boot_place(struct boot_job *job, uint64_t offset, uint64_t file_size, uint64_t address, uint64_t memory_size,
	       struct error *err)
{
	uint64_t end;
	uint8_t *to;

	if (file_size > memory_size || __builtin_add_overflow(address, memory_size, &end))
		return error_set(err, ENOEXEC, "the kernel is damaged: a segment of impossible size");
	if (offset > job->kernel_size || file_size > job->kernel_size - offset)
		return error_set(err, ENOEXEC, "the kernel was cut short: a segment lies beyond its end");
	if (memory_size == 0)
		return 0;
	if (address < LAYOUT_RAM_1M && end > BOOT_AREA)
		return error_set(err, ENOEXEC,
				 "the kernel wants to lie at 0x%llx, where the boot loader and a BIOS are",
				 (unsigned long long)address);
	to = guest_memory_at(job->memory, address, memory_size);
	if (!to)
		return error_set(err, ENOSPC, "the guest has no memory at 0x%llx to 0x%llx, where the kernel must lie",
				 (unsigned long long)address, (unsigned long long)end);
	if (address >= LAYOUT_RAM_1M && (job->kernel_end == 0 || address < job->kernel_begin))
		job->kernel_begin = address;
	if (address >= LAYOUT_RAM_1M && end > job->kernel_end)
		job->kernel_end = end;
	return read_data_at(job->image->kernel, "kernel", offset, to, file_size, err);
}

int boot_place_initrd(struct boot_job *job, uint64_t limit, struct error *err)
{
	const struct guest_region *region = &job->memory->regions[0];
	uint64_t top = region->base + region->size, address;
	uint8_t *to;

	if (job->initrd_size == 0)
		return 0;
	if (top > limit)
		top = limit;
	/* From above the kernel on; else below it, where it lies high. */
	if (top < job->kernel_end || top - job->kernel_end < job->initrd_size + 0xfff)
		top = top < job->kernel_begin ? top : job->kernel_begin;
	address = job->initrd_size > top ? 0 : (top - job->initrd_size) & ~UINT64_C(0xfff);
	to = address < LAYOUT_RAM_1M ? NULL : guest_memory_at(job->memory, address, job->initrd_size);
	if (!to)
		return error_set(err, ENOSPC,
				 "the initramfs (%llu MiB) does not fit into the guest's memory beside the kernel",
				 (unsigned long long)(job->initrd_size >> 20));
	job->initrd_address = address;
	return read_at(job->image->initrd, "initramfs", 0, to, job->initrd_size, err);
}

int boot_write(const struct boot_job *job, uint64_t address, const void *bytes, size_t size, struct error *err)
{
	if (!guest_memory_write(job->memory, address, bytes, size))
		return error_set(err, ENOSPC, "the guest has too little memory to boot anything");
	return 0;
}

int boot_write_command_line(const struct boot_job *job, const char *name, struct error *err)
{
	const char *text = job->image->command_line ? job->image->command_line : "";
	size_t before = name ? strlen(name) + 1 : 0, size = strlen(text) + 1;
	int ret;

	if (before > BOOT_COMMAND_LINE_MAX || size > BOOT_COMMAND_LINE_MAX - before)
		return error_set(err, E2BIG, "the kernel's command line is longer than %d bytes",
				 BOOT_COMMAND_LINE_MAX - 1);
	if (name) {
		ret = boot_write(job, BOOT_COMMAND_LINE, name, before - 1, err);
		if (ret == 0)
			ret = boot_write(job, BOOT_COMMAND_LINE + before - 1, " ", 1, err);
		if (ret < 0)
			return ret;
	}
	return boot_write(job, BOOT_COMMAND_LINE + before, text, size, err);
}

/* ---- what there is of memory, as the kernel is told ---- */

static void map_add(struct boot_job *job, uint64_t base, uint64_t end, uint32_t type)
{
	job->map[job->map_count++] = (struct boot_range){ base, end - base, type };
}

static int map_memory(struct boot_job *job, struct error *err)
{
	const struct guest_region *first = &job->memory->regions[0];

	if (job->memory->count == 0 || first->base != 0 || first->size < 2 * LAYOUT_RAM_1M)
		return error_set(err, ENOSPC, "the guest has less than 2 MiB of memory");
	map_add(job, 0, LAYOUT_EBDA, BOOT_RAM);
	map_add(job, LAYOUT_EBDA, LAYOUT_VGA, BOOT_RESERVED);
	map_add(job, LAYOUT_ACPI, LAYOUT_ACPI + LAYOUT_ACPI_SIZE, BOOT_RESERVED);
	map_add(job, LAYOUT_RAM_1M, first->size, BOOT_RAM);
	for (size_t i = 1; i < job->memory->count; i++)
		map_add(job, job->memory->regions[i].base, job->memory->regions[i].base + job->memory->regions[i].size,
			BOOT_RAM);
	return 0;
}

/* ---- how it is entered ---- */

static uint64_t descriptor(const struct boot_segment *segment)
{
	uint64_t limit = segment->g ? segment->limit >> 12 : segment->limit;

	return (limit & 0xffff) | (segment->base & 0xffffff) << 16 | (uint64_t)segment->type << 40 |
	       (uint64_t)segment->s << 44 | UINT64_C(1) << 47 | (limit >> 16 & 0xf) << 48 | (uint64_t)segment->l << 53 |
	       (uint64_t)segment->db << 54 | (uint64_t)segment->g << 55 | (segment->base >> 24 & 0xff) << 56;
}

/* PML4, PDPT, and four directories of 2 MiB pages: the first 4 GiB, mapped to themselves. */
static int write_page_tables(const struct boot_job *job, struct error *err)
{
	enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80, DIRECTORIES = 4, ENTRIES = 512 };
	uint64_t *tables = guest_memory_at(job->memory, BOOT_PAGE_TABLES, (2 + DIRECTORIES) * 4096);

	if (!tables)
		return error_set(err, ENOSPC, "the guest has too little memory to boot anything");
	tables[0] = (BOOT_PAGE_TABLES + 0x1000) | PRESENT | WRITABLE;
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		tables[ENTRIES + i] = (BOOT_PAGE_TABLES + 0x2000 + i * 0x1000) | PRESENT | WRITABLE;
	for (uint64_t i = 0; i < (uint64_t)DIRECTORIES * ENTRIES; i++)
		tables[UINT64_C(2) * ENTRIES + i] = i << 21 | PRESENT | WRITABLE | LARGE;
	return 0;
}

int boot_enter(const struct boot_job *job, enum boot_protocol protocol, enum boot_mode mode, uint64_t rip,
	       struct error *err)
{
	enum { PE = 1, ET = 0x10, PAE = 0x20, LME = 0x100, LMA = 0x400 };
	struct boot_state *state = job->state;
	bool wide = mode == BOOT_LONG64;
	uint64_t gdt[6] = { 0 };

	*state = (struct boot_state){
		.protocol = protocol,
		.mode = mode,
		.rip = rip,
		.rsp = BOOT_AREA,
		.rflags = 2,
		.cr0 = PE | ET,
		.code = { .limit = UINT32_MAX,
			  .selector = BOOT_CODE_SELECTOR,
			  .type = 11,
			  .s = true,
			  .db = !wide,
			  .l = wide,
			  .g = true },
		.data = { .limit = UINT32_MAX,
			  .selector = BOOT_DATA_SELECTOR,
			  .type = 3,
			  .s = true,
			  .db = true,
			  .g = true },
		.task = { .limit = 0x67, .selector = BOOT_TASK_SELECTOR, .type = 11 },
		.gdt_base = BOOT_GDT,
		.gdt_limit = sizeof(gdt) - 1,
	};
	gdt[BOOT_CODE_SELECTOR / 8] = descriptor(&state->code);
	gdt[BOOT_DATA_SELECTOR / 8] = descriptor(&state->data);
	gdt[BOOT_TASK_SELECTOR / 8] = descriptor(&state->task);
	if (wide) {
		state->cr0 |= UINT64_C(1) << 31; /* PG */
		state->cr3 = BOOT_PAGE_TABLES;
		state->cr4 = PAE;
		state->efer = LME | LMA;
		if (write_page_tables(job, err) < 0)
			return -ENOSPC;
	}
	return boot_write(job, BOOT_GDT, gdt, sizeof(gdt), err);
}

/* The size of what must be a regular file. */
static int size_of(int fd, const char *what, uint64_t *size, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot read the %s", what);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ENOEXEC, "the %s is not a regular file", what);
	*size = (uint64_t)st.st_size;
	return 0;
}

int boot_load(const struct boot_image *image, struct guest_memory *memory, uint64_t rsdp, struct boot_state *state,
	      struct error *err)
{
	struct boot_job job = { .image = image, .memory = memory, .rsdp = rsdp, .state = state };
	int ret = size_of(image->kernel, "kernel", &job.kernel_size, err);

	if (ret == 0 && image->initrd >= 0)
		ret = size_of(image->initrd, "initramfs", &job.initrd_size, err);
	if (ret == 0)
		ret = map_memory(&job, err);
	if (ret == 0)
		ret = boot_load_elf(&job, err);
	if (ret == 1)
		ret = boot_load_bzimage(&job, err);
	if (ret == 1)
		ret = error_set(err, ENOEXEC,
				"this is no kernel: neither a bzImage, nor a vmlinux, nor a multiboot ELF file");
	return ret;
}
