/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One more process in a running container: setns(2) by the pidfd of its
 * process 1, then the same credentials as process 1 gets.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "linux/process.h"
#include "linux/procfs.h"
#include "linux/tty.h"
#include "paradigm/shell/inside.h"
#include "paradigm/shell/seccomp.h"
#include "paradigm/shell/sync.h"

/* Namespaces that the container does not share with us by configuration; a user namespace cannot be joined twice. */
static int namespace_flags(const struct oci_spec *spec)
{
	int flags = 0;

	for (int i = 0; i < OCI_NS_COUNT; i++) {
		if (spec->linux_.namespaces[i].set)
			flags |= namespaces_flag((enum oci_namespace_type)i);
	}
	return flags;
}

static int enter(struct inside *inside, int pidfd, struct error *err)
{
	int flags = namespace_flags(inside->spec) & ~CLONE_NEWPID, ret = 0;

	if (flags & ~inside->joined)
		ret = namespace_join_pidfd(pidfd, flags & ~inside->joined, err);
	if (ret == 0 && (flags & CLONE_NEWUSER)) {
		ret = process_set_user(0, 0, NULL, 0, err);
		if (ret == -EINVAL && inside->process->user.uid != 0) /* no mapping for root */
			ret = process_set_user(inside->process->user.uid, inside->process->user.gid, NULL, 0, err);
		if (ret == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
			ret = error_errno(err, errno, "prctl(PR_SET_DUMPABLE)");
	}
	if (ret == 0 && setsid() < 0)
		ret = error_errno(err, errno, "setsid");
	if (ret < 0)
		return ret;
	inside->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return inside->root_fd < 0 ? error_errno(err, errno, "cannot open the container's root") : 0;
}

__attribute__((noreturn)) static void exec_main(struct inside *inside, int pidfd)
{
	struct oci_process *process = (struct oci_process *)inside->process;
	struct error error = ERROR_INIT;
	char *program = NULL;
	int ret = 0;

	/* Nobody in the container may look into this process, or reach our binary through it, before its own program
	 * runs (CVE-2016-9962, CVE-2019-5736). Limits and labels come first: they need files of /proc/self. */
	/* A cpuset of the container's decides who is disturbed by the way in, and the final list by the program. */
	if (process->exec_cpu_affinity.initial)
		ret = process_set_affinity(0, process->exec_cpu_affinity.initial, &error);
	if (ret == 0 && inside->doors_count > 0) {
		ret = cgroup_doors_enter(inside->doors, inside->doors_count);
		if (ret < 0)
			(void)error_errno(&error, -ret, "cannot enter the cgroup");
	}
	if (ret == 0 && process->exec_cpu_affinity.final)
		ret = process_set_affinity(0, process->exec_cpu_affinity.final, &error);
	else if (ret == 0)
		process_reset_affinity();
	if (ret == 0)
		ret = credentials_early(inside, &error);
	if (ret == 0)
		ret = credentials_scheduling(inside, &error);
	if (ret == 0 && (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0))
		ret = error_errno(&error, errno, "prctl");
	if (ret == 0)
		ret = enter(inside, pidfd, &error);
	if (ret == 0)
		ret = credentials_keyring(inside, &error);
	if (ret == 0 && process->terminal)
		ret = terminal_make(inside, &error);
	if (ret == 0)
		ret = terminal_use(inside, &error);
	if (ret == 0 && fds_cloexec_from(3 + inside->preserve_fds, NULL, 0) < 0)
		ret = error_errno(&error, errno, "close_range");
	if (ret == 0)
		ret = credentials_chdir(inside, &error);
	if (ret == 0)
		ret = credentials_environment(inside, process, &error);
	if (ret == 0)
		ret = inside->paradigm->find(process, &program, &error);
	if (ret == 0)
		ret = sync_ask(inside->sync, SYNC_READY, 0, &error);
	if (ret == 0 && prctl(PR_SET_PDEATHSIG, 0) < 0)
		ret = error_errno(&error, errno, "prctl(PR_SET_PDEATHSIG)");
	if (ret == 0)
		ret = credentials_final(inside, inside->sync, &error);
	if (ret == 0)
		(void)inside->paradigm->become(NULL, process, program, inside->sync, &error);
	inside_fail(inside->sync, &error);
}

/*
 * Children enter the pid namespace that their parent names.  With the right to do so the caller names it and takes it
 * back; else (rootless) a stand-in joins the user namespace first, and clones a sibling.
 */
static void exec_stand_in(struct inside *inside, int pidfd)
{
	struct clone_options options = CLONE_OPTIONS_INIT;
	struct error error = ERROR_INIT;
	pid_t pid;

	if (credentials_hide(inside, &error) < 0 ||
	    namespace_join_pidfd(pidfd, CLONE_NEWUSER | CLONE_NEWPID, &error) < 0)
		inside_fail(inside->sync, &error);
	options.flags = CLONE_PARENT;
	pid = clone_process(&options, &error);
	if (pid < 0)
		inside_fail(inside->sync, &error);
	if (pid > 0) {
		(void)sync_send(inside->sync, SYNC_PID, pid, -1);
		_exit(0);
	}
	inside->joined = CLONE_NEWUSER | CLONE_NEWPID;
}

struct exec_child {
	pid_t pid;
	int pidfd, sync;
};

/* The child is born in the v2 cgroup, and goes into the others by doors. */
static int open_cgroups(const struct shell_exec_options *options, struct inside *inside, int *v2_dir, struct error *err)
{
	for (size_t i = 0; i < options->cgroups_count; i++) {
		struct cgroup *cgroup = &options->cgroups[i];
		int doors[CGROUP_HIERARCHIES_MAX], dir = cgroup_v2_dir(cgroup);
		int count = cgroup_doors_open(cgroup, dir >= 0, doors, err);

		if (count < 0)
			return count;
		if (dir >= 0)
			*v2_dir = dir;
		for (int k = 0; k < count && inside->doors_count < CGROUP_HIERARCHIES_MAX; k++)
			inside->doors[inside->doors_count++] = doors[k];
	}
	return 0;
}

static int clone_into(const struct shell_exec_options *options, struct inside *inside, struct exec_child *child,
		      struct error *err)
{
	const struct oci_namespace *ns = options->spec->linux_.namespaces;
	bool stand = ns[OCI_NS_USER].set && ns[OCI_NS_PID].set && geteuid() != 0;
	cleanup_close int own_pid_ns = -1;
	struct clone_options clone = CLONE_OPTIONS_INIT;
	const struct timeval patience = { .tv_sec = options->seconds };
	int pair[2], ret;

	ret = open_cgroups(options, inside, &clone.cgroup_fd, err);
	if (ret < 0)
		return ret;
	if (ns[OCI_NS_PID].set && !stand) {
		own_pid_ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		if (own_pid_ns < 0)
			return error_errno(err, errno, "cannot open /proc/self/ns/pid");
		ret = namespace_join_pidfd(options->pidfd, CLONE_NEWPID, err);
		if (ret < 0)
			return ret;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "socketpair");
	inside->sync = pair[1];
	/* A blocking socket, and 0 is for ever. */
	(void)setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	clone.pidfd = &child->pidfd;
	child->pid = clone_process(&clone, err);
	if (child->pid == 0) {
		close(pair[0]);
		if (stand)
			exec_stand_in(inside, options->pidfd);
		exec_main(inside, options->pidfd);
	}
	if (own_pid_ns >= 0)
		(void)namespace_join_fd(own_pid_ns, CLONE_NEWPID, "pid", NULL);
	close(pair[1]);
	if (child->pid < 0) {
		close(pair[0]);
		return child->pid;
	}
	child->sync = pair[0];
	return 0;
}

static int take_console(const struct shell_exec_options *options, int fd, int *console, struct error *err)
{
	int ret = 0;

	if (options->keep_console) {
		if (options->plain_lines)
			(void)tty_end_lines_plainly(fd);
		*console = fd;
		return 0;
	}
	if (options->console_socket)
		ret = tty_send_master(options->console_socket, fd, "/dev/ptmx", err);
	close(fd);
	return ret;
}

static int adopt(struct exec_child *child, pid_t pid)
{
	int pidfd = pidfd_of(pid), status;

	if (pidfd < 0)
		return pidfd;
	(void)pidfd_wait(child->pidfd, WEXITED, &status);
	close(child->pidfd);
	child->pidfd = pidfd;
	child->pid = pid;
	return 0;
}

static int serve(const struct shell_exec_options *options, struct exec_child *child, int *console, struct error *err)
{
	for (;;) {
		struct sync_message message = { 0 };
		int fd = -1, ret = sync_receive(child->sync, &message, &fd);

		if (ret == -ETIMEDOUT)
			return error_set(err, ETIMEDOUT, "the process was not let begin in time");
		if (ret <= 0)
			return error_set(err, ECHILD, "the process ended during its set-up");
		switch (message.kind) {
		case SYNC_READY:
			ret = options->confine ? options->confine(options->state_context, child->pid, err) : 0;
			if (ret < 0)
				return ret;
			ret = sync_send(child->sync, SYNC_GO, 0, -1);
			return ret < 0 ? ret
				       : shell_start(child->sync, child->pidfd, child->pid, options->spec,
						     options->state, options->state_context, err);
		case SYNC_PID:
			ret = adopt(child, message.number);
			break;
		case SYNC_CONSOLE:
			ret = take_console(options, fd, console, err);
			break;
		case SYNC_ERROR:
			if (err)
				*err = message.error;
			return -message.error.code;
		default:
			ret = -EPROTO;
		}
		if (ret < 0)
			return ret;
	}
}

int shell_exec(const struct shell_exec_options *options, pid_t *pid, int *console, struct error *err)
{
	struct oci_process process = *options->process; /* its environment is replaced */
	struct exec_child child = { .pidfd = -1, .sync = -1 };
	struct inside inside = {
		.spec = options->spec,
		.process = &process,
		.paradigm = options->paradigm,
		.root_fd = -1,
		.fresh = { -1, -1, -1 },
		.procfs = procfs_open(err),
		.console = -1,
		.preserve_fds = options->preserve_fds,
		.filter = options->filter,
		.keyring = options->keyring,
		.in_userns = options->spec->linux_.namespaces[OCI_NS_USER].set,
	};
	int ret, status;

	*console = -1;
	if (inside.procfs < 0)
		return inside.procfs;
	memcpy(inside.stdio, options->stdio, sizeof(inside.stdio));
	ret = clone_into(options, &inside, &child, err);
	if (ret == 0) {
		ret = serve(options, &child, console, err);
		if (ret < 0) {
			(void)pidfd_kill(child.pidfd, SIGKILL);
			(void)pidfd_wait(child.pidfd, WEXITED, &status);
		}
	}
	for (int i = 0; i < inside.doors_count; i++)
		close(inside.doors[i]);
	close(inside.procfs);
	if (child.sync >= 0)
		close(child.sync);
	if (child.pidfd >= 0)
		close(child.pidfd);
	*pid = child.pid;
	return ret;
}
