/* SPDX-License-Identifier: Apache-2.0 */
/* Being told of OOM: cgroup-v1/memory.rst section 10, and memory.events in cgroup-v2.rst. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/cgroup_private.h"

static bool is_v1(const struct cgroup *cgroup)
{
	int memory = cgroup_host_find(cgroup->host, "memory");

	return memory >= 0 && cgroup_has(cgroup, (size_t)memory);
}

static int v1_open(const struct cgroup *cgroup, struct error *err)
{
	size_t memory = (size_t)cgroup_host_find(cgroup->host, "memory");
	cleanup_close int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cleanup_close int control = cgroup_file_open(cgroup, memory, "memory.oom_control", O_RDONLY);
	char text[32];
	int ret;

	if (event < 0)
		return error_errno(err, errno, "cannot watch cgroup %s for OOM", cgroup->path);
	if (control < 0)
		return error_errno(err, -control, "cannot watch cgroup %s for OOM", cgroup->path);
	(void)snprintf(text, sizeof(text), "%d %d", event, control);
	ret = cgroup_file_write(cgroup, memory, "cgroup.event_control", text, err);
	return ret < 0 ? ret : take_fd(&event);
}

static int v2_open(const struct cgroup *cgroup, struct error *err)
{
	int v2 = cgroup_host_find(cgroup->host, "");
	cleanup_close int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[PATH_MAX];
	int ret;

	if (v2 < 0 || !cgroup_has(cgroup, (size_t)v2))
		return error_set(err, ENOENT, "cgroup %s has no memory controller", cgroup->path);
	ret = watch < 0 ? -errno : cgroup_file_path(cgroup, (size_t)v2, "memory.events", path);
	if (ret == 0 && inotify_add_watch(watch, path, IN_MODIFY) < 0)
		ret = -errno;
	return ret < 0 ? error_errno(err, -ret, "cannot watch cgroup %s for OOM", cgroup->path) : take_fd(&watch);
}

int cgroup_oom_open(const struct cgroup *cgroup, struct error *err)
{
	return is_v1(cgroup) ? v1_open(cgroup, err) : v2_open(cgroup, err);
}

int cgroup_oom_read(const struct cgroup *cgroup, int fd, uint64_t *kills, bool *happened, struct error *err)
{
	bool v1 = is_v1(cgroup);
	char events[4096] __attribute__((aligned(8)));
	uint64_t before = *kills;
	ssize_t count;
	int ret;

	*happened = false;
	do
		count = read(fd, events, sizeof(events));
	while ((count < 0 && errno == EINTR) || (!v1 && count > 0));
	if (count < 0 && errno != EAGAIN)
		return error_errno(err, errno, "cannot read OOM events of cgroup %s", cgroup->path);
	ret = cgroup_read_key(cgroup, v1 ? "memory" : "", v1 ? "memory.oom_control" : "memory.events", "oom_kill",
			      kills, err);
	if (ret < 0)
		return ret;
	/* v1 tells before it kills: the count may still be the old one. */
	*happened = *kills != before || (v1 && count > 0);
	return 0;
}
