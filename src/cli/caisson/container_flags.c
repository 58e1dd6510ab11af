/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of run, create and update, and what follows from several of them together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "cli/caisson/caisson.h"
#include "engine/document.h"

static int apply_field(void *target, const struct cli_option *option, const char *value, struct error *err)
{
	struct container_flags *flags = target;

	return container_field(flags->document, option->name, value, err);
}

/* docker's flags for what is not built yet: a wrong one would be a puzzle. */
static int apply_later(void *target, const struct cli_option *option, const char *value, struct error *err)
{
	(void)target, (void)option, (void)value;
	return error_set(err, ENOTSUP,
			 "bridged networks and published ports come later; use --network host or "
			 "container:NAME");
}

#define FIELD(name, letter, arg, help)		    OPT_CALL(name, letter, arg, NULL, apply_field, help)
#define FIELD_OF(name, letter, arg, complete, help) OPT_CALL(name, letter, arg, complete, apply_field, help)

#define MACHINE(name, letter, arg, complete, help) OPT_CALL(name, letter, arg, complete, machine_flag, help)

#define COMMON_OPTIONS                                                                                                 \
	FIELD("add-host", 0, "list", "Add a line to /etc/hosts (name:ip)"),                                            \
		FIELD("annotation", 0, "map", "Add an annotation for the runtime"),                                    \
		OPT_VALUE(OPTION_LIST, "attach", 'a', "list", "stdin stdout stderr", struct container_flags, attach,   \
			  "Attach to stdin, stdout or stderr"),                                                        \
		FIELD("blkio-weight", 0, "uint16", "Block I/O weight, from 10 to 1000; 0 leaves it alone"),            \
		FIELD("blkio-weight-device", 0, "list", "Block I/O weight of a device (/dev/sda:200)"),                \
		FIELD_OF("cap-add", 0, "list", "capability", "Add a capability, or ALL"),                              \
		FIELD_OF("cap-drop", 0, "list", "capability", "Drop a capability, or ALL"),                            \
		FIELD("cgroup-parent", 0, "string", "Cgroup below which the instance's is made"),                      \
		FIELD_OF("cgroupns", 0, "string", "host private", "Cgroup namespace: private (default) or host"),      \
		FIELD_OF("cidfile", 0, "string", "file", "Write the instance's ID to this file"),                      \
		FIELD("cpu-period", 0, "int", "Length of the CPU accounting period in microseconds"),                  \
		FIELD("cpu-quota", 0, "int", "CPU time per period in microseconds"),                                   \
		FIELD("cpu-shares", 'c', "int", "Share of the CPU when it is busy, relative to others' (1024)"),       \
		FIELD("cpus", 0, "decimal", "Number of CPUs, like 0.5"),                                               \
		FIELD("cpuset-cpus", 0, "string", "CPUs to run on, like 0-3,7"),                                       \
		FIELD("cpuset-mems", 0, "string", "Memory nodes to use, like 0-1"),                                    \
		FIELD_OF("device", 0, "list", "file",                                                                  \
			 "Add a device of the host (/dev/fuse, /dev/a:/dev/b:rwm; to a machine: vfio:0000:01:00.0)"),  \
		FIELD("device-cgroup-rule", 0, "list", "Allow more devices ('c 10:229 rwm')"),                         \
		FIELD("device-read-bps", 0, "list", "Limit reads from a device in bytes per second (/dev/sda:10mb)"),  \
		FIELD("device-read-iops", 0, "list", "Limit reads from a device per second (/dev/sda:1000)"),          \
		FIELD("device-write-bps", 0, "list", "Limit writes to a device in bytes per second"),                  \
		FIELD("device-write-iops", 0, "list", "Limit writes to a device per second"),                          \
		FIELD("dns", 0, "list", "Name server for resolv.conf"),                                                \
		FIELD("dns-option", 0, "list", "Option for resolv.conf"),                                              \
		FIELD("dns-search", 0, "list", "Search domain for resolv.conf"),                                       \
		FIELD("domainname", 0, "string", "NIS domain name"),                                                   \
		MACHINE("disk", 0, "list", "file",                                                                     \
			"Give a machine a disk (PATH[,format=raw|qcow2][,ro][,backing=PATH])"),                        \
		MACHINE("engine", 0, "string", "auto kvm qemu", "What runs a machine: auto (default), kvm, qemu"),     \
		OPT_STRING("entrypoint", 0, "string", struct container_flags, entrypoint,                              \
			   "Replace the image's entrypoint"),                                                          \
		FIELD("env", 'e', "list", "Set an environment variable (NAME=VALUE; NAME takes the caller's)"),        \
		OPT_VALUE(OPTION_LIST, "env-file", 0, "list", "file", struct container_flags, env_files,               \
			  "Read environment variables from a file"),                                                   \
		FIELD("group-add", 0, "list", "Join one more group"),                                                  \
		FIELD("hostname", 'h', "string", "Host name of the instance"),                                         \
		MACHINE("hugepages", 0, "string", "2M 1G", "Memory of a machine in huge pages: 2M, 1G"),               \
		FIELD("init", 0, NULL, "Put an init that forwards signals and reaps processes in front"),              \
		FIELD("interactive", 'i', NULL, "Keep stdin open even if nobody is attached"),                         \
		FIELD_OF("ipc", 0, "string", "private host container:instance-running",                                \
			 "IPC namespace: private (default), host, container:NAME"),                                    \
		MACHINE("isolation", 0, "string", "container pv vm auto",                                              \
			"What isolates the instance: container (default), pv, vm, auto"),                              \
		MACHINE("kernel", 0, "kernel", "file", "Kernel of a machine: a file, or a name of caisson kernel ls"), \
		FIELD("label", 'l', "list", "Set a label (NAME=VALUE)"),                                               \
		OPT_VALUE(OPTION_LIST, "label-file", 0, "list", "file", struct container_flags, label_files,           \
			  "Read labels from a file"),                                                                  \
		FIELD_OF("log-driver", 0, "string", "json-file none", "Where output goes: json-file (default), none"), \
		FIELD_OF("log-opt", 0, "list", "max-size= max-file=", "Option of the log (max-size=10m, max-file=3)"), \
		MACHINE("machine", 0, "string", "microvm q35 pc", "QEMU's type of a machine"),                         \
		FIELD("memory", 'm', "bytes", "Memory limit; the memory of a machine"),                                \
		FIELD("memory-reservation", 0, "bytes", "Memory that is left to it when memory is short"),             \
		FIELD("memory-swap", 0, "bytes", "Limit of memory and swap together; -1: no limit of swap"),           \
		FIELD("memory-swappiness", 0, "int", "How readily its memory is swapped, from 0 to 100"),              \
		FIELD_OF("mount", 0, "mount", "type=bind, type=volume, type=tmpfs,",                                   \
			 "Mount something (type=bind|volume|tmpfs,source=...,target=...)"),                            \
		OPT_STRING("name", 0, "string", struct container_flags, name, "Name of the instance"),                 \
		FIELD_OF("network", 0, "network", "none host container:instance",                                      \
			 "Network: none (default), host, container:NAME"),                                             \
		OPT_CALL("net", 0, "network", NULL, apply_field, NULL),                                                \
		FIELD("oom-kill-disable", 0, NULL, "Let it wait instead of killing it when it is out of memory"),      \
		FIELD("oom-score-adj", 0, "int", "How readily the kernel kills it, from -1000 to 1000"),               \
		FIELD_OF("pid", 0, "string", "private host container:instance-running",                                \
			 "PID namespace: private (default), host, container:NAME"),                                    \
		FIELD("pids-limit", 0, "int", "How many processes it may have; -1: no limit"),                         \
		FIELD("platform", 0, "string", "Refuse an image of another platform (os/arch)"),                       \
		FIELD("privileged", 0, NULL, "Give it all capabilities and devices of the host"),                      \
		OPT_VALUE(OPTION_STRING, "pull", 0, "string", "never missing always", struct container_flags, pull,    \
			  "When to pull the image: never, missing (registries come later)"),                           \
		FIELD("read-only", 0, NULL, "Make the root file system read-only"),                                    \
		FIELD_OF("restart", 0, "string", "no always unless-stopped on-failure",                                \
			 "Start it again when it ends: no, always, unless-stopped, on-failure[:N]"),                   \
		FIELD("rm", 0, NULL, "Remove it when it ends"),                                                        \
		FIELD_OF("security-opt", 0, "list",                                                                    \
			 "no-new-privileges seccomp=unconfined seccomp=file apparmor= label=disable "                  \
			 "systempaths=unconfined",                                                                     \
			 "no-new-privileges, seccomp=FILE|unconfined, apparmor=, label="),                             \
		FIELD("shm-size", 0, "bytes", "Size of /dev/shm (64m)"),                                               \
		FIELD_OF("stop-signal", 0, "string", "signal", "Signal that stops it (SIGTERM)"),                      \
		FIELD("stop-timeout", 0, "int", "Seconds from that to SIGKILL (10)"),                                  \
		FIELD("sysctl", 0, "map", "Set a kernel parameter of its namespaces (NAME=VALUE)"),                    \
		FIELD("tmpfs", 0, "list", "Mount a tmpfs (/run:size=64m)"),                                            \
		FIELD("tty", 't', NULL, "Give it a terminal"),                                                         \
		FIELD_OF("ulimit", 0, "ulimit", "as= core= cpu= data= fsize= memlock= nofile= nproc= rss= stack=",     \
			 "Resource limit (nofile=1024:2048)"),                                                         \
		FIELD("user", 'u', "string", "User and group (NAME|UID[:GROUP|GID])"),                                 \
		FIELD_OF("userns", 0, "string", "host", "User namespace: host (others come later)"),                   \
		FIELD_OF("uts", 0, "string", "private host", "UTS namespace: private (default), host"),                \
		MACHINE("vcpu-pin", 0, "string", NULL, "Host CPUs for the virtual CPUs of a machine, like 0-3"),       \
		MACHINE("vcpus", 0, "int", NULL, "Virtual CPUs of a machine (as --cpus says, or 1)"),                  \
		FIELD_OF("volume", 'v', "list", "dir volume",                                                          \
			 "Mount a directory or a volume ([SOURCE:]DESTINATION[:ro])"),                                 \
		FIELD_OF("workdir", 'w', "string", NULL, "Working directory inside"),                                  \
		OPT_CALL("publish", 'p', "list", NULL, apply_later, NULL),                                             \
		OPT_CALL("publish-all", 'P', NULL, NULL, apply_later, NULL),                                           \
		OPT_CALL("ip", 0, "string", NULL, apply_later, NULL),                                                  \
		OPT_CALL("mac-address", 0, "string", NULL, apply_later, NULL),                                         \
		OPT_CALL("network-alias", 0, "list", NULL, apply_later, NULL)

const struct cli_option create_options[] = {
	COMMON_OPTIONS,
	OPT_SWITCH("quiet", 'q', struct container_flags, quiet, "Say nothing about pulling"),
	{ .name = NULL },
};

static int apply_sig_proxy(void *target, const struct cli_option *option, const char *value, struct error *err)
{
	struct container_flags *flags = target;

	(void)option, (void)err;
	flags->no_sig_proxy = value && strcmp(value, "false") == 0;
	return 0;
}

const struct cli_option run_options[] = {
	COMMON_OPTIONS,
	OPT_SWITCH("detach", 'd', struct container_flags, detach, "Run in the background and print the instance's ID"),
	OPT_STRING("detach-keys", 0, "string", struct container_flags, detach_keys,
		   "Keys that detach from a terminal (ctrl-p,ctrl-q)"),
	OPT_VALUE(OPTION_STRING, "from-snapshot", 0, "snapshot", "snapshot", struct container_flags, snapshot,
		  "Begin where a machine was saved, with what it had: no IMAGE"),
	OPT_SWITCH("quiet", 'q', struct container_flags, quiet, "Say nothing about pulling"),
	OPT_CALL("sig-proxy", 0, NULL, NULL, apply_sig_proxy, "Pass signals on to the instance (default true)"),
	{ .name = NULL },
};

const struct cli_option update_options[] = {
	FIELD("blkio-weight", 0, "uint16", "Block I/O weight, from 10 to 1000"),
	FIELD("cpu-period", 0, "int", "Length of the CPU accounting period in microseconds"),
	FIELD("cpu-quota", 0, "int", "CPU time per period in microseconds"),
	FIELD("cpu-shares", 'c', "int", "Share of the CPU when it is busy, relative to others'"),
	FIELD("cpus", 0, "decimal", "Number of CPUs"),
	FIELD("cpuset-cpus", 0, "string", "CPUs to run on"),
	FIELD("cpuset-mems", 0, "string", "Memory nodes to use"),
	FIELD("memory", 'm', "bytes", "Memory limit"),
	FIELD("memory-reservation", 0, "bytes", "Memory that is left to it when memory is short"),
	FIELD("memory-swap", 0, "bytes", "Limit of memory and swap together; -1: no limit of swap"),
	FIELD("pids-limit", 0, "int", "How many processes it may have"),
	FIELD_OF("restart", 0, "string", "no always unless-stopped on-failure", "Restart policy"),
	{ .name = NULL },
};

int container_flags_open(struct container_flags *flags, struct error *err)
{
	*flags = (struct container_flags){ .document = document_new() };
	return flags->document ? 0 : error_errno(err, ENOMEM, "cannot read the flags");
}

void container_flags_close(struct container_flags *flags)
{
	json_decref(flags->document);
	option_list_free(&flags->env_files);
	option_list_free(&flags->label_files);
	option_list_free(&flags->attach);
	*flags = (struct container_flags){ .document = NULL };
}

/* Files first: what is given on the command line wins over them. */
static int read_files(struct container_flags *flags, struct error *err)
{
	json_t *env = json_array(), *labels = json_array(), *item;
	size_t i;
	int ret = 0;

	for (i = 0; ret == 0 && i < flags->env_files.count; i++)
		ret = read_env_file(flags->env_files.items[i], env, false, err);
	for (i = 0; ret == 0 && i < flags->label_files.count; i++)
		ret = read_env_file(flags->label_files.items[i], labels, true, err);
	if (ret == 0) {
		(void)json_array_extend(env, document_at(flags->document, "Config.Env"));
		(void)document_set(flags->document, "Config.Env", json_incref(env));
	}
	json_array_foreach (labels, i, item) {
		cleanup_free char *text = strdup(json_string_value(item));
		char *value = text ? strchr(text, '=') : NULL;
		json_t *map = document_at(flags->document, "Config.Labels");

		if (value)
			*value++ = '\0';
		if (text && !json_object_get(map, text))
			(void)json_object_set_new(map, text, json_string(value ? value : ""));
	}
	json_decref(env);
	json_decref(labels);
	return ret;
}

static int check_together(const json_t *document, struct error *err)
{
	const char *policy = document_text(document, "HostConfig.RestartPolicy.Name");
	json_int_t memory = document_int(document, "HostConfig.Memory"),
		   swap = document_int(document, "HostConfig.MemorySwap");

	if (document_bool(document, "HostConfig.AutoRemove") && strcmp(policy, "no") != 0)
		return error_set(err, EINVAL, "Conflicting options: cannot specify both --restart and --rm");
	if (swap > 0 && memory == 0)
		return error_set(err, EINVAL, "You should always set the Memory limit when using Memoryswap limit");
	if (swap > 0 && swap < memory)
		return error_set(err, EINVAL, "Minimum memoryswap limit should be larger than memory limit");
	if (document_int(document, "HostConfig.MemoryReservation") > memory && memory > 0)
		return error_set(err, EINVAL, "Minimum memory limit can not be less than memory reservation limit");
	if (document_int(document, "HostConfig.NanoCpus") &&
	    (document_int(document, "HostConfig.CpuPeriod") || document_int(document, "HostConfig.CpuQuota")))
		return error_set(err, EINVAL,
				 "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set");
	if (*document_text(document, "Config.Hostname") &&
	    strcmp(document_text(document, "HostConfig.UTSMode"), "host") == 0)
		return error_set(err, EINVAL, "conflicting options: hostname and the UTS mode");
	return machine_flags_check(document, err);
}

static void set_attached(struct container_flags *flags)
{
	json_t *document = flags->document;
	bool all = flags->attach.count == 0 && !flags->detach, stdin_asked = false;

	(void)document_set(document, "Config.AttachStdout", json_boolean(all));
	(void)document_set(document, "Config.AttachStderr", json_boolean(all));
	for (size_t i = 0; i < flags->attach.count; i++) {
		const char *what = flags->attach.items[i];

		stdin_asked = stdin_asked || strcasecmp(what, "stdin") == 0;
		if (strcasecmp(what, "stdout") == 0)
			(void)document_set(document, "Config.AttachStdout", json_true());
		if (strcasecmp(what, "stderr") == 0)
			(void)document_set(document, "Config.AttachStderr", json_true());
	}
	if ((all || stdin_asked) && document_bool(document, "Config.OpenStdin")) {
		(void)document_set(document, "Config.AttachStdin", json_true());
		(void)document_set(document, "Config.StdinOnce", json_true());
	}
}

/* "": none; a JSON list of strings as podman takes it; else one word, as docker takes it. */
static json_t *entrypoint_of(const char *text)
{
	json_t *list = *text == '[' ? json_loads(text, 0, NULL) : NULL, *item;
	bool words = json_is_array(list);
	size_t i;

	json_array_foreach (list, i, item)
		words = words && json_is_string(item);
	if (words)
		return list;
	json_decref(list);
	return *text ? json_pack("[s]", text) : json_array();
}

int container_flags_finish(struct container_flags *flags, char **operands, int count, struct error *err)
{
	json_t *document = flags->document;
	int ret = read_files(flags, err);

	if (ret == 0)
		ret = check_together(document, err);
	if (ret < 0)
		return ret;
	if (flags->pull && strcmp(flags->pull, "never") != 0 && strcmp(flags->pull, "missing") != 0)
		return error_set(err, ENOTSUP, "--pull %s: registries come later; load or import the image",
				 flags->pull);
	if (flags->entrypoint)
		(void)document_set(document, "Config.Entrypoint", entrypoint_of(flags->entrypoint));
	if (count > 0)
		(void)document_set_text(document, "Config.Image", operands[0]);
	for (int i = 1; i < count; i++)
		(void)document_add(document, "Config.Cmd", json_string(operands[i]));
	/* The image's command belongs to the image's entrypoint. */
	if (flags->entrypoint && count == 1)
		(void)document_set(document, "Config.Cmd", json_array());
	set_attached(flags);
	return 0;
}
