/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What PVH and multiboot kernels are told: hvm_start_info and multiboot_info.
 */
#include <errno.h>
#include <string.h>

#include "paradigm/vm/boot/private.h"

/* include/xen/interface/hvm/start_info.h, version 1; all little-endian, as x86 is. */
enum { PVH_MAGIC = 0x336ec578, PVH_VERSION = 1 };

struct pvh_start_info {
	uint32_t magic, version, flags, modules_count;
	uint64_t modules, command_line, rsdp, map;
	uint32_t map_count, reserved;
};

struct pvh_module {
	uint64_t address, size, command_line, reserved;
};

struct pvh_map_entry {
	uint64_t address, size;
	uint32_t type, reserved;
};

/* Multiboot Specification 0.6.96, 3.1 and 3.3. */
enum {
	HEADER_MAGIC = 0x1badb002,
	HEADER_SEARCH = 8192,	 /* the header lies wholly in the first of them */
	HEADER_UNKNOWN = 0xfffc, /* flags 0-15 are requirements: pages and memory we serve */
	INFO_MEMORY = 1 << 0,
	INFO_COMMAND_LINE = 1 << 2,
	INFO_MODULES = 1 << 3,
	INFO_MAP = 1 << 6,
	INFO_LOADER_NAME = 1 << 9,
};

struct multiboot_info {
	uint32_t flags, memory_lower, memory_upper, boot_device, command_line, modules_count, modules;
	uint32_t symbols[4], map_length, map, drives_length, drives, configuration, loader_name, rest[12];
};

struct multiboot_module {
	uint32_t begin, end, text, reserved;
};

struct multiboot_map_entry {
	uint32_t size; /* of what follows */
	uint64_t address, length;
	uint32_t type;
} __attribute__((packed));

int boot_write_pvh(struct boot_job *job, struct error *err)
{
	struct pvh_start_info info = {
		.magic = PVH_MAGIC,
		.version = PVH_VERSION,
		.command_line = BOOT_COMMAND_LINE,
		.rsdp = job->rsdp,
		.map = BOOT_MEMORY_MAP,
		.map_count = (uint32_t)job->map_count,
	};
	struct pvh_module module = { .address = job->initrd_address, .size = job->initrd_size };
	struct pvh_map_entry map[BOOT_RANGES_MAX] = { 0 };
	int ret;

	for (size_t i = 0; i < job->map_count; i++)
		map[i] = (struct pvh_map_entry){ job->map[i].base, job->map[i].size, job->map[i].type, 0 };
	if (job->initrd_size > 0) {
		info.modules_count = 1;
		info.modules = BOOT_MODULES;
	}
	ret = boot_write(job, BOOT_PARAMETERS, &info, sizeof(info), err);
	if (ret == 0)
		ret = boot_write(job, BOOT_MODULES, &module, sizeof(module), err);
	if (ret == 0)
		ret = boot_write(job, BOOT_MEMORY_MAP, map, sizeof(map), err);
	return ret;
}

/* Looks at every aligned place for the three words that add up to nothing. */
int boot_multiboot_header(const struct boot_job *job, struct error *err)
{
	uint32_t words[HEADER_SEARCH / 4];
	size_t size = job->kernel_size < sizeof(words) ? (size_t)job->kernel_size & ~(size_t)3 : sizeof(words);
	int ret = boot_read(job, 0, words, size, err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i + 2 < size / 4; i++) {
		if (words[i] != HEADER_MAGIC || words[i] + words[i + 1] + words[i + 2] != 0)
			continue;
		if (words[i + 1] & HEADER_UNKNOWN)
			return error_set(
				err, ENOEXEC,
				"the kernel asks a multiboot loader for something that ours cannot do (flags 0x%x)",
				words[i + 1]);
		return 0;
	}
	return 1;
}

int boot_write_multiboot(struct boot_job *job, struct error *err)
{
	static const char loader[] = "caisson", module_text[] = "initrd";
	const uint32_t texts = BOOT_MODULES + sizeof(struct multiboot_module);
	const struct guest_region *first = &job->memory->regions[0];
	struct multiboot_map_entry map[BOOT_RANGES_MAX];
	struct multiboot_module module = { .begin = (uint32_t)job->initrd_address,
					   .end = (uint32_t)(job->initrd_address + job->initrd_size),
					   .text = texts };
	struct multiboot_info info = {
		.flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MAP | INFO_LOADER_NAME,
		.memory_lower = (uint32_t)(LAYOUT_EBDA >> 10),
		.memory_upper = (uint32_t)((first->size - LAYOUT_RAM_1M) >> 10),
		.command_line = BOOT_COMMAND_LINE,
		.map_length = (uint32_t)(job->map_count * sizeof(map[0])),
		.map = BOOT_MEMORY_MAP,
		.loader_name = texts + sizeof(module_text),
	};
	int ret;

	for (size_t i = 0; i < job->map_count; i++)
		map[i] = (struct multiboot_map_entry){ sizeof(map[0]) - sizeof(map[0].size), job->map[i].base,
						       job->map[i].size, job->map[i].type };
	if (job->initrd_size > 0) {
		info.flags |= INFO_MODULES;
		info.modules_count = 1;
		info.modules = BOOT_MODULES;
	}
	ret = boot_write(job, BOOT_PARAMETERS, &info, sizeof(info), err);
	if (ret == 0)
		ret = boot_write(job, BOOT_MEMORY_MAP, map, info.map_length, err);
	if (ret == 0)
		ret = boot_write(job, BOOT_MODULES, &module, sizeof(module), err);
	if (ret == 0)
		ret = boot_write(job, texts, module_text, sizeof(module_text), err);
	if (ret == 0)
		ret = boot_write(job, info.loader_name, loader, sizeof(loader), err);
	return ret;
}
