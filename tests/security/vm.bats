#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Guests that are hostile as a whole: the workload has all that their kernel can give (--privileged).  Whatever it does,
# the host stays as it is, and the machine can be ended.  One machine shows most of it, in the order of this file.

bats_require_minimum_version 1.5.0
load ../integration/helpers
load ../integration/caisson
load ../integration/machine

setup_file()
{
	store_make
	machine_kernel
	caisson run -d --name hostile --privileged --isolation pv --kernel "$MACHINE_KERNEL" -m 256m busybox \
		sh -c 'while :; do sleep 1; done'
}

teardown_file()
{
	store_remove
}

in_guest()
{
	caisson exec hostile sh -c "$1" <"$BATS_FILE_TMPDIR/empty"
}

# Files that the instance has made grow on the host, in KiB.
taken()
{
	du -sk "$STORE/instances/$(caisson inspect -f '{{.Id}}' hostile)" | cut -f 1
}

@test "the line to the host is the agent's alone" {
	run in_guest 'd=$(cat /sys/class/virtio-ports/*/dev); mknod /port c ${d%:*} ${d#*:}; echo forged >/port'
	[ "$status" -ne 0 ]
	[[ "$output" == *busy* ]]
	in_guest 'kill -9 1' || true
	run in_guest 'rmmod virtio_console; rmmod virtio_blk'
	[ "$status" -ne 0 ]
	[ "$(in_guest 'echo alive')" = alive ]
}

@test "a full disk is the guest's" {
	local before
	before=$(taken)
	run in_guest 'for s in 9000 1000 500 100 50 10 5 2 1; do fallocate -l ${s}M /fill.$s 2>/dev/null; done
		dd if=/dev/zero of=/rest bs=64k 2>/dev/null; echo x >/more'
	[ "$status" -ne 0 ]
	[[ "$output" == *"No space left"* ]]
	[ "$(in_guest 'echo alive')" = alive ]
	[ "$(taken)" -lt $((before + 65536)) ]
}

@test "floods of its console end up in a small file" {
	in_guest 'mknod /console c 4 64; mknod /log c 1 11; timeout 2 yes >/console
		for i in $(seq 1 3000); do echo "<0>flood" >/log; done' || true
	[ "$(in_guest 'echo alive')" = alive ]
	[ "$(stat -c %s "$STORE/run/$(caisson inspect -f '{{.Id}}' hostile)/console")" -le 2000000 ]
}

deaf()
{
	! timeout -s KILL 2 "$CAISSON_BUILD/bin/caisson" --root "$STORE" exec hostile true <"$BATS_FILE_TMPDIR/empty" 3>&-
}

@test "a kernel that answers no more can be ended, and leaves nothing" {
	local monitor child
	monitor=$(process_of hostile)
	child=$(cat "/proc/$monitor/task/$monitor/children")
	# Nobody wakes it up. The command does not end either.
	in_guest 'echo freeze >/sys/power/state' 3>&- &
	local asking=$!
	eventually deaf
	caisson stop -t 1 hostile
	[ "$(caisson inspect -f '{{.State.ExitCode}}' hostile)" = 137 ]
	wait "$asking" || [ $? = 137 ]
	[ ! -e "/proc/$monitor" ]
	[ ! -e "/proc/${child%% *}" ]
}

@test "a damaged disk is said to be one" {
	local disk
	disk=$STORE/instances/$(caisson inspect -f '{{.Id}}' hostile)/disk
	qemu-io -f qcow2 -c 'write -P 0xff 1k 64k' "$disk" >"$BATS_TEST_TMPDIR/written" || skip "needs qemu-io"
	run -1 caisson start hostile
	[[ "$output" == *"as the root file system: "* ]]
	[[ "$output" != *"No error information"* ]]
}

@test "forged frames of the agent's end the conversation, and the machine" {
	run -125 caisson run --rm --privileged --isolation vm --kernel "$MACHINE_KERNEL" -m 256m busybox \
		sh -c 'mknod /line c 4 65; yes >/line' <"$BATS_FILE_TMPDIR/empty"
	[[ "$output" == *caisson-vmm:* ]]
	run ls "$STORE/run"
	[[ "$output" != *[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]* ]]
}
