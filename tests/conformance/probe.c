/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe - a small static program inside the conformance tests' bundles that says what its surroundings are.
 *
 * `probe report [SECTION...]` prints one "key=value" line per fact (see the table at the end; line breaks and
 * backslashes in values are escaped).  The other commands do one thing each and print "ok", "ret N" or
 * "errno N NAME".  It is also the program that hooks run: `probe hook NAME LOG` appends what a hook can see.
 *
 * It asks the kernel, never the runtime, and needs nothing but itself: no libc at run time, no shell, and /proc only
 * for the facts that the kernel tells nowhere else.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int arg_count;
static char **arg_values;
static FILE *out;

/* ---- printing ---- */

static void put_escaped(const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\')
			fputs("\\\\", out);
		else
			fputc(*text, out);
	}
}

__attribute__((format(printf, 2, 3))) static void say(const char *key, const char *format, ...)
{
	char value[8192];
	va_list list;

	va_start(list, format);
	vsnprintf(value, sizeof(value), format, list);
	va_end(list);
	fprintf(out, "%s=", key);
	put_escaped(value);
	fputc('\n', out);
}

static int say_result(long result)
{
	if (result >= 0)
		printf("ret %ld\n", result);
	else
		printf("errno %d %s\n", errno, strerrorname_np(errno) ? strerrorname_np(errno) : "?");
	return result >= 0 ? 0 : 1;
}

/* Reads a small file; false when it cannot be read. */
static bool slurp(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = -1;

	if (fd < 0)
		return false;
	while (used + 1 < size && (n = read(fd, buffer + used, size - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	buffer[used] = '\0';
	while (used && buffer[used - 1] == '\n')
		buffer[--used] = '\0';
	return n >= 0;
}

static void say_file(const char *key, const char *path)
{
	char text[4096];

	if (slurp(path, text, sizeof(text)))
		say(key, "%s", text);
}

static void say_link(const char *key, const char *path)
{
	char target[4096];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return;
	target[n] = '\0';
	say(key, "%s", target);
}

/* ---- the sections of the report ---- */

static void report_process(void)
{
	char cwd[4096], key[64];

	say("pid", "%d", getpid());
	say("ppid", "%d", getppid());
	say("sid", "%d", getsid(0));
	if (syscall(SYS_getcwd, cwd, sizeof(cwd)) > 0)
		say("cwd", "%s", cwd);
	say("argc", "%d", arg_count);
	for (int i = 0; i < arg_count; i++) {
		snprintf(key, sizeof(key), "arg.%d", i);
		say(key, "%s", arg_values[i]);
	}
	say_link("exe", "/proc/self/exe");
	say_file("oom_score_adj", "/proc/self/oom_score_adj");
	say("personality", "%#lx", syscall(SYS_personality, 0xffffffffUL));
	say("pdeathsig", "%d", ({
		    int signal_number = 0;
		    prctl(PR_GET_PDEATHSIG, &signal_number);
		    signal_number;
	    }));
	say_file("label", "/proc/self/attr/current");
}

static void report_env(void)
{
	char key[4096];
	int count = 0;

	for (char **entry = environ; *entry; entry++, count++) {
		const char *equals = strchr(*entry, '=');

		if (!equals) {
			say("env-malformed", "%s", *entry);
			continue;
		}
		snprintf(key, sizeof(key), "env.%.*s", (int)(equals - *entry), *entry);
		say(key, "%s", equals + 1);
	}
	say("env-count", "%d", count);
}

static void report_ids(void)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid, groups[256];
	char list[4096] = "";
	mode_t mask = umask(0);
	int count;

	umask(mask);
	getresuid(&ruid, &euid, &suid);
	getresgid(&rgid, &egid, &sgid);
	say("uid", "%u", ruid);
	say("uids", "%u %u %u", ruid, euid, suid);
	say("gid", "%u", rgid);
	say("gids", "%u %u %u", rgid, egid, sgid);
	say("umask", "%04o", mask);
	count = getgroups(256, groups);
	for (int i = 0; i < count; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%u", i ? " " : "", groups[i]);
	say("groups", "%s", list);
	say_file("uid_map", "/proc/self/uid_map");
	say_file("gid_map", "/proc/self/gid_map");
	say_file("setgroups", "/proc/self/setgroups");
}

static void report_namespaces(void)
{
	static const char *const types[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };
	char key[32], path[64];

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		snprintf(key, sizeof(key), "ns.%s", types[i]);
		snprintf(path, sizeof(path), "/proc/self/ns/%s", types[i]);
		say_link(key, path);
	}
}

static const char *const capability_names[] = {
	"CHOWN",
	"DAC_OVERRIDE",
	"DAC_READ_SEARCH",
	"FOWNER",
	"FSETID",
	"KILL",
	"SETGID",
	"SETUID",
	"SETPCAP",
	"LINUX_IMMUTABLE",
	"NET_BIND_SERVICE",
	"NET_BROADCAST",
	"NET_ADMIN",
	"NET_RAW",
	"IPC_LOCK",
	"IPC_OWNER",
	"SYS_MODULE",
	"SYS_RAWIO",
	"SYS_CHROOT",
	"SYS_PTRACE",
	"SYS_PACCT",
	"SYS_ADMIN",
	"SYS_BOOT",
	"SYS_NICE",
	"SYS_RESOURCE",
	"SYS_TIME",
	"SYS_TTY_CONFIG",
	"MKNOD",
	"LEASE",
	"AUDIT_WRITE",
	"AUDIT_CONTROL",
	"SETFCAP",
	"MAC_OVERRIDE",
	"MAC_ADMIN",
	"SYSLOG",
	"WAKE_ALARM",
	"BLOCK_SUSPEND",
	"AUDIT_READ",
	"PERFMON",
	"BPF",
	"CHECKPOINT_RESTORE",
};
enum { CAPABILITIES = sizeof(capability_names) / sizeof(*capability_names) };

static void say_capabilities(const char *key, uint64_t set)
{
	char list[1024] = "";

	for (int i = 0; i < CAPABILITIES; i++)
		if (set & (1ULL << i))
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? " " : "",
				 capability_names[i]);
	say(key, "%s", list);
}

static void report_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	uint64_t bounding = 0, ambient = 0;

	if (syscall(SYS_capget, &header, data) == 0) {
		say_capabilities("cap.effective", data[0].effective | (uint64_t)data[1].effective << 32);
		say_capabilities("cap.permitted", data[0].permitted | (uint64_t)data[1].permitted << 32);
		say_capabilities("cap.inheritable", data[0].inheritable | (uint64_t)data[1].inheritable << 32);
	}
	for (int i = 0; i < CAPABILITIES; i++) {
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			bounding |= 1ULL << i;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
			ambient |= 1ULL << i;
	}
	say_capabilities("cap.bounding", bounding);
	say_capabilities("cap.ambient", ambient);
	say("no_new_privs", "%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void report_seccomp(void)
{
	char status[8192], *line;

	if (!slurp("/proc/self/status", status, sizeof(status)))
		return;
	line = strstr(status, "\nSeccomp:\t");
	say("seccomp", "%s", line ? strtok(line + 10, "\n") : "?");
	if (!slurp("/proc/self/status", status, sizeof(status)))
		return;
	line = strstr(status, "\nSeccomp_filters:\t");
	if (line)
		say("seccomp-filters", "%s", strtok(line + 18, "\n"));
}

static void report_limits(void)
{
	static const char *const names[] = { "CPU",	 "FSIZE",  "DATA",    "STACK", "CORE",	"RSS",
					     "NPROC",	 "NOFILE", "MEMLOCK", "AS",    "LOCKS", "SIGPENDING",
					     "MSGQUEUE", "NICE",   "RTPRIO",  "RTTIME" };
	char key[32];

	for (unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct rlimit limit;

		snprintf(key, sizeof(key), "rlimit.%s", names[i]);
		if (getrlimit((__rlimit_resource_t)i, &limit) == 0)
			say(key, "%llu %llu", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
	}
}

struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

static void report_scheduler(void)
{
	static const char *const policies[] = { "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR",      "SCHED_BATCH",
						"SCHED_ISO",   "SCHED_IDLE", "SCHED_DEADLINE" };
	static const char *const classes[] = { "NONE", "RT", "BE", "IDLE" };
	struct scheduling attr = { 0 };
	long priority = syscall(SYS_ioprio_get, 1, 0);
	char list[2048] = "";
	cpu_set_t cpus;

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) == 0) {
		say("scheduler.policy", "%s", attr.policy < 7 ? policies[attr.policy] : "?");
		say("scheduler.nice", "%d", attr.nice);
		say("scheduler.priority", "%u", attr.priority);
		say("scheduler.flags", "%#llx", (unsigned long long)attr.flags);
		say("scheduler.deadline", "%llu %llu %llu", (unsigned long long)attr.runtime,
		    (unsigned long long)attr.deadline, (unsigned long long)attr.period);
	}
	if (priority >= 0)
		say("ioprio", "%s %ld", classes[(priority >> 13) & 3], priority & 7);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &cpus))
				snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%d", *list ? "," : "", i);
	say("affinity", "%s", list);
}

static void report_memory_policy(void)
{
	static const char *const modes[] = { "DEFAULT",	       "PREFERRED",	     "BIND", "INTERLEAVE", "LOCAL",
					     "PREFERRED_MANY", "WEIGHTED_INTERLEAVE" };
	unsigned long nodes[16] = { 0 };
	int mode = 0;

	if (syscall(SYS_get_mempolicy, &mode, nodes, sizeof(nodes) * 8, NULL, 0) != 0)
		return;
	say("mempolicy.mode", "%s", (mode & 0xff) < 7 ? modes[mode & 0xff] : "?");
	say("mempolicy.nodes", "%#lx", nodes[0]);
	say("mempolicy.flags", "%s%s%s", mode & (1 << 15) ? "STATIC " : "", mode & (1 << 14) ? "RELATIVE " : "",
	    mode & (1 << 13) ? "BALANCING " : "");
}

static void report_uts(void)
{
	struct utsname name;

	if (uname(&name) != 0)
		return;
	say("hostname", "%s", name.nodename);
	say("domainname", "%s", name.domainname);
	say("machine", "%s", name.machine);
}

static void report_time(void)
{
	struct timespec monotonic, boottime;

	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	clock_gettime(CLOCK_BOOTTIME, &boottime);
	say("monotonic", "%lld", (long long)monotonic.tv_sec);
	say("boottime", "%lld", (long long)boottime.tv_sec);
	say_file("timens_offsets", "/proc/self/timens_offsets");
}

static void report_keyring(void)
{
	char text[512];
	long id = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
	long n;

	if (id < 0)
		return;
	say("keyring", "%ld", id);
	n = syscall(SYS_keyctl, KEYCTL_DESCRIBE, id, text, sizeof(text) - 1);
	if (n > 0 && (size_t)n < sizeof(text)) {
		text[n] = '\0';
		say("keyring-description", "%s", text);
	}
}

static void report_cgroup(void)
{
	char text[8192], key[256], *save = NULL;

	if (!slurp("/proc/self/cgroup", text, sizeof(text)))
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		*path = '\0';
		snprintf(key, sizeof(key), "cgroup.%s", controllers + 1);
		say(key, "%s", path + 1);
	}
}

static void report_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	struct winsize size;
	char key[300], path[300], name[128];

	for (int fd = 0; fd < 3; fd++) {
		snprintf(key, sizeof(key), "tty.%d", fd);
		say(key, "%s", isatty(fd) ? ttyname_r(fd, name, sizeof(name)) == 0 ? name : "yes" : "no");
	}
	if (ioctl(0, TIOCGWINSZ, &size) == 0)
		say("winsize", "%u %u", size.ws_row, size.ws_col);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir))
			continue;
		snprintf(key, sizeof(key), "fd.%s", entry->d_name);
		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		say_link(key, path);
	}
	closedir(dir);
}

/* Cuts text at its next space (or end) and moves on; fields may be empty. */
static char *next_field(char **text)
{
	char *field = *text, *space = strchr(field, ' ');

	if (space)
		*space++ = '\0';
	*text = space ? space : field + strlen(field);
	return field;
}

/* "mount /path=fstype source per-mount-options super-options propagation": the last mount on a path wins.  An empty
 * source is "-", several optional fields are joined by "+". */
static void report_mounts(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[8192], key[4200];
	int order = 0;

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		char *text = line, *tail = strstr(line, " - "), *root, *point, *options, *type, *source;

		line[strcspn(line, "\n")] = '\0';
		if (!tail)
			continue;
		*tail = '\0';
		tail += 3;
		for (int skipped = 0; skipped < 3; skipped++)
			next_field(&text);
		root = next_field(&text);
		point = next_field(&text);
		options = next_field(&text);
		type = next_field(&tail);
		source = next_field(&tail);
		for (char *c = text; *c; c++)
			*c = *c == ' ' ? '+' : *c;
		snprintf(key, sizeof(key), "mount %s", point);
		say(key, "%s %s %s %s %s", type, *source ? source : "-", options, tail, *text ? text : "private");
		snprintf(key, sizeof(key), "mount-root %s", point);
		say(key, "%s", root);
		snprintf(key, sizeof(key), "mount-order %s", point);
		say(key, "%d", order++);
	}
	fclose(file);
}

static void report_devices(void)
{
	DIR *dir = opendir("/dev");
	struct dirent *entry;
	char path[512], key[600], target[512];

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		struct stat st;
		ssize_t n;

		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		if (entry->d_name[0] == '.' || lstat(path, &st) != 0)
			continue;
		snprintf(key, sizeof(key), "dev %s", path);
		if (S_ISLNK(st.st_mode) && (n = readlink(path, target, sizeof(target) - 1)) >= 0) {
			target[n] = '\0';
			say(key, "link %s", target);
		} else {
			char type = S_ISCHR(st.st_mode)	   ? 'c'
				    : S_ISBLK(st.st_mode)  ? 'b'
				    : S_ISFIFO(st.st_mode) ? 'p'
				    : S_ISDIR(st.st_mode)  ? 'd'
							   : 'f';
			say(key, "%c %u:%u %04o %u:%u", type, major(st.st_rdev), minor(st.st_rdev), st.st_mode & 07777,
			    st.st_uid, st.st_gid);
		}
	}
	closedir(dir);
}

static const struct {
	const char *name;
	void (*print)(void);
} sections[] = {
	{ "process", report_process },
	{ "env", report_env },
	{ "ids", report_ids },
	{ "ns", report_namespaces },
	{ "caps", report_capabilities },
	{ "seccomp", report_seccomp },
	{ "limits", report_limits },
	{ "scheduler", report_scheduler },
	{ "mempolicy", report_memory_policy },
	{ "uts", report_uts },
	{ "time", report_time },
	{ "keyring", report_keyring },
	{ "cgroup", report_cgroup },
	{ "fds", report_fds },
	{ "mounts", report_mounts },
	{ "devices", report_devices },
};

static void report(const char *const *names)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
		bool wanted = !*names;

		for (const char *const *name = names; *name; name++)
			wanted |= strcmp(*name, sections[i].name) == 0;
		if (wanted)
			sections[i].print();
	}
}

/* ---- commands ---- */

static int command_report(char **args)
{
	report((const char *const *)args);
	return 0;
}

/* hook NAME LOG [EXIT-STATUS]: appends "hook=NAME", "stdin=...", and the report to LOG. */
static int command_hook(char **args)
{
	static const char *const facts[] = { "process", "env", "ns", "mounts", NULL };
	static char input[65536];
	size_t used = 0;
	ssize_t n;

	if (!args[0] || !args[1])
		return 2;
	while (used + 1 < sizeof(input) && (n = read(0, input + used, sizeof(input) - 1 - used)) > 0)
		used += (size_t)n;
	out = fopen(args[1], "ae");
	if (!out)
		return 3;
	say("hook", "%s", args[0]);
	fputs("stdin=", out);
	put_escaped(input);
	fputc('\n', out);
	report(facts);
	say("end", "%s", args[0]);
	fclose(out);
	return args[2] ? atoi(args[2]) : 0;
}

/* say LOG TEXT: appends one line. */
static int command_say(char **args)
{
	int fd = args[0] && args[1] ? open(args[0], O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;

	if (fd < 0)
		return 3;
	dprintf(fd, "%s\n", args[1]);
	close(fd);
	return 0;
}

static int command_open(char **args)
{
	static const struct {
		const char *name;
		int flags;
	} modes[] = { { "r", O_RDONLY }, { "w", O_WRONLY }, { "rw", O_RDWR }, { "c", O_WRONLY | O_CREAT } };

	for (size_t i = 0; args[0] && args[1] && i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(args[1], modes[i].name) == 0)
			return say_result(open(args[0], modes[i].flags | O_NONBLOCK | O_NOCTTY, 0644) < 0 ? -1 : 0);
	return 2;
}

/* mknod PATH c|b MAJOR MINOR */
static int command_mknod(char **args)
{
	if (!args[0] || !args[1] || !args[2] || !args[3])
		return 2;
	return say_result(mknod(args[0], (args[1][0] == 'b' ? S_IFBLK : S_IFCHR) | 0600,
				makedev((unsigned int)atoi(args[2]), (unsigned int)atoi(args[3]))));
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)context;
	dprintf(1, "trapped %d syscall %d\n", number, info->si_syscall);
	_exit(0);
}

/* call NAME [NUMBER...]: the raw system call.  A SIGSYS that can be caught is told as "trapped 31 syscall N". */
static int command_call(char **args)
{
	static const struct {
		const char *name;
		long number;
	} calls[] = {
		{ "getppid", SYS_getppid },
		{ "getpgid", SYS_getpgid },
		{ "getpid", SYS_getpid },
		{ "kcmp", SYS_kcmp },
		{ "getpriority", SYS_getpriority },
		{ "sched_yield", SYS_sched_yield },
		{ "umask", SYS_umask },
		{ "dup", SYS_dup },
		{ "getsid", SYS_getsid },
	};
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	unsigned long values[6] = { 0 };

	sigaction(SIGSYS, &action, NULL);
	for (int i = 0; i < 6 && args[0] && args[i + 1]; i++)
		values[i] = strtoul(args[i + 1], NULL, 0);
	for (size_t i = 0; args[0] && i < sizeof(calls) / sizeof(*calls); i++)
		if (strcmp(args[0], calls[i].name) == 0)
			return say_result(syscall(calls[i].number, values[0], values[1], values[2], values[3],
						  values[4], values[5]));
	return 2;
}

/* thread-call: a second thread calls getsid(); says whether the process outlived it (SCMP_ACT_KILL_THREAD). */
static int thread_body(void *unused)
{
	(void)unused;
	syscall(SYS_getsid, 0);
	return 0;
}

static int command_thread_call(char **args)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct timespec pause = { .tv_nsec = 200 * 1000 * 1000 };

	(void)args;
	if (clone(thread_body, stack + sizeof(stack),
		  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL) < 0)
		return say_result(-1);
	nanosleep(&pause, NULL);
	printf("alive\n");
	return 0;
}

/* memory MIB [hold]: touches that much; "ok" when it lived; with hold it keeps it until it is killed. */
static int command_memory(char **args)
{
	size_t size = (size_t)(args[0] ? atoi(args[0]) : 1) << 20;
	char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		return say_result(-1);
	for (size_t i = 0; i < size; i += 4096)
		area[i] = 1;
	printf("ok\n");
	fflush(stdout);
	while (args[0] && args[1])
		pause();
	return 0;
}

/* forks N: how many of N children can live at once. */
static int command_forks(char **args)
{
	int wanted = args[0] ? atoi(args[0]) : 1, made = 0;
	pid_t children[1024];

	for (; made < wanted && made < 1024; made++) {
		children[made] = fork();
		if (children[made] == 0)
			for (;;)
				pause();
		if (children[made] < 0)
			break;
	}
	printf("forks %d\n", made);
	for (int i = 0; i < made; i++)
		kill(children[i], SIGKILL);
	return 0;
}

/* signals: prints "ready", then the number of each signal that comes; SIGTERM ends it with status 0. */
static int command_signals(char **args)
{
	sigset_t all;
	int number;

	(void)args;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	dprintf(1, "ready\n");
	while (sigwait(&all, &number) == 0) {
		dprintf(1, "signal %d\n", number);
		if (number == SIGTERM)
			return 0;
	}
	return 1;
}

/* sleep: until it is killed (SIGTERM included: process 1 of a namespace ignores what has no handler). */
__attribute__((noreturn)) static void on_term(int number)
{
	_exit(128 + number);
}

__attribute__((noreturn)) static int command_sleep(char **args)
{
	(void)args;
	signal(SIGTERM, on_term);
	for (;;)
		pause();
}

/* exit STATUS: prints "exit", so that it is seen to have run. */
static int command_exit(char **args)
{
	printf("exit\n");
	return args[0] ? atoi(args[0]) : 0;
}

static const struct {
	const char *name;
	int (*run)(char **args);
} commands[] = {
	{ "report", command_report },
	{ "hook", command_hook },
	{ "say", command_say },
	{ "open", command_open },
	{ "mknod", command_mknod },
	{ "call", command_call },
	{ "thread-call", command_thread_call },
	{ "memory", command_memory },
	{ "forks", command_forks },
	{ "signals", command_signals },
	{ "sleep", command_sleep },
	{ "exit", command_exit },
};

int main(int argc, char **argv)
{
	arg_count = argc;
	arg_values = argv;
	out = stdout;
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(argv[1], commands[i].name) == 0) {
			int status = commands[i].run(argv + 2);

			return fflush(stdout) == 0 ? status : 4;
		}
	}
	fprintf(stderr, "probe: unknown command\n");
	return 2;
}
