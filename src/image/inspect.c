/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is, for people and scripts: docker's inspect object, and its history. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "image/content.h"
#include "image/image.h"
#include "image/intake.h"

static bool put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

static bool put_text(json_t *object, const char *key, const char *text)
{
	return put(object, key, json_string(text ? text : ""));
}

/* docker shows what is not there as null, and scripts rely on it. */
static json_t *strings(const struct oci_strings *list)
{
	json_t *array = list->count ? json_array() : json_null();

	for (size_t i = 0; i < list->count; i++)
		(void)json_array_append_new(array, json_string(list->items[i]));
	return array;
}

static json_t *string_set(const struct oci_strings *list)
{
	json_t *object = list->count ? json_object() : json_null();

	for (size_t i = 0; i < list->count; i++)
		(void)put(object, list->items[i], json_object());
	return object;
}

static json_t *pairs(const struct oci_pairs *list)
{
	json_t *object = list->count ? json_object() : json_null();

	for (size_t i = 0; i < list->count; i++)
		(void)put(object, list->items[i].key, json_string(list->items[i].value));
	return object;
}

static json_t *healthcheck(const struct oci_healthcheck *check)
{
	json_t *object = json_object();

	(void)put(object, "Test", strings(&check->test));
	if (check->interval)
		(void)put(object, "Interval", json_integer(check->interval));
	if (check->timeout)
		(void)put(object, "Timeout", json_integer(check->timeout));
	if (check->start_period)
		(void)put(object, "StartPeriod", json_integer(check->start_period));
	if (check->retries)
		(void)put(object, "Retries", json_integer(check->retries));
	return object;
}

static json_t *execution(const struct oci_image_config *image)
{
	json_t *object = json_object();

	(void)put_text(object, "User", image->config.user);
	if (image->config.exposed_ports.count)
		(void)put(object, "ExposedPorts", string_set(&image->config.exposed_ports));
	(void)put(object, "Env", strings(&image->config.env));
	(void)put(object, "Cmd", strings(&image->config.cmd));
	if (image->config.healthcheck.set)
		(void)put(object, "Healthcheck", healthcheck(&image->config.healthcheck));
	(void)put(object, "Volumes", string_set(&image->config.volumes));
	(void)put_text(object, "WorkingDir", image->config.working_dir);
	(void)put(object, "Entrypoint", strings(&image->config.entrypoint));
	(void)put(object, "OnBuild", strings(&image->config.on_build));
	(void)put(object, "Labels", pairs(&image->config.labels));
	if (image->config.stop_signal)
		(void)put_text(object, "StopSignal", image->config.stop_signal);
	if (image->config.shell.count)
		(void)put(object, "Shell", strings(&image->config.shell));
	return object;
}

static json_t *repo_tags(const struct image *image)
{
	json_t *array = json_array();

	for (size_t i = 0; i < image->names_count; i++)
		(void)json_array_append_new(array, json_string(image_reference_familiar(image->names[i])));
	return array;
}

/* "NAME@DIGEST" for each different name without its tag. */
static json_t *repo_digests(const struct image *image)
{
	json_t *array = json_array();
	char before[REFERENCE_MAX] = "";

	for (size_t i = 0; i < image->names_count; i++) {
		const char *familiar = image_reference_familiar(image->names[i]);
		const char *tag = strrchr(familiar, ':');
		char name[REFERENCE_MAX], text[REFERENCE_MAX + OCI_DIGEST_MAX + 1];

		(void)snprintf(name, sizeof(name), "%.*s", (int)(tag ? tag - familiar : (long)strlen(familiar)),
			       familiar);
		if (strcmp(name, before) == 0)
			continue;
		memcpy(before, name, sizeof(before));
		(void)snprintf(text, sizeof(text), "%s@%s", name, image->digest);
		(void)json_array_append_new(array, json_string(text));
	}
	return array;
}

static json_t *rootfs(const struct image *image)
{
	json_t *object = json_object();

	(void)put_text(object, "Type", "layers");
	(void)put(object, "Layers", strings(&image->config.diff_ids));
	return object;
}

/* Where the layers are unpacked, as docker tells it of its overlay driver; topmost first. */
static json_t *graph_driver(const struct image_store *store, const struct image *image)
{
	json_t *object = json_object(), *data = json_object();
	cleanup_str struct str lower = STR_INIT;

	for (size_t i = image->config.diff_ids.count; i > 0; i--) {
		char path[STORE_PATH_MAX];

		store_snapshot_path(image->chain_ids[i - 1], path);
		str_printf(&lower, "%s%s/%s/fs", lower.length ? ":" : "", store->root, path);
	}
	(void)put(data, "LowerDir", json_string(str_text(&lower)));
	(void)put_text(object, "Name", "overlay");
	(void)put(object, "Data", data);
	return object;
}

/* What the unpacking of the layers could not do here. */
static json_t *omissions(const struct image_store *store, const struct image *image)
{
	struct layer_result sum = { .devices = 0 };
	json_t *object = json_object();

	for (size_t i = 0; i < image->config.diff_ids.count; i++) {
		struct layer_result meta;

		if (snapshot_meta_read(store, image->chain_ids[i], &meta, NULL) < 0)
			continue;
		sum.devices += meta.devices;
		sum.owners += meta.owners;
		sum.attributes += meta.attributes;
	}
	(void)put(object, "SkippedDevices", json_integer((json_int_t)sum.devices));
	(void)put(object, "ChangedOwners", json_integer((json_int_t)sum.owners));
	(void)put(object, "SkippedAttributes", json_integer((json_int_t)sum.attributes));
	return object;
}

int image_inspect(struct image_store *store, const struct image *image, char **json, struct error *err)
{
	const struct oci_image_config *config = &image->config;
	json_t *object = json_object();
	const char *comment = config->history_count ? config->history[config->history_count - 1].comment : NULL;
	bool whole = put_text(object, "Id", image->id) && put(object, "RepoTags", repo_tags(image)) &&
		     put(object, "RepoDigests", repo_digests(image)) && put_text(object, "Parent", "") &&
		     put_text(object, "Comment", comment) && put_text(object, "Created", config->created) &&
		     put_text(object, "Author", config->author) && put(object, "Config", execution(config)) &&
		     put_text(object, "Architecture", config->platform.architecture) &&
		     put_text(object, "Os", config->platform.os) &&
		     put(object, "Size", json_integer((json_int_t)image->size)) &&
		     put(object, "GraphDriver", graph_driver(store, image)) && put(object, "RootFS", rootfs(image)) &&
		     put(object, "Unpacking", omissions(store, image));

	if (whole && config->platform.variant)
		whole = put_text(object, "Variant", config->platform.variant);
	*json = whole ? json_dumps(object, JSON_INDENT(4)) : NULL;
	json_decref(object);
	return *json ? 0 : error_errno(err, ENOMEM, "cannot inspect image");
}

int image_history(struct image_store *store, const struct image *image, struct image_history_row **rows, size_t *count,
		  struct error *err)
{
	const struct oci_image_config *config = &image->config;
	/* A config without a history still has its layers to show. */
	const size_t total = config->history_count ? config->history_count : config->diff_ids.count;
	size_t layer = 0;

	*count = 0;
	*rows = calloc(total + 1, sizeof(**rows));
	if (!*rows)
		return error_errno(err, ENOMEM, "cannot read history");
	for (size_t i = 0; i < total; i++) {
		static const struct oci_history nothing = { .created = NULL };
		const struct oci_history *entry = config->history_count ? &config->history[i] : &nothing;
		struct image_history_row *row = &(*rows)[total - 1 - i];
		struct layer_result meta;

		row->id = i == total - 1 ? image->id : "<missing>";
		row->created = entry->created ? entry->created : "";
		row->created_by = entry->created_by ? entry->created_by : "";
		row->comment = entry->comment ? entry->comment : "";
		if (!entry->empty_layer && layer < config->diff_ids.count &&
		    snapshot_meta_read(store, image->chain_ids[layer++], &meta, NULL) == 0)
			row->size = meta.size;
	}
	*count = total;
	return 0;
}
