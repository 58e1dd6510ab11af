#include "cli/oci/oci.h"
const char oci_restore_details[] = "";
const struct cli_option oci_restore_options[] = { { .name = NULL } };
int oci_restore(struct cli *cli, int argc, char **argv)
{
	(void)cli;
	(void)argc;
	(void)argv;
	return 1;
}
