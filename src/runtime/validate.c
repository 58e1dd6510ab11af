/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties that contradict each other: refused before anything is made, in
 * runc's words where it has some.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "linux/resctrl.h"
#include "runtime/internal.h"

static bool has_new(const struct oci_spec *spec, enum oci_namespace_type type)
{
	return spec->linux_.namespaces[type].set;
}

static int check_namespaces(const struct oci_spec *spec, struct error *err)
{
	const struct oci_linux *linux_ = &spec->linux_;
	const struct oci_namespace *user = &linux_->namespaces[OCI_NS_USER];

	if (spec->hostname && !has_new(spec, OCI_NS_UTS))
		return error_set(err, EINVAL, "unable to set hostname without a private UTS namespace");
	if (spec->domainname && !has_new(spec, OCI_NS_UTS))
		return error_set(err, EINVAL, "unable to set domainname without a private UTS namespace");
	if ((linux_->masked_paths.count || linux_->readonly_paths.count) && !has_new(spec, OCI_NS_MOUNT))
		return error_set(err, EINVAL, "unable to restrict sys entries without a private MNT namespace");
	if (user->set && !user->path && (!linux_->uid_mappings.count || !linux_->gid_mappings.count))
		return error_set(err, EINVAL, "user namespaces enabled, but no %s mappings found",
				 linux_->uid_mappings.count ? "gid" : "uid");
	if (!user->set && (linux_->uid_mappings.count || linux_->gid_mappings.count))
		return error_set(err, EINVAL,
				 "user namespace mappings specified, but user namespace isn't enabled in the config");
	if ((linux_->time_offset_boottime.set || linux_->time_offset_monotonic.set) && !has_new(spec, OCI_NS_TIME))
		return error_set(err, EINVAL,
				 "time namespace offsets specified, but time namespace isn't enabled in the config");
	return 0;
}

/* A sysctl of a namespace that is not the container's own would be the host's. */
static int check_sysctls(const struct oci_spec *spec, struct error *err)
{
	static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb",	      "kernel.msgmni",
					   "kernel.sem",    "kernel.shmall",	      "kernel.shmmax",
					   "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.auto_msgmni" };

	for (size_t i = 0; i < spec->linux_.sysctl.count; i++) {
		const char *key = spec->linux_.sysctl.items[i].key;
		char dotted[128];
		bool known = false;

		(void)snprintf(dotted, sizeof(dotted), "%s", key);
		for (char *at = dotted; *at; at++)
			*at = *at == '/' ? '.' : *at;
		for (size_t k = 0; k < sizeof(ipc) / sizeof(*ipc); k++)
			known |= strcmp(dotted, ipc[k]) == 0;
		if (known || str_starts(dotted, "fs.mqueue.")) {
			if (!has_new(spec, OCI_NS_IPC))
				return error_set(err, EINVAL, "sysctl \"%s\" is not allowed in the hosts ipc namespace",
						 key);
		} else if (str_starts(dotted, "net.")) {
			if (!has_new(spec, OCI_NS_NETWORK))
				return error_set(err, EINVAL, "sysctl \"%s\" not allowed in host network namespace",
						 key);
		} else if (strcmp(dotted, "kernel.domainname") == 0 || strcmp(dotted, "kernel.hostname") == 0) {
			if (!has_new(spec, OCI_NS_UTS))
				return error_set(err, EINVAL, "sysctl \"%s\" is not allowed in the hosts uts namespace",
						 key);
			if (spec->domainname && strcmp(dotted, "kernel.domainname") == 0 &&
			    strcmp(spec->domainname, spec->linux_.sysctl.items[i].value) != 0)
				return error_set(
					err, EINVAL,
					"sysctl \"%s\" contradicts the OCI \"domainname\" field, which is \"%s\"", key,
					spec->domainname);
			if (strcmp(dotted, "kernel.hostname") == 0)
				return error_set(
					err, EINVAL,
					"sysctl \"%s\" is not allowed as it conflicts with the OCI \"hostname\" field",
					key);
		} else {
			return error_set(err, EINVAL, "sysctl \"%s\" is not in a separate kernel namespace", key);
		}
	}
	return 0;
}

static int check_net_devices(const struct oci_spec *spec, bool rootless, struct error *err)
{
	if (spec->linux_.net_devices_count == 0)
		return 0;
	if (!has_new(spec, OCI_NS_NETWORK))
		return error_set(err, EINVAL, "unable to move network devices without a private NET namespace");
	if (rootless)
		return error_set(err, EPERM, "network devices are not supported for rootless containers");
	return 0;
}

static int check_rdt(const struct oci_spec *spec, struct error *err)
{
	cleanup_free char *root = NULL;
	int ret = spec->linux_.intel_rdt.set ? resctrl_find(&root, err) : 0;

	return ret < 0 ? (error_wrap(err, "intelRdt is specified in config"), ret) : 0;
}

static int check_rootless(const struct oci_spec *spec, struct error *err)
{
	if (!spec->linux_.namespaces[OCI_NS_USER].set)
		return error_set(err, EPERM, "rootless container requires user namespaces");
	return 0;
}

int container_validate(const struct oci_spec *spec, const char *rootfs, bool rootless, struct error *err)
{
	struct stat st;
	int ret;

	/* Without any process there is nothing to start, which start will say. */
	if (spec->process.set && spec->process.args.count == 0)
		return error_set(err, EINVAL, "process property must be non-empty: args must not be empty");
	if (rootfs && stat(rootfs, &st) < 0) {
		(void)error_errno(err, errno, "invalid rootfs: %s", rootfs);
		return error_hint(err, "root.path of config.json says where it is");
	}
	if (rootfs && !S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR, "invalid rootfs: %s is not a directory", rootfs);
	ret = check_namespaces(spec, err);
	if (ret == 0)
		ret = check_sysctls(spec, err);
	if (ret == 0)
		ret = check_net_devices(spec, rootless, err);
	if (ret == 0)
		ret = check_rdt(spec, err);
	/* Root of a user namespace has what is needed. */
	if (ret == 0 && rootless)
		ret = check_rootless(spec, err);
	return ret;
}
