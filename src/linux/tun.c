/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"

static const char device_path[] = "/dev/net/tun";

static int set_header(int fd)
{
	int size = TAP_HEADER_SIZE, little = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return -errno;
	/* An architecture where that is the only order has no choice to offer. */
	(void)ioctl(fd, TUNSETVNETLE, &little);
	return 0;
}

static int explain(struct error *err, int code, const char *name)
{
	switch (code) {
	case EPERM:
		return error_set(err, code, "cannot make the tap device %s: CAP_NET_ADMIN is needed", name);
	case EBUSY:
		return error_set(err, code, "the tap device %s is in use", name);
	case EINVAL:
		return error_set(err, code, "%s exists and is no tap device with that number of queues", name);
	default:
		return error_errno(err, code, "cannot make the tap device %s", name);
	}
}

/* One more queue of the device that request names. */
static int open_queue(struct ifreq *request, int *queue, struct error *err)
{
	cleanup_close int fd = open(device_path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot open %s", device_path);
	if (ioctl(fd, TUNSETIFF, request) < 0)
		return explain(err, errno, request->ifr_name);
	ret = set_header(fd);
	if (ret < 0)
		return error_errno(err, -ret, "cannot set the packet header of %s", request->ifr_name);
	(void)tap_set_offload(fd, 0);
	*queue = take_fd(&fd);
	return 0;
}

static int set_lasting(const struct tap_options *options, const struct tap *tap, struct error *err)
{
	if (options->owned && ioctl(tap->fds[0], TUNSETOWNER, (unsigned long)options->owner) < 0)
		return error_errno(err, errno, "cannot set the owner of %s", tap->name);
	if (options->persistent && ioctl(tap->fds[0], TUNSETPERSIST, 1UL) < 0)
		return error_errno(err, errno, "cannot make %s persistent", tap->name);
	return 0;
}

int tap_open(const struct tap_options *options, struct tap *tap, struct error *err)
{
	unsigned wanted = options->queues ? options->queues : 1;
	const char *name = options->name ? options->name : "tap%d";
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int ret = 0;

	*tap = (struct tap){ .queues = 0 };
	if (wanted > TAP_QUEUES_MAX || strlen(name) >= IFNAMSIZ)
		return error_set(err, EINVAL, "a tap device has at most %d queues, and a name of less than %d bytes",
				 TAP_QUEUES_MAX, IFNAMSIZ);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (wanted > 1)
		request.ifr_flags = (short)(request.ifr_flags | IFF_MULTI_QUEUE);
	while (ret == 0 && tap->queues < wanted) {
		ret = open_queue(&request, &tap->fds[tap->queues], err);
		if (ret == 0)
			tap->queues++;
	}
	if (ret == 0) {
		(void)snprintf(tap->name, sizeof(tap->name), "%s", request.ifr_name);
		ret = set_lasting(options, tap, err);
	}
	if (ret < 0)
		tap_close(tap);
	return ret;
}

void tap_close(struct tap *tap)
{
	while (tap->queues > 0)
		close(tap->fds[--tap->queues]);
}

int tap_remove(struct tap *tap, struct error *err)
{
	if (tap->queues == 0 || ioctl(tap->fds[0], TUNSETPERSIST, 0UL) < 0)
		return error_errno(err, tap->queues ? errno : EBADF, "cannot remove the tap device %s", tap->name);
	tap_close(tap);
	return 0;
}

int tap_adopt(int fd, bool *queues, struct error *err)
{
	struct ifreq request = { 0 };
	int ret;

	if (ioctl(fd, TUNGETIFF, &request) < 0)
		return error_errno(err, errno, "descriptor %d is no tap device", fd);
	if (!(request.ifr_flags & IFF_TAP) || !(request.ifr_flags & IFF_NO_PI) || !(request.ifr_flags & IFF_VNET_HDR))
		return error_set(err, EINVAL,
				 "%s is no tap device with virtio-net headers and without packet information",
				 request.ifr_name);
	ret = set_header(fd);
	if (ret < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return error_errno(err, ret < 0 ? -ret : errno, "cannot set the packet header of %s", request.ifr_name);
	if (queues)
		*queues = request.ifr_flags & IFF_MULTI_QUEUE;
	return 0;
}

int tap_set_offload(int fd, unsigned offload)
{
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) < 0 ? -errno : 0;
}

int tap_set_queue(int fd, bool on)
{
	struct ifreq request = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(fd, TUNSETQUEUE, &request) < 0 ? -errno : 0;
}

int tap_name(int fd, char name[static IFNAMSIZ])
{
	struct ifreq request = { 0 };

	if (ioctl(fd, TUNGETIFF, &request) < 0)
		return -errno;
	memcpy(name, request.ifr_name, IFNAMSIZ);
	name[IFNAMSIZ - 1] = '\0';
	return 0;
}
