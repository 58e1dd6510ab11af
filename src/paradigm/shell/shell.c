/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's side: cloning, and serving what only the parent may do.
 */
#include "paradigm/shell/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "linux/fdpass.h"
#include "linux/idmap.h"
#include "linux/netdevice.h"
#include "linux/procfs.h"
#include "linux/tty.h"
#include "paradigm/shell/hooks.h"
#include "paradigm/shell/inside.h"
#include "paradigm/shell/seccomp.h"
#include "paradigm/shell/sync.h"
#include "paradigm/shell/unmount.h"

/*
 * The stand-in joins what must be joined before the real child is cloned, clones it as its sibling (CLONE_PARENT, so
 * that it is the parent's to wait for), tells its pid, and is gone.
 */
static void stand_in(struct inside *inside, struct error *error)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	bool join_user = linux_->namespaces[OCI_NS_USER].set && linux_->namespaces[OCI_NS_USER].path;
	struct clone_options options = CLONE_OPTIONS_INIT;
	int later = 0;
	pid_t pid;

	if (linux_->namespaces[OCI_NS_PID].path && credentials_hide(inside, error) < 0)
		inside_fail(inside->sync, error);
	/* First with the host's privileges; what those do not reach may be reached from the user namespace. */
	if (namespaces_join(linux_, CLONE_NEWUSER, join_user ? &later : NULL, error) < 0)
		inside_fail(inside->sync, error);
	if (join_user && namespaces_join(linux_, ~CLONE_NEWUSER, NULL, error) < 0)
		inside_fail(inside->sync, error);
	if (later && namespaces_join(linux_, ~later, NULL, error) < 0)
		inside_fail(inside->sync, error);
	options.flags = namespaces_new(linux_) | CLONE_PARENT;
	pid = clone_process(&options, error);
	if (pid < 0)
		inside_fail(inside->sync, error);
	if (pid == 0) {
		struct sync_message go;

		/* The parent answers to nobody before it knows the pid. */
		if (sync_receive(inside->sync, &go, NULL) != 1)
			_exit(1);
		inside_main(inside);
	}
	(void)sync_send(inside->sync, SYNC_PID, pid, -1);
	_exit(0);
}

static bool is_label(const char *label)
{
	return label && *label;
}

/* Whether anything is to be written there. */
static bool needs_procfs(const struct oci_spec *spec)
{
	const struct oci_process *process = &spec->process;

	return spec->linux_.sysctl.count || spec->linux_.namespaces[OCI_NS_TIME].set || process->oom_score_adj.set ||
	       is_label(process->apparmor_profile) || is_label(process->selinux_label);
}

static int prepare_inside(const struct shell_options *options, struct inside *inside, struct error *err)
{
	const struct oci_linux *linux_ = &options->spec->linux_;
	int ret;

	*inside = (struct inside){
		.options = options,
		.spec = options->spec,
		.process = &options->spec->process,
		.paradigm = options->paradigm,
		.root_fd = -1,
		.nodes = -1,
		.fresh = { -1, -1, -1 },
		.procfs = needs_procfs(options->spec) ? procfs_open(err) : -1,
		.console = -1,
		.preserve_fds = options->preserve_fds,
		.filter = options->filter,
		.keyring = options->keyring,
		.in_userns = linux_->namespaces[OCI_NS_USER].set,
		.keeps_root = !linux_->namespaces[OCI_NS_MOUNT].set,
	};
	memcpy(inside->stdio, options->stdio, sizeof(inside->stdio));
	if (inside->procfs < 0 && needs_procfs(options->spec))
		return inside->procfs;
	ret = devices_make_outside(options, &inside->nodes, err);
	return ret == 0 ? mounts_open_sources(options, &inside->sources, err) : ret;
}

static void release_inside(struct inside *inside)
{
	for (size_t i = 0; inside->sources && i < inside->spec->mounts_count; i++) {
		if (inside->sources[i] >= 0)
			close(inside->sources[i]);
	}
	free(inside->sources);
	if (inside->nodes >= 0)
		close(inside->nodes);
	for (int i = 0; i < inside->doors_count; i++)
		close(inside->doors[i]);
	if (inside->procfs >= 0)
		close(inside->procfs);
}

static int clone_child(struct inside *inside, struct shell *shell, struct error *err)
{
	const struct shell_options *options = inside->options;
	bool stand = namespaces_need_stand_in(&options->spec->linux_);
	struct clone_options clone = CLONE_OPTIONS_INIT;
	int pair[2];
	pid_t pid;

	if (options->cgroup)
		clone.cgroup_fd = cgroup_v2_dir(options->cgroup);
	if (options->cgroup && !options->join)
		inside->doors_count = cgroup_doors_open(options->cgroup, clone.cgroup_fd >= 0, inside->doors, err);
	if (inside->doors_count < 0)
		return inside->doors_count;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "socketpair");
	inside->sync = pair[1];
	clone.flags = stand ? 0 : namespaces_new(&options->spec->linux_);
	pid = clone_process(&clone, err);
	if (pid == 0) {
		struct error error = ERROR_INIT;

		close(pair[0]); /* so that the end of the parent is seen */
		if (stand)
			stand_in(inside, &error);
		inside_main(inside);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return pid;
	}
	shell->sync = pair[0];
	shell->pid = pid;
	return 0;
}

int shell_spawn(const struct shell_options *options, struct shell *shell, struct error *err)
{
	struct inside inside;
	int ret;

	*shell = (struct shell){ .pidfd = -1, .sync = -1, .console = -1, .doors_count = -1, .options = options };
	shell->mounts_before = unmount_note(options->spec, options->rootfs);
	ret = prepare_inside(options, &inside, err);
	if (ret == 0)
		ret = clone_child(&inside, shell, err);
	release_inside(&inside);
	return ret;
}

static int write_mappings(const struct shell *shell, struct error *err)
{
	const struct oci_linux *linux_ = &shell->options->spec->linux_;
	struct idmap map = {
		.uids = (const struct idmap_range *)linux_->uid_mappings.items,
		.gids = (const struct idmap_range *)linux_->gid_mappings.items,
		.uids_count = linux_->uid_mappings.count,
		.gids_count = linux_->gid_mappings.count,
	};

	return idmap_write(shell->pid, &map, err);
}

/* Only who is outside can give devices away; they are there before sysctls of theirs are set, and before hooks run. */
static int move_devices(struct shell *shell, struct error *err)
{
	const struct oci_linux *linux_ = &shell->options->spec->linux_;
	char path[48];
	cleanup_close int netns = -1;
	int ret;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", shell->pid);
	netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return error_errno(err, errno, "cannot open %s", path);
	ret = netdevices_open(netns, &shell->devices, err);
	for (size_t i = 0; ret == 0 && i < linux_->net_devices_count; i++)
		ret = netdevices_move(shell->devices, linux_->net_devices[i].host_name, linux_->net_devices[i].name,
				      err);
	return ret < 0 ? (error_wrap(err, "linux.netDevices"), ret) : 0;
}

static int run_hooks(const struct shell *shell, struct error *err)
{
	const struct shell_options *options = shell->options;
	/* runtime.md: "creating" is step 2 of the lifecycle, what follows it (the hooks are steps 3 to 5) "created". */
	cleanup_free char *state = options->state(options->state_context, shell->pid, "created");
	int ret;

	if (!state)
		return error_errno(err, ENOMEM, "cannot write the state for hooks");
	ret = hooks_run(&options->spec->hooks.prestart, "prestart", options->bundle, state, err);
	return ret == 0 ? hooks_run(&options->spec->hooks.create_runtime, "createRuntime", options->bundle, state, err)
			: ret;
}

/* A child keeps its pid until it is waited for: its pidfd can be opened when it is needed, which it mostly is not. */
static int pidfd(struct shell *shell)
{
	if (shell->pidfd < 0)
		shell->pidfd = pidfd_of(shell->pid);
	return shell->pidfd;
}

/* The stand-in has told the real child's pid, and is to be reaped. */
static int adopt(struct shell *shell, pid_t pid, struct error *err)
{
	int status;

	if (pidfd(shell) < 0)
		return error_errno(err, -shell->pidfd, "cannot open process %d", shell->pid);
	(void)pidfd_wait(shell->pidfd, WEXITED, &status);
	close(shell->pidfd);
	shell->pidfd = -1;
	shell->pid = pid;
	return 0;
}

static int take_console(struct shell *shell, int fd, struct error *err)
{
	const struct shell_options *options = shell->options;
	int ret = 0;

	if (fd < 0)
		return error_set(err, EPROTO, "the terminal did not come");
	if (options->keep_console) {
		if (options->plain_lines)
			(void)tty_end_lines_plainly(fd);
		shell->console = fd;
		return 0;
	}
	if (options->console_socket)
		ret = tty_send_master(options->console_socket, fd, "/dev/ptmx", err);
	close(fd);
	return ret;
}

static int send_state(const struct shell *shell, pid_t seen_inside, struct error *err)
{
	const struct shell_options *options = shell->options;
	cleanup_free char *state = options->state(options->state_context, seen_inside, "created");
	int ret = state ? sync_send_text(shell->sync, SYNC_STATE, state) : -ENOMEM;

	return ret < 0 ? error_errno(err, -ret, "cannot hand out the state") : 0;
}

/* Makes the cgroup, as soon as it is known who shall be in it. */
static int make_doors(struct shell *shell, struct error *err)
{
	if (!shell->options->join || shell->doors_count >= 0)
		return 0;
	shell->doors_count = shell->options->join(shell->options->state_context, shell->pid, shell->doors, err);
	return shell->doors_count < 0 ? shell->doors_count : 0;
}

int shell_join(struct shell *shell, struct error *err)
{
	/* A stand-in is not yet the one to move. */
	int ret = namespaces_need_stand_in(&shell->options->spec->linux_) ? 0 : make_doors(shell, err);

	if (ret < 0)
		shell_abort(shell);
	return ret;
}

static int write_place(const struct cgroup *cgroup, struct sync_cgroup *answer)
{
	const char *path = cgroup->path ? cgroup->path : "";
	size_t length = strlen(path) + 1;
	int packed;

	if (length > sizeof(answer->place))
		return -E2BIG;
	memcpy(answer->place, path, length);
	packed = cgroup_host_pack(cgroup->host, answer->place + length, sizeof(answer->place) - length);
	answer->size = (uint16_t)(length + (size_t)(packed < 0 ? 0 : packed));
	return packed < 0 ? packed : 0;
}

static int hand_doors(struct shell *shell, bool release, struct error *err)
{
	const struct cgroup *cgroup = shell->options->cgroup;
	struct sync_cgroup answer;
	int ret = make_doors(shell, err), count;

	if (ret < 0)
		return ret;
	answer.released = release;
	answer.present = cgroup->present;
	ret = write_place(cgroup, &answer);
	if (ret < 0)
		return error_errno(err, -ret, "cannot tell the container process its cgroup");
	count = shell->doors_count;
	shell->doors_count = 0;
	ret = fdpass_send(shell->sync, shell->doors, (size_t)count, &answer,
			  offsetof(struct sync_cgroup, place) + answer.size, err);
	fds_close(shell->doors, (size_t)count);
	return ret;
}

bool shell_asks_nothing(const struct oci_spec *spec)
{
	const struct oci_hooks *hooks = &spec->hooks;

	return !namespaces_need_stand_in(&spec->linux_) && !spec->linux_.namespaces[OCI_NS_USER].set &&
	       !spec->linux_.net_devices_count && !spec->process.terminal && !hooks->prestart.count &&
	       !hooks->create_runtime.count && !hooks->create_container.count;
}

int shell_hand(struct shell *shell, bool release, struct error *err)
{
	int ret = hand_doors(shell, release, err);

	/* A child that failed meanwhile has left its reason in the socket. */
	if (ret == -EPIPE || ret == -ECONNRESET)
		ret = 0;
	if (ret < 0)
		shell_abort(shell);
	shell->released = ret == 0 && release;
	return ret;
}

static int confine(struct shell *shell, struct error *err)
{
	if (shell->confined || !shell->options->confine)
		return 0;
	shell->confined = true;
	return shell->options->confine(shell->options->state_context, shell->pid, err);
}

/* The child ended the conversation without a word: killed, or out of memory. */
static int silent_end(struct shell *shell, struct error *err)
{
	int status = 0;

	if (pidfd_wait(pidfd(shell), WEXITED | WNOWAIT, &status) == 1 && WIFSIGNALED(status))
		return error_set(err, ECHILD, "container process was killed by signal %d during its set-up",
				 WTERMSIG(status));
	return error_set(err, ECHILD, "container process ended during its set-up");
}

int shell_prepare(struct shell *shell, struct error *err)
{
	int ret = 0;

	while (ret == 0) {
		struct sync_message message = { 0 };
		bool go = false;
		int fd = -1;

		ret = sync_receive(shell->sync, &message, &fd);
		if (ret <= 0) {
			ret = silent_end(shell, err);
			break;
		}
		ret = 0;
		switch (message.kind) {
		case SYNC_READY:
			ret = confine(shell, err);
			if (ret == 0)
				return 0;
			break;
		case SYNC_CGROUP:
			ret = hand_doors(shell, false, err);
			break;
		case SYNC_MAP:
			ret = write_mappings(shell, err);
			go = true;
			break;
		case SYNC_DEVICES:
			ret = move_devices(shell, err);
			go = true;
			break;
		case SYNC_HOOKS:
			ret = confine(shell, err);
			if (ret == 0)
				ret = run_hooks(shell, err);
			go = true;
			break;
		case SYNC_PID:
			ret = adopt(shell, message.number, err);
			go = true;
			break;
		case SYNC_STATE:
			ret = send_state(shell, message.number, err);
			break;
		case SYNC_CONSOLE:
			ret = take_console(shell, fd, err);
			break;
		case SYNC_ERROR:
			if (err)
				*err = message.error;
			ret = -message.error.code;
			break;
		default:
			ret = error_set(err, EPROTO, "unexpected message %d from the container process", message.kind);
		}
		if (ret == 0 && go)
			ret = sync_send(shell->sync, SYNC_GO, 0, -1);
	}
	shell_abort(shell);
	return ret;
}

/* Polls for the listener under the number that was announced; it is there as soon as the filter is loaded. */
static int take_listener(int pidfd, int number)
{
	for (int tries = 0; tries < 5000; tries++) {
		cleanup_close int fd = pidfd_copy_fd(pidfd, number);
		cleanup_free char *target = fd >= 0 ? file_fd_target(fd) : NULL;

		if (target && strstr(target, "seccomp"))
			return take_fd(&fd);
		if (fd == -ESRCH)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	return -ESRCH;
}

static int hand_listener(int pidfd, pid_t pid, int number, const struct oci_spec *spec, const char *state,
			 struct error *err)
{
	cleanup_close int listener = take_listener(pidfd, number);

	if (listener < 0)
		return error_set(err, ESRCH, "cannot take the seccomp listener");
	if (!spec->linux_.seccomp.listener_path)
		return error_set(err, EINVAL, "seccomp listenerPath is not set");
	return seccomp_listener_send(spec->linux_.seccomp.listener_path, listener, pid,
				     spec->linux_.seccomp.listener_metadata, state, err);
}

/* The last part of the conversation, the same for create's child and start's: until the workload has the process. */
static int serve_to_the_end(int socket, int pidfd, pid_t pid, const struct oci_spec *spec, shell_state_fn *state_of,
			    void *context, struct error *err)
{
	for (;;) {
		cleanup_free char *state = NULL;
		struct sync_message message = { 0 };
		int ret = sync_receive(socket, &message, NULL);

		if (ret == 0)
			return 0;
		if (ret == -ETIMEDOUT)
			return error_set(err, ETIMEDOUT, "the process was not let begin in time");
		if (ret < 0)
			return error_errno(err, -ret, "cannot hear the container process");
		if (message.kind == SYNC_ERROR) {
			if (err)
				*err = message.error;
			return -message.error.code;
		}
		/* The seccomp agent's document says "creating" as in config-linux.md's example, runc and crun. */
		state = message.kind == SYNC_LISTENER ? state_of(context, pid, "creating")
						      : state_of(context, message.number, "created");
		if (!state)
			return error_errno(err, ENOMEM, "cannot write the state");
		if (message.kind == SYNC_STATE)
			ret = sync_send_text(socket, SYNC_STATE, state);
		else if (message.kind == SYNC_LISTENER)
			ret = hand_listener(pidfd, pid, message.number, spec, state, err);
		if (ret < 0)
			return ret;
		if (message.kind == SYNC_LISTENER)
			(void)sync_send(socket, SYNC_GO, 0, -1);
	}
}

int shell_release(struct shell *shell, struct error *err)
{
	const struct shell_options *options = shell->options;
	int ret = shell->released ? 0 : sync_send(shell->sync, SYNC_GO, 0, -1);

	if (ret < 0)
		ret = silent_end(shell, err);
	else
		/* With a start socket the child closes this one once our end is not its own any more. */
		ret = serve_to_the_end(shell->sync, options->spec->linux_.seccomp.set ? pidfd(shell) : -1, shell->pid,
				       options->spec, options->state, options->state_context, err);
	if (ret < 0)
		shell_abort(shell);
	return ret;
}

int shell_start(int connected, int pidfd, pid_t pid, const struct oci_spec *spec, shell_state_fn *state, void *context,
		struct error *err)
{
	return serve_to_the_end(connected, pidfd, pid, spec, state, context, err);
}

void shell_abort(struct shell *shell)
{
	int status;

	if (shell->pid > 0 && pidfd(shell) >= 0) {
		(void)pidfd_kill(shell->pidfd, SIGKILL);
		(void)pidfd_wait(shell->pidfd, WEXITED, &status);
	}
	shell->pid = 0;
	unmount_made(shell->options->spec, shell->options->rootfs, shell->mounts_before);
	if (shell->devices)
		netdevices_return(shell->devices);
	shell_close(shell);
}

void shell_close(struct shell *shell)
{
	free(shell->mounts_before);
	shell->mounts_before = NULL;
	netdevices_close(shell->devices);
	shell->devices = NULL;
	if (shell->doors_count > 0)
		fds_close(shell->doors, (size_t)shell->doors_count);
	shell->doors_count = 0;
	int *fds[] = { &shell->pidfd, &shell->sync, &shell->console };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
