/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

/* <sys/mount.h> and <linux/mount.h> cannot be included together with glibc 2.36, so these are declared here. */
extern int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
enum { MS_REC_ = 0x4000, MS_PRIVATE_ = 1 << 18 };

static int fs_open(const char *type)
{
	return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}

static int fs_config(int fs, unsigned command, const char *key, const void *value, int aux)
{
	return syscall(SYS_fsconfig, fs, command, key, value, aux) < 0 ? -errno : 0;
}

static enum overlay_method best_method(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	if (uname(&name) < 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2)
		return OVERLAY_BY_MOUNT2;
	if (major > 6 || (major == 6 && minor >= 13))
		return OVERLAY_BY_FD;
	return major == 6 && minor >= 7 ? OVERLAY_BY_PATH : OVERLAY_BY_MOUNT2;
}

/* What the kernel wrote into the context's log: lines like "e overlay: ...". */
static void read_log(int fs, struct str *log)
{
	char line[256];
	ssize_t length;

	while ((length = read(fs, line, sizeof(line) - 1)) > 2) {
		line[length] = '\0';
		line[strcspn(line, "\n")] = '\0';
		str_printf(log, "%s%s", log->length ? ", " : ": ", line + 2);
	}
}

/* A failed mount, with the usual reasons spelled out. */
static int explain(const struct overlay *overlay, int code, const char *log, struct error *err)
{
	cleanup_free char *upper = overlay->upper >= 0 ? file_fd_target(overlay->upper) : NULL;
	struct statfs fs;

	(void)error_errno(err, code, "cannot mount overlay of %zu layers%s%s%s", overlay->lower_count,
			  upper ? " with upper directory " : "", upper ? upper : "", log);
	if (code == ENODEV)
		return error_hint(err, "this kernel has no overlay file system (try modprobe overlay)");
	if (code == EPERM)
		return error_hint(err, "that needs CAP_SYS_ADMIN, or a user namespace on Linux 5.11 or newer");
	if (code == EBUSY)
		return error_hint(err, "the upper or work directory is used by another mount");
	if (overlay->upper >= 0 && fstatfs(overlay->upper, &fs) == 0 &&
	    (fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == NFS_SUPER_MAGIC || fs.f_type == FUSE_SUPER_MAGIC))
		return error_hint(err,
				  "a writable layer cannot be on %s; move the store to another file system with --root",
				  fs.f_type == OVERLAYFS_SUPER_MAGIC ? "overlayfs"
				  : fs.f_type == NFS_SUPER_MAGIC     ? "NFS"
								     : "FUSE");
	/* clone_private_mount() in the kernel; it says nothing in the log. */
	if (code == EINVAL && !*log)
		return error_hint(err, "the directories must have been opened in this mount namespace");
	return -code;
}

static int set_dir(int fs, const char *key, int dir, enum overlay_method method)
{
	char path[FILE_FD_PATH_MAX];

	if (method == OVERLAY_BY_FD)
		return fs_config(fs, FSCONFIG_SET_FD, key, NULL, dir);
	return fs_config(fs, FSCONFIG_SET_STRING, key, file_fd_path(dir, path), 0);
}

static int set_options(int fs, const struct overlay *overlay, enum overlay_method method)
{
	bool writable = !(overlay->flags & OVERLAY_READ_ONLY);
	int ret = fs_config(fs, FSCONFIG_SET_STRING, "source", overlay->source ? overlay->source : "overlay", 0);

	if (ret == 0 && overlay->flags & OVERLAY_USERXATTR)
		ret = fs_config(fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0);
	if (ret == 0 && writable && overlay->flags & OVERLAY_VOLATILE)
		ret = fs_config(fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0);
	/* Distributions build in other defaults; upper directories must look the same everywhere. */
	if (ret == 0)
		ret = fs_config(fs, FSCONFIG_SET_STRING, "index", "off", 0);
	if (ret == 0)
		ret = fs_config(fs, FSCONFIG_SET_STRING, "metacopy", "off", 0);
	for (size_t i = 0; ret == 0 && i < overlay->lower_count; i++)
		ret = set_dir(fs, "lowerdir+", overlay->lower[i], method);
	if (ret == 0 && writable)
		ret = set_dir(fs, "upperdir", overlay->upper, method);
	if (ret == 0 && writable)
		ret = set_dir(fs, "workdir", overlay->work, method);
	return ret;
}

static int mount_by_context(const struct overlay *overlay, enum overlay_method method, struct error *err)
{
	cleanup_close int fs = fs_open("overlay");
	cleanup_str struct str log = STR_INIT;
	unsigned attributes = overlay->attributes;
	int fd, ret;

	if (fs < 0)
		return explain(overlay, errno, "", err);
	ret = set_options(fs, overlay, method);
	if (ret == 0)
		ret = fs_config(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (ret < 0) {
		read_log(fs, &log);
		return explain(overlay, -ret, str_text(&log), err);
	}
	if (overlay->flags & OVERLAY_READ_ONLY)
		attributes |= MOUNT_ATTR_RDONLY;
	fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? explain(overlay, errno, "", err) : fd;
}

/* What the child of mount_by_child() works on; it shares memory and descriptors with its parent. */
struct child_mount {
	const struct overlay *overlay;
	char options[4096]; /* mount(2) takes one page */
	size_t length;
	int result; /* mount descriptor or -errno */
};

/*
 * The directory of fd as the caller's own mount namespace sees it: a clone of
 * the namespace in which it was opened, and overlayfs refuses layers of
 * another one.  Not closed on error paths: the table is the parent's, see
 * close_from_child().
 */
static int reopen(int fd)
{
	char link[FILE_FD_PATH_MAX], target[4096];
	struct stat before, after;
	ssize_t length = readlink(file_fd_path(fd, link), target, sizeof(target) - 1);
	int again;

	if (length < 0)
		return -errno;
	target[length] = '\0';
	again = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (again < 0)
		return -errno;
	if (fstat(fd, &before) < 0 || fstat(again, &after) < 0 || before.st_dev != after.st_dev ||
	    before.st_ino != after.st_ino) {
		close(again);
		return -ESTALE;
	}
	return again;
}

static int add_option(struct child_mount *job, const char *text)
{
	size_t length = strlen(text);

	if (length >= sizeof(job->options) - job->length)
		return -E2BIG;
	memcpy(job->options + job->length, text, length + 1);
	job->length += length;
	return 0;
}

/* Reopens fd, remembers it in opened, and appends its number, which is a path once /proc/self/fd is the cwd. */
static int add_dir(struct child_mount *job, const char *option, int fd, int *opened, size_t *count)
{
	int again = reopen(fd), ret;
	char number[16];

	if (again < 0)
		return again;
	opened[(*count)++] = again;
	(void)snprintf(number, sizeof(number), "%d", again);
	ret = add_option(job, option);
	return ret < 0 ? ret : add_option(job, number);
}

static int build_options(struct child_mount *job, int *opened, size_t *count)
{
	const struct overlay *overlay = job->overlay;
	int ret = add_option(job, "index=off,metacopy=off");

	if (ret == 0 && overlay->flags & OVERLAY_USERXATTR)
		ret = add_option(job, ",userxattr");
	if (ret == 0 && overlay->flags & OVERLAY_VOLATILE && !(overlay->flags & OVERLAY_READ_ONLY))
		ret = add_option(job, ",volatile");
	for (size_t i = 0; ret == 0 && i < overlay->lower_count; i++)
		ret = add_dir(job, i ? ":" : ",lowerdir=", overlay->lower[i], opened, count);
	if (ret == 0 && !(overlay->flags & OVERLAY_READ_ONLY))
		ret = add_dir(job, ",upperdir=", overlay->upper, opened, count);
	if (ret == 0 && !(overlay->flags & OVERLAY_READ_ONLY))
		ret = add_dir(job, ",workdir=", overlay->work, opened, count);
	return ret;
}

static int mount_in_child(struct child_mount *job)
{
	const struct overlay *overlay = job->overlay;
	const char *source = overlay->source ? overlay->source : "overlay";
	struct mount_attr attributes = { .attr_set = overlay->attributes };
	int fd;

	/* Any directory will do: nobody else sees this namespace, and the mount is taken out of it at once. */
	if (chdir("/proc/self/fd") < 0 || mount(source, "/proc", "overlay", 0, job->options) < 0)
		return -errno;
	fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (overlay->flags & OVERLAY_READ_ONLY)
		attributes.attr_set |= MOUNT_ATTR_RDONLY;
	if (attributes.attr_set &&
	    syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0) {
		int saved = errno;

		close(fd);
		return -saved;
	}
	return fd;
}

static int child_main(void *argument)
{
	struct child_mount *job = argument;
	int opened[OVERLAY_LAYERS_MAX + 2];
	size_t count = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC_ | MS_PRIVATE_, NULL) < 0)
		job->result = -errno;
	else
		job->result = build_options(job, opened, &count);
	if (job->result == 0)
		job->result = mount_in_child(job);
	while (count > 0)
		close(opened[--count]);
	return 0;
}

/*
 * For kernels without lowerdir+: mount(2) can only attach, and an attached
 * mount is one that can leak.  So a child does it in a mount namespace of its
 * own, which dies with it, and leaves a detached clone in the descriptor table
 * that it shares with us.
 */
static int mount_by_child(const struct overlay *overlay, struct error *err)
{
	enum { STACK_SIZE = 64 << 10 };
	struct child_mount job = { .overlay = overlay, .result = -EIO };
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	pid_t pid;

	if (stack == MAP_FAILED)
		return error_errno(err, ENOMEM, "cannot mount overlay");
	/* CLONE_VFORK: the stack and the job live until the child is gone.  No signal: the caller has no such child. */
	pid = clone(child_main, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_FILES, &job);
	if (pid < 0)
		job.result = -errno;
	else
		while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
			;
	(void)munmap(stack, STACK_SIZE);
	if (job.result == -E2BIG)
		return error_set(err, E2BIG, "cannot mount overlay of %zu layers: too many for this kernel",
				 overlay->lower_count);
	return job.result < 0 ? explain(overlay, -job.result, "", err) : job.result;
}

int overlay_mount(const struct overlay *overlay, struct error *err)
{
	enum overlay_method method = overlay->method == OVERLAY_AUTO ? best_method() : overlay->method;
	bool read_only = overlay->flags & OVERLAY_READ_ONLY;

	if (overlay->lower_count > OVERLAY_LAYERS_MAX)
		return error_set(err, E2BIG, "cannot mount overlay of %zu layers: the kernel takes %d",
				 overlay->lower_count, OVERLAY_LAYERS_MAX);
	if (overlay->lower_count < (read_only ? 2 : 1) || (!read_only && (overlay->upper < 0 || overlay->work < 0)))
		return error_set(err, EINVAL, "cannot mount overlay: not enough directories");
	if (method == OVERLAY_BY_MOUNT2)
		return mount_by_child(overlay, err);
	return mount_by_context(overlay, method, err);
}

int overlay_attach(int mount_fd, int target_dirfd, const char *target, struct error *err)
{
	if (syscall(SYS_move_mount, mount_fd, "", target_dirfd, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(err, errno, "cannot mount on %s", target);
	return 0;
}
