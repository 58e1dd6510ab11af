#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2
#
# cgroup v2 with all controllers, for root: limits that hold, events, statistics, the freezer, device programs.

load helpers

setup_file() {
	lab_setup_file
	echo bfq >/sys/block/vda/queue/scheduler
	DISK=$(cat /sys/block/vda/dev)
	export DISK
}

setup() {
	B=$BATS_TEST_TMPDIR/b
	ID=box$BATS_TEST_NUMBER
	OUT=$BATS_TEST_TMPDIR/out
	mkdir "$B"
	(cd "$B" && caisson-oci spec)
	configure '.process.args = ["sleep", "1000"]'
}

teardown() {
	caisson-oci delete --force "$ID" >"$BATS_TEST_TMPDIR/delete" 2>&1 || true
}

configure() {
	jq ".process.terminal = false | .root = {path: \"$ROOTFS\"} | .linux.cgroupsPath = \"/lab/$ID\" | $1" \
		"$B/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$B/config.json"
}

started() { # [JQ-FILTER]
	[ $# = 0 ] || configure "$1"
	caisson-oci run --detach --bundle "$B" "$ID" <"$EMPTY" >"$OUT" 2>&1 || { cat "$OUT" && return 1; }
}

# holds FILE CONTENT: a control file of the container's cgroup
holds() {
	[ "$(<"/sys/fs/cgroup/lab/$ID/$1")" = "$2" ] || { echo "$1: '$(<"/sys/fs/cgroup/lab/$ID/$1")'" && return 1; }
}

updated() { # RESOURCES as JSON
	caisson-oci update --resources - "$ID" <<<"$1"
}

@test "v2: memory, its swap, reservation, and what only unified names" {
	started '.linux.resources = {memory: {limit: 67108864, swap: 134217728, reservation: 33554432},
		unified: {"memory.high": "50331648", "memory.min": "4194304", "memory.oom.group": "1"}}'
	holds memory.max 67108864
	holds memory.swap.max 67108864
	holds memory.low 33554432
	holds memory.high 50331648
	holds memory.min 4194304
	holds memory.oom.group 1
	updated '{"memory": {"limit": 134217728, "swap": -1}}'
	holds memory.max 134217728
	holds memory.swap.max max
	caisson-oci update --memory -1 "$ID"
	holds memory.max max
}

@test "v2: cpu: weight, quota, period, burst, idle; cpus and memory nodes" {
	started '.linux.resources.cpu = {shares: 2048, quota: 20000, period: 50000, burst: 10000, cpus: "0", mems: "0"}'
	holds cpu.weight 79
	holds cpu.max "20000 50000"
	holds cpu.max.burst 10000
	holds cpuset.cpus 0
	holds cpuset.mems 0
	updated '{"cpu": {"quota": -1, "burst": 0}}'
	holds cpu.max "max 100000"
	updated '{"cpu": {"idle": 1}}'
	holds cpu.idle 1
}

@test "v2: a quota slows down" {
	started '.linux.resources.cpu = {quota: 2000, period: 100000} | .process.args = ["sh", "-c", "while :; do :; done"]'
	throttled() { [ "$(sed -n 's/^nr_throttled //p' "/sys/fs/cgroup/lab/$ID/cpu.stat")" -gt 0 ]; }
	eventually throttled
	[ "$(caisson-oci events --stats "$ID" | jq '.data.cpu.throttling.throttledPeriods')" -gt 0 ]
}

@test "v2: io: throttles and weights, of one device and of all" {
	started ".linux.resources.blockIO = {weight: 500,
		weightDevice: [{major: ${DISK%:*}, minor: ${DISK#*:}, weight: 300}],
		throttleReadBpsDevice: [{major: ${DISK%:*}, minor: ${DISK#*:}, rate: 1048576}],
		throttleWriteIOPSDevice: [{major: ${DISK%:*}, minor: ${DISK#*:}, rate: 100}]}"
	holds io.max "$DISK rbps=1048576 wbps=max riops=max wiops=100"
	holds io.weight "default 4950" || holds io.bfq.weight "default 500
$DISK 300"
	grep -qx "$DISK 300" "/sys/fs/cgroup/lab/$ID/io.bfq.weight"
	updated "{\"blockIO\": {\"throttleReadBpsDevice\": [{\"major\": ${DISK%:*}, \"minor\": ${DISK#*:}, \"rate\": 0}]}}"
	holds io.max "$DISK rbps=max wbps=max riops=max wiops=100"
}

@test "v2: pids, huge pages, misc, rdma" {
	started '.linux.resources = {pids: {limit: 7}, hugepageLimits: [{pageSize: "2MB", limit: 4194304}],
		unified: {"hugetlb.1GB.max": "1073741824"}}'
	holds pids.max 7
	holds hugetlb.2MB.max 4194304
	holds hugetlb.2MB.rsvd.max 4194304
	holds hugetlb.1GB.max 1073741824
	run caisson-oci exec "$ID" sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done'
	[ "$(sed -n 's/^max //p' "/sys/fs/cgroup/lab/$ID/pids.events")" -gt 0 ]
	run -1 updated '{"rdma": {"nosuchdevice": {"hcaHandles": 3}}}'
	[[ $output == *rdma.max* ]]
	run -1 updated '{"unified": {"misc.max": "nosuchresource 1"}}'
	[[ $output == *misc.max* ]]
}

@test "v2: device rules: denied, allowed, and changed under way" {
	local rules='[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 240, "minor": 77, "access": "r"}]'
	started ".linux.devices = [{path: \"/dev/cf\", type: \"c\", major: 240, minor: 77, fileMode: 438}]
		| .linux.resources.devices = $rules"
	run -1 caisson-oci exec "$ID" cat /dev/cf # nobody's device: the open itself was allowed
	[[ $output == *"No such device or address"* ]]
	run -1 caisson-oci exec "$ID" sh -c 'echo >/dev/cf'
	[[ $output == *"Operation not permitted"* ]]
	run -1 caisson-oci exec "$ID" mknod /tmp/cf c 240 78
	[[ $output == *"Operation not permitted"* ]]
	run -0 caisson-oci exec "$ID" sh -c 'echo >/dev/null'
	updated '{"devices": [{"allow": false, "access": "rwm"}]}'
	run -1 caisson-oci exec "$ID" cat /dev/cf
	[[ $output == *"Operation not permitted"* ]]
	updated '{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "rwm"}]}'
	run -1 caisson-oci exec "$ID" cat /dev/cf
	[[ $output == *"No such device or address"* ]]
}

@test "v2: out of memory is told by events, and by the exit status" {
	configure '.linux.resources.memory = {limit: 16777216, swap: 16777216}
		| .process.args = ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; dd if=/dev/zero of=/tmp/x bs=64M count=1; sleep 1000"]'
	rm -f "$ROOTFS/tmp/go"
	started
	caisson-oci events --interval 200ms "$ID" >"$BATS_TEST_TMPDIR/events" 3>&- &
	events=$!
	eventually grep -q '"type":"stats"' "$BATS_TEST_TMPDIR/events"
	: >"$ROOTFS/tmp/go"
	eventually grep -q '"type":"oom"' "$BATS_TEST_TMPDIR/events"
	kill "$events"
	run -137 caisson-oci exec "$ID" dd if=/dev/zero of=/dev/null bs=64M count=1
}

@test "v2: pause freezes all of it, and resume thaws" {
	started '.process.args = ["sh", "-c", "while :; do echo >>/tmp/ticks; sleep 0.01; done"]'
	caisson-oci pause "$ID"
	grep -qx "frozen 1" "/sys/fs/cgroup/lab/$ID/cgroup.events"
	[ "$(caisson-oci state "$ID" | jq -r .status)" = paused ]
	before=$(wc -l <"$ROOTFS/tmp/ticks")
	sleep 0.5
	[ "$(wc -l <"$ROOTFS/tmp/ticks")" = "$before" ]
	caisson-oci resume "$ID"
	more() { [ "$(wc -l <"$ROOTFS/tmp/ticks")" -gt "$before" ]; }
	eventually more
	caisson-oci pause "$ID"
	caisson-oci delete --force "$ID" # a frozen one dies, too
	[ ! -e "/sys/fs/cgroup/lab/$ID" ]
}

@test "v2: the process is born in its cgroup" {
	configure '.process.args = ["cat", "/proc/self/cgroup"]'
	run -0 strace -f -e trace=clone3 -o "$BATS_TEST_TMPDIR/trace" caisson-oci run --bundle "$B" "$ID"
	[ "$output" = 0::/ ]
	grep -q CLONE_INTO_CGROUP "$BATS_TEST_TMPDIR/trace"
}

@test "v2: exec goes into the container's cgroup, or one below it" {
	started
	mkdir "/sys/fs/cgroup/lab/$ID/below"
	run -0 caisson-oci exec "$ID" cat /proc/self/cgroup
	[ "$output" = 0::/ ]
	run -0 caisson-oci exec --cgroup below "$ID" cat /proc/self/cgroup
	[ "$output" = 0::/below ]
	caisson-oci delete --force "$ID"
	[ ! -e "/sys/fs/cgroup/lab/$ID" ]
}

@test "v2: a cgroup namespace shows the container's own cgroup as the root, and nothing beside it" {
	configure '.process.args = ["sh", "-c", "cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs; ls -d /sys/fs/cgroup/lab"]'
	run -1 caisson-oci run --bundle "$B" "$ID"
	[[ $output == $'0::/\n1\n'*"No such file or directory"* ]]
}

@test "v2: root of a user namespace divides the cgroup that was given to it, and nothing above" {
	started '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 200000, size: 1000}]
		| .linux.gidMappings = .linux.uidMappings
		| .mounts |= map(if .type == "cgroup" then .options |= map(select(. != "ro")) else . end)'
	[ "$(stat -c %u "/sys/fs/cgroup/lab/$ID" "/sys/fs/cgroup/lab/$ID/cgroup.procs" "/sys/fs/cgroup/lab/$ID/pids.max")" = $'200000\n200000\n0' ]
	run -0 caisson-oci exec "$ID" sh -ec 'cd /sys/fs/cgroup; mkdir main
		for p in $(cat cgroup.procs); do echo $p 2>/dev/null >main/cgroup.procs || true; done
		echo +pids >cgroup.subtree_control; echo 9 >main/pids.max
		if echo 9 2>/dev/null >pids.max; then echo escaped; fi'
	[ "$output" = "" ]
	[ "$(<"/sys/fs/cgroup/lab/$ID/main/pids.max")" = 9 ]
}

@test "v2: kill --all without a pid namespace reaches everybody" {
	started '.linux.namespaces |= map(select(.type != "pid")) | .process.args = ["sh", "-c", "sleep 1000 & sleep 1000 & wait"]'
	three() { [ "$(wc -l <"/sys/fs/cgroup/lab/$ID/cgroup.procs")" = 3 ]; }
	eventually three
	caisson-oci kill --all "$ID" KILL
	gone() { grep -qx "populated 0" "/sys/fs/cgroup/lab/$ID/cgroup.events"; }
	eventually gone
}

@test "v2: a parent that holds processes itself is named, with what to do" {
	mkdir -p /sys/fs/cgroup/full
	sleep 1000 3>&- &
	echo $! >/sys/fs/cgroup/full/cgroup.procs
	configure '.linux.cgroupsPath = "/full/box" | .linux.resources.memory.limit = 67108864'
	run -1 caisson-oci run --bundle "$B" "$ID"
	[[ $output == *"/sys/fs/cgroup/full holds processes itself"* ]]
	[ ! -e /sys/fs/cgroup/full/box ]
	kill "$!"
}

@test "v2: caisson: flags become limits, stats tells what is used" {
	local root=$BATS_TEST_TMPDIR/store dir
	caisson --root "$root" import "$LAB_IMAGE" busybox
	caisson --root "$root" run -d --name box --network none --memory 64m --memory-swap 128m --memory-reservation 32m \
		--cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 20 --device-read-bps /dev/vda:1mb \
		busybox sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1M count=8; sleep 1000'
	dir=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(caisson --root "$root" inspect -f '{{.State.Pid}}' box)/cgroup")
	[ "$(<"$dir/memory.max")" = 67108864 ]
	[ "$(<"$dir/memory.swap.max")" = 67108864 ]
	[ "$(<"$dir/memory.low")" = 33554432 ]
	[ "$(<"$dir/cpu.max")" = "50000 100000" ]
	[ "$(<"$dir/cpuset.cpus")" = 0 ]
	[ "$(<"$dir/pids.max")" = 20 ]
	grep -q "^$DISK rbps=1048576 " "$dir/io.max"
	filled() { [ "$(sed -n 's/^shmem //p' "$dir/memory.stat")" -ge 8388608 ]; }
	eventually filled
	# What has filled it may be on its way out.
	told() {
		[[ $(caisson --root "$root" stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' box) =~ \
			^box\ (8|9|1[0-9])\.?[0-9]*MiB\ /\ 64MiB\ 1$ ]]
	}
	eventually told
	caisson --root "$root" pause box
	grep -qx "frozen 1" "$dir/cgroup.events"
	caisson --root "$root" rm -f box
	[ ! -e "$dir" ]
}
