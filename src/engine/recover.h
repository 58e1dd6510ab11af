/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover - the end of a run, the ordinary one and the other ones.
 *
 * When an instance has ended, its cgroup and the runtime's record of it are
 * still there: settling removes them, and the instance too if it was made with
 * --rm.  Whoever waited for the end does it (the command, or the engine that
 * the monitor turns into).  An instance whose monitor was killed is settled by
 * the next command that meets it, after its processes have been killed: with
 * nobody to take its output and its exit status it is not an instance any
 * more.
 */
#ifndef CAISSON_ENGINE_RECOVER_H
#define CAISSON_ENGINE_RECOVER_H

#include "engine/engine.h"
#include "engine/state.h"

/*
 * Brings a locked instance to rest if its run is over or lost, else does nothing.  *gone is set when it was removed
 * (--rm); the instance must only be closed then.
 */
int instance_settle(struct instance *instance, bool *gone, struct error *err);

/* Ends whatever the runtime still knows of a locked instance's container. */
int instance_remove_container(struct instance *instance, struct error *err);

/* The same for every instance for which it is due; those that are busy are left alone.  Errors are passed over. */
void engine_recover(struct engine *engine);

/* Reads the state; a lost or unsettled instance is settled first.  -ENOENT when that removed it. */
int instance_look(struct instance *instance, struct instance_state *state, struct error *err);

/* Whether the policy wants an instance that has ended to be started again, and after how many milliseconds. */
bool restart_due(const struct instance *instance, const struct instance_state *state, unsigned *delay);

#endif
