/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - puts a kernel into guest memory as a boot loader would, and says how
 * the first vCPU enters it.
 *
 * No firmware runs.  What the kernel is told (boot parameters, memory map,
 * command line, initramfs, descriptor and page tables) is written to memory; what
 * registers hold is returned as plain data.  Nothing in here knows KVM.
 *
 *     bzImage     Linux/x86 boot protocol, 64-bit or (where the kernel is) 32-bit: Documentation/arch/x86/boot.rst
 *     ELF64       by the note XEN_ELFNOTE_PHYS32_ENTRY: PVH, include/xen/interface/hvm/start_info.h;
 *                 without it at its entry point, as of the 64-bit boot protocol (vmlinux)
 *     ELF32       with a multiboot header: Multiboot Specification 0.6.96
 *
 * Kernel and initramfs are hostile: headers and segments are checked for
 * overflow, for room in memory, and against what is written there besides.  Their bytes are
 * read from the file to where they belong, nowhere else.
 */
#ifndef CAISSON_PARADIGM_VM_BOOT_LOAD_H
#define CAISSON_PARADIGM_VM_BOOT_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "paradigm/vm/machine/memory.h"

enum { BOOT_COMMAND_LINE_MAX = 4096 }; /* with its NUL */

struct boot_image {
	int kernel;	  /* a regular file; its offset is moved */
	int initrd;	  /* -1: none */
	const char *name; /* first word of a multiboot command line; NULL: "kernel" */
	const char *command_line;
};

enum boot_protocol { BOOT_LINUX64, BOOT_LINUX32, BOOT_PVH, BOOT_ELF64, BOOT_MULTIBOOT };

enum boot_mode {
	BOOT_PROTECTED32, /* paging off, flat segments */
	BOOT_LONG64,	  /* the first 4 GiB mapped to themselves */
};

/* As of struct kvm_segment; present, privilege level 0. */
struct boot_segment {
	uint64_t base;
	uint32_t limit; /* bytes */
	uint16_t selector;
	uint8_t type;
	bool s, db, l, g;
};

/* Registers that are not listed are zero. */
struct boot_state {
	enum boot_protocol protocol;
	enum boot_mode mode;
	uint64_t rip, rsp, rax, rbx, rsi, rflags;
	uint64_t cr0, cr3, cr4, efer;
	struct boot_segment code, data, task; /* CS; DS ES FS GS SS; TR */
	uint64_t gdt_base;
	uint16_t gdt_limit;
};

/*
 * Loads image into memory, which is as it was made: zeros.  rsdp: address of ACPI's root pointer for the kernel, 0:
 * none.  -ENOEXEC: no kernel of these kinds, or a damaged one; -ENOSPC: it does not fit into this memory; -E2BIG: the
 * command line is too long; -EIO and others of pread(2).
 */
int boot_load(const struct boot_image *image, struct guest_memory *memory, uint64_t rsdp, struct boot_state *state,
	      struct error *err);

/* What a bzImage says of itself. */
struct boot_bzimage {
	char version[64];      /* "6.1.0-38-cloud-amd64"; "" where it does not say */
	uint64_t offset, size; /* of the compressed kernel in the file; 0: it does not say (before protocol 2.08) */
};

/* -ENOEXEC: no bzImage, or a damaged one. */
int boot_bzimage_read(int fd, struct boot_bzimage *image, struct error *err);

/* The name of a protocol, as messages and `caisson kernel ls` have it: "linux64", "linux32", "pvh", "elf64",
 * "multiboot". */
const char *boot_protocol_name(enum boot_protocol protocol);

#endif
