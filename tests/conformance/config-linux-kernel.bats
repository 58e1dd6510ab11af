# SPDX-License-Identifier: Apache-2.0
# config-linux.md: "Sysctl", "Personality", "IntelRdt", "Memory policy" (1.3).

load lib/helpers

# ---- Sysctl ----

# sysctl NAME VALUE: set in the configuration, read in the container.
sysctl() {
	[ -e "/proc/sys/${1//.//}" ] || lab "the kernel has no $1"
	runs ".linux.sysctl = {\"$1\": \"$2\"} | sh(\"cat /proc/sys/${1//.//}\")"
	prints "$2"
}

@test "config-linux.md sysctl: MUST be modified for the container: net.ipv4.ip_forward" { sysctl net.ipv4.ip_forward 1; }
@test "config-linux.md sysctl: MUST be modified for the container: net.core.somaxconn" { sysctl net.core.somaxconn 256; }
@test "config-linux.md sysctl: MUST be modified for the container: kernel.msgmax" { sysctl kernel.msgmax 4096; }
@test "config-linux.md sysctl: MUST be modified for the container: kernel.shm_rmid_forced" { sysctl kernel.shm_rmid_forced 1; }
@test "config-linux.md sysctl: MUST be modified for the container: fs.mqueue.msg_max" { sysctl fs.mqueue.msg_max 12; }

@test "config-linux.md sysctl: MUST be modified for the container: a value of several words" {
	runs '.linux.sysctl = {"net.ipv4.ping_group_range": "0 7"} | sh("cat /proc/sys/net/ipv4/ping_group_range")'
	prints_like '^0[[:space:]]+7$'
}

@test "config-linux.md sysctl: MAY be written with slashes for dots, as sysctl(8) does" {
	runs '.linux.sysctl = {"net/ipv4/ip_forward": "1"} | sh("cat /proc/sys/net/ipv4/ip_forward")'
	prints 1
}

@test "config-linux.md sysctl: MUST NOT be modified on the host" {
	local before
	before=$(</proc/sys/net/core/somaxconn)
	runs '.linux.sysctl = {"net.core.somaxconn": "257"} | probe("exit 0")'
	[ "$(</proc/sys/net/core/somaxconn)" = "$before" ]
}

@test "config-linux.md sysctl: MUST generate an error for a parameter that does not exist" {
	refuses '.linux.sysctl = {"net.ipv4.no_such_parameter": "1"}'
}

@test "config-linux.md sysctl: MUST generate an error for a value that the kernel refuses" {
	refuses '.linux.sysctl = {"net.core.somaxconn": "many"}'
}

# ---- Personality ----

@test "config-linux.md personality.domain: MUST make uname show a 32 bit CPU: LINUX32" {
	[ "$(uname -m)" = x86_64 ] || lab "this is for x86"
	report '.linux.personality = {domain: "LINUX32"}'
	like machine '^i[3-6]86$'
	is personality 0x8
}

@test "config-linux.md personality.domain: MUST be the execution domain: LINUX" {
	report '.linux.personality = {domain: "LINUX"}'
	is machine "$(uname -m)"
	is personality 0
}

@test "config-linux.md personality.domain: MUST generate an error when it is unknown" {
	refuses_to_run '.linux.personality = {domain: "BOGUS"}'
}

@test "config-linux.md personality.domain: MUST be given, REQUIRED" {
	refuses_to_run '.linux.personality = {flags: []}'
}

# ---- Intel RDT ----

needs_resctrl() {
	grep -q ' - resctrl ' /proc/self/mountinfo || lab "no resctrl file system (a CPU with resource director technology)"
	RESCTRL=$(sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - resctrl .*/\1/p' /proc/self/mountinfo | tail -n 1)
}

@test "config-linux.md intelRdt: MUST generate an error if no resctrl file system is mounted" {
	! grep -q ' - resctrl ' /proc/self/mountinfo || skip "a resctrl file system is mounted"
	refuses '.linux.intelRdt = {closID: "guaranteed_group"}'
}

@test "config-linux.md intelRdt: MUST write the container process ID to the tasks file" {
	needs_resctrl
	created '.linux.intelRdt = {}'
	grep -qx "$PID" "$RESCTRL/$ID/tasks"
}

@test "config-linux.md intelRdt.closID: MUST be the container ID if it is not set, and be removed with the container" {
	needs_resctrl
	created '.linux.intelRdt = {} | probe("exit 0")'
	[ -d "$RESCTRL/$ID" ]
	started
	becomes stopped
	runtime delete "$ID"
	[ ! -e "$RESCTRL/$ID" ]
}

@test "config-linux.md intelRdt.closID: MUST generate an error if the directory does not exist and no schema is set" {
	needs_resctrl
	refuses '.linux.intelRdt = {closID: "cf-no-such-group"}'
}

@test "config-linux.md intelRdt.closID: MUST be the default class for / (1.3)" {
	needs_resctrl
	created '.linux.intelRdt = {closID: "/"}'
	grep -qx "$PID" "$RESCTRL/tasks"
}

@test "config-linux.md intelRdt.enableMonitoring: MUST create a monitoring group of the container's ID (1.3)" {
	needs_resctrl
	created '.linux.intelRdt = {enableMonitoring: true}'
	[ -d "$RESCTRL/$ID/mon_groups/$ID" ]
}

# ---- Memory policy ----

# policy MODE [REST-OF-OBJECT]
policy() {
	[ -e /proc/self/numa_maps ] || lab "a kernel without NUMA"
	report ".linux.memoryPolicy = {mode: \"MPOL_$1\" ${2:+, $2}}"
	is mempolicy.mode "$1"
}

@test "config-linux.md memoryPolicy.mode: MUST be set: MPOL_BIND (1.3)" {
	policy BIND 'nodes: "0"'
	is mempolicy.nodes 0x1
}

@test "config-linux.md memoryPolicy.mode: MUST be set: MPOL_INTERLEAVE (1.3)" { policy INTERLEAVE 'nodes: "0"'; }
@test "config-linux.md memoryPolicy.mode: MUST be set: MPOL_PREFERRED (1.3)" { policy PREFERRED 'nodes: "0"'; }
@test "config-linux.md memoryPolicy.mode: MUST be set: MPOL_LOCAL (1.3)" { policy LOCAL; }

# A policy that is inherited must give way.
@test "config-linux.md memoryPolicy.mode: MUST be set: MPOL_DEFAULT (1.3)" {
	[ -e /proc/self/numa_maps ] || lab "a kernel without NUMA"
	configure '.linux.memoryPolicy = {mode: "MPOL_DEFAULT"}'
	timeout 60 "$CF_AGENT" interleaved "$CF_RUNTIME" --root "$STATE" run --bundle "$B" "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&- ||
		fail "it did not run" "$(said)"
	read_report "$T/out"
	is mempolicy.mode DEFAULT
}

@test "config-linux.md memoryPolicy.mode: MUST be set: MPOL_PREFERRED_MANY (1.3)" {
	kernel_at_least 5 15
	policy PREFERRED_MANY 'nodes: "0"'
}

@test "config-linux.md memoryPolicy.mode: MUST be set: MPOL_WEIGHTED_INTERLEAVE (1.3)" {
	kernel_at_least 6 9
	policy WEIGHTED_INTERLEAVE 'nodes: "0"'
}

kernel_at_least() {
	local major minor
	IFS=.- read -r major minor _ <<<"$(uname -r)"
	[ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -ge "$2" ]; } || lab "Linux $1.$2 is needed"
}

@test "config-linux.md memoryPolicy.flags: MUST be set: MPOL_F_STATIC_NODES (1.3)" {
	policy BIND 'nodes: "0", flags: ["MPOL_F_STATIC_NODES"]'
	like mempolicy.flags STATIC
}

@test "config-linux.md memoryPolicy.flags: MUST be set: MPOL_F_RELATIVE_NODES (1.3)" {
	policy BIND 'nodes: "0", flags: ["MPOL_F_RELATIVE_NODES"]'
	like mempolicy.flags RELATIVE
}

@test "config-linux.md memoryPolicy.flags: MUST be set: MPOL_F_NUMA_BALANCING (1.3)" {
	policy BIND 'nodes: "0", flags: ["MPOL_F_NUMA_BALANCING"]'
	like mempolicy.flags BALANCING
}

@test "config-linux.md memoryPolicy.mode: MUST generate an error when it is unknown (1.3)" {
	refuses_to_run '.linux.memoryPolicy = {mode: "MPOL_BOGUS", nodes: "0"}'
}

@test "config-linux.md memoryPolicy.nodes: MUST generate an error when it is no list of nodes (1.3)" {
	refuses_to_run '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "zero"}'
}

@test "config-linux.md memoryPolicy.nodes: MUST generate an error when the kernel has no such nodes (1.3)" {
	refuses_to_run '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "1000"}'
}

@test "config-linux.md memoryPolicy.flags: MUST generate an error for an unknown flag (1.3)" {
	refuses_to_run '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_BOGUS"]}'
}
