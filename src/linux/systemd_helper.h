/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd_helper - what linux/systemd.c and the program caisson-systemd have
 * agreed on.
 *
 *     caisson-systemd --system|--user start UNIT PROPERTY...   prints the unit's cgroup
 *     caisson-systemd --system|--user set UNIT PROPERTY...
 *     caisson-systemd --system|--user stop UNIT
 *     caisson-systemd --system|--user version                  prints the version
 *
 * A PROPERTY is NAME=SIGNATURE:VALUE, with D-Bus signatures: s:TEXT, b:0,
 * u:7, t:7, i:-7, ay:HEX.  Of lists (as, au, a(ss), a(st)) there is one for
 * each item, next to each other, and NAME=SIGNATURE alone is the empty list;
 * an item of a(ss) and a(st) is "KEY VALUE", split at the last blank.
 *
 * What is printed is one line; if it failed, the reason.
 */
#ifndef CAISSON_LINUX_SYSTEMD_HELPER_H
#define CAISSON_LINUX_SYSTEMD_HELPER_H

/* Exit statuses. */
enum {
	SYSTEMD_HELPER_FAILED = 1,
	SYSTEMD_HELPER_USAGE,
	SYSTEMD_HELPER_NO_UNIT,
	SYSTEMD_HELPER_EXISTS,
	SYSTEMD_HELPER_NO_SYSTEMD,
	SYSTEMD_HELPER_DENIED,
	SYSTEMD_HELPER_TIMEOUT,
};

#endif
