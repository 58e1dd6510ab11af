/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel - guest kernels on this machine: brought in, listed, removed.
 *
 * ROOT/kernels is laid out as paradigm/vm/kernel.h says, which also finds what
 * is in it.  A kernel is made beside its place, under a name that begins with
 * '.', and renamed when it is whole; what a process that died has left there is removed by the
 * next one that writes.  Kernels, packages and modules may be anybody's.
 */
#ifndef CAISSON_IMAGE_KERNEL_H
#define CAISSON_IMAGE_KERNEL_H

#include <stdbool.h>
#include <time.h>

#include "base/error.h"
#include "image/store.h"
#include "paradigm/vm/kernel.h"

struct kernel_addition {
	const char *name;    /* NULL: the kernel's version */
	const char *modules; /* lib/modules/VERSION, for a kernel that is a file; NULL: all is built in */
	const char *origin;  /* what `ls` shows as its source; NULL: the path */
	bool make_default;   /* else only where there is none yet */
};

/* What came of it. */
struct kernel_added {
	char name[KERNEL_NAME_MAX + 1];
	bool existed;	  /* the same was there before: nothing was done, but for the default */
	char notice[256]; /* what is not as well as it could be: "it could not be unpacked ...", or "" */
};

/*
 * Adds what is at path: a bzImage or vmlinux; a directory with boot/vmlinuz-VERSION and lib/modules/VERSION (the newest
 * that has both); a Debian package with these.  Reports progress as the store's owner wants it.  -ENOEXEC, -ENOENT,
 * -EINVAL; -EEXIST: another kernel has that name.
 */
int kernel_add(struct image_store *store, const char *path, const struct kernel_addition *addition,
	       struct kernel_added *added, struct error *err);

/*
 * Downloads the distribution's package with apt-get(8) and adds it.  package NULL: what linux-image-cloud-amd64 depends
 * on.  -ENOENT: no apt-get here.
 */
int kernel_fetch(struct image_store *store, const char *package, const struct kernel_addition *addition,
		 struct kernel_added *added, struct error *err);

/* -ENOENT.  The default's removal makes the newest of the others the default. */
int kernel_remove(struct image_store *store, const char *name, struct error *err);

int kernel_set_default(struct image_store *store, const char *name, struct error *err);

struct kernel_record {
	char name[KERNEL_NAME_MAX + 1], version[64];
	char *source; /* owned */
	time_t added;
	uint64_t size; /* bytes that it takes on the disk */
	bool unpacked, is_default;
};

/* All of them, by name; free with kernel_list_free(). */
int kernel_list(struct image_store *store, struct kernel_record **records, size_t *count, struct error *err);
void kernel_list_free(struct kernel_record *records, size_t count);

#endif
