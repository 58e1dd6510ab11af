/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bind mounts.  A directory becomes a share; a small file is copied in, for no
 * device shares a single file.  The mounts of file systems need nothing: the
 * guest has its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "linux/companion.h"
#include "linux/mount.h"
#include "paradigm/vm/agent.h"
#include "paradigm/vm/prepare.h"

enum { COPY_MAX = 1 << 20 /* bytes of a file that is copied in */ };

static bool has_option(const struct oci_mount *mount, const char *name)
{
	for (size_t i = 0; i < mount->options.count; i++) {
		if (strcmp(mount->options.items[i], name) == 0)
			return true;
	}
	return false;
}

static bool is_bind(const struct oci_mount *mount)
{
	return (mount->type && strcmp(mount->type, "bind") == 0) || has_option(mount, "bind") ||
	       has_option(mount, "rbind");
}

/* The host's shared memory cannot be another kernel's: the guest makes its own. */
static bool is_replaced(const struct oci_mount *mount)
{
	return strcmp(mount->destination, "/dev/shm") == 0;
}

/* What is process 1 of the guest anyway is not sent over a line that may be a slow one. */
static bool is_own_init(const struct vm_plan *plan, const struct oci_mount *mount, const struct stat *st)
{
	cleanup_free char *path = NULL;
	struct stat own;

	return strcmp(mount->destination, AGENT_OWN_INIT) == 0 &&
	       companion_find(plan->setup->self, "caisson-init", &path, NULL) == 0 && stat(path, &own) == 0 &&
	       own.st_dev == st->st_dev && own.st_ino == st->st_ino;
}

static int add_file(struct vm_plan *plan, size_t index, const char *source, int path_fd, off_t size, struct error *err)
{
	struct vm_file *file = &plan->config.files[plan->config.files_count];
	char path[FILE_FD_PATH_MAX];
	int fd;

	if (size > COPY_MAX)
		return error_set(
			err, EFBIG,
			"the file %s is too large to be copied into a virtual machine (more than %d KiB); mount "
			"its directory",
			source, COPY_MAX / 1024);
	if (plan->config.files_count == VM_FILES_MAX)
		return error_set(err, E2BIG, "a virtual machine takes at most %d mounts of files", VM_FILES_MAX);
	fd = open(file_fd_path(path_fd, path), O_RDONLY | O_CLOEXEC);
	fd = fd < 0 ? error_errno(err, errno, "cannot open %s", source) : vm_keep(plan, fd, err);
	if (fd < 0)
		return fd;
	*file = (struct vm_file){ .fd = fd, .mount = (uint32_t)index };
	plan->config.files_count++;
	return 0;
}

int vm_clone_directory(struct vm_plan *plan, int dirfd, const char *path, bool recursive, bool read_only,
		       struct error *err)
{
	const uint64_t attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC |
				    (read_only ? MOUNT_ATTR_RDONLY : 0);
	cleanup_close int fd = mount_clone(dirfd, path, recursive, 0, err);
	int ret = fd < 0 ? fd : mount_set_attributes(fd, "", attributes, 0, recursive, err);

	if (ret < 0)
		return ret;
	/* Linux 5.14; before, there is one wall less. */
	(void)mount_set_attributes(fd, "", MOUNT_ATTR_NOSYMFOLLOW, 0, recursive, NULL);
	return vm_keep(plan, take_fd(&fd), err);
}

static int add_share(struct vm_plan *plan, size_t index, const char *source, int path_fd, struct error *err)
{
	const struct oci_mount *mount = &plan->spec->mounts[index];
	struct vm_share *share = &plan->config.shares[plan->config.shares_count];
	bool read_only = has_option(mount, "ro") || has_option(mount, "rro");
	int fd;

	if (plan->config.kind != VM_KIND_PV)
		return error_set(err, ENOTSUP,
				 "the directory %s cannot be shared with a machine that knows nothing of virtio: "
				 "volumes need --isolation pv",
				 source);
	if (plan->config.shares_count == VM_SHARES_MAX)
		return error_set(err, E2BIG, "a virtual machine takes at most %d mounts of directories", VM_SHARES_MAX);
	fd = vm_clone_directory(plan, path_fd, "", !has_option(mount, "bind") || has_option(mount, "rbind"), read_only,
				err);
	if (fd < 0)
		return error_wrap(err, "cannot share %s", source), fd;
	*share = (struct vm_share){ .fd = fd,
				    .tag = arena_printf(&plan->spec->arena, "m%zu", index),
				    .read_only = read_only,
				    .mount = (uint32_t)index };
	plan->config.shares_count++;
	return share->tag ? 0 : error_errno(err, ENOMEM, "cannot share %s", source);
}

static int add(struct vm_plan *plan, size_t index, struct error *err)
{
	const struct oci_mount *mount = &plan->spec->mounts[index];
	cleanup_free char *joined = NULL;
	cleanup_close int fd = -1;
	struct stat st;

	if (!mount->source)
		return error_set(err, EINVAL, "the mount on %s has no source", mount->destination);
	joined = *mount->source == '/' ? strdup(mount->source) : path_join(plan->setup->bundle, mount->source);
	if (!joined)
		return error_errno(err, ENOMEM, "cannot read the mounts");
	fd = open(joined, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot open the source %s of a mount", joined);
	if (S_ISDIR(st.st_mode))
		return add_share(plan, index, joined, fd, err);
	if (S_ISREG(st.st_mode) && is_own_init(plan, mount, &st))
		return 0;
	if (S_ISREG(st.st_mode))
		return add_file(plan, index, joined, fd, st.st_size, err);
	return error_set(err, ENOTSUP, "%s cannot be given to a virtual machine: it is neither a file nor a directory",
			 joined);
}

int vm_open_mounts(struct vm_plan *plan, struct error *err)
{
	for (size_t i = 0; i < plan->spec->mounts_count; i++) {
		const struct oci_mount *mount = &plan->spec->mounts[i];
		int ret = is_bind(mount) && !is_replaced(mount) ? add(plan, i, err) : 0;

		if (ret < 0)
			return ret;
	}
	return 0;
}
