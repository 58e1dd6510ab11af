/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/oci/attend.h"
#include "cli/oci/launch.h"
#include "cli/oci/notify.h"
#include "cli/oci/oci.h"

const char oci_run_details[] =
	"   Makes a container from a bundle and starts it.  In the foreground signals are passed on\n"
	"to the process, and its exit status is ours (128 + n after signal n); then the container is\n"
	"deleted, unless --keep is given.\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci run --bundle /containers/web web\n"
	"    caisson-oci run --detach --bundle /containers/web web && caisson-oci exec web ps\n";

const struct cli_option oci_run_options[] = { LAUNCH_CREATE_OPTIONS,
					      LAUNCH_RUN_OPTIONS,
					      OPT_SWITCH("keep", 0, struct launch, keep,
							 "do not delete the container after it exits"),
					      { .name = NULL } };

/* What was started is ended: an error is reported to somebody who believes that nothing runs. */
static void take_back(struct instance *instance)
{
	(void)runtime_kill(&instance->runtime, &instance->container, SIGKILL, false, NULL);
	(void)waitpid(instance->container.pid, NULL, 0);
	(void)runtime_delete(&instance->runtime, &instance->container, true, NULL);
}

static int start(struct oci *oci, const struct launch *launch, const char *id, struct instance *instance,
		 struct attend *attend, struct error *err)
{
	struct runtime_create_options options;
	int ret = launch_options(launch, launch->detach, &options, err);

	if (ret == 0)
		ret = oci_open(oci, &instance->runtime, err);
	if (ret == 0 && !launch->detach)
		ret = attend_begin(false, err);
	options.subreaper = !launch->detach && !launch->no_subreaper;
	if (ret == 0)
		ret = runtime_run(&instance->runtime, id, &options, &instance->container, err);
	if (ret < 0)
		return ret;
	attend->pid = instance->container.pid;
	attend->console = options.console_fd_out;
	attend->watched = options.notify_fd_out;
	if (launch->pidfd_socket) {
		ret = oci_send_pidfd(launch->pidfd_socket, instance->container.pid, "standard", err);
		if (ret < 0)
			take_back(instance);
	}
	return ret;
}

int oci_run(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct oci *oci = cli->context;
	struct error err = ERROR_INIT;
	struct launch launch = { 0 };
	struct attend attend = { .console = -1, .watched = -1, .ready = oci_notify_pass };
	int code, status = 0;

	if (!oci_arguments(cli, &launch, 1, 1, &argc, &argv, &code))
		return code;
	if (start(oci, &launch, argv[0], &instance, &attend, &err) < 0) {
		(void)error_wrap(&err, "runc run failed");
		return oci_fail(oci, &err, OCI_EXIT_ERROR);
	}
	if (launch.detach && attend.watched >= 0)
		status = oci_notify_wait(attend.watched, attend.pid, &err);
	if (launch.detach)
		return status < 0 ? oci_fail(oci, &err, OCI_EXIT_ERROR) : 0;
	status = attend_wait(&attend, &err);
	if (attend.console >= 0)
		close(attend.console);
	if (attend.watched >= 0)
		close(attend.watched);
	if (status < 0)
		status = oci_fail(oci, &err, OCI_EXIT_ERROR);
	else
		instance.container.pid = 0; /* reaped: the number may be somebody else's by now */
	if (!launch.keep && runtime_delete(&instance.runtime, &instance.container, true, &err) < 0)
		(void)oci_fail(oci, &err, OCI_EXIT_ERROR);
	return status;
}
