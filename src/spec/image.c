/* SPDX-License-Identifier: Apache-2.0 */
#include "spec/image.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/str.h"

/* What every step of parsing needs: where memory comes from, and where complaints go. */
struct reader {
	struct arena *arena;
	struct error *err;
};

/* "manifests[3].digest" while a document is walked; the longest one that a complaint shows. */
enum { WHERE_MAX = 200 };

static void cleanup_json_fn(json_t **json)
{
	json_decref(*json);
}
#define cleanup_json __attribute__((cleanup(cleanup_json_fn)))

static int no_memory(struct reader *reader)
{
	return error_errno(reader->err, ENOMEM, "cannot parse");
}

static int wrong_type(struct reader *reader, const char *where, const char *key, const char *expected)
{
	return error_set(reader->err, EINVAL, "%s%s: expected %s", where, key, expected);
}

static json_t *load_json(const char *json, size_t size, struct error *err)
{
	json_error_t json_error;
	json_t *root;

	if (size > OCI_DOCUMENT_MAX) {
		(void)error_set(err, EINVAL, "document of %zu bytes is larger than %d", size, OCI_DOCUMENT_MAX);
		return NULL;
	}
	root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &json_error);
	if (!root)
		(void)error_set(err, EINVAL, "not valid JSON: line %d, column %d: %s", json_error.line,
				json_error.column, json_error.text);
	return root;
}

/* A property; NULL when it is missing or null (Go writes empty slices and maps so). */
static const json_t *get(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

static int read_string(struct reader *reader, const json_t *object, const char *where, const char *key,
		       const char **text)
{
	const json_t *value = get(object, key);

	if (!value)
		return 0;
	if (!json_is_string(value))
		return wrong_type(reader, where, key, "a string");
	*text = arena_strdup(reader->arena, json_string_value(value));
	return *text ? 0 : no_memory(reader);
}

/* "" means the same as nothing at all. */
static int read_word(struct reader *reader, const json_t *object, const char *where, const char *key, const char **text)
{
	int ret = read_string(reader, object, where, key, text);

	if (ret == 0 && *text && !**text)
		*text = NULL;
	return ret;
}

static int read_int(struct reader *reader, const json_t *object, const char *where, const char *key, int64_t *number)
{
	const json_t *value = get(object, key);

	if (!value)
		return 0;
	if (!json_is_integer(value))
		return wrong_type(reader, where, key, "an integer");
	*number = json_integer_value(value);
	return 0;
}

static int read_bool(struct reader *reader, const json_t *object, const char *where, const char *key, bool *truth)
{
	const json_t *value = get(object, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return wrong_type(reader, where, key, "true or false");
	*truth = json_is_true(value);
	return 0;
}

static int new_strings(struct reader *reader, size_t count, struct oci_strings *strings)
{
	strings->items = arena_alloc(reader->arena, count + 1, sizeof(*strings->items));
	if (!strings->items)
		return no_memory(reader);
	strings->count = count;
	return 0;
}

/* An array of strings; with or_one a single string stands for an array of one, as docker reads Cmd and Entrypoint. */
static int read_strings_or(struct reader *reader, const json_t *object, const char *where, const char *key, bool or_one,
			   struct oci_strings *strings)
{
	const json_t *value = get(object, key);
	bool one = or_one && json_is_string(value);

	if (!value)
		return 0;
	if (!json_is_array(value) && !one)
		return wrong_type(reader, where, key, "an array of strings");
	if (new_strings(reader, one ? 1 : json_array_size(value), strings) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < strings->count; i++) {
		const json_t *item = one ? value : json_array_get(value, i);

		if (!json_is_string(item))
			return wrong_type(reader, where, key, "an array of strings");
		strings->items[i] = arena_strdup(reader->arena, json_string_value(item));
		if (!strings->items[i])
			return no_memory(reader);
	}
	return 0;
}

static int read_strings(struct reader *reader, const json_t *object, const char *where, const char *key,
			struct oci_strings *strings)
{
	return read_strings_or(reader, object, where, key, false, strings);
}

/* The keys of an object: Go's way to write a set (ExposedPorts, Volumes). */
static int read_set(struct reader *reader, const json_t *object, const char *where, const char *key,
		    struct oci_strings *strings)
{
	json_t *value = json_object_get(object, key), *ignored;
	const char *name;
	size_t i = 0;

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_object(value))
		return wrong_type(reader, where, key, "an object");
	if (new_strings(reader, json_object_size(value), strings) < 0)
		return -ENOMEM;
	json_object_foreach (value, name, ignored) {
		strings->items[i] = arena_strdup(reader->arena, name);
		if (!strings->items[i++])
			return no_memory(reader);
	}
	return 0;
}

static int read_pairs(struct reader *reader, const json_t *object, const char *where, const char *key,
		      struct oci_pairs *pairs)
{
	json_t *value = json_object_get(object, key), *item;
	const char *name;
	size_t i = 0;

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_object(value))
		return wrong_type(reader, where, key, "an object of strings");
	pairs->items = arena_alloc(reader->arena, json_object_size(value) + 1, sizeof(*pairs->items));
	if (!pairs->items)
		return no_memory(reader);
	pairs->count = json_object_size(value);
	json_object_foreach (value, name, item) {
		if (!json_is_string(item))
			return wrong_type(reader, where, key, "an object of strings");
		pairs->items[i].key = arena_strdup(reader->arena, name);
		pairs->items[i].value = arena_strdup(reader->arena, json_string_value(item));
		if (!pairs->items[i].key || !pairs->items[i].value)
			return no_memory(reader);
		i++;
	}
	return 0;
}

bool oci_digest_valid(const char *digest)
{
	static const struct {
		const char *prefix;
		size_t digits;
	} algorithms[] = { { "sha256:", 64 }, { "sha512:", 128 } };

	for (size_t i = 0; i < sizeof(algorithms) / sizeof(*algorithms); i++) {
		if (!str_starts(digest, algorithms[i].prefix))
			continue;
		digest += strlen(algorithms[i].prefix);
		return strlen(digest) == algorithms[i].digits &&
		       strspn(digest, "0123456789abcdef") == algorithms[i].digits;
	}
	return false;
}

static int read_digest(struct reader *reader, const json_t *object, const char *where, const char **digest)
{
	int ret = read_string(reader, object, where, "digest", digest);

	if (ret < 0)
		return ret;
	if (!*digest)
		return error_set(reader->err, EINVAL, "%sdigest: missing", where);
	if (!oci_digest_valid(*digest))
		return error_set(reader->err, EINVAL, "%sdigest: \"%.140s\" is not a sha256 or sha512 digest", where,
				 *digest);
	return 0;
}

static int read_platform(struct reader *reader, const json_t *object, const char *where, struct oci_platform *platform)
{
	int ret;

	if ((ret = read_word(reader, object, where, "os", &platform->os)) < 0 ||
	    (ret = read_word(reader, object, where, "architecture", &platform->architecture)) < 0 ||
	    (ret = read_word(reader, object, where, "variant", &platform->variant)) < 0 ||
	    (ret = read_word(reader, object, where, "os.version", &platform->os_version)) < 0)
		return ret;
	return 0;
}

static int read_descriptor(struct reader *reader, const json_t *object, const char *where,
			   struct oci_descriptor *descriptor)
{
	const json_t *platform = get(object, "platform");
	int64_t size = -1;
	int ret;

	if (!json_is_object(object))
		return wrong_type(reader, where, "", "a descriptor");
	if (platform && !json_is_object(platform))
		return wrong_type(reader, where, "platform", "an object");
	if ((ret = read_digest(reader, object, where, &descriptor->digest)) < 0 ||
	    (ret = read_int(reader, object, where, "size", &size)) < 0 ||
	    (ret = read_word(reader, object, where, "mediaType", &descriptor->media_type)) < 0 ||
	    (ret = read_word(reader, object, where, "artifactType", &descriptor->artifact_type)) < 0 ||
	    (ret = read_pairs(reader, object, where, "annotations", &descriptor->annotations)) < 0 ||
	    (ret = read_platform(reader, platform, where, &descriptor->platform)) < 0)
		return ret;
	if (size < 0)
		return error_set(reader->err, EINVAL, "%ssize: missing or negative", where);
	if (!descriptor->media_type)
		return error_set(reader->err, EINVAL, "%smediaType: missing", where);
	descriptor->size = (uint64_t)size;
	return 0;
}

static int read_descriptors(struct reader *reader, const json_t *object, const char *key,
			    struct oci_descriptor **descriptors, size_t *count)
{
	const json_t *array = get(object, key);

	if (!json_is_array(array))
		return wrong_type(reader, "", key, "an array of descriptors");
	*count = json_array_size(array);
	*descriptors = arena_alloc(reader->arena, *count + 1, sizeof(**descriptors));
	if (!*descriptors)
		return no_memory(reader);
	for (size_t i = 0; i < *count; i++) {
		char where[WHERE_MAX];
		int ret;

		(void)snprintf(where, sizeof(where), "%s[%zu].", key, i);
		ret = read_descriptor(reader, json_array_get(array, i), where, &(*descriptors)[i]);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Does the document have one of the properties of another kind of document? */
static const char *foreign_property(const json_t *root, const char *const *foreign)
{
	for (; *foreign; foreign++)
		if (json_object_get(root, *foreign))
			return *foreign;
	return NULL;
}

/* CVE-2021-41190: a document that can be read as two kinds has two meanings under one digest. */
static int check_kind(struct reader *reader, const json_t *root, const char *name, const char *const *types,
		      const char *const *foreign)
{
	const char *media_type = NULL, *property;
	int64_t version = -1;
	int ret;

	if (!json_is_object(root))
		return wrong_type(reader, "", name, "an object");
	if ((ret = read_int(reader, root, "", "schemaVersion", &version)) < 0 ||
	    (ret = read_word(reader, root, "", "mediaType", &media_type)) < 0)
		return ret;
	if (version != 2)
		return error_set(reader->err, EINVAL, "schemaVersion: must be 2 in an %s", name);
	property = foreign_property(root, foreign);
	if (property)
		return error_set(reader->err, EINVAL, "an %s must not have \"%s\": the document is ambiguous", name,
				 property);
	for (; media_type && *types; types++)
		if (strcmp(media_type, *types) == 0)
			return 0;
	return media_type
		       ? error_set(reader->err, EINVAL, "mediaType: \"%.100s\" is not that of an %s", media_type, name)
		       : 0;
}

static const char *const index_types[] = { OCI_MEDIA_INDEX, DOCKER_MEDIA_LIST, NULL };
static const char *const index_foreign[] = { "layers", "config", "fsLayers", NULL };
static const char *const manifest_types[] = { OCI_MEDIA_MANIFEST, DOCKER_MEDIA_MANIFEST, NULL };
static const char *const manifest_foreign[] = { "manifests", "fsLayers", NULL };

int oci_index_parse(const char *json, size_t size, struct oci_index *index, struct error *err)
{
	cleanup_json json_t *root = load_json(json, size, err);
	struct reader reader = { .arena = &index->arena, .err = err };
	int ret;

	memset(index, 0, sizeof(*index));
	if (!root)
		return -EINVAL;
	ret = check_kind(&reader, root, "image index", index_types, index_foreign);
	if (ret == 0)
		ret = read_descriptors(&reader, root, "manifests", &index->manifests, &index->manifests_count);
	if (ret == 0)
		ret = read_pairs(&reader, root, "", "annotations", &index->annotations);
	if (ret < 0)
		oci_index_free(index);
	return ret;
}

int oci_manifest_parse(const char *json, size_t size, struct oci_manifest *manifest, struct error *err)
{
	cleanup_json json_t *root = load_json(json, size, err);
	struct reader reader = { .arena = &manifest->arena, .err = err };
	int ret;

	memset(manifest, 0, sizeof(*manifest));
	if (!root)
		return -EINVAL;
	ret = check_kind(&reader, root, "image manifest", manifest_types, manifest_foreign);
	if (ret == 0)
		ret = read_descriptor(&reader, get(root, "config"), "config.", &manifest->config);
	if (ret == 0)
		ret = read_descriptors(&reader, root, "layers", &manifest->layers, &manifest->layers_count);
	if (ret == 0)
		ret = read_word(&reader, root, "", "mediaType", &manifest->media_type);
	if (ret == 0)
		ret = read_word(&reader, root, "", "artifactType", &manifest->artifact_type);
	if (ret == 0)
		ret = read_pairs(&reader, root, "", "annotations", &manifest->annotations);
	if (ret < 0)
		oci_manifest_free(manifest);
	return ret;
}

int oci_document_kind(const char *json, size_t size, enum oci_document *kind, struct error *err)
{
	cleanup_json json_t *root = load_json(json, size, err);
	struct arena arena = { .head = NULL };
	struct reader reader = { .arena = &arena, .err = err };
	int ret;

	if (!root)
		return -EINVAL;
	*kind = json_object_get(root, "manifests") ? OCI_DOCUMENT_INDEX : OCI_DOCUMENT_MANIFEST;
	if (*kind == OCI_DOCUMENT_INDEX)
		ret = check_kind(&reader, root, "image index", index_types, index_foreign);
	else
		ret = check_kind(&reader, root, "image manifest", manifest_types, manifest_foreign);
	arena_free(&arena);
	return ret;
}

static int read_healthcheck(struct reader *reader, const json_t *config, struct oci_healthcheck *check)
{
	static const char where[] = "config.Healthcheck.";
	const json_t *object = get(config, "Healthcheck");
	int ret;

	if (!object)
		return 0;
	if (!json_is_object(object))
		return wrong_type(reader, "config.", "Healthcheck", "an object");
	check->set = true;
	if ((ret = read_strings(reader, object, where, "Test", &check->test)) < 0 ||
	    (ret = read_int(reader, object, where, "Interval", &check->interval)) < 0 ||
	    (ret = read_int(reader, object, where, "Timeout", &check->timeout)) < 0 ||
	    (ret = read_int(reader, object, where, "StartPeriod", &check->start_period)) < 0 ||
	    (ret = read_int(reader, object, where, "Retries", &check->retries)) < 0)
		return ret;
	return 0;
}

static int read_execution(struct reader *reader, const json_t *root, struct oci_image_config *image)
{
	static const char where[] = "config.";
	const json_t *config = get(root, "config");
	int ret;

	if (!config)
		return 0;
	if (!json_is_object(config))
		return wrong_type(reader, "", "config", "an object");
	image->config.entrypoint_set = get(config, "Entrypoint");
	image->config.cmd_set = get(config, "Cmd");
	if ((ret = read_word(reader, config, where, "User", &image->config.user)) < 0 ||
	    (ret = read_word(reader, config, where, "WorkingDir", &image->config.working_dir)) < 0 ||
	    (ret = read_word(reader, config, where, "StopSignal", &image->config.stop_signal)) < 0 ||
	    (ret = read_strings_or(reader, config, where, "Entrypoint", true, &image->config.entrypoint)) < 0 ||
	    (ret = read_strings_or(reader, config, where, "Cmd", true, &image->config.cmd)) < 0 ||
	    (ret = read_strings(reader, config, where, "Env", &image->config.env)) < 0 ||
	    (ret = read_set(reader, config, where, "ExposedPorts", &image->config.exposed_ports)) < 0 ||
	    (ret = read_set(reader, config, where, "Volumes", &image->config.volumes)) < 0 ||
	    (ret = read_strings(reader, config, where, "OnBuild", &image->config.on_build)) < 0 ||
	    (ret = read_strings_or(reader, config, where, "Shell", true, &image->config.shell)) < 0 ||
	    (ret = read_pairs(reader, config, where, "Labels", &image->config.labels)) < 0)
		return ret;
	return read_healthcheck(reader, config, &image->config.healthcheck);
}

static int read_rootfs(struct reader *reader, const json_t *root, struct oci_strings *diff_ids)
{
	const json_t *rootfs = get(root, "rootfs");
	const char *type = NULL;
	int ret;

	if (!json_is_object(rootfs))
		return wrong_type(reader, "", "rootfs", "an object");
	if ((ret = read_string(reader, rootfs, "rootfs.", "type", &type)) < 0 ||
	    (ret = read_strings(reader, rootfs, "rootfs.", "diff_ids", diff_ids)) < 0)
		return ret;
	if (!type || strcmp(type, "layers") != 0)
		return error_set(reader->err, EINVAL, "rootfs.type: must be \"layers\"");
	for (size_t i = 0; i < diff_ids->count; i++)
		if (!oci_digest_valid(diff_ids->items[i]))
			return error_set(reader->err, EINVAL, "rootfs.diff_ids[%zu]: not a sha256 or sha512 digest", i);
	return 0;
}

static int read_history(struct reader *reader, const json_t *root, struct oci_image_config *image)
{
	const json_t *array = get(root, "history");

	if (!array)
		return 0;
	if (!json_is_array(array))
		return wrong_type(reader, "", "history", "an array");
	image->history_count = json_array_size(array);
	image->history = arena_alloc(reader->arena, image->history_count + 1, sizeof(*image->history));
	if (!image->history)
		return no_memory(reader);
	for (size_t i = 0; i < image->history_count; i++) {
		const json_t *item = json_array_get(array, i);
		struct oci_history *entry = &image->history[i];
		char where[WHERE_MAX];
		int ret;

		(void)snprintf(where, sizeof(where), "history[%zu].", i);
		if (!json_is_object(item))
			return wrong_type(reader, where, "", "an object");
		if ((ret = read_string(reader, item, where, "created", &entry->created)) < 0 ||
		    (ret = read_string(reader, item, where, "created_by", &entry->created_by)) < 0 ||
		    (ret = read_string(reader, item, where, "author", &entry->author)) < 0 ||
		    (ret = read_string(reader, item, where, "comment", &entry->comment)) < 0 ||
		    (ret = read_bool(reader, item, where, "empty_layer", &entry->empty_layer)) < 0)
			return ret;
	}
	return 0;
}

int oci_image_config_parse(const char *json, size_t size, struct oci_image_config *config, struct error *err)
{
	static const char *const foreign[] = { "manifests", "layers", "fsLayers", NULL };
	cleanup_json json_t *root = load_json(json, size, err);
	struct reader reader = { .arena = &config->arena, .err = err };
	const char *property;
	int ret;

	memset(config, 0, sizeof(*config));
	if (!root)
		return -EINVAL;
	if (!json_is_object(root))
		return wrong_type(&reader, "", "image config", "an object");
	property = foreign_property(root, foreign);
	if (property)
		return error_set(err, EINVAL, "an image config must not have \"%s\": the document is ambiguous",
				 property);
	if ((ret = read_word(&reader, root, "", "created", &config->created)) < 0 ||
	    (ret = read_word(&reader, root, "", "author", &config->author)) < 0 ||
	    (ret = read_platform(&reader, root, "", &config->platform)) < 0 ||
	    (ret = read_execution(&reader, root, config)) < 0 ||
	    (ret = read_rootfs(&reader, root, &config->diff_ids)) < 0 ||
	    (ret = read_history(&reader, root, config)) < 0)
		oci_image_config_free(config);
	return ret;
}

static int read_docker_archive(struct reader *reader, const json_t *root, struct docker_archive *archive)
{
	if (!json_is_array(root))
		return wrong_type(reader, "", "manifest.json", "an array");
	archive->images_count = json_array_size(root);
	archive->images = arena_alloc(reader->arena, archive->images_count + 1, sizeof(*archive->images));
	if (!archive->images)
		return no_memory(reader);
	for (size_t i = 0; i < archive->images_count; i++) {
		const json_t *item = json_array_get(root, i);
		struct docker_archive_image *image = &archive->images[i];
		char where[WHERE_MAX];
		int ret;

		(void)snprintf(where, sizeof(where), "[%zu].", i);
		if (!json_is_object(item))
			return wrong_type(reader, where, "", "an object");
		if ((ret = read_word(reader, item, where, "Config", &image->config)) < 0 ||
		    (ret = read_strings(reader, item, where, "RepoTags", &image->repo_tags)) < 0 ||
		    (ret = read_strings(reader, item, where, "Layers", &image->layers)) < 0)
			return ret;
		if (!image->config)
			return error_set(reader->err, EINVAL, "%sConfig: missing", where);
	}
	return 0;
}

int docker_archive_parse(const char *json, size_t size, struct docker_archive *archive, struct error *err)
{
	cleanup_json json_t *root = load_json(json, size, err);
	struct reader reader = { .arena = &archive->arena, .err = err };
	int ret;

	memset(archive, 0, sizeof(*archive));
	if (!root)
		return -EINVAL;
	ret = read_docker_archive(&reader, root, archive);
	if (ret < 0)
		docker_archive_free(archive);
	return ret;
}

int oci_layout_check(const char *json, size_t size, struct error *err)
{
	cleanup_json json_t *root = load_json(json, size, err);
	const char *version = json_string_value(json_object_get(root, "imageLayoutVersion"));

	if (!root)
		return -EINVAL;
	if (!version || !str_starts(version, "1."))
		return error_set(err, EINVAL, "imageLayoutVersion: expected 1.x.y, got %.20s",
				 version ? version : "none");
	return 0;
}

void oci_index_free(struct oci_index *index)
{
	arena_free(&index->arena);
	memset(index, 0, sizeof(*index));
}

void oci_manifest_free(struct oci_manifest *manifest)
{
	arena_free(&manifest->arena);
	memset(manifest, 0, sizeof(*manifest));
}

void oci_image_config_free(struct oci_image_config *config)
{
	arena_free(&config->arena);
	memset(config, 0, sizeof(*config));
}

void docker_archive_free(struct docker_archive *archive)
{
	arena_free(&archive->arena);
	memset(archive, 0, sizeof(*archive));
}

const char *oci_pairs_get(const struct oci_pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->count; i++)
		if (strcmp(pairs->items[i].key, key) == 0)
			return pairs->items[i].value;
	return NULL;
}

const char *oci_host_architecture(void)
{
#if defined(__x86_64__)
	return "amd64";
#elif defined(__aarch64__)
	return "arm64";
#elif defined(__i386__)
	return "386";
#elif defined(__arm__)
	return "arm";
#elif defined(__riscv) && __riscv_xlen == 64
	return "riscv64";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
	return "ppc64le";
#elif defined(__s390x__)
	return "s390x";
#elif defined(__loongarch64)
	return "loong64";
#else
#error "which name has this architecture in the image specification?"
#endif
}
