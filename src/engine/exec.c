/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/client.h"
#include "engine/launch_bundle.h"
#include "engine/recover.h"
#include "engine/spec.h"
#include "image/user.h"
#include "linux/clone.h"
#include "linux/tty.h"
#include "paradigm/paradigm.h"
#include "runtime/runtime.h"

enum { CHUNK = 32768, CONFIG_MAX = 8 << 20 };
enum { CODE_FAILED = 1, CODE_CANNOT_INVOKE = 126, CODE_NOT_FOUND = 127 };

/* One exec on its way; descriptors are -1 until they are opened. */
struct execution {
	struct instance *instance;
	const struct exec_options *options;
	struct container container;
	pid_t pid;
	int pidfd, master, signals;
	int input[2], output[2], errors[2]; /* [0] is read from */
	int from_user;			    /* where input comes from; -1 once it has ended */
	bool tty;
	bool not_found; /* the command, or the directory that it was to run in */
	/* Input that the process has not taken yet.  Never waited for: it may wait for us to take its output. */
	size_t pending_from, pending_to;
	char pending[CHUNK];
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

/* The instance's own /dev/null, if it is one: never the host's. */
static int open_null(const struct execution *self)
{
	char root[64];
	cleanup_close int root_fd = -1;

	(void)snprintf(root, sizeof(root), "/proc/%d/root", (int)self->container.pid);
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return root_fd < 0 ? -1 : file_open_type_in_root(root_fd, "/dev/null", O_RDWR, S_IFCHR, makedev(1, 3));
}

static int open_stdio(struct execution *self, int stdio[3], struct error *err)
{
	if (self->tty)
		return 0;
	if (self->options->detach) {
		int null = open_null(self);

		if (null < 0)
			return error_set(err, ENOENT,
					 "the instance has no /dev/null for a detached process; run it "
					 "without -d");
		self->input[0] = null;
		for (int i = 0; i < 3; i++)
			stdio[i] = null;
		return 0;
	}
	if (pipe2(self->input, O_CLOEXEC) < 0 || pipe2(self->output, O_CLOEXEC) < 0 ||
	    pipe2(self->errors, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make pipes for stdio");
	stdio[0] = self->input[0];
	stdio[1] = self->output[1];
	stdio[2] = self->errors[1];
	return 0;
}

/* Where the instance sees its files; where that is on a disk that only it can read, the image as it was. */
static int open_root(const struct execution *self, struct error *err)
{
	char path[64];

	if (self->container.paradigm->root_is_disk)
		return launch_rootfs(self->instance, NULL, err);
	(void)snprintf(path, sizeof(path), "/proc/%d/root", (int)self->container.pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int resolve_user(const struct execution *self, const char *name, struct image_user *user, struct error *err)
{
	cleanup_close int root = open_root(self, err);

	if (root < 0)
		return error_errno(err, errno, "cannot look into container %s", instance_name(self->instance));
	return launch_resolve_user(name, root, user, err);
}

static int build_process(const struct execution *self, struct arena *arena, struct oci_process *process,
			 struct error *err)
{
	const char *name = document_text(self->options->document, "User");
	cleanup_free char *config_text = NULL, *text = NULL;
	cleanup_json json_t *config = NULL, *json = NULL;
	struct image_user user = { 0 };
	int ret = file_read(self->container.dir_fd, "config.json", CONFIG_MAX, &config_text, NULL, err);

	if (ret == 0)
		config = spec_load(config_text);
	if (ret == 0 && *name)
		ret = resolve_user(self, name, &user, err);
	if (ret == 0)
		json = spec_exec_process(config, self->options->document, *name ? &user : NULL, err);
	image_user_free(&user);
	text = json ? spec_text(json) : NULL;
	if (ret < 0 || !json)
		return ret < 0 ? ret : -err->code;
	return text ? oci_process_parse(text, strlen(text), arena, process, err)
		    : error_errno(err, ENOMEM, "cannot describe the process");
}

static int begin(struct execution *self, struct error *err)
{
	struct runtime_exec_options options = RUNTIME_EXEC_OPTIONS_INIT;
	struct arena arena = { .head = NULL };
	struct oci_process process;
	bool built;
	int ret = build_process(self, &arena, &process, err);

	options.process = &process;
	options.keep_console = self->tty;
	if (ret == 0)
		ret = open_stdio(self, options.stdio, err);
	built = ret == 0;
	if (ret == 0)
		ret = runtime_exec(&self->instance->engine->runtime, &self->container, &options, &self->pid, err);
	self->not_found = built && ret == -ENOENT;
	arena_free(&arena);
	if (ret < 0)
		return ret;
	self->master = options.console_fd_out;
	self->pidfd = pidfd_of(self->pid);
	/* Its ends are its own. */
	if (self->input[0] >= 0)
		close(take_fd(&self->input[0]));
	if (self->output[1] >= 0)
		close(take_fd(&self->output[1]));
	if (self->errors[1] >= 0)
		close(take_fd(&self->errors[1]));
	return 0;
}

/* false at the end of what can be read. */
static bool copy_once(int from, int to)
{
	char bytes[CHUNK];
	ssize_t count = read(from, bytes, sizeof(bytes));

	if (count < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return count > 0 && (to < 0 || file_write_all(to, bytes, (size_t)count) == 0);
}

static void copy_output(int *from, int to)
{
	if (!copy_once(*from, to)) {
		close(*from);
		*from = -1;
	}
}

static int input_end(const struct execution *self)
{
	return self->tty ? self->master : self->input[1];
}

static void end_input(struct execution *self)
{
	self->from_user = -1;
	self->pending_from = self->pending_to = 0;
	if (!self->tty && self->input[1] >= 0)
		close(take_fd(&self->input[1]));
}

static void pass_input(struct execution *self)
{
	ssize_t count = write(input_end(self), self->pending + self->pending_from,
			      self->pending_to - self->pending_from);

	if (count >= 0)
		self->pending_from += (size_t)count;
	else if (errno != EAGAIN && errno != EINTR)
		end_input(self); /* nobody reads it any more */
}

static void take_input(struct execution *self)
{
	ssize_t count = read(self->from_user, self->pending, sizeof(self->pending));

	if (count < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (count <= 0) {
		end_input(self);
		return;
	}
	self->pending_from = 0;
	self->pending_to = (size_t)count;
	pass_input(self);
}

static void copy_size(const struct execution *self)
{
	unsigned rows, columns;

	if (self->tty && tty_get_size(self->options->input, &rows, &columns) == 0 && rows)
		(void)tty_set_size(self->master, rows, columns);
}

static void take_signal(struct execution *self)
{
	struct signalfd_siginfo info;

	if (read(self->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		copy_size(self);
	else
		(void)pidfd_kill(self->pidfd, (int)info.ssi_signo);
}

/* Until the process has ended; what it left in pipes is read then, but nobody is waited for who inherited them. */
static void pass_stdio(struct execution *self)
{
	bool ended = false;

	while (!ended || self->output[0] >= 0 || self->errors[0] >= 0 || self->master >= 0) {
		bool pending = !ended && self->pending_from < self->pending_to;
		short feeding = pending && self->tty ? POLLOUT : 0;
		struct pollfd fds[] = { { .fd = self->pidfd, .events = POLLIN },
					{ .fd = self->output[0], .events = POLLIN },
					{ .fd = self->errors[0], .events = POLLIN },
					{ .fd = self->master, .events = (short)(POLLIN | feeding) },
					{ .fd = ended || pending ? -1 : self->from_user, .events = POLLIN },
					{ .fd = self->signals, .events = POLLIN },
					{ .fd = pending && !self->tty ? self->input[1] : -1, .events = POLLOUT } };
		int found = poll(fds, 7, ended ? 0 : -1);

		if (found < 0 && errno != EINTR)
			return;
		if (found <= 0 && ended)
			return;
		if (found < 0)
			continue;
		if (fds[1].revents)
			copy_output(&self->output[0], self->options->output);
		if (fds[2].revents)
			copy_output(&self->errors[0], self->options->errors);
		if ((fds[3].revents & POLLOUT) || fds[6].revents)
			pass_input(self);
		if (fds[3].revents & ~POLLOUT)
			copy_output(&self->master, self->options->output);
		if (fds[4].revents)
			take_input(self);
		if (fds[5].revents)
			take_signal(self);
		if (fds[0].revents && !ended) {
			ended = true;
			close(take_fd(&self->pidfd));
		}
	}
}

static int exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int pass_until_end(struct execution *self, int *code, struct error *err)
{
	static const int passed[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	bool terminal = self->tty && self->options->interactive && isatty(self->options->input);
	struct termios saved;
	sigset_t chosen, before;
	int status = 0, ret = 0;

	sigemptyset(&chosen);
	sigaddset(&chosen, SIGWINCH);
	for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++)
		sigaddset(&chosen, passed[i]);
	if (terminal)
		ret = tty_make_raw(self->options->input, &saved, err);
	if (ret < 0)
		return ret;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigprocmask(SIG_BLOCK, &chosen, &before);
	self->signals = signalfd(-1, &chosen, SFD_CLOEXEC | SFD_NONBLOCK);
	copy_size(self);
	(void)fcntl(input_end(self), F_SETFL, O_RDWR | O_NONBLOCK);
	self->from_user = self->options->interactive ? self->options->input : -1;
	if (!self->options->interactive && self->input[1] >= 0)
		close(take_fd(&self->input[1]));
	pass_stdio(self);
	if (terminal)
		(void)tty_restore(self->options->input, &saved);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	while (waitpid(self->pid, &status, 0) < 0) {
		if (errno != EINTR)
			return error_errno(err, errno, "cannot wait for the process");
	}
	*code = exit_code(status);
	return 0;
}

int instance_exec(struct instance *instance, const struct exec_options *options, int *code, struct error *err)
{
	struct execution self = { .instance = instance,
				  .options = options,
				  .pidfd = -1,
				  .master = -1,
				  .signals = -1,
				  .input = { -1, -1 },
				  .output = { -1, -1 },
				  .errors = { -1, -1 },
				  .from_user = -1,
				  .tty = document_bool(options->document, "Tty") && !options->detach };
	struct instance_state state;
	int ret = instance_look(instance, &state, err);

	*code = CODE_FAILED;
	if (ret < 0)
		return ret;
	if (state.status == INSTANCE_PAUSED)
		return error_set(err, EBUSY, "Container %s is paused, unpause the container before exec",
				 instance_name(instance));
	if (!instance_state_alive(&state))
		return error_set(err, ESRCH, "container %s is not running", instance_name(instance));
	ret = container_load(&instance->engine->runtime, instance->id, 0, &self.container, err);
	if (ret < 0)
		return ret;
	ret = begin(&self, err);
	if (ret < 0)
		*code = self.not_found ? CODE_NOT_FOUND : CODE_CANNOT_INVOKE;
	else if (options->detach)
		*code = 0;
	else
		ret = pass_until_end(&self, code, err);
	close_pair(self.input);
	close_pair(self.output);
	close_pair(self.errors);
	if (self.master >= 0)
		close(self.master);
	if (self.pidfd >= 0)
		close(self.pidfd);
	if (self.signals >= 0)
		close(self.signals);
	container_close(&self.container);
	return ret;
}
