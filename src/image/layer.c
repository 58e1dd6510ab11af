/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

/* Names that start so are not files but messages to the layers below. */
#define WHITEOUT_PREFIX	     ".wh."
#define WHITEOUT_META_PREFIX ".wh..wh."
#define WHITEOUT_OPAQUE	     ".wh..wh..opq"

enum { QUOTED_MAX = 256 };

/* A directory whose time is set when nothing is made in it any more. */
struct directory {
	struct directory *next;
	const char *path;
	struct timespec mtime;
};

struct extraction {
	const struct image_store *store;
	const struct layer_source *source;
	struct layer_result *result;
	struct image_limits limits;
	struct inflate inflate;
	struct archive *tar;
	struct archive_entry *entry;
	int root;
	size_t root_depth; /* components of the root's own path */
	uint64_t logical;  /* bytes of all files so far, holes included */
	char path[PATH_MAX];
	char parent_path[PATH_MAX]; /* what parent is, while it is >= 0 */
	int parent;
	struct directory *directories, **last_directory;
	struct arena arena;
	struct error *err;
};

/* A name out of an archive, fit for a terminal. */
static const char *quote(const char *name, char quoted[static QUOTED_MAX])
{
	size_t i;

	for (i = 0; i < QUOTED_MAX - 4 && name[i]; i++)
		quoted[i] = isprint((unsigned char)name[i]) || (unsigned char)name[i] >= 0x80 ? name[i] : '?';
	memcpy(quoted + i, name[i] ? "..." : "", name[i] ? 4 : 1);
	return quoted;
}

static void forget_parent(struct extraction *x)
{
	if (x->parent >= 0)
		close(x->parent);
	x->parent = -1;
}

/* Cleans name into clean: relative, no "." and no empty component; "" is the root itself. */
static int clean_name(const struct extraction *x, const char *name, char clean[static PATH_MAX])
{
	size_t used = 0, depth = 0;

	while (*name) {
		size_t length = strcspn(name, "/");

		if (length == 2 && name[0] == '.' && name[1] == '.')
			return error_set(x->err, EINVAL, "\"..\" in its name");
		if (length > NAME_MAX || used + length + 2 > PATH_MAX)
			return error_set(x->err, EINVAL, "its name is too long");
		if (length > 0 && !(length == 1 && name[0] == '.')) {
			if (++depth > x->limits.depth)
				return error_set(x->err, EFBIG, "more than %llu directories deep",
						 (unsigned long long)x->limits.depth);
			if (used > 0)
				clean[used++] = '/';
			memcpy(clean + used, name, length);
			used += length;
		}
		name += length;
		name += *name == '/';
	}
	clean[used] = '\0';
	return 0;
}

static size_t count_slashes(const char *path)
{
	size_t count = 0;

	while ((path = strchr(path, '/')) != NULL) {
		path++;
		count++;
	}
	return count;
}

/*
 * Links can multiply the depth of a path beyond what was checked in its name,
 * and a tree deeper than a process has descriptors is one that cannot be
 * removed again.
 */
static int check_real_depth(const struct extraction *x, int dir)
{
	cleanup_free char *path = file_fd_target(dir);

	if (!path || count_slashes(path) > x->root_depth + x->limits.depth)
		return error_set(x->err, EFBIG, "more than %llu directories deep", (unsigned long long)x->limits.depth);
	return 0;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int set_opaque(struct extraction *x, int dir)
{
	const char *name = x->store->rootless ? "user.overlay.opaque" : "trusted.overlay.opaque";

	if (fsetxattr(dir, name, "y", 1, 0) < 0)
		return error_errno(x->err, errno, "cannot set %s", name);
	return 0;
}

/* Owner by descriptor, or by name without following; a rootless store does what its user may. */
static int set_owner(struct extraction *x, int dir, const char *name, int flags, int64_t uid, int64_t gid, mode_t *mode)
{
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return error_set(x->err, EINVAL, "owner %lld:%lld is out of range", (long long)uid, (long long)gid);
	if (fchownat(dir, name, (uid_t)uid, (gid_t)gid, flags | AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (!x->store->rootless || (errno != EPERM && errno != EINVAL))
		return error_errno(x->err, errno, "cannot change its owner to %lld:%lld", (long long)uid,
				   (long long)gid);
	/* Set-id bits under another owner would be another privilege than the image meant. */
	*mode &= ~(mode_t)(S_ISUID | S_ISGID);
	x->result->owners++;
	return 0;
}

static struct timespec entry_mtime(struct archive_entry *entry)
{
	struct timespec mtime = { .tv_nsec = UTIME_OMIT };

	if (archive_entry_mtime_is_set(entry)) {
		mtime.tv_sec = archive_entry_mtime(entry);
		mtime.tv_nsec = archive_entry_mtime_nsec(entry);
		if (mtime.tv_nsec < 0 || mtime.tv_nsec > 999999999)
			mtime.tv_nsec = 0;
	}
	return mtime;
}

/* Times are no reason to refuse an image: what the file system cannot hold, it clamps or refuses, and we go on. */
static void set_mtime(int dir, const char *name, int flags, struct timespec mtime)
{
	const struct timespec times[2] = { mtime, mtime };

	if (name)
		(void)utimensat(dir, name, times, flags);
	else
		(void)futimens(dir, times);
}

/* Which extended attributes of an archive mean something in a layer. */
static bool attribute_wanted(const char *name)
{
	if (str_starts(name, "user."))
		return !str_starts(name, "user.overlay.");
	return strcmp(name, "security.capability") == 0 || strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

static int set_attributes(struct extraction *x, int fd)
{
	const char *name;
	const void *value;
	size_t size;

	(void)archive_entry_xattr_reset(x->entry);
	while (archive_entry_xattr_next(x->entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || !attribute_wanted(name)) {
			x->result->attributes++;
			continue;
		}
		if (fsetxattr(fd, name, value, size, 0) == 0)
			continue;
		if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
			return error_errno(x->err, errno, "cannot set its attribute %.64s", name);
		/* The file system has none, or the user may not: as in docker, not fatal, but told. */
		x->result->attributes++;
	}
	return 0;
}

/* Owner first (it clears set-id bits and capabilities), then mode, then attributes, then time. */
static int set_metadata(struct extraction *x, int fd, mode_t extra_mode)
{
	mode_t mode = archive_entry_perm(x->entry) & 07777;
	int ret = set_owner(x, fd, "", AT_EMPTY_PATH, archive_entry_uid(x->entry), archive_entry_gid(x->entry), &mode);

	if (ret < 0)
		return ret;
	if (fchmod(fd, mode | extra_mode) < 0)
		return error_errno(x->err, errno, "cannot change its mode");
	ret = set_attributes(x, fd);
	if (ret == 0 && extra_mode == 0)
		set_mtime(fd, NULL, 0, entry_mtime(x->entry));
	return ret;
}

static int remember_mtime(struct extraction *x, const char *path, struct timespec mtime)
{
	struct directory *directory = arena_alloc(&x->arena, 1, sizeof(*directory));

	if (!directory || !(directory->path = arena_strdup(&x->arena, path)))
		return error_errno(x->err, ENOMEM, "cannot unpack");
	directory->mtime = mtime;
	*x->last_directory = directory;
	x->last_directory = &directory->next;
	return 0;
}

/* A directory is usable by the store's owner whatever the archive says: without privilege it could not be removed. */
static mode_t directory_mode(const struct extraction *x)
{
	return x->store->rootless ? 0700 : 0;
}

/* A parent that the archive does not name looks like the one in the topmost layer below that has it. */
static int inherit(struct extraction *x, int dir, const char *path)
{
	mode_t mode = 0755;
	struct stat st;

	for (size_t i = 0; i < x->source->lower_count; i++) {
		cleanup_close int fd = file_open_in_root(x->source->lower[i], path, O_PATH | O_NOFOLLOW, 0);
		int ret;

		if (fd < 0)
			continue;
		if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
			break;
		mode = st.st_mode & 07777;
		ret = set_owner(x, dir, "", AT_EMPTY_PATH, st.st_uid, st.st_gid, &mode);
		if (ret == 0)
			ret = remember_mtime(x, path, st.st_mtim);
		if (ret < 0)
			return ret;
		break;
	}
	if (fchmod(dir, mode | directory_mode(x)) < 0)
		return error_errno(x->err, errno, "cannot change the mode of its parent");
	return 0;
}

/* Makes the directory name in dir, which may be marked as deleted below.  Returns it opened for reading. */
static int make_directory(struct extraction *x, int dir, const char *name, bool *existed)
{
	bool hidden = false;
	struct stat st;
	int fd, ret;

	*existed = false;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		*existed = S_ISDIR(st.st_mode);
		hidden = is_whiteout(&st);
		if (!*existed && (ret = file_remove_all(dir, name, x->err)) < 0)
			return ret;
		forget_parent(x);
	}
	if (!*existed && mkdirat(dir, name, 0700) < 0)
		return error_errno(x->err, errno, "cannot make directory");
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(x->err, errno, "cannot open directory");
	ret = hidden ? set_opaque(x, fd) : 0;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

/* One missing component of a parent path; path is the whole of it from the root on. */
static int make_parent(struct extraction *x, int dir, const char *name, const char *path)
{
	cleanup_close int fd = -1;
	struct stat st;
	bool existed;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_whiteout(&st))
		return error_set(x->err, ENOTDIR, "its parent %s is not a directory",
				 S_ISLNK(st.st_mode) ? "is a link that leads nowhere, and" : "exists and");
	fd = make_directory(x, dir, name, &existed);
	return fd < 0 ? fd : inherit(x, fd, path);
}

/* Makes what is missing of path and opens it. */
static int make_parents(struct extraction *x, const char *path)
{
	char prefix[PATH_MAX];
	cleanup_close int dir = fcntl(x->root, F_DUPFD_CLOEXEC, 3);
	size_t used = 0;

	while (dir >= 0) {
		size_t start = used;
		int next, ret;

		used += strcspn(path + used, "/");
		memcpy(prefix, path, used);
		prefix[used] = '\0';
		next = file_open_in_root(x->root, prefix, O_PATH | O_DIRECTORY, 0);
		if (next == -ENOENT || next == -ENOTDIR) {
			ret = make_parent(x, dir, prefix + start, prefix);
			if (ret < 0)
				return ret;
			next = file_open_in_root(x->root, prefix, O_PATH | O_DIRECTORY, 0);
		}
		if (next < 0)
			return error_errno(x->err, -next, "cannot open its parent");
		close(dir);
		dir = next;
		if (!path[used])
			return take_fd(&dir);
		used++;
	}
	return error_errno(x->err, errno, "cannot open its parent");
}

/*
 * The directory that holds path, resolved beneath the root, links in it
 * included; missing ones are made when asked.  The descriptor is the cache's.
 */
static int open_parent(struct extraction *x, const char *path, bool make, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;
	int fd;

	*name = slash ? slash + 1 : path;
	if (!slash)
		return x->root;
	if (x->parent >= 0 && strlen(x->parent_path) == length && memcmp(x->parent_path, path, length) == 0)
		return x->parent;
	forget_parent(x);
	memcpy(x->parent_path, path, length);
	x->parent_path[length] = '\0';
	fd = file_open_in_root(x->root, x->parent_path, O_PATH | O_DIRECTORY, 0);
	if ((fd == -ENOENT || fd == -ENOTDIR) && make)
		fd = make_parents(x, x->parent_path);
	else if (fd < 0)
		(void)error_errno(x->err, -fd, "cannot open its parent");
	if (fd < 0)
		return fd;
	x->parent = fd;
	if (check_real_depth(x, fd) < 0) {
		forget_parent(x);
		return -EFBIG;
	}
	return fd;
}

/* A later entry replaces an earlier one of the same name. */
static int make_room(struct extraction *x, int *dir, const char **name)
{
	struct stat st;
	int ret;

	if (fstatat(*dir, *name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_errno(x->err, errno, "cannot look it up");
	ret = file_remove_all(*dir, *name, x->err);
	if (ret < 0 || !S_ISDIR(st.st_mode))
		return ret;
	/* The cached parent may have been below what is gone. */
	forget_parent(x);
	*dir = open_parent(x, x->path, true, name);
	return *dir < 0 ? *dir : 0;
}

static int write_data(struct extraction *x, int fd)
{
	const int64_t size = archive_entry_size(x->entry);
	const void *bytes;
	size_t count;
	la_int64_t offset;
	int ret, written;

	while ((ret = archive_read_data_block(x->tar, &bytes, &count, &offset)) == ARCHIVE_OK) {
		if (offset < 0 || offset > size || (uint64_t)(size - offset) < count)
			return error_set(x->err, EINVAL, "data beyond its end");
		written = file_write_at(fd, bytes, count, (uint64_t)offset);
		if (written < 0)
			return error_errno(x->err, -written, "cannot write");
	}
	if (ret != ARCHIVE_EOF)
		return -EIO;
	if (ftruncate(fd, size) < 0)
		return error_errno(x->err, errno, "cannot write");
	return 0;
}

static int extract_file(struct extraction *x, int dir, const char *name)
{
	const int64_t size = archive_entry_size(x->entry);
	cleanup_close int fd = -1;
	int ret = make_room(x, &dir, &name);

	if (ret < 0)
		return ret;
	if (size < 0 || __builtin_add_overflow(x->logical, (uint64_t)size, &x->logical) ||
	    x->logical > x->limits.unpacked_bytes)
		return error_set(x->err, EFBIG, "unpacks to more than %llu bytes",
				 (unsigned long long)x->limits.unpacked_bytes);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(x->err, errno, "cannot create");
	ret = write_data(x, fd);
	if (ret == 0)
		ret = set_metadata(x, fd, 0);
	if (ret == 0)
		x->result->size += (uint64_t)size;
	return ret;
}

static int extract_directory(struct extraction *x, int dir, const char *name)
{
	bool existed;
	cleanup_close int fd = make_directory(x, dir, name, &existed);
	int ret;

	if (fd < 0)
		return fd;
	ret = set_metadata(x, fd, directory_mode(x));
	return ret < 0 ? ret : remember_mtime(x, x->path, entry_mtime(x->entry));
}

/* The entry "." speaks of the layer's own directory, and of nothing else (CVE-2021-29136). */
static int extract_root(struct extraction *x)
{
	int ret;

	if (archive_entry_filetype(x->entry) != AE_IFDIR || archive_entry_hardlink(x->entry))
		return error_set(x->err, EINVAL, "the root of a layer must be a directory");
	ret = set_metadata(x, x->root, directory_mode(x));
	return ret < 0 ? ret : remember_mtime(x, "", entry_mtime(x->entry));
}

static int extract_symlink(struct extraction *x, int dir, const char *name)
{
	const char *target = archive_entry_symlink(x->entry);
	mode_t unused = 0;
	int ret;

	if (!target || !*target || strlen(target) >= PATH_MAX)
		return error_set(x->err, EINVAL, "a symbolic link without a usable target");
	ret = make_room(x, &dir, &name);
	if (ret < 0)
		return ret;
	if (symlinkat(target, dir, name) < 0)
		return error_errno(x->err, errno, "cannot make symbolic link");
	ret = set_owner(x, dir, name, 0, archive_entry_uid(x->entry), archive_entry_gid(x->entry), &unused);
	if (ret == 0)
		set_mtime(dir, name, AT_SYMLINK_NOFOLLOW, entry_mtime(x->entry));
	return ret;
}

/* Both ends beneath the root; the last component of the target is linked to, never followed. */
static int extract_hardlink(struct extraction *x, const char *target)
{
	char clean[PATH_MAX], quoted[QUOTED_MAX];
	const char *target_name, *name;
	cleanup_close int target_dir = -1;
	struct stat st;
	int dir, ret = clean_name(x, target, clean);

	if (ret < 0)
		return error_wrap(x->err, "hard link to \"%s\"", quote(target, quoted));
	if (!*clean)
		return error_set(x->err, EINVAL, "hard link to the root");
	if (strcmp(clean, x->path) == 0)
		return error_set(x->err, EINVAL, "hard link to itself");
	dir = open_parent(x, clean, false, &target_name);
	if (dir < 0)
		return error_wrap(x->err, "hard link to \"%s\"", quote(target, quoted));
	target_dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	dir = open_parent(x, x->path, true, &name);
	if (dir < 0)
		return dir;
	if (target_dir < 0 || fstatat(target_dir, target_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(x->err, errno, "hard link to \"%s\", which is not in this layer",
				   quote(target, quoted));
	if (S_ISDIR(st.st_mode))
		return error_set(x->err, EINVAL, "hard link to a directory");
	ret = make_room(x, &dir, &name);
	if (ret < 0)
		return ret;
	if (linkat(target_dir, target_name, dir, name, 0) < 0)
		return error_errno(x->err, errno, "cannot make hard link to \"%s\"", quote(target, quoted));
	return 0;
}

/* Devices and FIFOs.  A 0:0 character device would be a whiteout: only the .wh. names may make those. */
static int extract_node(struct extraction *x, int dir, const char *name)
{
	const mode_t type = archive_entry_filetype(x->entry);
	const dev_t device = type == AE_IFIFO ? 0 : archive_entry_rdev(x->entry);
	mode_t mode = archive_entry_perm(x->entry) & 07777;
	char link[FILE_FD_PATH_MAX];
	cleanup_close int fd = -1;
	int ret = make_room(x, &dir, &name);

	if (ret < 0)
		return ret;
	if (type != AE_IFIFO && (x->store->rootless || device == 0)) {
		x->result->devices++;
		return 0;
	}
	if (mknodat(dir, name, type | 0600, device) < 0) {
		if (errno != EPERM || type == AE_IFIFO)
			return error_errno(x->err, errno, "cannot make node");
		x->result->devices++;
		return 0;
	}
	ret = set_owner(x, dir, name, 0, archive_entry_uid(x->entry), archive_entry_gid(x->entry), &mode);
	if (ret < 0)
		return ret;
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || chmod(file_fd_path(fd, link), mode) < 0)
		return error_errno(x->err, errno, "cannot change its mode");
	set_mtime(dir, name, AT_SYMLINK_NOFOLLOW, entry_mtime(x->entry));
	return 0;
}

static int extract_opaque(struct extraction *x, int dir)
{
	cleanup_close int fd = -1;

	if (dir == x->root) {
		x->result->opaque_root = true;
		return 0;
	}
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(x->err, errno, "cannot open directory");
	return set_opaque(x, fd);
}

/* ".wh.NAME": NAME of the layers below is deleted.  What this layer itself has of that name stays. */
static int extract_whiteout(struct extraction *x, int dir, const char *name)
{
	const char *victim = name + strlen(WHITEOUT_PREFIX);
	cleanup_close int fd = -1;
	struct stat st;

	if (strcmp(name, WHITEOUT_OPAQUE) == 0)
		return extract_opaque(x, dir);
	if (str_starts(name, WHITEOUT_META_PREFIX))
		return 0;
	if (!*victim || strcmp(victim, ".") == 0 || strcmp(victim, "..") == 0)
		return error_set(x->err, EINVAL, "a whiteout of nothing");
	if (fstatat(dir, victim, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISDIR(st.st_mode))
			return 0;
		fd = openat(dir, victim, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		return fd < 0 ? error_errno(x->err, errno, "cannot open directory") : set_opaque(x, fd);
	}
	if (mknodat(dir, victim, S_IFCHR, makedev(0, 0)) < 0)
		return error_errno(x->err, errno, "cannot make whiteout");
	return 0;
}

static int extract_entry(struct extraction *x, const char *raw)
{
	const char *hardlink = archive_entry_hardlink(x->entry), *name;
	int ret = clean_name(x, raw, x->path), dir;

	if (ret < 0)
		return ret;
	if (!*x->path)
		return extract_root(x);
	dir = open_parent(x, x->path, true, &name);
	/* Below what this layer made a file or a dead link of, there is nothing to hide; umoci writes such whiteouts.
	 */
	if (dir == -ENOTDIR && str_starts(name, WHITEOUT_PREFIX)) {
		*x->err = ERROR_INIT;
		return 0;
	}
	if (dir < 0)
		return dir;
	if (str_starts(name, WHITEOUT_PREFIX))
		return extract_whiteout(x, dir, name);
	if (hardlink)
		return extract_hardlink(x, hardlink);
	switch (archive_entry_filetype(x->entry)) {
	case AE_IFREG:
		return extract_file(x, dir, name);
	case AE_IFDIR:
		return extract_directory(x, dir, name);
	case AE_IFLNK:
		return extract_symlink(x, dir, name);
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		return extract_node(x, dir, name);
	default:
		return 0; /* a socket: nothing that an archive could give back */
	}
}

static int extract_entries(struct extraction *x)
{
	char quoted[QUOTED_MAX];
	int status, ret;

	while ((status = archive_read_next_header(x->tar, &x->entry)) == ARCHIVE_OK || status == ARCHIVE_WARN) {
		const char *raw = archive_entry_pathname(x->entry);

		if (++x->result->entries > x->limits.entries)
			return error_set(x->err, EFBIG, "more than %llu entries",
					 (unsigned long long)x->limits.entries);
		if (!raw || !*raw)
			return error_set(x->err, EINVAL, "entry without a name");
		ret = extract_entry(x, raw);
		if (ret == -EIO && !x->err->code)
			ret = inflate_tar_error(&x->inflate, x->tar, x->err);
		if (ret < 0)
			return error_wrap(x->err, "entry \"%s\"", quote(raw, quoted));
	}
	return status == ARCHIVE_EOF ? 0 : inflate_tar_error(&x->inflate, x->tar, x->err);
}

static void set_directory_times(struct extraction *x)
{
	for (const struct directory *at = x->directories; at; at = at->next) {
		cleanup_close int fd = file_open_in_root(x->root, at->path,
							 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0);

		if (fd >= 0)
			set_mtime(fd, NULL, 0, at->mtime);
	}
}

static int check_digest(struct extraction *x)
{
	digest_end(&x->inflate.digest, x->result->diff_id);
	if (x->source->diff_id && strcmp(x->source->diff_id, x->result->diff_id) != 0)
		return error_set(x->err, EINVAL, "unpacked digest is %s, the image says %s", x->result->diff_id,
				 x->source->diff_id);
	return 0;
}

static int run(struct extraction *x)
{
	int ret = inflate_open(&x->inflate, x->source->fd, x->store, "Extracting", x->source->what, x->err);

	if (ret < 0)
		return ret;
	digest_begin(&x->inflate.digest, x->source->diff_id);
	x->result->kind = x->inflate.kind;
	ret = inflate_tar(&x->inflate, &x->tar, x->err);
	if (ret < 0)
		return ret;
	ret = extract_entries(x);
	if (ret == 0)
		ret = inflate_drain(&x->inflate, x->err);
	if (ret == 0)
		ret = check_digest(x);
	if (ret < 0)
		return ret;
	set_directory_times(x);
	x->result->tar_size = x->inflate.out;
	return 0;
}

int layer_extract(const struct image_store *store, int root_fd, const struct layer_source *source,
		  struct layer_result *result, struct error *err)
{
	/* Names are bytes: in any other locale libarchive would convert them. */
	locale_t bytes = newlocale(LC_CTYPE_MASK, "C", (locale_t)0), before = uselocale(bytes);
	struct extraction x = { .store = store, .source = source, .result = result, .root = root_fd, .parent = -1 };
	cleanup_free char *root_path = file_fd_target(root_fd);
	struct error own = ERROR_INIT;
	int ret;

	memset(result, 0, sizeof(*result));
	x.limits = store->limits;
	image_limits_default(&x.limits);
	x.root_depth = root_path ? count_slashes(root_path) : 0;
	x.last_directory = &x.directories;
	x.err = &own;
	ret = run(&x);
	archive_read_free(x.tar);
	inflate_close(&x.inflate);
	forget_parent(&x);
	arena_free(&x.arena);
	uselocale(before);
	if (bytes)
		freelocale(bytes);
	return ret < 0 ? error_set(err, own.code ? own.code : -ret, "cannot unpack layer %s: %s", source->what,
				   own.text)
		       : 0;
}
