/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, locking and keeping instances; how they are made and removed is create.c's and discard.c's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/name.h"

enum { RECORD_MAX = 4 << 20 };

static bool is_hex(const char *text)
{
	return *text && text[strspn(text, "0123456789abcdef")] == '\0';
}

int instance_ids(struct engine *engine, char ***ids, size_t *count, struct error *err)
{
	cleanup_closedir DIR *dir = NULL;
	char **list = NULL;
	size_t used = 0, room = 0;
	struct dirent *entry;
	int fd = openat(engine->instances_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return error_errno(err, errno, "cannot list instances");
	while ((entry = readdir(dir))) {
		if (strlen(entry->d_name) != INSTANCE_ID_LENGTH || !is_hex(entry->d_name))
			continue;
		if (used + 1 >= room) {
			char **grown = reallocarray(list, room = room ? room * 2 : 16, sizeof(*list));

			if (!grown) {
				runtime_ids_free(list, used);
				return error_errno(err, ENOMEM, "cannot list instances");
			}
			list = grown;
		}
		list[used] = strdup(entry->d_name);
		used += list[used] != NULL;
	}
	*ids = list;
	*count = used;
	return 0;
}

/* The only instance whose id begins with prefix; -ENOENT, or -EEXIST when there are several. */
static int find_prefix(struct engine *engine, const char *prefix, char *id, struct error *err)
{
	char **ids = NULL;
	size_t count = 0;
	int found = 0, ret = instance_ids(engine, &ids, &count, err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < count; i++) {
		if (str_starts(ids[i], prefix)) {
			found++;
			memcpy(id, ids[i], INSTANCE_ID_LENGTH + 1);
		}
	}
	runtime_ids_free(ids, count);
	if (found > 1)
		return error_set(err, EEXIST,
				 "Multiple IDs found with provided prefix: %s; give more of its digits, or the name",
				 prefix);
	return found ? 0 : error_set(err, ENOENT, "No such container: %s", prefix);
}

int instance_find(struct engine *engine, const char *what, char id[static INSTANCE_ID_LENGTH + 1], struct error *err)
{
	const char *name = *what == '/' ? what + 1 : what;
	struct stat st;
	ssize_t length;

	if (strlen(what) == INSTANCE_ID_LENGTH && is_hex(what) &&
	    fstatat(engine->instances_fd, what, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		memcpy(id, what, INSTANCE_ID_LENGTH + 1);
		return 0;
	}
	if (*name && !strchr(name, '/') && *name != '.') {
		length = readlinkat(engine->names_fd, name, id, INSTANCE_ID_LENGTH + 1);
		if (length == INSTANCE_ID_LENGTH) {
			id[length] = '\0';
			if (is_hex(id) && fstatat(engine->instances_fd, id, &st, AT_SYMLINK_NOFOLLOW) == 0)
				return 0;
		}
	}
	if (strlen(what) < INSTANCE_ID_LENGTH && is_hex(what))
		return find_prefix(engine, what, id, err);
	return error_set(err, ENOENT, "No such container: %s", what);
}

static bool is_own_record(const json_t *record, const char *id)
{
	const char *name = document_text(record, "Name");

	return document_is_record(record) && strcmp(document_text(record, "Id"), id) == 0 && *name == '/' &&
	       name_check(name + 1, NULL) == 0;
}

int instance_refresh(struct instance *instance, struct error *err)
{
	cleanup_free char *text = NULL;
	json_error_t where = { .line = 1 };
	json_t *record;
	size_t size;
	int ret = file_read(instance->dir_fd, "instance.json", RECORD_MAX, &text, &size, NULL);

	if (ret == -ENOENT)
		return error_set(err, ENOENT, "No such container: %s", instance->id);
	if (ret < 0)
		return error_errno(err, -ret, "cannot read the record of instance %s", instance->id);
	record = json_loadb(text, size, 0, &where);
	if (record && !is_own_record(record, instance->id)) {
		(void)snprintf(where.text, sizeof(where.text), "it is not what a record must be");
		json_decref(record);
		record = NULL;
	}
	if (!record)
		return error_set(
			err, EINVAL,
			"the record of instance %s is damaged (line %d: %s); remove it with `caisson rm -f %s`",
			instance->id, where.line, where.text, instance->id);
	json_decref(instance->record);
	instance->record = record;
	return 0;
}

int instance_lock(struct instance *instance, struct error *err)
{
	struct stat held, named;

	while (flock(instance->dir_fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return error_errno(err, errno, "cannot lock instance %s", instance->id);
	}
	/* Whoever held it may have removed the instance. */
	if (fstat(instance->dir_fd, &held) < 0 ||
	    fstatat(instance->engine->instances_fd, instance->id, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    held.st_ino != named.st_ino || held.st_dev != named.st_dev)
		return error_set(err, ENOENT, "No such container: %s", instance->id);
	instance->locked = true;
	return instance_refresh(instance, err);
}

void instance_unlock(struct instance *instance)
{
	if (instance->dir_fd >= 0)
		(void)flock(instance->dir_fd, LOCK_UN);
	instance->locked = false;
}

/* A name that leads here may be one that a rename which was killed has left. */
static bool is_called(const struct instance *instance, const char *what)
{
	return str_starts(instance->id, what) || strcmp(instance_name(instance), *what == '/' ? what + 1 : what) == 0;
}

int instance_take_up(struct instance *instance, struct error *err)
{
	instance->dir_fd = openat(instance->engine->instances_fd, instance->id,
				  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (instance->dir_fd >= 0)
		return 0;
	return errno == ENOENT ? error_set(err, ENOENT, "No such container: %s", instance->id)
			       : error_errno(err, errno, "cannot open instance %s", instance->id);
}

void instance_put_down(struct instance *instance)
{
	if (instance->dir_fd >= 0)
		close(instance->dir_fd);
	instance->dir_fd = -1;
}

int instance_open(struct engine *engine, const char *what, int flags, struct instance *instance, struct error *err)
{
	int ret;

	*instance = INSTANCE_INIT;
	instance->engine = engine;
	ret = instance_find(engine, what, instance->id, err);
	if (ret < 0)
		return ret;
	instance->dir_fd = openat(engine->instances_fd, instance->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (instance->dir_fd < 0)
		return errno == ENOENT ? error_set(err, ENOENT, "No such container: %s", what)
				       : error_errno(err, errno, "cannot open instance %s", what);
	ret = flags & INSTANCE_LOCK ? instance_lock(instance, err) : instance_refresh(instance, err);
	if (ret == 0 && !is_called(instance, what))
		ret = error_set(err, ENOENT, "No such container: %s", what);
	if (ret < 0)
		instance_close(instance);
	return ret;
}

void instance_close(struct instance *instance)
{
	if (instance->dir_fd >= 0)
		close(instance->dir_fd);
	json_decref(instance->record);
	*instance = INSTANCE_INIT;
}

const char *instance_name(const struct instance *instance)
{
	const char *name = document_text(instance->record, "Name");

	return *name == '/' ? name + 1 : name;
}

int instance_save(struct instance *instance, struct error *err)
{
	cleanup_free char *text = json_dumps(instance->record, JSON_COMPACT);
	int ret;

	if (!text)
		return error_errno(err, ENOMEM, "cannot write the record of instance %s", instance->id);
	ret = file_replace(instance->dir_fd, "instance.json", text, strlen(text), 0600, err);
	return ret < 0 ? error_wrap(err, "cannot write the record of instance %s", instance->id) : 0;
}

char *instance_path(const struct instance *instance, const char *leaf)
{
	char *path;

	if (asprintf(&path, "%s/instances/%s%s%s", instance->engine->images.root, instance->id, *leaf ? "/" : "",
		     leaf) < 0)
		return NULL;
	return path;
}
