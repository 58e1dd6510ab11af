/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "linux/clone.h"
#include "linux/tty.h"
#include "paradigm/shell/hooks.h"
#include "runtime/criu.h"
#include "runtime/internal.h"

enum { LOG_MAX = 64 << 20, LOG_LINES = 3, DESCRIPTORS_MAX = 1 << 16 };

/* The directories of a request, by descriptors. */
struct directories {
	const char *image, *work;
	int image_fd, work_fd;
};

/* The error that criu logged last, or nothing. */
static void explain(const char *directory, const char *log, struct error *err)
{
	cleanup_free char *path = path_join(directory, log), *text = NULL;
	cleanup_str struct str lines = STR_INIT;
	char *rest, *line;
	int count = 0;

	if (!path || file_read(AT_FDCWD, path, LOG_MAX, &text, NULL, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		const char *error = strstr(line, "Error (");

		if (error && count++ < LOG_LINES)
			str_printf(&lines, "%s%s", count > 1 ? "; " : "", error);
	}
	(void)error_hint(err, "log file: %s%s%s", path, count ? ": " : "", str_text(&lines));
}

static int run_criu(const struct checkpoint_options *options, enum criu_type type, const struct str *request,
		    const char *log_directory, criu_stage_fn *stage, void *context, struct error *err)
{
	int ret = criu_run(options->criu && *options->criu ? options->criu : "criu", type, request, stage, context,
			   err);

	if (ret == -EIO)
		explain(log_directory, type == CRIU_RESTORE ? "restore.log" : "dump.log", err);
	return ret;
}

static int open_directory(const char *path, struct error *err)
{
	int fd;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "cannot open %s", path) : fd;
}

static void close_directories(struct directories *directories)
{
	if (directories->image_fd >= 0)
		close(directories->image_fd);
	if (directories->work_fd >= 0)
		close(directories->work_fd);
}

static int make_directories(const struct checkpoint_options *options, struct directories *directories,
			    struct error *err)
{
	*directories = (struct directories){ .image_fd = -1, .work_fd = -1 };
	directories->image = options->image_path && *options->image_path ? options->image_path : "checkpoint";
	directories->work = options->work_path && *options->work_path ? options->work_path : directories->image;
	directories->image_fd = open_directory(directories->image, err);
	if (directories->image_fd < 0)
		return directories->image_fd;
	directories->work_fd = open_directory(directories->work, err);
	return directories->work_fd < 0 ? directories->work_fd : 0;
}

/* criu_cg_mode */
static uint64_t cgroups_mode(const char *name)
{
	static const struct {
		const char *name;
		uint64_t number;
	} modes[] = { { "ignore", 0 }, { "soft", 3 }, { "full", 4 }, { "strict", 5 } };

	for (size_t i = 0; name && i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(name, modes[i].name) == 0)
			return modes[i].number;
	}
	return 3;
}

static void add_common(struct str *request, const struct checkpoint_options *options,
		       const struct directories *directories, const struct container *container, const char *log)
{
	criu_number(request, CRIU_IMAGES_DIR_FD, (uint64_t)directories->image_fd);
	criu_number(request, CRIU_WORK_DIR_FD, (uint64_t)directories->work_fd);
	criu_number(request, CRIU_LOG_LEVEL, 4);
	criu_text(request, CRIU_LOG_FILE, log);
	criu_number(request, CRIU_CGROUPS_MODE, cgroups_mode(options->cgroups_mode));
	criu_flag(request, CRIU_EVASIVE_DEVICES, true);
	/* Of a terminal the container has the one end; the other, which goes and comes again, was never its own. */
	criu_flag(request, CRIU_ORPHAN_PTS_MASTER, container->spec.process.terminal);
	criu_flag(request, CRIU_TCP_ESTABLISHED, options->tcp_established);
	criu_flag(request, CRIU_EXT_UNIX_SK, options->ext_unix_sk);
	criu_flag(request, CRIU_SHELL_JOB, options->shell_job);
	criu_flag(request, CRIU_FILE_LOCKS, options->file_locks);
	criu_flag(request, CRIU_AUTO_DEDUP, options->auto_dedup);
	criu_flag(request, CRIU_LAZY_PAGES, options->lazy_pages);
	if (options->empty_ns && *options->empty_ns)
		criu_number(request, CRIU_EMPTY_NAMESPACES, CLONE_NEWNET);
}

__attribute__((format(printf, 2, 3))) static void add_external_item(struct str *request, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		request->failed = true;
	else
		criu_text(request, CRIU_EXTERNAL, text);
	va_end(args);
	free(text);
}

/* The freezer stops all processes at once, new ones included, which ptrace(2) does one by one. */
static void add_freezer(struct str *request, const struct runtime *runtime, const struct container *container)
{
	const struct cgroup_host *host = &runtime->cgroups;
	int index = cgroup_host_find(host, host->layout == CGROUP_V2 ? "" : "freezer");
	cleanup_free char *path = NULL;

	if (index < 0 || !container->cgroup_path)
		return;
	path = path_join(host->hierarchies[index].mount, container->cgroup_path + (*container->cgroup_path == '/'));
	request->failed |= !path;
	criu_text(request, CRIU_FREEZE_CGROUP, path);
}

static bool is_bind(const struct oci_mount *mount)
{
	for (size_t i = 0; i < mount->options.count; i++) {
		if (strcmp(mount->options.items[i], "bind") == 0 || strcmp(mount->options.items[i], "rbind") == 0)
			return true;
	}
	return mount->type && strcmp(mount->type, "bind") == 0;
}

/* What comes from the host is named on both sides by where it is mounted. */
static void add_external(struct str *request, const struct container *container, bool restore)
{
	const struct oci_spec *spec = &container->spec;

	for (size_t i = 0; i < spec->mounts_count; i++) {
		const struct oci_mount *mount = &spec->mounts[i];

		if (!is_bind(mount))
			continue;
		if (restore && mount->source && *mount->source != '/')
			add_external_item(request, "mnt[%s]:%s/%s", mount->destination, container->bundle,
					  mount->source);
		else
			add_external_item(request, "mnt[%s]:%s", mount->destination,
					  restore ? mount->source : mount->destination);
	}
	for (size_t i = 0; i < spec->linux_.masked_paths.count; i++) {
		const char *path = spec->linux_.masked_paths.items[i];
		cleanup_free char *full = NULL;
		struct stat st;

		/* A directory is hidden by a tmpfs of its own, which CRIU knows; a file by the host's /dev/null. */
		if (!restore && (asprintf(&full, "/proc/%d/root%s", container->pid, path) < 0 || stat(full, &st) < 0 ||
				 S_ISDIR(st.st_mode)))
			continue;
		add_external_item(request, "mnt[%s]:%s", path, restore ? "/dev/null" : path);
	}
}

/* What 0, 1 and 2 are, for the side that restores; pipes are handed on there. */
static int save_descriptors(const struct container *container, const char *image, struct error *err)
{
	cleanup_str struct str text = STR_INIT;
	cleanup_close int dir = open(image, O_PATH | O_DIRECTORY | O_CLOEXEC);

	str_append(&text, "[");
	for (int i = 0; i < 3; i++) {
		char path[64], target[4096] = "";
		ssize_t length;

		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", container->pid, i);
		length = readlink(path, target, sizeof(target) - 1);
		target[length > 0 ? length : 0] = '\0';
		str_append(&text, i ? "," : "");
		json_append_string(&text, target);
	}
	str_append(&text, "]\n");
	if (str_failed(&text) || dir < 0)
		return error_errno(err, dir < 0 ? errno : ENOMEM, "cannot open %s", image);
	return file_replace(dir, "descriptors.json", text.text, text.length, 0600, err);
}

static int add_page_server(struct str *request, const char *text, struct error *err)
{
	const char *colon = strrchr(text, ':');
	cleanup_str struct str server = STR_INIT;
	uint64_t port;

	if (!colon || colon == text || str_to_u64(colon + 1, &port) < 0 || port == 0 || port > UINT16_MAX)
		return error_set(err, EINVAL, "invalid page server \"%s\": use --page-server ADDRESS:PORT", text);
	criu_bytes(&server, 1, text, (size_t)(colon - text));
	criu_number(&server, 2, port);
	request->failed |= server.failed;
	criu_bytes(request, CRIU_PAGE_SERVER, str_text(&server), server.length);
	return 0;
}

static int dump(const struct runtime *runtime, const struct container *container,
		const struct checkpoint_options *options, const struct directories *directories, struct error *err)
{
	cleanup_str struct str request = STR_INIT;
	int ret = 0;

	add_common(&request, options, directories, container, "dump.log");
	criu_number(&request, CRIU_PID, (uint64_t)container->pid);
	criu_text(&request, CRIU_ROOT, container->rootfs);
	add_freezer(&request, runtime, container);
	criu_flag(&request, CRIU_LEAVE_RUNNING, options->leave_running);
	criu_flag(&request, CRIU_TRACK_MEMORY, options->pre_dump || options->parent_path);
	criu_text(&request, CRIU_PARENT_IMAGE, options->parent_path);
	if (options->status_fd >= 0)
		criu_number(&request, CRIU_STATUS_FD, (uint64_t)options->status_fd);
	if (options->page_server)
		ret = add_page_server(&request, options->page_server, err);
	if (ret == 0 && !options->pre_dump) {
		add_external(&request, container, false);
		ret = save_descriptors(container, directories->image, err);
	}
	if (ret == 0)
		ret = run_criu(options, options->pre_dump ? CRIU_PRE_DUMP : CRIU_DUMP, &request, directories->work,
			       NULL, NULL, err);
	return ret;
}

/* criu knows processes of the host's kernel only. */
static int check_paradigm(const struct container *container, struct error *err)
{
	if (!container->paradigm->prepare)
		return 0;
	return error_set(err, ENOTSUP, "criu cannot checkpoint or restore a container of the paradigm %s",
			 container->paradigm->name);
}

int runtime_checkpoint(struct runtime *runtime, struct container *container, const struct checkpoint_options *options,
		       struct error *err)
{
	struct directories directories;
	enum runtime_status status;
	int ret = container_status(runtime, container, &status, err);

	if (ret == 0 && status != RUNTIME_RUNNING && status != RUNTIME_PAUSED)
		return error_set(err, EINVAL, "Container cannot be checkpointed in %s state",
				 runtime_status_name(status));
	if (ret == 0)
		ret = check_paradigm(container, err);
	if (ret == 0)
		ret = runtime_read_cgroups(runtime, err);
	if (ret < 0)
		return ret;
	ret = make_directories(options, &directories, err);
	if (ret == 0)
		ret = dump(runtime, container, options, &directories, err);
	close_directories(&directories);
	return ret < 0 ? ret : 0;
}

/* CRIU wants its new root to be a mount: a bind of the root file system, seen by us alone. */
static int bind_root(const struct container *container, char **root, struct error *err)
{
	*root = path_join(container->dir, "criu-root");
	if (!*root)
		return error_errno(err, ENOMEM, "cannot restore");
	if (mkdir(*root, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make %s", *root);
	if (mount(container->rootfs, *root, NULL, MS_BIND | MS_REC, NULL) < 0)
		return error_errno(err, errno, "cannot bind the root file system to %s", *root);
	(void)mount(NULL, *root, NULL, MS_PRIVATE | MS_REC, NULL);
	return 0;
}

static void unbind_root(char *root)
{
	if (!root)
		return;
	(void)umount2(root, MNT_DETACH);
	(void)rmdir(root);
	free(root);
}

/* Pipes that were standard streams are ours now, in the same place. */
static void add_inherited(struct str *request, const char *image)
{
	cleanup_free char *path = path_join(image, "descriptors.json"), *text = NULL;
	const struct json_value *root = NULL;
	struct arena arena = { 0 };
	size_t size;
	uint64_t fd = 0;

	if (path && file_read(AT_FDCWD, path, DESCRIPTORS_MAX, &text, &size, NULL) == 0)
		(void)json_parse(text, size, &arena, &root, NULL);
	if (root && root->kind == JSON_KIND_ARRAY && root->count) {
		for (const struct json_value *each = root->first; each && fd < 3; each = each->next, fd++) {
			cleanup_str struct str item = STR_INIT;

			if (each->kind != JSON_KIND_STRING || !str_starts(each->text, "pipe:"))
				continue;
			criu_text(&item, 1, each->text);
			criu_number(&item, 2, fd);
			request->failed |= item.failed;
			criu_bytes(request, CRIU_INHERIT_FD, str_text(&item), item.length);
		}
	}
	arena_free(&arena);
}

struct restoring {
	struct container *container;
	struct checkpoint_options *options;
};

/* The document's point in time for them: the namespaces are there, and nothing runs yet. */
static int run_create_hooks(const struct container *container, pid_t pid, struct error *err)
{
	const struct oci_hooks *hooks = &container->spec.hooks;
	struct container shown = *container;
	cleanup_free char *state = NULL;
	int ret;

	if (hooks->prestart.count + hooks->create_runtime.count == 0)
		return 0;
	shown.pid = pid;
	state = container_state_json(&shown, RUNTIME_CREATED, 0);
	if (!state)
		return error_errno(err, ENOMEM, "cannot write the state for hooks");
	ret = hooks_run(&hooks->prestart, "prestart", container->bundle, state, err);
	return ret == 0 ? hooks_run(&hooks->create_runtime, "createRuntime", container->bundle, state, err) : ret;
}

static int take_terminal(struct checkpoint_options *options, int fd, struct error *err)
{
	int ret = 0;

	if (fd < 0)
		return error_set(err, EPROTO, "the terminal did not come");
	if (options->keep_console && options->console_fd_out < 0) {
		options->console_fd_out = fd;
		return 0;
	}
	if (options->console_socket)
		ret = tty_send_master(options->console_socket, fd, "/dev/ptmx", err);
	close(fd);
	return ret;
}

static int take_stage(void *context, const char *stage, pid_t pid, int fd, struct error *err)
{
	const struct restoring *restoring = context;

	if (strcmp(stage, "orphan-pts-master") == 0)
		return take_terminal(restoring->options, fd, err);
	if (fd >= 0)
		close(fd);
	return strcmp(stage, "setup-namespaces") == 0 ? run_create_hooks(restoring->container, pid, err) : 0;
}

static int read_start(struct container *container, struct error *err)
{
	struct process_stat stat;

	if (container->pid <= 0 || process_stat_read(container->pid, &stat) < 0)
		return error_set(err, ESRCH, "the restored process has ended");
	container->pid_start = stat.start;
	return 0;
}

static int restore_processes(struct container *container, struct checkpoint_options *options,
			     const struct directories *directories, struct error *err)
{
	struct restoring restoring = { .container = container, .options = options };
	cleanup_str struct str request = STR_INIT;
	char *root = NULL;
	int ret = bind_root(container, &root, err);

	if (ret == 0) {
		add_common(&request, options, directories, container, "restore.log");
		criu_text(&request, CRIU_ROOT, root);
		criu_flag(&request, CRIU_NOTIFY_SCRIPTS, true);
		criu_flag(&request, CRIU_RESTORE_SIBLING, true);
		if (options->lsm_profile && *options->lsm_profile)
			criu_text(&request, CRIU_LSM_PROFILE, options->lsm_profile);
		if (options->lsm_mount_context && *options->lsm_mount_context)
			criu_text(&request, CRIU_LSM_MOUNT_CONTEXT, options->lsm_mount_context);
		add_external(&request, container, true);
		add_inherited(&request, directories->image);
		ret = run_criu(options, CRIU_RESTORE, &request, directories->work, take_stage, &restoring, err);
	}
	unbind_root(root);
	if (ret < 0)
		return ret;
	container->pid = ret;
	return read_start(container, err);
}

int runtime_restore(struct runtime *runtime, const char *id, const char *bundle, const char *pid_file,
		    struct checkpoint_options *options, struct container *container, struct error *err)
{
	struct directories directories = { .image_fd = -1, .work_fd = -1 };
	int ret;

	options->console_fd_out = -1;
	ret = container_make_empty(runtime, id, bundle, options, container, err);
	if (ret == 0)
		ret = check_paradigm(container, err);
	if (ret == 0)
		ret = container_choose_cgroup(runtime, container, err);
	if (ret == 0)
		ret = make_directories(options, &directories, err);
	if (ret == 0)
		ret = restore_processes(container, options, &directories, err);
	close_directories(&directories);
	if (ret == 0)
		ret = container_prepare_state(container, err);
	if (ret == 0)
		ret = container_commit_state(container, err);
	if (ret == 0 && pid_file)
		ret = container_write_pid_file(pid_file, container->pid, err);
	if (ret < 0) {
		if (container->pid > 0)
			(void)kill(container->pid, SIGKILL);
		if (container->dir_fd >= 0) {
			container_forget_cgroup(runtime, container);
			(void)container_directory_remove(runtime, container, NULL);
		}
		container_close(container);
		if (options->console_fd_out >= 0)
			close(options->console_fd_out);
		options->console_fd_out = -1;
	}
	return ret;
}
