#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Instances with a kernel of their own.  A boot takes seconds where it is translated: what one machine can show is shown
# by one ("shared"), in the order of this file.
#
# shellcheck disable=SC2154 # stderr is of run --separate-stderr

bats_require_minimum_version 1.5.0
load helpers
load caisson
load machine

# says NAME TEXT
says()
{
	caisson logs "$1" | grep "$2"
}

is_gone()
{
	! [ -e "/proc/$1" ]
}

setup_file()
{
	store_make
	machine_store
	mkdir "$BATS_FILE_TMPDIR/files"
	echo handed >"$BATS_FILE_TMPDIR/files/in"
	caisson run -d --name shared --isolation pv -m 256m --vcpus 1 --init \
		-v "$BATS_FILE_TMPDIR/files/in:/handed:ro" -v "$BATS_FILE_TMPDIR/files:/files" \
		-v "$BATS_FILE_TMPDIR/files:/files-ro:ro" -v kept:/volume busybox \
		sh -c 'trap "echo terminated; exit 3" TERM; echo begun; while :; do sleep 0.1; done'
}

teardown_file()
{
	store_remove
}

words='uname -r; id -u; id -g; echo $GREETING; pwd; hostname; cat; touch /tmp/x; echo to stderr >&2; exit 7'

@test "pv runs the command on a kernel of its own, and ends as it ends" {
	run -7 --separate-stderr caisson run --rm -i --isolation pv -m 256m -u 1000:100 \
		-e GREETING=hello -w /made --hostname inner --read-only busybox sh -c "$words" <<<"from stdin"
	[ "${lines[0]}" = "${MACHINE_KERNEL##*/vmlinuz-}" ]
	[ "${lines[*]:1}" = "1000 100 hello /made inner from stdin" ]
	[[ "$stderr" == *"Read-only file system"*"to stderr" ]]
}

@test "vm does the same on hardware that knows nothing of virtualization, with an init in front, too" {
	run -7 --separate-stderr caisson run --rm -i --isolation vm -m 256m -u 1000:100 --init \
		-e GREETING=hello -w /made --hostname inner --read-only busybox \
		sh -c "tr '\\0' ' ' </proc/1/cmdline | cut -c 1-12; $words" <<<"from stdin"
	[ "${lines[0]}" = "/dev/init --" ]
	[ "${lines[1]}" = "${MACHINE_KERNEL##*/vmlinuz-}" ]
	[ "${lines[*]:2}" = "1000 100 hello /made inner from stdin" ]
	[[ "$stderr" == *"Read-only file system"*"to stderr" ]]
}

@test "logs, ps, inspect, top and stats show it like any other" {
	eventually says shared begun
	[ "$(caisson ps --format '{{.Names}} {{.State}}')" = "shared running" ]
	[ "$(caisson inspect -f '{{.State.Status}} {{.HostConfig.Isolation}}' shared)" = "running pv" ]
	caisson top shared | grep -q caisson-vmm
	caisson top shared lwp,comm | grep -q 'CPU 0/TCG'
	[ "$(caisson top shared -o comm | grep -c caisson-vmm)" -ge 1 ]
	run caisson stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.Counters.engine}}' shared
	[[ "$output" == "shared "*" / 256MiB qemu" ]]
}

guest_figures()
{
	caisson stats --no-stream --format '{{json .Counters.guest}}' shared |
		jq -e ".memory_total > 200000000 and .memory_available > 50000000 and .network_sent == 0 and
			.container_cpu_ns > 0 and .container_memory > 0 and .container_processes > 1"
}

@test "stats has what its guest counts" {
	eventually guest_figures
}

@test "exec runs further processes in it" {
	run -4 caisson exec shared sh -c 'ps | grep -c "[b]egun"; hostname; exit 4' <"$BATS_FILE_TMPDIR/empty"
	[ "${lines[0]}" = 1 ] || [ "${lines[0]}" = 2 ]
	[ "${lines[1]}" = "$(caisson inspect -f '{{.Config.Hostname}}' shared)" ]
	[ "$(caisson exec -i shared cat <<<"through")" = through ]
	[ "$(caisson exec -u 1000:100 -w /tmp -e A=b shared sh -c 'echo $(id -u) $(id -g) $(pwd) $A')" = "1000 100 /tmp b" ]
	[ "$(caisson exec shared cat /handed)" = handed ]
	run -127 caisson exec shared nosuch
	run -126 caisson exec shared /etc/hosts
	run -127 caisson exec -w /none shared true
}

@test "directories and volumes are shared, both ways" {
	[ "$(caisson exec shared cat /files/in)" = handed ]
	caisson exec shared sh -c 'echo back >/files/out; chown 1000:100 /files/out; echo v >/volume/v'
	[ "$(cat "$BATS_FILE_TMPDIR/files/out")" = back ]
	[ "$(stat -c %u:%g "$BATS_FILE_TMPDIR/files/out")" = 1000:100 ]
	echo later >"$BATS_FILE_TMPDIR/files/later"
	[ "$(caisson exec shared cat /files/later)" = later ]
	run -1 caisson exec shared touch /files-ro/x
	[[ "$output" == *"Read-only file system"* ]]
	[ "$(cat "$STORE/volumes/kept/_data/v")" = v ]
}

@test "exec -it has a terminal" {
	run -5 script -qec "$CAISSON_BUILD/bin/caisson --root $STORE exec -it shared sh -c 'tty; exit 5'" /dev/null \
		<"$BATS_FILE_TMPDIR/empty"
	[[ "$output" == */dev/pts/* ]]
}

free_less_than()
{
	[ "$(caisson exec shared awk '/^MemFree/ { print $2 }' /proc/meminfo)" -lt "$1" ]
}

@test "it can do with less memory while it runs, but not have more; its CPU time can change" {
	local free
	run -1 caisson update -m 512m shared
	[[ "$output" == *"started with 256 MiB of memory, and cannot have more"* ]]
	run -1 caisson update -m 64m shared
	[[ "$output" == *"needs 128 MiB"* ]]
	free=$(caisson exec shared awk '/^MemFree/ { print $2 }' /proc/meminfo)
	caisson update -m 216m shared
	[ "$(caisson inspect -f '{{.HostConfig.Memory}}' shared)" = $((216 << 20)) ]
	eventually free_less_than $((free - 30000))
	caisson update -m 256m shared
	caisson update --cpu-shares 512 shared
	[ "$(caisson inspect -f '{{.HostConfig.CpuShares}}' shared)" = 512 ]
}

@test "pause holds it still, unpause lets it go on" {
	caisson pause shared
	is_in_state shared paused
	run -1 caisson exec shared true
	caisson unpause shared
	[ "$(caisson exec shared echo on)" = on ]
}

@test "attach shows what it says, memory is its own, and stop gives it time to end" {
	caisson attach --no-stdin shared >"$BATS_TEST_TMPDIR/seen" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	local attached=$!
	caisson exec shared sh -c 'echo kept >/kept; sync'
	# The guest's kernel kills, not the host's: the limit outside has room for the machine itself, after an update too.
	run -137 caisson exec shared sh -c \
		'tail -c $(($(sed -n "s/^MemTotal: *\([0-9]*\) kB/\1/p" /proc/meminfo) / 1024 - 5))m /dev/zero'
	caisson stop -t 20 shared
	wait "$attached" || [ $? = 3 ]
	grep terminated "$BATS_TEST_TMPDIR/seen"
	[ "$(caisson inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' shared)" = "3 true" ]
	[ "$(caisson wait shared)" = 3 ]
}

@test "what was written is there after a start, and a killed monitor leaves nothing" {
	caisson start shared
	[ "$(caisson exec shared cat /kept)" = kept ]
	local monitor qemu
	monitor=$(process_of shared)
	qemu=$(cat "/proc/$monitor/task/$monitor/children")
	[ -n "$qemu" ]
	kill -9 "$monitor"
	[ "$(caisson wait shared)" = 137 ]
	eventually is_gone "${qemu% }"
	eventually is_in_state shared exited
	run find /sys/fs/cgroup -name "caisson-$(caisson inspect -f '{{.Id}}' shared)"
	[ -z "$output" ]
	caisson rm shared
	run ls "$STORE/instances"
	[ -z "$output" ]
}

# no_redirections: whether what comes in there is for those who live there.
no_redirections()
{
	! nsenter -t "$holder" -n tc qdisc show | grep ingress
}

@test "a network that is joined is its owner's again, whether the machine was killed or never began" {
	local holder
	command -v tc >"$BATS_TEST_TMPDIR/found" || skip "needs iproute2"
	caisson run -d --name web --network none busybox sleep 1000
	holder=$(process_of web)
	nsenter -t "$holder" -n sh -c 'ip link add ve0 type veth peer name ve1 && ip addr add 10.77.0.2/24 dev ve0 &&
		ip link set ve0 up && ip link set ve1 up'
	try run --rm --isolation pv --network container:web --annotation org.caisson.vm.vsock=/nonexistent busybox true
	[ "$status" -eq 125 ]
	[[ "$output" == *"stream sockets"* ]]
	no_redirections
	caisson run -d --name joined --isolation pv -m 256m --network container:web busybox sleep 1000
	[[ "$(caisson exec joined ip addr show eth0)" == *10.77.0.2/24* || "$(caisson exec joined ip addr)" == *10.77.0.2/24* ]]
	run ! no_redirections
	kill -9 "$(process_of joined)"
	[ "$(caisson wait joined)" = 137 ]
	eventually no_redirections
	caisson rm -f joined web
}

@test "-it gives the command a terminal" {
	run -6 script -qec "$CAISSON_BUILD/bin/caisson --root $STORE run --rm -it --isolation pv \
		busybox sh -c 'tty; read x; echo got \$x; exit 6'" /dev/null <<<"typed"
	[[ "$output" == */dev/pts/*"got typed"* ]]
}

@test "a command that is not there is 127, and nothing is left" {
	try_127 run --rm --isolation pv busybox nosuch
	[[ "$output" == *"executable file not found"* ]]
	run ls "$STORE/instances"
	[ -z "$output" ]
}

@test "disks are the command's, in their order" {
	cd "$BATS_TEST_TMPDIR"
	truncate -s 1M one two
	echo first | dd of=one conv=notrunc status=none
	qemu-img create -q -f qcow2 -F raw -b "$PWD/two" top.qcow2
	# The kernel calls ATA disks as they come: the first channel's second, or the second channel's first.
	run -0 caisson run --rm --isolation vm -m 256m --disk one --disk top.qcow2,backing=two busybox \
		sh -c 'cd /dev; echo sd*; head -n 1 sdb; echo second >sdc; sync; head -n 1 sdc'
	[ "${lines[*]}" = "sdb sdc first second" ]
	[ "$(head -c 6 two | tr -d '\0')" = "" ]
	run -0 caisson run --rm --isolation pv -m 256m --disk top.qcow2,backing=two --disk one,ro busybox \
		sh -c 'cd /dev; echo vd*; head -n 1 vdb; head -n 1 vdc; ! echo x 2>/dev/null >vdc'
	[ "${lines[*]}" = "vdb vdc second first" ]
}

@test "what cannot be is said" {
	try run --rm --isolation pv --kernel nosuch busybox true
	[ "$status" -eq 125 ]
	[[ "$output" == *"caisson kernel ls"* ]]
	try run --rm --isolation pv --kernel /etc/passwd/x busybox true
	[ "$status" -eq 125 ]
	try run --rm --isolation pv -m 32m busybox true
	[ "$status" -eq 125 ]
	[[ "$output" == *"its kernel needs 128 MiB"* ]]
	try run --rm --isolation vm -v "$BATS_FILE_TMPDIR/files:/x" busybox true
	[ "$status" -eq 125 ]
	[[ "$output" == *"volumes need --isolation pv"* ]]
	qemu-img create -q -f qcow2 -F raw -b /etc/passwd "$BATS_TEST_TMPDIR/lies.qcow2" 1M
	try run --rm --isolation pv --disk "$BATS_TEST_TMPDIR/lies.qcow2" busybox true
	[ "$status" -eq 125 ]
	[[ "$output" == *"/etc/passwd, which nobody has named"* ]]
}
