/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_private - what the files of the kernel store share: see kernel.h.
 */
#ifndef CAISSON_IMAGE_KERNEL_PRIVATE_H
#define CAISSON_IMAGE_KERNEL_PRIVATE_H

#include <stdint.h>
#include <sys/types.h>

#include "image/kernel.h"
#include "paradigm/vm/boot/module.h"

enum { KERNEL_UNPACKED_MAX = 1 << 30 };

/* The directory ROOT/kernels, and under the lock a directory in it for unfinished work. */
struct kernel_work {
	int dir;  /* ROOT/kernels, locked */
	int work; /* a fresh directory in it, or -1 */
	char name[32];
};

int kernel_work_open(const struct image_store *store, bool fresh, struct kernel_work *work, struct error *err);
/* Removes what was not renamed. */
void kernel_work_close(struct kernel_work *work);
/* In one step: there is one default before and after, for those who look without the lock, too. */
int kernel_name_default(int dir, const char *name, struct error *err);

/* kernel_unpack.c: decompresses size bytes of from, at offset, into to; gzip, xz, lzma, bzip2, zstd, lz4.  -ENOTSUP:
 * none of them. */
int kernel_unpack(int from, uint64_t offset, uint64_t size, int to, struct error *err);

/* A module that may be compressed: module_source's read(). */
int kernel_read_module(void *context, int dir, const char *path, char **bytes, size_t *size, struct error *err);

/* kernel_package.c: unpacks boot/vmlinuz-* and lib/modules of a Debian package into dir; -EINVAL: no such package. */
int kernel_unpack_package(struct image_store *store, int package, int dir, struct error *err);

#endif
