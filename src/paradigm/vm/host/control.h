/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control - the socket by which commands reach a running VMM.
 *
 * SOCK_SEQPACKET.  A request is one message: a struct control_message and
 * text; descriptors come with it.  A text longer than CONTROL_INLINE_MAX is
 * the content of one more descriptor, and size is 0.  Whoever can open the
 * container's directory may connect; the VMM's own namespaces have no way to
 * it.
 *
 *     EXEC       text: JSON of a process as in config.json; descriptors: 0, 1, 2.
 *                Answers: STARTED or FAILED (text), then EXITED with the status.
 *                Meanwhile SIGNAL and RESIZE may follow on the same connection;
 *                closing it leaves the process alone.
 *     SIGNAL     number; to the connection's process, else to the workload.
 *     RESIZE     No answer to either.
 *     COUNTERS   answer DONE, text: JSON
 *     STATS      answer DONE, text: what the guest's agent counts, as AGENT_STATS
 *                has it; nothing of it was looked at
 *     SNAPSHOT   descriptors: state, memory; answer DONE or FAILED; after DONE the
 *                machine stands still until the connection is closed (disks are
 *                copied meanwhile)
 *     BALLOON    number: MiB to take away; answer DONE or FAILED
 *     SETTLE     the guest's agent does now what it has put off; answer DONE
 *
 * What is no request, or one that is not due, is answered by FAILED and the end
 * of the connection.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_CONTROL_H
#define CAISSON_PARADIGM_VM_HOST_CONTROL_H

#include <stdint.h>

enum control_kind {
	CONTROL_EXEC = 1,
	CONTROL_SIGNAL, /* number */
	CONTROL_RESIZE, /* number: rows, second: columns */
	CONTROL_COUNTERS,
	CONTROL_STATS,
	CONTROL_SNAPSHOT,
	CONTROL_BALLOON,
	CONTROL_SETTLE,
	/* answers */
	CONTROL_STARTED = 64, /* number: pid in the guest */
	CONTROL_EXITED,	      /* number: status */
	CONTROL_DONE,
	CONTROL_FAILED, /* number: errno */
};

enum { CONTROL_TEXT_MAX = 1 << 20, CONTROL_INLINE_MAX = 65536, CONTROL_CLIENTS_MAX = 64 };

struct control_message {
	uint32_t kind;
	uint32_t number, second;
	uint32_t size; /* of the text that follows */
};

/* The socket's name in the container's directory. */
#define CONTROL_SOCKET "vmm"

#endif
