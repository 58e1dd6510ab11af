/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - the state of machines and devices as bytes, for snapshots.
 *
 * A snapshot is a sequence of sections "name, version, length, bytes".  The
 * reader is total: a file that was cut, altered or made by somebody hostile is
 * an error and nothing else; a section of a newer version is refused.
 * Numbers are little-endian.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_STATE_H
#define CAISSON_PARADIGM_VM_MACHINE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

struct state_writer {
	struct str out;
	size_t section; /* where the current one's length is to be written */
	int disk_error; /* of a disk that does not hold what was written to it: -errno */
};

void state_begin(struct state_writer *writer, const char *name, uint32_t version);
void state_end(struct state_writer *writer);
void state_put(struct state_writer *writer, const void *bytes, size_t count);
void state_put_u64(struct state_writer *writer, uint64_t value);
void state_put_u32(struct state_writer *writer, uint32_t value);

struct state_reader {
	const uint8_t *at, *end;     /* of the current section */
	const uint8_t *next, *limit; /* of the file */
	bool failed;		     /* something was missing; all reads give zeros from then on */
};

void state_reader_init(struct state_reader *reader, const void *bytes, size_t count);
/* Enters the next section, which must have that name and at most that version; returns its version or -errno. */
int state_enter(struct state_reader *reader, const char *name, uint32_t version, struct error *err);
/* The same for the first section of that name, wherever it is; what is before it is passed over. */
int state_find(struct state_reader *reader, const char *name, uint32_t version, struct error *err);
/* -EINVAL if anything was missing or is left over. */
int state_leave(struct state_reader *reader, struct error *err);
bool state_get(struct state_reader *reader, void *bytes, size_t count);
uint64_t state_get_u64(struct state_reader *reader);
uint32_t state_get_u32(struct state_reader *reader);

#endif
