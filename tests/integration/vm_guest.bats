#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the guest makes of a specification, and what a workload cannot do to the machine that it has for itself.

bats_require_minimum_version 1.5.0
load helpers
load caisson
load machine

setup_file()
{
	store_make
	machine_kernel
	caisson run -d --name guest --isolation pv --kernel "$MACHINE_KERNEL" -m 256m --vcpus 1 --pids-limit 60 \
		--cap-drop all --cap-add mknod --cap-add chown --ulimit nofile=123:456 --security-opt no-new-privileges \
		--sysctl net.ipv4.ip_forward=1 --tmpfs /scratch busybox \
		sh -c 'echo begun; while :; do sleep 1; done'
}

teardown_file()
{
	store_remove
}

in_guest()
{
	caisson exec guest sh -c "$1" <"$BATS_FILE_TMPDIR/empty"
}

@test "capabilities, limits, filters and masks are those of a container" {
	local status
	status=$(in_guest 'cat /proc/1/status')
	[[ "$status" == *CapBnd:*0000000008000001* ]] # chown, mknod
	[[ "$status" == *NoNewPrivs:*1* ]]
	[[ "$status" == *Seccomp:*2* ]]
	[ "$(in_guest 'grep "Max open files" /proc/1/limits | tr -s " "')" = "Max open files 123 456 files " ]
	[ "$(in_guest 'cat /sys/fs/cgroup/pids.max')" = 60 ]
	[ "$(in_guest 'cat /proc/sys/net/ipv4/ip_forward')" = 1 ]
	[ "$(in_guest 'wc -c </proc/kcore')" = 0 ]
	[ "$(in_guest 'touch /proc/sysrq-trigger /proc/sys/kernel/hostname 2>&1 | grep -c "Read-only"')" = 2 ]
}

@test "it is process 1 of its own, on a root file system that is a disk" {
	[ "$(in_guest 'cat /proc/1/comm')" = sh ]
	in_guest 'grep -q " / ext4 rw" /proc/mounts'
	in_guest 'grep -q " /scratch tmpfs" /proc/mounts'
	[ "$(in_guest 'ip addr show lo | grep -c "inet 127.0.0.1"')" = 1 ]
}

@test "neither the line to the host nor the disk can be reached" {
	local nodes major minor
	nodes=$(in_guest 'cat /sys/class/virtio-ports/*/dev /sys/class/block/vda/dev')
	[ "$(wc -l <<<"$nodes")" = 2 ]
	[[ "$(in_guest 'ls /dev')" != *@(vport|hvc|ttyS|vda)* ]]
	local type number
	while IFS=: read -r major minor; do
		for type in c b; do
			number="$type $major $minor"
			run in_guest "rm -f /node; mknod /node $number && head -c 1 /node"
			[ "$status" -ne 0 ]
			[[ "$output" == *"Operation not permitted"* ]]
		done
	done <<<"$nodes"
}

@test "much output comes whole, in both streams, and holds nobody up" {
	local sum
	sum=$(caisson exec guest sh -c 'seq 1 300000; seq 1 1000 >&2' 2>"$BATS_TEST_TMPDIR/errors" | sha256sum)
	[ "$sum" = "$(seq 1 300000 | sha256sum)" ]
	[ "$(sha256sum <"$BATS_TEST_TMPDIR/errors")" = "$(seq 1 1000 | sha256sum)" ]
	# A reader that does not read.
	# shellcheck disable=SC2216 # that is the point of it
	caisson exec guest sh -c 'yes & yes >&2' 2>&1 3>&- | sleep 100 3>&- &
	local flood=$!
	eventually in_guest '[ "$(pidof yes | wc -w)" = 2 ]'
	[ "$(in_guest 'echo quick')" = quick ]
	in_guest 'killall yes || ! pidof yes' # one may have died with the other
	kill "$flood"
	wait "$flood" || true
}

@test "much input comes whole" {
	[ "$(seq 1 300000 | caisson exec -i guest sha256sum)" = "$(seq 1 300000 | sha256sum)" ]
	# One that is not taken ends with the process.
	seq 1 300000 | caisson exec -i guest true
}

no_zombies()
{
	[ "$(in_guest 'grep -l "State:.Z" /proc/[0-9]*/status | wc -l')" = 0 ]
}

@test "what an ended process leaves behind is reaped, and holds up no exec" {
	run -3 in_guest 'sleep 1000 & (sleep 0.1 &) ; exit 3'
	eventually no_zombies
	[ "$(in_guest 'ps | grep -c "[s]leep 1000"')" = 1 ]
	in_guest 'killall sleep' || true
}

@test "a fork bomb reaches its limit, not the machine's" {
	in_guest 'b() { b | b & }; b' || true
	run in_guest 'sleep 0.5; for i in 1 2 3 4 5; do killall -9 sh 2>/dev/null; done; true'
	caisson stop -t 0 guest
	[ "$(caisson wait guest)" = 137 ]
	caisson start guest
	[ "$(in_guest 'echo again')" = again ]
}

@test "lack of memory kills the workload, not the machine" {
	run -137 caisson run --rm --isolation pv --kernel "$MACHINE_KERNEL" -m 128m busybox \
		sh -c 'x=a; while :; do x=$x$x; done' <"$BATS_FILE_TMPDIR/empty"
	run -0 caisson run --rm --isolation pv --kernel "$MACHINE_KERNEL" -m 128m busybox \
		sh -c 'sh -c "x=a; while :; do x=\$x\$x; done"; echo still here' <"$BATS_FILE_TMPDIR/empty"
	[[ "$output" == *"still here"* ]]
}
