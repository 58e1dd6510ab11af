/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress - one line that grows while an image is read or written.
 *
 * Drawn on standard error, and only if that is a terminal: in a file or a pipe
 * there is nobody to watch.  No colours.
 */
#ifndef CAISSON_CLI_PROGRESS_H
#define CAISSON_CLI_PROGRESS_H

#include <stdbool.h>

#include "image/store.h"

struct progress {
	char title[40];	 /* what the line is about; "": there is none */
	long long drawn; /* when, in milliseconds */
	uint64_t done, total;
};
#define PROGRESS_INIT ((struct progress){ .drawn = 0 })

/* Lets the store report to progress, which must live as long; nothing with quiet. */
void progress_watch(struct progress *progress, struct image_store *store, bool quiet);

/* Ends the line and the watching. */
void progress_end(struct progress *progress, struct image_store *store);

#endif
