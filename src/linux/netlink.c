/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/netlink.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { ANSWER_MAX = 65536 };

void *netlink_begin(struct netlink_request *request, uint16_t type, uint16_t flags, size_t size)
{
	*request = (struct netlink_request){ 0 };
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = NLM_F_REQUEST | flags;
	request->header.nlmsg_len = NLMSG_LENGTH(size);
	return NLMSG_DATA(&request->header);
}

void netlink_add(struct netlink_request *request, uint16_t type, const void *data, size_t size)
{
	struct rtattr *attribute = (struct rtattr *)(request->bytes + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	if (size > 0)
		memcpy(RTA_DATA(attribute), data, size);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_SPACE(size);
}

size_t netlink_nest(struct netlink_request *request, uint16_t type)
{
	size_t at = NLMSG_ALIGN(request->header.nlmsg_len);

	netlink_add(request, type, NULL, 0);
	return at;
}

void netlink_nest_end(struct netlink_request *request, size_t nest)
{
	struct rtattr *attribute = (struct rtattr *)(request->bytes + nest);

	attribute->rta_len = (unsigned short)(request->header.nlmsg_len - nest);
}

/* The kernel's own words about an error, where it has some (NETLINK_EXT_ACK). */
static const char *words_of(const struct nlmsghdr *message)
{
	size_t used = NLMSG_HDRLEN + sizeof(struct nlmsgerr);

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) || !(message->nlmsg_flags & NLM_F_CAPPED))
		return NULL;
	while (used + sizeof(struct nlattr) <= message->nlmsg_len) {
		const struct nlattr *attribute = (const struct nlattr *)((const char *)message + used);

		if (attribute->nla_len < sizeof(*attribute) || used + attribute->nla_len > message->nlmsg_len)
			return NULL;
		if (attribute->nla_type == NLMSGERR_ATTR_MSG && attribute->nla_len > sizeof(*attribute) &&
		    ((const char *)attribute)[attribute->nla_len - 1] == '\0')
			return (const char *)(attribute + 1);
		used += NLMSG_ALIGN(attribute->nla_len);
	}
	return NULL;
}

struct answer {
	uint32_t sequence; /* of the request: what was left over from another is passed over */
	bool torn;	   /* the list changed while it was read */
	netlink_visit_fn *visit;
	void *data;
	struct error *err;
};

/* One message of the answer: 1 when it was the last, 0 when more will come, or -errno. */
static int take_message(struct answer *answer, const struct nlmsghdr *message)
{
	const struct nlmsgerr *failure = NLMSG_DATA(message);
	const char *words;

	answer->torn |= message->nlmsg_flags & NLM_F_DUMP_INTR;
	if (message->nlmsg_type == NLMSG_DONE)
		return answer->torn ? -EINTR : 1;
	if (message->nlmsg_type != NLMSG_ERROR)
		return answer->visit ? answer->visit(message, answer->data) : 0;
	if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*failure)))
		return -EPROTO;
	if (failure->error == 0)
		return 1;
	words = words_of(message);
	if (words)
		(void)error_set(answer->err, -failure->error, "%s", words);
	return failure->error;
}

static int take_datagram(struct answer *answer, const struct nlmsghdr *message, int left)
{
	int ret = 0;

	for (; ret == 0 && NLMSG_OK(message, (unsigned int)left); message = NLMSG_NEXT(message, left)) {
		if (message->nlmsg_seq == answer->sequence)
			ret = take_message(answer, message);
	}
	return ret;
}

int netlink_talk(struct netlink *netlink, struct netlink_request *request, netlink_visit_fn *visit, void *data,
		 struct error *err)
{
	struct answer answer = { .sequence = ++netlink->sequence, .visit = visit, .data = data, .err = err };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	cleanup_free char *buffer = malloc(ANSWER_MAX);
	int ret = 0;

	if (!buffer)
		return -ENOMEM;
	request->header.nlmsg_seq = answer.sequence;
	if ((request->header.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		request->header.nlmsg_flags |= NLM_F_ACK;
	if (sendto(netlink->fd, request, request->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	while (ret == 0) {
		struct sockaddr_nl sender = { .nl_family = AF_NETLINK };
		socklen_t length = sizeof(sender);
		ssize_t count = recvfrom(netlink->fd, buffer, ANSWER_MAX, 0, (struct sockaddr *)&sender, &length);

		if (count < 0 && errno != EINTR)
			return -errno;
		/* Anybody may send to us; only the kernel is asked. */
		if (count >= 0 && sender.nl_pid == 0)
			ret = take_datagram(&answer, (struct nlmsghdr *)buffer, (int)count);
	}
	return ret < 0 ? ret : 0;
}

int netlink_explain(int ret, const struct error *words, struct error *err, const char *format, ...)
{
	char what[ERROR_TEXT_MAX];
	va_list args;

	if (ret >= 0)
		return 0;
	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return *words->text ? error_set(err, -ret, "%s: %s", what, words->text) : error_errno(err, -ret, "%s", what);
}

int netlink_open(struct netlink *netlink, struct error *err)
{
	cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int on = 1;

	if (fd < 0)
		return error_errno(err, errno, "cannot open a netlink socket");
	/* For messages only, and therefore no reason to fail. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	netlink->fd = take_fd(&fd);
	return 0;
}

void netlink_close(struct netlink *netlink)
{
	if (netlink->fd >= 0)
		close(netlink->fd);
	netlink->fd = -1;
}

const void *netlink_attribute(const struct nlmsghdr *message, size_t header, uint16_t type, size_t least)
{
	int left = (int)(message->nlmsg_len - NLMSG_LENGTH(header));
	const struct rtattr *at = (const struct rtattr *)((const char *)NLMSG_DATA(message) + NLMSG_ALIGN(header));

	for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if ((at->rta_type & NLA_TYPE_MASK) == type && RTA_PAYLOAD(at) >= least)
			return RTA_DATA(at);
	}
	return NULL;
}
