#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# exec: one more process in a running container.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }
setup() {
	oci_setup
	oci_start "$ID"
}
teardown() { oci_teardown; }

@test "exec runs a command in the container and returns its status" {
	run -0 oci exec "$ID" hostname
	[ "$output" = "$(jq -r .hostname config.json)" ]
	run -7 oci exec "$ID" sh -c "exit 7"
	run -137 oci exec "$ID" sh -c 'kill -9 $$'
}

@test "exec takes --cwd, --env and --user" {
	run -0 oci exec --cwd /tmp "$ID" pwd
	[ "$output" = /tmp ]
	run -0 oci exec --env A=1 -e B=two "$ID" env
	[[ $output == *"A=1"*"B=two"* ]]
	run -0 oci exec --user 1000:1000 --additional-gids 100 -g 99 "$ID" id
	[[ $output == "uid=1000(user) gid=1000 groups="*99*100* || $output == "uid=1000(user) gid=1000 groups="*100*99* ]]
}

@test "exec refuses users that would be root in disguise" {
	local user
	for user in -1 :1000 4294967295 4294967296 0x0 1: abc 1:2:3 ''; do
		run -255 oci exec "--user=$user" "$ID" id
		[[ $output == *"exec failed"* ]]
	done
}

@test "exec's own flags end with the container's name" {
	run -0 oci exec "$ID" echo --detach -t
	[ "$output" = "--detach -t" ]
}

@test "exec says 255 and why, when there is nothing to run" {
	run -255 oci exec "$ID" nope
	[[ $output == *'exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH'* ]]
	run -255 oci exec "$ID" /nope
	[[ $output == *"stat /nope: no such file or directory"* ]]
	run -255 oci exec --cwd /nope "$ID" true
	[[ $output == *'chdir to cwd (\"/nope\") set in config.json failed: no such file or directory'* ]]
	run -255 oci exec "$ID"
	[[ $output == *"args cannot be empty"* ]]
	run -255 oci exec nobody true
	[[ $output == *"container does not exist"* ]]
}

@test "exec --detach leaves the process running and writes its pid" {
	oci exec --detach --pid-file pid.txt "$ID" sleep 1000 >out 2>&1
	local pid
	pid=$(cat pid.txt)
	[ "$(readlink "/proc/$pid/ns/pid")" = "$(readlink "/proc/$(oci state "$ID" | jq .pid)/ns/pid")" ]
	[ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" = "sleep 1000 " ]
}

@test "exec --process takes everything from a file" {
	jq -n '{args: ["sh", "-c", "id -u; pwd; echo $X"], cwd: "/bin", env: ["X=y", "PATH=/bin"], user: {uid: 1000, gid: 1000}}' >process.json
	run -0 oci exec --process process.json "$ID"
	[ "${lines[*]}" = "1000 /bin y" ]
}

@test "exec --tty gives a terminal, even when standard input is none" {
	run -0 oci exec --tty "$ID" tty
	[[ $output == /dev/pts/* ]]
	run -0 oci exec -t "$ID" sh -c 'test -t 0 && test -t 1 && test -t 2 && echo all'
	[[ $output == all* ]]
}

@test "exec --tty does not lose the end of a long output" {
	run -0 oci exec --tty "$ID" sh -c 'i=0; while [ $i -lt 5000 ]; do echo "line $i"; i=$((i + 1)); done'
	[ "${#lines[@]}" = 5000 ]
	[[ ${lines[4999]} == "line 4999"* ]]
}

@test "exec --preserve-fds hands a descriptor on" {
	echo three >three
	run -0 oci exec --preserve-fds=1 "$ID" cat /proc/self/fd/3 3<three
	[ "$output" = three ]
}

@test "exec --cap adds to what the process has, not to what its children inherit" {
	run -0 oci exec --cap CAP_SYS_NICE "$ID" cat /proc/self/status
	local effective inheritable
	effective=0x$(awk '/^CapEff/ {print $2}' <<<"$output")
	inheritable=0x$(awk '/^CapInh/ {print $2}' <<<"$output")
	((effective >> 23 & 1))
	((!(inheritable >> 23 & 1)))
	run -0 oci exec --cap CAP_NONSENSE "$ID" true
	[[ $output == *"level=warning"*"CAP_NONSENSE"* ]]
}

@test "exec --no-new-privs can be switched on and off" {
	run -0 oci exec --no-new-privs=false "$ID" cat /proc/self/status
	[[ $output == *"NoNewPrivs:"*0* ]]
	run -0 oci exec --no-new-privs "$ID" cat /proc/self/status
	[[ $(awk '/^NoNewPrivs/ {print $2}' <<<"$output") = 1 ]]
}

@test "exec stands in the container's cgroup, or in one below it that is named" {
	local own pid
	pid=$(oci state "$ID" | jq .pid)
	own=$(awk -F: '$2 ~ /(^|,)pids(,|$)/ {print $3}' "/proc/$pid/cgroup")
	[ -n "$own" ] || skip "no v1 pids controller here"
	oci exec --detach --pid-file pid.txt "$ID" sleep 100 >out 2>&1
	grep -q "pids:$own\$" "/proc/$(cat pid.txt)/cgroup"
	mkdir "/sys/fs/cgroup/pids$own/below"
	oci exec --detach --pid-file pid.txt --cgroup pids:below "$ID" sleep 100 >out 2>&1
	grep -q "pids:$own/below\$" "/proc/$(cat pid.txt)/cgroup"
	grep -q "memory:.*$ID\$" "/proc/$(cat pid.txt)/cgroup"
	run -255 oci exec --cgroup nowhere "$ID" true
	[[ $output == *" adding pid "*"o such file or directory"* ]]
	run -255 oci exec --cgroup ../../.. "$ID" true
	[[ $output == *"bad sub cgroup path"* ]]
}

@test "exec refuses a paused container, unless told not to mind" {
	oci pause "$ID"
	run -255 oci exec "$ID" true
	[[ $output == *"cannot exec in a paused container (use --ignore-paused to override)"* ]]
	oci resume "$ID"
	run -0 oci exec "$ID" true
}

@test "exec refuses a stopped container" {
	oci kill "$ID" KILL
	eventually is "$ID" stopped
	run -255 oci exec "$ID" true
	[[ $output == *"cannot exec in a stopped container"* ]]
}
