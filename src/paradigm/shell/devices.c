/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev: the default devices and links that the specification promises, and
 * linux.devices (config-linux.md).  All by a descriptor of the container's own
 * /dev: an image whose /dev is a link makes nothing outside (CVE-2026-41579).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/idmap.h"
#include "linux/mount.h"
#include "paradigm/shell/inside.h"

struct node {
	const char *name; /* last component */
	mode_t mode;	  /* with its type */
	dev_t device;
	uid_t uid;
	gid_t gid;
	const char *path; /* in the container, and where the host is expected to have it */
	int made;	  /* a mount of one that the parent made, or -1 */
};

static bool is_node(const struct stat *st, const struct node *node)
{
	return (st->st_mode & S_IFMT) == (node->mode & S_IFMT) && (S_ISFIFO(node->mode) || st->st_rdev == node->device);
}

static bool is_that_node(int dir, const char *name, const struct node *node)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_node(&st, node);
}

enum { EVENT_MAX = 4096 };

/* Where the host has the node: under the same path, or as udev(7) calls it, which sysfs tells. */
static int find_host_node(const struct node *node, char path[static PATH_MAX], struct error *err)
{
	char event[96];
	cleanup_free char *text = NULL, *name = NULL;

	(void)snprintf(path, PATH_MAX, "%s", node->path);
	if (is_that_node(AT_FDCWD, path, node))
		return 0;
	(void)snprintf(event, sizeof(event), "/sys/dev/%s/%u:%u/uevent", S_ISBLK(node->mode) ? "block" : "char",
		       major(node->device), minor(node->device));
	if (file_read(AT_FDCWD, event, EVENT_MAX, &text, NULL, NULL) == 0)
		name = strstr(text, "DEVNAME=") ? strdup(strstr(text, "DEVNAME=") + strlen("DEVNAME=")) : NULL;
	if (name) {
		name[strcspn(name, "\n")] = '\0';
		(void)snprintf(path, PATH_MAX, "/dev/%s", name);
		if (is_that_node(AT_FDCWD, path, node))
			return 0;
	}
	return error_set(
		err, ENOENT,
		"cannot supply the device %s (%c %u:%u): in a user namespace it cannot be made, and the host has "
		"no such node",
		node->path, S_ISBLK(node->mode) ? 'b' : 'c', major(node->device), minor(node->device));
}

/* An empty file to mount over, or the same node of an earlier container; what else is there stays as it is. */
static int make_mount_point(int dir, const struct node *node, struct error *err)
{
	cleanup_close int target = file_touch_at(dir, node->name, 0644);
	struct stat st;

	if (target < 0)
		return error_errno(err, -target, "cannot make the mount point %s", node->path);
	if (fstat(target, &st) < 0)
		return error_errno(err, errno, "cannot stat the mount point %s", node->path);
	if (!is_node(&st, node) && !(S_ISREG(st.st_mode) && st.st_size == 0))
		return error_set(err, EEXIST, "cannot supply the device %s: something else is there", node->path);
	return take_fd(&target);
}

/* In a user namespace no node can be made that works: one that works outside is mounted over an empty file. */
static int bind_node(int dir, const struct node *node, struct error *err)
{
	char path[PATH_MAX];
	cleanup_close int source = -1, target = -1;
	int ret = node->made >= 0 ? 0 : find_host_node(node, path, err);

	if (ret < 0)
		return ret;
	if (node->made < 0) {
		source = mount_clone(AT_FDCWD, path, false, AT_SYMLINK_NOFOLLOW, err);
		if (source < 0)
			return source;
	}
	target = make_mount_point(dir, node, err);
	return target < 0 ? target : mount_attach(node->made >= 0 ? node->made : source, target, err);
}

static int make_node(const struct inside *inside, int dir, const struct node *node, struct error *err)
{
	if (inside->in_userns && !S_ISFIFO(node->mode))
		return bind_node(dir, node, err);
	if (mknodat(dir, node->name, node->mode, node->device) < 0) {
		if (errno == EEXIST && is_that_node(dir, node->name, node))
			return 0;
		if (errno == EPERM)
			return bind_node(dir, node, err);
		return error_errno(err, errno, "cannot make the device %s", node->path);
	}
	if ((node->uid || node->gid) && fchownat(dir, node->name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "cannot give the device %s its owner", node->path);
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
			.path = defaults[i].path,
			.made = -1,
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

static mode_t mode_of(const struct oci_device_node *device)
{
	mode_t type = device->type == 'b' ? S_IFBLK : device->type == 'p' ? S_IFIFO : S_IFCHR;

	return type | (device->file_mode.set ? (mode_t)device->file_mode.value & 07777 : 0666);
}

static int make_listed(const struct inside *inside, const struct oci_device_node *device, int made, struct error *err)
{
	cleanup_free char *path = path_clean(device->path);
	cleanup_close int dir = -1;
	struct node node = {
		.mode = mode_of(device),
		.device = makedev(device->major, device->minor),
		.uid = (uid_t)device->uid.value,
		.gid = (gid_t)device->gid.value,
		.path = device->path,
		.made = made,
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

static bool is_fifo(const struct oci_device_node *device)
{
	return device->type == 'p';
}

/* Its name among the nodes that the parent made: its place in the list. */
static void name_node(size_t index, char name[static 24])
{
	(void)snprintf(name, 24, "%zu", index);
}

/* The id outside; what is not mapped, or by mappings that we do not know, is left to the host's root. */
static uid_t outside(const struct oci_id_mappings *mappings, const struct oci_u64 *id)
{
	int64_t mapped = idmap_outside((const struct idmap_range *)mappings->items, mappings->count,
				       (uint32_t)id->value);

	return mapped < 0 ? 0 : (uid_t)mapped;
}

static int make_outside(const struct oci_linux *linux_, int tmpfs, struct error *err)
{
	for (size_t i = 0; i < linux_->devices_count; i++) {
		const struct oci_device_node *device = &linux_->devices[i];
		char name[24];

		name_node(i, name);
		if (is_fifo(device))
			continue;
		if (mknodat(tmpfs, name, mode_of(device), makedev(device->major, device->minor)) < 0 ||
		    fchownat(tmpfs, name, outside(&linux_->uid_mappings, &device->uid),
			     outside(&linux_->gid_mappings, &device->gid), AT_SYMLINK_NOFOLLOW) < 0)
			return error_errno(err, errno, "cannot make the device %s", device->path);
	}
	return 0;
}

static bool has_nodes(const struct oci_linux *linux_)
{
	for (size_t i = 0; i < linux_->devices_count; i++) {
		if (!is_fifo(&linux_->devices[i]))
			return true;
	}
	return false;
}

int devices_make_outside(const struct shell_options *options, int *nodes, struct error *err)
{
	const struct oci_linux *linux_ = &options->spec->linux_;
	struct mount_options mount = { .flags = MS_NOSUID | MS_NOEXEC };
	cleanup_free char *data = NULL;
	cleanup_close int tmpfs = -1;
	mode_t mask;
	int ret;

	*nodes = -1;
	if (!linux_->namespaces[OCI_NS_USER].set || !linux_->namespaces[OCI_NS_MOUNT].set || geteuid() != 0 ||
	    !has_nodes(linux_))
		return 0;
	if (linux_->mount_label && *linux_->mount_label && asprintf(&data, "context=\"%s\"", linux_->mount_label) < 0)
		return error_errno(err, ENOMEM, "cannot make devices");
	mount.data = data;
	tmpfs = mount_new("tmpfs", "tmpfs", &mount, err);
	if (tmpfs < 0)
		return tmpfs;
	mask = umask(0);
	ret = make_outside(linux_, tmpfs, err);
	umask(mask);
	/* A root that may not: the host's own nodes are what there is. */
	if (ret == -EPERM)
		return 0;
	if (ret == 0)
		*nodes = take_fd(&tmpfs);
	return ret;
}

/*
 * Each as a mount by itself.  Only what is attached can be cloned (before Linux 6.15), so that their file system is
 * attached for a moment, over a directory that is not looked into meanwhile.
 */
static int take_made(const struct inside *inside, int dev, int *made, struct error *err)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	char path[FILE_FD_PATH_MAX], name[24];
	int ret = mount_attach(inside->nodes, dev, err);

	for (size_t i = 0; i < linux_->devices_count && ret == 0; i++) {
		name_node(i, name);
		if (is_fifo(&linux_->devices[i]))
			continue;
		made[i] = mount_clone(inside->nodes, name, false, AT_SYMLINK_NOFOLLOW, err);
		ret = made[i] < 0 ? made[i] : 0;
	}
	if (ret == 0 && umount2(file_fd_path(inside->nodes, path), MNT_DETACH) < 0)
		ret = error_errno(err, errno, "cannot unmount the devices");
	return ret;
}

static int make_all_listed(const struct inside *inside, int dev, struct error *err)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	cleanup_free int *made = calloc(linux_->devices_count + 1, sizeof(*made));
	int ret = 0;

	if (!made)
		return error_errno(err, ENOMEM, "cannot make devices");
	for (size_t i = 0; i < linux_->devices_count; i++)
		made[i] = -1;
	if (inside->nodes >= 0)
		ret = take_made(inside, dev, made, err);
	for (size_t i = 0; i < linux_->devices_count && ret == 0; i++)
		ret = make_listed(inside, &linux_->devices[i], made[i], err);
	for (size_t i = 0; i < linux_->devices_count; i++) {
		if (made[i] >= 0)
			close(made[i]);
	}
	return ret;
}

int devices_make(struct inside *inside, struct error *err)
{
	cleanup_close int opened = -1;
	int dev = inside->fresh[FRESH_DEV], ret;

	/* Without a mount namespace the directory is the host's to furnish, like a /dev that was mounted in. */
	if (inside->keeps_root || inside->dev_is_bound)
		return 0;
	if (dev < 0)
		dev = opened = file_mkdir_in_root(inside->root_fd, "/dev", 0755, NULL);
	if (dev < 0)
		return error_errno(err, -dev, "cannot make /dev");
	ret = make_all_listed(inside, dev, err);
	if (ret == 0)
		ret = make_defaults(inside, dev, err);
	if (ret == 0)
		ret = make_links(dev, err);
	return ret;
}
