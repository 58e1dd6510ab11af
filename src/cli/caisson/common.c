/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/caisson/caisson.h"
#include "engine/client.h"
#include "engine/lifecycle.h"
#include "engine/recover.h"

struct engine *program_engine(struct cli *cli)
{
	struct program *program = program_of(cli);
	struct error err = ERROR_INIT;

	if (!program->engine_open) {
		if (engine_open(&program->engine, program->root, &err) < 0) {
			(void)program_fail(cli, &err, 1);
			return NULL;
		}
		program->engine_open = true;
		if (program->engine.notice)
			(void)program_say(cli, 0, "%s", program->engine.notice);
	}
	return &program->engine;
}

struct launch_options program_launch_options(struct cli *cli)
{
	const struct program *program = program_of(cli);

	return (struct launch_options){ .engine = program->self, .monitor = program->monitor, .init = program->init };
}

/* What can be done about an error that comes from where no command is known. */
static const char *next_step(const struct error *err)
{
	static const struct {
		const char *words, *next;
	} steps[] = {
		{ "No such container: ", "; `caisson ps -a` lists those there are" },
		{ "No such image: ", "; `caisson images` lists those there are" },
		{ "No such object: ", "; `caisson ps -a` and `caisson images` list what there is" },
		{ " is not an image store: ", "; give an empty directory with --root" },
		{ "cannot open image store: ", "; give another directory with --root" },
		{ "invalid signal: ", "; give a name or a number of signal(7), like TERM" },
		{ "no matching entries in passwd file", "; give a number, or a user of the image" },
		{ "no matching entries in group file", "; give a number, or a group of the image" },
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		if (strstr(err->text, steps[i].words))
			return steps[i].next;
	}
	return "";
}

int program_fail(struct cli *cli, const struct error *err, int code)
{
	(void)fprintf(cli->err, "caisson: %s%s\n", err->code ? err->text : "failed", next_step(err));
	return code;
}

int program_say(struct cli *cli, int code, const char *format, ...)
{
	va_list args;

	(void)fputs("caisson: ", cli->err);
	va_start(args, format);
	(void)vfprintf(cli->err, format, args);
	va_end(args);
	(void)fputc('\n', cli->err);
	return code;
}

int open_instance(struct cli *cli, const char *what, int flags, struct instance *instance)
{
	struct engine *engine = program_engine(cli);
	struct error err = ERROR_INIT;
	int ret;

	*instance = INSTANCE_INIT;
	if (!engine)
		return -EIO;
	ret = instance_open(engine, what, flags, instance, &err);
	if (ret < 0)
		(void)program_fail(cli, &err, 1);
	return ret;
}

int for_each_instance(struct cli *cli, int flags, char **operands, int count,
		      int (*act)(struct cli *cli, struct instance *instance, void *context, struct error *err),
		      void *context)
{
	struct engine *engine = program_engine(cli);
	int failed = 0;

	if (!engine)
		return 1;
	for (int i = 0; i < count; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;
		struct error err = ERROR_INIT;
		int ret = instance_open(engine, operands[i], flags, &instance, &err);

		if (ret == 0)
			ret = act(cli, &instance, context, &err);
		if (ret == 0)
			(void)fprintf(cli->out, "%s\n", operands[i]);
		else
			failed = program_fail(cli, &err, 1);
		(void)fflush(cli->out);
	}
	return failed;
}

int show_rows(struct cli *cli, const struct format *format, json_t *rows)
{
	struct error err = ERROR_INIT;

	return format_rows(format, rows, cli->out, &err) < 0 ? program_fail(cli, &err, 1) : 0;
}

int attach_stdio(struct cli *cli, struct instance *instance, int client, const struct attach_wishes *wishes,
		 bool *detached)
{
	bool tty = document_bool(instance->record, "Config.Tty");
	bool raw = tty && wishes->input && isatty(STDIN_FILENO);
	const struct attach_options options = {
		.input = wishes->input ? STDIN_FILENO : -1,
		.output = wishes->output ? STDOUT_FILENO : -1,
		.errors = wishes->errors ? STDERR_FILENO : -1,
		.tty = raw,
		.pass_signals = wishes->pass_signals,
		.detach_keys = wishes->detach_keys ? wishes->detach_keys : "ctrl-p,ctrl-q",
	};
	struct monitor_exit ended = { .code = 0 };
	struct instance_state state;
	enum attach_result result;
	struct error err = ERROR_INIT;

	(void)fflush(cli->out);
	*detached = false;
	if (attach(instance, client, &options, &result, &ended, &err) < 0)
		return program_fail(cli, &err, 1);
	if (result == ATTACH_DETACHED) {
		*detached = true;
		if (raw)
			(void)fputs("\n", cli->err);
		return 0;
	}
	if (result == ATTACH_EXITED)
		return ended.code;
	/* The monitor was killed, or its last word did not get through: the record says which. */
	if (instance_look(instance, &state, &err) == 0 && state.status == INSTANCE_EXITED)
		return state.exit_code;
	return program_say(cli, EXIT_ENGINE, "the connection to instance %s was lost", instance_name(instance));
}
