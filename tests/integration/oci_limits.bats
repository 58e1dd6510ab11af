#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# update and events: limits of a running container, and what it uses.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }
setup() { oci_setup; }
teardown() { oci_teardown; }

# The value of a control file: $1 controller, $2 v1 file.
limit() {
	local path
	path=$(awk -F: -v c="$1" '$2 ~ "(^|,)" c "(,|$)" {print $3}' "/proc/$(oci state "$ID" | jq .pid)/cgroup")
	[ -n "$path" ] || skip "no v1 $1 controller here"
	cat "/sys/fs/cgroup/$1$path/$2"
}

@test "update changes limits by flags, after or before the id" {
	oci_start "$ID"
	oci update "$ID" --memory 64M --pids-limit 20
	[ "$(limit memory memory.limit_in_bytes)" = 67108864 ]
	[ "$(limit pids pids.max)" = 20 ]
	oci update --memory 32M --memory-swap 48M --cpu-share 200 --cpu-quota 60000 --cpu-period 90000 "$ID"
	[ "$(limit memory memory.limit_in_bytes)" = 33554432 ]
	[ "$(limit cpu cpu.shares)" = 200 ]
	[ "$(limit cpu cpu.cfs_quota_us)" = 60000 ]
	oci update --memory -1 --pids-limit -1 --cpu-quota -1 "$ID"
	[ "$(limit pids pids.max)" = max ]
	[ "$(limit cpu cpu.cfs_quota_us)" = -1 ]
}

@test "what an update added to a container in the foreground goes with it" {
	local before
	[ -d /sys/fs/cgroup/cpu ] && [ -d /sys/fs/cgroup/memory ] || skip "no version 1 here"
	args sleep 1000
	oci run "$ID" &
	before=$!
	eventually is "$ID" running
	oci update --cpu-share 200 "$ID"
	[ "$(limit cpu cpu.shares)" = 200 ]
	oci kill "$ID" KILL
	wait "$before" || [ "$?" = 137 ]
	run -0 find /sys/fs/cgroup -maxdepth 2 -name "$ID"
	[ -z "$output" ]
	run -1 oci state "$ID"
}

@test "update reads resources as JSON from a file or standard input" {
	oci_start "$ID"
	echo '{"memory": {"limit": 50331648}, "pids": {"limit": 9}}' >resources.json
	oci update --resources resources.json "$ID"
	[ "$(limit memory memory.limit_in_bytes)" = 50331648 ]
	echo '{"pids": {"limit": 11}, "memory": {"limit": 0}}' >resources.json
	INPUT=resources.json oci update -r - "$ID"
	[ "$(limit pids pids.max)" = 11 ]
	[ "$(limit memory memory.limit_in_bytes)" = 50331648 ]
	echo '{"memory": {"limit": "much"}}' >resources.json
	run -1 oci update -r resources.json "$ID"
	[[ $output == *"memory.limit"* ]]
}

@test "update refuses what is no number, and what has stopped" {
	oci_start "$ID"
	run -1 oci update --memory much "$ID"
	[[ $output == *"invalid value for memory"* ]]
	run -1 oci update --cpu-share -3 "$ID"
	oci kill "$ID" KILL
	eventually is "$ID" stopped
	run -1 oci update --pids-limit 3 "$ID"
	[[ $output == *"container not running"* ]]
}

@test "update says that shares of the cache need a resctrl file system" {
	! grep -q ' - resctrl ' /proc/self/mountinfo || skip "there is one"
	oci_start "$ID"
	run -1 oci update --l3-cache-schema L3:0=f "$ID"
	[[ $output == *"no resctrl file system is mounted"* ]]
	is "$ID" running
}

@test "events --stats prints one line of runc's form" {
	oci_start "$ID"
	run -0 oci events --stats "$ID"
	[ "${#lines[@]}" = 1 ]
	[[ $output == '{"type":"stats","id":"'"$ID"'","data":{"cpu":{"usage":{'* ]]
	[ "$(jq -r '.data | keys_unsorted | join(" ")' <<<"$output")" = "cpu cpuset memory pids blkio hugetlb intel_rdt network_interfaces" ]
	[ "$(jq .data.pids.current <<<"$output")" = 1 ]
	[ "$(jq '.data.memory.usage.usage > 0' <<<"$output")" = true ]
	[ "$(jq '.data.cpu.usage.total > 0' <<<"$output")" = true ]
}

# The runtime where it sees cgroup v2 alone.
on_v2() {
	unshare --mount --propagation private sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99; exec "$@"' sh \
		"$RUNTIME" --root "$STATE" "$@" <"$WORK/nothing"
}

@test "events --stats counts huge pages and pressure where the kernel does" {
	config --arg path "/$ID" '.linux.cgroupsPath = $path | .linux.resources = {hugepageLimits: [{pageSize: "2MB", limit: 4194304}]}'
	on_v2 run --detach "$ID" >"$BUNDLE/output" 2>&1 || skip "no huge pages are counted here: $(tail -n 1 "$BUNDLE/output")"
	run -0 on_v2 events --stats "$ID"
	[ "$(jq -c '.data.hugetlb."2MB"' <<<"$output")" = '{"failcnt":0}' ]
	[ -e /proc/pressure/cpu ] || skip "this kernel counts no pressure"
	[ "$(jq -c '.data.cpu.psi | keys_unsorted' <<<"$output")" = '["some","full"]' ]
	[ "$(jq -c '.data.cpu.psi.some | keys_unsorted' <<<"$output")" = '["avg10","avg60","avg300","total"]' ]
	[ "$(jq '[.data.memory.psi.full.avg10, .data.blkio.psi.some.total] | map(type == "number") | all' <<<"$output")" = true ]
	run -0 on_v2 delete --force "$ID"
}

@test "events goes on at the interval until the container ends" {
	oci_start "$ID"
	oci events --interval 100ms "$ID" >events.log 2>&1 3>&- &
	local watcher=$!
	lines() { [ "$(wc -l <events.log)" -ge "$1" ]; }
	eventually lines 3
	oci delete --force "$ID"
	wait "$watcher"
	[ "$(jq -r .type events.log | sort -u)" = stats ]
}

@test "events takes the end of a container for no failure, whenever it comes" {
	local watcher n
	watched() { grep -q stats "events.$n"; }
	for ((n = 0; n < 10; n++)); do
		oci_start "$ID-$n"
		oci events --interval 1ms "$ID-$n" >"events.$n" 2>&1 3>&- &
		watcher=$!
		eventually watched
		oci delete --force "$ID-$n"
		wait "$watcher"
		# Each line is whole.
		[ "$(jq -r '.data.cpu.usage | has("total")' "events.$n" | sort -u)" = true ]
	done
}

@test "events tells of an OOM kill" {
	config '.linux.resources.memory={"limit": 16777216, "swap": 16777216} | .root.readonly=false'
	# Once it is watched: its first process may be the first to be killed.
	args sh -c 'until [ -e /tmp/go ]; do sleep 0.05; done; while :; do x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr "\0" x); sleep 0.2; done'
	ln -sf busybox "$WORK/rootfs/bin/tr"
	oci_start "$ID"
	oci events --interval 100ms "$ID" >events.log 2>&1 3>&- &
	eventually grep -q stats events.log
	: >"$WORK/rootfs/tmp/go"
	eventually grep -qx "{\"type\":\"oom\",\"id\":\"$ID\"}" events.log
}

@test "events refuses an interval of nothing, and a stopped container" {
	oci_start "$ID"
	run -1 oci events --interval 0 "$ID"
	[[ $output == *"duration interval must be greater than 0"* ]]
	run -1 oci events --interval soon "$ID"
	oci kill "$ID" KILL
	eventually is "$ID" stopped
	run -1 oci events --stats "$ID"
	[[ $output == *"container with id $ID is not running"* ]]
}
