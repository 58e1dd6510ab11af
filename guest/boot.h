/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot - from a kernel that has just started /init to a machine in which a
 * container can be made.
 *
 * The kernel's command line has words for us:
 *
 *     caisson.agent=NAME    the line to the host: a device (ttyS1, hvc0), or "port:NAME", a virtio port of that name
 *     caisson.root=DEVICE   the disk with the root file system, "/dev/vda"; ext4
 *     caisson.id=ID         the instance's name, for hooks
 *     caisson.debug         each step with its time on the console
 *
 * The initramfs (it is made by src/paradigm/vm/boot) has
 *
 *     /init                 caisson-init
 *     /dev/console          character device 5:1
 *     /modules.list         what to load, in this order: a line is "NAME.ko [WORD...]"
 *     /modules/NAME.ko      uncompressed
 *
 * where WORDs restrict a line: "pv" and "vm" to one kind of machine, "pci", "net"
 * and "vsock" to machines with such a bus or device, "share" to those with
 * shares of the host's (loaded when the first comes), "late" to after the
 * workload's start.  A module that is built in, whose device is missing, or that
 * is not there, is passed over.
 *
 * Nothing here returns to the kernel: a process 1 that exits is a panic.
 */
#ifndef CAISSON_GUEST_BOOT_H
#define CAISSON_GUEST_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct boot_words {
	char agent[32], root[64], id[80];
	bool debug;
};

/* Finds the words in a command line; what is too long or unknown is passed over. */
void boot_words_read(const char *line, struct boot_words *words);

struct boot {
	struct boot_words words;
	int initramfs; /* directory of what the kernel unpacked; owned */
	int uevents;   /* netlink socket, kobject_uevent; owned, or -1 */
};

/* Mounts proc, sysfs, devtmpfs, cgroup2 and a tmpfs as the root, which is entered, and reads the command line. */
int boot_begin(struct boot *boot, struct error *err);

/*
 * Loads what the list has for this machine, in its order; only what has the word (NULL: what has neither "share" nor
 * "late"). loaded, if not NULL, is called after each one.  Only a list that cannot be read is an error.
 */
int boot_load_modules(struct boot *boot, const char *word, void (*loaded)(void *context), void *context,
		      struct error *err);

/* Whether a line of the list is for this kind ("pv", "vm"), moment (word as above) and machine (has is asked for "pci",
 * "net" and "vsock"); name gets the module's. */
bool boot_module_wanted(const char *line, const char *kind, const char *word, bool (*has)(const char *word),
			char name[static 64]);

/* Opens /dev/NAME when it is there, waits for it up to seconds.  flags are open(2)'s.  -ENODEV. */
int boot_open_device(struct boot *boot, const char *name, int flags, int seconds, struct error *err);

/*
 * The line to the host that the command line names, waited for up to seconds; a port of virtio is there when the host
 * has opened it, too.  -ENODEV.
 */
int boot_open_line(struct boot *boot, int seconds, struct error *err);

/* Mounts the root disk on /rootfs, read-only if it cannot be written.  Waits for it. */
int boot_mount_root(struct boot *boot, struct error *err);

/* All that was written is on the disk, and nothing more can be written. */
void boot_seal_root(void);

/* The loopback device. */
int boot_raise_loopback(struct error *err);

/* Where root file system, copied files and shares are. */
#define BOOT_ROOTFS "/rootfs"
#define BOOT_MOUNTS "/run/mounts" /* a file or a symbolic link per mount of config.json, by its index */
#define BOOT_SHARES "/run/shares"

/* One line on the console. */
void boot_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with the seconds since the kernel's start, where the command line asks for it. */
void boot_debug(const struct boot *boot, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Switches the machine off. */
__attribute__((noreturn)) void boot_power_off(void);

#endif
