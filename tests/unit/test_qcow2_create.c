/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "paradigm/vm/block/lock.h"
#include "paradigm/vm/block/qcow2_create.h"

static int make_file(void)
{
	int fd = memfd_create("image", 0);

	assert_true(fd >= 0);
	return fd;
}

/* What qemu-img finds in the image: its status. */
static int qemu_img_check(int fd)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "qemu-img check -f qcow2 /proc/%d/fd/%d >/dev/null 2>&1", getpid(),
		       fd);
	return WEXITSTATUS(system(command)); /* NOLINT(cert-env33-c) */
}

static void images_are_what_qemu_takes_for_good(void **state)
{
	static const uint64_t sizes[] = { 0, 512, 1 << 20, UINT64_C(10) << 30, UINT64_C(1) << 51 };
	cleanup_close int base = make_file();
	char name[64]; /* qemu-img opens it too */

	(void)state;
	(void)snprintf(name, sizeof(name), "/proc/%d/fd/%d", getpid(), base);
	if (system("qemu-img --version >/dev/null 2>&1") != 0) {
		print_message("qemu-img is not there: install qemu-utils\n");
		skip();
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		cleanup_close int fd = make_file();
		struct error err = ERROR_INIT;

		assert_int_equal(qcow2_create(fd, sizes[i], i % 2 ? name : NULL, i % 2 ? "raw" : NULL, &err), 0);
		assert_int_equal(qemu_img_check(fd), 0);
	}
}

static void descriptions_tell_size_and_backing_file(void **state)
{
	cleanup_close int fd = make_file(), other = make_file();
	struct qcow2_description description;
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(qcow2_create(fd, 1 << 20, "layers.ext4", "raw", &err), 0);
	assert_int_equal(qcow2_describe(fd, &description, &err), 1);
	assert_int_equal(description.size, 1 << 20);
	assert_string_equal(description.backing, "layers.ext4");
	assert_string_equal(description.backing_format, "raw");
	assert_int_equal(qcow2_describe(other, &description, &err), 0);
	assert_int_equal(
		pwrite(other, "no image, but long enough to be one of them if it were one of them at all", 72, 0), 72);
	assert_int_equal(qcow2_describe(other, &description, &err), 0);
}

static void what_cannot_be_is_refused(void **state)
{
	cleanup_close int fd = make_file(), closed = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char name[QCOW2_BACKING_MAX + 2];
	struct error err = ERROR_INIT;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(qcow2_create(fd, 513, NULL, NULL, &err), -EINVAL);
	assert_int_equal(qcow2_create(fd, (UINT64_C(1) << 51) + 512, NULL, NULL, &err), -EINVAL);
	assert_int_equal(qcow2_create(fd, UINT64_MAX - 511, NULL, NULL, &err), -EINVAL);
	assert_int_equal(qcow2_create(fd, 512, name, "raw", &err), -EINVAL);
	assert_int_equal(qcow2_create(fd, 512, "base", NULL, &err), -EINVAL);
	assert_true(qcow2_create(closed, 512, NULL, NULL, &err) < 0);
}

/* A backing file's name that is too long, or not in the file. */
static void descriptions_of_damaged_images_are_refused(void **state)
{
	static const uint8_t far[8] = { 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, past[8] = { 0, 0, 1 },
			     length[4] = { 0, 0, 4, 0 };
	struct qcow2_description description;
	struct error err = ERROR_INIT;

	(void)state;
	for (int i = 0; i < 3; i++) {
		cleanup_close int fd = make_file();

		assert_int_equal(qcow2_create(fd, 1 << 20, "base", "raw", &err), 0);
		if (i < 2)
			assert_int_equal(pwrite(fd, i == 0 ? far : past, 8, 8), 8);
		else
			assert_int_equal(pwrite(fd, length, 4, 16), 4);
		assert_int_equal(qcow2_describe(fd, &description, &err), -EINVAL);
	}
}

/* Another one who opens the same file. */
static int open_again(int fd, bool read_only)
{
	char path[FILE_FD_PATH_MAX];
	int again = open(file_fd_path(fd, path), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	assert_true(again >= 0);
	return again;
}

static int qemu_img_info(int fd, const char *options)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "qemu-img info %s /proc/%d/fd/%d >/dev/null 2>&1", options, getpid(),
		       fd);
	return WEXITSTATUS(system(command)); /* NOLINT(cert-env33-c) */
}

static void many_may_read_or_one_may_write(void **state)
{
	static const bool read_only[][2] = { { true, true }, { true, false }, { false, true }, { false, false } };
	cleanup_close int fd = make_file();
	bool qemu = system("qemu-img --version >/dev/null 2>&1") == 0; /* NOLINT(cert-env33-c) */

	(void)state;
	assert_int_equal(qcow2_create(fd, 1 << 20, NULL, NULL, NULL), 0);
	for (size_t i = 0; i < sizeof(read_only) / sizeof(*read_only); i++) {
		int first = open_again(fd, read_only[i][0]), second = open_again(fd, read_only[i][1]);
		struct error err = ERROR_INIT;

		assert_int_equal(block_lock(first, read_only[i][0], "here", &err), 0);
		assert_int_equal(block_lock(first, read_only[i][0], "here", &err), 0);
		/* QEMU's programs see it, and are seen. */
		if (qemu)
			assert_int_equal(qemu_img_info(fd, "") == 0, read_only[i][0]);
		if (qemu)
			assert_int_equal(qemu_img_info(fd, "-U"), 0);
		assert_int_equal(block_lock(second, read_only[i][1], "there", &err), i == 0 ? 0 : -EBUSY);
		if (i > 0)
			assert_non_null(strstr(err.text, "the disk there is in use"));
		close(second);
		/* It goes with the last who has it. */
		second = dup(first);
		close(first);
		first = open_again(fd, false);
		assert_int_equal(block_lock(first, false, "here", NULL), -EBUSY);
		close(second);
		assert_int_equal(block_lock(first, false, "here", NULL), 0);
		close(first);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(images_are_what_qemu_takes_for_good),
		cmocka_unit_test(descriptions_tell_size_and_backing_file),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(descriptions_of_damaged_images_are_refused),
		cmocka_unit_test(many_may_read_or_one_may_write),
	};

	return cmocka_run_group_tests_name("qcow2_create", tests, NULL, NULL);
}
