/* SPDX-License-Identifier: Apache-2.0 */
/* Making, finding, entering, and removing the directories of a cgroup, and its control files. */
#include "linux/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/cgroup_private.h"

enum { CONTROL_FILE_MAX = 16 << 20, DIRECTORY_MODE = 0755, REMOVE_WAIT_US = 1000000 };

int cgroup_file_path(const struct cgroup *cgroup, size_t i, const char *file, char path[static PATH_MAX])
{
	const char *mount = cgroup->host->hierarchies[i].mount;
	int length = snprintf(path, PATH_MAX, "%s%s%s%s%s", mount, *cgroup->path ? "/" : "", cgroup->path,
			      file ? "/" : "", file ? file : "");

	return length >= 0 && length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int cgroup_file_open(const struct cgroup *cgroup, size_t i, const char *file, int flags)
{
	char path[PATH_MAX];
	int ret = cgroup_file_path(cgroup, i, file, path), fd;

	if (ret < 0)
		return ret;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_file_write(const struct cgroup *cgroup, size_t i, const char *file, const char *text, struct error *err)
{
	char path[PATH_MAX];
	int ret = cgroup_file_path(cgroup, i, file, path);

	if (ret == 0)
		ret = file_write_text(AT_FDCWD, path, text);
	if (ret == -ENAMETOOLONG)
		return error_errno(err, ENAMETOOLONG, "cgroup %s", cgroup->path);
	if (ret < 0)
		return error_errno(err, -ret, "cannot write \"%.200s\" to %s", text, path);
	return 0;
}

int cgroup_file_read(const struct cgroup *cgroup, size_t i, const char *file, char **text, struct error *err)
{
	char path[PATH_MAX];

	if (cgroup_file_path(cgroup, i, file, path) < 0)
		return error_errno(err, ENAMETOOLONG, "cgroup %s", cgroup->path);
	return file_read(AT_FDCWD, path, CONTROL_FILE_MAX, text, NULL, err);
}

bool cgroup_wait_nap(struct cgroup_wait *wait)
{
	struct timespec nap;

	if (wait->left_us <= 0)
		return false;
	wait->nap_us = wait->nap_us ? wait->nap_us * 2 : 100;
	if (wait->nap_us > 20000)
		wait->nap_us = 20000;
	wait->left_us -= wait->nap_us;
	nap = (struct timespec){ .tv_nsec = wait->nap_us * 1000 };
	(void)nanosleep(&nap, NULL);
	return true;
}

/* Drops empty and "." components; refuses "..", which would lead to cgroups that are not the caller's to name. */
static int set_path(const char *path, struct cgroup *cgroup, struct error *err)
{
	cleanup_str struct str clean = STR_INIT;

	for (const char *at = path; *at;) {
		size_t length = strcspn(at, "/");

		if (length == 2 && at[0] == '.' && at[1] == '.')
			return error_set(err, EINVAL, "cgroup path %s: \"..\" is not allowed in it", path);
		if (length > 0 && !(length == 1 && at[0] == '.')) {
			if (clean.length > 0)
				str_append(&clean, "/");
			str_append_bytes(&clean, at, length);
		}
		at += length;
		at += *at == '/';
	}
	cgroup->path = str_failed(&clean) ? NULL : strdup(str_text(&clean));
	return cgroup->path ? 0 : error_errno(err, ENOMEM, "cgroup path %s", path);
}

/* cpuset of v1 takes no task into a cgroup without cpus and mems: fills file of dir from the nearest that has some. */
static int cpuset_inherit(const char *dir, const char *mount, const char *file, char value[static 1024], bool fresh)
{
	char path[PATH_MAX];
	ssize_t count = 0;
	int ret;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (!fresh) {
		cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return -errno;
		count = read(fd, value, 1023);
		if (count < 0)
			return -errno;
		value[count] = '\0';
	}
	if (count > 1 || strcmp(dir, mount) == 0)
		return 0;
	*strrchr(path, '/') = '\0';
	*strrchr(path, '/') = '\0';
	ret = cpuset_inherit(path, mount, file, value, false);
	if (ret < 0)
		return ret;
	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	return file_write_text(AT_FDCWD, path, value);
}

static int cpuset_prepare(const char *dir, const char *mount, bool fresh)
{
	char value[1024];
	int ret = cpuset_inherit(dir, mount, "cpuset.cpus", value, fresh);

	return ret < 0 ? ret : cpuset_inherit(dir, mount, "cpuset.mems", value, fresh);
}

/*
 * The leaf first: its parents are nearly always there.  1 when the leaf is new, 0 when it was there.  *made is the
 * offset in path at which the components begin that this call made, 0 when it made none.
 */
static int make_directory(char *path, size_t mount_length, size_t *made)
{
	if (mkdir(path, DIRECTORY_MODE) == 0) {
		*made = (size_t)(strrchr(path, '/') - path);
		return 1;
	}
	if (errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	for (char *end = path + mount_length; *end;) {
		char saved;
		int ret;

		end += 1 + strcspn(end + 1, "/");
		saved = *end;
		*end = '\0';
		ret = mkdir(path, DIRECTORY_MODE) < 0 ? -errno : 0;
		if (ret == 0 && *made == 0)
			*made = (size_t)(strrchr(path, '/') - path);
		*end = saved;
		if (ret < 0 && ret != -EEXIST)
			return ret;
	}
	return *made > 0;
}

static void unmake_directory(char *path, size_t made)
{
	while (strlen(path) > made) {
		if (rmdir(path) < 0 && errno != ENOENT)
			return; /* somebody else has moved in */
		*strrchr(path, '/') = '\0';
	}
}

static bool is_wanted(const struct cgroup_host *host, size_t index, const char *const *controllers)
{
	const struct cgroup_hierarchy *hierarchy = &host->hierarchies[index];

	if (!controllers || host->layout == CGROUP_V2)
		return true;
	for (size_t i = 0; controllers[i]; i++) {
		if (hierarchy->v2 ? !*controllers[i] : cgroup_list_has(hierarchy->controllers, controllers[i]))
			return true;
	}
	return false;
}

static int refuse_processes(const char *path, struct error *err)
{
	struct cgroup_pids pids = { .items = NULL };
	int ret = cgroup_pids_below(path, &pids);
	size_t count = pids.count;

	free(pids.items);
	if (ret < 0)
		return error_errno(err, -ret, "cannot list the processes in cgroup %s", path);
	if (count == 0)
		return 0;
	return error_set(err, EEXIST, "container's cgroup is not empty: %zu process(es) found in %s", count, path);
}

static int refuse_frozen(const struct cgroup *cgroup, size_t i, const char *path, struct error *err)
{
	const struct cgroup_hierarchy *hierarchy = &cgroup->host->hierarchies[i];
	cleanup_free char *state = NULL;
	const char *file = hierarchy->v2					? "cgroup.freeze"
			   : cgroup_list_has(hierarchy->controllers, "freezer") ? "freezer.state"
										: NULL;

	if (!file || cgroup_file_read(cgroup, i, file, &state, NULL) < 0)
		return 0;
	return str_starts(state, "FROZEN") || str_starts(state, "1")
		       ? error_set(err, EEXIST, "container's cgroup unexpectedly frozen: %s", path)
		       : 0;
}

static int refuse_occupied(const struct cgroup *cgroup, size_t i, const char *path, struct error *err)
{
	int ret = refuse_processes(path, err);

	return ret < 0 ? ret : refuse_frozen(cgroup, i, path, err);
}

static int create_in(struct cgroup *cgroup, size_t i, int flags, bool rootless, size_t *made, struct error *err)
{
	const struct cgroup_hierarchy *hierarchy = &cgroup->host->hierarchies[i];
	char path[PATH_MAX];
	int ret;

	if (cgroup_file_path(cgroup, i, NULL, path) < 0)
		return error_errno(err, ENAMETOOLONG, "cgroup %s", cgroup->path);
	ret = make_directory(path, strlen(hierarchy->mount), made);
	if (rootless && (ret == -EACCES || ret == -EPERM || ret == -EROFS))
		return 0;
	if (ret < 0)
		return error_errno(err, -ret, "cannot create cgroup %s", path);
	cgroup->present |= UINT32_C(1) << i;
	if (ret == 0 && (flags & CGROUP_CREATE_EXCLUSIVE) && !(hierarchy->v2 && (flags & CGROUP_CREATE_BORN_IN_V2)))
		ret = refuse_occupied(cgroup, i, path, err);
	if (ret < 0)
		return ret;
	if (cgroup_list_has(hierarchy->controllers, "cpuset")) {
		ret = cpuset_prepare(path, hierarchy->mount, *made > 0);
		if (ret < 0)
			return error_errno(err, -ret, "cannot inherit cpus and mems in cgroup %s", path);
	}
	return 0;
}

static int enable_v2(const struct cgroup *cgroup, const char *const *controllers, bool rootless, struct error *err)
{
	const struct cgroup_host *host = cgroup->host;
	const char *left[CGROUP_HIERARCHIES_MAX + 1] = { NULL };
	int v2 = cgroup_host_find(host, "");
	size_t count = 0;

	if (v2 < 0 || !cgroup_has(cgroup, (size_t)v2))
		return 0;
	if (host->layout == CGROUP_V2)
		return cgroup_v2_enable(cgroup, (size_t)v2, controllers, rootless, err);
	for (size_t i = 0; controllers && controllers[i]; i++)
		if (cgroup_host_find(host, controllers[i]) < 0 && count < CGROUP_HIERARCHIES_MAX)
			left[count++] = controllers[i];
	return count > 0 ? cgroup_v2_enable(cgroup, (size_t)v2, left, rootless, err) : 0;
}

int cgroup_create(const struct cgroup_host *host, const char *path, const char *const *controllers, int flags,
		  bool rootless, struct cgroup *cgroup, struct error *err)
{
	size_t made[CGROUP_HIERARCHIES_MAX] = { 0 };
	char made_path[PATH_MAX];
	int ret;

	*cgroup = CGROUP_INIT;
	cgroup->host = host;
	ret = set_path(path, cgroup, err);
	if (ret == 0 && !*cgroup->path)
		ret = error_set(err, EINVAL, "cgroup path %s: it names the root of the tree", path);
	for (size_t i = 0; ret == 0 && i < host->count; i++)
		if ((flags & CGROUP_CREATE_EVERYWHERE) || is_wanted(host, i, controllers))
			ret = create_in(cgroup, i, flags, rootless, &made[i], err);
	if (ret == 0)
		ret = enable_v2(cgroup, controllers, rootless, err);
	if (ret == 0)
		return 0;
	for (size_t i = 0; i < host->count; i++)
		if (made[i] > 0 && cgroup_file_path(cgroup, i, NULL, made_path) == 0)
			unmake_directory(made_path, made[i]);
	cgroup_close(cgroup);
	return ret;
}

int cgroup_name(const struct cgroup_host *host, const char *path, struct cgroup *cgroup, struct error *err)
{
	*cgroup = CGROUP_INIT;
	cgroup->host = host;
	cgroup->present = host->count > 0 ? UINT32_MAX >> (32 - host->count) : 0;
	return set_path(path, cgroup, err);
}

int cgroup_open(const struct cgroup_host *host, const char *path, struct cgroup *cgroup, struct error *err)
{
	char full[PATH_MAX];
	int ret = cgroup_name(host, path, cgroup, err);

	if (ret < 0)
		return ret;
	/* One that is there is enough; for those after it, each use finds out by itself. */
	for (size_t i = 0; i < host->count; i++) {
		if (cgroup_file_path(cgroup, i, NULL, full) < 0 || access(full, F_OK) < 0)
			continue;
		cgroup->present = (UINT32_MAX << i) & (UINT32_MAX >> (32 - host->count));
		return 0;
	}
	cgroup_close(cgroup);
	return error_set(err, ENOENT, "cgroup %s does not exist", path);
}

void cgroup_close(struct cgroup *cgroup)
{
	if (cgroup->v2_dir >= 0)
		close(cgroup->v2_dir);
	free(cgroup->path);
	*cgroup = CGROUP_INIT;
}

int cgroup_doors_open(const struct cgroup *cgroup, bool skip_v2, int doors[static CGROUP_HIERARCHIES_MAX],
		      struct error *err)
{
	int count = 0;

	for (size_t i = 0; i < cgroup->host->count; i++) {
		bool v2 = cgroup->host->hierarchies[i].v2;
		const char *file = v2 ? "cgroup.procs" : "tasks";
		int fd;

		if (!cgroup_has(cgroup, i) || (v2 && skip_v2))
			continue;
		fd = cgroup_file_open(cgroup, i, file, O_WRONLY);
		if (fd == -ENOENT)
			continue;
		if (fd < 0) {
			while (count > 0)
				close(doors[--count]);
			return error_errno(err, -fd, "cannot open %s of cgroup %s in %s", file, cgroup->path,
					   cgroup->host->hierarchies[i].mount);
		}
		doors[count++] = fd;
	}
	return count;
}

int cgroup_doors_enter(const int *doors, int count)
{
	for (int i = 0; i < count; i++) {
		ssize_t written;

		do
			written = write(doors[i], "0", 1);
		while (written < 0 && errno == EINTR);
		if (written < 0)
			return -errno;
	}
	return 0;
}

int cgroup_attach(const struct cgroup *cgroup, pid_t pid, struct error *err)
{
	char text[32], path[PATH_MAX];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	for (size_t i = 0; i < cgroup->host->count; i++) {
		int ret;

		if (!cgroup_has(cgroup, i))
			continue;
		ret = cgroup_file_path(cgroup, i, "cgroup.procs", path);
		if (ret == 0)
			ret = file_write_text(AT_FDCWD, path, text);
		if (ret < 0 && ret != -ENOENT)
			return error_errno(err, -ret, "cannot move process %s into cgroup %s: write %s", text,
					   cgroup->path, path);
	}
	return 0;
}

int cgroup_v2_dir(struct cgroup *cgroup)
{
	int v2 = cgroup_host_find(cgroup->host, "");

	if (cgroup->v2_dir < 0 && v2 >= 0 && cgroup_has(cgroup, (size_t)v2)) {
		/* Not O_PATH: BPF programs are attached to it, too. */
		int fd = cgroup_file_open(cgroup, (size_t)v2, NULL, O_RDONLY | O_DIRECTORY);

		cgroup->v2_dir = fd < 0 ? -1 : fd;
	}
	return cgroup->v2_dir;
}

static int find_controller(const struct cgroup *cgroup, const char *controller, struct error *err)
{
	int i = cgroup_host_find(cgroup->host, controller);

	if (i >= 0 && cgroup_has(cgroup, (size_t)i))
		return i;
	return error_set(err, ENOENT, "cgroup %s: this host has no %s%s hierarchy for it", cgroup->path,
			 *controller ? "v1 " : "v2", controller);
}

int cgroup_write(const struct cgroup *cgroup, const char *controller, const char *file, const char *text,
		 struct error *err)
{
	int i = find_controller(cgroup, controller, err);

	return i < 0 ? i : cgroup_file_write(cgroup, (size_t)i, file, text, err);
}

int cgroup_write_lines(const struct cgroup *cgroup, const char *controller, const char *file, const char *const *lines,
		       size_t count, struct error *err)
{
	int i = find_controller(cgroup, controller, err), ret;
	cleanup_close int fd = -1;
	char path[PATH_MAX];

	if (i < 0)
		return i;
	ret = cgroup_file_path(cgroup, (size_t)i, file, path);
	if (ret < 0)
		return error_errno(err, -ret, "cgroup %s", cgroup->path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot open %s", path);
	for (size_t k = 0; k < count; k++) {
		if (write(fd, lines[k], strlen(lines[k])) < 0)
			return error_errno(err, errno, "cannot write \"%.200s\" to %s", lines[k], path);
	}
	return 0;
}

int cgroup_read(const struct cgroup *cgroup, const char *controller, const char *file, char **text, struct error *err)
{
	int i = find_controller(cgroup, controller, err);

	return i < 0 ? i : cgroup_file_read(cgroup, (size_t)i, file, text, err);
}

static int remove_child(const char *child, void *data);

/* rmdir(2) first: most have no children.  Children go deepest first; dying processes are given time until wait ends. */
static int remove_tree(const char *dir, struct cgroup_wait *wait)
{
	for (;;) {
		struct stat st;
		int ret;

		if (rmdir(dir) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY && errno != ENOTEMPTY)
			return -errno;
		/* kernfs counts a directory's children in its links. */
		if (stat(dir, &st) == 0 && st.st_nlink > 2) {
			ret = cgroup_each_child(dir, remove_child, wait);
			if (ret < 0 && ret != -ENOENT)
				return ret;
		} else if (!cgroup_wait_nap(wait)) {
			return -EBUSY;
		}
	}
}

static int remove_child(const char *child, void *data)
{
	return remove_tree(child, data);
}

int cgroup_remove(const struct cgroup *cgroup, struct error *err)
{
	struct cgroup_wait wait = { .left_us = REMOVE_WAIT_US };
	int first = 0;

	if (!*cgroup->path)
		return error_set(err, EINVAL, "cannot remove the root cgroup");
	for (size_t i = 0; i < cgroup->host->count; i++) {
		char path[PATH_MAX];
		int ret;

		if (!cgroup_has(cgroup, i) || cgroup_file_path(cgroup, i, NULL, path) < 0)
			continue;
		ret = remove_tree(path, &wait);
		if (ret < 0 && first == 0) {
			first = ret;
			(void)error_errno(err, -ret, "cannot remove cgroup %s", path);
		}
	}
	return first;
}
