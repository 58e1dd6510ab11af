/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/lsm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/procfs.h"

bool lsm_apparmor_enabled(void)
{
	cleanup_close int fd = open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
	char answer = 'N';

	return fd >= 0 && read(fd, &answer, 1) == 1 && answer == 'Y';
}

bool lsm_selinux_enabled(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

/*
 * Without the module the kernel refuses to write; whether it is there is asked only then, to tell why.  Not before: the
 * paths of the answer are those of a host, and a container need not have them.
 *
 * Where the two modules are stacked each has a directory of its own; older kernels have only the shared one.
 */
static int set_attribute(int procfs, const char *own_file, const char *shared_file, const char *text)
{
	int ret = own_file ? procfs_write(procfs, own_file, text) : -ENOENT;

	return ret == -ENOENT ? procfs_write(procfs, shared_file, text) : ret;
}

int lsm_apparmor_set_exec(int procfs, const char *profile, struct error *err)
{
	cleanup_str struct str text = STR_INIT;
	int ret;

	str_printf(&text, "exec %s", profile);
	if (str_failed(&text))
		return error_errno(err, ENOMEM, "cannot apply AppArmor profile");
	ret = set_attribute(procfs, "thread-self/attr/apparmor/exec", "thread-self/attr/exec", str_text(&text));
	if (ret < 0 && !lsm_apparmor_enabled())
		return error_set(err, EOPNOTSUPP,
				 "cannot apply AppArmor profile \"%s\": apparmor is not enabled on this host", profile);
	if (ret == -ENOENT)
		return error_set(err, ENOENT, "unable to apply apparmor profile: profile \"%s\" is not loaded",
				 profile);
	return ret < 0 ? error_errno(err, -ret, "unable to apply apparmor profile \"%s\"", profile) : 0;
}

static int set_selinux(int procfs, const char *file, const char *label, struct error *err)
{
	int ret = procfs_write(procfs, file, label);

	if (ret < 0 && !lsm_selinux_enabled())
		return error_set(err, EOPNOTSUPP,
				 "cannot apply SELinux label \"%s\": selinux is not enabled on this host", label);
	return ret < 0 ? error_errno(err, -ret, "cannot apply SELinux label \"%s\"", label) : 0;
}

int lsm_selinux_set_exec(int procfs, const char *label, struct error *err)
{
	return set_selinux(procfs, "thread-self/attr/exec", label, err);
}

int lsm_selinux_set_key(int procfs, const char *label, struct error *err)
{
	return set_selinux(procfs, "thread-self/attr/keycreate", label, err);
}
