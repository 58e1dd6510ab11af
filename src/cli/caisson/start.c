/* SPDX-License-Identifier: Apache-2.0 */
/* caisson start, caisson attach */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/caisson/caisson.h"
#include "engine/client.h"
#include "engine/lifecycle.h"
#include "engine/recover.h"

struct start_flags {
	bool attach, interactive, no_input;
	const char *detach_keys;
	bool sig_proxy;
};

const struct cli_option start_options[] = {
	OPT_SWITCH("attach", 'a', struct start_flags, attach, "Attach to its output, pass signals on"),
	OPT_STRING("detach-keys", 0, "string", struct start_flags, detach_keys,
		   "Keys that detach from a terminal (ctrl-p,ctrl-q)"),
	OPT_SWITCH("interactive", 'i', struct start_flags, interactive, "Attach to its stdin"),
	{ .name = NULL },
};

const struct cli_option attach_options[] = {
	OPT_STRING("detach-keys", 0, "string", struct start_flags, detach_keys,
		   "Keys that detach from a terminal (ctrl-p,ctrl-q)"),
	OPT_SWITCH("no-stdin", 0, struct start_flags, no_input, "Do not attach to its stdin"),
	OPT_SWITCH("sig-proxy", 0, struct start_flags, sig_proxy, "Pass signals on to the instance (default true)"),
	{ .name = NULL },
};

static int start_one(struct cli *cli, struct instance *instance, void *context, struct error *err)
{
	struct launch_options options = program_launch_options(cli);
	struct instance_state state;
	int ret = instance_look(instance, &state, err);

	(void)context;
	if (ret < 0)
		return ret;
	if (state.status == INSTANCE_PAUSED)
		return error_set(err, EBUSY, "cannot start a paused container, try unpause instead");
	if (instance_state_alive(&state) || state.status == INSTANCE_STARTING)
		return 0;
	return launch(instance, &options, NULL, err);
}

static int start_attached(struct cli *cli, const struct start_flags *flags, const char *what)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct launch_options options = program_launch_options(cli);
	struct instance_state state;
	cleanup_close int client = -1;
	struct error err = ERROR_INIT;
	struct attach_wishes wishes = { .output = true, .errors = true, .detach_keys = flags->detach_keys };
	sigset_t passed;
	bool detached;
	int code;

	if (open_instance(cli, what, INSTANCE_LOCK, &instance) < 0)
		return 1;
	if (instance_look(&instance, &state, &err) < 0)
		return program_fail(cli, &err, 1);
	if (instance_state_alive(&state))
		return program_say(cli, 1, "container %s runs already; attach to it with `caisson attach %s`", what,
				   what);
	wishes.input = flags->interactive && document_bool(instance.record, "Config.OpenStdin");
	wishes.pass_signals = !document_bool(instance.record, "Config.Tty");
	attach_passed_signals(&passed);
	options.hold = wishes.pass_signals ? &passed : NULL;
	options.attach = MONITOR_OWNS | MONITOR_WANTS_OUTPUT | MONITOR_WANTS_ERRORS |
			 (wishes.input ? MONITOR_WANTS_INPUT : 0);
	if (launch(&instance, &options, &client, &err) < 0)
		return program_fail(cli, &err, launch_exit_code(&err));
	instance_unlock(&instance);
	code = attach_stdio(cli, &instance, client, &wishes, &detached);
	if (!detached && instance_finish(&instance, client, &err) < 0)
		(void)program_fail(cli, &err, 1);
	return code;
}

int start_command(struct cli *cli, int argc, char **argv)
{
	struct start_flags flags = { .attach = false };
	char **operands;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (!flags.attach && !flags.interactive)
		return for_each_instance(cli, INSTANCE_LOCK, operands, count, start_one, NULL);
	if (count > 1)
		return program_say(cli, 1, "you cannot start and attach multiple containers at once");
	return start_attached(cli, &flags, operands[0]);
}

int attach_command(struct cli *cli, int argc, char **argv)
{
	struct start_flags flags = { .sig_proxy = true };
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct instance_state state;
	cleanup_close int client = -1;
	struct error err = ERROR_INIT;
	struct attach_wishes wishes = { .output = true, .errors = true };
	char **operands;
	bool detached;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (open_instance(cli, operands[0], 0, &instance) < 0)
		return 1;
	if (instance_look(&instance, &state, &err) < 0)
		return program_fail(cli, &err, 1);
	if (state.status == INSTANCE_PAUSED)
		return program_say(cli, 1, "You cannot attach to a paused container, unpause it first");
	if (!instance_state_alive(&state))
		return program_say(cli, 1, "You cannot attach to a stopped container, start it first");
	wishes.input = !flags.no_input && document_bool(instance.record, "Config.OpenStdin");
	wishes.pass_signals = flags.sig_proxy && !document_bool(instance.record, "Config.Tty");
	wishes.detach_keys = flags.detach_keys;
	client = client_connect(&instance,
				MONITOR_WANTS_OUTPUT | MONITOR_WANTS_ERRORS | (wishes.input ? MONITOR_WANTS_INPUT : 0),
				&err);
	if (client < 0)
		return program_fail(cli, &err, 1);
	return attach_stdio(cli, &instance, client, &wishes, &detached);
}
