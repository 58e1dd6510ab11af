/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify - readiness told to a service manager: sd_notify(3)'s protocol,
 * without libsystemd.
 */
#ifndef CAISSON_LINUX_NOTIFY_H
#define CAISSON_LINUX_NOTIFY_H

#include "base/error.h"

/* Sends state ("READY=1\nMAINPID=4711") to socket (a path, or "@name" for an abstract one), as NOTIFY_SOCKET has it. */
int notify_send(const char *socket, const char *state, struct error *err);

/* A datagram socket bound at path that receives such messages: O_CLOEXEC, non-blocking, owned by the caller. */
int notify_listen(const char *path, struct error *err);

/* Reads what has come to such a socket.  1: "READY=1" was among it; 0: it was not; -errno. */
int notify_take_ready(int fd, struct error *err);

/*
 * Returns when the manager has taken everything that was sent to it before (sd_notify_barrier(3)), or after timeout
 * milliseconds: it asks which service a sender belongs to, and one that has ended belongs to none.
 */
int notify_barrier(const char *socket, int timeout, struct error *err);

#endif
