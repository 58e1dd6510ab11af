/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify - what a container tells its service manager, passed on: sd_notify(3).
 *
 * NOTIFY_SOCKET in our environment is the manager's; the container has another.
 * Of what comes there, that it is ready goes on, and which process is the main
 * one of the service; everything else is the container's own affair.
 */
#ifndef CAISSON_CLI_OCI_NOTIFY_H
#define CAISSON_CLI_OCI_NOTIFY_H

#include <sys/types.h>

#include "base/error.h"

/* The manager's socket, or NULL. */
const char *oci_notify_host(void);

/*
 * For who leaves once the container is ready: waits for that, or for the container's end; tells the manager that its
 * process is the main one.  fd is closed.
 */
int oci_notify_wait(int fd, pid_t container, struct error *err);

/* For who stays and is the main process itself: an attend_ready_fn. */
void oci_notify_pass(int fd);

#endif
