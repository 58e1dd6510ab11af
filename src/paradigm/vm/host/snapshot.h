/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot - a running instance in two files: its memory, and the state of its
 * machine (machine/snapshot.c), behind which stands that of the conversation
 * with its agent (session_state.c).
 */
#ifndef CAISSON_PARADIGM_VM_HOST_SNAPSHOT_H
#define CAISSON_PARADIGM_VM_HOST_SNAPSHOT_H

#include "base/error.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/host/engine.h"
#include "paradigm/vm/host/session.h"

/* Afterwards the machine stands still, until the engine's resume(); on failure it goes on.  -EOPNOTSUPP: this engine
 * saves none, or the machine has a disk that cannot be kept; -EBUSY: the conversation is not in a state to be saved. */
int snapshot_write(struct engine *engine, struct sessions *sessions, const struct vm_config *config, int state,
		   int memory, struct error *err);

/*
 * Before a machine that begins at the snapshot is started: the conversation goes on, on descriptors that become the
 * workload's, and its first word is that this is another time and another machine.
 */
int snapshot_continue(struct sessions *sessions, int state, const int stdio[static 3], struct error *err);

#endif
