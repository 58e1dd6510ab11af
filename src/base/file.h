/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file - whole files and paths, by descriptor.
 *
 * Every path is relative to a directory descriptor (AT_FDCWD for the
 * caller's own paths).  Paths that come from a bundle, an image or a guest go
 * through file_open_in_root(): openat2(2) with RESOLVE_IN_ROOT and
 * RESOLVE_NO_MAGICLINKS, so that neither "..", nor a symbolic link, nor a
 * race between the two can lead outside.
 */
#ifndef CAISSON_BASE_FILE_H
#define CAISSON_BASE_FILE_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Reads a whole file of at most max bytes into fresh memory, NUL-terminated (the NUL is not counted in *size).
 * -EFBIG when it is longer.  The caller frees *content.
 */
int file_read(int dirfd, const char *path, size_t max, char **content, size_t *size, struct error *err);

/* The same from an open descriptor, from its current offset on. */
int file_read_fd(int fd, size_t max, char **content, size_t *size, struct error *err);

/* Writes text in one write(2) to a file that exists already (control files of /proc, /sys, cgroups): -errno, no words.
 */
int file_write_text(int dirfd, const char *path, const char *text);

/* Writes all bytes, going on after short writes and EINTR. */
int file_write_all(int fd, const void *bytes, size_t count);
/* The same at an offset. */
int file_write_at(int fd, const void *bytes, size_t count, uint64_t offset);

/*
 * Replaces name in dirfd in one step (temporary file, rename): readers see the old or the new content, whole.
 * Not fsynced: what is under /run need not survive a power cut.
 */
int file_replace(int dirfd, const char *name, const void *bytes, size_t count, mode_t mode, struct error *err);

/* mkdir -p.  An existing directory is fine whatever its mode. */
int file_mkdir_all(int dirfd, const char *path, mode_t mode, struct error *err);

/* Opens path as if root_fd were "/": see above.  O_CLOEXEC is added.  Returns a descriptor or -errno, no words. */
int file_open_in_root(int root_fd, const char *path, int flags, mode_t mode);

/*
 * The same for what must be of one type (S_IFREG, S_IFCHR, ...; device is looked at for device nodes).  Anything else
 * is -EINVAL and not opened, not even for a look: a device node that an image or an instance made could act on it. The
 * last component is not followed for device nodes.
 */
int file_open_type_in_root(int root_fd, const char *path, int flags, mode_t type, dev_t device);

/*
 * mkdir -p inside a root, by the same rules; returns an O_PATH descriptor of the last directory, or -errno.
 * created, if not NULL, is set to whether the last component was made by this call.
 */
int file_mkdir_in_root(int root_fd, const char *path, mode_t mode, int *created);

/* Makes a symbolic link in to_dir that says what the one of that name in from_dir does: -errno. */
int file_copy_link(int from_dir, int to_dir, const char *name);

/* Creates an empty regular file (mount point for a file) inside a root if nothing is there; a descriptor of what is
 * there then, or -errno. */
int file_touch_in_root(int root_fd, const char *path, mode_t mode);

/*
 * The last component itself: made as an empty regular file if nothing is there, else taken as it is and not opened (a
 * FIFO would block, a device act): O_PATH.  A descriptor or -errno; -ELOOP for a symbolic link.
 */
int file_touch_at(int dirfd, const char *name, mode_t mode);

/* "/proc/self/fd/N" for fd, in the caller's buffer. */
enum { FILE_FD_PATH_MAX = 32 };
const char *file_fd_path(int fd, char path[static FILE_FD_PATH_MAX]);

/* Where a descriptor leads to (readlink of its /proc/self/fd entry), fresh memory; NULL with errno set. */
char *file_fd_target(int fd);

/* Removes a tree without leaving its file system and without following links.  A missing tree is fine. */
int file_remove_all(int dirfd, const char *path, struct error *err);

/*
 * What was removed by name but is still open.  The file system gives its blocks back when the last descriptor is
 * closed; where that means to wait for a disk's discard it takes milliseconds each, which somebody may spend whom
 * nobody waits for.
 */
enum { FILE_HELD_MAX = 32 };
struct file_held {
	int fds[FILE_HELD_MAX];
	size_t count;
};

/* Adds a descriptor (it is duplicated); one too many, or -1, is passed over. */
void file_hold(struct file_held *held, int fd);

/* The same by name, before it is removed; held NULL: nothing. */
void file_hold_at(struct file_held *held, int dirfd, const char *name);
void file_held_close(struct file_held *held);

/* The same as file_remove_all(), but holds the directories, and the files of the topmost one, up to the maximum; held
 * NULL: none. */
int file_remove_all_held(int dirfd, const char *path, struct file_held *held, struct error *err);

/* Joins with exactly one '/' between; fresh memory or NULL. */
char *path_join(const char *left, const char *right);

/* Lexically cleaned path ("//", "/./", trailing '/', and ".." that never climbs above "/"); fresh memory or NULL. */
char *path_clean(const char *path);

/* Absolute, relative to the working directory if need be; not resolved.  Fresh memory or NULL. */
char *path_absolute(const char *path);

#endif
