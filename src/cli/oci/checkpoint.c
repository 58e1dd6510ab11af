#include "cli/oci/oci.h"
const char oci_checkpoint_details[] = "";
const struct cli_option oci_checkpoint_options[] = { { .name = NULL } };
int oci_checkpoint(struct cli *cli, int argc, char **argv)
{
	(void)cli;
	(void)argc;
	(void)argv;
	return 1;
}
