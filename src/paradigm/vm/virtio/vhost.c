/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/vhost.h"

#include <endian.h>
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { QUEUES = 2 };

struct vhost {
	int fd; /* the caller's */
	struct virtio *virtio;
	unsigned first;
	uint64_t features; /* that the kernel has */
	bool started;
	struct loop_source calls[QUEUES]; /* their eventfds are owned */
};

static void called(struct loop_source *source, uint32_t events)
{
	struct virtio *virtio = source->context;
	eventfd_t count;

	(void)events;
	if (eventfd_read(source->fd, &count) == 0)
		virtio_interrupt(virtio);
}

static int add_calls(struct vhost *vhost, struct error *err)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ret;

		if (fd < 0)
			return error_errno(err, errno, "cannot make an eventfd");
		vhost->calls[i] = (struct loop_source){ fd, called, vhost->virtio };
		ret = loop_add(vhost->virtio->loop, &vhost->calls[i], EPOLLIN, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int vhost_net_make(int fd, struct virtio *virtio, unsigned first, uint64_t *features, struct vhost **vhost,
		   struct error *err)
{
	static const uint64_t ring_features = UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
					      UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | UINT64_C(1) << 32;
	struct vhost *fresh = calloc(1, sizeof(*fresh));
	int ret;

	if (!fresh)
		return error_errno(err, ENOMEM, "cannot use vhost-net");
	*fresh = (struct vhost){ .fd = fd, .virtio = virtio, .first = first, .calls = { { .fd = -1 }, { .fd = -1 } } };
	ret = add_calls(fresh, err);
	if (ret == 0 && (ioctl(fd, VHOST_SET_OWNER) < 0 || ioctl(fd, VHOST_GET_FEATURES, &fresh->features) < 0))
		ret = error_errno(err, errno, "cannot use vhost-net");
	if (ret < 0) {
		vhost_free(fresh);
		return ret;
	}
	/* The rest of the features is between the driver, the device and the tap. */
	*features &= fresh->features | ~ring_features;
	*vhost = fresh;
	return 0;
}

static int set_memory(const struct vhost *vhost, struct error *err)
{
	const struct guest_memory *memory = vhost->virtio->memory;
	cleanup_free struct vhost_memory *table = calloc(1, sizeof(*table) +
								    memory->count * sizeof(struct vhost_memory_region));

	if (!table)
		return error_errno(err, ENOMEM, "cannot use vhost-net");
	table->nregions = (uint32_t)memory->count;
	for (size_t i = 0; i < memory->count; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = memory->regions[i].base,
			.memory_size = memory->regions[i].size,
			.userspace_addr = (uintptr_t)memory->regions[i].host,
		};
	return ioctl(vhost->fd, VHOST_SET_MEM_TABLE, table) < 0
		       ? error_errno(err, errno, "vhost-net does not take the guest's memory")
		       : 0;
}

static int set_queue(const struct vhost *vhost, unsigned index, struct error *err)
{
	struct virtio *virtio = vhost->virtio;
	const struct virtqueue *queue = &virtio->queues[vhost->first + index];
	struct vhost_vring_state size = { index, queue->size }, base = { index, queue->next_available };
	struct vhost_vring_addr addresses = {
		.index = index,
		.desc_user_addr = (uintptr_t)queue->descriptor_area,
		.avail_user_addr = (uintptr_t)queue->available_area,
		.used_user_addr = (uintptr_t)queue->used_area,
	};
	struct vhost_vring_file kick = { index, virtio->notifiers[vhost->first + index].source.fd },
				call = { index, vhost->calls[index].fd };

	if (!queue->ready || queue->broken)
		return error_set(err, EINVAL, "the driver has not set up queue %u", vhost->first + index);
	if (ioctl(vhost->fd, VHOST_SET_VRING_NUM, &size) < 0 || ioctl(vhost->fd, VHOST_SET_VRING_BASE, &base) < 0 ||
	    ioctl(vhost->fd, VHOST_SET_VRING_ADDR, &addresses) < 0 ||
	    ioctl(vhost->fd, VHOST_SET_VRING_KICK, &kick) < 0 || ioctl(vhost->fd, VHOST_SET_VRING_CALL, &call) < 0)
		return error_errno(err, errno, "vhost-net does not take queue %u", vhost->first + index);
	return 0;
}

static int set_backend(const struct vhost *vhost, int tap)
{
	int code = 0;

	for (unsigned i = 0; i < QUEUES; i++) {
		struct vhost_vring_file backend = { i, tap };

		if (ioctl(vhost->fd, VHOST_NET_SET_BACKEND, &backend) < 0)
			code = code ? code : -errno;
	}
	return code;
}

/* Who reads the kicks: we, or the kernel. */
static void listen_to_kicks(const struct vhost *vhost, bool on)
{
	struct virtio *virtio = vhost->virtio;

	for (unsigned i = 0; i < QUEUES; i++) {
		struct loop_source *source = &virtio->notifiers[vhost->first + i].source;

		if (on)
			(void)loop_add(virtio->loop, source, EPOLLIN, NULL);
		else
			loop_remove(virtio->loop, source);
	}
}

int vhost_net_start(struct vhost *vhost, int tap, struct error *err)
{
	uint64_t features = vhost->virtio->features_driver & vhost->features;
	int ret;

	if (ioctl(vhost->fd, VHOST_SET_FEATURES, &features) < 0)
		return error_errno(err, errno, "vhost-net does not take the features 0x%llx",
				   (unsigned long long)features);
	ret = set_memory(vhost, err);
	for (unsigned i = 0; ret == 0 && i < QUEUES; i++)
		ret = set_queue(vhost, i, err);
	if (ret < 0)
		return ret;
	listen_to_kicks(vhost, false);
	ret = set_backend(vhost, tap);
	if (ret < 0) {
		(void)set_backend(vhost, -1);
		listen_to_kicks(vhost, true);
		return error_errno(err, -ret, "vhost-net does not take the tap");
	}
	vhost->started = true;
	return 0;
}

void vhost_net_stop(struct vhost *vhost)
{
	if (!vhost->started)
		return;
	vhost->started = false;
	(void)set_backend(vhost, -1);
	for (unsigned i = 0; i < QUEUES; i++) {
		struct virtqueue *queue = &vhost->virtio->queues[vhost->first + i];
		struct vhost_vring_state base = { .index = i };
		uint16_t used;

		if (ioctl(vhost->fd, VHOST_GET_VRING_BASE, &base) < 0 || !queue->used_area)
			continue;
		queue->next_available = (uint16_t)base.num;
		memcpy(&used, queue->used_area + offsetof(struct vring_used, idx), sizeof(used));
		/* The guest could have written it since: no more than what is under way can be wrong by that. */
		queue->next_used = le16toh(used);
		queue->signalled = (uint16_t)(queue->next_used - 1);
	}
	listen_to_kicks(vhost, true);
}

void vhost_free(struct vhost *vhost)
{
	if (!vhost)
		return;
	vhost_net_stop(vhost);
	for (unsigned i = 0; i < QUEUES; i++) {
		if (vhost->calls[i].fd < 0)
			continue;
		loop_remove(vhost->virtio->loop, &vhost->calls[i]);
		close(vhost->calls[i].fd);
	}
	free(vhost);
}
