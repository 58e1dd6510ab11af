/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config - what caisson-vmm is told: one JSON text behind one descriptor.
 *
 * The VMM opens nothing by path: all that it needs are descriptors that were
 * opened before it entered the shell, and their numbers stand in here.  The
 * same configuration serves both engines, our own monitor on /dev/kvm and QEMU's
 * binary translation.
 */
#ifndef CAISSON_PARADIGM_VM_CONFIG_H
#define CAISSON_PARADIGM_VM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

enum vm_engine { VM_ENGINE_KVM, VM_ENGINE_QEMU };

/* pv: virtio, KVM's clock and hypercalls.  vm: the guest is told nothing and sees hardware. */
enum vm_kind { VM_KIND_PV, VM_KIND_VM };

enum {
	VM_DISKS_MAX = 8,
	VM_NETS_MAX = 8,
	VM_QUEUES_MAX = 8, /* of a network card */
	VM_DEVICES_MAX = 8,
	VM_SHARES_MAX = 32,
	VM_FILES_MAX = 64,
	VM_VCPUS_MAX = 64,
	VM_CHAIN_MAX = 8
};

struct vm_disk {
	/* Topmost first: each a descriptor and its format ("raw", "qcow2"). */
	struct {
		int fd;
		const char *format;
	} chain[VM_CHAIN_MAX];
	size_t chain_count;
	bool read_only;
};

struct vm_net {
	int32_t taps[VM_QUEUES_MAX]; /* of a tap with IFF_NO_PI | IFF_VNET_HDR; its queues' descriptors */
	size_t taps_count;
	int32_t vhosts[VM_QUEUES_MAX]; /* /dev/vhost-net for each of them, or none at all */
	size_t vhosts_count;
	const char *mac; /* "02:..." */
};

/* A PCI device of the host's for the guest: linux/vfio.h. */
struct vm_device {
	int fd;
	const char *address; /* for messages: "0000:01:00.0" */
};

/* A directory of the host's for the guest, by virtio-fs. */
struct vm_share {
	int fd; /* O_PATH of the directory (a detached mount's root, or one in the shell) */
	const char *tag;
	bool read_only;
	uint32_t mount; /* index in "mounts" */
	int server;	/* not written: the socket to who serves it (fs/serve.h), once he does; the engine's */
};

/* A file of the host's that the guest gets a copy of, at the place of a mount of config.json. */
struct vm_file {
	int fd;
	uint32_t mount; /* index in "mounts" */
};

struct vm_config {
	enum vm_engine engine;
	enum vm_kind kind;
	int kvm;	     /* /dev/kvm, or -1 */
	const char *machine; /* QEMU's -machine type, NULL: chosen by kind */
	const char *qemu;    /* program, inside the shell */

	int kernel, initrd; /* initrd -1: none */
	const char *command_line;
	uint64_t memory; /* bytes */
	uint32_t vcpus;
	uint64_t hugepages;	    /* 0, 2 MiB or 1 GiB */
	int32_t pins[VM_VCPUS_MAX]; /* host CPU of each vCPU */
	size_t pins_count;

	struct vm_disk disks[VM_DISKS_MAX]; /* the first is the root file system, where there is an agent */
	size_t disks_count;
	struct vm_net nets[VM_NETS_MAX];
	size_t nets_count;
	const char *network; /* how the guest is to set them up: JSON of linux/network.h; NULL: not at all */
	struct vm_device devices[VM_DEVICES_MAX];
	size_t devices_count;
	int container; /* VFIO's, with all of them in it, or -1 */
	struct vm_share shares[VM_SHARES_MAX];
	size_t shares_count;

	/*
	 * With an agent: the guest runs caisson-init and in it one OCI process.  oci -1: bare, serial port on stdio and
	 * exit status from the debug-exit port.
	 */
	int oci; /* config.json, whole */
	struct vm_file files[VM_FILES_MAX];
	size_t files_count;
	int control;	   /* listening AF_UNIX SOCK_SEQPACKET socket, see control.h; -1: none */
	int sync;	   /* the shell's socket: closed once the workload runs, gets the error when it does not; -1 */
	int console;	   /* gets what the guest's kernel says, for errors; -1: dropped */
	int memory_events; /* gets "oom_kill 1" when the guest's kernel has killed for want of memory; -1: dropped */
	int vsock;	   /* directory for the Unix sockets of virtio-vsock (Firecracker's convention), -1: no vsock */
	uint32_t cid;	   /* of the guest */
	uint32_t boot_seconds; /* until the agent must have spoken; of a bare machine: until its end; 0: for ever */
	int snapshot, snapshot_memory; /* to begin from, or -1 */
	int counters;		       /* of a bare machine: gets machine_counters() when it has ended, or -1 */
};

#define VM_CONFIG_INIT                              \
	((struct vm_config){ .kvm = -1,             \
			     .kernel = -1,          \
			     .initrd = -1,          \
			     .container = -1,       \
			     .oci = -1,             \
			     .control = -1,         \
			     .sync = -1,            \
			     .console = -1,         \
			     .memory_events = -1,   \
			     .vsock = -1,           \
			     .snapshot = -1,        \
			     .snapshot_memory = -1, \
			     .counters = -1,        \
			     .vcpus = 1,            \
			     .memory = UINT64_C(512) << 20 })

/* Writes it as JSON. */
void vm_config_write(const struct vm_config *config, struct str *out);
/* Reads what vm_config_write() wrote; texts belong to the arena.  -EINVAL for anything else. */
int vm_config_read(const char *text, size_t size, struct arena *arena, struct vm_config *config, struct error *err);

#endif
