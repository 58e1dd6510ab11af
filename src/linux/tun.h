/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tun - tap devices: Documentation/networking/tuntap.rst of the kernel,
 * <linux/if_tun.h>.
 *
 * A tap is an Ethernet interface whose other end is a descriptor: a packet for
 * each read(2) and write(2), behind a virtio-net header (virtio 1.2, 5.1.6.1) that
 * carries what checksums and segments are left to be made.  The interface
 * belongs to the network namespace that the caller is in while it is made, and
 * goes with its last descriptor unless it is persistent.
 */
#ifndef CAISSON_LINUX_TUN_H
#define CAISSON_LINUX_TUN_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { TAP_QUEUES_MAX = 16, TAP_HEADER_SIZE = 12, TAP_PACKET_MAX = 65535 + 14 + 4 };

struct tap_options {
	const char *name; /* "tap%d": the kernel puts a number there; NULL: that */
	unsigned queues;  /* 1 .. TAP_QUEUES_MAX; 0 is 1 */
	bool persistent;  /* it stays without descriptors; somebody must take it away: tap_remove() */
	bool owned;	  /* owner and nobody else (but CAP_NET_ADMIN) may attach to it later */
	uid_t owner;
};

struct tap {
	char name[IFNAMSIZ];
	unsigned queues;
	int fds[TAP_QUEUES_MAX]; /* owned; O_CLOEXEC, O_NONBLOCK */
};

/*
 * Makes the interface, or attaches to the persistent one of that name, in the caller's network namespace.  Needs
 * CAP_NET_ADMIN there, but for its owner.  Headers have TAP_HEADER_SIZE bytes, little-endian; nothing is offloaded.
 * -ENOENT or -ENODEV: the kernel has none; -EBUSY: it exists and is in use; -EINVAL: it exists with another number of
 * queues or is something else.
 */
int tap_open(const struct tap_options *options, struct tap *tap, struct error *err);
/* The interface goes, if it is not persistent.  Everything zero or closed: nothing. */
void tap_close(struct tap *tap);
/* Ends the persistence: it goes with its last descriptor. */
int tap_remove(struct tap *tap, struct error *err);

/* For descriptors that somebody else has opened: they must be a tap's, without packet information (IFF_NO_PI) and with
 * the virtio-net header, whose size is set.  *queues, if not NULL: whether it was made for several. */
int tap_adopt(int fd, bool *queues, struct error *err);

/* What may come out of the tap undone: TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN, TUN_F_UFO (all of them only
 * with TUN_F_CSUM).  -EINVAL: this kernel does not have one of them.  No words. */
int tap_set_offload(int fd, unsigned offload);
/* A queue of several: whether packets go through it.  No words. */
int tap_set_queue(int fd, bool on);
/* The interface's own name, which its namespace's administrator may have changed.  No words. */
int tap_name(int fd, char name[static IFNAMSIZ]);

#endif
