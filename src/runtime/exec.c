/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec: one more process in a running container, in its cgroup or in chosen
 * cgroups below it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/process.h"
#include "linux/tty.h"
#include "paradigm/shell/shell.h"
#include "runtime/internal.h"

enum { CGROUPS_MAX = CGROUP_HIERARCHIES_MAX + 1 };

/* Where the process goes: the first is the container's own, less the hierarchies that the others have. */
struct places {
	size_t count;
	struct cgroup cgroups[CGROUPS_MAX];
};

static void places_close(struct places *places)
{
	for (size_t i = 0; i < places->count; i++)
		cgroup_close(&places->cgroups[i]);
}
#define cleanup_places __attribute__((cleanup(places_close)))

/* The hierarchies of "cpu,memory", of the v2 tree for "", as bits; 0 and an error for one that is not there. */
static uint32_t find_hierarchies(const struct cgroup_host *host, const char *controllers, size_t length,
				 struct error *err)
{
	uint32_t found = 0;

	for (const char *end = controllers + length; controllers <= end;) {
		size_t name_length = strcspn(controllers, ",:");
		char name[64];
		int index;

		(void)snprintf(name, sizeof(name), "%.*s", (int)name_length, controllers);
		index = cgroup_host_find(host, name);
		if (index < 0) {
			(void)error_set(err, EINVAL, "unknown controller %s in --cgroup", name);
			return 0;
		}
		found |= UINT32_C(1) << index;
		controllers += name_length + 1;
	}
	return found;
}

/* "[CONTROLLER[,CONTROLLER...]:]PATH" */
static int add_place(const struct runtime *runtime, const struct container *container, const char *wanted,
		     struct places *places, struct error *err)
{
	const struct cgroup_host *host = &runtime->cgroups;
	const char *colon = strchr(wanted, ':'), *path = colon ? colon + 1 : wanted;
	uint32_t hierarchies = UINT32_MAX >> (32 - CGROUP_HIERARCHIES_MAX);
	cleanup_free char *clean = path_clean(*path == '/' ? path + 1 : path), *full = NULL;
	struct cgroup *own = &places->cgroups[0], *place = &places->cgroups[places->count];
	int ret;

	if (!clean)
		return error_errno(err, ENOMEM, "cannot name the sub-cgroup");
	if (strcmp(clean, "..") == 0 || str_starts(clean, "../"))
		return error_set(err, EINVAL, "bad sub cgroup path: %s", path);
	if (places->count == CGROUPS_MAX)
		return error_set(err, E2BIG, "too many --cgroup");
	if (colon) {
		hierarchies = find_hierarchies(host, wanted, (size_t)(colon - wanted), err);
		if (!hierarchies)
			return -EINVAL;
	}
	full = strcmp(clean, ".") == 0 ? strdup(container->cgroup_path) : path_join(container->cgroup_path, clean);
	ret = full ? cgroup_open(host, full, place, NULL) : -ENOMEM;
	if (ret == -ENOENT)
		return error_set(err, ENOENT, "error adding pid to cgroup %s: no such file or directory", full);
	if (ret < 0)
		return error_errno(err, -ret, "error adding pid to cgroup %s", wanted);
	places->count++;
	place->present &= hierarchies & own->present;
	own->present &= ~place->present;
	return 0;
}

static int find_places(struct runtime *runtime, const struct container *container, const char *const *wanted,
		       struct places *places, struct error *err)
{
	int ret = container_cgroup(runtime, container, &places->cgroups[0], err);

	/* Without rights to any cgroup (rootless) a container has none, and runs all the same. */
	if (ret == -ENOENT && !(wanted && *wanted))
		return 0;
	places->count = ret == 0;
	for (; ret == 0 && wanted && *wanted; wanted++)
		ret = add_place(runtime, container, *wanted, places, err);
	return ret;
}

static char *state_for_exec(void *context, pid_t pid, const char *status)
{
	(void)pid;
	(void)status;
	return container_state_json(context, RUNTIME_RUNNING, 0);
}

static int confine(void *context, pid_t pid, struct error *err)
{
	return container_join_rdt(context, pid, err);
}

static int check_runs(struct runtime *runtime, struct container *container, bool ignore_paused, struct error *err)
{
	enum runtime_status status;
	int ret = container_status(runtime, container, &status, err);

	if (ret < 0)
		return ret;
	if (status == RUNTIME_STOPPED || status == RUNTIME_CREATING)
		return error_set(err, EINVAL, "cannot exec in a stopped container");
	if (status == RUNTIME_PAUSED && !ignore_paused)
		return error_set(err, EINVAL, "cannot exec in a paused container (use --ignore-paused to override)");
	return 0;
}

/* With the CPUs of the way in, where they were chosen. */
static void tell_setup(const struct runtime *runtime, const struct oci_process *process)
{
	const char *initial = process->exec_cpu_affinity.initial;
	uint64_t cpus;

	if (runtime->debug && initial && process_parse_list(initial, &cpus, 64) == 0)
		container_debug(runtime, "nsexec container setup: affinity: 0x%jx", (uintmax_t)cpus);
	else
		container_debug(runtime, "nsexec container setup");
}

static int run(struct runtime *runtime, struct container *container, struct runtime_exec_options *options,
	       struct places *places, pid_t *pid, struct error *err)
{
	cleanup_close int pidfd = container_open_init(container);
	struct seccomp_filter filter;
	struct shell_exec_options exec = {
		.spec = &container->spec,
		.process = options->process,
		.paradigm = container->paradigm,
		.pid = container->pid,
		.pidfd = pidfd,
		.cgroups = places->cgroups,
		.cgroups_count = places->count,
		.console_socket = options->console_socket,
		.keep_console = options->keep_console,
		.plain_lines = options->plain_lines,
		.stdio = { options->stdio[0], options->stdio[1], options->stdio[2] },
		.preserve_fds = options->preserve_fds,
		.seconds = options->seconds,
		.filter = &filter,
		.keyring = container->keyring,
		.state = state_for_exec,
		.confine = confine,
		.state_context = container,
	};
	int ret;

	if (pidfd < 0)
		return error_set(err, ESRCH, "cannot exec in a stopped container");
	tell_setup(runtime, options->process);
	ret = container_compile_seccomp(runtime, container, &filter, err);
	if (ret == 0)
		ret = shell_exec(&exec, pid, &options->console_fd_out, err);
	seccomp_filter_free(&filter);
	if (ret == 0) {
		container_debug(runtime, "child process in init(): process %d is in the container", *pid);
		container_debug(runtime, "setns_init: about to exec %s", options->process->args.items[0]);
	}
	if (ret < 0)
		(void)error_wrap(err, "unable to start container process");
	return ret;
}

/* For a process that the host's kernel does not know, so that its terminal can only be one of the caller's. */
static int make_terminal(struct runtime_exec_options *options, int *terminal, struct error *err)
{
	cleanup_close int pts = open("/dev/pts", O_RDONLY | O_DIRECTORY | O_CLOEXEC), master = -1;
	const struct oci_process *process = options->process;

	if (pts < 0)
		return error_errno(err, errno, "process.terminal needs a devpts at /dev/pts");
	master = tty_open(pts, err);
	if (master < 0)
		return master;
	*terminal = tty_open_peer(master, err);
	if (*terminal < 0)
		return *terminal;
	if (process->console_size.set)
		(void)tty_set_size(master, process->console_size.height, process->console_size.width);
	if (!options->keep_console)
		return options->console_socket ? tty_send_master(options->console_socket, master, "/dev/ptmx", err) : 0;
	if (options->plain_lines)
		(void)tty_end_lines_plainly(master);
	options->console_fd_out = take_fd(&master);
	return 0;
}

/* The paradigm's own way in. */
static int run_by_paradigm(const struct runtime *runtime, const struct container *container,
			   struct runtime_exec_options *options, pid_t *pid, struct error *err)
{
	cleanup_free char *json = oci_process_json(options->process);
	cleanup_close int terminal = -1;
	struct paradigm_exec exec = {
		.process = options->process,
		.process_json = json,
		.dir = container->dir,
		.dir_fd = container->dir_fd,
		.self = runtime->self,
		.stdio = { options->stdio[0], options->stdio[1], options->stdio[2] },
	};
	int ret = json ? 0 : error_errno(err, ENOMEM, "cannot describe the process");

	if (ret == 0 && options->process->terminal) {
		ret = make_terminal(options, &terminal, err);
		for (int i = 0; i < 3; i++)
			exec.stdio[i] = terminal;
	}
	if (ret == 0)
		ret = container->paradigm->exec(&exec, pid, err);
	if (ret < 0 && options->console_fd_out >= 0) {
		close(options->console_fd_out);
		options->console_fd_out = -1;
	}
	return ret < 0 ? (error_wrap(err, "unable to start container process"), ret) : 0;
}

int runtime_exec(struct runtime *runtime, struct container *container, struct runtime_exec_options *options, pid_t *pid,
		 struct error *err)
{
	cleanup_places struct places places = { .count = 0 };
	int ret = check_runs(runtime, container, options->ignore_paused, err);

	if (ret == 0 && container->paradigm->exec) {
		ret = run_by_paradigm(runtime, container, options, pid, err);
	} else if (ret == 0) {
		ret = find_places(runtime, container, options->cgroups, &places, err);
		if (ret == 0)
			ret = run(runtime, container, options, &places, pid, err);
	}
	if (ret < 0 || !options->pid_file)
		return ret;
	ret = container_write_pid_file(options->pid_file, *pid, err);
	if (ret < 0) {
		(void)kill(*pid, SIGKILL);
		(void)waitpid(*pid, NULL, 0);
	}
	return ret;
}
