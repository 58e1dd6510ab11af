/* SPDX-License-Identifier: Apache-2.0 */
/* pause and resume. */
#include "cli/oci/oci.h"

const char oci_pause_details[] = "   Freezes every process of a container; \"resume\" lets them go on.\n"
				 "\n"
				 "EXAMPLE:\n"
				 "    caisson-oci pause web; caisson-oci resume web\n";
const char oci_resume_details[] = "   Lets the processes of a paused container go on.\n"
				  "\n"
				  "EXAMPLE:\n"
				  "    caisson-oci resume web\n";

const struct cli_option oci_pause_options[] = { { .name = NULL } };
const struct cli_option oci_resume_options[] = { { .name = NULL } };

static int change(struct cli *cli, int argc, char **argv,
		  int (*action)(struct runtime *, struct container *, struct error *))
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct oci *oci = cli->context;
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, NULL, 1, 1, &argc, &argv, &code))
		return code;
	if (instance_open(oci, argv[0], RUNTIME_LOCK, &instance, &err) < 0 ||
	    action(&instance.runtime, &instance.container, &err) < 0)
		return oci_fail(oci, &err, OCI_EXIT_ERROR);
	return 0;
}

int oci_pause(struct cli *cli, int argc, char **argv)
{
	return change(cli, argc, argv, runtime_pause);
}

int oci_resume(struct cli *cli, int argc, char **argv)
{
	return change(cli, argc, argv, runtime_resume);
}
