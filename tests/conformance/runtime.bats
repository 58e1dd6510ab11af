# SPDX-License-Identifier: Apache-2.0
# runtime.md: "State", "Lifecycle", "Errors", "Operations"; runtime-linux.md: "File descriptors", "Dev symbolic links".

load lib/helpers

# A container whose program runs until it gets SIGTERM.
running() {
	created 'probe("sleep")'
	started
}

stopped() {
	created "${1:-probe(\"exit 0\")}"
	started
	becomes stopped
}

# ---- State ----

@test "runtime.md state.ociVersion: MUST be a version of the specification" {
	created
	[[ $(state .ociVersion) =~ ^[0-9]+\.[0-9]+ ]] || fail "ociVersion is '$(state .ociVersion)'"
}

@test "runtime.md state.id: MUST be the container's ID" {
	created
	[ "$(state .id)" = "$ID" ]
}

@test "runtime.md state.status: MUST be created after the create operation" {
	created
	[ "$(state .status)" = created ]
}

@test "runtime.md state.status: MUST be running once the user-specified program is executed" {
	running
	[ "$(state .status)" = running ]
}

@test "runtime.md state.status: MUST be stopped once the container process has exited" {
	stopped
	[ "$(state .status)" = stopped ]
}

@test "runtime.md state.pid: MUST be the container process, as seen by the host, when created" {
	created
	[ "$(state .pid)" -gt 0 ]
	[ "$(state .pid)" = "$PID" ]
	[ "$(readlink "/proc/$PID/ns/pid")" != "$(own pid)" ]
}

@test "runtime.md state.pid: MUST be the container process, as seen by the host, when running" {
	running
	[ "$(tr '\0' ' ' <"/proc/$(state .pid)/cmdline")" = "/bin/probe sleep " ]
}

@test "runtime.md state.bundle: MUST be the absolute path of the bundle" {
	configure .
	cd "$T"
	STATUS=0
	runtime create --bundle bundle "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&- || STATUS=$?
	[ "$STATUS" -eq 0 ]
	[ "$(state .bundle)" = "$B" ]
}

@test "runtime.md state.annotations: MUST be the annotations of the container" {
	created '.annotations = {"com.example.a": "1", "com.example.b": "two words"}'
	[ "$(state '.annotations["com.example.a"] + .annotations["com.example.b"]')" = "1two words" ]
}

@test "runtime.md state.annotations: MAY be absent or empty when there are none" {
	created
	[ "$(state '.annotations // {} | length')" = 0 ]
}

@test "runtime.md state: MUST adhere to the types of the pattern" {
	created
	state '[.ociVersion, .id, .status, .pid, .bundle] | map(type) | join(" ")' >"$T/types"
	[ "$(<"$T/types")" = "string string string number string" ] || fail "types are: $(<"$T/types")"
}

# ---- Query state ----

@test "runtime.md query state: MUST generate an error if it is not provided the ID" {
	errs state
}

@test "runtime.md query state: MUST generate an error for a container that does not exist" {
	errs state no-such-container
}

@test "runtime.md query state: MUST return the state of a stopped container too" {
	stopped
	[ "$(state '.id + " " + .bundle')" = "$ID $B" ]
}

# ---- Create ----

@test "runtime.md create: MUST generate an error if it is not provided the ID" {
	configure .
	errs create --bundle "$B"
}

@test "runtime.md create: MUST generate an error if it is not provided a path to a bundle" {
	mkdir "$T/empty"
	errs create --bundle "$T/empty" "$ID"
	errs create --bundle "$T/missing" "$ID"
}

@test "runtime.md create: MUST generate an error if the ID is not unique" {
	created 'probe("sleep")'
	errs create --bundle "$B" "$ID"
}

@test "runtime.md create: MUST NOT touch the container that has the ID already" {
	created 'probe("sleep")'
	errs create --bundle "$B" "$ID"
	[ "$(state .status)" = created ]
	[ "$(state .pid)" = "$PID" ]
	started
	[ "$(state .status)" = running ]
}

@test "runtime.md create: MUST generate an error if the ID is not valid: a path" {
	configure .
	errs create --bundle "$B" ../outside
	errs create --bundle "$B" a/b
	[ ! -e "$T/outside" ]
}

@test "runtime.md create: MUST generate an error if the ID is not valid: empty" {
	configure .
	errs create --bundle "$B" ""
}

@test "runtime.md create: MUST create a new container, and the user-specified program MUST NOT be run at this time" {
	created 'probe("say /program ran")'
	sleep 0.2
	[ ! -e "$B/rootfs/program" ]
	started
	becomes stopped
	[ "$(<"$B/rootfs/program")" = ran ]
}

@test "runtime.md create: MUST apply all properties except process: mounts" {
	created 'tmpfs("/data"; ["size=88k"])'
	grep -q 'size=88k' "/proc/$PID/mountinfo"
}

@test "runtime.md create: MUST apply all properties except process: namespaces" {
	local type
	created
	for type in ipc mnt net pid uts; do
		[ "$(readlink "/proc/$PID/ns/$type")" != "$(own $type)" ] || fail "no new $type namespace"
	done
}

@test "runtime.md create: MUST apply all properties except process: hostname" {
	created '.hostname = "made-at-create"'
	[ "$(nsenter --uts="/proc/$PID/ns/uts" uname -n)" = made-at-create ]
}

@test "runtime.md create: MUST apply all properties except process: cgroupsPath" {
	needs_paths
	created
	in_cgroup "$CF_CGROUP/$ID"
}

@test "runtime.md create: MUST NOT be affected by later changes of config.json" {
	created 'probe("say /program old")'
	configure 'probe("say /program new") | .hostname = "new"'
	started
	becomes stopped
	[ "$(<"$B/rootfs/program")" = old ]
}

@test "runtime.md create: MUST generate an error, and not create a container, if it cannot apply a property" {
	refuses 'mount("/m"; "nosuchfs"; "none"; [])'
}

@test "runtime.md create: MUST generate an error if it cannot apply two properties that contradict each other" {
	refuses '.domainname = "one.example" | .linux.sysctl = {"kernel.domainname": "two.example"}'
}

@test "runtime.md create: SHOULD take any ID of letters, digits and +-._" {
	ID=cf$CF_ID-A_b.c+9
	created 'probe("sleep")'
	[ "$(state .id)" = "$ID" ]
}

# ---- Start ----

@test "runtime.md start: MUST generate an error if it is not provided the ID" {
	errs start
}

@test "runtime.md start: MUST generate an error for a container that does not exist" {
	errs start no-such-container
}

@test "runtime.md start: MUST generate an error for a container that is running, and have no effect on it" {
	running
	errs start "$ID"
	[ "$(state '.status + " " + (.pid | tostring)')" = "running $PID" ]
}

@test "runtime.md start: MUST generate an error for a container that is stopped, and have no effect on it" {
	stopped 'probe("say /program ran")'
	errs start "$ID"
	[ "$(state .status)" = stopped ]
	[ "$(<"$B/rootfs/program")" = ran ]
}

@test "runtime.md start: MUST run the user-specified program" {
	stopped 'sh("echo out; echo err >&2")'
	prints out
	grep -q '^err$' "$T/err"
}

@test "runtime.md start: MUST generate an error if process was not set" {
	configure 'del(.process)'
	create
	[ "$STATUS" -ne 0 ] || errs start "$ID"
}

@test "runtime.md create: MUST NOT need process, which is OPTIONAL until start is called" {
	created 'del(.process)'
	[ "$(state .status)" = created ]
}

# ---- Kill ----

@test "runtime.md kill: MUST generate an error if it is not provided the ID" {
	errs kill
}

@test "runtime.md kill: MUST generate an error for a container that does not exist" {
	errs kill no-such-container TERM
}

@test "runtime.md kill: MUST generate an error for a container that is stopped, and have no effect on it" {
	stopped
	errs kill "$ID" KILL
	[ "$(state .status)" = stopped ]
}

# signalled SIGNAL NUMBER
signalled() {
	created 'probe("signals")'
	started
	soon grep -q ready "$T/out" || fail "the process is not ready" "$(said)"
	runtime kill "$ID" "$1" 2>"$T/err" || fail "kill failed" "$(said)"
	soon grep -q "^signal $2\$" "$T/out" || fail "the process did not get signal $2: $(<"$T/out")"
}

@test "runtime.md kill: MUST send the specified signal: by name" { signalled USR1 10; }
@test "runtime.md kill: MUST send the specified signal: by name with SIG" { signalled SIGHUP 1; }
@test "runtime.md kill: MUST send the specified signal: by number" { signalled 12 12; }
@test "runtime.md kill: MUST send the specified signal: SIGTERM" { signalled TERM 15; }

@test "runtime.md kill: MUST generate an error for a signal that does not exist" {
	running
	errs kill "$ID" NOSUCHSIGNAL
	[ "$(state .status)" = running ]
}

@test "runtime.md kill: MUST send the signal to a container that is created" {
	created 'probe("sleep")'
	runtime kill "$ID" KILL 2>"$T/err" || fail "kill failed" "$(said)"
	dies "$PID"
	becomes stopped
}

@test "runtime.md kill: MUST lead to the status stopped when the process ends by it" {
	running
	runtime kill "$ID" KILL 2>"$T/err" || fail "kill failed" "$(said)"
	becomes stopped
}

# ---- Delete ----

@test "runtime.md delete: MUST generate an error if it is not provided the ID" {
	errs delete
}

@test "runtime.md delete: MUST generate an error for a container that does not exist" {
	errs delete no-such-container
}

@test "runtime.md delete: MUST generate an error for a container that is running, and have no effect on it" {
	running
	errs delete "$ID"
	[ "$(state '.status + " " + (.pid | tostring)')" = "running $PID" ]
	kill -0 "$PID"
}

@test "runtime.md delete: MUST generate an error for a container that is created, and have no effect on it" {
	[[ "$CF_RUNTIME" != *caisson-oci ]] || skip "caisson-oci deletes it, like runc: its clients count on that"
	created 'probe("sleep")'
	errs delete "$ID"
	[ "$(state '.status + " " + (.pid | tostring)')" = "created $PID" ]
}

deleted() {
	runtime delete "$ID" >"$T/delete.out" 2>"$T/err" || fail "delete failed" "$(said)"
}

@test "runtime.md delete: MUST delete the container's cgroups" {
	local dir
	needs_paths
	stopped
	deleted
	sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - cgroup2\? .*/\1/p' /proc/self/mountinfo | while read -r dir; do
		[ ! -e "$dir$CF_CGROUP/$ID" ] || fail "$dir$CF_CGROUP/$ID is still there"
	done
}

@test "runtime.md delete: MUST delete what the runtime kept of the container" {
	stopped
	deleted
	! state >/dev/null || fail "its state is still there"
	[ ! -e "$STATE/$ID" ]
}

@test "runtime.md delete: MUST leave no mount in the runtime namespace" {
	stopped 'tmpfs("/m"; []) | probe("exit 0")'
	deleted
	! grep " $T/" /proc/self/mountinfo || fail "a mount was left"
}

# Its mounts are in the namespace of the runtime, which does not end with it.
@test "runtime.md delete: MUST leave no mount of a container without a mount namespace" {
	mount --bind "$B/rootfs/data" "$B/rootfs/data"
	created 'without_ns("mount") | del(.linux.maskedPaths, .linux.readonlyPaths) | tmpfs("/data"; []) | tmpfs("/m"; [])
		| probe("exit 0")'
	grep -q " $B/rootfs/m " /proc/self/mountinfo || skip "the runtime made mounts elsewhere"
	started
	becomes stopped
	deleted
	cut -d' ' -f5 /proc/self/mountinfo | grep "^$B/" >"$T/left" || true
	umount "$B/rootfs/data"
	[ "$(<"$T/left")" = "$B/rootfs/data" ] || fail "left, besides what was there before:" "$(<"$T/left")"
}

@test "runtime.md delete: MUST leave no process of the container" {
	created 'sh("sleep 60 & sleep 60 & exit 0")'
	started
	becomes stopped
	deleted
	leaves_no_process
}

@test "runtime.md delete: MUST NOT delete resources that were not created by this container: the bundle" {
	stopped
	deleted
	[ -e "$B/config.json" ]
	[ "$(<"$B/rootfs/data/file")" = from-the-image ]
}

@test "runtime.md delete: MUST NOT delete resources that were not created by this container: a namespace by path" {
	hold --net
	created "join_ns(\"network\"; \"/proc/$HELD/ns/net\") | probe(\"exit 0\")"
	started
	becomes stopped
	deleted
	kill -0 "$HELD"
}

@test "runtime.md delete: MUST NOT delete resources that were not created by this container: another's cgroup above its own" {
	local dir
	needs_paths
	dir=$(cgroup_dir pids $$ || cgroup_dir '' $$)
	dir=${dir%/}$CF_CGROUP/$ID.above
	mkdir -p "$dir"
	created ".linux.cgroupsPath = \"$CF_CGROUP/$ID.above/below\" | probe(\"exit 0\")"
	started
	becomes stopped
	deleted
	[ -d "$dir" ] || fail "$dir is gone"
	[ ! -d "$dir/below" ] || fail "$dir/below is still there"
	rmdir "$dir"
}

@test "runtime.md delete: MAY be followed by another container of the same ID" {
	stopped
	deleted
	created 'probe("sleep")'
	[ "$(state .status)" = created ]
}

# ---- Errors: "generating an error MUST leave the state of the environment as if the operation were never attempted" ----

@test "runtime.md errors: MUST leave no mount behind a failed create without a mount namespace" {
	mount --bind "$B/rootfs/data" "$B/rootfs/data"
	refuses 'without_ns("mount") | del(.linux.maskedPaths, .linux.readonlyPaths) | tmpfs("/m"; [])
		| mount("/n"; "nosuchfs"; "none"; []) | tmpfs("/data"; [])'
	cut -d' ' -f5 /proc/self/mountinfo | grep "^$B/" >"$T/left" || true
	umount "$B/rootfs/data"
	[ "$(<"$T/left")" = "$B/rootfs/data" ] || fail "left, besides what was there before:" "$(<"$T/left")"
}

@test "runtime.md errors: MUST leave no cgroup, mount, process or state behind a failed create" {
	local mounts
	mounts=$(cut -d' ' -f5 /proc/self/mountinfo | sort)
	refuses 'tmpfs("/m"; []) | mount("/n"; "nosuchfs"; "none"; [])'
	leaves_no_process
	[ "$(cut -d' ' -f5 /proc/self/mountinfo | sort)" = "$mounts" ] || fail "mounts changed"
	[ ! -e "$STATE/$ID" ] || fail "$STATE/$ID is left"
	[ -z "$(find /sys/fs/cgroup -maxdepth 4 -name "$ID" 2>/dev/null)" ] || fail "a cgroup is left"
}

@test "runtime.md errors: MUST let the same ID be created after a failed create" {
	refuses 'mount("/n"; "nosuchfs"; "none"; [])'
	created 'probe("sleep")'
	started
}

@test "runtime.md errors: MUST leave a container that can be deleted when the program cannot be executed" {
	configure 'run(["/no/such/program"])'
	create
	if [ "$STATUS" -eq 0 ]; then
		errs start "$ID"
		runtime delete --force "$ID" 2>"$T/err" || fail "delete failed" "$(said)"
	fi
	! state >/dev/null || fail "the container is still there"
}

# ---- runtime-linux.md ----

@test "runtime-linux.md file descriptors: MUST NOT keep any open but stdin, stdout and stderr" {
	configure 'probe("report fds")'
	contain 7<"$CF_BASE" 8<"$CF_TMP"
	[ "$STATUS" -eq 0 ]
	read_report "$T/out"
	[ -n "${R[fd.0]}" ] && [ -n "${R[fd.1]}" ] && [ -n "${R[fd.2]}" ]
	[ "$(printf '%s\n' "${!R[@]}" | grep -c '^fd\.')" = 3 ] || fail "open: $(grep '^fd' "$T/out" | tr '\n' ' ')"
}

@test "runtime-linux.md file descriptors: MUST NOT keep any open in a program that start runs" {
	created 'probe("report fds")'
	started
	becomes stopped
	read_report "$T/out"
	[ "$(printf '%s\n' "${!R[@]}" | grep -c '^fd\.')" = 3 ] || fail "open: $(grep '^fd' "$T/out" | tr '\n' ' ')"
}

@test "runtime-linux.md dev symbolic links: MUST be created: /dev/fd" { report; is "dev /dev/fd" "link /proc/self/fd"; }
@test "runtime-linux.md dev symbolic links: MUST be created: /dev/stdin" { report; is "dev /dev/stdin" "link /proc/self/fd/0"; }
@test "runtime-linux.md dev symbolic links: MUST be created: /dev/stdout" { report; is "dev /dev/stdout" "link /proc/self/fd/1"; }
@test "runtime-linux.md dev symbolic links: MUST be created: /dev/stderr" { report; is "dev /dev/stderr" "link /proc/self/fd/2"; }
