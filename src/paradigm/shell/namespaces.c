/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which namespaces are made by clone3(2), which are joined, and in which
 * order: namespaces(7), user_namespaces(7), time_namespaces(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "linux/clone.h"
#include "linux/procfs.h"
#include "paradigm/shell/inside.h"

int namespaces_flag(enum oci_namespace_type type)
{
	static const int flags[OCI_NS_COUNT] = {
		[OCI_NS_PID] = CLONE_NEWPID,	   [OCI_NS_NETWORK] = CLONE_NEWNET, [OCI_NS_MOUNT] = CLONE_NEWNS,
		[OCI_NS_IPC] = CLONE_NEWIPC,	   [OCI_NS_UTS] = CLONE_NEWUTS,	    [OCI_NS_USER] = CLONE_NEWUSER,
		[OCI_NS_CGROUP] = CLONE_NEWCGROUP, [OCI_NS_TIME] = CLONE_NEWTIME,
	};

	return flags[type];
}

uint64_t namespaces_new(const struct oci_linux *linux_)
{
	uint64_t flags = 0;

	for (int i = 0; i < OCI_NS_COUNT; i++) {
		/* cgroup: rooted at the cgroup that its maker is in, so it comes after entering that.
		 * time: its offsets can be written only before anybody is in it. */
		if (linux_->namespaces[i].set && !linux_->namespaces[i].path && i != OCI_NS_CGROUP && i != OCI_NS_TIME)
			flags |= (unsigned)namespaces_flag((enum oci_namespace_type)i);
	}
	return flags;
}

/*
 * A pid namespace is entered by children only, so whoever joins one must clone again.  A user namespace that is joined
 * must own the new namespaces, so it comes first.  And a new user namespace takes the right to join others away.
 */
bool namespaces_need_stand_in(const struct oci_linux *linux_)
{
	const struct oci_namespace *ns = linux_->namespaces;
	bool any_joined = false;

	for (int i = 0; i < OCI_NS_COUNT; i++)
		any_joined |= ns[i].set && ns[i].path;
	return (ns[OCI_NS_PID].set && ns[OCI_NS_PID].path) ||
	       (ns[OCI_NS_USER].set && (ns[OCI_NS_USER].path || any_joined));
}

int namespaces_join(const struct oci_linux *linux_, int except, int *later, struct error *err)
{
	for (int i = 0; i < OCI_NS_COUNT; i++) {
		const struct oci_namespace *ns = &linux_->namespaces[i];
		int flag = namespaces_flag((enum oci_namespace_type)i), ret;

		if (!ns->set || !ns->path || (flag & except))
			continue;
		ret = namespace_join_path(ns->path, flag, err);
		if (ret == -EPERM && later)
			*later |= flag;
		else if (ret < 0)
			return ret;
	}
	return 0;
}

static int write_time_offsets(const struct inside *inside, struct error *err)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	cleanup_str struct str text = STR_INIT;
	int ret;

	if (linux_->time_offset_monotonic.set)
		str_printf(&text, "monotonic %lld %u\n", (long long)linux_->time_offset_monotonic.secs,
			   linux_->time_offset_monotonic.nanosecs);
	if (linux_->time_offset_boottime.set)
		str_printf(&text, "boottime %lld %u\n", (long long)linux_->time_offset_boottime.secs,
			   linux_->time_offset_boottime.nanosecs);
	if (text.length == 0)
		return 0;
	/* Its owner alone may write it, who is not us while we are hidden. */
	if (inside->hidden)
		(void)prctl(PR_SET_DUMPABLE, 1);
	ret = procfs_write(inside->procfs, "self/timens_offsets", str_text(&text));
	if (inside->hidden)
		(void)prctl(PR_SET_DUMPABLE, 0);
	return ret < 0 ? error_errno(err, -ret, "cannot set linux.timeOffsets") : 0;
}

/* unshare(2) has made it for children only, and the kernel moves the process itself at its execve(2) only since 6.3
 * or so: setns(2) does on all. */
static int enter_time_namespace(const struct inside *inside, struct error *err)
{
	cleanup_close int fd = openat(inside->procfs, "self/ns/time_for_children", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, errno, "cannot open the new time namespace");
	return namespace_join_fd(fd, CLONE_NEWTIME, "of our own", err);
}

int namespaces_unshare_late(struct inside *inside, struct error *err)
{
	const struct oci_namespace *ns = inside->spec->linux_.namespaces;
	int ret;

	if (ns[OCI_NS_CGROUP].set && !ns[OCI_NS_CGROUP].path) {
		ret = namespace_unshare(CLONE_NEWCGROUP, err);
		if (ret < 0)
			return ret;
	}
	if (!ns[OCI_NS_TIME].set || ns[OCI_NS_TIME].path)
		return 0;
	ret = namespace_unshare(CLONE_NEWTIME, err);
	if (ret == 0)
		ret = write_time_offsets(inside, err);
	return ret == 0 ? enter_time_namespace(inside, err) : ret;
}

int namespaces_loopback_up(struct error *err)
{
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK };

	if (fd < 0 && errno == EAFNOSUPPORT)
		return 0;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_errno(err, errno, "cannot bring the loopback interface up");
	return 0;
}
