/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/mounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "engine/volume.h"

enum { WORD_MAX = 64 };

/* Words after the second colon of "-v", and what they stand for. */
static const struct {
	const char *word;
	enum { BIND_RW, BIND_RO, BIND_PROPAGATION, BIND_IGNORED, BIND_OPTION, BIND_NOCOPY } kind;
} bind_words[] = {
	{ "rw", BIND_RW },
	{ "ro", BIND_RO },
	{ "shared", BIND_PROPAGATION },
	{ "rshared", BIND_PROPAGATION },
	{ "slave", BIND_PROPAGATION },
	{ "rslave", BIND_PROPAGATION },
	{ "private", BIND_PROPAGATION },
	{ "rprivate", BIND_PROPAGATION },
	{ "z", BIND_IGNORED },
	{ "Z", BIND_IGNORED },
	{ "cached", BIND_IGNORED },
	{ "delegated", BIND_IGNORED },
	{ "consistent", BIND_IGNORED },
	{ "nocopy", BIND_NOCOPY },
	{ "noexec", BIND_OPTION },
	{ "nosuid", BIND_OPTION },
	{ "nodev", BIND_OPTION },
	{ "exec", BIND_OPTION },
	{ "suid", BIND_OPTION },
	{ "dev", BIND_OPTION },
	{ "bind", BIND_OPTION },
	{ "rbind", BIND_OPTION },
};

/* The parts of [SOURCE:]DESTINATION[:OPTIONS]; fresh memory. */
struct bind {
	char *source, *destination, *options; /* NULL if not given */
};

static void bind_free(struct bind *bind)
{
	free(bind->source);
	free(bind->destination);
	free(bind->options);
}

static int bind_split(const char *spec, struct bind *bind, struct error *err)
{
	const char *first = strchr(spec, ':'), *second = first ? strchr(first + 1, ':') : NULL;

	*bind = (struct bind){ .source = NULL };
	if (second && strchr(second + 1, ':'))
		return error_set(err, EINVAL, "invalid volume specification: '%s': too many colons", spec);
	if (first && (first == spec || !first[1] || first[1] == ':'))
		return error_set(err, EINVAL, "invalid volume specification: '%s': empty section between colons", spec);
	if (first && !second && first[1] != '/') {
		/* "/data:ro" */
		bind->destination = strndup(spec, (size_t)(first - spec));
		bind->options = strdup(first + 1);
	} else if (first) {
		bind->source = strndup(spec, (size_t)(first - spec));
		bind->destination = second ? strndup(first + 1, (size_t)(second - first - 1)) : strdup(first + 1);
		bind->options = second ? strdup(second + 1) : NULL;
	} else {
		bind->destination = strdup(spec);
	}
	if (!bind->destination || *bind->destination != '/')
		return error_set(err, EINVAL, "invalid volume specification: '%s': mount path must be absolute", spec);
	if (bind->destination[strspn(bind->destination, "/")] == '\0')
		return error_set(err, EINVAL, "invalid volume specification: '%s': destination can't be '/'", spec);
	return 0;
}

int mounts_check_bind(const char *spec, bool *destination_only, struct error *err)
{
	struct bind bind;
	int ret = bind_split(spec, &bind, err);

	*destination_only = ret == 0 && !bind.source;
	if (ret == 0 && bind.source && *bind.source != '/' && *bind.source != '.')
		ret = volume_name_check(bind.source, err);
	bind_free(&bind);
	return ret;
}

static int apply_bind_word(json_t *mount, const char *word, size_t length, struct error *err)
{
	for (size_t i = 0; i < sizeof(bind_words) / sizeof(*bind_words); i++) {
		const char *name = bind_words[i].word;

		if (strlen(name) != length || memcmp(name, word, length) != 0)
			continue;
		switch (bind_words[i].kind) {
		case BIND_RW:
		case BIND_RO:
			return document_set(mount, "RW", json_boolean(bind_words[i].kind == BIND_RW));
		case BIND_PROPAGATION:
			return document_set_text(mount, "Propagation", name);
		case BIND_NOCOPY:
			return document_set(mount, "NoCopy", json_true());
		case BIND_OPTION:
			return document_add(mount, "Options", json_string(name));
		case BIND_IGNORED:
			return 0;
		}
	}
	return error_set(err, EINVAL, "invalid mode: %.*s", (int)length, word);
}

static int random_name(char name[static INSTANCE_ID_LENGTH + 1], struct error *err)
{
	unsigned char bytes[INSTANCE_ID_LENGTH / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return error_errno(err, errno, "cannot make up a name");
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(name + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* A mount point with the defaults of its type; source NULL: an anonymous volume. */
static json_t *new_mount(const char *type, const char *source, const char *destination, struct error *err)
{
	cleanup_free char *clean = path_clean(destination);
	char name[INSTANCE_ID_LENGTH + 1];
	json_t *mount;

	if (!source && strcmp(type, "volume") == 0 && random_name(name, err) < 0)
		return NULL;
	mount = json_pack("{s:s,s:s,s:s,s:b,s:s}", "Type", type, "Destination", clean ? clean : destination, "Mode", "",
			  "RW", 1, "Propagation", strcmp(type, "bind") == 0 ? "rprivate" : "");
	if (strcmp(type, "volume") == 0) {
		(void)document_set_text(mount, "Name", source ? source : name);
		(void)document_set_text(mount, "Driver", "local");
		if (!source)
			(void)document_set(mount, "Anonymous", json_true());
	} else if (source) {
		(void)document_set_text(mount, "Source", source);
	}
	if (!mount)
		(void)error_errno(err, ENOMEM, "cannot describe a mount");
	return mount;
}

static json_t *mount_of_bind(const char *spec, struct error *err)
{
	struct bind bind;
	cleanup_free char *absolute = NULL;
	json_t *mount = NULL;
	int ret = bind_split(spec, &bind, err);

	if (ret == 0 && bind.source && *bind.source != '/' && *bind.source != '.')
		ret = volume_name_check(bind.source, err);
	if (ret == 0 && bind.source && *bind.source == '.')
		absolute = path_absolute(bind.source);
	if (ret == 0) {
		const char *source = absolute ? absolute : bind.source;

		mount = new_mount(source && *source == '/' ? "bind" : "volume", source, bind.destination, err);
	}
	if (mount && bind.options) {
		(void)document_set_text(mount, "Mode", bind.options);
		for (const char *word = bind.options; ret == 0 && *word;) {
			size_t length = strcspn(word, ",");

			ret = length ? apply_bind_word(mount, word, length, err) : 0;
			word += length + (word[length] == ',');
		}
	}
	bind_free(&bind);
	if (ret < 0) {
		json_decref(mount);
		return NULL;
	}
	return mount;
}

/* Keys of "--mount". */
static int apply_mount_word(json_t *mount, const char *key, const char *value, struct error *err)
{
	static const struct {
		const char *key, *path;
		enum { AS_TEXT, AS_TRUTH, AS_SIZE, AS_MODE } as;
	} keys[] = {
		{ "type", "Type", AS_TEXT },
		{ "source", "Source", AS_TEXT },
		{ "src", "Source", AS_TEXT },
		{ "target", "Target", AS_TEXT },
		{ "destination", "Target", AS_TEXT },
		{ "dst", "Target", AS_TEXT },
		{ "readonly", "ReadOnly", AS_TRUTH },
		{ "ro", "ReadOnly", AS_TRUTH },
		{ "consistency", "Consistency", AS_TEXT },
		{ "bind-propagation", "BindOptions.Propagation", AS_TEXT },
		{ "bind-nonrecursive", "BindOptions.NonRecursive", AS_TRUTH },
		{ "bind-create-src", "BindOptions.CreateMountpoint", AS_TRUTH },
		{ "volume-nocopy", "VolumeOptions.NoCopy", AS_TRUTH },
		{ "tmpfs-size", "TmpfsOptions.SizeBytes", AS_SIZE },
		{ "tmpfs-mode", "TmpfsOptions.Mode", AS_MODE },
	};
	uint64_t size;
	char *end;
	long mode;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (strcmp(keys[i].key, key) != 0)
			continue;
		switch (keys[i].as) {
		case AS_TEXT:
			return value ? document_set_text(mount, keys[i].path, value)
				     : error_set(err, EINVAL, "invalid field '%s' must be a key=value pair", key);
		case AS_TRUTH:
			if (value && strcmp(value, "true") != 0 && strcmp(value, "1") != 0 &&
			    strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
				return error_set(err, EINVAL, "invalid value for %s: %s", key, value);
			return document_set(mount, keys[i].path,
					    json_boolean(!value || *value == 't' || *value == '1'));
		case AS_SIZE:
			if (!value || str_to_size(value, &size) < 0 || size > INT64_MAX)
				return error_set(err, EINVAL, "invalid value for %s: %s", key, value ? value : "");
			return document_set(mount, keys[i].path, json_integer((json_int_t)size));
		case AS_MODE:
			mode = value ? strtol(value, &end, 8) : -1;
			if (!value || !*value || *end || mode < 0 || mode > 07777)
				return error_set(err, EINVAL, "invalid value for %s: %s", key, value ? value : "");
			return document_set(mount, keys[i].path, json_integer(mode));
		}
	}
	return error_set(err, EINVAL, "unexpected key '%s' in '%s%s%s'", key, key, value ? "=" : "",
			 value ? value : "");
}

static int check_mount(const json_t *mount, struct error *err)
{
	const char *type = document_text(mount, "Type"), *target = document_text(mount, "Target");
	const char *source = document_text(mount, "Source");

	if (strcmp(type, "bind") != 0 && strcmp(type, "volume") != 0 && strcmp(type, "tmpfs") != 0)
		return error_set(err, EINVAL, "mount type unknown: \"%s\"; known are bind, volume and tmpfs", type);
	if (*target != '/')
		return error_set(err, EINVAL, "invalid mount config for type \"%s\": %s", type,
				 *target ? "mount path must be absolute" : "field Target must not be empty");
	if (strcmp(type, "bind") == 0 && !*source)
		return error_set(err, EINVAL, "invalid mount config for type \"bind\": field Source must not be empty");
	if (strcmp(type, "volume") == 0 && *source)
		return volume_name_check(source, err);
	return 0;
}

json_t *mounts_parse(const char *spec, struct error *err)
{
	cleanup_free char *copy = strdup(spec);
	json_t *mount = json_pack("{s:s}", "Type", "volume");
	char *rest = copy, *word;
	int ret = copy && mount ? 0 : error_errno(err, ENOMEM, "cannot parse '%s'", spec);

	while (ret == 0 && (word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		ret = apply_mount_word(mount, word, value, err);
	}
	if (ret == 0)
		ret = check_mount(mount, err);
	if (ret < 0) {
		json_decref(mount);
		return NULL;
	}
	return mount;
}

/* HostConfig.Mounts' form -> record's form. */
static json_t *mount_of_object(const json_t *object, struct error *err)
{
	const char *type = document_text(object, "Type"), *source = document_text(object, "Source");
	const char *propagation = document_text(object, "BindOptions.Propagation");
	cleanup_free char *absolute = strcmp(type, "bind") == 0 ? path_absolute(source) : NULL;
	json_t *mount, *tmpfs = document_at(object, "TmpfsOptions");
	struct stat st;

	if (absolute && !document_bool(object, "BindOptions.CreateMountpoint") && stat(absolute, &st) < 0) {
		(void)error_set(err, EINVAL,
				"invalid mount config for type \"bind\": bind source path does not exist: %s", source);
		return NULL;
	}
	mount = new_mount(type, absolute ? absolute : (*source ? source : NULL), document_text(object, "Target"), err);
	if (!mount)
		return NULL;
	(void)document_set(mount, "RW", json_boolean(!document_bool(object, "ReadOnly")));
	if (*propagation)
		(void)document_set_text(mount, "Propagation", propagation);
	if (document_bool(object, "BindOptions.NonRecursive"))
		(void)document_add(mount, "Options", json_string("bind"));
	if (document_bool(object, "VolumeOptions.NoCopy"))
		(void)document_set(mount, "NoCopy", json_true());
	if (document_at(tmpfs, "SizeBytes"))
		(void)document_add(mount, "Options",
				   json_sprintf("size=%" JSON_INTEGER_FORMAT, document_int(tmpfs, "SizeBytes")));
	if (document_at(tmpfs, "Mode"))
		(void)document_add(mount, "Options", json_sprintf("mode=%o", (unsigned)document_int(tmpfs, "Mode")));
	return mount;
}

/* "--tmpfs /run:size=64m,exec" */
static json_t *mount_of_tmpfs(const char *destination, const char *options, struct error *err)
{
	json_t *mount = new_mount("tmpfs", NULL, destination, err);

	for (const char *word = options; mount && *word;) {
		size_t length = strcspn(word, ",");

		if (length == 2 && memcmp(word, "ro", 2) == 0)
			(void)document_set(mount, "RW", json_false());
		else if (length && !(length == 2 && memcmp(word, "rw", 2) == 0))
			(void)document_add(mount, "Options", json_stringn(word, length));
		word += length + (word[length] == ',');
	}
	return mount;
}

static bool has_destination(const json_t *list, const char *destination)
{
	size_t i;
	json_t *mount;

	json_array_foreach ((json_t *)(uintptr_t)list, i, mount) {
		if (strcmp(document_text(mount, "Destination"), destination) == 0)
			return true;
	}
	return false;
}

static int add_mount(json_t *list, json_t *mount, struct error *err)
{
	const char *destination = document_text(mount, "Destination");

	if (!mount)
		return err ? -err->code : -EINVAL;
	if (*destination != '/' || strcmp(destination, "/") == 0 || has_destination(list, destination)) {
		(void)error_set(err, EINVAL,
				has_destination(list, destination) ? "Duplicate mount point: %s"
								   : "invalid mount point: %s; give an absolute path",
				destination);
		json_decref(mount);
		return -EINVAL;
	}
	return json_array_append_new(list, mount) < 0 ? error_errno(err, ENOMEM, "cannot describe a mount") : 0;
}

/* Volumes that the image or a "-v /path" asks for: only where nothing else is mounted. */
static int add_anonymous(json_t *list, const char *destination, struct error *err)
{
	cleanup_free char *clean = path_clean(destination);

	if (!clean || has_destination(list, clean))
		return 0;
	return add_mount(list, new_mount("volume", NULL, destination, err), err);
}

int mounts_resolve(struct engine *engine, json_t *record, const struct image *image, struct error *err)
{
	json_t *list = json_array(), *item;
	const char *key;
	size_t i;
	int ret = 0;

	json_array_foreach (document_at(record, "HostConfig.Binds"), i, item) {
		if (ret == 0)
			ret = add_mount(list, mount_of_bind(json_string_value(item), err), err);
	}
	json_array_foreach (document_at(record, "HostConfig.Mounts"), i, item) {
		if (ret == 0)
			ret = add_mount(list, mount_of_object(item, err), err);
	}
	json_object_foreach (document_at(record, "HostConfig.Tmpfs"), key, item) {
		if (ret == 0)
			ret = add_mount(list, mount_of_tmpfs(key, json_string_value(item), err), err);
	}
	json_object_foreach (document_at(record, "Config.Volumes"), key, item) {
		if (ret == 0)
			ret = add_anonymous(list, key, err);
	}
	for (i = 0; ret == 0 && i < image->config.config.volumes.count; i++)
		ret = add_anonymous(list, image->config.config.volumes.items[i], err);
	if (ret < 0) {
		json_decref(list);
		return ret;
	}
	json_array_foreach (list, i, item) {
		if (strcmp(document_text(item, "Type"), "volume") == 0) {
			cleanup_free char *path = volume_path(engine, document_text(item, "Name"));

			(void)document_set_text(item, "Source", path ? path : "");
		}
	}
	return document_set(record, "Mounts", list);
}

int mounts_provide(struct engine *engine, const json_t *record, struct error *err)
{
	size_t i;
	json_t *mount;

	json_array_foreach (document_at(record, "Mounts"), i, mount) {
		const char *type = document_text(mount, "Type"), *source = document_text(mount, "Source");
		struct stat st;
		int ret = 0;

		if (strcmp(type, "volume") == 0) {
			ret = volume_ensure(engine, document_text(mount, "Name"), err);
		} else if (strcmp(type, "bind") == 0 && stat(source, &st) < 0 && errno == ENOENT) {
			ret = file_mkdir_all(AT_FDCWD, source, 0755, err);
			if (ret < 0)
				(void)error_wrap(err, "error while creating mount source path '%s'", source);
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}
