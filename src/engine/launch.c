/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/clock.h"
#include "engine/launch_bundle.h"
#include "engine/monitor.h"
#include "engine/monitor_log.h"
#include "engine/recover.h"
#include "engine/state.h"
#include "linux/clone.h"
#include "paradigm/paradigm.h"
#include "runtime/runtime.h"

/* One start on its way; descriptors are -1 until they are opened. */
struct start {
	struct instance *instance;
	const struct launch_options *options;
	int rootfs;			    /* detached mount */
	char *config;			    /* its specification */
	int input[2], output[2], errors[2]; /* pipes; [0] is read from */
	int listen, client[2];		    /* client[0] is the command's */
	int monitor, lock, report[2];	    /* report: what became of it, for the command */
	bool tty, open_stdin;
};

/* What the child says through report. */
struct outcome {
	int ret;
	struct error error;
};

static void close_all(struct start *start)
{
	int *const fds[] = { &start->rootfs,	&start->input[0],  &start->input[1],  &start->output[0],
			     &start->output[1], &start->errors[0], &start->errors[1], &start->listen,
			     &start->client[0], &start->client[1], &start->monitor,   &start->report[0],
			     &start->report[1] };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static int open_pipes(struct start *start, struct error *err)
{
	if (start->tty)
		return 0;
	if (pipe2(start->input, O_CLOEXEC) < 0 || pipe2(start->output, O_CLOEXEC) < 0 ||
	    pipe2(start->errors, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make pipes for stdio");
	if (!start->open_stdin) {
		/* Not the host's /dev/null, which a program could change: a pipe that is at its end. */
		close(start->input[1]);
		start->input[1] = -1;
	}
	return 0;
}

/* Bound through the directory's descriptor: the path may be longer than an address. */
static int open_socket(struct start *start, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	start->listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlinkat(start->instance->dir_fd, "ctl", 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/ctl", start->instance->dir_fd);
	if (start->listen < 0 || bind(start->listen, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(start->listen, MONITOR_CLIENTS_MAX) < 0)
		return error_errno(err, errno, "cannot make the monitor's socket");
	if (start->options->attach && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, start->client) < 0)
		return error_errno(err, errno, "cannot make the monitor's socket");
	return 0;
}

static int prepare(struct start *start, struct error *err)
{
	const struct instance *instance = start->instance;
	int ret;

	start->tty = document_bool(instance->record, "Config.Tty");
	start->open_stdin = document_bool(instance->record, "Config.OpenStdin");
	/* Before anything runs: an instance must not find that its monitor is missing. */
	start->monitor = open(start->options->monitor, O_PATH | O_CLOEXEC);
	if (start->monitor < 0)
		return error_errno(err, errno, "cannot find caisson-monitor at %s", start->options->monitor);
	ret = launch_bundle(start->instance, start->options, &start->rootfs, &start->config, err);
	if (ret == 0)
		ret = open_pipes(start, err);
	if (ret == 0)
		ret = open_socket(start, err);
	/* For both: the child that starts it, and this process when it cleans up.  Errors come again where they matter.
	 */
	(void)runtime_read_cgroups(&instance->engine->runtime, NULL);
	return ret;
}

/* Writes a small file, filled up with blanks: whatever is written to it later needs no more room on the disk. */
static int write_padded(const struct instance *instance, const char *name, const char *text, struct error *err)
{
	cleanup_close int fd = openat(instance->dir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	char padded[MONITOR_EXIT_MAX];
	int ret;

	memset(padded, ' ', sizeof(padded));
	memcpy(padded, text, strnlen(text, sizeof(padded)));
	ret = fd < 0 ? -errno : file_write_all(fd, padded, sizeof(padded));
	return ret < 0 ? error_errno(err, -ret, "cannot record the start of instance %s", instance->id) : 0;
}

/*
 * From here on something may be left behind, and the run file says so.  The room for what it will say, and for how it
 * ends, is taken now: soon the instance runs, and may fill the disk.
 */
static int mark_begun(const struct start *start, struct error *err)
{
	struct instance *instance = start->instance;
	int ret = write_padded(instance, MONITOR_EXIT_FILE, "", err);

	if (ret == 0)
		ret = write_padded(instance, "run", "", err);
	if (ret < 0)
		return ret;
	instance_unmark(instance, "exit.json");
	instance_unmark(instance, "paused");
	instance_unmark(instance, "stopped");
	instance_unmark(instance, "restart");
	instance_unmark(instance, "keep");
	return 0;
}

/* fcntl's lock: it stays with the process through execve(2), and no child inherits it. */
static int take_monitor_lock(struct start *start, struct error *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	start->lock = start->instance->monitor_lock;
	if (start->lock < 0)
		start->lock = openat(start->instance->dir_fd, "monitor", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (start->lock < 0 || fcntl(start->lock, F_SETLK, &lock) < 0)
		return error_errno(err, errno, "cannot take the monitor's lock");
	return 0;
}

/* A clean slate: what the command or an earlier monitor ignores or blocks is not the instance's business. */
static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The file whose "oom_kill N" tells in the end whether the kernel killed for memory; -1 where there is none. */
static int open_oom(struct runtime *runtime, const struct container *container)
{
	struct cgroup cgroup = CGROUP_INIT;
	cleanup_free char *path = NULL;
	int v1, at, fd = -1;

	if (container_cgroup(runtime, container, &cgroup, NULL) < 0)
		return -1;
	v1 = cgroup_host_find(&runtime->cgroups, "memory");
	at = v1 >= 0 ? v1 : cgroup_host_find(&runtime->cgroups, "");
	if (at >= 0 && asprintf(&path, "%s/%s/%s", runtime->cgroups.hierarchies[at].mount, cgroup.path,
				v1 >= 0 ? "memory.oom_control" : "memory.events") >= 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	cgroup_close(&cgroup);
	return fd;
}

/* The same where the paradigm has memory of its own. */
static int open_own_oom(const struct container *container)
{
	const char *name = container->paradigm->memory_events;

	return name ? openat(container->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
}

/* One write(2) into the file that is there, and blank: readers see nothing of it or all.  To replace the file would
 * make ext4 write the new one to disk at once. */
static int record_start(const struct instance *instance, pid_t pid, struct error *err)
{
	char when[CLOCK_TEXT_MAX], text[MONITOR_EXIT_MAX];

	clock_now(when);
	(void)snprintf(text, sizeof(text), "{\"Pid\":%d,\"StartedAt\":\"%s\"}\n", (int)pid, when);
	return write_padded(instance, "run", text, err);
}

/* "10m" of --log-opt; anything else was refused when it was given. */
static uint64_t log_size(const json_t *record)
{
	const char *text = document_text(record, "HostConfig.LogConfig.Config.max-size");
	uint64_t size = 0;

	return *text && str_to_size(text, &size) == 0 ? size : 0;
}

static uint32_t log_files(const json_t *record)
{
	const char *text = document_text(record, "HostConfig.LogConfig.Config.max-file");
	uint64_t files = 1;

	(void)str_to_u64(text, &files);
	return files > 1000 ? 1000 : (uint32_t)files;
}

static void fill_config(const struct start *start, const struct container *container, int master, int directory,
			struct monitor_config *config)
{
	struct runtime *runtime = &start->instance->engine->runtime;
	const json_t *record = start->instance->record;
	bool logs = strcmp(document_text(record, "HostConfig.LogConfig.Type"), "none") != 0;

	*config = (struct monitor_config){
		.size = sizeof(*config),
		.flags = (start->tty ? MONITOR_TTY : 0) | (logs ? MONITOR_LOG : 0) |
			 (document_bool(record, "Config.StdinOnce") ? MONITOR_STDIN_ONCE : 0) |
			 (start->client[1] >= 0 ? MONITOR_HELD_CLIENT : 0),
		.pid = container->pid,
		.pidfd = pidfd_of(container->pid),
		.dir = directory,
		.listen = start->listen,
		.client = start->client[1],
		.client_wants = start->options->attach,
		.input = start->input[1],
		.output = start->output[0],
		.errors = start->errors[0],
		.master = master,
		.oom = { open_oom(runtime, container), open_own_oom(container) },
		.lock = start->lock,
		.log_files = log_files(record),
		.log_size = log_size(record),
	};
}

/* The monitor keeps these through execve(2) and nothing else; its own stdio leads nowhere. */
static int hand_over(const struct monitor_config *config, int namespace_lock, int pipe_fd)
{
	const int kept[] = { config->pidfd,  config->dir,    config->listen, config->client, config->input,
			     config->output, config->errors, config->master, config->oom[0], config->oom[1],
			     config->lock,   namespace_lock, pipe_fd };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++) {
		if (dup2(null, fd) < 0)
			return -errno;
	}
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		if (kept[i] >= 0 && fcntl(kept[i], F_SETFD, 0) < 0)
			return -errno;
	}
	return 0;
}

static int become_monitor(struct start *start, const struct container *container, int master, struct error *err)
{
	struct engine *engine = start->instance->engine;
	struct monitor_config config;
	char number[12];
	const char *argv[] = { "caisson-monitor",
			       number,
			       start->instance->id,
			       start->options->engine,
			       engine->root ? engine->root : "",
			       NULL };
	/* The instance's lock belongs to the descriptor that the command has; with one of its own the monitor cannot
	 * hold a lock that the command takes later and dies with. */
	cleanup_close int directory = openat(start->instance->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int config_pipe[2], ret;

	if (directory < 0 || pipe2(config_pipe, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot start the monitor");
	fill_config(start, container, master, directory, &config);
	(void)snprintf(number, sizeof(number), "%d", config_pipe[0]);
	ret = file_write_all(config_pipe[1], &config, sizeof(config));
	if (ret == 0)
		ret = hand_over(&config, engine->namespace_lock, config_pipe[0]);
	if (ret == 0) {
		(void)!chdir("/");
		(void)syscall(SYS_execveat, start->monitor, "", argv, environ, AT_EMPTY_PATH);
		ret = -errno;
	}
	return error_errno(err, -ret, "cannot start the monitor");
}

static int run_container(struct start *start, struct container *container, int *master, struct error *err)
{
	struct runtime_create_options create = RUNTIME_CREATE_OPTIONS_INIT;
	struct instance *instance = start->instance;
	cleanup_free char *bundle = instance_path(instance, "");
	int ret;

	create.bundle = bundle;
	create.config_text = start->config;
	create.rootfs_fd = start->rootfs;
	create.keep_console = start->tty;
	if (!start->tty) {
		create.stdio[0] = start->input[0];
		create.stdio[1] = start->output[1];
		create.stdio[2] = start->errors[1];
	}
	ret = runtime_run(&instance->engine->runtime, instance->id, &create, container, err);
	*master = create.console_fd_out;
	return ret;
}

/* In the process that will be the monitor.  Returns only on failure, with nothing left of the container. */
static int begin(struct start *start, struct error *err)
{
	struct instance *instance = start->instance;
	struct container container;
	struct outcome outcome = { .ret = 0 };
	int master = -1, ret = take_monitor_lock(start, err);

	if (ret == 0)
		ret = run_container(start, &container, &master, err);
	if (ret < 0)
		return ret;
	ret = record_start(instance, container.pid, err);
	if (ret == 0 && start->report[1] >= 0 && file_write_all(start->report[1], &outcome, sizeof(outcome)) < 0) {
		/* The command is gone, the instance stays: as if the command had been killed a moment later. */
	}
	if (ret == 0)
		ret = become_monitor(start, &container, master, err);
	(void)runtime_delete(&instance->engine->runtime, &container, true, NULL);
	container_close(&container);
	return ret;
}

__attribute__((noreturn)) static void child(struct start *start)
{
	struct outcome outcome = { .ret = 0 };

	reset_signals();
	(void)setsid();
	outcome.ret = begin(start, &outcome.error);
	(void)file_write_all(start->report[1], &outcome, sizeof(outcome));
	_exit(1);
}

/* Waits for the child's word; a child that dies without one was killed. */
static int await(struct start *start, pid_t pid, struct error *err)
{
	struct outcome outcome;
	ssize_t count;

	close(start->report[1]);
	start->report[1] = -1;
	do
		count = read(start->report[0], &outcome, sizeof(outcome));
	while (count < 0 && errno == EINTR);
	if (count == (ssize_t)sizeof(outcome) && outcome.ret == 0)
		return 0;
	(void)waitpid(pid, NULL, 0);
	if (count != (ssize_t)sizeof(outcome))
		return error_set(err, EOWNERDEAD, "the process that was to start the instance was killed");
	*err = outcome.error;
	return outcome.ret;
}

static int start_child(struct start *start, struct error *err)
{
	sigset_t before;
	pid_t pid;
	int ret;

	if (pipe2(start->report, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot start the instance");
	(void)sigprocmask(SIG_BLOCK, start->options->hold, &before);
	pid = fork();
	if (pid == 0)
		child(start);
	ret = pid < 0 ? error_errno(err, errno, "cannot start the instance") : await(start, pid, err);
	if (ret < 0)
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return ret;
}

/* A child that was killed has left things behind; any other failure has cleaned up after itself. */
static void end_failure(struct instance *instance, int ret, const struct error *err)
{
	bool gone;

	if (ret != -EOWNERDEAD) {
		(void)instance_record_exit(instance, launch_exit_code(err), err->text, NULL);
		instance_unmark(instance, "run");
		instance_unmark(instance, "ctl");
	}
	instance_unmark(instance, "keep");
	(void)instance_settle(instance, &gone, NULL);
}

static int start_instance(struct instance *instance, const struct launch_options *options, bool here, int *client,
			  struct error *err)
{
	struct start start = { .instance = instance,
			       .options = options,
			       .rootfs = -1,
			       .input = { -1, -1 },
			       .output = { -1, -1 },
			       .errors = { -1, -1 },
			       .listen = -1,
			       .client = { -1, -1 },
			       .monitor = -1,
			       .lock = -1,
			       .report = { -1, -1 } };
	struct error local = ERROR_INIT;
	int ret;

	err = err ? err : &local;
	ret = prepare(&start, err);
	if (ret == 0)
		ret = mark_begun(&start, err);
	if (ret == 0 && here)
		reset_signals();
	if (ret == 0)
		ret = here ? begin(&start, err) : start_child(&start, err);
	if (ret == 0 && client)
		*client = take_fd(&start.client[0]);
	close_all(&start);
	free(start.config);
	if (ret < 0)
		end_failure(instance, ret, err);
	return ret;
}

/* The monitor that saw the instance end may still be about it, and wants the instance's lock for that. */
static int wait_for_last_monitor(struct instance *instance, struct error *err)
{
	enum { TRIES = 2000, NAP_US = 5000 };

	for (int i = 0; i < TRIES; i++) {
		int ret;

		if (!instance_has_monitor(instance))
			return 0;
		instance_unlock(instance);
		(void)nanosleep(&(struct timespec){ .tv_nsec = NAP_US * 1000L }, NULL);
		ret = instance_lock(instance, err);
		if (ret < 0)
			return ret;
	}
	return error_set(err, EBUSY, "another command starts or ends the container; try again");
}

int launch(struct instance *instance, const struct launch_options *options, int *client, struct error *err)
{
	int ret = wait_for_last_monitor(instance, err);

	return ret < 0 ? ret : start_instance(instance, options, false, client, err);
}

int launch_here(struct instance *instance, const struct launch_options *options, struct error *err)
{
	return start_instance(instance, options, true, NULL, err);
}

int launch_exit_code(const struct error *err)
{
	enum { CODE_ENGINE = 125, CODE_CANNOT_INVOKE = 126, CODE_NOT_FOUND = 127 };

	if (!strstr(err->text, "exec: \"") && !strstr(err->text, "exec "))
		return CODE_ENGINE;
	if (strstr(err->text, "executable file not found") || strstr(err->text, "no such file or directory"))
		return CODE_NOT_FOUND;
	return CODE_CANNOT_INVOKE;
}
