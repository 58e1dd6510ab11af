/* SPDX-License-Identifier: Apache-2.0 */
#include "image/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "image/kernel_private.h"

enum { CONFIG_MAX = 65536 };

#define UNFINISHED ".new-"

/* ---- the directory ---- */

static void remove_unfinished(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	while (list && (entry = readdir(list)))
		if (str_starts(entry->d_name, UNFINISHED))
			(void)file_remove_all(dir, entry->d_name, NULL);
}

int kernel_work_open(const struct image_store *store, bool fresh, struct kernel_work *work, struct error *err)
{
	*work = (struct kernel_work){ .dir = -1, .work = -1 };
	if (mkdirat(store->fd, "kernels", 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make %s/kernels", store->root);
	work->dir = openat(store->fd, "kernels", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (work->dir < 0 || flock(work->dir, LOCK_EX) < 0)
		return error_errno(err, errno, "cannot lock %s/kernels", store->root);
	remove_unfinished(work->dir);
	if (!fresh)
		return 0;
	(void)snprintf(work->name, sizeof(work->name), UNFINISHED "%d", getpid());
	if (mkdirat(work->dir, work->name, 0755) == 0)
		work->work = openat(work->dir, work->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return work->work < 0 ? error_errno(err, errno, "cannot write in %s/kernels", store->root) : 0;
}

void kernel_work_close(struct kernel_work *work)
{
	if (work->work >= 0) {
		(void)file_remove_all(work->dir, work->name, NULL);
		close(work->work);
	}
	if (work->dir >= 0)
		close(work->dir); /* and with it the lock */
}

int kernel_name_default(int dir, const char *name, struct error *err)
{
	(void)unlinkat(dir, UNFINISHED "default", 0);
	if (symlinkat(name, dir, UNFINISHED "default") < 0 || renameat(dir, UNFINISHED "default", dir, "default") < 0)
		return error_errno(err, errno, "cannot make %s the default kernel", name);
	return 0;
}

/* "" when there is none. */
static void read_default(int dir, char name[static KERNEL_NAME_MAX + 1])
{
	ssize_t length = readlinkat(dir, "default", name, KERNEL_NAME_MAX);

	name[length > 0 ? length : 0] = '\0';
	if (kernel_name_check(name, NULL) < 0 || faccessat(dir, name, F_OK, 0) < 0)
		name[0] = '\0';
}

static int no_such_kernel(const char *name, struct error *err)
{
	return error_set(err, ENOENT, "no such kernel: %s; `caisson kernel ls` lists those there are", name);
}

/* ---- listing ---- */

static uint64_t size_of(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	uint64_t size = 0;
	struct stat st;

	while (list && (entry = readdir(list)))
		if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			size += (uint64_t)st.st_blocks * 512;
	return size;
}

static const char *text_of(const struct json_value *config, const char *name)
{
	const struct json_value *value = json_find(config, name);

	return value && value->kind == JSON_KIND_STRING ? value->text : "";
}

static int read_record(int store, const char *name, struct kernel_record *record, struct error *err)
{
	cleanup_close int dir = openat(store, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	const struct json_value *config = NULL, *added;
	cleanup_free char *text = NULL;
	struct arena arena = { .head = NULL };
	size_t size;

	*record = (struct kernel_record){ .unpacked = dir >= 0 && faccessat(dir, "vmlinux", F_OK, 0) == 0 };
	(void)snprintf(record->name, sizeof(record->name), "%.*s", KERNEL_NAME_MAX, name);
	if (dir < 0)
		return error_errno(err, errno, "cannot open the kernel %s", name);
	/* One that was damaged can still be seen, and removed. */
	if (file_read(dir, "config.json", CONFIG_MAX, &text, &size, NULL) == 0 &&
	    json_parse(text, size, &arena, &config, NULL) < 0)
		config = NULL;
	(void)snprintf(record->version, sizeof(record->version), "%s", config ? text_of(config, "version") : "");
	record->source = strdup(config ? text_of(config, "source") : "");
	added = config ? json_find(config, "added") : NULL;
	if (added && added->kind == JSON_KIND_INTEGER && added->magnitude <= INT64_MAX)
		record->added = (time_t)added->magnitude;
	record->size = size_of(dir);
	arena_free(&arena);
	return record->source ? 0 : error_errno(err, ENOMEM, "cannot list kernels");
}

static int by_name(const void *left, const void *right)
{
	return strverscmp(((const struct kernel_record *)left)->name, ((const struct kernel_record *)right)->name);
}

void kernel_list_free(struct kernel_record *records, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(records[i].source);
	free(records);
}

static int list_all(int dir, struct kernel_record **records, size_t *count, struct error *err)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	char current[KERNEL_NAME_MAX + 1];
	const struct dirent *entry;

	read_default(dir, current);
	while (list && (entry = readdir(list))) {
		struct kernel_record *more;

		if (kernel_name_check(entry->d_name, NULL) < 0)
			continue;
		more = realloc(*records, (*count + 1) * sizeof(**records));
		if (!more)
			return error_errno(err, ENOMEM, "cannot list kernels");
		*records = more;
		/* Removed meanwhile, or no kernel of ours. */
		if (read_record(dir, entry->d_name, &more[*count], NULL) < 0)
			continue;
		more[*count].is_default = strcmp(current, entry->d_name) == 0;
		++*count;
	}
	if (*count > 0)
		qsort(*records, *count, sizeof(**records), by_name);
	return list ? 0 : error_errno(err, errno, "cannot list kernels");
}

int kernel_list(struct image_store *store, struct kernel_record **records, size_t *count, struct error *err)
{
	cleanup_close int dir = openat(store->fd, "kernels", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret;

	*records = NULL;
	*count = 0;
	if (dir < 0 && errno == ENOENT)
		return 0;
	if (dir < 0)
		return error_errno(err, errno, "cannot open %s/kernels", store->root);
	ret = list_all(dir, records, count, err);
	if (ret < 0) {
		kernel_list_free(*records, *count);
		*records = NULL;
		*count = 0;
	}
	return ret;
}

/* ---- changing ---- */

/* Where a kernel of that name is; work is to be closed, whatever happens. */
static int open_with(struct image_store *store, const char *name, struct kernel_work *work, struct error *err)
{
	int ret = kernel_work_open(store, false, work, err);

	if (ret == 0 && faccessat(work->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		ret = no_such_kernel(name, err);
	return ret;
}

int kernel_set_default(struct image_store *store, const char *name, struct error *err)
{
	struct kernel_work work;
	int ret = kernel_name_check(name, err);

	if (ret < 0)
		return ret;
	ret = open_with(store, name, &work, err);
	if (ret == 0)
		ret = kernel_name_default(work.dir, name, err);
	kernel_work_close(&work);
	return ret;
}

/* Another one becomes the default, or none is. */
static int replace_default(int dir, const char *gone, struct error *err)
{
	struct kernel_record *records = NULL;
	size_t count = 0;
	int ret = list_all(dir, &records, &count, err);

	if (ret == 0 && count > 0 && strcmp(records[count - 1].name, gone) != 0)
		ret = kernel_name_default(dir, records[count - 1].name, err);
	else if (ret == 0 && count > 1)
		ret = kernel_name_default(dir, records[count - 2].name, err);
	else if (ret == 0 && unlinkat(dir, "default", 0) < 0 && errno != ENOENT)
		ret = error_errno(err, errno, "cannot remove the default");
	kernel_list_free(records, count);
	return ret;
}

int kernel_remove(struct image_store *store, const char *name, struct error *err)
{
	char current[KERNEL_NAME_MAX + 1];
	struct kernel_work work;
	int ret = kernel_name_check(name, err);

	if (ret < 0)
		return ret;
	ret = open_with(store, name, &work, err);
	if (ret == 0) {
		read_default(work.dir, current);
		if (strcmp(current, name) == 0)
			ret = replace_default(work.dir, name, err);
	}
	/* In one step for everybody else; machines that run have it open. */
	if (ret == 0 && renameat(work.dir, name, work.dir, UNFINISHED "gone") < 0)
		ret = error_errno(err, errno, "cannot remove the kernel %s", name);
	if (ret == 0)
		ret = file_remove_all(work.dir, UNFINISHED "gone", err);
	kernel_work_close(&work);
	return ret;
}
