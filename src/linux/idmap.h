/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idmap - identity mappings of user namespaces: user_namespaces(7),
 * newuidmap(1), and the namespaces that idmapped mounts take theirs from.
 *
 * The room writes what it is told; which ids a user may map is the kernel's
 * and newuidmap's to decide.
 */
#ifndef CAISSON_LINUX_IDMAP_H
#define CAISSON_LINUX_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct idmap_range {
	uint32_t inside, outside, size;
};

struct idmap { /* the arrays are not owned */
	const struct idmap_range *uids, *gids;
	size_t uids_count, gids_count;
};

/*
 * Gives the new user namespace of process pid its mappings.  First it tries by itself; what the kernel refuses to an
 * unprivileged caller is asked of newuidmap(1) and newgidmap(1) (searched in PATH).  A single mapping of the caller's
 * own group, unprivileged, needs setgroups(2) to be denied in the namespace: that is done then, and only then.
 */
int idmap_write(pid_t pid, const struct idmap *map, struct error *err);

/*
 * A user namespace that has these mappings and nothing else: a descriptor (O_CLOEXEC, owned by the caller), for
 * mount_set_idmap().  It is held by the descriptor alone; the process it was born with is gone on return.
 */
int idmap_namespace(const struct idmap *map, struct error *err);

/* What id `inside` is outside, or -1 when it is not mapped. */
int64_t idmap_outside(const struct idmap_range *ranges, size_t count, uint32_t inside);

#endif
