/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

enum { FSCONFIG_STRING_MAX = 255 }; /* what the kernel copies of a key or value */

/* Superblock flags of mount(2) that the new interface takes as parameters of every file system. */
static const struct {
	unsigned long flag;
	const char *key;
} superblock_flags[] = {
	{ MS_RDONLY, "ro" },	     { MS_SYNCHRONOUS, "sync" }, { MS_DIRSYNC, "dirsync" },
	{ MS_LAZYTIME, "lazytime" }, { MS_MANDLOCK, "mand" },
};

int mount_clone(int dirfd, const char *path, bool recursive, int flags, struct error *err)
{
	unsigned int how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (unsigned int)flags;
	long fd;

	if (!*path)
		how |= AT_EMPTY_PATH;
	if (recursive)
		how |= AT_RECURSIVE;
	fd = syscall(SYS_open_tree, dirfd, path, how);
	if (fd < 0)
		return error_errno(err, errno, "cannot clone the mount at %s", *path ? path : "the mount source");
	return (int)fd;
}

int mount_clone_readonly(int dirfd, const char *path, bool recursive, struct error *err)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
	unsigned int how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH) |
			   (recursive ? AT_RECURSIVE : 0);
	cleanup_close int fd = (int)syscall(SYS_open_tree_attr, dirfd, path, how, &attributes, sizeof(attributes));
	int ret;

	if (fd >= 0)
		return take_fd(&fd);
	fd = mount_clone(dirfd, path, recursive, 0, err);
	ret = fd < 0 ? fd : mount_set_attributes(fd, "", MOUNT_ATTR_RDONLY, 0, recursive, err);
	return ret < 0 ? ret : take_fd(&fd);
}

/* The file system says in words what it does not like; each read(2) gives one message, "e text". */
static int filesystem_error(int context, int code, const char *type, struct error *err)
{
	char message[512];
	ssize_t length;

	(void)error_errno(err, code, "cannot mount %s", type);
	while ((length = read(context, message, sizeof(message) - 1)) > 0) {
		message[length] = '\0';
		message[strcspn(message, "\n")] = '\0';
		if (length > 2)
			(void)error_hint(err, "%s", message + 2);
	}
	if (code == ENODEV)
		(void)error_hint(err, "this kernel does not know the file system %s", type);
	return -code;
}

/* "key", "key=value"; the quotes of SELinux contexts, whose values hold commas, belong to mount(8), not to the value.
 */
static int configure_option(int context, char *option)
{
	char *value = strchr(option, '=');
	size_t length;

	if (!value)
		return syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, option, NULL, 0) < 0 ? -errno : 0;
	*value++ = '\0';
	length = strlen(value);
	if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
		value[length - 1] = '\0';
		value++;
		length -= 2;
	}
	if (length > FSCONFIG_STRING_MAX || strlen(option) > FSCONFIG_STRING_MAX)
		return -EOPNOTSUPP;
	return syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, option, value, 0) < 0 ? -errno : 0;
}

static int configure_data(int context, const char *data)
{
	cleanup_free char *copy = strdup(data);
	char *at = copy;

	if (!copy)
		return -ENOMEM;
	while (*at) {
		char *end = at;
		bool quoted = false;
		int ret;

		for (; *end && (quoted || *end != ','); end++) {
			if (*end == '"')
				quoted = !quoted;
		}
		if (*end)
			*end++ = '\0';
		ret = *at ? configure_option(context, at) : 0;
		if (ret < 0)
			return ret;
		at = end;
	}
	return 0;
}

static int configure(int context, const char *source, const struct mount_options *options)
{
	int ret = 0;

	if (strlen(source) > FSCONFIG_STRING_MAX || options->flags & MS_I_VERSION)
		return -EOPNOTSUPP;
	if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(superblock_flags) / sizeof(*superblock_flags); i++) {
		if (options->flags & superblock_flags[i].flag &&
		    syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, superblock_flags[i].key, NULL, 0) < 0)
			return -errno;
	}
	if (options->data)
		ret = configure_data(context, options->data);
	if (ret == 0 && syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		ret = -errno;
	return ret;
}

int mount_new(const char *type, const char *source, const struct mount_options *options, struct error *err)
{
	cleanup_close int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	uint64_t set, clear;
	long fd;
	int ret;

	if (context < 0)
		return filesystem_error(-1, errno, type, err);
	ret = configure(context, source ? source : type, options);
	if (ret < 0)
		return filesystem_error(context, -ret, type, err);
	mount_attributes(options->flags, options->cleared, &set, &clear);
	fd = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, (unsigned int)set);
	if (fd < 0)
		return filesystem_error(context, errno, type, err);
	return (int)fd;
}

static int set_attributes(int dirfd, const char *path, struct mount_attr *attributes, bool recursive)
{
	unsigned int flags = (*path ? 0 : AT_EMPTY_PATH) | (recursive ? AT_RECURSIVE : 0);

	return syscall(SYS_mount_setattr, dirfd, path, flags, attributes, sizeof(*attributes)) < 0 ? -errno : 0;
}

int mount_set_attributes(int dirfd, const char *path, uint64_t set, uint64_t clear, bool recursive, struct error *err)
{
	struct mount_attr attributes = { .attr_set = set, .attr_clr = clear };
	int ret = set_attributes(dirfd, path, &attributes, recursive);

	if (ret == 0)
		return 0;
	(void)error_errno(err, -ret, "cannot set mount attributes%s%s", *path ? " of " : "", path);
	if (ret == -EPERM)
		return error_hint(err, "a flag of a mount that came from outside the user namespace cannot be cleared");
	if (ret == -EBUSY)
		return error_hint(err, "files on it are open for writing");
	return ret;
}

int mount_set_propagation(int dirfd, const char *path, unsigned long propagation, struct error *err)
{
	struct mount_attr attributes = { .propagation = propagation & ~(unsigned long)MS_REC };
	int ret = set_attributes(dirfd, path, &attributes, propagation & MS_REC);

	return ret < 0 ? error_errno(err, -ret, "cannot change mount propagation%s%s", *path ? " of " : "", path) : 0;
}

int mount_set_idmap(int mount_fd, int userns_fd, bool recursive, struct error *err)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd };
	int ret = set_attributes(mount_fd, "", &attributes, recursive);

	if (ret == 0)
		return 0;
	(void)error_errno(err, -ret, "cannot make the mount idmapped");
	if (ret == -EINVAL)
		return error_hint(err, "its file system may not support idmapped mounts on this kernel");
	return ret;
}

/* The MS_ flags of a mount that a less privileged mount namespace may not take away: mount_namespaces(7). */
static int locked_flags(int mount_fd, unsigned long *flags)
{
	static const struct {
		unsigned long shown, flag;
	} pairs[] = {
		{ ST_RDONLY, MS_RDONLY },     { ST_NOSUID, MS_NOSUID },	  { ST_NODEV, MS_NODEV },
		{ ST_NOEXEC, MS_NOEXEC },     { ST_NOATIME, MS_NOATIME }, { ST_NODIRATIME, MS_NODIRATIME },
		{ ST_RELATIME, MS_RELATIME },
	};
	struct statvfs fs;

	if (fstatvfs(mount_fd, &fs) < 0)
		return -errno;
	*flags = fs.f_flag & (ST_NOATIME | ST_RELATIME) ? 0 : MS_STRICTATIME;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		*flags |= fs.f_flag & pairs[i].shown ? pairs[i].flag : 0;
	return 0;
}

enum {
	LOCKED_ALWAYS = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
	ACCESS_TIMES = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME,
};

static bool changes_times(unsigned long flags, unsigned long locked)
{
	return (flags & ACCESS_TIMES) && (flags & ACCESS_TIMES) != (locked & ACCESS_TIMES);
}

/* As runc has it: what is locked is added to what was asked for, but nothing that was asked for is left out. */
static bool add_locked(const struct mount_options *options, unsigned long locked, unsigned long *flags)
{
	if ((locked & options->cleared) || changes_times(*flags, locked))
		return false;
	*flags |= locked;
	return true;
}

static int replace_attributes(int mount_fd, const struct mount_options *options, bool lock, struct error *err)
{
	unsigned long flags = options->flags & ~(unsigned long)(MS_BIND | MS_REC), locked = 0;
	uint64_t set, clear;
	int ret;

	if (!flags && !options->cleared)
		return 0;
	if (lock && locked_flags(mount_fd, &locked) == 0 &&
	    ((locked & LOCKED_ALWAYS & ~flags) || changes_times(flags, locked)) && !add_locked(options, locked, &flags))
		return error_errno(err, EPERM, "cannot take flags away from a mount of the host");
	mount_attributes_only(flags, &set, &clear);
	ret = mount_set_attributes(mount_fd, "", set, clear, false, err);
	if (ret != -EPERM || locked_flags(mount_fd, &locked) < 0 || !add_locked(options, locked, &flags))
		return ret;
	mount_attributes_only(flags, &set, &clear);
	return mount_set_attributes(mount_fd, "", set, clear, false, err);
}

static int apply_rest(int mount_fd, const struct mount_options *options, struct error *err)
{
	int ret = 0;

	if (options->recursive_set || options->recursive_cleared)
		ret = mount_set_attributes(mount_fd, "", options->recursive_set, options->recursive_cleared, true, err);
	for (size_t i = 0; i < options->propagation_count && ret == 0; i++)
		ret = mount_set_propagation(mount_fd, "", options->propagation[i], err);
	return ret;
}

int mount_apply(int mount_fd, const struct mount_options *options, struct error *err)
{
	uint64_t set, clear;
	int ret = 0;

	mount_attributes(options->flags, options->cleared, &set, &clear);
	if (set || clear)
		ret = mount_set_attributes(mount_fd, "", set, clear, false, err);
	return ret < 0 ? ret : apply_rest(mount_fd, options, err);
}

int mount_apply_bind(int mount_fd, const struct mount_options *options, bool lock, struct error *err)
{
	int ret = replace_attributes(mount_fd, options, lock, err);

	return ret < 0 ? ret : apply_rest(mount_fd, options, err);
}

int mount_attach(int mount_fd, int target_fd, struct error *err)
{
	if (syscall(SYS_move_mount, mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return error_errno(err, errno, "cannot attach the mount to its mount point");
	return 0;
}

int mount_attach_at(int mount_fd, int dirfd, const char *path, struct error *err)
{
	if (syscall(SYS_move_mount, mount_fd, "", dirfd, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(err, errno, "cannot attach the mount at %s", path);
	return 0;
}

int mount_classic_at(const char *source, int dirfd, const char *path, const char *type, unsigned long flags,
		     const char *data, struct error *err)
{
	char target[PATH_MAX];

	if (snprintf(target, sizeof(target), "/proc/self/fd/%d%s%s", dirfd, *path ? "/" : "", path) >= PATH_MAX)
		return error_errno(err, ENAMETOOLONG, "cannot mount onto %s", path);
	if (mount(source, target, type, flags, data) < 0)
		return error_errno(err, errno, "cannot mount %s", type ? type : source ? source : "with new flags");
	return 0;
}

int mount_classic(const char *source, int target_fd, const char *type, unsigned long flags, const char *data,
		  struct error *err)
{
	return mount_classic_at(source, target_fd, "", type, flags, data, err);
}

int mount_detach(int fd)
{
	char path[FILE_FD_PATH_MAX];

	return umount2(file_fd_path(fd, path), MNT_DETACH) < 0 ? -errno : 0;
}

int mount_pivot_root(int root_fd, bool shared, struct error *err)
{
	cleanup_close int old = shared ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	int ret = 0;

	if ((shared && old < 0) || fchdir(root_fd) < 0)
		return error_errno(err, errno, "cannot enter the root file system");
	/* The old root ends up on top of the new one, so no directory has to be found or made for it: pivot_root(2). */
	if (syscall(SYS_pivot_root, ".", ".") < 0) {
		(void)error_errno(err, errno, "cannot pivot_root");
		return error_hint(err, "an initramfs as the root needs --no-pivot");
	}
	/* What is unmounted now must stay mounted on the host. */
	if (shared)
		ret = mount_set_propagation(old, "", MS_SLAVE | MS_REC, err);
	if (ret < 0)
		return ret;
	/* The working directory is the new root beneath it, since fchdir(2). */
	if (umount2(".", MNT_DETACH) < 0)
		return error_errno(err, errno, "cannot unmount the old root");
	return 0;
}

/* Turns the \040 of mountinfo back into the character. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* If a line of mountinfo is a procfs or sysfs outside the new root: unmount it, or cover it where it is locked. */
static int hide_revealing(char *line, const char *root)
{
	char *point = line, *type = strstr(line, " - ");
	size_t length = strlen(root);

	if (!type || (strncmp(type, " - proc ", 8) != 0 && strncmp(type, " - sysfs ", 9) != 0))
		return 0;
	for (int i = 0; i < 4 && point; i++) {
		point = strchr(point, ' ');
		if (point)
			point++;
	}
	if (!point)
		return 0;
	point[strcspn(point, " ")] = '\0';
	unescape(point);
	if (strncmp(point, root, length) == 0 && (point[length] == '/' || point[length] == '\0'))
		return 0;
	if (umount2(point, MNT_DETACH) == 0 || errno == ENOENT)
		return 0;
	if (errno != EINVAL && errno != EPERM)
		return -errno;
	return mount("tmpfs", point, "tmpfs", 0, NULL) < 0 ? -errno : 0;
}

static int hide_all_revealing(int root_fd, struct error *err)
{
	enum { MOUNTINFO_MAX = 64 << 20 };
	cleanup_free char *root = file_fd_target(root_fd), *mounts = NULL;
	char *rest, *line;
	int ret;

	if (!root)
		return error_errno(err, errno, "cannot find out where the root file system is");
	ret = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &mounts, NULL, err);
	rest = mounts;
	while (ret == 0 && (line = strsep(&rest, "\n"))) {
		ret = hide_revealing(line, root);
		if (ret < 0)
			(void)error_errno(err, -ret, "cannot hide the host's procfs and sysfs");
	}
	return ret;
}

int mount_move_root(int root_fd, struct error *err)
{
	int ret = hide_all_revealing(root_fd, err);

	if (ret < 0)
		return ret;
	if (fchdir(root_fd) < 0)
		return error_errno(err, errno, "cannot enter the root file system");
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return error_errno(err, errno, "cannot move the root file system to /");
	if (chroot(".") < 0 || chdir("/") < 0)
		return error_errno(err, errno, "cannot change the root");
	return 0;
}
