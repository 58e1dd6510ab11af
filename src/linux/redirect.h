/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redirect - everything that one network interface receives goes out by
 * another: tc-mirred(8) on an ingress qdisc, rtnetlink(7).
 *
 * Two of them put a tap and an interface into each other's place: the machine
 * behind the tap then has the interface's wire, and the namespace that it is in hears
 * nothing of it any more.
 */
#ifndef CAISSON_LINUX_REDIRECT_H
#define CAISSON_LINUX_REDIRECT_H

#include "base/error.h"

/*
 * Both are interface indices in the caller's network namespace.  What was on from's ingress before is gone.  -ENOENT,
 * -EOPNOTSUPP: the kernel lacks sch_ingress, cls_u32 or act_mirred.
 */
int redirect_make(int from, int to, struct error *err);
/*
 * Each interface of the caller's network namespace that redirect_make() redirected to one which is not there any more
 * gets its own packets again: until then all of them are lost.  Nothing else is touched.  No words.
 */
int redirect_sweep(void);
/* The interface is up, has that MTU, and no IPv6 addresses of its own making: nothing is to come from it but what
 * others send. */
int redirect_prepare_tap(int index, unsigned mtu, struct error *err);

#endif
