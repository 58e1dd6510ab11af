/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse - a file server that speaks FUSE (version 7.31, see linux/fuse.h) for
 * one directory: what the guest's virtio-fs driver asks, and what it is told.
 *
 * The guest's kernel is the client and checks permissions for its users; the
 * server acts for all of them, and with the capabilities that this takes
 * (CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP).  It reaches what is
 * beneath the directory and nothing else: names are single components, looked
 * up beneath a descriptor without following links, and everything that
 * the guest knows is a number for such a descriptor.  Every byte of a request is
 * hostile.
 *
 * A file that is known to the guest is a descriptor here: RLIMIT_NOFILE limits how many.
 */
#ifndef CAISSON_PARADIGM_VM_FS_FUSE_H
#define CAISSON_PARADIGM_VM_FS_FUSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum {
	FUSE_DATA_MAX = 128 << 10, /* bytes that one READ or WRITE moves */
	FUSE_REQUEST_MAX = FUSE_DATA_MAX + 4096,
	FUSE_REPLY_MAX = FUSE_DATA_MAX + 4096,
};

struct fuse_server;

/*
 * directory (O_PATH does) stays the caller's.  Needs /proc; the working directory becomes /proc/self/fd of this process
 * and must stay that, because extended attributes can be reached by path only.
 */
int fuse_server_make(int directory, bool read_only, struct fuse_server **server, struct error *err);
void fuse_server_free(struct fuse_server *server);

/* Answers one request; returns how many bytes of reply were filled, 0: there is none to be sent.  Never fails. */
size_t fuse_serve(struct fuse_server *server, const void *request, size_t size, void *reply, size_t room);

#endif
