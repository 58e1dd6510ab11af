/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount - mounts by descriptor, and the mount options of mount(8) and of the
 * OCI runtime specification (config-linux.md, "Linux mount options").
 *
 * open_tree(2), move_mount(2), fsopen(2), mount_setattr(2), mount(2).
 *
 * A mount is made detached, gets its attributes while nobody can see it, and
 * is then attached on a descriptor: neither its source nor its target is ever
 * looked up twice, so no link that is swapped in between leads anywhere else
 * (CVE-2021-30465, CVE-2024-45310).  Nothing here needs a /proc, except
 * mount_classic(), which needs the caller's own.
 *
 * What is mounted where is decided above.  Needs Linux 5.12 (mount_setattr).
 */
#ifndef CAISSON_LINUX_MOUNT_H
#define CAISSON_LINUX_MOUNT_H

/* This folder hides the kernel's header of the same name, which <sys/mount.h> wants. */
#include_next <linux/mount.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { MOUNT_PROPAGATIONS_MAX = 8 };

struct mount_options {
	unsigned long flags;				   /* MS_* that were asked for, MS_BIND and MS_REC included */
	unsigned long cleared;				   /* MS_* that were asked away ("rw", "suid", ...) */
	unsigned long propagation[MOUNT_PROPAGATIONS_MAX]; /* MS_SHARED ..., with MS_REC; to be applied in order */
	size_t propagation_count;
	uint64_t recursive_set, recursive_cleared; /* MOUNT_ATTR_* of "rro", "rrw", "rnosuid", ... */
	bool tmpcopyup;				   /* copy what is below the new tmpfs up into it */
	bool idmap, ridmap;			   /* idmapped mount, of this one or of the tree */
	bool copy_symlink;		     /* crun: a source that is a symbolic link is made again, not mounted */
	bool source_nofollow, dest_nofollow; /* crun: the last component is not followed */
	char *data;			     /* the rest, comma-separated, for the file system; owned; NULL: none */
};

/* Parses count options; later ones win over earlier ones.  -ENOMEM, or -EINVAL for options that exclude each other. */
int mount_options_parse(const char *const *options, size_t count, struct mount_options *parsed, struct error *err);
void mount_options_free(struct mount_options *options);

/* The names that mount_options_parse() knows, sorted, by index; NULL beyond the last (for `features`). */
const char *mount_option_name(size_t index);

/* "rprivate", "slave", ... -> MS_* with MS_REC; 0 for anything else. */
unsigned long mount_propagation_from_name(const char *name);

/*
 * A detached copy of the mount at path (dirfd with path "" for the descriptor itself), with all below it if recursive.
 * flags: AT_SYMLINK_NOFOLLOW or 0.  Returns a descriptor owned by the caller.
 */
int mount_clone(int dirfd, const char *path, bool recursive, int flags, struct error *err);
/* The same, read-only.  One system call since Linux 6.15 (open_tree_attr), two before. */
int mount_clone_readonly(int dirfd, const char *path, bool recursive, struct error *err);

/*
 * A new, detached mount of a new file system: type, source (NULL: type), options' flags and data.  The attributes of
 * options are set; propagation and the recursive ones are not (mount_apply() does).  Returns a descriptor owned by the
 * caller.  The error carries what the file system wrote into its log.
 * File systems that cannot be made so (a value of over 255 bytes, a quoted one) give -EOPNOTSUPP: use mount_classic().
 */
int mount_new(const char *type, const char *source, const struct mount_options *options, struct error *err);

/*
 * Sets on a mount (detached or not): the attributes of options (those asked for or asked away, all others stay), then
 * the recursive attributes, then propagation.  Where there is nothing to set, no system call is made.
 */
int mount_apply(int mount_fd, const struct mount_options *options, struct error *err);

/*
 * The same for a bind mount (mount_clone()), by the rules of mount(8) and runc: without any attribute it keeps its
 * source's; with one it has those asked for and no others, but the access time that nobody speaks of.  What a user
 * namespace could not change stays, and is -EPERM when it is asked away (mount_namespaces(7), locked flags): found out
 * by the kernel in one, with lock also for a mount that is on its way into one.
 */
int mount_apply_bind(int mount_fd, const struct mount_options *options, bool lock, struct error *err);

/* Puts a detached mount (or moves an attached one) onto the object behind target_fd (O_PATH will do). */
int mount_attach(int mount_fd, int target_fd, struct error *err);
/* The same onto a path beneath dirfd that the caller trusts; a symbolic link at its end is not followed. */
int mount_attach_at(int mount_fd, int dirfd, const char *path, struct error *err);

/*
 * mount(2) onto the object behind target_fd by /proc/self/fd: one system call, for hosts and options that the new
 * interface lacks.  flags are MS_*; data may be NULL.
 */
int mount_classic(const char *source, int target_fd, const char *type, unsigned long flags, const char *data,
		  struct error *err);
/* The same onto a path beneath dirfd that the caller trusts, every component of it. */
int mount_classic_at(const char *source, int dirfd, const char *path, const char *type, unsigned long flags,
		     const char *data, struct error *err);

/* mount_setattr(2) on what is mounted at dirfd/path ("" for dirfd itself). */
int mount_set_attributes(int dirfd, const char *path, uint64_t set, uint64_t clear, bool recursive, struct error *err);
/* Changes propagation (MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE, with MS_REC for the tree). */
int mount_set_propagation(int dirfd, const char *path, unsigned long propagation, struct error *err);
/* Makes a detached mount idmapped by a user namespace (see linux/idmap.h).  Linux 5.12; file systems must support it.
 */
int mount_set_idmap(int mount_fd, int userns_fd, bool recursive, struct error *err);

/* MOUNT_ATTR_* out of MS_*: what is to be set, and what must be cleared first (the access time is one field). */
void mount_attributes(unsigned long flags, unsigned long cleared, uint64_t *set, uint64_t *clear);
/* The same for a mount that is to have these and no others; without MS_NOATIME, MS_NODIRATIME, MS_RELATIME and
 * MS_STRICTATIME the access time stays. */
void mount_attributes_only(unsigned long flags, uint64_t *set, uint64_t *clear);

/* Lazily unmounts the mount whose root is behind fd (by the caller's own /proc); -errno, no words. */
int mount_detach(int fd);

/* pivot_root(".", ".") into root_fd and away with the old root; the working directory is the new root afterwards.
 * shared: the old root may have peers on the host, and must be cut from them first. */
int mount_pivot_root(int root_fd, bool shared, struct error *err);
/*
 * Where pivot_root(2) cannot work (the root is an initramfs): root_fd, the root of a mount, is moved over "/" and
 * chroot(2)ed into.  The mounts outside stay reachable for the kernel's check whether a new procfs or sysfs would
 * reveal more than what is mounted already, so those of the host are unmounted or covered first.
 */
int mount_move_root(int root_fd, struct error *err);

#endif
