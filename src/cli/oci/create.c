/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cli/oci/attend.h"
#include "cli/oci/launch.h"
#include "cli/oci/notify.h"
#include "cli/oci/oci.h"

const char oci_create_details[] =
	"   Makes an instance of a container from a bundle: everything up to, not including,\n"
	"the start of the user's program, which \"start\" lets go.\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci create --bundle /containers/web --pid-file /run/web.pid web\n"
	"    caisson-oci start web\n";

const struct cli_option oci_create_options[] = { LAUNCH_CREATE_OPTIONS, { .name = NULL } };

int launch_options(const struct launch *launch, bool detach, struct runtime_create_options *options, struct error *err)
{
	*options = RUNTIME_CREATE_OPTIONS_INIT;
	options->bundle = launch->bundle && *launch->bundle ? launch->bundle : NULL;
	/* Relative to the caller, but for the plain name: that is the bundle's, as in crun. */
	options->config = launch->config && *launch->config && strcmp(launch->config, "config.json") != 0
				  ? launch->config
				  : NULL;
	options->console_socket = launch->console_socket && *launch->console_socket ? launch->console_socket : NULL;
	options->keep_console = options->plain_lines = !detach;
	if (!detach)
		attend_console_size(&options->console_size);
	options->pid_file = launch->pid_file && *launch->pid_file ? launch->pid_file : NULL;
	options->preserve_fds = (int)launch->preserve_fds;
	options->no_pivot = launch->no_pivot;
	options->no_new_keyring = launch->no_new_keyring;
	options->notify = oci_notify_host() != NULL;
	if (!detach && options->console_socket)
		return oci_check_console(false, true, options->console_socket, err);
	return oci_check_preserved(launch->preserve_fds, err);
}

static int create(struct oci *oci, const struct launch *launch, const char *id, struct instance *instance,
		  struct error *err)
{
	struct runtime_create_options options;
	int ret = launch_options(launch, true, &options, err);

	if (ret == 0)
		ret = oci_open(oci, &instance->runtime, err);
	if (ret == 0)
		ret = runtime_create(&instance->runtime, id, &options, &instance->container, err);
	if (ret < 0 || !launch->pidfd_socket)
		return ret;
	ret = oci_send_pidfd(launch->pidfd_socket, instance->container.pid, "standard", err);
	if (ret < 0)
		(void)runtime_delete(&instance->runtime, &instance->container, true, NULL);
	return ret;
}

int oci_create(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct oci *oci = cli->context;
	struct error err = ERROR_INIT;
	struct launch launch = { 0 };
	int code;

	if (!oci_arguments(cli, &launch, 1, 1, &argc, &argv, &code))
		return code;
	if (create(oci, &launch, argv[0], &instance, &err) == 0)
		return 0;
	(void)error_wrap(&err, "runc create failed");
	return oci_fail(oci, &err, OCI_EXIT_ERROR);
}
