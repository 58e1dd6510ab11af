/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a kernel of the store: image, unpacked image, modules, what is known of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "image/kernel_private.h"
#include "paradigm/vm/boot/initramfs.h"
#include "paradigm/vm/boot/load.h"

/* What is added: descriptors that are owned. */
struct found {
	int kernel, modules; /* modules -1: none */
	char version[64];
};

static int report(const struct image_store *store, const char *action, const char *what)
{
	if (!store->progress.report)
		return 0;
	return store->progress.report(store->progress.context, action, what, 0, 0);
}

static int copy(int from, int dir, const char *name, struct error *err)
{
	cleanup_close int to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	static const size_t most = 1 << 30;
	loff_t offset = 0;
	ssize_t count;

	if (to < 0)
		return error_errno(err, errno, "cannot write the kernel");
	while ((count = copy_file_range(from, &offset, to, NULL, most, 0)) > 0)
		;
	if (count < 0 && offset == 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP)) {
		char buffer[65536];

		while ((count = pread(from, buffer, sizeof(buffer), offset)) > 0) {
			int ret = file_write_all(to, buffer, (size_t)count);

			if (ret < 0)
				return error_errno(err, -ret, "cannot write the kernel");
			offset += count;
		}
	}
	if (count < 0 || fdatasync(to) < 0)
		return error_errno(err, errno, "cannot write the kernel");
	return 0;
}

/* The kernel that is in a bzImage; where that cannot be had, the bzImage alone boots, too. */
static int unpack_kernel(int kernel, int dir, struct kernel_added *added, struct error *err)
{
	cleanup_close int fd = -1;
	struct error why = ERROR_INIT;
	struct boot_bzimage image;
	char magic[4] = "";
	int ret = boot_bzimage_read(kernel, &image, err);

	if (ret < 0)
		return ret;
	if (image.size == 0)
		return 0;
	fd = openat(dir, "vmlinux", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_errno(err, errno, "cannot write the kernel");
	/* The last four bytes are its length, which a decompressor takes for waste; gzip's own trailer is the same. */
	ret = kernel_unpack(kernel, image.offset, image.size - 4, fd, &why);
	if (ret < 0 && ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0)
		ret = kernel_unpack(kernel, image.offset, image.size, fd, &why);
	if (ret < 0 && why.code == ENOSPC)
		return error_set(err, why.code, "%s", why.text);
	if (ret == 0 && (pread(fd, magic, sizeof(magic), 0) != sizeof(magic) || memcmp(magic, "\177ELF", 4) != 0))
		ret = error_set(&why, ENOEXEC, "what is in it is no ELF file");
	if (ret < 0) {
		(void)unlinkat(dir, "vmlinux", 0);
		(void)snprintf(added->notice, sizeof(added->notice),
			       "the kernel was not unpacked and starts more slowly: %s", why.text);
	}
	return 0;
}

/* The initramfs's part, of either kind of machine; one that the kernel cannot be a guest of is left out. */
static int write_modules(int modules, int dir, struct kernel_added *added, struct error *err)
{
	const struct module_source source = { .dir = modules, .read = kernel_read_module };
	unsigned made = 0;

	for (enum vm_kind kind = VM_KIND_PV; kind <= VM_KIND_VM; kind++) {
		cleanup_close int fd = -1;
		struct error why = ERROR_INIT;
		char name[32];
		int ret;

		(void)snprintf(name, sizeof(name), "modules-%s", kernel_kind_name(kind));
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0)
			return error_errno(err, errno, "cannot write %s", name);
		ret = initramfs_write_modules(fd, modules >= 0 ? &source : NULL, kind, &why);
		if (ret == 0) {
			made++;
			continue;
		}
		if (unlinkat(dir, name, 0) < 0 || why.code != ENOENT || (kind == VM_KIND_VM && made == 0))
			return error_set(err, why.code, "%s", why.text);
		(void)snprintf(added->notice, sizeof(added->notice), "it is no guest of --isolation %s: %s",
			       kernel_kind_name(kind), why.text);
	}
	return 0;
}

static int write_config(int dir, const char *version, const char *source, struct error *err)
{
	cleanup_str struct str text = STR_INIT;

	str_append(&text, "{\"version\":");
	json_append_string(&text, version);
	str_printf(&text, ",\"added\":%lld,\"source\":", (long long)time(NULL));
	json_append_string(&text, source);
	str_append(&text, "}\n");
	if (str_failed(&text))
		return error_errno(err, ENOMEM, "cannot write config.json");
	return file_replace(dir, "config.json", str_text(&text), text.length, 0644, err);
}

static bool is_elf(int fd)
{
	char magic[4];

	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && memcmp(magic, "\177ELF", 4) == 0;
}

static int fill(const struct image_store *store, const struct found *found, const char *source, int dir,
		struct kernel_added *added, struct error *err)
{
	int ret;

	if (report(store, "Adding", found->version) != 0)
		return error_set(err, ECANCELED, "interrupted");
	if (is_elf(found->kernel)) {
		ret = copy(found->kernel, dir, "vmlinux", err);
	} else {
		ret = copy(found->kernel, dir, "bzImage", err);
		if (ret == 0)
			ret = unpack_kernel(found->kernel, dir, added, err);
	}
	if (ret == 0)
		ret = write_modules(found->modules, dir, added, err);
	return ret < 0 ? ret : write_config(dir, found->version, source, err);
}

/* ---- what is at the path ---- */

/* The newest kernel of a directory that has modules, too. */
static int find_in_tree(int tree, struct found *found, struct error *err)
{
	int fd = file_open_in_root(tree, "boot", O_RDONLY | O_DIRECTORY, 0);
	cleanup_closedir DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	char path[512];

	while (list && (entry = readdir(list))) {
		const char *version = entry->d_name + strlen("vmlinuz-");
		int modules;

		if (!str_starts(entry->d_name, "vmlinuz-") || strlen(version) >= sizeof(found->version) ||
		    kernel_name_check(version, NULL) < 0 ||
		    (found->modules >= 0 && strverscmp(version, found->version) < 0))
			continue;
		(void)snprintf(path, sizeof(path), "lib/modules/%s", version);
		modules = file_open_in_root(tree, path, O_RDONLY | O_DIRECTORY, 0);
		if (modules < 0)
			continue;
		if (found->modules >= 0)
			close(found->modules);
		found->modules = modules;
		(void)snprintf(found->version, sizeof(found->version), "%s", version);
	}
	if (found->modules < 0)
		return error_set(err, ENOENT, "there is no boot/vmlinuz-VERSION with its lib/modules/VERSION");
	(void)snprintf(path, sizeof(path), "boot/vmlinuz-%s", found->version);
	found->kernel = file_open_type_in_root(tree, path, O_RDONLY, S_IFREG, 0);
	return found->kernel < 0 ? error_errno(err, -found->kernel, "cannot open %s", path) : 0;
}

/* "vmlinuz-6.1.0" is of that version, if nothing else tells. */
static void name_file(const char *path, const char *modules, struct found *found)
{
	cleanup_free char *clean = path_clean(modules ? modules : path);
	const char *base = clean ? strrchr(clean, '/') : NULL;

	base = base ? base + 1 : clean ? clean : "";
	if (!modules && (str_starts(base, "vmlinuz-") || str_starts(base, "vmlinux-")))
		base += strlen("vmlinuz-");
	(void)snprintf(found->version, sizeof(found->version), "%s", base);
}

static int find_file(int *file, const char *path, const struct kernel_addition *addition, struct found *found,
		     struct error *err)
{
	struct boot_bzimage image = { .size = 0 };
	int ret = is_elf(*file) ? 0 : boot_bzimage_read(*file, &image, err);

	if (ret < 0)
		return ret;
	if (addition->modules) {
		found->modules = open(addition->modules, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (found->modules < 0)
			return error_errno(err, errno, "cannot open the modules %s", addition->modules);
	}
	name_file(path, addition->modules, found);
	if (*image.version)
		(void)snprintf(found->version, sizeof(found->version), "%s", image.version);
	found->kernel = take_fd(file);
	return 0;
}

static bool is_package(int fd)
{
	char magic[8];

	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && memcmp(magic, "!<arch>\n", sizeof(magic)) == 0;
}

/* work gets what a package is unpacked into. */
static int find(struct image_store *store, const char *path, const struct kernel_addition *addition, int work,
		struct found *found, struct error *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	cleanup_close int tree = -1;
	struct stat st;
	int ret;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot open %s", path);
	if (S_ISDIR(st.st_mode))
		return find_in_tree(fd, found, err);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s is neither a file nor a directory", path);
	if (!is_package(fd))
		return find_file(&fd, path, addition, found, err);
	if (mkdirat(work, "package", 0700) == 0)
		tree = openat(work, "package", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0)
		return error_errno(err, errno, "cannot unpack %s", path);
	ret = kernel_unpack_package(store, fd, tree, err);
	return ret < 0 ? ret : find_in_tree(tree, found, err);
}

/* ---- */

static int choose_default(int dir, const struct kernel_addition *addition, const char *name, struct error *err)
{
	if (!addition->make_default && faccessat(dir, "default", F_OK, 0) == 0)
		return 0;
	return kernel_name_default(dir, name, err);
}

static int make(struct image_store *store, struct kernel_work *work, const struct found *found, const char *source,
		struct kernel_added *added, struct error *err)
{
	cleanup_close int dir = -1;
	int ret;

	if (mkdirat(work->work, "kernel", 0755) == 0)
		dir = openat(work->work, "kernel", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_errno(err, errno, "cannot write in %s/kernels", store->root);
	ret = fill(store, found, source, dir, added, err);
	if (ret < 0)
		return ret;
	return renameat(work->work, "kernel", work->dir, added->name) < 0
		       ? error_errno(err, errno, "cannot name the kernel %s", added->name)
		       : 0;
}

static bool is_same_content(int one, int other)
{
	char left[65536], right[sizeof(left)];
	off_t offset = 0;
	ssize_t count;

	while ((count = pread(one, left, sizeof(left), offset)) > 0) {
		if (pread(other, right, (size_t)count, offset) != count || memcmp(left, right, (size_t)count) != 0)
			return false;
		offset += count;
	}
	return count == 0 && pread(other, right, 1, offset) == 0;
}

/* A kernel that was built again has its old name: it is not to be taken for the one that is there. */
static int check_existing(const struct kernel_work *work, const struct found *found, const char *name,
			  struct error *err)
{
	char path[KERNEL_NAME_MAX + sizeof("/bzImage")];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", name, is_elf(found->kernel) ? "vmlinux" : "bzImage");
	fd = openat(work->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && is_same_content(found->kernel, fd))
		return 0;
	return error_set(err, EEXIST, "there is another kernel %s already; `caisson kernel rm %s`, or --name", name,
			 name);
}

static int add(struct image_store *store, struct kernel_work *work, const char *path,
	       const struct kernel_addition *addition, struct found *found, struct kernel_added *added,
	       struct error *err)
{
	const char *name;
	int ret = find(store, path, addition, work->work, found, err);

	if (ret < 0)
		return ret;
	name = addition->name ? addition->name : found->version;
	ret = kernel_name_check(name, err);
	if (ret < 0)
		return error_hint(err, "--name gives it one");
	(void)snprintf(added->name, sizeof(added->name), "%s", name);
	added->existed = faccessat(work->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	ret = added->existed ? check_existing(work, found, name, err)
			     : make(store, work, found, addition->origin ? addition->origin : path, added, err);
	return ret < 0 ? ret : choose_default(work->dir, addition, added->name, err);
}

int kernel_add(struct image_store *store, const char *path, const struct kernel_addition *addition,
	       struct kernel_added *added, struct error *err)
{
	struct found found = { .kernel = -1, .modules = -1 };
	struct kernel_work work;
	int ret;

	*added = (struct kernel_added){ .existed = false };
	ret = kernel_work_open(store, true, &work, err);
	if (ret == 0)
		ret = add(store, &work, path, addition, &found, added, err);
	if (found.kernel >= 0)
		close(found.kernel);
	if (found.modules >= 0)
		close(found.modules);
	kernel_work_close(&work);
	return ret;
}
