/* SPDX-License-Identifier: Apache-2.0 */
#include "image/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/content.h"
#include "image/intake.h"

/*
 * Below every image lies one layer more, which holds the mount points that every instance needs: made once, instead of
 * in each instance's own layer (docker's init layer; here it is shared).  Whatever the image has at these paths covers
 * it.  Overlayfs also wants two lower layers where there is no upper one.  Deepest last, the last one of all is the
 * proof that it is complete.
 */
static const char base_layer[] = "snapshots/.base";
static const struct {
	const char *path;
	bool directory;
} mount_points[] = { { "dev", true },
		     { "proc", true },
		     { "sys", true },
		     { "etc", true },
		     { "etc/hosts", false },
		     { "etc/hostname", false },
		     { "etc/resolv.conf", false } };

static int open_one(struct image_store *store, const char *chain_id, bool *opaque)
{
	char path[STORE_PATH_MAX], full[STORE_PATH_MAX + 4];
	struct layer_result meta;
	int ret;

	store_snapshot_path(chain_id, path);
	(void)snprintf(full, sizeof(full), "%s/fs", path);
	ret = openat(store->fd, full, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret < 0)
		return -errno;
	*opaque = snapshot_meta_read(store, chain_id, &meta, NULL) == 0 && meta.opaque_root;
	return ret;
}

static int open_all(struct image_store *store, const struct image *image, struct image_layers *layers)
{
	bool opaque = false;

	/* A layer that hides everything below its root ends the stack. */
	for (size_t i = image->config.diff_ids.count; i > 0 && !opaque; i--) {
		int fd = open_one(store, image->chain_ids[i - 1], &opaque);

		if (fd < 0)
			return fd;
		layers->fds[layers->count++] = fd;
	}
	return 0;
}

static int unpack_missing(struct image_store *store, const struct image *image, struct error *err)
{
	struct intake intake;
	int ret = intake_begin(&intake, store, err);

	if (ret < 0)
		return ret;
	ret = intake_unpack(&intake, &image->manifest, &image->config, NULL, err);
	if (ret == 0)
		ret = intake_admit(&intake, err);
	intake_end(&intake);
	return ret;
}

/* Two that do this at once do no harm: neither mounts before all is there, and then nothing changes any more. */
static int fill_base(int base)
{
	for (size_t i = 0; i < sizeof(mount_points) / sizeof(*mount_points); i++) {
		const char *path = mount_points[i].path;
		bool directory = mount_points[i].directory;
		cleanup_close int fd = -1;

		if (directory && mkdirat(base, path, 0755) < 0 && errno != EEXIST)
			return -errno;
		fd = openat(base, path,
			    O_NOFOLLOW | O_CLOEXEC | (directory ? O_RDONLY | O_DIRECTORY : O_WRONLY | O_CREAT), 0644);
		/* Whatever the umask of who happens to come first. */
		if (fd < 0 || fchmod(fd, directory ? 0755 : 0644) < 0)
			return -errno;
	}
	return 0;
}

static int open_base(struct image_store *store, struct error *err)
{
	cleanup_close int fd = openat(store->fd, base_layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0 && errno == ENOENT && (mkdirat(store->fd, base_layer, 0755) == 0 || errno == EEXIST))
		fd = openat(store->fd, base_layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		ret = -errno;
	else if (faccessat(fd, mount_points[sizeof(mount_points) / sizeof(*mount_points) - 1].path, F_OK, 0) < 0)
		ret = fill_base(fd);
	return ret < 0 ? error_errno(err, -ret, "cannot make %s/%s", store->root, base_layer) : take_fd(&fd);
}

int image_layers_open(struct image_store *store, const struct image *image, struct image_layers *layers,
		      struct error *err)
{
	int ret;

	*layers = (struct image_layers){ .fds = calloc(image->config.diff_ids.count + 1, sizeof(*layers->fds)) };
	if (!layers->fds)
		return error_errno(err, ENOMEM, "cannot open image");
	ret = open_all(store, image, layers);
	if (ret == -ENOENT) {
		while (layers->count > 0)
			close(layers->fds[--layers->count]);
		ret = unpack_missing(store, image, err);
		if (ret == 0 && (ret = open_all(store, image, layers)) < 0)
			(void)error_errno(err, -ret, "cannot open layers of image %s", image->id);
	} else if (ret < 0) {
		(void)error_errno(err, -ret, "cannot open layers of image %s", image->id);
	}
	if (ret == 0)
		ret = open_base(store, err);
	if (ret >= 0)
		layers->fds[layers->count++] = ret;
	if (ret < 0)
		image_layers_close(layers);
	return ret < 0 ? ret : 0;
}

void image_layers_close(struct image_layers *layers)
{
	for (size_t i = 0; i < layers->count; i++)
		close(layers->fds[i]);
	free(layers->fds);
	*layers = (struct image_layers){ .count = 0 };
}

int image_upper_prepare(const struct image_store *store, const struct image_layers *layers, int upper,
			struct error *err)
{
	char link[FILE_FD_PATH_MAX];
	struct stat st;

	if (fstat(layers->fds[0], &st) < 0)
		return error_errno(err, errno, "cannot look at the root of the image");
	/* Rootless: an owner that this user cannot give away is its own. */
	if (fchownat(upper, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0 && !store->rootless)
		return error_errno(err, errno, "cannot change the owner of the upper directory");
	if (chmod(file_fd_path(upper, link), st.st_mode & 07777) < 0)
		return error_errno(err, errno, "cannot change the mode of the upper directory");
	return 0;
}

int image_snapshot_mount(struct image_store *store, const struct image_layers *layers, int upper, int work,
			 unsigned flags, unsigned attributes, struct error *err)
{
	struct overlay overlay = {
		.lower = layers->fds,
		.lower_count = layers->count,
		.upper = upper,
		.work = work,
		.attributes = attributes,
		.source = "caisson",
	};

	if (store->rootless)
		overlay.flags |= OVERLAY_USERXATTR;
	if (flags & IMAGE_SNAPSHOT_VOLATILE)
		overlay.flags |= OVERLAY_VOLATILE;
	if (flags & IMAGE_SNAPSHOT_READ_ONLY) {
		overlay.flags |= OVERLAY_READ_ONLY;
		overlay.upper = overlay.work = -1;
	}
	return overlay_mount(&overlay, err);
}

int image_snapshot_attach(int mount_fd, const char *target, struct error *err)
{
	return overlay_attach(mount_fd, AT_FDCWD, target, err);
}
