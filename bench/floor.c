/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor - the least that a container runtime can do: what the kernel charges
 * for `runc spec`'s default bundle when nothing is parsed, checked, recorded
 * or limited.  One clone3(2), the bundle's mounts, devices, masked and
 * read-only paths, pivot_root(2), execve(2), wait.  The measure for run.
 *
 *     floor [--host-net] BUNDLE PROGRAM
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		_exit(1);
	}
}

static void make_mounts(void)
{
	must(mount("proc", "proc", "proc", 0, NULL), "proc");
	must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"), "dev");
	must(mkdir("dev/pts", 0755), "dev/pts");
	must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
	     "devpts");
	must(mkdir("dev/shm", 0755), "dev/shm");
	must(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"), "shm");
	must(mkdir("dev/mqueue", 0755), "dev/mqueue");
	must(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL), "mqueue");
	must(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL), "sysfs");
	must(mount("tmpfs", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, "mode=755"),
	     "cgroup");
}

static void make_devices(void)
{
	static const struct {
		const char *path;
		unsigned int major, minor;
	} nodes[] = { { "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
		      { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };
	static const char *const links[][2] = { { "/proc/self/fd", "dev/fd" },
						{ "/proc/self/fd/0", "dev/stdin" },
						{ "/proc/self/fd/1", "dev/stdout" },
						{ "/proc/self/fd/2", "dev/stderr" },
						{ "pts/ptmx", "dev/ptmx" } };

	(void)umask(0);
	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++)
		must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		must(symlink(links[i][0], links[i][1]), links[i][1]);
	(void)umask(022);
}

static void cover_paths(void)
{
	static const char *const masked_files[] = { "proc/kcore",      "proc/keys",	   "proc/latency_stats",
						    "proc/timer_list", "proc/timer_stats", "proc/sched_debug" };
	static const char *const masked_dirs[] = { "proc/acpi", "proc/asound", "sys/firmware", "proc/scsi" };
	static const char *const readonly[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };

	for (size_t i = 0; i < sizeof(masked_files) / sizeof(*masked_files); i++)
		(void)mount("/dev/null", masked_files[i], NULL, MS_BIND, NULL);
	for (size_t i = 0; i < sizeof(masked_dirs) / sizeof(*masked_dirs); i++)
		(void)mount("tmpfs", masked_dirs[i], "tmpfs", MS_RDONLY, "size=0k");
	for (size_t i = 0; i < sizeof(readonly) / sizeof(*readonly); i++) {
		if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) == 0)
			must(mount(NULL, readonly[i], NULL, MS_BIND | MS_REC | MS_REMOUNT | MS_RDONLY, NULL),
			     readonly[i]);
	}
}

int main(int argc, char **argv)
{
	struct clone_args args = { .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET,
				   .exit_signal = SIGCHLD };
	char *program[] = { NULL, NULL }, *environment[] = { NULL };
	int status;
	long pid;

	if (argc == 4 && strcmp(argv[1], "--host-net") == 0) {
		args.flags &= ~(unsigned long long)CLONE_NEWNET;
		argv++;
		argc--;
	}
	if (argc != 3) {
		(void)fprintf(stderr, "usage: floor [--host-net] BUNDLE PROGRAM\n");
		return 2;
	}
	program[0] = argv[2];
	must(chdir(argv[1]), argv[1]);
	pid = syscall(SYS_clone3, &args, sizeof(args));
	must((int)pid, "clone3");
	if (pid == 0) {
		must(setsid(), "setsid");
		must(sethostname("runc", 4), "sethostname");
		must(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL), "/");
		must(mount("rootfs", "rootfs", NULL, MS_BIND | MS_REC, NULL), "rootfs");
		must(chdir("rootfs"), "rootfs");
		make_mounts();
		make_devices();
		cover_paths();
		must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
		must(umount2(".", MNT_DETACH), "umount");
		must(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), "read-only root");
		must(execve(program[0], program, environment), program[0]);
	}
	must(waitpid((pid_t)pid, &status, 0), "wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
