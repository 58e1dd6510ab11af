/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve - the process that serves one shared directory to one machine.
 *
 * The monitor has no capabilities, and a file server needs some: before it
 * drops them, caisson-vmm starts a process for each share, which keeps only
 * those of files, one descriptor for the directory and one socket.  It ends
 * when the socket does, or with its parent.
 *
 * Two ways to it, chosen by the engine:
 * - FS_MESSAGES: SOCK_SEQPACKET to our own virtio-fs device (virtio/fs.h).  A
 *   request is a struct fs_message and the bytes of a FUSE request, an answer
 *   the same number and the bytes of the reply; both ends may have many under way.
 * - FS_VHOST_USER: SOCK_STREAM to QEMU's vhost-user-fs, see QEMU's
 *   docs/interop/vhost-user.rst: queues in the guest's memory, which is shared.
 */
#ifndef CAISSON_PARADIGM_VM_FS_SERVE_H
#define CAISSON_PARADIGM_VM_FS_SERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "paradigm/vm/fs/fuse.h"

enum fs_protocol { FS_MESSAGES, FS_VHOST_USER };

struct fs_message {
	uint32_t number; /* the client's, for it to find the request again */
	uint32_t room;	 /* of a request: how long the reply may be */
};

/*
 * Starts the process.  directory stays the caller's; *socket is the client's end, close-on-exec, and *pid a child to
 * be waited for.  Call it with /proc there, one thread, and the capabilities of which it is to keep its share.
 * confine, or NULL, is called there before the first request.
 */
int fs_start(int directory, bool read_only, enum fs_protocol protocol, int (*confine)(struct error *err), int *socket,
	     pid_t *pid, struct error *err);

/* What the process does: 0 when the other end is gone, -errno. */
int fs_serve_messages(struct fuse_server *server, int socket);
int fs_serve_vhost_user(struct fuse_server *server, int socket);

#endif
