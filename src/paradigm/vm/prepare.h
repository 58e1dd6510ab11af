/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prepare - what is done for a machine before its shell exists, in parts.
 * Private to vm.c and the prepare_*.c beside it.
 */
#ifndef CAISSON_PARADIGM_VM_PREPARE_H
#define CAISSON_PARADIGM_VM_PREPARE_H

#include "paradigm/paradigm.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/settings.h"

/* In the container's state directory: struct paradigm's memory_events. */
#define VM_MEMORY_EVENTS "memory.events"

/* What become() needs, and what release() ends: paradigm_setup's own. */
struct vm_prepared {
	int program;	  /* caisson-vmm */
	int config;	  /* its configuration */
	int sync;	  /* a place that is kept for the shell's socket */
	bool root_is_own; /* setup->rootfs_fd */
};

struct vm_plan {
	struct paradigm_setup *setup;
	struct oci_spec *spec; /* setup's */
	struct vm_settings settings;
	struct vm_config config; /* texts in the specification's arena */
	struct vm_prepared *prepared;
};

int vm_prepare(enum vm_kind kind, struct paradigm_setup *setup, struct error *err);
void vm_release(struct paradigm_setup *setup);

/*
 * Takes a descriptor into the setup, above 2, so that nothing of a caller without standard streams is overwritten.
 * Returns its number, or -errno; fd is closed or kept in any case.
 */
int vm_keep(struct vm_plan *plan, int fd, struct error *err);

/* prepare_kernel.c: the kernel and its initramfs. */
int vm_open_kernel(struct vm_plan *plan, struct error *err);

/* prepare_disks.c: the root disk and the further ones. */
int vm_open_disks(struct vm_plan *plan, struct error *err);

/* prepare_snapshot.c: what the machine is to begin from. */
int vm_open_snapshot(struct vm_plan *plan, struct error *err);

/* prepare_mounts.c: what bind mounts bring in. */
int vm_open_mounts(struct vm_plan *plan, struct error *err);
/*
 * A directory of the user's for whoever runs in the shell, as a mount of its own: even for one who has been taken over,
 * no ".." leads out of it, no link in it is followed, and no device that a guest makes in it is one of the host's.
 * Returns the descriptor, kept as by vm_keep().
 */
int vm_clone_directory(struct vm_plan *plan, int dirfd, const char *path, bool recursive, bool read_only,
		       struct error *err);

/* prepare_network.c: a card for each interface of the network namespace that is to be joined. */
int vm_open_network(struct vm_plan *plan, struct error *err);
/* struct paradigm's clean: the interfaces of that namespace have their packets again.  spec is what was asked for, or
 * the shell's. */
void vm_clean(const struct oci_spec *spec);

/* prepare_devices.c: PCI devices of the host's; and what the monitor's process, once it is described, may do for them.
 */
int vm_open_devices(struct vm_plan *plan, struct error *err);
int vm_allow_devices(struct vm_plan *plan, struct error *err);

/* prepare_shell.c: the specification becomes that of a shell around the monitor.  Last: nothing of what the user asked
 * for can be read any more. */
int vm_make_shell(struct vm_plan *plan, struct error *err);

#endif
