/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subid - the subordinate ids that a user was given: subuid(5), subgid(5).
 *
 * The files are read, not the name service switch's "subid" database: whoever
 * keeps ranges elsewhere gets the user's own id alone.
 */
#ifndef CAISSON_LINUX_SUBID_H
#define CAISSON_LINUX_SUBID_H

#include <stddef.h>
#include <sys/types.h>

#include "linux/idmap.h"

/*
 * The ranges that the text of /etc/subuid or /etc/subgid gives to a user, by name or by number, one after the other
 * from `inside` on.  name may be NULL.  Lines that make no sense are passed over, and so is what does not fit (max
 * ranges, ids below 2^32 - 1).  Returns their number.
 */
size_t subid_parse(const char *text, const char *name, uid_t uid, uint32_t inside, struct idmap_range *ranges,
		   size_t max);

/* The same of a file; 0 when it cannot be read. */
size_t subid_read(const char *path, const char *name, uid_t uid, uint32_t inside, struct idmap_range *ranges,
		  size_t max);

#endif
