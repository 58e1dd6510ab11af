/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill, delete, pause, resume, update.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "paradigm/shell/hooks.h"
#include "paradigm/shell/resources.h"
#include "paradigm/shell/shell.h"
#include "paradigm/shell/unmount.h"
#include "runtime/internal.h"

enum { DEATH_TIMEOUT = 10000 /* ms */ };

int container_open_init(const struct container *container)
{
	int pidfd = container->pid > 0 ? pidfd_of(container->pid) : -ESRCH;

	if (pidfd >= 0 && !container_is_alive(container)) {
		close(pidfd);
		return -ESRCH;
	}
	return pidfd;
}

/* With a pid namespace of its own the others die with process 1; without, they would be left. */
static bool has_own_pids(const struct container *container)
{
	const struct oci_namespace *pids = &container->spec.linux_.namespaces[OCI_NS_PID];

	return pids->set && !pids->path;
}

/* SIGKILL to all processes of a container that shares its pid namespace; -ENOENT when there are none. */
static int kill_all_of(struct runtime *runtime, const struct container *container, struct error *err)
{
	cleanup_free pid_t *pids = NULL;
	struct cgroup cgroup;
	size_t count = 0;
	int ret = container_cgroup(runtime, container, &cgroup, NULL);

	if (ret < 0)
		return -ENOENT;
	ret = cgroup_procs(&cgroup, &pids, &count, NULL);
	ret = ret == 0 && count > 0 ? cgroup_kill(&cgroup, SIGKILL, err) : -ENOENT;
	cgroup_close(&cgroup);
	return ret;
}

int runtime_kill(struct runtime *runtime, struct container *container, int signal, bool all, struct error *err)
{
	cleanup_close int pidfd = container_open_init(container);
	struct cgroup cgroup;
	int ret;

	if (all) {
		ret = container_cgroup(runtime, container, &cgroup, err);
		if (ret < 0)
			return ret == -ENOENT ? error_set(err, ESRCH, "container not running") : ret;
		ret = cgroup_kill(&cgroup, signal, err);
		cgroup_close(&cgroup);
		return ret;
	}
	if (signal == SIGKILL && !has_own_pids(container)) {
		ret = kill_all_of(runtime, container, err);
		if (ret != -ENOENT)
			return ret;
	}
	ret = pidfd < 0 ? pidfd : pidfd_kill(pidfd, signal);
	if (ret == -ESRCH)
		return error_set(err, ESRCH, "container not running");
	if (ret < 0)
		return error_errno(err, -ret, "cannot signal process %d", container->pid);
	/* A frozen process gets SIGKILL only when it is thawed (v1). */
	if (signal == SIGKILL && container_cgroup(runtime, container, &cgroup, NULL) == 0) {
		bool frozen = false;

		if (cgroup_frozen(&cgroup, &frozen, NULL) == 0 && frozen)
			(void)cgroup_freeze(&cgroup, false, NULL);
		cgroup_close(&cgroup);
	}
	return 0;
}

/* SIGKILL to process 1, and its end awaited: only then can the cgroup go. */
static int kill_and_wait(struct runtime *runtime, struct container *container, struct error *err)
{
	cleanup_close int pidfd = container_open_init(container);
	struct pollfd end = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0)
		return 0;
	if (runtime_kill(runtime, container, SIGKILL, false, err) < 0 && container_is_alive(container))
		return error_wrap(err, "cannot kill container %s", container->id);
	if (poll(&end, 1, DEATH_TIMEOUT) == 0)
		return error_set(err, ETIMEDOUT, "container init still running");
	return 0;
}

/* The document: a poststop hook that fails is worth a warning, and the remaining ones run all the same. */
void container_run_poststop(const struct runtime *runtime, const struct container *container)
{
	const struct oci_hook_list *hooks = &container->spec.hooks.poststop;
	cleanup_free char *state = hooks->count ? container_state_json(container, RUNTIME_STOPPED, 0) : NULL;

	for (size_t i = 0; state && i < hooks->count; i++) {
		struct oci_hook_list one = { .count = 1, .items = &hooks->items[i] };
		struct error failure = ERROR_INIT;

		if (hooks_run(&one, "poststop", container->bundle, state, &failure) < 0)
			container_warn(runtime, "%s", failure.text);
	}
}

int runtime_delete(struct runtime *runtime, struct container *container, bool force, struct error *err)
{
	enum runtime_status status;
	int ret = container_status(runtime, container, &status, err);

	if (ret < 0)
		return ret;
	if (status != RUNTIME_STOPPED && status != RUNTIME_CREATED && !force)
		return error_set(err, EBUSY, "cannot delete container %s that is not stopped: %s", container->id,
				 runtime_status_name(status));
	ret = kill_and_wait(runtime, container, err);
	if (ret == 0) {
		container_clean_paradigm(runtime, container);
		unmount_all(&container->spec, container->rootfs);
		ret = container_remove_cgroup(runtime, container, err);
	}
	if (ret == 0)
		ret = container_remove_rdt(runtime, container, err);
	if (ret == 0)
		ret = container_directory_remove(runtime, container, err);
	if (ret < 0)
		return ret;
	container_run_poststop(runtime, container);
	return 0;
}

static int set_frozen(struct runtime *runtime, struct container *container, bool freeze, struct error *err)
{
	struct cgroup cgroup;
	enum runtime_status status;
	int ret = container_status(runtime, container, &status, err);

	if (ret == 0 && freeze && status != RUNTIME_RUNNING && status != RUNTIME_CREATED)
		return error_set(err, EINVAL, "container not running");
	if (ret == 0 && !freeze && status != RUNTIME_PAUSED)
		return error_set(err, EINVAL, "container not paused");
	if (ret == 0)
		ret = container_cgroup(runtime, container, &cgroup, err);
	if (ret < 0)
		return ret;
	ret = cgroup_freeze(&cgroup, freeze, err);
	cgroup_close(&cgroup);
	return ret;
}

int runtime_pause(struct runtime *runtime, struct container *container, struct error *err)
{
	return set_frozen(runtime, container, true, err);
}

int runtime_resume(struct runtime *runtime, struct container *container, struct error *err)
{
	return set_frozen(runtime, container, false, err);
}

/* Into a hierarchy that was added.  What forks meanwhile is caught by the next round. */
static int move_along(const struct cgroup *cgroup, struct error *err)
{
	enum { ROUNDS = 3 };

	for (int round = 0; round < ROUNDS; round++) {
		cleanup_free pid_t *pids = NULL;
		size_t count;
		int ret = cgroup_procs(cgroup, &pids, &count, err);

		for (size_t i = 0; ret == 0 && i < count; i++) {
			ret = cgroup_attach(cgroup, pids[i], err);
			if (ret == -ESRCH)
				ret = 0;
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Memory without a limit is memory and swap without one, where swap is counted: the old sum would be in the way. */
static void lift_swap(const struct cgroup *cgroup, struct oci_resources *resources)
{
	bool v2 = cgroup->host->layout == CGROUP_V2;
	uint64_t limit;

	if (resources->memory.limit.set && resources->memory.limit.value == -1 && !resources->memory.swap.set &&
	    cgroup_read_u64(cgroup, v2 ? "" : "memory", v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes", &limit,
			    NULL) == 0)
		resources->memory.swap = resources->memory.limit;
}

/* Before it does: who attends to the container removes its cgroup where it was made, and here. */
static int note_growth(const struct container *container, struct error *err)
{
	cleanup_close int fd = openat(container->dir_fd, CGROUP_GREW, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? error_errno(err, errno, "cannot write %s/" CGROUP_GREW, container->dir) : 0;
}

int runtime_update(struct runtime *runtime, struct container *container, const struct oci_resources *resources,
		   struct error *err)
{
	struct oci_resources wanted = *resources;
	const char *controllers[RESOURCES_CONTROLLERS_MAX + 1];
	struct cgroup cgroup;
	enum runtime_status status;
	uint32_t before;
	int ret = container_status(runtime, container, &status, err);

	if (ret == 0 && status == RUNTIME_STOPPED)
		return error_set(err, EINVAL, "container not running");
	/* Who would have to give memory back is frozen. */
	if (ret == 0 && container->paradigm->update && status == RUNTIME_PAUSED && wanted.memory.limit.set)
		return error_set(err, EBUSY, "container is paused; resume it first");
	if (ret == 0 && container->paradigm->update)
		ret = container->paradigm->update(container->dir_fd, &container->spec, &wanted, err);
	if (ret == 0)
		ret = container_cgroup(runtime, container, &cgroup, err);
	if (ret < 0)
		return ret;
	before = cgroup.present;
	cgroup_close(&cgroup);
	ret = note_growth(container, err);
	if (ret < 0)
		return ret;
	/* A limit may need a hierarchy that the container is not in yet. */
	container_controllers(runtime, &wanted, controllers);
	ret = cgroup_create(&runtime->cgroups, container->cgroup_path, controllers,
			    container_cgroup_is_named(runtime, container) ? CGROUP_CREATE_EVERYWHERE : 0,
			    runtime->rootless, &cgroup, err);
	if (ret < 0)
		return ret;
	if (cgroup.present != before)
		ret = move_along(&cgroup, err);
	if (ret == 0)
		lift_swap(&cgroup, &wanted);
	if (ret == 0 && container->systemd_cgroup)
		ret = container_update_scope(container, runtime->cgroups.layout, &wanted, err);
	if (ret == 0)
		ret = resources_apply(&cgroup, &wanted, RESOURCES_UPDATE | (runtime->rootless ? RESOURCES_ROOTLESS : 0),
				      err);
	cgroup_close(&cgroup);
	return ret;
}
