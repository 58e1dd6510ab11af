/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "paradigm/vm/boot/initramfs.h"

enum { LEAF_MAX = 96 };

const char *kernel_kind_name(enum vm_kind kind)
{
	return kind == VM_KIND_PV ? "pv" : "vm";
}

int kernel_name_check(const char *name, struct error *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t length = strlen(name);

	if (length == 0 || length > KERNEL_NAME_MAX || !strchr(letters, *name) ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")] != '\0' ||
	    strcmp(name, "default") == 0)
		return error_set(err, EINVAL,
				 "\"%s\" is no name for a kernel: letters, digits, '.', '_', '+', '-'; not \"default\"",
				 name);
	return 0;
}

static int no_kernel(const char *name, struct error *err)
{
	if (name)
		return error_set(err, ENOENT, "no guest kernel %s; `caisson kernel ls` lists those there are", name);
	return error_set(err, ENOENT, "no guest kernel: `caisson kernel fetch` gets Debian's");
}

/* ---- initramfs ---- */

static int copy_all(int from, int to, struct error *err)
{
	ssize_t count;

	while ((count = sendfile(to, from, NULL, 1 << 30)) > 0)
		;
	return count < 0 ? error_errno(err, errno, "cannot write the initramfs") : 0;
}

int kernel_make_initrd(int modules, enum vm_kind kind, int init, struct error *err)
{
	const struct module_source source = { .dir = modules };
	cleanup_close int fd = memfd_create("initramfs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot make the initramfs");
	ret = initramfs_write_modules(fd, modules >= 0 ? &source : NULL, kind, err);
	if (ret == 0)
		ret = initramfs_write_init(fd, init, err);
	if (ret == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		ret = error_errno(err, errno, "cannot make the initramfs");
	return ret < 0 ? ret : take_fd(&fd);
}

/* Names the initramfs by what was put into it: another caisson-init has another size, inode or time. */
static int name_initrd(int init, enum vm_kind kind, char leaf[static LEAF_MAX], struct error *err)
{
	struct stat st;

	if (fstat(init, &st) < 0)
		return error_errno(err, errno, "cannot look at caisson-init");
	(void)snprintf(leaf, LEAF_MAX, "initrd-%s-%jx-%jx-%jx%09lx", kernel_kind_name(kind), (uintmax_t)st.st_size,
		       (uintmax_t)st.st_ino, (uintmax_t)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec);
	return 0;
}

/* Those of other caisson-inits.  Who has one open keeps it. */
static void remove_older(int dir, enum vm_kind kind, const char *current)
{
	char prefix[16];
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	(void)snprintf(prefix, sizeof(prefix), "initrd-%s-", kernel_kind_name(kind));
	while (list && (entry = readdir(list)))
		if (str_starts(entry->d_name, prefix) && strcmp(entry->d_name, current) != 0)
			(void)unlinkat(dir, entry->d_name, 0);
}

static int fill_initrd(int fd, int dir, enum vm_kind kind, int init, struct error *err)
{
	char leaf[LEAF_MAX];
	cleanup_close int modules = -1;
	int ret;

	(void)snprintf(leaf, sizeof(leaf), "modules-%s", kernel_kind_name(kind));
	modules = openat(dir, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (modules < 0 && errno == ENOENT)
		return error_set(err, ENOENT, "this kernel has not what a guest of --isolation %s needs; add it again",
				 kernel_kind_name(kind));
	if (modules < 0)
		return error_errno(err, errno, "cannot open %s", leaf);
	ret = copy_all(modules, fd, err);
	return ret < 0 ? ret : initramfs_write_init(fd, init, err);
}

/* Into the store where that can be written, else into memory. */
static int make_initrd(int dir, const char *leaf, enum vm_kind kind, int init, struct error *err)
{
	cleanup_close int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
	bool stored = fd >= 0;
	char path[FILE_FD_PATH_MAX];
	int ret;

	if (!stored)
		fd = memfd_create("initramfs", MFD_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot make the initramfs");
	ret = fill_initrd(fd, dir, kind, init, err);
	if (ret < 0)
		return ret;
	/* Whole, or not there; another one may have been faster with the same. */
	if (stored && linkat(AT_FDCWD, file_fd_path(fd, path), dir, leaf, AT_SYMLINK_FOLLOW) == 0)
		remove_older(dir, kind, leaf);
	/* The monitor gets one that cannot be written: others boot from it, too. */
	ret = open(file_fd_path(fd, path), O_RDONLY | O_CLOEXEC);
	return ret < 0 ? error_errno(err, errno, "cannot open the initramfs") : ret;
}

static int open_initrd(int dir, enum vm_kind kind, int init, struct error *err)
{
	char leaf[LEAF_MAX];
	int ret = name_initrd(init, kind, leaf, err), fd;

	if (ret < 0)
		return ret;
	fd = openat(dir, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return make_initrd(dir, leaf, kind, init, err);
	return fd < 0 ? error_errno(err, errno, "cannot open the initramfs %s", leaf) : fd;
}

/* ---- kernels ---- */

static int open_in_store(int dir, enum vm_kind kind, int init, struct kernel_found *found, struct error *err)
{
	cleanup_close int kernel = openat(dir, "vmlinux", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (kernel < 0 && errno == ENOENT)
		kernel = openat(dir, "bzImage", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (kernel < 0)
		return error_errno(err, errno, "cannot open the kernel");
	found->initrd = open_initrd(dir, kind, init, err);
	if (found->initrd < 0)
		return found->initrd;
	found->kernel = take_fd(&kernel);
	return 0;
}

/* Which of the store's is the default; false: none. */
static bool read_default(int store, char name[static KERNEL_NAME_MAX + 1])
{
	ssize_t length = readlinkat(store, "default", name, KERNEL_NAME_MAX);

	if (length <= 0)
		return false;
	name[length] = '\0';
	return kernel_name_check(name, NULL) == 0;
}

/* The newest of the host's own kernels that has modules: one after the other, as versions go. */
static bool find_on_host(char version[static KERNEL_NAME_MAX + 1])
{
	cleanup_closedir DIR *list = opendir("/boot");
	const struct dirent *entry;
	bool found = false;

	while (list && (entry = readdir(list))) {
		const char *candidate = entry->d_name + strlen("vmlinuz-");
		char path[sizeof("/lib/modules/") + KERNEL_NAME_MAX];

		if (!str_starts(entry->d_name, "vmlinuz-") || kernel_name_check(candidate, NULL) < 0)
			continue;
		(void)snprintf(path, sizeof(path), "/lib/modules/%s", candidate);
		if (access(path, X_OK) < 0 || (found && strverscmp(candidate, version) < 0))
			continue;
		(void)snprintf(version, KERNEL_NAME_MAX + 1, "%s", candidate);
		found = true;
	}
	return found;
}

static int open_on_host(enum vm_kind kind, int init, struct kernel_found *found, struct error *err)
{
	char version[KERNEL_NAME_MAX + 1], path[sizeof("/lib/modules/") + KERNEL_NAME_MAX];
	cleanup_close int modules = -1, kernel = -1;

	if (!find_on_host(version))
		return no_kernel(NULL, err);
	(void)snprintf(path, sizeof(path), "/lib/modules/%s", version);
	modules = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(found->name, sizeof(found->name), "/boot/vmlinuz-%s", version);
	kernel = open(found->name, O_RDONLY | O_CLOEXEC);
	if (modules < 0 || kernel < 0)
		return error_errno(err, errno, "no guest kernel in the store, and the host's %s cannot be opened",
				   found->name);
	found->initrd = kernel_make_initrd(modules, kind, init, err);
	if (found->initrd < 0) {
		(void)error_wrap(err, "no guest kernel in the store, and the host's %s", found->name);
		return error_hint(err, "`caisson kernel fetch` gets Debian's");
	}
	found->kernel = take_fd(&kernel);
	return 0;
}

int kernel_open(const char *path, enum vm_kind kind, int init, struct kernel_found *found, struct error *err)
{
	/* "default" is a link. */
	cleanup_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *base = strrchr(path, '/');

	*found = (struct kernel_found){ .kernel = -1, .initrd = -1 };
	if (dir < 0 && errno == ENOENT)
		return no_kernel(base && strcmp(base, "/default") == 0 ? NULL : path, err);
	if (dir < 0)
		return error_errno(err, errno, "cannot open the guest kernel %s", path);
	(void)snprintf(found->name, sizeof(found->name), "%s", base ? base + 1 : path);
	if (open_in_store(dir, kind, init, found, err) < 0)
		return error_wrap(err, "guest kernel %s", path);
	return 0;
}

int kernel_find(const char *store, const char *name, enum vm_kind kind, int init, struct kernel_found *found,
		struct error *err)
{
	cleanup_close int root = open(store ? store : KERNEL_STORE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name_buffer[KERNEL_NAME_MAX + 1];
	cleanup_str struct str path = STR_INIT;

	*found = (struct kernel_found){ .kernel = -1, .initrd = -1 };
	if (root < 0 && errno != ENOENT && errno != ENOTDIR)
		return error_errno(err, errno, "cannot open the store of kernels %s", store ? store : KERNEL_STORE);
	if (!name && (root < 0 || !read_default(root, name_buffer)))
		return open_on_host(kind, init, found, err);
	if (!name)
		name = name_buffer;
	if (kernel_name_check(name, err) < 0)
		return -EINVAL;
	if (root < 0 || faccessat(root, name, X_OK, 0) < 0)
		return no_kernel(name, err);
	str_printf(&path, "%s/%s", store ? store : KERNEL_STORE, name);
	return kernel_open(str_text(&path), kind, init, found, err);
}
