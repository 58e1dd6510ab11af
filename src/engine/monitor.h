/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor - the small process that stays with every running instance.
 *
 * caisson-monitor is what the parent of an instance's process 1 becomes
 * (execve(2) keeps children, descriptors and fcntl locks).  It holds the
 * instance's end of stdio, writes the log, serves those who attach, waits for
 * the end and records it.  It is static, allocates nothing, and knows neither
 * images nor specifications: this page is all that it shares with the engine.
 *
 * It takes:   caisson-monitor CONFIG-FD ID ENGINE ROOT
 *             CONFIG-FD: where a struct monitor_config can be read
 *             ENGINE ROOT: `ENGINE --root ROOT settle ID LOCK-FD` cleans up
 *             afterwards; ROOT "" for the default
 * It speaks:  SOCK_SEQPACKET at INSTANCE/ctl; one message, one struct
 *             monitor_frame (a type and up to MONITOR_DATA_MAX bytes).
 *
 * When the instance has ended, the monitor writes exit.json, sends
 * MONITOR_EXIT to everybody, and waits for those who attached as owners: they
 * clean up themselves, which is faster.  If what is to be cleaned is still
 * there after they have gone, it turns into the engine and does it.  Owners may
 * send what they removed but hold open: it is not received, so that the kernel
 * closes it here after they have gone, and nobody waits for what that frees.
 */
#ifndef CAISSON_ENGINE_MONITOR_H
#define CAISSON_ENGINE_MONITOR_H

#include <stdint.h>

enum {
	MONITOR_DATA_MAX = 16384,
	MONITOR_CLIENTS_MAX = 32,
	MONITOR_LINE_MAX = 16384, /* longer lines are split in the log, as in docker's */
};

enum {
	MONITOR_TTY = 1 << 0,	      /* master is a terminal's; there are no pipes */
	MONITOR_LOG = 1 << 1,	      /* keep container.log */
	MONITOR_STDIN_ONCE = 1 << 2,  /* stdin ends when the first one who fed it goes away */
	MONITOR_HELD_CLIENT = 1 << 3, /* client is an open connection of somebody who attaches */
};

struct monitor_config {
	uint32_t size; /* of this struct: both sides are from one build */
	uint32_t flags;
	int32_t pid;	/* process 1 of the instance, child of the monitor */
	int32_t pidfd;	/* the same */
	int32_t dir;	/* the instance's directory */
	int32_t listen; /* the bound socket */
	int32_t client; /* with MONITOR_HELD_CLIENT */
	uint32_t client_wants;
	int32_t input, output, errors; /* pipes; -1 if there is none */
	int32_t master;		       /* with MONITOR_TTY */
	int32_t oom[2];		       /* memory.oom_control or memory.events, to be read at the end: of the cgroup,
					* and of a paradigm with memory of its own; -1 */
	int32_t lock;		       /* fcntl-locked: open as long as the monitor lives */
	uint32_t log_files;
	uint64_t log_size; /* rotate beyond it; 0: never */
};

/* Types of frames; to the monitor. */
enum {
	MONITOR_ATTACH = 'A', /* data[0]: MONITOR_WANTS_*; must be the first one */
	MONITOR_INPUT = 'I',
	MONITOR_INPUT_END = 'E',
	MONITOR_RESIZE = 'R', /* struct monitor_size */
	MONITOR_CLOSE = 'C',  /* after MONITOR_EXIT, with descriptors */
};
/* From the monitor. */
enum {
	MONITOR_OUTPUT = 'O',
	MONITOR_ERRORS = 'e',
	MONITOR_EXIT = 'X', /* struct monitor_exit; the last one */
};

enum {
	MONITOR_WANTS_INPUT = 1 << 0,  /* may send input */
	MONITOR_WANTS_OUTPUT = 1 << 1, /* gets output and errors */
	MONITOR_WANTS_ERRORS = 1 << 2,
	MONITOR_OWNS = 1 << 3, /* will clean up after MONITOR_EXIT, then close */
};

struct monitor_size {
	uint16_t rows, columns;
};

struct monitor_exit {
	int32_t code;
	uint32_t oom_killed;
};

/*
 * Where the monitor writes exit.json before it gives it that name.  Who starts it has made the file, as large as this:
 * the instance may have filled the disk by its end.
 */
#define MONITOR_EXIT_FILE ".exit.json.monitor"
enum { MONITOR_EXIT_MAX = 160 };

struct monitor_frame {
	char type;
	char data[MONITOR_DATA_MAX];
};

#endif
