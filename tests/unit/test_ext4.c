/* SPDX-License-Identifier: Apache-2.0 */
/* ext4 file systems of directories, looked into with debugfs(8), which mounts nothing. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/ext4.h"

static char top[32];

static int make_top(void **state)
{
	char path[64];

	(void)state;
	strcpy(top, "/tmp/caisson-ext4.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/tree", top);
	return mkdir(path, 0755);
}

static int remove_top(void **state)
{
	(void)state;
	return file_remove_all(AT_FDCWD, top, NULL);
}

static int open_below(const char *name, int flags)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

/* What debugfs says to a request. */
static char *ask(const char *request)
{
	char command[256];
	FILE *pipe;
	char *text = calloc(1, 4096);

	(void)snprintf(command, sizeof(command), "/sbin/debugfs -R '%s' %s/disk 2>/dev/null", request, top);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	assert_non_null(text);
	(void)!fread(text, 1, 4095, pipe);
	pclose(pipe);
	return text;
}

static void holds_what_the_directory_holds(void **state)
{
	cleanup_close int tree = open_below("tree", O_RDONLY | O_DIRECTORY);
	cleanup_close int disk = open_below("disk", O_RDWR | O_CREAT);
	cleanup_close int file = openat(tree, "a file", O_WRONLY | O_CREAT | O_CLOEXEC, 04751);
	cleanup_free char *content = NULL, *described = NULL, *link = NULL;
	struct error err = ERROR_INIT;
	struct stat st;
	int ret;

	(void)state;
	if (access("/sbin/mke2fs", X_OK) < 0 || access("/sbin/debugfs", X_OK) < 0) {
		print_message("e2fsprogs is not installed\n");
		skip();
	}
	assert_int_equal(write(file, "content", 7), 7);
	assert_int_equal(fchmod(file, 04751), 0);
	if (geteuid() == 0)
		assert_int_equal(fchown(file, 1234, 5678), 0);
	assert_int_equal(fchmod(file, 04751), 0);
	assert_int_equal(symlinkat("a file", tree, "link"), 0);
	ret = ext4_make(tree, disk, UINT64_C(1) << 33, &err);
	if (ret < 0)
		fail_msg("%s", err.text);
	assert_int_equal(fstat(disk, &st), 0);
	assert_true(st.st_size == INT64_C(1) << 33);
	assert_true(st.st_blocks < (16 << 20) / 512); /* sparse */
	described = ask("ls");
	assert_null(strstr(described, "lost+found"));
	free(described);
	content = ask("cat \"a file\"");
	assert_string_equal(content, "content");
	described = ask("stat \"a file\"");
	assert_non_null(strstr(described, "04751"));
	assert_true(geteuid() != 0 || (strstr(described, "User:  1234") && strstr(described, "Group:  5678")));
	link = ask("stat link");
	assert_non_null(strstr(link, "Type: symlink"));
}

static void says_why_it_cannot(void **state)
{
	cleanup_close int tree = open_below("tree", O_RDONLY | O_DIRECTORY);
	cleanup_close int disk = open_below("disk", O_RDWR | O_CREAT);
	cleanup_close int file = openat(tree, "large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct error err = ERROR_INIT;
	char *bytes = malloc(1 << 20);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', 1 << 20);
	for (int i = 0; i < 72; i++)
		assert_int_equal(write(file, bytes, 1 << 20), 1 << 20);
	free(bytes);
	if (access("/sbin/mke2fs", X_OK) < 0)
		skip();
	(void)ext4_make(tree, disk, 64 << 20, &err);
	assert_non_null(strstr(err.text, "cannot make an ext4 file system: mke2fs: Could not allocate block"));
	assert_int_equal(err.code, ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(holds_what_the_directory_holds, make_top, remove_top),
		cmocka_unit_test_setup_teardown(says_why_it_cannot, make_top, remove_top),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
