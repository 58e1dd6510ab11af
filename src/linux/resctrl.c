/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/resctrl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

#define DEFAULT_MOUNT "/sys/fs/resctrl"

enum { FILE_MAX = 1 << 20 };

static bool is_mounted_at(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == RDTGROUP_SUPER_MAGIC;
}

/* "36 35 0:5 / /mnt rw - resctrl resctrl rw": the fifth word of such a line. */
static char *search_mounts(void)
{
	cleanup_fclose FILE *file = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	size_t room = 0;

	while (file && getline(&line, &room, file) > 0) {
		char *rest = line, *point = NULL;

		if (!strstr(line, " - resctrl "))
			continue;
		for (int word = 0; word < 5 && rest; word++)
			point = strsep(&rest, " ");
		if (rest && is_mounted_at(point))
			return strdup(point);
	}
	return NULL;
}

int resctrl_find(char **root, struct error *err)
{
	*root = is_mounted_at(DEFAULT_MOUNT) ? strdup(DEFAULT_MOUNT) : search_mounts();
	if (*root)
		return 0;
	(void)error_set(err, ENODEV, "no resctrl file system is mounted");
	return error_hint(err, "with a processor that has it: mount -t resctrl resctrl " DEFAULT_MOUNT);
}

bool resctrl_is_class(const char *group)
{
	cleanup_free char *path = path_join(group, "schemata");

	return path && access(path, F_OK) == 0;
}

int resctrl_make(const char *group, struct error *err)
{
	if (mkdir(group, 0755) == 0)
		return 1;
	if (errno == EEXIST)
		return 0;
	if (errno == ENOSPC)
		return error_set(err, ENOSPC, "cannot make %s: the processor has no more classes or counters", group);
	return error_errno(err, errno, "cannot make %s", group);
}

/* One write(2) is one command. */
static int write_file(const char *group, const char *name, const char *text)
{
	cleanup_free char *path = path_join(group, name);
	cleanup_close int fd = -1;
	ssize_t count;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	count = write(fd, text, strlen(text));
	return count < 0 ? -errno : 0;
}

static char *read_group_file(const char *group, const char *name, struct error *err)
{
	cleanup_free char *path = path_join(group, name);
	char *text = NULL;

	return path && file_read(AT_FDCWD, path, FILE_MAX, &text, NULL, err) == 0 ? text : NULL;
}

int resctrl_set(const char *root, const char *group, const char *schemata, struct error *err)
{
	cleanup_free char *line = NULL, *status = NULL;
	int ret;

	if (asprintf(&line, "%s\n", schemata) < 0)
		return error_errno(err, ENOMEM, "cannot write %s/schemata", group);
	ret = write_file(group, "schemata", line);
	if (ret == 0)
		return 0;
	status = read_group_file(root, "info/last_cmd_status", NULL);
	if (status)
		status[strcspn(status, "\n")] = '\0';
	(void)error_errno(err, -ret, "cannot write \"%s\" to %s/schemata", schemata, group);
	if (status && *status && strcmp(status, "ok") != 0)
		(void)error_hint(err, "%s", status);
	return ret;
}

/* The value of a domain in "0=7f0;1=1f", or NULL; its length is *length. */
static const char *value_of(const char *domains, const char *id, size_t id_length, size_t *length)
{
	for (const char *at = domains; *at; at += *at == ';') {
		size_t item = strcspn(at, ";\n");

		if (item > id_length && strncmp(at, id, id_length) == 0 && at[id_length] == '=') {
			*length = item - id_length - 1;
			return at + id_length + 1;
		}
		at += item;
		if (*at == '\n')
			break;
	}
	return NULL;
}

static bool same_value(const char *left, size_t left_length, const char *right, size_t right_length)
{
	for (; left_length > 1 && (*left == '0' || *left == ' '); left_length--)
		left++;
	for (; right_length > 1 && (*right == '0' || *right == ' '); right_length--)
		right++;
	return left_length == right_length && strncasecmp(left, right, left_length) == 0;
}

/* The line of resource "L3" in a schemata file, behind its colon; NULL if there is none. */
static const char *line_of(const char *text, const char *resource, size_t length)
{
	for (; *text; text += *text == '\n') {
		text += strspn(text, " ");
		if (strncmp(text, resource, length) == 0 && text[length] == ':')
			return text + length + 1;
		text += strcspn(text, "\n");
	}
	return NULL;
}

/* Every domain that the wanted line names has the same value there. */
static bool has_line(const char *text, const char *wanted, size_t wanted_length)
{
	size_t resource = strcspn(wanted, ":\n"), length, there_length;
	const char *there = resource < wanted_length ? line_of(text, wanted, resource) : NULL;
	const char *end = wanted + wanted_length;

	if (!there)
		return false;
	for (const char *at = wanted + resource + 1; at < end; at++) {
		size_t id_length = strcspn(at, "=;\n");
		const char *value;

		length = strcspn(at, ";\n");
		if (id_length >= length)
			return false;
		value = value_of(there, at, id_length, &there_length);
		if (!value || !same_value(at + id_length + 1, length - id_length - 1, value, there_length))
			return false;
		at += length;
	}
	return true;
}

int resctrl_check(const char *group, const char *schemata, struct error *err)
{
	cleanup_free char *text = read_group_file(group, "schemata", err);

	if (!text)
		return err && err->code ? -err->code : -EIO;
	for (const char *at = schemata; *at; at += *at == '\n') {
		size_t length;

		at += strspn(at, " ");
		length = strcspn(at, "\n");
		if (length > 0 && !has_line(text, at, length))
			return error_set(err, EINVAL, "%s exists, and its schemata do not match \"%.*s\"", group,
					 (int)length, at);
		at += length;
	}
	return 0;
}

int resctrl_add(const char *group, pid_t pid, struct error *err)
{
	char text[24];
	int ret;

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	ret = write_file(group, "tasks", text);
	return ret < 0 ? error_errno(err, -ret, "cannot move process %s to %s", text, group) : 0;
}

bool resctrl_is_empty(const char *group)
{
	cleanup_free char *text = read_group_file(group, "tasks", NULL);

	return text && text[strspn(text, " \n")] == '\0';
}

int resctrl_remove(const char *group, struct error *err)
{
	return rmdir(group) < 0 && errno != ENOENT ? error_errno(err, errno, "cannot remove %s", group) : 0;
}
