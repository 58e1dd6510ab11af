/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock - nobody writes into a disk that somebody else uses.
 *
 * Two machines that write into one file system, or into one qcow2 image, destroy
 * it.  The locks are those of QEMU (block/file-posix.c describes them as its
 * protocol): open file description locks (fcntl(2)) on single bytes, byte 100 + n
 * for a right that is used and 200 + n for one that is not left to others.  So
 * qemu-img and QEMU's own machines are told of us, and we of them.  They go with
 * the last who has the descriptor open, however that ends.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_LOCK_H
#define CAISSON_PARADIGM_VM_BLOCK_LOCK_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Locks what is behind fd, path for words: for a reader against those who write, for a writer against all but readers
 * who do not mind.  -EBUSY: it is in use.  A file system without locks is no error.
 */
int block_lock(int fd, bool read_only, const char *path, struct error *err);

#endif
