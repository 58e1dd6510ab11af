/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings - what a configuration says of its virtual machine: "vm" of
 * config.json (config-vm.md), its limits, and annotations of our own for what
 * the document has no word for:
 *
 *     org.caisson.vm.kernels        directory of kernels (kernel.h), instead of the system's
 *     org.caisson.vm.kernel         for clients that write no "vm": vm.kernel.path, or a name in that directory,
 *     org.caisson.vm.initrd           vm.kernel.initrd,
 *     org.caisson.vm.vcpus            vm.hwConfig.vcpus,
 *     org.caisson.vm.memory           vm.hwConfig.memory, as docker writes sizes: "512m"
 *     org.caisson.vm.engine         "auto" (default), "kvm", "qemu"
 *     org.caisson.vm.boot-timeout   seconds after which a guest without its process is given up; 0: never
 *     org.caisson.vm.machine        QEMU's -machine type, instead of our choice
 *     org.caisson.vm.hugepages      "2M" or "1G": guest memory in huge pages
 *     org.caisson.vm.vcpu-pin       host CPUs, one for each vCPU: "0-3" or "0,2"
 *     org.caisson.vm.vsock          directory in which the guest's stream sockets are (virtio/vsock.h)
 *     org.caisson.vm.disk           further disks, one a line: PATH[,format=raw|qcow2][,ro][,backing=PATH]...
 *     org.caisson.vm.device         PCI devices of the host's, one a line: vfio:ADDRESS
 *     org.caisson.vm.image.backing  raw file on which vm.image, a qcow2, stands: what that says of it itself is not
 *                                   believed
 *
 *     org.caisson.vm.snapshot       directory with "state" and "memory" of a machine of the same settings
 *
 * Nothing is opened here.
 */
#ifndef CAISSON_PARADIGM_VM_SETTINGS_H
#define CAISSON_PARADIGM_VM_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "paradigm/vm/config.h"
#include "spec/runtime.h"

#define VM_ANNOTATION "org.caisson.vm."

enum { VM_MEMORY_DEFAULT_MIB = 512, VM_MEMORY_MIN_MIB = 128 };

enum vm_engine_wish { VM_WISH_AUTO, VM_WISH_KVM, VM_WISH_QEMU };

struct vm_disk_setting {
	const char *path, *format; /* "raw", "qcow2" */
	bool read_only;
	const char *backing[VM_CHAIN_MAX - 1],
		*backing_formats[VM_CHAIN_MAX - 1]; /* what it stands on, topmost first */
	size_t backing_count;
};

/* Texts belong to the specification's arena. */
struct vm_settings {
	enum vm_engine_wish engine;
	const char *machine, *qemu;    /* NULL: ours to choose */
	const char *kernels;	       /* directory of kernels; NULL: the system's */
	const char *kernel, *initrd;   /* a path, or a name in there; NULL: the default */
	struct oci_strings parameters; /* of the kernel */
	uint32_t boot_seconds;
	uint64_t memory; /* bytes, a multiple of 2 MiB */
	bool limited;	 /* the memory was said to be no more */
	uint32_t vcpus;
	uint64_t hugepages;
	int32_t pins[VM_VCPUS_MAX];
	size_t pins_count;
	const char *vsock;			    /* a directory; NULL: no virtio-vsock */
	const char *snapshot;			    /* NULL: from the beginning */
	const char *image, *image_format, *backing; /* NULL: made of the root directory; raw is complete */
	struct vm_disk_setting disks[VM_DISKS_MAX - 1];
	size_t disks_count;
	const char *devices[VM_DEVICES_MAX]; /* addresses, as vfio_address() writes them */
	size_t devices_count;
};

/*
 * Reads "PATH[,format=raw|qcow2][,ro][,backing=PATH]..."; the text is cut up, and the setting points into it.  Without
 * a format it is qcow2 if the name ends so, else raw.  -EINVAL.
 */
int vm_disk_setting_read(char *text, struct vm_disk_setting *disk, struct error *err);

/* -EINVAL, -ENOTSUP: what cannot be, or not by us. */
int vm_settings_read(struct oci_spec *spec, struct vm_settings *settings, struct error *err);

#endif
