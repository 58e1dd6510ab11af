/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for descriptors: what the guest knows, and what it has opened. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/fs/fuse_private.h"

enum { FIRST_ROOM = 64 };

static uint64_t *bucket_of(struct fuse_server *server, dev_t device, ino_t inode)
{
	uint64_t hash = ((uint64_t)inode ^ (uint64_t)device << 32) * UINT64_C(0x9e3779b97f4a7c15);

	return &server->buckets[hash >> 52];
}

_Static_assert(FUSE_BUCKETS == 1 << (64 - 52), "the hash's upper bits number the buckets");

/* Twice the room, from count on zero; false: no memory. */
static bool grow(void **items, size_t *room, size_t size)
{
	size_t wanted = *room ? *room * 2 : FIRST_ROOM;
	void *grown = reallocarray(*items, wanted, size);

	if (!grown)
		return false;
	memset((uint8_t *)grown + *room * size, 0, (wanted - *room) * size);
	*items = grown;
	*room = wanted;
	return true;
}

/* 0: no memory. */
static uint64_t new_number(struct fuse_server *server)
{
	uint64_t number = server->free_node;

	if (number != 0) {
		server->free_node = server->nodes[number].next;
		return number;
	}
	if (server->nodes_count == server->nodes_room &&
	    !grow((void **)&server->nodes, &server->nodes_room, sizeof(*server->nodes)))
		return 0;
	return server->nodes_count++;
}

/* fd becomes the node's, whatever happens; 0: no memory. */
static uint64_t add_node(struct fuse_server *server, int fd, const struct stat *st)
{
	uint64_t *bucket = bucket_of(server, st->st_dev, st->st_ino), number = new_number(server);

	if (number == 0) {
		close(fd);
		return 0;
	}
	server->nodes[number] = (struct fuse_node){
		.fd = fd,
		.type = st->st_mode & S_IFMT,
		.device = st->st_dev,
		.inode = st->st_ino,
		.generation = ++server->generation,
		.next = *bucket,
	};
	*bucket = number;
	return number;
}

static uint64_t find_node(struct fuse_server *server, const struct stat *st)
{
	uint64_t number = *bucket_of(server, st->st_dev, st->st_ino);

	while (number != 0 &&
	       (server->nodes[number].device != st->st_dev || server->nodes[number].inode != st->st_ino ||
		server->nodes[number].type != (st->st_mode & S_IFMT)))
		number = server->nodes[number].next;
	return number;
}

static void remove_node(struct fuse_server *server, uint64_t number)
{
	struct fuse_node *node = &server->nodes[number];
	uint64_t *link = bucket_of(server, node->device, node->inode);

	while (*link != number)
		link = &server->nodes[*link].next;
	*link = node->next;
	close(node->fd);
	*node = (struct fuse_node){ .fd = -1, .next = server->free_node };
	server->free_node = number;
}

int fuse_nodes_make(struct fuse_server *server, int directory, struct error *err)
{
	struct stat st;
	int fd;

	server->nodes_count = FUSE_ROOT_ID; /* 0 is not used */
	if (!grow((void **)&server->nodes, &server->nodes_room, sizeof(*server->nodes)))
		return error_errno(err, ENOMEM, "cannot share a directory");
	server->nodes[0].fd = -1;
	fd = openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int code = errno;

		if (fd >= 0)
			close(fd);
		return error_errno(err, code, "cannot share a directory");
	}
	server->nodes[add_node(server, fd, &st)].lookups = 1;
	return 0;
}

void fuse_nodes_free(struct fuse_server *server)
{
	for (size_t i = 1; i < server->nodes_count; i++)
		if (server->nodes[i].fd >= 0)
			close(server->nodes[i].fd);
	for (size_t i = 0; i < server->handles_count; i++)
		if (server->handles[i].fd >= 0)
			close(server->handles[i].fd);
	free(server->nodes);
	free(server->handles);
}

struct fuse_node *fuse_node(const struct fuse_server *server, uint64_t number)
{
	if (number == 0 || number >= server->nodes_count || server->nodes[number].fd < 0)
		return NULL;
	return &server->nodes[number];
}

int fuse_fd(const struct fuse_call *call)
{
	return call->server->nodes[call->node].fd;
}

void fuse_forget(struct fuse_server *server, uint64_t number, uint64_t lookups)
{
	struct fuse_node *node = fuse_node(server, number);

	if (!node || number == FUSE_ROOT_ID)
		return;
	node->lookups -= lookups < node->lookups ? lookups : node->lookups;
	if (node->lookups == 0)
		remove_node(server, number);
}

void fuse_fill_attributes(const struct stat *st, struct fuse_attr *attributes)
{
	*attributes = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

int fuse_look_up(struct fuse_call *call, const char *name, struct fuse_entry_out *entry)
{
	struct fuse_server *server = call->server;
	/* One component that is not "..", and not followed: there is no way out for openat2(2) to close. */
	cleanup_close int fd = openat(fuse_fd(call), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	uint64_t number;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* A descriptor that is held keeps its inode's number from being used again: the same number is the same file.
	 */
	number = find_node(server, &st);
	if (number == 0)
		number = add_node(server, take_fd(&fd), &st);
	if (number == 0)
		return -ENOMEM;
	if (server->nodes[number].lookups < UINT64_MAX)
		server->nodes[number].lookups++;
	*entry = (struct fuse_entry_out){
		.nodeid = number,
		.generation = server->nodes[number].generation,
		.entry_valid = FUSE_ENTRY_SECONDS,
		.attr_valid = FUSE_ENTRY_SECONDS,
	};
	fuse_fill_attributes(&st, &entry->attr);
	return 0;
}

const char *fuse_path(int fd, char *text)
{
	(void)snprintf(text, FUSE_PATH_MAX, "%d", fd);
	return text;
}

/* ---- handles ---- */

int fuse_handle_make(struct fuse_server *server, int fd, bool directory, uint64_t *number)
{
	uint64_t at = server->free_handle;

	if (at != 0) {
		server->free_handle = server->handles[at - 1].next;
	} else {
		if (server->handles_count == server->handles_room &&
		    !grow((void **)&server->handles, &server->handles_room, sizeof(*server->handles))) {
			close(fd);
			return -ENOMEM;
		}
		at = ++server->handles_count;
	}
	server->handles[at - 1] = (struct fuse_handle){ .fd = fd, .directory = directory };
	*number = at;
	return 0;
}

int fuse_handle(const struct fuse_server *server, uint64_t number, bool directory)
{
	const struct fuse_handle *handle;

	if (number == 0 || number > server->handles_count)
		return -EBADF;
	handle = &server->handles[number - 1];
	return handle->fd >= 0 && handle->directory == directory ? handle->fd : -EBADF;
}

void fuse_handle_close(struct fuse_server *server, uint64_t number, bool directory)
{
	int fd = fuse_handle(server, number, directory);

	if (fd < 0)
		return;
	close(fd);
	server->handles[number - 1] = (struct fuse_handle){ .fd = -1, .next = server->free_handle };
	server->free_handle = number;
}
