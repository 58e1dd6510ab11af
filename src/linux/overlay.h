/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlay - overlayfs(5) mounts, by descriptor.
 *
 * Follows Documentation/filesystems/overlayfs.rst and the new mount API
 * (fsopen, fsconfig, fsmount, move_mount).  The result is a detached mount: a
 * descriptor that is attached wherever the caller wants (overlay_attach(), or
 * move_mount(2) in another mount namespace) and that vanishes when it is
 * closed, so that a process that dies half-way leaks no mount.
 *
 * Directories are given as descriptors (O_PATH is enough): their paths may be
 * of any length, hold ':' and ',', and cannot change under the caller.  They
 * must have been opened in the mount namespace of the caller.  How they reach
 * the kernel depends on its age:
 *
 *     since 6.13  descriptors (FSCONFIG_SET_FD)
 *     since 6.7   one "lowerdir+" per layer, as /proc/self/fd/N
 *     before      one "lowerdir" of relative names in /proc/self/fd, mounted
 *                 by mount(2) in a mount namespace of a short-lived child
 *
 * The room decides nothing about images, and makes no directory.
 */
#ifndef CAISSON_LINUX_OVERLAY_H
#define CAISSON_LINUX_OVERLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The kernel's own limit on lower layers (OVL_MAX_STACK). */
enum { OVERLAY_LAYERS_MAX = 500 };

enum {
	OVERLAY_USERXATTR = 1 << 0, /* user.overlay.* instead of trusted.overlay.*: mounts in a user namespace */
	OVERLAY_VOLATILE = 1 << 1,  /* never sync the upper layer (5.10): its content does not survive a power cut */
	OVERLAY_READ_ONLY = 1 << 2, /* needs no upper and work; at least two lower layers then */
};

enum overlay_method { OVERLAY_AUTO, OVERLAY_BY_FD, OVERLAY_BY_PATH, OVERLAY_BY_MOUNT2 };

struct overlay {
	const int *lower; /* topmost first */
	size_t lower_count;
	int upper, work;	    /* on one file system; -1 with OVERLAY_READ_ONLY */
	unsigned flags;		    /* OVERLAY_* */
	unsigned attributes;	    /* MOUNT_ATTR_NOSUID, _NODEV, ... of <linux/mount.h> */
	const char *source;	    /* what mountinfo shows as the device; NULL: "overlay" */
	enum overlay_method method; /* OVERLAY_AUTO: the best that this kernel has (others are for tests) */
};

/* Makes the mount.  Returns a detached mount descriptor (O_CLOEXEC) or -errno; the error tells the kernel's own words
 * (fsopen's log) and, for the usual reasons, what to do. */
int overlay_mount(const struct overlay *overlay, struct error *err);

/* Attaches a detached mount on target (a directory, last component not followed if it is a symbolic link). */
int overlay_attach(int mount_fd, int target_dirfd, const char *target, struct error *err);

#endif
