/* SPDX-License-Identifier: Apache-2.0 */
/* caisson stop, restart, kill, pause, unpause, rm, wait, rename, prune, port, update; and settle, which the monitor
 * runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "engine/lifecycle.h"
#include "engine/recover.h"

struct stop_flags {
	int64_t timeout;
	const char *signal;
};

const struct cli_option stop_options[] = {
	OPT_VALUE(OPTION_STRING, "signal", 's', "string", "signal", struct stop_flags, signal, "Signal to send first"),
	OPT_INT("time", 't', "int", struct stop_flags, timeout, "Seconds to wait before killing it; -1: for ever"),
	OPT_INT("timeout", 0, "int", struct stop_flags, timeout, NULL),
	{ .name = NULL },
};

struct kill_flags {
	const char *signal;
};

const struct cli_option kill_options[] = {
	OPT_VALUE(OPTION_STRING, "signal", 's', "string", "signal", struct kill_flags, signal,
		  "Signal to send (SIGKILL)"),
	{ .name = NULL },
};

struct rm_flags {
	bool force, volumes;
};

const struct cli_option rm_options[] = {
	OPT_SWITCH("force", 'f', struct rm_flags, force, "Kill it first if it runs"),
	OPT_SWITCH("volumes", 'v', struct rm_flags, volumes, "Remove its anonymous volumes, too"),
	{ .name = NULL },
};

static int stop_one(struct cli *cli, struct instance *instance, void *context, struct error *err)
{
	const struct stop_flags *flags = context;

	(void)cli;
	return instance_stop(instance, (int)flags->timeout, flags->signal, err);
}

int stop_command(struct cli *cli, int argc, char **argv)
{
	struct stop_flags flags = { .timeout = INSTANCE_STOP_DEFAULT };
	char **operands;
	int count, code;

	return cli_parse(cli, &flags, argc, argv, &operands, &count, &code)
		       ? for_each_instance(cli, 0, operands, count, stop_one, &flags)
		       : code;
}

static int restart_one(struct cli *cli, struct instance *instance, void *context, struct error *err)
{
	const struct stop_flags *flags = context;
	struct launch_options options = program_launch_options(cli);
	struct instance_state state;
	int ret = instance_mark(instance, "keep", err); /* one with --rm comes back, too */

	if (ret == 0)
		ret = instance_stop(instance, (int)flags->timeout, flags->signal, err);
	if (ret < 0)
		instance_unmark(instance, "keep");
	if (ret == 0)
		ret = instance_lock(instance, err);
	if (ret == 0)
		ret = instance_look(instance, &state, err);
	if (ret < 0 || instance_state_alive(&state)) /* somebody was faster */
		return ret;
	return launch(instance, &options, NULL, err);
}

int restart_command(struct cli *cli, int argc, char **argv)
{
	struct stop_flags flags = { .timeout = INSTANCE_STOP_DEFAULT };
	char **operands;
	int count, code;

	return cli_parse(cli, &flags, argc, argv, &operands, &count, &code)
		       ? for_each_instance(cli, 0, operands, count, restart_one, &flags)
		       : code;
}

static int kill_one(struct cli *cli, struct instance *instance, void *context, struct error *err)
{
	const struct kill_flags *flags = context;

	(void)cli;
	return instance_kill(instance, flags->signal, err);
}

int kill_command(struct cli *cli, int argc, char **argv)
{
	struct kill_flags flags = { .signal = "KILL" };
	char **operands;
	int count, code;

	return cli_parse(cli, &flags, argc, argv, &operands, &count, &code)
		       ? for_each_instance(cli, 0, operands, count, kill_one, &flags)
		       : code;
}

static int pause_one(struct cli *cli, struct instance *instance, void *context, struct error *err)
{
	(void)cli;
	return instance_pause(instance, *(const bool *)context, err);
}

static int pause_or_unpause(struct cli *cli, int argc, char **argv, bool pause)
{
	char **operands;
	int count, code;

	return cli_parse(cli, NULL, argc, argv, &operands, &count, &code)
		       ? for_each_instance(cli, 0, operands, count, pause_one, &pause)
		       : code;
}

int pause_command(struct cli *cli, int argc, char **argv)
{
	return pause_or_unpause(cli, argc, argv, true);
}

int unpause_command(struct cli *cli, int argc, char **argv)
{
	return pause_or_unpause(cli, argc, argv, false);
}

static int rm_one(struct cli *cli, struct instance *instance, void *context, struct error *err)
{
	const struct rm_flags *flags = context;

	(void)cli;
	return instance_remove(instance, flags->force, flags->volumes, err);
}

/* With -f what is not there is as good as removed, but said; a record that cannot be read goes, too. */
static int force_unreadable(struct cli *cli, const char *what, struct error *err)
{
	struct engine *engine = program_engine(cli);

	if (err->code == ENOENT)
		return program_fail(cli, err, 0);
	return instance_force_out(engine, what, err) < 0 ? program_fail(cli, err, 1) : 0;
}

int rm_command(struct cli *cli, int argc, char **argv)
{
	struct rm_flags flags = { .force = false };
	struct engine *engine;
	char **operands;
	int count, code, failed = 0;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (!flags.force)
		return for_each_instance(cli, 0, operands, count, rm_one, &flags);
	engine = program_engine(cli);
	for (int i = 0; engine && i < count; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;
		struct error err = ERROR_INIT;
		int ret = instance_open(engine, operands[i], 0, &instance, &err);

		if (ret < 0)
			failed |= force_unreadable(cli, operands[i], &err);
		else if (rm_one(cli, &instance, &flags, &err) < 0)
			failed |= program_fail(cli, &err, 1);
		else
			(void)fprintf(cli->out, "%s\n", operands[i]);
	}
	return engine ? failed : 1;
}

int wait_command(struct cli *cli, int argc, char **argv)
{
	char **operands;
	int count, code, failed = 0;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	for (int i = 0; i < count; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;
		struct error err = ERROR_INIT;

		if (open_instance(cli, operands[i], 0, &instance) < 0)
			failed = 1;
		else if (instance_wait(&instance, &code, &err) < 0)
			failed = program_fail(cli, &err, 1);
		else
			(void)fprintf(cli->out, "%d\n", code);
		(void)fflush(cli->out);
	}
	return failed;
}

int rename_command(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	if (open_instance(cli, operands[0], INSTANCE_LOCK, &instance) < 0)
		return 1;
	return instance_rename(&instance, operands[1], &err) < 0 ? program_fail(cli, &err, 1) : 0;
}

struct force_flags {
	bool force;
};

const struct cli_option force_option[] = {
	OPT_SWITCH("force", 'f', struct force_flags, force, "Do not ask"),
	{ .name = NULL },
};

int prune_command(struct cli *cli, int argc, char **argv)
{
	struct force_flags flags = { .force = false };
	struct engine *engine;
	char **operands, **ids = NULL;
	struct error err = ERROR_INIT;
	size_t known = 0;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (!flags.force)
		return program_say(cli, 1, "this removes all stopped instances; say -f to do it");
	engine = program_engine(cli);
	if (!engine || instance_ids(engine, &ids, &known, &err) < 0)
		return engine ? program_fail(cli, &err, 1) : 1;
	for (size_t i = 0; i < known; i++) {
		cleanup_instance struct instance instance = INSTANCE_INIT;
		struct instance_state state;

		if (instance_open(engine, ids[i], 0, &instance, NULL) == 0 &&
		    instance_look(&instance, &state, NULL) == 0 &&
		    (state.status == INSTANCE_EXITED || state.status == INSTANCE_CREATED) &&
		    instance_remove(&instance, false, false, NULL) == 0)
			(void)fprintf(cli->out, "%s\n", ids[i]);
	}
	runtime_ids_free(ids, known);
	return 0;
}

int port_command(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	if (open_instance(cli, operands[0], 0, &instance) < 0)
		return 1;
	/* No instance has a network in which ports could be published: that comes with networks. */
	if (count > 1)
		return program_say(cli, 1, "No public port '%s' published for %s", operands[1], operands[0]);
	return 0;
}

static int update_one(struct cli *cli, struct instance *instance, void *context, struct error *err)
{
	(void)cli;
	return instance_update(instance, context, err);
}

int update_command(struct cli *cli, int argc, char **argv)
{
	struct container_flags flags;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (container_flags_open(&flags, &err) < 0)
		return program_fail(cli, &err, 1);
	/* Only what is given is changed: an empty document, not one of defaults. */
	json_object_clear(flags.document);
	if (cli_parse(cli, &flags, argc, argv, &operands, &count, &code)) {
		json_t *changes = document_at(flags.document, "HostConfig");

		code = changes ? for_each_instance(cli, 0, operands, count, update_one, changes)
			       : program_say(cli, 1,
					     "You must provide one or more flags when using this command; "
					     "`caisson update --help` lists them");
	}
	container_flags_close(&flags);
	return code;
}

int settle_command(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct launch_options options = program_launch_options(cli);
	struct engine *engine = program_engine(cli);
	struct error err = ERROR_INIT;
	uint64_t lock;

	if (!engine || argc != 3 || str_to_u64(argv[2], &lock) < 0 || lock > INT32_MAX ||
	    instance_open(engine, argv[1], 0, &instance, &err) < 0)
		return 1;
	if (fcntl((int)lock, F_SETFD, FD_CLOEXEC) == 0)
		instance.monitor_lock = (int)lock;
	return instance_after_exit(&instance, &options, &err) < 0 ? 1 : 0;
}
