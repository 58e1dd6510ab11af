/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the flags of run and create say: each one is a row of a table that says
 * which property of the document (engine/document.h) it sets, and how its text
 * is understood.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "engine/document.h"
#include "engine/lifecycle.h"
#include "engine/mounts.h"
#include "linux/capability.h"
#include "linux/process.h"
#include "linux/vfio.h"

/* How one flag's value becomes a property. */
struct field {
	const char *flag, *path;
	int (*convert)(json_t *document, const struct field *field, const char *value, struct error *err);
};

static int as_text(json_t *document, const struct field *field, const char *value, struct error *err)
{
	(void)err;
	return document_set_text(document, field->path, value);
}

static int as_item(json_t *document, const struct field *field, const char *value, struct error *err)
{
	(void)err;
	return document_add(document, field->path, json_string(value));
}

static int as_truth(json_t *document, const struct field *field, const char *value, struct error *err)
{
	(void)err;
	return document_set(document, field->path,
			    json_boolean(!value || strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0));
}

static int as_integer(json_t *document, const struct field *field, const char *value, struct error *err)
{
	int64_t number;

	if (str_to_i64(value, &number) < 0)
		return error_set(err, EINVAL, "expected a whole number");
	return document_set(document, field->path, json_integer(number));
}

/* Bytes; -1 is "no limit" where the kernel has that. */
static int as_size(json_t *document, const struct field *field, const char *value, struct error *err)
{
	uint64_t bytes;

	if (strcmp(value, "-1") == 0)
		return document_set(document, field->path, json_integer(-1));
	if (str_to_size(value, &bytes) < 0 || bytes > INT64_MAX)
		return error_set(err, EINVAL, "invalid size: '%s'; write it like 512k, 64m, 2g", value);
	return document_set(document, field->path, json_integer((json_int_t)bytes));
}

static int as_memory(json_t *document, const struct field *field, const char *value, struct error *err)
{
	enum { MEMORY_MIN = 512 << 10 }; /* below it process 1 does not get through its own start */
	int ret = as_size(document, field, value, err);

	if (ret == 0 && document_int(document, field->path) >= 0 && document_int(document, field->path) < MEMORY_MIN &&
	    document_int(document, field->path) != 0)
		return error_set(err, EINVAL, "Minimum memory limit allowed is 512KB");
	return ret;
}

/* "1.5" -> nanoseconds of CPU time per second. */
static int as_cpus(json_t *document, const struct field *field, const char *value, struct error *err)
{
	char *end;
	double cpus = strtod(value, &end);

	if (!*value || *end || !(cpus >= 0.01 && cpus <= 100000) || value[strspn(value, "0123456789.")])
		return error_set(err, EINVAL, "expected a number of CPUs, like 0.5 or 2; 0.01 at least");
	return document_set(document, field->path, json_integer((json_int_t)(cpus * 1e9 + 0.5)));
}

/* "0-3,7" */
static int as_cpuset(json_t *document, const struct field *field, const char *value, struct error *err)
{
	const char *at = value;
	bool good = true;

	while (good && *at) {
		unsigned long first, last;
		char *end;

		good = *at >= '0' && *at <= '9';
		first = last = good ? strtoul(at, &end, 10) : 0;
		at = good ? end : at;
		if (good && *at == '-') {
			good = at[1] >= '0' && at[1] <= '9';
			last = strtoul(at + 1, &end, 10);
			at = end;
		}
		good = good && last >= first && (!*at || (*at == ',' && at[1]));
		at += *at == ',';
	}
	if (!good)
		return error_set(err, EINVAL, "Invalid value %s for %s; write it like 0-3,7", value, field->flag);
	return document_set_text(document, field->path, value);
}

static int as_capability(json_t *document, const struct field *field, const char *value, struct error *err)
{
	cleanup_free char *copy = strdup(value);
	char *rest = copy, *word;

	while ((word = strsep(&rest, ","))) {
		if (strcasecmp(word, "all") != 0 && capability_from_name(word) < 0)
			return error_set(err, EINVAL, "invalid capability: \"%s\"; see capabilities(7) for their names",
					 word);
		if (document_add(document, field->path, json_string(word)) < 0)
			return error_errno(err, ENOMEM, "cannot keep it");
	}
	return 0;
}

static int as_pair(json_t *document, const struct field *field, const char *value, struct error *err)
{
	const char *equals = strchr(value, '=');
	json_t *map = document_at(document, field->path);
	cleanup_free char *key = equals ? strndup(value, (size_t)(equals - value)) : strdup(value);

	if (!key || !*key)
		return error_set(err, EINVAL, "expected NAME=VALUE");
	if (!json_is_object(map)) {
		map = json_object();
		(void)document_set(document, field->path, map);
	}
	return json_object_set_new(map, key, json_string(equals ? equals + 1 : "")) < 0 ? -ENOMEM : 0;
}

/* Of the kernel's parameters only those that a namespace has of its own: the others are the host's. */
static int as_sysctl(json_t *document, const struct field *field, const char *value, struct error *err)
{
	static const char *const own[] = { "net.",	 "fs.mqueue.",	       "kernel.msg",	   "kernel.sem=",
					   "kernel.shm", "kernel.domainname=", "kernel.hostname=", NULL };

	if (!strchr(value, '='))
		return error_set(err, EINVAL, "expected NAME=VALUE");
	for (size_t i = 0; own[i]; i++) {
		if (str_starts(value, own[i]))
			return as_pair(document, field, value, err);
	}
	return error_set(err, EINVAL,
			 "sysctl '%s' is not allowed: it is the host's; an instance has net.*, fs.mqueue.*, "
			 "kernel.msg*, kernel.sem, kernel.shm* and kernel.domainname of its own",
			 value);
}

static int as_env(json_t *document, const struct field *field, const char *value, struct error *err)
{
	json_t *variable;

	if (!*value || *value == '=')
		return error_set(err, EINVAL, "invalid environment variable: %s", value);
	variable = env_of_flag(value, err);
	return variable ? document_add(document, field->path, variable) : -EILSEQ;
}

static int as_bind(json_t *document, const struct field *field, const char *value, struct error *err)
{
	bool anonymous;
	int ret = mounts_check_bind(value, &anonymous, err);

	if (ret < 0)
		return ret;
	if (!anonymous)
		return as_item(document, field, value, err);
	if (strchr(value, ':')) /* "/data:ro": options of an anonymous volume */
		return as_item(document, field, value, err);
	return as_pair(document, &(struct field){ "volume", "Config.Volumes", NULL }, value, err);
}

static int as_mount(json_t *document, const struct field *field, const char *value, struct error *err)
{
	json_t *mount = mounts_parse(value, err);

	return mount ? document_add(document, field->path, mount) : -EINVAL;
}

static int as_tmpfs(json_t *document, const struct field *field, const char *value, struct error *err)
{
	const char *colon = strchr(value, ':');
	cleanup_free char *path = colon ? strndup(value, (size_t)(colon - value)) : strdup(value);

	if (!path || *path != '/')
		return error_set(err, EINVAL, "invalid tmpfs mount: \"%s\" is not an absolute path", path ? path : "");
	return json_object_set_new(document_at(document, field->path), path, json_string(colon ? colon + 1 : "")) < 0
		       ? -ENOMEM
		       : 0;
}

/* "nofile=1024:2048" */
static int as_ulimit(json_t *document, const struct field *field, const char *value, struct error *err)
{
	const char *equals = strchr(value, '='), *colon = equals ? strchr(equals, ':') : NULL;
	cleanup_free char *name = equals ? strndup(value, (size_t)(equals - value)) : NULL;
	cleanup_free char *soft_text = NULL, *type = NULL;
	int64_t soft, hard;

	if (!equals)
		return error_set(err, EINVAL, "invalid ulimit argument: %s; write it like nofile=1024:2048", value);
	if (asprintf(&type, "RLIMIT_%s", name) < 0)
		return error_errno(err, ENOMEM, "cannot keep it");
	for (char *at = type; *at; at++)
		*at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
	if (process_rlimit_from_name(type) < 0)
		return error_set(err, EINVAL, "invalid ulimit type: %s", name);
	soft_text = colon ? strndup(equals + 1, (size_t)(colon - equals - 1)) : strdup(equals + 1);
	if (!soft_text || str_to_i64(soft_text, &soft) < 0 || str_to_i64(colon ? colon + 1 : soft_text, &hard) < 0 ||
	    soft < -1 || hard < -1)
		return error_set(err, EINVAL, "invalid ulimit value: %s", value);
	if (hard != -1 && (soft == -1 || soft > hard))
		return error_set(err, EINVAL, "ulimit soft limit must be less than or equal to hard limit: %s", value);
	/* -1 is "unlimited", which the specification writes as the largest number; jansson has none beyond 2^63. */
	return document_add(document, field->path,
			    json_pack("{s:s,s:I,s:I}", "Name", name, "Soft",
				      soft == -1 ? (json_int_t)INT64_MAX : (json_int_t)soft, "Hard",
				      hard == -1 ? (json_int_t)INT64_MAX : (json_int_t)hard));
}

/* "vfio:ADDRESS": a line of the annotation each. */
static int add_passed_device(json_t *document, const char *value, struct error *err)
{
	static const char key[] = "org.caisson.vm.device";
	json_t *annotations = document_at(document, "HostConfig.Annotations");
	const char *before = json_string_value(json_object_get(annotations, key));
	char address[VFIO_ADDRESS_SIZE];
	cleanup_free char *lines = NULL;
	int ret = vfio_address(value + strlen("vfio:"), address, err);

	if (ret < 0)
		return ret;
	if (asprintf(&lines, "%svfio:%s\n", before ? before : "", address) < 0 ||
	    json_object_set_new(annotations, key, json_string(lines)) < 0)
		return error_errno(err, ENOMEM, "cannot keep it");
	return 0;
}

/* "/dev/a[:/dev/b][:rwm]" */
static int as_device(json_t *document, const struct field *field, const char *value, struct error *err)
{
	cleanup_free char *copy = strdup(value);
	char *rest = copy, *host = strsep(&rest, ":"), *inside = rest ? strsep(&rest, ":") : NULL;
	const char *access = "rwm";

	if (str_starts(value, "vfio:"))
		return add_passed_device(document, value, err);
	if (inside && *inside != '/' && !rest) {
		access = inside;
		inside = NULL;
	} else if (rest) {
		access = rest;
	}
	if (*host != '/' || (inside && *inside != '/') || !*access || access[strspn(access, "rwm")])
		return error_set(err, EINVAL, "bad format for device: %s; write it like /dev/fuse or /dev/a:/dev/b:rw",
				 value);
	return document_add(document, field->path,
			    json_pack("{s:s,s:s,s:s}", "PathOnHost", host, "PathInContainer", inside ? inside : host,
				      "CgroupPermissions", access));
}

/* "/dev/sda:1mb", "/dev/sda:100" */
static int as_rate(json_t *document, const struct field *field, const char *value, struct error *err)
{
	const char *colon = strrchr(value, ':');
	cleanup_free char *path = colon ? strndup(value, (size_t)(colon - value)) : NULL;
	bool bytes = str_ends(field->path, "Bps");
	uint64_t rate;

	if (!path || *path != '/' || (bytes ? str_to_size(colon + 1, &rate) : str_to_u64(colon + 1, &rate)) < 0 ||
	    rate > INT64_MAX)
		return error_set(err, EINVAL, "bad format: %s; write it like %s", value,
				 bytes ? "/dev/sda:10mb" : "/dev/sda:1000");
	return document_add(document, field->path,
			    json_pack("{s:s,s:I}", "Path", path,
				      strcmp(field->flag, "blkio-weight-device") == 0 ? "Weight" : "Rate",
				      (json_int_t)rate));
}

static int as_weight(json_t *document, const struct field *field, const char *value, struct error *err)
{
	uint64_t weight;

	if (str_to_u64(value, &weight) < 0 || (weight && (weight < 10 || weight > 1000)))
		return error_set(err, EINVAL, "Range of blkio weight is from 10 to 1000");
	return document_set(document, field->path, json_integer((json_int_t)weight));
}

static int as_oom_score(json_t *document, const struct field *field, const char *value, struct error *err)
{
	int ret = as_integer(document, field, value, err);
	json_int_t score = document_int(document, field->path);

	return ret == 0 && (score < -1000 || score > 1000)
		       ? error_set(err, EINVAL, "Invalid value %s, range for oom score adj is [-1000, 1000]", value)
		       : ret;
}

static int as_swappiness(json_t *document, const struct field *field, const char *value, struct error *err)
{
	int ret = as_integer(document, field, value, err);
	json_int_t number = document_int(document, field->path);

	return ret == 0 && (number < -1 || number > 100)
		       ? error_set(err, EINVAL, "invalid value: %s, its range is 0-100", value)
		       : ret;
}

static int as_signal(json_t *document, const struct field *field, const char *value, struct error *err)
{
	int ret = signal_from_name(value, err);

	return ret < 0 ? ret : as_text(document, field, value, err);
}

/* "on-failure:5" */
static int as_restart(json_t *document, const struct field *field, const char *value, struct error *err)
{
	static const char *const names[] = { "no", "always", "unless-stopped", "on-failure", NULL };
	size_t length = strcspn(value, ":");
	cleanup_free char *name = strndup(value, length);
	uint64_t count = 0;
	bool known = false;

	(void)field;
	for (size_t i = 0; name && names[i]; i++)
		known = known || strcmp(names[i], name) == 0;
	if (!known)
		return error_set(err, EINVAL,
				 "invalid restart policy '%s'; known are no, always, unless-stopped, "
				 "on-failure[:N]",
				 value);
	if (value[length] &&
	    (strcmp(name, "on-failure") != 0 || str_to_u64(value + length + 1, &count) < 0 || count > INT32_MAX))
		return error_set(err, EINVAL, "maximum retry count: expected on-failure:N");
	(void)document_set_text(document, "HostConfig.RestartPolicy.Name", name);
	return document_set(document, "HostConfig.RestartPolicy.MaximumRetryCount", json_integer((json_int_t)count));
}

static int as_log_option(json_t *document, const struct field *field, const char *value, struct error *err)
{
	uint64_t number;
	const char *text = strchr(value, '=');

	if (!text)
		return error_set(err, EINVAL, "expected NAME=VALUE");
	if (str_starts(value, "max-size=")) {
		if (strcmp(text, "=-1") == 0)
			return 0;
		if (str_to_size(text + 1, &number) < 0 || number == 0)
			return error_set(err, EINVAL, "invalid log size: %s", text + 1);
	} else if (str_starts(value, "max-file=")) {
		if (str_to_u64(text + 1, &number) < 0 || number < 1 || number > 1000)
			return error_set(err, EINVAL, "max-file must be from 1 to 1000");
	} else {
		return error_set(err, EINVAL,
				 "unknown log opt '%.*s' for json-file log driver; known are max-size and "
				 "max-file",
				 (int)(text - value), value);
	}
	return as_pair(document, field, value, err);
}

static int as_log_driver(json_t *document, const struct field *field, const char *value, struct error *err)
{
	if (strcmp(value, "json-file") != 0 && strcmp(value, "none") != 0)
		return error_set(err, EINVAL, "unknown log driver; known are json-file and none");
	return as_text(document, field, value, err);
}

/* "name:ip" */
static int as_host(json_t *document, const struct field *field, const char *value, struct error *err)
{
	const char *colon = strpbrk(value, ":=");
	cleanup_free char *text = NULL;

	if (!colon || colon == value || !colon[1] || strpbrk(value, " \t\n"))
		return error_set(err, EINVAL, "bad format for add-host: \"%s\"; write it like name:192.0.2.1", value);
	if (asprintf(&text, "%.*s:%s", (int)(colon - value), value, colon + 1) < 0)
		return error_errno(err, ENOMEM, "cannot keep it");
	return as_item(document, field, text, err);
}

static int as_dns(json_t *document, const struct field *field, const char *value, struct error *err)
{
	if (!*value || strpbrk(value, " \t\n"))
		return error_set(err, EINVAL, "invalid value: '%s'", value);
	return as_item(document, field, value, err);
}

/* What a namespace can be shared with. */
static int check_mode(const char *value, const char *const *known, struct error *err)
{
	if (str_starts(value, "container:") && value[strlen("container:")])
		return 0;
	for (; *known; known++) {
		if (strcmp(value, *known) == 0)
			return 0;
	}
	return error_set(err, EINVAL, "invalid mode: %s", value);
}

static int as_namespace(json_t *document, const struct field *field, const char *value, struct error *err)
{
	static const char *const known[] = { "host", "private", "", NULL };
	int ret = check_mode(value, known, err);

	return ret < 0 ? error_hint(err, "known are host, private and container:NAME")
		       : as_text(document, field, value, err);
}

static int as_user_namespace(json_t *document, const struct field *field, const char *value, struct error *err)
{
	if (strcmp(value, "host") != 0)
		return error_set(
			err, ENOTSUP,
			"user namespaces of an instance's own come later; known is host, and caisson-oci makes "
			"what a config.json says");
	return as_text(document, field, value, err);
}

static int as_ipc(json_t *document, const struct field *field, const char *value, struct error *err)
{
	/* docker's "shareable" and "none" are private ones, too. */
	if (strcmp(value, "shareable") == 0 || strcmp(value, "none") == 0)
		value = "private";
	return as_namespace(document, field, value, err);
}

static int as_network(json_t *document, const struct field *field, const char *value, struct error *err)
{
	static const char *const known[] = { "none", "host", NULL };
	int ret = check_mode(value, known, err);

	return ret < 0 ? error_hint(err, "networks of their own come later: known are none (the default), host and "
					 "container:NAME")
		       : as_text(document, field, value, err);
}

static int as_host_name(json_t *document, const struct field *field, const char *value, struct error *err)
{
	enum { HOST_NAME_LIMIT = 64 };

	if (!*value || strlen(value) > HOST_NAME_LIMIT || strpbrk(value, "/ \t\n"))
		return error_set(err, EINVAL, "invalid host name; up to %d letters, digits, '-' and '.'",
				 HOST_NAME_LIMIT);
	return as_text(document, field, value, err);
}

static int as_working_directory(json_t *document, const struct field *field, const char *value, struct error *err)
{
	cleanup_free char *clean = *value == '/' ? path_clean(value) : NULL;

	if (!clean)
		return error_set(err, EINVAL, "the working directory '%s' is invalid, it needs to be an absolute path",
				 value);
	return as_text(document, field, clean, err);
}

static int as_user(json_t *document, const struct field *field, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, EINVAL, "expected NAME|UID[:GROUP|GID]");
	return as_text(document, field, value, err);
}

static int as_positive(json_t *document, const struct field *field, const char *value, struct error *err)
{
	int ret = as_integer(document, field, value, err);

	return ret == 0 && document_int(document, field->path) < 0 ? error_set(err, EINVAL, "expected 0 or more") : ret;
}

static int as_security(json_t *document, const struct field *field, const char *value, struct error *err)
{
	static const char *const known[] = {
		"no-new-privileges",	  "seccomp=", "seccomp:", "apparmor=",	"apparmor:",  "label=", "label:",
		"systempaths=unconfined", "mask=/",   "unmask=/", "unmask=ALL", "unmask=all", NULL
	};
	cleanup_free char *text = NULL;
	bool found = false;

	for (size_t i = 0; known[i]; i++)
		found = found || str_starts(value, known[i]);
	if (!found)
		return error_set(err, EINVAL,
				 "invalid --security-opt: \"%s\"; known are no-new-privileges, seccomp=FILE, "
				 "seccomp=unconfined, apparmor=PROFILE, label=LABEL, systempaths=unconfined, "
				 "mask=PATHS, unmask=PATHS",
				 value);
	if (str_starts(value, "seccomp") && strcmp(value + strlen("seccomp="), "unconfined") != 0) {
		json_error_t where;
		json_t *parsed;
		int ret = file_read(AT_FDCWD, value + strlen("seccomp="), 4 << 20, &text, NULL, err);

		if (ret < 0)
			return error_wrap(err, "opening seccomp profile failed");
		parsed = json_loads(text, 0, &where);
		json_decref(parsed);
		if (!parsed)
			return error_set(err, EINVAL, "the seccomp profile %s is no JSON: line %d: %s",
					 value + strlen("seccomp="), where.line, where.text);
		(void)document_set_text(document, "SeccompProfile", text);
	}
	return as_item(document, field, value, err);
}

static int as_platform(json_t *document, const struct field *field, const char *value, struct error *err)
{
	return as_text(document, field, value, err);
}

static const struct field fields[] = {
	{ "add-host", "HostConfig.ExtraHosts", as_host },
	{ "annotation", "HostConfig.Annotations", as_pair },
	{ "blkio-weight", "HostConfig.BlkioWeight", as_weight },
	{ "blkio-weight-device", "HostConfig.BlkioWeightDevice", as_rate },
	{ "cap-add", "HostConfig.CapAdd", as_capability },
	{ "cap-drop", "HostConfig.CapDrop", as_capability },
	{ "cgroup-parent", "HostConfig.CgroupParent", as_text },
	{ "cgroupns", "HostConfig.CgroupnsMode", as_namespace },
	{ "cidfile", "HostConfig.ContainerIDFile", as_text },
	{ "cpu-period", "HostConfig.CpuPeriod", as_positive },
	{ "cpu-quota", "HostConfig.CpuQuota", as_integer },
	{ "cpu-shares", "HostConfig.CpuShares", as_positive },
	{ "cpus", "HostConfig.NanoCpus", as_cpus },
	{ "cpuset-cpus", "HostConfig.CpusetCpus", as_cpuset },
	{ "cpuset-mems", "HostConfig.CpusetMems", as_cpuset },
	{ "device", "HostConfig.Devices", as_device },
	{ "device-cgroup-rule", "HostConfig.DeviceCgroupRules", as_item },
	{ "device-read-bps", "HostConfig.BlkioDeviceReadBps", as_rate },
	{ "device-read-iops", "HostConfig.BlkioDeviceReadIOps", as_rate },
	{ "device-write-bps", "HostConfig.BlkioDeviceWriteBps", as_rate },
	{ "device-write-iops", "HostConfig.BlkioDeviceWriteIOps", as_rate },
	{ "dns", "HostConfig.Dns", as_dns },
	{ "dns-option", "HostConfig.DnsOptions", as_dns },
	{ "dns-search", "HostConfig.DnsSearch", as_dns },
	{ "domainname", "Config.Domainname", as_text },
	{ "env", "Config.Env", as_env },
	{ "group-add", "HostConfig.GroupAdd", as_item },
	{ "hostname", "Config.Hostname", as_host_name },
	{ "init", "HostConfig.Init", as_truth },
	{ "interactive", "Config.OpenStdin", as_truth },
	{ "ipc", "HostConfig.IpcMode", as_ipc },
	{ "label", "Config.Labels", as_pair },
	{ "log-driver", "HostConfig.LogConfig.Type", as_log_driver },
	{ "log-opt", "HostConfig.LogConfig.Config", as_log_option },
	{ "memory", "HostConfig.Memory", as_memory },
	{ "memory-reservation", "HostConfig.MemoryReservation", as_size },
	{ "memory-swap", "HostConfig.MemorySwap", as_size },
	{ "memory-swappiness", "HostConfig.MemorySwappiness", as_swappiness },
	{ "mount", "HostConfig.Mounts", as_mount },
	{ "network", "HostConfig.NetworkMode", as_network },
	{ "net", "HostConfig.NetworkMode", as_network },
	{ "oom-kill-disable", "HostConfig.OomKillDisable", as_truth },
	{ "oom-score-adj", "HostConfig.OomScoreAdj", as_oom_score },
	{ "pid", "HostConfig.PidMode", as_namespace },
	{ "pids-limit", "HostConfig.PidsLimit", as_integer },
	{ "platform", "Platform", as_platform },
	{ "privileged", "HostConfig.Privileged", as_truth },
	{ "read-only", "HostConfig.ReadonlyRootfs", as_truth },
	{ "restart", "HostConfig.RestartPolicy", as_restart },
	{ "rm", "HostConfig.AutoRemove", as_truth },
	{ "security-opt", "HostConfig.SecurityOpt", as_security },
	{ "shm-size", "HostConfig.ShmSize", as_size },
	{ "stop-signal", "Config.StopSignal", as_signal },
	{ "stop-timeout", "Config.StopTimeout", as_integer },
	{ "sysctl", "HostConfig.Sysctls", as_sysctl },
	{ "tmpfs", "HostConfig.Tmpfs", as_tmpfs },
	{ "tty", "Config.Tty", as_truth },
	{ "ulimit", "HostConfig.Ulimits", as_ulimit },
	{ "user", "Config.User", as_user },
	{ "userns", "HostConfig.UsernsMode", as_user_namespace },
	{ "uts", "HostConfig.UTSMode", as_namespace },
	{ "volume", "HostConfig.Binds", as_bind },
	{ "workdir", "Config.WorkingDir", as_working_directory },
};

int container_field(json_t *document, const char *flag, const char *value, struct error *err)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		if (strcmp(fields[i].flag, flag) == 0) {
			int ret = fields[i].convert(document, &fields[i], value, err);

			return ret == -ENOMEM && err && !err->code ? error_errno(err, ENOMEM, "cannot keep it") : ret;
		}
	}
	return error_set(err, EINVAL, "is not known to the engine");
}
