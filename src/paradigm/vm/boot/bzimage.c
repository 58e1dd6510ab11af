/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paradigm/vm/boot/private.h"

/* Places in the zero page, and, from 0x1f1 on, in the kernel's file: boot.rst and zero-page.rst. */
enum {
	RSDP_ADDRESS = 0x070,
	RAMDISK_IMAGE_HIGH = 0x0c0,
	RAMDISK_SIZE_HIGH = 0x0c4,
	E820_COUNT = 0x1e8,
	HEADER = 0x1f1,
	SETUP_SECTORS = 0x1f1,
	SYSTEM_SIZE = 0x1f4, /* in units of 16 bytes */
	BOOT_FLAG = 0x1fe,
	JUMP_LENGTH = 0x201,
	HEADER_MAGIC = 0x202,
	VERSION = 0x206,
	KERNEL_VERSION = 0x20e,
	TYPE_OF_LOADER = 0x210,
	LOAD_FLAGS = 0x211,
	CODE32_START = 0x214,
	RAMDISK_IMAGE = 0x218,
	RAMDISK_SIZE = 0x21c,
	COMMAND_LINE = 0x228,
	INITRD_ADDRESS_MAX = 0x22c,
	KERNEL_ALIGNMENT = 0x230,
	RELOCATABLE = 0x234,
	XLOAD_FLAGS = 0x236,
	COMMAND_LINE_SIZE = 0x238,
	PAYLOAD_OFFSET = 0x248,
	PAYLOAD_LENGTH = 0x24c,
	PREFERRED_ADDRESS = 0x258,
	INIT_SIZE = 0x260,
	HEADER_END = 0x264, /* of what is read in here */
	HEADER_LIMIT = 0x290,
	E820_TABLE = 0x2d0,
	ZERO_PAGE_SIZE = 4096,
};

enum { LOADED_HIGH = 1, KERNEL_64 = 1, ENTRY_64 = 0x200, E820_ENTRY = 20 };

static uint16_t get16(const uint8_t *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return le16toh(value);
}

static uint32_t get32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *bytes)
{
	return get32(bytes) | (uint64_t)get32(bytes + 4) << 32;
}

static void put32(uint8_t *bytes, uint32_t value)
{
	value = htole32(value);
	memcpy(bytes, &value, sizeof(value));
}

static void put64(uint8_t *bytes, uint64_t value)
{
	put32(bytes, (uint32_t)value);
	put32(bytes + 4, (uint32_t)(value >> 32));
}

int boot_write_zero_page(const struct boot_job *job, const void *header, size_t header_size, struct error *err)
{
	uint8_t page[ZERO_PAGE_SIZE] = { 0 };

	memcpy(page + HEADER, header, header_size);
	page[TYPE_OF_LOADER] = 0xff; /* none that has a number */
	put32(page + COMMAND_LINE, BOOT_COMMAND_LINE);
	put32(page + RAMDISK_IMAGE, (uint32_t)job->initrd_address);
	put32(page + RAMDISK_IMAGE_HIGH, (uint32_t)(job->initrd_address >> 32));
	put32(page + RAMDISK_SIZE, (uint32_t)job->initrd_size);
	put32(page + RAMDISK_SIZE_HIGH, (uint32_t)(job->initrd_size >> 32));
	put64(page + RSDP_ADDRESS, job->rsdp);
	page[E820_COUNT] = (uint8_t)job->map_count;
	for (size_t i = 0; i < job->map_count; i++) {
		uint8_t *entry = page + E820_TABLE + i * E820_ENTRY;

		put64(entry, job->map[i].base);
		put64(entry + 8, job->map[i].size);
		put32(entry + 16, job->map[i].type);
	}
	return boot_write(job, BOOT_PARAMETERS, page, sizeof(page), err);
}

/* Where the kernel proper goes: where it was linked to run, or wherever there is room for what it unpacks to. */
static int choose_address(const struct boot_job *job, const uint8_t *header, uint64_t size, uint64_t *address,
			  struct error *err)
{
	uint64_t alignment = get32(header + KERNEL_ALIGNMENT), preferred = get64(header + PREFERRED_ADDRESS);

	/* Our page tables end at 4 GiB. */
	*address = preferred;
	if (preferred >= LAYOUT_RAM_1M && preferred <= UINT32_MAX && guest_memory_at(job->memory, preferred, size))
		return 0;
	*address = LAYOUT_RAM_1M;
	if (alignment > LAYOUT_RAM_1M && alignment < UINT64_C(1) << 30 && (alignment & (alignment - 1)) == 0)
		*address = alignment;
	if (header[RELOCATABLE] && guest_memory_at(job->memory, *address, size))
		return 0;
	return error_set(err, ENOSPC,
			 "the guest has too little memory for the kernel: it takes %llu MiB from 0x%llx on",
			 (unsigned long long)(size >> 20), (unsigned long long)preferred);
}

/* Reads the setup header; 1: not a bzImage. */
static int read_header(const struct boot_job *job, uint8_t header[HEADER_LIMIT], struct error *err)
{
	int ret;

	if (job->kernel_size < HEADER_LIMIT)
		return 1;
	ret = boot_read(job, 0, header, HEADER_LIMIT, err);
	if (ret < 0)
		return ret;
	if (get16(header + BOOT_FLAG) != 0xaa55 || memcmp(header + HEADER_MAGIC, "HdrS", 4) != 0)
		return 1;
	if (get16(header + VERSION) < 0x20a || !(header[LOAD_FLAGS] & LOADED_HIGH))
		return error_set(err, ENOEXEC,
				 "the kernel's boot protocol is %d.%02d: too old, 2.10 (Linux 2.6.31) is needed",
				 header[VERSION + 1], header[VERSION]);
	return 0;
}

int boot_load_bzimage(struct boot_job *job, struct error *err)
{
	uint8_t header[HEADER_LIMIT];
	uint64_t setup, size, address, initrd_max;
	size_t header_end;
	bool wide;
	int ret = read_header(job, header, err);

	if (ret != 0)
		return ret;
	setup = UINT64_C(512) * ((header[SETUP_SECTORS] ? header[SETUP_SECTORS] : 4) + 1);
	if (setup >= job->kernel_size)
		return error_set(err, ENOEXEC, "the kernel was cut short: nothing follows its header");
	/* The signature behind it may be missing, the kernel may not: it would run into nothing. */
	if (setup + UINT64_C(16) * get32(header + SYSTEM_SIZE) > job->kernel_size)
		return error_set(err, ENOEXEC, "the kernel was cut short: it has %llu bytes, and its header says %llu",
				 (unsigned long long)job->kernel_size,
				 (unsigned long long)(setup + UINT64_C(16) * get32(header + SYSTEM_SIZE)));
	if (job->image->command_line && strlen(job->image->command_line) > get32(header + COMMAND_LINE_SIZE))
		return error_set(err, E2BIG, "the kernel takes a command line of at most %u bytes",
				 get32(header + COMMAND_LINE_SIZE));
	wide = get16(header + VERSION) >= 0x20c && (get16(header + XLOAD_FLAGS) & KERNEL_64);
	size = get32(header + INIT_SIZE);
	if (size < job->kernel_size - setup)
		size = job->kernel_size - setup;
	ret = choose_address(job, header, size, &address, err);
	if (ret == 0)
		ret = boot_place(job, setup, job->kernel_size - setup, address, size, err);
	initrd_max = get32(header + INITRD_ADDRESS_MAX);
	if (ret == 0)
		ret = boot_place_initrd(job, initrd_max + 1, err);
	if (ret == 0)
		ret = boot_write_command_line(job, NULL, err);
	/* As far as the header goes by its own account. */
	header_end = HEADER_MAGIC + header[JUMP_LENGTH];
	if (header_end < HEADER_END)
		header_end = HEADER_END;
	if (header_end > HEADER_LIMIT)
		header_end = HEADER_LIMIT;
	put32(header + CODE32_START, (uint32_t)address);
	if (ret == 0)
		ret = boot_write_zero_page(job, header + HEADER, header_end - HEADER, err);
	if (ret == 0)
		ret = boot_enter(job, wide ? BOOT_LINUX64 : BOOT_LINUX32, wide ? BOOT_LONG64 : BOOT_PROTECTED32,
				 wide ? address + ENTRY_64 : address, err);
	job->state->rsi = BOOT_PARAMETERS;
	return ret;
}

/* The text that begins with the version, up to the blank behind it. */
static void read_version(int fd, const uint8_t *header, char version[static 64])
{
	char text[64] = "";
	size_t length;

	if (get16(header + KERNEL_VERSION) == 0 ||
	    pread(fd, text, sizeof(text) - 1, get16(header + KERNEL_VERSION) + 0x200) < 0)
		return;
	length = strcspn(text, " ");
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return;
	memcpy(version, text, length);
	version[length] = '\0';
}

int boot_bzimage_read(int fd, struct boot_bzimage *image, struct error *err)
{
	const struct boot_image boot = { .kernel = fd };
	struct boot_job job = { .image = &boot };
	uint8_t header[HEADER_LIMIT];
	uint64_t setup, offset, end;
	struct stat st;
	int ret;

	*image = (struct boot_bzimage){ .size = 0 };
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at the kernel");
	job.kernel_size = (uint64_t)st.st_size;
	ret = read_header(&job, header, err);
	if (ret == 1)
		return error_set(err, ENOEXEC, "not a bzImage");
	if (ret < 0)
		return ret;
	read_version(fd, header, image->version);
	setup = UINT64_C(512) * ((header[SETUP_SECTORS] ? header[SETUP_SECTORS] : 4) + 1);
	offset = setup + get32(header + PAYLOAD_OFFSET);
	end = offset + get32(header + PAYLOAD_LENGTH);
	if (get32(header + PAYLOAD_LENGTH) == 0)
		return 0;
	if (end > job.kernel_size)
		return error_set(err, ENOEXEC, "the kernel was cut short: its payload lies beyond its end");
	image->offset = offset;
	image->size = end - offset;
	return 0;
}
