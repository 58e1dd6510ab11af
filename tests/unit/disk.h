/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk - disks for tests: images in a directory of their own, made and judged
 * by qemu-img, and requests that somebody waits for.
 */
#ifndef CAISSON_TESTS_UNIT_DISK_H
#define CAISSON_TESTS_UNIT_DISK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "paradigm/vm/block/block.h"

/* The directory that everything is made in; commands run there. */
static char disk_dir[] = "/tmp/caisson-disk-XXXXXX";

static inline int disk_dir_make(void **state)
{
	(void)state;
	return mkdtemp(disk_dir) && chdir(disk_dir) == 0 ? 0 : -1;
}

static inline int disk_dir_remove(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	return chdir("/") == 0 && file_remove_all(AT_FDCWD, disk_dir, &err) == 0 ? 0 : -1;
}

/* A shell's command; its status.  What it says goes to the file "said". */
static inline int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int run(const char *format, ...)
{
	char command[1024] = "exec >said 2>&1; ";
	size_t length = strlen(command);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command + length, sizeof(command) - length, format, args);
	va_end(args);
	return WEXITSTATUS(system(command)); /* NOLINT(cert-env33-c) */
}

static inline void must_run_(int status, const char *what)
{
	if (status != 0) {
		(void)system("cat said >&2"); /* NOLINT(cert-env33-c) */
		fail_msg("%s: status %d", what, status);
	}
}
#define MUST_RUN(...) must_run_(run(__VA_ARGS__), #__VA_ARGS__)

static inline void need_qemu_img(void)
{
	if (system("qemu-img --version >/dev/null 2>&1") != 0) { /* NOLINT(cert-env33-c) */
		print_message("skipped: no qemu-img: install qemu-utils\n");
		skip();
	}
}

/* valgrind 3.19 does not see what io_uring writes, and answers ENOSYS to what came after Linux 5. */
static inline bool kernel_is_veiled(void)
{
	long fd = syscall(SYS_pidfd_open, getpid(), 0);

	if (fd >= 0)
		close((int)fd);
	return fd < 0 && errno == ENOSYS;
}

struct disk {
	struct loop loop;
	struct block *block;
};

/* names: topmost first, each "NAME" of a qcow2 image or "raw:NAME", the last one NULL. */
static inline int disk_try_open(struct disk *disk, const char *const *names, bool read_only, bool threads,
				struct error *err)
{
	struct block_source sources[8] = { 0 };
	size_t count = 0;
	int ret = loop_open(&disk->loop, err);

	assert_int_equal(ret, 0);
	for (; names[count]; count++) {
		bool raw = strncmp(names[count], "raw:", 4) == 0, top = count == 0;
		int fd = open(names[count] + (raw ? 4 : 0), (top && !read_only ? O_RDWR : O_RDONLY) | O_CLOEXEC);

		assert_true(fd >= 0);
		sources[count] = (struct block_source){ .fd = fd,
							.format = raw ? BLOCK_RAW : BLOCK_QCOW2,
							.read_only = read_only || !top,
							.threads = threads || kernel_is_veiled() };
		if (count > 0)
			sources[count - 1].backing = &sources[count];
	}
	ret = block_open(&sources[0], &disk->loop, &disk->block, err);
	if (ret < 0) {
		loop_close(&disk->loop);
		for (size_t i = 0; i < count; i++)
			close(sources[i].fd);
	}
	return ret;
}

static inline void disk_open(struct disk *disk, const char *const *names, bool threads)
{
	struct error err = ERROR_INIT;

	if (disk_try_open(disk, names, false, threads, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void disk_close(struct disk *disk)
{
	block_close(disk->block);
	loop_close(&disk->loop);
}

static inline void disk_done(struct block_request *request, int result)
{
	*(int *)request->context = result;
}

/* Waits until *result is no longer 1. */
static inline void disk_wait(struct disk *disk, const int *result)
{
	struct error err = ERROR_INIT;

	block_kick(disk->block);
	while (*result == 1)
		assert_int_equal(loop_wait(&disk->loop, 60000, &err), 0);
}

static inline int disk_do(struct disk *disk, enum block_operation operation, uint64_t offset, void *bytes,
			  uint64_t size)
{
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	int result = 1;
	struct block_request request = { .operation = operation,
					 .offset = offset,
					 .size = size,
					 .iov = &iov,
					 .iov_count = bytes ? 1 : 0,
					 .unmap = true,
					 .done = disk_done,
					 .context = &result };

	block_submit(disk->block, &request);
	disk_wait(disk, &result);
	return result;
}

#endif
