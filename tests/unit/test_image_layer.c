/* SPDX-License-Identifier: Apache-2.0 */
/* Layers out of honest and of hostile archives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/layer.h"
#include "tarball.h"

/* A directory with the layer's root in it, and beside that one which must never change. */
struct fixture {
	char dir[64];
	int dir_fd, root;
	struct image_store store;
	struct layer_result result;
	struct error err;
};

static void put_outside(const struct fixture *f, const char *path, const char *text)
{
	int fd = openat(f->dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/caisson-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(f->dir_fd, "root", 0755), 0);
	assert_int_equal(mkdirat(f->dir_fd, "outside", 0700), 0);
	put_outside(f, "outside/secret", "untouched");
	f->root = openat(f->dir_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->store = (struct image_store){ .fd = -1, .rootless = geteuid() != 0 };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->root);
	close(f->dir_fd);
	assert_int_equal(file_remove_all(AT_FDCWD, f->dir, NULL), 0);
	free(f);
	return 0;
}

/* Whatever the archive was: outside is as it was before. */
static void assert_outside_unchanged(const struct fixture *f)
{
	cleanup_free char *text = NULL;
	struct stat st;

	assert_int_equal(file_read(f->dir_fd, "outside/secret", 100, &text, NULL, NULL), 0);
	assert_string_equal(text, "untouched");
	assert_int_equal(fstatat(f->dir_fd, "outside/secret", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(fstatat(f->dir_fd, "outside", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(unlinkat(f->dir_fd, "outside/secret", 0), 0);
	assert_int_equal(unlinkat(f->dir_fd, "outside", AT_REMOVEDIR), 0);
	assert_int_equal(mkdirat(f->dir_fd, "outside", 0700), 0);
	put_outside(f, "outside/secret", "untouched");
	assert_true(faccessat(f->dir_fd, "evil", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	assert_true(faccessat(AT_FDCWD, "/caisson-test-evil", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
}

static int extract_bytes(struct fixture *f, const struct str *bytes, const char *diff_id)
{
	cleanup_close int fd = tar_fd(bytes);
	const struct layer_source source = { .fd = fd, .what = "test", .diff_id = diff_id };
	int ret;

	f->err = ERROR_INIT;
	ret = layer_extract(&f->store, f->root, &source, &f->result, &f->err);
	if (ret < 0)
		assert_true(f->err.code == -ret && *f->err.text);
	assert_outside_unchanged(f);
	return ret;
}

static int extract(struct fixture *f, struct str *tar)
{
	int ret;

	tar_end(tar);
	ret = extract_bytes(f, tar, NULL);
	str_free(tar);
	return ret;
}

#define EXTRACT(f, ...)                                                              \
	({                                                                           \
		const struct tar_entry entries_[] = { __VA_ARGS__ };                 \
		struct str tar_ = STR_INIT;                                          \
		for (size_t i_ = 0; i_ < sizeof(entries_) / sizeof(*entries_); i_++) \
			tar_add(&tar_, entries_[i_]);                                \
		extract((f), &tar_);                                                 \
	})

static struct stat stat_of(const struct fixture *f, const char *path)
{
	struct stat st = { .st_mode = 0 };

	(void)fstatat(f->root, path, &st, AT_SYMLINK_NOFOLLOW);
	return st;
}

static void assert_content(const struct fixture *f, const char *path, const char *expected)
{
	cleanup_free char *text = NULL;

	assert_int_equal(file_read(f->root, path, 1000, &text, NULL, NULL), 0);
	assert_string_equal(text, expected);
}

static void assert_absent(const struct fixture *f, const char *path)
{
	assert_int_equal(stat_of(f, path).st_mode, 0);
}

static char *root_path(const struct fixture *f, const char *path)
{
	static char whole[256];

	(void)snprintf(whole, sizeof(whole), "%s/root/%s", f->dir, path);
	return whole;
}

static void test_honest(void **state)
{
	struct fixture *f = *state;
	unsigned id = geteuid();

	assert_int_equal(EXTRACT(f, { .name = "./", .type = '5', .mode = 0751, .uid = id, .gid = getegid() },
				 { .name = "./d", .type = '5', .mode = 0555, .mtime = 1000, .uid = id },
				 { .name = "./d/file", .data = "text", .mode = 04711, .mtime = 2000, .uid = id },
				 { .name = "d/hard", .type = '1', .link = "./d/file" },
				 { .name = "/abs", .data = "absolute" },
				 { .name = "soft", .type = '2', .link = "/d/file", .mtime = 3000 },
				 { .name = "fifo", .type = '6', .mode = 0622 },
				 { .name = "implied/deep/file", .data = "x" }, { .name = "abs", .data = "second" }),
			 0);
	assert_int_equal(stat_of(f, "").st_mode & 0, 0);
	assert_int_equal(stat_of(f, "d").st_mode & 07555, 0555);
	assert_int_equal(stat_of(f, "d").st_mtime, 1000);
	assert_int_equal(stat_of(f, "d/file").st_mtime, 2000);
	if (geteuid() == 0)
		assert_int_equal(stat_of(f, "d/file").st_mode, S_IFREG | 04711);
	assert_int_equal(stat_of(f, "d/file").st_nlink, 2);
	assert_int_equal(stat_of(f, "d/file").st_ino, stat_of(f, "d/hard").st_ino);
	assert_int_equal(stat_of(f, "soft").st_mtime, 3000);
	assert_int_equal(stat_of(f, "fifo").st_mode, S_IFIFO | 0622);
	assert_int_equal(stat_of(f, "implied/deep").st_mode & 07755, 0755);
	assert_content(f, "abs", "second");
	assert_int_equal(f->result.entries, 9);
	assert_int_equal(f->result.size, 4 + 8 + 1 + 6);
}

static void test_owner(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0) {
		print_message("not root: owners cannot be given away\n");
		skip();
	}
	assert_int_equal(EXTRACT(f, { .name = "f", .data = "x", .uid = 1234, .gid = 4321, .mode = 06755 },
				 { .name = "l", .type = '2', .link = "f", .uid = 7, .gid = 8 }),
			 0);
	assert_int_equal(stat_of(f, "f").st_uid, 1234);
	assert_int_equal(stat_of(f, "f").st_gid, 4321);
	assert_int_equal(stat_of(f, "f").st_mode, S_IFREG | 06755);
	assert_int_equal(stat_of(f, "l").st_uid, 7);
	assert_int_equal(EXTRACT(f, { .name = "g", .data = "x", .huge_uid = UINT64_C(1) << 32 }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "g", .data = "x", .huge_uid = UINT32_MAX }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "g", .data = "x", .pax = "uid=4294967296" }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "g", .type = '2', .link = "x", .pax = "gid=99999999999999999999" }),
			 -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "h", .data = "x", .huge_uid = UINT32_MAX - 1 }), 0);
	assert_int_equal(stat_of(f, "h").st_uid, UINT32_MAX - 1);
}

static void test_names_that_climb(void **state)
{
	static const char *const names[] = { "../evil", "..", "a/../../evil", "a/../evil", "/../evil", "./..", "a/.." };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(EXTRACT(f, { .name = names[i], .data = "x" }), -EINVAL);
		assert_non_null(strstr(f->err.text, names[i]));
		assert_int_equal(EXTRACT(f, { .name = names[i], .type = '5' }), -EINVAL);
		assert_int_equal(EXTRACT(f, { .name = names[i], .type = '2', .link = "x" }), -EINVAL);
		assert_int_equal(EXTRACT(f, { .name = names[i], .type = '6' }), -EINVAL);
	}
	assert_int_equal(EXTRACT(f, { .name = "/caisson-test-evil", .data = "x" }), 0);
	assert_content(f, "caisson-test-evil", "x");
}

static void test_linked_parents(void **state)
{
	struct fixture *f = *state;
	char outside[128];

	/* What is above the root, or absolute, is inside it all the same. */
	assert_int_equal(EXTRACT(f, { .name = "up", .type = '2', .link = "../../../../.." },
				 { .name = "up/evil", .data = "x" }, { .name = "slash", .type = '2', .link = "/" },
				 { .name = "slash/caisson-test-evil", .data = "y" }, { .name = "real", .type = '5' },
				 { .name = "lib", .type = '2', .link = "/real" }, { .name = "lib/so", .data = "z" }),
			 0);
	assert_content(f, "evil", "x");
	assert_content(f, "caisson-test-evil", "y");
	assert_content(f, "real/so", "z");
	(void)snprintf(outside, sizeof(outside), "%s/outside", f->dir);
	assert_int_equal(EXTRACT(f, { .name = "out", .type = '2', .link = outside },
				 { .name = "out/secret", .data = "changed" }),
			 -ENOTDIR);
	assert_int_equal(EXTRACT(f, { .name = "rel", .type = '2', .link = "../outside" },
				 { .name = "rel/.wh.secret", .data = "" }),
			 0);
	assert_int_equal(EXTRACT(f, { .name = "magic", .type = '2', .link = "/proc/self/cwd" },
				 { .name = "magic/evil", .data = "x" }),
			 -ENOTDIR);
	assert_int_equal(EXTRACT(f, { .name = "loop", .type = '2', .link = "loop" }, { .name = "loop/x", .data = "x" }),
			 -ELOOP);
}

static void test_replaced_links(void **state)
{
	struct fixture *f = *state;
	char secret[128], outside[128];

	(void)snprintf(outside, sizeof(outside), "%s/outside", f->dir);
	(void)snprintf(secret, sizeof(secret), "%s/outside/secret", f->dir);
	/* CVE-2021-32760 and its kin: content, mode, owner and attributes go to a new file, not through the link. */
	assert_int_equal(
		EXTRACT(f, { .name = "l", .type = '2', .link = secret },
			{ .name = "l", .data = "changed", .mode = 0777 }, { .name = "d", .type = '2', .link = outside },
			{ .name = "d", .type = '5', .mode = 0777, .pax = "SCHILY.xattr.user.x=y" },
			{ .name = "d/secret", .data = "changed" }, { .name = "n", .type = '2', .link = secret },
			{ .name = "n", .type = '6', .mode = 0666 }),
		0);
	assert_int_equal(stat_of(f, "l").st_mode, S_IFREG | 0777);
	assert_int_equal(stat_of(f, "d").st_mode, S_IFDIR | 0777);
	assert_content(f, "d/secret", "changed");
	assert_int_equal(stat_of(f, "n").st_mode, S_IFIFO | 0666);
	/* A directory gives way with all that is in it; what was cached of it too. */
	assert_int_equal(EXTRACT(f, { .name = "t", .type = '5' }, { .name = "t/u", .type = '5' },
				 { .name = "t/u/v", .data = "x" }, { .name = "t", .type = '2', .link = outside },
				 { .name = "t/u/v", .data = "x" }),
			 -ENOTDIR);
}

static void test_hard_links(void **state)
{
	struct fixture *f = *state;
	char secret[128];

	(void)snprintf(secret, sizeof(secret), "%s/outside/secret", f->dir);
	assert_int_equal(EXTRACT(f, { .name = "h", .type = '1', .link = secret }), -ENOENT);
	assert_int_equal(EXTRACT(f, { .name = "h", .type = '1', .link = "../outside/secret" }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "h", .type = '1', .link = "/etc/passwd" }), -ENOENT);
	assert_int_equal(EXTRACT(f, { .name = "h", .type = '1', .link = "." }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "d", .type = '5' }, { .name = "h", .type = '1', .link = "d" }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "h", .type = '1', .link = "h" }), -EINVAL);
	/* Through a link that leads out: the parent resolves inside, where there is nothing. */
	assert_int_equal(EXTRACT(f, { .name = "o", .type = '2', .link = "../outside" },
				 { .name = "h", .type = '1', .link = "o/secret" }),
			 -ENOENT);
	/* To a link that leads out: the link itself, which is then replaced and not written through. */
	assert_int_equal(EXTRACT(f, { .name = "s", .type = '2', .link = secret },
				 { .name = "h", .type = '1', .link = "s" }, { .name = "h", .data = "changed" }),
			 0);
	assert_content(f, "h", "changed");
}

static void test_root_entry(void **state)
{
	struct fixture *f = *state;

	/* CVE-2021-29136 */
	assert_int_equal(EXTRACT(f, { .name = ".", .type = '2', .link = "/" }, { .name = "evil", .data = "x" }),
			 -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "./", .type = '2', .link = "../outside" }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "/", .data = "x" }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = ".", .type = '1', .link = "x" }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = ".", .type = '5', .mode = 0711, .mtime = 5 }), 0);
	assert_int_equal(stat_of(f, ".").st_mode & 0777, 0711);
	assert_int_equal(stat_of(f, ".").st_mtime, 5);
}

static void test_devices(void **state)
{
	struct fixture *f = *state;

	if (geteuid() == 0) {
		assert_int_equal(EXTRACT(f, { .name = "null", .type = '3', .major = 1, .minor = 3, .mode = 0666 },
					 { .name = "white", .type = '3', .major = 0, .minor = 0 }),
				 0);
		if (f->result.devices == 1) {
			assert_int_equal(stat_of(f, "null").st_mode, S_IFCHR | 0666);
			assert_int_equal(stat_of(f, "null").st_rdev, makedev(1, 3));
		}
		/* A device that would be a whiteout is none: only names make whiteouts. */
		assert_absent(f, "white");
	}
	f->store.rootless = true;
	assert_int_equal(EXTRACT(f, { .name = "zero", .type = '3', .major = 1, .minor = 5 },
				 { .name = "disk", .type = '4', .major = 8, .minor = 0 },
				 { .name = "ok", .data = "x" }),
			 0);
	assert_int_equal(f->result.devices, 2);
	assert_absent(f, "zero");
	assert_absent(f, "disk");
	assert_content(f, "ok", "x");
}

static void test_attributes(void **state)
{
	struct fixture *f = *state;
	/* VFS_CAP_REVISION_2, cap_net_raw permitted and effective */
	static const unsigned char capability[20] = { 1, 0, 0, 2, 0, 0x20 };
	struct str tar = STR_INIT, records = STR_INIT, record = STR_INIT;
	char value[64];

	str_append(&record, "SCHILY.xattr.security.capability=");
	str_append_bytes(&record, capability, sizeof(capability));
	tar_pax_record(&records, str_text(&record), record.length);
	tar_pax(&tar, &records);
	tar_add(&tar, (struct tar_entry){ .name = "cap", .data = "x" });
	str_free(&records);
	str_free(&record);
	tar_add(&tar, (struct tar_entry){ .name = "d",
					  .type = '5',
					  .pax = "SCHILY.xattr.trusted.overlay.opaque=y\n"
						 "SCHILY.xattr.user.overlay.opaque=y\n"
						 "SCHILY.xattr.trusted.overlay.redirect=/etc\n"
						 "SCHILY.xattr.security.selinux=label" });
	assert_int_equal(extract(f, &tar), 0);
	assert_true(getxattr(root_path(f, "d"), "trusted.overlay.opaque", value, sizeof(value)) < 0);
	assert_true(getxattr(root_path(f, "d"), "user.overlay.opaque", value, sizeof(value)) < 0);
	assert_true(getxattr(root_path(f, "d"), "trusted.overlay.redirect", value, sizeof(value)) < 0);
	assert_true(f->result.attributes >= 4);
	if (geteuid() == 0)
		assert_int_equal(getxattr(root_path(f, "cap"), "security.capability", value, sizeof(value)), 20);
}

static bool opaque(const struct fixture *f, const char *path)
{
	char value[8] = "";

	return getxattr(root_path(f, path), f->store.rootless ? "user.overlay.opaque" : "trusted.overlay.opaque", value,
			sizeof(value)) == 1 &&
	       value[0] == 'y';
}

static void assert_whiteout(const struct fixture *f, const char *path)
{
	assert_int_equal(stat_of(f, path).st_mode & S_IFMT, S_IFCHR);
	assert_int_equal(stat_of(f, path).st_rdev, 0);
}

static void test_whiteouts(void **state)
{
	struct fixture *f = *state;
	static const char *const nothing[] = { ".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..." };

	assert_int_equal(
		EXTRACT(f, { .name = ".wh.gone" }, { .name = "d", .type = '5' }, { .name = "d/.wh.gone" },
			{ .name = "o", .type = '5' }, { .name = "o/.wh..wh..opq" }, { .name = "o/f", .data = "x" },
			/* a deleted directory that comes back hides the old one */
			{ .name = ".wh.again" }, { .name = "again", .type = '5' }, { .name = "again/f" },
			{ .name = ".wh.parent" }, { .name = "parent/child/f" },
			/* what the layer itself has stays */
			{ .name = "kept", .data = "k" }, { .name = ".wh.kept" }, { .name = "kdir", .type = '5' },
			{ .name = ".wh.kdir" }, { .name = ".wh..wh.plnk", .type = '5' }, { .name = ".wh..wh.aufs" }),
		0);
	assert_whiteout(f, "gone");
	assert_whiteout(f, "d/gone");
	assert_false(opaque(f, "d"));
	assert_true(opaque(f, "o"));
	assert_true(opaque(f, "again"));
	assert_true(opaque(f, "parent"));
	assert_false(opaque(f, "parent/child"));
	assert_content(f, "kept", "k");
	assert_true(opaque(f, "kdir"));
	assert_absent(f, ".wh..wh.plnk");
	assert_absent(f, ".wh.gone");
	assert_false(f->result.opaque_root);
	for (size_t i = 0; i < sizeof(nothing) / sizeof(*nothing); i++)
		assert_int_equal(EXTRACT(f, { .name = nothing[i] }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = "../.wh.outside" }), -EINVAL);
	assert_int_equal(EXTRACT(f, { .name = ".wh..wh..opq" }), 0);
	assert_true(f->result.opaque_root);
}

static void test_inherited_parents(void **state)
{
	struct fixture *f = *state;
	struct str tar = STR_INIT;
	cleanup_close int below = -1, fd = -1;
	struct layer_source source = { .what = "test", .lower = &below, .lower_count = 1 };

	assert_int_equal(mkdirat(f->dir_fd, "below", 0755), 0);
	assert_int_equal(mkdirat(f->dir_fd, "below/tmp", 0755), 0);
	assert_int_equal(fchmodat(f->dir_fd, "below/tmp", 01777, 0), 0);
	below = openat(f->dir_fd, "below", O_PATH | O_CLOEXEC);
	tar_add(&tar, (struct tar_entry){ .name = "tmp/new/file", .data = "x" });
	tar_end(&tar);
	fd = source.fd = tar_fd(&tar);
	str_free(&tar);
	assert_int_equal(layer_extract(&f->store, f->root, &source, &f->result, &f->err), 0);
	assert_int_equal(stat_of(f, "tmp").st_mode, S_IFDIR | 01777);
	assert_int_equal(stat_of(f, "tmp/new").st_mode & 0755, 0755);
}

static void test_long_names(void **state)
{
	struct fixture *f = *state;
	char name[5000], deep[4096] = "";

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	assert_int_equal(EXTRACT(f, { .name = name, .data = "x" }), 0);
	assert_int_equal(stat_of(f, name).st_size, 1);
	name[255] = 'n';
	name[256] = '\0';
	assert_int_equal(EXTRACT(f, { .name = name, .data = "x" }), -EINVAL);
	for (int i = 0; i < 4998; i++)
		name[i] = i % 200 == 199 ? '/' : 'n';
	name[4998] = '\0';
	assert_int_equal(EXTRACT(f, { .name = name, .data = "x" }), -EINVAL);
	for (int i = 0; i < 600; i++)
		strcat(deep, "d/");
	assert_int_equal(EXTRACT(f, { .name = deep, .type = '5' }), -EFBIG);
	/* Bytes are bytes: not UTF-8, and UTF-8 in a form that some would normalize. */
	assert_int_equal(EXTRACT(f, { .name = "\xff\xfe", .data = "1" }, { .name = "e\xcc\x81", .data = "2" },
				 { .name = "plain", .data = "3", .pax = "path=p\xc3\xa4x" },
				 { .name = "ln", .type = '2', .link = "x", .pax = "linkpath=\xc3\xa4" }),
			 0);
	assert_content(f, "\xff\xfe", "1");
	assert_content(f, "e\xcc\x81", "2");
	assert_content(f, "p\xc3\xa4x", "3");
}

/* Links make a tree deeper than any single name says; it must stay one that can be removed. */
static void test_depth_by_links(void **state)
{
	struct fixture *f = *state;
	struct str tar = STR_INIT;
	char path[64], target[2048], name[2100];
	int ret;

	for (int level = 0; level < 8; level++) {
		(void)snprintf(target, sizeof(target), "%s%d", level ? "l" : "", level ? level - 1 : 0);
		for (int i = 0; i < 100; i++)
			strcat(target, "/d");
		(void)snprintf(name, sizeof(name), "%s/", target);
		tar_add(&tar, (struct tar_entry){ .name = name, .type = '5' });
		(void)snprintf(path, sizeof(path), "l%d", level);
		(void)snprintf(name, sizeof(name), "linkpath=%s", target);
		tar_add(&tar, (struct tar_entry){ .name = path, .type = '2', .link = "x", .pax = name });
	}
	ret = extract(f, &tar);
	assert_int_equal(ret, -EFBIG);
	assert_non_null(strstr(f->err.text, "deep"));
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	char big[5000], map[512] = "1\n0\n1\n";

	memset(big, 'x', sizeof(big));
	f->store.limits.unpacked_bytes = 20000;
	assert_int_equal(EXTRACT(f, { .name = "a", .data = big, .size = sizeof(big) },
				 { .name = "b", .data = big, .size = sizeof(big) },
				 { .name = "c", .data = big, .size = sizeof(big) },
				 { .name = "d", .data = big, .size = sizeof(big) }),
			 -EFBIG);
	/* A sparse file takes no room in the archive, and yet has a size. */
	assert_int_equal(EXTRACT(f, { .name = "sparse",
				      .data = map,
				      .size = sizeof(map),
				      .pax = "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.name=s\n"
					     "GNU.sparse.realsize=9000000000000000000" }) < 0,
			 1);
	f->store.limits = (struct image_limits){ .entries = 2 };
	assert_int_equal(EXTRACT(f, { .name = "1" }, { .name = "2" }), 0);
	assert_int_equal(EXTRACT(f, { .name = "1" }, { .name = "2" }, { .name = "3" }), -EFBIG);
	f->store.limits = (struct image_limits){ .depth = 2 };
	assert_int_equal(EXTRACT(f, { .name = "p/2", .type = '5' }), 0);
	assert_int_equal(EXTRACT(f, { .name = "p/2/3", .type = '5' }), -EFBIG);
}

/* Compresses bytes with libarchive's own filter. */
static void pack(const struct str *bytes, int (*filter)(struct archive *), struct str *packed)
{
	struct archive *archive = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	size_t room = bytes->length + 100000, used = 0;
	char *buffer = malloc(room);

	assert_int_equal(archive_write_set_format_raw(archive), ARCHIVE_OK);
	assert_int_equal(filter(archive), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(archive, buffer, room, &used), ARCHIVE_OK);
	archive_entry_set_filetype(entry, AE_IFREG);
	assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(archive, bytes->text, bytes->length), bytes->length);
	archive_entry_free(entry);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
	str_append_bytes(packed, buffer, used);
	free(buffer);
}

static void test_compressed(void **state)
{
	static const struct {
		int (*filter)(struct archive *);
		enum inflate_kind kind;
	} filters[] = { { archive_write_add_filter_gzip, INFLATE_GZIP },
			{ archive_write_add_filter_zstd, INFLATE_ZSTD },
			{ archive_write_add_filter_xz, INFLATE_OTHER },
			{ archive_write_add_filter_bzip2, INFLATE_OTHER } };
	struct fixture *f = *state;
	cleanup_str struct str tar = STR_INIT, twice = STR_INIT, once = STR_INIT, joined = STR_INIT;
	char diff_id[OCI_DIGEST_MAX], wrong[OCI_DIGEST_MAX];
	struct str half;

	tar_add(&tar, (struct tar_entry){ .name = "f", .data = "text" });
	tar_end(&tar);
	digest_of(tar.text, tar.length, diff_id);
	for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
		cleanup_str struct str packed = STR_INIT;

		pack(&tar, filters[i].filter, &packed);
		assert_int_equal(extract_bytes(f, &packed, diff_id), 0);
		assert_int_equal(f->result.kind, filters[i].kind);
		assert_string_equal(f->result.diff_id, diff_id);
		assert_int_equal(f->result.tar_size, tar.length);
		/* cut short */
		half = packed;
		half.length = packed.length / 2;
		assert_int_equal(extract_bytes(f, &half, NULL), -EINVAL);
	}
	memcpy(wrong, diff_id, sizeof(wrong));
	wrong[70] = wrong[70] == '0' ? '1' : '0';
	assert_int_equal(extract_bytes(f, &tar, wrong), -EINVAL);
	assert_non_null(strstr(f->err.text, wrong));
	pack(&tar, archive_write_add_filter_gzip, &once);
	pack(&once, archive_write_add_filter_gzip, &twice);
	assert_int_equal(extract_bytes(f, &twice, NULL), -EINVAL);
	assert_non_null(strstr(f->err.text, "more than once"));
	/* Two members are one stream (eStargz is full of them). */
	half = tar;
	half.length = 512;
	pack(&half, archive_write_add_filter_gzip, &joined);
	half.text = tar.text + 512;
	half.length = tar.length - 512;
	pack(&half, archive_write_add_filter_gzip, &joined);
	assert_int_equal(extract_bytes(f, &joined, diff_id), 0);
}

/* A megabyte of nothing packs into almost nothing: by ratio, and by size. */
static void test_bomb(void **state)
{
	struct fixture *f = *state;
	cleanup_str struct str tar = STR_INIT, bomb = STR_INIT;
	char *zeros = calloc(1, 1 << 20);

	tar_add(&tar, (struct tar_entry){ .name = "zeros", .data = zeros, .size = 1 << 20 });
	free(zeros);
	tar_end(&tar);
	pack(&tar, archive_write_add_filter_zstd, &bomb);
	assert_true(bomb.length < 1000);
	assert_int_equal(extract_bytes(f, &bomb, NULL), 0);
	f->store.limits = (struct image_limits){ .ratio = 100, .ratio_from = 100000 };
	assert_int_equal(extract_bytes(f, &bomb, NULL), -EFBIG);
	assert_non_null(strstr(f->err.text, "bomb"));
	f->store.limits = (struct image_limits){ .unpacked_bytes = 1000000 };
	assert_int_equal(extract_bytes(f, &bomb, NULL), -EFBIG);
	/* the same bytes without compression are no bomb */
	f->store.limits = (struct image_limits){ .ratio = 100, .ratio_from = 100000 };
	assert_int_equal(extract_bytes(f, &tar, NULL), 0);
}

static void test_broken(void **state)
{
	struct fixture *f = *state;
	cleanup_str struct str tar = STR_INIT;
	struct str cut;

	tar_add(&tar, (struct tar_entry){ .name = "f", .data = "some text that is cut off" });
	cut = tar;
	cut.length = 520;
	assert_int_equal(extract_bytes(f, &cut, NULL), -EINVAL);
	cut.length = 100;
	assert_int_equal(extract_bytes(f, &cut, NULL), -EINVAL);
	tar.text[10] ^= 1; /* the checksum is wrong now */
	assert_int_equal(extract_bytes(f, &tar, NULL), -EINVAL);
	memset(tar.text, 'x', tar.length);
	assert_int_equal(extract_bytes(f, &tar, NULL), -EINVAL);
}

static int interrupt(void *context, const char *action, const char *what, uint64_t done, uint64_t total)
{
	(void)action, (void)what, (void)done, (void)total;
	return ++*(int *)context;
}

static void test_interrupted(void **state)
{
	struct fixture *f = *state;
	int calls = 0;

	f->store.progress = (struct image_progress){ interrupt, &calls };
	assert_int_equal(EXTRACT(f, { .name = "f", .data = "x" }), -ECANCELED);
	assert_true(calls > 0);
}

static void test_terminal_escapes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(EXTRACT(f, { .name = "\033[2J\n../../x/..", .data = "x" }), -EINVAL);
	assert_null(strchr(f->err.text, '\033'));
	assert_null(strchr(f->err.text, '\n'));
}

/* Somebody who can write into the root swaps a directory and a link that leads out, all the time. */
static pid_t start_swapper(const struct fixture *f)
{
	char outside[128];
	pid_t pid;

	(void)snprintf(outside, sizeof(outside), "%s/outside", f->dir);
	assert_int_equal(mkdirat(f->root, "d", 0755), 0);
	assert_int_equal(symlinkat(outside, f->root, "swapped"), 0);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)renameat2(f->root, "d", f->root, "swapped", RENAME_EXCHANGE);
	}
	return pid;
}

static void test_swapped_parents(void **state)
{
	struct fixture *f = *state;
	const time_t end = time(NULL) + 2;
	cleanup_str struct str tar = STR_INIT;
	pid_t swapper;
	int rounds = 0;

	for (int i = 0; i < 40; i++) {
		tar_add(&tar, (struct tar_entry){
				      .name = i % 2 ? "d/secret" : "d/x/secret", .data = "changed", .mode = 0777 });
		tar_add(&tar, (struct tar_entry){ .name = "d/secret", .type = '1', .link = "d/x/secret" });
		tar_add(&tar, (struct tar_entry){ .name = "d", .type = '5', .mode = 0777 });
		tar_add(&tar, (struct tar_entry){ .name = "d/.wh.secret" });
	}
	tar_end(&tar);
	swapper = start_swapper(f);
	do {
		/* It may fail, and it may put things under other names, but only inside. */
		(void)extract_bytes(f, &tar, NULL);
		rounds++;
		if (faccessat(f->root, "swapped", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			(void)symlinkat("../outside", f->root, "swapped");
		if (faccessat(f->root, "d", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			(void)mkdirat(f->root, "d", 0755);
	} while (time(NULL) < end);
	assert_int_equal(kill(swapper, SIGKILL), 0);
	assert_int_equal(waitpid(swapper, NULL, 0), swapper);
	assert_true(rounds > 0); /* how many depends on the machine: the lab is emulated */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_honest),
		TEST(test_owner),
		TEST(test_names_that_climb),
		TEST(test_linked_parents),
		TEST(test_replaced_links),
		TEST(test_hard_links),
		TEST(test_root_entry),
		TEST(test_devices),
		TEST(test_attributes),
		TEST(test_whiteouts),
		TEST(test_inherited_parents),
		TEST(test_long_names),
		TEST(test_depth_by_links),
		TEST(test_limits),
		TEST(test_compressed),
		TEST(test_bomb),
		TEST(test_broken),
		TEST(test_swapped_parents),
		TEST(test_interrupted),
		TEST(test_terminal_escapes),
	};

	if (no_openat2())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
