/* SPDX-License-Identifier: Apache-2.0 */
/* Which request is what, and what of it is there. */
#include "paradigm/vm/fs/fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paradigm/vm/fs/fuse_private.h"

enum { PROTOCOL_MINOR = 31, PAGE = 4096, BACKGROUND = 64 };

const void *fuse_take(struct fuse_call *call, size_t size)
{
	const uint8_t *at = call->arguments;

	if (size > call->size)
		return NULL;
	call->arguments += size;
	call->size -= size;
	return at;
}

bool fuse_take_into(struct fuse_call *call, void *to, size_t size)
{
	const void *bytes = fuse_take(call, size);

	if (bytes)
		memcpy(to, bytes, size);
	return bytes;
}

const char *fuse_take_text(struct fuse_call *call)
{
	const void *end = memchr(call->arguments, 0, call->size);

	return end ? fuse_take(call, (size_t)((const uint8_t *)end - call->arguments) + 1) : NULL;
}

const char *fuse_take_name(struct fuse_call *call)
{
	const char *name = fuse_take_text(call);

	if (!name || !*name || strlen(name) > NAME_MAX || strchr(name, '/') || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return NULL;
	return name;
}

int fuse_put(struct fuse_call *call, const void *bytes, size_t size)
{
	if (size > call->room - call->filled)
		return -EINVAL;
	memcpy(call->out + call->filled, bytes, size);
	call->filled += size;
	return 0;
}

/* The first fields of struct fuse_init_in; what follows depends on the client's version. */
struct init_in {
	uint32_t major, minor, max_readahead, flags;
};

static int do_init(struct fuse_call *call)
{
	const uint32_t known = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
			       FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_AUTO_INVAL_DATA |
			       FUSE_ATOMIC_O_TRUNC;
	struct init_in in;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = PROTOCOL_MINOR,
		.max_background = BACKGROUND,
		.congestion_threshold = BACKGROUND * 3 / 4,
		.max_write = FUSE_DATA_MAX,
		.time_gran = 1,
		.max_pages = FUSE_DATA_MAX / PAGE,
	};

	if (!fuse_take_into(call, &in, sizeof(in)))
		return -EINVAL;
	if (in.major < FUSE_KERNEL_VERSION || (in.major == FUSE_KERNEL_VERSION && in.minor < PROTOCOL_MINOR))
		return -EPROTO;
	out.max_readahead = in.max_readahead;
	out.flags = in.flags & known;
	return fuse_put(call, &out, sizeof(out));
}

static int do_nothing(struct fuse_call *call)
{
	(void)call;
	return 0;
}

enum {
	WRITES = 1,   /* not on a read-only share */
	SILENT = 2,   /* has no reply */
	ROOTLESS = 4, /* the node does not matter */
};

static const struct {
	fuse_operation *operation;
	unsigned how;
} operations[] = {
	[FUSE_LOOKUP] = { fuse_do_lookup, 0 },
	[FUSE_FORGET] = { fuse_do_forget, SILENT },
	[FUSE_BATCH_FORGET] = { fuse_do_batch_forget, SILENT | ROOTLESS },
	[FUSE_GETATTR] = { fuse_do_getattr, 0 },
	[FUSE_SETATTR] = { fuse_do_setattr, WRITES },
	[FUSE_READLINK] = { fuse_do_readlink, 0 },
	[FUSE_SYMLINK] = { fuse_do_symlink, WRITES },
	[FUSE_MKNOD] = { fuse_do_mknod, WRITES },
	[FUSE_MKDIR] = { fuse_do_mkdir, WRITES },
	[FUSE_UNLINK] = { fuse_do_unlink, WRITES },
	[FUSE_RMDIR] = { fuse_do_rmdir, WRITES },
	[FUSE_RENAME] = { fuse_do_rename, WRITES },
	[FUSE_RENAME2] = { fuse_do_rename2, WRITES },
	[FUSE_LINK] = { fuse_do_link, WRITES },
	[FUSE_OPEN] = { fuse_do_open, 0 },
	[FUSE_READ] = { fuse_do_read, 0 },
	[FUSE_WRITE] = { fuse_do_write, WRITES },
	[FUSE_STATFS] = { fuse_do_statfs, 0 },
	[FUSE_RELEASE] = { fuse_do_release, ROOTLESS },
	[FUSE_FSYNC] = { fuse_do_fsync, ROOTLESS },
	[FUSE_SETXATTR] = { fuse_do_setxattr, WRITES },
	[FUSE_GETXATTR] = { fuse_do_getxattr, 0 },
	[FUSE_LISTXATTR] = { fuse_do_listxattr, 0 },
	[FUSE_REMOVEXATTR] = { fuse_do_removexattr, WRITES },
	[FUSE_FLUSH] = { fuse_do_flush, ROOTLESS },
	[FUSE_INIT] = { do_init, ROOTLESS },
	[FUSE_OPENDIR] = { fuse_do_opendir, 0 },
	[FUSE_READDIR] = { fuse_do_readdir, 0 },
	[FUSE_READDIRPLUS] = { fuse_do_readdirplus, 0 },
	[FUSE_RELEASEDIR] = { fuse_do_releasedir, ROOTLESS },
	[FUSE_FSYNCDIR] = { fuse_do_fsyncdir, ROOTLESS },
	[FUSE_CREATE] = { fuse_do_create, WRITES },
	[FUSE_INTERRUPT] = { do_nothing, SILENT | ROOTLESS },
	[FUSE_DESTROY] = { do_nothing, ROOTLESS },
	[FUSE_FALLOCATE] = { fuse_do_fallocate, WRITES | ROOTLESS },
	[FUSE_LSEEK] = { fuse_do_lseek, ROOTLESS },
	[FUSE_SYNCFS] = { fuse_do_syncfs, 0 },
};

static int dispatch(struct fuse_call *call, bool *silent)
{
	uint32_t code = call->header.opcode;
	unsigned how;

	if (code >= sizeof(operations) / sizeof(*operations) || !operations[code].operation)
		return -ENOSYS;
	how = operations[code].how;
	*silent = how & SILENT;
	if ((how & WRITES) && call->server->read_only)
		return -EROFS;
	if (!(how & ROOTLESS) && !fuse_node(call->server, call->node))
		return -ESTALE;
	return operations[code].operation(call);
}

size_t fuse_serve(struct fuse_server *server, const void *request, size_t size, void *reply, size_t room)
{
	struct fuse_call call = { .server = server };
	struct fuse_out_header header;
	bool silent = false;
	int ret;

	/* Without room for an answer nothing is done that would have one. */
	if (size < sizeof(call.header))
		return 0;
	memcpy(&call.header, request, sizeof(call.header));
	call.node = call.header.nodeid;
	call.arguments = (const uint8_t *)request + sizeof(call.header);
	call.size = size - sizeof(call.header);
	if (room >= sizeof(header)) {
		call.out = (uint8_t *)reply + sizeof(header);
		call.room = room - sizeof(header);
	} else if (call.header.opcode != FUSE_FORGET && call.header.opcode != FUSE_BATCH_FORGET) {
		return 0;
	}
	ret = call.header.len == size ? dispatch(&call, &silent) : -EINVAL;
	if (silent || room < sizeof(header))
		return 0;
	header = (struct fuse_out_header){
		.len = (uint32_t)(sizeof(header) + (ret < 0 ? 0 : call.filled)),
		.error = ret,
		.unique = call.header.unique,
	};
	memcpy(reply, &header, sizeof(header));
	return header.len;
}

int fuse_server_make(int directory, bool read_only, struct fuse_server **made, struct error *err)
{
	struct fuse_server *server = calloc(1, sizeof(*server));
	int ret;

	if (!server)
		return error_errno(err, ENOMEM, "cannot share a directory");
	server->read_only = read_only;
	server->self = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (server->self < 0 || fchdir(server->self) < 0) {
		ret = error_errno(err, errno, "cannot share a directory without /proc");
		fuse_server_free(server);
		return ret;
	}
	ret = fuse_nodes_make(server, directory, err);
	if (ret < 0) {
		fuse_server_free(server);
		return ret;
	}
	(void)umask(0); /* the guest's kernel has applied its processes' own */
	*made = server;
	return 0;
}

void fuse_server_free(struct fuse_server *server)
{
	if (server->self >= 0)
		close(server->self);
	fuse_nodes_free(server);
	free(server);
}
