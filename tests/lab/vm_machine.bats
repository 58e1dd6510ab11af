#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# lab: v2 apart
#
# Machines of two processors on real KVM, through the commands that containers have: "iron" has huge pages, and its
# processors are tied.  All tests share the two, in the order of this file.

# shellcheck disable=SC2154 # stderr: assigned by run
load machine

# figure NAME EXPRESSION: of what its monitor has counted
figure()
{
	caisson stats --no-stream --format '{{json .Counters}}' "$1" | jq "$2"
}

lines_of()
{
	caisson logs "$1" | wc -l
}

huge_pages()
{
	awk -v name="HugePages_$1:" '$1 == name { print $2 }' /proc/meminfo
}

setup_file()
{
	# shellcheck disable=SC2016 # the guest's shell is meant
	local count='i=0; while :; do i=$((i + 1)); echo $i; sleep 0.4; done'
	machine_store
	echo 100 >/proc/sys/vm/nr_hugepages
	caisson run -d --name iron --isolation pv --vcpus 2 -m 192m --hugepages 2M --vcpu-pin 0,0 --cpuset-cpus 0 \
		box:1 sleep 10000
	caisson run -d --name web --privileged --isolation pv --vcpus 2 -m 256m box:1 sh -c "trap 'echo bye; exit 3' TERM; $count"
}

teardown_file()
{
	caisson rm -f web iron
	echo 0 >/proc/sys/vm/nr_hugepages
}

@test "each has a kernel of its own and two processors, by KVM" {
	local name
	for name in web iron; do
		[ "$(caisson exec $name nproc)" = 2 ]
		[ "$(figure $name '.engine')" = '"kvm"' ]
		[ "$(figure $name '.vcpus')" = 2 ]
	done
	# Both of them work: the second was started by the guest.
	[ "$(figure web '[.machine.vcpus[].kvm.exits > 100] | all')" = true ]
	[ "$(figure iron '[.machine.vcpus[].kvm.exits > 100] | all')" = true ]
}

@test "top shows the monitor's threads by name" {
	local name
	for name in web iron; do
		run caisson top $name
		[[ "${lines[0]}" == UID*PID*LWP*PPID*TIME*CMD ]]
		[[ "$output" == *"caisson-vmm"*"{vcpu0}"*"{vcpu1}"* ]]
		run caisson top $name -o lwp,comm,time
		[[ "$output" == *" vcpu1 "*00:0* ]]
	done
}

@test "a vCPU runs where it was told to" {
	local pid task pinned=0
	pid=$(caisson inspect -f '{{.State.Pid}}' iron)
	for task in /proc/"$pid"/task/*; do
		[[ "$(cat "$task/comm")" == vcpu[01] ]] || continue
		grep -qP '^Cpus_allowed_list:\t0$' "$task/status"
		pinned=$((pinned + 1))
	done
	[ "$pinned" = 2 ]
	run -125 caisson run --rm --name nowhere --isolation pv --vcpus 2 --vcpu-pin 0,900 box:1 true
	[[ "$output" == *"run vCPU 1 on CPU 900"* ]]
	[ -z "$(caisson ps -aq --filter name=nowhere)" ]
}

@test "huge pages are the machine's, taken as it touches them" {
	[ "$(huge_pages Total)" = 100 ]
	# 96 are promised to it, and not all in use.
	[ $(($(huge_pages Free) - $(huge_pages Rsvd))) = 4 ]
	[ "$(huge_pages Free)" -gt 4 ]
	[ "$(huge_pages Free)" -lt 100 ]
	run -125 caisson run --rm --name second --isolation pv -m 192m --hugepages 2M box:1 true
	[[ "$output" == *"nr_hugepages"* ]]
	[ $(($(huge_pages Free) - $(huge_pages Rsvd))) = 4 ]
}

@test "stats: memory, processor, disk, and why the guest was left" {
	run caisson stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.CPUPerc}}' web
	[[ "$output" == "web "*MiB\ /\ 256MiB\ *% ]]
	[ "$(caisson stats --no-stream --format '{{.CPUPerc}}' web)" != 0.00% ]
	caisson exec web sh -c 'dd if=/dev/zero of=/file bs=1M count=2; sync' 2>"$BATS_TEST_TMPDIR/dd"
	[ "$(figure web '.machine.disks[0].write_bytes >= 2097152')" = true ]
	[ "$(figure web '.machine.disks[0].reads > 10')" = true ]
	[ "$(figure iron '.machine.disks[0].read_bytes > 100000')" = true ]
	[ "$(figure web '.machine.vcpus[0].exits.memory_write > 0')" = true ]
}

@test "pause: all processors stand still; unpause: they go on" {
	local before
	caisson pause web
	[ "$(caisson inspect -f '{{.State.Status}}' web)" = paused ]
	[ "$(caisson stats --no-stream --format '{{.CPUPerc}}' web)" = 0.00% ]
	# What it has said before may still be on its way.
	stands_still() { before=$(lines_of web) && sleep 1 && [ "$(lines_of web)" = "$before" ]; }
	eventually stands_still
	run ! caisson exec web true
	caisson unpause web
	goes_on() { [ "$(lines_of web)" -gt $((before + 2)) ]; }
	eventually goes_on
	[ "$(caisson exec web nproc)" = 2 ]
}

@test "exec -it has a terminal, attach and logs show what is said" {
	run -5 script -qec "$CAISSON_BUILD/bin/caisson --root /scratch/store exec -it iron sh -c 'tty; exit 5'" /dev/null <"$EMPTY"
	[[ "$output" == */dev/pts/* ]]
	run -4 caisson exec web sh -c 'exit 4'
	caisson attach --no-stdin --sig-proxy=false web >"$BATS_TEST_TMPDIR/seen" <"$EMPTY" &
	saw() { [ "$(wc -l <"$BATS_TEST_TMPDIR/seen")" -gt 2 ]; }
	eventually saw
	kill $!
	[ "$(caisson logs web | head -n 1)" = 1 ]
}

@test "update -m: the balloon takes what is free, and gives it back" {
	holds() { [ "$(figure web .machine.balloon.actual)" = "$1" ]; }
	caisson update -m 160m web
	[ "$(figure web .machine.balloon.wanted)" = $((96 << 20)) ]
	eventually holds $((96 << 20))
	caisson update -m 256m web
	eventually holds 0
	[ "$(figure web ".machine.balloon.inflated >= $((96 << 20))")" = true ]
	run -1 caisson update -m 512m web
	[[ "$output" == *"started with 256 MiB"* ]]
	run -1 caisson update -m 160m iron
	[[ "$output" == *"has no balloon"* ]]
}

@test "restart: it is asked to end, and boots again with what is on its disk" {
	caisson restart -t 100 web
	caisson logs web | grep -x bye
	[ "$(caisson exec web stat -c %s /file)" = 2097152 ]
}

@test "a guest that panics is an end with words" {
	run caisson exec --privileged web sh -c 'echo c >/proc/sysrq-trigger'
	[ "$(caisson wait web)" = 125 ]
	run caisson logs --tail 50 web
	[[ "$output" == *"the virtual machine was reset while its process ran"* ]]
	[[ "$output" == *"Kernel panic"* ]]
}

@test "kill, rm -f: nothing is left" {
	local pid
	pid=$(caisson inspect -f '{{.State.Pid}}' iron)
	caisson kill iron
	[ "$(caisson wait iron)" = 137 ]
	[ ! -e "/proc/$pid" ]
	# Its pages are everybody's again.
	[ "$(huge_pages Free)" = 100 ]
	[ "$(huge_pages Rsvd)" = 0 ]
	caisson rm -f web iron
	[ -z "$(caisson ps -aq)" ]
	run ! pidof caisson-vmm
	run find /sys/fs/cgroup -name 'caisson-*'
	[ -z "$output" ]
}
