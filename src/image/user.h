/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user - who a process in an image runs as.
 *
 * Follows docker's rules for `--user` and the image config's User:
 * NAME|UID[:GROUP|GID], looked up in the image's own /etc/passwd and
 * /etc/group.  Both are opened beneath the root file system with openat2(2)
 * (a symbolic link cannot lead to the host's: CVE-2024-9676), must be regular
 * files, and are read up to a bound.  What is malformed is refused and never
 * becomes root (CVE-2026-30892, CVE-2024-40635).
 */
#ifndef CAISSON_IMAGE_USER_H
#define CAISSON_IMAGE_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

struct image_user {
	uid_t uid;
	gid_t gid;
	size_t groups_count;
	gid_t *groups;	    /* additional groups, sorted, without gid; owned */
	bool groups_denied; /* the caller's to set: this machine lets nobody have any, not even the own one again */
	char *home;	    /* from passwd, "/" if it does not say; owned */
	char *name;	    /* from passwd, or NULL; owned */
};

/*
 * user NULL: nobody said anything, which is root with root's groups.  "" and anything else that is not a user is
 * -EINVAL; a name without an entry is -ENOENT in docker's words ("unable to find user X: no matching entries in passwd
 * file").  Numbers are 0 .. 2147483647.  Additional groups are those that /etc/group lists for the user; none when a
 * group was given.
 */
int image_resolve_user(const char *user, int rootfs_fd, struct image_user *resolved, struct error *err);

/* One more group by name or number, for --group-add. */
int image_resolve_group(const char *group, int rootfs_fd, gid_t *gid, struct error *err);

void image_user_free(struct image_user *user);

#endif
