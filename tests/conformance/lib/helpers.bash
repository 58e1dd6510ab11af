# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2119,SC2120
#
# helpers - the words that the conformance tests are written in.
#
# A test makes a bundle (configure), lets the runtime under test make a container of it (contain, report, create,
# start ...) and compares what the probe inside saw (is, like) with what the specification says.  Everything that a test
# makes lives below $T or in a cgroup below $CF_CGROUP, and teardown() removes it.
#
# From `run`: CF_RUNTIME (path), CF_GLOBALS (a global flag of it, or nothing), CF_TMP (a tmpfs), CF_ID (unique per run), CF_CGROUP ("/caisson-conformance-..."),
# CF_PROBE, CF_AGENT, CF_TEMPLATE (a root file system), CF_BASE (base.json), CF_LAYOUT (v1, hybrid, v2).

# Short words for jq filters, see configure().
# shellcheck disable=SC2016
CF_WORDS='
def run($args): .process.args = $args;
def sh($script): .process.args = ["/bin/sh", "-c", $script];
def probe($words): .process.args = ["/bin/probe"] + ($words | split(" "));
def mount($to; $type; $from; $options):
	.mounts += [{destination: $to, type: $type, source: $from, options: $options}];
def bind($from; $to; $options): mount($to; "none"; $from; ["bind"] + $options);
def tmpfs($to; $options): mount($to; "tmpfs"; "tmpfs"; $options);
def without_mount($to): .mounts |= map(select(.destination != $to));
def without_ns($type): .linux.namespaces |= map(select(.type != $type));
def ns($type): without_ns($type) | .linux.namespaces += [{type: $type}];
def join_ns($type; $path): without_ns($type) | .linux.namespaces += [{type: $type, path: $path}];
def user_ns($host; $size):
	ns("user") | .linux.uidMappings = [{containerID: 0, hostID: $host, size: $size}]
	| .linux.gidMappings = .linux.uidMappings;
def seccomp($rules): .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: $rules};
def hook($kind; $path; $args): .hooks[$kind] += [{path: $path, args: $args}];
def caps($names): .process.capabilities = {bounding: $names, effective: $names, permitted: $names};
'

declare -gA R # the report: R[key]=value

setup() {
	local file=${BATS_TEST_FILENAME##*/}
	file=${file%.bats}
	ID=cf$CF_ID-$file-$BATS_TEST_NUMBER
	T=$CF_TMP/$file-$BATS_TEST_NUMBER
	B=$T/bundle
	STATE=$T/state
	PIDS=()
	R=()
	mkdir -p "$B"
	: >"$T/in"
	cp -a --link "$CF_TEMPLATE" "$B/rootfs"
	cd "$T" || return
}

teardown() {
	local dir pid
	for dir in "$STATE"/*/; do
		[ -e "$dir" ] && runtime delete --force "$(basename "$dir")" >"$T/teardown" 2>&1
	done
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>>"$T/teardown"
	done
	cd / || return
	[ -z "${HOST_MOUNTS-}" ] || unmount_below "$T"
	rm -rf --one-file-system "$T" 2>/dev/null || true
}

# ---- saying what is wrong ----

fail() {
	printf '%s\n' "$@" >&2
	return 1
}

# What the runtime printed, for messages.
said() {
	tail -c 600 "$T/err" 2>/dev/null
}

# lab REASON: this machine cannot do it; a machine with cgroup v2, all capabilities and modules (the lab) can.
lab() {
	skip "lab: $1"
}

# ---- the runtime ----

# runtime ARGUMENT...: the runtime under test with this test's own state directory, for at most a minute (CF_PATIENCE).
runtime() {
	# shellcheck disable=SC2086 # a word, or none
	timeout -k 1 "${CF_PATIENCE:-60}" "$CF_RUNTIME" --root "$STATE" $CF_GLOBALS "$@"
}

# configure FILTER [JQ-OPTION...]: base.json, in this test's own cgroup, changed by the jq filter -> $B/config.json
configure() {
	local filter=$1
	shift
	local path=$CF_CGROUP/$ID
	[ -z "$CF_GLOBALS" ] || path=system.slice:cf:$ID
	jq --arg T "$T" --arg B "$B" --arg cgroup "$path" "$@" \
		"$CF_WORDS .linux.cgroupsPath = \$cgroup | $filter" "$CF_BASE" >"$B/config.json"
}

# Runs container $ID to its end: STATUS, $T/out, $T/err.  Standard input is an empty file, never a device of the host.
contain() {
	STATUS=0
	runtime run --bundle "$B" "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&- || STATUS=$?
}

# contain, and it must end with status 0.
succeed() {
	contain
	[ "$STATUS" -eq 0 ] || fail "the container ended with $STATUS" "$(said)" "$(tail -c 300 "$T/out")"
}

# report [FILTER [JQ-OPTION...]]: configure, run the probe, read its report into R.
report() {
	configure "${1:-.}" "${@:2}" && succeed && read_report "$T/out" || return
	[ ${#R[@]} -gt 0 ] || fail "the container printed no report" "$(said)"
}

# runs FILTER [JQ-OPTION...]: configure; the container must say something and end with status 0; prints tells what it said.
runs() {
	configure "$@" && succeed || return
	[ -s "$T/out" ] || fail "the container printed nothing" "$(said)"
}

read_report() {
	local key value
	while IFS='=' read -r key value; do
		R[$key]=${value%$'\r'}
	done <"$1"
}

# create [OPTION...]: the create operation; STATUS, $T/out and $T/err stay the container's stdout and stderr.
create() {
	STATUS=0
	runtime create --bundle "$B" --pid-file "$T/pid" "$@" "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&- || STATUS=$?
}

created() {
	configure "${1:-.}" "${@:2}" && create
	[ "$STATUS" -eq 0 ] || fail "create failed with $STATUS" "$(said)"
	PID=$(<"$T/pid")
}

start() {
	STATUS=0
	runtime start "$ID" >"$T/start.out" 2>"$T/start.err" 3>&- || STATUS=$?
}

started() {
	start
	[ "$STATUS" -eq 0 ] || fail "start failed with $STATUS" "$(tail -c 600 "$T/start.err")"
}

# state [JQ-FILTER]: what the state operation says.
state() {
	runtime state "$ID" 2>"$T/state.err" >"$T/state.json" || return
	jq -r "${1:-.}" "$T/state.json"
}

# soon COMMAND...: until it succeeds, for about half a minute: a busy machine is slow, and only a failure takes so long.
soon() {
	local try
	for ((try = 0; try < 1000; try++)); do
		"$@" && return
		sleep 0.03
	done
	return 1
}

# becomes STATUS: waits until the container has this status.
becomes() {
	local text=''
	soon has_status "$1" || fail "the state, which should be $1: $text"
}

has_status() {
	text=$(runtime state "$ID" 2>"$T/state.err") || true
	[[ $text =~ \"status\":\ *\"$1\" ]]
}

# refuses FILTER [JQ-OPTION...]: create must generate an error, and must not leave a container.
refuses() {
	configure "$@" || return
	create
	if [ "$STATUS" -eq 0 ]; then
		fail "create accepted it"
	elif hung; then
		fail "create did not answer (status $STATUS)" "$(said)"
	elif state >/dev/null 2>&1; then
		fail "create failed, but the container exists"
	fi
}

# refuses_to_run FILTER: for process properties, which may be applied as late as in start.
refuses_to_run() {
	configure "$@" || return
	create
	! hung || fail "create did not answer (status $STATUS)" "$(said)" || return
	[ "$STATUS" -eq 0 ] || return 0
	start
	[ "$STATUS" -ne 0 ] || fail "create and start accepted it"
}

# Whether the last operation was ended by timeout(1), or by a signal.
hung() {
	[ "$STATUS" -eq 124 ] || { [ "$STATUS" -gt 128 ] && [ "$STATUS" -lt 192 ]; }
}

# errs OPERATION ARGUMENT...: the operation must generate an error.
errs() {
	STATUS=0
	runtime "$@" >"$T/out.$1" 2>"$T/err" <"$T/in" 3>&- || STATUS=$?
	[ "$STATUS" -ne 0 ] || fail "$1 generated no error"
	! hung || fail "$1 did not answer (status $STATUS)"
}

# dies PID: the process ends (a zombie has ended).
dies() {
	soon has_ended "$1" || fail "process $1 is alive"
}

has_ended() {
	[ ! -e "/proc/$1/stat" ] || [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) == Z* ]]
}

# leaves_no_process: nor is one on its way out.
leaves_no_process() {
	soon no_process || fail "a process is left: $(grep -l "$ID" /proc/[0-9]*/cgroup 2>/dev/null)"
}

no_process() {
	! grep -q "$ID" /proc/[0-9]*/cgroup 2>/dev/null
}

# ---- looking at the report ----

is() {
	[ "${R[$1]-(absent)}" = "$2" ] || fail "$1 is '${R[$1]-(absent)}', should be '$2'"
}

isnt() {
	[ "${R[$1]-(absent)}" != "$2" ] || fail "$1 is '$2', should not be"
}

like() {
	[[ ${R[$1]-(absent)} =~ $2 ]] || fail "$1 is '${R[$1]-(absent)}', should match '$2'"
}

unlike() {
	[ -n "${R[$1]+x}" ] || fail "$1 is absent" || return
	[[ ! ${R[$1]} =~ $2 ]] || fail "$1 is '${R[$1]}', should not match '$2'"
}

has_option() {
	local words
	read -ra words <<<"${R[mount $1]-}"
	[[ ",${words[2]-},${words[3]-}," == *",$2,"* ]] || fail "$1 should have $2: '${R[mount $1]-(absent)}'"
}

lacks_option() {
	local words
	read -ra words <<<"${R[mount $1]-}"
	[ ${#words[@]} -gt 3 ] || fail "nothing is mounted on $1" || return
	[[ ",${words[2]},${words[3]}," != *",$2,"* ]] || fail "$1 should not have $2: '${R[mount $1]}'"
}

# The output of the container, whole.
prints() {
	[ "$(<"$T/out")" = "$1" ] || fail "printed '$(head -c 400 "$T/out")', should be '$1'" "$(said)"
}

prints_like() {
	[[ $(<"$T/out") =~ $1 ]] || fail "printed '$(head -c 400 "$T/out")', should match '$1'" "$(said)"
}

# ---- hooks ----

# logs hook calls to $T/hooks: jq filter text for hook KIND run by the probe.  startContainer resolves in the container.
log_hook() {
	local kind=$1 name=${2:-$1} status=${3:-0}
	if [ "$kind" = startContainer ]; then
		printf 'hook("%s"; "/bin/probe"; ["probe", "hook", "%s", "/hooks", "%s"])' "$kind" "$name" "$status"
	else
		printf 'hook("%s"; "%s"; ["probe", "hook", "%s", "%s", "%s"])' "$kind" "$CF_PROBE" "$name" "$T/hooks" "$status"
	fi
}

# Names of the hooks that ran, in order.
hooks_run() {
	cat "$T/hooks" "$B/rootfs/hooks" 2>/dev/null | sed -n 's/^hook=//p' | tr '\n' ' ' | sed 's/ $//'
}

# ran NAMES: exactly these hooks ran, in this order.
ran() {
	[ "$(hooks_run)" = "$1" ] || fail "hooks that ran: '$(hooks_run)', should be '$1'"
}

# read_hook NAME: what that hook saw -> R, with R[stdin] its standard input.
read_hook() {
	cat "$T/hooks" "$B/rootfs/hooks" 2>/dev/null | sed -n "/^hook=$1\$/,/^end=$1\$/p" >"$T/hook"
	[ -s "$T/hook" ] || fail "hook $1 did not run" "$(said)" || return
	read_report "$T/hook"
}

# ---- namespaces of the host's side ----

# own NAMESPACE: the name of this process's namespace, as /proc/self/ns tells it (cgroup ipc mnt net pid time user uts).
own() {
	readlink "/proc/self/ns/$1"
}

# hold UNSHARE-OPTION...: a process in namespaces of its own; HELD is its pid, seen from here.
hold() {
	unshare "$@" --fork --kill-child sh -c 'echo up; exec sleep 60' <"$CF_BASE" >"$T/held" 2>"$T/held.err" 3>&- &
	PIDS+=($!)
	disown
	soon test -s "$T/held" || fail "no namespace to join" "$(<"$T/held.err")" || return
	# shellcheck disable=SC2034 # for the tests
	HELD=$(pgrep -P "${PIDS[-1]}")
}

# host_mount ARGUMENT...: mount(8) in the runtime's mount namespace; teardown() unmounts what is below $T.
host_mount() {
	HOST_MOUNTS=yes
	mount "$@"
}

unmount_below() {
	sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .*/\1/p' /proc/self/mountinfo | grep "^$1/" | tac | while read -r mount; do
		umount -l "$mount" || true
	done
}

# ---- cgroups ----

# The directory of controller $1 ("" is the v2 tree) in which process $2 is; fails when the host has none.
cgroup_dir() {
	local controller=$1 pid=$2 line mount='' path=''
	[ "$CF_LAYOUT" = v2 ] && controller=''
	while IFS=: read -r _ line path; do
		[[ -z $controller && -z $line || -n $controller && ",$line," == *",$controller,"* ]] && break
		path=''
	done <"/proc/$pid/cgroup"
	[ -n "$path" ] || return 1
	while IFS= read -r line; do
		case $line in
		*' - cgroup2 '*) [ -z "$controller" ] || continue ;;
		*' - cgroup '*) [[ -n $controller && ",${line##* }," == *",$controller,"* ]] || continue ;;
		*) continue ;;
		esac
		read -r _ _ _ _ mount _ <<<"$line"
		break # the machine's own comes first; later ones are some container's view
	done </proc/self/mountinfo
	[ -n "$mount" ] && printf '%s\n' "$mount$path"
}

# Skips where the test gives a path in the tree, which systemd's driver does not take.
needs_paths() {
	[ -z "$CF_GLOBALS" ] || skip "cgroupsPath has another form with systemd"
}

# in_cgroup PATH: the created container is there in every hierarchy that it was moved in, at least one.  "Runtimes MAY attach
# the container process to additional cgroup controllers beyond those necessary": where it is left in the cgroup of its
# caller does not count.
in_cgroup() {
	local hierarchy controllers path found=no
	while IFS=: read -r hierarchy controllers path; do
		[ "$CF_LAYOUT" != v2 ] || [ "$hierarchy" = 0 ] || continue
		grep -qxF "$hierarchy:$controllers:$path" /proc/self/cgroup && continue
		[ "$path" = "$1" ] || fail "${controllers:-v2}: it is in $path, should be in $1" || return
		found=yes
	done <"/proc/$PID/cgroup"
	[ $found = yes ] || fail "it is in no cgroup of its own"
}

# needs_controller NAME: skips where the layout in use does not have it.
needs_controller() {
	if [ "$CF_LAYOUT" = v2 ]; then
		[[ " $(cat "$(cgroup_mount)/cgroup.controllers") " == *" ${2:-$1} "* ]] ||
			lab "no cgroup v2 controller ${2:-$1}"
	else
		cgroup_dir "$1" $$ >/dev/null || lab "no cgroup v1 controller $1"
	fi
}

cgroup_mount() {
	sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - cgroup2 .*/\1/p' /proc/self/mountinfo | tail -n 1
}

# limit CONTROLLER V1-FILE V2-FILE: what the created container's cgroup says.
limit() {
	local dir file=$2
	dir=$(cgroup_dir "$1" "$PID") || fail "no cgroup with $1" || return
	[ "$CF_LAYOUT" = v2 ] && file=$3
	[ -e "$dir/$file" ] || fail "$dir/$file does not exist" || return
	cat "$dir/$file"
}

# limited CONTROLLER V1-FILE V1-VALUE V2-FILE V2-VALUE
limited() {
	local want=$3 have
	[ "$CF_LAYOUT" = v2 ] && want=$5
	have=$(limit "$1" "$2" "$4") || return
	[ "$have" = "$want" ] || fail "$2 / $4 is '$have', should be '$want'"
}

# needs_file CONTROLLER V1-FILE V2-FILE: skips where the kernel lacks the control file (looked for in a new cgroup).
needs_file() {
	local dir file=$2 found=no
	[ "$CF_LAYOUT" = v2 ] && file=$3
	[ "$file" = - ] && skip "cgroup $CF_LAYOUT has no such setting"
	needs_controller "$1" "${4:-$1}"
	# systemd gives controllers only to units that ask for them, so a directory of ours would not have the file.
	[ -z "$CF_GLOBALS" ] || return 0
	dir=$(cgroup_dir "$1" $$)
	[ "$CF_LAYOUT" = v2 ] && dir=$(cgroup_mount)
	mkdir "$dir/cf$CF_ID-look-$BATS_TEST_NUMBER-$$"
	[ -e "$dir/cf$CF_ID-look-$BATS_TEST_NUMBER-$$/$file" ] && found=yes
	rmdir "$dir/cf$CF_ID-look-$BATS_TEST_NUMBER-$$"
	[ $found = yes ] || lab "the kernel has no $file"
}

# Filter text: a real-time budget, without which a v1 cpu cgroup of a kernel with real-time group scheduling takes no
# real-time task.  The tests' common parent gets a small one of its own, from which the container's is taken.
realtime() {
	local dir
	dir=$(cgroup_dir cpu $$) || true
	if [ "$CF_LAYOUT" = v2 ] || [ ! -e "$dir/cpu.rt_runtime_us" ]; then
		echo .
		return
	fi
	dir=${dir%/}$CF_CGROUP
	mkdir -p "$dir"
	[ "$(<"$dir/cpu.rt_runtime_us")" -gt 0 ] || echo 100000 >"$dir/cpu.rt_runtime_us"
	echo '.linux.resources.cpu = {realtimePeriod: 1000000, realtimeRuntime: 5000}'
}
