/* SPDX-License-Identifier: Apache-2.0 */
/* caisson kernel ... */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cli/caisson/caisson.h"
#include "cli/caisson/progress.h"
#include "image/kernel.h"

struct kernel_flags {
	const char *format, *name, *modules;
	bool quiet, make_default;
};

static const struct cli_option ls_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct kernel_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	OPT_SWITCH("quiet", 'q', struct kernel_flags, quiet, "Only names"),
	{ .name = NULL },
};

static const struct cli_option add_options[] = {
	OPT_SWITCH("default", 0, struct kernel_flags, make_default, "Make it the one that machines boot"),
	OPT_VALUE(OPTION_STRING, "modules", 0, "directory", "dir", struct kernel_flags, modules,
		  "Its modules (lib/modules/VERSION), for a kernel that is a file"),
	OPT_STRING("name", 0, "string", struct kernel_flags, name, "Name to give it, instead of its version"),
	OPT_SWITCH("quiet", 'q', struct kernel_flags, quiet, "No progress"),
	{ .name = NULL },
};

static const struct cli_option fetch_options[] = {
	OPT_SWITCH("default", 0, struct kernel_flags, make_default, "Make it the one that machines boot"),
	OPT_STRING("name", 0, "string", struct kernel_flags, name, "Name to give it, instead of its version"),
	OPT_SWITCH("quiet", 'q', struct kernel_flags, quiet, "No progress"),
	{ .name = NULL },
};

static json_t *row_of(const struct kernel_record *record)
{
	char size[16], created[64];

	format_size(record->size, size);
	image_created_text(record->added, created);
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Name", record->name, "Version", record->version, "Format",
			 record->unpacked ? "vmlinux" : "bzImage", "Size", size, "Created", created, "Source",
			 record->source, "Default", record->is_default ? "true" : "false");
}

static int list_kernels(struct cli *cli, int argc, char **argv)
{
	static const struct format_heading headings[] = { { "Name", "NAME" },	    { "Version", "VERSION" },
							  { "Default", "DEFAULT" }, { "Format", "FORMAT" },
							  { "Size", "SIZE" },	    { "Created", "ADDED" },
							  { "Source", "SOURCE" },   { NULL, NULL } };
	struct kernel_flags flags = { .quiet = false };
	cleanup_json json_t *rows = json_array();
	struct kernel_record *records = NULL;
	struct engine *engine;
	struct error err = ERROR_INIT;
	char **operands;
	size_t known = 0;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine || kernel_list(&engine->images, &records, &known, &err) < 0)
		return engine ? program_fail(cli, &err, 1) : 1;
	for (size_t i = 0; i < known; i++)
		(void)json_array_append_new(rows, row_of(&records[i]));
	kernel_list_free(records, known);
	return show_rows(cli,
			 &(struct format){ .format = flags.format,
					   .table = "{{.Name}}\t{{.Default}}\t{{.Format}}\t{{.Size}}\t{{.Created}}",
					   .quiet = flags.quiet ? "{{.Name}}" : NULL,
					   .headings = headings },
			 rows);
}

static int print_added(struct cli *cli, int ret, const struct kernel_added *added, const struct error *err)
{
	if (ret < 0)
		return program_fail(cli, err, 1);
	if (*added->notice)
		(void)program_say(cli, 0, "%s: %s", added->name, added->notice);
	(void)fprintf(cli->out, "%s\n", added->name);
	return 0;
}

static int add_kernel(struct cli *cli, int argc, char **argv)
{
	struct kernel_flags flags = { .quiet = false };
	struct progress progress = PROGRESS_INIT;
	struct error err = ERROR_INIT;
	struct kernel_added added;
	struct engine *engine;
	char **operands;
	int count, code, ret;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	progress_watch(&progress, &engine->images, flags.quiet);
	ret = kernel_add(&engine->images, operands[0],
			 &(struct kernel_addition){
				 .name = flags.name, .modules = flags.modules, .make_default = flags.make_default },
			 &added, &err);
	progress_end(&progress, &engine->images);
	if (ret == 0 && added.existed && !flags.make_default)
		return program_say(cli, 1, "there is a kernel %s already; `caisson kernel rm %s`, or --name",
				   added.name, added.name);
	if (ret == 0 && added.existed && !flags.quiet)
		(void)program_say(cli, 0, "%s was there already", added.name);
	return print_added(cli, ret, &added, &err);
}

static int fetch_kernel(struct cli *cli, int argc, char **argv)
{
	struct kernel_flags flags = { .quiet = false };
	struct progress progress = PROGRESS_INIT;
	struct error err = ERROR_INIT;
	struct kernel_added added;
	struct engine *engine;
	char **operands;
	int count, code, ret;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	progress_watch(&progress, &engine->images, flags.quiet);
	ret = kernel_fetch(&engine->images, count > 0 ? operands[0] : NULL,
			   &(struct kernel_addition){ .name = flags.name, .make_default = flags.make_default }, &added,
			   &err);
	progress_end(&progress, &engine->images);
	if (ret == 0 && added.existed && !flags.quiet)
		(void)program_say(cli, 0, "%s was there already", added.name);
	return print_added(cli, ret, &added, &err);
}

static int remove_kernels(struct cli *cli, int argc, char **argv)
{
	struct engine *engine;
	char **operands;
	int count, code, failed = 0;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	for (int i = 0; engine && i < count; i++) {
		struct error err = ERROR_INIT;

		if (kernel_remove(&engine->images, operands[i], &err) < 0)
			failed = program_fail(cli, &err, 1);
		else
			(void)fprintf(cli->out, "%s\n", operands[i]);
	}
	return engine ? failed : 1;
}

static int print_default(struct cli *cli, struct engine *engine)
{
	struct kernel_record *records = NULL;
	struct error err = ERROR_INIT;
	size_t known = 0;
	bool found = false;

	if (kernel_list(&engine->images, &records, &known, &err) < 0)
		return program_fail(cli, &err, 1);
	for (size_t i = 0; i < known; i++) {
		if (!records[i].is_default)
			continue;
		found = true;
		(void)fprintf(cli->out, "%s\n", records[i].name);
	}
	kernel_list_free(records, known);
	return found ? 0 : program_say(cli, 1, "no guest kernel: `caisson kernel fetch` gets Debian's");
}

static int default_kernel(struct cli *cli, int argc, char **argv)
{
	struct error err = ERROR_INIT;
	struct engine *engine;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	if (count == 0)
		return print_default(cli, engine);
	if (kernel_set_default(&engine->images, operands[0], &err) < 0)
		return program_fail(cli, &err, 1);
	(void)fprintf(cli->out, "%s\n", operands[0]);
	return 0;
}

const struct command kernel_commands[] = {
	{ .name = "add",
	  .operands = "[OPTIONS] FILE|DIRECTORY",
	  .summary = "Bring in a kernel: a bzImage, a vmlinux, a Debian package, or a directory with boot/",
	  .complete = "file",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = add_options,
	  .run = add_kernel,
	  .details = "Examples:\n"
		     "  caisson kernel add linux-image-6.1.0-38-cloud-amd64_6.1.147-1_amd64.deb\n"
		     "  caisson kernel add --modules /lib/modules/6.1.147 --name mine bzImage\n"
		     "  caisson kernel add --default /" },
	{ .name = "default",
	  .operands = "[KERNEL]",
	  .summary = "Choose the kernel that machines boot, or show which it is",
	  .complete = "kernel",
	  .max_operands = 1,
	  .run = default_kernel,
	  .details = "Examples:\n"
		     "  caisson kernel default mine" },
	{ .name = "fetch",
	  .operands = "[OPTIONS] [PACKAGE]",
	  .summary = "Download the distribution's kernel for virtual machines",
	  .max_operands = 1,
	  .options = fetch_options,
	  .run = fetch_kernel,
	  .details = "PACKAGE is what linux-image-cloud-amd64 stands for, if it is not given.\n\n"
		     "Examples:\n"
		     "  caisson kernel fetch\n"
		     "  caisson kernel fetch linux-image-6.1.0-38-amd64" },
	{ .name = "ls",
	  .alias = "list",
	  .operands = "[OPTIONS]",
	  .summary = "List kernels",
	  .options = ls_options,
	  .run = list_kernels,
	  .details = "Examples:\n"
		     "  caisson kernel ls -q" },
	{ .name = "rm",
	  .alias = "remove",
	  .operands = "KERNEL [KERNEL...]",
	  .summary = "Remove kernels",
	  .complete = "kernel",
	  .min_operands = 1,
	  .max_operands = -1,
	  .run = remove_kernels,
	  .details = "Examples:\n"
		     "  caisson kernel rm 6.1.0-38-cloud-amd64" },
	{ .name = NULL },
};
