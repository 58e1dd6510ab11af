/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify(3) out of a container, as runc has it: a socket of the container's
 * own, in a directory of its own that is mounted at /run/notify.  The host's
 * socket is not handed in: a service manager asks who sends, and a container
 * could tell it anything.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/notify.h"
#include "runtime/internal.h"

#define DIRECTORY_INSIDE "/run/notify"
#define SOCKET_NAME	 "notify.sock"

static const char *const mount_options[] = { "bind", "nosuid", "noexec", "nodev", "ro", NULL };

static int add_mount(struct oci_spec *spec, const char *source)
{
	struct oci_mount *mounts = arena_alloc(&spec->arena, spec->mounts_count + 1, sizeof(*mounts));

	if (!mounts)
		return -ENOMEM;
	if (spec->mounts_count)
		memcpy(mounts, spec->mounts, spec->mounts_count * sizeof(*mounts));
	mounts[spec->mounts_count] = (struct oci_mount){
		.destination = DIRECTORY_INSIDE,
		.type = "bind",
		.source = arena_strdup(&spec->arena, source),
		.options = { .count = sizeof(mount_options) / sizeof(*mount_options) - 1,
			     .items = (const char **)mount_options },
	};
	spec->mounts = mounts;
	return mounts[spec->mounts_count++].source ? 0 : -ENOMEM;
}

static int add_variable(struct oci_spec *spec)
{
	struct oci_strings *env = &spec->process.env;
	const char **items = arena_alloc(&spec->arena, env->count + 2, sizeof(*items));

	if (!items)
		return -ENOMEM;
	if (env->count)
		memcpy(items, env->items, env->count * sizeof(*items));
	items[env->count++] = "NOTIFY_SOCKET=" DIRECTORY_INSIDE "/" SOCKET_NAME;
	env->items = items;
	return 0;
}

int container_notify_prepare(struct container *container, struct error *err)
{
	cleanup_free char *directory = path_join(container->dir, "notify");
	mode_t mask;
	int ret;

	if (!directory)
		return error_errno(err, ENOMEM, "cannot set up NOTIFY_SOCKET");
	/* Any user of the container's may come in. */
	mask = umask(0);
	ret = mkdirat(container->dir_fd, "notify", 0755) < 0 ? -errno : 0;
	umask(mask);
	if (ret == 0)
		ret = add_mount(&container->spec, directory);
	if (ret == 0)
		ret = add_variable(&container->spec);
	return ret < 0 ? error_errno(err, -ret, "cannot set up NOTIFY_SOCKET in %s", directory) : 0;
}

int container_notify_listen(const struct container *container, struct error *err)
{
	cleanup_free char *path = path_join(container->dir, "notify/" SOCKET_NAME);
	cleanup_close int fd = -1;

	if (!path)
		return error_errno(err, ENOMEM, "cannot listen for notifications");
	fd = notify_listen(path, err);
	if (fd >= 0 && fchmodat(container->dir_fd, "notify/" SOCKET_NAME, 0777, 0) < 0)
		return error_errno(err, errno, "cannot open %s to the container", path);
	return take_fd(&fd);
}
