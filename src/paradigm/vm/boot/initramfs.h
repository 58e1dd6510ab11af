/* SPDX-License-Identifier: Apache-2.0 */
/*
 * initramfs - the first file system of a guest, as guest/boot.h wants it: /init
 * (caisson-init), /dev/console, /modules.list, /modules/NAME.ko.
 *
 * A cpio archive ("newc", Documentation/driver-api/early-userspace/buffer-format.rst), not
 * compressed: the guest would pay for unpacking what the host has in its page cache.  Written in two
 * parts, so that the modules need not be read again when caisson-init is another one.
 */
#ifndef CAISSON_PARADIGM_VM_BOOT_INITRAMFS_H
#define CAISSON_PARADIGM_VM_BOOT_INITRAMFS_H

#include "base/error.h"
#include "paradigm/vm/boot/module.h"

/* Writes the modules of a guest to fd; source NULL: a kernel without modules. */
int initramfs_write_modules(int fd, const struct module_source *source, enum vm_kind kind, struct error *err);

/* Writes the rest behind them: init (a regular file, read from its beginning) and the end. */
int initramfs_write_init(int fd, int init, struct error *err);

#endif
