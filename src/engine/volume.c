/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/treecopy.h"

int volume_name_check(const char *name, struct error *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t length = strlen(name);

	if (length < 2 || length > 200 || strspn(name, letters) != length || strchr("_.-", *name))
		return error_set(
			err, EINVAL,
			"\"%.200s\" includes invalid characters for a local volume name, only "
			"\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
			"absolute path",
			name);
	return 0;
}

char *volume_path(const struct engine *engine, const char *name)
{
	char *path;

	return asprintf(&path, "%s/volumes/%s/_data", engine->images.root, name) < 0 ? NULL : path;
}

bool volume_exists(struct engine *engine, const char *name)
{
	return faccessat(engine->volumes_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int volume_ensure(struct engine *engine, const char *name, struct error *err)
{
	cleanup_close int dir = -1, fresh = -1;
	struct stat st;

	if (mkdirat(engine->volumes_fd, name, 0711) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot create volume %s", name);
	dir = openat(engine->volumes_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || flock(dir, LOCK_EX) < 0)
		return error_errno(err, errno, "cannot open volume %s", name);
	if (fstatat(dir, "_data", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	fresh = openat(dir, "fresh", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fresh < 0 || mkdirat(dir, "_data", 0755) < 0)
		return error_errno(err, errno, "cannot create volume %s", name);
	return 0;
}

int volume_populate(struct engine *engine, const char *name, int rootfs_fd, const char *destination, struct error *err)
{
	cleanup_close int dir = openat(engine->volumes_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int from = -1, to = -1;
	struct stat st;
	int ret = 0;

	if (dir < 0 || flock(dir, LOCK_EX) < 0)
		return error_errno(err, errno, "cannot open volume %s", name);
	if (fstatat(dir, "fresh", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	from = file_open_in_root(rootfs_fd, destination, O_RDONLY | O_DIRECTORY, 0);
	to = openat(dir, "_data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return error_errno(err, errno, "cannot open volume %s", name);
	if (from >= 0)
		ret = treecopy(from, to, err);
	if (ret < 0)
		return error_wrap(err, "cannot fill volume %s from the image's %s", name, destination);
	(void)unlinkat(dir, "fresh", 0);
	return 0;
}

int volume_remove(struct engine *engine, const char *name, struct error *err)
{
	int ret = file_remove_all(engine->volumes_fd, name, err);

	return ret < 0 ? error_wrap(err, "cannot remove volume %s", name) : 0;
}

int volume_list(struct engine *engine, char ***names, size_t *count, struct error *err)
{
	int fd = openat(engine->volumes_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	*names = NULL;
	*count = 0;
	if (!dir)
		return error_errno(err, errno, "cannot list volumes");
	while ((entry = readdir(dir))) {
		char **grown;

		if (*entry->d_name == '.')
			continue;
		grown = reallocarray(*names, *count + 1, sizeof(*grown));
		if (!grown) {
			runtime_ids_free(*names, *count);
			return error_errno(err, ENOMEM, "cannot list volumes");
		}
		*names = grown;
		grown[*count] = strdup(entry->d_name);
		*count += grown[*count] != NULL;
	}
	return 0;
}
