/* SPDX-License-Identifier: Apache-2.0 */
/* caisson snapshot ... */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/caisson/caisson.h"
#include "engine/snapshot.h"

struct snapshot_flags {
	const char *format;
	bool quiet;
};

static const struct cli_option ls_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct snapshot_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	OPT_SWITCH("quiet", 'q', struct snapshot_flags, quiet, "Only names"),
	{ .name = NULL },
};

static int create_snapshot(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct engine *engine;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	if (instance_open(engine, operands[0], INSTANCE_LOCK, &instance, &err) < 0 ||
	    snapshot_create(&instance, operands[1], &err) < 0)
		return program_fail(cli, &err, 1);
	(void)fprintf(cli->out, "%s\n", operands[1]);
	return 0;
}

static int list_snapshots(struct cli *cli, int argc, char **argv)
{
	static const struct format_heading headings[] = { { "Name", "NAME" },
							  { "Instance", "CONTAINER" },
							  { "Image", "IMAGE" },
							  { "Isolation", "ISOLATION" },
							  { "CreatedAt", "CREATED" },
							  { "Size", "SIZE" },
							  { NULL, NULL } };
	struct snapshot_flags flags = { .quiet = false };
	cleanup_json json_t *rows = NULL;
	struct engine *engine;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;
	size_t i;
	json_t *row;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	rows = engine ? snapshot_list(engine, &err) : NULL;
	if (!rows)
		return engine ? program_fail(cli, &err, 1) : 1;
	json_array_foreach (rows, i, row) {
		char size[16];

		format_size((uint64_t)document_int(row, "Bytes"), size);
		(void)json_object_set_new(row, "Size", json_string(size));
		(void)json_object_del(row, "Bytes");
	}
	return show_rows(
		cli,
		&(struct format){ .format = flags.format,
				  .table = "{{.Name}}\t{{.Instance}}\t{{.Image}}\t{{.Isolation}}\t{{.CreatedAt}}"
					   "\t{{.Size}}",
				  .quiet = flags.quiet ? "{{.Name}}" : NULL,
				  .headings = headings },
		rows);
}

static int remove_snapshots(struct cli *cli, int argc, char **argv)
{
	struct engine *engine;
	char **operands;
	int count, code, failed = 0;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	for (int i = 0; engine && i < count; i++) {
		struct error err = ERROR_INIT;

		if (snapshot_remove(engine, operands[i], &err) < 0)
			failed = program_fail(cli, &err, 1);
		else
			(void)fprintf(cli->out, "%s\n", operands[i]);
	}
	return engine ? failed : 1;
}

const struct command snapshot_commands[] = {
	{ .name = "create",
	  .operands = "CONTAINER SNAPSHOT",
	  .summary = "Save a running machine, memory and disk",
	  .complete = "instance-running",
	  .min_operands = 2,
	  .max_operands = 2,
	  .run = create_snapshot,
	  .details = "The instance stands still meanwhile, and goes on.\n\n"
		     "Examples:\n"
		     "  caisson run -d --name web --isolation pv busybox httpd -f\n"
		     "  caisson snapshot create web warm\n"
		     "  caisson run --from-snapshot warm" },
	{ .name = "ls",
	  .alias = "list",
	  .operands = "[OPTIONS]",
	  .summary = "List snapshots",
	  .options = ls_options,
	  .run = list_snapshots,
	  .details = "Examples:\n"
		     "  caisson snapshot ls -q" },
	{ .name = "rm",
	  .alias = "remove",
	  .operands = "SNAPSHOT [SNAPSHOT...]",
	  .summary = "Remove snapshots",
	  .complete = "snapshot",
	  .min_operands = 1,
	  .max_operands = -1,
	  .run = remove_snapshots,
	  .details = "Instances that began there are not touched.\n\n"
		     "Examples:\n"
		     "  caisson snapshot rm warm" },
	{ .name = NULL },
};
