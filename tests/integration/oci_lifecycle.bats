#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# create, start, state, kill, delete, list, ps, pause, resume.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }
setup() { oci_setup; }
teardown() { oci_teardown; }

@test "create makes a container that waits for start" {
	args sh -c 'echo started >/tmp/started; sleep 1000'
	config '.root.readonly=false'
	rm -f "$WORK/rootfs/tmp/started"
	oci create "$ID" >out 2>&1
	is "$ID" created
	[ ! -e "$WORK/rootfs/tmp/started" ]
	oci start "$ID"
	is "$ID" running
	eventually test -e "$WORK/rootfs/tmp/started"
}

@test "create can be called often, and none of its containers dies with it" {
	local i
	for ((i = 0; i < 20; i++)); do oci create "$ID-$i" >out 2>&1; done
	for ((i = 0; i < 20; i++)); do is "$ID-$i" created; done
}

@test "start works once" {
	oci create "$ID" >out 2>&1
	oci start "$ID"
	run -1 oci start "$ID"
	[[ $output == *"cannot start an already running container"* ]]
	oci kill "$ID" KILL
	eventually is "$ID" stopped
	run -1 oci start "$ID"
	[[ $output == *"cannot start a container that has stopped"* ]]
}

@test "start says why the program could not be executed" {
	args /bin/script
	printf '#!/no/such/interpreter\n' >"$WORK/rootfs/bin/script"
	chmod +x "$WORK/rootfs/bin/script"
	oci create "$ID" >out 2>&1
	run -1 oci start "$ID"
	[[ $output == *"no such file or directory"* ]]
}

@test "state tells what the specification asks for" {
	config '.annotations={"org.example.key": "a \"quoted\" value"}'
	oci_start "$ID"
	oci state "$ID" >state.json
	[ "$(jq -r .id state.json)" = "$ID" ]
	[ "$(jq -r .bundle state.json)" = "$BUNDLE" ]
	[ "$(jq -r .ociVersion state.json)" = "$(jq -r .ociVersion config.json)" ]
	[ "$(jq -r '.annotations["org.example.key"]' state.json)" = 'a "quoted" value' ]
	kill -0 "$(jq .pid state.json)"
	[ "$(jq -r 'keys_unsorted | join(" ")' state.json)" = "ociVersion id pid status bundle rootfs created annotations owner" ]
}

@test "kill takes numbers, and names in any form" {
	args sh -c 'trap "echo usr1" USR1; trap "exit 3" USR2; echo ready; while :; do sleep 0.05; done'
	oci_start "$ID"
	eventually grep -q ready output
	local name heard=0
	hears() { [ "$(grep -c usr1 output)" -eq "$1" ]; }
	for name in USR1 SIGUSR1 usr1 sigusr1 10; do
		oci kill "$ID" "$name"
		eventually hears $((++heard))
	done
	oci kill "$ID" 0
	run -1 oci kill "$ID" NOPE
	[[ $output == *'unknown signal \"NOPE\"'* ]]
	oci kill "$ID" USR2
	eventually is "$ID" stopped
	run -1 oci kill "$ID" KILL
	[[ $output == *"container not running"* ]]
}

@test "kill --all reaches every process" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	args sh -c 'sleep 1000 & sleep 1000 & wait'
	oci_start "$ID"
	processes() { [ "$(oci ps --format json "$ID" | jq length)" = "$1" ]; }
	eventually processes 3
	oci kill --all "$ID" KILL
	eventually processes 0
}

@test "kill --all with another signal reaches each process once" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	args sh -c 'trap "echo one" TERM; (trap "echo two" TERM; while :; do sleep 0.1; done) & while :; do sleep 0.1; done'
	oci run "$ID" >"$BUNDLE/output" 2>&1 <"$WORK/nothing" 3>&- &
	eventually is "$ID" running
	processes() { [ "$(oci ps --format json "$ID" | jq length)" -ge "$1" ]; }
	eventually processes 4
	oci kill --all "$ID" TERM
	said() { [ "$(grep -v Terminated "$BUNDLE/output" | sort | tr '\n' ' ')" = "$1" ]; }
	eventually said "one two "
	# Who has heard it twice says so before it hears of another one.
	oci kill --all "$ID" TERM
	eventually said "one one two two "
	is "$ID" running
}

@test "kill KILL leaves nobody where there is no pid namespace" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	args sh -c 'sleep 1000 & sleep 1000 & wait'
	oci_start "$ID"
	processes() { [ "$(oci ps --format json "$ID" | jq length)" = "$1" ]; }
	eventually processes 3
	oci kill "$ID" KILL
	eventually processes 0
}

@test "a container may be called as the runtime's own files once were" {
	config '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW"}'
	oci_start "$ID-filter" # makes the cache of filters
	oci_start .seccomp
	[[ "$(oci list -q)" == *.seccomp* ]]
	is .seccomp running
	run -0 oci delete --force .seccomp
	[ ! -e "$STATE/.seccomp" ]
}

@test "delete refuses a running container, unless forced" {
	oci_start "$ID"
	run -1 oci delete "$ID"
	[[ $output == *"cannot delete container $ID that is not stopped: running"* ]]
	run -0 oci delete --force "$ID"
	run -1 oci delete "$ID"
	[[ $output == *"container does not exist"* ]]
	run -0 oci delete --force "$ID"
}

@test "delete leaves neither cgroup nor state" {
	oci_start "$ID"
	oci pause "$ID"
	oci delete --force "$ID"
	[ -z "$(find /sys/fs/cgroup -name "*$ID*" 2>/dev/null)" ]
	[ ! -e "$STATE/$ID" ]
}

@test "delete takes a created container away" {
	oci create "$ID" >out 2>&1
	run -0 oci delete "$ID"
	run -1 oci state "$ID"
}

@test "list shows what there is as a table, as ids, and as JSON" {
	run -0 oci list
	[[ $output =~ ^ID\ +PID\ +STATUS\ +BUNDLE\ +CREATED\ +OWNER$ ]]
	run -0 oci list --format json
	[ "$output" = null ]
	oci_start "$ID-b"
	oci_start "$ID-a"
	run -0 oci list
	[[ ${lines[1]} =~ ^$ID-a\ +[0-9]+\ +running\ +$BUNDLE\ +20.*Z\ +root$ ]]
	[[ ${lines[2]} == "$ID-b "* ]]
	run -0 oci list -q
	[ "${lines[*]}" = "$ID-a $ID-b" ]
	[ "$(oci list -f json | jq -r '.[1] | .id + " " + .status + " " + .owner')" = "$ID-b running root" ]
	run -1 oci list -f xml
	[[ $output == *"invalid format option"* ]]
}

@test "ps shows the container's processes, with ps' own options if given" {
	oci_start "$ID"
	run -0 oci ps "$ID"
	[[ ${lines[0]} =~ UID\ +PID\ +PPID ]]
	[[ ${lines[1]} == *"sleep 1000" ]]
	[ "${#lines[@]}" = 2 ]
	run -0 oci ps "$ID" -o pid,args
	[[ ${lines[1]} =~ ^\ *$(oci state "$ID" | jq .pid)\ sleep\ 1000$ ]]
	[ "$(oci ps -f json "$ID" | jq '.[0]')" = "$(oci state "$ID" | jq .pid)" ]
	run -1 oci ps "$ID" -o args
	[[ $output == *"couldn't find PID field"* ]]
}

@test "pause freezes, resume thaws" {
	args sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; sleep 0.02; done'
	config '.root.readonly=false'
	oci_start "$ID"
	eventually test -s "$WORK/rootfs/tmp/count"
	oci pause "$ID"
	is "$ID" paused
	local before
	before=$(cat "$WORK/rootfs/tmp/count")
	sleep 0.3
	[ "$(cat "$WORK/rootfs/tmp/count")" = "$before" ]
	run -1 oci pause "$ID"
	[[ $output == *"container not running"* ]]
	oci resume "$ID"
	is "$ID" running
	run -1 oci resume "$ID"
	[[ $output == *"container not paused"* ]]
}

@test "create: a cgroup that holds somebody else's processes is neither taken nor cleared away" {
	local path=/caisson-test-$ID
	config '.linux.cgroupsPath=$path' --arg path "$path"
	oci_start "$ID"
	run ! oci_start "$ID-2"
	[[ "$output" == *"container's cgroup is not empty"* ]]
	is "$ID" running
	# What a creation that was killed has left is cleared away, but not what was there before it.
	mkdir "$STATE/$ID-3"
	cp config.json "$STATE/$ID-3/"
	run ! oci_start "$ID-3"
	is "$ID" running
	oci delete --force "$ID"
	oci_start "$ID-2"
	is "$ID-2" running
}
