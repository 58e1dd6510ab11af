/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netdevice - network devices moved from one network namespace into another:
 * rtnetlink(7), network_namespaces(7).
 *
 * A device that changes its namespace goes down and loses its addresses; this
 * room gives them back.  Which devices go where is decided above.  Nothing is
 * remembered of the namespaces once a struct netdevices is closed.
 */
#ifndef CAISSON_LINUX_NETDEVICE_H
#define CAISSON_LINUX_NETDEVICE_H

#include "base/error.h"

/* The devices that were moved from the caller's network namespace into one other. */
struct netdevices;

/*
 * netns: a descriptor of the other namespace, needed during the call only.  The caller must be single-threaded, have
 * CAP_SYS_ADMIN over both, and is in the other namespace for a moment.  -EINVAL when both are the same.  The caller
 * ends it with netdevices_close().
 */
int netdevices_open(int netns, struct netdevices **devices, struct error *err);

/*
 * Moves the device called name; there it is called new_name, where one "%d" stands for the lowest number that is free.
 * It is up then, with its permanent addresses of global scope.  Where that fails the device is back where it was.
 * -ENODEV: there is none, -EEXIST: the name is taken, -EINVAL: it cannot be moved (lo).
 */
int netdevices_move(struct netdevices *devices, const char *name, const char *new_name, struct error *err);

/* Brings all of them back, as far as that goes: for a container that did not come to be. */
void netdevices_return(struct netdevices *devices);

/* NULL is allowed. */
void netdevices_close(struct netdevices *devices);

#endif
