/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network - how the Ethernet interfaces of a network namespace are set up:
 * read in one place, said as JSON, and set up again in another (a virtual machine):
 * rtnetlink(7).
 *
 * What an administrator chooses is kept: name, hardware address, MTU, permanent
 * addresses of global scope, and the routes of the main table.  What the kernel adds by itself
 * is left to the kernel of the other place.
 */
#ifndef CAISSON_LINUX_NETWORK_H
#define CAISSON_LINUX_NETWORK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum {
	NETWORK_INTERFACES_MAX = 8,
	NETWORK_ADDRESSES_MAX = 16, /* of an interface */
	NETWORK_ROUTES_MAX = 64,
	NETWORK_ADDRESS_SIZE = 16,
	NETWORK_JSON_MAX = 256 << 10,
};

struct network_address {
	uint8_t family; /* AF_INET, AF_INET6 */
	uint8_t prefix;
	uint8_t local[NETWORK_ADDRESS_SIZE];
	uint8_t peer[NETWORK_ADDRESS_SIZE]; /* the same, but on links of two */
};

struct network_route {
	uint8_t family, prefix;
	uint8_t scope; /* RT_SCOPE_* */
	bool has_gateway, has_source, on_link;
	uint32_t metric; /* 0: none */
	uint8_t to[NETWORK_ADDRESS_SIZE], gateway[NETWORK_ADDRESS_SIZE], source[NETWORK_ADDRESS_SIZE];
};

struct network_interface {
	int index; /* where it was read */
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu;
	struct network_address addresses[NETWORK_ADDRESSES_MAX];
	size_t addresses_count;
	struct network_route routes[NETWORK_ROUTES_MAX];
	size_t routes_count;
};

/*
 * The Ethernet interfaces of the caller's network namespace that are up and have an address.  list has room for
 * NETWORK_INTERFACES_MAX.  -E2BIG: there are more of something than there is room for.
 */
int network_list(struct network_interface *list, size_t *count, struct error *err);

/* Sets the interface with that hardware address up like that, in the caller's network namespace.  -ENODEV: there is
 * none. */
int network_configure(const struct network_interface *interface, struct error *err);

/* network_json.c: [{"name": "eth0", "mac": "02:...", "mtu": 1500, "addresses": ["10.0.0.2/24"], "routes": [...]}, ...]
 */
void network_write(const struct network_interface *list, size_t count, struct str *out);
/* Reads that, from whomever: -EINVAL for anything else. */
int network_read(const char *text, size_t size, struct network_interface *list, size_t *count, struct error *err);
/* "02:11:22:33:44:55" and back (-EINVAL). */
enum { NETWORK_MAC_TEXT = 18 };
void network_mac_write(const uint8_t mac[static 6], char text[static NETWORK_MAC_TEXT]);
int network_mac_read(const char *text, uint8_t mac[static 6]);

#endif
