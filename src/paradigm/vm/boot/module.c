/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/boot/module.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { INDEX_MAX = 4 << 20, DEPTH_MAX = 32, PV = 1 << VM_KIND_PV, VM = 1 << VM_KIND_VM };

/* In this order; what is not in a kernel is passed over, unless nothing works without it. */
static const struct {
	const char *name, *words;
	int kinds;
	bool required;
} wanted[] = {
	{ "virtio_mmio", "", PV, true },
	{ "virtio_pci", "pci", PV, false }, /* where a machine of QEMU's has it */
	{ "virtio_console", "", PV, true },
	{ "virtio_blk", "", PV, true },
	{ "ata_piix", "", VM, false },
	{ "ata_generic", "", VM, false },
	{ "pata_legacy", "", VM, false },
	{ "sd_mod", "", VM, true },
	/* ext4 asks for it by the name of an algorithm, which is no dependency. */
	{ "crc32c_generic", "", PV | VM, false },
	{ "ext4", "", PV | VM, true },
	{ "virtio_net", "net", PV, false },
	{ "e1000", "net", VM, false },
	{ "vmw_vsock_virtio_transport", "vsock", PV, false },
	{ "virtiofs", "share", PV, false },
	{ "overlay", "late", PV | VM, false },
	{ "virtio_rng", "late", PV, false },
	{ "virtio_balloon", "late", PV, false },
};

/* ---- .modinfo ---- */

/* Section number index of a relocatable file whose header was checked; NULL: it does not lie in the file. */
static const uint8_t *section_at(const uint8_t *bytes, size_t size, const Elf64_Ehdr *header, unsigned index,
				 Elf64_Shdr *section)
{
	uint64_t place;

	if (index >= header->e_shnum ||
	    __builtin_add_overflow(header->e_shoff, (uint64_t)index * sizeof(*section), &place) || place > size ||
	    size - place < sizeof(*section))
		return NULL;
	memcpy(section, bytes + place, sizeof(*section));
	if (section->sh_type == SHT_NOBITS || section->sh_offset > size || section->sh_size > size - section->sh_offset)
		return NULL;
	return bytes + section->sh_offset;
}

static const uint8_t *find_modinfo(const uint8_t *bytes, size_t size, const Elf64_Ehdr *header, size_t *length)
{
	static const char wanted_name[] = ".modinfo";
	Elf64_Shdr names_section, section;
	const uint8_t *names = section_at(bytes, size, header, header->e_shstrndx, &names_section);

	for (unsigned i = 0; names && i < header->e_shnum; i++) {
		const uint8_t *content = section_at(bytes, size, header, i, &section);

		if (content && section.sh_name < names_section.sh_size &&
		    names_section.sh_size - section.sh_name >= sizeof(wanted_name) &&
		    memcmp(names + section.sh_name, wanted_name, sizeof(wanted_name)) == 0) {
			*length = section.sh_size;
			return content;
		}
	}
	return NULL;
}

int module_info(const void *bytes, size_t size, const char *key, const char **value, size_t *length, struct error *err)
{
	size_t key_length = strlen(key), left;
	const char *at, *end;
	Elf64_Ehdr header;

	if (size < sizeof(header))
		return error_set(err, ENOEXEC, "not a kernel module");
	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_REL ||
	    header.e_shentsize != sizeof(Elf64_Shdr))
		return error_set(err, ENOEXEC, "not a kernel module for x86-64");
	at = (const char *)find_modinfo(bytes, size, &header, &left);
	if (!at)
		return error_set(err, ENOEXEC, "the kernel module says nothing of itself");
	/* Texts of KEY=VALUE, each ended by NULs. */
	for (; left > 0; left -= (size_t)(end - at), at = end) {
		end = at + strnlen(at, left);
		if ((size_t)(end - at) > key_length && memcmp(at, key, key_length) == 0 && at[key_length] == '=') {
			*value = at + key_length + 1;
			*length = (size_t)(end - *value);
			return 0;
		}
		while ((size_t)(end - at) < left && *end == '\0')
			end++;
	}
	return -ENODATA;
}

size_t module_unsigned_size(const void *bytes, size_t size)
{
	static const char magic[] = "~Module signature appended~\n";
	enum { MAGIC = sizeof(magic) - 1, DESCRIPTION = 12, LENGTH_AT = 8 };
	const uint8_t *end = (const uint8_t *)bytes + size;
	uint32_t length;

	if (size < MAGIC + DESCRIPTION || memcmp(end - MAGIC, magic, MAGIC) != 0)
		return size;
	memcpy(&length, end - MAGIC - DESCRIPTION + LENGTH_AT, sizeof(length));
	length = be32toh(length);
	return length > size - MAGIC - DESCRIPTION ? size : size - MAGIC - DESCRIPTION - length;
}

/* ---- the tree of modules ---- */

struct resolver {
	const struct module_source *source;
	char *order, *builtin; /* lists of paths, one a line; owned */
	struct module_list *list;
	const char *words;
	char begun[MODULES_MAX][MODULE_NAME_MAX]; /* in list, or on the way there */
	size_t begun_count;
};

/* "virtio-rng" and "virtio_rng" are the same module. */
static bool same_name(const char *path_name, const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((path_name[i] == '-' ? '_' : path_name[i]) != (name[i] == '-' ? '_' : name[i]))
			return false;
	return true;
}

/* The line of a list whose file is NAME.ko; its length, 0: there is none. */
static size_t find_path(const char *lines, const char *name, const char **path)
{
	size_t length = strlen(name), line;

	for (; lines && *lines; lines += line + (lines[line] == '\n')) {
		const char *end, *base;

		line = strcspn(lines, "\n");
		end = lines + line;
		if (line < length + 3 || memcmp(end - 3, ".ko", 3) != 0)
			continue;
		base = end - 3 - length;
		if ((base == lines || base[-1] == '/') && same_name(base, name, length)) {
			*path = lines;
			return line;
		}
	}
	return 0;
}

static int read_plain(int dir, const char *path, char **bytes, size_t *size, struct error *err)
{
	cleanup_close int fd = file_open_in_root(dir, path, O_RDONLY, 0);

	if (fd < 0)
		return error_errno(err, -fd, "cannot open the kernel module %s", path);
	return file_read_fd(fd, MODULE_SIZE_MAX, bytes, size, err);
}

static int add(struct resolver *resolver, const char *name, unsigned depth, struct error *err);

/* "depends=a,b,c" */
static int add_dependencies(struct resolver *resolver, const char *bytes, size_t size, unsigned depth,
			    struct error *err)
{
	const char *value;
	size_t length;
	int ret = module_info(bytes, size, "depends", &value, &length, err);

	if (ret == -ENODATA)
		return 0;
	while (ret == 0 && length > 0) {
		const char *comma = memchr(value, ',', length);
		size_t part = comma ? (size_t)(comma - value) : length;
		char name[MODULE_NAME_MAX];

		if (part >= sizeof(name))
			return error_set(err, ENOEXEC, "the kernel module depends on a name of %zu bytes", part);
		memcpy(name, value, part);
		name[part] = '\0';
		if (part > 0)
			ret = add(resolver, name, depth + 1, err);
		value += part + (comma != NULL);
		length -= part + (comma != NULL);
	}
	return ret;
}

static int read_module(struct resolver *resolver, const char *path, char **bytes, size_t *size, struct error *err)
{
	const struct module_source *source = resolver->source;

	return source->read ? source->read(source->context, source->dir, path, bytes, size, err)
			    : read_plain(source->dir, path, bytes, size, err);
}

static bool is_begun(const struct resolver *resolver, const char *name)
{
	for (size_t i = 0; i < resolver->begun_count; i++)
		if (strlen(resolver->begun[i]) == strlen(name) && same_name(resolver->begun[i], name, strlen(name)))
			return true;
	return false;
}

static void put_entry(struct resolver *resolver, const char *path, char **bytes, size_t size)
{
	struct module_entry *entry = &resolver->list->entries[resolver->list->count++];
	const char *base = strrchr(path, '/');

	/* find_path() has it that the name is as long as one that we asked for. */
	(void)snprintf(entry->name, sizeof(entry->name), "%s", base ? base + 1 : path);
	entry->words = resolver->words;
	entry->size = module_unsigned_size(*bytes, size);
	entry->bytes = take_ptr(*bytes);
}

/* 1: the kernel does not have it. */
static int add(struct resolver *resolver, const char *name, unsigned depth, struct error *err)
{
	cleanup_free char *path = NULL, *bytes = NULL;
	const char *line;
	size_t length, size;
	int ret;

	if (is_begun(resolver, name) || find_path(resolver->builtin, name, &line) > 0)
		return 0;
	if (depth > DEPTH_MAX || resolver->begun_count == MODULES_MAX)
		return error_set(err, ELOOP, "the kernel's modules depend on too many others");
	length = find_path(resolver->order, name, &line);
	if (length == 0)
		return depth == 0 ? 1 : error_set(err, ENOENT, "a kernel module needs %s, which is not there", name);
	path = strndup(line, length);
	if (!path)
		return error_errno(err, ENOMEM, "cannot read kernel modules");
	(void)snprintf(resolver->begun[resolver->begun_count++], MODULE_NAME_MAX, "%s", name);
	ret = read_module(resolver, path, &bytes, &size, err);
	if (ret == 0)
		ret = add_dependencies(resolver, bytes, size, depth, err);
	if (ret < 0)
		return depth == 0 ? error_wrap(err, "module %s", path) : ret;
	put_entry(resolver, path, &bytes, size);
	return 0;
}

static int read_lists(struct resolver *resolver, struct error *err)
{
	size_t size;
	int dir = resolver->source->dir, ret = file_read(dir, "modules.order", INDEX_MAX, &resolver->order, &size, err);

	if (ret < 0)
		return error_wrap(err, "this is no directory of a kernel's modules (lib/modules/VERSION)");
	ret = file_read(dir, "modules.builtin", INDEX_MAX, &resolver->builtin, &size, err);
	return ret == -ENOENT ? 0 : ret;
}

int module_list_make(const struct module_source *source, enum vm_kind kind, struct module_list *list, struct error *err)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	int ret;

	list->count = 0;
	if (!resolver)
		return error_errno(err, ENOMEM, "cannot read kernel modules");
	resolver->source = source;
	resolver->list = list;
	ret = read_lists(resolver, err);
	for (size_t i = 0; ret == 0 && i < sizeof(wanted) / sizeof(*wanted); i++) {
		if (!(wanted[i].kinds & 1 << kind))
			continue;
		resolver->words = wanted[i].words;
		ret = add(resolver, wanted[i].name, 0, err);
		if (ret == 1 && wanted[i].required)
			ret = error_set(err, ENOENT, "the kernel has no %s, neither built in nor as a module",
					wanted[i].name);
		else if (ret == 1)
			ret = 0;
	}
	free(resolver->order);
	free(resolver->builtin);
	free(resolver);
	return ret;
}

void module_list_free(struct module_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->entries[i].bytes);
	list->count = 0;
}
