/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cleanup - ownership that is visible at the declaration.
 *
 *     cleanup_close int fd = -1;       closed when the scope is left
 *     cleanup_free char *text = NULL;  freed when the scope is left
 *     return take_fd(&fd);             hands it to the caller instead
 *
 * See "cleanup" in GCC's "Common Variable Attributes".  errno is preserved.
 */
#ifndef CAISSON_BASE_CLEANUP_H
#define CAISSON_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close_fn(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

static inline void cleanup_free_fn(void *pointer)
{
	void *owned = *(void **)pointer;

	free(owned);
}

static inline void cleanup_fclose_fn(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

static inline void cleanup_closedir_fn(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define cleanup_close	 __attribute__((cleanup(cleanup_close_fn)))
#define cleanup_free	 __attribute__((cleanup(cleanup_free_fn)))
#define cleanup_fclose	 __attribute__((cleanup(cleanup_fclose_fn)))
#define cleanup_closedir __attribute__((cleanup(cleanup_closedir_fn)))

/* Takes the descriptor out of a variable that would close it. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Takes the memory out of a variable that would free it. */
#define take_ptr(pointer)                               \
	({                                              \
		__typeof__(pointer) taken_ = (pointer); \
		(pointer) = NULL;                       \
		taken_;                                 \
	})

#endif
