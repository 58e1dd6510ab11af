/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/oci/oci.h"
#include "linux/mount.h"
#include "spec/generate.h"

enum { OPTIONS_MAX = 128 };

const char oci_features_details[] =
	"   Prints what this program can do, whatever the machine it runs on (features.md of the\n"
	"specification).\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci features | jq .linux.namespaces\n";

const struct cli_option oci_features_options[] = { { .name = NULL } };

int oci_features(struct cli *cli, int argc, char **argv)
{
	const struct scmp_version *seccomp = seccomp_version();
	char seccomp_text[40] = "";
	const char *options[OPTIONS_MAX + 1] = { NULL };
	struct oci_features features = { .mount_options = options,
					 .seccomp = true,
					 .apparmor = true,
					 .selinux = true,
					 .intel_rdt = true,
					 .net_devices = true,
					 .memory_policy = true,
					 .systemd = true,
					 .systemd_user = false,
					 .checkpoint = true,
					 .libseccomp_version = seccomp ? seccomp_text : NULL,
					 .version = CAISSON_VERSION };
	cleanup_free char *json = NULL;
	struct error err = ERROR_INIT;
	int code;

	for (size_t i = 0; i < OPTIONS_MAX && mount_option_name(i); i++)
		options[i] = mount_option_name(i);
	if (!oci_arguments(cli, NULL, 0, 0, &argc, &argv, &code))
		return code;
	if (seccomp)
		(void)snprintf(seccomp_text, sizeof(seccomp_text), "%u.%u.%u", seccomp->major, seccomp->minor,
			       seccomp->micro);
	json = oci_features_json(&features);
	if (!json)
		(void)error_errno(&err, ENOMEM, "cannot write the features");
	return !json || oci_print(json, &err) < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
