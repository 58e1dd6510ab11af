# SPDX-License-Identifier: Apache-2.0
# config.md: "Process", "POSIX process", "Linux Process", "User".

load lib/helpers

# ---- process: terminal, consoleSize, cwd, env, args ----

# with_terminal FILTER: runs the container with a pseudoterminal; what it writes arrives in $T/console.
with_terminal() {
	"$CF_AGENT" console "$T/socket" "$T/console" >"$T/agent" 2>&1 3>&- &
	PIDS+=($!)
	soon test -S "$T/socket" || fail "the agent has no socket" "$(<"$T/agent")"
	configure ".process.terminal = true | $1"
	create --console-socket "$T/socket"
	[ "$STATUS" -eq 0 ] || fail "create failed" "$(said)"
	started
	becomes stopped
	wait "${PIDS[-1]}" || fail "no terminal came over the console socket: $(<"$T/agent")"
}

@test "config.md process.terminal: MUST make a pseudoterminal the standard streams when true" {
	with_terminal .
	read_report "$T/console"
	like tty.0 ^/dev/
	like tty.1 ^/dev/
	like tty.2 ^/dev/
}

@test "config.md process.terminal: MUST make it the controlling terminal of a session of its own" {
	with_terminal 'sh("echo to-the-tty > /dev/tty")'
	[ "$(tr -d '\r' <"$T/console")" = to-the-tty ]
}

@test "config.md process.terminal: MUST default to false, no terminal" {
	report
	is tty.0 no
	is tty.1 no
	is tty.2 no
}

@test "config.md process.consoleSize: MUST be the size of the terminal in rows and columns" {
	with_terminal '.process.consoleSize = {height: 37, width: 91}'
	read_report "$T/console"
	is winsize "37 91"
}

@test "config.md process.consoleSize: MUST be ignored if terminal is false or unset" {
	report '.process.consoleSize = {height: 37, width: 91}'
	is winsize "(absent)"
}

@test "config.md process.cwd: MUST be the working directory of the executable" {
	report '.process.cwd = "/data"'
	is cwd /data
}

@test "config.md process.cwd: MUST be an absolute path" {
	refuses_to_run '.process.cwd = "data"'
}

@test "config.md process.cwd: MUST be given, REQUIRED" {
	refuses_to_run 'del(.process.cwd)'
}

@test "config.md process.cwd: MUST be the directory of a mount when it lies on one" {
	runs 'tmpfs("/work"; ["mode=0755"]) | .process.cwd = "/work" | sh("touch here && ls /work")'
	prints here
}

@test "config.md process.env: MUST be the environment: names and values" {
	report '.process.env += ["FOO=bar", "_under_score9=x y"]'
	is env.FOO bar
	is env._under_score9 "x y"
}

@test "config.md process.env: MUST keep '=', empty values and line breaks" {
	report '.process.env += ["EQUALS=a=b=c", "EMPTY=", "LINES=one\ntwo"]'
	is env.EQUALS a=b=c
	is env.EMPTY ""
	is env.LINES 'one\ntwo'
}

@test "config.md process.env: MUST NOT contain the environment of the runtime" {
	CF_OF_THE_CALLER=1 report
	is env.CF_OF_THE_CALLER "(absent)"
}

@test "config.md process.env: MUST be the search path of args when it has PATH" {
	mkdir "$B/rootfs/data/tools"
	ln "$B/rootfs/bin/probe" "$B/rootfs/data/tools/tool"
	runs '.process.env = ["PATH=/nowhere:/data/tools"] | run(["tool", "exit", "0"])'
}

@test "config.md process.args: MUST be passed as argv" {
	report 'run(["/bin/probe", "report", "process", "", "two words", "*"])'
	is argc 6
	is arg.0 /bin/probe
	is arg.3 ""
	is arg.4 "two words"
	is arg.5 "*"
}

@test "config.md process.args: MUST search PATH for a first entry without a slash, as execvp does" {
	report 'run(["probe", "report"])'
	is exe /bin/probe
	is arg.0 probe
}

@test "config.md process.args: MUST take a first entry with a slash as a path, from cwd when relative" {
	report 'run(["./probe", "report"]) | .process.cwd = "/bin"'
	is exe /bin/probe
}

@test "config.md process.args: MUST follow symbolic links inside the root file system" {
	ln -s /bin/probe "$B/rootfs/link"
	report 'run(["/link", "report"])'
	is exe /bin/probe
}

@test "config.md process.args: MUST have at least one entry" {
	refuses_to_run 'run([])'
}

@test "config.md process.args: MUST generate an error when the program does not exist" {
	refuses_to_run 'run(["/bin/no-such-program"])'
}

@test "config.md process.args: MUST generate an error when the program cannot be executed" {
	refuses_to_run 'run(["/etc/passwd"])'
}

@test "config.md process: MUST make the exit status of the program known" {
	configure 'probe("exit 42")'
	contain
	[ "$STATUS" -eq 42 ]
}

# ---- POSIX process: rlimits (only lowered, to need no CAP_SYS_RESOURCE) ----

@test "config.md process.rlimits: MUST set soft and hard limit: RLIMIT_NOFILE" {
	report '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 512, hard: 1000}]'
	is rlimit.NOFILE "512 1000"
}

@test "config.md process.rlimits: MUST set several: CPU, FSIZE, DATA, STACK, CORE, RSS" {
	report '.process.rlimits = ([["CPU", 7], ["FSIZE", 1048576], ["DATA", 1073741824], ["STACK", 1048576], ["CORE", 0],
		["RSS", 4096]] | map({type: ("RLIMIT_" + .[0]), soft: .[1], hard: .[1]}))'
	is rlimit.CPU "7 7"
	is rlimit.FSIZE "1048576 1048576"
	is rlimit.DATA "1073741824 1073741824"
	is rlimit.STACK "1048576 1048576"
	is rlimit.CORE "0 0"
	is rlimit.RSS "4096 4096"
}

@test "config.md process.rlimits: MUST set several: NPROC, MEMLOCK, AS, LOCKS, SIGPENDING, MSGQUEUE, NICE, RTPRIO, RTTIME" {
	report '.process.rlimits = ([["NPROC", 4000], ["MEMLOCK", 65536], ["AS", 4294967296], ["LOCKS", 9], ["SIGPENDING", 99],
		["MSGQUEUE", 4096], ["NICE", 0], ["RTPRIO", 0], ["RTTIME", 200000]]
		| map({type: ("RLIMIT_" + .[0]), soft: .[1], hard: .[1]}))'
	is rlimit.NPROC "4000 4000"
	is rlimit.MEMLOCK "65536 65536"
	is rlimit.AS "4294967296 4294967296"
	is rlimit.LOCKS "9 9"
	is rlimit.SIGPENDING "99 99"
	is rlimit.MSGQUEUE "4096 4096"
	is rlimit.NICE "0 0"
	is rlimit.RTPRIO "0 0"
	is rlimit.RTTIME "200000 200000"
}

@test "config.md process.rlimits: MUST generate an error for a type without a kernel interface" {
	refuses_to_run '.process.rlimits = [{type: "RLIMIT_BOGUS", soft: 1, hard: 1}]'
}

@test "config.md process.rlimits: MUST generate an error for duplicated types" {
	refuses_to_run '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 99, hard: 99}, {type: "RLIMIT_NOFILE", soft: 98, hard: 98}]'
}

@test "config.md process.rlimits: MUST generate an error when soft is above hard" {
	refuses_to_run '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 200, hard: 100}]'
}

# ---- Linux process ----

@test "config.md process.apparmorProfile: MUST be applied, or be an error where there is no AppArmor" {
	if [ -d /sys/kernel/security/apparmor ]; then
		lab "a loaded AppArmor profile is needed"
	fi
	refuses_to_run '.process.apparmorProfile = "acme_secure_profile"'
}

@test "config.md process.selinuxLabel: MUST be applied, or be an error where there is no SELinux" {
	if [ -d /sys/fs/selinux ] && [ -n "$(ls /sys/fs/selinux)" ]; then
		lab "an SELinux policy is needed"
	fi
	refuses_to_run '.process.selinuxLabel = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675"'
}

@test "config.md process.capabilities.bounding: MUST be the capabilities kept" {
	report '.process.capabilities = {bounding: ["CAP_KILL", "CAP_CHOWN"]}'
	is cap.bounding "CHOWN KILL"
}

@test "config.md process.capabilities.effective: MUST be the capabilities kept" {
	report 'caps(["CAP_KILL", "CAP_NET_RAW"])'
	is cap.effective "KILL NET_RAW"
}

@test "config.md process.capabilities.permitted: MUST be the capabilities kept" {
	report 'caps(["CAP_KILL", "CAP_NET_RAW"])'
	is cap.permitted "KILL NET_RAW"
}

# Not root: execve(2) gives a process of user 0 all of the bounding set.
@test "config.md process.capabilities.effective: MUST be none for a user who is not root and has no ambient ones" {
	report 'caps(["CAP_KILL"]) | .process.user = {uid: 1000, gid: 1000}'
	is cap.effective ""
	is cap.permitted ""
	is cap.bounding KILL
}

@test "config.md process.capabilities.inheritable: MUST be the capabilities kept" {
	report 'caps(["CAP_KILL", "CAP_CHOWN"]) | .process.capabilities.inheritable = ["CAP_CHOWN"]'
	is cap.inheritable CHOWN
}

@test "config.md process.capabilities.inheritable: MUST be the capabilities kept, also for a user who is not root" {
	report '.process.capabilities = {bounding: ["CAP_KILL", "CAP_CHOWN"], inheritable: ["CAP_CHOWN"]}
		| .process.user = {uid: 1000, gid: 1000}'
	is cap.inheritable CHOWN
	is cap.effective ""
}

@test "config.md process.capabilities.inheritable: MUST be none when not given" {
	report 'caps(["CAP_KILL", "CAP_CHOWN"])'
	is cap.inheritable ""
}

@test "config.md process.capabilities.ambient: MUST be the capabilities kept, also for a user who is not root" {
	report 'caps(["CAP_KILL", "CAP_CHOWN"]) | .process.capabilities.inheritable = ["CAP_CHOWN"]
		| .process.capabilities.ambient = ["CAP_CHOWN"] | .process.user = {uid: 1000, gid: 1000}'
	is cap.ambient CHOWN
	is cap.effective CHOWN
	is cap.permitted CHOWN
}

@test "config.md process.capabilities: MUST be none when the sets are empty" {
	report '.process.capabilities = {}'
	is cap.bounding ""
	is cap.effective ""
	is cap.permitted ""
}

@test "config.md process.capabilities: MUST NOT let the process do what it has no capability for" {
	runs 'caps(["CAP_KILL"]) | sh("chown 7 /data/file 2>/dev/null || echo refused")'
	prints refused
}

@test "config.md process.capabilities: SHOULD NOT fail for a value without a kernel interface" {
	report '.process.capabilities.bounding += ["CAP_OF_FOOLS"]'
	is cap.bounding "CHOWN KILL NET_BIND_SERVICE MKNOD AUDIT_WRITE"
}

# warns_of NAME FILTER: a capability in the configuration cannot be granted, and the log names it.
warns_of() {
	configure "$2"
	timeout 60 "$CF_RUNTIME" --log "$T/log" --root "$STATE" run --bundle "$B" "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&- || true
	cat "$T/err" "$T/log" 2>/dev/null | grep -q "$1" || fail "no word of $1" "$(said)"
}

@test "config.md process.capabilities: MUST log a warning for a value without a kernel interface" {
	warns_of CAP_OF_FOOLS '.process.capabilities.bounding += ["CAP_OF_FOOLS"]'
}

@test "config.md process.capabilities: SHOULD NOT fail for capabilities that cannot be granted" {
	grep -q '^CapPrm:.*fffffffff$' /proc/self/status && skip "this caller has every capability"
	report 'caps(["CAP_KILL", "CAP_SYS_RESOURCE"])'
	is cap.effective KILL
}

@test "config.md process.capabilities: SHOULD NOT fail for effective capabilities that are not permitted" {
	report '.process.capabilities = {bounding: ["CAP_KILL", "CAP_CHOWN"], permitted: ["CAP_KILL"],
		effective: ["CAP_KILL", "CAP_CHOWN"]} | .process.user = {uid: 1000, gid: 1000}'
	is cap.bounding "CHOWN KILL"
}

@test "config.md process.capabilities: MUST log a warning for effective capabilities that are not permitted" {
	warns_of CAP_CHOWN '.process.capabilities.permitted -= ["CAP_CHOWN"]'
}

@test "config.md process.capabilities: MUST log a warning for capabilities that cannot be granted" {
	grep -q '^CapPrm:.*fffffffff$' /proc/self/status && skip "this caller has every capability"
	warns_of CAP_SYS_RESOURCE 'caps(["CAP_KILL", "CAP_SYS_RESOURCE"])'
}

@test "config.md process.noNewPrivileges: MUST keep the process from gaining privileges when true" {
	report '.process.noNewPrivileges = true'
	is no_new_privs 1
}

@test "config.md process.noNewPrivileges: MUST be off when false" {
	report '.process.noNewPrivileges = false'
	is no_new_privs 0
}

@test "config.md process.noNewPrivileges: MUST make set-user-ID programs powerless" {
	cp "$CF_PROBE" "$B/rootfs/setuid"
	chmod 4755 "$B/rootfs/setuid"
	report '.process.noNewPrivileges = true | .process.user = {uid: 1000, gid: 1000} | run(["/setuid", "report", "ids"])'
	is uids "1000 1000 1000"
	report '.process.noNewPrivileges = false | .process.user = {uid: 1000, gid: 1000} | run(["/setuid", "report", "ids"])'
	is uids "1000 0 0"
}

@test "config.md process.oomScoreAdj: MUST be set to the given value" {
	report '.process.oomScoreAdj = 321'
	is oom_score_adj 321
}

@test "config.md process.oomScoreAdj: MUST NOT be changed when it is not set" {
	(
		echo 77 >/proc/self/oom_score_adj
		report
		is oom_score_adj 77
	)
}

@test "config.md process.oomScoreAdj: MUST generate an error when it cannot be set" {
	refuses_to_run '.process.oomScoreAdj = 5000'
}

@test "config.md process.scheduler.policy: MUST be the scheduling policy: SCHED_BATCH" {
	report '.process.scheduler = {policy: "SCHED_BATCH", nice: 3}'
	is scheduler.policy SCHED_BATCH
	is scheduler.nice 3
}

@test "config.md process.scheduler.policy: MUST be the scheduling policy: SCHED_IDLE" {
	report '.process.scheduler = {policy: "SCHED_IDLE"}'
	is scheduler.policy SCHED_IDLE
}

@test "config.md process.scheduler.policy: MUST be the scheduling policy: SCHED_OTHER, with a nice value" {
	report '.process.scheduler = {policy: "SCHED_OTHER", nice: 11}'
	is scheduler.policy SCHED_OTHER
	is scheduler.nice 11
}

@test "config.md process.scheduler.nice: MUST be 0 if not set" {
	(
		renice -n 5 $BASHPID >"$T/renice"
		report '.process.scheduler = {policy: "SCHED_OTHER"}'
		is scheduler.nice 0
	)
}

@test "config.md process.scheduler.priority: MUST be the static priority: SCHED_FIFO" {
	chrt -f 5 true 2>/dev/null || lab "no real-time scheduling"
	report "$(realtime) | .process.scheduler = {policy: \"SCHED_FIFO\", priority: 12}"
	is scheduler.policy SCHED_FIFO
	is scheduler.priority 12
}

@test "config.md process.scheduler.priority: MUST be the static priority: SCHED_RR" {
	chrt -r 5 true 2>/dev/null || lab "no real-time scheduling"
	report "$(realtime) | .process.scheduler = {policy: \"SCHED_RR\", priority: 3}"
	is scheduler.policy SCHED_RR
	is scheduler.priority 3
}

@test "config.md process.scheduler.flags: MUST be applied: SCHED_FLAG_RESET_ON_FORK" {
	report '.process.scheduler = {policy: "SCHED_BATCH", flags: ["SCHED_FLAG_RESET_ON_FORK"]}'
	like scheduler.flags '^0x.*1$'
}

@test "config.md process.scheduler.deadline: MUST apply runtime, deadline and period with SCHED_DEADLINE" {
	chrt -d -T 1000000 -D 5000000 -P 10000000 0 true 2>/dev/null || lab "no deadline scheduling"
	report '.process.scheduler = {policy: "SCHED_DEADLINE", runtime: 1000000, deadline: 5000000, period: 10000000}'
	is scheduler.policy SCHED_DEADLINE
	is scheduler.deadline "1000000 5000000 10000000"
}

@test "config.md process.scheduler.policy: MUST generate an error for an unknown policy" {
	refuses_to_run '.process.scheduler = {policy: "SCHED_BOGUS"}'
}

@test "config.md process.scheduler.policy: MUST be given, REQUIRED" {
	refuses_to_run '.process.scheduler = {nice: 1}'
}

@test "config.md process.scheduler.flags: MUST generate an error for an unknown flag" {
	refuses_to_run '.process.scheduler = {policy: "SCHED_OTHER", flags: ["SCHED_FLAG_BOGUS"]}'
}

@test "config.md process.ioPriority: MUST set class and priority: IOPRIO_CLASS_BE" {
	report '.process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 6}'
	is ioprio "BE 6"
}

@test "config.md process.ioPriority: MUST set class and priority: IOPRIO_CLASS_RT" {
	report '.process.ioPriority = {class: "IOPRIO_CLASS_RT", priority: 2}'
	is ioprio "RT 2"
}

@test "config.md process.ioPriority: MUST set the class IOPRIO_CLASS_IDLE" {
	report '.process.ioPriority = {class: "IOPRIO_CLASS_IDLE", priority: 0}'
	like ioprio ^IDLE
}

@test "config.md process.ioPriority: MUST generate an error for an unknown class" {
	refuses_to_run '.process.ioPriority = {class: "IOPRIO_CLASS_BOGUS", priority: 0}'
}

@test "config.md process.ioPriority.class: MUST be given, REQUIRED" {
	refuses_to_run '.process.ioPriority = {priority: 3}'
}

# exec is no operation of the specification; runtimes that have it take process documents with `exec --process FILE`.
exec_process() {
	created 'probe("sleep")'
	started
	jq "$CF_WORDS {process} | $1 | .process" "$B/config.json" >"$T/process.json"
	runtime exec --process "$T/process.json" "$ID" <"$T/in" >"$T/exec.out" 2>"$T/err" || fail "exec failed" "$(said)"
	read_report "$T/exec.out"
}

@test "config.md process.execCPUAffinity: MUST be the CPUs that an executed process runs on after the transition" {
	[ "$(nproc)" -gt 1 ] || lab "one CPU has no affinity"
	exec_process 'probe("report scheduler") | .process.execCPUAffinity = {initial: "0", final: "1"}'
	is affinity 1
}

@test "config.md process.execCPUAffinity: MUST leave the container's own affinity when final is omitted" {
	[ "$(nproc)" -gt 1 ] || lab "one CPU has no affinity"
	exec_process 'probe("report scheduler") | .process.execCPUAffinity = {initial: "0"}'
	is affinity "$(seq -s, 0 $(($(nproc) - 1)))"
}

@test "config.md process.execCPUAffinity: MUST NOT apply to the container's init process" {
	[ "$(nproc)" -gt 1 ] || lab "one CPU has no affinity"
	report '.process.execCPUAffinity = {initial: "0", final: "0"}'
	isnt affinity 0
}

# ---- User ----

@test "config.md process.user.uid: MUST be the user ID in the container" {
	report '.process.user = {uid: 1234, gid: 0}'
	is uids "1234 1234 1234"
}

@test "config.md process.user.gid: MUST be the group ID in the container" {
	report '.process.user = {uid: 0, gid: 4321}'
	is gids "4321 4321 4321"
}

@test "config.md process.user.additionalGids: MUST be added to the process" {
	report '.process.user = {uid: 1, gid: 1, additionalGids: [5, 6, 70000]}'
	like groups '(^|.* )5 6 70000$'
}

@test "config.md process.user.additionalGids: MUST NOT contain groups of the runtime's caller" {
	configure '.process.user = {uid: 1, gid: 1, additionalGids: [5]}'
	setpriv --groups 4444 timeout 60 "$CF_RUNTIME" --root "$STATE" run --bundle "$B" "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&-
	read_report "$T/out"
	unlike groups 4444
}

@test "config.md process.user: MUST be IDs of the container's user namespace" {
	report 'user_ns(200000; 65536) | .process.user = {uid: 77, gid: 78, additionalGids: [79]}'
	is uid 77
	is gid 78
	like groups 79
}

@test "config.md process.user.umask: MUST be the umask of the process" {
	report '.process.user.umask = 63'
	is umask 0077
}

@test "config.md process.user.umask: SHOULD NOT be changed from the calling process' umask if unspecified" {
	configure .
	(
		umask 0031
		succeed
	)
	read_report "$T/out"
	is umask 0031
}
