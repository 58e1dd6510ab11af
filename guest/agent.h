/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - process 1 of a virtual machine: hears from the host what to run, runs
 * it as a container by src/runtime, and tells what becomes of it.
 *
 * The conversation is that of paradigm/vm/agent.h.  One thread, one loop; only
 * the making of a container and of an exec'd process are waited for.
 */
#ifndef CAISSON_GUEST_AGENT_H
#define CAISSON_GUEST_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/boot.h"
#include "guest/channel.h"
#include "guest/session.h"
#include "runtime/runtime.h"

struct agent {
	struct boot boot;
	struct loop loop;
	struct channel channel;
	bool connected;		     /* the channel is open and HELLO is said */
	struct loop_source children; /* signalfd(2) of SIGCHLD */
	struct runtime runtime;
	struct container container;
	struct session sessions[AGENT_SESSIONS_MAX];
	bool configured; /* CONFIG has come */
	bool sealed;	 /* EXIT of the workload is said, or FAILED: nothing is left but to be switched off */
	bool has_shares; /* their modules are loaded */
	int64_t late_at, ending_by, off_at; /* ms of the monotonic clock; 0: not set */
};

/* The machine's whole life. */
__attribute__((noreturn)) void agent_main(void);

/* workload.c: CONFIG and EXEC.  What goes wrong is said as FAILED. */
void workload_start(struct agent *agent, const struct agent_frame *frame);
void workload_exec(struct agent *agent, const struct agent_frame *frame);
/* SIGNAL */
void workload_signal(struct agent *agent, const struct agent_frame *frame);

/* handed.c: FILE and SHARE: what the host hands in for bind mounts.  Errors say so. */
int handed_file(const struct agent_frame *frame, struct error *err);
int handed_share(struct agent *agent, const struct agent_frame *frame, struct error *err);

/* network.c: NETWORK. */
int network_take(struct agent *agent, const struct agent_frame *frame, struct error *err);

/* stats.c: what the machine has used, and its processes, as JSON. */
void stats_write(struct agent *agent, struct str *out);
/* Whether the kernel has killed for lack of memory since the start. */
bool stats_out_of_memory(void);

/* restored.c: RESTORED: the clock and the random numbers of a machine that goes on from a snapshot. */
void restored(const struct agent_frame *frame);

#endif
