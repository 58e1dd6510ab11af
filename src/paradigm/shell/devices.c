/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev: the default devices and links that the specification promises, and
 * linux.devices (config-linux.md).  All by a descriptor of the container's own
 * /dev: an image whose /dev is a link makes nothing outside (CVE-2026-41579).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/mount.h"
#include "paradigm/shell/inside.h"

struct node {
	const char *name; /* last component */
	mode_t mode;	  /* with its type */
	dev_t device;
	uid_t uid;
	gid_t gid;
	const char *host_path;
};

static bool is_that_node(int dir, const struct node *node)
{
	struct stat st;

	return fstatat(dir, node->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (st.st_mode & S_IFMT) == (node->mode & S_IFMT) && (S_ISFIFO(node->mode) || st.st_rdev == node->device);
}

/* In a user namespace no node can be made that works; the host's own is mounted over an empty file. */
static int bind_node(int dir, const struct node *node, struct error *err)
{
	cleanup_close int source = mount_clone(AT_FDCWD, node->host_path, false, 0, err);
	cleanup_close int target = -1;

	if (source < 0)
		return source;
	target = file_touch_at(dir, node->name, 0644);
	if (target < 0)
		return error_errno(err, -target, "cannot make the mount point %s", node->name);
	return mount_attach(source, target, err);
}

static int make_node(const struct inside *inside, int dir, const struct node *node, struct error *err)
{
	if (inside->in_userns && !S_ISFIFO(node->mode))
		return bind_node(dir, node, err);
	if (mknodat(dir, node->name, node->mode, node->device) < 0) {
		if (errno == EEXIST && is_that_node(dir, node))
			return 0;
		if (errno == EPERM)
			return bind_node(dir, node, err);
		return error_errno(err, errno, "cannot make the device %s", node->host_path);
	}
	if ((node->uid || node->gid) && fchownat(dir, node->name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "cannot give the device %s its owner", node->host_path);
	return 0;
}

static int make_defaults(const struct inside *inside, int dev, struct error *err)
{
	static const struct {
		const char *path;
		unsigned int major, minor;
	} defaults[] = { { "/dev/null", 1, 3 },	  { "/dev/zero", 1, 5 },    { "/dev/full", 1, 7 },
			 { "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 } };

	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		struct node node = {
			.name = defaults[i].path + strlen("/dev/"),
			.mode = S_IFCHR | 0666,
			.device = makedev(defaults[i].major, defaults[i].minor),
			.host_path = defaults[i].path,
		};
		int ret = make_node(inside, dev, &node, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static int make_links(int dev, struct error *err)
{
	static const struct {
		const char *target, *name;
	} links[] = { { "/proc/self/fd", "fd" },
		      { "/proc/self/fd/0", "stdin" },
		      { "/proc/self/fd/1", "stdout" },
		      { "/proc/self/fd/2", "stderr" },
		      { "/proc/kcore", "core" } };

	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
		if (symlinkat(links[i].target, dev, links[i].name) < 0 && errno != EEXIST)
			return error_errno(err, errno, "cannot make the link /dev/%s", links[i].name);
	}
	/* The image may have brought a node of the host's devpts here. */
	if (symlinkat("pts/ptmx", dev, "ptmx") < 0 &&
	    (errno != EEXIST || unlinkat(dev, "ptmx", 0) < 0 || symlinkat("pts/ptmx", dev, "ptmx") < 0))
		return error_errno(err, errno, "cannot make the link /dev/ptmx");
	return 0;
}

static int make_listed(const struct inside *inside, const struct oci_device_node *device, struct error *err)
{
	cleanup_free char *path = path_clean(device->path);
	cleanup_close int dir = -1;
	struct node node = {
		.mode = (device->type == 'b'   ? S_IFBLK
			 : device->type == 'p' ? S_IFIFO
					       : S_IFCHR) |
			(device->file_mode.set ? (mode_t)device->file_mode.value & 07777 : 0666),
		.device = makedev(device->major, device->minor),
		.uid = (uid_t)device->uid.value,
		.gid = (gid_t)device->gid.value,
		.host_path = device->path,
	};
	char *slash;

	if (!path)
		return -ENOMEM;
	slash = strrchr(path, '/');
	if (!slash || !slash[1])
		return error_set(err, EINVAL, "linux.devices: \"%s\" is no path of a device", device->path);
	node.name = slash + 1;
	/* A terminal's /dev/console, or a link that must stay one. */
	if (strcmp(path, "/dev/ptmx") == 0)
		return 0;
	*slash = '\0';
	dir = file_mkdir_in_root(inside->root_fd, *path ? path : "/", 0755, NULL);
	if (dir < 0)
		return error_errno(err, -dir, "cannot make the directory of %s", device->path);
	return make_node(inside, dir, &node, err);
}

/* A read-only /dev was mounted writable for this room's sake. */
int devices_finish(const struct inside *inside, struct error *err)
{
	cleanup_close int dev = -1;

	for (size_t i = 0; i < inside->spec->mounts_count; i++) {
		const struct oci_mount *mount = &inside->spec->mounts[i];

		if (strcmp(mount->destination, "/dev") != 0 || inside->dev_is_bound)
			continue;
		for (size_t k = 0; k < mount->options.count; k++) {
			if (strcmp(mount->options.items[k], "ro") != 0 || dev >= 0)
				continue;
			dev = file_open_in_root(inside->root_fd, "/dev", O_PATH | O_DIRECTORY, 0);
			if (dev < 0)
				return error_errno(err, -dev, "cannot open /dev");
		}
	}
	return dev < 0 ? 0 : mount_set_attributes(dev, "", MOUNT_ATTR_RDONLY, 0, false, err);
}

int devices_make(struct inside *inside, struct error *err)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	cleanup_close int dev = -1;
	int ret = 0;

	/* Without a mount namespace the directory is the host's to furnish, like a /dev that was mounted in. */
	if (inside->keeps_root || inside->dev_is_bound)
		return 0;
	dev = file_mkdir_in_root(inside->root_fd, "/dev", 0755, NULL);
	if (dev < 0)
		return error_errno(err, -dev, "cannot make /dev");
	for (size_t i = 0; i < linux_->devices_count && ret == 0; i++)
		ret = make_listed(inside, &linux_->devices[i], err);
	if (ret == 0)
		ret = make_defaults(inside, dev, err);
	if (ret == 0)
		ret = make_links(dev, err);
	return ret;
}
