/* SPDX-License-Identifier: Apache-2.0 */
/* The control queue: virtio 1.2, 5.1.6.5. */
#include <endian.h>
#include <string.h>

#include "paradigm/vm/virtio/net_private.h"

enum {
	COMMAND = 2, /* class, command; then its data */
	GUEST_OFFLOADS = 1 << VIRTIO_NET_F_GUEST_CSUM | 1 << VIRTIO_NET_F_GUEST_TSO4 | 1 << VIRTIO_NET_F_GUEST_TSO6 |
			 1 << VIRTIO_NET_F_GUEST_ECN | 1 << VIRTIO_NET_F_GUEST_UFO,
};

/* count bytes of data, exactly as many as there are. */
static bool get(const struct virtqueue_chain *chain, void *to, size_t count)
{
	return chain->size_out == COMMAND + count &&
	       iov_read(chain->iov, chain->count_out, COMMAND, to, count) == count;
}

/* What is filtered by the driver anyway: accepted, and nothing done. */
static bool set_mode(struct net *net, uint8_t command, const struct virtqueue_chain *chain)
{
	uint8_t on;

	(void)net;
	return command <= VIRTIO_NET_CTRL_RX_NOBCAST && get(chain, &on, sizeof(on));
}

static bool set_vlan(struct net *net, uint8_t command, const struct virtqueue_chain *chain)
{
	uint16_t id;

	(void)net;
	return command <= VIRTIO_NET_CTRL_VLAN_DEL && get(chain, &id, sizeof(id)) && le16toh(id) < 4096;
}

/* Two tables, each a number and so many addresses. */
static bool tables_are_right(const struct virtqueue_chain *chain)
{
	uint64_t at = COMMAND;

	for (int table = 0; table < 2; table++) {
		uint32_t count;

		if (iov_read(chain->iov, chain->count_out, at, &count, sizeof(count)) < sizeof(count))
			return false;
		at += sizeof(count) + UINT64_C(6) * le32toh(count);
	}
	return at == chain->size_out;
}

static bool set_address(struct net *net, uint8_t command, const struct virtqueue_chain *chain)
{
	uint8_t mac[6];

	if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return tables_are_right(chain);
	if (command != VIRTIO_NET_CTRL_MAC_ADDR_SET || !get(chain, mac, sizeof(mac)))
		return false;
	/* vCPUs read it. */
	(void)pthread_mutex_lock(&net->virtio.device.lock);
	memcpy(net->mac, mac, sizeof(mac));
	(void)pthread_mutex_unlock(&net->virtio.device.lock);
	return true;
}

static bool announced(struct net *net, uint8_t command, const struct virtqueue_chain *chain)
{
	(void)chain;
	__atomic_store_n(&net->announce, false, __ATOMIC_RELAXED);
	return command == VIRTIO_NET_CTRL_ANNOUNCE_ACK;
}

static bool set_pairs(struct net *net, uint8_t command, const struct virtqueue_chain *chain)
{
	uint16_t count;

	if (command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || !virtio_has(&net->virtio, VIRTIO_NET_F_MQ) ||
	    !get(chain, &count, sizeof(count)) || le16toh(count) < 1 || le16toh(count) > net->count)
		return false;
	net_set_pairs(net, le16toh(count));
	return true;
}

static bool set_offloads(struct net *net, uint8_t command, const struct virtqueue_chain *chain)
{
	uint64_t features;

	if (command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || !get(chain, &features, sizeof(features)))
		return false;
	features = le64toh(features);
	if (features & ~(net->virtio.features_driver & GUEST_OFFLOADS))
		return false;
	net->guest_offloads = features;
	net_set_offloads(net);
	return true;
}

static bool carry_out(struct net *net, const struct virtqueue_chain *chain)
{
	static const struct {
		uint8_t class;
		unsigned feature;
		bool (*function)(struct net *net, uint8_t command, const struct virtqueue_chain *chain);
	} classes[] = {
		{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_F_CTRL_RX, set_mode },
		{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_F_CTRL_VQ, set_address },
		{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_F_CTRL_VLAN, set_vlan },
		{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_F_GUEST_ANNOUNCE, announced },
		{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_F_MQ, set_pairs },
		{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, set_offloads },
	};
	uint8_t command[COMMAND];

	if (iov_read(chain->iov, chain->count_out, 0, command, sizeof(command)) < sizeof(command))
		return false;
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		if (classes[i].class == command[0] && virtio_has(&net->virtio, classes[i].feature))
			return classes[i].function(net, command[1], chain);
	}
	return false;
}

void net_control(struct net *net, unsigned queue)
{
	struct virtqueue *ring = &net->virtio.queues[queue];
	struct virtqueue_chain chain;
	unsigned done = 0;

	while (done < NET_BATCH && virtio_pop(&net->virtio, queue, &chain, net->more)) {
		uint8_t answer = carry_out(net, &chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
		size_t written = iov_write(chain.iov + chain.count_out, chain.count_in, 0, &answer, sizeof(answer));

		virtqueue_push(ring, chain.head, (uint32_t)written);
		done++;
	}
	virtio_notify(&net->virtio, queue);
	if (done == NET_BATCH || virtqueue_listen(ring, true))
		virtio_kick(&net->virtio, queue);
}
