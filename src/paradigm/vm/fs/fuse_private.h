/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_private - what the parts of the file server share: nodes, handles, and one call. */
#ifndef CAISSON_PARADIGM_VM_FS_FUSE_PRIVATE_H
#define CAISSON_PARADIGM_VM_FS_FUSE_PRIVATE_H

#include <linux/fuse.h>
#include <stdint.h>
#include <sys/stat.h>

#include "paradigm/vm/fs/fuse.h"

enum { FUSE_BUCKETS = 4096, FUSE_ENTRY_SECONDS = 1 };

/* A file that the guest knows, by number; FUSE_ROOT_ID is the directory itself. */
struct fuse_node {
	int fd; /* O_PATH, owned; -1: the number is free */
	mode_t type;
	dev_t device;
	ino_t inode;
	uint64_t lookups;    /* that the guest has not forgotten */
	uint64_t generation; /* of this use of the number */
	uint64_t next;	     /* in its bucket, or of the free ones; 0: none */
};

/* A file or directory that the guest has opened. */
struct fuse_handle {
	int fd; /* owned; -1: free */
	bool directory;
	uint64_t next; /* of the free ones, plus one; 0: none */
};

struct fuse_server {
	int self; /* /proc/self/fd */
	bool read_only;
	struct fuse_node *nodes; /* [0] is not used */
	size_t nodes_count, nodes_room;
	uint64_t free_node, generation;
	uint64_t buckets[FUSE_BUCKETS];
	struct fuse_handle *handles;
	size_t handles_count, handles_room;
	uint64_t free_handle;
};

struct fuse_call {
	struct fuse_server *server;
	struct fuse_in_header header;
	uint64_t node; /* header.nodeid, which exists */
	const uint8_t *arguments;
	size_t size;
	uint8_t *out; /* behind the reply's header */
	size_t room, filled;
};

/* 0, or -errno for the guest. */
typedef int fuse_operation(struct fuse_call *call);

/* The next bytes of the arguments; NULL: they are not there. */
const void *fuse_take(struct fuse_call *call, size_t size);
/* The same, copied to where they are aligned; false: they are not there. */
bool fuse_take_into(struct fuse_call *call, void *to, size_t size);
/* The next NUL-terminated text. */
const char *fuse_take_text(struct fuse_call *call);
/* A text that is a single component of a path; NULL: it is none. */
const char *fuse_take_name(struct fuse_call *call);
/* -EINVAL when the reply has no room for it. */
int fuse_put(struct fuse_call *call, const void *bytes, size_t size);

/* ---- nodes: fuse_node.c ---- */

int fuse_nodes_make(struct fuse_server *server, int directory, struct error *err);
void fuse_nodes_free(struct fuse_server *server);
/* NULL: the guest does not know it. */
struct fuse_node *fuse_node(const struct fuse_server *server, uint64_t number);
/* The descriptor of the call's own. */
int fuse_fd(const struct fuse_call *call);
/* Finds a name in the call's directory, and counts that the guest knows it. */
int fuse_look_up(struct fuse_call *call, const char *name, struct fuse_entry_out *entry);
void fuse_forget(struct fuse_server *server, uint64_t number, uint64_t lookups);
void fuse_fill_attributes(const struct stat *st, struct fuse_attr *attributes);
/* "N": its name in the working directory, /proc/self/fd; text has room for it. */
enum { FUSE_PATH_MAX = 16 };
const char *fuse_path(int fd, char *text);

/* ---- handles ---- */

/* fd becomes the handle's; -ENOMEM closes it. */
int fuse_handle_make(struct fuse_server *server, int fd, bool directory, uint64_t *number);
/* The descriptor of an open file (or directory), or -EBADF. */
int fuse_handle(const struct fuse_server *server, uint64_t number, bool directory);
void fuse_handle_close(struct fuse_server *server, uint64_t number, bool directory);

/* ---- operations ---- */

fuse_operation fuse_do_lookup, fuse_do_forget, fuse_do_batch_forget, fuse_do_getattr, fuse_do_setattr, fuse_do_readlink,
	fuse_do_statfs, fuse_do_setxattr, fuse_do_getxattr, fuse_do_listxattr, fuse_do_removexattr;
fuse_operation fuse_do_symlink, fuse_do_mknod, fuse_do_mkdir, fuse_do_unlink, fuse_do_rmdir, fuse_do_rename,
	fuse_do_rename2, fuse_do_link, fuse_do_create, fuse_do_opendir, fuse_do_readdir, fuse_do_readdirplus,
	fuse_do_releasedir, fuse_do_fsyncdir;
fuse_operation fuse_do_open, fuse_do_read, fuse_do_write, fuse_do_release, fuse_do_flush, fuse_do_fsync,
	fuse_do_fallocate, fuse_do_lseek, fuse_do_syncfs;

/* Opens a regular file for reading or writing; the guest's flags, and what may be done with them. */
int fuse_open_node(const struct fuse_server *server, uint64_t number, uint32_t flags);

#endif
