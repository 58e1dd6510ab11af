/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell around the monitor.  Of what the user asked for stays what holds
 * for the machine as a whole: namespaces, the cgroup and its limits, hooks, the
 * terminal.  All else is the guest's.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "linux/capability.h"
#include "linux/mount.h"
#include "paradigm/vm/prepare.h"

enum {
	OVERHEAD_KVM = 64 << 20,   /* bytes beside the guest's memory: the monitor, page tables, vhost */
	OVERHEAD_QEMU = 512 << 20, /* QEMU holds 220 MiB, and translated code */
	TASKS = 256,		   /* threads of both */
	MOUNTS_MAX = 16,
};

static const char *const words_bind[] = { "bind", "ro", "nosuid", "nodev", "copy-symlink", NULL };
static const char *const words_proc[] = { "nosuid", "noexec", "nodev", "ro", NULL };
static const char *const words_own_proc[] = { "nosuid", "noexec", "nodev", "ro", "subset=pid", NULL };
static const char *const words_pts[] = { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", NULL };

static void set_options(struct oci_mount *mount, const char *const *words)
{
	size_t count = 0;

	while (words[count])
		count++;
	mount->options = (struct oci_strings){ .count = count, .items = (const char **)words };
}

static void add_file_system(struct oci_spec *spec, const char *path, const char *type, const char *const *words)
{
	struct oci_mount *mount = &spec->mounts[spec->mounts_count++];

	*mount = (struct oci_mount){ .destination = path, .type = type, .source = type };
	set_options(mount, words);
}

/* Where QEMU and its libraries are.  A link of the host's is made again as one. */
static void add_host(struct oci_spec *spec, const char *path)
{
	struct oci_mount *mount = &spec->mounts[spec->mounts_count];

	if (access(path, F_OK) < 0 || spec->mounts_count == MOUNTS_MAX)
		return;
	*mount = (struct oci_mount){ .destination = path, .type = "bind", .source = path };
	set_options(mount, words_bind);
	spec->mounts_count++;
}

/* Where a program was installed that is not below /usr: its directory, or the one above its bin. */
static int add_place_of(struct oci_spec *spec, const char *program)
{
	char *place = arena_strdup(&spec->arena, program);

	if (!place)
		return -ENOMEM;
	*strrchr(place, '/') = '\0';
	if (str_ends(place, "/bin"))
		*strrchr(place, '/') = '\0';
	if (*place && !str_starts(program, "/usr/"))
		add_host(spec, place);
	return 0;
}

static int set_mounts(struct vm_plan *plan, struct error *err)
{
	static const char *const host[] = { "/usr", "/lib",  "/lib32",		 "/lib64",	     "/libx32",
					    "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives" };
	struct oci_spec *spec = plan->spec;

	spec->mounts = arena_alloc(&spec->arena, MOUNTS_MAX + 1, sizeof(*spec->mounts));
	spec->mounts_count = 0;
	if (!spec->mounts)
		return error_errno(err, ENOMEM, "cannot furnish the shell");
	if (plan->config.engine != VM_ENGINE_QEMU && plan->config.shares_count > 0) {
		/* File servers open again, for reading and writing, what they hold by O_PATH (fs/fuse.h). */
		add_file_system(spec, "/proc", "proc", words_own_proc);
	} else if (plan->config.engine == VM_ENGINE_QEMU) {
		/* QEMU opens a kernel by a path, which for a descriptor is one of /proc. */
		add_file_system(spec, "/proc", "proc", words_proc);
		for (size_t i = 0; i < sizeof(host) / sizeof(*host); i++)
			add_host(spec, host[i]);
		if (add_place_of(spec, plan->config.qemu) < 0)
			return error_errno(err, ENOMEM, "cannot furnish the shell");
	}
	if (spec->process.terminal)
		add_file_system(spec, "/dev/pts", "devpts", words_pts);
	return 0;
}

/* An empty file system of its own instead of the image's. */
static int set_root(struct vm_plan *plan, struct error *err)
{
	struct mount_options options = { .flags = 0 };
	char data[] = "mode=0755,size=1m,nr_inodes=1k";
	int fd;

	options.data = data;
	fd = mount_new("tmpfs", "vmm", &options, err);
	if (fd < 0)
		return error_wrap(err, "cannot make the monitor's root file system"), fd;
	plan->setup->rootfs_fd = fd;
	plan->prepared->root_is_own = true;
	plan->spec->root.readonly = true;
	plan->spec->linux_.rootfs_propagation = NULL;
	return 0;
}

/* Ids of the network, user and cgroup namespace are the user's affair; all others are the monitor's own. */
static void set_namespaces(struct oci_linux *linux_)
{
	static const enum oci_namespace_type own[] = { OCI_NS_PID, OCI_NS_MOUNT, OCI_NS_IPC, OCI_NS_UTS };

	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		linux_->namespaces[own[i]] = (struct oci_namespace){ .set = true };
	/* The host's network is not to be had from inside a machine. */
	linux_->namespaces[OCI_NS_NETWORK].set = true;
	linux_->namespaces[OCI_NS_TIME] = (struct oci_namespace){ .set = false };
	linux_->time_offset_monotonic.set = linux_->time_offset_boottime.set = false;
}

static void raise(struct oci_i64 *limit, uint64_t by)
{
	if (limit->set && limit->value > 0 && __builtin_add_overflow(limit->value, (int64_t)by, &limit->value))
		limit->value = -1;
}

/* A limit is the guest's memory; what the machine itself takes comes on top, or the kernel would kill it. */
static void set_resources(struct vm_plan *plan)
{
	struct oci_resources *resources = &plan->spec->linux_.resources;
	uint64_t own = plan->config.engine == VM_ENGINE_QEMU ? OVERHEAD_QEMU : OVERHEAD_KVM;
	uint64_t limit = (uint64_t)(resources->memory.limit.set ? resources->memory.limit.value : 0);

	if (plan->settings.limited && plan->settings.memory > limit)
		own += plan->settings.memory - limit;
	raise(&resources->memory.limit, own);
	raise(&resources->memory.swap, own);
	resources->memory.kernel = resources->memory.kernel_tcp = (struct oci_i64){ .set = false };
	resources->pids_limit = (struct oci_i64){ .set = true, .value = TASKS };
	resources->hugepage_limits.count = 0;
}

static void set_linux(struct vm_plan *plan)
{
	struct oci_linux *linux_ = &plan->spec->linux_;

	set_namespaces(linux_);
	set_resources(plan);
	linux_->devices_count = 0;
	linux_->sysctl.count = 0;
	linux_->seccomp.set = false; /* the monitor has filters of its own, one for each kind of thread */
	linux_->masked_paths.count = linux_->readonly_paths.count = 0;
	linux_->mount_label = NULL;
	linux_->personality.set = false;
	plan->spec->hostname = plan->spec->domainname = NULL;
	/* They run in the container's own file system: the guest does that. */
	plan->spec->hooks.start_container.count = 0;
}

/* Who serves a directory to a guest stands for all of its users; without shares there is nothing to be allowed. */
static uint64_t capabilities(const struct vm_plan *plan)
{
	static const char *const names[] = { "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
					     "CAP_SETFCAP" };
	uint64_t set = 0;

	for (size_t i = 0; plan->config.shares_count && i < sizeof(names) / sizeof(*names); i++)
		set |= UINT64_C(1) << capability_from_name(names[i]);
	return set;
}

static int set_process(struct vm_plan *plan, struct error *err)
{
	struct arena *arena = &plan->spec->arena;
	struct oci_process *process = &plan->spec->process, asked = *process;
	const char **args = arena_alloc(arena, 4, sizeof(*args)), **env = arena_alloc(arena, 3, sizeof(*env));
	uint64_t allowed = capabilities(plan);

	if (!args || !env)
		return error_errno(err, ENOMEM, "cannot describe the monitor");
	args[0] = "caisson-vmm";
	args[1] = "--config";
	args[2] = arena_printf(arena, "%d", plan->prepared->config);
	env[0] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	env[1] = "HOME=/";
	*process = (struct oci_process){
		.set = true,
		.terminal = asked.terminal,
		.console_size = asked.console_size,
		.no_new_privileges = true,
		.args = { .count = 3, .items = args },
		.env = { .count = 2, .items = env },
		.cwd = "/",
		.capabilities = { .set = true, .effective = allowed, .bounding = allowed, .permitted = allowed },
		.oom_score_adj = asked.oom_score_adj,
		.scheduler = asked.scheduler,
		.io_priority = asked.io_priority,
	};
	return args[2] ? 0 : error_errno(err, ENOMEM, "cannot describe the monitor");
}

int vm_make_shell(struct vm_plan *plan, struct error *err)
{
	int ret = set_mounts(plan, err);

	if (ret == 0)
		ret = set_process(plan, err);
	if (ret == 0)
		ret = set_root(plan, err);
	if (ret == 0)
		set_linux(plan);
	return ret;
}
