/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "cli/oci/attend.h"
#include "cli/oci/launch.h"
#include "cli/oci/oci.h"
#include "runtime/checkpoint.h"

struct flags {
	struct launch launch;
	struct checkpoint_options options;
};
_Static_assert(offsetof(struct flags, launch) == 0, "the tables of launch.h count from the start");

const char oci_restore_details[] =
	"   Makes a container from what \"checkpoint\" has saved, and lets it go on.\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci restore --detach --image-path /backup/web --bundle /containers/web web\n";

#define OPT_PATH(name, member, help) OPT_VALUE(OPTION_STRING, name, 0, "dir", "dir", struct flags, options.member, help)
const struct cli_option oci_restore_options[] = {
	LAUNCH_OPTIONS,
	LAUNCH_RUN_OPTIONS,
	OPT_PATH("image-path", image_path, "directory of the image (default: checkpoint)"),
	OPT_PATH("work-path", work_path, "directory for work files and logs (default: that of the image)"),
	OPT_SWITCH("tcp-established", 0, struct flags, options.tcp_established, "allow open TCP connections"),
	OPT_SWITCH("ext-unix-sk", 0, struct flags, options.ext_unix_sk, "allow external unix sockets"),
	OPT_SWITCH("shell-job", 0, struct flags, options.shell_job, "allow shell jobs"),
	OPT_SWITCH("file-locks", 0, struct flags, options.file_locks, "handle file locks"),
	OPT_VALUE(OPTION_STRING, "manage-cgroups-mode", 0, "mode", "soft full strict ignore", struct flags,
		  options.cgroups_mode, "soft (default), full, strict, or ignore"),
	OPT_STRING("empty-ns", 0, "namespace", struct flags, options.empty_ns, "do not restore what is in it: network"),
	OPT_SWITCH("auto-dedup", 0, struct flags, options.auto_dedup, "drop pages from the image as they are restored"),
	OPT_SWITCH("lazy-pages", 0, struct flags, options.lazy_pages, "fetch memory when it is asked for"),
	OPT_STRING("lsm-profile", 0, "type:name", struct flags, options.lsm_profile,
		   "security profile to restore with"),
	OPT_STRING("lsm-mount-context", 0, "context", struct flags, options.lsm_mount_context,
		   "mount context to restore with"),
	{ .name = NULL }
};

static int restore(struct oci *oci, struct flags *flags, const char *id, struct instance *instance, struct error *err)
{
	const struct launch *launch = &flags->launch;
	int ret = oci_open(oci, &instance->runtime, err);

	flags->options.criu = oci->criu;
	flags->options.keep_console = !launch->detach;
	flags->options.console_socket = launch->console_socket && *launch->console_socket ? launch->console_socket
											  : NULL;
	if (ret == 0 && !launch->detach && flags->options.console_socket)
		ret = oci_check_console(false, true, flags->options.console_socket, err);
	if (ret == 0 && !launch->detach)
		ret = attend_begin(!launch->no_subreaper, err);
	return ret < 0 ? ret
		       : runtime_restore(&instance->runtime, id, launch->bundle, launch->pid_file, &flags->options,
					 &instance->container, err);
}

int oci_restore(struct cli *cli, int argc, char **argv)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct flags flags = { .options = CHECKPOINT_OPTIONS_INIT };
	struct attend attend = { .console = -1, .watched = -1 };
	struct oci *oci = cli->context;
	struct error err = ERROR_INIT;
	int code, status;

	if (!oci_arguments(cli, &flags, 1, 1, &argc, &argv, &code))
		return code;
	if (restore(oci, &flags, argv[0], &instance, &err) < 0)
		return oci_fail(oci, &err, OCI_EXIT_ERROR);
	if (flags.launch.detach)
		return 0;
	attend.pid = instance.container.pid;
	attend.console = flags.options.console_fd_out;
	status = attend_wait(&attend, &err);
	if (attend.console >= 0)
		close(attend.console);
	if (status < 0)
		status = oci_fail(oci, &err, OCI_EXIT_ERROR);
	if (runtime_delete(&instance.runtime, &instance.container, true, &err) < 0)
		(void)oci_fail(oci, &err, OCI_EXIT_ERROR);
	return status;
}
