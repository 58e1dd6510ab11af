/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <linux/fs.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "engine/clock.h"
#include "engine/launch_disk.h"
#include "engine/name.h"
#include "engine/state.h"
#include "paradigm/paradigm.h"

#define MACHINES "machines"

enum { RECORD_MAX = 4 << 20, PATH_ROOM = 256 };

static int open_machines(const struct engine *engine, struct error *err)
{
	int fd;

	if (mkdirat(engine->images.fd, MACHINES, 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make %s/" MACHINES, engine->images.root);
	fd = openat(engine->images.fd, MACHINES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "cannot open %s/" MACHINES, engine->images.root) : fd;
}

static int no_such(const char *name, struct error *err)
{
	return error_set(err, ENOENT, "No such snapshot: %s; `caisson snapshot ls` lists those there are", name);
}

/* A name of a user's: checked before any path is made of it. */
static int open_snapshot(const struct engine *engine, const char *name, struct error *err)
{
	cleanup_close int machines = -1;
	int fd;

	if (name_check(name, NULL) < 0)
		return no_such(name, err);
	machines = open_machines(engine, err);
	if (machines < 0)
		return machines;
	fd = openat(machines, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return no_such(name, err);
	return fd < 0 ? error_errno(err, errno, "cannot open snapshot %s", name) : fd;
}

char *snapshot_path(const struct engine *engine, const char *name)
{
	char *path;

	return asprintf(&path, "%s/" MACHINES "/%s", engine->images.root, name) < 0 ? NULL : path;
}

static void lease_name(const char *name, char lease[static PATH_ROOM])
{
	(void)snprintf(lease, PATH_ROOM, "snapshot-%s", name);
}

static json_t *read_json(int directory, const char *file, struct error *err)
{
	cleanup_free char *text = NULL;
	size_t size;
	json_t *value;

	if (file_read(directory, file, RECORD_MAX, &text, &size, err) < 0)
		return NULL;
	value = json_loadb(text, size, 0, NULL);
	if (!json_is_object(value)) {
		json_decref(value);
		(void)error_set(err, EINVAL, "%s of the snapshot is damaged; remove it with `caisson snapshot rm`",
				file);
		return NULL;
	}
	return value;
}

static int write_json(int directory, const char *file, const json_t *value, struct error *err)
{
	cleanup_free char *text = json_dumps(value, JSON_COMPACT);

	return text ? file_replace(directory, file, text, strlen(text), 0600, err)
		    : error_errno(err, ENOMEM, "cannot write %s", file);
}

/* ---- copies of disks ---- */

static int copy_part(int from, int to, off_t at, off_t end)
{
	while (at < end) {
		off_t out = at;
		ssize_t count = copy_file_range(from, &at, to, &out, (size_t)(end - at), 0);

		if (count <= 0)
			return count < 0 ? -errno : -EIO;
	}
	return 0;
}

/* By reference where the file system can; else what is no hole. */
static int copy_sparse(int from, int to)
{
	struct stat st;
	off_t at = 0;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
		return -errno;
	while (at < st.st_size) {
		off_t data = lseek(from, at, SEEK_DATA), hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		int ret;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (data < 0 || hole < 0)
			return -errno;
		ret = copy_part(from, to, data, hole);
		if (ret < 0)
			return ret;
		at = hole;
	}
	return 0;
}

/* The writable layer is copied, what is below it never changes. */
static int copy_disk(int from, int to, struct error *err)
{
	cleanup_close int source = openat(from, INSTANCE_DISK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int target = -1;
	int ret;

	if (source < 0)
		return error_errno(err, errno, "cannot open the disk");
	if (linkat(from, INSTANCE_DISK_BASE, to, INSTANCE_DISK_BASE, 0) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot link the disk's base");
	target = openat(to, INSTANCE_DISK ".new", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (target < 0)
		return error_errno(err, errno, "cannot make a copy of the disk");
	ret = copy_sparse(source, target);
	if (ret < 0)
		return error_errno(err, -ret, "cannot copy the disk");
	if (renameat(to, INSTANCE_DISK ".new", to, INSTANCE_DISK) < 0)
		return error_errno(err, errno, "cannot keep the copy of the disk");
	return 0;
}

int snapshot_disk(const struct instance *instance, const char *name, struct error *err)
{
	cleanup_close int from = -1;

	if (faccessat(instance->dir_fd, INSTANCE_DISK, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	from = open_snapshot(instance->engine, name, err);
	return from < 0 ? from : copy_disk(from, instance->dir_fd, err);
}

/* ---- taking one ---- */

/* What a machine shares with the host cannot be saved with it. */
static int check_instance(const struct instance *instance, struct error *err)
{
	struct instance_state state;
	int ret = instance_state_read(instance, &state, err);

	if (ret < 0)
		return ret;
	if (!instance_state_alive(&state))
		return error_set(err, EINVAL, "container %s is not running; start it first", instance_name(instance));
	/* Its monitor is frozen with it, and could not answer. */
	if (state.status == INSTANCE_PAUSED)
		return error_set(err, EBUSY, "container %s is paused; unpause it first", instance_name(instance));
	if (json_array_size(document_at(instance->record, "Mounts")))
		return error_set(err, ENOTSUP,
				 "container %s has volumes, which a snapshot cannot keep; run it without -v",
				 instance_name(instance));
	return 0;
}

static int make_file(int directory, const char *name, struct error *err)
{
	int fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? error_errno(err, errno, "cannot make %s of the snapshot", name) : fd;
}

/* The machine stands still from the moment that its state is written until its disk is copied. */
static int save_machine(const struct instance *instance, int directory, struct error *err)
{
	struct runtime *runtime = &instance->engine->runtime;
	cleanup_close int state = make_file(directory, "state", err);
	cleanup_close int memory = state < 0 ? -1 : make_file(directory, "memory", err);
	cleanup_close int hold = -1;
	struct container container;
	int ret;

	if (memory < 0)
		return -err->code;
	ret = container_load(runtime, instance->id, 0, &container, err);
	if (ret < 0)
		return ret;
	ret = container.paradigm->snapshot
		      ? container.paradigm->snapshot(container.dir, container.dir_fd, state, memory, &hold, err)
		      : error_set(err, ENOTSUP,
				  "only machines can be saved, and %s is isolated as a %s; run it with --isolation pv",
				  instance_name(instance), container.paradigm->name);
	container_close(&container);
	return ret == 0 ? copy_disk(instance->dir_fd, directory, err) : ret;
}

/* Bytes that the snapshot takes, the disk's base not counted: others stand on it, too. */
static uint64_t count_bytes(int directory)
{
	static const char *const files[] = { "state", "memory", INSTANCE_DISK };
	uint64_t bytes = 0;
	struct stat st;

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		if (fstatat(directory, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			bytes += (uint64_t)st.st_blocks * 512;
	}
	return bytes;
}

static int describe(const struct instance *instance, int directory, struct error *err)
{
	char when[CLOCK_TEXT_MAX];
	cleanup_json json_t *about = NULL;
	int ret = write_json(directory, "instance.json", instance->record, err);

	clock_now(when);
	about = json_pack("{s:s,s:I}", "Created", when, "Size", (json_int_t)count_bytes(directory));
	return ret == 0 ? write_json(directory, "snapshot.json", about, err) : ret;
}

static int lease_image(const struct instance *instance, const char *lease, struct error *err)
{
	struct image_store *store = &instance->engine->images;
	struct image image;
	int ret = image_open_leased(store, instance->id, document_text(instance->record, "Image"), &image, err);

	if (ret < 0)
		return ret;
	ret = image_lease(store, &image, lease, err);
	image_close(&image);
	return ret;
}

int snapshot_create(struct instance *instance, const char *name, struct error *err)
{
	struct engine *engine = instance->engine;
	cleanup_close int machines = -1, directory = -1;
	char lease[PATH_ROOM];
	int ret = name_check(name, err);

	if (ret == 0)
		ret = check_instance(instance, err);
	if (ret < 0)
		return ret;
	machines = open_machines(engine, err);
	if (machines < 0)
		return machines;
	if (faccessat(machines, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(err, EEXIST, "snapshot %s exists already; `caisson snapshot rm` removes it", name);
	/* Under its lease's name: whoever sweeps pending/ drops that, too. */
	lease_name(name, lease);
	directory = engine_make_pending(engine, lease, err);
	if (directory < 0)
		return directory;
	ret = lease_image(instance, lease, err);
	if (ret == 0)
		ret = save_machine(instance, directory, err);
	if (ret == 0)
		ret = describe(instance, directory, err);
	if (ret == 0 && renameat2(engine->pending_fd, lease, machines, name, RENAME_NOREPLACE) < 0)
		ret = error_errno(err, errno, "cannot keep the snapshot");
	if (ret < 0)
		engine_waste(engine, lease);
	return ret;
}

int snapshot_remove(struct engine *engine, const char *name, struct error *err)
{
	cleanup_close int machines = -1, directory = open_snapshot(engine, name, err);
	char lease[PATH_ROOM];

	if (directory < 0)
		return directory;
	machines = open_machines(engine, err);
	if (machines < 0)
		return machines;
	lease_name(name, lease);
	/* Locked in its new place, too, so that nobody else sweeps it while we do. */
	if (flock(directory, LOCK_EX) < 0 || renameat(machines, name, engine->pending_fd, lease) < 0)
		return error_errno(err, errno, "cannot remove snapshot %s", name);
	engine_waste(engine, lease);
	return 0;
}

/* ---- looking at them ---- */

static json_t *describe_one(int machines, const char *name)
{
	cleanup_close int directory = openat(machines, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_json json_t *record = directory < 0 ? NULL : read_json(directory, "instance.json", NULL);
	cleanup_json json_t *about = directory < 0 ? NULL : read_json(directory, "snapshot.json", NULL);
	const char *instance = record ? document_text(record, "Name") : "";

	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "Name", name, "Instance",
			 *instance == '/' ? instance + 1 : instance, "Image",
			 record ? document_text(record, "Config.Image") : "", "Isolation",
			 record ? document_text(record, "HostConfig.Isolation") : "", "CreatedAt",
			 about ? document_text(about, "Created") : "", "Bytes",
			 about ? document_int(about, "Size") : (json_int_t)0);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

json_t *snapshot_list(struct engine *engine, struct error *err)
{
	cleanup_close int machines = open_machines(engine, err);
	int fd = machines < 0 ? -1 : openat(machines, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	json_t *list = json_array();
	struct dirent *entry;
	char **names = NULL;
	size_t count = 0;

	while (dir && (entry = readdir(dir))) {
		char **more = *entry->d_name == '.' ? NULL : realloc(names, (count + 1) * sizeof(*names));

		if (!more)
			continue;
		names = more;
		names[count] = strdup(entry->d_name);
		count += names[count] != NULL;
	}
	if (count)
		qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, describe_one(machines, names[i]));
		free(names[i]);
	}
	free(names);
	if (dir)
		return list;
	json_decref(list);
	return NULL;
}

/* ---- beginning from one ---- */

/* Who looks on, and what becomes of it, is an instance's own; all else is in the machine's memory. */
static const char *const own[] = { "Config.AttachStdin",      "Config.AttachStdout",	    "Config.AttachStderr",
				   "Config.Labels",	      "Config.StdinOnce",	    "HostConfig.AutoRemove",
				   "HostConfig.ConsoleSize",  "HostConfig.ContainerIDFile", "HostConfig.LogConfig",
				   "HostConfig.RestartPolicy" };

static bool is_own(const char *part, const char *key)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s.%s", part, key);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (strcmp(path, own[i]) == 0)
			return true;
	return false;
}

/* What was asked for and is neither what nobody asks for nor what the machine has cannot be had. */
static int check_part(const char *part, const json_t *document, const json_t *standard, const json_t *record,
		      struct error *err)
{
	json_t *asked = document_at(document, part), *value;
	const char *key;

	json_object_foreach (asked, key, value) {
		if (is_own(part, key) || json_equal(value, json_object_get(document_at(standard, part), key)) ||
		    json_equal(value, json_object_get(document_at(record, part), key)))
			continue;
		return error_set(err, EINVAL,
				 "%s.%s cannot be another than the snapshot's: the machine goes on as it was saved; "
				 "leave the option out",
				 part, key);
	}
	return 0;
}

static int check_document(const json_t *document, const json_t *record, struct error *err)
{
	cleanup_json json_t *standard = document_new();
	int ret = check_part("Config", document, standard, record, err);

	return ret == 0 ? check_part("HostConfig", document, standard, record, err) : ret;
}

int snapshot_document(struct engine *engine, const char *name, const json_t *document, json_t **merged,
		      struct image *image, struct error *err)
{
	cleanup_close int directory = open_snapshot(engine, name, err);
	cleanup_json json_t *record = directory < 0 ? NULL : read_json(directory, "instance.json", err);
	char lease[PATH_ROOM];
	int ret;

	if (!record)
		return -err->code;
	ret = check_document(document, record, err);
	if (ret < 0)
		return ret;
	lease_name(name, lease);
	ret = image_open_leased(&engine->images, lease, document_text(record, "Image"), image, err);
	if (ret < 0)
		return error_wrap(err, "the image of snapshot %s cannot be opened", name);
	*merged = json_pack("{s:O,s:O}", "Config", document_at(record, "Config"), "HostConfig",
			    document_at(record, "HostConfig"));
	for (size_t i = 0; *merged && i < sizeof(own) / sizeof(*own); i++) {
		json_t *value = document_at(document, own[i]);

		if (value)
			(void)document_set(*merged, own[i], json_incref(value));
	}
	if (*merged && document_set_text(*merged, "HostConfig.Snapshot", name) == 0)
		return 0;
	image_close(image);
	json_decref(*merged);
	return error_errno(err, ENOMEM, "cannot begin from snapshot %s", name);
}
