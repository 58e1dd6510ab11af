#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# run: a container from start to end in one command.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }
setup() { oci_setup; }
teardown() { oci_teardown; }

@test "run prints the container's output and removes it afterwards" {
	args echo "Hello from inside"
	run -0 oci run "$ID"
	[ "$output" = "Hello from inside" ]
	run -1 oci state "$ID"
	[[ $output == *"container does not exist"* ]]
}

@test "run returns the exit status of the process" {
	args sh -c "exit 42"
	run -42 oci run "$ID"
}

@test "run returns 128 and the signal when a signal ended the process" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	args sh -c 'kill -9 $$'
	run -137 oci run "$ID"
}

@test "run passes standard input on" {
	args cat
	echo "typed" >"$BUNDLE/input"
	INPUT=$BUNDLE/input run -0 oci run "$ID"
	[ "$output" = typed ]
}

@test "run --keep leaves a stopped container" {
	args true
	run -0 oci run --keep "$ID"
	is "$ID" stopped
	run -0 oci delete "$ID"
}

@test "run --detach returns at once, and the container goes on" {
	oci_start "$ID"
	is "$ID" running
}

@test "run writes the pid file relative to the caller, and it names process 1" {
	mkdir elsewhere && cd elsewhere
	oci run --detach --bundle "$BUNDLE" --pid-file pid.txt "$ID" >out 2>&1
	[ "$(cat pid.txt)" = "$(oci state "$ID" | jq .pid)" ]
}

@test "run in the foreground passes signals on to the process" {
	args sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done'
	"$RUNTIME" --root "$STATE" run "$ID" >"$BUNDLE/output" 2>&1 <"$WORK/nothing" 3>&- &
	local runner=$! code=0
	eventually grep -q ready "$BUNDLE/output"
	kill -TERM "$runner"
	wait "$runner" || code=$?
	[ "$code" = 9 ]
}

@test "the process does not start with signals held back" {
	args grep SigBlk /proc/self/status
	ln -sf busybox "$WORK/rootfs/bin/grep"
	run -0 oci run "$ID"
	[[ $output == *0000000000000000 ]]
}

@test "run on a terminal: it has the caller's size, and keys arrive" {
	config '.process.terminal=true'
	args sh -c 'tty; stty size; read line; echo "got $line"; exit 5'
	echo "some keys" >"$BUNDLE/keys"
	SHELL=/bin/sh run -5 script -qec "stty rows 33 cols 99; \"$RUNTIME\" --root \"$STATE\" run $ID" "$BUNDLE/typescript" <"$BUNDLE/keys"
	[[ $output == */dev/pts/* ]]
	[[ $output == *"33 99"* ]]
	[[ $output == *"got some keys"* ]]
}

@test "a terminal has the caller's size before the program can ask, however late its other end is attended to" {
	command -v strace >"$BUNDLE/strace" || skip "needs strace"
	config '.process.terminal=true'
	args stty size
	# Whoever would set it after the start is late by a second: it makes its signalfd first.
	SHELL=/bin/sh run -0 script -qec "stty rows 33 cols 99
		strace -o trace -e trace=signalfd4 -e inject=signalfd4:delay_enter=1000000 \"$RUNTIME\" --root \"$STATE\" run $ID" \
		"$BUNDLE/typescript" <"$WORK/nothing"
	[[ $output == *"33 99"* ]]
}

@test "a terminal whose other end nobody would get is refused" {
	config '.process.terminal=true'
	run -1 oci run --detach "$ID"
	[[ $output == *"cannot allocate tty if runc will detach without setting console socket"* ]]
	config '.process.terminal=false'
	run -1 oci create --console-socket nowhere "$ID"
	[[ $output == *"cannot use console socket if runc will not detach or allocate tty"* ]]
}

@test "run hands on --preserve-fds, and no other descriptor" {
	args sh -c 'cat <&3; ls /proc/self/fd'
	echo "from three" >"$BUNDLE/three"
	run -0 oci run --preserve-fds 1 "$ID" 3<"$BUNDLE/three" 7<"$BUNDLE/three"
	[ "${lines[0]}" = "from three" ]
	[[ " ${lines[*]} " != *" 7 "* ]]
}

@test "run says which descriptor is missing" {
	run -1 bash -c 'exec 3>&-; exec "$@"' bash "$RUNTIME" --root "$STATE" run --preserve-fds=1 "$ID"
	[[ $output == *"preserved-fd 0"* ]]
}

@test "run explains a program that is not there, in runc's words" {
	args nothing-of-that-name
	run -1 oci run "$ID"
	[[ $output == *'level=error'*'unable to start container process'*'executable file not found in $PATH'* ]]
	args /bin/nothing
	run -1 oci run "$ID"
	[[ $output == *"no such file or directory"* ]]
	args /proc
	run -1 oci run "$ID"
	[[ $output == *"permission denied"* ]]
	[ -z "$(oci list -q)" ]
}

@test "run refuses an id that is taken" {
	oci_start "$ID"
	run -1 oci run "$ID"
	[[ $output == *"container with given ID already exists"* ]]
	is "$ID" running
}

@test "run refuses ids that are no file names" {
	local id
	for id in ../x a/b .. "a b" 'a;b'; do
		run -1 oci run "$id"
		[[ $output == *"invalid container ID format"* ]]
	done
}

@test "run without a configuration says which file is missing" {
	run -1 oci run --bundle "$WORK/nowhere" "$ID"
	[[ $output == *"config.json not found"* ]]
}

@test "run reaps what the container leaves behind without a pid namespace" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	args sh -c 'sleep 1000 & echo $!'
	run -0 oci run "$ID"
	eventually gone "${lines[0]}"
}

@test "run: a mount on a link that leads nowhere yet is made where it leads" {
	local root=$BUNDLE/rootfs
	mkdir -p "$root"/{bin,etc,proc,dev,sys}
	cp /bin/busybox "$root/bin/cat"
	ln -s ../run/resolve/stub.conf "$root/etc/resolv.conf"
	ln -s /run/later "$root/etc/later"
	echo "nameserver 192.0.2.1" >"$BUNDLE/file"
	config '.root.path="rootfs" | .mounts += [
		{"destination":"/etc/resolv.conf","type":"bind","source":$file,"options":["bind"]},
		{"destination":"/etc/later/a","type":"tmpfs","source":"tmpfs"}]' --arg file "$BUNDLE/file"
	args /bin/cat /etc/resolv.conf /proc/self/mounts
	run oci run "$ID"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "nameserver 192.0.2.1" ]
	[[ "$output" == *" /run/resolve/stub.conf "* ]]
	[[ "$output" == *" /run/later/a "* ]]
}

@test "masked paths of /proc may be files, directories, links, nested, or missing" {
	config '.linux.maskedPaths=["/proc/net", "/proc/sys/kernel", "/proc/bus", "/proc/nothing", "/proc/cpuinfo", "/proc/cpuinfo/x"]'
	args sh -c 'ls -A /proc/sys/kernel /proc/bus | grep -v :; cat /proc/cpuinfo; echo done'
	ln -sf busybox "$WORK/rootfs/bin/ls"
	ln -sf busybox "$WORK/rootfs/bin/grep"
	run -0 oci run "$ID"
	[ "$(echo "$output" | xargs)" = done ]
}
