/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create, start and run: runtime.md, "Lifecycle".
 *
 * Everything that is made can be found again by what was written before it, so
 * that a kill at any point leaves nothing that the next command cannot clean:
 * first the directory with config.json (which names the cgroup), then the
 * cgroup, then the process, which dies with us until state.json names it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/capability.h"
#include "linux/clone.h"
#include "linux/fdpass.h"
#include "paradigm/shell/hooks.h"
#include "paradigm/shell/resources.h"
#include "paradigm/shell/shell.h"
#include "runtime/checkpoint.h"
#include "runtime/internal.h"

#define START_FAILED "unable to start container process"

/* One creation on its way. */
struct creation {
	struct runtime *runtime;
	struct container *container;
	struct runtime_create_options *options;
	char *config; /* the text, owned */
	size_t config_size;
	bool config_written;
	struct cgroup cgroup;
	bool has_cgroup, joins_late, born_in_v2;
	struct shell shell;
	int start_socket;
	struct seccomp_filter filter;
	struct paradigm_setup setup;
	bool prepared;
	bool spawned; /* or tried to */
};

static int check_id(const char *id, struct error *err)
{
	return container_id_is_valid(id)
		       ? 0
		       : error_set(err, EINVAL,
				   "invalid container ID format: \"%s\"; letters, digits and _ + - . may be in it", id);
}

/* RFC 3339 in UTC.  Not gmtime_r(): that reads the time zone file, seven system calls for nothing. */
static char *now(void)
{
	struct timespec time;
	long days, seconds, era, day_of_era, year_of_era, day_of_year, shifted_month;
	char *result;

	(void)clock_gettime(CLOCK_REALTIME, &time);
	days = time.tv_sec / 86400 + 719468; /* since 0000-03-01: leap days come last in a year that begins in March */
	seconds = time.tv_sec % 86400;
	era = days / 146097;
	day_of_era = days % 146097;
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	shifted_month = (5 * day_of_year + 2) / 153;
	return asprintf(&result, "%04ld-%02ld-%02ldT%02ld:%02ld:%02ld.%09ldZ",
			year_of_era + era * 400 + (shifted_month >= 10),
			shifted_month < 10 ? shifted_month + 3 : shifted_month - 9,
			day_of_year - (153 * shifted_month + 2) / 5 + 1, seconds / 3600, seconds / 60 % 60,
			seconds % 60, time.tv_nsec) < 0
		       ? NULL
		       : result;
}

static enum runtime_status before_start(const char *status)
{
	return strcmp(status, "created") == 0 ? RUNTIME_CREATED : RUNTIME_CREATING;
}

/* For hooks: the state as it will be, of a process that is not in state.json yet. */
static char *state_for_hooks(void *context, pid_t pid, const char *status)
{
	struct creation *creation = context;
	struct container shown = *creation->container;

	shown.pid = pid;
	return container_state_json(&shown, before_start(status), 0);
}

static int copy_config(struct creation *creation, struct error *err)
{
	creation->config = strdup(creation->options->config_text);
	if (!creation->config)
		return error_errno(err, ENOMEM, "cannot read the configuration");
	creation->config_size = strlen(creation->config);
	return 0;
}

static int read_config(struct creation *creation, struct error *err)
{
	struct container *container = creation->container;
	cleanup_free char *path = NULL;
	int ret;

	container->bundle = path_absolute(creation->options->bundle ? creation->options->bundle : ".");
	path = creation->options->config ? strdup(creation->options->config)
	       : container->bundle	 ? path_join(container->bundle, "config.json")
					 : NULL;
	if (!path)
		return error_errno(err, ENOMEM, "cannot read the configuration");
	if (str_ends(container->bundle, "/.")) {
		char *clean = path_clean(container->bundle);

		free(container->bundle);
		container->bundle = clean;
	}
	ret = creation->options->config_text
		      ? copy_config(creation, err)
		      : file_read(AT_FDCWD, path, CONFIG_MAX, &creation->config, &creation->config_size, err);
	if (ret == -ENOENT)
		return error_set(err, ENOENT,
				 "JSON specification file %s not found; --bundle names its directory, `spec` makes one",
				 path);
	return ret < 0 ? ret : oci_spec_parse(creation->config, creation->config_size, &container->spec, err);
}

/* A terminal needs somebody who gets its other end. */
static int check_console(const struct oci_process *process, const struct runtime_create_options *options,
			 struct error *err)
{
	if (process->terminal && !options->keep_console && !options->console_socket)
		return error_set(err, EINVAL, "cannot allocate tty if runc will detach without setting console socket");
	if (!process->terminal && options->console_socket)
		return error_set(err, EINVAL, "cannot use console socket if runc will not detach or allocate tty");
	return 0;
}

/*
 * The mappings of a new user namespace are optional.  Without any it is made for the caller alone, who is root in it:
 * that gives nobody an id that he does not have already.  (crun does the same, runc refuses it.)
 */
static int add_own_mapping(struct oci_spec *spec)
{
	const struct oci_namespace *user = &spec->linux_.namespaces[OCI_NS_USER];
	struct oci_id_mapping *own;

	if (!user->set || user->path || spec->linux_.uid_mappings.count || spec->linux_.gid_mappings.count)
		return 0;
	own = arena_alloc(&spec->arena, 2, sizeof(*own));
	if (!own)
		return -ENOMEM;
	own[0] = (struct oci_id_mapping){ .container_id = 0, .host_id = geteuid(), .size = 1 };
	own[1] = (struct oci_id_mapping){ .container_id = 0, .host_id = getegid(), .size = 1 };
	spec->linux_.uid_mappings = (struct oci_id_mappings){ .count = 1, .items = &own[0] };
	spec->linux_.gid_mappings = (struct oci_id_mappings){ .count = 1, .items = &own[1] };
	return 0;
}

static int complete(struct creation *creation, struct error *err)
{
	struct container *container = creation->container;
	const char *root = container->spec.root.path;
	int ret;

	if (!root && creation->options->rootfs_fd < 0)
		return error_set(err, EINVAL, "root.path is not set");
	container->rootfs = !root ? strdup("/") : *root == '/' ? strdup(root) : path_join(container->bundle, root);
	container->created = now();
	container->owner = geteuid();
	if (!container->rootfs || !container->created || add_own_mapping(&container->spec) < 0)
		return error_errno(err, ENOMEM, "cannot create container");
	if (creation->options->console_size.set)
		container->spec.process.console_size = creation->options->console_size;
	ret = check_console(&container->spec.process, creation->options, err);
	if (ret == 0)
		ret = container_choose_paradigm(creation->runtime, container, err);
	if (ret < 0)
		return ret;
	return container_validate(&container->spec, creation->options->rootfs_fd >= 0 ? NULL : container->rootfs,
				  container->owner != 0, err);
}

/* Sockets that systemd's activation opened for us are the container's. */
static int add_listen_fds(struct creation *creation, struct error *err)
{
	struct oci_process *process = &creation->container->spec.process;
	const char *text = getenv("LISTEN_FDS");
	const char **env;
	uint64_t count;

	if (!text || str_to_u64(text, &count) < 0 || count == 0 || count > 1024)
		return 0;
	creation->options->preserve_fds += (int)count;
	env = arena_alloc(&creation->container->spec.arena, process->env.count + 3, sizeof(*env));
	if (!env)
		return error_errno(err, ENOMEM, "cannot pass LISTEN_FDS");
	if (process->env.count)
		memcpy(env, process->env.items, process->env.count * sizeof(*env));
	env[process->env.count++] = arena_printf(&creation->container->spec.arena, "LISTEN_FDS=%s", text);
	env[process->env.count++] = "LISTEN_PID=1";
	process->env.items = env;
	return 0;
}

static int make_directory(struct creation *creation, const char *id, struct error *err)
{
	struct container parsed = *creation->container, *container = creation->container;
	int ret = container_directory_make(creation->runtime, id, container, err);

	/* The parts that were read before there was a directory. */
	container->bundle = parsed.bundle;
	container->rootfs = parsed.rootfs;
	container->created = parsed.created;
	container->owner = parsed.owner;
	container->spec = parsed.spec;
	container->paradigm = parsed.paradigm;
	if (ret < 0)
		return ret;
	/* Keyrings are found by their names: one of the same name would be shared with other containers. */
	if (!creation->options->no_new_keyring && asprintf(&container->keyring, "_ses.%s", id) < 0) {
		container->keyring = NULL;
		return error_errno(err, ENOMEM, "cannot create container");
	}
	return 0;
}

/* Before there is a cgroup, which only it can tell the way to. */
static int write_config(struct creation *creation, struct error *err)
{
	const struct container *container = creation->container;
	cleanup_close int fd = -1;
	int ret;

	if (creation->config_written)
		return 0;
	creation->config_written = true;
	fd = openat(container->dir_fd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ret = fd < 0 ? -errno : file_write_all(fd, creation->config, creation->config_size);
	return ret < 0 ? error_errno(err, -ret, "cannot write %s/config.json", container->dir) : 0;
}

int container_make_empty(struct runtime *runtime, const char *id, const char *bundle,
			 const struct checkpoint_options *restore, struct container *container, struct error *err)
{
	struct runtime_create_options options = RUNTIME_CREATE_OPTIONS_INIT;
	struct creation creation = { .runtime = runtime, .container = container, .options = &options };
	int ret;

	options.bundle = bundle;
	options.console_socket = restore->console_socket;
	options.keep_console = restore->keep_console;
	*container = (struct container){ .dir_fd = -1 };
	ret = check_id(id, err);
	if (ret == 0)
		ret = read_config(&creation, err);
	if (ret == 0)
		ret = complete(&creation, err);
	if (ret == 0)
		ret = make_directory(&creation, id, err);
	if (ret == 0)
		ret = write_config(&creation, err);
	free(creation.config);
	return ret;
}

/*
 * The rules for devices would keep the child from making the nodes that its configuration lists.  In v1 it enters the
 * cgroup after that; here it is in it before.
 */
static bool confines_late(const struct creation *creation)
{
	return creation->container->systemd_cgroup || creation->runtime->cgroups.layout == CGROUP_V2;
}

static unsigned resources_flags(const struct creation *creation)
{
	return creation->runtime->rootless ? RESOURCES_ROOTLESS : 0;
}

static int apply_resources(struct creation *creation, struct error *err)
{
	unsigned late = confines_late(creation) ? RESOURCES_WITHOUT_DEVICES : 0;
	int ret = resources_apply(&creation->cgroup, &creation->container->spec.linux_.resources,
				  resources_flags(creation) | late, err);

	return ret < 0 ? ret : container_delegate_cgroup(creation->container, &creation->cgroup, err);
}

static int confine(void *context, pid_t pid, struct error *err)
{
	struct creation *creation = context;
	int ret = container_apply_rdt(creation->runtime, creation->container, pid, err);

	if (ret < 0)
		return ret;
	if (!creation->has_cgroup || !confines_late(creation))
		return 0;
	return resources_apply_devices(&creation->cgroup, &creation->container->spec.linux_.resources,
				       resources_flags(creation), err);
}

/* A cgroup that the configuration names must be had; that of our own choice is what a rootless user may lack. */
static bool may_go_without(const struct creation *creation)
{
	return creation->runtime->rootless && !creation->container->spec.linux_.cgroups_path;
}

static int go_without_cgroup(struct creation *creation, struct error *err)
{
	struct container *container = creation->container;

	if (resources_limited(&container->spec.linux_.resources)) {
		(void)error_set(err, EPERM,
				"rootless needs no limits + no cgrouppath when no permission is granted for cgroups: "
				"cannot create %s: permission denied",
				container->cgroup_path);
		return error_hint(err, "ask for delegation (systemd: Delegate=yes), or use --systemd-cgroup");
	}
	free(container->cgroup_path);
	container->cgroup_path = NULL;
	return 0;
}

static int cgroup_flags(const struct creation *creation)
{
	return CGROUP_CREATE_EXCLUSIVE | (creation->born_in_v2 ? CGROUP_CREATE_BORN_IN_V2 : 0) |
	       (container_cgroup_is_named(creation->runtime, creation->container) ? CGROUP_CREATE_EVERYWHERE : 0);
}

static int make_cgroup(struct creation *creation, struct error *err)
{
	const char *controllers[RESOURCES_CONTROLLERS_MAX + 1];
	struct container *container = creation->container;
	const struct oci_resources *resources = &container->spec.linux_.resources;
	int ret;

	container_controllers(creation->runtime, resources, controllers);
	ret = cgroup_create(&creation->runtime->cgroups, container->cgroup_path, controllers, cgroup_flags(creation),
			    may_go_without(creation), &creation->cgroup, err);
	if (ret < 0)
		return error_wrap(err, "cannot create the cgroup %s", container->cgroup_path), ret;
	if (!creation->cgroup.present)
		return go_without_cgroup(creation, err);
	creation->has_cgroup = true;
	if (creation->runtime->cgroups.layout != CGROUP_V2)
		container->cgroup_present = creation->cgroup.present;
	return apply_resources(creation, err);
}

/* On a hybrid host the part of a cgroup that a child is born in. */
static int make_v2_part(struct creation *creation, struct error *err)
{
	static const char *const v2_tree[] = { "", NULL };
	int ret = cgroup_create(&creation->runtime->cgroups, creation->container->cgroup_path, v2_tree,
				CGROUP_CREATE_EXCLUSIVE, creation->runtime->rootless, &creation->cgroup, err);

	creation->born_in_v2 = ret == 0 && creation->cgroup.present;
	return ret;
}

/*
 * A child is born in a v2 cgroup at no cost, while moving it there later takes a lock that all of the host shares: that
 * one is made first.  A v1 cgroup is a directory in each of many hierarchies: they are made while the child is busy
 * with its mounts, and it enters them by itself.
 */
static int plan_cgroup(struct creation *creation, struct error *err)
{
	struct runtime *runtime = creation->runtime;
	int ret;

	/* The table of mounts, which tells where version 1 is, takes the kernel long to write. */
	creation->cgroup.host = &runtime->cgroups;
	if (!runtime->systemd_cgroup && !runtime->unified &&
	    !container_cgroup_is_named(creation->runtime, creation->container) && !runtime->cgroups_read &&
	    !runtime_cgroups_are_v2(runtime)) {
		creation->joins_late = true;
		return 0;
	}
	ret = write_config(creation, err);
	if (ret == 0)
		ret = container_choose_cgroup(runtime, creation->container, err);
	if (ret < 0 || runtime->cgroups.count == 0)
		return ret;
	if (!creation->container->systemd_cgroup && runtime->cgroups.layout == CGROUP_V2)
		return make_cgroup(creation, err);
	creation->joins_late = true;
	if (!creation->container->systemd_cgroup && runtime->cgroups.layout == CGROUP_HYBRID &&
	    (runtime->unified || container_cgroup_is_named(creation->runtime, creation->container)))
		return make_v2_part(creation, err);
	creation->cgroup.host = &runtime->cgroups;
	creation->cgroup.path = strdup(creation->container->cgroup_path);
	return creation->cgroup.path ? 0 : error_errno(err, ENOMEM, "cannot name the cgroup");
}

/* Of v1's hierarchies systemd manages some; the freezer and cpuset, for two, are not among them. */
static int join_others(struct creation *creation, pid_t pid, struct error *err)
{
	const char *controllers[RESOURCES_CONTROLLERS_MAX + 1];
	const struct container *container = creation->container;
	int ret;

	if (creation->runtime->cgroups.layout == CGROUP_V2)
		return 0;
	container_controllers(creation->runtime, &container->spec.linux_.resources, controllers);
	cgroup_close(&creation->cgroup);
	ret = cgroup_create(&creation->runtime->cgroups, container->cgroup_path, controllers, 0,
			    creation->runtime->rootless, &creation->cgroup, err);
	return ret < 0 ? ret : cgroup_attach(&creation->cgroup, pid, err);
}

static int join_late(void *context, pid_t pid, int doors[static CGROUP_HIERARCHIES_MAX], struct error *err)
{
	struct creation *creation = context;
	int ret;

	cgroup_close(&creation->cgroup);
	creation->cgroup.host = &creation->runtime->cgroups;
	if (!creation->container->cgroup_path) {
		ret = container_choose_cgroup(creation->runtime, creation->container, err);
		if (ret < 0 || creation->runtime->cgroups.count == 0)
			return ret;
	}
	if (!creation->container->systemd_cgroup) {
		ret = make_cgroup(creation, err);
		return ret < 0 ? ret : cgroup_doors_open(&creation->cgroup, creation->born_in_v2, doors, err);
	}
	ret = container_start_scope(creation->runtime, creation->container, pid, &creation->cgroup, err);
	if (ret < 0)
		return ret;
	free(creation->container->cgroup_path);
	creation->container->cgroup_path = strdup(creation->cgroup.path);
	if (!creation->container->cgroup_path)
		return error_errno(err, ENOMEM, "cannot name the cgroup");
	creation->has_cgroup = true;
	ret = join_others(creation, pid, err);
	return ret < 0 ? ret : apply_resources(creation, err);
}

/* The socket that `start` connects to; bound by the directory's descriptor, as a path may be too long for an address.
 */
static int make_start_socket(struct creation *creation, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/start",
		       creation->container->dir_fd);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
		return error_errno(err, errno, "cannot make the start socket");
	creation->start_socket = take_fd(&fd);
	return 0;
}

static int prepare_state(struct creation *creation, struct error *err)
{
	struct container *container = creation->container;
	struct process_stat stat;

	container->pid = creation->shell.pid;
	if (process_stat_read(container->pid, &stat) < 0)
		return error_set(err, ESRCH, "container process ended during its set-up");
	container->pid_start = stat.start;
	return container_prepare_state(container, err);
}

/* From here on others see a container. */
static int publish(const struct creation *creation, struct error *err)
{
	const struct container *container = creation->container;
	int ret = container_commit_state(container, err);

	container_debug(creation->runtime, "child process in init(): process %d has its namespaces and its cgroup",
			container->pid);
	if (container->spec.linux_.seccomp.set)
		container_debug(creation->runtime, "seccomp filter flags: %u",
				creation->filter.flags & ~(unsigned int)SECCOMP_FILTER_FLAG_NEW_LISTENER);
	return ret == 0 && creation->options->pid_file
		       ? container_write_pid_file(creation->options->pid_file, container->pid, err)
		       : ret;
}

/* Nothing is left to be done for the child once its cgroup is made: it need not tell that it is ready, and wait. */
static bool may_go_by_itself(const struct creation *creation)
{
	const struct oci_spec *spec = &creation->container->spec;

	return creation->start_socket < 0 && creation->joins_late && !confines_late(creation) &&
	       !spec->linux_.intel_rdt.set && shell_asks_nothing(spec);
}

static int spawn(struct creation *creation, struct shell_options *shell_options, struct error *err)
{
	struct runtime_create_options *options = creation->options;
	struct container *container = creation->container;
	int ret;

	*shell_options = (struct shell_options){
		.spec = &container->spec,
		.paradigm = container->paradigm,
		.setup = container->paradigm->prepare ? &creation->setup : NULL,
		.bundle = container->bundle,
		.rootfs = container->rootfs,
		.rootfs_fd = creation->setup.rootfs_fd,
		.cgroup = creation->has_cgroup || creation->joins_late ? &creation->cgroup : NULL,
		.join = creation->joins_late ? join_late : NULL,
		.confine = confine,
		.start_socket = creation->start_socket,
		.console_socket = options->console_socket,
		.keep_console = options->keep_console,
		.plain_lines = options->plain_lines,
		.stdio = { options->stdio[0], options->stdio[1], options->stdio[2] },
		.preserve_fds = options->preserve_fds,
		.filter = &creation->filter,
		.no_pivot = options->no_pivot,
		.keyring = container->keyring,
		.state = state_for_hooks,
		.state_context = creation,
	};
	ret = shell_spawn(shell_options, &creation->shell, err);
	if (ret == 0)
		container_debug(creation->runtime, "nsexec container setup: process %d is on its way in",
				creation->shell.pid);
	/* While the child mounts: its cgroup, which it waits for first, and most of the state. */
	if (ret == 0)
		ret = write_config(creation, err);
	if (ret == 0)
		ret = shell_join(&creation->shell, err);
	if (ret == 0)
		ret = prepare_state(creation, err);
	if (ret == 0 && may_go_by_itself(creation)) {
		ret = publish(creation, err);
		return ret < 0 ? ret : shell_hand(&creation->shell, true, err);
	}
	if (ret == 0 && creation->joins_late && shell_asks_nothing(&container->spec))
		ret = shell_hand(&creation->shell, false, err);
	if (ret == 0)
		ret = shell_prepare(&creation->shell, err);
	/* With a stand-in the real child's pid is known only now. */
	if (ret == 0 && (creation->shell.pid != container->pid || container->intel_rdt_path))
		ret = prepare_state(creation, err);
	return ret < 0 ? ret : publish(creation, err);
}

/* The other hierarchies' parts of that cgroup are somebody else's, with whatever runs in them. */
static void remove_v2_part(const struct creation *creation)
{
	const struct runtime *runtime = creation->runtime;
	int v2 = cgroup_host_find(&runtime->cgroups, "");
	struct cgroup cgroup;

	if (v2 < 0 || cgroup_open(&runtime->cgroups, creation->container->cgroup_path, &cgroup, NULL) < 0)
		return;
	cgroup.present &= UINT32_C(1) << v2;
	(void)cgroup_remove(&cgroup, NULL);
	cgroup_close(&cgroup);
}

/* Undoes what was made, in reverse; the error that brought us here stays. */
static void undo(struct creation *creation)
{
	struct container *container = creation->container;

	if (creation->shell.pid > 0)
		shell_abort(&creation->shell);
	if (creation->options->pid_file && container->pid > 0)
		(void)unlink(creation->options->pid_file);
	cgroup_close(&creation->cgroup);
	if (container->dir_fd < 0)
		return;
	if (creation->prepared)
		container_clean_paradigm(creation->runtime, container);
	/* One that could not be made, or had processes in it, is not ours to clear. */
	if (creation->has_cgroup)
		(void)container_remove_cgroup(creation->runtime, container, NULL);
	else if (creation->born_in_v2)
		remove_v2_part(creation);
	(void)container_remove_rdt(creation->runtime, container, NULL);
	(void)container_directory_remove(creation->runtime, container, NULL);
	container_run_poststop(creation->runtime, container);
}

static int run_poststart(struct runtime *runtime, struct container *container, struct error *err)
{
	cleanup_free char *state = NULL;

	(void)runtime;
	if (container->spec.hooks.poststart.count == 0)
		return 0;
	state = container_state_json(container, RUNTIME_RUNNING, 0);
	return hooks_run(&container->spec.hooks.poststart, "poststart", container->bundle, state ? state : "{}", err);
}

/* What it makes of the specification is the shell's; on disk stays what the user asked for. */
static int prepare_paradigm(struct creation *creation, struct error *err)
{
	int ret = 0;

	/* First, for who finds the directory of one that was killed: it tells where there may be something to clean. */
	if (creation->container->paradigm->clean)
		ret = write_config(creation, err);
	if (ret == 0)
		ret = container_prepare_paradigm(creation->runtime, creation->container, creation->config,
						 creation->config_size, &creation->setup, err);
	creation->prepared = ret == 0;
	return ret;
}

static void warn_of_set(const struct creation *creation, uint64_t set, const char *why)
{
	for (int i = 0; set; i++, set >>= 1) {
		if (set & 1)
			container_warn(creation->runtime, "ignoring the capability %s: %s",
				       capability_name(i) ? capability_name(i) : "?", why);
	}
}

/* config.md: what cannot be granted is to be logged and is no reason to fail. */
static void warn_of_capabilities(const struct creation *creation)
{
	const struct oci_spec *spec = &creation->container->spec;
	const struct oci_capabilities *capabilities = &spec->process.capabilities;

	for (size_t i = 0; i < capabilities->unknown.count; i++)
		container_warn(creation->runtime, "ignoring the unknown capability %s", capabilities->unknown.items[i]);
	warn_of_set(creation, capabilities->effective & ~capabilities->permitted, "effective, but not permitted");
	/* In a new user namespace there are all. */
	if (capabilities->permitted && !spec->linux_.namespaces[OCI_NS_USER].set)
		warn_of_set(creation, capabilities->permitted & ~capability_own_permitted(),
			    "the caller has not got it");
}

/* A pid namespace of the container's has a process 1 to take its orphans. */
static int become_subreaper(const struct creation *creation, struct error *err)
{
	if (!creation->options->subreaper || creation->container->spec.linux_.namespaces[OCI_NS_PID].set)
		return 0;
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? error_errno(err, errno, "cannot become a subreaper") : 0;
}

static int create(struct runtime *runtime, const char *id, struct runtime_create_options *options,
		  struct container *container, bool run, struct error *err)
{
	struct creation creation = { .runtime = runtime,
				     .container = container,
				     .options = options,
				     .cgroup = CGROUP_INIT,
				     .shell = { .pidfd = -1, .sync = -1, .console = -1 },
				     .setup = { .rootfs_fd = options->rootfs_fd, .cache_fd = -1 },
				     .start_socket = -1 };
	struct shell_options shell_options;
	int ret;

	*container = (struct container){ .dir_fd = -1, .paradigm = options->paradigm };
	ret = check_id(id, err);
	if (ret == 0)
		ret = read_config(&creation, err);
	if (ret == 0)
		ret = complete(&creation, err);
	if (ret == 0)
		ret = add_listen_fds(&creation, err);
	if (ret == 0) {
		warn_of_capabilities(&creation);
		ret = make_directory(&creation, id, err);
	}
	if (ret == 0)
		ret = prepare_paradigm(&creation, err);
	if (ret == 0)
		ret = become_subreaper(&creation, err);
	if (ret == 0)
		ret = plan_cgroup(&creation, err);
	if (ret == 0 && options->notify)
		ret = container_notify_prepare(container, err);
	if (ret == 0 && options->notify && run) {
		options->notify_fd_out = container_notify_listen(container, err);
		ret = options->notify_fd_out < 0 ? options->notify_fd_out : 0;
	}
	if (ret == 0 && !run)
		ret = make_start_socket(&creation, err);
	if (ret == 0) {
		creation.spawned = true;
		ret = container_compile_seccomp(runtime, container, &creation.filter, err);
	}
	if (ret == 0)
		ret = spawn(&creation, &shell_options, err);
	if (ret == 0)
		ret = shell_release(&creation.shell, err);
	if (ret == 0)
		container_debug(runtime, "init: closing the pipe to signal completion");
	/* A runtime that stands behind the paradigm may have said so. */
	if (ret < 0 && creation.spawned && !(err && str_starts(err->text, START_FAILED)))
		(void)error_wrap(err, START_FAILED);
	if (ret == 0 && run)
		ret = run_poststart(runtime, container, err);
	if (creation.prepared)
		container_release_paradigm(container, &creation.setup);
	if (ret < 0) {
		undo(&creation);
		container_close(container);
		if (options->notify_fd_out >= 0)
			close(options->notify_fd_out);
		options->notify_fd_out = -1;
	} else {
		options->console_fd_out = take_fd(&creation.shell.console);
		shell_close(&creation.shell);
		cgroup_close(&creation.cgroup);
		(void)flock(container->dir_fd, LOCK_UN);
	}
	if (creation.start_socket >= 0)
		close(creation.start_socket);
	seccomp_filter_free(&creation.filter);
	free(creation.config);
	return ret;
}

int runtime_create(struct runtime *runtime, const char *id, struct runtime_create_options *options,
		   struct container *container, struct error *err)
{
	return create(runtime, id, options, container, false, err);
}

int runtime_run(struct runtime *runtime, const char *id, struct runtime_create_options *options,
		struct container *container, struct error *err)
{
	return create(runtime, id, options, container, true, err);
}

static char *state_of_container(void *context, pid_t pid, const char *status)
{
	struct container shown = *(const struct container *)context;

	shown.pid = pid;
	return container_state_json(&shown, before_start(status), 0);
}

int runtime_start(struct runtime *runtime, struct container *container, struct error *err)
{
	char path[FILE_FD_PATH_MAX + sizeof("/start")];
	cleanup_close int socket_fd = -1, pidfd = -1;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	enum runtime_status status;
	int ret = container_status(runtime, container, &status, err);

	if (ret < 0)
		return ret;
	if (status == RUNTIME_STOPPED)
		return error_set(err, EINVAL, "cannot start a container that has stopped");
	if (status != RUNTIME_CREATED)
		return error_set(err, EINVAL, "cannot start an already running container");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/start", container->dir_fd);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pidfd = pidfd_of(container->pid);
	if (socket_fd < 0 || pidfd < 0 || connect(socket_fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err, errno, "cannot reach the container process");
	/* Whatever comes of it: it can be started once. */
	(void)unlinkat(container->dir_fd, "start", 0);
	ret = shell_start(socket_fd, pidfd, container->pid, &container->spec, state_of_container, container, err);
	if (ret == 0)
		ret = run_poststart(runtime, container, err);
	if (ret < 0)
		(void)pidfd_kill(pidfd, SIGKILL);
	/* A hook that failed ends the container's life, delete included; a program that cannot run leaves it stopped.
	 */
	if (ret == -EPROTO || ret == -ETIMEDOUT)
		(void)runtime_delete(runtime, container, true, NULL);
	return ret;
}
