/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext4 - ext4 file systems in files, made of directories: mke2fs(8).
 *
 * The program does it, which knows the format best; it is a child that gets
 * two descriptors and looks up no path of ours.
 */
#ifndef CAISSON_LINUX_EXT4_H
#define CAISSON_LINUX_EXT4_H

#include <stdint.h>

#include "base/error.h"

/*
 * Makes an ext4 file system of size bytes in the empty regular file, with everything that is below directory (as its
 * file system shows it: owners, modes, times, extended attributes, hard links, device nodes).  The file stays sparse,
 * and nothing is left for the first mount to initialize.  -ENOENT without mke2fs; what it says when it fails is in err.
 */
int ext4_make(int directory, int file, uint64_t size, struct error *err);

#endif
