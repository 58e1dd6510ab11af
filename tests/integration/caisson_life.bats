#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2010,SC2154,SC2178,SC2128
#
# An instance's life: create, start, stop, kill, restart, pause, rename, update, wait, rm, and what ps and inspect say.

bats_require_minimum_version 1.5.0
load caisson

setup_file() { store_make; }
teardown_file() { store_remove; }

teardown()
{
	# shellcheck disable=SC2046 # one word per instance
	caisson rm -f $(caisson ps -aq) >"$BATS_TEST_TMPDIR/rm.log" 2>&1 || true
}

says() # NAME TEXT
{
	caisson logs "$1" | grep "$2"
}

# program NAME [FLAGS...] SCRIPT: an instance of a shell that has got as far as to say "ready".
program()
{
	local name=$1
	shift
	caisson run -d --name "$name" "${@:1:$#-1}" busybox sh -c "${*: -1}" <"$BATS_FILE_TMPDIR/empty"
	eventually says "$name" ready
}

sleeper() # NAME [FLAGS...]
{
	program "$@" 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done'
}

# One that is asked to end and takes its time: it ends with 9, unless it is killed.
slow() # NAME [FLAGS...]
{
	program "$@" 'trap "sleep 8; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
}

@test "create, start, wait, start again, rm" {
	caisson create --name box busybox sh -c 'echo run; exit 3'
	[ "$(state_of box)" = created ]
	caisson start box
	[ "$(caisson wait box)" = 3 ]
	eventually is_in_state box exited
	caisson start box
	[ "$(caisson wait box)" = 3 ]
	[ "$(caisson logs box)" = $'run\nrun' ]
	caisson rm box
	run ! caisson inspect box
	eventually nothing_left
}

@test "run -d prints the id, and the short one works" {
	id=$(sleeper box)
	[ "${#id}" -eq 64 ]
	[ "$(caisson ps -q)" = "${id:0:12}" ]
	[ "$(caisson inspect -f '{{.Name}}' "${id:0:12}")" = /box ]
	[ "$(caisson inspect -f '{{.Name}}' "${id:0:3}")" = /box ]
}

@test "run -d lets go of the caller's descriptors" {
	# The substitution ends only when nobody holds its pipe any more: else it would outlast the instance.
	id=$(caisson run -d --name box busybox sleep 1000 2>&1)
	[ "$(state_of box)" = running ]
}

@test "stop asks first, and kills after the grace period" {
	sleeper box
	caisson stop box
	[ "$(caisson inspect -f '{{.State.ExitCode}}' box)" = 7 ]
	slow slow
	caisson stop -t 1 slow
	[ "$(caisson inspect -f '{{.State.ExitCode}}' slow)" = 137 ]
	caisson stop slow
}

@test "--stop-signal and --stop-timeout are what stop uses" {
	program box --stop-signal USR1 'trap "exit 9" USR1; echo ready; while :; do sleep 0.05; done'
	caisson stop box
	[ "$(caisson inspect -f '{{.State.ExitCode}}' box)" = 9 ]
	slow slow --stop-timeout 0
	caisson stop slow
	[ "$(caisson inspect -f '{{.State.ExitCode}}' slow)" = 137 ]
}

@test "kill sends any signal by name or number" {
	sleeper box
	caisson kill -s SIGTERM box
	[ "$(caisson wait box)" = 7 ]
	sleeper other
	caisson kill other
	[ "$(caisson wait other)" = 137 ]
	try kill -s NOPE other
	[ "$status" -eq 1 ]
	[[ "$output" == *"invalid signal: NOPE"* ]]
	eventually is_in_state other exited
	try kill other
	[ "$status" -eq 1 ]
	[[ "$output" == *"is not running"* ]]
}

@test "restart starts what runs and what does not" {
	sleeper box
	before=$(process_of box)
	caisson restart -t 0 box
	after=$(process_of box)
	[ "$before" != "$after" ]
	caisson stop -t 0 box
	caisson restart box
	[ "$(state_of box)" = running ]
}

@test "pause freezes, unpause lets go on" {
	program box 'i=0; echo ready; while :; do i=$((i+1)); echo $i >/new; mv /new /count; sleep 0.02; done'
	count=/proc/$(process_of box)/root/count
	eventually test -s "$count"
	caisson pause box
	[ "$(state_of box)" = paused ]
	[[ "$(caisson ps --format '{{.Status}}')" == *"(Paused)" ]]
	one=$(cat "$count")
	sleep 0.3
	[ "$(cat "$count")" -eq "$one" ]
	try exec box true
	[ "$status" -eq 1 ]
	[[ "$output" == *"is paused"* ]]
	try pause box
	[ "$status" -eq 1 ]
	caisson unpause box
	goes_on() { [ "$(cat "$count")" -gt "$one" ]; }
	eventually goes_on
	try unpause box
	[ "$status" -eq 1 ]
}

@test "a paused instance can be stopped, killed and removed" {
	sleeper one
	sleeper two
	caisson pause one two
	caisson stop -t 3 one
	[ "$(state_of one)" = exited ]
	caisson rm -f two
	run ! caisson inspect two
}

@test "rename" {
	id=$(sleeper box)
	caisson rename box other
	[ "$(caisson inspect -f '{{.Id}}' other)" = "$id" ]
	run ! caisson inspect box
	sleeper box
	try rename box other
	[ "$status" -eq 1 ]
	[[ "$output" == *"already in use"* ]]
}

@test "rm refuses what runs, -f does not" {
	sleeper box
	try rm box
	[ "$status" -eq 1 ]
	[[ "$output" == *"container is running"*"rm -f"* ]]
	caisson rm -f box
	try rm box
	[ "$status" -eq 1 ]
	[[ "$output" == *"No such container: box"* ]]
	try rm -f box
	[ "$status" -eq 0 ]
}

@test "rm -v removes anonymous volumes, rm keeps them" {
	caisson run --name box -v /data busybox true
	caisson rm box
	[ "$(caisson volume ls -q | wc -l)" -eq 1 ]
	caisson volume prune -f
	caisson run --name box -v /data -v named:/named busybox true
	caisson rm -v box
	[ "$(caisson volume ls -q)" = named ]
	caisson volume rm named
}

@test "--rm of a detached instance removes it when it ends" {
	id=$(caisson run -d --rm busybox sleep 0.1)
	eventually nothing_left "$id"
}

@test "what an instance writes is there at its next start, and nowhere else" {
	caisson run --name box busybox sh -c 'cat /file; echo mine >/file; rm -f /etc/group' || true
	[ "$(caisson start -a box)" = mine ]
	caisson run --rm busybox test -e /etc/group
	run caisson run --rm busybox cat /file
	[ "$status" -ne 0 ]
	caisson rm box
}

@test "update changes limits of a running instance, and keeps them" {
	[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ] || skip "needs cgroup v1's memory controller"
	sleeper box --memory 64m
	caisson update --memory 32m --memory-swap 64m --cpus 0.25 --pids-limit 50 box
	group=caisson-$(caisson inspect -f '{{.Id}}' box)
	[ "$(cd /sys/fs/cgroup && cat "memory/$group/memory.limit_in_bytes" "cpu/$group/cpu.cfs_quota_us" "pids/$group/pids.max")" = $'33554432\n25000\n50' ]
	caisson restart -t 0 box
	[ "$(caisson exec box cat /sys/fs/cgroup/memory/memory.limit_in_bytes)" = 33554432 ]
	[ "$(caisson inspect -f '{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}' box)" = "33554432 50" ]
	try update box
	[ "$status" -eq 1 ]
}

@test "restart policies: on-failure stops after its count, always goes on until it is stopped" {
	caisson run -d --name failing --restart on-failure:2 busybox sh -c 'echo try; exit 1'
	[ "$(caisson wait failing)" = 1 ]
	eventually bash -c "[ \$('$CAISSON_BUILD/bin/caisson' --root '$STORE' logs failing | wc -l) -eq 3 ]"
	eventually is_in_state failing exited
	[ "$(caisson inspect -f '{{.RestartCount}}' failing)" = 2 ]
	caisson run -d --name always --restart always busybox sh -c 'echo again; sleep 0.05'
	eventually bash -c "[ \$('$CAISSON_BUILD/bin/caisson' --root '$STORE' logs always | wc -l) -ge 3 ]"
	caisson stop -t 1 always
	[ "$(state_of always)" = exited ]
	lines=$(caisson logs always | wc -l)
	sleep 1
	[ "$(caisson logs always | wc -l)" -eq "$lines" ]
	caisson run -d --name fine --restart on-failure busybox true
	caisson wait fine
	eventually is_in_state fine exited
	[ "$(caisson inspect -f '{{.RestartCount}}' fine)" = 0 ]
}

@test "an instance that is waiting to be restarted can be removed" {
	caisson run -d --name box --restart always busybox false
	eventually is_in_state box restarting
	caisson rm -f box
	run ! caisson inspect box
	eventually nothing_left
}

@test "ps shows what runs, -a everything; filters, formats, the newest" {
	sleeper one --label tier=a
	sleeper two --label tier=b
	try run --name gone busybox sh -c 'exit 4'
	[ "$(caisson ps -q | wc -l)" -eq 2 ]
	[ "$(caisson ps -aq | wc -l)" -eq 3 ]
	[ "$(caisson ps -a --format '{{.Names}}' | tr '\n' ' ')" = "gone two one " ]
	[ "$(caisson ps -lq --no-trunc)" = "$(caisson inspect -f '{{.Id}}' gone)" ]
	[ "$(caisson ps -f label=tier=b --format '{{.Names}}')" = two ]
	[ "$(caisson ps -f exited=4 --format '{{.Names}} {{.Status}}')" = "gone Exited (4) Less than a second ago" ] ||
		[[ "$(caisson ps -f exited=4 --format '{{.Names}} {{.Status}}')" == "gone Exited (4) "* ]]
	[ "$(caisson ps -f name=on -f status=running --format '{{.Names}}')" = one ]
	[ "$(caisson ps -a -f before=two --format '{{.Names}}')" = one ]
	[ "$(caisson ps -n 2 --format '{{.Names}}' | tr '\n' ' ')" = "gone two " ]
	caisson ps --format json | jq -e .Names
	run caisson ps
	[[ "${lines[0]}" == "CONTAINER ID   IMAGE     COMMAND"* ]]
	try ps -f nonsense=1
	[ "$status" -eq 1 ]
	caisson container ls -q
}

@test "inspect tells all, in docker's names" {
	sleeper box --memory 64m -e A=B -v /tmp:/host:ro
	caisson inspect box >"$BATS_TEST_TMPDIR/box.json"
	jq -e '.[0] | .State.Running and .State.Pid > 0 and .HostConfig.Memory == 67108864 and (.Config.Env | index("A=B"))
		and .Mounts[0].Source == "/tmp" and .Mounts[0].RW == false and .Config.Image == "busybox"
		and (.Image | startswith("sha256:")) and (.LogPath | endswith("container.log"))' "$BATS_TEST_TMPDIR/box.json"
	[ "$(caisson inspect -f '{{range .Mounts}}{{.Destination}}{{end}}' box)" = /host ]
	[ "$(caisson inspect --type image -f '{{len .RepoTags}}' busybox)" = 1 ]
	try inspect nothing-there
	[ "$status" -eq 1 ]
	[[ "$output" == *"No such object: nothing-there"* ]]
	try inspect -f '{{.Nope}}' box
	[ "$status" -eq 1 ]
	[[ "$output" == *'there is no field "Nope"'* ]]
}

@test "top and stats show what runs inside" {
	sleeper box --memory 64m
	[[ "$(caisson top box)" == *"sh -c trap"* ]]
	run caisson stats --no-stream box
	[[ "${lines[0]}" == *"RSS"*"CACHE"*"WORKING SET"* ]]
	[[ "${lines[1]}" == *box*/\ 64MiB* ]]
	[ "$(caisson stats --no-stream --format '{{.Name}}')" = box ]
	caisson stop -t 0 box
	try top box
	[ "$status" -eq 1 ]
}

@test "top takes options of ps and names of columns" {
	caisson run -d --name box busybox sleep 1000
	run caisson top box
	[[ "${lines[0]}" == UID*PID*PPID*STIME*TTY*TIME*CMD ]]
	run caisson top box -ef
	[[ "${lines[1]}" == root*"sleep 1000" ]]
	run caisson top box aux
	[[ "${lines[0]}" == USER*PID*%CPU*VSZ*RSS*STAT*CMD ]]
	run caisson top box -o pid,args
	[ "$(echo ${lines[1]})" = "$(process_of box) sleep 1000" ]
	run caisson top box pid comm
	[ "$(echo ${lines[1]})" = "$(process_of box) sleep" ]
	try top box -o nonsense
	[ "$status" -eq 1 ]
	[[ "$output" == *"unknown column 'nonsense'"* ]]
}

@test "stats counts CPU time as the scheduler does, not by ticks" {
	[ -e /sys/fs/cgroup/cpuacct/cpuacct.usage ] || skip "needs cgroup v1's cpuacct controller"
	# Runs for less than a tick at a time, always between ticks: what is counted by ticks sees nothing of it.
	caisson run -d --name box busybox sh -c 'while :; do usleep 2000; done'
	cpu_seen() { [ "$(caisson stats --no-stream --format '{{.CPUPerc}}' box)" != 0.00% ]; }
	eventually cpu_seen
}

@test "stats tells the page cache from what programs hold" {
	[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ] || skip "needs cgroup v1's memory controller"
	caisson run -d --name box busybox sh -c 'dd if=/dev/zero of=/file bs=1M count=20; cat /file >/dev/null; echo ready; sleep 1000'
	eventually says box ready
	read -r rss cache < <(caisson stats --no-stream --format '{{.RSS}} {{.Cache}}' box)
	[[ "$cache" == *MiB ]]
	[[ "$rss" == *KiB ]]
}

@test "an image that an instance stands on is kept for it" {
	caisson tag busybox mine:1
	sleeper box
	try rmi busybox mine:1
	caisson start box
	[ "$(state_of box)" = running ]
	caisson exec box true
	caisson rm -f box
	[ -n "$(caisson images -q busybox)" ] || caisson import -c 'CMD ["/bin/sh"]' "$BATS_FILE_TMPDIR/busybox.tar" busybox
}

@test "several operands: each is done, and one that fails makes the command fail" {
	sleeper one
	sleeper two
	run --separate-stderr caisson stop -t 0 one nothing two <"$BATS_FILE_TMPDIR/empty"
	[ "$status" -eq 1 ]
	[ "$output" = $'one\ntwo' ]
	[[ "$stderr" == *"No such container: nothing"* ]]
}

@test "ps and stats list more instances than the caller may open files" {
	for i in {1..40}; do caisson create --name "many$i" busybox true >>"$BATS_TEST_TMPDIR/out"; done
	sleeper box
	list() { (ulimit -n 32 && caisson "$@"); }
	[ "$(list ps -aq | wc -l)" -eq 41 ]
	[ "$(list ps -a --size --format '{{.Size}}' | wc -l)" -eq 41 ]
	[ "$(list stats -a --no-stream --format '{{.Name}}' | wc -l)" -eq 41 ]
	[ "$(list stats --no-stream --format '{{.Name}}')" = box ]
	caisson ps -aq | xargs "$CAISSON_BUILD/bin/caisson" --root "$STORE" rm -f >"$BATS_TEST_TMPDIR/out"
}
