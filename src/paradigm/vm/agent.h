/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - what the host and the guest's init say to each other.
 *
 * One stream of bytes (a virtio-console port, or a serial line where the guest
 * is told nothing of virtio) carries frames in both directions.  A session is
 * a process in the guest: session 0 is the workload, others (below
 * AGENT_SESSIONS_MAX) are exec's, numbered by the host, which may use a number
 * again once its EXIT or FAILED has come.  Output and input flow by credit: a
 * side sends at most as many bytes of a stream as the other has granted, so
 * that a session that nobody reads holds up no other.
 *
 *     guest               host
 *     HELLO          ->
 *                    <-   FILE*, SHARE*, NETWORK, CONFIG   the OCI configuration, whole
 *     STARTED 0      ->        (or FAILED 0)
 *     OUTPUT, ERRORS ->   <-   INPUT, INPUT_END, SIGNAL, RESIZE
 *                    <-   EXEC n
 *     STARTED n ...
 *     EXIT n         ->   the last of session n; of session 0: after everything is written to the disks; the host
 *                         ends the machine
 *
 * Before HELLO the host says nothing: the line may still echo.  What is said
 * to a session that has ended meanwhile is dropped.
 *
 * Both sides take the other for hostile: a frame that is too short or too long
 * for its kind, of an unknown kind or session, or beyond the credit ends the
 * conversation.  A frame is its payload's size (u32), kind (u16) and session
 * (u16), then the payload.  Numbers are little-endian.
 */
#ifndef CAISSON_PARADIGM_VM_AGENT_H
#define CAISSON_PARADIGM_VM_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum {
	AGENT_VERSION = 1,
	AGENT_FRAME_MAX = 4 << 20, /* payload: a FILE, or a configuration */
	AGENT_DATA_MAX = 16384,	   /* of INPUT, OUTPUT, ERRORS */
	AGENT_NETWORK_MAX = 256 << 10,
	AGENT_TEXT_MAX = 65536, /* of FAILED, LOG, STATS, SHARE */
	AGENT_CREDIT = 65536,	/* what each stream begins with */
	AGENT_SESSIONS_MAX = 64,
	AGENT_HEADER_SIZE = 8,
};

enum agent_kind {
	/* from the guest */
	AGENT_HELLO = 1, /* u32 version */
	AGENT_STARTED,	 /* u32 pid in the guest, u32 0 */
	AGENT_FAILED,	 /* u32 errno, text: the session never began */
	AGENT_OUTPUT,	 /* bytes; of a terminal too */
	AGENT_ERRORS,	 /* bytes */
	AGENT_OUTPUT_END,
	AGENT_ERRORS_END,
	AGENT_EXIT,  /* u32 status as of a shell: 128 + number for signals; u32 whether memory ran out */
	AGENT_LOG,   /* text for the console log */
	AGENT_STATS, /* JSON, answer to AGENT_ASK_STATS: an object of numbers, as guest/stats.c writes it */
	AGENT_READY, /* answer to AGENT_PING and AGENT_RESTORED */
	/* from the host */
	AGENT_FILE = 64, /* u32 index of the mount in the configuration, u32 mode, u32 uid, u32 gid, bytes */
	AGENT_SHARE,	 /* u32 index of the mount, u32 read-only, text: tag */
	AGENT_CONFIG,	 /* the text of config.json */
	AGENT_EXEC,	 /* JSON of a process, as in config.json */
	AGENT_INPUT,	 /* bytes */
	AGENT_INPUT_END,
	AGENT_SIGNAL, /* u32 number */
	AGENT_RESIZE, /* u32 rows, u32 columns */
	AGENT_ASK_STATS,
	AGENT_PING,	/* what was put off is to be done before the answer */
	AGENT_RESTORED, /* u64 wall clock in ns, bytes: fresh entropy; the machine goes on from a snapshot */
	AGENT_NETWORK,	/* JSON of linux/network.h: how the network cards are to be set up; before CONFIG */
	/* from both */
	AGENT_CREDIT_GRANT = 128, /* u32 agent_kind of the stream (OUTPUT, ERRORS, INPUT), u32 bytes */
};

/* In place of a mount's index in FILE: the finished filter of linux.seccomp (seccomp_cache_open()), which takes a tenth
 * of a second to be made where processors are emulated. */
#define AGENT_FILE_SECCOMP UINT32_MAX

/* A bind mount on this of the host's caisson-init is not handed in: it is what runs as the agent. */
#define AGENT_OWN_INIT "/dev/init"

struct agent_frame {
	uint32_t size; /* of the payload */
	uint16_t kind;
	uint16_t session;
	const uint8_t *payload;
};

/* Who is listened to: what the other side must not say is -EPROTO. */
enum agent_side { AGENT_FROM_GUEST, AGENT_FROM_HOST };

/* Takes bytes as they come and finds frames in them.  Begins as { .from = ... }; holds at most one frame of the longest
 * kind that the side may send, and what was fed with its end. */
struct agent_parser {
	enum agent_side from;
	struct str buffer; /* owned */
	size_t taken;	   /* bytes at its begin that were frames */
};

void agent_parser_free(struct agent_parser *parser);
/* Room for count more bytes, NULL without memory; then agent_parser_fed() with how many came. */
uint8_t *agent_parser_room(struct agent_parser *parser, size_t count);
void agent_parser_fed(struct agent_parser *parser, size_t count);
/* 1: a frame, its payload valid until more room is asked for; 0: more bytes are needed; -EPROTO: no frame of that
 * side's, and there is no going on. */
int agent_parser_next(struct agent_parser *parser, struct agent_frame *frame, struct error *err);

/* Appends a frame to out, which remembers a lack of memory.  The payload is at most what its kind may have. */
void agent_put(struct str *out, enum agent_kind kind, uint16_t session, const void *payload, size_t size);
/* The same with two numbers, and with a number and a text (its end is cut off where it is too long). */
void agent_put_numbers(struct str *out, enum agent_kind kind, uint16_t session, uint32_t first, uint32_t second);
void agent_put_text(struct str *out, enum agent_kind kind, uint16_t session, uint32_t number, const char *text);
/* The number at place index (0, 1, ...) of a payload of numbers; false if the payload is too short. */
bool agent_number(const struct agent_frame *frame, unsigned int index, uint32_t *value);

#endif
