/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a file: attributes, extended ones, links' texts, the file system's room. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/fs/fuse_private.h"

int fuse_do_lookup(struct fuse_call *call)
{
	const char *name = fuse_take_name(call);
	struct fuse_entry_out entry;
	int ret = name ? fuse_look_up(call, name, &entry) : -EINVAL;

	return ret < 0 ? ret : fuse_put(call, &entry, sizeof(entry));
}

int fuse_do_forget(struct fuse_call *call)
{
	struct fuse_forget_in in;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fuse_forget(call->server, call->node, in.nlookup);
	return 0;
}

int fuse_do_batch_forget(struct fuse_call *call)
{
	struct fuse_batch_forget_in in;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	for (uint32_t i = 0; i < in.count; i++) {
		struct fuse_forget_one one;

		if (!fuse_take_into(call, &one, sizeof(one)))
			return -EINVAL;
		fuse_forget(call->server, one.nodeid, one.nlookup);
	}
	return 0;
}

static int put_attributes(struct fuse_call *call)
{
	struct fuse_attr_out out = { .attr_valid = FUSE_ENTRY_SECONDS };
	struct stat st;

	if (fstat(fuse_fd(call), &st) < 0)
		return -errno;
	fuse_fill_attributes(&st, &out.attr);
	return fuse_put(call, &out, sizeof(out));
}

int fuse_do_getattr(struct fuse_call *call)
{
	return put_attributes(call);
}

static int set_size(struct fuse_call *call, const struct fuse_setattr_in *in)
{
	cleanup_close int opened = -1;
	int fd = in->valid & FATTR_FH ? fuse_handle(call->server, in->fh, false) : -1;

	if (in->size > INT64_MAX)
		return -EFBIG;
	if (fd < 0)
		fd = opened = fuse_open_node(call->server, call->node, O_WRONLY);
	if (fd < 0)
		return fd;
	return ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
}

static struct timespec time_of(const struct fuse_setattr_in *in, bool set, bool now, uint64_t seconds, uint32_t ns)
{
	if (!(in->valid & (FATTR_ATIME | FATTR_MTIME)) || !set)
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return (struct timespec){ .tv_sec = (time_t)seconds, .tv_nsec = (long)ns };
}

static int set_times(struct fuse_call *call, const struct fuse_setattr_in *in)
{
	const struct timespec times[2] = {
		time_of(in, in->valid & FATTR_ATIME, in->valid & FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_of(in, in->valid & FATTR_MTIME, in->valid & FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	return utimensat(fuse_fd(call), "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Through /proc, for a descriptor with O_PATH has no fchmod(2); not of a link, whose target that would be. */
static int set_mode(struct fuse_call *call, const struct fuse_setattr_in *in)
{
	char path[FUSE_PATH_MAX];

	if (fuse_node(call->server, call->node)->type == S_IFLNK)
		return -EOPNOTSUPP;
	return fchmodat(call->server->self, fuse_path(fuse_fd(call), path), in->mode & 07777, 0) < 0 ? -errno : 0;
}

static int set_owner(struct fuse_call *call, const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	return fchownat(fuse_fd(call), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int fuse_do_setattr(struct fuse_call *call)
{
	struct fuse_setattr_in in;
	int ret = 0;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	/* The owner before the mode: a change of owner takes set-user-id bits away. */
	if (in.valid & (FATTR_UID | FATTR_GID))
		ret = set_owner(call, &in);
	if (ret == 0 && (in.valid & FATTR_MODE))
		ret = set_mode(call, &in);
	if (ret == 0 && (in.valid & FATTR_SIZE))
		ret = set_size(call, &in);
	if (ret == 0 && (in.valid & (FATTR_ATIME | FATTR_MTIME)))
		ret = set_times(call, &in);
	return ret < 0 ? ret : put_attributes(call);
}

int fuse_do_readlink(struct fuse_call *call)
{
	char target[PATH_MAX];
	ssize_t count;

	if (fuse_node(call->server, call->node)->type != S_IFLNK)
		return -EINVAL;
	count = readlinkat(fuse_fd(call), "", target, sizeof(target));
	return count < 0 ? -errno : fuse_put(call, target, (size_t)count);
}

int fuse_do_statfs(struct fuse_call *call)
{
	struct fuse_statfs_out out = { .st = { 0 } };
	struct statvfs st;

	if (fstatvfs(fuse_fd(call), &st) < 0)
		return -errno;
	out.st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = (uint32_t)st.f_namemax,
		.frsize = (uint32_t)st.f_frsize,
	};
	return fuse_put(call, &out, sizeof(out));
}

/* ---- extended attributes: by path, see fuse.h; a link's own cannot be reached ---- */

static const char *attribute_path(const struct fuse_call *call, char *path)
{
	return fuse_node(call->server, call->node)->type == S_IFLNK ? NULL : fuse_path(fuse_fd(call), path);
}

int fuse_do_setxattr(struct fuse_call *call)
{
	struct fuse_setxattr_in in;
	char text[FUSE_PATH_MAX];
	const char *path = attribute_path(call, text), *name;
	const void *value;

	if (!fuse_take_into(call, &in, FUSE_COMPAT_SETXATTR_IN_SIZE))
		return -EINVAL;
	name = fuse_take_text(call);
	value = fuse_take(call, in.size);
	if (!name || !value)
		return -EINVAL;
	if (!path)
		return -EOPNOTSUPP;
	return setxattr(path, name, value, in.size, (int)in.flags) < 0 ? -errno : 0;
}

/* What getxattr(2) and listxattr(2) give: their length when the guest asks for that, else the bytes. */
static int put_attribute(struct fuse_call *call, uint32_t asked, ssize_t count)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)count };

	if (count < 0)
		return -errno;
	if (asked == 0)
		return fuse_put(call, &out, sizeof(out));
	call->filled = (size_t)count;
	return 0;
}

static int take_getxattr(struct fuse_call *call, struct fuse_getxattr_in *in)
{
	if (!fuse_take_into(call, in, sizeof(*in)))
		return -EINVAL;
	return in->size > call->room ? -E2BIG : 0;
}

int fuse_do_getxattr(struct fuse_call *call)
{
	struct fuse_getxattr_in in;
	char text[FUSE_PATH_MAX];
	const char *path = attribute_path(call, text), *name;
	int ret = take_getxattr(call, &in);

	name = fuse_take_text(call);
	if (ret < 0 || !name)
		return ret < 0 ? ret : -EINVAL;
	if (!path)
		return -ENODATA;
	return put_attribute(call, in.size, getxattr(path, name, call->out, in.size));
}

int fuse_do_listxattr(struct fuse_call *call)
{
	struct fuse_getxattr_in in;
	char text[FUSE_PATH_MAX];
	const char *path = attribute_path(call, text);
	int ret = take_getxattr(call, &in);

	if (ret < 0)
		return ret;
	return put_attribute(call, in.size, path ? listxattr(path, (char *)call->out, in.size) : 0);
}

int fuse_do_removexattr(struct fuse_call *call)
{
	char text[FUSE_PATH_MAX];
	const char *path = attribute_path(call, text), *name = fuse_take_text(call);

	if (!name)
		return -EINVAL;
	if (!path)
		return -ENODATA;
	return removexattr(path, name) < 0 ? -errno : 0;
}
