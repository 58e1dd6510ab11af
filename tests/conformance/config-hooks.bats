# SPDX-License-Identifier: Apache-2.0
# config.md: "POSIX-platform Hooks", with what runtime.md says of hooks in "Lifecycle" (steps 3-5, 7, 9, 12, 13).

load lib/helpers

KINDS=(prestart createRuntime createContainer startContainer poststart poststop)

# lifecycle FILTER: create, start, wait for the end, delete; all must succeed.
lifecycle() {
	created "probe(\"exit 0\") | $1"
	started
	becomes stopped
	deleted
}

deleted() {
	runtime delete "$ID" >"$T/delete.out" 2>"$T/delete.err" || fail "delete failed" "$(<"$T/delete.err")"
}

# script NAME TEXT: a hook program on the host, run by the host's shell; its standard input is in $T/NAME.stdin and
# the container's pid in $pid.
script() {
	printf '#!/bin/sh\ncat >%s/%s.stdin\npid=$(jq .pid %s/%s.stdin)\n%s\n' "$T" "$1" "$T" "$1" "$2" >"$T/$1"
	chmod 755 "$T/$1"
}

# ---- when ----

@test "config.md hooks.prestart: MUST be called as part of the create operation" {
	created "$(log_hook prestart)"
	ran prestart
}

@test "config.md hooks.createRuntime: MUST be called as part of the create operation" {
	created "$(log_hook createRuntime)"
	ran createRuntime
}

@test "config.md hooks.createContainer: MUST be called as part of the create operation" {
	created "$(log_hook createContainer)"
	ran createContainer
}

@test "config.md hooks.prestart: MUST be called before the createRuntime hooks" {
	created "$(log_hook createRuntime) | $(log_hook prestart)"
	ran "prestart createRuntime"
}

@test "config.md hooks.createContainer: MUST be called after the createRuntime hooks" {
	created "$(log_hook createContainer) | $(log_hook createRuntime)"
	ran "createRuntime createContainer"
}

# The environment is there (the container's /proc is mounted), and its root is still the runtime's.
before_pivot() {
	script "$1" "grep -q ' $B/rootfs/proc ' /proc/\$pid/mountinfo && test -e /proc/\$pid/root$T/$1 && echo yes >$T/answer"
	created "hook(\"$1\"; \$T + \"/$1\"; [\"$1\"])"
	[ "$(cat "$T/answer" 2>&1)" = yes ] || fail "the mounts were not there yet, or pivot_root had been called"
}

@test "config.md hooks.prestart: MUST be called after the environment has been created, before pivot_root" {
	before_pivot prestart
}

@test "config.md hooks.createRuntime: MUST be called after the environment has been created, before pivot_root" {
	before_pivot createRuntime
}

@test "config.md hooks.createContainer: MUST be called after the environment has been created, before pivot_root" {
	created "$(log_hook createContainer)"
	read_hook createContainer
	like "mount $B/rootfs/proc" ^proc
}

@test "config.md hooks.startContainer: MUST NOT be called before the start operation" {
	created "$(log_hook startContainer)"
	ran ""
}

@test "config.md hooks.startContainer: MUST be called before the user-specified process is executed, as part of start" {
	created "hook(\"startContainer\"; \"/bin/probe\"; [\"probe\", \"say\", \"/order\", \"hook\"]) |
		probe(\"say /order program\")"
	started
	becomes stopped
	[ "$(<"$B/rootfs/order")" = $'hook\nprogram' ]
}

@test "config.md hooks.poststart: MUST NOT be called before the start operation" {
	created "$(log_hook poststart)"
	ran ""
}

@test "config.md hooks.poststart: MUST be called before the start operation returns" {
	created "$(log_hook poststart) | probe(\"sleep\")"
	started
	ran poststart
}

@test "config.md hooks.poststart: MUST be called after the user-specified process is executed" {
	script poststart "tr '\\000' ' ' </proc/\$pid/cmdline >$T/answer"
	created 'hook("poststart"; $T + "/poststart"; ["poststart"]) | probe("sleep")'
	started
	[ "$(<"$T/answer")" = "/bin/probe sleep " ] || fail "the process ran: $(<"$T/answer")"
}

@test "config.md hooks.poststop: MUST NOT be called before the delete operation" {
	created "$(log_hook poststop) | probe(\"exit 0\")"
	started
	becomes stopped
	ran ""
}

@test "config.md hooks.poststop: MUST be called before the delete operation returns" {
	lifecycle "$(log_hook poststop)"
	ran poststop
}

@test "config.md hooks.poststop: MUST be called after the container is deleted" {
	needs_paths
	script poststop "ls -d $(cgroup_dir pids $$ || cgroup_dir '' $$)$CF_CGROUP/$ID >$T/answer 2>&1 && exit; echo gone >$T/answer"
	lifecycle 'hook("poststop"; $T + "/poststop"; ["poststop"])'
	[ "$(<"$T/answer")" = gone ] || fail "its cgroup is still there: $(<"$T/answer")"
}

# ---- in which order ----

listed_order() {
	lifecycle "$(log_hook "$1" first) | $(log_hook "$1" second) | $(log_hook "$1" third)"
	ran "first second third"
}

@test "config.md hooks.prestart: MUST be called in the listed order" { listed_order prestart; }
@test "config.md hooks.createRuntime: MUST be called in the listed order" { listed_order createRuntime; }
@test "config.md hooks.createContainer: MUST be called in the listed order" { listed_order createContainer; }
@test "config.md hooks.startContainer: MUST be called in the listed order" { listed_order startContainer; }
@test "config.md hooks.poststart: MUST be called in the listed order" { listed_order poststart; }
@test "config.md hooks.poststop: MUST be called in the listed order" { listed_order poststop; }

# ---- with what ----

# given_state KIND STATUS-PATTERN
given_state() {
	lifecycle "$(log_hook "$1") | .annotations = {\"com.example.key\": \"some value\"}"
	read_hook "$1"
	printf '%b' "${R[stdin]}" | jq -r '.id, .bundle, .annotations["com.example.key"], .ociVersion, .status' >"$T/seen" ||
		fail "standard input was not JSON: ${R[stdin]}"
	[ "$(head -n 3 "$T/seen")" = "$ID"$'\n'"$B"$'\n'"some value" ] || fail "the state was ${R[stdin]}"
	[[ $(sed -n 4p "$T/seen") =~ ^1\. ]] || fail "ociVersion in the state was $(sed -n 4p "$T/seen")"
	[[ $(sed -n 5p "$T/seen") =~ ^($2)$ ]] || fail "status was $(sed -n 5p "$T/seen"), should be $2"
}

@test "config.md hooks.prestart: MUST get the state over stdin" { given_state prestart 'creating|created'; }
@test "config.md hooks.createRuntime: MUST get the state over stdin" { given_state createRuntime 'creating|created'; }
@test "config.md hooks.createContainer: MUST get the state over stdin" { given_state createContainer 'creating|created'; }
@test "config.md hooks.startContainer: MUST get the state over stdin" { given_state startContainer 'created'; }
@test "config.md hooks.poststart: MUST get the state over stdin" { given_state poststart 'running'; }
@test "config.md hooks.poststop: MUST get the state over stdin" { given_state poststop 'stopped'; }

@test "config.md hooks.createRuntime: MUST get the pid of the container process, as seen by the host" {
	script createRuntime "cp /proc/\$pid/comm $T/answer; echo \$pid >$T/answer.pid"
	created 'hook("createRuntime"; $T + "/createRuntime"; ["createRuntime"])'
	[ -s "$T/answer" ]
	[ "$(<"$T/answer.pid")" = "$PID" ]
}

# "For hooks executed in the container namespace, it is the pid as seen by the container" (runtime.md, State).
given_inner_pid() {
	lifecycle "$(log_hook "$1")"
	read_hook "$1"
	[ "$(printf '%b' "${R[stdin]}" | jq .pid)" = 1 ] || fail "the state was ${R[stdin]}"
}

@test "config.md hooks.createContainer: MUST get the pid of the container process, as seen by the container" {
	given_inner_pid createContainer
}

@test "config.md hooks.startContainer: MUST get the pid of the container process, as seen by the container" {
	given_inner_pid startContainer
}

@test "config.md hooks.createContainer: MUST get the pid as seen by the host where the pid namespace is the host's" {
	created "$(log_hook createContainer) | without_ns(\"pid\")"
	read_hook createContainer
	[ "$(printf '%b' "${R[stdin]}" | jq .pid)" = "$PID" ] || fail "the state was ${R[stdin]}, not with $PID"
}

given_args() {
	local path=$CF_PROBE
	[ "$1" != startContainer ] || path=/bin/probe
	lifecycle ".hooks = {\"$1\": [{path: \"$path\",
		args: [\"zeroth\", \"hook\", \"x\", (if \"$1\" == \"startContainer\" then \"/hooks\" else \$T + \"/hooks\" end), \"0\", \"two words\", \"\"],
		env: [\"KEY1=value one\", \"KEY2=\"]}]}"
	read_hook x
	is arg.0 zeroth
	is arg.5 "two words"
	is arg.6 ""
	is argc 7
	is env.KEY1 "value one"
	is env.KEY2 ""
	is env-count 2
}

@test "config.md hooks.prestart: MUST get args as argv and env as environment" { given_args prestart; }
@test "config.md hooks.createRuntime: MUST get args as argv and env as environment" { given_args createRuntime; }
@test "config.md hooks.createContainer: MUST get args as argv and env as environment" { given_args createContainer; }
@test "config.md hooks.startContainer: MUST get args as argv and env as environment" { given_args startContainer; }
@test "config.md hooks.poststart: MUST get args as argv and env as environment" { given_args poststart; }
@test "config.md hooks.poststop: MUST get args as argv and env as environment" { given_args poststop; }

# ---- where ----

in_runtime_namespace() {
	local type
	lifecycle "$(log_hook "$1")"
	read_hook "$1"
	for type in cgroup ipc mnt net pid user uts; do
		is "ns.$type" "$(own $type)"
	done
}

in_container_namespace() {
	local type
	created "$(log_hook "$1") | ns(\"cgroup\") | probe(\"sleep\")"
	started
	read_hook "$1"
	for type in ipc mnt net pid uts; do
		is "ns.$type" "$(readlink "/proc/$PID/ns/$type")"
		isnt "ns.$type" "$(own $type)"
	done
}

@test "config.md hooks.prestart: MUST be executed in the runtime namespace" { in_runtime_namespace prestart; }
@test "config.md hooks.createRuntime: MUST be executed in the runtime namespace" { in_runtime_namespace createRuntime; }
@test "config.md hooks.poststart: MUST be executed in the runtime namespace" { in_runtime_namespace poststart; }
@test "config.md hooks.poststop: MUST be executed in the runtime namespace" { in_runtime_namespace poststop; }
@test "config.md hooks.createContainer: MUST be executed in the container namespace" { in_container_namespace createContainer; }
@test "config.md hooks.startContainer: MUST be executed in the container namespace" { in_container_namespace startContainer; }

@test "config.md hooks.createContainer: MUST have a path that is resolved in the runtime namespace" {
	cp "$CF_PROBE" "$T/only-on-the-host"
	created 'hook("createContainer"; $T + "/only-on-the-host"; ["probe", "hook", "x", $T + "/hooks"])'
	ran x
}

@test "config.md hooks.startContainer: MUST have a path that is resolved in the container namespace" {
	cp "$CF_PROBE" "$B/rootfs/only-in-the-container"
	created 'hook("startContainer"; "/only-in-the-container"; ["probe", "hook", "x", "/hooks"]) | probe("exit 0")'
	started
	ran x
}

@test "config.md hooks.startContainer: MUST see the container's root" {
	created "$(log_hook startContainer) | probe(\"exit 0\")"
	started
	read_hook startContainer
	like "mount /proc" ^proc
	is exe /bin/probe
}

# ---- path and timeout ----

@test "config.md hooks.path: MUST be absolute" {
	refuses '.hooks.createRuntime = [{path: "bin/true"}]'
}

@test "config.md hooks.path: MUST be given, REQUIRED" {
	refuses '.hooks.createRuntime = [{args: ["true"]}]'
}

@test "config.md hooks.path: MUST exist, else an error is generated" {
	refuses '.hooks.createRuntime = [{path: "/no/such/hook"}]'
}

@test "config.md hooks.timeout: MUST be greater than zero: 0 is an error" {
	refuses 'hook("createRuntime"; "/bin/true"; ["true"]) | .hooks.createRuntime[0].timeout = 0'
}

@test "config.md hooks.timeout: MUST be greater than zero: -1 is an error" {
	refuses 'hook("createRuntime"; "/bin/true"; ["true"]) | .hooks.createRuntime[0].timeout = -1'
}

@test "config.md hooks.timeout: MUST be the seconds before a createRuntime hook is aborted" {
	# Else it would end by itself, after nine seconds, without an error.
	refuses 'hook("createRuntime"; "/bin/sleep"; ["sleep", "9"]) | .hooks.createRuntime[0].timeout = 1'
}

@test "config.md hooks.timeout: MUST be the seconds before a createContainer hook is aborted" {
	# Else it would end by itself, after nine seconds, without an error.
	refuses 'hook("createContainer"; "/bin/sleep"; ["sleep", "9"]) | .hooks.createContainer[0].timeout = 1'
}

@test "config.md hooks.timeout: MUST let a hook be that ends in time" {
	created 'hook("createRuntime"; "/bin/true"; ["true"]) | .hooks.createRuntime[0].timeout = 5'
}

# ---- failure (runtime.md, Lifecycle) ----

# fails_create KIND: "If any hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle
# at step 12": destroy, then poststop.
fails_create() {
	refuses "$(log_hook "$1" one 3) | $(log_hook "$1" two)"
	ran one
}

then_poststop() {
	refuses "$(log_hook "$1" failing 3) | $(log_hook poststop)"
	ran "failing poststop"
}

@test "config.md hooks.prestart: MUST generate an error and stop the container when one fails" { fails_create prestart; }
@test "config.md hooks.createRuntime: MUST generate an error and stop the container when one fails" { fails_create createRuntime; }
@test "config.md hooks.createContainer: MUST generate an error and stop the container when one fails" { fails_create createContainer; }
@test "config.md hooks.prestart: MUST be followed by the poststop hooks when one fails" { then_poststop prestart; }
@test "config.md hooks.createRuntime: MUST be followed by the poststop hooks when one fails" { then_poststop createRuntime; }
@test "config.md hooks.createContainer: MUST be followed by the poststop hooks when one fails" { then_poststop createContainer; }

@test "config.md hooks.startContainer: MUST generate an error when one fails" {
	created "$(log_hook startContainer one 3) | probe(\"sleep\")"
	errs start "$ID"
}

@test "config.md hooks.startContainer: MUST stop the container when one fails, and not run the program" {
	created "$(log_hook startContainer one 3) | probe(\"say /program ran\")"
	start
	dies "$PID"
	[ ! -e "$B/rootfs/program" ] || fail "the program ran"
}

# Step 12 of the lifecycle: "The container MUST be destroyed by undoing the steps performed during create phase".
destroyed_after() {
	created "$(log_hook "$1" one 3) | probe(\"sleep\")"
	start
	! state >/dev/null || fail "the container is still there: $(state .status)"
	dies "$PID"
}

@test "config.md hooks.startContainer: MUST be followed by the container's destruction when one fails" {
	destroyed_after startContainer
}

@test "config.md hooks.poststart: MUST be followed by the container's destruction when one fails (1.2.1)" {
	destroyed_after poststart
}

@test "config.md hooks.startContainer: MUST be followed by the poststop hooks when one fails" {
	created "$(log_hook startContainer failing 3) | $(log_hook poststop) | probe(\"sleep\")"
	start
	[[ $(hooks_run) == *poststop* ]] || fail "hooks that ran: $(hooks_run)"
}

@test "config.md hooks.poststart: MUST generate an error when one fails (1.2.1)" {
	created "$(log_hook poststart one 3) | probe(\"sleep\")"
	errs start "$ID"
}

@test "config.md hooks.poststart: MUST stop the container when one fails (1.2.1)" {
	created "$(log_hook poststart one 3) | probe(\"sleep\")"
	start
	dies "$PID"
}

@test "config.md hooks.poststart: MUST be followed by the poststop hooks when one fails (1.2.1)" {
	created "$(log_hook poststart failing 3) | $(log_hook poststop) | probe(\"sleep\")"
	start
	ran "failing poststop"
}

@test "config.md hooks.poststop: MUST NOT keep the remaining hooks from being called when one fails" {
	created "probe(\"exit 0\") | $(log_hook poststop one 3) | $(log_hook poststop two)"
	started
	becomes stopped
	runtime delete "$ID" >"$T/delete.out" 2>"$T/delete.err" || true
	ran "one two"
}

@test "config.md hooks.poststop: MUST NOT keep the container from being deleted when one fails" {
	created "probe(\"exit 0\") | $(log_hook poststop one 3)"
	started
	becomes stopped
	runtime delete "$ID" >"$T/delete.out" 2>"$T/delete.err" || fail "delete failed: $(<"$T/delete.err")"
	! state >/dev/null
}

@test "config.md hooks.poststop: MUST log a warning when one fails" {
	created "probe(\"exit 0\") | $(log_hook poststop one 3)"
	started
	becomes stopped
	timeout 60 "$CF_RUNTIME" --log "$T/log" --root "$STATE" delete "$ID" >"$T/delete.out" 2>"$T/delete.err" || true
	[ -s "$T/log" ] || [ -s "$T/delete.err" ] || fail "not a word was said"
}

@test "config.md hooks: MAY be empty lists" {
	report '.hooks = {prestart: [], createRuntime: [], createContainer: [], startContainer: [], poststart: [], poststop: []}'
}

@test "config.md hooks: MUST run all kinds in the order of the lifecycle" {
	local kind filter=.
	for kind in "${KINDS[@]}"; do
		filter+=" | $(log_hook "$kind")"
	done
	filter+=" | del(.hooks.startContainer)" # its log is another file
	lifecycle "$filter"
	ran "prestart createRuntime createContainer poststart poststop"
}
