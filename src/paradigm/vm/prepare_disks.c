/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks.  Formats and what images stand on are as the configuration says, never
 * as an image says of itself: a guest writes into it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/ext4.h"
#include "paradigm/vm/block/lock.h"
#include "paradigm/vm/block/qcow2_create.h"
#include "paradigm/vm/prepare.h"

/* Sparse: what is not written costs nothing. */
static const uint64_t ROOT_SIZE = UINT64_C(10) << 30;

static int check_kind(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot stat %s", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(err, EINVAL, "%s is no disk: neither a file nor a block device", path);
	return 0;
}

/* One part of a chain. */
static int add(struct vm_plan *plan, struct vm_disk *disk, const char *path, const char *format, bool read_only,
	       struct error *err)
{
	cleanup_close int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot open the disk %s", path);
	ret = check_kind(fd, path, err);
	if (ret == 0)
		ret = block_lock(fd, read_only, path, err);
	if (ret < 0)
		return ret;
	(void)fcntl(fd, F_SETFL, 0); /* was for FIFOs only */
	ret = vm_keep(plan, take_fd(&fd), err);
	if (ret < 0)
		return ret;
	disk->chain[disk->chain_count].fd = ret;
	disk->chain[disk->chain_count++].format = format;
	return 0;
}

/*
 * The last of a chain must not say that it stands on another, or what it says would be missing; nothing is opened by
 * its word.
 */
static int check_last(const struct vm_disk *disk, const char *path, struct error *err)
{
	size_t last = disk->chain_count - 1;
	struct qcow2_description description;
	int ret = strcmp(disk->chain[last].format, "qcow2") == 0
			  ? qcow2_describe(disk->chain[last].fd, &description, err)
			  : 1;

	if (ret < 0)
		return error_wrap(err, "cannot read the disk %s", path), ret;
	if (strcmp(disk->chain[last].format, "qcow2") != 0)
		return 0;
	if (ret == 0)
		return error_set(err, EINVAL, "%s is no qcow2 image", path);
	if (*description.backing)
		return error_set(
			err, ENOTSUP,
			"the disk %s stands on another, %s, which nobody has named: --disk has backing=PATH for "
			"it, and `qemu-img convert -O qcow2` makes one of both",
			path, description.backing);
	return 0;
}

static int open_image(struct vm_plan *plan, struct vm_disk *disk, struct error *err)
{
	const struct vm_settings *settings = &plan->settings;
	int ret = add(plan, disk, settings->image, settings->image_format, disk->read_only, err);

	if (ret == 0 && settings->backing)
		ret = add(plan, disk, settings->backing, "raw", true, err);
	return ret == 0 ? check_last(disk, settings->image, err) : ret;
}

/* On the disk that the bundle is on, not in the state directory, which is memory. */
static int open_unnamed(const char *bundle, struct error *err)
{
	const char *const places[] = { bundle, "/var/tmp", "/tmp" };
	int fd = -1;

	for (size_t i = 0; fd < 0 && i < sizeof(places) / sizeof(*places); i++)
		fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? error_errno(err, errno, "cannot make a disk for the root file system") : fd;
}

/* Of the root directory, as the instance's own: it is gone with the last who has it open. */
static int make_image(struct vm_plan *plan, struct vm_disk *disk, struct error *err)
{
	const struct paradigm_setup *setup = plan->setup;
	cleanup_close int root = setup->rootfs_fd >= 0
					 ? openat(setup->rootfs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
					 : open(setup->rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = -1;
	int ret;

	if (root < 0)
		return error_errno(err, errno, "cannot open the root file system %s", setup->rootfs);
	fd = open_unnamed(setup->bundle, err);
	if (fd < 0)
		return fd;
	ret = ext4_make(root, fd, ROOT_SIZE, err);
	if (ret == 0)
		ret = vm_keep(plan, take_fd(&fd), err);
	if (ret < 0)
		return ret;
	disk->chain[disk->chain_count].fd = ret;
	disk->chain[disk->chain_count++].format = "raw";
	return 0;
}

int vm_open_disks(struct vm_plan *plan, struct error *err)
{
	struct vm_disk *root = &plan->config.disks[plan->config.disks_count++];
	int ret;

	/* The guest shows a read-only root; mount points that it lacks are made in what is the instance's own before.
	 * An image of the user's is not written to, but for ATA disks, none of which is read-only. */
	root->read_only = plan->spec->root.readonly && plan->settings.image && !plan->settings.backing &&
			  plan->config.kind == VM_KIND_PV;
	ret = plan->settings.image ? open_image(plan, root, err) : make_image(plan, root, err);
	for (size_t i = 0; ret == 0 && i < plan->settings.disks_count; i++) {
		const struct vm_disk_setting *setting = &plan->settings.disks[i];
		struct vm_disk *disk = &plan->config.disks[plan->config.disks_count++];

		if (setting->read_only && plan->config.kind == VM_KIND_VM)
			return error_set(err, ENOTSUP, "the disk %s cannot be read-only: no ATA disk is; use pv",
					 setting->path);
		disk->read_only = setting->read_only;
		ret = add(plan, disk, setting->path, setting->format, setting->read_only, err);
		for (size_t k = 0; ret == 0 && k < setting->backing_count; k++)
			ret = add(plan, disk, setting->backing[k], setting->backing_formats[k], true, err);
		if (ret == 0)
			ret = check_last(disk,
					 setting->backing_count ? setting->backing[setting->backing_count - 1]
								: setting->path,
					 err);
	}
	return ret;
}
