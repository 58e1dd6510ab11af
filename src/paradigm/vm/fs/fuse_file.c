/* SPDX-License-Identifier: Apache-2.0 */
/* Open files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/fs/fuse_private.h"

int fuse_open_node(const struct fuse_server *server, uint64_t number, uint32_t flags)
{
	/* O_DIRECT wants buffers that are aligned, and is the guest's own affair. */
	const uint32_t kept = O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC;
	const struct fuse_node *node = fuse_node(server, number);
	char path[FUSE_PATH_MAX];
	int fd;

	if (!node)
		return -ESTALE;
	if (node->type == S_IFDIR)
		return -EISDIR;
	/* The guest's kernel has its own FIFOs and devices; here an open could wait, or reach a device of the host's.
	 */
	if (node->type != S_IFREG)
		return -ENXIO;
	if (server->read_only && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)))
		return -EROFS;
	fd = openat(server->self, fuse_path(node->fd, path), (int)(flags & kept) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int fuse_do_open(struct fuse_call *call)
{
	struct fuse_open_in in;
	struct fuse_open_out out = { .fh = 0 };
	int fd, ret;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_open_node(call->server, call->node, in.flags);
	if (fd < 0)
		return fd;
	ret = fuse_handle_make(call->server, fd, false, &out.fh);
	if (ret == 0)
		ret = fuse_put(call, &out, sizeof(out));
	if (ret < 0 && out.fh != 0)
		fuse_handle_close(call->server, out.fh, false);
	return ret;
}

int fuse_do_read(struct fuse_call *call)
{
	struct fuse_read_in in;
	ssize_t count;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, false);
	if (fd < 0)
		return fd;
	count = pread(fd, call->out, in.size < call->room ? in.size : call->room, (off_t)in.offset);
	if (count < 0)
		return -errno;
	call->filled = (size_t)count;
	return 0;
}

int fuse_do_write(struct fuse_call *call)
{
	struct fuse_write_in in;
	struct fuse_write_out out = { .size = 0 };
	const void *data;
	ssize_t count;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	data = fuse_take(call, in.size);
	if (!data)
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, false);
	if (fd < 0)
		return fd;
	count = pwrite(fd, data, in.size, (off_t)in.offset);
	if (count < 0)
		return -errno;
	out.size = (uint32_t)count;
	return fuse_put(call, &out, sizeof(out));
}

int fuse_do_release(struct fuse_call *call)
{
	struct fuse_release_in in;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fuse_handle_close(call->server, in.fh, false);
	return 0;
}

/* What close(2) would say, of a file on a network for instance. */
int fuse_do_flush(struct fuse_call *call)
{
	struct fuse_flush_in in;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, false);
	if (fd < 0)
		return fd;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 || close(fd) < 0 ? -errno : 0;
}

int fuse_do_fsync(struct fuse_call *call)
{
	struct fuse_fsync_in in;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, false);
	if (fd < 0)
		return fd;
	return (in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

int fuse_do_fallocate(struct fuse_call *call)
{
	struct fuse_fallocate_in in;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, false);
	if (fd < 0)
		return fd;
	return fallocate(fd, (int)in.mode, (off_t)in.offset, (off_t)in.length) < 0 ? -errno : 0;
}

int fuse_do_lseek(struct fuse_call *call)
{
	struct fuse_lseek_in in;
	struct fuse_lseek_out out;
	off_t at;
	int fd;

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	fd = fuse_handle(call->server, in.fh, false);
	if (fd < 0)
		return fd;
	if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)
		return -EINVAL;
	at = lseek(fd, (off_t)in.offset, (int)in.whence);
	if (at < 0)
		return -errno;
	out.offset = (uint64_t)at;
	return fuse_put(call, &out, sizeof(out));
}

int fuse_do_syncfs(struct fuse_call *call)
{
	cleanup_close int fd = -1;

	if (fuse_node(call->server, call->node)->type != S_IFDIR)
		return -ENOTDIR;
	fd = openat(fuse_fd(call), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}
