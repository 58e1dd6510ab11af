/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "cli/oci/oci.h"

struct flags {
	bool force;
};

const char oci_delete_details[] = "   Removes what a stopped container still holds: its cgroup, its state, its id.\n"
				  "\n"
				  "EXAMPLE:\n"
				  "    caisson-oci kill web KILL && caisson-oci delete web\n"
				  "    caisson-oci delete --force web\n";

const struct cli_option oci_delete_options[] = {
	OPT_SWITCH("force", 'f', struct flags, force,
		   "kill the container first if it still runs; one that does not exist is no error"),
	{ .name = NULL },
};

static int remove_container(struct oci *oci, const char *id, bool force, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	int ret = instance_open(oci, id, RUNTIME_LOCK, &instance, err);

	if (ret == -ENOENT && force)
		return 0;
	return ret < 0 ? ret : runtime_delete(&instance.runtime, &instance.container, force, err);
}

int oci_delete(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, &flags, 1, 1, &argc, &argv, &code))
		return code;
	if (remove_container(cli->context, argv[0], flags.force, &err) < 0)
		return oci_fail(cli->context, &err, OCI_EXIT_ERROR);
	return 0;
}
