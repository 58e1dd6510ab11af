/* SPDX-License-Identifier: Apache-2.0 */
/* The file server as a guest's kernel asks it, and as no kernel does; the process around it, and the device before it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "paradigm/vm/fs/serve.h"
#include "paradigm/vm/virtio/fs.h"
#include "virtio_driver.h"

struct share {
	char dir[64];
	int fd;
	struct fuse_server *server;
	uint8_t reply[FUSE_REPLY_MAX];
	size_t size; /* of the reply behind its header */
};

static const uint8_t *body(const struct share *share)
{
	return share->reply + sizeof(struct fuse_out_header);
}

static void open_directory(struct share *share)
{
	memset(share, 0, sizeof(*share));
	strcpy(share->dir, "/tmp/share.XXXXXX");
	assert_non_null(mkdtemp(share->dir));
	share->fd = open(share->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(share->fd >= 0);
}

static void open_share(struct share *share, bool read_only)
{
	struct error err = ERROR_INIT;

	open_directory(share);
	if (fuse_server_make(share->fd, read_only, &share->server, &err) < 0)
		fail_msg("%s", err.text);
}

static void close_share(struct share *share)
{
	char command[128];

	if (share->server)
		fuse_server_free(share->server);
	close(share->fd);
	assert_int_equal(chdir("/"), 0);
	(void)snprintf(command, sizeof(command), "rm -r %s", share->dir);
	assert_int_equal(system(command), 0);
}

/* Puts a request together from parts: a struct, then up to two texts or bytes. */
struct request {
	uint8_t bytes[16384];
	size_t size;
};

static void begin(struct request *request, uint32_t operation, uint64_t node)
{
	const struct fuse_in_header header = {
		.opcode = operation, .unique = 42, .nodeid = node, .uid = getuid(), .gid = getgid()
	};

	memcpy(request->bytes, &header, sizeof(header));
	request->size = sizeof(header);
}

static void add(struct request *request, const void *bytes, size_t size)
{
	memcpy(request->bytes + request->size, bytes, size);
	request->size += size;
}

static void add_text(struct request *request, const char *text)
{
	add(request, text, strlen(text) + 1);
}

static int ask(struct share *share, struct request *request)
{
	struct fuse_out_header header;
	uint32_t size = (uint32_t)request->size;
	size_t got;

	memcpy(request->bytes, &size, sizeof(size));
	got = fuse_serve(share->server, request->bytes, request->size, share->reply, sizeof(share->reply));
	assert_in_range(got, sizeof(header), sizeof(share->reply));
	memcpy(&header, share->reply, sizeof(header));
	assert_int_equal(header.len, got);
	assert_int_equal(header.unique, 42);
	share->size = got - sizeof(header);
	if (header.error != 0)
		assert_int_equal(share->size, 0);
	return header.error;
}

static int ask_name(struct share *share, uint32_t operation, uint64_t node, const char *name)
{
	struct request request;

	begin(&request, operation, node);
	add_text(&request, name);
	return ask(share, &request);
}

static uint64_t look_up(struct share *share, uint64_t node, const char *name)
{
	struct fuse_entry_out entry;
	int ret = ask_name(share, FUSE_LOOKUP, node, name);

	if (ret < 0)
		fail_msg("%s: %d", name, ret);
	assert_int_equal(share->size, sizeof(entry));
	memcpy(&entry, body(share), sizeof(entry));
	assert_int_not_equal(entry.nodeid, 0);
	return entry.nodeid;
}

static int make_file(struct share *share, uint64_t node, const char *name, uint32_t mode, uint32_t flags,
		     uint64_t *file, uint64_t *handle)
{
	const struct fuse_create_in in = { .flags = flags, .mode = mode };
	struct fuse_entry_out entry;
	struct fuse_open_out opened;
	struct request request;
	int ret;

	begin(&request, FUSE_CREATE, node);
	add(&request, &in, sizeof(in));
	add_text(&request, name);
	ret = ask(share, &request);
	if (ret < 0)
		return ret;
	memcpy(&entry, body(share), sizeof(entry));
	memcpy(&opened, body(share) + sizeof(entry), sizeof(opened));
	*file = entry.nodeid;
	*handle = opened.fh;
	return 0;
}

static int open_file(struct share *share, uint32_t operation, uint64_t node, uint32_t flags, uint64_t *handle)
{
	const struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out opened;
	struct request request;
	int ret;

	begin(&request, operation, node);
	add(&request, &in, sizeof(in));
	ret = ask(share, &request);
	if (ret < 0)
		return ret;
	memcpy(&opened, body(share), sizeof(opened));
	*handle = opened.fh;
	return 0;
}

static int write_file(struct share *share, uint64_t node, uint64_t handle, uint64_t offset, const char *text)
{
	const struct fuse_write_in in = { .fh = handle, .offset = offset, .size = (uint32_t)strlen(text) };
	struct request request;

	begin(&request, FUSE_WRITE, node);
	add(&request, &in, sizeof(in));
	add(&request, text, strlen(text));
	return ask(share, &request);
}

static int read_file(struct share *share, uint32_t operation, uint64_t node, uint64_t handle, uint64_t offset,
		     uint32_t size)
{
	const struct fuse_read_in in = { .fh = handle, .offset = offset, .size = size };
	struct request request;

	begin(&request, operation, node);
	add(&request, &in, sizeof(in));
	return ask(share, &request);
}

static void initialise(struct share *share)
{
	const struct fuse_init_in in = { .major = 7, .minor = 36, .flags = UINT32_MAX, .max_readahead = 4096 };
	struct fuse_init_out out;
	struct request request;

	begin(&request, FUSE_INIT, 0);
	add(&request, &in, sizeof(in));
	assert_int_equal(ask(share, &request), 0);
	assert_int_equal(share->size, sizeof(out));
	memcpy(&out, body(share), sizeof(out));
	assert_int_equal(out.minor, 31);
	assert_int_equal(out.max_write, FUSE_DATA_MAX);
	assert_true(out.flags & FUSE_DO_READDIRPLUS);
	assert_false(out.flags & (FUSE_WRITEBACK_CACHE | FUSE_POSIX_ACL));
}

static struct stat stat_of(const struct share *share, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(share->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

/* ---- */

static void test_files(void **state)
{
	static struct share share;
	struct fuse_setattr_in set = {
		.valid = FATTR_SIZE | FATTR_MODE | FATTR_MTIME, .size = 5, .mode = 0100600, .mtime = 1000
	};
	struct fuse_attr_out attributes;
	struct request request;
	uint64_t file = 0, handle = 0, again = 0;

	(void)state;
	open_share(&share, false);
	initialise(&share);
	assert_int_equal(make_file(&share, 1, "a", 0100644, O_RDWR | O_EXCL, &file, &handle), 0);
	assert_int_equal(make_file(&share, 1, "a", 0100644, O_RDWR | O_EXCL, &again, &again), -EEXIST);
	assert_int_equal(write_file(&share, file, handle, 0, "hello world"), 0);
	assert_int_equal(read_file(&share, FUSE_READ, file, handle, 6, 100), 0);
	assert_int_equal(share.size, 5);
	assert_memory_equal(body(&share), "world", 5);
	assert_int_equal(look_up(&share, 1, "a"), file);
	begin(&request, FUSE_SETATTR, file);
	add(&request, &set, sizeof(set));
	assert_int_equal(ask(&share, &request), 0);
	memcpy(&attributes, body(&share), sizeof(attributes));
	assert_int_equal(attributes.attr.size, 5);
	assert_int_equal(attributes.attr.mode, 0100600);
	assert_int_equal(attributes.attr.mtime, 1000);
	assert_int_equal(stat_of(&share, "a").st_size, 5);
	/* Unlinked, it is there as long as it is open and known. */
	assert_int_equal(ask_name(&share, FUSE_UNLINK, 1, "a"), 0);
	assert_int_equal(ask_name(&share, FUSE_LOOKUP, 1, "a"), -ENOENT);
	assert_int_equal(write_file(&share, file, handle, 5, "!"), 0);
	begin(&request, FUSE_GETATTR, file);
	assert_int_equal(ask(&share, &request), 0);
	memcpy(&attributes, body(&share), sizeof(attributes));
	assert_int_equal(attributes.attr.size, 6);
	assert_int_equal(attributes.attr.nlink, 0);
	close_share(&share);
}

static void test_set_user_id(void **state)
{
	static struct share share;
	uint64_t file = 0, handle = 0;

	(void)state;
	open_share(&share, false);
	assert_int_equal(make_file(&share, 1, "s", 0104755, O_RDWR, &file, &handle), 0);
	assert_int_equal(stat_of(&share, "s").st_mode, 0104755);
	close_share(&share);
}

static void test_names(void **state)
{
	static struct share share;
	const struct fuse_mkdir_in directory = { .mode = 0750 };
	const struct fuse_mknod_in fifo = { .mode = S_IFIFO | 0644 };
	struct fuse_rename2_in rename2_in;
	struct fuse_link_in link_in;
	struct request request;
	uint64_t dir, handle = 0, fifo_node;

	(void)state;
	open_share(&share, false);
	begin(&request, FUSE_MKDIR, 1);
	add(&request, &directory, sizeof(directory));
	add_text(&request, "dir");
	assert_int_equal(ask(&share, &request), 0);
	assert_int_equal(stat_of(&share, "dir").st_mode, S_IFDIR | 0750);
	dir = look_up(&share, 1, "dir");
	begin(&request, FUSE_SYMLINK, dir);
	add_text(&request, "link");
	add_text(&request, "/etc/passwd");
	assert_int_equal(ask(&share, &request), 0);
	begin(&request, FUSE_READLINK, look_up(&share, dir, "link"));
	assert_int_equal(ask(&share, &request), 0);
	assert_int_equal(share.size, 11);
	assert_memory_equal(body(&share), "/etc/passwd", 11);
	begin(&request, FUSE_MKNOD, dir);
	add(&request, &fifo, sizeof(fifo));
	add_text(&request, "fifo");
	assert_int_equal(ask(&share, &request), 0);
	fifo_node = look_up(&share, dir, "fifo");
	/* Nobody may make us wait in open(2), or reach through a link. */
	assert_int_equal(open_file(&share, FUSE_OPEN, fifo_node, O_RDONLY, &handle), -ENXIO);
	assert_int_equal(open_file(&share, FUSE_OPEN, look_up(&share, dir, "link"), O_RDONLY, &handle), -ENXIO);
	assert_int_equal(open_file(&share, FUSE_OPEN, dir, O_RDONLY, &handle), -EISDIR);
	assert_int_equal(open_file(&share, FUSE_OPENDIR, fifo_node, 0, &handle), -ENOTDIR);
	assert_int_equal(make_file(&share, dir, "fifo", 0644, O_RDWR, &handle, &handle), -ENXIO);
	assert_int_equal(make_file(&share, dir, "link", 0644, O_RDWR, &handle, &handle), -ENXIO);
	assert_int_equal(ask_name(&share, FUSE_LOOKUP, look_up(&share, dir, "link"), "passwd"), -ENOTDIR);
	link_in.oldnodeid = fifo_node;
	begin(&request, FUSE_LINK, 1);
	add(&request, &link_in, sizeof(link_in));
	add_text(&request, "second");
	assert_int_equal(ask(&share, &request), 0);
	assert_int_equal(stat_of(&share, "second").st_nlink, 2);
	rename2_in = (struct fuse_rename2_in){ .newdir = 1, .flags = RENAME_NOREPLACE };
	begin(&request, FUSE_RENAME2, dir);
	add(&request, &rename2_in, sizeof(rename2_in));
	add_text(&request, "link");
	add_text(&request, "second");
	assert_int_equal(ask(&share, &request), -EEXIST);
	rename2_in.flags = 0;
	memcpy(request.bytes + sizeof(struct fuse_in_header), &rename2_in, sizeof(rename2_in));
	assert_int_equal(ask(&share, &request), 0);
	assert_int_equal(stat_of(&share, "second").st_mode & S_IFMT, S_IFLNK);
	assert_int_equal(ask_name(&share, FUSE_RMDIR, 1, "dir"), -ENOTEMPTY);
	assert_int_equal(ask_name(&share, FUSE_UNLINK, dir, "fifo"), 0);
	assert_int_equal(ask_name(&share, FUSE_RMDIR, 1, "dir"), 0);
	close_share(&share);
}

/* Names that lead elsewhere, numbers that were never given, and requests that are cut. */
static void test_outside(void **state)
{
	static const char *const bad[] = { "", ".", "..", "/", "a/b", "../x", "/etc/passwd" };
	static struct share share;
	struct request request, whole;
	uint64_t handle = 0;

	(void)state;
	open_share(&share, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(ask_name(&share, FUSE_LOOKUP, 1, bad[i]), -EINVAL);
		assert_int_equal(ask_name(&share, FUSE_UNLINK, 1, bad[i]), -EINVAL);
		assert_int_equal(make_file(&share, 1, bad[i], 0644, O_RDWR, &handle, &handle), -EINVAL);
	}
	begin(&request, FUSE_LOOKUP, 1);
	add(&request, "unterminated", 12);
	assert_int_equal(ask(&share, &request), -EINVAL);
	for (uint64_t node = 2; node; node <<= 1)
		assert_int_equal(ask_name(&share, FUSE_LOOKUP, node, "x"), -ESTALE);
	assert_int_equal(ask_name(&share, FUSE_LOOKUP, 0, "x"), -ESTALE);
	for (uint64_t number = 0; number < 4; number++) {
		assert_int_equal(read_file(&share, FUSE_READ, 1, number, 0, 10), -EBADF);
		assert_int_equal(read_file(&share, FUSE_READDIR, 1, number, 0, 10), -EBADF);
	}
	/* A directory's handle is no file's. */
	assert_int_equal(open_file(&share, FUSE_OPENDIR, 1, 0, &handle), 0);
	assert_int_equal(read_file(&share, FUSE_READ, 1, handle, 0, 10), -EBADF);
	/* Every operation with every length of nothing. */
	for (uint32_t operation = 0; operation < 64; operation++) {
		begin(&whole, operation, 1);
		memset(whole.bytes + whole.size, 0, 256);
		for (size_t size = 0; size <= 256; size++) {
			struct fuse_in_header header;

			memcpy(&header, whole.bytes, sizeof(header));
			header.len = (uint32_t)(sizeof(header) + size);
			memcpy(whole.bytes, &header, sizeof(header));
			(void)fuse_serve(share.server, whole.bytes, header.len, share.reply, sizeof(share.reply));
			(void)fuse_serve(share.server, whole.bytes, size, share.reply, size);
		}
	}
	close_share(&share);
}

/* A directory beside the share, with a file that no guest may reach. */
struct outside {
	char dir[64], file[80];
	struct stat before;
};

static void make_outside(struct outside *outside)
{
	int fd;

	strcpy(outside->dir, "/tmp/outside.XXXXXX");
	assert_non_null(mkdtemp(outside->dir));
	(void)snprintf(outside->file, sizeof(outside->file), "%s/secret", outside->dir);
	fd = open(outside->file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "secret", 6), 6);
	close(fd);
	assert_int_equal(stat(outside->file, &outside->before), 0);
}

static void check_outside(const struct outside *outside)
{
	struct stat now;

	assert_int_equal(stat(outside->file, &now), 0);
	assert_int_equal(now.st_mode, outside->before.st_mode);
	assert_int_equal(now.st_uid, outside->before.st_uid);
	assert_int_equal(now.st_gid, outside->before.st_gid);
	assert_int_equal(now.st_size, outside->before.st_size);
}

static void remove_outside(const struct outside *outside)
{
	check_outside(outside);
	assert_int_equal(unlink(outside->file), 0);
	assert_int_equal(rmdir(outside->dir), 0);
}

static int set_attributes(struct share *share, uint64_t node, uint32_t valid)
{
	const struct fuse_setattr_in in = { .valid = valid, .mode = 0777, .uid = getuid(), .gid = getgid() };
	struct request request;

	begin(&request, FUSE_SETATTR, node);
	add(&request, &in, sizeof(in));
	return ask(share, &request);
}

static int set_attribute(struct share *share, uint64_t node)
{
	struct request request;
	const struct fuse_setxattr_in in = { .size = 1 };

	begin(&request, FUSE_SETXATTR, node);
	add(&request, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
	add_text(&request, "user.caisson");
	add(&request, "x", 1);
	return ask(share, &request);
}

/* Whatever a link says, it is a text: nothing that can be asked for goes where it leads. */
static void try_link(struct share *share, const struct outside *outside, const char *name)
{
	uint64_t node = look_up(share, 1, name), handle = 0;
	const struct fuse_link_in link_in = { .oldnodeid = node };
	struct request request;

	assert_int_equal(open_file(share, FUSE_OPEN, node, O_RDWR, &handle), -ENXIO);
	assert_int_equal(open_file(share, FUSE_OPENDIR, node, 0, &handle), -ENOTDIR);
	assert_int_equal(make_file(share, 1, name, 0644, O_RDWR | O_TRUNC, &handle, &handle), -ENXIO);
	assert_int_equal(make_file(share, node, "x", 0644, O_RDWR, &handle, &handle), -ENOTDIR);
	assert_int_equal(ask_name(share, FUSE_LOOKUP, node, "secret"), -ENOTDIR);
	assert_int_equal(ask_name(share, FUSE_UNLINK, node, "secret"), -ENOTDIR);
	assert_int_equal(set_attributes(share, node, FATTR_MODE), -EOPNOTSUPP);
	assert_int_equal(set_attributes(share, node, FATTR_SIZE), -ENXIO);
	assert_int_equal(set_attributes(share, node, FATTR_UID | FATTR_GID), 0);
	assert_int_equal(set_attributes(share, node, FATTR_ATIME | FATTR_MTIME), 0);
	assert_int_equal(set_attribute(share, node), -EOPNOTSUPP);
	begin(&request, FUSE_LINK, 1);
	add(&request, &link_in, sizeof(link_in));
	add_text(&request, "second");
	assert_int_equal(ask(share, &request), 0);
	assert_int_equal(stat_of(share, "second").st_mode & S_IFMT, S_IFLNK);
	assert_int_equal(ask_name(share, FUSE_UNLINK, 1, "second"), 0);
	check_outside(outside);
}

static void test_links(void **state)
{
	static struct share share;
	const struct fuse_mknod_in device = { .mode = S_IFBLK | 0666, .rdev = 0x800 };
	char target[128];
	struct outside outside;
	struct request request;

	(void)state;
	open_share(&share, false);
	make_outside(&outside);
	(void)snprintf(target, sizeof(target), "../%s/secret", strrchr(outside.dir, '/') + 1);
	assert_int_equal(symlinkat(outside.file, share.fd, "absolute"), 0);
	assert_int_equal(symlinkat(target, share.fd, "relative"), 0);
	assert_int_equal(symlinkat(outside.dir, share.fd, "directory"), 0);
	assert_int_equal(symlinkat("/proc/self/root", share.fd, "magic"), 0);
	assert_int_equal(symlinkat("..", share.fd, "parent"), 0);
	try_link(&share, &outside, "absolute");
	try_link(&share, &outside, "relative");
	try_link(&share, &outside, "directory");
	try_link(&share, &outside, "magic");
	try_link(&share, &outside, "parent");
	/* A device would be the host's. */
	begin(&request, FUSE_MKNOD, 1);
	add(&request, &device, sizeof(device));
	add_text(&request, "device");
	assert_int_equal(ask(&share, &request), -EPERM);
	remove_outside(&outside);
	close_share(&share);
}

/* ---- races with somebody who writes into the directory on the host's side ---- */

struct rival {
	int share;
	bool stop; /* atomic */
};

static void *swap_directory(void *argument)
{
	struct rival *rival = argument;

	while (!__atomic_load_n(&rival->stop, __ATOMIC_SEQ_CST))
		(void)renameat2(rival->share, "d", rival->share, "link", RENAME_EXCHANGE);
	return NULL;
}

static void *swap_file(void *argument)
{
	struct rival *rival = argument;

	while (!__atomic_load_n(&rival->stop, __ATOMIC_SEQ_CST))
		(void)renameat2(rival->share, "f", rival->share, "hard link", RENAME_EXCHANGE);
	return NULL;
}

static void test_races(void **state)
{
	static struct share share;
	const struct fuse_mknod_in file = { .mode = S_IFREG | 0644 };
	struct outside outside;
	struct rival rival = { .stop = false };
	struct request request;
	pthread_t thread;

	(void)state;
	open_share(&share, false);
	make_outside(&outside);
	rival.share = share.fd;
	assert_int_equal(mkdirat(share.fd, "d", 0755), 0);
	assert_int_equal(symlinkat(outside.dir, share.fd, "link"), 0);
	assert_int_equal(pthread_create(&thread, NULL, swap_directory, &rival), 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t node = look_up(&share, 1, "d");
		int ret = ask_name(&share, FUSE_LOOKUP, node, "secret");

		assert_true(ret == -ENOENT || ret == -ENOTDIR);
	}
	__atomic_store_n(&rival.stop, true, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_join(thread, NULL), 0);
	/* What is made is given to the guest's user, and never anything else. */
	rival.stop = false;
	assert_int_equal(pthread_create(&thread, NULL, swap_file, &rival), 0);
	for (int i = 0; i < 1000; i++) {
		struct fuse_in_header header;

		assert_int_equal(linkat(AT_FDCWD, outside.file, share.fd, "hard link", 0), 0);
		begin(&request, FUSE_MKNOD, 1);
		memcpy(&header, request.bytes, sizeof(header));
		header.uid = header.gid = getuid() == 0 ? 12345 : getuid();
		memcpy(request.bytes, &header, sizeof(header));
		add(&request, &file, sizeof(file));
		add_text(&request, "f");
		(void)ask(&share, &request);
		check_outside(&outside);
		(void)unlinkat(share.fd, "f", 0);
		(void)unlinkat(share.fd, "hard link", 0);
	}
	__atomic_store_n(&rival.stop, true, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_join(thread, NULL), 0);
	remove_outside(&outside);
	close_share(&share);
}

static void test_listing(void **state)
{
	static struct share share;
	uint64_t handle = 0, offset = 0, file = 0;
	unsigned found = 0, rounds = 0;
	char name[16];

	(void)state;
	open_share(&share, false);
	for (unsigned i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "file%u", i);
		assert_int_equal(make_file(&share, 1, name, 0644, O_RDWR, &file, &handle), 0);
	}
	assert_int_equal(open_file(&share, FUSE_OPENDIR, 1, 0, &handle), 0);
	for (;; rounds++) {
		assert_int_equal(
			read_file(&share, rounds % 2 ? FUSE_READDIRPLUS : FUSE_READDIR, 1, handle, offset, 1000), 0);
		if (share.size == 0)
			break;
		assert_true(share.size <= 1000);
		for (size_t at = 0; at < share.size;) {
			struct fuse_entry_out entry = { .nodeid = 0 };
			struct fuse_dirent dirent;

			if (rounds % 2) {
				memcpy(&entry, body(&share) + at, sizeof(entry));
				at += sizeof(entry);
			}
			memcpy(&dirent, body(&share) + at, FUSE_NAME_OFFSET);
			if (body(&share)[at + FUSE_NAME_OFFSET] != '.') {
				found++;
				assert_true(entry.nodeid != 0 || rounds % 2 == 0);
				assert_int_equal(dirent.type, DT_REG);
			}
			offset = dirent.off;
			at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + dirent.namelen);
		}
	}
	assert_int_equal(found, 200);
	assert_true(rounds > 4);
	close_share(&share);
}

static unsigned count_descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void test_forget(void **state)
{
	static struct share share;
	struct fuse_batch_forget_in batch = { .count = 3 };
	struct fuse_forget_one one = { .nlookup = 3 };
	uint64_t file = 0, handle = 0;
	struct request request;
	unsigned before;
	uint32_t size;

	(void)state;
	open_share(&share, false);
	assert_int_equal(make_file(&share, 1, "a", 0644, O_RDWR, &file, &handle), 0);
	assert_int_equal(look_up(&share, 1, "a"), file);
	assert_int_equal(look_up(&share, 1, "a"), file);
	before = count_descriptors();
	/* It, one that is not there, and the root, which cannot be forgotten. */
	begin(&request, FUSE_BATCH_FORGET, 0);
	add(&request, &batch, sizeof(batch));
	one.nodeid = file;
	add(&request, &one, sizeof(one));
	one.nodeid = 77;
	add(&request, &one, sizeof(one));
	one = (struct fuse_forget_one){ .nodeid = 1, .nlookup = UINT64_MAX };
	add(&request, &one, sizeof(one));
	size = (uint32_t)request.size;
	memcpy(request.bytes, &size, sizeof(size));
	assert_int_equal(fuse_serve(share.server, request.bytes, request.size, NULL, 0), 0);
	assert_int_equal(count_descriptors(), before - 1);
	begin(&request, FUSE_GETATTR, file);
	assert_int_equal(ask(&share, &request), -ESTALE);
	assert_int_equal(read_file(&share, FUSE_READ, file, handle, 0, 10), -ESTALE);
	assert_int_equal(look_up(&share, 1, "a"), file); /* the number is used again, for a new generation */
	close_share(&share);
}

static void test_read_only(void **state)
{
	static struct share share;
	struct fuse_setattr_in set = { .valid = FATTR_MODE, .mode = 0 };
	struct request request;
	uint64_t file = 0, handle = 0;
	int fd;

	(void)state;
	open_share(&share, true);
	fd = openat(share.fd, "a", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "abc", 3), 3);
	close(fd);
	file = look_up(&share, 1, "a");
	assert_int_equal(open_file(&share, FUSE_OPEN, file, O_RDWR, &handle), -EROFS);
	assert_int_equal(open_file(&share, FUSE_OPEN, file, O_RDONLY | O_TRUNC, &handle), -EROFS);
	assert_int_equal(open_file(&share, FUSE_OPEN, file, O_RDONLY, &handle), 0);
	assert_int_equal(read_file(&share, FUSE_READ, file, handle, 0, 10), 0);
	assert_memory_equal(body(&share), "abc", 3);
	assert_int_equal(write_file(&share, file, handle, 0, "x"), -EROFS);
	assert_int_equal(make_file(&share, 1, "b", 0644, O_RDWR, &file, &handle), -EROFS);
	assert_int_equal(ask_name(&share, FUSE_UNLINK, 1, "a"), -EROFS);
	assert_int_equal(ask_name(&share, FUSE_RMDIR, 1, "a"), -EROFS);
	begin(&request, FUSE_SETATTR, file);
	add(&request, &set, sizeof(set));
	assert_int_equal(ask(&share, &request), -EROFS);
	close_share(&share);
}

static void test_attributes(void **state)
{
	static struct share share;
	struct fuse_setxattr_in in = { .size = 5 };
	struct fuse_getxattr_in get = { .size = 0 };
	struct fuse_getxattr_out out;
	struct request request;
	uint64_t file = 0, handle = 0;

	(void)state;
	open_share(&share, false);
	assert_int_equal(make_file(&share, 1, "a", 0644, O_RDWR, &file, &handle), 0);
	begin(&request, FUSE_SETXATTR, file);
	add(&request, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
	add_text(&request, "user.test");
	add(&request, "value", 5);
	if (ask(&share, &request) == -EOPNOTSUPP) {
		print_message("/tmp has no extended attributes of users\n");
		close_share(&share);
		skip();
	}
	begin(&request, FUSE_GETXATTR, file);
	add(&request, &get, sizeof(get));
	add_text(&request, "user.test");
	assert_int_equal(ask(&share, &request), 0);
	memcpy(&out, body(&share), sizeof(out));
	assert_int_equal(out.size, 5);
	get.size = 100;
	memcpy(request.bytes + sizeof(struct fuse_in_header), &get, sizeof(get));
	assert_int_equal(ask(&share, &request), 0);
	assert_int_equal(share.size, 5);
	assert_memory_equal(body(&share), "value", 5);
	begin(&request, FUSE_LISTXATTR, file);
	add(&request, &get, sizeof(get));
	assert_int_equal(ask(&share, &request), 0);
	assert_true(share.size >= 10);
	assert_int_equal(ask_name(&share, FUSE_REMOVEXATTR, file, "user.test"), 0);
	assert_int_equal(ask_name(&share, FUSE_REMOVEXATTR, file, "user.test"), -ENODATA);
	/* A value that the request does not have. */
	begin(&request, FUSE_SETXATTR, file);
	in.size = 6;
	add(&request, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
	add_text(&request, "user.test");
	add(&request, "value", 5);
	assert_int_equal(ask(&share, &request), -EINVAL);
	close_share(&share);
}

/* ---- the device, with the server in its process ---- */

static uint32_t ask_device(struct driver *driver, unsigned queue, struct request *request, uint64_t in, uint32_t room)
{
	uint64_t out = driver_alloc(driver, request->size);
	uint32_t size = (uint32_t)request->size;

	memcpy(request->bytes, &size, sizeof(size));
	memcpy(driver_at(driver, out, request->size), request->bytes, request->size);
	return driver_request(driver, queue, out, size, in, room);
}

static void test_device(void **state)
{
	static struct share share;
	struct fuse_init_in init = { .major = 7, .minor = 36 };
	struct error err = ERROR_INIT;
	struct driver driver;
	struct device *device;
	struct request request;
	struct fuse_out_header header;
	char tag[40];
	uint64_t in;
	pid_t pid;
	int socket, status;

	(void)state;
	open_directory(&share);
	if (fs_start(share.fd, false, FS_MESSAGES, NULL, &socket, &pid, &err) < 0)
		fail_msg("%s", err.text);
	driver_open(&driver);
	if (virtio_fs_make("data", socket, &driver.memory, &driver.loop, &device, &err) < 0)
		fail_msg("%s", err.text);
	driver_start(&driver, device, UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
	driver_config(&driver, 0, tag, 8);
	driver_config(&driver, 8, tag + 8, 8);
	assert_string_equal(tag, "data");
	in = driver_alloc(&driver, 4096);
	begin(&request, FUSE_INIT, 0);
	add(&request, &init, sizeof(init));
	assert_int_equal(ask_device(&driver, 1, &request, in, 4096), sizeof(header) + sizeof(struct fuse_init_out));
	begin(&request, FUSE_LOOKUP, 1);
	add_text(&request, "nothing");
	assert_int_equal(ask_device(&driver, 1, &request, in, 4096), sizeof(header));
	memcpy(&header, driver_at(&driver, in, sizeof(header)), sizeof(header));
	assert_int_equal(header.error, -ENOENT);
	/* No room for an answer, no request, one that is too long, and one on the other queue. */
	assert_int_equal(ask_device(&driver, 1, &request, 0, 0), 0);
	assert_int_equal(driver_request(&driver, 1, 0, 0, in, 4096), 0);
	assert_int_equal(driver_request(&driver, 1, 0, FUSE_REQUEST_MAX + 1, in, 4096), 0);
	begin(&request, FUSE_FORGET, 1);
	add(&request, &(struct fuse_forget_in){ .nlookup = 1 }, sizeof(struct fuse_forget_in));
	assert_int_equal(ask_device(&driver, 0, &request, 0, 0), 0);
	assert_false(driver_needs_reset(&driver));
	/* The server dies: the device says so, and whoever waits is not left waiting. */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	driver_run(&driver);
	assert_true(driver_needs_reset(&driver));
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	driver_close(&driver);
	close_share(&share);
}

/* Closing the socket ends the server, and the server ends cleanly. */
static void test_end(void **state)
{
	static struct share share;
	const enum fs_protocol protocols[] = { FS_MESSAGES, FS_VHOST_USER };
	int socket, status;
	pid_t pid;

	(void)state;
	open_directory(&share);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fs_start(share.fd, true, protocols[i], NULL, &socket, &pid, NULL), 0);
		close(socket);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	/* What it cannot go on after is told by its status. */
	assert_int_equal(fs_start(share.fd, true, FS_MESSAGES, NULL, &socket, &pid, NULL), 0);
	assert_int_equal(send(socket, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	close(socket);
	close_share(&share);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),	   cmocka_unit_test(test_set_user_id), cmocka_unit_test(test_names),
		cmocka_unit_test(test_outside),	   cmocka_unit_test(test_links),       cmocka_unit_test(test_races),
		cmocka_unit_test(test_listing),	   cmocka_unit_test(test_forget),      cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_attributes), cmocka_unit_test(test_device),      cmocka_unit_test(test_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
