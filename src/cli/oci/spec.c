/* SPDX-License-Identifier: Apache-2.0 */
#include "spec/generate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/oci/oci.h"

struct flags {
	const char *bundle;
	bool rootless;
};

const char oci_spec_details[] =
	"   Writes a config.json to start from; it runs \"sh\" on a terminal in a read-only \"rootfs\".\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci spec --bundle /containers/web\n"
	"    sed -i 's;\"sh\";\"/bin/httpd\";' /containers/web/config.json\n";

const struct cli_option oci_spec_options[] = {
	OPT_VALUE(OPTION_STRING, "bundle", 'b', "dir", "dir", struct flags, bundle,
		  "the bundle directory (default: the current one)"),
	OPT_SWITCH("rootless", 0, struct flags, rootless, "for a caller that is not root"),
	{ .name = NULL },
};

static int write_spec(const struct flags *flags, struct error *err)
{
	const char *bundle = flags->bundle && *flags->bundle ? flags->bundle : ".";
	cleanup_free char *json = oci_spec_default_json(flags->rootless);
	cleanup_close int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = -1;
	int ret;

	if (!json)
		return error_errno(err, ENOMEM, "cannot write the specification");
	if (dir < 0)
		return error_errno(err, errno, "cannot open the bundle %s", bundle);
	fd = openat(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return error_set(err, EEXIST, "File config.json exists. Remove it first");
	ret = fd < 0 ? -errno : file_write_all(fd, json, strlen(json));
	if (ret < 0 && fd >= 0)
		(void)unlinkat(dir, "config.json", 0);
	return ret < 0 ? error_errno(err, -ret, "cannot write config.json") : 0;
}

int oci_spec(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, &flags, 0, 0, &argc, &argv, &code))
		return code;
	return write_spec(&flags, &err) < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
