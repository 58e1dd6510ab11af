/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "cli/complete.h"
#include "cli/oci/oci.h"

const char oci_completion_details[] =
	"   Prints a script for bash, zsh or fish; `make install` puts them where the shells look.\n"
	"\n"
	"EXAMPLE:\n"
	"    source <(caisson-oci completion bash)\n"
	"    caisson-oci completion zsh >\"${fpath[1]}/_caisson-oci\"\n"
	"    caisson-oci completion fish | source\n";

const struct cli_option oci_completion_options[] = { { .name = NULL } };

int oci_completion(struct cli *cli, int argc, char **argv)
{
	const struct oci *oci = cli->context;
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, NULL, 1, 1, &argc, &argv, &code))
		return code;
	if (completion_script(cli->out, oci->program, argv[0], &err) < 0)
		return oci_fail(oci, &err, OCI_EXIT_ERROR);
	return 0;
}
