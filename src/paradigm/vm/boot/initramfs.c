/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/boot/initramfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { HEADER = 110, NAME_MAX_SIZE = 128, INIT_MAX = 64 << 20 };

struct entry {
	const char *name;
	unsigned mode, major, minor;
	const void *bytes;
	size_t size;
};

static int write_padded(int fd, const void *bytes, size_t size, size_t before)
{
	static const char zeros[3];
	size_t padding = -(before + size) & 3;
	int ret = file_write_all(fd, bytes, size);

	return ret < 0 || padding == 0 ? ret : file_write_all(fd, zeros, padding);
}

/* Owner, times and inode numbers are 0: the same content is the same archive.  The kernel takes regular files with one
 * link as they come, whatever their inode. */
static int write_entry(int fd, const struct entry *entry, struct error *err)
{
	char header[HEADER + NAME_MAX_SIZE];
	size_t name = strlen(entry->name) + 1;
	int ret;

	(void)snprintf(header, sizeof(header), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s", 0,
		       entry->mode, 0, 0, 1, 0, (unsigned)entry->size, 0, 0, entry->major, entry->minor, (unsigned)name,
		       0, entry->name);
	ret = write_padded(fd, header, HEADER + name, 0);
	if (ret == 0 && entry->size > 0)
		ret = write_padded(fd, entry->bytes, entry->size, 0);
	return ret < 0 ? error_errno(err, -ret, "cannot write the initramfs") : 0;
}

int initramfs_write_modules(int fd, const struct module_source *source, enum vm_kind kind, struct error *err)
{
	struct module_list *modules = calloc(1, sizeof(*modules));
	cleanup_str struct str list = STR_INIT;
	int ret;

	if (!modules)
		return error_errno(err, ENOMEM, "cannot make the initramfs");
	ret = source ? module_list_make(source, kind, modules, err) : 0;
	if (ret == 0)
		ret = write_entry(fd, &(struct entry){ .name = "modules", .mode = S_IFDIR | 0755 }, err);
	for (size_t i = 0; ret == 0 && i < modules->count; i++) {
		const struct module_entry *module = &modules->entries[i];
		char name[NAME_MAX_SIZE];

		str_printf(&list, "%s%s%s\n", module->name, *module->words ? " " : "", module->words);
		(void)snprintf(name, sizeof(name), "modules/%s", module->name);
		ret = write_entry(
			fd,
			&(struct entry){
				.name = name, .mode = S_IFREG | 0644, .bytes = module->bytes, .size = module->size },
			err);
	}
	if (ret == 0 && str_failed(&list))
		ret = error_errno(err, ENOMEM, "cannot make the initramfs");
	if (ret == 0)
		ret = write_entry(fd,
				  &(struct entry){ .name = "modules.list",
						   .mode = S_IFREG | 0644,
						   .bytes = str_text(&list),
						   .size = list.length },
				  err);
	module_list_free(modules);
	free(modules);
	return ret;
}

int initramfs_write_init(int fd, int init, struct error *err)
{
	cleanup_free char *bytes = NULL;
	char proc[FILE_FD_PATH_MAX];
	size_t size = 0;
	/* By its path in /proc, because the descriptor may be an O_PATH one, and has an offset that is others'. */
	int ret = file_read(AT_FDCWD, file_fd_path(init, proc), INIT_MAX, &bytes, &size, err);
	const struct entry entries[] = {
		{ .name = "dev", .mode = S_IFDIR | 0755 },
		{ .name = "dev/console", .mode = S_IFCHR | 0600, .major = 5, .minor = 1 },
		{ .name = "init", .mode = S_IFREG | 0755, .bytes = bytes, .size = size },
		{ .name = "TRAILER!!!" },
	};

	for (size_t i = 0; ret == 0 && i < sizeof(entries) / sizeof(*entries); i++)
		ret = write_entry(fd, &entries[i], err);
	return ret;
}
