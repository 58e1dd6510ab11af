/* SPDX-License-Identifier: Apache-2.0 */
/* caisson inspect: docker's objects, whole or through a template. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "cli/caisson/usage.h"
#include "cli/template.h"
#include "engine/recover.h"

struct inspect_flags {
	const char *format, *type;
	bool size;
};

const struct cli_option inspect_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 'f', "string", "json", struct inspect_flags, format,
		  "json, or a Go template"),
	OPT_SWITCH("size", 's', struct inspect_flags, size, "Add how much the instance has written"),
	OPT_VALUE(OPTION_STRING, "type", 0, "string", "container image", struct inspect_flags, type,
		  "Only instances (container), or only images (image)"),
	{ .name = NULL },
};

static json_t *state_object(const struct instance_state *state)
{
	bool running = instance_state_alive(state) || state->status == INSTANCE_RESTARTING;

	return json_pack("{s:s,s:b,s:b,s:b,s:b,s:b,s:i,s:i,s:s,s:s,s:s}", "Status", instance_status_name(state->status),
			 "Running", running, "Paused", state->status == INSTANCE_PAUSED, "Restarting",
			 state->status == INSTANCE_RESTARTING, "OOMKilled", state->oom_killed, "Dead",
			 state->status == INSTANCE_LOST, "Pid", instance_state_alive(state) ? (int)state->pid : 0,
			 "ExitCode", state->exit_code, "Error", state->error, "StartedAt", state->started, "FinishedAt",
			 state->finished);
}

static void set_path(json_t *object, const struct instance *instance, const char *key, const char *leaf)
{
	cleanup_free char *path = instance_path(instance, leaf);

	(void)json_object_set_new(object, key, json_string(path ? path : ""));
}

static json_t *network_object(const json_t *record)
{
	const char *mode = document_text(record, "HostConfig.NetworkMode");

	return json_pack("{s:s,s:{},s:s,s:s,s:{s:{s:s,s:s}}}", "SandboxID", "", "Ports", "IPAddress", "", "MacAddress",
			 "", "Networks", mode, "IPAddress", "", "MacAddress", "");
}

json_t *inspect_instance(struct instance *instance, bool size, struct error *err)
{
	struct instance_state state;
	cleanup_free char *upper = NULL, *work = NULL;
	json_t *object;

	if (instance_look(instance, &state, err) < 0)
		return NULL;
	object = json_copy(instance->record);
	(void)json_object_del(object, "SeccompProfile");
	(void)json_object_set_new(object, "State", state_object(&state));
	(void)json_object_set_new(object, "RestartCount", json_integer(state.restarts));
	set_path(object, instance, "ResolvConfPath", "resolv.conf");
	set_path(object, instance, "HostnamePath", "hostname");
	set_path(object, instance, "HostsPath", "hosts");
	set_path(object, instance, "LogPath", "container.log");
	(void)json_object_set_new(object, "Driver", json_string("overlay"));
	(void)json_object_set_new(object, "ExecIDs", json_null());
	(void)json_object_set_new(object, "MountLabel", json_string(""));
	(void)json_object_set_new(object, "ProcessLabel", json_string(""));
	(void)json_object_set_new(object, "AppArmorProfile", json_string(""));
	upper = instance_path(instance, "diff");
	work = instance_path(instance, "work");
	(void)json_object_set_new(object, "GraphDriver",
				  json_pack("{s:s,s:{s:s,s:s}}", "Name", "overlay", "Data", "UpperDir",
					    upper ? upper : "", "WorkDir", work ? work : ""));
	(void)json_object_set_new(object, "NetworkSettings", network_object(instance->record));
	if (size)
		(void)json_object_set_new(object, "SizeRw", json_integer((json_int_t)instance_written(instance)));
	return object;
}

/* NULL with err->code ENOENT when there is no such thing. */
static json_t *inspect_image(struct engine *engine, const char *what, struct error *err)
{
	cleanup_free char *text = NULL;
	struct image image;
	int ret = image_open(&engine->images, what, &image, err);

	if (ret < 0)
		return NULL;
	ret = image_inspect(&engine->images, &image, &text, err);
	image_close(&image);
	return ret < 0 ? NULL : json_loads(text, 0, NULL);
}

static json_t *inspect_one(struct engine *engine, const char *what, const struct inspect_flags *flags,
			   struct error *err)
{
	bool images = !flags->type || strcmp(flags->type, "image") == 0;
	bool instances = !flags->type || strcmp(flags->type, "container") == 0;
	cleanup_instance struct instance instance = INSTANCE_INIT;
	int ret = instances ? instance_open(engine, what, 0, &instance, err) : -ENOENT;

	if (ret == 0)
		return inspect_instance(&instance, flags->size, err);
	if (ret != -ENOENT || !images)
		return NULL;
	err->code = 0;
	{
		json_t *object = inspect_image(engine, what, err);

		if (!object && err->code == ENOENT && instances)
			(void)error_set(err, ENOENT, "No such object: %s", what);
		return object;
	}
}

static int print_formatted(struct cli *cli, const char *format, json_t *object, struct error *err)
{
	cleanup_free char *template = format_unescape(format);
	cleanup_str struct str out = STR_INIT;
	int ret;

	if (!template)
		return error_errno(err, ENOMEM, "cannot format");
	ret = template_render(strcmp(template, "json") == 0 ? "{{json .}}" : template, object, &out, err);
	if (ret == 0)
		(void)fprintf(cli->out, "%s\n", str_text(&out));
	return ret;
}

static int inspect_all(struct cli *cli, const struct inspect_flags *flags, char **operands, int count)
{
	struct engine *engine = program_engine(cli);
	cleanup_json json_t *list = json_array();
	int failed = 0;

	if (!engine)
		return 1;
	if (flags->type && strcmp(flags->type, "image") != 0 && strcmp(flags->type, "container") != 0)
		return program_say(cli, 1, "\"%s\" is not a valid value for --type; known are container and image",
				   flags->type);
	for (int i = 0; i < count; i++) {
		struct error err = ERROR_INIT;
		cleanup_json json_t *object = inspect_one(engine, operands[i], flags, &err);

		if (!object || (flags->format && print_formatted(cli, flags->format, object, &err) < 0))
			failed = program_fail(cli, &err, 1);
		else
			(void)json_array_append(list, object);
	}
	if (!flags->format) {
		cleanup_free char *text = json_dumps(list, JSON_INDENT(4));

		(void)fprintf(cli->out, "%s\n", text ? text : "[]");
	}
	return failed;
}

static int inspect(struct cli *cli, int argc, char **argv, const char *type)
{
	struct inspect_flags flags = { .type = type };
	char **operands;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	return inspect_all(cli, &flags, operands, count);
}

int inspect_command(struct cli *cli, int argc, char **argv)
{
	return inspect(cli, argc, argv, NULL);
}

int container_inspect_command(struct cli *cli, int argc, char **argv)
{
	return inspect(cli, argc, argv, "container");
}

int image_inspect_command(struct cli *cli, int argc, char **argv)
{
	return inspect(cli, argc, argv, "image");
}
