/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "process" of config.md: what the workload keeps over its execve(2).  See
 * credentials(7), capabilities(7), and execve(2), "Effect on process
 * attributes".
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/capability.h"
#include "linux/lsm.h"
#include "linux/process.h"
#include "linux/seccomp.h"
#include "paradigm/shell/inside.h"
#include "paradigm/shell/seccomp.h"
#include "paradigm/shell/sync.h"

enum { PASSWD_LINE_MAX = 4096 };

int credentials_scheduling(const struct inside *inside, struct error *err)
{
	const struct oci_process *process = inside->process;
	const struct oci_scheduler *scheduler = &process->scheduler;
	int ret = 0;

	if (scheduler->set) {
		struct process_scheduler wanted = {
			.policy = scheduler->policy,
			.flags = (const char *const *)scheduler->flags.items,
			.flags_count = scheduler->flags.count,
			.nice = scheduler->nice,
			.priority = scheduler->priority,
			.runtime = scheduler->runtime,
			.deadline = scheduler->deadline,
			.period = scheduler->period,
		};
		ret = process_set_scheduler(&wanted, err);
		/* sched_setattr(2): SCHED_DEADLINE wants all CPUs of the system. */
		if (ret == -EPERM && inside->spec->linux_.resources.cpu.cpus)
			return error_set(err, EPERM, "process scheduler can't be used together with AllowedCPUs");
	}
	if (ret == 0 && process->io_priority.set)
		ret = process_set_io_priority(process->io_priority.class, (int)process->io_priority.priority, err);
	return ret;
}

int credentials_hide(struct inside *inside, struct error *err)
{
	struct oci_process *process = (struct oci_process *)inside->process;
	int ret = 0;

	/* The one file of ours that only its owner may write, who is somebody else from here on. */
	if (process->oom_score_adj.set)
		ret = process_set_oom_score_adj(inside->procfs, (int)process->oom_score_adj.value, err);
	process->oom_score_adj.set = false;
	inside->hidden = true;
	if (ret == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
		ret = error_errno(err, errno, "prctl(PR_SET_DUMPABLE)");
	return ret;
}

int credentials_keyring(const struct inside *inside, struct error *err)
{
	const char *label = inside->process->selinux_label;
	bool selinux = label && *label;
	int ret = 0;

	if (!inside->keyring)
		return 0;
	/* The keyring is made with the label that keys get now. */
	if (selinux)
		ret = lsm_selinux_set_key(inside->procfs, label, err);
	if (ret == 0)
		ret = process_join_session_keyring(inside->keyring, err);
	if (ret >= 0 && selinux)
		ret = lsm_selinux_set_key(inside->procfs, "", err);
	return ret < 0 ? ret : 0;
}

static int set_labels(const struct inside *inside, struct error *err)
{
	const struct oci_process *process = inside->process;
	bool selinux = process->selinux_label && *process->selinux_label;
	int ret = 0;

	if (process->apparmor_profile && *process->apparmor_profile)
		ret = lsm_apparmor_set_exec(inside->procfs, process->apparmor_profile, err);
	if (ret >= 0 && selinux)
		ret = lsm_selinux_set_exec(inside->procfs, process->selinux_label, err);
	return ret < 0 ? ret : 0;
}

int credentials_early(struct inside *inside, struct error *err)
{
	const struct oci_process *process = inside->process;
	const struct oci_linux *linux_ = &inside->spec->linux_;
	int ret = 0;

	if (process->oom_score_adj.set)
		ret = process_set_oom_score_adj(inside->procfs, (int)process->oom_score_adj.value, err);
	for (size_t i = 0; i < process->rlimits_count && ret == 0; i++)
		ret = process_set_rlimit(0, process->rlimits[i].type, process->rlimits[i].soft,
					 process->rlimits[i].hard, err);
	if (ret == 0 && linux_->personality.set)
		ret = process_set_personality(linux_->personality.domain, err);
	if (ret == 0 && linux_->memory_policy.set)
		ret = process_set_memory_policy(linux_->memory_policy.mode,
						(const char *const *)linux_->memory_policy.flags.items,
						linux_->memory_policy.flags.count, linux_->memory_policy.nodes, err);
	return ret == 0 ? set_labels(inside, err) : ret;
}

/*
 * The working directory must be one that the container can name: a configuration like /proc/self/fd/7, or an image
 * with such a link, would otherwise start it in a directory of the host (CVE-2024-21626).
 */
static int check_cwd(struct error *err)
{
	char path[4096];

	if (syscall(SYS_getcwd, path, sizeof(path)) > 0 && path[0] == '/')
		return 0;
	return error_set(err, EPERM,
			 "current working directory is outside of container mount namespace root -- possible container "
			 "breakout detected");
}

int credentials_chdir(struct inside *inside, struct error *err)
{
	const char *cwd = inside->process->cwd;
	int ret = chdir(cwd) < 0 ? -errno : 0;

	/* A missing one is made, as runc does: images name directories that they do not bring. */
	if (ret == -ENOENT && inside->options) {
		cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		cleanup_close int made = root < 0 ? -errno : file_mkdir_in_root(root, cwd, 0755, NULL);

		ret = made < 0 ? made : chdir(cwd) < 0 ? -errno : 0;
	}
	/* Perhaps only the user may enter it (a network file system that squashes root): tried again then. */
	inside->chdir_is_due = ret == -EACCES && inside->process->user.uid != 0 && !inside->chdir_is_due;
	if (inside->chdir_is_due)
		return 0;
	if (ret < 0)
		return error_set(err, -ret, "chdir to cwd (\"%s\") set in config.json failed: %s", cwd,
				 error_words(-ret));
	/* "/" has no component that could lead elsewhere. */
	return strcmp(cwd, "/") == 0 ? 0 : check_cwd(err);
}

static size_t name_length(const char *variable)
{
	return strcspn(variable, "=");
}

/* By name; those of one name stay in their order. */
static int compare_variables(const void *left, const void *right)
{
	const char *const *a = *(const char *const *const *)left, *const *b = *(const char *const *const *)right;
	size_t length = name_length(*a), other = name_length(*b);
	int order = memcmp(*a, *b, length < other ? length : other);

	if (order == 0)
		order = (length > other) - (length < other);
	return order ? order : (a > b) - (a < b);
}

/*
 * What is set twice would be found once by one program and a second time by the next: as in runc the last one counts,
 * and a HOME without a value is none.  items, of env's size and one more, gets what is left.  Returns their number, or
 * -ENOMEM.
 */
static ssize_t keep_last(const struct oci_strings *env, const char **items)
{
	cleanup_free const char ***sorted = calloc(env->count + 1, sizeof(*sorted));
	size_t kept = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < env->count; i++) {
		items[i] = env->items[i];
		sorted[i] = &items[i];
	}
	qsort(sorted, env->count, sizeof(*sorted), compare_variables);
	for (size_t i = 1; i < env->count; i++) {
		size_t length = name_length(*sorted[i]);

		if (name_length(*sorted[i - 1]) == length && memcmp(*sorted[i - 1], *sorted[i], length) == 0)
			*sorted[i - 1] = NULL;
	}
	for (size_t i = 0; i < env->count; i++)
		if (items[i] && strcmp(items[i], "HOME=") != 0)
			items[kept++] = items[i];
	return (ssize_t)kept;
}

/* An image's own file: a link may not lead to the host's, and a FIFO must not hold us. */
static FILE *open_passwd(const struct inside *inside)
{
	cleanup_close int fd = file_open_in_root(inside->root_fd, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	FILE *file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;

	if (file)
		(void)take_fd(&fd);
	return file;
}

/* The home of a user in an image's /etc/passwd, read line by line: no NSS, which would load the image's libraries. */
static int passwd_home(const struct inside *inside, uid_t uid, char home[static PASSWD_LINE_MAX])
{
	cleanup_fclose FILE *file = open_passwd(inside);
	char line[PASSWD_LINE_MAX];

	while (file && fgets(line, sizeof(line), file)) {
		char *rest = line, *fields[7] = { NULL };
		uint64_t number;
		int count = 0;

		line[strcspn(line, "\n")] = '\0';
		while (rest && count < 7)
			fields[count++] = strsep(&rest, ":");
		if (count < 6 || str_to_u64(fields[2], &number) < 0 || number != uid || fields[5][0] != '/')
			continue;
		(void)snprintf(home, PASSWD_LINE_MAX, "%s", fields[5]);
		return 0;
	}
	return -ENOENT;
}

static void find_home(const struct inside *inside, uid_t uid, char home[static PASSWD_LINE_MAX])
{
	if (passwd_home(inside, uid, home) < 0)
		(void)snprintf(home, PASSWD_LINE_MAX, "%s", uid == 0 ? "/root" : "/");
}

int credentials_environment(const struct inside *inside, struct oci_process *process, struct error *err)
{
	static char variable[PASSWD_LINE_MAX + sizeof("HOME=")];
	const char **items = calloc(process->env.count + 2, sizeof(*items));
	ssize_t count = items ? keep_last(&process->env, items) : -ENOMEM;
	char home[PASSWD_LINE_MAX];

	if (count < 0)
		return error_errno(err, ENOMEM, "cannot set the environment");
	process->env = (struct oci_strings){ .count = (size_t)count, .items = items };
	for (size_t i = 0; i < process->env.count; i++)
		if (str_starts(items[i], "HOME="))
			return 0;
	find_home(inside, process->user.uid, home);
	(void)snprintf(variable, sizeof(variable), "HOME=%s", home);
	items[process->env.count++] = variable;
	items[process->env.count] = NULL;
	return 0;
}

/* What `podman run --group-add keep-groups` asks for, in crun's name: the caller's groups, which open files of the host
 * to a rootless container that has no id for them. */
static bool keeps_groups(const struct inside *inside)
{
	const char *value = oci_spec_annotation(inside->spec, "run.oci.keep_original_groups");

	return value && strcmp(value, "1") == 0 && inside->process->user.additional_gids_count == 0;
}

static int set_capabilities_and_user(const struct inside *inside, struct error *err)
{
	const struct oci_process *process = inside->process;
	struct capability_sets sets = {
		/* The kernel refuses what is not permitted, the document wants no failure: create has warned. */
		.effective = process->capabilities.effective & process->capabilities.permitted,
		.permitted = process->capabilities.permitted,
		.inheritable = process->capabilities.inheritable,
		.bounding = process->capabilities.bounding,
		/* The kernel raises only what is permitted and inheritable; runc spec's own default names more. */
		.ambient = process->capabilities.ambient & process->capabilities.permitted &
			   process->capabilities.inheritable,
	};
	int ret = capability_drop_bounding(sets.bounding, err);

	/* Becoming a user empties the permitted set, and nothing is inheritable that never was permitted. */
	if (ret == 0 && process->user.uid != 0 && (sets.permitted || sets.inheritable) &&
	    process_set_keep_capabilities(true) < 0)
		ret = error_errno(err, errno, "cannot keep capabilities");
	if (ret == 0)
		ret = process_set_user(process->user.uid, process->user.gid, process->user.additional_gids,
				       keeps_groups(inside) ? PROCESS_KEEP_GROUPS : process->user.additional_gids_count,
				       err);
	/* Whatever the reason: a process that did not become its user must not run. */
	if (ret < 0)
		return ret;
	ret = capability_apply(&sets, err);
	if (ret == -EPERM) {
		/* What we have not got ourselves we cannot grant; the document wants the container to run all the same.
		 */
		uint64_t own = capability_own_permitted();

		sets.permitted &= own;
		sets.effective &= own;
		sets.inheritable &= own;
		sets.ambient &= own;
		ret = capability_apply(&sets, err);
	}
	return ret;
}

/* The parent takes the listener out of this process by its number, which is told beforehand: once the filter is loaded,
 * the system calls that would send it may be the very ones that wait for the agent. */
static int load_filter(const struct seccomp_filter *filter, int control, struct error *err)
{
	struct sync_message go;
	int number, listener;

	if (!(filter->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		return seccomp_filter_load(filter, err);
	number = fcntl(control, F_DUPFD_CLOEXEC, 0);
	if (number < 0)
		return error_errno(err, errno, "cannot hand out the seccomp listener");
	close(number);
	if (sync_send(control, SYNC_LISTENER, number, -1) < 0)
		return error_set(err, EPIPE, "cannot hand out the seccomp listener");
	listener = seccomp_filter_load(filter, err);
	if (listener < 0)
		return listener;
	(void)sync_receive(control, &go, NULL);
	return 0;
}

int credentials_final(struct inside *inside, int control, struct error *err)
{
	const struct oci_process *process = inside->process;
	bool filtered = inside->spec->linux_.seccomp.set;
	int ret = 0;

	if (process->user.umask.set)
		umask((mode_t)process->user.umask.value);
	/* Without no_new_privs loading a filter takes CAP_SYS_ADMIN, which is about to go. */
	if (ret == 0 && filtered && !process->no_new_privileges)
		ret = load_filter(inside->filter, control, err);
	if (ret == 0)
		ret = set_capabilities_and_user(inside, err);
	if (ret == 0 && inside->chdir_is_due)
		ret = credentials_chdir(inside, err);
	if (ret == 0 && process->no_new_privileges)
		ret = process_set_no_new_privileges(err);
	if (ret == 0 && filtered && process->no_new_privileges)
		ret = load_filter(inside->filter, control, err);
	return ret;
}
