/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The distribution's kernel, by its own programs: apt-cache(8) says which package
 * linux-image-cloud-amd64 (or another one like it) stands for today, apt-get(8) downloads it and checks its
 * signature's chain.  Nothing is installed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "image/content.h"
#include "image/kernel_private.h"

extern char **environ;

enum { OUTPUT_MAX = 1 << 20 };

#define META_PACKAGE "linux-image-cloud-amd64"

/* Runs a program with its output into to; its exit status, or -errno. */
static int run(const char *const *argv, int to, struct error *err)
{
	posix_spawn_file_actions_t actions;
	int code, status = 0;
	pid_t pid;

	code = posix_spawn_file_actions_init(&actions);
	if (code == 0) {
		code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
		if (code == 0)
			code = posix_spawn_file_actions_adddup2(&actions, to, 1);
		if (code == 0)
			code = posix_spawn_file_actions_adddup2(&actions, to, 2);
		if (code == 0)
			code = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	if (code == ENOENT)
		return error_set(
			err, ENOENT,
			"there is no %s here; bring a kernel with `caisson kernel add` (a file, a package, or /)",
			argv[0]);
	if (code != 0)
		return error_errno(err, code, "cannot run %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(err, errno, "cannot wait for %s", argv[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The same, with what it said. */
static int run_and_read(const char *const *argv, char **output, struct error *err)
{
	cleanup_close int fd = memfd_create("output", MFD_CLOEXEC);
	size_t size;
	int status, ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot run %s", argv[0]);
	status = run(argv, fd, err);
	if (status < 0)
		return status;
	ret = lseek(fd, 0, SEEK_SET) < 0 ? -errno : file_read_fd(fd, OUTPUT_MAX, output, &size, err);
	return ret < 0 ? ret : status;
}

/* The last line that was said, which tells why. */
static const char *last_line(char *output)
{
	size_t length = strlen(output);
	char *line;

	while (length > 0 && output[length - 1] == '\n')
		output[--length] = '\0';
	line = strrchr(output, '\n');
	return line ? line + 1 : output;
}

/* What a package stands for ("  Depends: linux-image-6.1.0-38-cloud-amd64"), or itself. */
static int resolve(const char *asked, char **package, struct error *err)
{
	const char *const argv[] = { "apt-cache", "depends", "--important", asked, NULL };
	static const char before[] = "Depends: linux-image-";
	cleanup_free char *output = NULL;
	const char *at;
	int status = run_and_read(argv, &output, err);

	if (status < 0)
		return status;
	if (status != 0)
		return error_set(err, ENOENT, "apt knows no %s; `apt-get update` may help: %s", asked,
				 last_line(output));
	at = strstr(output, before);
	if (at)
		at += strlen("Depends: ");
	*package = at ? strndup(at, strcspn(at, " \n")) : strdup(asked);
	return *package ? 0 : error_errno(err, ENOMEM, "cannot fetch a kernel");
}

/* The one .deb in a directory. */
static int find_download(const char *dir, char **path, struct error *err)
{
	cleanup_closedir DIR *list = opendir(dir);
	const struct dirent *entry;

	while (list && !*path && (entry = readdir(list)))
		if (str_ends(entry->d_name, ".deb"))
			*path = path_join(dir, entry->d_name);
	return *path ? 0 : error_set(err, ENOENT, "apt-get has downloaded nothing");
}

static int download(const struct image_store *store, const char *package, const char *dir, char **path,
		    struct error *err)
{
	/* As root, apt-get would download as a user who may not write here. */
	static const char script[] = "cd -- \"$1\" && exec apt-get -q -o APT::Sandbox::User=root download \"$2\"";
	const char *const argv[] = { "/bin/sh", "-c", script, "sh", dir, package, NULL };
	cleanup_free char *output = NULL;
	int status;

	if (store->progress.report &&
	    store->progress.report(store->progress.context, "Downloading", package, 0, 0) != 0)
		return error_set(err, ECANCELED, "interrupted");
	status = run_and_read(argv, &output, err);
	if (status < 0)
		return status;
	if (status != 0)
		return error_set(err, EIO, "apt-get cannot download %s; `apt-get update` may help: %s", package,
				 last_line(output));
	return find_download(dir, path, err);
}

int kernel_fetch(struct image_store *store, const char *package, const struct kernel_addition *addition,
		 struct kernel_added *added, struct error *err)
{
	cleanup_free char *resolved = NULL, *dir = NULL, *path = NULL;
	struct kernel_addition with_origin = *addition;
	struct store_tmp tmp = STORE_TMP_INIT;
	int ret;

	if (package && *package == '-')
		return error_set(err, EINVAL, "\"%s\" is no package", package);
	ret = resolve(package ? package : META_PACKAGE, &resolved, err);
	if (ret < 0)
		return ret;
	package = resolved;
	/* What an interrupted download has left there is removed by the store. */
	ret = store_tmp_make(store, &tmp, err);
	if (ret == 0 && !(dir = path_join(store->root, tmp.name)))
		ret = error_errno(err, ENOMEM, "cannot fetch a kernel");
	with_origin.origin = package;
	if (ret == 0)
		ret = download(store, package, dir, &path, err);
	if (ret == 0)
		ret = kernel_add(store, path, &with_origin, added, err);
	store_tmp_remove(store, &tmp);
	return ret;
}
