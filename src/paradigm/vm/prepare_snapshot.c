/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that begins where another one was saved: it needs no kernel, that is in its memory. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "paradigm/vm/prepare.h"

static int open_part(struct vm_plan *plan, int directory, const char *name, struct error *err)
{
	cleanup_close int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return error_errno(err, errno, "cannot open %s/%s", plan->settings.snapshot, name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s/%s is no regular file", plan->settings.snapshot, name);
	return vm_keep(plan, take_fd(&fd), err);
}

int vm_open_snapshot(struct vm_plan *plan, struct error *err)
{
	cleanup_close int directory = -1;

	if (plan->config.engine != VM_ENGINE_KVM)
		return error_set(err, ENOTSUP,
				 "a machine can only begin from a snapshot where /dev/kvm runs it, not with QEMU");
	directory = open(plan->settings.snapshot, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return error_errno(err, errno, "cannot open the snapshot %s", plan->settings.snapshot);
	plan->config.snapshot = open_part(plan, directory, "state", err);
	if (plan->config.snapshot < 0)
		return plan->config.snapshot;
	plan->config.snapshot_memory = open_part(plan, directory, "memory", err);
	return plan->config.snapshot_memory < 0 ? plan->config.snapshot_memory : 0;
}
