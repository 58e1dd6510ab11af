/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "linux/capability.h"
#include "spec/generate.h"
#include "spec/parts.h"
#include "spec/runtime.h"
#include "spec/writer.h"

static const char *const hook_names[] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL,
};
/* Sorted, as every list of names that stands for a set is here. */
static const char *const namespace_types[] = {
	"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts", NULL,
};

static void write_enabled(struct writer *writer, const char *name, bool enabled)
{
	writer_open(writer, name, '{');
	writer_bool(writer, "enabled", enabled);
	writer_close(writer, '}');
}

static void write_capabilities(struct writer *writer)
{
	writer_open(writer, "capabilities", '[');
	for (int i = 0; i < capability_count(); i++)
		writer_text(writer, NULL, capability_name(i));
	writer_close(writer, ']');
}

static void write_cgroup(struct writer *writer, const struct oci_features *features)
{
	writer_open(writer, "cgroup", '{');
	writer_bool(writer, "v1", true);
	writer_bool(writer, "v2", true);
	writer_bool(writer, "systemd", features->systemd);
	writer_bool(writer, "systemdUser", features->systemd_user);
	writer_bool(writer, "rdma", true);
	writer_close(writer, '}');
}

static void write_seccomp(struct writer *writer, bool enabled)
{
	writer_open(writer, "seccomp", '{');
	writer_bool(writer, "enabled", enabled);
	if (enabled) {
		writer_words(writer, "actions", spec_seccomp_actions);
		writer_words(writer, "operators", spec_seccomp_operators);
		writer_words(writer, "archs", spec_seccomp_architectures);
		writer_words(writer, "knownFlags", spec_seccomp_flags);
		writer_words(writer, "supportedFlags", spec_seccomp_flags);
	}
	writer_close(writer, '}');
}

static void write_linux(struct writer *writer, const struct oci_features *features)
{
	writer_open(writer, "linux", '{');
	writer_words(writer, "namespaces", namespace_types);
	write_capabilities(writer);
	write_cgroup(writer, features);
	write_seccomp(writer, features->seccomp);
	write_enabled(writer, "apparmor", features->apparmor);
	write_enabled(writer, "selinux", features->selinux);
	writer_open(writer, "intelRdt", '{');
	writer_bool(writer, "enabled", features->intel_rdt);
	writer_bool(writer, "schemata", features->intel_rdt);
	writer_bool(writer, "monitoring", features->intel_rdt);
	writer_close(writer, '}');
	if (features->memory_policy) {
		writer_open(writer, "memoryPolicy", '{');
		writer_words(writer, "modes", spec_memory_policy_modes);
		writer_words(writer, "flags", spec_memory_policy_flags);
		writer_close(writer, '}');
	}
	writer_open(writer, "mountExtensions", '{');
	write_enabled(writer, "idmap", true);
	writer_close(writer, '}');
	write_enabled(writer, "netDevices", features->net_devices);
	writer_close(writer, '}');
}

/* podman looks for runc's name of the checkpoint annotation. */
static void write_annotations(struct writer *writer, const struct oci_features *features)
{
	writer_open(writer, "annotations", '{');
	if (features->libseccomp_version)
		writer_text(writer, "io.github.seccomp.libseccomp.version", features->libseccomp_version);
	writer_text(writer, "org.opencontainers.runc.checkpoint.enabled", features->checkpoint ? "true" : "false");
	if (features->version)
		writer_text(writer, "org.caisson.version", features->version);
	writer_close(writer, '}');
}

/* Annotations of a configuration that change what happens; see oci_spec_annotation()'s callers. */
static const char *const meaningful_annotations[] = { "run.oci.keep_original_groups", NULL };

char *oci_features_json(const struct oci_features *features)
{
	struct writer writer = { .indent = "    " };
	char *json;

	writer_open(&writer, NULL, '{');
	writer_text(&writer, "ociVersionMin", OCI_VERSION_MIN);
	writer_text(&writer, "ociVersionMax", OCI_VERSION_MAX);
	writer_words(&writer, "hooks", hook_names);
	if (features->mount_options)
		writer_words(&writer, "mountOptions", features->mount_options);
	write_linux(&writer, features);
	write_annotations(&writer, features);
	writer_words(&writer, "potentiallyUnsafeConfigAnnotations", meaningful_annotations);
	writer_close(&writer, '}');
	str_append(&writer.out, "\n");
	json = str_take(&writer.out);
	str_free(&writer.out);
	return json;
}
