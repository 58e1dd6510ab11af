/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with the descriptors of devices and of their container. */
#include "linux/vfio.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

enum { INFO_MAX = 64 << 10 }; /* bytes of a region's description: some capabilities */

_Static_assert((int)VFIO_REGIONS == (int)VFIO_PCI_NUM_REGIONS, "as the kernel counts them");
_Static_assert((int)VFIO_INTERRUPTS == (int)VFIO_PCI_MSIX_IRQ_INDEX + 1, "as the kernel counts them");

static void add_area(struct vfio_region *region, uint64_t offset, uint64_t size)
{
	if (region->areas_count == VFIO_AREAS || offset > region->size || size > region->size - offset || size == 0)
		return;
	region->areas[region->areas_count++] = (struct vfio_area){ offset, size };
}

/* The description of a region with the capabilities behind it, which say what of it can be mapped. */
static void read_areas(const struct vfio_region_info *info, struct vfio_region *region)
{
	const char *bytes = (const char *)info;
	uint32_t at = info->cap_offset;

	for (int links = 0; at >= sizeof(*info) && links < 16; links++) {
		struct vfio_info_cap_header header;
		struct vfio_region_info_cap_sparse_mmap sparse;

		if (at > info->argsz - sizeof(header))
			return;
		memcpy(&header, bytes + at, sizeof(header));
		if (header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP && at <= info->argsz - sizeof(sparse)) {
			memcpy(&sparse, bytes + at, sizeof(sparse));
			for (uint32_t i = 0; i < sparse.nr_areas && i < VFIO_AREAS; i++) {
				struct vfio_region_sparse_mmap_area area;
				size_t place = at + sizeof(sparse) + i * sizeof(area);

				if (place > info->argsz - sizeof(area))
					return;
				memcpy(&area, bytes + place, sizeof(area));
				add_area(region, area.offset, area.size);
			}
			return;
		}
		at = header.next;
	}
	add_area(region, 0, region->size);
}

static int query_region(int fd, unsigned index, struct vfio_region *region, struct error *err)
{
	cleanup_free struct vfio_region_info *info = calloc(1, INFO_MAX);

	*region = (struct vfio_region){ .size = 0 };
	if (!info)
		return error_errno(err, ENOMEM, "ask for a region of a device");
	*info = (struct vfio_region_info){ .argsz = INFO_MAX, .index = index };
	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info) < 0)
		/* Only graphics cards have the last one. */
		return index == VFIO_PCI_VGA_REGION_INDEX ? 0 : error_errno(err, errno, "VFIO_DEVICE_GET_REGION_INFO");
	region->offset = info->offset;
	region->size = info->size;
	region->readable = info->flags & VFIO_REGION_INFO_FLAG_READ;
	region->writable = info->flags & VFIO_REGION_INFO_FLAG_WRITE;
	if (info->argsz > INFO_MAX)
		return error_set(err, EINVAL, "region %u of a device has a description of %u bytes", index,
				 info->argsz);
	info->argsz = INFO_MAX;
	if (!(info->flags & VFIO_REGION_INFO_FLAG_CAPS))
		info->cap_offset = 0;
	if (info->flags & VFIO_REGION_INFO_FLAG_MMAP)
		read_areas(info, region);
	return 0;
}

int vfio_query(int fd, struct vfio_device *device, struct error *err)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int ret = 0;

	*device = (struct vfio_device){ .fd = fd };
	if (ioctl(fd, VFIO_DEVICE_GET_INFO, &info) < 0)
		return error_errno(err, errno, "VFIO_DEVICE_GET_INFO");
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
		return error_set(err, EINVAL, "a device of VFIO that is no PCI device");
	device->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	for (unsigned i = 0; ret == 0 && i < VFIO_REGIONS && i < info.num_regions; i++)
		ret = query_region(fd, i, &device->regions[i], err);
	for (unsigned i = 0; ret == 0 && i < VFIO_INTERRUPTS && i < info.num_irqs; i++) {
		struct vfio_irq_info interrupt = { .argsz = sizeof(interrupt), .index = i };

		if (ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, &interrupt) < 0)
			ret = error_errno(err, errno, "VFIO_DEVICE_GET_IRQ_INFO");
		else if (interrupt.flags & VFIO_IRQ_INFO_EVENTFD)
			device->interrupts[i] = interrupt.count;
	}
	return ret;
}

int vfio_reset(const struct vfio_device *device)
{
	if (!device->can_reset)
		return 0;
	return ioctl(device->fd, VFIO_DEVICE_RESET) < 0 ? -errno : 0;
}

/* eventfds become one message's payload. */
static int set_interrupts(const struct vfio_device *device, const struct vfio_irq_set *head, const int *eventfds,
			  struct error *err)
{
	size_t payload = head->flags & VFIO_IRQ_SET_DATA_EVENTFD ? head->count * sizeof(*eventfds) : 0;
	cleanup_free struct vfio_irq_set *set = malloc(sizeof(*set) + payload);

	if (!set)
		return error_errno(err, ENOMEM, "set the interrupts of a device");
	*set = *head;
	set->argsz = (uint32_t)(sizeof(*set) + payload);
	if (payload)
		memcpy(set->data, eventfds, payload);
	if (ioctl(device->fd, VFIO_DEVICE_SET_IRQS, set) < 0)
		return error_errno(err, errno, "VFIO_DEVICE_SET_IRQS");
	return 0;
}

int vfio_interrupts_set(const struct vfio_device *device, unsigned kind, const int *eventfds, size_t count,
			struct error *err)
{
	const struct vfio_irq_set set = { .flags = VFIO_IRQ_SET_ACTION_TRIGGER |
						   (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
					  .index = kind,
					  .count = (uint32_t)count };

	return set_interrupts(device, &set, eventfds, err);
}

int vfio_unmask_by(const struct vfio_device *device, int eventfd, struct error *err)
{
	const struct vfio_irq_set set = { .flags = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_EVENTFD,
					  .index = VFIO_PCI_INTX_IRQ_INDEX,
					  .count = 1 };

	return set_interrupts(device, &set, &eventfd, err);
}

int vfio_map(int container, uint64_t address, void *host, uint64_t size, struct error *err)
{
	const struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map),
						      .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
						      .vaddr = (uintptr_t)host,
						      .iova = address,
						      .size = size };

	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0)
		return 0;
	(void)error_errno(err, errno, "cannot let devices reach 0x%llx bytes of the guest's memory",
			  (unsigned long long)size);
	return errno == ENOMEM ? error_hint(err, "all of it is locked into memory: RLIMIT_MEMLOCK must be that large")
			       : -errno;
}

void vfio_unmap(int container, uint64_t address, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .iova = address, .size = size };

	(void)ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}
