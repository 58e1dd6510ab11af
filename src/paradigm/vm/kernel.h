/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel - finds the kernel that a guest boots, and its initramfs.
 *
 *     STORE/NAME/bzImage           as it came
 *     STORE/NAME/vmlinux           the same, unpacked: starts a second sooner under emulation; if it could be made
 *     STORE/NAME/modules-KIND      the first part of its initramfs (KIND: pv, vm), see boot/initramfs.h
 *     STORE/NAME/initrd-KIND-KEY   the whole, with the caisson-init that KEY names; made when it is first wanted
 *     STORE/NAME/config.json       {"version", "added", "source"}
 *     STORE/default                symbolic link to NAME
 *
 * Who fills the store is image/kernel.h.  Where there is none, the host's own kernel
 * (/boot/vmlinuz-VERSION, /lib/modules/VERSION) serves, if it can be read.
 */
#ifndef CAISSON_PARADIGM_VM_KERNEL_H
#define CAISSON_PARADIGM_VM_KERNEL_H

#include <stdbool.h>

#include "base/error.h"
#include "paradigm/vm/config.h"

#define KERNEL_STORE "/var/lib/caisson/kernels"

enum { KERNEL_NAME_MAX = 128 };

struct kernel_found {
	int kernel, initrd;		 /* owned by the caller */
	char name[KERNEL_NAME_MAX + 16]; /* for people: "6.1.0-38-cloud-amd64", "/boot/vmlinuz-6.1..." */
};

/*
 * store: the directory, NULL: KERNEL_STORE.  name: NULL: the default, or the host's own.  init: caisson-init.  -ENOENT
 * says what to do.
 */
int kernel_find(const char *store, const char *name, enum vm_kind kind, int init, struct kernel_found *found,
		struct error *err);

/* The same by the path of a kernel's directory, or of "default": vm.kernel.path may be one. */
int kernel_open(const char *path, enum vm_kind kind, int init, struct kernel_found *found, struct error *err);

/* An initramfs with nothing in it but init, for a kernel that has everything built in; or with the modules in the
 * directory modules (lib/modules/VERSION), -1: none.  Returns a descriptor. */
int kernel_make_initrd(int modules, enum vm_kind kind, int init, struct error *err);

/* Letters, digits, and "._+-" but first: names that are a directory of the store's.  -EINVAL. */
int kernel_name_check(const char *name, struct error *err);

const char *kernel_kind_name(enum vm_kind kind); /* "pv", "vm" */

#endif
