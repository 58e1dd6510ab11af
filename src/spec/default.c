/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/magic.h>
#include <stddef.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "spec/generate.h"
#include "spec/reader.h"
#include "spec/runtime.h"
#include "spec/writer.h"

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

struct default_mount {
	const char *destination, *type, *source;
	const char *const *options; /* may be NULL */
};

/* Where two lines have the same destination, the first is for root and the second for a rootless user: group tty (5) is
 * not mapped for them, and a sysfs of their own needs a network namespace of their own. */
static const struct default_mount default_mounts[] = {
	{ "/proc", "proc", "proc", NULL },
	{ "/dev", "tmpfs", "tmpfs", WORDS("nosuid", "strictatime", "mode=755", "size=65536k") },
	{ "/dev/pts", "devpts", "devpts",
	  WORDS("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5") },
	{ "/dev/pts", "devpts", "devpts", WORDS("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620") },
	{ "/dev/shm", "tmpfs", "shm", WORDS("nosuid", "noexec", "nodev", "mode=1777", "size=65536k") },
	{ "/dev/mqueue", "mqueue", "mqueue", WORDS("nosuid", "noexec", "nodev") },
	{ "/sys", "sysfs", "sysfs", WORDS("nosuid", "noexec", "nodev", "ro") },
	{ "/sys", "none", "/sys", WORDS("rbind", "nosuid", "noexec", "nodev", "ro") },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", WORDS("nosuid", "noexec", "nodev", "relatime", "ro") },
};

static const char *const masked_paths[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/sys/firmware",
	"/proc/scsi",
	NULL,
};
static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

static void write_process(struct writer *writer)
{
	static const char *const sets[] = { "bounding", "effective", "permitted", "ambient" };

	writer_open(writer, "process", '{');
	writer_bool(writer, "terminal", true);
	writer_open(writer, "user", '{');
	writer_number(writer, "uid", 0);
	writer_number(writer, "gid", 0);
	writer_close(writer, '}');
	writer_words(writer, "args", WORDS("sh"));
	writer_words(writer, "env",
		     WORDS("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"));
	writer_text(writer, "cwd", "/");
	writer_open(writer, "capabilities", '{');
	for (size_t i = 0; i < SPEC_COUNT(sets); i++)
		writer_words(writer, sets[i], WORDS("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"));
	writer_close(writer, '}');
	writer_open(writer, "rlimits", '[');
	writer_open(writer, NULL, '{');
	writer_text(writer, "type", "RLIMIT_NOFILE");
	writer_number(writer, "hard", 1024);
	writer_number(writer, "soft", 1024);
	writer_close(writer, '}');
	writer_close(writer, ']');
	writer_bool(writer, "noNewPrivileges", true);
	writer_close(writer, '}');
}

/* The first or the last line for each destination. */
static void write_mounts(struct writer *writer, bool rootless)
{
	size_t count = SPEC_COUNT(default_mounts);

	writer_open(writer, "mounts", '[');
	for (size_t i = 0; i < count; i++) {
		const struct default_mount *mount = &default_mounts[i];
		size_t other = rootless ? i + 1 : i - 1; /* wraps below 0, and then is not below count either */

		if (other < count && strcmp(default_mounts[other].destination, mount->destination) == 0)
			continue;
		writer_open(writer, NULL, '{');
		writer_text(writer, "destination", mount->destination);
		writer_text(writer, "type", mount->type);
		writer_text(writer, "source", mount->source);
		if (mount->options)
			writer_words(writer, "options", mount->options);
		writer_close(writer, '}');
	}
	writer_close(writer, ']');
}

static void write_id_mapping(struct writer *writer, const char *name, uint32_t host_id)
{
	writer_open(writer, name, '[');
	writer_open(writer, NULL, '{');
	writer_number(writer, "containerID", 0);
	writer_number(writer, "hostID", host_id);
	writer_number(writer, "size", 1);
	writer_close(writer, '}');
	writer_close(writer, ']');
}

static void write_resources(struct writer *writer)
{
	writer_open(writer, "resources", '{');
	writer_open(writer, "devices", '[');
	writer_open(writer, NULL, '{');
	writer_bool(writer, "allow", false);
	writer_text(writer, "access", "rwm");
	writer_close(writer, '}');
	writer_close(writer, ']');
	writer_close(writer, '}');
}

/* runc's habit: a cgroup namespace only where the host has nothing but version 2. */
static bool only_cgroup2(void)
{
	struct statfs fs;

	return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static void write_namespaces(struct writer *writer, bool rootless)
{
	const char *const types[] = {
		"pid",
		rootless ? "" : "network",
		"ipc",
		"uts",
		"mount",
		only_cgroup2() ? "cgroup" : "",
		rootless ? "user" : "",
	};

	writer_open(writer, "namespaces", '[');
	for (size_t i = 0; i < SPEC_COUNT(types); i++) {
		if (!*types[i])
			continue;
		writer_open(writer, NULL, '{');
		writer_text(writer, "type", types[i]);
		writer_close(writer, '}');
	}
	writer_close(writer, ']');
}

static void write_linux(struct writer *writer, bool rootless)
{
	writer_open(writer, "linux", '{');
	if (rootless) {
		write_id_mapping(writer, "uidMappings", geteuid());
		write_id_mapping(writer, "gidMappings", getegid());
	} else {
		write_resources(writer);
	}
	write_namespaces(writer, rootless);
	writer_words(writer, "maskedPaths", masked_paths);
	writer_words(writer, "readonlyPaths", readonly_paths);
	writer_close(writer, '}');
}

char *oci_spec_default_json(bool rootless)
{
	struct writer writer = { .indent = "\t" };
	char *json;

	writer_open(&writer, NULL, '{');
	writer_text(&writer, "ociVersion", OCI_VERSION);
	write_process(&writer);
	writer_open(&writer, "root", '{');
	writer_text(&writer, "path", "rootfs");
	writer_bool(&writer, "readonly", true);
	writer_close(&writer, '}');
	writer_text(&writer, "hostname", "runc");
	write_mounts(&writer, rootless);
	write_linux(&writer, rootless);
	writer_close(&writer, '}');
	json = str_take(&writer.out);
	str_free(&writer.out);
	return json;
}
