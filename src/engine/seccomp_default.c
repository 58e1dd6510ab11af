/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/seccomp_default.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>

/* Calls that a group of capabilities stands for; needs == 0: everybody.  Names are separated by blanks. */
struct group {
	uint64_t needs; /* any one of these capabilities */
	const char *names;
};

#define CAP(name) (UINT64_C(1) << CAP_##name)

static const struct group allowed[] = {
	/* files and directories */
	{ 0,
	  "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 "
	  "fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 "
	  "fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd "
	  "getdents getdents64 ioctl lchown lchown32 link linkat listmount _llseek lseek lstat lstat64 mkdir mkdirat "
	  "mknod mknodat name_to_handle_at newfstatat open openat openat2 read readahead readdir readlink readlinkat "
	  "readv rename renameat renameat2 rmdir stat stat64 statfs statfs64 statmount statx symlink symlinkat sync "
	  "sync_file_range syncfs truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes "
	  "write writev pread64 preadv preadv2 pwrite64 pwritev pwritev2 cachestat" },
	{ 0,
	  "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr "
	  "lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat" },
	{ 0, "fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch" },
	/* pipes, events, asynchronous I/O */
	{ 0, "pipe pipe2 sendfile sendfile64 splice tee epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait "
	     "epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 poll ppoll ppoll_time64 pselect6 pselect6_time64 "
	     "select _newselect signalfd signalfd4 io_cancel io_destroy io_getevents io_setup io_submit" },
	/* sockets; socket itself is below */
	{ 0, "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg "
	     "recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair" },
	/* System V and POSIX inter-process communication */
	{ 0,
	  "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 "
	  "mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt "
	  "shmget" },
	/* memory */
	{ 0,
	  "brk get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mlock mlock2 "
	  "mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free "
	  "pkey_mprotect process_mrelease remap_file_pages set_mempolicy set_mempolicy_home_node" },
	/* processes, threads, scheduling */
	{ 0,
	  "arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv "
	  "futex_wake get_robust_list get_thread_area getcpu gettid kill modify_ldt pause pidfd_open pidfd_send_signal "
	  "prctl process_vm_readv process_vm_writev ptrace restart_syscall rseq rt_sigaction rt_sigpending "
	  "rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 "
	  "rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr "
	  "sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity "
	  "sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list set_thread_area "
	  "set_tid_address sigaction sigaltstack signal sigpending sigprocmask sigreturn sigsuspend syscall tgkill "
	  "tkill vfork wait4 waitid waitpid" },
	/* who the caller is, and its limits */
	{ 0,
	  "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp "
	  "getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getuid "
	  "getuid32 ioprio_get ioprio_set prlimit64 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups "
	  "setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid "
	  "setreuid32 setrlimit setsid setuid setuid32 sysinfo times ugetrlimit uname" },
	/* confinement of oneself */
	{ 0, "landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules "
	     "lsm_set_self_attr seccomp" },
	/* time; clocks can be read and, without the capability, not set */
	{ 0,
	  "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
	  "clock_nanosleep clock_nanosleep_time64 getitimer getrandom gettimeofday nanosleep setitimer time "
	  "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
	  "timerfd timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64" },
#if defined(__aarch64__) || defined(__arm__)
	{ 0, "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2" },
#elif defined(__powerpc64__)
	{ 0, "sync_file_range2 swapcontext" },
#elif defined(__s390x__)
	{ 0, "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr" },
#endif
	{ CAP(DAC_READ_SEARCH), "open_by_handle_at" },
	{ CAP(SYS_ADMIN),
	  "clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
	  "move_mount open_tree quotactl quotactl_fd setdomainname sethostname setns umount umount2 unshare" },
	{ CAP(SYS_ADMIN) | CAP(BPF), "bpf" },
	{ CAP(SYS_ADMIN) | CAP(PERFMON), "perf_event_open" },
	{ CAP(SYS_ADMIN) | CAP(SYSLOG), "syslog" },
	{ CAP(SYS_BOOT), "reboot" },
	{ CAP(SYS_CHROOT), "chroot" },
	{ CAP(SYS_MODULE), "delete_module finit_module init_module query_module" },
	{ CAP(SYS_PACCT), "acct" },
	{ CAP(SYS_PTRACE), "kcmp pidfd_getfd process_madvise" },
	{ CAP(SYS_RAWIO), "ioperm iopl" },
	{ CAP(SYS_TIME), "clock_settime clock_settime64 settimeofday stime" },
	{ CAP(SYS_TTY_CONFIG), "vhangup" },
};

/* Known, and never allowed: without this list they would look like calls that do not exist. */
static const char denied[] =
	"add_key bdflush io_pgetevents io_pgetevents_time64 io_uring_enter io_uring_register io_uring_setup "
	"kexec_file_load kexec_load keyctl migrate_pages move_pages nfsservctl nice oldfstat oldlstat oldolduname "
	"oldstat "
	"olduname pciconfig_iobase pciconfig_read pciconfig_write pivot_root request_key sgetmask ssetmask swapoff "
	"swapon "
	"sysfs uselib userfaultfd ustat vm86 vm86old vmsplice";

/* clone(2)'s flags that make namespaces (CLONE_NEWTIME is not among clone's). */
enum { CLONE_NAMESPACES = 0x7E020000 };

/* personality(2): what programs use without weakening themselves (ADDR_NO_RANDOMIZE is not in it). */
static const json_int_t personalities[] = { 0x0, 0x0008, 0x20000, 0x20008, 0xffffffff };

static json_t *name_list(const char *names)
{
	json_t *list = json_array();

	while (*names) {
		size_t length = strcspn(names, " ");

		(void)json_array_append_new(list, json_stringn(names, length));
		names += length + (names[length] == ' ');
	}
	return list;
}

static void add_rule(json_t *rules, const char *names, const char *action, int errno_ret, json_t *args)
{
	json_t *rule = json_pack("{s:o,s:s}", "names", name_list(names), "action", action);

	if (errno_ret)
		(void)json_object_set_new(rule, "errnoRet", json_integer(errno_ret));
	if (args)
		(void)json_object_set_new(rule, "args", args);
	(void)json_array_append_new(rules, rule);
}

static json_t *condition(int index, const char *op, json_int_t value, json_int_t value_two)
{
	return json_pack("[{s:i,s:I,s:I,s:s}]", "index", index, "value", value, "valueTwo", value_two, "op", op);
}

static void add_conditional(json_t *rules, bool admin)
{
	enum { AF_VSOCK_ = 40, ENOSYS_ = 38 };

	for (size_t i = 0; i < sizeof(personalities) / sizeof(*personalities); i++)
		add_rule(rules, "personality", "SCMP_ACT_ALLOW", 0, condition(0, "SCMP_CMP_EQ", personalities[i], 0));
	/* Virtual sockets know no network namespace: they would reach the host and its other machines. */
	add_rule(rules, "socket", "SCMP_ACT_ALLOW", 0, condition(0, "SCMP_CMP_NE", AF_VSOCK_, 0));
	if (admin)
		return;
#if defined(__s390x__)
	add_rule(rules, "clone", "SCMP_ACT_ALLOW", 0, condition(1, "SCMP_CMP_MASKED_EQ", CLONE_NAMESPACES, 0));
#else
	add_rule(rules, "clone", "SCMP_ACT_ALLOW", 0, condition(0, "SCMP_CMP_MASKED_EQ", CLONE_NAMESPACES, 0));
#endif
	/* clone3's flags are in memory, where no filter can see them; C libraries fall back to clone. */
	add_rule(rules, "clone3", "SCMP_ACT_ERRNO", ENOSYS_, NULL);
}

static json_t *architectures(void)
{
#if defined(__x86_64__)
	return json_pack("[s,s,s]", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32");
#elif defined(__aarch64__)
	return json_pack("[s,s]", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM");
#elif defined(__s390x__)
	return json_pack("[s,s]", "SCMP_ARCH_S390X", "SCMP_ARCH_S390");
#else
	return json_array(); /* the native one */
#endif
}

json_t *seccomp_default_profile(uint64_t capabilities)
{
	enum { EPERM_ = 1, ENOSYS_ = 38 };
	json_t *rules = json_array();

	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
		if (allowed[i].needs == 0 || (allowed[i].needs & capabilities))
			add_rule(rules, allowed[i].names, "SCMP_ACT_ALLOW", 0, NULL);
		else if (!strstr(allowed[i].names, "clone"))
			add_rule(rules, allowed[i].names, "SCMP_ACT_ERRNO", EPERM_, NULL);
		else /* clone and clone3 have rules of their own */
			add_rule(rules, allowed[i].names + strlen("clone clone3 "), "SCMP_ACT_ERRNO", EPERM_, NULL);
	}
	add_rule(rules, denied, "SCMP_ACT_ERRNO", EPERM_, NULL);
	add_conditional(rules, capabilities & CAP(SYS_ADMIN));
	return json_pack("{s:s,s:i,s:o,s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", ENOSYS_,
			 "architectures", architectures(), "syscalls", rules);
}
