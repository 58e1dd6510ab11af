/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module - which of a kernel's modules a guest needs, and in which order:
 * modules.order, modules.builtin (Documentation/kbuild/kbuild.rst) and what each module says of
 * itself in its section .modinfo.
 *
 * A distribution's package has no modules.dep (depmod(8) makes it on the
 * machine that it is installed on), so dependencies are read from the modules.
 * They may be anybody's: lengths are checked, circles end.
 */
#ifndef CAISSON_PARADIGM_VM_BOOT_MODULE_H
#define CAISSON_PARADIGM_VM_BOOT_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "paradigm/vm/config.h"

enum { MODULE_SIZE_MAX = 64 << 20, MODULE_NAME_MAX = 60, MODULES_MAX = 256 };

/* Where modules come from. */
struct module_source {
	int dir; /* lib/modules/VERSION; not owned */
	/* Reads the module at path ("kernel/...ko") beneath dir, decompressed, into fresh memory.  NULL: files as they
	 * are.  -ENOENT. */
	int (*read)(void *context, int dir, const char *path, char **bytes, size_t *size, struct error *err);
	void *context;
};

/*
 * What .modinfo says of key ("depends", "vermagic"): *value points into bytes, *length bytes long.  0; -ENODATA:
 * nothing; -ENOEXEC: that is no module.
 */
int module_info(const void *bytes, size_t size, const char *key, const char **value, size_t *length, struct error *err);

/*
 * How long a module is without the signature behind it (linux/module_signature.h, scripts/sign-file.c), if it has one.
 * A guest's kernel takes its modules from us, as it was itself; to check them would be a fifth of the time that it
 * takes for loading them.
 */
size_t module_unsigned_size(const void *bytes, size_t size);

/* A module on its way into an initramfs; bytes are the list's. */
struct module_entry {
	char name[MODULE_NAME_MAX + 4]; /* "virtio_blk.ko": its file's name */
	const char *words;		/* for guest/boot.h's list: "", "late", "net", ... */
	char *bytes;
	size_t size;
};

struct module_list {
	struct module_entry entries[MODULES_MAX];
	size_t count;
};

/*
 * All that a guest of that kind needs, after what it needs itself.  -ENOENT: the kernel lacks one without which no
 * guest of that kind runs; -ENOEXEC, -ELOOP.  Free the list even after failure.
 */
int module_list_make(const struct module_source *source, enum vm_kind kind, struct module_list *list,
		     struct error *err);
void module_list_free(struct module_list *list);

#endif
