/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/capability.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const names[] = {
	[CAP_CHOWN] = "CAP_CHOWN",
	[CAP_DAC_OVERRIDE] = "CAP_DAC_OVERRIDE",
	[CAP_DAC_READ_SEARCH] = "CAP_DAC_READ_SEARCH",
	[CAP_FOWNER] = "CAP_FOWNER",
	[CAP_FSETID] = "CAP_FSETID",
	[CAP_KILL] = "CAP_KILL",
	[CAP_SETGID] = "CAP_SETGID",
	[CAP_SETUID] = "CAP_SETUID",
	[CAP_SETPCAP] = "CAP_SETPCAP",
	[CAP_LINUX_IMMUTABLE] = "CAP_LINUX_IMMUTABLE",
	[CAP_NET_BIND_SERVICE] = "CAP_NET_BIND_SERVICE",
	[CAP_NET_BROADCAST] = "CAP_NET_BROADCAST",
	[CAP_NET_ADMIN] = "CAP_NET_ADMIN",
	[CAP_NET_RAW] = "CAP_NET_RAW",
	[CAP_IPC_LOCK] = "CAP_IPC_LOCK",
	[CAP_IPC_OWNER] = "CAP_IPC_OWNER",
	[CAP_SYS_MODULE] = "CAP_SYS_MODULE",
	[CAP_SYS_RAWIO] = "CAP_SYS_RAWIO",
	[CAP_SYS_CHROOT] = "CAP_SYS_CHROOT",
	[CAP_SYS_PTRACE] = "CAP_SYS_PTRACE",
	[CAP_SYS_PACCT] = "CAP_SYS_PACCT",
	[CAP_SYS_ADMIN] = "CAP_SYS_ADMIN",
	[CAP_SYS_BOOT] = "CAP_SYS_BOOT",
	[CAP_SYS_NICE] = "CAP_SYS_NICE",
	[CAP_SYS_RESOURCE] = "CAP_SYS_RESOURCE",
	[CAP_SYS_TIME] = "CAP_SYS_TIME",
	[CAP_SYS_TTY_CONFIG] = "CAP_SYS_TTY_CONFIG",
	[CAP_MKNOD] = "CAP_MKNOD",
	[CAP_LEASE] = "CAP_LEASE",
	[CAP_AUDIT_WRITE] = "CAP_AUDIT_WRITE",
	[CAP_AUDIT_CONTROL] = "CAP_AUDIT_CONTROL",
	[CAP_SETFCAP] = "CAP_SETFCAP",
	[CAP_MAC_OVERRIDE] = "CAP_MAC_OVERRIDE",
	[CAP_MAC_ADMIN] = "CAP_MAC_ADMIN",
	[CAP_SYSLOG] = "CAP_SYSLOG",
	[CAP_WAKE_ALARM] = "CAP_WAKE_ALARM",
	[CAP_BLOCK_SUSPEND] = "CAP_BLOCK_SUSPEND",
	[CAP_AUDIT_READ] = "CAP_AUDIT_READ",
	[CAP_PERFMON] = "CAP_PERFMON",
	[CAP_BPF] = "CAP_BPF",
	[CAP_CHECKPOINT_RESTORE] = "CAP_CHECKPOINT_RESTORE",
};
enum { NAMES = sizeof(names) / sizeof(*names), MASK_BITS = 64, PREFIX = 4 /* "CAP_" */ };

int capability_from_name(const char *name)
{
	if (strncasecmp(name, names[0], PREFIX) == 0)
		name += PREFIX;
	for (int i = 0; i < NAMES; i++)
		if (strcasecmp(name, names[i] + PREFIX) == 0)
			return i;
	return -EINVAL;
}

const char *capability_name(int capability)
{
	return capability >= 0 && capability < NAMES ? names[capability] : NULL;
}

int capability_count(void)
{
	return NAMES;
}

static uint64_t mask_below(int count)
{
	return count >= MASK_BITS ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* PR_CAPBSET_READ fails from the first number on that the kernel has no capability for. */
static bool kernel_knows(int capability)
{
	return prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
}

uint64_t capability_known_mask(void)
{
	int low = NAMES, high = MASK_BITS;

	/* Nearly always the kernel knows exactly as many as the headers: two calls.  Else look on both sides. */
	if (kernel_knows(NAMES - 1)) {
		while (low < high && kernel_knows(low))
			low++;
		return mask_below(low);
	}
	while (--low > 0 && !kernel_knows(low - 1))
		;
	return mask_below(low);
}

int capability_drop_bounding(uint64_t bounding, struct error *err)
{
	for (int i = 0; i < MASK_BITS; i++) {
		if (bounding & UINT64_C(1) << i)
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL) /* one past the last that the kernel knows */
			break;
		return error_errno(err, errno, "cannot drop %s from the bounding set",
				   i < NAMES ? names[i] : "a capability that this build has no name for");
	}
	return 0;
}

static int apply_ambient(uint64_t ambient, struct error *err)
{
	/* Kernels before 4.3 have no ambient set; without one asked for that is fine. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && (errno != EINVAL || ambient))
		return error_errno(err, errno, "cannot clear the ambient capabilities");
	for (int i = 0; ambient; i++, ambient >>= 1) {
		if (!(ambient & 1) || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) == 0)
			continue;
		if (errno != EINVAL) /* this kernel does not know it */
			return error_errno(err, errno, "cannot raise %s in the ambient set",
					   i < NAMES ? names[i] : "a capability that this build has no name for");
	}
	return 0;
}

int capability_apply(const struct capability_sets *sets, struct error *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	/* capset(2) drops what it does not know by itself (CAP_VALID_MASK), so the kernel need not be asked first. */
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].effective = (uint32_t)(sets->effective >> 32 * i);
		data[i].permitted = (uint32_t)(sets->permitted >> 32 * i);
		data[i].inheritable = (uint32_t)(sets->inheritable >> 32 * i);
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return error_errno(
			err, errno, "cannot set the capabilities (effective %#jx, permitted %#jx, inheritable %#jx)",
			(uintmax_t)sets->effective, (uintmax_t)sets->permitted, (uintmax_t)sets->inheritable);
	/* What is not permitted and inheritable capset(2) has taken out of the ambient set: capabilities(7). */
	return sets->ambient || (sets->permitted & sets->inheritable) ? apply_ambient(sets->ambient, err) : 0;
}

uint64_t capability_own_permitted(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}
