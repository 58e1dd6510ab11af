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
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "linux/clone.h"
#include "runtime/internal.h"

enum { ARGUMENTS_MAX = 256, LOG_MAX = 64 << 20, LOG_LINES = 3, DESCRIPTORS_MAX = 1 << 16 };

/* criu's command line as it grows. */
struct command_line {
	struct arena arena;
	size_t count;
	bool failed; /* memory, or too many */
	char *items[ARGUMENTS_MAX + 1];
};

__attribute__((format(printf, 2, 3))) static void add(struct command_line *line, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (line->count < ARGUMENTS_MAX && vasprintf(&text, format, args) >= 0)
		line->items[line->count++] = arena_strdup(&line->arena, text);
	va_end(args);
	line->failed |= !text || !line->items[line->count - 1];
	free(text);
}

static void add_if(struct command_line *line, bool condition, const char *flag)
{
	if (condition)
		add(line, "%s", flag);
}

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

static int run_criu(struct command_line *line, const char *what, const char *log_directory, const char *log,
		    struct error *err)
{
	int status, report[2], code = 0;
	pid_t pid;

	if (line->failed)
		return error_errno(err, ENOMEM, "cannot run criu");
	if (pipe2(report, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot run criu");
	pid = fork();
	if (pid == 0) {
		sigset_t none;

		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		(void)execvp(line->items[0], line->items);
		code = errno;
		(void)file_write_all(report[1], &code, sizeof(code));
		_exit(127);
	}
	close(report[1]);
	if (pid > 0 && read(report[0], &code, sizeof(code)) != sizeof(code))
		code = 0;
	close(report[0]);
	if (pid < 0)
		return error_errno(err, errno, "cannot run criu");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (code == ENOENT)
		return error_set(err, ENOENT,
				 "criu failed: exec: \"%s\": executable file not found in $PATH; install "
				 "criu to checkpoint and restore containers",
				 line->items[0]);
	if (code)
		return error_errno(err, code, "criu failed: exec: \"%s\"", line->items[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		(void)error_set(err, EIO, "criu failed: type %s: ended by signal %d", what, WTERMSIG(status));
	else
		(void)error_set(err, EIO, "criu failed: type %s: exit status %d", what, WEXITSTATUS(status));
	explain(log_directory, log, err);
	return -EIO;
}

static int make_directories(const struct checkpoint_options *options, const char **image, const char **work,
			    struct error *err)
{
	*image = options->image_path && *options->image_path ? options->image_path : "checkpoint";
	*work = options->work_path && *options->work_path ? options->work_path : *image;
	if ((mkdir(*image, 0700) < 0 && errno != EEXIST) || (mkdir(*work, 0700) < 0 && errno != EEXIST))
		return error_errno(err, errno, "cannot make the directories of the checkpoint");
	return 0;
}

static void add_common(struct command_line *line, const struct checkpoint_options *options, const char *action,
		       const char *image, const char *work, const char *log)
{
	add(line, "%s", options->criu && *options->criu ? options->criu : "criu");
	add(line, "%s", action);
	add(line, "-v4");
	add(line, "-o");
	add(line, "%s", log);
	add(line, "-D");
	add(line, "%s", image);
	add(line, "-W");
	add(line, "%s", work);
	add(line, "--manage-cgroups=%s", options->cgroups_mode ? options->cgroups_mode : "soft");
	add_if(line, options->tcp_established, "--tcp-established");
	add_if(line, options->ext_unix_sk, "--ext-unix-sk");
	add_if(line, options->shell_job, "--shell-job");
	add_if(line, options->file_locks, "--file-locks");
	add_if(line, options->auto_dedup, "--auto-dedup");
	add_if(line, options->lazy_pages, "--lazy-pages");
	if (options->empty_ns && *options->empty_ns) {
		add(line, "--empty-ns");
		add(line, "net");
	}
}

/* The freezer stops all processes at once, new ones included, which ptrace(2) does one by one. */
static void add_freezer(struct command_line *line, const struct runtime *runtime, const struct container *container)
{
	const struct cgroup_host *host = &runtime->cgroups;
	int index = cgroup_host_find(host, host->layout == CGROUP_V2 ? "" : "freezer");

	if (index < 0 || !container->cgroup_path)
		return;
	add(line, "--freeze-cgroup");
	add(line, "%s/%s", host->hierarchies[index].mount, container->cgroup_path + (*container->cgroup_path == '/'));
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
static void add_external(struct command_line *line, const struct container *container, bool restore)
{
	const struct oci_spec *spec = &container->spec;

	for (size_t i = 0; i < spec->mounts_count; i++) {
		const struct oci_mount *mount = &spec->mounts[i];

		if (!is_bind(mount))
			continue;
		add(line, "--external");
		if (restore && mount->source && *mount->source != '/')
			add(line, "mnt[%s]:%s/%s", mount->destination, container->bundle, mount->source);
		else
			add(line, "mnt[%s]:%s", mount->destination, restore ? mount->source : mount->destination);
	}
	for (size_t i = 0; i < spec->linux_.masked_paths.count; i++) {
		const char *path = spec->linux_.masked_paths.items[i];
		cleanup_free char *full = NULL;
		struct stat st;

		/* A directory is hidden by a tmpfs of its own, which CRIU knows; a file by the host's /dev/null. */
		if (!restore && (asprintf(&full, "/proc/%d/root%s", container->pid, path) < 0 || stat(full, &st) < 0 ||
				 S_ISDIR(st.st_mode)))
			continue;
		add(line, "--external");
		add(line, "mnt[%s]:%s", path, restore ? "/dev/null" : path);
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

static int add_page_server(struct command_line *line, const char *text, struct error *err)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (!colon || colon == text || str_to_u64(colon + 1, &port) < 0 || port == 0 || port > UINT16_MAX)
		return error_set(err, EINVAL, "invalid page server \"%s\": use --page-server ADDRESS:PORT", text);
	add(line, "--page-server");
	add(line, "--address");
	add(line, "%.*s", (int)(colon - text), text);
	add(line, "--port");
	add(line, "%s", colon + 1);
	return 0;
}

int runtime_checkpoint(struct runtime *runtime, struct container *container, const struct checkpoint_options *options,
		       struct error *err)
{
	struct command_line line = { .count = 0 };
	const char *image, *work;
	enum runtime_status status;
	int ret = container_status(runtime, container, &status, err);

	if (ret == 0 && status != RUNTIME_RUNNING && status != RUNTIME_PAUSED)
		return error_set(err, EINVAL, "Container cannot be checkpointed in %s state",
				 runtime_status_name(status));
	if (ret == 0)
		ret = make_directories(options, &image, &work, err);
	if (ret == 0)
		ret = runtime_read_cgroups(runtime, err);
	if (ret < 0)
		return ret;
	add_common(&line, options, options->pre_dump ? "pre-dump" : "dump", image, work, "dump.log");
	add(&line, "-t");
	add(&line, "%d", container->pid);
	add(&line, "--root");
	add(&line, "%s", container->rootfs);
	add_freezer(&line, runtime, container);
	add_if(&line, options->leave_running, "--leave-running");
	add_if(&line, options->pre_dump || options->parent_path, "--track-mem");
	if (options->parent_path) {
		add(&line, "--prev-images-dir");
		add(&line, "%s", options->parent_path);
	}
	if (options->status_fd >= 0) {
		add(&line, "--status-fd");
		add(&line, "%d", options->status_fd);
	}
	if (options->page_server)
		ret = add_page_server(&line, options->page_server, err);
	if (ret == 0 && !options->pre_dump) {
		add_external(&line, container, false);
		ret = save_descriptors(container, image, err);
	}
	if (ret == 0)
		ret = run_criu(&line, options->pre_dump ? "PRE_DUMP" : "DUMP", work, "dump.log", err);
	arena_free(&line.arena);
	return ret;
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

static void add_inherited(struct command_line *line, const char *image)
{
	cleanup_free char *path = path_join(image, "descriptors.json"), *text = NULL;
	const struct json_value *root = NULL;
	size_t size;
	int fd = 0;

	if (!path || file_read(AT_FDCWD, path, DESCRIPTORS_MAX, &text, &size, NULL) < 0 ||
	    json_parse(text, size, &line->arena, &root, NULL) < 0 || root->kind != JSON_KIND_ARRAY)
		return;
	for (const struct json_value *each = root->first; each && root->count && fd < 3; each = each->next, fd++) {
		if (each->kind != JSON_KIND_STRING || !str_starts(each->text, "pipe:"))
			continue;
		add(line, "--inherit-fd");
		add(line, "fd[%d]:%s", fd, each->text);
	}
}

static int read_pid(struct container *container, const char *path, struct error *err)
{
	cleanup_free char *text = NULL;
	struct process_stat stat;
	int ret = file_read(AT_FDCWD, path, 64, &text, NULL, err);

	if (ret < 0)
		return ret;
	container->pid = (pid_t)strtol(text, NULL, 10);
	if (container->pid <= 0 || process_stat_read(container->pid, &stat) < 0)
		return error_set(err, ESRCH, "the restored process has ended");
	container->pid_start = stat.start;
	return 0;
}

static int restore_processes(struct container *container, const struct checkpoint_options *options, struct error *err)
{
	struct command_line line = { .count = 0 };
	cleanup_free char *pid_file = path_join(container->dir, "criu.pid");
	char *root = NULL;
	const char *image, *work;
	int ret = make_directories(options, &image, &work, err);

	if (ret == 0)
		ret = bind_root(container, &root, err);
	if (ret == 0 && pid_file) {
		(void)unlink(pid_file);
		add_common(&line, options, "restore", image, work, "restore.log");
		add(&line, "--root");
		add(&line, "%s", root);
		add(&line, "--restore-detached");
		add(&line, "--restore-sibling");
		add(&line, "--pidfile");
		add(&line, "%s", pid_file);
		if (options->lsm_profile && *options->lsm_profile) {
			add(&line, "--lsm-profile");
			add(&line, "%s", options->lsm_profile);
		}
		if (options->lsm_mount_context && *options->lsm_mount_context) {
			add(&line, "--lsm-mount-context");
			add(&line, "%s", options->lsm_mount_context);
		}
		add_external(&line, container, true);
		add_inherited(&line, image);
		ret = run_criu(&line, "RESTORE", work, "restore.log", err);
	}
	unbind_root(root);
	arena_free(&line.arena);
	if (ret == 0 && pid_file) {
		ret = read_pid(container, pid_file, err);
		(void)unlink(pid_file);
	}
	return ret;
}

int runtime_restore(struct runtime *runtime, const char *id, const char *bundle, const char *pid_file,
		    const struct checkpoint_options *options, struct container *container, struct error *err)
{
	int ret = container_make_empty(runtime, id, bundle, container, err);

	if (ret == 0)
		ret = container_choose_cgroup(runtime, container, err);
	if (ret == 0)
		ret = restore_processes(container, options, err);
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
	}
	return ret;
}
