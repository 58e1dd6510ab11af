/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/kernel and what it is made of: modules, their order, the initramfs, the store of kernels. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "paradigm/vm/boot/initramfs.h"
#include "paradigm/vm/kernel.h"

struct place {
	char dir[32];
	int fd;
};

static int set_up(void **state)
{
	static struct place place;

	(void)snprintf(place.dir, sizeof(place.dir), "/tmp/kernel.XXXXXX");
	if (!mkdtemp(place.dir))
		return -1;
	place.fd = open(place.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &place;
	return place.fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	close(place->fd);
	return file_remove_all(AT_FDCWD, place->dir, NULL);
}

static void write_file(int dir, const char *path, const void *bytes, size_t size)
{
	cleanup_free char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	cleanup_close int fd = -1;

	if (slash) {
		*slash = '\0';
		assert_int_equal(file_mkdir_all(dir, parent, 0755, NULL), 0);
	}
	fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, bytes, size), 0);
}

static void write_text(int dir, const char *path, const char *text)
{
	write_file(dir, path, text, strlen(text));
}

/* A relocatable ELF file with .modinfo, as small as can be: header, contents, three section headers. */
static size_t make_module(uint8_t bytes[static 1024], const char *info, size_t info_size)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	const size_t info_at = sizeof(Elf64_Ehdr), names_at = info_at + info_size,
		     sections_at = names_at + sizeof(names);
	Elf64_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			      .e_type = ET_REL,
			      .e_machine = EM_X86_64,
			      .e_shoff = sections_at,
			      .e_shentsize = sizeof(Elf64_Shdr),
			      .e_shnum = 3,
			      .e_shstrndx = 2 };
	Elf64_Shdr sections[3] = {
		{ .sh_type = SHT_NULL },
		{ .sh_name = 1, .sh_type = SHT_PROGBITS, .sh_offset = info_at, .sh_size = info_size },
		{ .sh_name = 10, .sh_type = SHT_STRTAB, .sh_offset = names_at, .sh_size = sizeof(names) }
	};

	assert_true(sections_at + sizeof(sections) <= 1024);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + info_at, info, info_size);
	memcpy(bytes + names_at, names, sizeof(names));
	memcpy(bytes + sections_at, sections, sizeof(sections));
	return sections_at + sizeof(sections);
}

static void write_module(int dir, const char *path, const char *depends)
{
	uint8_t bytes[1024];
	char info[256];
	int length = snprintf(info, sizeof(info), "license=GPL%cdepends=%s%cname=x", 0, depends, 0);

	write_file(dir, path, bytes, make_module(bytes, info, (size_t)length + 1));
}

/* Enough modules for either kind; some built in. */
static void write_modules(int dir)
{
	write_text(dir, "modules.order",
		   "kernel/fs/ext4/ext4.ko\nkernel/fs/mbcache.ko\nkernel/drivers/virtio/virtio_mmio.ko\n"
		   "kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio_ring.ko\n"
		   "kernel/drivers/char/hw_random/virtio-rng.ko\nkernel/drivers/virtio_console.ko\n"
		   "kernel/drivers/scsi/sd_mod.ko\nkernel/notvirtio_blk.ko\n");
	write_text(dir, "modules.builtin", "kernel/drivers/block/virtio_blk.ko\nkernel/lib/crc16.ko\n");
	write_module(dir, "kernel/fs/ext4/ext4.ko", "mbcache,crc16");
	write_module(dir, "kernel/fs/mbcache.ko", "");
	write_module(dir, "kernel/drivers/virtio/virtio_mmio.ko", "virtio,virtio_ring");
	write_module(dir, "kernel/drivers/virtio/virtio.ko", "virtio_ring");
	write_module(dir, "kernel/drivers/virtio/virtio_ring.ko", "");
	write_module(dir, "kernel/drivers/char/hw_random/virtio-rng.ko", "virtio");
	write_module(dir, "kernel/drivers/virtio_console.ko", "virtio,virtio_ring");
	write_module(dir, "kernel/drivers/scsi/sd_mod.ko", "");
}

static void test_modinfo(void **unused)
{
	static const char info[] = "license=GPL\0\0\0depends=a,b\0empty=\0depends_not=x\0vermagic=6.1";
	struct error err = ERROR_INIT;
	uint8_t bytes[1024];
	size_t size = make_module(bytes, info, sizeof(info) - 1), length; /* the last one has no NUL */
	const char *value;

	(void)unused;
	assert_int_equal(module_info(bytes, size, "depends", &value, &length, &err), 0);
	assert_true(length == 3 && memcmp(value, "a,b", 3) == 0);
	assert_int_equal(module_info(bytes, size, "empty", &value, &length, &err), 0);
	assert_int_equal(length, 0);
	assert_int_equal(module_info(bytes, size, "vermagic", &value, &length, &err), 0);
	assert_true(length == 3 && memcmp(value, "6.1", 3) == 0);
	assert_int_equal(module_info(bytes, size, "softdep", &value, &length, &err), -ENODATA);
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(module_info(bytes, cut, "softdep", &value, &length, &err), -ENOEXEC);
	for (size_t at = 0; at < size; at++) {
		uint8_t before = bytes[at];

		bytes[at] = (uint8_t)(before ^ 0xff);
		(void)module_info(bytes, size, "vermagic", &value, &length, &err);
		bytes[at] = before;
	}
}

static void test_signature(void **unused)
{
	static const char end[] = "module!signature\0\2\1\0\0\0\0\0\0\0\0\t~Module signature appended~\n";
	enum { SIZE = sizeof(end) - 1, DESCRIPTION = 12, MAGIC = 28 };
	char bytes[SIZE];

	(void)unused;
	memcpy(bytes, end, SIZE);
	assert_int_equal(module_unsigned_size(bytes, SIZE), strlen("module!"));
	assert_int_equal(module_unsigned_size(bytes, SIZE - 1), SIZE - 1);
	assert_int_equal(module_unsigned_size(bytes + SIZE - MAGIC, MAGIC), MAGIC);
	/* Nothing of the module itself is left, and longer than the whole. */
	bytes[SIZE - MAGIC - 1] = SIZE - MAGIC - DESCRIPTION;
	assert_int_equal(module_unsigned_size(bytes, SIZE), 0);
	bytes[SIZE - MAGIC - 1]++;
	assert_int_equal(module_unsigned_size(bytes, SIZE), SIZE);
	bytes[SIZE - MAGIC - 4] = (char)0xff;
	assert_int_equal(module_unsigned_size(bytes, SIZE), SIZE);
}

static void assert_modules(const struct module_list *list, const char *wanted)
{
	cleanup_str struct str names = STR_INIT;

	for (size_t i = 0; i < list->count; i++)
		str_printf(&names, "%s%s%s\n", list->entries[i].name, *list->entries[i].words ? " " : "",
			   list->entries[i].words);
	assert_string_equal(str_text(&names), wanted);
}

static void test_order(void **state)
{
	const struct place *place = *state;
	const struct module_source source = { .dir = place->fd };
	struct error err = ERROR_INIT;
	struct module_list list;

	write_modules(place->fd);
	assert_int_equal(module_list_make(&source, VM_KIND_PV, &list, &err), 0);
	assert_modules(&list, "virtio_ring.ko\nvirtio.ko\nvirtio_mmio.ko\nvirtio_console.ko\nmbcache.ko\next4.ko\n"
			      "virtio-rng.ko late\n");
	module_list_free(&list);
	assert_int_equal(module_list_make(&source, VM_KIND_VM, &list, &err), 0);
	assert_modules(&list, "sd_mod.ko\nmbcache.ko\next4.ko\n");
	module_list_free(&list);
}

/* Damaged trees of modules. */
static void refuse_modules(const struct place *place, int code, const char *words)
{
	const struct module_source source = { .dir = place->fd };
	struct error err = ERROR_INIT;
	struct module_list list;

	assert_int_equal(module_list_make(&source, VM_KIND_VM, &list, &err), -code);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" should say \"%s\"", err.text, words);
	module_list_free(&list);
}

static void test_damaged_modules(void **state)
{
	const struct place *place = *state;
	char path[128];

	refuse_modules(place, ENOENT, "no directory of a kernel's modules");
	write_modules(place->fd);
	write_module(place->fd, "kernel/fs/mbcache.ko", "nothere");
	refuse_modules(place, ENOENT, "needs nothere");
	write_module(place->fd, "kernel/fs/mbcache.ko", "ext4");
	write_text(place->fd, "kernel/drivers/scsi/sd_mod.ko", "junk");
	refuse_modules(place, ENOEXEC, "module kernel/drivers/scsi/sd_mod.ko: not a kernel module");
	write_module(place->fd, "kernel/drivers/scsi/sd_mod.ko",
		     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	refuse_modules(place, ENOEXEC, "a name of 82 bytes");
	(void)snprintf(path, sizeof(path), "%s/kernel/drivers/scsi/sd_mod.ko", place->dir);
	assert_int_equal(unlink(path), 0);
	refuse_modules(place, ENOENT, "cannot open the kernel module");
	/* Out of the directory leads no path, and no link. */
	assert_int_equal(symlink("/proc/self/exe", path), 0);
	refuse_modules(place, ENOENT, "cannot open the kernel module");
	write_text(place->fd, "modules.order", "kernel/fs/ext4/ext4.ko\n");
	refuse_modules(place, ENOENT, "the kernel has no sd_mod");
}

/* a needs b needs a: both come, once. */
static void test_circle(void **state)
{
	const struct place *place = *state;
	const struct module_source source = { .dir = place->fd };
	struct module_list list;

	write_modules(place->fd);
	write_module(place->fd, "kernel/fs/mbcache.ko", "ext4,mbcache");
	assert_int_equal(module_list_make(&source, VM_KIND_VM, &list, NULL), 0);
	assert_modules(&list, "sd_mod.ko\nmbcache.ko\next4.ko\n");
	module_list_free(&list);
}

static int some_init(const struct place *place)
{
	int fd;

	write_text(place->fd, "caisson-init", "this is init");
	fd = openat(place->fd, "caisson-init", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* What cpio(1) says of an archive. */
static void assert_listing(int fd, const char *const *lines)
{
	char command[128], text[8192];
	FILE *listing;
	size_t length;

	(void)snprintf(command, sizeof(command), "cpio -tv --quiet </proc/%d/fd/%d", getpid(), fd);
	listing = popen(command, "re");
	assert_non_null(listing);
	length = fread(text, 1, sizeof(text) - 1, listing);
	text[length] = '\0';
	assert_int_equal(pclose(listing), 0);
	for (; *lines; lines++)
		if (!strstr(text, *lines))
			fail_msg("no \"%s\" in\n%s", *lines, text);
}

static void test_initramfs(void **state)
{
	static const char *const lines[] = { "modules/mbcache.ko",
					     "modules/ext4.ko",
					     " modules.list\n",
					     "crw-------   1 root     root       5,   1",
					     "-rwxr-xr-x   1 root     root           12",
					     NULL };
	const struct place *place = *state;
	cleanup_close int init = some_init(place), initrd = -1;
	struct error err = ERROR_INIT;

	write_modules(place->fd);
	initrd = kernel_make_initrd(place->fd, VM_KIND_VM, init, &err);
	assert_true(initrd >= 0);
	assert_int_equal(pwrite(initrd, "x", 1, 0), -1); /* others read it, too */
	if (system("command -v cpio >/dev/null") != 0) {
		print_message("cpio is not installed\n");
		skip();
	}
	assert_listing(initrd, lines);
}

static void test_store(void **state)
{
	const struct place *place = *state;
	cleanup_close int init = some_init(place);
	struct kernel_found found, again;
	struct error err = ERROR_INIT;
	struct stat st, st_again;
	char path[64];
	glob_t files;

	write_text(place->fd, "mine/bzImage", "a bzImage");
	write_text(place->fd, "mine/modules-pv", "");
	assert_int_equal(kernel_find(place->dir, "other", VM_KIND_PV, init, &found, &err), -ENOENT);
	assert_non_null(strstr(err.text, "caisson kernel ls"));
	assert_int_equal(kernel_find(place->dir, "../mine", VM_KIND_PV, init, &found, &err), -EINVAL);
	assert_int_equal(kernel_find(place->dir, "mine", VM_KIND_VM, init, &found, &err), -ENOENT);
	assert_non_null(strstr(err.text, "--isolation vm"));
	assert_int_equal(symlinkat("mine", place->fd, "default"), 0);
	assert_int_equal(kernel_find(place->dir, NULL, VM_KIND_PV, init, &found, &err), 0);
	assert_string_equal(found.name, "mine");
	assert_int_equal(fcntl(found.initrd, F_GETFL) & O_ACCMODE, O_RDONLY);

	/* It is made once, while caisson-init is the same; a vmlinux goes before. */
	write_text(place->fd, "mine/vmlinux", "a vmlinux of another size");
	(void)snprintf(path, sizeof(path), "%s/default", place->dir);
	assert_int_equal(kernel_open(path, VM_KIND_PV, init, &again, &err), 0);
	assert_int_equal(fstat(found.initrd, &st), 0);
	assert_int_equal(fstat(again.initrd, &st_again), 0);
	assert_int_equal(st.st_ino, st_again.st_ino);
	assert_int_equal(fstat(again.kernel, &st_again), 0);
	assert_int_equal(st_again.st_size, 25);
	close(again.kernel);
	close(again.initrd);
	write_text(place->fd, "caisson-init", "this is another init");
	assert_int_equal(kernel_find(place->dir, "mine", VM_KIND_PV, init, &again, &err), 0);
	assert_int_equal(fstat(again.initrd, &st_again), 0);
	assert_true(st.st_ino != st_again.st_ino && st.st_size < st_again.st_size);
	(void)snprintf(path, sizeof(path), "%s/mine/initrd-*", place->dir);
	assert_int_equal(glob(path, 0, NULL, &files), 0);
	assert_int_equal(files.gl_pathc, 1);
	globfree(&files);
	close(again.kernel);
	close(again.initrd);
	close(found.kernel);
	close(found.initrd);
}

static void test_names(void **unused)
{
	static const char *const bad[] = { "", ".", "..", ".a", "a/b", "default", "-a", "a b", "a\n" };
	char path[64];
	struct kernel_found found;
	struct error err = ERROR_INIT;

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(kernel_name_check(bad[i], &err), -EINVAL);
	assert_int_equal(kernel_name_check("6.1.0-38+x_y-cloud", &err), 0);
	(void)snprintf(path, sizeof(path), "/nonexistent-%d/default", getpid());
	assert_int_equal(kernel_open(path, VM_KIND_PV, -1, &found, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no guest kernel: `caisson kernel fetch`"));
}

/* A distribution's own, from the lab's cache. */
static void test_real_modules(void **unused)
{
	const char *cache = getenv("LAB_CACHE");
	struct module_source source = { .dir = -1 };
	struct error err = ERROR_INIT;
	struct module_list list;
	char pattern[4096];
	glob_t found;

	(void)unused;
	(void)snprintf(pattern, sizeof(pattern), "%s/kernel/lib/modules/*", cache ? cache : "/var/tmp/lab-cache");
	if (glob(pattern, 0, NULL, &found) != 0) {
		print_message("no kernel in the lab's cache: tests/lab/lab prepare\n");
		skip();
	}
	source.dir = open(found.gl_pathv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (enum vm_kind kind = VM_KIND_PV; kind <= VM_KIND_VM; kind++) {
		int ret = module_list_make(&source, kind, &list, &err);

		if (ret < 0)
			fail_msg("%s", err.text);
		assert_true(list.count > 5);
		module_list_free(&list);
	}
	close(source.dir);
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modinfo),
		cmocka_unit_test(test_signature),
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_modules, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_circle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_initramfs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_store, set_up, tear_down),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_real_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
