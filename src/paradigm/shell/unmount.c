/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/shell/unmount.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/mount.h"

enum { FDINFO_MAX = 4096 };

static int open_root(const struct oci_spec *spec, const char *rootfs)
{
	cleanup_free char *clean = NULL;

	if (spec->linux_.namespaces[OCI_NS_MOUNT].set || spec->mounts_count == 0 || !rootfs)
		return -1;
	clean = path_clean(rootfs);
	if (!clean || strcmp(clean, "/") == 0)
		return -1;
	return open(clean, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* The kernel's number of the mount that fd is on; 0: unknown.  Not statx(2): the libc may not know the field. */
static int mount_number(int fd)
{
	cleanup_free char *text = NULL;
	char path[64];
	const char *line;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (fd < 0 || file_read(AT_FDCWD, path, FDINFO_MAX, &text, NULL, NULL) < 0)
		return 0;
	line = strstr(text, "mnt_id:");
	return line ? atoi(line + strlen("mnt_id:")) : 0;
}

static int number_at(int root, const char *path)
{
	cleanup_close int fd = file_open_in_root(root, path, O_PATH, 0);

	return mount_number(fd);
}

/* Whether the mount at path begins there, and is not one that reaches over it from above. */
static bool begins_at(int root, const char *path, int number)
{
	cleanup_free char *clean = path_clean(path);
	char *slash = clean ? strrchr(clean, '/') : NULL;

	if (!slash || !slash[1])
		return false;
	*slash = '\0';
	return number_at(root, slash == clean ? "/" : clean) != number;
}

int *unmount_note(const struct oci_spec *spec, const char *rootfs)
{
	cleanup_close int root = open_root(spec, rootfs);
	int *numbers = root < 0 ? NULL : calloc(spec->mounts_count, sizeof(*numbers));

	for (size_t i = 0; numbers && i < spec->mounts_count; i++)
		numbers[i] = number_at(root, spec->mounts[i].destination);
	return numbers;
}

static bool is_remount(const struct oci_mount *mount)
{
	for (size_t i = 0; i < mount->options.count; i++) {
		if (strcmp(mount->options.items[i], "remount") == 0)
			return true;
	}
	return false;
}

static void take_off(const struct oci_spec *spec, const char *rootfs, const int *noted)
{
	cleanup_close int root = open_root(spec, rootfs);

	for (size_t i = root < 0 ? 0 : spec->mounts_count; i-- > 0;) {
		const char *path = spec->mounts[i].destination;
		cleanup_close int fd = file_open_in_root(root, path, O_PATH, 0);
		int number = mount_number(fd);

		if (number && !is_remount(&spec->mounts[i]) && begins_at(root, path, number) &&
		    !(noted && noted[i] == number))
			(void)mount_detach(fd);
	}
}

void unmount_made(const struct oci_spec *spec, const char *rootfs, const int *noted)
{
	if (noted)
		take_off(spec, rootfs, noted);
}

void unmount_all(const struct oci_spec *spec, const char *rootfs)
{
	take_off(spec, rootfs, NULL);
}
