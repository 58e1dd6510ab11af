/* SPDX-License-Identifier: Apache-2.0 */
/* caisson volume ... */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/caisson/caisson.h"
#include "engine/volume.h"

struct volume_flags {
	bool quiet, force, all;
	const char *format;
};

static const struct cli_option ls_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct volume_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	OPT_SWITCH("quiet", 'q', struct volume_flags, quiet, "Only names"),
	{ .name = NULL },
};

/* Which instance has it, or NULL; fresh memory. */
static char *user_of(struct engine *engine, const char *volume)
{
	char **ids, *user = NULL;
	size_t count, j;

	if (instance_ids(engine, &ids, &count, NULL) < 0)
		return NULL;
	for (size_t i = 0; !user && i < count; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;
		json_t *mount;

		if (instance_open(engine, ids[i], 0, &instance, NULL) < 0)
			continue;
		json_array_foreach (document_at(instance.record, "Mounts"), j, mount) {
			if (!user && strcmp(document_text(mount, "Name"), volume) == 0)
				user = strdup(instance_name(&instance));
		}
	}
	runtime_ids_free(ids, count);
	return user;
}

static int list_volumes(struct cli *cli, int argc, char **argv)
{
	static const struct format_heading headings[] = { { "Driver", "DRIVER" },
							  { "Name", "VOLUME NAME" },
							  { NULL, NULL } };
	struct volume_flags flags = { .quiet = false };
	cleanup_json json_t *rows = json_array();
	struct engine *engine;
	struct error err = ERROR_INIT;
	char **operands, **names = NULL;
	size_t known = 0;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine || volume_list(engine, &names, &known, &err) < 0)
		return engine ? program_fail(cli, &err, 1) : 1;
	for (size_t i = 0; i < known; i++) {
		cleanup_free char *path = volume_path(engine, names[i]);

		(void)json_array_append_new(rows, json_pack("{s:s,s:s,s:s,s:s}", "Driver", "local", "Name", names[i],
							    "Mountpoint", path ? path : "", "Scope", "local"));
	}
	runtime_ids_free(names, known);
	return show_rows(cli,
			 &(struct format){ .format = flags.format,
					   .table = "{{.Driver}}\t{{.Name}}",
					   .quiet = flags.quiet ? "{{.Name}}" : NULL,
					   .headings = headings },
			 rows);
}

static int create_volume(struct cli *cli, int argc, char **argv)
{
	struct engine *engine;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	if (volume_name_check(operands[0], &err) < 0 || volume_ensure(engine, operands[0], &err) < 0)
		return program_fail(cli, &err, 1);
	(void)fprintf(cli->out, "%s\n", operands[0]);
	return 0;
}

static int remove_volumes(struct cli *cli, int argc, char **argv)
{
	struct engine *engine;
	char **operands;
	int count, code, failed = 0;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	for (int i = 0; engine && i < count; i++) {
		cleanup_free char *user = user_of(engine, operands[i]);
		struct error err = ERROR_INIT;

		if (volume_name_check(operands[i], &err) < 0)
			failed = program_fail(cli, &err, 1);
		else if (!volume_exists(engine, operands[i]))
			failed = program_say(cli, 1,
					     "get %s: no such volume; `caisson volume ls` lists those there are",
					     operands[i]);
		else if (user)
			failed = program_say(cli, 1, "remove %s: volume is in use by %s; remove that first",
					     operands[i], user);
		else if (volume_remove(engine, operands[i], &err) < 0)
			failed = program_fail(cli, &err, 1);
		else
			(void)fprintf(cli->out, "%s\n", operands[i]);
	}
	return engine ? failed : 1;
}

static int inspect_volumes(struct cli *cli, int argc, char **argv)
{
	cleanup_json json_t *list = json_array();
	cleanup_free char *text = NULL;
	struct engine *engine;
	char **operands;
	int count, code, failed = 0;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	for (int i = 0; engine && i < count; i++) {
		cleanup_free char *path = volume_path(engine, operands[i]);

		if (volume_name_check(operands[i], NULL) < 0 || !volume_exists(engine, operands[i]))
			failed = program_say(cli, 1,
					     "get %s: no such volume; `caisson volume ls` lists those there are",
					     operands[i]);
		else
			(void)json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s}", "Name", operands[i], "Driver",
								    "local", "Mountpoint", path ? path : "", "Scope",
								    "local"));
	}
	text = json_dumps(list, JSON_INDENT(4));
	(void)fprintf(cli->out, "%s\n", text ? text : "[]");
	return engine ? failed : 1;
}

static int prune_volumes(struct cli *cli, int argc, char **argv)
{
	struct volume_flags flags = { .force = false };
	struct engine *engine;
	struct error err = ERROR_INIT;
	char **operands, **names = NULL;
	size_t known = 0;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (!flags.force)
		return program_say(cli, 1, "this removes all volumes that no instance has; say -f to do it");
	engine = program_engine(cli);
	if (!engine || volume_list(engine, &names, &known, &err) < 0)
		return engine ? program_fail(cli, &err, 1) : 1;
	for (size_t i = 0; i < known; i++) {
		cleanup_free char *user = user_of(engine, names[i]);

		if (!user && volume_remove(engine, names[i], NULL) == 0)
			(void)fprintf(cli->out, "%s\n", names[i]);
	}
	runtime_ids_free(names, known);
	return 0;
}

static const struct cli_option volume_prune_options[] = {
	OPT_SWITCH("all", 'a', struct volume_flags, all, "Named volumes, too (they always are)"),
	OPT_SWITCH("force", 'f', struct volume_flags, force, "Do not ask"),
	{ .name = NULL },
};

const struct command volume_commands[] = {
	{ .name = "create",
	  .operands = "VOLUME",
	  .summary = "Create a volume",
	  .min_operands = 1,
	  .max_operands = 1,
	  .run = create_volume,
	  .details = "Examples:\n"
		     "  caisson volume create data" },
	{ .name = "inspect",
	  .operands = "VOLUME [VOLUME...]",
	  .summary = "Show all that is known of volumes",
	  .complete = "volume",
	  .min_operands = 1,
	  .max_operands = -1,
	  .run = inspect_volumes,
	  .details = "Examples:\n"
		     "  caisson volume inspect data" },
	{ .name = "ls",
	  .alias = "list",
	  .operands = "[OPTIONS]",
	  .summary = "List volumes",
	  .options = ls_options,
	  .run = list_volumes,
	  .details = "Examples:\n"
		     "  caisson volume ls -q" },
	{ .name = "prune",
	  .operands = "[OPTIONS]",
	  .summary = "Remove volumes that no instance has",
	  .options = volume_prune_options,
	  .run = prune_volumes,
	  .details = "Examples:\n"
		     "  caisson volume prune -f" },
	{ .name = "rm",
	  .alias = "remove",
	  .operands = "VOLUME [VOLUME...]",
	  .summary = "Remove volumes",
	  .complete = "volume",
	  .min_operands = 1,
	  .max_operands = -1,
	  .run = remove_volumes,
	  .details = "Examples:\n"
		     "  caisson volume rm data" },
	{ .name = NULL },
};
