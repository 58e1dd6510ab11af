/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "linux/tun.h"
#include "paradigm/vm/virtio/net_private.h"

#define BIT(number) (UINT64_C(1) << (number))

/* What the guest may leave undone, and what is left undone for it. */
#define HOST_FEATURES                                                                         \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
	 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_UFO))
#define GUEST_FEATURES                                                                                \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO))

static const struct {
	unsigned feature, offload;
} offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
	{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	{ VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO },
};

unsigned virtio_net_offload(int tap)
{
	unsigned found = 0;

	for (size_t i = 0; i < sizeof(offloads) / sizeof(*offloads); i++) {
		unsigned one = offloads[i].offload | TUN_F_CSUM;

		/* ECN is a property of TCP segments. */
		if (offloads[i].offload == TUN_F_TSO_ECN)
			one |= TUN_F_TSO4 | TUN_F_TSO6;
		if (tap_set_offload(tap, one) == 0)
			found |= offloads[i].offload;
	}
	(void)tap_set_offload(tap, 0);
	return found;
}

void net_set_offloads(struct net *net)
{
	unsigned wanted = 0;

	for (size_t i = 0; i < sizeof(offloads) / sizeof(*offloads); i++) {
		if (net->guest_offloads & BIT(offloads[i].feature))
			wanted |= offloads[i].offload;
	}
	/* Nothing is left undone of a packet whose checksum is not. */
	if (!(wanted & TUN_F_CSUM))
		wanted = 0;
	if (!(wanted & (TUN_F_TSO4 | TUN_F_TSO6)))
		wanted &= ~(unsigned)TUN_F_TSO_ECN;
	for (unsigned i = 0; i < net->count; i++)
		(void)tap_set_offload(net->pairs[i].tap.fd, wanted);
}

static void attach(struct net_pair *pair, bool on)
{
	if (pair->attached != on && pair->net->count > 1)
		(void)tap_set_queue(pair->tap.fd, on);
	pair->attached = on;
}

void net_set_pairs(struct net *net, unsigned count)
{
	net->active = count;
	for (unsigned i = 0; i < net->count; i++) {
		attach(&net->pairs[i], i < count);
		net_watch(&net->pairs[i]);
	}
}

void net_gone(struct net *net)
{
	if (net->tap_gone)
		return;
	__atomic_store_n(&net->tap_gone, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < net->count; i++)
		net_watch(&net->pairs[i]);
	virtio_config_changed(&net->virtio);
}

static void tap_ready(struct loop_source *source, uint32_t events)
{
	struct net_pair *pair = source->context;
	struct net *net = pair->net;

	if (events & EPOLLIN)
		net_receive(pair);
	else if (events & (EPOLLERR | EPOLLHUP))
		net_gone(net);
	if (events & EPOLLOUT && !net->tap_gone)
		net_transmit(pair);
}

/* ---- what the transport calls ---- */

static void config_read(struct virtio *virtio, uint32_t offset, void *data, uint32_t size)
{
	struct net *net = (struct net *)virtio;
	bool gone = __atomic_load_n(&net->tap_gone, __ATOMIC_RELAXED);
	bool announce = __atomic_load_n(&net->announce, __ATOMIC_RELAXED);
	struct virtio_net_config config = {
		.status = htole16((gone ? 0 : VIRTIO_NET_S_LINK_UP) | (announce ? VIRTIO_NET_S_ANNOUNCE : 0)),
		.max_virtqueue_pairs = htole16((uint16_t)net->count),
		.mtu = htole16(net->mtu),
	};

	memcpy(config.mac, net->mac, sizeof(config.mac));
	memcpy(data, (uint8_t *)&config + offset, size);
}

static void start_pair(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct error err = ERROR_INIT;

	if (pair->vhost && vhost_net_start(pair->vhost, pair->tap.fd, &err) < 0) {
		/* Then we do it ourselves. */
		vhost_free(pair->vhost);
		pair->vhost = NULL;
	}
	net_watch(pair);
	/* Perhaps there are no buffers yet; what has been asked for before we looked was not heard. */
	if (!pair->vhost) {
		virtio_kick(&net->virtio, net_rx(pair));
		virtio_kick(&net->virtio, net_tx(pair));
	}
}

static int activate(struct virtio *virtio)
{
	struct net *net = (struct net *)virtio;

	net->guest_offloads = virtio->features_driver & GUEST_FEATURES;
	net_set_offloads(net);
	/* The device is active when this returns: whom it hears, it hears by the kicks. */
	for (unsigned i = 0; i < net->count; i++) {
		if (i == 0 || virtio_has(virtio, VIRTIO_NET_F_MQ))
			start_pair(&net->pairs[i]);
	}
	net_set_pairs(net, 1);
	return 0;
}

static void stop(struct net *net)
{
	for (unsigned i = 0; i < net->count; i++) {
		struct net_pair *pair = &net->pairs[i];

		if (pair->vhost)
			vhost_net_stop(pair->vhost);
		if (pair->watched)
			loop_remove(net->virtio.loop, &pair->tap);
		pair->watched = 0;
	}
}

static void reset(struct virtio *virtio)
{
	struct net *net = (struct net *)virtio;

	stop(net);
	for (unsigned i = 0; i < net->count; i++) {
		net->pairs[i].starved = net->pairs[i].full = false;
		net->pairs[i].pending = 0;
	}
	net->guest_offloads = 0;
	__atomic_store_n(&net->announce, false, __ATOMIC_RELAXED);
	memcpy(net->mac, net->own_mac, sizeof(net->mac));
	net_set_offloads(net);
}

static void handle(struct virtio *virtio, unsigned queue)
{
	struct net *net = (struct net *)virtio;
	bool several = virtio_has(virtio, VIRTIO_NET_F_MQ);
	struct net_pair *pair = &net->pairs[queue / 2];

	if (queue == (several ? 2 * net->count : 2)) {
		if (virtio_has(virtio, VIRTIO_NET_F_CTRL_VQ))
			net_control(net, queue);
	} else if (queue / 2 < net->active && !pair->vhost) {
		if (queue % 2)
			net_transmit(pair);
		else
			net_receive(pair);
	}
}

static void quiesce(struct virtio *virtio)
{
	stop((struct net *)virtio);
}

static void resume(struct virtio *virtio)
{
	struct net *net = (struct net *)virtio;

	net_set_offloads(net);
	net_set_pairs(net, net->active);
	for (unsigned i = 0; i < net->count; i++) {
		if (i == 0 || virtio_has(virtio, VIRTIO_NET_F_MQ))
			start_pair(&net->pairs[i]);
	}
	if (net->announce)
		virtio_config_changed(virtio);
}

static void save(struct virtio *virtio, struct state_writer *writer)
{
	const struct net *net = (const struct net *)virtio;

	state_put(writer, net->mac, sizeof(net->mac));
	state_put_u32(writer, net->active);
	state_put_u64(writer, net->guest_offloads);
}

/* What was waiting for buffers is lost, as packets may be. */
static int restore(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	struct net *net = (struct net *)virtio;
	uint32_t active;

	(void)state_get(reader, net->mac, sizeof(net->mac));
	active = state_get_u32(reader);
	net->guest_offloads = state_get_u64(reader) & virtio->features_driver & GUEST_FEATURES;
	if (active < 1 || active > net->count)
		return error_set(err, EINVAL, "the snapshot's network card has %u pairs of queues, this one %u", active,
				 net->count);
	net->active = active;
	/* The switches must learn where it is now. */
	__atomic_store_n(&net->announce, virtio->active && virtio_has(virtio, VIRTIO_NET_F_GUEST_ANNOUNCE),
			 __ATOMIC_RELAXED);
	return 0;
}

static void free_net(struct virtio *virtio)
{
	struct net *net = (struct net *)virtio;

	stop(net);
	for (unsigned i = 0; i < net->count; i++) {
		vhost_free(net->pairs[i].vhost);
		free(net->pairs[i].packet);
		if (net->pairs[i].tap.fd >= 0)
			close(net->pairs[i].tap.fd);
		if (net->pairs[i].vhost_fd >= 0)
			close(net->pairs[i].vhost_fd);
	}
	virtio_free(virtio);
	free(net);
}

static const struct virtio_ops net_ops = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.features = HOST_FEATURES | BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
		    BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) |
		    BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE),
	.own_thread = true,
	.config_size = offsetof(struct virtio_net_config, mtu) + sizeof(uint16_t),
	.config_read = config_read,
	.activate = activate,
	.handle = handle,
	.reset = reset,
	.save = save,
	.restore = restore,
	.quiesce = quiesce,
	.resume = resume,
	.free = free_net,
};

static uint64_t features_of(const struct virtio_net_options *options)
{
	uint64_t features = (options->mtu ? BIT(VIRTIO_NET_F_MTU) : 0) |
			    (options->pairs > 1 ? BIT(VIRTIO_NET_F_MQ) : 0);

	for (size_t i = 0; i < sizeof(offloads) / sizeof(*offloads); i++) {
		if (options->offload & offloads[i].offload)
			features |= BIT(offloads[i].feature);
	}
	return features & GUEST_FEATURES ? features | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) : features;
}

static int make_pair(struct net *net, unsigned index, int vhost, struct error *err)
{
	struct net_pair *pair = &net->pairs[index];

	pair->net = net;
	pair->index = index;
	pair->attached = true;
	pair->vhost_fd = -1;
	pair->tap = (struct loop_source){ -1, tap_ready, pair };
	pair->packet = malloc(NET_HEADER + NET_PACKET_MAX);
	if (!pair->packet)
		return error_errno(err, ENOMEM, "cannot make a network card");
	return vhost < 0 ? 0
			 : vhost_net_make(vhost, &net->virtio, 2 * index, &net->virtio.features_device, &pair->vhost,
					  err);
}

int virtio_net_make(const struct virtio_net_options *options, struct guest_memory *memory, struct loop *loop,
		    struct device **device, struct error *err)
{
	struct net *net;
	int ret;

	if (options->pairs < 1 || options->pairs > VIRTIO_NET_PAIRS_MAX)
		return error_set(err, EINVAL, "a network card has 1 to %d pairs of queues", VIRTIO_NET_PAIRS_MAX);
	net = calloc(1, sizeof(*net));
	if (!net)
		return error_errno(err, ENOMEM, "cannot make a network card");
	ret = virtio_init(&net->virtio, &net_ops, features_of(options), 2 * options->pairs + 1, VIRTIO_NET_QUEUE_SIZE,
			  memory, loop, err);
	if (ret < 0) {
		free(net);
		return ret;
	}
	net->offload = options->offload;
	net->active = 1;
	net->mtu = options->mtu;
	memcpy(net->own_mac, options->mac, sizeof(net->own_mac));
	memcpy(net->mac, options->mac, sizeof(net->mac));
	while (ret == 0 && net->count < options->pairs) {
		ret = make_pair(net, net->count, options->vhosts[net->count], err);
		net->count++;
	}
	if (ret < 0) {
		free_net(&net->virtio);
		return ret;
	}
	for (unsigned i = 0; i < net->count; i++) {
		net->pairs[i].tap.fd = options->taps[i];
		net->pairs[i].vhost_fd = options->vhosts[i];
	}
	*device = &net->virtio.device;
	return 0;
}
