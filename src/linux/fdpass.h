/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdpass - descriptors through AF_UNIX sockets: unix(7), SCM_RIGHTS.
 */
#ifndef CAISSON_LINUX_FDPASS_H
#define CAISSON_LINUX_FDPASS_H

#include <stddef.h>

#include "base/error.h"

enum { FDPASS_MAX = 32 };

/* A stream socket (O_CLOEXEC, owned by the caller) connected to path, however long the path is. */
int fdpass_connect(const char *path, struct error *err);

/* Sends size > 0 bytes of data with count descriptors (at most FDPASS_MAX) in one message; they stay open here.
 * Data that is larger than the socket takes at once is sent on without descriptors. */
int fdpass_send(int socket, const int *fds, size_t count, const void *data, size_t size, struct error *err);

/*
 * Receives one message: up to size bytes into data, descriptors (O_CLOEXEC, owned by the caller) into fds, which has
 * room for *count and says afterwards how many came.  More descriptors than there is room for are closed and an error.
 * Returns the number of bytes, 0 at the end of the stream.
 */
int fdpass_receive(int socket, int *fds, size_t *count, void *data, size_t size, struct error *err);

#endif
