/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netlink - requests to the kernel's network configuration and their answers:
 * netlink(7), rtnetlink(7).
 *
 * For the rooms that know what to say (netdevice, network, redirect); nothing of
 * it is interpreted here but the envelope, and the words that the kernel has for an
 * error.
 */
#ifndef CAISSON_LINUX_NETLINK_H
#define CAISSON_LINUX_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { NETLINK_REQUEST_MAX = 1024 };

/* An rtnetlink socket: it keeps the namespace that it was made in alive. */
struct netlink {
	int fd; /* owned */
	uint32_t sequence;
};

struct netlink_request {
	union {
		struct nlmsghdr header;
		unsigned char bytes[NETLINK_REQUEST_MAX];
	};
};

/* In the network namespace that the caller is in. */
int netlink_open(struct netlink *netlink, struct error *err);
void netlink_close(struct netlink *netlink);

/* Begins a request with the header of its type, size bytes that are zero: it is returned. */
void *netlink_begin(struct netlink_request *request, uint16_t type, uint16_t flags, size_t size);
/* Sizes are known to fit: names and a few numbers. */
void netlink_add(struct netlink_request *request, uint16_t type, const void *data, size_t size);
/* An attribute of attributes: what is added until it is ended with what this returned. */
size_t netlink_nest(struct netlink_request *request, uint16_t type);
void netlink_nest_end(struct netlink_request *request, size_t nest);

/* Called for each message of an answer; -errno ends it. */
typedef int netlink_visit_fn(const struct nlmsghdr *message, void *data);

/* Sends a request and reads all of its answer.  -errno; err is set only where the kernel had words.  -EINTR: a list
 * that changed while it was read. */
int netlink_talk(struct netlink *netlink, struct netlink_request *request, netlink_visit_fn *visit, void *data,
		 struct error *err);

/* What became of a request, for a user: 0 unless ret is negative; else err says what was being done, and then the words
 * that netlink_talk() had, or those of the number. */
int netlink_explain(int ret, const struct error *words, struct error *err, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* An attribute behind a message's header (of that size), with at least so many bytes, or NULL. */
const void *netlink_attribute(const struct nlmsghdr *message, size_t header, uint16_t type, size_t least);

#endif
