#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# lab: v2 apart
#
# Machines that are saved while they run, and others that begin there: real KVM, the distribution's kernel.

# shellcheck disable=SC2154 # stderr: assigned by run
load machine

# goes_on NAME: its number grows.
goes_on()
{
	local i now before=''
	for ((i = 0; i < 100; i++)); do
		now=$(caisson exec "$1" cat /dev/shm/count) # nothing while it is being written
		: "${before:=$now}"
		[ "${now:-0}" -le "${before:-0}" ] || return 0
		sleep 0.2
	done
	return 1
}

setup_file()
{
	machine_store
	# A name that is chosen once, a number that grows, and files on its disk and in its memory.
	caisson run -d --name web --isolation pv box:1 sh -c \
		'cat /proc/sys/kernel/random/uuid >/name; i=0; while :; do i=$((i + 1)); echo $i >/dev/shm/count; sleep 0.2; done'
	eventually caisson exec web test -s /name -a -s /dev/shm/count
	caisson exec web sh -c 'echo kept >/file; sync'
	caisson snapshot create web warm
}

teardown_file()
{
	caisson rm -f web one two
	caisson snapshot rm warm
}

@test "the saved instance goes on" {
	goes_on web
}

@test "others begin there: the same disk, the same memory, going on" {
	caisson run -d --name one --from-snapshot warm
	[ "$(caisson exec one cat /name)" = "$(caisson exec web cat /name)" ]
	[ "$(caisson exec one cat /file)" = kept ]
	goes_on one
}

@test "each has its own disk and memory from then on" {
	caisson run -d --name two --from-snapshot warm
	caisson exec one sh -c 'echo one >/file; echo one >/dev/shm/file; sync'
	[ "$(caisson exec two cat /file)" = kept ]
	run ! caisson exec two test -e /dev/shm/file
	[ "$(caisson exec web cat /file)" = kept ]
}

@test "each has entropy of its own, and knows what time it is" {
	local now
	run caisson exec one cat /proc/sys/kernel/random/uuid
	[ "$output" != "$(caisson exec two cat /proc/sys/kernel/random/uuid)" ]
	now=$(date +%s)
	run caisson exec one date +%s
	# A clock in an emulated machine runs slow now and then.
	[ "$output" -gt $((now - 30)) ] && [ "$output" -lt $((now + 60)) ]
}

# Else each that begins there does it again, for itself: drivers that come late are the driver's OK of their devices.
@test "what a young machine has put off is done before it is saved" {
	caisson run -d --name young --isolation pv box:1 sleep 1000
	caisson snapshot create young early
	caisson rm -f young
	run python3 - /scratch/store/machines/early/state <<-'PYTHON'
		import struct, sys
		state, at = open(sys.argv[1], "rb").read(), 0
		while at < len(state):
		    size, = struct.unpack_from("<I", state, at)
		    name = state[at + 4 : at + 4 + size].decode()
		    _, length = struct.unpack_from("<IQ", state, at + 4 + size)
		    at += 16 + size
		    if name.startswith("virtio-") and length > 12:
		        print(name, struct.unpack_from("<I", state, at + 8)[0])
		    at += length
	PYTHON
	caisson snapshot rm early
	[[ "$output" == *"virtio-rng 15"* && "$output" == *"virtio-balloon 15"* ]]
}

@test "it is listed, its name is taken, and it cannot be taken of what does not run" {
	run caisson snapshot ls --format '{{.Name}} {{.Instance}} {{.Isolation}}'
	[ "$output" = "warm web pv" ]
	run ! --separate-stderr caisson snapshot create web warm
	[[ "$stderr" == *"snapshot warm exists already"* ]]
	caisson create --name idle --isolation pv box:1 true
	run ! --separate-stderr caisson snapshot create idle cold
	[[ "$stderr" == *"is not running"* ]]
	caisson rm idle
}

@test "what is the machine's cannot be asked for anew" {
	run ! --separate-stderr caisson run --name broken --rm --from-snapshot warm --memory 64m
	[[ "$stderr" == *"HostConfig.Memory cannot be another than the snapshot's"* ]]
	run ! --separate-stderr caisson run --name broken --rm --from-snapshot warm --cap-drop ALL
	[[ "$stderr" == *"HostConfig.CapDrop cannot be"* ]]
	[ -z "$(caisson ps -aq --filter name=broken)" ]
}

@test "who is paused, or writes to a disk of the host's, is not saved" {
	caisson pause web
	run ! --separate-stderr caisson snapshot create web cold
	[[ "$stderr" == *"is paused; unpause it first"* ]]
	run ! --separate-stderr caisson update --memory 100m web
	[[ "$stderr" == *"is paused"* ]]
	caisson unpause web
	truncate -s 1M "$BATS_TEST_TMPDIR/disk"
	caisson run -d --name disk --isolation pv --disk "$BATS_TEST_TMPDIR/disk" box:1 sleep 1000
	run ! --separate-stderr caisson snapshot create disk cold
	[[ "$stderr" == *"disk of the host's (--disk)"* ]]
	caisson rm -f disk
}

@test "a snapshot that was damaged is refused with words, and leaves nothing" {
	cp -a /scratch/store/machines/warm /scratch/store/machines/damaged
	cp /scratch/store/leases/snapshot-warm /scratch/store/leases/snapshot-damaged
	truncate -s 1000 /scratch/store/machines/damaged/state
	run ! --separate-stderr caisson run --name broken --rm --from-snapshot damaged
	[[ "$stderr" == *snapshot* ]]
	[ -z "$(caisson ps -aq --filter name=broken)" ]
	cp /scratch/store/machines/warm/state /scratch/store/machines/damaged/state
	truncate -s 1M /scratch/store/machines/damaged/memory
	run ! --separate-stderr caisson run --name broken --rm --from-snapshot damaged
	[[ "$stderr" == *"snapshot's memory has 1048576 bytes"* ]]
	caisson snapshot rm damaged
}

@test "kill -9 of a restored machine leaves nothing" {
	local pid
	pid=$(caisson inspect --format '{{.State.Pid}}' two)
	kill -KILL "$pid"
	[ "$(caisson wait two)" = 137 ]
	[ ! -e "/proc/$pid" ]
	caisson start two # it boots now: what it wrote is on its disk
	[ "$(caisson exec two cat /file)" = kept ]
}
