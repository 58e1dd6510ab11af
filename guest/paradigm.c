/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/paradigm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "guest/boot.h"
#include "guest/disks.h"
#include "linux/process.h"
#include "linux/procfs.h"
#include "paradigm/container/container.h"
#include "paradigm/shell/seccomp.h"
#include "paradigm/vm/agent.h"
#include "runtime/runtime.h"

enum { COPY_CHUNK = 1 << 20 };

static const char cgroup_path[] = "/caisson";

void guest_edit_process(struct oci_process *process)
{
	/* No policies are loaded, and the host's CPUs are not ours. */
	process->apparmor_profile = process->selinux_label = NULL;
	process->exec_cpu_affinity.initial = process->exec_cpu_affinity.final = NULL;
}

/*
 * The network is the machine's.  Ids are those that are seen inside: there is nobody here to be kept from.  All else is
 * new: what was to be shared with the host, or lies at a path there, is not here.
 */
static void edit_namespaces(struct oci_linux *linux_)
{
	static const enum oci_namespace_type made[] = { OCI_NS_PID, OCI_NS_MOUNT, OCI_NS_IPC, OCI_NS_UTS,
							OCI_NS_CGROUP };

	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++)
		linux_->namespaces[made[i]] = (struct oci_namespace){ .set = true };
	linux_->namespaces[OCI_NS_NETWORK] = linux_->namespaces[OCI_NS_USER] = (struct oci_namespace){ .set = false };
	linux_->namespaces[OCI_NS_TIME].path = NULL;
	linux_->uid_mappings = linux_->gid_mappings = (struct oci_id_mappings){ .count = 0 };
	linux_->net_devices_count = 0;
}

/* Memory and CPUs are as many as the machine has, and disks have other numbers; rules for devices and the number of
 * processes stay. */
static void edit_resources(struct oci_linux *linux_)
{
	struct oci_resources *resources = &linux_->resources;

	*resources = (struct oci_resources){ .devices_count = resources->devices_count,
					     .devices = resources->devices,
					     .pids_limit = resources->pids_limit };
	linux_->cgroups_path = cgroup_path;
	linux_->intel_rdt.set = linux_->memory_policy.set = false;
	linux_->mount_label = NULL;
}

static bool is_bind(const struct oci_mount *mount)
{
	if (mount->type && strcmp(mount->type, "bind") == 0)
		return true;
	for (size_t i = 0; i < mount->options.count; i++) {
		if (strcmp(mount->options.items[i], "bind") == 0 || strcmp(mount->options.items[i], "rbind") == 0)
			return true;
	}
	return false;
}

static bool is_idmap(const char *option)
{
	return strcmp(option, "idmap") == 0 || strcmp(option, "ridmap") == 0 || str_starts(option, "idmap=") ||
	       str_starts(option, "ridmap=");
}

static void drop_idmap(struct oci_mount *mount)
{
	size_t kept = 0;

	for (size_t i = 0; i < mount->options.count; i++) {
		if (!is_idmap(mount->options.items[i]))
			mount->options.items[kept++] = mount->options.items[i];
	}
	if (mount->options.count)
		mount->options.items[kept] = NULL;
	mount->options.count = kept;
	mount->uid_mappings = mount->gid_mappings = (struct oci_id_mappings){ .count = 0 };
}

/* The agent's own program. */
static int copy_own(const char *path, struct error *err)
{
	cleanup_close int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cleanup_close int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	ssize_t count;

	do
		count = sendfile(to, from, NULL, COPY_CHUNK);
	while (count > 0);
	return count < 0 ? error_errno(err, errno, "cannot copy caisson-init") : 0;
}

static int edit_mount(struct oci_spec *spec, size_t index, const char *mounts, struct error *err)
{
	static const char *shm_options[] = { "nosuid", "noexec", "nodev", "mode=1777", NULL };
	struct oci_mount *mount = &spec->mounts[index];
	const char *handed_in = arena_printf(&spec->arena, "%s/%zu", mounts, index);
	char target[PATH_MAX];
	struct stat st;
	ssize_t length;
	int ret = 0;

	drop_idmap(mount);
	if (!is_bind(mount))
		return 0;
	if (!handed_in)
		return error_errno(err, ENOMEM, "cannot read the mounts");
	if (lstat(handed_in, &st) < 0 && strcmp(mount->destination, AGENT_OWN_INIT) == 0)
		ret = copy_own(handed_in, err);
	if (ret < 0)
		return ret;
	if (lstat(handed_in, &st) == 0) {
		length = S_ISLNK(st.st_mode) ? readlink(handed_in, target, sizeof(target) - 1) : 0;
		target[length > 0 ? length : 0] = '\0';
		mount->source = length > 0 ? arena_strdup(&spec->arena, target) : handed_in;
		return mount->source ? 0 : error_errno(err, ENOMEM, "cannot read the mounts");
	}
	/* Shared memory of the host's cannot be shared with another kernel. */
	if (strcmp(mount->destination, "/dev/shm") != 0)
		return error_set(err, ENOENT, "the source of the mount on %s is not in the virtual machine: %s",
				 mount->destination, mount->source ? mount->source : "");
	*mount = (struct oci_mount){ .destination = mount->destination,
				     .type = "tmpfs",
				     .source = "shm",
				     .options = { .count = 4, .items = shm_options } };
	return 0;
}

/* The host runs its own; those of the container find what they need in it. */
static void edit_hooks(struct oci_hooks *hooks)
{
	static const struct oci_hook_list none = { .count = 0 };

	hooks->prestart = hooks->create_runtime = hooks->poststart = hooks->poststop = none;
}

int guest_edit_spec(struct oci_spec *spec, const char *mounts, struct error *err)
{
	guest_edit_process(&spec->process);
	edit_namespaces(&spec->linux_);
	edit_resources(&spec->linux_);
	edit_hooks(&spec->hooks);
	for (size_t i = 0; i < spec->mounts_count; i++) {
		int ret = edit_mount(spec, i, mounts, err);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static int probe(struct str *engine, struct error *err)
{
	return paradigm_container.probe(engine, err);
}

/* What the host has compiled.  Without it, it is compiled here. */
static void take_filter(const struct oci_seccomp *profile)
{
	static const char path[] = GUEST_RUNTIME "/" RUNTIME_SECCOMP_CACHE;
	cleanup_close int mounts = open(BOOT_MOUNTS, O_PATH | O_DIRECTORY | O_CLOEXEC), cache = -1;
	char name[16];

	(void)snprintf(name, sizeof(name), "%u", AGENT_FILE_SECCOMP);
	if (!profile->set || faccessat(mounts, name, F_OK, 0) < 0)
		return;
	(void)mkdir(path, 0700);
	cache = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)seccomp_cache_adopt(profile, cache, mounts, name);
}

static int prepare(struct paradigm_setup *setup, struct error *err)
{
	int ret;

	take_filter(&setup->spec->linux_.seccomp);
	ret = guest_edit_spec(setup->spec, BOOT_MOUNTS, err);
	return ret == 0 ? disks_add(setup->spec, "/sys/block", err) : ret;
}

static int find(const struct oci_process *process, char **program, struct error *err)
{
	return paradigm_container.find(process, program, err);
}

static int become(const struct paradigm_setup *setup, const struct oci_process *process, const char *program,
		  int control, struct error *err)
{
	return paradigm_container.become(setup, process, program, control, err);
}

const struct paradigm paradigm_guest = {
	.name = "guest",
	.probe = probe,
	.prepare = prepare,
	.find = find,
	.become = become,
};
