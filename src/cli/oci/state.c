/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/cleanup.h"
#include "cli/oci/oci.h"

const char oci_state_details[] =
	"   Prints the state of a container as JSON (runtime.md of the specification, \"State\").\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci state web | jq -r .status\n";

const struct cli_option oci_state_options[] = { { .name = NULL } };

static int state(struct oci *oci, const char *id, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	cleanup_free char *json = NULL;
	enum runtime_status status;
	int ret = instance_open(oci, id, 0, &instance, err);

	if (ret == 0)
		ret = container_status(&instance.runtime, &instance.container, &status, err);
	if (ret < 0)
		return ret;
	json = container_state_json(&instance.container, status, 2);
	if (!json)
		return error_errno(err, ENOMEM, "cannot write the state");
	ret = oci_print(json, err);
	return ret < 0 ? ret : oci_print("\n", err);
}

int oci_state(struct cli *cli, int argc, char **argv)
{
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, NULL, 1, 1, &argc, &argv, &code))
		return code;
	return state(cli->context, argv[0], &err) < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
