/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child of the shell, from clone3(2) to execve(2): runtime.md, "Lifecycle",
 * steps 2 to 8, one function per stage.
 */
#include "paradigm/shell/inside.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/clone.h"
#include "linux/fdpass.h"
#include "linux/process.h"
#include "linux/procfs.h"
#include "paradigm/shell/hooks.h"
#include "paradigm/shell/sync.h"

void inside_fail(int socket, const struct error *error)
{
	(void)sync_send_error(socket, error);
	_exit(1);
}

/*
 * Dies with the parent until it is let go.  Asked again after each change of ids: the kernel forgets it then.  If the
 * parent has gone before the kernel knew, the next that is heard from the socket is its end, and nobody is let go
 * without a word from there.
 */
static int die_with_parent(struct error *err)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? error_errno(err, errno, "prctl(PR_SET_PDEATHSIG)") : 0;
}

/*
 * The parent may be gone as soon as it has said SYNC_GO, before we run again: its death must not kill us any more by
 * then.  Until it says so, the socket tells whether it died.
 */
static int let_go(const struct inside *inside, struct error *err)
{
	if (prctl(PR_SET_PDEATHSIG, 0) < 0)
		return error_errno(err, errno, "prctl(PR_SET_PDEATHSIG)");
	return inside->released ? 0 : sync_ask(inside->sync, SYNC_READY, 0, err);
}

/* Root of the user namespace; where its mappings have no root, the user that they are for. */
static int become_owner(const struct inside *inside, struct error *err)
{
	const struct oci_process *process = inside->process;
	int ret = process_set_user(0, 0, NULL, 0, err);

	if (ret == -EINVAL && process->user.uid != 0)
		ret = process_set_user(process->user.uid, process->user.gid, NULL, 0, err);
	return ret < 0 ? (error_wrap(err, "cannot become a user of the user namespace"), ret) : 0;
}

/* A new user namespace is nobody's until the parent has written its mappings; then its root is what we are. */
static int become_mapped_root(struct inside *inside, struct error *err)
{
	const struct oci_namespace *ns = &inside->spec->linux_.namespaces[OCI_NS_USER];
	int ret;

	if (!ns->set)
		return 0;
	if (!ns->path) {
		ret = sync_ask(inside->sync, SYNC_MAP, 0, err);
		if (ret < 0)
			return ret;
	}
	ret = become_owner(inside, err);
	if (ret < 0)
		return ret;
	/* Changed ids made /proc/self the host root's; it is needed until the end of the set-up. */
	if (!inside->hidden && prctl(PR_SET_DUMPABLE, 1) < 0)
		return error_errno(err, errno, "prctl(PR_SET_DUMPABLE)");
	return die_with_parent(err);
}

static int set_names_and_sysctls(struct inside *inside, struct error *err)
{
	const struct oci_spec *spec = inside->spec;
	int ret;

	if (spec->hostname && sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return error_errno(err, errno, "cannot set the hostname");
	if (spec->domainname && setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
		return error_errno(err, errno, "cannot set the domainname");
	for (size_t i = 0; i < spec->linux_.sysctl.count; i++) {
		ret = process_set_sysctl(inside->procfs, spec->linux_.sysctl.items[i].key,
					 spec->linux_.sysctl.items[i].value, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* What the parent has found out and made since the fork. */
static int read_place(struct inside *inside, const struct sync_cgroup *answer)
{
	struct cgroup *cgroup = inside->options->cgroup;
	size_t length = strnlen(answer->place, answer->size) + 1;
	int ret;

	if (length > answer->size)
		return -EPROTO;
	ret = cgroup_host_unpack(answer->place + length, answer->size - length, &inside->cgroup_host);
	if (ret < 0)
		return ret;
	cgroup->host = &inside->cgroup_host;
	cgroup->path = strdup(answer->place);
	cgroup->present = answer->present;
	return cgroup->path ? 0 : -ENOMEM;
}

/* Its answer brings the doors as descriptors.  A child that has nothing else to ask gets it unasked. */
static int receive_doors(struct inside *inside, struct error *err)
{
	struct sync_cgroup answer;
	size_t count = CGROUP_HIERARCHIES_MAX;
	int ret = shell_asks_nothing(inside->spec) ? 0 : sync_send(inside->sync, SYNC_CGROUP, 0, -1);

	if (ret == 0)
		ret = fdpass_receive(inside->sync, inside->doors, &count, &answer, sizeof(answer), err);
	if (ret < (int)offsetof(struct sync_cgroup, place) ||
	    (size_t)ret != offsetof(struct sync_cgroup, place) + answer.size)
		return error_set(err, EPIPE, "the creating process is gone");
	inside->released = answer.released;
	inside->doors_count = (int)count;
	ret = read_place(inside, &answer);
	return ret < 0 ? error_errno(err, -ret, "cannot read where the cgroup is") : 0;
}

int inside_join_cgroup(struct inside *inside, struct error *err)
{
	int ret = 0;

	if (inside->cgroup_joined)
		return 0;
	inside->cgroup_joined = true;
	if (inside->options->join)
		ret = receive_doors(inside, err);
	if (ret == 0 && inside->doors_count > 0) {
		ret = cgroup_doors_enter(inside->doors, inside->doors_count);
		if (ret < 0)
			return error_errno(err, -ret, "cannot enter the cgroup");
	}
	process_reset_affinity();
	return ret == 0 ? namespaces_unshare_late(inside, err) : ret;
}

static int enter_namespaces(struct inside *inside, struct error *err)
{
	const struct oci_linux *linux_ = &inside->spec->linux_;
	int ret = 0;

	if (!namespaces_need_stand_in(linux_))
		ret = namespaces_join(linux_, 0, NULL, err);
	if (ret == 0)
		ret = become_mapped_root(inside, err);
	if (ret == 0 && setsid() < 0)
		ret = error_errno(err, errno, "setsid");
	if (ret == 0 && linux_->namespaces[OCI_NS_NETWORK].set && !linux_->namespaces[OCI_NS_NETWORK].path)
		ret = namespaces_loopback_up(err);
	if (ret == 0 && linux_->net_devices_count)
		ret = sync_ask(inside->sync, SYNC_DEVICES, 0, err);
	return ret == 0 ? set_names_and_sysctls(inside, err) : ret;
}

/* A hook of the container itself needs the state document, which only the parent can write; the pid in it is to be the
 * one that is seen from in here (runtime.md, "State"). */
static int ask_state(const struct oci_hook_list *hooks, const char *name, int control, char **state, struct error *err)
{
	int ret = hooks->count ? sync_send(control, SYNC_STATE, getpid(), -1) : 0;

	if (ret == 0 && hooks->count)
		ret = sync_receive_text(control, SYNC_STATE, state);
	return ret < 0 ? error_errno(err, -ret, "cannot get the state for %s hooks", name) : 0;
}

static int run_create_container(const struct inside *inside, struct error *err)
{
	const struct oci_hook_list *hooks = &inside->spec->hooks.create_container;
	cleanup_free char *state = NULL;
	int ret = ask_state(hooks, "createContainer", inside->sync, &state, err);

	/* As under runc they begin in the root file system, which is not "/" yet. */
	if (ret == 0 && hooks->count && fchdir(inside->root_fd) < 0)
		ret = error_errno(err, errno, "cannot enter the root file system");
	return ret < 0 ? ret : hooks_run(hooks, "createContainer", NULL, state, err);
}

static int set_up(struct inside *inside, struct error *err)
{
	const struct oci_hooks *hooks = &inside->spec->hooks;
	int ret = enter_namespaces(inside, err);

	if (ret == 0)
		ret = credentials_early(inside, err);
	if (ret == 0)
		ret = credentials_keyring(inside, err);
	if (ret == 0)
		ret = rootfs_open(inside, err);
	if (ret == 0)
		ret = rootfs_build(inside, err);
	if (ret == 0)
		ret = credentials_scheduling(inside, err);
	if (ret == 0 && (hooks->prestart.count || hooks->create_runtime.count || hooks->create_container.count))
		ret = sync_ask(inside->sync, SYNC_HOOKS, 0, err);
	if (ret == 0)
		ret = run_create_container(inside, err);
	if (ret == 0)
		ret = rootfs_enter(inside, err);
	if (ret == 0)
		ret = terminal_use(inside, err);
	/* From here on no descriptor of ours may be seen by whoever enters the namespaces (CVE-2016-9962,
	 * CVE-2024-21626). */
	if (ret == 0)
		ret = fds_cloexec_from(3 + inside->preserve_fds, NULL, 0);
	if (ret == 0 && inside->process->set)
		ret = credentials_chdir(inside, err);
	return ret;
}

static void end_by_signal(int number)
{
	_exit(128 + number);
}

/* What would end any other process must end one that waits to be started, but the kernel keeps it from process 1 of a
 * pid namespace that has no handler.  execve(2) takes the handlers away. */
static void end_by_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		struct sigaction before, end = { .sa_handler = end_by_signal };

		if (sigaction(signals[i], &end, &before) == 0 && before.sa_handler == SIG_IGN)
			(void)sigaction(signals[i], &before, NULL);
	}
}

/* Waits on the start socket; the connection is where errors go from now on. */
static int wait_for_start(const struct inside *inside)
{
	int connection;

	do
		connection = accept4(inside->options->start_socket, NULL, NULL, SOCK_CLOEXEC);
	while (connection < 0 && (errno == EINTR || errno == ECONNABORTED));
	return connection;
}

/* A configuration may lack the process until it is to be started. */
static int find_program(const struct inside *inside, char **program, struct error *err)
{
	return inside->process->set ? inside->paradigm->find(inside->process, program, err) : 0;
}

void inside_main(struct inside *inside)
{
	struct oci_process *process = (struct oci_process *)inside->process;
	const struct oci_hook_list *start = &inside->spec->hooks.start_container;
	struct error error = ERROR_INIT;
	char *program = NULL, *state = NULL;
	int control = inside->sync, ret;

	if (die_with_parent(&error) < 0 || set_up(inside, &error) < 0) {
		(void)error_wrap(&error, "error during container init");
		inside_fail(inside->sync, &error);
	}
	if (credentials_environment(inside, process, &error) < 0 || find_program(inside, &program, &error) < 0 ||
	    let_go(inside, &error) < 0)
		inside_fail(inside->sync, &error);
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		_exit(1);
	if (inside->options->start_socket >= 0) {
		/* Before the creating process learns that we are ready, and somebody may send one. */
		end_by_signals();
		close(inside->sync);
		control = wait_for_start(inside);
		if (control < 0)
			_exit(1);
	}
	ret = process->set ? 0 : error_set(&error, EINVAL, "config.json has no process to start");
	if (ret == 0)
		ret = ask_state(start, "startContainer", control, &state, &error);
	if (ret == 0)
		ret = credentials_final(inside, control, &error);
	/* They are the image's programs: with the user, the capabilities and the filter of the one that follows. */
	if (ret == 0)
		ret = hooks_run(start, "startContainer", NULL, state, &error);
	if (ret == 0)
		(void)inside->paradigm->become(inside->options->setup, process, program, control, &error);
	inside_fail(control, &error);
}
