/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "paradigm/vm/boot/private.h"

enum {
	SEGMENTS_MAX = 128,
	NOTES_MAX = 256,	       /* of one segment: Linux has about ten */
	XEN_ELFNOTE_PHYS32_ENTRY = 18, /* include/xen/interface/elfnote.h */
};

/* The same of either class. */
struct elf_file {
	bool wide; /* 64-bit */
	uint64_t entry, headers;
	unsigned count, header_size;
};

struct elf_segment {
	uint32_t type;
	uint64_t offset, address, virtual, file_size, memory_size, align;
};

/* 1: not an ELF file. */
static int read_header(const struct boot_job *job, struct elf_file *file, struct error *err)
{
	Elf64_Ehdr wide;
	Elf32_Ehdr narrow;
	int ret;

	if (job->kernel_size < sizeof(narrow))
		return 1;
	ret = boot_read(job, 0, &narrow, sizeof(narrow), err);
	if (ret < 0)
		return ret;
	if (memcmp(narrow.e_ident, ELFMAG, SELFMAG) != 0)
		return 1;
	file->wide = narrow.e_ident[EI_CLASS] == ELFCLASS64;
	if (file->wide) {
		ret = boot_read(job, 0, &wide, sizeof(wide), err);
		if (ret < 0)
			return ret;
		file->entry = wide.e_entry;
		file->headers = wide.e_phoff;
		file->count = wide.e_phnum;
		file->header_size = wide.e_phentsize;
	} else {
		file->entry = narrow.e_entry;
		file->headers = narrow.e_phoff;
		file->count = narrow.e_phnum;
		file->header_size = narrow.e_phentsize;
	}
	if ((!file->wide && narrow.e_ident[EI_CLASS] != ELFCLASS32) || narrow.e_ident[EI_DATA] != ELFDATA2LSB ||
	    (narrow.e_machine != EM_X86_64 && narrow.e_machine != EM_386))
		return error_set(err, ENOEXEC, "the kernel is an ELF file, but not for x86");
	if (narrow.e_type != ET_EXEC && narrow.e_type != ET_DYN)
		return error_set(err, ENOEXEC, "the kernel is an ELF file, but not a program");
	if (file->header_size != (file->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) || file->count == 0 ||
	    file->count > SEGMENTS_MAX)
		return error_set(err, ENOEXEC,
				 "the kernel is damaged: its program headers have an impossible size or number");
	return 0;
}

static int read_segment(const struct boot_job *job, const struct elf_file *file, unsigned index,
			struct elf_segment *segment, struct error *err)
{
	uint64_t place;
	int ret;

	*segment = (struct elf_segment){ 0 };
	if (__builtin_add_overflow(file->headers, (uint64_t)index * file->header_size, &place))
		return error_set(err, ENOEXEC, "the kernel is damaged: its program headers lie nowhere");
	if (file->wide) {
		Elf64_Phdr header;

		ret = boot_read(job, place, &header, sizeof(header), err);
		if (ret < 0)
			return ret;
		*segment = (struct elf_segment){ header.p_type,	  header.p_offset, header.p_paddr, header.p_vaddr,
						 header.p_filesz, header.p_memsz,  header.p_align };
	} else {
		Elf32_Phdr header;

		ret = boot_read(job, place, &header, sizeof(header), err);
		if (ret < 0)
			return ret;
		*segment = (struct elf_segment){ header.p_type,	  header.p_offset, header.p_paddr, header.p_vaddr,
						 header.p_filesz, header.p_memsz,  header.p_align };
	}
	return 0;
}

static uint64_t round_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/* Looks for Xen's note in one segment.  0: *entry is set; 1: it has none. */
static int find_note(const struct boot_job *job, const struct elf_segment *segment, uint64_t *entry, struct error *err)
{
	static const char owner[4] = "Xen";
	uint64_t at = 0, align = segment->align == 8 ? 8 : 4;

	for (unsigned i = 0; i < NOTES_MAX; i++) {
		Elf64_Nhdr note; /* the same in both classes */
		char name[sizeof(owner)];
		uint64_t value = 0, begin, end;
		int ret;

		if (segment->file_size < sizeof(note) || at > segment->file_size - sizeof(note))
			return 1;
		/* All of them below 2^33 and, by boot_read(), within the file: nothing overflows. */
		ret = boot_read(job, segment->offset + at, &note, sizeof(note), err);
		if (ret < 0)
			return ret;
		begin = at + round_up(sizeof(note) + note.n_namesz, align);
		end = begin + note.n_descsz;
		if (end > segment->file_size)
			return error_set(err, ENOEXEC, "the kernel is damaged: a note is longer than its segment");
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof(owner) &&
		    (note.n_descsz == 4 || note.n_descsz == 8)) {
			ret = boot_read(job, segment->offset + at + sizeof(note), name, sizeof(name), err);
			if (ret == 0)
				ret = boot_read(job, segment->offset + begin, &value, note.n_descsz, err);
			if (ret < 0)
				return ret;
			if (memcmp(name, owner, sizeof(name)) == 0) {
				*entry = value;
				return 0;
			}
		}
		at = round_up(end, align);
	}
	return 1;
}

/* 0: the entry point of PVH; 1: there is none. */
static int find_pvh_entry(const struct boot_job *job, const struct elf_file *file, uint64_t *entry, struct error *err)
{
	for (unsigned i = 0; i < file->count; i++) {
		struct elf_segment segment;
		int ret = read_segment(job, file, i, &segment, err);

		if (ret < 0)
			return ret;
		if (segment.type != PT_NOTE)
			continue;
		if (segment.offset > job->kernel_size || segment.file_size > job->kernel_size - segment.offset)
			return error_set(err, ENOEXEC, "the kernel was cut short: its notes lie beyond its end");
		ret = find_note(job, &segment, entry, err);
		if (ret <= 0)
			return ret;
	}
	return 1;
}

/* Loads all segments to their physical addresses; *entry, if it is a virtual address in one of them, becomes physical.
 */
static int load_segments(struct boot_job *job, const struct elf_file *file, uint64_t *entry, struct error *err)
{
	uint64_t physical = *entry;
	bool found = false, loaded = false;

	for (unsigned i = 0; i < file->count; i++) {
		struct elf_segment segment;
		int ret = read_segment(job, file, i, &segment, err);

		if (ret < 0)
			return ret;
		if (segment.type != PT_LOAD)
			continue;
		ret = boot_place(job, segment.offset, segment.file_size, segment.address, segment.memory_size, err);
		if (ret < 0)
			return ret;
		loaded = true;
		if (*entry >= segment.address && *entry - segment.address < segment.memory_size)
			found = true;
		if (!found && *entry >= segment.virtual && *entry - segment.virtual < segment.memory_size)
			physical = segment.address + (*entry - segment.virtual);
	}
	if (!found)
		*entry = physical;
	if (!loaded || *entry > UINT32_MAX || !guest_memory_at(job->memory, *entry, 1))
		return error_set(err, ENOEXEC, "the kernel is damaged: nothing is loaded where it is to be entered");
	return 0;
}

static int load_pvh(struct boot_job *job, const struct elf_file *file, uint64_t entry, struct error *err)
{
	int ret = load_segments(job, file, &entry, err);

	if (ret == 0)
		ret = boot_place_initrd(job, UINT64_C(1) << 32, err);
	if (ret == 0)
		ret = boot_write_command_line(job, NULL, err);
	if (ret == 0)
		ret = boot_write_pvh(job, err);
	if (ret == 0)
		ret = boot_enter(job, BOOT_PVH, BOOT_PROTECTED32, entry, err);
	job->state->rbx = BOOT_PARAMETERS;
	return ret;
}

/* A vmlinux, or whatever takes boot parameters as it does; the header says what a bzImage's would. */
static int load_elf64(struct boot_job *job, const struct elf_file *file, struct error *err)
{
	static const uint8_t header[0x264 - 0x1f1] = { [0x1fe - 0x1f1] = 0x55,
						       0xaa,
						       [0x202 - 0x1f1] = 'H',
						       'd',
						       'r',
						       'S',
						       0x0f,
						       0x02,
						       /* version 2.15 */ [0x211 - 0x1f1] = 1 };
	uint64_t entry = file->entry;
	int ret = load_segments(job, file, &entry, err);

	if (ret == 0)
		ret = boot_place_initrd(job, UINT64_C(1) << 32, err);
	if (ret == 0)
		ret = boot_write_command_line(job, NULL, err);
	if (ret == 0)
		ret = boot_write_zero_page(job, header, sizeof(header), err);
	if (ret == 0)
		ret = boot_enter(job, BOOT_ELF64, BOOT_LONG64, entry, err);
	job->state->rsi = BOOT_PARAMETERS;
	return ret;
}

static int load_multiboot(struct boot_job *job, const struct elf_file *file, struct error *err)
{
	uint64_t entry = file->entry;
	int ret = boot_multiboot_header(job, err);

	if (ret == 1)
		return error_set(err, ENOEXEC,
				 "the kernel is a 32-bit ELF file that has neither a multiboot header nor PVH's note");
	if (ret == 0)
		ret = load_segments(job, file, &entry, err);
	if (ret == 0)
		ret = boot_place_initrd(job, UINT64_C(1) << 32, err);
	if (ret == 0)
		ret = boot_write_command_line(job, job->image->name ? job->image->name : "kernel", err);
	if (ret == 0)
		ret = boot_write_multiboot(job, err);
	if (ret == 0)
		ret = boot_enter(job, BOOT_MULTIBOOT, BOOT_PROTECTED32, entry, err);
	job->state->rax = BOOT_MULTIBOOT_MAGIC;
	job->state->rbx = BOOT_PARAMETERS;
	return ret;
}

int boot_load_elf(struct boot_job *job, struct error *err)
{
	struct elf_file file;
	uint64_t entry = 0;
	int ret = read_header(job, &file, err);

	if (ret != 0)
		return ret;
	ret = find_pvh_entry(job, &file, &entry, err);
	if (ret < 0)
		return ret;
	if (ret == 0)
		return load_pvh(job, &file, entry, err);
	return file.wide ? load_elf64(job, &file, err) : load_multiboot(job, &file, err);
}
