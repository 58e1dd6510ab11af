/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd - cgroups that systemd makes: transient scope units, over D-Bus.
 *
 * org.freedesktop.systemd1(5), systemd.scope(5), systemd.resource-control(5),
 * and https://systemd.io/CGROUP_DELEGATION.  systemd owns the cgroup tree of
 * its host; who wants one of its own asks it for a scope with Delegate=yes,
 * and then uses that scope's cgroup by linux/cgroup.h like any other.
 *
 * libsystemd cannot be linked statically, so the talking is done by a program
 * of its own, caisson-systemd (systemd_helper.c), which this room runs for
 * each request.  It knows no limits and no policy: which property gets which
 * value is decided above.
 */
#ifndef CAISSON_LINUX_SYSTEMD_H
#define CAISSON_LINUX_SYSTEMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct systemd {
	const char *helper; /* path of caisson-systemd, or NULL: see systemd_find_helper() */
	bool user;	    /* the service manager of the calling user instead of the system's */
};

/* D-Bus types; which one a property has is in org.freedesktop.systemd1(5), and systemd refuses any other. */
enum systemd_type {
	SYSTEMD_STRING,	 /* s: text */
	SYSTEMD_BOOL,	 /* b: number, 0 or 1 */
	SYSTEMD_U32,	 /* u: number */
	SYSTEMD_U64,	 /* t: number; UINT64_MAX is "infinity" */
	SYSTEMD_I32,	 /* i: number */
	SYSTEMD_STRINGS, /* as: items, key only */
	SYSTEMD_U32S,	 /* au: items, number only */
	SYSTEMD_BYTES,	 /* ay: bytes */
	SYSTEMD_PAIRS,	 /* a(ss): items, key and text: DeviceAllow is ("/dev/null", "rwm") */
	SYSTEMD_LIMITS,	 /* a(st): items, key and number: IOReadBandwidthMax is ("/dev/sda", 1048576) */
};

struct systemd_item {
	const char *key, *text;
	uint64_t number;
};

struct systemd_property {
	const char *name; /* "MemoryMax" */
	enum systemd_type type;
	const char *text;
	uint64_t number;
	const struct systemd_item *items; /* count of them; no item resets a list */
	const unsigned char *bytes;	  /* count of them */
	size_t count;
};

/* Is there a service manager to talk to? */
bool systemd_available(const struct systemd *systemd);

/* ../libexec/caisson/caisson-systemd seen from the running program's directory, or caisson-systemd beside it.  The
 * caller frees *path.  -ENOENT. */
int systemd_find_helper(char **path, struct error *err);

/*
 * Starts the transient scope unit ("NAME.scope") with these properties, among which must be PIDs, and waits until it
 * stands.  A failed unit of that name is cleared away first.  cgroup, if not NULL, gets the cgroup's path as
 * /proc/PID/cgroup shows it, which the caller frees.  -EEXIST when such a unit is running.
 */
int systemd_start_scope(const struct systemd *systemd, const char *unit, const struct systemd_property *properties,
			size_t count, char **cgroup, struct error *err);

/* Stops a unit and waits until it is gone; a scope's processes get SIGTERM, and SIGKILL after TimeoutStopUSec.  One
 * that is not there is fine.  It is also forgotten if it had failed. */
int systemd_stop(const struct systemd *systemd, const char *unit, struct error *err);

/* Changes properties of a unit until it is gone or the machine restarts.  -ENOENT when there is no such unit. */
int systemd_set_properties(const struct systemd *systemd, const char *unit, const struct systemd_property *properties,
			   size_t count, struct error *err);

/* The systemd's version, like 252: what it takes depends on it. */
int systemd_version(const struct systemd *systemd, unsigned *version, struct error *err);

#endif
