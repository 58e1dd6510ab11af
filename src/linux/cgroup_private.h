/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_private - what the files of the cgroup room share; nobody else
 * includes it.
 *
 * Control files are opened by their full path: one system call, where holding
 * the directory would cost two more.
 */
#ifndef CAISSON_LINUX_CGROUP_PRIVATE_H
#define CAISSON_LINUX_CGROUP_PRIVATE_H

#include <limits.h>
#include <time.h>

#include "linux/cgroup.h"

/* Is word one of the words of list, which commas or blanks separate? */
bool cgroup_list_has(const char *list, const char *word);

/* Whether it has, or may have, a directory in hierarchy i. */
static inline bool cgroup_has(const struct cgroup *cgroup, size_t i)
{
	return cgroup->present & (UINT32_C(1) << i);
}

/* "MOUNT/PATH/FILE", or the directory itself with file NULL.  -ENAMETOOLONG, no words. */
int cgroup_file_path(const struct cgroup *cgroup, size_t i, const char *file, char path[static PATH_MAX]);

/* Opens a control file of hierarchy i; a descriptor or -errno, no words. */
int cgroup_file_open(const struct cgroup *cgroup, size_t i, const char *file, int flags);

/* Like cgroup_write() and cgroup_read(), by the hierarchy's index. */
int cgroup_file_write(const struct cgroup *cgroup, size_t i, const char *file, const char *text, struct error *err);
int cgroup_file_read(const struct cgroup *cgroup, size_t i, const char *file, char **text, struct error *err);

/* Processes of the directory dir and of those below, appended unsorted to *pids. -errno, no words. */
struct cgroup_pids {
	pid_t *items; /* owned */
	size_t count, room;
};
int cgroup_pids_below(const char *dir, struct cgroup_pids *pids);

/* Enables controllers (NULL: all) for the children of every ancestor of the v2 directory. */
int cgroup_v2_enable(const struct cgroup *cgroup, size_t v2, const char *const *controllers, bool rootless,
		     struct error *err);

/* A number, or "max" (UINT64_MAX), that a blank, a newline or the end of the text follows.  -EINVAL, -ERANGE. */
int cgroup_parse_number(const char *text, uint64_t *value);
/* The number behind "key " in a flat-keyed file.  -ENOENT, -EINVAL, -ERANGE. */
int cgroup_parse_key(const char *text, const char *key, uint64_t *value);

/* Calls visit for each child cgroup of dir until one returns non-zero, and returns that.  -errno of opendir(3). */
int cgroup_each_child(const char *dir, int (*visit)(const char *child, void *data), void *data);

/* A wait with growing naps: sleeps and says true, or false at once when the time is up.  Start with { .left_us = N }.
 */
struct cgroup_wait {
	long left_us, nap_us;
};
bool cgroup_wait_nap(struct cgroup_wait *wait);

#endif
