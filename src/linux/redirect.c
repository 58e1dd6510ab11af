/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/redirect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "linux/netlink.h"

enum { PRIORITY = 1, FIRST_ACTION = 1, TRIES_MAX = 16 };

static const uint32_t ingress = TC_H_MAJ(TC_H_INGRESS);

static int set_qdisc(struct netlink *netlink, int index, uint16_t type, uint16_t flags, struct error *words)
{
	struct netlink_request request;
	struct tcmsg *header = netlink_begin(&request, type, flags, sizeof(*header));

	header->tcm_ifindex = index;
	header->tcm_parent = TC_H_INGRESS;
	header->tcm_handle = ingress;
	netlink_add(&request, TCA_KIND, "ingress", sizeof("ingress"));
	return netlink_talk(netlink, &request, NULL, NULL, words);
}

/* All of them (no bit of the first word is looked at), and that is the end of it. */
static int add_filter(struct netlink *netlink, int from, int to, struct error *words)
{
	union {
		struct tc_u32_sel selector;
		uint8_t bytes[sizeof(struct tc_u32_sel) + sizeof(struct tc_u32_key)]; /* one key behind it */
	} all = { .bytes = { 0 } };
	struct tc_mirred mirred = { .action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to };
	struct netlink_request request;
	struct tcmsg *header = netlink_begin(&request, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, sizeof(*header));
	size_t options, actions, action, parameters;

	all.selector.flags = TC_U32_TERMINAL;
	all.selector.nkeys = 1;
	header->tcm_family = AF_UNSPEC;
	header->tcm_ifindex = from;
	header->tcm_parent = ingress;
	header->tcm_info = TC_H_MAKE((uint32_t)PRIORITY << 16, htons(ETH_P_ALL));
	netlink_add(&request, TCA_KIND, "u32", sizeof("u32"));
	options = netlink_nest(&request, TCA_OPTIONS);
	netlink_add(&request, TCA_U32_SEL, &all, sizeof(all));
	actions = netlink_nest(&request, TCA_U32_ACT);
	action = netlink_nest(&request, FIRST_ACTION);
	netlink_add(&request, TCA_ACT_KIND, "mirred", sizeof("mirred"));
	parameters = netlink_nest(&request, TCA_ACT_OPTIONS);
	netlink_add(&request, TCA_MIRRED_PARMS, &mirred, sizeof(mirred));
	netlink_nest_end(&request, parameters);
	netlink_nest_end(&request, action);
	netlink_nest_end(&request, actions);
	netlink_nest_end(&request, options);
	return netlink_talk(netlink, &request, NULL, NULL, words);
}

int redirect_make(int from, int to, struct error *err)
{
	struct netlink netlink = { .fd = -1 };
	struct error words = ERROR_INIT;
	char name[IF_NAMESIZE] = "?";
	int ret = netlink_open(&netlink, err);

	if (ret < 0)
		return ret;
	/* Left by one that ended. */
	(void)set_qdisc(&netlink, from, RTM_DELQDISC, 0, NULL);
	ret = set_qdisc(&netlink, from, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &words);
	if (ret == 0) {
		ret = add_filter(&netlink, from, to, &words);
		if (ret < 0)
			(void)set_qdisc(&netlink, from, RTM_DELQDISC, 0, NULL);
	}
	netlink_close(&netlink);
	if (ret < 0)
		(void)if_indextoname((unsigned)from, name);
	return netlink_explain(ret, &words, err, "cannot redirect the packets of %s (sch_ingress, cls_u32, act_mirred)",
			       name);
}

static const struct rtattr *find(const struct rtattr *at, int left, uint16_t type)
{
	for (; at && RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if ((at->rta_type & NLA_TYPE_MASK) == type)
			return at;
	}
	return NULL;
}

static const struct rtattr *find_in(const struct rtattr *nest, uint16_t type)
{
	return nest ? find(RTA_DATA(nest), (int)RTA_PAYLOAD(nest), type) : NULL;
}

static bool is_kind(const struct rtattr *kind, const char *name)
{
	return kind && RTA_PAYLOAD(kind) == strlen(name) + 1 && memcmp(RTA_DATA(kind), name, strlen(name) + 1) == 0;
}

/* A filter of add_filter()'s whose target has gone: the kernel has no number for it then. */
static int judge_filter(const struct nlmsghdr *message, void *data)
{
	const struct tcmsg *header = NLMSG_DATA(message);
	const struct rtattr *first = (const struct rtattr *)((const char *)header + NLMSG_ALIGN(sizeof(*header)));
	int left = (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof(*header)));
	const struct rtattr *action, *parameters;
	const struct tc_mirred *mirred;
	bool *lost = data;

	if (message->nlmsg_type != RTM_NEWTFILTER || left < 0 ||
	    header->tcm_info != TC_H_MAKE((uint32_t)PRIORITY << 16, htons(ETH_P_ALL)) ||
	    !is_kind(find(first, left, TCA_KIND), "u32"))
		return 0;
	action = find_in(find_in(find(first, left, TCA_OPTIONS), TCA_U32_ACT), FIRST_ACTION);
	parameters = find_in(find_in(action, TCA_ACT_OPTIONS), TCA_MIRRED_PARMS);
	if (!is_kind(find_in(action, TCA_ACT_KIND), "mirred") || !parameters ||
	    RTA_PAYLOAD(parameters) < sizeof(*mirred))
		return 0;
	mirred = RTA_DATA(parameters);
	*lost |= mirred->eaction == TCA_EGRESS_REDIR && mirred->ifindex == 0;
	return 0;
}

/* Asked by a second socket, while the first is read. */
static int sweep_link(const struct nlmsghdr *message, void *data)
{
	const struct ifinfomsg *link = NLMSG_DATA(message);
	struct netlink *netlink = data;
	struct netlink_request request;
	struct tcmsg *header;
	bool lost = false;

	if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof(*link)))
		return 0;
	header = netlink_begin(&request, RTM_GETTFILTER, NLM_F_DUMP, sizeof(*header));
	header->tcm_ifindex = link->ifi_index;
	header->tcm_parent = ingress;
	(void)netlink_talk(netlink, &request, judge_filter, &lost, NULL);
	if (lost)
		(void)set_qdisc(netlink, link->ifi_index, RTM_DELQDISC, 0, NULL);
	return 0;
}

int redirect_sweep(void)
{
	struct netlink links = { .fd = -1 }, filters = { .fd = -1 };
	int ret = netlink_open(&links, NULL);

	if (ret == 0)
		ret = netlink_open(&filters, NULL);
	if (ret == 0)
		ret = -EINTR;
	for (int tries = 0; ret == -EINTR && tries < TRIES_MAX; tries++) {
		struct netlink_request request;

		(void)netlink_begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
		ret = netlink_talk(&links, &request, sweep_link, &filters, NULL);
	}
	netlink_close(&links);
	netlink_close(&filters);
	return ret;
}

/* Before it is up: an address that was made stays. */
static int make_no_addresses(struct netlink *netlink, int index)
{
	struct netlink_request request;
	struct ifinfomsg *header = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*header));
	uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
	size_t families, family;

	header->ifi_index = index;
	families = netlink_nest(&request, IFLA_AF_SPEC);
	family = netlink_nest(&request, AF_INET6);
	netlink_add(&request, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
	netlink_nest_end(&request, family);
	netlink_nest_end(&request, families);
	return netlink_talk(netlink, &request, NULL, NULL, NULL);
}

static int bring_up(struct netlink *netlink, int index, uint32_t mtu)
{
	struct netlink_request request;
	struct ifinfomsg *header = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*header));

	header->ifi_index = index;
	header->ifi_flags = header->ifi_change = IFF_UP;
	netlink_add(&request, IFLA_MTU, &mtu, sizeof(mtu));
	return netlink_talk(netlink, &request, NULL, NULL, NULL);
}

int redirect_prepare_tap(int index, unsigned mtu, struct error *err)
{
	struct netlink netlink = { .fd = -1 };
	int ret = netlink_open(&netlink, err);

	if (ret < 0)
		return ret;
	/* A kernel without IPv6 makes none anyway. */
	(void)make_no_addresses(&netlink, index);
	ret = bring_up(&netlink, index, mtu);
	netlink_close(&netlink);
	return ret < 0 ? error_errno(err, -ret, "cannot bring a tap device up") : 0;
}
