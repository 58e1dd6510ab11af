/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for unpacking layers: whatever the archive, nothing beside
 * the layer's root is made, changed or removed, and what was unpacked can be
 * removed again.
 *
 * The first byte chooses: 1 rootless, 2 the tar headers get right checksums (or
 * hardly any mutation would be read), 4 keep what the input before unpacked.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fuzz.h"
#include "image/layer.h"

enum { BLOCK = 512, CHECKSUM = 148, CHECKSUM_SIZE = 8, SIZE_FIELD = 124 };

static const char *base;

static void remove_base(void)
{
	(void)file_remove_all(AT_FDCWD, base, NULL);
}

/* base/ holds root/ (the layer's), outside/ with one file, and nothing else. */
static int open_base(void)
{
	static char path[] = "/dev/shm/caisson-fuzz-XXXXXX";
	int dir, outside;

	base = mkdtemp(path);
	check(base != NULL);
	check(atexit(remove_base) == 0);
	dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(dir >= 0 && mkdirat(dir, "root", 0755) == 0 && mkdirat(dir, "outside", 0700) == 0);
	outside = openat(dir, "outside/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(outside >= 0 && file_write_all(outside, "untouched", 9) == 0);
	close(outside);
	return dir;
}

static int count_entries(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), entries = 0;
	cleanup_closedir DIR *dir = fdopendir(fd);

	check(dir != NULL);
	while (readdir(dir))
		entries++;
	return entries;
}

static void check_outside(int dir)
{
	struct stat st, file;
	char text[16] = "";
	cleanup_close int fd = openat(dir, "outside/file", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	check(count_entries(dir, ".") == 4 && count_entries(dir, "outside") == 3);
	check(fstatat(dir, "outside", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mode == (S_IFDIR | 0700));
	check(fd >= 0 && fstat(fd, &file) == 0 && file.st_mode == (S_IFREG | 0600) && file.st_nlink == 1);
	check(file.st_uid == geteuid() && file.st_size == 9 && file.st_mtime >= st.st_mtime);
	check(read(fd, text, sizeof(text)) == 9 && strcmp(text, "untouched") == 0);
	check(fstatat(dir, "root", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
}

static void fix_checksums(unsigned char *tar, size_t size)
{
	for (size_t at = 0; size - at >= BLOCK;) {
		unsigned char *header = tar + at;
		char digits[13] = "";
		unsigned sum = 0;
		size_t length;

		memset(header + CHECKSUM, ' ', CHECKSUM_SIZE);
		for (int i = 0; i < BLOCK; i++)
			sum += header[i];
		(void)snprintf((char *)header + CHECKSUM, CHECKSUM_SIZE, "%06o", sum & 0777777);
		memcpy(digits, header + SIZE_FIELD, 12);
		length = strtoul(digits, NULL, 8);
		if (length > size - at)
			return;
		at += BLOCK + (length + BLOCK - 1) / BLOCK * BLOCK;
		if (at > size)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int dir = -1;
	struct image_store store = { .fd = -1, .limits = { .unpacked_bytes = 1 << 20, .entries = 200, .depth = 40 } };
	cleanup_close int root = -1, fd = memfd_create("layer", MFD_CLOEXEC);
	cleanup_free unsigned char *tar = malloc(size + 1);
	struct layer_source source = { .fd = fd, .what = "fuzz" };
	struct layer_result result;
	struct error err = ERROR_INIT;
	int ret;

	if (dir < 0)
		dir = open_base();
	if (size < 1 || !tar || fd < 0)
		return 0;
	memcpy(tar, data + 1, size - 1);
	if (data[0] & 2)
		fix_checksums(tar, size - 1);
	if (!(data[0] & 4)) {
		check(file_remove_all(dir, "root", NULL) == 0 && mkdirat(dir, "root", 0755) == 0);
	}
	store.rootless = data[0] & 1 || geteuid() != 0;
	root = openat(dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(file_write_all(fd, tar, size - 1) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	ret = layer_extract(&store, root, &source, &result, &err);
	check(ret == 0 ? oci_digest_valid(result.diff_id) : err.code == -ret && *err.text);
	check_outside(dir);
	return 0;
}
