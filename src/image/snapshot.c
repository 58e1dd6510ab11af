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

/* Below the snapshots there is one that holds nothing: overlayfs wants two lower layers where there is no upper one. */
static const char empty_layer[] = "snapshots/.empty";

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

static int open_empty(struct image_store *store, struct error *err)
{
	int fd;

	if (mkdirat(store->fd, empty_layer, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make %s/%s", store->root, empty_layer);
	fd = openat(store->fd, empty_layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "cannot open %s/%s", store->root, empty_layer) : fd;
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
	/* An image without layers is an empty directory. */
	if (ret == 0 && layers->count == 0) {
		ret = open_empty(store, err);
		if (ret >= 0)
			layers->fds[layers->count++] = ret;
	}
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
	cleanup_free int *lower = NULL;
	cleanup_close int empty = -1;

	if (store->rootless)
		overlay.flags |= OVERLAY_USERXATTR;
	if (flags & IMAGE_SNAPSHOT_VOLATILE)
		overlay.flags |= OVERLAY_VOLATILE;
	if (flags & IMAGE_SNAPSHOT_READ_ONLY) {
		overlay.flags |= OVERLAY_READ_ONLY;
		overlay.upper = overlay.work = -1;
		if (layers->count == 1) {
			empty = open_empty(store, err);
			lower = malloc(2 * sizeof(*lower));
			if (empty < 0)
				return empty;
			if (!lower)
				return error_errno(err, ENOMEM, "cannot mount image");
			lower[0] = layers->fds[0];
			lower[1] = empty;
			overlay.lower = lower;
			overlay.lower_count = 2;
		}
	}
	return overlay_mount(&overlay, err);
}

int image_snapshot_attach(int mount_fd, const char *target, struct error *err)
{
	return overlay_attach(mount_fd, AT_FDCWD, target, err);
}

int image_snapshot_unmount(const char *target, struct error *err)
{
	return overlay_detach(target, err);
}
