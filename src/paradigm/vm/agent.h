/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - what the host and the guest's init say to each other.
 *
 * One stream of bytes (a virtio-console port, or a serial line where the guest
 * is told nothing of virtio) carries frames in both directions.  A session is
 * a process in the guest: session 0 is the workload, others are exec's, numbered by the
 * host.  Output and input flow by credit: a side sends at most
 * as many bytes of a stream as the other has granted, so that a session that nobody
 * reads holds up no other.
 *
 *     guest               host
 *     HELLO          ->
 *                    <-   FILE*, SHARE*, CONFIG   the OCI configuration, whole
 *     STARTED 0      ->        (or FAILED 0)
 *     OUTPUT, ERRORS ->   <-   INPUT, INPUT_END, SIGNAL, RESIZE
 *                    <-   EXEC n
 *     STARTED n ...
 *     EXIT n         ->   of session 0: after everything is written to the disks; the host ends the machine
 *
 * Both sides take the other for hostile: a frame that is too long, of an
 * unknown kind or session, or beyond the credit ends the conversation.
 * Numbers are little-endian.
 */
#ifndef CAISSON_PARADIGM_VM_AGENT_H
#define CAISSON_PARADIGM_VM_AGENT_H

#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum {
	AGENT_VERSION = 1,
	AGENT_FRAME_MAX = 4 << 20, /* payload: a FILE, or a configuration */
	AGENT_DATA_MAX = 16384,	   /* of INPUT, OUTPUT, ERRORS */
	AGENT_CREDIT = 65536,	   /* what each stream begins with */
	AGENT_SESSIONS_MAX = 64,
};

enum agent_kind {
	/* from the guest */
	AGENT_HELLO = 1, /* u32 version */
	AGENT_STARTED,	 /* u32 pid in the guest */
	AGENT_FAILED,	 /* u32 errno, text: the session never began */
	AGENT_OUTPUT,	 /* bytes; of a terminal too */
	AGENT_ERRORS,	 /* bytes */
	AGENT_OUTPUT_END,
	AGENT_ERRORS_END,
	AGENT_EXIT,  /* u32 status as of a shell: 128 + number for signals; u32 whether memory ran out */
	AGENT_LOG,   /* text for the console log */
	AGENT_STATS, /* JSON, answer to AGENT_ASK_STATS */
	AGENT_READY, /* answer to AGENT_PING and AGENT_RESTORED */
	/* from the host */
	AGENT_FILE = 64, /* u32 index of the mount in the configuration, u32 mode, u32 uid, u32 gid, bytes */
	AGENT_SHARE,	 /* u32 index of the mount, u32 read-only, text: tag, NUL, path below it */
	AGENT_CONFIG,	 /* the text of config.json */
	AGENT_EXEC,	 /* JSON of a process, as in config.json */
	AGENT_INPUT,	 /* bytes */
	AGENT_INPUT_END,
	AGENT_SIGNAL, /* u32 number */
	AGENT_RESIZE, /* u32 rows, u32 columns */
	AGENT_ASK_STATS,
	AGENT_PING,
	AGENT_RESTORED, /* u64 wall clock in ns, bytes: fresh entropy; the machine goes on from a snapshot */
	/* from both */
	AGENT_CREDIT_GRANT = 128, /* u32 agent_kind of the stream (OUTPUT, ERRORS, INPUT), u32 bytes */
};

struct agent_frame {
	uint32_t size; /* of the payload */
	uint16_t kind;
	uint16_t session;
	const uint8_t *payload;
};

/* Takes bytes as they come and finds frames in them. */
struct agent_parser {
	struct str buffer; /* what has not made a frame yet; of a frame: header and payload */
	size_t taken;	   /* bytes at its begin that were frames */
};

void agent_parser_free(struct agent_parser *parser);
/* Room for count more bytes, NULL without memory; then agent_parser_fed() with how many came. */
uint8_t *agent_parser_room(struct agent_parser *parser, size_t count);
void agent_parser_fed(struct agent_parser *parser, size_t count);
/* 1: a frame, valid until the next call; 0: more bytes are needed; -EPROTO: no frame of ours. */
int agent_parser_next(struct agent_parser *parser, struct agent_frame *frame, struct error *err);

/* Appends a frame to out. */
void agent_put(struct str *out, enum agent_kind kind, uint16_t session, const void *payload, size_t size);
void agent_put_numbers(struct str *out, enum agent_kind kind, uint16_t session, uint32_t first, uint32_t second);
/* The n-th u32 of a payload; false if it is too short. */
int agent_number(const struct agent_frame *frame, unsigned index, uint32_t *value);

#endif
