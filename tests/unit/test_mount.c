/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "linux/mount.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static struct mount_options parse(size_t count, const char *const *options)
{
	struct mount_options parsed;

	assert_int_equal(mount_options_parse(options, count, &parsed, NULL), 0);
	return parsed;
}
#define PARSE(...) parse(COUNT(((const char *[]){ __VA_ARGS__ })), (const char *[]){ __VA_ARGS__ })

static void test_names_are_sorted(void **state)
{
	(void)state;
	for (size_t i = 1; mount_option_name(i); i++)
		assert_true(strcmp(mount_option_name(i - 1), mount_option_name(i)) < 0);
}

/* config-linux.md, "Linux mount options": every one of the table. */
static void test_every_option_of_the_specification(void **state)
{
	(void)state;
	static const char *const names[] = {
		"async",
		"atime",
		"bind",
		"defaults",
		"dev",
		"diratime",
		"dirsync",
		"exec",
		"iversion",
		"lazytime",
		"loud",
		"mand",
		"noatime",
		"nodev",
		"nodiratime",
		"noexec",
		"noiversion",
		"nolazytime",
		"nomand",
		"norelatime",
		"nostrictatime",
		"nosuid",
		"nosymfollow",
		"private",
		"ratime",
		"rbind",
		"rdev",
		"rdiratime",
		"relatime",
		"remount",
		"rexec",
		"rnoatime",
		"rnodev",
		"rnodiratime",
		"rnoexec",
		"rnorelatime",
		"rnostrictatime",
		"rnosuid",
		"rnosymfollow",
		"ro",
		"rprivate",
		"rrelatime",
		"rro",
		"rrw",
		"rshared",
		"rslave",
		"rstrictatime",
		"rsuid",
		"rsymfollow",
		"runbindable",
		"rw",
		"shared",
		"silent",
		"slave",
		"strictatime",
		"suid",
		"symfollow",
		"sync",
		"tmpcopyup",
		"unbindable",
		"idmap",
		"ridmap",
	};

	for (size_t i = 0; i < COUNT(names); i++) {
		struct mount_options parsed = parse(1, names + i);

		if (parsed.data)
			fail_msg("%s is not known", names[i]);
	}
}

static void test_flags(void **state)
{
	(void)state;
	struct mount_options parsed = PARSE("ro", "nosuid", "rw", "nodev", "dev", "rbind");

	assert_int_equal(parsed.flags, MS_NOSUID | MS_BIND | MS_REC);
	assert_int_equal(parsed.cleared, MS_RDONLY | MS_NODEV);
	parsed = PARSE("rw", "ro", "noatime", "strictatime");
	assert_int_equal(parsed.flags, MS_RDONLY | MS_STRICTATIME);
	assert_int_equal(parsed.cleared, 0);
	parsed = PARSE("rprivate", "shared");
	assert_int_equal(parsed.propagation_count, 2);
	assert_int_equal(parsed.propagation[0], MS_PRIVATE | MS_REC);
	assert_int_equal(parsed.propagation[1], MS_SHARED);
	parsed = PARSE("tmpcopyup", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow");
	assert_true(parsed.tmpcopyup && parsed.ridmap && parsed.copy_symlink);
	assert_true(parsed.source_nofollow && parsed.dest_nofollow && !parsed.idmap);
}

static void test_recursive_attributes(void **state)
{
	(void)state;
	struct mount_options parsed = PARSE("rro", "rnosuid", "rsuid", "rnoexec");

	assert_int_equal(parsed.recursive_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC);
	assert_int_equal(parsed.recursive_cleared, MOUNT_ATTR_NOSUID);
	parsed = PARSE("rnoatime");
	assert_int_equal(parsed.recursive_set, MOUNT_ATTR_NOATIME);
	assert_int_equal(parsed.recursive_cleared, MOUNT_ATTR__ATIME);
	parsed = PARSE("rnoatime", "rrelatime");
	assert_int_equal(parsed.recursive_set, 0);
	assert_int_equal(parsed.recursive_cleared, MOUNT_ATTR__ATIME);
}

static void test_attributes(void **state)
{
	(void)state;
	uint64_t set, clear;

	mount_attributes(MS_RDONLY | MS_NOATIME | MS_BIND, MS_NOSUID, &set, &clear);
	assert_int_equal(set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
	assert_int_equal(clear, MOUNT_ATTR_NOSUID | MOUNT_ATTR__ATIME);
	mount_attributes(MS_BIND | MS_REC, 0, &set, &clear);
	assert_int_equal(set | clear, 0);
}

static void test_data(void **state)
{
	(void)state;
	struct mount_options parsed = PARSE("size=65536k", "", "nosuid", "mode=755", "newinstance");
	struct error err = ERROR_INIT;

	assert_string_equal(parsed.data, "size=65536k,mode=755,newinstance");
	mount_options_free(&parsed);
	assert_null(parsed.data);
	assert_int_equal(mount_options_parse((const char *[]){ "idmap", "ridmap" }, 2, &parsed, &err), -EINVAL);
	for (int i = 0; i < 2; i++) {
		static const char *const many[] = { "private", "private", "private", "private", "private",
						    "private", "private", "private", "private" };

		assert_int_equal(mount_options_parse(many, COUNT(many) - (size_t)i, &parsed, &err),
				 i == 0 ? -EINVAL : 0);
	}
}

static void test_propagation_names(void **state)
{
	(void)state;
	assert_int_equal(mount_propagation_from_name("rslave"), MS_SLAVE | MS_REC);
	assert_int_equal(mount_propagation_from_name("unbindable"), MS_UNBINDABLE);
	assert_int_equal(mount_propagation_from_name("ro"), 0);
	assert_int_equal(mount_propagation_from_name("nonsense"), 0);
}

/*
 * The rest needs mounts.  Each runs in a child with a mount namespace of its own, in a tmpfs over an empty directory;
 * a failed CHECK says where.
 */

static int in_namespace(int (*body)(int dir))
{
	char path[] = "/tmp/test_mount.XXXXXX";
	cleanup_close int pidfd = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	int status = -1;
	pid_t pid;

	assert_non_null(mkdtemp(path));
	options.flags = CLONE_NEWNS;
	options.pidfd = &pidfd;
	pid = clone_process(&options, NULL);
	if (pid == 0) {
		int dir;

		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("t", path, "tmpfs", 0, NULL) < 0)
			_exit(100);
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		_exit(dir < 0 ? 101 : body(dir));
	}
	assert_true(pid > 0);
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	(void)rmdir(path);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void run(int (*body)(int dir))
{
	if (geteuid() != 0) {
		print_message("skipped: mounts need root\n");
		skip();
	}
	assert_int_equal(in_namespace(body), 0);
}

static unsigned long flags_at(int dir, const char *path)
{
	cleanup_close int fd = openat(dir, path, O_PATH | O_CLOEXEC);
	struct statvfs st;

	return fd >= 0 && fstatvfs(fd, &st) == 0 ? st.f_flag : ~0UL;
}

static int new_filesystem(int dir)
{
	struct error err = ERROR_INIT;
	struct mount_options options = PARSE("nosuid", "nodev", "noatime", "size=128k", "mode=0711");
	cleanup_close int target = -1, mounted = -1, file = -1;
	struct stat st;

	CHECK(mkdirat(dir, "a", 0700) == 0);
	target = openat(dir, "a", O_PATH | O_CLOEXEC);
	mounted = mount_new("tmpfs", "source", &options, &err);
	CHECK(mounted >= 0);
	/* It can be filled before anybody sees it. */
	file = openat(mounted, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(file >= 0);
	CHECK(faccessat(dir, "a/file", F_OK, 0) < 0);
	CHECK(mount_attach(mounted, target, &err) == 0);
	CHECK(faccessat(dir, "a/file", F_OK, 0) == 0);
	CHECK(fstatat(dir, "a", &st, 0) == 0 && (st.st_mode & 07777) == 0711);
	CHECK((flags_at(dir, "a") & (ST_NOSUID | ST_NODEV | ST_NOATIME | ST_RDONLY)) ==
	      (ST_NOSUID | ST_NODEV | ST_NOATIME));
	CHECK(mount_detach(mounted) == 0);
	CHECK(faccessat(dir, "a/file", F_OK, 0) < 0);
	mount_options_free(&options);
	return 0;
}

static int refused_filesystem(int dir)
{
	struct error err = ERROR_INIT;
	struct mount_options options = PARSE("size=bogus");
	struct mount_options none = PARSE("ro");
	char longer[400];

	(void)dir;
	CHECK(mount_new("tmpfs", NULL, &options, &err) == -EINVAL);
	CHECK(strstr(err.text, "cannot mount tmpfs"));
	CHECK(strstr(err.text, "size")); /* in the file system's own words */
	mount_options_free(&options);
	CHECK(mount_new("no-such-fs", NULL, &none, &err) == -ENODEV);
	CHECK(strstr(err.text, "does not know the file system no-such-fs"));
	memset(longer, 'a', sizeof(longer) - 1);
	memcpy(longer, "lowerdir=", 9);
	longer[sizeof(longer) - 1] = '\0';
	options = PARSE(longer);
	CHECK(mount_new("tmpfs", NULL, &options, &err) == -EOPNOTSUPP);
	mount_options_free(&options);
	return 0;
}

static int bind_with_attributes(int dir)
{
	struct error err = ERROR_INIT;
	struct mount_options options = PARSE("rbind", "ro", "rnosuid", "rprivate");
	struct mount_options plain = PARSE("nodev");
	cleanup_close int inner = -1, tree = -1;

	CHECK(mkdirat(dir, "a", 0700) == 0 && mkdirat(dir, "a/b", 0700) == 0 && mkdirat(dir, "t", 0700) == 0);
	inner = mount_new("tmpfs", NULL, &plain, &err);
	CHECK(inner >= 0 && mount_attach_at(inner, dir, "a/b", &err) == 0);
	/* "a" itself is a plain directory: a bind of it takes the mount below along. */
	tree = mount_clone(dir, "a", options.flags & MS_REC, AT_SYMLINK_NOFOLLOW, &err);
	CHECK(tree >= 0 && mount_apply(tree, &options, &err) == 0);
	CHECK(mount_attach_at(tree, dir, "t", &err) == 0);
	CHECK((flags_at(dir, "t") & (ST_RDONLY | ST_NOSUID)) == (ST_RDONLY | ST_NOSUID));
	CHECK((flags_at(dir, "t/b") & (ST_RDONLY | ST_NOSUID | ST_NODEV)) == (ST_NOSUID | ST_NODEV));
	CHECK((flags_at(dir, "a") & (ST_RDONLY | ST_NOSUID)) == 0);
	CHECK(mount_set_attributes(dir, "t", MOUNT_ATTR_RDONLY, 0, true, &err) == 0);
	CHECK(flags_at(dir, "t/b") & ST_RDONLY);
	CHECK(mount_clone(dir, "missing", false, 0, &err) == -ENOENT && strstr(err.text, "missing"));
	return 0;
}

static int classic(int dir)
{
	struct error err = ERROR_INIT;
	cleanup_close int target = -1, file = -1;

	CHECK(mkdirat(dir, "a", 0700) == 0);
	target = openat(dir, "a", O_PATH | O_CLOEXEC);
	CHECK(mount_classic("x", target, "tmpfs", MS_NOEXEC, "mode=700", &err) == 0);
	CHECK(flags_at(dir, "a") & ST_NOEXEC);
	CHECK(mount_classic("x", target, "no-such-fs", 0, NULL, &err) == -ENODEV);
	/* A file on a file. */
	file = openat(dir, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(mount_classic("/dev/null", file, NULL, MS_BIND, NULL, &err) == 0);
	return 0;
}

/* The name of the mount point is exchanged after it was opened: the mount lands where it was looked up. */
static int swapped_target(int dir)
{
	struct error err = ERROR_INIT;
	struct mount_options options = PARSE("mode=0711");
	cleanup_close int target = -1, mounted = mount_new("tmpfs", NULL, &options, &err);
	struct stat st;

	CHECK(mounted >= 0 && mkdirat(dir, "a", 0700) == 0 && mkdirat(dir, "victim", 0700) == 0);
	target = openat(dir, "a", O_PATH | O_CLOEXEC);
	CHECK(renameat(dir, "a", dir, "moved") == 0 && symlinkat("victim", dir, "a") == 0);
	CHECK(mount_attach(mounted, target, &err) == 0);
	CHECK(fstatat(dir, "victim", &st, 0) == 0 && (st.st_mode & 0777) == 0700);
	CHECK(fstatat(dir, "moved", &st, 0) == 0 && (st.st_mode & 0777) == 0711);
	mount_options_free(&options);
	return 0;
}

static int root_with_marker(int dir, struct error *err)
{
	struct mount_options options = PARSE("mode=0755");
	int root = mount_new("tmpfs", NULL, &options, err);

	mount_options_free(&options);
	if (root < 0 || mkdirat(dir, "root", 0700) < 0 || mkdirat(root, "marker", 0700) < 0 ||
	    mkdirat(root, "proc", 0700) < 0)
		return -1;
	return mount_attach_at(root, dir, "root", err) < 0 ? -1 : root;
}

static int pivot(int dir)
{
	struct error err = ERROR_INIT;
	cleanup_close int root = root_with_marker(dir, &err);

	CHECK(root >= 0);
	CHECK(mount_pivot_root(root, true, &err) == 0);
	CHECK(access("/marker", F_OK) == 0 && access("marker", F_OK) == 0);
	CHECK(access("/usr", F_OK) < 0 && access("../usr", F_OK) < 0);
	return 0;
}

static int move_root(int dir)
{
	struct error err = ERROR_INIT;
	cleanup_close int root = root_with_marker(dir, &err), host = open("/proc", O_PATH | O_CLOEXEC);

	CHECK(root >= 0 && host >= 0);
	CHECK(mount_move_root(root, &err) == 0);
	CHECK(access("/marker", F_OK) == 0 && access("/usr", F_OK) < 0);
	/* Nothing of the host's procfs is in this namespace any more. */
	CHECK(mount_set_attributes(host, "", 0, MOUNT_ATTR_NOSUID, false, NULL) == -EINVAL);
	return 0;
}

static void test_new_filesystem(void **state)
{
	(void)state;
	run(new_filesystem);
}
static void test_refused_filesystem(void **state)
{
	(void)state;
	run(refused_filesystem);
}
static void test_bind(void **state)
{
	(void)state;
	run(bind_with_attributes);
}
static void test_classic(void **state)
{
	(void)state;
	run(classic);
}
static void test_swapped_target(void **state)
{
	(void)state;
	run(swapped_target);
}
static void test_pivot_root(void **state)
{
	(void)state;
	run(pivot);
}
static void test_move_root(void **state)
{
	(void)state;
	run(move_root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_sorted),
		cmocka_unit_test(test_every_option_of_the_specification),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_recursive_attributes),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_propagation_names),
		cmocka_unit_test(test_new_filesystem),
		cmocka_unit_test(test_refused_filesystem),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_classic),
		cmocka_unit_test(test_swapped_target),
		cmocka_unit_test(test_pivot_root),
		cmocka_unit_test(test_move_root),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
