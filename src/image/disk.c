/* SPDX-License-Identifier: Apache-2.0 */
#include "image/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/content.h"
#include "linux/ext4.h"

static int link_there(const struct image_store *store, const char *path, int dirfd, const char *name)
{
	return linkat(store->fd, path, dirfd, name, 0) < 0 ? -errno : 0;
}

static int report(const struct image_store *store, const struct image *image, uint64_t done)
{
	return store->progress.report
		       ? store->progress.report(store->progress.context, "Making disk", image->id, done, 1)
		       : 0;
}

/* Of the layers as an instance would see them. */
static int fill(struct image_store *store, const struct image_layers *layers, int file, struct error *err)
{
	cleanup_close int mount = image_snapshot_mount(store, layers, -1, -1, IMAGE_SNAPSHOT_READ_ONLY, 0, err);
	cleanup_close int root = mount < 0 ? -1 : openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret;

	if (mount < 0)
		return mount;
	if (root < 0)
		return error_errno(err, errno, "cannot open the root of the image");
	ret = ext4_make(root, file, IMAGE_DISK_SIZE, err);
	return ret == 0 ? store_sync(store, file, err) : ret;
}

/* Whoever makes the disk of these layers holds it; it goes with its owner.  A descriptor. */
static int lock(const struct image_store *store, const char *chain_id, struct error *err)
{
	char path[STORE_PATH_MAX];
	int fd, ret;

	store_snapshot_path(chain_id, path);
	fd = openat(store->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot open %s/%s", store->root, path);
	do
		ret = flock(fd, LOCK_EX);
	while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return fd;
	ret = error_errno(err, errno, "cannot lock %s/%s", store->root, path);
	close(fd);
	return ret;
}

/* Who waited for another one finds it made. */
static int make(struct image_store *store, const struct image *image, const struct image_layers *layers,
		const char *chain_id, const char *path, struct error *err)
{
	cleanup_close int content = store_lock(store, STORE_CONTENT, LOCK_SH, err);
	cleanup_close int alone = content < 0 ? content : lock(store, chain_id, err);
	struct store_tmp tmp = STORE_TMP_INIT;
	cleanup_close int file = -1;
	int ret;

	if (alone >= 0 && faccessat(store->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	ret = alone < 0 ? alone : store_tmp_make(store, &tmp, err);
	if (ret == 0 && mkdirat(store->fd, "disks", 0700) < 0 && errno != EEXIST)
		ret = error_errno(err, errno, "cannot make %s/disks", store->root);
	if (ret == 0) {
		file = openat(tmp.fd, "disk", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		ret = file < 0 ? error_errno(err, errno, "cannot make a disk") : 0;
	}
	if (ret == 0 && report(store, image, 0) != 0)
		ret = error_set(err, ECANCELED, "cancelled");
	if (ret == 0)
		ret = fill(store, layers, file, err);
	if (ret == 0 && renameat2(tmp.fd, "disk", store->fd, path, RENAME_NOREPLACE) < 0 && errno != EEXIST)
		ret = error_errno(err, errno, "cannot keep %s/%s", store->root, path);
	(void)report(store, image, 1);
	store_tmp_remove(store, &tmp);
	return ret < 0 ? (error_wrap(err, "cannot make a disk of image %s", image->id), ret) : 0;
}

int image_disk_link(struct image_store *store, const struct image *image, const struct image_layers *layers, int dirfd,
		    const char *name, struct error *err)
{
	const char *chain_id;
	char path[STORE_PATH_MAX];
	int ret;

	if (image->config.diff_ids.count == 0)
		return error_set(err, EINVAL, "the image %s has no layers to make a disk of", image->id);
	chain_id = image->chain_ids[image->config.diff_ids.count - 1];
	store_disk_path(chain_id, path);
	ret = link_there(store, path, dirfd, name);
	if (ret == -ENOENT) {
		ret = make(store, image, layers, chain_id, path, err);
		if (ret < 0)
			return ret;
		ret = link_there(store, path, dirfd, name);
	}
	return ret < 0 ? error_errno(err, -ret, "cannot use %s/%s", store->root, path) : 0;
}
