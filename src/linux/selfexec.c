/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/selfexec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/mount.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static bool is_sealed(void)
{
	cleanup_close int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	/* -1, all bits, is the answer for files that cannot have seals; more seals than ours are fine. */
	int seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & ALL_SEALS) == ALL_SEALS;
}

bool selfexec_is_protected(void)
{
	struct statfs fs;

	if (statfs("/proc/self/exe", &fs) < 0)
		return false;
	return (fs.f_flags & ST_RDONLY) || (fs.f_type == TMPFS_MAGIC && is_sealed());
}

static int open_memfd(void)
{
	cleanup_close int binary = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cleanup_close int fd = memfd_create("caisson-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	struct stat st;

	/* Linux 6.3 can be told that such files must not be executable; before it there is no flag to ask for it. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("caisson-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (binary < 0 || fd < 0 || fstat(binary, &st) < 0)
		return -errno;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t count = sendfile(fd, binary, NULL, (size_t)left);

		if (count <= 0)
			return count < 0 ? -errno : -EIO;
		left -= count;
	}
	if (fchmod(fd, 0555) < 0 || fcntl(fd, F_ADD_SEALS, ALL_SEALS) < 0)
		return -errno;
	return take_fd(&fd);
}

/* Not mount_clone_readonly(): who traces our starts should have a name for each call. */
static int open_mount(void)
{
	cleanup_close int fd = mount_clone(AT_FDCWD, "/proc/self/exe", false, 0, NULL);
	int ret = fd < 0 ? fd : mount_set_attributes(fd, "", MOUNT_ATTR_RDONLY, 0, false, NULL);

	return ret < 0 ? ret : take_fd(&fd);
}

int selfexec_open(int how, struct error *err)
{
	int fd = how == SELFEXEC_MEMFD ? -EPERM : open_mount();

	if (fd < 0 && how != SELFEXEC_MOUNT)
		fd = open_memfd();
	return fd < 0 ? error_errno(err, -fd, "cannot make a protected copy of our binary") : fd;
}

int selfexec_protect(char *const argv[], char *const envp[], struct error *err)
{
	cleanup_close int fd = -1;

	if (selfexec_is_protected())
		return 0;
	fd = selfexec_open(SELFEXEC_ANY, err);
	if (fd < 0)
		return fd;
	(void)syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
	return error_errno(err, errno, "cannot execute the protected copy of our binary");
}
