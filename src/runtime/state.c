/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a container, and what is read out of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/clone.h"
#include "runtime/internal.h"

enum { ID_MAX = 255 };

/* As in runc: a user who has become root of a user namespace keeps the directory, root in a container does not. */
static bool is_users(void)
{
	const char *user = getenv("USER");

	return geteuid() != 0 || (namespace_user_is_made() && !(user && strcmp(user, "root") == 0));
}

static char *default_root(void)
{
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (run && *run && is_users())
		return path_join(run, "caisson-oci");
	return strdup("/run/caisson-oci");
}

int runtime_open(struct runtime *runtime, const char *root, struct error *err)
{
	*runtime = (struct runtime){ .root = root && *root ? path_absolute(root) : default_root() };
	return runtime->root ? 0 : error_errno(err, ENOMEM, "cannot name the state directory");
}

void runtime_close(struct runtime *runtime)
{
	free(runtime->root);
	if (runtime->cgroups_read)
		cgroup_host_free(&runtime->cgroups);
	*runtime = (struct runtime){ 0 };
}

bool runtime_cgroups_are_v2(struct runtime *runtime)
{
	if (!runtime->cgroups_asked)
		runtime->cgroups_v2 = cgroup_host_is_v2();
	runtime->cgroups_asked = true;
	return runtime->cgroups_v2;
}

int runtime_read_cgroups(struct runtime *runtime, struct error *err)
{
	int ret;

	if (runtime->cgroups_read)
		return 0;
	ret = cgroup_host_read_as(&runtime->cgroups, runtime_cgroups_are_v2(runtime), err);
	runtime->cgroups_read = ret == 0;
	return ret;
}

void container_debug(const struct runtime *runtime, const char *format, ...)
{
	char text[ERROR_TEXT_MAX + 128];
	va_list args;

	if (!runtime->debug)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	runtime->debug(runtime->warn_context, text);
}

void container_warn(const struct runtime *runtime, const char *format, ...)
{
	char text[ERROR_TEXT_MAX + 128];
	va_list args;

	if (!runtime->warn)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	runtime->warn(runtime->warn_context, text);
}

const char *runtime_status_name(enum runtime_status status)
{
	static const char *const names[] = { "creating", "created", "running", "paused", "stopped" };

	return names[status];
}

bool container_id_is_valid(const char *id)
{
	size_t length = strlen(id);

	return length > 0 && length <= ID_MAX && strcmp(id, ".") != 0 && strcmp(id, "..") != 0 &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") == length;
}

/* A stale directory has a configuration at most: what was made after it was written is found through it. */
static int clean_stale(struct runtime *runtime, struct container *container, struct error *err)
{
	cleanup_free char *config = NULL;
	size_t size;
	int ret;

	if (file_read(container->dir_fd, "config.json", CONFIG_MAX, &config, &size, NULL) == 0 &&
	    oci_spec_parse(config, size, &container->spec, NULL) == 0) {
		container_clean_paradigm(runtime, container);
		if (container_choose_cgroup(runtime, container, NULL) == 0) {
			container_forget_cgroup(runtime, container);
			ret = container_remove_rdt(runtime, container, err);
			if (ret < 0)
				return ret;
		}
	}
	return container_directory_remove(runtime, container, err);
}

static int open_directory(struct runtime *runtime, const char *id, struct container *container)
{
	*container = (struct container){ .dir_fd = -1, .id = strdup(id), .dir = path_join(runtime->root, id) };
	if (!container->id || !container->dir)
		return -ENOMEM;
	container->dir_fd = open(container->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return container->dir_fd < 0 ? -errno : 0;
}

/* 0 when the directory existed but is gone now, -EEXIST when it is a container's. */
static int take_over_stale(struct runtime *runtime, const char *id, bool wait, struct error *err)
{
	struct container stale;
	int ret = open_directory(runtime, id, &stale);

	if (ret == 0 && flock(stale.dir_fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0)
		ret = -EEXIST; /* somebody is creating it right now */
	else if (ret == 0 && faccessat(stale.dir_fd, "state.json", F_OK, 0) == 0)
		ret = -EEXIST;
	else if (ret == 0)
		ret = clean_stale(runtime, &stale, err);
	container_close(&stale);
	return ret == -ENOENT ? 0 : ret;
}

int runtime_sweep(struct runtime *runtime, const char *id, struct error *err)
{
	int ret = container_id_is_valid(id) ? take_over_stale(runtime, id, true, err) : -EINVAL;

	return ret == -EEXIST || ret == -EINVAL ? 0 : ret;
}

int runtime_force_out(struct runtime *runtime, const char *id, struct error *err)
{
	cleanup_free char *config = NULL;
	struct container container;
	size_t size;
	int ret = container_id_is_valid(id) ? open_directory(runtime, id, &container) : -EINVAL;

	if (ret == -EINVAL || ret == -ENOENT)
		return 0;
	if (ret == 0 && flock(container.dir_fd, LOCK_EX) < 0)
		ret = -errno;
	if (ret == 0 && file_read(container.dir_fd, "config.json", CONFIG_MAX, &config, &size, NULL) == 0 &&
	    oci_spec_parse(config, size, &container.spec, NULL) == 0) {
		if (container_choose_cgroup(runtime, &container, NULL) == 0)
			ret = container_remove_cgroup(runtime, &container, err);
		container_clean_paradigm(runtime, &container);
	}
	if (ret == 0)
		ret = container_directory_remove(runtime, &container, err);
	container_close(&container);
	return ret;
}

int container_directory_make(struct runtime *runtime, const char *id, struct container *container, struct error *err)
{
	cleanup_free char *dir = NULL;
	int ret = 0;

	*container = (struct container){ .dir_fd = -1 };
	if (!container_id_is_valid(id))
		return error_set(err, EINVAL,
				 "invalid container ID format: \"%s\"; letters, digits and _ + - . may be in it", id);
	dir = path_join(runtime->root, id);
	if (!dir)
		return error_errno(err, ENOMEM, "cannot create container");
	for (int tries = 0; tries < 2; tries++) {
		ret = mkdir(dir, 0711) < 0 ? -errno : 0;
		if (ret == -ENOENT) {
			ret = file_mkdir_all(AT_FDCWD, runtime->root, 0711, err);
			if (ret < 0)
				return ret;
			ret = mkdir(dir, 0711) < 0 ? -errno : 0;
		}
		if (ret != -EEXIST)
			break;
		ret = take_over_stale(runtime, id, false, err);
		if (ret < 0)
			break;
	}
	if (ret == -EEXIST)
		return error_set(err, EEXIST, "container with id exists: %s: container with given ID already exists",
				 id);
	if (ret == 0)
		ret = open_directory(runtime, id, container);
	if (ret == 0 && flock(container->dir_fd, LOCK_EX) < 0)
		ret = -errno;
	return ret < 0 ? error_errno(err, -ret, "cannot make the container's directory %s", dir) : 0;
}

int container_directory_remove(struct runtime *runtime, struct container *container, struct error *err)
{
	(void)runtime;
	/* state.json first: what is left after a kill here is a stale directory, not half a container. */
	(void)unlinkat(container->dir_fd, "state.json", 0);
	(void)unlinkat(container->dir_fd, "config.json", 0);
	if (rmdir(container->dir) == 0 || errno == ENOENT)
		return 0;
	/* Never started, or never ready. */
	return file_remove_all(AT_FDCWD, container->dir, err);
}

static int read_config(struct container *container, struct error *err)
{
	cleanup_free char *text = NULL;
	size_t size;
	int ret = file_read(container->dir_fd, "config.json", CONFIG_MAX, &text, &size, err);

	return ret < 0 ? ret : oci_spec_parse(text, size, &container->spec, err);
}

int container_load(struct runtime *runtime, const char *id, int flags, struct container *container, struct error *err)
{
	int ret;

	*container = (struct container){ .dir_fd = -1 };
	if (!container_id_is_valid(id))
		return error_set(err, EINVAL,
				 "invalid container ID format: \"%s\"; letters, digits and _ + - . may be in it", id);
	ret = open_directory(runtime, id, container);
	if (ret == 0 && (flags & RUNTIME_LOCK) && flock(container->dir_fd, LOCK_EX) < 0)
		ret = -errno;
	if (ret == 0)
		ret = container_read_state(runtime, container, err);
	if (ret == -ENOENT)
		ret = error_set(err, ENOENT, "container \"%s\" does not exist: container does not exist", id);
	else if (ret == 0)
		ret = read_config(container, err);
	else if (container->dir_fd < 0)
		(void)error_errno(err, -ret, "cannot open container %s", id);
	if (ret < 0)
		container_close(container);
	return ret;
}

void container_close(struct container *container)
{
	char **owned[] = { &container->id,	    &container->dir,
			   &container->bundle,	    &container->rootfs,
			   &container->created,	    &container->cgroup_path,
			   &container->cgroup_unit, &container->intel_rdt_path,
			   &container->keyring,	    &container->intel_rdt_monitor };

	if (container->dir_fd >= 0)
		close(container->dir_fd);
	for (size_t i = 0; i < sizeof(owned) / sizeof(*owned); i++)
		free(*owned[i]);
	oci_spec_free(&container->spec);
	*container = (struct container){ .dir_fd = -1 };
}

void container_unlock(const struct container *container)
{
	(void)flock(container->dir_fd, LOCK_UN);
}

bool container_is_alive(const struct container *container)
{
	struct process_stat stat;

	return container->pid > 0 && process_stat_read(container->pid, &stat) == 0 &&
	       stat.start == container->pid_start && stat.state != 'Z' && stat.state != 'X';
}

int container_status(struct runtime *runtime, struct container *container, enum runtime_status *status,
		     struct error *err)
{
	struct cgroup cgroup;
	bool frozen = false;

	if (!container_is_alive(container)) {
		*status = container->pid ? RUNTIME_STOPPED : RUNTIME_CREATING;
		return 0;
	}
	*status = faccessat(container->dir_fd, "start", F_OK, 0) == 0 ? RUNTIME_CREATED : RUNTIME_RUNNING;
	if (*status == RUNTIME_RUNNING && container_cgroup(runtime, container, &cgroup, NULL) == 0) {
		(void)cgroup_frozen(&cgroup, &frozen, NULL);
		cgroup_close(&cgroup);
		if (frozen)
			*status = RUNTIME_PAUSED;
	}
	(void)err;
	return 0;
}

static int compare_ids(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

int runtime_list(struct runtime *runtime, char ***ids, size_t *count, struct error *err)
{
	cleanup_closedir DIR *dir = opendir(runtime->root);
	struct dirent *entry;
	char **list = NULL;
	size_t used = 0;

	*ids = NULL;
	*count = 0;
	if (!dir)
		return errno == ENOENT ? 0 : error_errno(err, errno, "cannot read %s", runtime->root);
	while ((entry = readdir(dir))) {
		cleanup_free char *state = NULL;
		char **grown;

		if (!container_id_is_valid(entry->d_name))
			continue;
		state = path_join(entry->d_name, "state.json");
		if (!state || faccessat(dirfd(dir), state, F_OK, 0) < 0)
			continue;
		grown = realloc(list, (used + 1) * sizeof(*list));
		if (grown)
			list = grown;
		if (!grown || !(list[used] = strdup(entry->d_name))) {
			runtime_ids_free(list, used);
			return error_errno(err, ENOMEM, "cannot list containers");
		}
		used++;
	}
	if (used)
		qsort(list, used, sizeof(*list), compare_ids);
	*ids = list;
	*count = used;
	return 0;
}

void runtime_ids_free(char **ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(ids[i]);
	free(ids);
}

int container_write_pid_file(const char *path, pid_t pid, struct error *err)
{
	cleanup_free char *copy = strdup(path);
	cleanup_close int dir = -1;
	char text[24];
	char *slash = copy ? strrchr(copy, '/') : NULL;

	if (!copy)
		return error_errno(err, ENOMEM, "cannot write %s", path);
	if (slash)
		*slash = '\0';
	dir = open(!slash ? "." : slash == copy ? "/" : copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_errno(err, errno, "cannot write the pid file %s", path);
	(void)snprintf(text, sizeof(text), "%d", pid);
	return file_replace(dir, slash ? slash + 1 : copy, text, strlen(text), 0644, err);
}
