#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lab: v2 apart
#
# Machines that go wrong, as their user sees it: kernels that never boot, guests that lie, flood, crash, and monitors that
# are killed.  Most guests here are a few instructions long, for these come to their point at once.

# shellcheck disable=SC2154 # stderr: assigned by run
load machine

# Agent's frames: size, kind, session; all little-endian.
HELLO='04 00 00 00 01 00 00 00 01 00 00 00'
STARTED='08 00 00 00 02 00 00 00 01 00 00 00 00 00 00 00'
COM1='f8 03 00 00' COM2='f8 02 00 00'

number() # NUMBER: four bytes
{
	printf '%02x %02x %02x %02x ' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24))
}

# speaker FILE PORT ONCE AGAIN: says ONCE to a serial port, then AGAIN for ever, or stands still if that is empty.
speaker()
{
	local once again code data
	once=$(wc -w <<<"$3") again=$(wc -w <<<"$4")
	# cld; mov $port,%edx; mov $data,%esi; mov $once,%ecx; rep outsb
	# again: mov $data+once,%esi; mov $again,%ecx; rep outsb; jmp again   or   cli; hlt
	data=$((0x10000c + 6 + 12 + (again > 0 ? 14 : 2)))
	code="fc ba $2 be $(number $data) b9 $(number "$once") f3 6e"
	if [ "$again" -gt 0 ]; then
		code+=" be $(number $((data + once))) b9 $(number "$again") f3 6e eb f2"
	else
		code+=' fa f4'
	fi
	machine_kernel "$1" "$code $3 $4"
}

text() # hexadecimal of a text
{
	od -An -v -tx1 <<<"$1" | tr -s '\n' ' '
}

setup_file()
{
	export G=/scratch/guests STATE=/scratch/state
	mkdir -p $G
	machine_kernel $G/triple '0f 0b'
	machine_kernel $G/off '66 ba 0c 06 b0 34 ee f4' # SLP_EN and the type of S5 to the sleep control register
	speaker $G/hang "$COM1" "$(text 'here I stand')" ''
	speaker $G/flood "$COM1" "$(text 'flood')" "$(text 'and again and again and again and again and again and again')"
	speaker $G/babble "$COM2" "$HELLO 04 00 00 00 63 00 00 00 00 00 00 00" ''
	speaker $G/huge "$COM2" "$HELLO ff ff ff 7f 04 00 00 00" ''
	speaker $G/stranger "$COM2" "$HELLO $STARTED 01 00 00 00 04 00 09 00 2e" ''
	speaker $G/still "$COM2" "$HELLO $STARTED" ''
	speaker $G/logger "$COM2" "$HELLO $STARTED" "80 00 00 00 09 00 00 00 $(text "$(printf 'x%.0s' {1..127})")"
	machine_store
	caisson run --rm --isolation container box:1 true # what the first one makes stays
	caisson run --rm --isolation vm --kernel $G/off box:1 true 2>/dev/null || [ $? = 125 ]
	left_behind >"$BATS_FILE_TMPDIR/before"
}

# All that an instance can leave: processes, mounts, cgroups, sockets and files, network.
left_behind()
{
	grep -lE '^caisson' /proc/[0-9]*/comm 2>/dev/null | wc -l
	sed 's/^[^ ]* [^ ]* [^ ]* //' /proc/self/mountinfo | sort
	find /sys/fs/cgroup -type d | sort
	# What begins with @ is a cache, by contents.
	find /scratch/store/{instances,names,pending,leases,volumes,run} -mindepth 1 ! -path '*/@*' 2>/dev/null | sort
	ip -o link | sed 's/^[0-9]*: //; s/ mtu.*//' | sort
	find /proc/[0-9]*/ns/pid -printf '%l\n' 2>/dev/null | sort -u | wc -l
	grep -c /scratch/store /proc/net/unix || true
}

nothing_is_left()
{
	local i
	for ((i = 0; i < 600; i++)); do
		left_behind >"$BATS_TEST_TMPDIR/after" 2>/dev/null
		cmp -s "$BATS_FILE_TMPDIR/before" "$BATS_TEST_TMPDIR/after" && return 0
		sleep 0.1
	done
	diff "$BATS_FILE_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}

# fails STATUS ARG...: a machine that cannot run
fails()
{
	local status=$1
	shift
	run -"$status" --separate-stderr caisson run --rm --isolation vm "$@" box:1 true
	echo "$stderr"
	nothing_is_left
}

# The only one; while its guest has not answered, the instance has no process that its user would be told of.
monitor_runs()
{
	pid=$(grep -lx caisson-vmm /proc/[0-9]*/comm 2>/dev/null) && pid=${pid//[^0-9]/}
}

teardown()
{
	caisson rm -f flood logger early late half web >/dev/null 2>&1 || true
}

ended_with() # NAME STATUS
{
	[ "$(caisson wait "$1")" = "$2" ]
	caisson ps -a --filter "name=$1" --format '{{.Status}}' | grep "Exited ($2)"
}

rss() # PID: KiB that no guest has
{
	awk '/^Rss(Anon|File)/ { sum += $2 } END { print sum }' "/proc/$1/status"
}

@test "a kernel that is none, or not all of it, is refused" {
	head -c 70000 /lab/kernel/boot/vmlinuz-* >$G/truncated
	head -c 70000 /dev/zero >$G/garbage
	: >$G/empty
	local kernel
	for kernel in truncated garbage empty; do
		fails 125 --kernel $G/$kernel
		[[ $stderr == *kernel* ]]
	done
}

@test "a guest that hangs is given up, and what it said is shown" {
	fails 125 --kernel $G/hang --annotation org.caisson.vm.boot-timeout=2
	[[ $stderr == *"guest has not answered within 2 seconds"*"here I stand"* ]]
}

@test "a triple fault, and a guest that switches itself off" {
	fails 125 --kernel $G/triple
	[[ $stderr == *"the virtual machine crashed before its process ran: vCPU 0: triple fault"* ]]
	fails 125 --kernel $G/off
	[[ $stderr == *"the virtual machine switched itself off before its process ran"* ]]
}

@test "an agent that lies ends its machine, and nothing else" {
	fails 125 --kernel $G/babble
	[[ $stderr == *"the guest's agent sent a frame of unknown kind 99"* ]]
	fails 125 --kernel $G/huge
	[[ $stderr == *"the guest's agent"* ]]
	fails 125 --kernel $G/stranger
	[[ $stderr == *"the guest's agent sent a frame of kind 4 in session 9, which is not open"* ]]
}

@test "a guest that floods its console is bounded, and holds up nobody" {
	caisson run --name flood --isolation vm --kernel $G/flood --annotation org.caisson.vm.boot-timeout=0 box:1 true \
		>/dev/null 2>&1 &
	eventually monitor_runs
	sleep 3
	[ "$(rss "$pid")" -lt 16384 ]
	[ "$(find /scratch/store -name console -size +2048k | wc -l)" = 0 ]
	[ "$(caisson run --rm --isolation container box:1 echo others)" = others ]
	caisson rm -f flood
	nothing_is_left
}

@test "an agent that floods its log is bounded, too, and can be stopped" {
	caisson run -d --name logger --isolation vm --kernel $G/logger box:1 true
	monitor_runs
	sleep 3
	[ "$(rss "$pid")" -lt 16384 ]
	caisson stop -t 1 logger
	ended_with logger 137
	caisson rm logger
	nothing_is_left
}

@test "kill -9 of the monitor before its guest has spoken, and after" {
	caisson run --name early --isolation vm --kernel $G/hang box:1 true >/dev/null 2>&1 &
	eventually monitor_runs
	kill -KILL "$pid"
	eventually [ ! -e "/proc/$pid" ]
	wait $! || true
	caisson rm -f early
	nothing_is_left
	caisson run -d --name late --isolation vm --kernel $G/still box:1 true
	monitor_runs
	kill -KILL "$pid"
	ended_with late 137
	caisson rm late
	nothing_is_left
}

@test "kill -9 of caisson while it starts a machine" {
	local client delay
	for delay in 0.1 1; do
		"$CAISSON_BUILD/bin/caisson" --root /scratch/store run --name half --isolation vm --kernel $G/hang box:1 true \
			>/dev/null 2>&1 3>&- &
		client=$!
		sleep $delay
		kill -KILL $client
		wait $client || true
		caisson rm -f half || true # it may not have come as far as to have a name
		nothing_is_left
	done
}

@test "a running machine's threads are confined, and so are its servers of files; kill -9 leaves none of them" {
	local task child
	mkdir -p /scratch/shared
	caisson run -d --name web --isolation pv -v /scratch/shared:/shared box:1 sh -c 'echo here >/shared/file; sleep 1000'
	eventually grep here /scratch/shared/file
	monitor_runs
	[ "$(cat /proc/"$pid"/task/*/comm | grep -c '^\(caisson-vmm\|io\|vcpu0\)$')" = 3 ]
	for task in "/proc/$pid/task"/*; do
		grep -qx $'Seccomp:\t2' "$task/status"
		grep -qx $'NoNewPrivs:\t1' "$task/status"
		[ "$(grep -cE '^Cap(Prm|Eff|Inh|Amb):.0+$' "$task/status")" = 4 ]
	done
	[ "$(ls "/proc/$pid/root")" = $'dev\nproc' ]
	[ "$(find "/proc/$pid/root/dev" -type f | wc -l)" = 0 ]
	child=$(tr -d ' ' <"/proc/$pid/task/$pid/children")
	[ "$(cat "/proc/$child/comm")" = caisson-fs ]
	grep -qx $'Seccomp:\t2' "/proc/$child/status"
	grep -qx $'NoNewPrivs:\t1' "/proc/$child/status"
	kill -KILL "$pid"
	ended_with web 137
	[ ! -e "/proc/$child" ]
	caisson rm web
	nothing_is_left
}

@test "a server of files that is killed ends its machine, which says so" {
	local child
	caisson run -d --name web --isolation pv -v /scratch/shared:/shared box:1 sleep 1000
	monitor_runs
	child=$(tr -d ' ' <"/proc/$pid/task/$pid/children")
	kill -KILL "$child"
	ended_with web 125
	run caisson logs web
	[[ $output == *"the server of a shared directory was killed by signal 9"* ]]
	caisson rm web
	nothing_is_left
}

@test "sockets that are too small for a server of files are said before it begins" {
	local before
	before=$(cat /proc/sys/net/core/wmem_max)
	echo 65536 >/proc/sys/net/core/wmem_max
	run -125 caisson run --rm --isolation pv -v /scratch/shared:/shared box:1 true
	echo "$before" >/proc/sys/net/core/wmem_max
	[[ $output == *"set the sysctl net.core.wmem_max to "* ]]
	nothing_is_left
}

@test "the guest's kernel panics under the workload" {
	run -125 --separate-stderr caisson run --rm --privileged --isolation pv box:1 sh -c 'echo c >/proc/sysrq-trigger; sleep 100'
	[[ $stderr == *"the virtual machine was reset while its process ran"*"Kernel panic - not syncing"* ]]
	nothing_is_left
}
