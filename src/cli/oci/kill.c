/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>

#include "cli/oci/oci.h"
#include "linux/signals.h"

struct flags {
	bool all;
};

const char oci_kill_details[] = "   Signals are numbers or names, with or without SIG, in either case.\n"
				"\n"
				"EXAMPLE:\n"
				"    caisson-oci kill web KILL\n";

const struct cli_option oci_kill_options[] = {
	OPT_SWITCH("all", 'a', struct flags, all, "signal every process of the container, not only the first"),
	{ .name = NULL },
};

static int send(struct oci *oci, const char *id, const char *name, bool all, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	int ret = instance_open(oci, id, 0, &instance, err), signal;

	if (ret < 0)
		return ret;
	signal = signal_from_text(name);
	if (signal < 0)
		return error_set(err, EINVAL, "unknown signal \"%s\"", name);
	return runtime_kill(&instance.runtime, &instance.container, signal, all, err);
}

int oci_kill(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, &flags, 1, 2, &argc, &argv, &code))
		return code;
	if (send(cli->context, argv[0], argc > 1 ? argv[1] : "SIGTERM", flags.all, &err) < 0)
		return oci_fail(cli->context, &err, OCI_EXIT_ERROR);
	return 0;
}
