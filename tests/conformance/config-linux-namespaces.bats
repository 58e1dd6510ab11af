# SPDX-License-Identifier: Apache-2.0
# config-linux.md: "Namespaces", "User namespace mappings", "Offset for Time Namespace", "Network Devices" (1.3).

load lib/helpers

needs_time_ns() {
	[ -e /proc/self/ns/time ] || lab "the kernel has no time namespaces"
}

# ---- new ones ----

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: pid" {
	report
	isnt ns.pid "$(own pid)"
	is pid 1
}

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: network" {
	runs 'sh("readlink /proc/self/ns/net; ls /sys/class/net")'
	[ "$(head -n 1 "$T/out")" != "$(own net)" ]
	# beside those that tunnel modules add to every namespace
	[ "$(sed 1d "$T/out" | grep -vxE "(gre|gretap|erspan|tunl|sit|ip6tnl|ip6gre|ip_vti|ip6_vti)0")" = lo ]
}

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: mount" {
	report
	isnt ns.mnt "$(own mnt)"
	is "mount $T" "(absent)"
}

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: ipc" {
	report
	isnt ns.ipc "$(own ipc)"
}

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: uts" {
	report
	isnt ns.uts "$(own uts)"
}

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: user" {
	report 'user_ns(200000; 65536)'
	isnt ns.user "$(own user)"
}

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: cgroup" {
	report 'ns("cgroup")'
	isnt ns.cgroup "$(own cgroup)"
	[ -z "$(sed -n 's/^cgroup\..*=//p' "$T/out" | grep -vx /)" ] || fail "it is not at the root: $(grep ^cgroup "$T/out")"
}

@test "config-linux.md namespaces.path: MUST be a new namespace if it is not specified: time" {
	needs_time_ns
	report 'ns("time")'
	isnt ns.time "$(own time)"
}

# ---- inherited ones ----

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: pid" {
	report 'without_ns("pid")'
	is ns.pid "$(own pid)"
}

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: network" {
	report 'without_ns("network")'
	is ns.net "$(own net)"
}

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: mount" {
	configure 'without_ns("mount") | .linux |= del(.maskedPaths, .readonlyPaths)'
	unshare --mount --propagation private sh -c 'readlink /proc/self/ns/mnt >own-mnt; exec "$@"' sh \
		timeout 60 "$CF_RUNTIME" --root "$STATE" run --bundle "$B" "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&- ||
		fail "it did not run" "$(said)"
	read_report "$T/out"
	is ns.mnt "$(<own-mnt)"
}

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: ipc" {
	report 'without_ns("ipc")'
	is ns.ipc "$(own ipc)"
}

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: uts" {
	report 'without_ns("uts") | del(.hostname)'
	is ns.uts "$(own uts)"
}

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: user" {
	report
	is ns.user "$(own user)"
}

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: cgroup" {
	report
	is ns.cgroup "$(own cgroup)"
}

@test "config-linux.md namespaces.type: MUST be inherited from the runtime if it is not listed: time" {
	needs_time_ns
	report
	is ns.time "$(own time)"
}

# ---- joined ones ----

# joins TYPE NS-FILE HOLD-OPTION... : the container is in the namespace of a process that is there already.
joins() {
	local type=$1 file=$2
	shift 2
	hold "$@"
	report "join_ns(\"$type\"; \"/proc/$HELD/ns/$file\") | del(.hostname)"
	is "ns.$file" "$(readlink "/proc/$HELD/ns/$file")"
	isnt "ns.$file" "$(own "$file")"
}

@test "config-linux.md namespaces.path: MUST be where the container process is placed: pid" {
	joins pid pid --pid
	[ "${R[pid]}" -gt 1 ]
}

@test "config-linux.md namespaces.path: MUST be where the container process is placed: network" { joins network net --net; }
@test "config-linux.md namespaces.path: MUST be where the container process is placed: ipc" { joins ipc ipc --ipc; }
@test "config-linux.md namespaces.path: MUST be where the container process is placed: uts" { joins uts uts --uts; }
@test "config-linux.md namespaces.path: MUST be where the container process is placed: cgroup" { joins cgroup cgroup --cgroup; }

@test "config-linux.md namespaces.path: MUST be where the container process is placed: time" {
	needs_time_ns
	joins time time --time
}

@test "config-linux.md namespaces.path: MUST be where the container process is placed: user" {
	hold --user
	echo 0 200000 65536 >"/proc/$HELD/uid_map"
	echo 0 200000 65536 >"/proc/$HELD/gid_map"
	report "join_ns(\"user\"; \"/proc/$HELD/ns/user\")"
	is ns.user "$(readlink "/proc/$HELD/ns/user")"
	like uid_map ' 200000 +65536$'
}

@test "config-linux.md namespaces.path: MUST be where the container process is placed: mount" {
	hold --mount --propagation private
	report "join_ns(\"mount\"; \"/proc/$HELD/ns/mnt\")"
	is ns.mnt "$(readlink "/proc/$HELD/ns/mnt")"
}

@test "config-linux.md namespaces.path: MUST be taken when it is a file that the namespace is mounted on" {
	: >"$T/netns"
	hold --net
	host_mount --bind "/proc/$HELD/ns/net" "$T/netns"
	report 'join_ns("network"; $T + "/netns")'
	is ns.net "$(readlink "/proc/$HELD/ns/net")"
}

# ---- errors ----

@test "config-linux.md namespaces.path: MUST be an absolute path" {
	hold --net
	ln -s "/proc/$HELD/ns/net" netns
	refuses 'join_ns("network"; "netns")'
}

@test "config-linux.md namespaces.path: MUST generate an error if nothing is there" {
	refuses 'join_ns("network"; "/no/such/namespace")'
}

@test "config-linux.md namespaces.path: MUST generate an error if it is no namespace" {
	refuses 'join_ns("network"; "/etc/passwd")'
}

# The path is of an existing namespace, of another type.
wrong_type() {
	case $1 in
	user) runs 'user_ns(200000; 65536) | probe("exit 0")' ;;
	*) runs "ns(\"$1\") | probe(\"exit 0\")" ;; # the type itself is fine
	esac
	refuses "join_ns(\"$1\"; \"/proc/self/ns/$2\") | del(.hostname)"
}

@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: pid" { wrong_type pid uts; }
@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: network" { wrong_type network uts; }
@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: mount" { wrong_type mount net; }
@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: ipc" { wrong_type ipc uts; }
@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: uts" { wrong_type uts ipc; }
@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: user" { wrong_type user uts; }
@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: cgroup" { wrong_type cgroup uts; }
@test "config-linux.md namespaces.path: MUST generate an error if it is not of the type: time" { wrong_type time uts; }

@test "config-linux.md namespaces: MUST generate an error for duplicated types" {
	refuses '.linux.namespaces += [{type: "pid"}]'
}

@test "config-linux.md namespaces.type: MUST generate an error for an unknown type" {
	refuses '.linux.namespaces += [{type: "bogus"}]'
}

@test "config-linux.md namespaces.type: MUST be given, REQUIRED" {
	refuses '.linux.namespaces += [{path: "/proc/self/ns/net"}]'
}

# ---- User namespace mappings ----

# words KEY TEXT: the value with runs of blanks as one
words() {
	local text=${R[$1]//\\n/ }
	read -ra text <<<"$text"
	[ "${text[*]}" = "$2" ] || fail "$1 is '${text[*]}', should be '$2'"
}

@test "config-linux.md uidMappings: MUST be the mapping of user IDs" {
	report 'user_ns(200000; 65536)'
	words uid_map "0 200000 65536"
}

@test "config-linux.md gidMappings: MUST be the mapping of group IDs" {
	report 'user_ns(200000; 65536) | .linux.gidMappings = [{containerID: 0, hostID: 300000, size: 1000}]'
	words gid_map "0 300000 1000"
}

@test "config-linux.md uidMappings: MUST have all of several ranges" {
	report 'user_ns(200000; 1000) | .linux.uidMappings += [{containerID: 1000, hostID: 400000, size: 10},
		{containerID: 70000, hostID: 500000, size: 5}]'
	words uid_map "0 200000 1000 1000 400000 10 70000 500000 5"
}

@test "config-linux.md uidMappings: MUST decide who the container process is on the host" {
	created 'user_ns(200000; 65536) | .process.user = {uid: 5, gid: 6} | probe("sleep")'
	started
	[ "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$PID/status")" = 200005 ]
	[ "$(sed -n 's/^Gid:\t\([0-9]*\).*/\1/p' "/proc/$PID/status")" = 200006 ]
}

@test "config-linux.md uidMappings: SHOULD NOT modify the ownership of the root file system" {
	local before
	before=$(find "$B/rootfs" -printf '%p %U:%G\n' | sort)
	report 'user_ns(200000; 65536)'
	[ "$(find "$B/rootfs" -printf '%p %U:%G\n' | sort)" = "$before" ]
}

@test "config-linux.md uidMappings: MUST generate an error when ranges overlap" {
	refuses 'user_ns(200000; 1000) | .linux.uidMappings += [{containerID: 10, hostID: 400000, size: 10}]'
}

@test "config-linux.md uidMappings: MUST generate an error when it is an empty range" {
	refuses 'user_ns(200000; 0)'
}

# ---- Time offsets ----

@test "config-linux.md timeOffsets: MUST be the offset of the monotonic clock" {
	local now
	needs_time_ns
	now=$(cut -d. -f1 /proc/uptime)
	report 'ns("time") | .linux.timeOffsets = {monotonic: {secs: 604800, nanosecs: 500}}'
	like timens_offsets 'monotonic +604800 +500'
	[ "${R[monotonic]}" -ge $((now + 604800)) ] && [ "${R[monotonic]}" -lt $((now + 604900)) ]
}

@test "config-linux.md timeOffsets: MUST be the offset of the boottime clock" {
	local now
	needs_time_ns
	now=$(cut -d. -f1 /proc/uptime)
	report 'ns("time") | .linux.timeOffsets = {boottime: {secs: 3600}}'
	like timens_offsets 'boottime +3600 +0'
	[ "${R[boottime]}" -ge $((now + 3600)) ] && [ "${R[boottime]}" -lt $((now + 3700)) ]
}

@test "config-linux.md timeOffsets: MUST generate an error for an unknown clock" {
	needs_time_ns
	report 'ns("time") | .linux.timeOffsets = {monotonic: {secs: 3600}}'
	refuses 'ns("time") | .linux.timeOffsets = {sundial: {secs: 3600}}'
}

@test "config-linux.md timeOffsets: MUST generate an error for an offset that the kernel refuses" {
	needs_time_ns
	report 'ns("time") | .linux.timeOffsets = {monotonic: {secs: 0, nanosecs: 999999999}}'
	refuses 'ns("time") | .linux.timeOffsets = {monotonic: {secs: 0, nanosecs: 1000000000}}'
}

# ---- Network devices (1.3): in a network namespace of the test's own, with a pair of virtual Ethernet devices ----

# with_devices FILTER [TEXT-BEFORE]: run the container from a network namespace that has cf0 (peer cf1).
with_devices() {
	command -v ip >/dev/null || lab "iproute2 is needed"
	[ "$("$CF_RUNTIME" features 2>"$T/features.err" | jq -r '.linux.netDevices.enabled')" != false ] ||
		skip "its features say that it has no netDevices"
	configure "$1"
	cat >"$T/inside" <<-END
		ip link add cf0 type veth peer name cf1 || exit 99
		ip link set cf0 mtu 1400 address 02:00:00:00:00:07
		ip addr add 10.77.0.1/24 dev cf0
		ip addr add fd77::1/64 dev cf0 nodad
		ip link set lo up
		$2
		exec timeout 60 "$CF_RUNTIME" --root "$STATE" run --bundle "$B" "$ID"
	END
	STATUS=0
	unshare --net sh -e "$T/inside" <"$T/in" >"$T/out" 2>"$T/err" 3>&- || STATUS=$?
	[ "$STATUS" -ne 99 ] || lab "no virtual Ethernet devices"
}

SHOW='sh("busybox ip -o addr; busybox ip -o link")'

@test "config-linux.md netDevices: MUST be made available in the container (1.3)" {
	with_devices ".linux.netDevices = {cf0: {}} | $SHOW"
	[ "$STATUS" -eq 0 ] || fail "$(said)"
	prints_like ' cf0[:@]'
}

@test "config-linux.md netDevices.name: MUST be the name of the device inside the container (1.3)" {
	with_devices ".linux.netDevices = {cf0: {name: \"container_eth0\"}} | $SHOW"
	[ "$STATUS" -eq 0 ] || fail "$(said)"
	prints_like ' container_eth0[:@]'
	[[ $(<"$T/out") != *cf0* ]]
}

@test "config-linux.md netDevices: MUST keep the attributes of the interface (1.3)" {
	with_devices ".linux.netDevices = {cf0: {name: \"eth0\"}} | $SHOW"
	prints_like 'mtu 1400'
	prints_like '02:00:00:00:00:07'
}

@test "config-linux.md netDevices: MUST keep its permanent IP addresses of global scope (1.3)" {
	with_devices ".linux.netDevices = {cf0: {name: \"eth0\"}} | $SHOW"
	prints_like '10\.77\.0\.1/24'
	prints_like 'fd77::1/64'
}

@test "config-linux.md netDevices: MUST be set up after the move (1.3)" {
	with_devices ".linux.netDevices = {cf0: {name: \"eth0\"}} | $SHOW" "ip link set cf1 up"
	prints_like 'eth0@[^<]*<[A-Z,]*UP'
}

@test "config-linux.md netDevices.name: MUST generate an error if the name exists in the container (1.3)" {
	with_devices '.linux.netDevices = {cf0: {name: "lo"}}'
	[ "$STATUS" -ne 0 ] || fail "no error was generated"
}

@test "config-linux.md netDevices.name: MUST let the kernel choose a name for a template with %d (1.3)" {
	with_devices ".linux.netDevices = {cf0: {name: \"eth%d\"}} | $SHOW"
	prints_like ' eth0[:@]'
}

@test "config-linux.md netDevices: MUST generate an error for a device that does not exist (1.3)" {
	with_devices '.linux.netDevices = {nosuchdevice: {}}'
	[ "$STATUS" -ne 0 ] || fail "no error was generated"
}

@test "config-linux.md netDevices: MUST generate an error for a device that cannot be moved (1.3)" {
	with_devices '.linux.netDevices = {lo: {name: "eth9"}}'
	[ "$STATUS" -ne 0 ] || fail "no error was generated"
}
