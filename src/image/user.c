/* SPDX-License-Identifier: Apache-2.0 */
#include "image/user.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

enum { DATABASE_MAX = 8 << 20, FIELDS_MAX = 7 };

/* The kernel's (uid_t)-1 means "no change"; docker ends at half of that, and so do images that work there. */
static const uint64_t id_max = INT32_MAX;

/* A whole database in memory; a missing one is empty. */
static int read_database(int rootfs_fd, const char *path, char **text, struct error *err)
{
	cleanup_close int fd = file_open_type_in_root(rootfs_fd, path, O_RDONLY, S_IFREG, 0);
	size_t size;
	int ret;

	if (fd == -ENOENT || fd == -ENOTDIR) {
		*text = strdup("");
		return *text ? 0 : error_errno(err, ENOMEM, "cannot read %s", path);
	}
	if (fd == -EINVAL)
		return error_set(err, EINVAL, "%s of the image is not a regular file", path);
	if (fd < 0)
		return error_errno(err, -fd, "cannot open %s of the image", path);
	ret = file_read_fd(fd, DATABASE_MAX, text, &size, err);
	return ret < 0 ? error_wrap(err, "%s of the image", path) : 0;
}

/* The next line of *at cut into at most FIELDS_MAX fields at ':'; the number of fields, or -1 at the end. */
static int next_line(char **at, char *fields[static FIELDS_MAX])
{
	char *line = *at, *end;
	int count = 0;

	if (!*line)
		return -1;
	end = line + strcspn(line, "\n");
	*at = *end ? end + 1 : end;
	*end = '\0';
	while (count < FIELDS_MAX) {
		char *colon = strchr(line, ':');

		fields[count++] = line;
		if (!colon)
			break;
		*colon = '\0';
		line = colon + 1;
	}
	return count;
}

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static int parse_id(const char *text, const char *what, uint32_t *id, struct error *err)
{
	uint64_t value;

	if (str_to_u64(text, &value) < 0 || value > id_max)
		return error_set(err, EINVAL, "%s \"%.64s\" is not in the range 0-%llu", what, text,
				 (unsigned long long)id_max);
	*id = (uint32_t)value;
	return 0;
}

/* passwd: name:password:uid:gid:comment:home:shell.  Fills what it says of a user by name, or else by number. */
static int look_up_user(char *passwd, const char *wanted, struct image_user *user, struct error *err)
{
	const bool number = is_number(wanted);
	uint32_t uid = 0;
	char *fields[FIELDS_MAX] = { NULL };
	int count;

	if (number && parse_id(wanted, "uid", &uid, err) < 0)
		return -EINVAL;
	while ((count = next_line(&passwd, fields)) >= 0) {
		uint64_t listed;

		if (count < 4 || !*fields[0] ||
		    (strcmp(fields[0], wanted) != 0 &&
		     !(number && str_to_u64(fields[2], &listed) == 0 && listed == uid)))
			continue;
		if (parse_id(fields[2], "/etc/passwd of the image: uid", &user->uid, err) < 0 ||
		    parse_id(fields[3], "/etc/passwd of the image: gid", &user->gid, err) < 0)
			return -EINVAL;
		user->name = strdup(fields[0]);
		user->home = strdup(count > 5 && *fields[5] ? fields[5] : "/");
		return user->name && user->home ? 0 : error_errno(err, ENOMEM, "cannot look up user");
	}
	if (!number)
		return error_set(err, ENOENT, "unable to find user %.64s: no matching entries in passwd file", wanted);
	user->uid = uid;
	user->gid = 0;
	user->home = strdup("/");
	return user->home ? 0 : error_errno(err, ENOMEM, "cannot look up user");
}

static int look_up_group(char *database, const char *wanted, gid_t *gid, struct error *err)
{
	const bool number = is_number(wanted);
	char *fields[FIELDS_MAX] = { NULL };
	int count;

	while ((count = next_line(&database, fields)) >= 0)
		if (count >= 3 && *fields[0] && strcmp(fields[0], wanted) == 0)
			return parse_id(fields[2], "/etc/group of the image: gid", gid, err);
	if (number)
		return parse_id(wanted, "gid", gid, err);
	return error_set(err, ENOENT, "unable to find group %.64s: no matching entries in group file", wanted);
}

static bool is_member(char *members, const char *name)
{
	char *save = NULL;

	for (char *member = strtok_r(members, ",", &save); member; member = strtok_r(NULL, ",", &save))
		if (strcmp(member, name) == 0)
			return true;
	return false;
}

static int compare_gids(const void *left, const void *right)
{
	const gid_t a = *(const gid_t *)left, b = *(const gid_t *)right;

	return (a > b) - (a < b);
}

/* group: name:password:gid:member,member */
static int collect_groups(char *database, struct image_user *user, struct error *err)
{
	char *fields[FIELDS_MAX] = { NULL };
	size_t kept = 0;
	int count;

	while ((count = next_line(&database, fields)) >= 0) {
		gid_t gid = 0, *grown;

		if (count < 4 || !*fields[0] || !is_member(fields[3], user->name))
			continue;
		if (parse_id(fields[2], "/etc/group of the image: gid", &gid, err) < 0)
			return -EINVAL;
		grown = reallocarray(user->groups, user->groups_count + 1, sizeof(*grown));
		if (!grown)
			return error_errno(err, ENOMEM, "cannot look up groups");
		user->groups = grown;
		user->groups[user->groups_count++] = gid;
	}
	if (user->groups_count == 0)
		return 0;
	qsort(user->groups, user->groups_count, sizeof(*user->groups), compare_gids);
	for (size_t i = 0; i < user->groups_count; i++)
		if (user->groups[i] != user->gid && (kept == 0 || user->groups[i] != user->groups[kept - 1]))
			user->groups[kept++] = user->groups[i];
	user->groups_count = kept;
	return 0;
}

static int resolve(const char *name, const char *group, int rootfs_fd, struct image_user *user, struct error *err)
{
	cleanup_free char *passwd = NULL, *database = NULL;
	int ret = read_database(rootfs_fd, "/etc/passwd", &passwd, err);

	if (ret == 0)
		ret = read_database(rootfs_fd, "/etc/group", &database, err);
	if (ret == 0)
		ret = look_up_user(passwd, name, user, err);
	if (ret < 0)
		return ret;
	if (group)
		return look_up_group(database, group, &user->gid, err);
	return user->name ? collect_groups(database, user, err) : 0;
}

int image_resolve_user(const char *user, int rootfs_fd, struct image_user *resolved, struct error *err)
{
	cleanup_free char *copy = strdup(user ? user : "0");
	char *group;
	int ret;

	memset(resolved, 0, sizeof(*resolved));
	if (!copy)
		return error_errno(err, ENOMEM, "cannot look up user");
	group = strchr(copy, ':');
	if (group)
		*group++ = '\0';
	if (!*copy || (group && (!*group || strchr(group, ':'))) || *copy == '-' || *copy == '+' ||
	    (group && (*group == '-' || *group == '+')))
		return error_set(err, EINVAL, "\"%.64s\" is not a user: expected NAME|UID[:GROUP|GID]", user);
	ret = resolve(copy, group, rootfs_fd, resolved, err);
	if (ret < 0)
		image_user_free(resolved);
	return ret;
}

int image_resolve_group(const char *group, int rootfs_fd, gid_t *gid, struct error *err)
{
	cleanup_free char *database = NULL;
	int ret;

	if (!*group || *group == '-' || *group == '+' || strchr(group, ':'))
		return error_set(err, EINVAL, "\"%.64s\" is not a group", group);
	ret = read_database(rootfs_fd, "/etc/group", &database, err);
	return ret < 0 ? ret : look_up_group(database, group, gid, err);
}

void image_user_free(struct image_user *user)
{
	free(user->groups);
	free(user->home);
	free(user->name);
	memset(user, 0, sizeof(*user));
}
