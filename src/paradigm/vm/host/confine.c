/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/capability.h"
#include "linux/process.h"
#include "linux/seccomp.h"
#include "paradigm/vm/host/supervisor.h"

/* ---- tables ---- */

/* A call that is allowed when the lower half of an argument, masked, has a value; mask 0: always. */
struct call {
	int number;
	unsigned int argument;
	uint32_t mask, value;
};

#define ALWAYS(name)                \
	{                           \
		SYS_##name, 0, 0, 0 \
	}
#define IF(name, argument, mask, value)           \
	{                                         \
		SYS_##name, argument, mask, value \
	}
#define IOCTL(command)                                        \
	{                                                     \
		SYS_ioctl, 1, UINT32_MAX, (uint32_t)(command) \
	}
#define IOCTLS_OF(type)                                     \
	{                                                   \
		SYS_ioctl, 1, 0xff00, (uint32_t)(type) << 8 \
	} /* _IOC_TYPE */
/* TUN*, but nothing of terminals, which have the same letter and lower numbers: TIOCSTI would type to our caller. */
#define IOCTLS_OF_TAP                                 \
	{                                             \
		SYS_ioctl, 1, 0xff80, 'T' << 8 | 0x80 \
	}

enum { IOCTL_KVM = KVMIO, IOCTL_VHOST = 0xaf };

static const struct call everywhere[] = {
	ALWAYS(read),
	ALWAYS(write),
	ALWAYS(readv),
	ALWAYS(writev),
	ALWAYS(close),
	ALWAYS(futex),
	ALWAYS(poll),
	ALWAYS(ppoll),
	ALWAYS(epoll_wait),
	ALWAYS(epoll_pwait),
	ALWAYS(epoll_ctl),
	ALWAYS(eventfd2),
	ALWAYS(munmap),
	ALWAYS(mremap),
	ALWAYS(madvise),
	ALWAYS(brk),
	IF(mmap, 2, PROT_EXEC, 0),
	IF(mprotect, 2, PROT_EXEC, 0),
	ALWAYS(clock_gettime), /* where the vDSO cannot tell the time */
	ALWAYS(gettimeofday),
	ALWAYS(clock_nanosleep),
	ALWAYS(nanosleep),
	ALWAYS(sched_yield),
	ALWAYS(sched_getaffinity), /* of malloc(3) */
	ALWAYS(getpid),
	ALWAYS(gettid),
	ALWAYS(tgkill),
	ALWAYS(tkill), /* musl's pthread_kill(3) */
	ALWAYS(rt_sigprocmask),
	ALWAYS(rt_sigreturn),
	ALWAYS(restart_syscall),
	ALWAYS(membarrier),
	ALWAYS(getrandom),
	ALWAYS(exit),
	ALWAYS(exit_group),
	ALWAYS(lseek),
	ALWAYS(fstat),
	IF(newfstatat, 3, UINT32_MAX, AT_EMPTY_PATH), /* fstat(2) of newer C libraries */
	ALWAYS(pread64),
	ALWAYS(pwrite64),
	ALWAYS(fallocate),
	ALWAYS(ftruncate),
	ALWAYS(fsync),
	ALWAYS(fdatasync),
	ALWAYS(recvfrom),
	ALWAYS(recvmsg),
	ALWAYS(sendto),
	ALWAYS(sendmsg),
};

/* Threads, but no processes. */
#define THREADS                                                                         \
	IF(clone, 0, CLONE_THREAD | CLONE_VM | CLONE_NEWUSER, CLONE_THREAD | CLONE_VM), \
		IF(prctl, 0, UINT32_MAX, PR_SET_NAME), ALWAYS(set_robust_list), ALWAYS(rseq)

/* A device is reset in the thread of the vCPU that asks for it; its disk is flushed there, and closed by the main one.
 */
static const struct call of_devices[] = {
	ALWAYS(preadv),		ALWAYS(pwritev), ALWAYS(preadv2),	  ALWAYS(pwritev2),
	ALWAYS(io_uring_enter), THREADS,	 ALWAYS(timerfd_settime), ALWAYS(shutdown),
	IOCTL(KVM_IRQ_LINE),	IOCTLS_OF_TAP,	 IOCTLS_OF(IOCTL_VHOST),
};

static const struct call of_vcpu[] = {
	IOCTL(KVM_RUN), IOCTL(KVM_GET_REGS), /* where it crashed */
};

/* Registers of a device are memory of the guest, and its messages interrupts; where and which, the guest says.  What
 * the device reaches of memory (VFIO_IOMMU_MAP_DMA) is settled before. */
static const struct call of_passthrough[] = {
	IOCTL(KVM_SET_USER_MEMORY_REGION),
	IOCTL(KVM_SET_GSI_ROUTING),
	IOCTL(KVM_IRQFD),
	IOCTL(VFIO_DEVICE_SET_IRQS),
};

static const struct call of_main[] = {
	ALWAYS(fcntl),
	ALWAYS(accept4),
	ALWAYS(getsockopt),
	ALWAYS(dup2),
	ALWAYS(dup3),
	ALWAYS(timerfd_create),
	ALWAYS(kill), /* of file servers, in a namespace of our own */
	ALWAYS(pidfd_send_signal),
	ALWAYS(waitid),
	ALWAYS(wait4),
	ALWAYS(uname), /* which kernel a snapshot was made on */
	ALWAYS(mincore),
	IOCTL(TCGETS),
	IOCTL(TCSETS),
	IOCTL(TCSETSW),
	IOCTL(TCSETSF),
	IOCTL(TIOCGWINSZ),
	IOCTLS_OF(IOCTL_KVM), /* the state of vCPUs, for snapshots */
};

/* Beneath the directory that it was given, which is its working directory. */
static const struct call of_vsock[] = {
	IF(socket, 0, UINT32_MAX, AF_UNIX),
	ALWAYS(connect),
	ALWAYS(unlinkat),
};

static const struct call of_files[] = {
	ALWAYS(openat),	    ALWAYS(openat2),	  ALWAYS(readlinkat),	 ALWAYS(getdents64), ALWAYS(newfstatat),
	ALWAYS(statx),	    ALWAYS(fstatfs),	  ALWAYS(statfs),	 ALWAYS(linkat),     ALWAYS(symlinkat),
	ALWAYS(mkdirat),    ALWAYS(mknodat),	  ALWAYS(unlinkat),	 ALWAYS(renameat2),  ALWAYS(fchmod),
	ALWAYS(fchmodat),   ALWAYS(fchown),	  ALWAYS(fchownat),	 ALWAYS(utimensat),  ALWAYS(getxattr),
	ALWAYS(setxattr),   ALWAYS(listxattr),	  ALWAYS(removexattr),	 ALWAYS(fgetxattr),  ALWAYS(fsetxattr),
	ALWAYS(flistxattr), ALWAYS(fremovexattr), ALWAYS(syncfs),	 ALWAYS(umask),	     ALWAYS(fcntl),
	ALWAYS(dup),	    ALWAYS(shutdown),	  ALWAYS(epoll_create1),
};

struct table {
	const struct call *calls;
	size_t count;
};
#define TABLE(calls)                                    \
	{                                               \
		calls, sizeof(calls) / sizeof(*(calls)) \
	}

enum { TABLES_MAX = 4 };

/* What is asked most comes first. */
static const struct table roles[][TABLES_MAX] = {
	[CONFINE_MAIN] = { TABLE(everywhere), TABLE(of_main), TABLE(of_devices) },
	[CONFINE_VSOCK] = { TABLE(everywhere), TABLE(of_main), TABLE(of_devices), TABLE(of_vsock) },
	[CONFINE_VCPU] = { TABLE(of_vcpu), TABLE(everywhere), TABLE(of_devices) },
	[CONFINE_PASSTHROUGH] = { TABLE(of_vcpu), TABLE(everywhere), TABLE(of_devices), TABLE(of_passthrough) },
	[CONFINE_IO] = { TABLE(everywhere), TABLE(of_devices) },
	[CONFINE_FILES] = { TABLE(everywhere), TABLE(of_files) },
};

/* ---- filters ---- */

#ifdef __x86_64__
enum { ARCHITECTURE = AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { ARCHITECTURE = AUDIT_ARCH_AARCH64 };
#endif

#define LOAD(field)	    ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))
#define UNLESS(value, skip) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 0, skip))
#define RETURN(what)	    ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what))

/* The kernel keeps the verdict on a call without conditions in a bitmap: only those with conditions cost anything. */
static size_t add_call(struct sock_filter *code, const struct call *call)
{
	size_t count = 0;

	if (call->mask == 0) {
		code[count++] = UNLESS(call->number, 1);
		code[count++] = RETURN(SECCOMP_RET_ALLOW);
		return count;
	}
	code[count++] = UNLESS(call->number, 5);
	/* Little-endian: the lower half comes first. */
	code[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						     offsetof(struct seccomp_data, args) + 8 * call->argument);
	code[count++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, call->mask);
	code[count++] = UNLESS(call->value, 1);
	code[count++] = RETURN(SECCOMP_RET_ALLOW);
	code[count++] = LOAD(nr);
	return count;
}

size_t confine_filter(enum confine_role role, struct sock_filter code[static CONFINE_CODE_MAX])
{
	size_t count = 0;

	code[count++] = LOAD(arch);
	code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	code[count++] = RETURN(SECCOMP_RET_KILL_PROCESS);
	code[count++] = LOAD(nr);
	for (size_t i = 0; i < TABLES_MAX; i++) {
		const struct table *table = &roles[role][i];

		for (size_t k = 0; k < table->count; k++)
			count += add_call(code + count, &table->calls[k]);
	}
	/* C libraries fall back to clone(2), whose flags can be looked at. */
	code[count++] = UNLESS(SYS_clone3, 1);
	code[count++] = RETURN(SECCOMP_RET_ERRNO | ENOSYS);
	code[count++] = RETURN(SECCOMP_RET_TRAP);
	return count;
}

/* ---- violations ---- */

static char *put_number(char *at, unsigned int number)
{
	char digits[12];
	size_t count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while (number /= 10);
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

/* The call was not made.  Only what is safe in a signal handler. */
static void violated(int number, siginfo_t *info, void *context)
{
	static const char words[] = "caisson-vmm: killed: a thread made system call ";
	static const char more[] = ", which it has no business with\n";
	struct pollfd poll_fd = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[sizeof(words) + sizeof(more) + 16], *at = line;

	(void)number, (void)context;
	memcpy(at, words, sizeof(words) - 1);
	at = put_number(at + sizeof(words) - 1, (unsigned int)info->si_syscall);
	memcpy(at, more, sizeof(more) - 1);
	at += sizeof(more) - 1;
	if (poll(&poll_fd, 1, 0) > 0)
		(void)!write(STDERR_FILENO, line, (size_t)(at - line));
	/* SIGSYS is blocked in here: this one kills, and whoever waits for us sees why. */
	(void)syscall(SYS_getuid);
	_exit(128 + SIGSYS);
}

int confine_process(struct error *err)
{
	const struct capability_sets none = { .effective = 0 };
	int ret = process_set_no_new_privileges(err);

	return ret < 0 ? ret : capability_apply(&none, err);
}

int confine_thread(enum confine_role role, struct error *err)
{
	const struct sigaction action = { .sa_sigaction = violated, .sa_flags = SA_SIGINFO };
	struct sock_filter code[CONFINE_CODE_MAX];
	sigset_t violation;

	(void)sigemptyset(&violation);
	(void)sigaddset(&violation, SIGSYS);
	if (sigaction(SIGSYS, &action, NULL) < 0 || pthread_sigmask(SIG_UNBLOCK, &violation, NULL))
		return error_errno(err, errno, "cannot watch system calls");
	return seccomp_install(code, confine_filter(role, code), 0, err);
}

void confine_machine_thread(enum machine_thread thread)
{
	static const enum confine_role roles_of_threads[] = {
		[MACHINE_THREAD_VCPU] = CONFINE_VCPU,
		[MACHINE_THREAD_VCPU_PASSTHROUGH] = CONFINE_PASSTHROUGH,
		[MACHINE_THREAD_IO] = CONFINE_IO,
	};
	struct error err = ERROR_INIT;

	if (confine_thread(roles_of_threads[thread], &err) == 0)
		return;
	dprintf(STDERR_FILENO, "caisson-vmm: %s\n", err.text);
	_exit(VMM_EXIT_FAILED);
}
