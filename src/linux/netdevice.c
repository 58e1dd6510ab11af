/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/netdevice.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "linux/clone.h"
#include "linux/netlink.h"

enum { ADDRESS_BYTES = 128, DUMPS_MAX = 16, NUMBERS_MAX = 4096 };

/* What an address's owner has chosen; the other flags are the kernel's to set. */
static const uint32_t chosen_flags = IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE |
				     IFA_F_MCAUTOJOIN;

struct address {
	struct address *next;
	struct ifaddrmsg header;
	size_t size;
	unsigned char attributes[ADDRESS_BYTES];
};

struct netdevice {
	struct netdevice *next;
	char name[IFNAMSIZ], inside[IFNAMSIZ]; /* outside and inside */
	bool up;
	struct address *addresses;
};

struct netdevices {
	struct netlink outside, inside;
	int outside_ns, inside_ns;
	struct netdevice *list; /* the last one first */
};

static int check_other(int own, int netns, struct error *err)
{
	struct stat here, there;

	if (fstat(own, &here) < 0 || fstat(netns, &there) < 0)
		return error_errno(err, errno, "cannot compare network namespaces");
	if (here.st_ino == there.st_ino && here.st_dev == there.st_dev)
		return error_set(err, EINVAL, "the network namespace is the caller's own");
	return 0;
}

static int open_inside(struct netdevices *devices, struct error *err)
{
	int ret = namespace_join_fd(devices->inside_ns, CLONE_NEWNET, "the container's", err), back;

	if (ret < 0)
		return ret;
	ret = netlink_open(&devices->inside, err);
	back = namespace_join_fd(devices->outside_ns, CLONE_NEWNET, "our own", ret < 0 ? NULL : err);
	return ret < 0 ? ret : back;
}

int netdevices_open(int netns, struct netdevices **devices, struct error *err)
{
	struct netdevices *fresh = malloc(sizeof(*fresh));
	int ret = 0;

	if (!fresh)
		return error_errno(err, ENOMEM, "cannot move network devices");
	*fresh = (struct netdevices){ .outside.fd = -1, .inside.fd = -1, .inside_ns = -1 };
	fresh->outside_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	fresh->inside_ns = fcntl(netns, F_DUPFD_CLOEXEC, 3);
	if (fresh->outside_ns < 0 || fresh->inside_ns < 0)
		ret = error_errno(err, errno, "cannot open the network namespaces");
	if (ret == 0)
		ret = check_other(fresh->outside_ns, netns, err);
	if (ret == 0)
		ret = netlink_open(&fresh->outside, err);
	if (ret == 0)
		ret = open_inside(fresh, err);
	if (ret < 0) {
		netdevices_close(fresh);
		return ret;
	}
	*devices = fresh;
	return 0;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void forget_addresses(struct netdevice *device)
{
	while (device->addresses) {
		struct address *next = device->addresses->next;

		free(device->addresses);
		device->addresses = next;
	}
}

static void free_device(struct netdevice *device)
{
	forget_addresses(device);
	free(device);
}

void netdevices_close(struct netdevices *devices)
{
	if (!devices)
		return;
	while (devices->list) {
		struct netdevice *next = devices->list->next;

		free_device(devices->list);
		devices->list = next;
	}
	close_if_open(devices->outside.fd);
	close_if_open(devices->inside.fd);
	close_if_open(devices->outside_ns);
	close_if_open(devices->inside_ns);
	free(devices);
}

/* The ioctls of netdevice(7) work on a socket of any family, in the namespace that it was made in. */
static int index_of(const struct netlink *netlink, const char *name)
{
	struct ifreq request = { 0 };

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(netlink->fd, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

static bool is_up(const struct netlink *netlink, const char *name)
{
	struct ifreq request = { 0 };

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(netlink->fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP);
}

/* What of the address is kept: where it is, what it reaches, and what its owner chose. */
static void keep_attribute(struct address *address, const struct rtattr *attribute)
{
	size_t space = RTA_ALIGN(attribute->rta_len);
	struct rtattr *copy = (struct rtattr *)(address->attributes + address->size);

	if (address->size + space > ADDRESS_BYTES)
		return;
	switch (attribute->rta_type) {
	case IFA_ADDRESS:
	case IFA_LOCAL:
	case IFA_BROADCAST:
	case IFA_RT_PRIORITY:
	case IFA_FLAGS:
		break;
	default:
		return;
	}
	memcpy(copy, attribute, attribute->rta_len);
	if (attribute->rta_type == IFA_FLAGS && attribute->rta_len == RTA_LENGTH(sizeof(uint32_t)))
		*(uint32_t *)RTA_DATA(copy) &= chosen_flags;
	address->size += space;
}

struct collecting {
	unsigned int index;
	struct address **end;
};

static bool is_permanent(const struct nlmsghdr *message, const struct ifaddrmsg *header)
{
	int left = (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof(*header)));
	uint32_t flags = header->ifa_flags;

	for (const struct rtattr *at = IFA_RTA(header); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if (at->rta_type == IFA_FLAGS && at->rta_len == RTA_LENGTH(sizeof(flags)))
			memcpy(&flags, RTA_DATA(at), sizeof(flags));
	}
	return flags & IFA_F_PERMANENT;
}

static int collect_address(const struct nlmsghdr *message, void *data)
{
	struct collecting *collecting = data;
	const struct ifaddrmsg *header = NLMSG_DATA(message);
	struct address *address;
	int left;

	if (message->nlmsg_type != RTM_NEWADDR || message->nlmsg_len < NLMSG_LENGTH(sizeof(*header)) ||
	    header->ifa_index != collecting->index || header->ifa_scope != RT_SCOPE_UNIVERSE ||
	    !is_permanent(message, header))
		return 0;
	address = calloc(1, sizeof(*address));
	if (!address)
		return -ENOMEM;
	address->header = *header;
	address->header.ifa_flags = 0; /* all of them are in IFA_FLAGS */
	left = (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof(*header)));
	for (const struct rtattr *at = IFA_RTA(header); RTA_OK(at, left); at = RTA_NEXT(at, left))
		keep_attribute(address, at);
	*collecting->end = address;
	collecting->end = &address->next;
	return 0;
}

static int read_addresses(struct netlink *netlink, int index, struct netdevice *device, struct error *err)
{
	int ret = -EINTR;

	/* A list that changed while it was read is read again. */
	for (int tries = 0; ret == -EINTR && tries < DUMPS_MAX; tries++) {
		struct collecting collecting = { .index = (unsigned int)index, .end = &device->addresses };
		struct netlink_request request;

		forget_addresses(device);
		(void)netlink_begin(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
		ret = netlink_talk(netlink, &request, collect_address, &collecting, NULL);
	}
	return ret < 0 ? error_errno(err, -ret, "cannot read the addresses of %s", device->name) : 0;
}

static int send_away(struct netlink *netlink, int index, int netns, const char *name, const char *new_name,
		     struct error *err)
{
	struct error words = ERROR_INIT;
	struct netlink_request request;
	struct ifinfomsg *header = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*header));
	int ret;

	header->ifi_index = index;
	netlink_add(&request, IFLA_NET_NS_FD, &netns, sizeof(netns));
	netlink_add(&request, IFLA_IFNAME, new_name, strlen(new_name) + 1);
	ret = netlink_talk(netlink, &request, NULL, NULL, &words);
	return netlink_explain(ret, &words, err, "cannot move the network device %s", name);
}

static int bring_up(struct netlink *netlink, int index, const char *name, struct error *err)
{
	struct error words = ERROR_INIT;
	struct netlink_request request;
	struct ifinfomsg *header = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*header));
	int ret;

	header->ifi_index = index;
	header->ifi_flags = header->ifi_change = IFF_UP;
	ret = netlink_talk(netlink, &request, NULL, NULL, &words);
	return netlink_explain(ret, &words, err, "cannot bring up the network device %s", name);
}

static int add_addresses(struct netlink *netlink, int index, const struct netdevice *device, const char *name,
			 struct error *err)
{
	for (const struct address *address = device->addresses; address; address = address->next) {
		struct error words = ERROR_INIT;
		struct netlink_request request;
		struct ifaddrmsg *header = netlink_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
							 sizeof(*header));
		int ret;

		*header = address->header;
		header->ifa_index = (unsigned int)index;
		memcpy(request.bytes + request.header.nlmsg_len, address->attributes, address->size);
		request.header.nlmsg_len += (uint32_t)address->size;
		ret = netlink_talk(netlink, &request, NULL, NULL, &words);
		if (ret < 0)
			return netlink_explain(ret, &words, err, "cannot set an address of the network device %s",
					       name);
	}
	return 0;
}

/* The name inside: itself, or with the lowest number that nobody has there. */
static int choose_name(const struct netlink *netlink, const char *wanted, char name[static IFNAMSIZ], struct error *err)
{
	const char *place = strstr(wanted, "%d");

	for (int number = 0; number < (place ? NUMBERS_MAX : 1); number++) {
		int length = place ? snprintf(name, IFNAMSIZ, "%.*s%d%s", (int)(place - wanted), wanted, number,
					      place + 2)
				   : snprintf(name, IFNAMSIZ, "%s", wanted);

		if (length >= IFNAMSIZ)
			return error_set(err, EINVAL, "the name %s of a network device is too long", wanted);
		if (index_of(netlink, name) == -ENODEV)
			return 0;
	}
	return error_set(err, EEXIST, "a network device called %s exists in the container", wanted);
}

static int settle_inside(struct netdevices *devices, struct netdevice *device, struct error *err)
{
	int index = index_of(&devices->inside, device->inside), ret;

	if (index < 0)
		return error_errno(err, -index, "cannot find the network device %s in the container", device->inside);
	ret = add_addresses(&devices->inside, index, device, device->inside, err);
	return ret == 0 ? bring_up(&devices->inside, index, device->inside, err) : ret;
}

/* inside: what it is called there now. */
static void bring_back(struct netdevices *devices, const struct netdevice *device, const char *inside)
{
	int index = index_of(&devices->inside, inside);

	if (index < 0 ||
	    send_away(&devices->inside, index, devices->outside_ns, device->inside, device->name, NULL) < 0)
		return;
	index = index_of(&devices->outside, device->name);
	if (index < 0)
		return;
	(void)add_addresses(&devices->outside, index, device, device->name, NULL);
	if (device->up)
		(void)bring_up(&devices->outside, index, device->name, NULL);
}

static int move_device(struct netdevices *devices, struct netdevice *device, const char *new_name, struct error *err)
{
	int index = index_of(&devices->outside, device->name), ret;
	bool clash;

	if (index < 0)
		return error_errno(err, -index, "cannot find the network device %s", device->name);
	ret = choose_name(&devices->inside, new_name, device->inside, err);
	if (ret == 0)
		ret = read_addresses(&devices->outside, index, device, err);
	if (ret < 0)
		return ret;
	device->up = is_up(&devices->outside, device->name);
	clash = index_of(&devices->inside, device->name) >= 0;
	ret = send_away(&devices->outside, index, devices->inside_ns, device->name, device->inside, err);
	if (ret < 0) {
		/* The kernel moves first and renames then: it may be there under the name that it had. */
		if (!clash && index_of(&devices->outside, device->name) == -ENODEV)
			bring_back(devices, device, device->name);
		return ret;
	}
	ret = settle_inside(devices, device, err);
	if (ret < 0)
		bring_back(devices, device, device->inside);
	return ret;
}

int netdevices_move(struct netdevices *devices, const char *name, const char *new_name, struct error *err)
{
	struct netdevice *device = calloc(1, sizeof(*device));
	int ret;

	if (!device)
		return error_errno(err, ENOMEM, "cannot move the network device %s", name);
	(void)snprintf(device->name, sizeof(device->name), "%s", name);
	ret = move_device(devices, device, new_name, err);
	if (ret < 0) {
		free_device(device);
		return ret;
	}
	device->next = devices->list;
	devices->list = device;
	return 0;
}

void netdevices_return(struct netdevices *devices)
{
	while (devices->list) {
		struct netdevice *device = devices->list;

		bring_back(devices, device, device->inside);
		devices->list = device->next;
		free_device(device);
	}
}
