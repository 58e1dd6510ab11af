/* SPDX-License-Identifier: Apache-2.0 */
/* Which cgroup hierarchies are mounted, and where the caller is in them: proc_pid_mountinfo(5), cgroups(7). */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/cgroup_private.h"

enum { PROC_FILE_MAX = 64 << 20 };

#define DEFAULT_MOUNT "/sys/fs/cgroup"

/* Every controller that version 1 has, or had; the other words among a mount's options are options. */
static const char *const V1_CONTROLLERS[] = {
	"cpuset",     "cpu",	  "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls",
	"perf_event", "net_prio", "hugetlb", "pids",  "rdma",	"misc",	   "dmem",    "debug",
};

struct mount_line {
	unsigned long id, parent;
	const char *root, *point, *type, *options;
};

struct mount_table {
	char *text;		  /* owned; what the lines point into */
	struct mount_line *lines; /* owned */
	size_t count, room;
};

static void mount_table_free(struct mount_table *table)
{
	free(table->text);
	free(table->lines);
}

bool cgroup_list_has(const char *list, const char *word)
{
	size_t length = strlen(word);

	while (*list) {
		size_t item = strcspn(list, ", \n");

		if (item == length && memcmp(list, word, length) == 0)
			return true;
		list += item;
		list += *list != '\0';
	}
	return false;
}

/* Blank, tab, newline and backslash are written as a backslash and three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
		    from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue */
static bool parse_mount_line(char *text, struct mount_line *line)
{
	char *rest = text, *root, *point, *end;

	line->id = strtoul(strsep(&rest, " "), &end, 10);
	if (*end || !rest)
		return false;
	line->parent = strtoul(strsep(&rest, " "), &end, 10);
	if (*end || !rest)
		return false;
	(void)strsep(&rest, " "); /* device */
	root = strsep(&rest, " ");
	point = strsep(&rest, " ");
	(void)strsep(&rest, " "); /* mount options */
	for (const char *tag = strsep(&rest, " "); tag && strcmp(tag, "-") != 0;)
		tag = strsep(&rest, " ");
	line->type = strsep(&rest, " ");
	(void)strsep(&rest, " "); /* source */
	line->options = strsep(&rest, " ");
	if (!line->options || *root != '/' || *point != '/')
		return false;
	unescape(root);
	unescape(point);
	line->root = root;
	line->point = point;
	return true;
}

static int mount_table_parse(const char *text, struct mount_table *table)
{
	char *rest;

	table->text = strdup(text);
	if (!table->text)
		return -ENOMEM;
	rest = table->text;
	while (rest && *rest) {
		if (table->count == table->room) {
			size_t room = table->room ? table->room * 2 : 64;
			struct mount_line *grown = reallocarray(table->lines, room, sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			table->lines = grown;
			table->room = room;
		}
		if (parse_mount_line(strsep(&rest, "\n"), &table->lines[table->count]))
			table->count++;
	}
	return 0;
}

static bool path_covers(const char *point, const char *path)
{
	size_t length = strlen(point);

	if (length == 1)
		return true;
	return strncmp(point, path, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static const struct mount_line *find_id(const struct mount_table *table, unsigned long id)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->lines[i].id == id)
			return &table->lines[i];
	return NULL;
}

/* The next mount that a walk to path crosses into from mount at; at NULL: from where the process's root lies. */
static const struct mount_line *next_mount(const struct mount_table *table, const struct mount_line *at,
					   const char *path)
{
	const struct mount_line *next = NULL;

	for (size_t i = 0; i < table->count; i++) {
		const struct mount_line *line = &table->lines[i];

		if (!path_covers(line->point, path) || (next && strlen(next->point) <= strlen(line->point)))
			continue;
		if (at ? line->parent == at->id && line != at
		       : !find_id(table, line->parent) || line->parent == line->id)
			next = line;
	}
	return next;
}

/*
 * Walks to the mount's own mount point as the kernel would.  Something may have been mounted over it, or over one of
 * the directories above: mountinfo goes on listing what nobody can reach any more.
 */
static bool is_visible(const struct mount_table *table, const struct mount_line *mount)
{
	const struct mount_line *at = NULL, *next;
	size_t steps = 0;

	while (steps++ <= table->count && (next = next_mount(table, at, mount->point)))
		at = next;
	return at == mount;
}

/* The controllers among a v1 mount's options, in their order; NULL when memory is out. */
static char *controllers_of(const char *options)
{
	cleanup_str struct str list = STR_INIT;

	while (*options) {
		size_t length = strcspn(options, ",");
		bool known = length > 5 && memcmp(options, "name=", 5) == 0;

		for (size_t i = 0; i < sizeof(V1_CONTROLLERS) / sizeof(*V1_CONTROLLERS); i++)
			known = known || (strlen(V1_CONTROLLERS[i]) == length &&
					  memcmp(options, V1_CONTROLLERS[i], length) == 0);
		if (known) {
			if (list.length > 0)
				str_append(&list, ",");
			str_append_bytes(&list, options, length);
		}
		options += length;
		options += *options == ',';
	}
	if (list.length == 0)
		str_append(&list, "");
	return str_failed(&list) ? NULL : strdup(str_text(&list));
}

static void hierarchy_free(struct cgroup_hierarchy *hierarchy)
{
	free(hierarchy->controllers);
	free(hierarchy->mount);
	free(hierarchy->root);
	free(hierarchy->own);
	*hierarchy = (struct cgroup_hierarchy){ .controllers = NULL };
}

static struct cgroup_hierarchy *find_same(struct cgroup_host *host, const struct cgroup_hierarchy *other)
{
	for (size_t i = 0; i < host->count; i++)
		if (host->hierarchies[i].v2 == other->v2 &&
		    strcmp(host->hierarchies[i].controllers, other->controllers) == 0)
			return &host->hierarchies[i];
	return NULL;
}

/* Takes hierarchy over.  One that is mounted twice is kept where its root is to be seen, or where it was seen first. */
static int host_add(struct cgroup_host *host, struct cgroup_hierarchy *hierarchy)
{
	struct cgroup_hierarchy *same;

	if (!hierarchy->controllers || !hierarchy->mount || !hierarchy->root) {
		hierarchy_free(hierarchy);
		return -ENOMEM;
	}
	same = find_same(host, hierarchy);
	if (same && strcmp(same->root, "/") != 0 && strcmp(hierarchy->root, "/") == 0) {
		hierarchy_free(same);
		*same = *hierarchy;
	} else if (same || host->count == CGROUP_HIERARCHIES_MAX || (!hierarchy->v2 && !*hierarchy->controllers)) {
		hierarchy_free(hierarchy);
	} else {
		host->hierarchies[host->count++] = *hierarchy;
	}
	return 0;
}

/* A named v1 hierarchy without controllers beside v2 (systemd's) leaves the limits to v2. */
static enum cgroup_layout layout_of(const struct cgroup_host *host)
{
	bool v1 = false, v2 = false;

	for (size_t i = 0; i < host->count; i++) {
		v2 = v2 || host->hierarchies[i].v2;
		v1 = v1 || (!host->hierarchies[i].v2 && !str_starts(host->hierarchies[i].controllers, "name="));
	}
	if (v1)
		return v2 ? CGROUP_HYBRID : CGROUP_V1;
	return v2 ? CGROUP_V2 : CGROUP_V1;
}

int cgroup_host_parse_mounts(const char *text, struct cgroup_host *host, struct error *err)
{
	__attribute__((cleanup(mount_table_free))) struct mount_table table = { .text = NULL };
	int ret = mount_table_parse(text, &table);

	*host = (struct cgroup_host){ .count = 0 };
	for (size_t i = 0; ret == 0 && i < table.count; i++) {
		const struct mount_line *line = &table.lines[i];
		bool v2 = strcmp(line->type, "cgroup2") == 0;
		struct cgroup_hierarchy hierarchy = { .v2 = v2 };

		if ((!v2 && strcmp(line->type, "cgroup") != 0) || !is_visible(&table, line))
			continue;
		hierarchy.controllers = v2 ? strdup("") : controllers_of(line->options);
		hierarchy.mount = strdup(line->point);
		hierarchy.root = strdup(line->root);
		ret = host_add(host, &hierarchy);
	}
	if (ret < 0) {
		cgroup_host_free(host);
		return error_errno(err, -ret, "cannot read the list of mounts");
	}
	host->layout = layout_of(host);
	return 0;
}

bool cgroup_host_is_v2(void)
{
	struct statfs fs;

	return statfs(DEFAULT_MOUNT, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

int cgroup_host_read(struct cgroup_host *host, struct error *err)
{
	return cgroup_host_read_as(host, cgroup_host_is_v2(), err);
}

int cgroup_host_read_as(struct cgroup_host *host, bool v2, struct error *err)
{
	cleanup_free char *text = NULL;
	int ret;

	*host = (struct cgroup_host){ .layout = CGROUP_V2 };
	/* Where systemd has mounted v2 nothing else can be beside it: one call instead of a table that may be long. */
	if (v2) {
		host->hierarchies[0] = (struct cgroup_hierarchy){ .controllers = strdup(""),
								  .mount = strdup(DEFAULT_MOUNT),
								  .v2 = true };
		host->count = 1;
		if (host->hierarchies[0].controllers && host->hierarchies[0].mount)
			return 0;
		cgroup_host_free(host);
		return error_errno(err, ENOMEM, "cannot look for cgroups");
	}
	ret = file_read(AT_FDCWD, "/proc/self/mountinfo", PROC_FILE_MAX, &text, NULL, err);
	return ret < 0 ? ret : cgroup_host_parse_mounts(text, host, err);
}

/* Of each hierarchy its controllers and its mount, each with its final NUL; v2's controllers are "". */
int cgroup_host_pack(const struct cgroup_host *host, char *bytes, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < host->count; i++) {
		const char *words[] = { host->hierarchies[i].controllers, host->hierarchies[i].mount };

		for (size_t k = 0; k < 2; k++) {
			size_t length = strlen(words[k]) + 1;

			if (size - used < length)
				return -E2BIG;
			memcpy(bytes + used, words[k], length);
			used += length;
		}
	}
	return (int)used;
}

int cgroup_host_unpack(const char *bytes, size_t size, struct cgroup_host *host)
{
	const char *end = bytes + size;
	int ret = 0;

	*host = (struct cgroup_host){ .count = 0 };
	while (ret == 0 && bytes < end) {
		const char *controllers = bytes, *mount = controllers + strnlen(controllers, (size_t)(end - bytes)) + 1;
		struct cgroup_hierarchy hierarchy = { .v2 = !*controllers };

		if (mount >= end || end[-1])
			ret = -EPROTO;
		if (ret < 0)
			break;
		hierarchy.controllers = strdup(controllers);
		hierarchy.mount = strdup(mount);
		hierarchy.root = strdup("/");
		ret = host_add(host, &hierarchy);
		bytes = mount + strlen(mount) + 1;
	}
	if (ret < 0)
		cgroup_host_free(host);
	host->layout = layout_of(host);
	return ret;
}

/* The path as it is below the mount point: without the part that is not mounted. */
static char *strip_root(const char *path, const char *root)
{
	if (strcmp(root, "/") == 0 || !path_covers(root, path))
		return strdup(path);
	path += strlen(root);
	return strdup(*path ? path : "/");
}

int cgroup_host_parse_own(const char *text, struct cgroup_host *host, struct error *err)
{
	cleanup_free char *copy = strdup(text);
	char *rest = copy, *line;

	while (copy && (line = strsep(&rest, "\n"))) {
		char *id = strsep(&line, ":"), *controllers = strsep(&line, ":");
		struct cgroup_hierarchy key = { .controllers = controllers }, *hierarchy;

		if (!controllers || !line || *line != '/')
			continue;
		key.v2 = strcmp(id, "0") == 0 && !*controllers;
		hierarchy = find_same(host, &key);
		if (!hierarchy)
			continue;
		free(hierarchy->own);
		hierarchy->own = strip_root(line, hierarchy->root ? hierarchy->root : "/");
		if (!hierarchy->own)
			return error_errno(err, ENOMEM, "cannot read the own cgroups");
	}
	return copy ? 0 : error_errno(err, ENOMEM, "cannot read the own cgroups");
}

/* After the short way of cgroup_host_read() it is not known yet which part of the tree is mounted. */
static int learn_root(struct cgroup_hierarchy *hierarchy, struct error *err)
{
	cleanup_free char *text = NULL;
	struct cgroup_host full;
	struct cgroup_hierarchy *same;
	int ret = file_read(AT_FDCWD, "/proc/self/mountinfo", PROC_FILE_MAX, &text, NULL, err);

	if (ret == 0)
		ret = cgroup_host_parse_mounts(text, &full, err);
	if (ret < 0)
		return ret;
	same = find_same(&full, hierarchy);
	hierarchy->root = strdup(same && strcmp(same->mount, hierarchy->mount) == 0 ? same->root : "/");
	cgroup_host_free(&full);
	return hierarchy->root ? 0 : error_errno(err, ENOMEM, "cannot read the list of mounts");
}

int cgroup_host_read_own(struct cgroup_host *host, struct error *err)
{
	cleanup_free char *text = NULL;
	int ret = 0;

	if (host->count == 0 || host->hierarchies[0].own)
		return 0;
	if (!host->hierarchies[0].root)
		ret = learn_root(&host->hierarchies[0], err);
	if (ret == 0)
		ret = file_read(AT_FDCWD, "/proc/self/cgroup", PROC_FILE_MAX, &text, NULL, err);
	return ret < 0 ? ret : cgroup_host_parse_own(text, host, err);
}

void cgroup_host_free(struct cgroup_host *host)
{
	for (size_t i = 0; i < host->count; i++)
		hierarchy_free(&host->hierarchies[i]);
	host->count = 0;
}

int cgroup_host_find(const struct cgroup_host *host, const char *controller)
{
	for (size_t i = 0; i < host->count; i++) {
		const struct cgroup_hierarchy *hierarchy = &host->hierarchies[i];

		if (*controller ? !hierarchy->v2 && cgroup_list_has(hierarchy->controllers, controller) : hierarchy->v2)
			return (int)i;
	}
	return -1;
}
