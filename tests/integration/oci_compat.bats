#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What callers of runc count on beyond the specification's words.

load helpers
setup_file() {
	oci_setup_file
	local applet
	for applet in awk chmod grep ln stat test touch; do ln -sf busybox "$WORK/rootfs/bin/$applet"; done
	mkdir -p "$WORK/rootfs/mnt" "$WORK/rootfs/covered"
}
teardown_file() { oci_teardown_file; }
setup() { oci_setup; }
teardown() {
	oci_teardown
	[ -z "${SOURCE:-}" ] || umount "$SOURCE"
	local place
	for place in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[ -z "${NAMED:-}" ] || rmdir "$place$NAMED" "$place${NAMED%/*}" 2>/dev/null || true
	done
}

# A cgroup of that name for the bundle's containers.
named() {
	NAMED=/caisson-compat.$$/$1
	config --arg path "$NAMED" '.linux.cgroupsPath=$path'
}

# Where process $1 is in the hierarchy of controller $2.
cgroup_of() {
	awk -F: -v c="$2" '{ n = split($2, names, ","); for (i = 1; i <= n; i++) if (names[i] == c) print $3 }' "/proc/$1/cgroup"
}

pid_of() { oci state "$1" | jq .pid; }

requires_v1() { grep -q ' - cgroup ' /proc/self/mountinfo || skip "this host has no cgroup v1"; }

userns() {
	config '.linux.namespaces += [{"type": "user"}]
		| .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}] | .linux.gidMappings = .linux.uidMappings'
	chmod a+x "$WORK" "$BUNDLE"
}

@test "a cgroup that another container is in is refused, and the other lives on" {
	named shared
	oci_start "$ID"
	run -1 oci run "$ID-second"
	[[ $output == *"container's cgroup is not empty"* ]]
	run -1 oci create "$ID-second"
	[[ $output == *"container's cgroup is not empty"* ]]
	is "$ID" running
	run -0 oci exec "$ID" true
	run -1 oci state "$ID-second"
}

@test "a frozen cgroup is refused, instead of a container that hangs, and stays what it was" {
	requires_v1
	named frozen
	local dir=/sys/fs/cgroup/freezer$NAMED
	mkdir -p "$dir"
	echo FROZEN >"$dir/freezer.state"
	run -1 timeout 60 "$RUNTIME" --root "$STATE" run "$ID"
	[[ $output == *"container's cgroup unexpectedly frozen"* ]]
	[ "$(cat "$dir/freezer.state")" = FROZEN ]
}

@test "a cgroup that the configuration names is made in every hierarchy, one of our choice is called like the container" {
	named everywhere
	oci_start "$ID"
	run -0 oci exec "$ID" cat /proc/self/cgroup
	[ "$(grep -c ":$NAMED\$" <<<"$output")" -eq "$(wc -l </proc/self/cgroup)" ] || [[ $output == "0::"*"$NAMED" ]]
	oci delete --force "$ID"
	[ -z "$(find /sys/fs/cgroup -path "*$NAMED" 2>/dev/null)" ]
	config 'del(.linux.cgroupsPath) | .linux.resources.pids.limit=50'
	oci_start "$ID"
	grep -q "/$ID\$" "/proc/$(pid_of "$ID")/cgroup"
}

@test "SIGKILL ends all of a container that has no pid namespace, also when its first process is gone" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	local other pid
	for other in '' gone; do
		oci_start "$ID"
		oci exec --detach --pid-file pid "$ID" sleep 1000 >out 2>&1
		pid=$(cat pid)
		[ -z "$other" ] || { kill -9 "$(pid_of "$ID")" && eventually is "$ID" stopped; }
		run -0 oci kill "$ID" KILL
		eventually gone "$pid"
		run -0 oci delete "$ID"
	done
}

@test "a container that waits for its start is ended by SIGTERM" {
	oci create "$ID" >out 2>&1
	run -0 oci kill "$ID" TERM
	eventually is "$ID" stopped
}

@test "each variable is there once, with its last value, and HOME is never empty" {
	args env
	config '.process.env=["PATH=/bin", "ONE=1", "HOME=/elsewhere", "TWO=2", "ONE=", "HOME=", "ONE=3"]'
	run -0 oci run "$ID"
	[ "$(sort <<<"$output")" = "$(printf '%s\n' HOME=/root ONE=3 PATH=/bin TWO=2)" ]
}

@test "lines from a terminal that the runtime attends to end in a newline alone" {
	args printf 'one\ntwo\n'
	ln -sf busybox "$WORK/rootfs/bin/printf"
	config '.process.terminal=true'
	run -0 oci run "$ID"
	[ "$output" = $'one\ntwo' ]
}

@test "a tmpfs has the mode of the directory that it covers, unless it is told one" {
	chmod 2710 "$WORK/rootfs/covered"
	args stat -c %a /covered /fresh
	config '.root.readonly=false | .mounts += [{"destination": "/covered", "type": "tmpfs", "source": "tmpfs"},
		{"destination": "/fresh", "type": "tmpfs", "source": "tmpfs"}]'
	run -0 oci run "$ID"
	[ "$output" = $'2710\n1777' ]
	config '.mounts[-2].options=["mode=0411"]'
	run -0 oci run "$ID"
	[ "${lines[0]}" = 411 ]
}

# The flags in the container of a mount that has flags $1 on the host and options $2 in the configuration.
flags_of_bind() {
	if [ -z "${SOURCE:-}" ]; then
		SOURCE=$BUNDLE/source
		mkdir "$SOURCE"
		mount -t tmpfs tmpfs "$SOURCE"
		args grep ' /mnt ' /proc/self/mounts
	fi
	mount --bind -o "remount,$1" "$SOURCE"
	config --arg source "$SOURCE" --arg options "$2" '.mounts |= map(select(.destination != "/mnt"))
		+ [{"destination": "/mnt", "type": "bind", "source": $source, "options": ($options | split(","))}]'
	run oci run "$ID"
	[ "$status" -ne 0 ] || flags=,$(cut -d' ' -f4 <<<"$output"),
}

@test "a bind mount keeps its source's flags if it is given none, else it has those that it is given" {
	local flags
	flags_of_bind ro,nosuid,noexec,noatime bind
	[[ $flags == *,ro,* && $flags == *,nosuid,* && $flags == *,noexec,* && $flags == *,noatime,* ]]
	flags_of_bind ro,nosuid,noexec,noatime bind,nodev
	[[ $flags == *,rw,* && $flags == *,nodev,* && $flags == *,noatime,* && $flags != *,nosuid,* && $flags != *,noexec,* ]]
	flags_of_bind noatime bind,relatime
	[[ $flags == *,relatime,* && $flags != *,noatime,* ]]
}

@test "in a user namespace the host's flags of a bind mount stay, and it is an error to ask them away" {
	local flags
	userns
	flags_of_bind ro,nosuid,noatime bind,nodev
	[[ $flags == *,ro,* && $flags == *,nosuid,* && $flags == *,nodev,* && $flags == *,noatime,* ]]
	flags_of_bind ro bind,rw
	[ "$status" -eq 1 ]
	[[ $output == *"error mounting"*"operation not permitted"* ]]
	flags_of_bind noatime bind,relatime
	[ "$status" -eq 1 ]
}

@test "a bind mount whose source is in the root file system shows what was mounted there before" {
	mkdir below
	echo below >below/file
	mkdir -p "$WORK/rootfs/covered"
	args cat /mnt/file
	config --arg root "$WORK/rootfs" '.mounts += [{"source": "below", "destination": "/covered", "options": ["bind"]},
		{"source": ($root + "/covered"), "destination": "/mnt", "options": ["rbind"]}]'
	run -0 oci run "$ID"
	[ "$output" = below ]
	userns
	run -0 oci run "$ID"
	[ "$output" = below ]
}

@test "createContainer hooks begin in the root file system" {
	config '.root.readonly=false | .process.args=["true"]
		| .hooks.createContainer=[{"path": "/bin/sh", "args": ["sh", "-c", "test -e ./bin/busybox && ! test -e /proc/self/root/covered"]}]'
	run -0 oci run "$ID"
}

@test "startContainer hooks have the user and the filter of the program that follows" {
	config '.process.args=["true"] | .process.user={"uid": 1000, "gid": 1000}
		| .hooks.startContainer=[{"path": "/bin/sh", "args": ["sh", "-c", "id -u >&2; exit 3"]}]'
	run -1 oci run "$ID"
	[[ $output == *"error running startContainer hook #0"*"exit status 3"*1000* ]]
	config '.hooks.startContainer[0].args[2]="mkdir /tmp/x" | .process.rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
		| .linux.seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}'
	run -1 oci run "$ID"
	[[ $output == *"error running startContainer hook #0"* ]]
}

@test "a container and its commands run on all CPUs, whatever the caller is confined to" {
	[ "$(nproc --all)" -gt 1 ] || skip "needs two processors"
	local all first
	all=$(grep -c ^processor /proc/cpuinfo)
	first=$(sed 's/[-,].*//' /sys/devices/system/cpu/online)
	oci_start_there() { taskset -c "$first" "$RUNTIME" --root "$STATE" "$@" <"$WORK/nothing"; }
	oci_start_there run --detach "$ID" >out 2>&1
	[ "$(taskset -cp "$(pid_of "$ID")" | sed 's/.*: //')" != "$first" ]
	run -0 oci_start_there exec "$ID" grep Cpus_allowed_list /proc/self/status
	[ "$all" -gt 1 ] && [ "${output##*[[:space:]]}" != "$first" ]
}

@test "--debug tells the steps, as text and as JSON" {
	args true
	run -0 oci --debug run "$ID"
	[[ $output == *"level=debug"*"nsexec container setup"*"child process in init()"*"init: closing the pipe to signal completion"* ]]
	config '.linux.seccomp={"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}'
	run -0 oci --debug --log log --log-format json run "$ID"
	[ -z "$output" ]
	[ "$(jq -r 'select(.level == "debug") | .msg | select(startswith("seccomp"))' log)" = "seccomp filter flags: 2" ]
	config '.process.args=["sleep", "1000"]'
	oci_start "$ID"
	run -0 oci --debug exec "$ID" true
	[[ $output == *"nsexec container setup"*"setns_init: about to exec true"* ]]
}

@test "an id-mapped mount needs both mappings, and takes those of a user namespace that is joined" {
	mkdir source
	config '.mounts += [{"destination": "/mnt", "source": "source", "options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}]}]'
	run -1 oci run "$ID"
	[[ $output == *"invalid mount"* ]]
	config 'del(.mounts[-1])'
	userns
	oci_start "$ID"
	config --arg path "/proc/$(pid_of "$ID")/ns/user" '.linux.namespaces |= map(if .type == "user" then .path = $path else . end)
		| del(.linux.uidMappings, .linux.gidMappings) | .process.args=["stat", "-c", "%u:%g", "/mnt"]
		| .mounts += [{"destination": "/mnt", "source": "source", "options": ["bind", "idmap"]}]'
	run -0 oci run "$ID-second"
	[ "$output" = 0:0 ]
}

@test "exec --cap raises a capability for the program when the configuration lets it be inherited" {
	config '.process.user={"uid": 1000} | .process.capabilities={"bounding": ["CAP_SYSLOG"], "inheritable": ["CAP_SYSLOG"]}'
	oci_start "$ID"
	run -0 oci exec --cap CAP_SYSLOG "$ID" grep CapEff /proc/self/status
	[ "${output##*[[:space:]]}" = 0000000400000000 ]
}

@test "update can take a burst back, and shorten a period below a limited parent" {
	requires_v1
	named limited
	local parent=/sys/fs/cgroup/cpu${NAMED%/*}
	config '.linux.resources.cpu={"period": 100000, "quota": 50000}'
	mkdir -p "$parent"
	echo 50000 >"$parent/cpu.cfs_quota_us"
	oci_start "$ID"
	run -0 oci update --cpu-burst 10000 "$ID"
	run -0 oci update --cpu-burst 0 "$ID"
	[ "$(cat "/sys/fs/cgroup/cpu$NAMED/cpu.cfs_burst_us")" = 0 ]
	run -0 oci update --cpu-period 10000 --cpu-quota 3000 "$ID"
	[ "$(cat "/sys/fs/cgroup/cpu$NAMED/cpu.cfs_period_us")" = 10000 ]
}

@test "a user namespace needs no root" {
	userns
	config '.linux.uidMappings=[{"containerID": 1000, "hostID": 100000, "size": 1}] | .linux.gidMappings=.linux.uidMappings
		| .process.user={"uid": 1000, "gid": 1000} | .mounts |= map(if .type == "devpts" then .options -= ["gid=5"] else . end)'
	cp -a "$WORK/rootfs" rootfs
	chown -R 100000:100000 rootfs
	config --arg root "$BUNDLE/rootfs" '.root.path=$root'
	oci_start "$ID"
	run -0 oci exec "$ID" id -u
	[ "$output" = 1000 ]
}

@test "SCHED_DEADLINE and a set of CPUs exclude each other, which is said" {
	[ "$(nproc --all)" -gt 1 ] || skip "needs two processors"
	config '.linux.resources.cpu.cpus="0" | .process.scheduler={"policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1000000, "period": 1000000}'
	run -1 oci run "$ID"
	[[ $output == *"process scheduler can't be used together with AllowedCPUs"* ]]
}
