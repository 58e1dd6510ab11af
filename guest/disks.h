/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks - which disk is which, and those that the container gets.
 *
 * The host counts its disks; the kernel names them as they come, which for ATA
 * disks is any order: they are told apart by their place on the controller.
 * The first one has the root file system, all others are the container's: nodes
 * in its /dev (with their partitions), and leave to use them.
 */
#ifndef CAISSON_GUEST_DISKS_H
#define CAISSON_GUEST_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "spec/runtime.h"

enum { GUEST_DISKS_MAX = 32 };

struct guest_disk {
	char kernel_name[16]; /* "vdb", "sdb" */
	char name[16];	      /* the same, by the host's order */
	uint64_t place;
};

/* Those below sys_block ("/sys/block"), in the host's order; how many. */
size_t disks_find(const char *sys_block, struct guest_disk disks[static GUEST_DISKS_MAX]);

/* The name of the ATA disk that is first in the host's order; false: it is not there yet. */
bool disks_find_first_ata(const char *sys_block, char name[static 16]);

/*
 * Adds to the specification what the container gets.  Waits for as many disks as it says there are
 * (org.caisson.vm.disk).  -ENODEV: they do not come.
 */
int disks_add(struct oci_spec *spec, const char *sys_block, struct error *err);

#endif
