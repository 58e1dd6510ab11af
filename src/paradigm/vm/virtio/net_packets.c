/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "paradigm/vm/virtio/net_private.h"

void net_watch(struct net_pair *pair)
{
	struct net *net = pair->net;
	bool on = net->virtio.active && !net->virtio.quiet && pair->index < net->active && !net->tap_gone &&
		  !pair->vhost;
	uint32_t events = on ? (pair->starved ? 0U : EPOLLIN) | (pair->full ? EPOLLOUT : 0U) : 0;
	int ret = 0;

	if (events == pair->watched)
		return;
	if (!events)
		loop_remove(net->virtio.loop, &pair->tap);
	else if (!pair->watched)
		ret = loop_add(net->virtio.loop, &pair->tap, events, NULL);
	else
		ret = loop_change(net->virtio.loop, &pair->tap, events);
	if (ret == 0)
		pair->watched = events;
}

/* ---- to the guest ---- */

/* The number of buffers that a packet has taken: the driver looks at it even when that is always one. */
static void set_buffers(const struct virtqueue_chain *chain, uint16_t count)
{
	uint16_t value = htole16(count);

	(void)iov_write(chain->iov, chain->count_in, offsetof(struct virtio_net_hdr_v1, num_buffers), &value,
			sizeof(value));
}

/* The next chain for packets; -EINVAL: no driver may offer such. */
static int pop_buffer(struct net_pair *pair, struct virtqueue_chain *chain, struct iovec *iov, size_t least)
{
	struct virtio *virtio = &pair->net->virtio;

	if (!virtio_pop(virtio, net_rx(pair), chain, iov))
		return virtio->queues[net_rx(pair)].broken ? -EINVAL : 0;
	if (chain->count_out == 0 && chain->count_in <= NET_IOV_MAX && chain->size_in >= least)
		return 1;
	virtio_fail(virtio);
	return -EINVAL;
}

static void unpop(struct virtqueue *queue, unsigned count)
{
	while (count-- > 0)
		virtqueue_unpop(queue);
}

/*
 * Copies the packet that is pending into as many chains as it takes.  1: done, or dropped; 0: there are not enough yet.
 */
static int deliver_pending(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct virtqueue *queue = &net->virtio.queues[net_rx(pair)];
	unsigned most = virtio_has(&net->virtio, VIRTIO_NET_F_MRG_RXBUF) ? NET_MERGED_MAX : 1, count = 0;
	struct virtqueue_chain first = { 0 }, chain;
	size_t done = 0;

	while (done < pair->pending && count < most) {
		int ret = pop_buffer(pair, &chain, count == 0 ? net->first : net->more, count == 0 ? NET_HEADER : 1);
		size_t part;

		if (ret <= 0) {
			unpop(queue, count);
			return ret;
		}
		if (count == 0)
			first = chain;
		part = iov_write(chain.iov, chain.count_in, 0, pair->packet + done, pair->pending - done);
		virtqueue_fill(queue, (uint16_t)count, chain.head, (uint32_t)part);
		done += part;
		count++;
	}
	if (done < pair->pending) {
		/* No room that the driver could ever have for it. */
		unpop(queue, count);
		net->dropped++;
	} else {
		set_buffers(&first, (uint16_t)count);
		virtqueue_publish(queue, (uint16_t)count);
	}
	pair->pending = 0;
	return 1;
}

/* One packet out of the tap, straight into the first chain; what is longer goes on into memory of our own.  1: there
 * may be more; 0: none, or no buffers; -errno. */
static int receive_packet(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct virtqueue *queue = &net->virtio.queues[net_rx(pair)];
	struct virtqueue_chain chain;
	int ret = pop_buffer(pair, &chain, net->first, NET_HEADER);
	size_t room, whole = NET_HEADER + NET_PACKET_MAX;
	ssize_t size;

	if (ret <= 0)
		return ret == 0 ? -ENOBUFS : ret;
	room = chain.size_in < whole ? chain.size_in : whole;
	net->first[chain.count_in] = (struct iovec){ pair->packet + room, whole - room };
	size = readv(pair->tap.fd, chain.iov, chain.count_in + (room < whole));
	if (size <= NET_HEADER) {
		virtqueue_unpop(queue);
		if (size == 0 || (size < 0 && errno == EBADFD))
			net_gone(net);
		return 0;
	}
	if ((size_t)size > room) {
		(void)iov_read(chain.iov, chain.count_in, 0, pair->packet, room);
		virtqueue_unpop(queue);
		pair->pending = (size_t)size;
		return 1;
	}
	set_buffers(&chain, 1);
	virtqueue_push(queue, chain.head, (uint32_t)size);
	return 1;
}

void net_receive(struct net_pair *pair)
{
	struct virtio *virtio = &pair->net->virtio;
	struct virtqueue *queue = &virtio->queues[net_rx(pair)];
	int ret = 1;

	for (unsigned i = 0; ret > 0 && i < NET_BATCH; i++) {
		ret = pair->pending ? deliver_pending(pair) : receive_packet(pair);
		if (pair->pending && ret == 0)
			ret = -ENOBUFS;
		/* They may have come just now. */
		if (ret == -ENOBUFS && virtqueue_listen(queue, true))
			ret = 1;
	}
	pair->starved = ret < 0;
	/* Then there are some for certain, and their coming is no news. */
	if (!pair->starved)
		(void)virtqueue_listen(queue, false);
	virtio_notify(virtio, net_rx(pair));
	net_watch(pair);
	/* The packet that waits is not in the tap: nobody else will call. */
	if (ret > 0 && pair->pending)
		virtio_kick(virtio, net_rx(pair));
}

/* ---- from the guest ---- */

static bool segments_are_right(const struct net *net, const struct virtio_net_hdr_v1 *header, size_t size)
{
	static const struct {
		uint8_t type;
		unsigned feature;
	} known[] = {
		{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4 },
		{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6 },
		{ VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_F_HOST_UFO },
	};
	uint8_t type = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (header->gso_type & VIRTIO_NET_HDR_GSO_ECN && !virtio_has(&net->virtio, VIRTIO_NET_F_HOST_ECN))
		return false;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (known[i].type == type)
			return virtio_has(&net->virtio, known[i].feature) && header->gso_size != 0 &&
			       le16toh(header->hdr_len) <= size && header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	}
	return false;
}

/* What the driver says of its packet, made harmless; false: there is no such packet. */
static bool check_header(const struct net *net, struct virtio_net_hdr_v1 *header, size_t size)
{
	if (size < NET_ETHERNET || size > NET_PACKET_MAX)
		return false;
	header->num_buffers = 0;
	header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (header->flags && (!virtio_has(&net->virtio, VIRTIO_NET_F_CSUM) ||
			      (size_t)le16toh(header->csum_start) + le16toh(header->csum_offset) + 2 > size))
		return false;
	if (!header->flags)
		header->csum_start = header->csum_offset = 0;
	return segments_are_right(net, header, size);
}

/* Leaves the first count bytes out. */
static struct iovec *skip(struct iovec *iov, unsigned *iov_count, size_t count)
{
	while (*iov_count > 0 && count >= iov->iov_len) {
		count -= iov->iov_len;
		iov++;
		(*iov_count)--;
	}
	if (*iov_count > 0) {
		iov->iov_base = (uint8_t *)iov->iov_base + count;
		iov->iov_len -= count;
	}
	return iov;
}

/* false: the tap takes none now. */
static bool send_packet(struct net_pair *pair, const struct virtqueue_chain *chain)
{
	struct net *net = pair->net;
	struct virtio_net_hdr_v1 header;
	unsigned count = chain->count_out;
	struct iovec *rest;
	size_t taken = iov_read(chain->iov, count, 0, &header, NET_HEADER);

	/* The header is judged, and sent, as it was read: the guest may write another one meanwhile. */
	if (chain->count_in > 0 || count > NET_IOV_MAX || taken < NET_HEADER || net->tap_gone ||
	    !check_header(net, &header, chain->size_out - NET_HEADER)) {
		net->dropped++;
		return true;
	}
	/* iov begins behind a free place. */
	rest = skip(chain->iov, &count, NET_HEADER) - 1;
	*rest = (struct iovec){ &header, NET_HEADER };
	if (writev(pair->tap.fd, rest, (int)count + 1) >= 0)
		return true;
	if (errno == EAGAIN)
		return false;
	net->dropped++;
	if (errno == EBADFD)
		net_gone(net);
	return true;
}

void net_transmit(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct virtqueue *queue = &net->virtio.queues[net_tx(pair)];
	struct virtqueue_chain chain;
	unsigned done = 0;

	pair->full = false;
	(void)virtqueue_listen(queue, false);
	do {
		while (!pair->full && done < NET_BATCH &&
		       virtio_pop(&net->virtio, net_tx(pair), &chain, net->more + 1)) {
			pair->full = !send_packet(pair, &chain);
			if (pair->full) {
				virtqueue_unpop(queue);
			} else {
				virtqueue_push(queue, chain.head, 0);
				done++;
			}
		}
	} while (!pair->full && done < NET_BATCH && virtqueue_listen(queue, true));
	virtio_notify(&net->virtio, net_tx(pair));
	if (done == NET_BATCH)
		virtio_kick(&net->virtio, net_tx(pair));
	net_watch(pair);
}
