/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci/notify.h"
#include "cli/oci/oci.h"

const char oci_start_details[] = "   Lets the user's program go in a container that \"create\" has made.\n"
				 "\n"
				 "EXAMPLE:\n"
				 "    caisson-oci create web && caisson-oci start web\n";

const struct cli_option oci_start_options[] = { { .name = NULL } };

int oci_start(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct oci *oci = cli->context;
	struct error err = ERROR_INIT;
	int code, notifications = -1;

	if (!oci_arguments(cli, NULL, 1, 1, &argc, &argv, &code))
		return code;
	if (instance_open(oci, argv[0], RUNTIME_LOCK, &instance, &err) < 0)
		return oci_fail(oci, &err, OCI_EXIT_ERROR);
	/* One that was made without has nothing to tell. */
	if (oci_notify_host())
		notifications = container_notify_listen(&instance.container, NULL);
	if (runtime_start(&instance.runtime, &instance.container, &err) < 0)
		return oci_fail(oci, &err, OCI_EXIT_ERROR);
	if (notifications < 0)
		return 0;
	container_unlock(&instance.container);
	if (oci_notify_wait(notifications, instance.container.pid, &err) < 0)
		return oci_fail(oci, &err, OCI_EXIT_ERROR);
	return 0;
}
