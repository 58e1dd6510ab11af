/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the file server: requests, each as operation:1 node:1 room:1 size:2 and what follows the
 * header, to a directory of its own.  Whatever is asked, nothing outside of the directory changes, and replies are well
 * formed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/fs/fuse.h"

enum { FILE_MAX = 1 << 20, REQUEST_HEAD = 5, SYNCFS = 50 };

static char top[] = "/tmp/fuzz-fuse.XXXXXX";
static int outside = -1, share = -1;

static void empty(int directory)
{
	DIR *dir = fdopendir(directory);

	check(dir != NULL);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(directory, entry->d_name, 0) == 0)
			continue;
		empty(openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
		check(unlinkat(directory, entry->d_name, AT_REMOVEDIR) == 0);
	}
	closedir(dir);
}

static void empty_share(void)
{
	check(fchmod(share, 0755) == 0);
	empty(openat(share, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void leave(void)
{
	empty_share();
	(void)unlinkat(outside, "share", AT_REMOVEDIR);
	(void)unlinkat(outside, "witness", 0);
	(void)rmdir(top);
}

static void set_up(void)
{
	const struct rlimit limit = { .rlim_cur = FILE_MAX, .rlim_max = FILE_MAX };

	/* No fallocate(2) fills the disk.  The log of a fuzzer is a pipe or small. */
	check(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && setrlimit(RLIMIT_FSIZE, &limit) == 0);
	check(mkdtemp(top) != NULL);
	outside = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(outside >= 0 && mkdirat(outside, "share", 0755) == 0);
	share = openat(outside, "share", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(openat(outside, "witness", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	check(share >= 0 && atexit(leave) == 0);
}

static void serve(struct fuse_server *server, const uint8_t *head, const uint8_t *data, size_t size)
{
	static uint8_t request[sizeof(struct fuse_in_header) + UINT16_MAX], reply[FUSE_REPLY_MAX];
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + size),
		.opcode = head[0],
		.unique = 7,
		.nodeid = head[1],
		.uid = head[0] & 1 ? 0 : 1000,
	};
	struct fuse_out_header out;
	size_t room = head[2] == 255 ? sizeof(reply) : head[2] * (size_t)8, got;

	if (header.opcode == SYNCFS) /* of the whole host */
		return;
	memcpy(request, &header, sizeof(header));
	memcpy(request + sizeof(header), data, size);
	got = fuse_serve(server, request, header.len, reply, room);
	if (got == 0)
		return;
	memcpy(&out, reply, sizeof(out));
	check(got >= sizeof(out) && got <= room && out.len == got && out.unique == 7);
	check(out.error <= 0 && out.error > -4096 && (out.error == 0 || got == sizeof(out)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuse_server *server;
	struct stat witness;

	if (share < 0)
		set_up();
	check(fuse_server_make(share, size > 0 && data[0] == 0xff, &server, NULL) == 0);
	while (size >= REQUEST_HEAD) {
		const uint8_t *head = data;
		size_t count = head[3] | (size_t)head[4] << 8;

		data += REQUEST_HEAD;
		size -= REQUEST_HEAD;
		count = count < size ? count : size;
		serve(server, head, data, count);
		data += count;
		size -= count;
	}
	fuse_server_free(server);
	empty_share();
	check(fstatat(outside, "witness", &witness, AT_SYMLINK_NOFOLLOW) == 0 && witness.st_size == 0 &&
	      witness.st_mode == (S_IFREG | 0600) && witness.st_nlink == 1);
	return 0;
}
