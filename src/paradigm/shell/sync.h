/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync - the conversation between the shell's parent and its child.
 *
 * One SOCK_SEQPACKET socket pair; every message is one struct sync_message.
 * The child asks and waits for SYNC_GO; the parent never sends anything else,
 * but for struct sync_cgroup, which comes unasked to a child that has nothing
 * else to ask for (shell_asks_nothing()).
 * The end of the conversation is the child's execve(2), which closes the
 * socket, or a SYNC_ERROR.
 */
#ifndef CAISSON_PARADIGM_SHELL_SYNC_H
#define CAISSON_PARADIGM_SHELL_SYNC_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum sync_kind {
	SYNC_ERROR = 1, /* the child failed: error; it exits */
	SYNC_CGROUP,	/* it is about to enter its cgroup; answered by a struct sync_cgroup */
	SYNC_MAP,	/* its user namespace needs id mappings */
	SYNC_DEVICES,	/* its network namespace exists: network devices are to be moved there */
	SYNC_HOOKS,	/* its namespaces exist: prestart and createRuntime hooks are due */
	SYNC_PID,	/* a stand-in made the real child, pid */
	SYNC_STATE,	/* it wants the state document for its own hooks; the answer's text is that */
	SYNC_CONSOLE,	/* with the terminal's master as descriptor */
	SYNC_READY,	/* everything is set up */
	SYNC_LISTENER,	/* its next descriptor, number, will be the seccomp listener */
	SYNC_GO,	/* parent to child: go on */
};

/* The answer to SYNC_CGROUP; its descriptors are the doors to enter by.  Sent without the unused part of place. */
struct sync_cgroup {
	uint32_t present;  /* see struct cgroup */
	uint16_t released; /* whether the child may go on to its program without another word */
	uint16_t size;	   /* of place */
	char place[12280]; /* its path, with the final NUL, then what cgroup_host_pack() says */
};

struct sync_message {
	enum sync_kind kind;
	int number;
	struct error error;
};

/* Sends a message with at most one descriptor (-1: none).  -errno. */
int sync_send(int socket, enum sync_kind kind, int number, int fd);
int sync_send_error(int socket, const struct error *error);

/* Receives one; fd may be NULL.  1, 0 at the end of the conversation, -errno. */
int sync_receive(int socket, struct sync_message *message, int *fd);

/* Child: asks and waits for the go.  The message is sent only if someone listens; -EPIPE when the parent is gone. */
int sync_ask(int socket, enum sync_kind kind, int number, struct error *err);

/* A text of any size below 16 MiB, through a memfd. */
int sync_send_text(int socket, enum sync_kind kind, const char *text);
int sync_receive_text(int socket, enum sync_kind kind, char **text);

#endif
