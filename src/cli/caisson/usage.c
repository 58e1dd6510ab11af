/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/caisson/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "engine/launch_disk.h"

enum { DEPTH_MAX = 512, SECTOR = 512 };

static unsigned long long tree_at_depth(int dirfd, const char *path, int depth)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	unsigned long long sum = 0;
	struct dirent *entry;
	struct stat st;

	while (dir && depth < DEPTH_MAX && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			sum += tree_at_depth(fd, entry->d_name, depth + 1);
		else if (S_ISREG(st.st_mode))
			sum += (unsigned long long)st.st_size < (unsigned long long)st.st_blocks * SECTOR
				       ? (unsigned long long)st.st_size
				       : (unsigned long long)st.st_blocks * SECTOR;
	}
	return sum;
}

unsigned long long tree_bytes(int dirfd, const char *path)
{
	return tree_at_depth(dirfd, path, 0);
}

unsigned long long file_bytes(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (unsigned long long)st.st_blocks * SECTOR : 0;
}

unsigned long long instance_written(const struct instance *instance)
{
	return tree_bytes(instance->dir_fd, "diff") + file_bytes(instance->dir_fd, INSTANCE_DISK);
}
