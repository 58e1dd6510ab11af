/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root file system: opened as a mount of its own, furnished while it is
 * reachable by a descriptor only, and then changed into.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/mount.h"
#include "paradigm/shell/inside.h"

/*
 * The new root belongs over its own path: hooks that enter the namespace before the root changes look for it there.
 * Where that path cannot be searched by the container's user, or there is none (a root that came as a descriptor), and
 * where the mount that holds it is shared with the host, it goes over "/", which serves pivot_root(2) as well.
 */
static int attach_root(struct inside *inside, bool shared, struct error *err)
{
	if (!shared && mount_attach_at(inside->root_fd, AT_FDCWD, inside->options->rootfs, NULL) == 0)
		return 0;
	if (mount("", "/", NULL, MS_PRIVATE, NULL) < 0)
		return error_errno(err, errno, "cannot make the root mount private");
	return mount_attach_at(inside->root_fd, AT_FDCWD, "/", err);
}

int rootfs_open(struct inside *inside, struct error *err)
{
	const char *propagation = inside->spec->linux_.rootfs_propagation;
	unsigned long wanted = propagation ? mount_propagation_from_name(propagation) : MS_SLAVE;
	bool shared = wanted & MS_SHARED;
	int ret;

	if (inside->keeps_root) {
		inside->root_fd = open(inside->options->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
		return inside->root_fd < 0 ? error_errno(err, errno, "cannot open the root %s", inside->options->rootfs)
					   : 0;
	}
	/* Shared means: what is mounted inside shows outside. Everything else must cut the way back to the host first,
	 * for the whole tree, whatever the root itself is to be in the end. */
	if (!shared && mount("", "/", NULL, (wanted & MS_SLAVE ? MS_SLAVE : MS_PRIVATE) | MS_REC, NULL) < 0)
		return error_errno(err, errno, "cannot change the propagation of mounts");
	if (inside->options->rootfs_fd >= 0) {
		inside->root_fd = inside->options->rootfs_fd;
	} else {
		inside->root_fd = mount_clone(AT_FDCWD, inside->options->rootfs, true, 0, err);
		if (inside->root_fd < 0)
			return error_wrap(err, "cannot open the root file system"), inside->root_fd;
	}
	ret = attach_root(inside, shared, err);
	if (ret < 0)
		return error_wrap(err, "cannot mount the root file system"), ret;
	return 0;
}

/* The working directory is made if it is missing (credentials_chdir()): the last chance in a root that gets read-only.
 */
static void make_cwd(const struct inside *inside)
{
	const char *cwd = inside->process->cwd;
	int fd;

	if (!inside->process->set || !cwd || strcmp(cwd, "/") == 0)
		return;
	fd = file_mkdir_in_root(inside->root_fd, cwd, 0755, NULL);
	if (fd >= 0)
		close(fd);
}

int rootfs_build(struct inside *inside, struct error *err)
{
	const struct oci_spec *spec = inside->spec;
	mode_t mask = umask(0); /* modes are meant as they are written */
	int ret = mounts_make_all(inside, err);

	if (ret == 0)
		ret = devices_make(inside, err);
	if (ret == 0 && inside->process->terminal)
		ret = terminal_make(inside, err);
	if (ret == 0 && !inside->keeps_root)
		ret = devices_finish(inside, err);
	if (ret == 0 && !inside->keeps_root)
		ret = masks_apply(inside, err);
	if (ret == 0)
		ret = mounts_make_late(inside, err);
	umask(mask);
	if (ret == 0 && spec->root.readonly && !inside->keeps_root) {
		make_cwd(inside);
		ret = mount_set_attributes(inside->root_fd, "", MOUNT_ATTR_RDONLY, 0, false, err);
	}
	return ret;
}

int rootfs_enter(struct inside *inside, struct error *err)
{
	const char *propagation = inside->spec->linux_.rootfs_propagation;
	bool shared;
	int ret;

	if (inside->keeps_root) {
		if (fchdir(inside->root_fd) < 0 || chroot(".") < 0)
			return error_errno(err, errno, "cannot change the root");
		return 0;
	}
	shared = propagation && (mount_propagation_from_name(propagation) & MS_SHARED);
	/* pivot_root(2) refuses a root that is shared; it becomes what it is to be afterwards. */
	if (shared && mount_set_propagation(inside->root_fd, "", MS_PRIVATE, err) < 0)
		return error_wrap(err, "cannot prepare the root");
	if (inside->options->no_pivot)
		ret = mount_move_root(inside->root_fd, err);
	else
		ret = mount_pivot_root(inside->root_fd, shared, err);
	if (ret < 0)
		return ret;
	if (propagation && mount("", "/", NULL, mount_propagation_from_name(propagation), NULL) < 0)
		return error_errno(err, errno, "cannot set rootfsPropagation %s", propagation);
	return 0;
}
