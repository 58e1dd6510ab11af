/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate - the two documents that a runtime writes about itself: a config.json
 * to start from (`spec`) and what it can do (`features`).
 *
 * Follows runc's `spec` command, and features.md and features-linux.md of the
 * runtime specification.  Both return fresh text that the caller frees, NULL
 * when memory is out.
 */
#ifndef CAISSON_SPEC_GENERATE_H
#define CAISSON_SPEC_GENERATE_H

#include <stdbool.h>

/*
 * What runc 1.1.5 writes, byte for byte (tabs, no line feed at the end), but for ociVersion: runc says "1.0.2-dev",
 * this says OCI_VERSION.  rootless: with a user namespace that maps root to the caller, no network namespace, no
 * resources, and the host's /sys.  Like runc's, it has a cgroup namespace where the host has cgroup v2 alone.
 */
char *oci_spec_default_json(bool rootless);

/* What the build has; the document is about the program, not about the machine it runs on. */
struct oci_features {
	const char *const *mount_options; /* NULL-terminated: mount_option_names() of linux/mount.h */
	bool seccomp, apparmor, selinux, intel_rdt, net_devices, memory_policy;
	bool systemd, systemd_user; /* cgroup drivers */
	bool checkpoint;
	const char *libseccomp_version; /* "2.5.4", or NULL */
	const char *version;		/* of caisson */
};

/* Four spaces of indentation and a line feed at the end, as runc prints it. */
char *oci_features_json(const struct oci_features *features);

#endif
