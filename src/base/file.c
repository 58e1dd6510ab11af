/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { FIRST_READ = 4096, REPLACE_TRIES = 16, REMOVE_DEPTH_MAX = 64, LINKS_MAX = 40 };

int file_read_fd(int fd, size_t max, char **content, size_t *size, struct error *err)
{
	cleanup_free char *buffer = NULL;
	size_t used = 0, room = FIRST_READ;

	for (;;) {
		char *grown;
		ssize_t count;

		if (room > max + 1)
			room = max + 1;
		grown = realloc(buffer, room + 1);
		if (!grown)
			return error_errno(err, ENOMEM, "cannot read");
		buffer = grown;
		count = read(fd, buffer + used, room - used);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return error_errno(err, errno, "cannot read");
		used += (size_t)count;
		if (used > max)
			return error_set(err, EFBIG, "larger than %zu bytes", max);
		if (count == 0)
			break;
		if (used == room)
			room *= 2;
	}
	buffer[used] = '\0';
	*content = take_ptr(buffer);
	if (size)
		*size = used;
	return 0;
}

int file_read(int dirfd, const char *path, size_t max, char **content, size_t *size, struct error *err)
{
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "open %s", path);
	ret = file_read_fd(fd, max, content, size, err);
	if (ret < 0)
		(void)error_wrap(err, "%s", path);
	return ret;
}

int file_write_text(int dirfd, const char *path, const char *text)
{
	cleanup_close int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	size_t length = strlen(text);
	ssize_t count;

	if (fd < 0)
		return -errno;
	do
		count = write(fd, text, length);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return -errno;
	return (size_t)count == length ? 0 : -EIO;
}

int file_write_all(int fd, const void *bytes, size_t count)
{
	const char *at = bytes;

	while (count > 0) {
		ssize_t written = write(fd, at, count);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		at += written;
		count -= (size_t)written;
	}
	return 0;
}

int file_write_at(int fd, const void *bytes, size_t count, uint64_t offset)
{
	const char *at = bytes;

	while (count > 0) {
		ssize_t written = pwrite(fd, at, count, (off_t)offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		at += written;
		offset += (uint64_t)written;
		count -= (size_t)written;
	}
	return 0;
}

int file_replace(int dirfd, const char *name, const void *bytes, size_t count, mode_t mode, struct error *err)
{
	char temporary[NAME_MAX + 1];
	cleanup_close int fd = -1;
	int ret;

	for (int i = 0; fd < 0 && i < REPLACE_TRIES; i++) {
		if (snprintf(temporary, sizeof(temporary), ".%s.%d.%d", name, (int)getpid(), i) >=
		    (int)sizeof(temporary))
			return error_errno(err, ENAMETOOLONG, "write %s", name);
		fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	if (fd < 0)
		return error_errno(err, errno, "create %s", temporary);
	ret = file_write_all(fd, bytes, count);
	if (ret == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
		ret = -errno;
	if (ret < 0) {
		(void)unlinkat(dirfd, temporary, 0);
		return error_errno(err, -ret, "write %s", name);
	}
	return 0;
}

int file_mkdir_all(int dirfd, const char *path, mode_t mode, struct error *err)
{
	cleanup_free char *copy = NULL;

	if (mkdirat(dirfd, path, mode) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return error_errno(err, errno, "create directory %s", path);
	copy = strdup(path);
	if (!copy)
		return error_errno(err, ENOMEM, "create directory %s", path);
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(dirfd, copy, mode) < 0 && errno != EEXIST)
			return error_errno(err, errno, "create directory %s", copy);
		*slash = '/';
	}
	if (mkdirat(dirfd, path, mode) < 0 && errno != EEXIST)
		return error_errno(err, errno, "create directory %s", path);
	return 0;
}

int file_open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	/*
	 * EAGAIN: something was renamed or mounted during the walk, anywhere on the machine, and the kernel could not
	 * prove that ".." stayed inside.  Who renames without a pause may hold us up for a second.
	 */
	for (int tries = 0; tries < 1000; tries++) {
		fd = syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
		if (tries > 32)
			(void)nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	}
	return fd >= 0 ? (int)fd : -errno;
}

int file_open_type_in_root(int root_fd, const char *path, int flags, mode_t type, dev_t device)
{
	bool node = S_ISCHR(type) || S_ISBLK(type);
	cleanup_close int found = file_open_in_root(root_fd, path, O_PATH | (node ? O_NOFOLLOW : 0), 0);
	char link[FILE_FD_PATH_MAX];
	struct stat st;
	int fd;

	if (found < 0)
		return found;
	if (fstat(found, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != type || (node && st.st_rdev != device))
		return -EINVAL;
	fd = open(file_fd_path(found, link), flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int file_touch_at(int dirfd, const char *name, mode_t mode)
{
	cleanup_close int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	struct stat st;

	if (fd >= 0)
		return take_fd(&fd);
	if (errno != EEXIST)
		return -errno;
	fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISLNK(st.st_mode) ? -ELOOP : take_fd(&fd);
}

/*
 * Where a link that leads to nothing would lead: images have /etc/resolv.conf and /var/lock that point to what is only
 * there when they run, and a mount on such a name belongs to its target.  Fresh memory; NULL if it is no link.
 */
static char *link_target(int root_fd, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	cleanup_free char *directory = strndup(path, slash ? (size_t)(slash - path) : 0), *whole = NULL;
	cleanup_close int parent = -1;
	char target[PATH_MAX];
	ssize_t length;

	if (!directory)
		return NULL;
	parent = file_open_in_root(root_fd, *directory ? directory : "/", O_PATH | O_DIRECTORY, 0);
	length = parent < 0 ? -1 : readlinkat(parent, name, target, sizeof(target) - 1);
	if (length <= 0)
		return NULL;
	target[length] = '\0';
	whole = path_join(*target == '/' ? "" : directory, target);
	return whole ? path_clean(whole) : NULL;
}

static int mkdir_in_root(int root_fd, const char *path, mode_t mode, int *created, int links);

/*
 * Makes the last component in its parent, which is opened by the rules.  Opened relative to that parent and without
 * following: what was just made, or whatever directory won the race for the name, but nothing that a link leads to.
 */
static int mkdir_component(int root_fd, char *path, mode_t mode, int *created, int links)
{
	char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	cleanup_free char *target = NULL;
	cleanup_close int parent = -1;
	int fd;

	if (slash)
		*slash = '\0';
	parent = file_open_in_root(root_fd, slash && slash != path ? path : "/", O_PATH | O_DIRECTORY, 0);
	if (slash)
		*slash = '/';
	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, mode) < 0) {
		if (errno != EEXIST)
			return -errno;
		fd = file_open_in_root(root_fd, path, O_PATH | O_DIRECTORY, 0);
		target = fd == -ENOENT && links > 0 ? link_target(root_fd, path) : NULL;
		return target ? mkdir_in_root(root_fd, target, mode, created, links - 1) : fd;
	}
	if (created)
		*created = 1;
	fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int mkdir_in_root(int root_fd, const char *path, mode_t mode, int *created, int links)
{
	cleanup_free char *clean = NULL;
	int fd = file_open_in_root(root_fd, path, O_PATH | O_DIRECTORY, 0);

	if (created)
		*created = 0;
	if (fd != -ENOENT)
		return fd;
	clean = path_clean(path);
	if (!clean)
		return -ENOMEM;
	/* Mostly only the last component is missing. */
	fd = mkdir_component(root_fd, clean, mode, created, links);
	if (fd != -ENOENT)
		return fd;
	for (char *slash = strchr(clean + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		fd = mkdir_component(root_fd, clean, mode, NULL, links);
		*slash = '/';
		if (fd < 0)
			return fd;
		close(fd);
	}
	return mkdir_component(root_fd, clean, mode, created, links);
}

int file_mkdir_in_root(int root_fd, const char *path, mode_t mode, int *created)
{
	return mkdir_in_root(root_fd, path, mode, created, LINKS_MAX);
}

static int touch_in_root(int root_fd, const char *path, mode_t mode, int links)
{
	cleanup_free char *clean = path_clean(path), *target = NULL;
	cleanup_close int parent = -1;
	char *slash;
	int fd = file_open_in_root(root_fd, path, O_PATH, 0);

	if (fd != -ENOENT)
		return fd;
	if (!clean)
		return -ENOMEM;
	slash = strrchr(clean, '/');
	if (slash && slash != clean) {
		*slash = '\0';
		parent = file_mkdir_in_root(root_fd, clean, 0755, NULL);
		*slash = '/';
	} else {
		parent = file_open_in_root(root_fd, "/", O_PATH | O_DIRECTORY, 0);
	}
	if (parent < 0)
		return parent;
	fd = file_touch_at(parent, slash ? slash + 1 : clean, mode);
	target = fd == -ELOOP && links > 0 ? link_target(root_fd, clean) : NULL;
	return target ? touch_in_root(root_fd, target, mode, links - 1) : fd;
}

int file_copy_link(int from_dir, int to_dir, const char *name)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(from_dir, name, target, sizeof(target) - 1);

	if (length < 0)
		return -errno;
	target[length] = '\0';
	return symlinkat(target, to_dir, name) < 0 ? -errno : 0;
}

int file_touch_in_root(int root_fd, const char *path, mode_t mode)
{
	return touch_in_root(root_fd, path, mode, LINKS_MAX);
}

const char *file_fd_path(int fd, char path[static FILE_FD_PATH_MAX])
{
	(void)snprintf(path, FILE_FD_PATH_MAX, "/proc/self/fd/%d", fd);
	return path;
}

char *file_fd_target(int fd)
{
	char link[FILE_FD_PATH_MAX], target[PATH_MAX];
	ssize_t length = readlink(file_fd_path(fd, link), target, sizeof(target) - 1);

	if (length < 0)
		return NULL;
	target[length] = '\0';
	return strdup(target);
}

void file_hold(struct file_held *held, int fd)
{
	int copy = held && fd >= 0 && held->count < FILE_HELD_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (copy >= 0)
		held->fds[held->count++] = copy;
}

void file_hold_at(struct file_held *held, int dirfd, const char *name)
{
	int fd = held && held->count < FILE_HELD_MAX ? openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;

	if (fd >= 0)
		held->fds[held->count++] = fd;
}

void file_held_close(struct file_held *held)
{
	while (held->count > 0)
		close(held->fds[--held->count]);
}

/* A tree on its way out. */
struct removal {
	int top;
	dev_t device;
	unsigned long lifted; /* directories that were moved up into the top one */
	struct file_held *held;
};

/*
 * Whoever wrote the tree decides how deep it is, and every level of the walk holds a descriptor: what is too deep is
 * moved up and becomes a tree of its own.
 */
static int lift(struct removal *removal, int dir, const char *name)
{
	char place[40];

	do {
		(void)snprintf(place, sizeof(place), ".lifted.%lu", removal->lifted++);
		if (syscall(SYS_renameat2, dir, name, removal->top, place, RENAME_NOREPLACE) == 0)
			return 0;
	} while (errno == EEXIST);
	return -errno;
}

/* Empties a directory; a directory on another device is left, and its rmdir fails with EBUSY as it should. */
static int remove_children(struct removal *removal, int fd, int depth)
{
	cleanup_closedir DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		int saved = errno;

		close(fd);
		return -saved;
	}
	while ((errno = 0, entry = readdir(dir))) {
		bool is_dir = entry->d_type == DT_DIR;
		struct stat st;
		int child, ret;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (entry->d_type == DT_UNKNOWN && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			is_dir = S_ISDIR(st.st_mode);
		if (is_dir && depth == REMOVE_DEPTH_MAX) {
			ret = lift(removal, dirfd(dir), entry->d_name);
			if (ret < 0)
				return ret;
			continue;
		}
		if (is_dir) {
			child = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (child < 0)
				return -errno;
			if (fstat(child, &st) < 0 || st.st_dev != removal->device) {
				close(child);
				return -EXDEV;
			}
			file_hold(removal->held, child);
			ret = remove_children(removal, child, depth + 1);
			if (ret < 0)
				return ret;
		} else if (depth == 0) {
			file_hold_at(removal->held, dirfd(dir), entry->d_name);
		}
		if (unlinkat(dirfd(dir), entry->d_name, is_dir ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
			return -errno;
	}
	return -errno;
}

static int empty_directory(int top, struct file_held *held)
{
	struct removal removal = { .top = top, .held = held };
	unsigned long before;
	struct stat st;
	int ret;

	if (fstat(top, &st) < 0)
		return -errno;
	removal.device = st.st_dev;
	do {
		int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		before = removal.lifted;
		ret = fd < 0 ? -errno : remove_children(&removal, fd, 0);
	} while (ret == 0 && removal.lifted != before);
	return ret;
}

int file_remove_all(int dirfd, const char *path, struct error *err)
{
	return file_remove_all_held(dirfd, path, NULL, err);
}

int file_remove_all_held(int dirfd, const char *path, struct file_held *held, struct error *err)
{
	cleanup_close int top = -1;
	int ret;

	if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return error_errno(err, errno, "remove %s", path);
	if (unlinkat(dirfd, path, AT_REMOVEDIR) == 0)
		return 0;
	top = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ret = top < 0 ? -errno : empty_directory(top, held);
	file_hold(held, top);
	if (ret == 0 && unlinkat(dirfd, path, AT_REMOVEDIR) < 0)
		ret = -errno;
	return ret < 0 ? error_errno(err, -ret, "remove %s", path) : 0;
}

char *path_join(const char *left, const char *right)
{
	size_t length = strlen(left);
	char *joined;

	while (length > 0 && left[length - 1] == '/')
		length--;
	while (*right == '/')
		right++;
	return asprintf(&joined, "%.*s/%s", (int)length, left, right) < 0 ? NULL : joined;
}

char *path_clean(const char *path)
{
	bool absolute = *path == '/';
	char *clean = malloc(strlen(path) + 2), *end = clean;

	if (!clean)
		return NULL;
	if (absolute)
		*end++ = '/';
	while (*path) {
		size_t length = strcspn(path, "/");
		char *start = clean + absolute;

		if (length == 2 && path[0] == '.' && path[1] == '.') {
			char *slash;

			*end = '\0';
			slash = end > start ? strrchr(start, '/') : NULL;
			if (end > start && strcmp(slash ? slash + 1 : start, "..") != 0) {
				end = slash ? slash : start;
			} else if (!absolute) {
				if (end > start)
					*end++ = '/';
				*end++ = '.';
				*end++ = '.';
			}
		} else if (length > 0 && !(length == 1 && path[0] == '.')) {
			if (end > start)
				*end++ = '/';
			memcpy(end, path, length);
			end += length;
		}
		path += length;
		while (*path == '/')
			path++;
	}
	if (end == clean)
		*end++ = '.';
	*end = '\0';
	return clean;
}

char *path_absolute(const char *path)
{
	cleanup_free char *cwd = NULL;

	if (*path == '/')
		return strdup(path);
	cwd = getcwd(NULL, 0);
	return cwd ? path_join(cwd, path) : NULL;
}
