/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/companion.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef CAISSON_LIBEXECDIR
#define CAISSON_LIBEXECDIR "/usr/libexec/caisson"
#endif

static void cut_name(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
}

__attribute__((nonnull(2))) static int told_directory(const char *self, char directory[static PATH_MAX])
{
	if (!self || !strchr(self, '/') || strlen(self) >= PATH_MAX)
		return -ENOENT;
	(void)snprintf(directory, PATH_MAX, "%s", self);
	cut_name(directory);
	return 0;
}

/* Whole /proc/self/exe's directory. */
__attribute__((nonnull(2))) static int own_directory(const char *self, char directory[static PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", directory, PATH_MAX - 1);

	(void)self;
	if (length < 0)
		return -errno;
	directory[length] = '\0';
	if (!strchr(directory, '/'))
		return -ENOENT;
	cut_name(directory);
	return 0;
}

/*
 * The directory of what our caller called: a program that runs from a copy in a detached mount is shown where it was on
 * its file system, one in a memfd is shown nowhere.
 */
__attribute__((nonnull(2))) static int called_directory(const char *self, char directory[static PATH_MAX])
{
	const char *name = program_invocation_name, *path = strchr(name, '/') ? NULL : getenv("PATH");
	bool found = !path && strchr(name, '/') && realpath(name, directory);

	(void)self;
	while (path && *path && !found) {
		size_t length = strcspn(path, ":");
		char *candidate;

		if (length > 0 && asprintf(&candidate, "%.*s/%s", (int)length, path, name) >= 0) {
			found = access(candidate, X_OK) == 0 && realpath(candidate, directory);
			free(candidate);
		}
		path += length + (path[length] == ':');
	}
	if (!found)
		return -ENOENT;
	cut_name(directory);
	return 0;
}

/* 1 when it is there; *path is fresh then. */
static int look(const char *directory, const char *place, const char *name, char **path)
{
	char *found;

	if (asprintf(&found, "%s%s/%s", directory, place, name) < 0)
		return -ENOMEM;
	if (access(found, X_OK) == 0) {
		*path = found;
		return 1;
	}
	free(found);
	return 0;
}

int companion_find(const char *self, const char *name, char **path, struct error *err)
{
	static const char *const places[] = { "", "/../libexec/caisson" };
	static int (*const directories[])(const char *self, char directory[static PATH_MAX]) = { told_directory,
												 own_directory,
												 called_directory };
	enum { PLACES = sizeof(places) / sizeof(*places), DIRECTORIES = sizeof(directories) / sizeof(*directories) };
	char directory[PATH_MAX];
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < PLACES * DIRECTORIES; i++) {
		if (directories[i / PLACES](self, directory) == 0)
			ret = look(directory, places[i % PLACES], name, path);
	}
	if (ret == 0)
		ret = look(CAISSON_LIBEXECDIR, "", name, path);
	if (ret < 0)
		return error_errno(err, -ret, "cannot find %s", name);
	return ret > 0 ? 0
		       : error_set(err, ENOENT, "cannot find %s: install it as libexec/caisson/%s beside bin/", name,
				   name);
}
