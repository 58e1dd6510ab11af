/* SPDX-License-Identifier: Apache-2.0 */
/* Overlay mounts, by each of the three ways that kernels know; and an image's snapshot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/mount.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "image/snapshot.h"
#include "linux/overlay.h"
#include "tarball.h"

static const char *const method_names[] = { "auto", "by fd", "by path", "by mount(2)" };

struct fixture {
	char dir[64];
	int fd, lower[OVERLAY_LAYERS_MAX + 1], upper, work;
	struct error err;
};

static void make_file(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static int open_dir(const struct fixture *f, const char *name)
{
	int fd;

	assert_int_equal(mkdirat(f->fd, name, 0755), 0);
	fd = openat(f->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	/* Characters that mean something in lowerdir= must not here. */
	strcpy(f->dir, "/tmp/caisson,test:x=XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "l:%d,", i);
		f->lower[i] = open_dir(f, name);
		make_file(f->lower[i], "same", name);
		make_file(f->lower[i], name, name);
	}
	f->upper = open_dir(f, "upper");
	f->work = open_dir(f, "work");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++)
		close(f->lower[i]);
	close(f->upper);
	close(f->work);
	close(f->fd);
	assert_int_equal(file_remove_all(AT_FDCWD, f->dir, NULL), 0);
	free(f);
	return 0;
}

static void need_root(void)
{
	if (geteuid() != 0) {
		print_message("not root: cannot mount\n");
		skip();
	}
}

/* Whether this kernel is new enough for a way to hand over layers. */
static bool known(enum overlay_method method)
{
	struct utsname name;
	int major = 0, minor = 0;

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%d.%d", &major, &minor), 2);
	if (method == OVERLAY_BY_FD)
		return major * 1000 + minor >= 6013;
	return method != OVERLAY_BY_PATH || major * 1000 + minor >= 6007;
}

static bool mounted_somewhere(const char *what)
{
	cleanup_free char *text = NULL;

	assert_int_equal(file_read(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, NULL, NULL), 0);
	return strstr(text, what);
}

static void assert_text(int dir, const char *name, const char *expected)
{
	cleanup_free char *text = NULL;

	assert_int_equal(file_read(dir, name, 100, &text, NULL, NULL), 0);
	assert_string_equal(text, expected);
}

static int mount_fixture(struct fixture *f, enum overlay_method method, unsigned flags)
{
	struct overlay overlay = { .lower = f->lower,
				   .lower_count = 3,
				   .upper = f->upper,
				   .work = f->work,
				   .flags = flags,
				   .attributes = MOUNT_ATTR_NOSUID,
				   .source = "caisson-overlay-test",
				   .method = method };
	int fd = overlay_mount(&overlay, &f->err);

	if (fd < 0)
		fail_msg("%s: %s", method_names[method], f->err.text);
	return fd;
}

static void test_detached(void **state)
{
	struct fixture *f = *state;

	need_root();
	for (enum overlay_method method = OVERLAY_AUTO; method <= OVERLAY_BY_MOUNT2; method++) {
		int before, after, mount;

		if (!known(method))
			continue;
		before = dup(0);
		mount = mount_fixture(f, method, 0);
		close(before);
		assert_text(mount, "same", "l:0,");
		assert_text(mount, "l:2,", "l:2,");
		make_file(mount, "new", "written");
		assert_text(f->upper, "new", "written");
		assert_int_equal(unlinkat(mount, "new", 0), 0);
		/* Nobody sees it, and with its descriptor it is gone. */
		assert_false(mounted_somewhere("caisson-overlay-test"));
		assert_int_equal(fcntl(mount, F_GETFD), FD_CLOEXEC);
		close(mount);
		after = dup(0);
		assert_int_equal(before, after);
		close(after);
	}
}

static void test_read_only(void **state)
{
	struct fixture *f = *state;

	need_root();
	for (enum overlay_method method = OVERLAY_AUTO; method <= OVERLAY_BY_MOUNT2; method++) {
		cleanup_close int mount = -1;

		if (!known(method))
			continue;
		mount = mount_fixture(f, method, OVERLAY_READ_ONLY);
		assert_text(mount, "same", "l:0,");
		assert_true(openat(mount, "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0);
		assert_int_equal(errno, EROFS);
	}
}

static void reopen_here(struct fixture *f)
{
	int *fds[] = { &f->lower[0], &f->lower[1], &f->lower[2], &f->upper, &f->work };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		cleanup_free char *path = file_fd_target(*fds[i]);

		close(*fds[i]);
		*fds[i] = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
}

static int attach_in_namespace(struct fixture *f)
{
	cleanup_free char *target = path_join(f->dir, "target"), *file = path_join(f->dir, "target/l:1,");
	int mount, ret;

	if (unshare(CLONE_NEWNS) < 0)
		return 77;
	/* Directories of another mount namespace are no layers (but old kernels take them); the error says so. */
	mount = overlay_mount(
		&(struct overlay){ .lower = f->lower, .lower_count = 3, .upper = f->upper, .work = f->work }, &f->err);
	if (mount < 0 && (mount != -EINVAL || !strstr(f->err.text, "mount namespace")))
		return 5;
	if (mount >= 0)
		close(mount);
	reopen_here(f);
	mount = mount_fixture(f, OVERLAY_AUTO, 0);
	if (mkdirat(f->fd, "target", 0755) < 0 || overlay_attach(mount, AT_FDCWD, target, &f->err) < 0)
		return 1;
	close(mount);
	ret = access(file, F_OK) == 0 && mounted_somewhere("caisson-overlay-test") ? 0 : 2;
	if (syscall(SYS_umount2, target, 0) < 0)
		return 3;
	return mounted_somewhere("caisson-overlay-test") ? 4 : ret;
}

static void test_attached(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	need_root();
	pid = fork();
	if (pid == 0)
		_exit(attach_in_namespace(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 77) {
		print_message("no mount namespace of one's own here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* The directory of the bottom layer is only reached through all the others. */
static void test_many_layers(void **state)
{
	static const size_t counts[] = { 128, 400 };
	struct fixture *f = *state;
	struct overlay overlay = { .lower = f->lower, .upper = f->upper, .work = f->work };

	need_root();
	for (size_t i = 3; i < 400; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "m%zu", i);
		f->lower[i] = open_dir(f, name);
	}
	make_file(f->lower[127], "bottom", "x");
	make_file(f->lower[399], "bottom", "x");
	for (size_t i = 0; i < 2; i++) {
		for (enum overlay_method method = OVERLAY_AUTO; method <= OVERLAY_BY_MOUNT2; method++) {
			cleanup_close int mount = -1;

			if (!known(method))
				continue;
			overlay.lower_count = counts[i];
			overlay.method = method;
			mount = overlay_mount(&overlay, &f->err);
			if (mount < 0)
				fail_msg("%s, %zu layers: %s", method_names[method], counts[i], f->err.text);
			assert_text(mount, "bottom", "x");
		}
	}
	for (size_t i = 3; i < 400; i++)
		close(f->lower[i]);
	overlay.lower_count = OVERLAY_LAYERS_MAX + 1;
	assert_int_equal(overlay_mount(&overlay, &f->err), -E2BIG);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	struct overlay overlay = { .lower = f->lower, .lower_count = 0, .upper = f->upper, .work = f->work };
	cleanup_close int mount = -1;

	assert_int_equal(overlay_mount(&overlay, &f->err), -EINVAL);
	overlay.lower_count = 1;
	if (geteuid() != 0) {
		assert_int_equal(overlay_mount(&overlay, &f->err), -EPERM);
		assert_non_null(strstr(f->err.text, "CAP_SYS_ADMIN"));
		return;
	}
	/* An overlay as the upper layer of another: what happens to a store inside a container. */
	mount = mount_fixture(f, OVERLAY_AUTO, 0);
	assert_int_equal(mkdirat(mount, "u", 0755), 0);
	assert_int_equal(mkdirat(mount, "w", 0755), 0);
	overlay.upper = openat(mount, "u", O_PATH | O_CLOEXEC);
	overlay.work = openat(mount, "w", O_PATH | O_CLOEXEC);
	assert_true(overlay_mount(&overlay, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "overlayfs"));
	assert_non_null(strstr(f->err.text, "--root"));
	close(overlay.upper);
	close(overlay.work);
}

static void import_layer(struct image_store *store, const char *name)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	cleanup_str struct str tar = STR_INIT;
	cleanup_close int fd = -1;

	tar_add(&tar, (struct tar_entry){ .name = "./", .type = '5', .mode = 0751 });
	tar_add(&tar, (struct tar_entry){ .name = "file", .data = "of the image" });
	tar_end(&tar);
	fd = tar_fd(&tar);
	options.name = name;
	assert_int_equal(image_import(store, fd, &options, NULL, NULL), 0);
}

static void test_snapshot(void **state)
{
	struct fixture *f = *state;
	char root[128];
	struct image_store store;
	struct image_layers layers;
	struct image image;
	struct stat st;
	int mount;

	need_root();
	(void)snprintf(root, sizeof(root), "%s/store", f->dir);
	assert_int_equal(image_store_open(&store, root, &f->err), 0);
	import_layer(&store, "x");
	assert_int_equal(image_open(&store, "x", &image, &f->err), 0);
	/* As after a crash between naming and unpacking, or in a copied layout. */
	assert_int_equal(file_remove_all(store.fd, "snapshots", NULL), 0);
	assert_int_equal(mkdirat(store.fd, "snapshots", 0700), 0);
	assert_int_equal(image_layers_open(&store, &image, &layers, &f->err), 0);
	assert_int_equal(image_upper_prepare(&store, &layers, f->upper, &f->err), 0);
	mount = image_snapshot_mount(&store, &layers, f->upper, f->work, 0, 0, &f->err);
	if (mount < 0)
		fail_msg("%s", f->err.text);
	assert_text(mount, "file", "of the image");
	assert_int_equal(fstat(mount, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0751);
	make_file(mount, "file", "changed");
	close(mount);
	mount = image_snapshot_mount(&store, &layers, -1, -1, IMAGE_SNAPSHOT_READ_ONLY, 0, &f->err);
	assert_true(mount >= 0);
	assert_text(mount, "file", "of the image");
	close(mount);
	image_layers_close(&layers);
	image_close(&image);
	image_store_close(&store);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_detached),	TEST(test_read_only), TEST(test_attached),
		TEST(test_many_layers), TEST(test_errors),    TEST(test_snapshot),
	};

	if (no_openat2())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
