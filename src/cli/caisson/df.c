/* SPDX-License-Identifier: Apache-2.0 */
/* caisson system df: what the store takes on disk, and how much of it could be had back. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/caisson/caisson.h"
#include "cli/caisson/usage.h"
#include "engine/document.h"
#include "engine/recover.h"
#include "engine/volume.h"

struct df_flags {
	const char *format;
};

const struct cli_option df_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct df_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	{ .name = NULL },
};

/* One line of the table. */
struct total {
	size_t count, active;
	unsigned long long bytes, idle; /* idle: of what is not active */
};

/* What instances have, by name: values do not matter. */
struct in_use {
	json_t *images, *volumes;
};

static json_t *row_of(const char *type, const struct total *total)
{
	char size[16], idle[16], share[16] = "";

	format_size(total->bytes, size);
	format_size(total->idle, idle);
	if (total->bytes > 0)
		(void)snprintf(share, sizeof(share), " (%llu%%)", total->idle * 100 / total->bytes);
	return json_pack("{s:s,s:o,s:o,s:s,s:o}", "Type", type, "TotalCount", json_sprintf("%zu", total->count),
			 "Active", json_sprintf("%zu", total->active), "Size", size, "Reclaimable",
			 json_sprintf("%s%s", idle, share));
}

static void count_instance(struct instance *instance, struct total *total, struct in_use *in_use)
{
	unsigned long long bytes = instance_written(instance);
	struct instance_state state;
	json_t *mount;
	size_t i;

	if (instance_look(instance, &state, NULL) < 0)
		return;
	total->count++;
	total->active += instance_state_alive(&state);
	total->bytes += bytes;
	total->idle += instance_state_alive(&state) ? 0 : bytes;
	(void)json_object_set_new(in_use->images, document_text(instance->record, "Image"), json_true());
	json_array_foreach (document_at(instance->record, "Mounts"), i, mount)
		(void)json_object_set_new(in_use->volumes, document_text(mount, "Name"), json_true());
}

static void count_instances(struct engine *engine, struct total *total, struct in_use *in_use)
{
	char **ids;
	size_t count;

	if (instance_ids(engine, &ids, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;

		if (instance_open(engine, ids[i], 0, &instance, NULL) == 0)
			count_instance(&instance, total, in_use);
	}
	runtime_ids_free(ids, count);
}

/* Layers that are not in `seen` yet, packed and unpacked. */
static unsigned long long new_layers(const struct image_store *store, const struct image *image, json_t *seen)
{
	unsigned long long bytes = 0;

	for (size_t i = 0; i < image->manifest.layers_count && image->chain_ids[i]; i++) {
		const char *colon = strchr(image->chain_ids[i], ':');
		char path[160];

		if (!colon || json_object_get(seen, image->chain_ids[i]))
			continue;
		(void)json_object_set_new(seen, image->chain_ids[i], json_true());
		(void)snprintf(path, sizeof(path), "snapshots/%s", colon + 1);
		bytes += tree_bytes(store->fd, path) + image->manifest.layers[i].size;
		(void)snprintf(path, sizeof(path), "disks/%s", colon + 1);
		bytes += file_bytes(store->fd, path);
	}
	return bytes;
}

static void count_images(struct image_store *store, const struct in_use *in_use, struct total *total)
{
	cleanup_json json_t *seen = json_object(), *ids = json_object();
	struct image *images = NULL;
	size_t count = 0;

	if (image_list(store, &images, &count, NULL) < 0)
		return;
	/* Layers are shared: those of images in use first, and then what others have beside them. */
	for (int active = 1; active >= 0; active--) {
		for (size_t i = 0; i < count; i++) {
			unsigned long long bytes;

			if ((json_object_get(in_use->images, images[i].id) != NULL) != active)
				continue;
			bytes = new_layers(store, &images[i], seen);
			total->bytes += bytes;
			total->idle += active ? 0 : bytes;
			total->active += active && !json_object_get(ids, images[i].id);
			total->count += !json_object_get(ids, images[i].id);
			(void)json_object_set_new(ids, images[i].id, json_true());
		}
	}
	image_list_free(images, count);
}

static void count_volumes(struct engine *engine, const struct in_use *in_use, struct total *total)
{
	char **names;
	size_t count;

	if (volume_list(engine, &names, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		unsigned long long bytes = tree_bytes(engine->volumes_fd, names[i]);
		bool active = json_object_get(in_use->volumes, names[i]) != NULL;

		total->count++;
		total->active += active;
		total->bytes += bytes;
		total->idle += active ? 0 : bytes;
	}
	runtime_ids_free(names, count);
}

int df_command(struct cli *cli, int argc, char **argv)
{
	static const struct format_heading headings[] = {
		{ "Type", "TYPE" }, { "TotalCount", "TOTAL" },	      { "Active", "ACTIVE" },
		{ "Size", "SIZE" }, { "Reclaimable", "RECLAIMABLE" }, { NULL, NULL },
	};
	struct df_flags flags = { .format = NULL };
	struct total images = { 0 }, instances = { 0 }, volumes = { 0 };
	cleanup_json json_t *rows = json_array(), *used_images = json_object(), *used_volumes = json_object();
	struct in_use in_use = { used_images, used_volumes };
	struct engine *engine;
	char **operands;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	count_instances(engine, &instances, &in_use);
	count_images(&engine->images, &in_use, &images);
	count_volumes(engine, &in_use, &volumes);
	(void)json_array_append_new(rows, row_of("Images", &images));
	(void)json_array_append_new(rows, row_of("Containers", &instances));
	(void)json_array_append_new(rows, row_of("Local Volumes", &volumes));
	return show_rows(
		cli,
		&(struct format){ .format = flags.format,
				  .table = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
				  .headings = headings },
		rows);
}
