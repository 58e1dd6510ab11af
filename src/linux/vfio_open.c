/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a device: its place in sysfs, its group, its container; and what to do where that way is barred. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "linux/vfio.h"

int vfio_address(const char *text, char address[static VFIO_ADDRESS_SIZE], struct error *err)
{
	unsigned domain = 0, bus, slot, function;
	size_t length = strlen(text);
	bool whole = length == strlen("0000:01:00.0");
	char end;

	if (strspn(text, "0123456789abcdefABCDEF:.") == length &&
	    ((whole && sscanf(text, "%4x:%2x:%2x.%1x%c", &domain, &bus, &slot, &function, &end) == 4) ||
	     (length == strlen("01:00.0") && sscanf(text, "%2x:%2x.%1x%c", &bus, &slot, &function, &end) == 3)) &&
	    slot < 32 && function < 8) {
		(void)snprintf(address, VFIO_ADDRESS_SIZE, "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff, slot,
			       function);
		return 0;
	}
	return error_set(err, EINVAL, "\"%s\" is no PCI device's address like 0000:01:00.0 (lspci -D lists them)",
			 text);
}

/* The last part of a link in the device's directory, in the caller's buffer; "" where there is none. */
static void read_link(const struct vfio_container *container, const char *address, const char *link,
		      char name[static NAME_MAX + 1])
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t length;
	const char *last;

	*name = '\0';
	(void)snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", container->sys, address, link);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return;
	target[length] = '\0';
	last = strrchr(target, '/');
	(void)snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, last ? last + 1 : target);
}

static int find_group(const struct vfio_container *container, const char *address, unsigned *group, struct error *err)
{
	char path[PATH_MAX], name[NAME_MAX + 1], driver[NAME_MAX + 1];
	char end;

	(void)snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", container->sys, address);
	if (access(path, F_OK) < 0)
		return error_set(err, ENOENT, "this machine has no PCI device %s (lspci -D lists them)", address);
	read_link(container, address, "iommu_group", name);
	if (sscanf(name, "%u%c", group, &end) != 1) {
		(void)error_set(err, ENODEV,
				"the PCI device %s is in no IOMMU group: nothing bounds what it could write to",
				address);
		return error_hint(err,
				  "switch VT-d or AMD-Vi on in the firmware, and boot the host's kernel with "
				  "intel_iommu=on (AMD's needs no word); a virtual machine must be given an IOMMU");
	}
	read_link(container, address, "driver", driver);
	if (strcmp(driver, "vfio-pci") != 0) {
		(void)error_set(err, ENODEV, "the PCI device %s is bound to %s, not to vfio-pci", address,
				*driver ? driver : "no driver");
		return error_hint(err, "the host gives it up with: driverctl set-override %s vfio-pci", address);
	}
	return 0;
}

static bool is_bound_elsewhere(const char *driver)
{
	return *driver && strcmp(driver, "vfio-pci") != 0 && strcmp(driver, "pcieport") != 0 &&
	       strcmp(driver, "pci-stub") != 0;
}

/* Names those of the group that another driver has. */
static int refuse_group(const struct vfio_container *container, unsigned group, struct error *err)
{
	cleanup_str struct str others = STR_INIT;
	char path[PATH_MAX], driver[NAME_MAX + 1];
	const struct dirent *entry;
	cleanup_closedir DIR *list = NULL;

	(void)snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices", container->sys, group);
	list = opendir(path);
	while (list && (entry = readdir(list))) {
		if (*entry->d_name == '.')
			continue;
		read_link(container, entry->d_name, "driver", driver);
		if (is_bound_elsewhere(driver))
			str_printf(&others, "%s%s (%s)", others.length ? ", " : "", entry->d_name, driver);
	}
	(void)error_set(err, EBUSY, "IOMMU group %u has devices that the host still uses: %s", group,
			others.length ? str_text(&others) : "?");
	return error_hint(err, "they can reach each other, so all of them must be bound to vfio-pci");
}

static int explain_group(const char *path, int code, struct error *err)
{
	(void)error_errno(err, code, "cannot open %s", path);
	if (code == ENOENT)
		return error_hint(err, "load the module vfio-pci; groups of vfio's noiommu mode are not used: nothing "
				       "would bound what their devices write to");
	if (code == EBUSY)
		return error_hint(err, "another process has a device of that group");
	return code == EACCES ? error_hint(err, "be root, or let udev give you the group") : -code;
}

static int open_container(struct vfio_container *container, struct error *err)
{
	char path[PATH_MAX];
	int fd;

	if (container->fd >= 0)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/vfio/vfio", container->dev);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		(void)error_errno(err, errno, "cannot open %s", path);
		return error_hint(err, "load the module vfio-pci");
	}
	container->fd = fd;
	if (ioctl(fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
	    ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0)
		return error_set(err, ENODEV, "%s has no IOMMU of type 1: load the module vfio_iommu_type1", path);
	return 0;
}

/* The kind of IOMMU is chosen when the first group is there. */
static int attach(struct vfio_container *container, int group, unsigned number, struct error *err)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0)
		return error_errno(err, errno, "VFIO_GROUP_GET_STATUS");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return refuse_group(container, number, err);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container->fd) < 0)
		return error_errno(err, errno, "cannot put IOMMU group %u into a container", number);
	if (container->groups_count == 0 && ioctl(container->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0) {
		int code = errno;

		(void)error_errno(err, code, "cannot use the IOMMU for group %u", number);
		return code == EPERM ? error_hint(err, "it cannot remap interrupts, so that a guest could send any to "
						       "the host; switch interrupt remapping on in the firmware")
				     : -code;
	}
	return 0;
}

static int open_group(struct vfio_container *container, unsigned number, struct error *err)
{
	char path[PATH_MAX];
	cleanup_close int fd = -1;
	int ret;

	for (size_t i = 0; i < container->groups_count; i++)
		if (container->groups[i].number == number)
			return container->groups[i].fd;
	if (container->groups_count == VFIO_DEVICES_MAX)
		return error_set(err, E2BIG, "a machine has at most %d devices of the host", VFIO_DEVICES_MAX);
	ret = open_container(container, err);
	if (ret < 0)
		return ret;
	(void)snprintf(path, sizeof(path), "%s/vfio/%u", container->dev, number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return explain_group(path, errno, err);
	ret = attach(container, fd, number, err);
	if (ret < 0)
		return ret;
	container->groups[container->groups_count].number = number;
	container->groups[container->groups_count].fd = take_fd(&fd);
	return container->groups[container->groups_count++].fd;
}

int vfio_open(struct vfio_container *container, const char *address, struct error *err)
{
	unsigned number = 0;
	int ret = find_group(container, address, &number, err), device;

	if (ret < 0)
		return ret;
	ret = open_group(container, number, err);
	if (ret < 0)
		return ret;
	device = ioctl(ret, VFIO_GROUP_GET_DEVICE_FD, address);
	return device < 0 ? error_errno(err, errno, "cannot have the PCI device %s", address) : device;
}

void vfio_container_close(struct vfio_container *container)
{
	while (container->groups_count > 0)
		close(container->groups[--container->groups_count].fd);
	if (container->fd >= 0)
		close(container->fd);
	container->fd = -1;
}
