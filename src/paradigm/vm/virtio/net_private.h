/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_private - for the card's own files: net.c (features, configuration, life), net_packets.c, net_control.c.
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_NET_PRIVATE_H
#define CAISSON_PARADIGM_VM_VIRTIO_NET_PRIVATE_H

#include <linux/virtio_net.h>

#include "paradigm/vm/virtio/net.h"
#include "paradigm/vm/virtio/vhost.h"

enum {
	NET_HEADER = 12,
	NET_ETHERNET = 14,
	NET_PACKET_MAX = 65535 + 18, /* without the header */
	NET_BATCH = 64,		     /* packets before others in the loop have their turn */
	NET_MERGED_MAX = 128,	     /* buffers of one packet */
	NET_IOV_MAX = 1000,	     /* buffers of one chain: one system call takes them and the rest */
};

struct net;

struct net_pair {
	struct net *net;
	unsigned index;
	struct loop_source tap;
	uint32_t watched; /* events that the loop waits for */
	bool attached;	  /* packets go through this queue of the tap */
	bool starved;	  /* no buffers for packets of the tap, which is not watched meanwhile */
	bool full;	  /* the tap takes no packets now */
	/* A packet (with header) that the guest has not had the buffers for. */
	size_t pending;
	uint8_t *packet;
	int vhost_fd;	     /* -1: none */
	struct vhost *vhost; /* NULL: we do it ourselves */
};

struct net {
	struct virtio virtio;
	struct net_pair pairs[VIRTIO_NET_PAIRS_MAX];
	unsigned count, active; /* pairs */
	unsigned offload;	/* TUN_F_* that the taps can do */
	/* Atomic: vCPUs look at what the loop's thread changes. */
	bool tap_gone, announce;
	uint8_t mac[6], own_mac[6]; /* as the driver set it, and as it was made */
	uint16_t mtu;
	uint64_t guest_offloads; /* features, as the driver set them last */
	uint64_t dropped;
	struct iovec first[VIRTQUEUE_CHAIN_MAX + 1], more[VIRTQUEUE_CHAIN_MAX + 1];
};

static inline unsigned net_rx(const struct net_pair *pair)
{
	return 2 * pair->index;
}

static inline unsigned net_tx(const struct net_pair *pair)
{
	return 2 * pair->index + 1;
}

/* net.c */
/* Sets what the taps leave undone to what the driver wants. */
void net_set_offloads(struct net *net);
/* Lets packets go through the first count pairs. */
void net_set_pairs(struct net *net, unsigned count);
void net_gone(struct net *net);

/* net_packets.c: all in the loop's thread. */
void net_receive(struct net_pair *pair);
void net_transmit(struct net_pair *pair);
/* Waits for what the pair has a use for. */
void net_watch(struct net_pair *pair);

/* net_control.c */
void net_control(struct net *net, unsigned queue);

#endif
