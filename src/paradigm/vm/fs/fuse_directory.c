/* SPDX-License-Identifier: Apache-2.0 */
/* Names: making, moving, removing and listing them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/fs/fuse_private.h"

enum { LISTING = 32768 /* bytes of directory entries that are read at once */ };

/*
 * What was made belongs to us, and is given to the guest's user; its group not in a directory that hands on its own. By
 * a descriptor, and only to what can be no other file: whoever shares the directory with the guest may have put another
 * one in its place, a hard link to a file of root's for instance.
 */
static int give(struct fuse_call *call, int fd, mode_t type)
{
	gid_t gid = call->header.gid;
	struct stat st, parent;

	if (fstat(fd, &st) < 0 || fstat(fuse_fd(call), &parent) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != type || (type != S_IFDIR && st.st_nlink > 1))
		return -ESTALE;
	if (parent.st_mode & S_ISGID)
		gid = (gid_t)-1;
	return fchownat(fd, "", call->header.uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int put_made(struct fuse_call *call, const char *name)
{
	struct fuse_entry_out entry;
	int ret = fuse_look_up(call, name, &entry);

	if (ret < 0)
		return ret;
	ret = fuse_put(call, &entry, sizeof(entry));
	if (ret < 0)
		fuse_forget(call->server, entry.nodeid, 1);
	return ret;
}

static int finish(struct fuse_call *call, const char *name, mode_t type)
{
	cleanup_close int fd = openat(fuse_fd(call), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int ret = fd < 0 ? -errno : give(call, fd, type);

	if (ret < 0) {
		(void)unlinkat(fuse_fd(call), name, type == S_IFDIR ? AT_REMOVEDIR : 0);
		return ret;
	}
	return put_made(call, name);
}

int fuse_do_symlink(struct fuse_call *call)
{
	const char *name = fuse_take_name(call), *target = fuse_take_text(call);

	if (!name || !target)
		return -EINVAL;
	if (symlinkat(target, fuse_fd(call), name) < 0)
		return -errno;
	return finish(call, name, S_IFLNK);
}

int fuse_do_mknod(struct fuse_call *call)
{
	struct fuse_mknod_in in;
	const char *name = fuse_take_into(call, &in, sizeof(in)) ? fuse_take_name(call) : NULL;

	if (!name)
		return -EINVAL;
	/* A device would be one of this kernel's, on the host's own disks. */
	if ((S_ISCHR(in.mode) || S_ISBLK(in.mode)) && in.rdev != 0)
		return -EPERM;
	if (mknodat(fuse_fd(call), name, in.mode, in.rdev) < 0)
		return -errno;
	return finish(call, name, in.mode & S_IFMT ? in.mode & S_IFMT : S_IFREG);
}

int fuse_do_mkdir(struct fuse_call *call)
{
	struct fuse_mkdir_in in;
	const char *name = fuse_take_into(call, &in, sizeof(in)) ? fuse_take_name(call) : NULL;

	if (!name)
		return -EINVAL;
	if (mkdirat(fuse_fd(call), name, in.mode & 07777) < 0)
		return -errno;
	return finish(call, name, S_IFDIR);
}

static int remove_name(struct fuse_call *call, int flags)
{
	const char *name = fuse_take_name(call);

	if (!name)
		return -EINVAL;
	return unlinkat(fuse_fd(call), name, flags) < 0 ? -errno : 0;
}

int fuse_do_unlink(struct fuse_call *call)
{
	return remove_name(call, 0);
}

int fuse_do_rmdir(struct fuse_call *call)
{
	return remove_name(call, AT_REMOVEDIR);
}

static int rename_to(struct fuse_call *call, uint64_t directory, uint32_t flags)
{
	const struct fuse_node *to = fuse_node(call->server, directory);
	const char *old_name = fuse_take_name(call), *new_name = fuse_take_name(call);

	if (!old_name || !new_name)
		return -EINVAL;
	if (!to)
		return -ESTALE;
	return syscall(SYS_renameat2, fuse_fd(call), old_name, to->fd, new_name, flags) < 0 ? -errno : 0;
}

int fuse_do_rename(struct fuse_call *call)
{
	struct fuse_rename_in in;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	return rename_to(call, in.newdir, 0);
}

int fuse_do_rename2(struct fuse_call *call)
{
	struct fuse_rename2_in in;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	return rename_to(call, in.newdir, in.flags);
}

/* Through /proc: AT_EMPTY_PATH takes a capability that reaches beyond the share. */
int fuse_do_link(struct fuse_call *call)
{
	struct fuse_link_in in;
	const char *name = fuse_take_into(call, &in, sizeof(in)) ? fuse_take_name(call) : NULL;
	const struct fuse_node *old_node;
	char path[FUSE_PATH_MAX];

	if (!name)
		return -EINVAL;
	old_node = fuse_node(call->server, in.oldnodeid);
	if (!old_node)
		return -ESTALE;
	if (linkat(call->server->self, fuse_path(old_node->fd, path), fuse_fd(call), name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return put_made(call, name);
}

/* ---- creating and opening at once ---- */

static int open_made(struct fuse_call *call, const struct fuse_entry_out *entry, uint32_t flags)
{
	struct fuse_open_out out = { .fh = 0 };
	int fd = fuse_open_node(call->server, entry->nodeid, flags & ~(uint32_t)(O_CREAT | O_EXCL)), ret;

	if (fd < 0)
		return fd;
	ret = fuse_handle_make(call->server, fd, false, &out.fh);
	if (ret == 0)
		ret = fuse_put(call, entry, sizeof(*entry));
	if (ret == 0)
		ret = fuse_put(call, &out, sizeof(out));
	if (ret < 0 && out.fh != 0)
		fuse_handle_close(call->server, out.fh, false);
	return ret;
}

/*
 * Always exclusively first: a name that is there already may be anything, a FIFO for instance, on which an open(2)
 * would wait.
 */
int fuse_do_create(struct fuse_call *call)
{
	struct fuse_create_in in;
	const char *name = fuse_take_into(call, &in, sizeof(in)) ? fuse_take_name(call) : NULL;
	struct fuse_entry_out entry;
	int ret = 0;

	if (!name)
		return -EINVAL;
	{
		cleanup_close int fd = openat(fuse_fd(call), name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
					      in.mode & 07777);

		if (fd < 0 && (errno != EEXIST || (in.flags & O_EXCL)))
			return -errno;
		if (fd >= 0)
			ret = give(call, fd, S_IFREG);
		if (fd >= 0 && ret == 0 && (in.mode & (S_ISUID | S_ISGID)) && fchmod(fd, in.mode & 07777) < 0)
			ret = -errno;
		if (ret < 0) {
			(void)unlinkat(fuse_fd(call), name, 0);
			return ret;
		}
	}
	ret = fuse_look_up(call, name, &entry);
	if (ret < 0)
		return ret;
	ret = open_made(call, &entry, in.flags);
	if (ret < 0)
		fuse_forget(call->server, entry.nodeid, 1);
	return ret;
}

/* ---- listing ---- */

int fuse_do_opendir(struct fuse_call *call)
{
	struct fuse_open_out out = { .fh = 0 };
	int fd, ret;

	if (fuse_node(call->server, call->node)->type != S_IFDIR)
		return -ENOTDIR;
	fd = openat(fuse_fd(call), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = fuse_handle_make(call->server, fd, true, &out.fh);
	if (ret == 0)
		ret = fuse_put(call, &out, sizeof(out));
	if (ret < 0 && out.fh != 0)
		fuse_handle_close(call->server, out.fh, true);
	return ret;
}

/* As getdents64(2) writes it. */
struct entry {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* false: there is no room for it. */
static bool put_entry(struct fuse_call *call, const struct entry *entry, bool plus, size_t most)
{
	static const uint8_t zeros[8];
	size_t length = strlen(entry->name), padding = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length);
	struct fuse_dirent out = {
		.ino = entry->inode,
		.off = (uint64_t)entry->next,
		.namelen = (uint32_t)length,
		.type = entry->type,
	};
	struct fuse_entry_out known = { .nodeid = 0 };
	size_t size = padding + (plus ? sizeof(known) : 0);

	padding -= FUSE_NAME_OFFSET + length;
	if (size > most - call->filled)
		return false;
	/* One that is gone meanwhile, or cannot be looked up, is listed without: the guest asks when it wants it. */
	if (plus && (is_dots(entry->name) || fuse_look_up(call, entry->name, &known) < 0))
		known = (struct fuse_entry_out){ .nodeid = 0 };
	if (plus)
		(void)fuse_put(call, &known, sizeof(known));
	(void)fuse_put(call, &out, FUSE_NAME_OFFSET);
	(void)fuse_put(call, entry->name, length);
	(void)fuse_put(call, zeros, padding);
	return true;
}

static int list(struct fuse_call *call, bool plus)
{
	_Alignas(struct entry) uint8_t listing[LISTING];
	struct fuse_read_in in;
	size_t most;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, true);
	if (fd < 0)
		return fd;
	if (fuse_node(call->server, call->node)->type != S_IFDIR)
		return -ENOTDIR;
	most = in.size < call->room ? in.size : call->room;
	if (lseek(fd, (off_t)in.offset, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long count = syscall(SYS_getdents64, fd, listing, sizeof(listing));

		if (count < 0)
			return -errno;
		if (count == 0)
			return 0;
		for (long at = 0; at < count;) {
			const struct entry *entry = (const struct entry *)(const void *)(listing + at);

			if (!put_entry(call, entry, plus, most))
				return 0;
			at += entry->length;
		}
	}
}

int fuse_do_readdir(struct fuse_call *call)
{
	return list(call, false);
}

int fuse_do_readdirplus(struct fuse_call *call)
{
	return list(call, true);
}

int fuse_do_releasedir(struct fuse_call *call)
{
	struct fuse_release_in in;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fuse_handle_close(call->server, in.fh, true);
	return 0;
}

int fuse_do_fsyncdir(struct fuse_call *call)
{
	struct fuse_fsync_in in;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, true);
	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? -errno : 0;
}
