/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "engine/document.h"
#include "engine/seccomp_default.h"
#include "linux/capability.h"

static const char default_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* docker's fourteen. */
static const char *const default_capabilities[] = {
	"CHOWN",  "DAC_OVERRIDE", "FSETID",  "FOWNER",		 "MKNOD",      "NET_RAW", "SETGID",
	"SETUID", "SETFCAP",	  "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",	  "AUDIT_WRITE",
};

static const char *const masked_paths[] = {
	"/proc/asound",	     "/proc/acpi",	    "/proc/interrupts", "/proc/kcore",
	"/proc/keys",	     "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
	"/proc/sched_debug", "/proc/scsi",	    "/sys/firmware",	"/sys/devices/virtual/powercap",
};
static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* "" or "private": a new one; "host": none; "container:ID": path has it. */
static const struct {
	const char *type, *mode; /* mode: the record's path */
	bool by_default;
	size_t path; /* in struct spec_namespaces */
} namespaces[] = {
	{ "pid", "HostConfig.PidMode", true, offsetof(struct spec_namespaces, pid) },
	{ "network", "HostConfig.NetworkMode", true, offsetof(struct spec_namespaces, network) },
	{ "ipc", "HostConfig.IpcMode", true, offsetof(struct spec_namespaces, ipc) },
	{ "uts", "HostConfig.UTSMode", true, offsetof(struct spec_namespaces, uts) },
	{ "user", "HostConfig.UsernsMode", false, offsetof(struct spec_namespaces, user) },
	{ "cgroup", "HostConfig.CgroupnsMode", true, offsetof(struct spec_namespaces, cgroup) },
};

static json_t *build_namespaces(const json_t *record, const struct spec_facts *facts)
{
	json_t *list = json_pack("[{s:s}]", "type", "mount");

	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++) {
		const char *mode = document_text(record, namespaces[i].mode);
		const char *path = (const char *)&facts->namespaces + namespaces[i].path;

		if (str_starts(mode, "container:"))
			(void)json_array_append_new(list,
						    json_pack("{s:s,s:s}", "type", namespaces[i].type, "path", path));
		else if (*mode ? strcmp(mode, "host") != 0 : namespaces[i].by_default)
			(void)json_array_append_new(list, json_pack("{s:s}", "type", namespaces[i].type));
	}
	return list;
}

static int capability_number(const char *name, struct error *err)
{
	int number = capability_from_name(name);

	if (number < 0)
		return error_set(err, EINVAL, "invalid capability: \"%s\"; see capabilities(7) for their names", name);
	return number;
}

int spec_capabilities(const json_t *record, uint64_t *mask, struct error *err)
{
	uint64_t all = capability_known_mask(), granted = 0;
	size_t i;
	json_t *item;

	if (document_bool(record, "HostConfig.Privileged")) {
		*mask = all;
		return 0;
	}
	for (i = 0; i < sizeof(default_capabilities) / sizeof(*default_capabilities); i++)
		granted |= UINT64_C(1) << capability_from_name(default_capabilities[i]);
	json_array_foreach (document_at(record, "HostConfig.CapDrop"), i, item) {
		const char *name = json_string_value(item);
		int number = strcasecmp(name, "all") == 0 ? 0 : capability_number(name, err);

		if (number < 0)
			return number;
		granted &= strcasecmp(name, "all") == 0 ? 0 : ~(UINT64_C(1) << number);
	}
	json_array_foreach (document_at(record, "HostConfig.CapAdd"), i, item) {
		const char *name = json_string_value(item);
		int number = strcasecmp(name, "all") == 0 ? 0 : capability_number(name, err);

		if (number < 0)
			return number;
		granted |= strcasecmp(name, "all") == 0 ? all : UINT64_C(1) << number;
	}
	/* "--cap-add ALL --cap-drop X" means all but X: what is dropped by name stays dropped. */
	json_array_foreach (document_at(record, "HostConfig.CapDrop"), i, item) {
		int number = capability_from_name(json_string_value(item));

		if (number >= 0 && !document_lists(record, "HostConfig.CapAdd", json_string_value(item)))
			granted &= ~(UINT64_C(1) << number);
	}
	*mask = granted & all;
	return 0;
}

json_t *spec_capability_names(uint64_t mask)
{
	json_t *list = json_array();

	for (int i = 0; i < capability_count(); i++) {
		if (mask >> i & 1)
			(void)json_array_append_new(list, json_string(capability_name(i)));
	}
	return list;
}

/* As execve(2) leaves them for a program that is not set-uid: only root holds what is granted. */
static json_t *build_capabilities(uint64_t mask, uid_t uid)
{
	json_t *names = spec_capability_names(mask), *sets = json_pack("{s:O}", "bounding", names);

	if (uid == 0) {
		(void)json_object_set(sets, "effective", names);
		(void)json_object_set(sets, "permitted", names);
	}
	json_decref(names);
	return sets;
}

static bool has_variable(const json_t *env, const char *name)
{
	size_t i, length = strlen(name);
	json_t *item;

	json_array_foreach ((json_t *)(uintptr_t)env, i, item) {
		const char *text = json_string_value(item);

		if (strncmp(text, name, length) == 0 && text[length] == '=')
			return true;
	}
	return false;
}

static json_t *build_env(const json_t *record, const struct spec_facts *facts)
{
	json_t *own = document_at(record, "Config.Env"), *env = json_array();

	if (!has_variable(own, "PATH"))
		(void)json_array_append_new(env, json_string(default_path));
	if (!has_variable(own, "HOSTNAME"))
		(void)json_array_append_new(env, json_sprintf("HOSTNAME=%s", document_text(record, "Config.Hostname")));
	if (document_bool(record, "Config.Tty") && !has_variable(own, "TERM"))
		(void)json_array_append_new(env, json_string("TERM=xterm"));
	(void)json_array_extend(env, own);
	if (!has_variable(own, "HOME"))
		(void)json_array_append_new(env, json_sprintf("HOME=%s", facts->user->home));
	return env;
}

static json_t *build_user(const struct image_user *user, const gid_t *extra, size_t extra_count)
{
	json_t *groups = json_array();

	/*
	 * The own group, too: a process that takes on another one (by a set-group-ID program) would else be out of it,
	 * and with that past a mode that gives the group less than others (CVE-2022-36109).
	 */
	if (!user->groups_denied)
		(void)json_array_append_new(groups, json_integer(user->gid));
	for (size_t i = 0; i < user->groups_count && !user->groups_denied; i++)
		if (user->groups[i] != user->gid)
			(void)json_array_append_new(groups, json_integer(user->groups[i]));
	for (size_t i = 0; i < extra_count; i++)
		(void)json_array_append_new(groups, json_integer(extra[i]));
	return json_pack("{s:I,s:I,s:o}", "uid", (json_int_t)user->uid, "gid", (json_int_t)user->gid, "additionalGids",
			 groups);
}

static json_t *build_rlimits(const json_t *record)
{
	json_t *list = json_array(), *item;
	size_t i;

	json_array_foreach (document_at(record, "HostConfig.Ulimits"), i, item) {
		cleanup_str struct str type = STR_INIT;

		str_printf(&type, "RLIMIT_%s", document_text(item, "Name"));
		for (char *at = type.text; at && *at; at++)
			*at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
		(void)json_array_append_new(list, json_pack("{s:s,s:o,s:o}", "type", str_text(&type), "soft",
							    json_incref(json_object_get(item, "Soft")), "hard",
							    json_incref(json_object_get(item, "Hard"))));
	}
	return list;
}

/* The value behind "key=" or "key:" in HostConfig.SecurityOpt, or NULL. */
static const char *security_option(const json_t *record, const char *key)
{
	size_t i, length = strlen(key);
	json_t *item;

	json_array_foreach (document_at(record, "HostConfig.SecurityOpt"), i, item) {
		const char *text = json_string_value(item);

		if (strncmp(text, key, length) != 0)
			continue;
		if (!text[length])
			return "true";
		if (text[length] == '=' || text[length] == ':')
			return text + length + 1;
	}
	return NULL;
}

static json_t *build_process(const json_t *record, const struct spec_facts *facts, uint64_t capabilities)
{
	const char *apparmor = security_option(record, "apparmor"), *label = security_option(record, "label");
	const char *locked = security_option(record, "no-new-privileges"),
		   *cwd = document_text(record, "Config.WorkingDir");
	bool init = document_bool(record, "HostConfig.Init");
	json_t *args = init ? json_pack("[s,s]", SPEC_INIT_PATH, "--") : json_array(), *process;
	json_t *console = document_at(record, "HostConfig.ConsoleSize");

	(void)json_array_append_new(args, json_string(document_text(record, "Path")));
	(void)json_array_extend(args, document_at(record, "Args"));
	process = json_pack("{s:b,s:o,s:o,s:o,s:s,s:o,s:b,s:o}", "terminal", document_bool(record, "Config.Tty"),
			    "user", build_user(facts->user, facts->extra_groups, facts->extra_groups_count), "args",
			    args, "env", build_env(record, facts), "cwd", *cwd ? cwd : "/", "capabilities",
			    build_capabilities(capabilities, facts->user->uid), "noNewPrivileges",
			    locked && strcmp(locked, "false") != 0, "rlimits", build_rlimits(record));
	if (document_bool(record, "Config.Tty") && json_integer_value(json_array_get(console, 0)) > 0)
		(void)document_set(process, "consoleSize",
				   json_pack("{s:O,s:O}", "height", json_array_get(console, 0), "width",
					     json_array_get(console, 1)));
	if (apparmor && strcmp(apparmor, "unconfined") != 0)
		(void)document_set_text(process, "apparmorProfile", apparmor);
	if (label && strcmp(label, "disable") != 0)
		(void)document_set_text(process, "selinuxLabel", label);
	if (document_int(record, "HostConfig.OomScoreAdj"))
		(void)document_set(process, "oomScoreAdj",
				   json_integer(document_int(record, "HostConfig.OomScoreAdj")));
	return process;
}

/* Whether "/a:/b" has path, or a directory above it; "ALL" has all. */
static bool names_path(const char *list, const char *path)
{
	while (list && *list) {
		size_t length = strcspn(list, ":");

		if ((length == 3 && strncasecmp(list, "all", 3) == 0) ||
		    (length > 0 && strncmp(list, path, length) == 0 && (path[length] == '/' || !path[length])))
			return true;
		list += length + (list[length] == ':');
	}
	return false;
}

/* The paths that nobody has unmasked, and what else is in "/a:/b". */
static json_t *path_list(const char *const *paths, size_t count, const char *except, const char *more)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		if (!names_path(except, paths[i]))
			(void)json_array_append_new(list, json_string(paths[i]));
	}
	while (more && *more) {
		size_t length = strcspn(more, ":");

		if (length)
			(void)json_array_append_new(list, json_stringn(more, length));
		more += length + (more[length] == ':');
	}
	return list;
}

/* docker's systempaths=unconfined, podman's unmask=PATHS and mask=PATHS. */
static void add_masks(json_t *linux_, const json_t *record)
{
	const char *system = security_option(record, "systempaths"), *except = security_option(record, "unmask");

	if (system && strcmp(system, "unconfined") == 0)
		except = "ALL";
	(void)document_set(linux_, "maskedPaths",
			   path_list(masked_paths, sizeof(masked_paths) / sizeof(*masked_paths), except,
				     security_option(record, "mask")));
	(void)document_set(linux_, "readonlyPaths",
			   path_list(readonly_paths, sizeof(readonly_paths) / sizeof(*readonly_paths), except, NULL));
}

/* Without a network namespace of its own the host's settings would be changed. */
static json_t *build_sysctls(const json_t *record, bool rootless)
{
	json_t *own = document_at(record, "HostConfig.Sysctls"), *sysctls = json_object();
	const char *network = document_text(record, "HostConfig.NetworkMode");
	bool user_namespace = strcmp(document_text(record, "HostConfig.UsernsMode"), "private") == 0;

	if (strcmp(network, "host") != 0 && !str_starts(network, "container:")) {
		(void)json_object_set_new(sysctls, "net.ipv4.ip_unprivileged_port_start", json_string("0"));
		if (!user_namespace)
			/* Only ids that the namespace has. */
			(void)json_object_set_new(sysctls, "net.ipv4.ping_group_range",
						  json_string(rootless ? "0 0" : "0 2147483647"));
	}
	if (own)
		(void)json_object_update(sysctls, own);
	return sysctls;
}

static void add_seccomp(json_t *linux_, const json_t *record, const struct spec_facts *facts, uint64_t capabilities)
{
	const char *wish = security_option(record, "seccomp");

	if (facts->seccomp)
		(void)document_set(linux_, "seccomp", json_incref(facts->seccomp));
	else if (!(wish && strcmp(wish, "unconfined") == 0) && !document_bool(record, "HostConfig.Privileged"))
		(void)document_set(linux_, "seccomp", seccomp_default_profile(capabilities));
}

static json_t *build_linux(const json_t *record, const struct spec_facts *facts, uint64_t capabilities,
			   struct error *err)
{
	bool privileged = document_bool(record, "HostConfig.Privileged");
	json_t *resources = spec_build_resources(record, err), *devices = NULL, *linux_;

	if (resources)
		devices = spec_build_devices(record, facts, document_at(resources, "devices"), err);
	if (!devices) {
		json_decref(resources);
		return NULL;
	}
	linux_ = json_pack("{s:o,s:o,s:o,s:o}", "namespaces", build_namespaces(record, facts), "resources", resources,
			   "devices", devices, "sysctl", build_sysctls(record, facts->rootless));
	if (facts->cgroup)
		(void)document_set_text(linux_, "cgroupsPath", facts->cgroup);
	if (!privileged)
		add_masks(linux_, record);
	add_seccomp(linux_, record, facts, capabilities);
	return linux_;
}

/* config-vm.md, and annotations for what it has no word for: paradigm/vm/settings.h. */
static void add_machine(json_t *config, const json_t *record, const struct spec_facts *facts)
{
	const char *isolation = document_text(record, "HostConfig.Isolation");
	const char *kernel = document_text(record, "HostConfig.Kernel");

	if (*isolation && strcmp(isolation, "default") != 0 && strcmp(isolation, "container") != 0)
		(void)json_object_set_new(document_at(config, "annotations"), "run.oci.handler",
					  json_string(isolation));
	if (facts->disk) {
		(void)document_set(config, "vm.image", json_pack("{s:s,s:s}", "path", facts->disk, "format", "qcow2"));
		(void)json_object_set_new(document_at(config, "annotations"), "org.caisson.vm.image.backing",
					  json_string(facts->disk_base));
	}
	if (!facts->own_kernel)
		return;
	if (document_int(record, "HostConfig.Vcpus"))
		(void)document_set(config, "vm.hwConfig.vcpus", json_integer(document_int(record, "HostConfig.Vcpus")));
	if (*kernel == '/')
		(void)document_set_text(config, "vm.kernel.path", kernel);
	else if (*kernel)
		(void)json_object_set_new(document_at(config, "annotations"), "org.caisson.vm.kernel",
					  json_string(kernel));
	if (facts->snapshot)
		(void)json_object_set_new(document_at(config, "annotations"), "org.caisson.vm.snapshot",
					  json_string(facts->snapshot));
	if (facts->kernels)
		(void)json_object_set_new(document_at(config, "annotations"), "org.caisson.vm.kernels",
					  json_string(facts->kernels));
}

/* Replaces a number in the list of rlimits; fresh memory or NULL. */
static char *replace_in_rlimits(const char *text, const char *from, const char *to)
{
	const char *list = strstr(text, "\"rlimits\":["), *end = list ? strchr(list, ']') : NULL;
	struct str out = STR_INIT;

	while (end) {
		const char *at = strstr(list, from);

		if (!at || at > end)
			break;
		str_append_bytes(&out, text, (size_t)(at - text));
		str_append(&out, to);
		text = list = at + strlen(from);
	}
	str_append(&out, text);
	return str_take(&out);
}

static const char largest[] = "9223372036854775807", unlimited[] = "18446744073709551615";

char *spec_text(const json_t *config)
{
	cleanup_free char *text = json_dumps(config, JSON_COMPACT);

	return text ? replace_in_rlimits(text, largest, unlimited) : NULL;
}

json_t *spec_load(const char *text)
{
	cleanup_free char *safe = replace_in_rlimits(text, unlimited, largest);

	return safe ? json_loads(safe, 0, NULL) : NULL;
}

json_t *spec_build(const json_t *record, const struct spec_facts *facts, struct error *err)
{
	const char *uts = document_text(record, "HostConfig.UTSMode");
	uint64_t capabilities;
	json_t *linux_, *config;

	if (spec_capabilities(record, &capabilities, err) < 0)
		return NULL;
	linux_ = build_linux(record, facts, capabilities, err);
	if (!linux_)
		return NULL;
	config = json_pack("{s:s,s:{s:s,s:b},s:o,s:o,s:o,s:o}", "ociVersion", "1.2.0", "root", "path", facts->rootfs,
			   "readonly", document_bool(record, "HostConfig.ReadonlyRootfs"), "process",
			   build_process(record, facts, capabilities), "mounts", spec_build_mounts(record, facts),
			   "annotations", json_deep_copy(document_at(record, "HostConfig.Annotations")), "linux",
			   linux_);
	if (!config) {
		(void)error_errno(err, ENOMEM, "cannot build the specification");
		return NULL;
	}
	add_machine(config, record, facts);
	if (strcmp(uts, "host") != 0 && !str_starts(uts, "container:")) {
		(void)document_set_text(config, "hostname", document_text(record, "Config.Hostname"));
		if (*document_text(record, "Config.Domainname"))
			(void)document_set_text(config, "domainname", document_text(record, "Config.Domainname"));
	}
	return config;
}

/* In the place of one of the same name: of two, some programs see the first, and others the last. */
static void put_variable(json_t *env, json_t *variable)
{
	const char *text = json_string_value(variable);
	size_t i, name = strcspn(text, "=");
	json_t *item;

	json_array_foreach (env, i, item) {
		const char *has = json_string_value(item);

		if (strcspn(has, "=") == name && memcmp(has, text, name) == 0) {
			(void)json_array_set(env, i, variable);
			return;
		}
	}
	(void)json_array_append(env, variable);
}

json_t *spec_exec_process(const json_t *config, const json_t *options, const struct image_user *user, struct error *err)
{
	json_t *process = json_deep_copy(document_at(config, "process")), *env, *item;
	bool tty = document_bool(options, "Tty");
	size_t i;

	if (!process) {
		(void)error_errno(err, ENOMEM, "cannot describe the process");
		return NULL;
	}
	env = document_at(process, "env");
	json_array_foreach (document_at(options, "Env"), i, item)
		put_variable(env, item);
	if (tty && !has_variable(env, "TERM"))
		(void)json_array_append_new(env, json_string("TERM=xterm"));
	if (user) {
		json_t *home = json_sprintf("HOME=%s", user->home), *each;
		size_t at = 0;

		(void)document_set(process, "user", build_user(user, NULL, 0));
		/* What the instance's own user calls home is not this one's, unless it was asked for. */
		json_array_foreach (env, at, each) {
			if (str_starts(json_string_value(each), "HOME="))
				(void)json_array_set(env, at, home);
		}
		json_decref(home);
	}
	(void)document_set(process, "args", json_incref(document_at(options, "Cmd")));
	(void)document_set(process, "terminal", json_boolean(tty));
	(void)json_object_del(process, "consoleSize");
	if (*document_text(options, "WorkingDir"))
		(void)document_set_text(process, "cwd", document_text(options, "WorkingDir"));
	if (document_bool(options, "Privileged"))
		(void)document_set(process, "capabilities", build_capabilities(capability_known_mask(), 0));
	else if (user)
		(void)document_set(process, "capabilities",
				   json_pack("{s:O}", "bounding", document_at(process, "capabilities.bounding")));
	if (user && user->uid == 0 && !document_bool(options, "Privileged")) {
		json_t *bounding = document_at(process, "capabilities.bounding");

		(void)document_set(process, "capabilities.effective", json_incref(bounding));
		(void)document_set(process, "capabilities.permitted", json_incref(bounding));
	}
	return process;
}
