/* SPDX-License-Identifier: Apache-2.0 */
/* How instances come into being and leave: by way of pending/, so that a crash leaves nothing but waste there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/mounts.h"
#include "engine/name.h"
#include "engine/state.h"
#include "engine/volume.h"

/*
 * A directory in pending/, locked.  Between mkdir and flock it would look like waste: whoever makes one holds a shared
 * lock on pending/ for that moment, and whoever sweeps holds an exclusive one.
 */
int engine_make_pending(struct engine *engine, const char *id, struct error *err)
{
	cleanup_close int gate = openat(engine->pending_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = -1;

	if (gate < 0 || flock(gate, LOCK_SH) < 0 || mkdirat(engine->pending_fd, id, 0711) < 0)
		return error_errno(err, errno, "cannot create an instance in %s", engine->images.root);
	fd = openat(engine->pending_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return error_errno(err, errno, "cannot create an instance in %s", engine->images.root);
	return take_fd(&fd);
}

static int random_id(char id[static INSTANCE_ID_LENGTH + 1], struct error *err)
{
	unsigned char bytes[INSTANCE_ID_LENGTH / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return error_errno(err, errno, "cannot make up an id");
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	/* docker does not give ids whose short form could be taken for a number (a host name of digits). */
	if (strspn(id, "0123456789") >= SHORT_ID_LENGTH)
		id[0] = 'c';
	return 0;
}

static json_t *text_list(const struct oci_strings *strings)
{
	json_t *list = json_array();

	for (size_t i = 0; i < strings->count; i++)
		(void)json_array_append_new(list, json_string(strings->items[i]));
	return list;
}

static bool same_variable(const char *a, const char *b)
{
	size_t length = strcspn(a, "=");

	return strcspn(b, "=") == length && memcmp(a, b, length) == 0;
}

/* The image's environment, then the user's; a user's value replaces the image's in its place. */
static json_t *merge_environment(const json_t *own, const struct oci_strings *from_image)
{
	json_t *merged = text_list(from_image), *item;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)own, i, item) {
		size_t at = 0, count = json_array_size(merged);
		const char *text = json_string_value(item);

		while (at < count && !same_variable(json_string_value(json_array_get(merged, at)), text))
			at++;
		if (!strchr(text, '=')) { /* "-e NAME" of a variable that the caller has not: unset it */
			if (at < count)
				(void)json_array_remove(merged, at);
		} else if (at < count) {
			(void)json_array_set(merged, at, item);
		} else {
			(void)json_array_append(merged, item);
		}
	}
	return merged;
}

static void default_text(json_t *config, const char *key, const char *value)
{
	if (value && !*document_text(config, key))
		(void)document_set_text(config, key, value);
}

/* What the image says, where the user did not. */
static void merge_image(json_t *config, const struct image *image)
{
	const struct oci_image_config *from = &image->config;
	json_t *labels = document_at(config, "Labels");

	if (json_is_null(json_object_get(config, "Entrypoint")) || !json_object_get(config, "Entrypoint")) {
		if (from->config.entrypoint.count)
			(void)document_set(config, "Entrypoint", text_list(&from->config.entrypoint));
		if (!json_is_array(json_object_get(config, "Cmd")))
			(void)document_set(config, "Cmd", text_list(&from->config.cmd));
	}
	(void)document_set(config, "Env", merge_environment(document_at(config, "Env"), &from->config.env));
	default_text(config, "User", from->config.user);
	default_text(config, "WorkingDir", from->config.working_dir);
	default_text(config, "StopSignal", from->config.stop_signal);
	for (size_t i = 0; i < from->config.labels.count; i++) {
		const struct oci_pair *label = &from->config.labels.items[i];

		if (!json_object_get(labels, label->key))
			(void)json_object_set_new(labels, label->key, json_string(label->value));
	}
	if (from->config.exposed_ports.count) {
		json_t *ports = json_object();

		for (size_t i = 0; i < from->config.exposed_ports.count; i++)
			(void)json_object_set_new(ports, from->config.exposed_ports.items[i], json_object());
		(void)document_set(config, "ExposedPorts", ports);
	}
}

/* Path and Args: the whole command, as docker shows it. */
static int split_command(json_t *record, struct error *err)
{
	const char *const parts[] = { "Config.Entrypoint", "Config.Cmd" };
	json_t *args = json_array(), *item;
	size_t i;

	for (size_t part = 0; part < 2; part++) {
		json_array_foreach (document_at(record, parts[part]), i, item)
			(void)json_array_append(args, item);
	}
	if (json_array_size(args) == 0 || !*json_string_value(json_array_get(args, 0))) {
		json_decref(args);
		return error_set(err, EINVAL, "no command specified; the image names none: give one after its name");
	}
	(void)document_set_text(record, "Path", json_string_value(json_array_get(args, 0)));
	(void)json_array_remove(args, 0);
	return document_set(record, "Args", args);
}

static void set_host_name(json_t *record, const char *id)
{
	struct utsname host;

	if (*document_text(record, "Config.Hostname"))
		return;
	if (strcmp(document_text(record, "HostConfig.NetworkMode"), "host") == 0 ||
	    strcmp(document_text(record, "HostConfig.UTSMode"), "host") == 0) {
		if (uname(&host) == 0)
			(void)document_set_text(record, "Config.Hostname", host.nodename);
	} else {
		(void)document_set(record, "Config.Hostname", json_stringn(id, SHORT_ID_LENGTH));
	}
}

static int build_record(struct instance *instance, const struct instance_create_options *options, const char *name,
			struct error *err)
{
	char when[CLOCK_TEXT_MAX];
	json_t *record = json_deep_copy(options->document);
	int ret;

	instance->record = record;
	clock_now(when);
	(void)document_set_text(record, "Id", instance->id);
	(void)document_set_text(record, "Created", when);
	(void)document_set(record, "Name", json_sprintf("/%s", name));
	(void)document_set_text(record, "Image", options->image->id);
	(void)document_set_text(record, "Platform", "linux");
	merge_image(document_at(record, "Config"), options->image);
	set_host_name(record, instance->id);
	ret = split_command(record, err);
	if (ret == 0)
		ret = mounts_resolve(instance->engine, record, options->image, err);
	return ret;
}

/* Everything in pending/ID but the name and the lease. */
static int furnish(struct instance *instance, bool begun, struct error *err)
{
	static const char *const directories[] = { "diff", "work" };
	int ret;

	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
		if (mkdirat(instance->dir_fd, directories[i], i == 1 ? 0700 : 0755) < 0)
			return error_errno(err, errno, "cannot create %s", directories[i]);
	}
	/* The record first: should this process die, it tells which volumes are waste, too. */
	ret = instance_save(instance, err);
	if (ret == 0 && begun)
		ret = instance_mark(instance, "run", err);
	return ret == 0 ? mounts_provide(instance->engine, instance->record, err) : ret;
}

/* Removes what one entry of pending/ stands for.  Its lock must be held. */
static void waste(struct engine *engine, const char *id, const char *name, const json_t *record, bool volumes,
		  struct file_held *held)
{
	size_t i;
	json_t *mount;

	if (name)
		name_release(engine, name, id, held);
	else
		name_release_all(engine, id);
	json_array_foreach (document_at(record, "Mounts"), i, mount) {
		if (volumes && document_bool(mount, "Anonymous"))
			(void)volume_remove(engine, document_text(mount, "Name"), NULL);
	}
	(void)image_lease_drop(&engine->images, id, NULL);
	(void)file_remove_all_held(engine->pending_fd, id, held, NULL);
}

void engine_waste(struct engine *engine, const char *id)
{
	waste(engine, id, NULL, NULL, false, NULL);
}

int instance_create(struct engine *engine, const struct instance_create_options *options, struct instance *instance,
		    struct error *err)
{
	char name[INSTANCE_NAME_MAX] = "";
	int ret;

	*instance = INSTANCE_INIT;
	instance->engine = engine;
	ret = random_id(instance->id, err);
	if (ret == 0 && options->name)
		ret = name_check(options->name, err);
	if (ret < 0)
		return ret;
	instance->dir_fd = engine_make_pending(engine, instance->id, err);
	if (instance->dir_fd < 0)
		return instance->dir_fd;
	instance->locked = true;
	if (options->name) {
		ret = name_reserve(engine, options->name, instance->id, err);
		(void)snprintf(name, sizeof(name), "%s", options->name);
	} else {
		ret = name_invent(engine, instance->id, name, err);
	}
	if (ret == 0)
		ret = build_record(instance, options, name, err);
	if (ret == 0)
		ret = image_lease(&engine->images, options->image, instance->id, err);
	if (ret == 0)
		ret = furnish(instance, options->begun, err);
	if (ret == 0 && renameat(engine->pending_fd, instance->id, engine->instances_fd, instance->id) < 0)
		ret = error_errno(err, errno, "cannot create an instance");
	if (ret < 0) {
		waste(engine, instance->id, name, instance->record, true, NULL);
		instance_close(instance);
	}
	return ret;
}

int instance_rename(struct instance *instance, const char *name, struct error *err)
{
	cleanup_free char *old = strdup(instance_name(instance));
	int ret;

	if (*name == '/')
		name++;
	if (!old)
		return error_errno(err, ENOMEM, "cannot rename");
	if (strcmp(old, name) == 0)
		return error_set(err, EINVAL, "Renaming a container with the same name as its current name");
	/* Says that there may be two names, should this process die. */
	ret = instance_mark(instance, "rename", err);
	if (ret == 0)
		ret = name_reserve(instance->engine, name, instance->id, err);
	if (ret == 0) {
		(void)document_set(instance->record, "Name", json_sprintf("/%s", name));
		ret = instance_save(instance, err);
		name_release(instance->engine, ret == 0 ? old : name, instance->id, NULL);
	}
	instance_unmark(instance, "rename");
	return ret;
}

int instance_discard(struct instance *instance, bool volumes, struct error *err)
{
	struct engine *engine = instance->engine;

	/* Says to who finishes this, should this process die, that the anonymous volumes stay. */
	if (!volumes) {
		cleanup_close int mark = openat(instance->dir_fd, "keep-volumes", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		if (mark < 0)
			return error_errno(err, errno, "cannot remove instance %s", instance->id);
	}
	if (renameat(engine->instances_fd, instance->id, engine->pending_fd, instance->id) < 0)
		return error_errno(err, errno, "cannot remove instance %s", instance->id);
	waste(engine, instance->id, instance_marked(instance, "rename") ? NULL : instance_name(instance),
	      instance->record, volumes, instance->held);
	return 0;
}

/* Nobody holds it: it is left over. */
static void sweep_one(struct engine *engine, const char *id)
{
	cleanup_close int fd = openat(engine->pending_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_free char *text = NULL;
	json_t *record = NULL;
	size_t size;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	if (file_read(fd, "instance.json", 4 << 20, &text, &size, NULL) == 0)
		record = json_loadb(text, size, 0, NULL);
	waste(engine, id, NULL, record, faccessat(fd, "keep-volumes", F_OK, 0) < 0, NULL);
	json_decref(record);
}

void engine_sweep(struct engine *engine)
{
	cleanup_close int gate = openat(engine->pending_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *dir = NULL;
	struct dirent *entry;
	int fd;

	/* Whoever is just making one will be looked at next time. */
	fd = openat(engine->pending_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (gate < 0 || !dir)
		return;
	while ((entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		if (flock(gate, LOCK_EX | LOCK_NB) < 0)
			return;
		sweep_one(engine, entry->d_name);
		(void)flock(gate, LOCK_UN);
	}
}
