/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock - virtio 1.2, 5.10: stream sockets between the guest and Unix sockets
 * in one directory of the host's, by Firecracker's convention.
 *
 *     host to guest    connect to DIR/vsock.sock, write "CONNECT <port>\n", read "OK <host port>\n"; then
 *                      the bytes are the guest's.  A guest that does not listen there closes it.
 *     guest to host    a connection to CID 2, port P goes to whoever listens on DIR/vsock.sock_P.
 *
 * The guest is hostile: packets that fit nowhere are answered by a reset; what
 * it sends beyond its credit ends the connection; what it can make us hold is
 * VSOCK_CONNECTIONS_MAX times VSOCK_BUFFER bytes.  Connections do not
 * survive a snapshot: the guest is told so (TRANSPORT_RESET).
 */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_VSOCK_H
#define CAISSON_PARADIGM_VM_VIRTIO_VSOCK_H

#include "paradigm/vm/virtio/virtio.h"

enum { VSOCK_CONNECTIONS_MAX = 256, VSOCK_BUFFER = 65536 };

#define VSOCK_SOCKET "vsock.sock"

/*
 * A struct virtio; ends with ops->free(), which takes the socket's name away.  cid: the guest's, 3 or more.  dir: the
 * directory, which becomes the device's, and the process's working directory: sockets have no openat(2), and a VMM
 * has no /proc.
 */
int virtio_vsock_make(uint32_t cid, int dir, struct guest_memory *memory, struct loop *loop, struct device **device,
		      struct error *err);

#endif
