/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/launch_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/snapshot.h"
#include "image/disk.h"
#include "paradigm/vm/block/qcow2_create.h"

#define DISK_NEW INSTANCE_DISK ".new"

static bool exists(const struct instance *instance, const char *name)
{
	return faccessat(instance->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Under another name until it is whole.  Its first write makes it a file that counts: nothing needs to be synced. */
static int make_top(struct instance *instance, struct error *err)
{
	cleanup_close int fd = openat(instance->dir_fd, DISK_NEW, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
				      0600);
	struct stat st;
	int ret;

	if (fd < 0 || fstatat(instance->dir_fd, INSTANCE_DISK_BASE, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "cannot make the disk of instance %s", instance->id);
	/* A relative name is taken from where the image lies: qemu-img reads it wherever the store is. */
	ret = qcow2_create(fd, (uint64_t)st.st_size, INSTANCE_DISK_BASE, "raw", err);
	if (ret == 0 && renameat(instance->dir_fd, DISK_NEW, instance->dir_fd, INSTANCE_DISK) < 0)
		ret = error_errno(err, errno, "cannot make the disk of instance %s", instance->id);
	return ret;
}

int launch_disk(struct instance *instance, const struct image *image, const struct image_layers *layers,
		struct error *err)
{
	const char *snapshot = document_text(instance->record, "HostConfig.Snapshot");
	int ret = *snapshot ? snapshot_disk(instance, snapshot, err) : 0;

	if (ret < 0)
		return ret;
	if (exists(instance, INSTANCE_DISK))
		return exists(instance, INSTANCE_DISK_BASE)
			       ? 0
			       : error_set(err, ENOENT, "instance %s has lost the file %s that its disk stands on",
					   instance->id, INSTANCE_DISK_BASE);
	if (!exists(instance, INSTANCE_DISK_BASE))
		ret = image_disk_link(&instance->engine->images, image, layers, instance->dir_fd, INSTANCE_DISK_BASE,
				      err);
	return ret == 0 ? make_top(instance, err) : ret;
}
