/* SPDX-License-Identifier: Apache-2.0 */
/* caisson info, version, system df, system prune */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "cli/template.h"
#include "engine/recover.h"
#include "linux/cgroup.h"
#include "runtime/paradigms.h"

struct format_flags {
	const char *format;
	bool force, all, volumes;
};

const struct cli_option format_option[] = {
	OPT_VALUE(OPTION_STRING, "format", 'f', "string", "json", struct format_flags, format,
		  "json, or a Go template"),
	{ .name = NULL },
};

static bool parse(struct cli *cli, void *flags, int argc, char **argv, int *code)
{
	char **operands;
	int count;

	return cli_parse(cli, flags, argc, argv, &operands, &count, code);
}

/* Through the user's template, or as "Key: value" lines. */
static int show_object(struct cli *cli, const char *format, json_t *object)
{
	cleanup_free char *template = format ? format_unescape(format) : NULL;
	cleanup_str struct str out = STR_INIT;
	struct error err = ERROR_INIT;
	const char *key;
	json_t *value;

	if (template) {
		if (template_render(strcmp(template, "json") == 0 ? "{{json .}}" : template, object, &out, &err) < 0)
			return program_fail(cli, &err, 1);
		(void)fprintf(cli->out, "%s\n", str_text(&out));
		return 0;
	}
	json_object_foreach (object, key, value) {
		str_printf(&out, "%s: ", key);
		template_print(value, &out);
		str_append(&out, "\n");
	}
	(void)fputs(str_text(&out), cli->out);
	return 0;
}

int version_command(struct cli *cli, int argc, char **argv)
{
	struct format_flags flags = { .format = NULL };
	cleanup_json json_t *object = NULL;
	struct utsname host;
	int code;

	if (!parse(cli, &flags, argc, argv, &code))
		return code;
	(void)uname(&host);
	object = json_pack("{s:s,s:s,s:s,s:s,s:s}", "Version", CAISSON_VERSION, "OCIVersion", "1.2.0", "Os", "linux",
			   "Arch", oci_host_architecture(), "KernelVersion", host.release);
	return show_object(cli, flags.format, object);
}

static void count_instances(struct engine *engine, int counts[static INSTANCE_LOST + 1])
{
	char **ids;
	size_t known;

	if (instance_ids(engine, &ids, &known, NULL) < 0)
		return;
	for (size_t i = 0; i < known; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;
		struct instance_state state;

		if (instance_open(engine, ids[i], 0, &instance, NULL) == 0 &&
		    instance_look(&instance, &state, NULL) == 0)
			counts[state.status]++;
	}
	runtime_ids_free(ids, known);
}

static const char *cgroup_version(struct engine *engine)
{
	struct cgroup_host host;
	const char *name = "none";

	(void)engine;
	if (cgroup_host_read(&host, NULL) == 0) {
		static const char *const names[] = {
			[CGROUP_V1] = "1", [CGROUP_HYBRID] = "1 (hybrid)", [CGROUP_V2] = "2"
		};

		if (host.count)
			name = names[host.layout];
		cgroup_host_free(&host);
	}
	return name;
}

/* What can isolate an instance here, and how; or why not. */
static json_t *describe_isolation(void)
{
	json_t *object = json_object();

	for (size_t i = 0; paradigms_all[i]; i++) {
		cleanup_str struct str engine = STR_INIT;
		struct error err = ERROR_INIT;
		int ret = paradigms_all[i]->probe(&engine, &err);

		(void)json_object_set_new(object, paradigms_all[i]->name,
					  ret < 0 ? json_sprintf("no: %s", err.text) : json_string(str_text(&engine)));
	}
	return object;
}

int info_command(struct cli *cli, int argc, char **argv)
{
	struct format_flags flags = { .format = NULL };
	cleanup_json json_t *object = NULL;
	int counts[INSTANCE_LOST + 1] = { 0 }, total = 0, code;
	struct image *images = NULL;
	size_t images_count = 0;
	struct engine *engine;
	struct utsname host;
	struct sysinfo memory;

	if (!parse(cli, &flags, argc, argv, &code))
		return code;
	engine = program_engine(cli);
	if (!engine)
		return 1;
	count_instances(engine, counts);
	for (int i = 0; i <= INSTANCE_LOST; i++)
		total += counts[i];
	if (image_list(&engine->images, &images, &images_count, NULL) == 0)
		image_list_free(images, images_count);
	(void)uname(&host);
	(void)sysinfo(&memory);
	object = json_pack("{s:i,s:i,s:i,s:i,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:I,s:b}", "Containers", total,
			   "ContainersRunning", counts[INSTANCE_RUNNING], "ContainersPaused", counts[INSTANCE_PAUSED],
			   "ContainersStopped", total - counts[INSTANCE_RUNNING] - counts[INSTANCE_PAUSED], "Images",
			   (json_int_t)images_count, "Driver", "overlay", "LoggingDriver", "json-file", "CgroupDriver",
			   "cgroupfs", "CgroupVersion", cgroup_version(engine), "ServerVersion", CAISSON_VERSION,
			   "KernelVersion", host.release, "DockerRootDir", engine->images.root, "Name", host.nodename,
			   "NCPU", get_nprocs(), "MemTotal", (json_int_t)memory.totalram * memory.mem_unit, "Rootless",
			   engine->images.rootless);
	(void)json_object_set_new(object, "Isolation", describe_isolation());
	return show_object(cli, flags.format, object);
}

static const struct cli_option system_prune_options[] = {
	OPT_SWITCH("all", 'a', struct format_flags, all,
		   "Remove every image without an instance, not only nameless ones"),
	OPT_SWITCH("force", 'f', struct format_flags, force, "Do not ask"),
	{ .name = NULL },
};

static int system_prune(struct cli *cli, int argc, char **argv)
{
	struct format_flags flags = { .force = false };
	struct image_report report = IMAGE_REPORT_INIT;
	char yes[] = "-f", word[] = "prune", *prune_argv[] = { word, yes, NULL };
	struct engine *engine;
	struct error err = ERROR_INIT;
	char size[16];
	int code;

	if (!parse(cli, &flags, argc, argv, &code))
		return code;
	if (!flags.force)
		return program_say(cli, 1, "this removes all stopped instances and %s images; say -f to do it",
				   flags.all ? "unused" : "nameless");
	engine = program_engine(cli);
	if (!engine)
		return 1;
	(void)prune_command(cli, 2, prune_argv);
	code = image_prune(&engine->images, flags.all ? IMAGE_PRUNE_ALL : 0, &report, &err) < 0
		       ? program_fail(cli, &err, 1)
		       : 0;
	format_size(report.reclaimed, size);
	(void)fprintf(cli->out, "%sTotal reclaimed space: %s\n", str_text(&report.lines), size);
	image_report_free(&report);
	return code;
}

const struct command system_commands[] = {
	{ .name = "df",
	  .operands = "[OPTIONS]",
	  .summary = "Show how much disk the store takes",
	  .options = df_options,
	  .run = df_command,
	  .details = "Examples:\n"
		     "  caisson system df" },
	{ .name = "info",
	  .operands = "[OPTIONS]",
	  .summary = "Show what the engine and the host are",
	  .options = format_option,
	  .run = info_command,
	  .details = "Examples:\n"
		     "  caisson system info -f '{{.CgroupVersion}}'" },
	{ .name = "prune",
	  .operands = "[OPTIONS]",
	  .summary = "Remove stopped instances and unused images",
	  .options = system_prune_options,
	  .run = system_prune,
	  .details = "Examples:\n"
		     "  caisson system prune -f" },
	{ .name = NULL },
};
