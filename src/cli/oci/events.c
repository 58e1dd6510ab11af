#include "cli/oci/oci.h"
const char oci_events_details[] = "";
const struct cli_option oci_events_options[] = { { .name = NULL } };
int oci_events(struct cli *cli, int argc, char **argv)
{
	(void)cli;
	(void)argc;
	(void)argv;
	return 1;
}
