/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox - bytes from many threads to one.
 *
 * Whoever puts bytes into an empty mailbox wakes the one who takes them out, by
 * an eventfd(2) that several mailboxes may share: once woken, it must look into
 * all of them.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_MAILBOX_H
#define CAISSON_PARADIGM_VM_HOST_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct mailbox {
	pthread_mutex_t lock;
	struct str bytes;
	size_t max; /* bytes that may wait; what does not fit is lost */
	bool lost;
	int wake; /* borrowed */
};

void mailbox_open(struct mailbox *box, size_t max, int wake);
void mailbox_close(struct mailbox *box);

/* Any thread; context is the mailbox. */
void mailbox_put(void *context, const void *bytes, size_t count);

/* All that is there, the caller's; false: since the last time something was lost, for want of room or memory. */
bool mailbox_take(struct mailbox *box, struct str *bytes);

#endif
