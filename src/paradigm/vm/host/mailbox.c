/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/mailbox.h"

#include <stdint.h>
#include <unistd.h>

void mailbox_open(struct mailbox *box, size_t max, int wake)
{
	*box = (struct mailbox){ .max = max, .wake = wake };
	(void)pthread_mutex_init(&box->lock, NULL);
}

void mailbox_close(struct mailbox *box)
{
	str_free(&box->bytes);
	(void)pthread_mutex_destroy(&box->lock);
}

void mailbox_put(void *context, const void *bytes, size_t count)
{
	struct mailbox *box = context;
	const uint64_t one = 1;
	bool was_empty;

	(void)pthread_mutex_lock(&box->lock);
	was_empty = box->bytes.length == 0;
	if (box->bytes.length + count <= box->max)
		str_append_bytes(&box->bytes, bytes, count);
	else
		box->lost = true;
	(void)pthread_mutex_unlock(&box->lock);
	if (was_empty && write(box->wake, &one, sizeof(one)) < 0)
		return; /* it is readable anyway */
}

bool mailbox_take(struct mailbox *box, struct str *bytes)
{
	bool lost;

	(void)pthread_mutex_lock(&box->lock);
	*bytes = box->bytes;
	lost = box->lost || str_failed(&box->bytes);
	box->bytes = STR_INIT;
	box->lost = false;
	(void)pthread_mutex_unlock(&box->lock);
	return !lost;
}
