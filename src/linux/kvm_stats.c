/* SPDX-License-Identifier: Apache-2.0 */
/* kvm - the kernel's own counters: api.rst, 4.133 KVM_GET_STATS_FD. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/kvm.h"
#include "linux/kvm_private.h"

enum { NAME_MAX_BYTES = 256, COUNTERS_MAX = 4096 };

int kvm_stats_open(int fd, struct error *err)
{
	int stats = kvm_call(fd, KVM_GET_STATS_FD, NULL);

	if (stats == -ENOTTY || stats == -EINVAL)
		return error_set(err, ENOSYS, "this kernel has no counters of KVM (Linux 5.14 has)");
	return kvm_failed(err, stats, "KVM_GET_STATS_FD");
}

static int read_at(int fd, void *to, size_t count, uint32_t offset, struct error *err)
{
	ssize_t result = pread(fd, to, count, (off_t)offset);

	if (result != (ssize_t)count)
		return error_errno(err, result < 0 ? errno : EIO, "read KVM's counters");
	return 0;
}

int kvm_stats_read(int stats, void (*each)(void *context, const char *name, uint64_t value), void *context,
		   struct error *err)
{
	struct kvm_stats_header header;
	cleanup_free char *descriptions = NULL;
	size_t size;

	if (read_at(stats, &header, sizeof(header), 0, err) < 0)
		return -EIO;
	if (header.name_size == 0 || header.name_size > NAME_MAX_BYTES || header.num_desc > COUNTERS_MAX)
		return error_set(err, EIO, "KVM's counters are %u, with names of %u bytes", header.num_desc,
				 header.name_size);
	size = sizeof(struct kvm_stats_desc) + header.name_size;
	descriptions = calloc(header.num_desc + 1, size);
	if (!descriptions)
		return error_errno(err, ENOMEM, "read KVM's counters");
	if (read_at(stats, descriptions, size * header.num_desc, header.desc_offset, err) < 0)
		return -EIO;
	for (uint32_t i = 0; i < header.num_desc; i++) {
		struct kvm_stats_desc *one = (void *)(descriptions + i * size);
		uint64_t value;

		if (one->size != 1) /* a histogram */
			continue;
		if (read_at(stats, &value, sizeof(value), header.data_offset + one->offset, err) < 0)
			return -EIO;
		one->name[header.name_size - 1] = '\0';
		each(context, one->name, value);
	}
	return 0;
}
