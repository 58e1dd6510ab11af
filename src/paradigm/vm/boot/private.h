/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private - what the loaders of this room share: see load.h.
 */
#ifndef CAISSON_PARADIGM_VM_BOOT_PRIVATE_H
#define CAISSON_PARADIGM_VM_BOOT_PRIVATE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "paradigm/vm/boot/load.h"
#include "paradigm/vm/machine/layout.h"

/*
 * What we write lies at the upper end of low memory: kernels linked to run below it (kvm-unit-tests' realmode.flat, at
 * 16 KiB) find the rest free.
 */
enum {
	BOOT_AREA = 0x90000,
	BOOT_PAGE_TABLES = 0x90000, /* PML4, PDPT, four page directories */
	BOOT_PARAMETERS = 0x96000,  /* Linux's zero page, hvm_start_info or multiboot_info: one page */
	BOOT_COMMAND_LINE = 0x97000,
	BOOT_GDT = 0x98000,
	BOOT_MEMORY_MAP = 0x98100, /* of PVH and multiboot */
	BOOT_MODULES = 0x98400,
};

enum { BOOT_CODE_SELECTOR = 0x10, BOOT_DATA_SELECTOR = 0x18, BOOT_TASK_SELECTOR = 0x20 };

enum { BOOT_MULTIBOOT_MAGIC = 0x2badb002 }; /* in EAX */

enum { BOOT_RAM = 1, BOOT_RESERVED = 2 }; /* as e820, PVH and multiboot number them alike */

struct boot_range {
	uint64_t base, size;
	uint32_t type;
};

enum { BOOT_RANGES_MAX = GUEST_REGIONS_MAX + 3 };

/* One load. */
struct boot_job {
	const struct boot_image *image;
	struct guest_memory *memory;
	uint64_t rsdp;
	struct boot_state *state;
	uint64_t kernel_size;		      /* of the file */
	uint64_t kernel_begin, kernel_end;    /* where it lies, with all that it claims; from 1 MiB on */
	uint64_t initrd_address, initrd_size; /* size 0: none */
	struct boot_range map[BOOT_RANGES_MAX];
	size_t map_count;
};

/* Bytes of the kernel's file; -ENOEXEC when it ends before. */
int boot_read(const struct boot_job *job, uint64_t offset, void *to, size_t size, struct error *err);

/*
 * Loads file_size bytes of the kernel from offset on to address, where it takes memory_size bytes in all.  -ENOEXEC,
 * -ENOSPC: outside memory, or over what this room or a BIOS has there.
 */
int boot_place(struct boot_job *job, uint64_t offset, uint64_t file_size, uint64_t address, uint64_t memory_size,
	       struct error *err);

/* Loads the initramfs below limit, as high as it can be, clear of the kernel. */
int boot_place_initrd(struct boot_job *job, uint64_t limit, struct error *err);

/* Writes to our own area; the sizes are ours. */
int boot_write(const struct boot_job *job, uint64_t address, const void *bytes, size_t size, struct error *err);

/* The command line, after name and a space if name is not NULL. */
int boot_write_command_line(const struct boot_job *job, const char *name, struct error *err);

/* Descriptor table (and page tables), and the registers that go with it. */
int boot_enter(const struct boot_job *job, enum boot_protocol protocol, enum boot_mode mode, uint64_t rip,
	       struct error *err);

/* The kinds.  0: loaded.  1: it is not of this kind. */
int boot_load_bzimage(struct boot_job *job, struct error *err);
int boot_load_elf(struct boot_job *job, struct error *err);

/* The zero page: header (of header_size bytes, that belong at 0x1f1) is what the kernel's file says there. */
int boot_write_zero_page(const struct boot_job *job, const void *header, size_t header_size, struct error *err);

/* A multiboot kernel in an ELF32 file; 1: it has no multiboot header. */
int boot_multiboot_header(const struct boot_job *job, struct error *err);
int boot_write_multiboot(struct boot_job *job, struct error *err);
int boot_write_pvh(struct boot_job *job, struct error *err);

#endif
