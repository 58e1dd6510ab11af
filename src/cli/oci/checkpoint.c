/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/oci/oci.h"

struct flags {
	struct checkpoint_options options;
	int64_t status_fd;
};

const char oci_checkpoint_details[] =
	"   Saves the processes of a running container as files, by the criu program, and ends them\n"
	"unless --leave-running is given.\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci checkpoint --image-path /backup/web web\n"
	"    caisson-oci restore --detach --image-path /backup/web --bundle /containers/web web\n";

#define OPT_PATH(name, member, help) OPT_VALUE(OPTION_STRING, name, 0, "dir", "dir", struct flags, options.member, help)
const struct cli_option oci_checkpoint_options[] = {
	OPT_PATH("image-path", image_path, "directory for the image (default: checkpoint)"),
	OPT_PATH("work-path", work_path, "directory for work files and logs (default: that of the image)"),
	OPT_PATH("parent-path", parent_path, "an earlier --pre-dump, relative to the image"),
	OPT_SWITCH("leave-running", 0, struct flags, options.leave_running, "do not end the processes"),
	OPT_SWITCH("tcp-established", 0, struct flags, options.tcp_established, "allow open TCP connections"),
	OPT_SWITCH("ext-unix-sk", 0, struct flags, options.ext_unix_sk, "allow external unix sockets"),
	OPT_SWITCH("shell-job", 0, struct flags, options.shell_job, "allow shell jobs"),
	OPT_SWITCH("lazy-pages", 0, struct flags, options.lazy_pages, "hand memory out when it is asked for"),
	OPT_INT("status-fd", 0, "fd", struct flags, status_fd, "gets a NUL byte once lazy pages are ready"),
	OPT_STRING("page-server", 0, "address:port", struct flags, options.page_server, "where the pages go"),
	OPT_SWITCH("file-locks", 0, struct flags, options.file_locks, "handle file locks"),
	OPT_SWITCH("pre-dump", 0, struct flags, options.pre_dump, "save only memory, and go on running"),
	OPT_VALUE(OPTION_STRING, "manage-cgroups-mode", 0, "mode", "soft full strict ignore", struct flags,
		  options.cgroups_mode, "soft (default), full, strict, or ignore"),
	OPT_STRING("empty-ns", 0, "namespace", struct flags, options.empty_ns, "do not save what is in it: network"),
	OPT_SWITCH("auto-dedup", 0, struct flags, options.auto_dedup, "drop pages of the parent that are saved again"),
	{ .name = NULL },
};

static int checkpoint(struct oci *oci, struct flags *flags, const char *id, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	bool ends = !flags->options.leave_running && !flags->options.pre_dump;
	int ret = instance_open(oci, id, RUNTIME_LOCK, &instance, err);

	flags->options.criu = oci->criu;
	flags->options.status_fd = (int)flags->status_fd;
	if (ret == 0 && flags->status_fd >= 0 && fcntl((int)flags->status_fd, F_GETFD) < 0)
		ret = error_errno(err, errno, "invalid --status-fd argument %d", (int)flags->status_fd);
	if (ret == 0)
		ret = runtime_checkpoint(&instance.runtime, &instance.container, &flags->options, err);
	return ret < 0 || !ends ? ret : runtime_delete(&instance.runtime, &instance.container, true, err);
}

int oci_checkpoint(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { .options = CHECKPOINT_OPTIONS_INIT, .status_fd = -1 };
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, &flags, 1, 1, &argc, &argv, &code))
		return code;
	return checkpoint(cli->context, &flags, argv[0], &err) < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
