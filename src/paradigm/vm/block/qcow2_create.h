/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_create - new qcow2 images, and what an image says it stands on.
 *
 * Version 3 as docs/interop/qcow2.txt of QEMU has it: clusters of 64 KiB,
 * refcounts of 16 bits.  Nothing in here needs a machine or a loop: whoever
 * prepares an instance makes its disk with it.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_QCOW2_CREATE_H
#define CAISSON_PARADIGM_VM_BLOCK_QCOW2_CREATE_H

#include <stdint.h>

#include "base/error.h"

enum { QCOW2_BACKING_MAX = 1023, QCOW2_FORMAT_MAX = 15 };

/*
 * Makes an image of size bytes (a multiple of 512, at most 2 PiB) of the empty file fd.  backing_name, if not NULL, is
 * written down as what lies below it, with its format ("raw", "qcow2"): for qemu-img and people; we never open it.
 * -EINVAL, or what writing says.  Not synced.
 */
int qcow2_create(int fd, uint64_t size, const char *backing_name, const char *backing_format, struct error *err);

/* What the image behind fd is: 1 for qcow2, 0 for anything else.  name and format are "" if it says nothing of a
 * backing file.  The image is hostile, so are the texts.  -EINVAL, -EIO. */
struct qcow2_description {
	uint64_t size; /* bytes that a guest sees */
	char backing[QCOW2_BACKING_MAX + 1];
	char backing_format[QCOW2_FORMAT_MAX + 1];
};
int qcow2_describe(int fd, struct qcow2_description *description, struct error *err);

#endif
