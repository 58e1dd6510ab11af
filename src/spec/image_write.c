/* SPDX-License-Identifier: Apache-2.0 */
/* The image documents as JSON: the other half of spec/image.h. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "spec/image.h"

/*
 * Each of these adds key to object unless the value is NULL or empty.  jansson
 * remembers no failure, so each returns whether it worked, and a document that
 * lacks a piece is never written.
 */
static bool put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

static bool put_string(json_t *object, const char *key, const char *text)
{
	return !text || put(object, key, json_string(text));
}

static bool put_int(json_t *object, const char *key, int64_t number)
{
	return number == 0 || put(object, key, json_integer(number));
}

static json_t *strings_json(const struct oci_strings *strings)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < strings->count; i++) {
		if (json_array_append_new(array, json_string(strings->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static bool put_strings(json_t *object, const char *key, const struct oci_strings *strings, bool even_empty)
{
	return (strings->count == 0 && !even_empty) || put(object, key, strings_json(strings));
}

static bool put_set(json_t *object, const char *key, const struct oci_strings *strings)
{
	json_t *set;

	if (strings->count == 0)
		return true;
	set = json_object();
	for (size_t i = 0; set && i < strings->count; i++) {
		if (!put(set, strings->items[i], json_object())) {
			json_decref(set);
			return false;
		}
	}
	return put(object, key, set);
}

static bool put_pairs(json_t *object, const char *key, const struct oci_pairs *pairs)
{
	json_t *map;

	if (pairs->count == 0)
		return true;
	map = json_object();
	for (size_t i = 0; map && i < pairs->count; i++) {
		if (!put(map, pairs->items[i].key, json_string(pairs->items[i].value))) {
			json_decref(map);
			return false;
		}
	}
	return put(object, key, map);
}

/* The result, or NULL when a piece is missing; takes the object. */
static json_t *finish(json_t *object, bool whole)
{
	if (whole)
		return object;
	json_decref(object);
	return NULL;
}

static char *print(json_t *document)
{
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;

	json_decref(document);
	return text;
}

static bool put_platform(json_t *object, const struct oci_platform *platform)
{
	return put_string(object, "architecture", platform->architecture) && put_string(object, "os", platform->os) &&
	       put_string(object, "os.version", platform->os_version) &&
	       put_string(object, "variant", platform->variant);
}

static json_t *platform_json(const struct oci_platform *platform)
{
	json_t *object = json_object();

	return finish(object, put_platform(object, platform));
}

static json_t *descriptor_json(const struct oci_descriptor *descriptor)
{
	json_t *object = json_object();

	return finish(object, put_string(object, "mediaType", descriptor->media_type) &&
				      put_string(object, "artifactType", descriptor->artifact_type) &&
				      put_string(object, "digest", descriptor->digest) &&
				      put(object, "size", json_integer((json_int_t)descriptor->size)) &&
				      put_pairs(object, "annotations", &descriptor->annotations) &&
				      (!descriptor->platform.os ||
				       put(object, "platform", platform_json(&descriptor->platform))));
}

static json_t *descriptors_json(const struct oci_descriptor *descriptors, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < count; i++) {
		if (json_array_append_new(array, descriptor_json(&descriptors[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

char *oci_index_json(const struct oci_index *index)
{
	json_t *object = json_object();

	return print(finish(
		object, put(object, "schemaVersion", json_integer(2)) &&
				put_string(object, "mediaType", OCI_MEDIA_INDEX) &&
				put(object, "manifests", descriptors_json(index->manifests, index->manifests_count)) &&
				put_pairs(object, "annotations", &index->annotations)));
}

char *oci_manifest_json(const struct oci_manifest *manifest)
{
	json_t *object = json_object();

	return print(finish(object,
			    put(object, "schemaVersion", json_integer(2)) &&
				    put_string(object, "mediaType",
					       manifest->media_type ? manifest->media_type : OCI_MEDIA_MANIFEST) &&
				    put_string(object, "artifactType", manifest->artifact_type) &&
				    put(object, "config", descriptor_json(&manifest->config)) &&
				    put(object, "layers", descriptors_json(manifest->layers, manifest->layers_count)) &&
				    put_pairs(object, "annotations", &manifest->annotations)));
}

static json_t *healthcheck_json(const struct oci_healthcheck *check)
{
	json_t *object = json_object();

	return finish(object, put_strings(object, "Test", &check->test, false) &&
				      put_int(object, "Interval", check->interval) &&
				      put_int(object, "Timeout", check->timeout) &&
				      put_int(object, "StartPeriod", check->start_period) &&
				      put_int(object, "Retries", check->retries));
}

static json_t *execution_json(const struct oci_image_config *image)
{
	json_t *object = json_object();

	return finish(object, put_string(object, "User", image->config.user) &&
				      put_set(object, "ExposedPorts", &image->config.exposed_ports) &&
				      put_strings(object, "Env", &image->config.env, false) &&
				      put_strings(object, "Entrypoint", &image->config.entrypoint,
						  image->config.entrypoint_set) &&
				      put_strings(object, "Cmd", &image->config.cmd, image->config.cmd_set) &&
				      (!image->config.healthcheck.set ||
				       put(object, "Healthcheck", healthcheck_json(&image->config.healthcheck))) &&
				      put_set(object, "Volumes", &image->config.volumes) &&
				      put_string(object, "WorkingDir", image->config.working_dir) &&
				      put_strings(object, "OnBuild", &image->config.on_build, false) &&
				      put_pairs(object, "Labels", &image->config.labels) &&
				      put_string(object, "StopSignal", image->config.stop_signal) &&
				      put_strings(object, "Shell", &image->config.shell, false));
}

static json_t *rootfs_json(const struct oci_strings *diff_ids)
{
	json_t *object = json_object();

	return finish(object, put_string(object, "type", "layers") && put_strings(object, "diff_ids", diff_ids, true));
}

static json_t *history_json(const struct oci_image_config *image)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < image->history_count; i++) {
		const struct oci_history *entry = &image->history[i];
		json_t *object = json_object();

		object = finish(object, put_string(object, "created", entry->created) &&
						put_string(object, "created_by", entry->created_by) &&
						put_string(object, "author", entry->author) &&
						put_string(object, "comment", entry->comment) &&
						(!entry->empty_layer || put(object, "empty_layer", json_true())));
		if (json_array_append_new(array, object) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

char *oci_image_config_json(const struct oci_image_config *image)
{
	json_t *object = json_object();

	return print(
		finish(object,
		       put_string(object, "created", image->created) && put_string(object, "author", image->author) &&
			       put_platform(object, &image->platform) && put(object, "config", execution_json(image)) &&
			       put(object, "rootfs", rootfs_json(&image->diff_ids)) &&
			       (image->history_count == 0 || put(object, "history", history_json(image)))));
}

char *docker_archive_json(const struct docker_archive *archive)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < archive->images_count; i++) {
		const struct docker_archive_image *image = &archive->images[i];
		json_t *object = json_object();

		object = finish(object, put_string(object, "Config", image->config) &&
						put_strings(object, "RepoTags", &image->repo_tags, true) &&
						put_strings(object, "Layers", &image->layers, true));
		if (json_array_append_new(array, object) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return print(array);
}
