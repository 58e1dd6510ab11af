# SPDX-License-Identifier: Apache-2.0
# config-linux.md: "Seccomp", "The Container Process State".

load lib/helpers

# calls RULES PROBE-WORDS: runs `probe WORDS` under the default action "allow" and these rules; the test says what it prints.
calls() {
	configure "seccomp($1) | probe(\"$2\")"
	contain
}

# rule ACTION [REST]: one rule for getpgid(2).
rule() {
	printf '[{names: ["getpgid"], action: "%s" %s}]' "$1" "${2:+, $2}"
}

# ---- actions ----

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_ERRNO" {
	calls "$(rule SCMP_ACT_ERRNO)" "call getpgid 0"
	prints "errno 1 EPERM"
}

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_ALLOW" {
	calls "$(rule SCMP_ACT_ALLOW)" "call getpgid 0"
	prints_like '^ret '
}

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_LOG" {
	calls "$(rule SCMP_ACT_LOG)" "call getpgid 0"
	prints_like '^ret '
}

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_KILL" {
	calls "$(rule SCMP_ACT_KILL)" "call getpgid 0"
	prints ""
	[ "$STATUS" -ge 128 ] || fail "it ended with $STATUS"
}

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_KILL_PROCESS" {
	calls "$(rule SCMP_ACT_KILL_PROCESS)" "call getpgid 0"
	prints ""
	[ "$STATUS" -eq 159 ] || fail "it ended with $STATUS"
}

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_KILL_PROCESS kills all threads" {
	calls '[{names: ["getsid"], action: "SCMP_ACT_KILL_PROCESS"}]' thread-call
	prints ""
	[ "$STATUS" -eq 159 ] || fail "it ended with $STATUS"
}

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_KILL_THREAD kills one thread" {
	calls '[{names: ["getsid"], action: "SCMP_ACT_KILL_THREAD"}]' thread-call
	prints alive
}

@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_TRAP" {
	calls "$(rule SCMP_ACT_TRAP)" "call getpgid 0"
	prints_like '^trapped 31 syscall '
}

# Without a tracer the kernel answers ENOSYS.
@test "config-linux.md seccomp.action: MUST be implemented: SCMP_ACT_TRACE" {
	calls "$(rule SCMP_ACT_TRACE)" "call getpgid 0"
	prints "errno 38 ENOSYS"
}

@test "config-linux.md seccomp.action: MUST generate an error when it is unknown" {
	refuses_to_run "seccomp($(rule SCMP_ACT_BOGUS))"
}

# ---- defaultAction, defaultErrnoRet ----

# What a static program and a runtime's last steps before execve(2) may need.
ALLOWED='["access", "arch_prctl", "brk", "capget", "capset", "chdir", "clock_gettime", "clone", "clone3", "close",
	"close_range", "dup", "dup2", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "execve",
	"execveat", "exit", "exit_group", "faccessat", "faccessat2", "fchdir", "fchown", "fcntl", "fstat", "fstatfs", "futex",
	"getcwd", "getdents64", "getegid", "geteuid", "getgid", "getgroups", "getpid", "getppid", "getrandom", "getrlimit",
	"gettid", "getuid", "ioctl", "kill", "lseek", "lstat", "madvise", "mmap", "mprotect", "munmap", "nanosleep",
	"newfstatat", "open", "openat", "openat2", "pipe2", "poll", "ppoll", "prctl", "pread64", "prlimit64", "pwrite64",
	"read", "readlink", "readlinkat", "readv", "recvfrom", "recvmsg", "restart_syscall", "rseq", "rt_sigaction",
	"rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield", "seccomp", "sendmsg", "sendto",
	"set_robust_list", "set_tid_address", "setgid", "setgroups", "setresgid", "setresuid", "setsid", "setuid",
	"sigaltstack", "socketpair", "stat", "statfs", "statx", "tgkill", "timer_create", "timer_delete", "timer_settime",
	"umask", "uname", "unlink", "unlinkat", "wait4", "waitid", "write", "writev"]'

@test "config-linux.md seccomp.defaultAction: MUST be the action for what no rule names" {
	configure ".linux.seccomp = {defaultAction: \"SCMP_ACT_ERRNO\", syscalls: [{names: $ALLOWED, action: \"SCMP_ACT_ALLOW\"}]}
		| probe(\"call getpgid 0\")"
	contain
	prints "errno 1 EPERM"
}

@test "config-linux.md seccomp.defaultErrnoRet: MUST be the errno of the default action" {
	configure ".linux.seccomp = {defaultAction: \"SCMP_ACT_ERRNO\", defaultErrnoRet: 77,
		syscalls: [{names: $ALLOWED, action: \"SCMP_ACT_ALLOW\"}]} | probe(\"call getpgid 0\")"
	contain
	prints_like '^errno 77 '
}

@test "config-linux.md seccomp.defaultErrnoRet: MUST be an error when the default action takes none" {
	refuses_to_run '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 77}'
}

@test "config-linux.md seccomp.defaultAction: MUST be given, REQUIRED" {
	refuses_to_run '.linux.seccomp = {syscalls: [{names: ["getpgid"], action: "SCMP_ACT_ERRNO"}]}'
}

@test "config-linux.md seccomp.defaultAction: MUST generate an error when it is unknown" {
	refuses_to_run '.linux.seccomp = {defaultAction: "SCMP_ACT_BOGUS"}'
}

@test "config-linux.md seccomp: MUST be in force: mode 2, filter" {
	report "seccomp($(rule SCMP_ACT_ERRNO))"
	is seccomp 2
}

@test "config-linux.md seccomp: MUST NOT be in force when it is not configured" {
	report
	is seccomp 0
}

@test "config-linux.md seccomp: MUST be in force without noNewPrivileges too" {
	report "seccomp($(rule SCMP_ACT_ERRNO)) | .process.noNewPrivileges = false"
	is seccomp 2
	is no_new_privs 0
}

@test "config-linux.md seccomp: MUST be in force with noNewPrivileges too" {
	report "seccomp($(rule SCMP_ACT_ERRNO)) | .process.noNewPrivileges = true"
	is seccomp 2
	is no_new_privs 1
}

@test "config-linux.md seccomp: MUST be in force for a user without capabilities" {
	report "seccomp($(rule SCMP_ACT_ERRNO)) | .process.user = {uid: 1000, gid: 1000} | .process.capabilities = {}"
	is seccomp 2
	is uid 1000
}

# ---- errnoRet ----

@test "config-linux.md seccomp.errnoRet: MUST be the errno of SCMP_ACT_ERRNO" {
	calls "$(rule SCMP_ACT_ERRNO 'errnoRet: 77')" "call getpgid 0"
	prints_like '^errno 77 '
}

@test "config-linux.md seccomp.errnoRet: MUST default to EPERM" {
	calls "$(rule SCMP_ACT_ERRNO)" "call getpgid 0"
	prints "errno 1 EPERM"
}

@test "config-linux.md seccomp.errnoRet: MAY be 0" {
	calls "$(rule SCMP_ACT_ERRNO 'errnoRet: 0')" "call getpgid 0"
	prints "ret 0"
}

@test "config-linux.md seccomp.errnoRet: MUST be accepted for SCMP_ACT_TRACE" {
	calls "$(rule SCMP_ACT_TRACE 'errnoRet: 9')" "call getpgid 0"
	prints "errno 38 ENOSYS"
}

@test "config-linux.md seccomp.errnoRet: MUST be an error when the action takes none" {
	refuses_to_run "seccomp($(rule SCMP_ACT_KILL_PROCESS 'errnoRet: 77'))"
}

# ---- names ----

@test "config-linux.md seccomp.names: MUST all have the action" {
	calls '[{names: ["getpriority", "getpgid", "getsid"], action: "SCMP_ACT_ERRNO"}]' "call getsid 0"
	prints "errno 1 EPERM"
}

@test "config-linux.md seccomp.names: MUST contain at least one entry" {
	refuses_to_run 'seccomp([{names: [], action: "SCMP_ACT_ERRNO"}])'
}

@test "config-linux.md seccomp.names: MUST leave other calls alone" {
	calls "$(rule SCMP_ACT_ERRNO)" "call getsid 0"
	prints_like '^ret '
}

@test "config-linux.md seccomp.syscalls: MAY be absent" {
	report '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW"}'
}

# ---- args: getpgid(NUMBER) gives ESRCH where no rule matches; errno 77 is the rule ----

# compares OP VALUE VALUE-TWO NUMBER matches|passes
compares() {
	calls "$(rule SCMP_ACT_ERRNO "errnoRet: 77, args: [{index: 0, op: \"$1\", value: $2, valueTwo: $3}]")" "call getpgid $4"
	case $5 in
	matches) prints_like '^errno 77 ' ;;
	*) prints "errno 3 ESRCH" ;;
	esac
}

@test "config-linux.md seccomp.args.op: MUST match what is equal: SCMP_CMP_EQ" { compares SCMP_CMP_EQ 7000 0 7000 matches; }
@test "config-linux.md seccomp.args.op: MUST NOT match what is not equal: SCMP_CMP_EQ" { compares SCMP_CMP_EQ 7000 0 7001 passes; }
@test "config-linux.md seccomp.args.op: MUST match what is not equal: SCMP_CMP_NE" { compares SCMP_CMP_NE 7000 0 7001 matches; }
@test "config-linux.md seccomp.args.op: MUST NOT match what is equal: SCMP_CMP_NE" { compares SCMP_CMP_NE 7000 0 7000 passes; }
@test "config-linux.md seccomp.args.op: MUST match what is less: SCMP_CMP_LT" { compares SCMP_CMP_LT 7000 0 6999 matches; }
@test "config-linux.md seccomp.args.op: MUST NOT match what is not less: SCMP_CMP_LT" { compares SCMP_CMP_LT 7000 0 7000 passes; }
@test "config-linux.md seccomp.args.op: MUST match what is less or equal: SCMP_CMP_LE" { compares SCMP_CMP_LE 7000 0 7000 matches; }
@test "config-linux.md seccomp.args.op: MUST NOT match what is greater: SCMP_CMP_LE" { compares SCMP_CMP_LE 7000 0 7001 passes; }
@test "config-linux.md seccomp.args.op: MUST match what is greater or equal: SCMP_CMP_GE" { compares SCMP_CMP_GE 7000 0 7000 matches; }
@test "config-linux.md seccomp.args.op: MUST NOT match what is less: SCMP_CMP_GE" { compares SCMP_CMP_GE 7000 0 6999 passes; }
@test "config-linux.md seccomp.args.op: MUST match what is greater: SCMP_CMP_GT" { compares SCMP_CMP_GT 7000 0 7001 matches; }
@test "config-linux.md seccomp.args.op: MUST NOT match what is not greater: SCMP_CMP_GT" { compares SCMP_CMP_GT 7000 0 7000 passes; }
@test "config-linux.md seccomp.args.op: MUST match what is equal under a mask: SCMP_CMP_MASKED_EQ" { compares SCMP_CMP_MASKED_EQ 4096 4096 7000 matches; }
@test "config-linux.md seccomp.args.op: MUST NOT match what is not equal under a mask: SCMP_CMP_MASKED_EQ" { compares SCMP_CMP_MASKED_EQ 4096 0 7000 passes; }

@test "config-linux.md seccomp.args.op: MUST generate an error when it is unknown" {
	refuses_to_run "seccomp($(rule SCMP_ACT_ERRNO 'args: [{index: 0, op: "SCMP_CMP_BOGUS", value: 1}]'))"
}

@test "config-linux.md seccomp.args.index: MUST be the number of the argument" {
	calls '[{names: ["kcmp"], action: "SCMP_ACT_ERRNO", errnoRet: 77, args: [{index: 3, op: "SCMP_CMP_EQ", value: 5}]}]' "call kcmp 99999 99999 0 5"
	prints_like '^errno 77 '
}

@test "config-linux.md seccomp.args.value: MUST be compared with 64 bits" {
	calls '[{names: ["kcmp"], action: "SCMP_ACT_ERRNO", errnoRet: 77,
		args: [{index: 3, op: "SCMP_CMP_EQ", value: 4294967301}]}]' "call kcmp 99999 99999 0 0x100000005"
	prints_like '^errno 77 '
	calls '[{names: ["kcmp"], action: "SCMP_ACT_ERRNO", errnoRet: 77,
		args: [{index: 3, op: "SCMP_CMP_EQ", value: 4294967301}]}]' "call kcmp 99999 99999 0 5"
	prints "errno 3 ESRCH"
}

@test "config-linux.md seccomp.args: MUST all match in one rule" {
	local rules='[{names: ["kcmp"], action: "SCMP_ACT_ERRNO", errnoRet: 77,
		args: [{index: 2, op: "SCMP_CMP_EQ", value: 4}, {index: 3, op: "SCMP_CMP_EQ", value: 5}]}]'
	calls "$rules" "call kcmp 99999 99999 4 5"
	prints_like '^errno 77 '
	calls "$rules" "call kcmp 99999 99999 4 6"
	prints "errno 3 ESRCH"
}

@test "config-linux.md seccomp.syscalls: MUST match any of several rules for one call" {
	local rules='[{names: ["getpgid"], action: "SCMP_ACT_ERRNO", errnoRet: 77, args: [{index: 0, op: "SCMP_CMP_EQ", value: 7001}]},
		{names: ["getpgid"], action: "SCMP_ACT_ERRNO", errnoRet: 78, args: [{index: 0, op: "SCMP_CMP_EQ", value: 7002}]}]'
	calls "$rules" "call getpgid 7001"
	prints_like '^errno 77 '
	calls "$rules" "call getpgid 7002"
	prints_like '^errno 78 '
	calls "$rules" "call getpgid 7003"
	prints "errno 3 ESRCH"
}

# ---- architectures, flags ----

@test "config-linux.md seccomp.architectures: MUST be accepted: the native one" {
	[ "$(uname -m)" = x86_64 ] || lab "this is for x86"
	configure "seccomp($(rule SCMP_ACT_ERRNO)) | .linux.seccomp.architectures = [\"SCMP_ARCH_X86_64\"] | probe(\"call getpgid 0\")"
	contain
	prints "errno 1 EPERM"
}

@test "config-linux.md seccomp.architectures: MUST be accepted: several" {
	[ "$(uname -m)" = x86_64 ] || lab "this is for x86"
	configure "seccomp($(rule SCMP_ACT_ERRNO)) | probe(\"call getpgid 0\")
		| .linux.seccomp.architectures = [\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X86\", \"SCMP_ARCH_X32\"]"
	contain
	prints "errno 1 EPERM"
}

@test "config-linux.md seccomp.architectures: MUST generate an error for an unknown one" {
	refuses_to_run "seccomp($(rule SCMP_ACT_ERRNO)) | .linux.seccomp.architectures = [\"SCMP_ARCH_BOGUS\"]"
}

flag() {
	report "seccomp($(rule SCMP_ACT_ERRNO)) | .linux.seccomp.flags = [\"$1\"]"
	is seccomp 2
}

@test "config-linux.md seccomp.flags: MUST be accepted: SECCOMP_FILTER_FLAG_TSYNC" { flag SECCOMP_FILTER_FLAG_TSYNC; }
@test "config-linux.md seccomp.flags: MUST be accepted: SECCOMP_FILTER_FLAG_LOG" { flag SECCOMP_FILTER_FLAG_LOG; }
@test "config-linux.md seccomp.flags: MUST be accepted: SECCOMP_FILTER_FLAG_SPEC_ALLOW" { flag SECCOMP_FILTER_FLAG_SPEC_ALLOW; }

@test "config-linux.md seccomp.flags: MUST generate an error for an unknown one" {
	refuses_to_run "seccomp($(rule SCMP_ACT_ERRNO)) | .linux.seccomp.flags = [\"SECCOMP_FILTER_FLAG_BOGUS\"]"
}

# ---- listenerPath, listenerMetadata, the container process state ----

# The tests notify getsid(2), which no runtime is known to call between its filter and execve(2).
#
# notified [FILTER]: an agent takes the container process state and answers getsid(2) with 4242; create and start.
notified() {
	"$CF_AGENT" seccomp "$T/socket" "$T/notify" 4242 >"$T/agent" 2>&1 3>&- &
	PIDS+=($!)
	soon test -S "$T/socket" || fail "the agent has no socket" "$(<"$T/agent")"
	created "seccomp([{names: [\"getsid\"], action: \"SCMP_ACT_NOTIFY\"}]) | .linux.seccomp.listenerPath = \$T + \"/socket\"
		| probe(\"call getsid\") | .annotations = {\"com.example.key\": \"some value\"} | ${1:-.}"
	started
	becomes stopped
	wait "${PIDS[-1]}" || fail "no container process state came" "$(said)"
	read_report "$T/notify"
}

# In the container process state.
in_state() {
	[ "$(jq -r "$1" "$T/notify.json")" = "$2" ] || fail "$1 is '$(jq -r "$1" "$T/notify.json")', should be '$2'"
}

matches_in_state() {
	[[ $(jq -r "$1" "$T/notify.json") =~ $2 ]] || fail "$1 is '$(jq -r "$1" "$T/notify.json")', should match '$2'"
}

@test "config-linux.md seccomp.listenerPath: MUST get a listener that is told of SCMP_ACT_NOTIFY" {
	notified
	prints "ret 4242"
	is answered 1
}

@test "config-linux.md seccomp.listenerPath: MUST get exactly one container process state, serialized in JSON" {
	notified
	[ "$(jq -s length "$T/notify.json")" = 1 ]
}

@test "config-linux.md seccomp.listenerPath: MUST get the descriptors with SCM_RIGHTS in the first message" {
	notified
	is fds 1
	is late-fds 0
}

@test "config-linux.md seccomp.listenerPath: MUST be closed after sending" {
	notified
	is closed yes
}

@test "config-linux.md seccomp state.fds: MUST name seccompFd" {
	notified
	in_state '.fds | join(" ")' seccompFd
}

@test "config-linux.md seccomp state.ociVersion: MUST be the version it complies with" {
	notified
	matches_in_state .ociVersion '^1\.'
}

@test "config-linux.md seccomp state.pid: MUST be the container process, as seen by the runtime" {
	notified
	in_state .pid "$PID"
}

@test "config-linux.md seccomp state.metadata: MUST be listenerMetadata" {
	notified '.linux.seccomp.listenerMetadata = "MKNOD=/dev/null;two words"'
	in_state .metadata "MKNOD=/dev/null;two words"
}

@test "config-linux.md seccomp state.state: MUST be the state of the container" {
	notified
	in_state .state.id "$ID"
	in_state .state.bundle "$B"
	in_state '.state.annotations["com.example.key"]' "some value"
	matches_in_state .state.status '^creat(ing|ed)$'
	matches_in_state .state.ociVersion '^1\.'
}

@test "config-linux.md seccomp.listenerPath: MUST work with noNewPrivileges" {
	notified '.process.noNewPrivileges = true'
	prints "ret 4242"
}

@test "config-linux.md seccomp.flags: MUST be accepted with a listener: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
	notified '.linux.seccomp.flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]'
	prints "ret 4242"
}

@test "config-linux.md seccomp.listenerPath: MUST generate an error if sending to the socket fails" {
	refuses_to_run 'seccomp([{names: ["getsid"], action: "SCMP_ACT_NOTIFY"}]) | .linux.seccomp.listenerPath = $T + "/nobody-listens"'
}

@test "config-linux.md seccomp.listenerPath: MUST be ignored if SCMP_ACT_NOTIFY is not used" {
	report "seccomp($(rule SCMP_ACT_ERRNO)) | .linux.seccomp.listenerPath = \$T + \"/nobody-listens\""
	is seccomp 2
}

@test "config-linux.md seccomp.listenerMetadata: MUST NOT be set if listenerPath is not set" {
	refuses_to_run "seccomp($(rule SCMP_ACT_ERRNO)) | .linux.seccomp.listenerMetadata = \"x\""
}

@test "config-linux.md seccomp.action: MUST generate an error for SCMP_ACT_NOTIFY without a listenerPath" {
	refuses_to_run 'seccomp([{names: ["getsid"], action: "SCMP_ACT_NOTIFY"}])'
}
