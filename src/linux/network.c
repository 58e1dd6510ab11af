/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/network.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "linux/netlink.h"

enum { TRIES_MAX = 16, DETACHED = -1 };

static void close_netlink(struct netlink *netlink)
{
	netlink_close(netlink);
}
#define cleanup_netlink __attribute__((cleanup(close_netlink)))

static size_t address_size(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

/* ---- reading ---- */

struct reading {
	struct network_interface *list;
	size_t count;
};

static struct network_interface *find_index(struct reading *reading, int index)
{
	for (size_t i = 0; i < reading->count; i++) {
		if (reading->list[i].index == index)
			return &reading->list[i];
	}
	return NULL;
}

static int read_link(const struct nlmsghdr *message, void *data)
{
	struct reading *reading = data;
	const struct ifinfomsg *header = NLMSG_DATA(message);
	struct network_interface *interface = &reading->list[reading->count];
	const uint8_t *mac;
	const char *name;
	const uint32_t *mtu;

	if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof(*header)) ||
	    header->ifi_type != ARPHRD_ETHER || !(header->ifi_flags & IFF_UP))
		return 0;
	name = netlink_attribute(message, sizeof(*header), IFLA_IFNAME, 2);
	mac = netlink_attribute(message, sizeof(*header), IFLA_ADDRESS, sizeof(interface->mac));
	mtu = netlink_attribute(message, sizeof(*header), IFLA_MTU, sizeof(*mtu));
	if (!name || !mac || !mtu || strnlen(name, IFNAMSIZ) == IFNAMSIZ)
		return 0;
	if (reading->count == NETWORK_INTERFACES_MAX)
		return -E2BIG;
	*interface = (struct network_interface){ .index = header->ifi_index, .mtu = *mtu };
	memcpy(interface->name, name, strlen(name));
	memcpy(interface->mac, mac, sizeof(interface->mac));
	reading->count++;
	return 0;
}

static int read_address(const struct nlmsghdr *message, void *data)
{
	const struct ifaddrmsg *header = NLMSG_DATA(message);
	struct network_interface *interface;
	struct network_address *address;
	const uint32_t *flags;
	const void *local, *peer;
	size_t size;

	if (message->nlmsg_type != RTM_NEWADDR || message->nlmsg_len < NLMSG_LENGTH(sizeof(*header)) ||
	    (header->ifa_family != AF_INET && header->ifa_family != AF_INET6) || header->ifa_scope != RT_SCOPE_UNIVERSE)
		return 0;
	interface = find_index(data, (int)header->ifa_index);
	size = address_size(header->ifa_family);
	peer = netlink_attribute(message, sizeof(*header), IFA_ADDRESS, size);
	local = netlink_attribute(message, sizeof(*header), IFA_LOCAL, size);
	flags = netlink_attribute(message, sizeof(*header), IFA_FLAGS, sizeof(*flags));
	if (!interface || !peer || !((flags ? *flags : header->ifa_flags) & IFA_F_PERMANENT))
		return 0;
	if (interface->addresses_count == NETWORK_ADDRESSES_MAX)
		return -E2BIG;
	address = &interface->addresses[interface->addresses_count++];
	*address = (struct network_address){ .family = header->ifa_family, .prefix = header->ifa_prefixlen };
	memcpy(address->local, local ? local : peer, size);
	memcpy(address->peer, peer, size);
	return 0;
}

static bool get_address(const struct nlmsghdr *message, uint16_t type, size_t size, uint8_t *to)
{
	const void *found = netlink_attribute(message, sizeof(struct rtmsg), type, size);

	if (found)
		memcpy(to, found, size);
	return found;
}

static int read_route(const struct nlmsghdr *message, void *data)
{
	const struct rtmsg *header = NLMSG_DATA(message);
	struct network_interface *interface;
	struct network_route *route;
	const uint32_t *table, *out, *metric;
	size_t size;

	if (message->nlmsg_type != RTM_NEWROUTE || message->nlmsg_len < NLMSG_LENGTH(sizeof(*header)) ||
	    (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) || header->rtm_type != RTN_UNICAST ||
	    header->rtm_protocol == RTPROT_KERNEL || header->rtm_flags & RTM_F_CLONED)
		return 0;
	table = netlink_attribute(message, sizeof(*header), RTA_TABLE, sizeof(*table));
	out = netlink_attribute(message, sizeof(*header), RTA_OIF, sizeof(*out));
	metric = netlink_attribute(message, sizeof(*header), RTA_PRIORITY, sizeof(*metric));
	interface = out ? find_index(data, (int)*out) : NULL;
	if (!interface || (table ? *table : header->rtm_table) != RT_TABLE_MAIN)
		return 0;
	if (interface->routes_count == NETWORK_ROUTES_MAX)
		return -E2BIG;
	size = address_size(header->rtm_family);
	route = &interface->routes[interface->routes_count++];
	*route = (struct network_route){
		.family = header->rtm_family,
		.prefix = header->rtm_dst_len,
		.scope = header->rtm_scope,
		.on_link = header->rtm_flags & RTNH_F_ONLINK,
		.metric = metric ? *metric : 0,
	};
	(void)get_address(message, RTA_DST, size, route->to);
	route->has_gateway = get_address(message, RTA_GATEWAY, size, route->gateway);
	route->has_source = get_address(message, RTA_PREFSRC, size, route->source);
	return 0;
}

/* One list of the kernel's, again while it changes. */
static int dump(struct netlink *netlink, uint16_t type, size_t header, netlink_visit_fn *visit, struct reading *reading,
		const char *what, struct error *err)
{
	int ret = -EINTR;

	for (int tries = 0; ret == -EINTR && tries < TRIES_MAX; tries++) {
		struct netlink_request request;

		for (size_t i = 0; i < reading->count; i++) {
			if (type == RTM_GETADDR)
				reading->list[i].addresses_count = 0;
			if (type == RTM_GETROUTE)
				reading->list[i].routes_count = 0;
		}
		if (type == RTM_GETLINK)
			reading->count = 0;
		(void)netlink_begin(&request, type, NLM_F_DUMP, header);
		ret = netlink_talk(netlink, &request, visit, reading, NULL);
	}
	return ret < 0 ? error_errno(err, -ret, "cannot read the %s of the network", what) : 0;
}

int network_list(struct network_interface *list, size_t *count, struct error *err)
{
	cleanup_netlink struct netlink netlink = { .fd = DETACHED };
	struct reading reading = { .list = list };
	int ret = netlink_open(&netlink, err);

	if (ret == 0)
		ret = dump(&netlink, RTM_GETLINK, sizeof(struct ifinfomsg), read_link, &reading, "interfaces", err);
	if (ret == 0)
		ret = dump(&netlink, RTM_GETADDR, sizeof(struct ifaddrmsg), read_address, &reading, "addresses", err);
	if (ret == 0)
		ret = dump(&netlink, RTM_GETROUTE, sizeof(struct rtmsg), read_route, &reading, "routes", err);
	if (ret < 0)
		return ret;
	*count = 0;
	for (size_t i = 0; i < reading.count; i++) {
		if (list[i].addresses_count > 0 && *count != i)
			list[*count] = list[i];
		*count += list[i].addresses_count > 0;
	}
	return 0;
}

/* ---- setting up ---- */

struct search {
	const uint8_t *mac;
	int index;
};

static int compare_link(const struct nlmsghdr *message, void *data)
{
	struct search *search = data;
	const struct ifinfomsg *header = NLMSG_DATA(message);
	const uint8_t *mac;

	if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof(*header)) ||
	    header->ifi_type != ARPHRD_ETHER)
		return 0;
	mac = netlink_attribute(message, sizeof(*header), IFLA_ADDRESS, 6);
	if (mac && memcmp(mac, search->mac, 6) == 0)
		search->index = header->ifi_index;
	return 0;
}

static int find_mac(struct netlink *netlink, const struct network_interface *interface, struct error *err)
{
	struct search search = { .mac = interface->mac };
	struct netlink_request request;
	char text[NETWORK_MAC_TEXT];
	int ret;

	(void)netlink_begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	ret = netlink_talk(netlink, &request, compare_link, &search, NULL);
	if (ret < 0)
		return error_errno(err, -ret, "cannot read the network interfaces");
	network_mac_write(interface->mac, text);
	return search.index > 0 ? search.index : error_set(err, ENODEV, "there is no network interface %s", text);
}

static int set_link(struct netlink *netlink, int index, const struct network_interface *interface, bool up,
		    struct error *err)
{
	struct error words = ERROR_INIT;
	struct netlink_request request;
	struct ifinfomsg *header = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*header));
	int ret;

	header->ifi_index = index;
	header->ifi_change = IFF_UP;
	header->ifi_flags = up ? IFF_UP : 0;
	/* A name changes only while the interface is down. */
	if (!up) {
		netlink_add(&request, IFLA_IFNAME, interface->name, strlen(interface->name) + 1);
		netlink_add(&request, IFLA_MTU, &interface->mtu, sizeof(interface->mtu));
	}
	ret = netlink_talk(netlink, &request, NULL, NULL, &words);
	return netlink_explain(ret, &words, err, "%s: cannot set %s", interface->name,
			       up ? "it up" : "its name and MTU");
}

static int add_address(struct netlink *netlink, int index, const struct network_interface *interface,
		       const struct network_address *address, struct error *err)
{
	struct error words = ERROR_INIT;
	struct netlink_request request;
	struct ifaddrmsg *header = netlink_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*header));
	size_t size = address_size(address->family);
	int ret;

	header->ifa_family = address->family;
	header->ifa_prefixlen = address->prefix;
	header->ifa_index = (unsigned)index;
	/* Whoever gave the address has seen to it that it is the only one. */
	header->ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0;
	netlink_add(&request, IFA_LOCAL, address->local, size);
	netlink_add(&request, IFA_ADDRESS, address->peer, size);
	ret = netlink_talk(netlink, &request, NULL, NULL, &words);
	return netlink_explain(ret, &words, err, "%s: cannot set an address", interface->name);
}

static int add_route(struct netlink *netlink, int index, const struct network_interface *interface,
		     const struct network_route *route, struct error *err)
{
	struct error words = ERROR_INIT;
	struct netlink_request request;
	struct rtmsg *header = netlink_begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*header));
	size_t size = address_size(route->family);
	uint32_t out = (uint32_t)index;
	int ret;

	header->rtm_family = route->family;
	header->rtm_dst_len = route->prefix;
	header->rtm_table = RT_TABLE_MAIN;
	header->rtm_protocol = RTPROT_STATIC;
	header->rtm_type = RTN_UNICAST;
	header->rtm_scope = route->scope;
	header->rtm_flags = route->on_link ? RTNH_F_ONLINK : 0;
	netlink_add(&request, RTA_OIF, &out, sizeof(out));
	if (route->prefix > 0)
		netlink_add(&request, RTA_DST, route->to, size);
	if (route->has_gateway)
		netlink_add(&request, RTA_GATEWAY, route->gateway, size);
	if (route->has_source)
		netlink_add(&request, RTA_PREFSRC, route->source, size);
	if (route->metric)
		netlink_add(&request, RTA_PRIORITY, &route->metric, sizeof(route->metric));
	ret = netlink_talk(netlink, &request, NULL, NULL, &words);
	/* The kernel made it with the address. */
	return ret == -EEXIST ? 0 : netlink_explain(ret, &words, err, "%s: cannot set a route", interface->name);
}

/* Routes to gateways need those by which the gateways are reached. */
static int add_routes(struct netlink *netlink, int index, const struct network_interface *interface, struct error *err)
{
	int ret = 0;

	for (int gateways = 0; gateways < 2; gateways++) {
		for (size_t i = 0; ret == 0 && i < interface->routes_count; i++) {
			if (interface->routes[i].has_gateway == (gateways != 0))
				ret = add_route(netlink, index, interface, &interface->routes[i], err);
		}
	}
	return ret;
}

int network_configure(const struct network_interface *interface, struct error *err)
{
	cleanup_netlink struct netlink netlink = { .fd = DETACHED };
	int ret = netlink_open(&netlink, err), index;

	if (ret < 0)
		return ret;
	index = find_mac(&netlink, interface, err);
	if (index < 0)
		return index;
	ret = set_link(&netlink, index, interface, false, err);
	if (ret == 0)
		ret = set_link(&netlink, index, interface, true, err);
	for (size_t i = 0; ret == 0 && i < interface->addresses_count; i++)
		ret = add_address(&netlink, index, interface, &interface->addresses[i], err);
	return ret == 0 ? add_routes(&netlink, index, interface, err) : ret;
}
