/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/seccomp.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int seccomp_install(const struct sock_filter *code, size_t count, unsigned int flags, struct error *err)
{
	struct sock_fprog program = { .len = (unsigned short)count };
	long ret;

	if (count == 0 || count > BPF_MAXINSNS)
		return error_set(err, EINVAL, "a seccomp filter of %zu instructions: the kernel takes 1 to %d", count,
				 BPF_MAXINSNS);
	/* The kernel copies it and writes nothing; its struct has no const. */
	program.filter = (struct sock_filter *)(uintptr_t)code;
	ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (ret < 0) {
		int code_of = errno;

		(void)error_errno(err, code_of, "cannot load the seccomp filter");
		if (code_of == EACCES)
			return error_hint(err, "it needs no_new_privs, or CAP_SYS_ADMIN in the user namespace");
		if (code_of == EBUSY)
			return error_hint(err, "a filter with a listener is loaded already");
		return -code_of;
	}
	if (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
		return (int)ret;
	if (ret > 0) /* SECCOMP_FILTER_FLAG_TSYNC names the thread that has filters of its own */
		return error_set(err, ESRCH, "cannot load the seccomp filter into thread %ld", ret);
	return 0;
}

bool seccomp_action_available(uint32_t action)
{
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

bool seccomp_flags_available(unsigned int flags)
{
	/* With known flags it gets as far as the missing program, with others it does not. */
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) < 0 && errno == EFAULT;
}
