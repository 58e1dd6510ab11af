/* SPDX-License-Identifier: Apache-2.0 */
/* The ground floor: errors, arenas, text, paths, files, and what may not leave a root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

static void test_error(void **state)
{
	struct error err = ERROR_INIT;
	char big[2 * ERROR_TEXT_MAX];

	(void)state;
	assert_int_equal(error_errno(&err, ENOENT, "open %s", "x"), -ENOENT);
	assert_string_equal(err.text, "open x: no such file or directory");
	assert_int_equal(error_wrap(&err, "cannot start %d", 7), -ENOENT);
	assert_int_equal(error_hint(&err, "make it"), -ENOENT);
	assert_string_equal(err.text, "cannot start 7: open x: no such file or directory; make it");
	assert_int_equal(err.code, ENOENT);
	assert_int_equal(error_set(NULL, EBUSY, "x"), -EBUSY);
	assert_int_equal(error_errno(NULL, EBUSY, "x"), -EBUSY);
	assert_int_equal(error_wrap(NULL, "x"), -EIO);
	assert_int_equal(error_hint(NULL, "x"), -EIO);
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(error_set(&err, EINVAL, "%s", big), -EINVAL);
	assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
	assert_true(str_ends(err.text, "aaa..."));
	assert_int_equal(error_wrap(&err, "outer"), -EINVAL);
	assert_true(str_starts(err.text, "outer: aaa"));
	assert_true(str_ends(err.text, "aaa..."));
	assert_int_equal(error_hint(&err, "%s", big), -EINVAL);
	assert_true(str_ends(err.text, "..."));
	/* Nothing that steers a terminal; letters of other scripts stay. */
	(void)error_set(&err, EINVAL, "name %s", "\033[31m\177\r\302\233\303\274\342\202\254");
	assert_string_equal(err.text, "name ?[31m??\?\?\303\274\342\202\254");
	(void)error_hint(&err, "\b");
	assert_true(str_ends(err.text, "; ?"));
}

static void test_arena(void **state)
{
	struct arena arena = { .head = NULL };
	unsigned char *last = NULL;
	char *text;

	(void)state;
	for (size_t size = 0; size < 3000; size += 7) {
		unsigned char *memory = arena_alloc(&arena, 1, size);

		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(memory[i], 0);
		memset(memory, 0xff, size);
		last = memory;
	}
	assert_non_null(last);
	assert_null(arena_alloc(&arena, SIZE_MAX, 2));
	assert_null(arena_alloc(&arena, SIZE_MAX, 1));
	text = arena_printf(&arena, "%s-%d", arena_strdup(&arena, "a"), 5);
	assert_string_equal(text, "a-5");
	arena_free(&arena);
	assert_null(arena.head);
	assert_non_null(arena_alloc(&arena, 1, 100000));
	arena_free(&arena);
}

static void test_str(void **state)
{
	struct str str = STR_INIT;
	char *text;

	(void)state;
	assert_string_equal(str_text(&str), "");
	text = str_take(&str);
	assert_string_equal(text, "");
	free(text);
	for (int i = 0; i < 1000; i++)
		str_printf(&str, "%d,", i);
	str_append(&str, "end");
	str_append_bytes(&str, "\0x", 2);
	assert_int_equal(str.length, 3890 + 3 + 2);
	assert_false(str_failed(&str));
	assert_true(str_starts(str_text(&str), "0,1,2,"));
	text = str_take(&str);
	assert_non_null(text);
	free(text);
	assert_null(str.text);
	str_append_bytes(&str, "x", SIZE_MAX); /* cannot be had: remembered, and nothing is read */
	assert_true(str_failed(&str));
	str_append(&str, "more");
	assert_null(str_take(&str));
	str_free(&str);
	assert_true(str_starts("abc", "") && str_starts("abc", "abc") && !str_starts("ab", "abc"));
	assert_true(str_ends("abc", "") && str_ends("abc", "bc") && !str_ends("bc", "abc") && !str_ends("abcd", "bc"));
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t value;
	} naturals[] = {
		{ "0", 0, 0 },	      { "007", 0, 7 },	     { "18446744073709551615", 0, UINT64_MAX },
		{ "", -EINVAL, 0 },   { " 1", -EINVAL, 0 },  { "18446744073709551616", -ERANGE, 0 },
		{ "-1", -EINVAL, 0 }, { "+1", -EINVAL, 0 },  { "99999999999999999999999", -ERANGE, 0 },
		{ "1x", -EINVAL, 0 }, { "0x1", -EINVAL, 0 }, { "1 ", -EINVAL, 0 },
	};
	static const struct {
		const char *text;
		int ret;
		int64_t value;
	} integers[] = {
		{ "-9223372036854775808", 0, INT64_MIN },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "-0", 0, 0 },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "-9223372036854775809", -ERANGE, 0 },
		{ "-", -EINVAL, 0 },
		{ "--1", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(naturals) / sizeof(*naturals); i++) {
		uint64_t value = 0;

		assert_int_equal(str_to_u64(naturals[i].text, &value), naturals[i].ret);
		assert_true(naturals[i].ret || value == naturals[i].value);
	}
	for (size_t i = 0; i < sizeof(integers) / sizeof(*integers); i++) {
		int64_t value = 0;

		assert_int_equal(str_to_i64(integers[i].text, &value), integers[i].ret);
		assert_true(integers[i].ret || value == integers[i].value);
	}
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t value;
	} sizes[] = {
		{ "0", 0, 0 },
		{ "5", 0, 5 },
		{ "5b", 0, 5 },
		{ "1k", 0, 1024 },
		{ "1K", 0, 1024 },
		{ "1kb", 0, 1024 },
		{ "1KiB", 0, 1024 },
		{ "2 m", 0, 2 << 20 },
		{ "1.5g", 0, UINT64_C(3) << 29 },
		{ "0.25MB", 0, 1 << 18 },
		{ "3t", 0, UINT64_C(3) << 40 },
		{ "16383p", 0, UINT64_C(16383) << 50 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "16384p", -ERANGE, 0 },
		{ "999999999999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "k", -EINVAL, 0 },
		{ ".5k", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1x", -EINVAL, 0 },
		{ "1kx", -EINVAL, 0 },
		{ "1kbb", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "1.5.5k", -EINVAL, 0 },
		{ "1k 1", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t bytes = 0;
		int ret = str_to_size(sizes[i].text, &bytes);

		if (ret != sizes[i].ret || (ret == 0 && bytes != sizes[i].value))
			fail_msg("\"%s\": %d, %ju", sizes[i].text, ret, (uintmax_t)bytes);
	}
}

static void test_paths(void **state)
{
	static const char *const cleaned[][2] = {
		{ "", "." },
		{ ".", "." },
		{ "/", "/" },
		{ "//", "/" },
		{ "/..", "/" },
		{ "/../../a", "/a" },
		{ "a/..", "." },
		{ "a/../..", ".." },
		{ "../..", "../.." },
		{ "../a/..", ".." },
		{ "a//b/./c/", "a/b/c" },
		{ "/a/b/../../..", "/" },
		{ "/a/./b/../c", "/a/c" },
		{ "...", "..." },
		{ "/..a/.b", "/..a/.b" },
		{ "./a", "a" },
		{ "../../a/../..", "../../.." },
		{ "a..", "a.." },
	};
	static const char *const joined[][3] = {
		{ "/a", "b", "/a/b" },
		{ "/a/", "/b", "/a/b" },
		{ "/", "b", "/b" },
		{ "a//", "//b/", "a/b/" },
	};
	cleanup_free char *absolute = path_absolute("/x"), *relative = path_absolute("x"), *cwd = getcwd(NULL, 0);
	cleanup_free char *expected = path_join(cwd, "x");

	(void)state;
	for (size_t i = 0; i < sizeof(cleaned) / sizeof(*cleaned); i++) {
		cleanup_free char *clean = path_clean(cleaned[i][0]);

		assert_string_equal(clean, cleaned[i][1]);
	}
	for (size_t i = 0; i < sizeof(joined) / sizeof(*joined); i++) {
		cleanup_free char *path = path_join(joined[i][0], joined[i][1]);

		assert_string_equal(path, joined[i][2]);
	}
	assert_string_equal(absolute, "/x");
	assert_string_equal(relative, expected);
}

/* A directory of its own for each test, with a "root" in it and something outside that must stay as it is. */
struct place {
	char path[sizeof("/tmp/caisson-test-base-XXXXXX")];
	int fd, root;
};

static int make_place(void **state)
{
	static struct place place;

	memcpy(place.path, "/tmp/caisson-test-base-XXXXXX", sizeof(place.path));
	if (!mkdtemp(place.path))
		return -1;
	place.fd = open(place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place.fd < 0 || mkdirat(place.fd, "root", 0755) < 0 || mkdirat(place.fd, "outside", 0755) < 0)
		return -1;
	place.root = openat(place.fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &place;
	return place.root < 0 ? -1 : 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;

	close(place->root);
	close(place->fd);
	return file_remove_all(AT_FDCWD, place->path, NULL);
}

static bool exists(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void put(int dirfd, const char *name, const char *text)
{
	cleanup_close int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

static void test_read_write(void **state)
{
	struct place *place = *state;
	cleanup_free char *content = NULL, *exact = NULL;
	struct error err = ERROR_INIT;
	char big[10000];
	struct stat st;
	size_t size;

	assert_int_equal(file_read(place->fd, "none", 10, &content, &size, &err), -ENOENT);
	assert_non_null(strstr(err.text, "none"));
	assert_null(content);
	assert_int_equal(file_replace(place->fd, "a", "old", 3, 0644, &err), 0);
	assert_int_equal(file_replace(place->fd, "a", "new text", 8, 0644, &err), 0);
	assert_int_equal(fstatat(place->fd, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(file_read(place->fd, "a", 8, &exact, &size, &err), 0);
	assert_string_equal(exact, "new text");
	assert_int_equal(size, 8);
	assert_int_equal(file_read(place->fd, "a", 7, &content, &size, &err), -EFBIG);
	assert_null(content);
	memset(big, 'x', sizeof(big));
	assert_int_equal(file_replace(place->fd, "b", big, sizeof(big), 0600, &err), 0);
	assert_int_equal(file_read(place->fd, "b", 1 << 20, &content, &size, &err), 0);
	assert_int_equal(size, sizeof(big));
	assert_memory_equal(content, big, size);
	assert_int_equal(file_replace(place->fd, "missing/c", "x", 1, 0600, &err), -ENOENT);
	assert_int_equal(file_write_text(place->fd, "a", "N"), 0);
	assert_int_equal(file_write_text(place->fd, "none", "N"), -ENOENT);
	assert_false(exists(place->fd, "none"));
}

static void test_mkdir_remove(void **state)
{
	struct place *place = *state;
	struct error err = ERROR_INIT;

	assert_int_equal(file_mkdir_all(place->fd, "x/y/z", 0700, &err), 0);
	assert_int_equal(file_mkdir_all(place->fd, "x/y/z", 0700, &err), 0);
	put(place->fd, "outside/keep", "x");
	put(place->fd, "x/file", "x");
	assert_int_equal(file_mkdir_all(place->fd, "x/file/z", 0700, &err), -ENOTDIR);
	assert_int_equal(symlinkat("../../outside", place->fd, "x/y/link"), 0);
	assert_int_equal(file_remove_all(place->fd, "x", &err), 0);
	assert_false(exists(place->fd, "x"));
	assert_true(exists(place->fd, "outside/keep"));
	assert_int_equal(file_remove_all(place->fd, "x", &err), 0);
	/* A link as the tree itself: the link goes, what it leads to stays. */
	assert_int_equal(symlinkat("outside", place->fd, "link"), 0);
	assert_int_equal(file_remove_all(place->fd, "link", &err), 0);
	assert_false(exists(place->fd, "link"));
	assert_true(exists(place->fd, "outside/keep"));
}

/* Deeper than a process has descriptors, and with a name in the way that the removal might want. */
static void test_remove_deep(void **state)
{
	enum { DEPTH = 3000, DESCRIPTORS = 200 };
	struct place *place = *state;
	struct error err = ERROR_INIT;
	struct rlimit before;
	int fd = place->fd;

	for (int i = 0; i < DEPTH; i++) {
		int below;

		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		below = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(below >= 0);
		put(below, "file", "x");
		if (fd != place->fd)
			close(fd);
		fd = below;
	}
	close(fd);
	put(place->fd, "d/.lifted.0", "x");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(prlimit(0, RLIMIT_NOFILE, &(struct rlimit){ DESCRIPTORS, before.rlim_max }, NULL), 0);
	assert_int_equal(file_remove_all(place->fd, "d", &err), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_false(exists(place->fd, "d"));
}

/* Valgrind 3.19 does not let openat2(2) through, and kernels before 5.6 do not have it. */
static void need_openat2(const struct place *place)
{
	int fd = file_open_in_root(place->root, "/", O_PATH, 0);

	if (fd == -ENOSYS) {
		print_message("no openat2(2) here\n");
		skip();
	}
	assert_true(fd >= 0);
	close(fd);
}

/* Opens path in the root and tells where it led to, relative to the place; "" when it could not be opened. */
static void assert_leads(const struct place *place, const char *path, const char *expected)
{
	cleanup_close int fd = file_open_in_root(place->root, path, O_PATH, 0);
	cleanup_free char *target = fd >= 0 ? file_fd_target(fd) : strdup("");

	assert_non_null(target);
	if (!*expected && *target)
		fail_msg("%s led to %s", path, target);
	if (*expected && (!str_starts(target, place->path) || strcmp(target + strlen(place->path), expected) != 0))
		fail_msg("%s led to \"%s\", not to %s", path, target, expected);
	if (fd >= 0)
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void test_open_in_root(void **state)
{
	const struct place *place = *state;
	char proc[64];

	need_openat2(place);
	put(place->fd, "outside/secret", "x");
	put(place->root, "secret", "inside");
	assert_int_equal(mkdirat(place->root, "dir", 0755), 0);
	put(place->root, "dir/file", "x");
	assert_int_equal(symlinkat("/dir", place->root, "absolute"), 0);
	assert_int_equal(symlinkat("../../../../..", place->root, "dir/up"), 0);
	assert_int_equal(symlinkat("../outside/secret", place->root, "escape"), 0);
	assert_int_equal(symlinkat(place->path, place->root, "host"), 0);
	assert_int_equal(symlinkat("loop", place->root, "loop"), 0);

	assert_leads(place, "", "/root");
	assert_leads(place, "/", "/root");
	assert_leads(place, "..", "/root");
	assert_leads(place, "../../..", "/root");
	assert_leads(place, "/../outside", "");
	assert_leads(place, "dir/../../outside/secret", "");
	assert_leads(place, "dir/../../secret", "/root/secret");
	assert_leads(place, "absolute/file", "/root/dir/file");
	assert_leads(place, "dir/up", "/root");
	assert_leads(place, "dir/up/secret", "/root/secret");
	assert_leads(place, "dir/up/dir/up/dir/file", "/root/dir/file");
	assert_leads(place, "escape", "");
	assert_leads(place, "host", "");
	assert_leads(place, "host/outside/secret", "");
	assert_int_equal(file_open_in_root(place->root, "loop", O_PATH, 0), -ELOOP);
	assert_int_equal(file_open_in_root(place->root, "missing", O_PATH, 0), -ENOENT);
	assert_int_equal(file_open_in_root(place->root, "secret/x", O_PATH, 0), -ENOTDIR);
	/* The kernel's magic links go anywhere, so they go nowhere here. */
	if (snprintf(proc, sizeof(proc), "/self/fd/%d/secret", place->fd) > 0) {
		cleanup_close int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

		assert_true(proc_fd >= 0);
		assert_int_equal(file_open_in_root(proc_fd, proc, O_PATH, 0), -ELOOP);
	}
}

/* A new file through a link that leads out lands inside or nowhere. */
static void test_create_in_root(void **state)
{
	const struct place *place = *state;
	cleanup_close int fd = -1;

	need_openat2(place);
	assert_int_equal(symlinkat("../../outside/new", place->root, "link"), 0);
	assert_int_equal(file_open_in_root(place->root, "link", O_WRONLY | O_CREAT, 0644), -ENOENT);
	assert_int_equal(mkdirat(place->root, "outside", 0755), 0);
	fd = file_open_in_root(place->root, "link", O_WRONLY | O_CREAT, 0640);
	assert_true(fd >= 0);
	assert_true(exists(place->root, "outside/new"));
	assert_false(exists(place->fd, "outside/new"));
}

static void test_mkdir_in_root(void **state)
{
	const struct place *place = *state;
	int created = -1, fd;

	need_openat2(place);
	assert_int_equal(mkdirat(place->root, "real", 0755), 0);
	assert_int_equal(symlinkat("/real", place->root, "link"), 0);
	assert_int_equal(symlinkat("../../../outside", place->root, "real/out"), 0);
	assert_int_equal(symlinkat("/gone", place->root, "dangling"), 0);
	put(place->root, "file", "x");

	fd = file_mkdir_in_root(place->root, "/a//b/./c/", 0711, &created);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(created, 1);
	assert_true(exists(place->root, "a/b/c"));
	fd = file_mkdir_in_root(place->root, "a/b/c", 0711, &created);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(created, 0);
	fd = file_mkdir_in_root(place->root, "link/x/y", 0755, &created);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(place->root, "real/x/y"));
	fd = file_mkdir_in_root(place->root, "../../../outside/made", 0755, NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(place->root, "outside/made"));
	assert_false(exists(place->fd, "outside/made"));
	fd = file_mkdir_in_root(place->root, "real/out/also", 0755, NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(place->root, "outside/also"));
	assert_false(exists(place->fd, "outside/also"));
	assert_int_equal(file_mkdir_in_root(place->root, "file/x", 0755, NULL), -ENOTDIR);
	fd = file_mkdir_in_root(place->root, "dangling/x", 0755, NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(place->root, "gone/x"));
	assert_false(exists(place->fd, "gone"));
	assert_int_equal(symlinkat("loop/on", place->root, "loop"), 0);
	assert_int_equal(file_mkdir_in_root(place->root, "loop/x", 0755, NULL), -ELOOP);
	fd = file_mkdir_in_root(place->root, "/", 0755, &created);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(created, 0);
}

static void test_touch_in_root(void **state)
{
	const struct place *place = *state;
	cleanup_free char *content = NULL;
	struct stat st;
	int fd;

	need_openat2(place);
	fd = file_touch_in_root(place->root, "/p/q/r", 0600);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_true(S_ISREG(st.st_mode) && st.st_size == 0);
	put(place->root, "full", "kept");
	fd = file_touch_in_root(place->root, "full", 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(file_read(place->root, "full", 10, &content, NULL, NULL), 0);
	assert_string_equal(content, "kept");
	assert_int_equal(symlinkat("../../outside/touched", place->root, "link"), 0);
	fd = file_touch_in_root(place->root, "link", 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(place->root, "outside/touched"));
	assert_false(exists(place->fd, "outside/touched"));
	fd = file_touch_in_root(place->root, "top", 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(place->root, "top"));
}

/* What is not of the wanted type must not be opened: 60:0 is a device without a driver, and opening it says ENXIO. */
static void test_open_type(void **state)
{
	const struct place *place = *state;
	struct stat st;
	int fd;

	need_openat2(place);
	put(place->root, "file", "x");
	assert_int_equal(mkfifoat(place->root, "fifo", 0600), 0);
	assert_int_equal(file_open_type_in_root(place->root, "none", O_RDONLY, S_IFREG, 0), -ENOENT);
	assert_int_equal(file_open_type_in_root(place->root, "fifo", O_RDONLY, S_IFREG, 0), -EINVAL);
	fd = file_open_type_in_root(place->root, "file", O_RDONLY, S_IFREG, 0);
	assert_true(fd >= 0);
	close(fd);
	fd = file_touch_at(place->root, "fifo", 0600);
	assert_true(fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode));
	close(fd);
	if (mknodat(place->root, "device", S_IFCHR | 0600, makedev(60, 0)) < 0)
		skip();
	assert_int_equal(file_open_type_in_root(place->root, "device", O_RDONLY, S_IFREG, 0), -EINVAL);
	assert_int_equal(file_open_type_in_root(place->root, "device", O_RDONLY, S_IFCHR, makedev(1, 3)), -EINVAL);
	fd = file_touch_at(place->root, "device", 0600);
	assert_true(fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode));
	close(fd);
}

static char *logged(struct place *place, enum log_format format, const char *message)
{
	cleanup_free char *path = path_join(place->path, "log");
	struct log log = LOG_INIT;
	char *content = NULL;

	assert_int_equal(log_open(&log, path, NULL), 0);
	log.format = format;
	log_print(&log, LOG_LEVEL_DEBUG, "not this");
	log_print(&log, LOG_LEVEL_ERROR, "%s", message);
	log_close(&log);
	assert_int_equal(log.fd, STDERR_FILENO);
	assert_int_equal(file_read(place->fd, "log", 100000, &content, NULL, NULL), 0);
	assert_int_equal(unlinkat(place->fd, "log", 0), 0);
	return content;
}

/* What an image says must not become a line, or a member, of its own. */
static void test_log_escapes(void **state)
{
	static const char hostile[] = "a\"b\\c\nlevel=error\t\x01\x7f\xc3\xa9";
	struct place *place = *state;
	cleanup_free char *text = logged(place, LOG_FORMAT_TEXT, hostile);
	cleanup_free char *json = logged(place, LOG_FORMAT_JSON, hostile);
	struct arena arena = { .head = NULL };
	const struct json_value *root;
	struct error err = ERROR_INIT;

	assert_true(str_starts(text, "time=\"2"));
	assert_true(str_ends(text, " level=error msg=\"a\\\"b\\\\c\\nlevel=error\\u0009\\u0001\\u007f\xc3\xa9\"\n"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	if (json_parse(json, strlen(json), &arena, &root, &err) < 0)
		fail_msg("%s: %s", json, err.text);
	assert_string_equal(json_find(root, "msg")->text, hostile);
	assert_string_equal(json_find(root, "level")->text, "error");
	assert_int_equal(strlen(json_find(root, "time")->text), strlen("2026-11-21T04:55:36Z"));
	arena_free(&arena);
}

static void test_log_settings(void **state)
{
	struct log log = LOG_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(log_set_format(&log, "json"), 0);
	assert_int_equal(log_set_format(&log, "xml"), -EINVAL);
	assert_int_equal(log.format, LOG_FORMAT_JSON);
	assert_int_equal(log_open(&log, "", &err), 0);
	assert_int_equal(log.fd, STDERR_FILENO);
	assert_int_equal(log_open(&log, "/nonexistent/log", &err), -ENOENT);
	assert_string_equal(err.text, "cannot open the log /nonexistent/log: no such file or directory");
}

#define in_place(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error), cmocka_unit_test(test_arena),
		cmocka_unit_test(test_str),   cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sizes), cmocka_unit_test(test_paths),
		in_place(test_read_write),    in_place(test_mkdir_remove),
		in_place(test_open_in_root),  in_place(test_create_in_root),
		in_place(test_mkdir_in_root), in_place(test_touch_in_root),
		in_place(test_open_type),     in_place(test_remove_deep),
		in_place(test_log_escapes),   cmocka_unit_test(test_log_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
