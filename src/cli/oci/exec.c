/* SPDX-License-Identifier: Apache-2.0 */
/* exec: a process of the container's own configuration, with what the flags say put over it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/oci/attend.h"
#include "cli/oci/oci.h"
#include "linux/capability.h"

struct flags {
	const char *console_socket, *pidfd_socket, *cwd, *user, *process, *pid_file, *process_label, *apparmor;
	struct option_list env, gids, caps, cgroups;
	struct oci_bool no_new_privs;
	bool tty, detach, ignore_paused;
	int64_t preserve_fds;
};

enum { PROCESS_MAX = 8 << 20 /* bytes of a process.json */ };

const char oci_exec_details[] =
	"   Runs one more process in a running container.  In the foreground its exit status is ours\n"
	"(128 + n after signal n); 255 says that it could not be run.\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci exec web ps\n"
	"    caisson-oci exec --tty --user 1000:1000 --env TERM=xterm web sh\n";

static int set_no_new_privs(void *target, const struct cli_option *option, const char *value, struct error *err)
{
	struct flags *flags = target;

	(void)option;
	(void)err;
	flags->no_new_privs = (struct oci_bool){ .set = true, .value = !value || strcmp(value, "false") != 0 };
	return 0;
}

const struct cli_option oci_exec_options[] = {
	OPT_VALUE(OPTION_STRING, "console-socket", 0, "path", "file", struct flags, console_socket,
		  "AF_UNIX socket that gets the master end of the console's pseudoterminal"),
	OPT_VALUE(OPTION_STRING, "pidfd-socket", 0, "path", "file", struct flags, pidfd_socket,
		  "AF_UNIX socket that gets a pidfd of the process"),
	OPT_STRING("cwd", 0, "dir", struct flags, cwd, "working directory in the container"),
	OPT_LIST("env", 'e', "name=value", struct flags, env, "set an environment variable"),
	OPT_SWITCH("tty", 't', struct flags, tty, "allocate a pseudoterminal"),
	OPT_STRING("user", 'u', "uid[:gid]", struct flags, user, "user and group, as numbers"),
	OPT_LIST("additional-gids", 'g', "gid", struct flags, gids, "one more group"),
	OPT_VALUE(OPTION_STRING, "process", 'p', "file", "file", struct flags, process,
		  "take the process from this JSON file"),
	OPT_SWITCH("detach", 'd', struct flags, detach, "leave once the process runs, and do not wait for its end"),
	OPT_VALUE(OPTION_STRING, "pid-file", 0, "file", "file", struct flags, pid_file,
		  "file that gets the process id"),
	OPT_STRING("process-label", 0, "label", struct flags, process_label, "SELinux label of the process"),
	OPT_STRING("apparmor", 0, "profile", struct flags, apparmor, "AppArmor profile of the process"),
	OPT_CALL("no-new-privs", 0, NULL, NULL, set_no_new_privs, "no privileges may be gained by execve(2)"),
	OPT_VALUE(OPTION_LIST, "cap", 'c', "capability", "capability", struct flags, caps, "one more capability"),
	OPT_INT("preserve-fds", 0, "n", struct flags, preserve_fds,
		"pass N more descriptors to the process (stdio + $LISTEN_FDS + N in total)"),
	OPT_LIST("cgroup", 0, "[controller:]path", struct flags, cgroups,
		 "run in an existing sub-cgroup of the container"),
	OPT_SWITCH("ignore-paused", 0, struct flags, ignore_paused, "allow exec in a paused container"),
	{ .name = NULL },
};

static void flags_free(struct flags *flags)
{
	option_list_free(&flags->env);
	option_list_free(&flags->gids);
	option_list_free(&flags->caps);
	option_list_free(&flags->cgroups);
}

/* (uid_t)-1 means "leave it as it is" to the kernel: a user of that number would stay root. */
static int parse_id(const char *text, const char *what, uint32_t *id, struct error *err)
{
	uint64_t number;
	int ret = str_to_u64(text, &number);

	if (ret == 0 && number >= UINT32_MAX)
		ret = -ERANGE;
	if (ret < 0)
		return error_set(err, EINVAL, "parsing %s as int for %s failed: %s", text, what,
				 ret == -ERANGE ? "value out of range" : "invalid syntax");
	*id = (uint32_t)number;
	return 0;
}

static int set_user(struct oci_process *process, struct arena *arena, const char *text, struct error *err)
{
	char *copy = arena_strdup(arena, text);
	char *colon = copy ? strchr(copy, ':') : NULL;
	int ret = 0;

	if (!copy)
		return error_errno(err, ENOMEM, "cannot set the user");
	if (colon) {
		*colon = '\0';
		ret = parse_id(colon + 1, "gid", &process->user.gid, err);
	}
	return ret < 0 ? ret : parse_id(copy, "uid", &process->user.uid, err);
}

static int add_groups(struct oci_process *process, struct arena *arena, const struct option_list *list,
		      struct error *err)
{
	size_t count = process->user.additional_gids_count;
	gid_t *groups = arena_alloc(arena, count + list->count, sizeof(*groups));

	if (!groups)
		return error_errno(err, ENOMEM, "cannot set the groups");
	if (count)
		memcpy(groups, process->user.additional_gids, count * sizeof(*groups));
	for (size_t i = 0; i < list->count; i++) {
		int ret = parse_id(list->items[i], "additional gid", &groups[count++], err);

		if (ret < 0)
			return ret;
	}
	process->user.additional_gids = groups;
	process->user.additional_gids_count = count;
	return 0;
}

static int add_env(struct oci_process *process, struct arena *arena, const struct option_list *list, struct error *err)
{
	size_t count = process->env.count;
	const char **items = arena_alloc(arena, count + list->count + 1, sizeof(*items));

	if (!items)
		return error_errno(err, ENOMEM, "cannot set the environment");
	if (count)
		memcpy(items, process->env.items, count * sizeof(*items));
	memcpy(items + count, list->items, list->count * sizeof(*items));
	process->env = (struct oci_strings){ .count = count + list->count, .items = items };
	return 0;
}

/* Not inheritable: what the process executes next must not get them for nothing (CVE-2022-29162).  Ambient only what
 * the configuration lets be inherited, as in runc. */
static void add_capabilities(const struct oci *oci, struct oci_process *process, const struct option_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		int capability = capability_from_name(list->items[i]);

		if (capability < 0) {
			log_print(&oci->log, LOG_LEVEL_WARNING, "ignoring unknown or unavailable capabilities: [%s]",
				  list->items[i]);
			continue;
		}
		process->capabilities.set = true;
		process->capabilities.bounding |= UINT64_C(1) << capability;
		process->capabilities.effective |= UINT64_C(1) << capability;
		process->capabilities.permitted |= UINT64_C(1) << capability;
		process->capabilities.ambient |= process->capabilities.inheritable & (UINT64_C(1) << capability);
	}
}

static int read_process(const struct flags *flags, struct arena *arena, struct oci_process *process, struct error *err)
{
	cleanup_free char *json = NULL;
	size_t size;
	int ret = file_read(AT_FDCWD, flags->process, PROCESS_MAX, &json, &size, err);

	if (ret == 0)
		ret = oci_process_parse(json, size, arena, process, err);
	if (ret == 0)
		process->terminal |= flags->tty;
	return ret;
}

static int override_process(const struct oci *oci, const struct flags *flags, struct arena *arena, int argc,
			    char **argv, struct oci_process *process, struct error *err)
{
	/* The operands' list ends where the command line does, not where the operands do. */
	const char **args = arena_alloc(arena, (size_t)argc + 1, sizeof(*args));
	int ret = 0;

	if (!args)
		return error_errno(err, ENOMEM, "cannot set the arguments");
	memcpy(args, argv, (size_t)argc * sizeof(*args));
	process->args = (struct oci_strings){ .count = (size_t)argc, .items = args };
	process->terminal = flags->tty;
	process->console_size.set = false;
	if (flags->cwd)
		process->cwd = flags->cwd;
	if (flags->apparmor)
		process->apparmor_profile = flags->apparmor;
	if (flags->process_label)
		process->selinux_label = flags->process_label;
	if (flags->no_new_privs.set)
		process->no_new_privileges = flags->no_new_privs.value;
	add_capabilities(oci, process, &flags->caps);
	if (flags->env.count)
		ret = add_env(process, arena, &flags->env, err);
	if (ret == 0 && flags->user)
		ret = set_user(process, arena, flags->user, err);
	if (ret == 0 && flags->gids.count)
		ret = add_groups(process, arena, &flags->gids, err);
	return ret;
}

static int check_process(const struct oci_process *process, struct error *err)
{
	if (!process->cwd || !*process->cwd)
		return error_set(err, EINVAL, "Cwd property must not be empty");
	if (*process->cwd != '/')
		return error_set(err, EINVAL, "Cwd must be an absolute path");
	if (process->args.count == 0)
		return error_set(err, EINVAL, "process args cannot be empty");
	return 0;
}

/* Returns the process's status when it is waited for, 0 when it is not, or -errno. */
static int execute(struct oci *oci, const struct flags *flags, const char *id, int argc, char **argv, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct runtime_exec_options options = RUNTIME_EXEC_OPTIONS_INIT;
	struct oci_process process;
	pid_t pid;
	int ret = instance_open(oci, id, 0, &instance, err);

	if (ret < 0)
		return ret;
	process = instance.container.spec.process;
	ret = flags->process ? read_process(flags, &instance.container.spec.arena, &process, err)
			     : override_process(oci, flags, &instance.container.spec.arena, argc, argv, &process, err);
	if (ret == 0)
		ret = check_process(&process, err);
	if (ret == 0)
		ret = oci_check_console(flags->detach, process.terminal, flags->console_socket, err);
	if (ret == 0)
		ret = oci_check_preserved(flags->preserve_fds, err);
	if (ret == 0 && !flags->detach)
		ret = attend_begin(false, err);
	if (ret < 0)
		return ret;
	if (!flags->detach)
		attend_console_size(&process.console_size);
	options.process = &process;
	options.console_socket = flags->console_socket;
	options.keep_console = options.plain_lines = !flags->detach;
	options.pid_file = flags->pid_file;
	options.cgroups = flags->cgroups.items;
	options.preserve_fds = (int)flags->preserve_fds;
	options.ignore_paused = flags->ignore_paused;
	ret = runtime_exec(&instance.runtime, &instance.container, &options, &pid, err);
	if (ret == 0 && flags->pidfd_socket) {
		ret = oci_send_pidfd(flags->pidfd_socket, pid, "setns", err);
		if (ret < 0)
			(void)kill(pid, SIGKILL);
	}
	if (ret == 0 && !flags->detach)
		ret = attend_wait(&(struct attend){ .pid = pid, .console = options.console_fd_out, .watched = -1 },
				  err);
	if (options.console_fd_out >= 0)
		close(options.console_fd_out);
	return ret;
}

int oci_exec(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	int code, ret;

	if (!oci_arguments(cli, &flags, 1, -1, &argc, &argv, &code)) {
		flags_free(&flags);
		return code;
	}
	ret = execute(cli->context, &flags, argv[0], argc - 1, argv + 1, &err);
	flags_free(&flags);
	if (ret >= 0)
		return ret;
	(void)error_wrap(&err, "exec failed");
	return oci_fail(cli->context, &err, OCI_EXIT_EXEC);
}
