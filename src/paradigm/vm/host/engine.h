/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine - what runs the machine: our own monitor on /dev/kvm, or QEMU.
 *
 * An engine is a constant table of functions.  It belongs to one loop and is
 * used by that loop's thread alone, whatever threads and processes it has
 * itself; it tells its owner everything from that loop.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_ENGINE_H
#define CAISSON_PARADIGM_VM_HOST_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/str.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/machine/machine.h"

enum { ENGINE_REASON_MAX = 512 };

struct engine_end {
	enum machine_end how;
	unsigned int code;		/* of MACHINE_EXIT: what was written to the debug-exit port */
	char reason[ENGINE_REASON_MAX]; /* of MACHINE_CRASHED; "" otherwise */
};

/* Whom it tells; each may be called before make() or start() return. */
struct engine_owner {
	/* What the guest wrote to its first serial port, and to the agent's channel. */
	void (*console)(void *context, const void *bytes, size_t count);
	void (*agent)(void *context, const void *bytes, size_t count);
	/* agent_input() or console_input() took less than it was given: now there is room again. */
	void (*room)(void *context);
	/* Once: the machine has ended.  Everything that the guest wrote was told before. */
	void (*ended)(void *context, const struct engine_end *end);
	void *context;
};

struct engine_ops;

/* What every engine begins with. */
struct engine {
	const struct engine_ops *ops;
};

struct engine_ops {
	const char *name; /* as in the configuration */
	/* config and owner outlive the engine.  On failure there is none. */
	int (*make)(const struct vm_config *config, struct loop *loop, const struct engine_owner *owner,
		    struct engine **engine, struct error *err);
	/* Lets the guest run. */
	int (*start)(struct engine *engine, struct error *err);
	/* How many bytes were taken. */
	size_t (*agent_input)(struct engine *engine, const void *bytes, size_t count);
	size_t (*console_input)(struct engine *engine, const void *bytes, size_t count);
	/* Switches the machine off; ended() follows. */
	void (*stop)(struct engine *engine);
	/* Threads are joined, processes reaped; ended() is not called any more. */
	void (*free)(struct engine *engine);
	/* Bytes of guest memory to take away.  -EOPNOTSUPP without the device. */
	int (*balloon)(struct engine *engine, uint64_t bytes, struct error *err);
	/* The members of a JSON object, without its braces; what the engine itself counts. */
	void (*counters)(struct engine *engine, struct str *out);
	/* Afterwards the machine stands still, until resume().  Both NULL: the engine cannot. */
	int (*snapshot)(struct engine *engine, int state, int memory, struct error *err);
	void (*resume)(struct engine *engine);
};

extern const struct engine_ops engine_kvm, engine_qemu;

#endif
