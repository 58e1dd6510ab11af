/* SPDX-License-Identifier: Apache-2.0 */
/* caisson completion SHELL, and caisson __complete WORD..., which its scripts call. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/caisson/caisson.h"
#include "cli/complete.h"
#include "engine/snapshot.h"
#include "engine/state.h"
#include "engine/volume.h"
#include "image/kernel.h"
#include "image/reference.h"

enum { DIGEST_PREFIX = sizeof("sha256:") - 1 };

int completion_command(struct cli *cli, int argc, char **argv)
{
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	if (completion_script(cli->out, "caisson", operands[0], &err) == 0)
		return 0;
	(void)cli_usage_error(cli, "%s", err.text);
	return cli->usage_error;
}

static bool is_of_kind(const struct instance_state *state, const char *kind)
{
	if (strcmp(kind, "instance-running") == 0)
		return state->status == INSTANCE_RUNNING;
	if (strcmp(kind, "instance-paused") == 0)
		return state->status == INSTANCE_PAUSED;
	return strcmp(kind, "instance-stopped") != 0 || !instance_state_alive(state);
}

/* By name; by id once somebody has begun to type one. */
static void offer_instances(struct completion *completion, struct engine *engine, const char *kind)
{
	char **ids, text[SHORT_ID_LENGTH + 1];
	size_t count;

	if (instance_ids(engine, &ids, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;
		struct instance_state state;

		/* Not instance_look(): pressing a key must not settle anything. */
		if (instance_open(engine, ids[i], 0, &instance, NULL) < 0 ||
		    instance_state_read(&instance, &state, NULL) < 0 || !is_of_kind(&state, kind))
			continue;
		completion_offer(completion, instance_name(&instance), document_text(instance.record, "Config.Image"));
		(void)snprintf(text, sizeof(text), "%s", ids[i]);
		if (completion->current[completion->prefix_length])
			completion_offer(completion, text, instance_name(&instance));
	}
	runtime_ids_free(ids, count);
}

static void offer_images(struct completion *completion, struct engine *engine)
{
	struct image *images = NULL;
	size_t count = 0;

	if (image_list(&engine->images, &images, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		char id[SHORT_ID_LENGTH + 1];

		(void)snprintf(id, sizeof(id), "%s",
			       strlen(images[i].id) > DIGEST_PREFIX ? images[i].id + DIGEST_PREFIX : "");
		for (size_t j = 0; j < images[i].names_count; j++)
			completion_offer(completion, image_reference_familiar(images[i].names[j]), id);
		if (completion->current[completion->prefix_length] || images[i].names_count == 0)
			completion_offer(completion, id,
					 images[i].names_count ? image_reference_familiar(images[i].names[0])
							       : "<none>");
	}
	image_list_free(images, count);
}

static void offer_volumes(struct completion *completion, struct engine *engine)
{
	char **names;
	size_t count;

	if (volume_list(engine, &names, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		completion_offer(completion, names[i], NULL);
	runtime_ids_free(names, count);
}

static void offer_kernels(struct completion *completion, struct engine *engine)
{
	struct kernel_record *records;
	size_t count;

	if (kernel_list(&engine->images, &records, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		completion_offer(completion, records[i].name, records[i].source);
	kernel_list_free(records, count);
}

static void offer_snapshots(struct completion *completion, struct engine *engine)
{
	cleanup_json json_t *list = snapshot_list(engine, NULL);
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item)
		completion_offer(completion, document_text(item, "Name"), document_text(item, "Instance"));
}

static void offer(struct completion *completion, const char *kind)
{
	struct program *program = program_of(completion->cli);
	struct engine *engine;

	program->root = program->flags.root && *program->flags.root ? program->flags.root : NULL;
	/* Pressing a key makes no store. */
	engine = program->root && access(program->root, F_OK) < 0 ? NULL : program_engine(completion->cli);
	if (!engine)
		return;
	if (strcmp(kind, "image") == 0)
		offer_images(completion, engine);
	else if (strcmp(kind, "volume") == 0)
		offer_volumes(completion, engine);
	else if (strcmp(kind, "kernel") == 0)
		offer_kernels(completion, engine);
	else if (strcmp(kind, "snapshot") == 0)
		offer_snapshots(completion, engine);
	else
		offer_instances(completion, engine, kind);
}

int complete_command(struct cli *cli, int argc, char **argv)
{
	struct completion completion = { .cli = cli, .globals = &program_of(cli)->flags, .source = offer };

	completion_answer(&completion, argv + 1, argc - 1);
	return 0;
}
