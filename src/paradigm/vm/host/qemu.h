/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu - private to the QEMU engine: what a machine is in the words of
 * qemu-system-x86_64(1), and its monitor's protocol, QMP (docs/interop/qmp-spec).
 *
 * QEMU is a child that has our sockets for the guest's serial ports and for
 * its monitor, and every image as a descriptor: it opens nothing by name but
 * its own firmware.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_QEMU_H
#define CAISSON_PARADIGM_VM_HOST_QEMU_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/str.h"
#include "paradigm/vm/config.h"

#define QEMU_PROGRAM "/usr/bin/qemu-system-x86_64"

enum { QEMU_ARGS_MAX = 512, QEMU_FDS_MAX = 256 };

/* Our ends' peers: QEMU's descriptors. */
struct qemu_sockets {
	int console, agent, monitor; /* agent -1: none */
	int shares[VM_SHARES_MAX];   /* connected to each share's virtiofsd */
};

struct qemu_args {
	struct arena arena; /* owns the texts */
	const char *items[QEMU_ARGS_MAX];
	size_t count;
	int fds[QEMU_FDS_MAX]; /* that QEMU inherits */
	size_t fds_count;
	bool failed; /* no memory, or too many */
};

/* The whole command line, NULL-terminated.  -EINVAL, -E2BIG: the machine has no place for so many devices. */
int qemu_args_make(struct qemu_args *args, const struct vm_config *config, const struct qemu_sockets *sockets,
		   struct error *err);
void qemu_args_free(struct qemu_args *args);

/* ---- monitor ---- */

struct qmp {
	struct loop *loop;
	struct loop_source source; /* fd is owned */
	struct str line;	   /* of which no end has come yet */
	struct str out;		   /* what QEMU has not read yet */
	/* Why it shut down, as QEMU calls it ("guest-reset", "guest-shutdown", ...); "" before. */
	char shutdown[32];
	bool closed;
};

/* fd becomes the monitor's. */
int qmp_open(struct qmp *qmp, struct loop *loop, int fd, struct error *err);
void qmp_close(struct qmp *qmp);
/* Sends a command, a JSON object; its answer is not waited for. */
void qmp_send(struct qmp *qmp, const char *command);
/* Reads what is there, without waiting. */
void qmp_drain(struct qmp *qmp);

#endif
